// Sums over the tokens, CHUNK of them at a time: out[c][f] = Σ of g[t][f] over chunk c.

struct Params {
    tokens: u32,
    features: u32,
    flags: u32, // bit 1: g along features
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

const CHUNK = 64u;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let n = group_index(group, groups) * 128u + local;
    let chunks = (params.tokens + CHUNK - 1u) / CHUNK;
    if n >= chunks * params.features { return; }
    let feature = n % params.features;
    let first = n / params.features * CHUNK;
    let along = (params.flags & 2u) != 0u;
    var sum = 0.0;
    for (var t = first; t < min(params.tokens, first + CHUNK); t++) {
        sum += g[select(feature * params.tokens + t, t * params.features + feature, along)];
    }
    out[n] = sum;
}
