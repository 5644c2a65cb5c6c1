// Halves, two to a word, widened to f32. By their bits, so that subnormals survive every driver.

struct Params { words: u32, values: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> halves: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

fn widen(half: u32) -> f32 {
    let exponent = half >> 10u & 31u;
    let mantissa = half & 0x3ffu;
    let sign = (half & 0x8000u) << 16u;
    if exponent == 0u { return select(1.0, -1.0, sign != 0u) * f32(mantissa) * 5.9604645e-8; }
    if exponent == 31u { return from_bits(sign | 0x7f800000u | mantissa << 13u); }
    return bitcast<f32>(sign | ((half & 0x7fffu) << 13u) + 0x38000000u);
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let word = group_index(group, groups) * 128u + local;
    if word >= params.words { return; }
    out[word * 2u] = widen(halves[word] & 0xffffu);
    if word * 2u + 1u < params.values { out[word * 2u + 1u] = widen(halves[word] >> 16u); }
}
