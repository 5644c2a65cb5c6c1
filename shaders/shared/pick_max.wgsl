// Which p wins under (max, +).

fn pick_pad() -> f32 { return minus_infinity(); }
fn pick_terms(x: vec4<f32>, y: f32) -> vec4<f32> { return x + y; }
fn pick_term(x: f32, y: f32) -> f32 { return x + y; }

// +∞ may meet the padding's -∞.
fn pick_taints(value: f32) -> bool {
    let bits = bitcast<u32>(value);
    return ((bits & 0x7fffffffu) > 0x7f800000u) | (bits == 0x7f800000u);
}

// What the winning term's gradient is multiplied by for one factor, given the other, and whether
// the other matters.
const PICK_FACTOR = false;
fn pick_slope(other: f32) -> f32 { return 1.0; }
