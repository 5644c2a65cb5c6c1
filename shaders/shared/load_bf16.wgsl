// Operands stored as bf16, two to a word: the upper halves of f32.

alias Stored = u32;

fn word_of(at: i32) -> i32 { return at >> 1u; }
fn value_of(word: Stored, at: i32) -> f32 {
    return bitcast<f32>(select(word << 16u, word & 0xffff0000u, (at & 1) == 1));
}
