// Four sums leave as results.

@group(0) @binding(4) var<storage, read_write> c: array<vec4<f16>>;

fn store(at: u32, sums: vec4<f32>) { c[at / 4u] = vec4<f16>(sums); }
