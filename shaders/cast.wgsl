// f16 or bf16, two to a word, widened to f32. By their bits, so that subnormals survive every driver.

struct Params { words: u32, values: u32, brain: u32 } // brain: 1 for bf16

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> halves: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;

// The bits of an f32.
fn widen(half: u32) -> u32 {
    if params.brain != 0u { return half << 16u; }
    let exponent = (half >> 10u) & 31u;
    let mantissa = half & 0x3ffu;
    let sign = (half & 0x8000u) << 16u;
    if exponent == 0u { return sign | bitcast<u32>(f32(mantissa) * 5.9604645e-8); }
    if exponent == 31u { return sign | 0x7f800000u | (mantissa << 13u); }
    return sign | (((half & 0x7fffu) << 13u) + 0x38000000u);
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let word = group_index(group, groups) * 128u + local;
    if word >= params.words { return; }
    out[word * 2u] = widen(halves[word] & 0xffffu);
    if word * 2u + 1u < params.values { out[word * 2u + 1u] = widen(halves[word] >> 16u); }
}
