// The operands of products.

@group(0) @binding(1) var<storage, read> a: array<Stored>;
@group(0) @binding(2) var<storage, read> b: array<Stored>;

fn load_a(at: i32) -> f32 { return value_of(a[word_of(at)], at); }
fn load_b(at: i32) -> f32 { return value_of(b[word_of(at)], at); }
