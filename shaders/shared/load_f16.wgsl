// Operands stored as f16, two to a word. By their bits: unpack2x16float is not core WGSL everywhere, and drivers
// may unpack subnormals as 0.

alias Stored = u32;

fn word_of(at: i32) -> i32 { return at >> 1u; }
fn value_of(word: Stored, at: i32) -> f32 {
    let half = select(word & 0xffffu, word >> 16u, (at & 1) == 1);
    let size = half & 0x7fffu;
    let normal = (size << 13u) + select(0x38000000u, 0x70000000u, size >= 0x7c00u);
    let bits = select(normal, bitcast<u32>(f32(size) * 5.9604645e-8), size < 0x400u);
    return bitcast<f32>(bits | ((half & 0x8000u) << 16u));
}
