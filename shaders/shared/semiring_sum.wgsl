// (+, ×).

fn ring_start() -> f32 { return 0.0; }
fn ring_pad() -> f32 { return 0.0; }
fn ring_mac(acc: vec4<f32>, x: f32, y: vec4<f32>) -> vec4<f32> { return fma(vec4(x), y, acc); }
fn ring_first(x: f32, y: vec4<f32>) -> vec4<f32> { return fma(vec4(x), y, vec4(0.0)); }
fn ring_next(acc: vec4<f32>, x: f32, y: vec4<f32>) -> vec4<f32> { return ring_mac(acc, x, y); }
// Values as they are staged, which hold the padding where nothing is stored.
fn ring_stage_a(values: vec4<f32>, lines: vec4<i32>, stored: vec4<bool>) -> vec4<f32> { return values; }
fn ring_stage_b(values: vec4<f32>, lines: vec4<i32>, stored: vec4<bool>) -> vec4<f32> { return values; }

// Grows by values after which padding can no longer be told from data, and whether there was any.
fn ring_taint(taint: vec4<u32>, values: vec4<f32>, stored: vec4<bool>) -> vec4<u32> { return taint; }
fn ring_tainted(taint: vec4<u32>) -> bool { return false; }

// A sum that padding may have spoilt (0 · ∞) shows it by being NaN.
fn ring_is_exact(acc: f32) -> bool { return !is_nan(acc); }
// Surely all of them; for what is not, each is asked.
fn ring_are_exact(v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32>) -> bool {
    let sums = (v0 + v1) + (v2 + v3);
    return !is_nan((sums.x + sums.y) + (sums.z + sums.w));
}
fn ring_finish(acc: f32, a_line: i32, b_line: i32) -> f32 { return acc; }
fn ring_scaled(values: vec4<f32>, scale: vec4<f32>) -> vec4<f32> { return values; }
fn ring_unscaled(sums: vec4<f32>, scale: vec4<f32>) -> vec4<f32> { return sums; }

fn ring_exact(a0: i32, b0: i32, i: i32, j: i32) -> f32 {
    var acc = 0.0;
    for (var p = first_p(i, j); p < end_p(i, j); p++) {
        acc = fma(load_a(a0 + a_index(i, p)), load_b(b0 + b_index(p, j)), acc);
    }
    return acc;
}
