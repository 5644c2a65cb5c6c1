// What products of f32 in halves share: values as the sums of two, results that leave, and those that halves may not hold.

alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;

const GROUP = 128;
const ROWS = 64;    // of a workgroup
const LOW = 2048.0; // what lower halves are times

var<workgroup> largest_a: atomic<u32>;
var<workgroup> largest_b: atomic<u32>;
var<workgroup> doubtful: atomic<u32>; // 1 if something that was split may not be held
var<workgroup> found: atomic<u32>;    // how many results are to be computed anew

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

// The power of two that takes a value of these bits to 2¹¹ … 2¹², as far as f32 has one LOW times as large. f16 holds 16 times as much,
// since the largest of some is not that of all, and all of its digits from 2⁻¹⁴ on.
fn scale_for(bits: u32) -> f32 {
    let exponent = bits >> 23u;
    if (exponent == 0u) | (exponent >= 255u) { return 1.0; }
    return bitcast<f32>(min(242u, 265u - exponent) << 23u);
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

// Each entry of the workgroup's ROWS × columns is computed by the definition if it isn't finite, or so small that what was lost may
// count. Scaled, a value below 2⁻¹⁴ loses at most 2⁻³⁶, and none is beyond 2¹⁶: k terms lose at most k · 2⁻¹⁹, which is k · 2⁻²⁵ of a sum
// of 2⁶. Eight entries of an invocation are looked at at once. Those found are written down where sums left, so that all invocations
// share them; what that can't hold is computed where it is found.
fn look_again(local: i32, i0: i32, first: i32, columns: i32, a0: i32, b0: i32, c0: i32, least: f32) {
    let tile = Again(i0, i0 - params.c_lower + first, columns, a0, b0, c0, least);
    for (var n = local; n < ROWS * columns; n += 8 * GROUP) {
        let s0 = size_of(n, tile);
        let s1 = size_of(n + GROUP, tile);
        let s2 = size_of(n + 2 * GROUP, tile);
        let s3 = size_of(n + 3 * GROUP, tile);
        let s4 = size_of(n + 4 * GROUP, tile);
        let s5 = size_of(n + 5 * GROUP, tile);
        let s6 = size_of(n + 6 * GROUP, tile);
        let s7 = size_of(n + 7 * GROUP, tile);
        judge(s0, n, tile);
        judge(s1, n + GROUP, tile);
        judge(s2, n + 2 * GROUP, tile);
        judge(s3, n + 3 * GROUP, tile);
        judge(s4, n + 4 * GROUP, tile);
        judge(s5, n + 5 * GROUP, tile);
        judge(s6, n + 6 * GROUP, tile);
        judge(s7, n + 7 * GROUP, tile);
    }
    workgroupBarrier();
    let count = min(i32(atomicLoad(&found)), NOTED);
    for (var m = local; m < count; m += GROUP) { compute_anew(i32(sums[m / 4][m % 4]), tile); }
}

struct Again {
    i0: i32,
    j0: i32,
    columns: i32,
    a0: i32,
    b0: i32,
    c0: i32,
    least: f32, // that holds
}

// Entry n's, negative where there is none.
fn size_of(n: i32, tile: Again) -> f32 {
    let i = tile.i0 + n / tile.columns;
    let j = tile.j0 + n % tile.columns;
    let there = (n < ROWS * tile.columns) & (i < params.rows) & (j >= 0) & (j < params.cols) & in_band(i, j, params.c_lower, params.c_upper);
    var size = -1.0;
    if there { size = abs(value_of_c(tile.c0 + c_index(i, j))); }
    return size;
}

fn judge(size: f32, n: i32, tile: Again) {
    if (size < 0.0) | ((size >= tile.least) & (size <= 3.4028234e38)) { return; }
    let m = i32(atomicAdd(&found, 1u));
    if m < NOTED {
        sums[m / 4][m % 4] = f32(n); // which is exact below 2²⁴
    } else {
        compute_anew(n, tile);
    }
}

fn compute_anew(n: i32, tile: Again) {
    let i = tile.i0 + n / tile.columns;
    let j = tile.j0 + n % tile.columns;
    put_value(tile.c0 + c_index(i, j), exact(tile.a0, tile.b0, i, j));
}

// Eight terms are on their way at once, whether or not a compiler unrolls.
fn exact(a0: i32, b0: i32, i: i32, j: i32) -> f32 {
    var sum = 0.0;
    let end = end_p(i, j);
    for (var p = first_p(i, j); p < end; p += 8) {
        let x = terms_of_a(a0, i, p, end);
        let y = terms_of_b(b0, j, p, end);
        let z = terms_of_a(a0, i, p + 4, end);
        let w = terms_of_b(b0, j, p + 4, end);
        sum = fma(x.w, y.w, fma(x.z, y.z, fma(x.y, y.y, fma(x.x, y.x, sum))));
        sum = fma(z.w, w.w, fma(z.z, w.z, fma(z.y, w.y, fma(z.x, w.x, sum))));
    }
    return sum;
}

// Four of a row of A, and of a column of B, and 0 from `end` on.
fn terms_of_a(a0: i32, i: i32, p: i32, end: i32) -> vec4<f32> {
    let each = vec4(p) + vec4(0, 1, 2, 3);
    let at = min(each, vec4(end - 1));
    let x = vec4(value_of_a(a0 + a_index(i, at.x)), value_of_a(a0 + a_index(i, at.y)), value_of_a(a0 + a_index(i, at.z)), value_of_a(a0 + a_index(i, at.w)));
    return select(vec4(0.0), x, each < vec4(end));
}

fn terms_of_b(b0: i32, j: i32, p: i32, end: i32) -> vec4<f32> {
    let each = vec4(p) + vec4(0, 1, 2, 3);
    let at = min(each, vec4(end - 1));
    let y = vec4(value_of_b(b0 + b_index(at.x, j)), value_of_b(b0 + b_index(at.y, j)), value_of_b(b0 + b_index(at.z, j)), value_of_b(b0 + b_index(at.w, j)));
    return select(vec4(0.0), y, each < vec4(end));
}
