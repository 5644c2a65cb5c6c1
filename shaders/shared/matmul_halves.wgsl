// What products of f32 in halves share: values as the sums of two, results that leave, and those that halves may not hold.

const LOW = 2048.0;               // what lower halves are times

var<private> zero: f16;      // which no compiler knows to be 0
var<private> tiny: u32;      // the least |value| of all but 0: twice its bits, less one
var<private> odd: vec4<f16>; // not 0 if one was infinite or NaN, in f16

struct Halves {
    high: vec4<f16>,
    low: vec4<f16>,
}

fn split(x: vec4<f32>, scale: f32) -> Halves {
    let y = x * scale;
    // Compilers take a value that is narrowed and widened for the value itself, unless something is added between.
    let h = vec4<f16>(y) + vec4(zero);
    let rest = fma(vec4<f32>(h), vec4(-LOW), x * (scale * LOW));
    let size = (bitcast<vec4<u32>>(y) << vec4(1u)) - vec4(1u);
    tiny = min(min(tiny, size.x), size.y);
    tiny = min(min(tiny, size.z), size.w);
    odd = fma(h, vec4(zero), odd);
    return Halves(h, vec4<f16>(rest));
}

fn largest(x: vec4<f32>) -> f32 { return max(max(abs(x.x), abs(x.y)), max(abs(x.z), abs(x.w))); }

// The power of two that takes a value of these bits to 2¹³ … 2¹⁴, as far as f32 has one LOW times as large. f16 holds 4 times as much,
// and all of its digits from 2⁻¹⁴ on.
fn scale_for(bits: u32) -> f32 {
    let exponent = bits >> 23u;
    if (exponent == 0u) | (exponent >= 255u) { return 1.0; }
    return bitcast<f32>(min(242u, 267u - exponent) << 23u);
}

fn inverse(power: f32) -> f32 { return bitcast<f32>((254u << 23u) - bitcast<u32>(power)); }

// What a four holds of a row of `last + 1` values that begins `d` values before it, and 0.
fn of_row(four: vec4<f32>, d: i32, last: i32) -> vec4<f32> {
    let n = vec4(d) + vec4(0, 1, 2, 3);
    return select(vec4(0.0), four, (n >= vec4(0)) & (n <= vec4(last)));
}

// Tile `m` of a subgroup's 16 rows leaves: four columns of row `line` and of 8 rows on, which are stored from address `to` on.
fn leave(sums0: vec4<f32>, sums8: vec4<f32>, row: i32, line: i32, m: i32, four: i32, to: i32) {
    let c_stride = params.c_lower + params.c_upper;
    let j = row - params.c_lower + 16 * m;
    if (m > 0) & (16 * m + 15 <= c_stride) & (j >= 0) & (j + 16 <= params.cols) & (row + 16 <= params.rows) {
        put_four(to, sums0);
        put_four(to + 8 / UNIT * c_stride, sums8);
        return;
    }
    leave_edge(sums0, row + line, 16 * m + 4 * four - line, to);
    leave_edge(sums8, row + line + 8, 16 * m + 4 * four - line - 8, to + 8 / UNIT * c_stride);
}

// What of them is in row i, in which they would begin at place `place`; with the fill for columns that the matrix lacks.
fn leave_edge(values: vec4<f32>, i: i32, place: i32, to: i32) {
    if i >= params.rows { return; }
    let n = vec4(place) + vec4(0, 1, 2, 3);
    let j = n + vec4(i - params.c_lower);
    let value = select(vec4(params.fill), values, (j >= vec4(0)) & (j < vec4(params.cols)));
    let here = (n >= vec4(0)) & (n <= vec4(params.c_lower + params.c_upper));
    put_some(to, value, here);
}

// ---- What halves do not hold ----

// Each entry of the workgroup's ROWS × columns is computed by the definition if it isn't finite, or so small that what was lost may count. Scaled, a
// value below 2⁻¹⁴ loses at most 2⁻³⁶, and none is beyond 2¹⁶: k terms lose at most k · 2⁻¹⁹, which is k · 2⁻²⁵ of a sum of 2⁶.
fn look_again(local: i32, i0: i32, first: i32, columns: i32, a0: i32, b0: i32, c0: i32, least: f32) {
    for (var n = local; n < ROWS * columns; n += GROUP) {
        let i = i0 + n / columns;
        let j = i0 - params.c_lower + first + n % columns;
        if (i >= params.rows) | (j < 0) | (j >= params.cols) { continue; }
        if !in_band(i, j, params.c_lower, params.c_upper) { continue; }
        let at = c0 + c_index(i, j);
        let size = abs(value_of_c(at));
        if !((size >= least) & (size <= 3.4028234e38)) { put_value(at, exact(a0, b0, i, j)); }
    }
}

fn exact(a0: i32, b0: i32, i: i32, j: i32) -> f32 {
    var sum = 0.0;
    for (var p = first_p(i, j); p < end_p(i, j); p++) {
        sum = fma(value_of_a(a0 + a_index(i, p)), value_of_b(b0 + b_index(p, j)), sum);
    }
    return sum;
}
