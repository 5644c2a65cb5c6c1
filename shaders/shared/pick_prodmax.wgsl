// Which p wins under (max, ×). The padding is NaN, which the comparison drops.

fn pick_pad() -> f32 { return from_bits(0x7fc00000u); }
fn pick_terms(x: vec4<f32>, y: vec4<f32>) -> vec4<f32> { return x * y; }
fn pick_term(x: f32, y: f32) -> f32 { return x * y; }

fn pick_largest(w: vec4<f32>, x: vec4<f32>, y: vec4<f32>, z: vec4<f32>) -> vec4<f32> {
    var largest = vec4(minus_infinity());
    largest = select(largest, w, w > largest);
    largest = select(largest, x, x > largest);
    largest = select(largest, y, y > largest);
    return select(largest, z, z > largest);
}

// A NaN or an infinity (0 · ∞) in the data would be dropped like the padding.
fn pick_taints(values: vec4<f32>, stored: vec4<bool>) -> bool {
    return any(stored & ((bitcast<vec4<u32>>(values) & vec4(0x7fffffffu)) >= vec4(0x7f800000u)));
}

// What the winning term's gradient is multiplied by for one factor, given the other, and whether
// the other matters.
const PICK_FACTOR = true;
fn pick_slope(other: f32) -> f32 { return other; }
