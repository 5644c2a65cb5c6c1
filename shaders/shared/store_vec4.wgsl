// The same where four results that follow each other do so from a multiple of 4 on: one store.

@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

fn store(at: u32, step: u32, count: u32, v: vec4<f32>) {
    if step == 1u {
        y[at / 4u] = v;
        return;
    }
    y[at / 4u][at % 4u] = v.x;
    if count > 1u { y[(at + step) / 4u][(at + step) % 4u] = v.y; }
    if count > 2u { y[(at + 2u * step) / 4u][(at + 2u * step) % 4u] = v.z; }
    if count > 3u { y[(at + 3u * step) / 4u][(at + 3u * step) % 4u] = v.w; }
}
