// (logsumexp, +). Each row of A and column of B is scaled by its largest entry, so that the sum of
// exponentials is an ordinary product: one multiplication per term. Where the scaled sum comes out
// below 2^-60 or not finite, terms may have been lost, and the entry is summed one by one instead,
// against its own largest term.

fn ring_start() -> f32 { return 0.0; }
fn ring_pad() -> f32 { return 0.0; }
fn ring_mac(acc: vec4<f32>, x: f32, y: vec4<f32>) -> vec4<f32> { return fma(vec4(x), y, acc); }
fn ring_first(x: f32, y: vec4<f32>) -> vec4<f32> { return fma(vec4(x), y, vec4(0.0)); }
fn ring_next(acc: vec4<f32>, x: f32, y: vec4<f32>) -> vec4<f32> { return ring_mac(acc, x, y); }
fn ring_stage_a(values: vec4<f32>, lines: vec4<i32>, stored: vec4<bool>) -> vec4<f32> {
    let scale = vec4(a_scale[lines.x], a_scale[lines.y], a_scale[lines.z], a_scale[lines.w]);
    return select(vec4(0.0), exp(values - scale), stored);
}
fn ring_stage_b(values: vec4<f32>, lines: vec4<i32>, stored: vec4<bool>) -> vec4<f32> {
    let scale = vec4(b_scale[lines.x], b_scale[lines.y], b_scale[lines.z], b_scale[lines.w]);
    return select(vec4(0.0), exp(values - scale), stored);
}
fn ring_taint(taint: vec4<u32>, values: vec4<f32>, stored: vec4<bool>) -> vec4<u32> { return taint; }
fn ring_tainted(taint: vec4<u32>) -> bool { return false; }

fn ring_is_exact(acc: f32) -> bool { return (acc >= 8.673617e-19) & (acc <= 3.4028234e38); }
// As whole numbers, of which what is too small is among the largest.
fn ring_are_exact(v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32>) -> bool {
    let low = vec4(0x21800000u);
    var most = max(bitcast<vec4<u32>>(v0) - low, bitcast<vec4<u32>>(v1) - low);
    most = max(max(most, bitcast<vec4<u32>>(v2) - low), bitcast<vec4<u32>>(v3) - low);
    return max(max(most.x, most.y), max(most.z, most.w)) < 0x7f800000u - 0x21800000u;
}
fn ring_finish(acc: f32, a_line: i32, b_line: i32) -> f32 {
    return log(acc) + (a_scale[a_line] + b_scale[b_line]);
}
// Fours of one scale, and the logarithms of sums of them.
fn ring_scaled(values: vec4<f32>, power: vec4<f32>) -> vec4<f32> { return exp2(fma(values, vec4(1.44269504), -power)); }
fn ring_unscaled(sums: vec4<f32>, scale: vec4<f32>) -> vec4<f32> { return log(sums) + scale; }

fn ring_exact(a0: i32, b0: i32, i: i32, j: i32) -> f32 {
    var largest = minus_infinity();
    var nan = false;
    for (var p = first_p(i, j); p < end_p(i, j); p++) {
        let value = load_a(a0 + a_index(i, p)) + load_b(b0 + b_index(p, j));
        nan = nan | is_nan(value);
        largest = select(largest, value, value > largest);
    }
    if nan { return from_bits(0x7fc00000u); }
    if abs(largest) > 3.4028234e38 { return largest; }
    var sum = 0.0;
    for (var p = first_p(i, j); p < end_p(i, j); p++) {
        sum += exp(load_a(a0 + a_index(i, p)) + load_b(b0 + b_index(p, j)) - largest);
    }
    return largest + log(sum);
}
