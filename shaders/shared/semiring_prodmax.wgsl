// (max, ×). No value pads without harm (-∞ times a negative is +∞), so the padding is NaN, which
// the comparison drops.

fn ring_start() -> f32 { return minus_infinity(); }
fn ring_pad() -> f32 { return from_bits(0x7fc00000u); }
fn ring_mac(acc: vec4<f32>, x: f32, y: vec4<f32>) -> vec4<f32> {
    let value = vec4(x) * y;
    return select(acc, value, value > acc);
}
// The padding must not be the first.
fn ring_first(x: f32, y: vec4<f32>) -> vec4<f32> { return ring_mac(vec4(ring_start()), x, y); }
fn ring_next(acc: vec4<f32>, x: f32, y: vec4<f32>) -> vec4<f32> { return ring_mac(acc, x, y); }
// Values as they are staged, which hold the padding where nothing is stored.
fn ring_stage_a(values: vec4<f32>, lines: vec4<i32>, stored: vec4<bool>) -> vec4<f32> { return values; }
fn ring_stage_b(values: vec4<f32>, lines: vec4<i32>, stored: vec4<bool>) -> vec4<f32> { return values; }

// A NaN or an infinity (0 · ∞) in the data would be dropped like the padding.
fn ring_taint(taint: vec4<u32>, values: vec4<f32>, stored: vec4<bool>) -> vec4<u32> {
    let bits = select(vec4(0u), bitcast<vec4<u32>>(values), stored);
    return max(taint, bits + bits); // without signs
}
fn ring_tainted(taint: vec4<u32>) -> bool { return any(taint >= vec4(0xff000000u)); }

// -∞ is what is left where there was no term, or where finite terms overflowed.
fn ring_is_exact(acc: f32) -> bool { return acc >= -3.4028234e38; }
fn ring_are_exact(v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32>) -> bool {
    return all((v0 >= vec4(-3.4028234e38)) & (v1 >= vec4(-3.4028234e38)) & (v2 >= vec4(-3.4028234e38)) & (v3 >= vec4(-3.4028234e38)));
}
fn ring_finish(acc: f32, a_line: i32, b_line: i32) -> f32 { return acc; }
fn ring_scaled(values: vec4<f32>, scale: vec4<f32>) -> vec4<f32> { return values; }
fn ring_unscaled(sums: vec4<f32>, scale: vec4<f32>) -> vec4<f32> { return sums; }

fn ring_exact(a0: i32, b0: i32, i: i32, j: i32) -> f32 {
    var best = minus_infinity();
    var nan = false;
    for (var p = first_p(i, j); p < end_p(i, j); p++) {
        let value = load_a(a0 + a_index(i, p)) * load_b(b0 + b_index(p, j));
        nan = nan | is_nan(value);
        best = select(best, value, value > best);
    }
    best = select(best, from_bits(0x7fc00000u), nan);
    return select(0.0, best, first_p(i, j) < end_p(i, j));
}
