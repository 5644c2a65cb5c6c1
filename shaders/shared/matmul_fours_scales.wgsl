// Scales for `matmul.fours.wgsl`, any of which is right that all terms of an entry share: that of a row of A is its largest
// value, that of a column its largest value among the rows of B that the workgroup has. All that it needs is read once, which also
// brings it into the first cache; scales alone lie in workgroup memory.

override A_FOURS: i32 = 8;              // in a row of A, which has one value more
override QUADS: i32 = STRIPS + A_FOURS; // 4 rows of B each, at most
override COLUMNS: i32 = QUADS + FOURS;  // fours of columns that these reach
override A_PARTS: i32 = select(1, GROUP, SCALES);
override B_PARTS: i32 = select(1, QUADS * (FOURS + 1), SCALES);
override B_SCALES: i32 = select(1, COLUMNS, SCALES);

var<workgroup> a_part: array<vec4<f32>, A_PARTS>; // the largest values of 4 rows, of those that an invocation looks at
var<workgroup> b_part: array<vec4<f32>, B_PARTS>; // those of a quad's columns
var<workgroup> column_scale: array<vec4<f32>, B_SCALES>; // of four columns, from the first that are reached
// Semirings' functions that are not called here name them.
var<workgroup> a_scale: array<f32, 1>;
var<workgroup> b_scale: array<f32, 1>;

// The largest values of A by rows, and of B by columns in 4 rows. What counts for nothing may spoil scales only of what isn't
// written. Loads of an invocation follow each other without a test between.
fn look_for_scales(t: i32, a_start: i32, a_fours: i32, strips: i32, b_start: i32, quads: vec2<i32>) {
    let count = (quads.y - quads.x) * FOURS;
    let end = count - 1;
    for (var n = t; n < count; n += 2 * GROUP) {
        let second = min(n + GROUP, end);
        let quad = vec2(n, second) / FOURS + quads.x;
        let four = vec2(n, second) % FOURS;
        let values0 = quad_of_b(b_start, quad.x, four.x);
        let values1 = quad_of_b(b_start, quad.y, four.y);
        keep_columns(quad.x, four.x, values0);
        if n + GROUP < count { keep_columns(quad.y, four.y, values1); }
    }
    let lane = t % LANES;
    let strip = t / LANES;
    if strip >= strips { return; }
    // Where A has p that B lacks, its values count for nothing.
    let steps = vec2(quads.x - strip, quads.y - strip);
    var largest = vec4(minus_infinity());
    for (var four = lane; four < a_fours; four += 2 * LANES) {
        let second = select(four, four + LANES, four + LANES < a_fours);
        let at = a_start + strip * (4 * a_fours + 1);
        let values0 = quad_of_a(at, four, a_fours);
        var values1 = values0;
        if A_FOURS > LANES { values1 = quad_of_a(at, second, a_fours); }
        largest = max(largest, largest_by_rows(values0, four, a_fours, steps));
        if A_FOURS > LANES { largest = max(largest, largest_by_rows(values1, second, a_fours, steps)); }
    }
    a_part[t] = largest;
}

// Four rows of a four, and the one after the last.
struct Quad {
    v0: vec4<f32>,
    v1: vec4<f32>,
    v2: vec4<f32>,
    v3: vec4<f32>,
    v4: vec4<f32>,
}

fn quad_of_a(start: i32, four: i32, fours: i32) -> Quad {
    let at = start + four;
    let last = select(at, start + 4 * fours, four == 0);
    return Quad(a[at], a[at + fours], a[at + 2 * fours], a[at + 3 * fours], a[last]);
}

fn quad_of_b(start: i32, quad: i32, four: i32) -> Quad {
    let at = start + quad * B_WIDTH + four;
    let last = select(at, at + 4 * FOURS, four == 0);
    return Quad(b[at], b[at + FOURS], b[at + 2 * FOURS], b[at + 3 * FOURS], b[last]);
}

// Rows begin in the first four, and end in the one that is the next row's first.
fn keep_columns(quad: i32, four: i32, values: Quad) {
    let low = vec4(minus_infinity());
    let v1 = select(low, values.v1, in_row(1, four, FOURS));
    let v2 = select(low, values.v2, in_row(2, four, FOURS));
    let v3 = select(low, values.v3, in_row(3, four, FOURS));
    let at = quad * (FOURS + 1) + four;
    b_part[at] = max(max(values.v0, v1), max(v2, v3));
    if four == 0 {
        let w0 = select(low, values.v1, in_row(0, FOURS, FOURS));
        let w1 = select(low, values.v2, in_row(1, FOURS, FOURS));
        let w2 = select(low, values.v3, in_row(2, FOURS, FOURS));
        b_part[at + FOURS] = max(max(w0, w1), max(w2, values.v4));
    }
}

fn largest_by_rows(values: Quad, four: i32, fours: i32, steps: vec2<i32>) -> vec4<f32> {
    let low = vec4(minus_infinity());
    var v0 = values.v0;
    var v1 = select(low, values.v1, in_row(1, four, fours));
    var v2 = select(low, values.v2, in_row(2, four, fours));
    var v3 = select(low, values.v3, in_row(3, four, fours));
    var largest = low;
    if (four >= steps.x) & (four < steps.y) { largest = vec4(largest_of(v0), largest_of(v1), largest_of(v2), largest_of(v3)); }
    if (four == 0) & (fours >= steps.x) & (fours < steps.y) {
        v0 = select(low, values.v1, in_row(0, fours, fours));
        v1 = select(low, values.v2, in_row(1, fours, fours));
        v2 = select(low, values.v3, in_row(2, fours, fours));
        largest = max(largest, vec4(largest_of(v0), largest_of(v1), largest_of(v2), largest_of(values.v4)));
    }
    return largest;
}

fn largest_of(values: vec4<f32>) -> f32 { return max(max(values.x, values.y), max(values.z, values.w)); }

// Scales by what was kept.
fn scale_of_rows(strip: i32) -> vec4<f32> {
    var largest = a_part[strip * LANES];
    for (var lane = 1; lane < LANES; lane++) { largest = max(largest, a_part[strip * LANES + lane]); }
    return finite(largest);
}

fn scale_columns(t: i32, quads: vec2<i32>) {
    for (var n = t; n < COLUMNS; n += GROUP) {
        // The quads that reach it, some of them again where they are few.
        let low = max(quads.x, n - FOURS);
        let high = min(quads.y - 1, n);
        var largest = vec4(minus_infinity());
        for (var f = 0; (f <= FOURS) & (low <= high); f++) { largest = max(largest, b_part[clamp(n - f, low, high) * FOURS + n]); }
        column_scale[n] = finite(largest);
    }
}

// As powers of two.
fn finite(scale: vec4<f32>) -> vec4<f32> {
    let power = scale * 1.44269504;
    return select(vec4(0.0), power, abs(power) <= vec4(3.4028234e38));
}

fn natural(scale: vec4<f32>) -> vec4<f32> { return scale * 0.69314718; }

// Of four columns, number `column` of those that the workgroup reaches.
fn scale_of(column: i32) -> vec4<f32> {
    if !SCALES { return vec4(0.0); }
    return column_scale[min(column, COLUMNS - 1)];
}
