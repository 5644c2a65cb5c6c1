// Operands stored as f32. Kernels that take other storage types have one of the other files in place of this one.

alias Stored = f32;

// The word of a binding that holds value `at`, and the value in it.
fn word_of(at: i32) -> i32 { return at; }
fn value_of(word: Stored, at: i32) -> f32 { return word; }
