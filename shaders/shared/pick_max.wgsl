// Which p wins under (max, +).

fn pick_pad() -> f32 { return minus_infinity(); }
fn pick_terms(x: vec4<f32>, y: vec4<f32>) -> vec4<f32> { return x + y; }
fn pick_term(x: f32, y: f32) -> f32 { return x + y; }

fn pick_largest(w: vec4<f32>, x: vec4<f32>, y: vec4<f32>, z: vec4<f32>) -> vec4<f32> { return max(max(w, x), max(y, z)); }

// +∞ may meet the padding's -∞, and max may drop a NaN. The padding itself passes.
fn pick_taints(values: vec4<f32>, stored: vec4<bool>) -> bool {
    let bits = bitcast<vec4<u32>>(values);
    return any(((bits & vec4(0x7fffffffu)) > vec4(0x7f800000u)) | (bits == vec4(0x7f800000u)));
}

// What the winning term's gradient is multiplied by for one factor, given the other, and whether
// the other matters.
const PICK_FACTOR = false;
fn pick_slope(other: f32) -> f32 { return 1.0; }
