// The same as f32, or added to what is there.

@group(0) @binding(4) var<storage, read_write> c: array<vec4<f32>>;

fn store(at: u32, sums: vec4<f32>) {
    var v = sums;
    if ADD { v += c[at / 4u]; }
    c[at / 4u] = v;
}
