// f32 rounded to the nearest f16 or bf16, ties to even, two to a word. By their bits: how packing rounds
// is left to the driver.

struct Params { words: u32, values: u32, brain: u32 } // brain: 1 for bf16

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<u32>;
@group(0) @binding(2) var<storage, read_write> halves: array<u32>;

fn narrow(bits: u32) -> u32 {
    let sign = (bits >> 16u) & 0x8000u;
    let size = bits & 0x7fffffffu;
    if params.brain != 0u { return select((bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u, sign | 0x7fc0u, size > 0x7f800000u); }
    if size > 0x7f800000u { return sign | 0x7e00u; }
    if size >= 0x477ff000u { return sign | 0x7c00u; }
    // Below the smallest normal half: adding 0.5 leaves the rounded mantissa in the low bits.
    if size < 0x38800000u { return sign | (bitcast<u32>(bitcast<f32>(size) + 0.5) - 0x3f000000u); }
    return sign | ((size + 0xc8000fffu + ((size >> 13u) & 1u)) >> 13u);
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let word = group_index(group, groups) * 128u + local;
    if word >= params.words { return; }
    var high = 0u;
    if word * 2u + 1u < params.values { high = narrow(values[word * 2u + 1u]); }
    halves[word] = narrow(values[word * 2u]) | (high << 16u);
}
