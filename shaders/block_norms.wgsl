// The p-norm of each block, scaled by its largest value so that no power leaves the range: a workgroup
// takes a block.

struct Params {
    blocks: u32,
    size: u32, // values of a block
    p: f32,    // 0 stands for infinity
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> norms: array<f32>;

var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let block = group_index(group, groups);
    if block >= params.blocks { return; }
    let start = block * params.size;

    // The largest magnitude, by its bits, in whose order NaN is greatest.
    var bits = 0u;
    for (var n = local; n < params.size; n += 64u) { bits = max(bits, bitcast<u32>(values[start + n]) & 0x7fffffffu); }
    partial[local] = bitcast<f32>(bits);
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if local < half { partial[local] = bitcast<f32>(max(bitcast<u32>(partial[local]), bitcast<u32>(partial[local + half]))); }
        workgroupBarrier();
    }
    let largest = partial[0];
    workgroupBarrier();
    let special = (bitcast<u32>(largest) >= 0x7f800000u) | (largest == 0.0) | (params.p == 0.0);

    // By a power of 2, so that scaling rounds nothing.
    let exponent = clamp(i32(bitcast<u32>(largest) >> 23u) - 127, -126, 126);
    let up = bitcast<f32>(u32(127 + exponent) << 23u);
    let down = bitcast<f32>(u32(127 - exponent) << 23u);
    var sum = 0.0;
    if !special {
        for (var n = local; n < params.size; n += 64u) {
            let x = abs(values[start + n]) * down;
            if params.p == 1.0 {
                sum += x;
            } else if params.p == 2.0 {
                sum = fma(x, x, sum);
            } else if x > 0.0 {
                sum += pow(x, params.p);
            }
        }
    }
    partial[local] = sum;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if local < half { partial[local] += partial[local + half]; }
        workgroupBarrier();
    }
    if local > 0u { return; }
    sum = partial[0];
    var norm = largest;
    if !special {
        if params.p == 2.0 { sum = sqrt(sum); } else if params.p != 1.0 { sum = pow(sum, 1.0 / params.p); }
        norm = sum * up;
    }
    norms[block] = norm;
}
