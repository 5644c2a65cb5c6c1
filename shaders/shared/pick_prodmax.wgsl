// Which p wins under (max, ×). The padding is NaN, which the comparison drops.

fn pick_pad() -> f32 { return from_bits(0x7fc00000u); }
fn pick_terms(x: vec4<f32>, y: f32) -> vec4<f32> { return x * y; }
fn pick_term(x: f32, y: f32) -> f32 { return x * y; }

// A NaN or an infinity (0 · ∞) in the data would be dropped like the padding.
fn pick_taints(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7fffffffu) >= 0x7f800000u;
}

// What the winning term's gradient is multiplied by for one factor, given the other, and whether
// the other matters.
const PICK_FACTOR = true;
fn pick_slope(other: f32) -> f32 { return other; }
