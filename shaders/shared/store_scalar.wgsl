// Up to four results, `step` apart.

@group(0) @binding(5) var<storage, read_write> y: array<f32>;

fn store(at: u32, step: u32, count: u32, v: vec4<f32>) {
    y[at] = v.x;
    if count > 1u { y[at + step] = v.y; }
    if count > 2u { y[at + 2u * step] = v.z; }
    if count > 3u { y[at + 3u * step] = v.w; }
}
