// The gradient before an activation: out = g · act′(z), entry by entry. z and g may be contiguous along
// tokens or features each; the result is along features.

struct Params {
    tokens: u32,
    features: u32,
    flags: u32, // bit 0: z along features, bit 1: g along features; from bit 4 on the activation
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let n = group_index(group, groups) * 128u + local;
    if n >= params.tokens * params.features { return; }
    let across = n % params.features * params.tokens + n / params.features;
    let gradient = g[select(across, n, (params.flags & 2u) != 0u)];
    out[n] = gradient * slope(params.flags >> 4u, z[select(across, n, (params.flags & 1u) != 0u)]);
}
