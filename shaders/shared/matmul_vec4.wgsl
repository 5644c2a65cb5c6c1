// The operands of products that read four values at a time.

@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;

fn load_a(at: i32) -> f32 { return a[at / 4][at % 4]; }
fn load_b(at: i32) -> f32 { return b[at / 4][at % 4]; }

// Whether an entry of this invocation has to be computed anew.
var<private> redo: bool;

// Whether values are not padding: by their bits, since a driver may take NaN for equal to all.
fn is_stored(values: vec4<f32>) -> vec4<bool> { return bitcast<vec4<u32>>(values) != vec4(0xff800000u); }
