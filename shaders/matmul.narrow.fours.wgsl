// C = A ⊗ B where C holds the whole product of two narrow bands and everything lies in fours: both bands have a multiple of four
// diagonals and one more, so that neighbouring rows, which begin a row's length less one apart, are alike to loads of four
// values. Columns of C, p, and what is stored of B come four at a time, straight as they lie in memory.
//
//            fours of columns of C          LANES invocations share a strip of 4 rows. A strip has its own p, counted
//       [ window ]→                         from the first that it needs, in steps of four. The window has as many fours of
//   i0  x x x x x . . .                     columns as a row of B is long. An invocation has SLOTS of them, LANES apart, of
//       . x x x x x . .                     all 4 rows. The four rows of B of a step begin in one four and end in the one
//       . . x x x x x .                     that takes its place in the window, for the same invocation: the step's owner.
//
// Where p is no row of B, four of them are none, and are left out. Columns that the matrix lacks are computed like others, and
// not written.

@group(0) @binding(3) var<storage, read_write> c: array<vec4<f32>>;

override ROWS: i32 = 64;       // of a workgroup
override LANES: i32 = 4;       // 1, 2, 4 or 8
override SLOTS: i32 = 2;       // 1 to 4
override A_FOURS: i32 = 8;     // in a row of A, which has one value more, at most
override STAGES_A: bool = false; // whether A goes through workgroup memory, or is read through the cache
override STAGES_B: bool = true;
override TAINTS: bool = false; // whether the semiring asks ring_taints
override SCALES: bool = false; // whether it scales its operands, which are staged then

override FOURS: i32 = SLOTS * LANES; // in a row of B, which has one value more
override STRIPS: i32 = ROWS / 4;
override GROUP: i32 = STRIPS * LANES;
override B_WIDTH: i32 = 4 * FOURS + 1;
override PITCH: i32 = B_WIDTH + select(0, (LANES - B_WIDTH) & 7, STAGES_B & (LANES < 8)); // fours in 4 rows of B, so that strips read different banks
override QUADS: i32 = STRIPS + A_FOURS;                                     // 4 rows of B each
override A_SIZE: i32 = select(1, STRIPS * (4 * A_FOURS + 1), STAGES_A);
override B_SIZE: i32 = select(1, QUADS * PITCH, STAGES_B);
override A_SCALES: i32 = select(1, ROWS, SCALES);
override B_SCALES: i32 = select(1, 4 * (QUADS + FOURS), SCALES);

var<workgroup> tile_a: array<vec4<f32>, A_SIZE>; // as in memory
var<workgroup> tile_b: array<vec4<f32>, B_SIZE>; // as in memory but for what lies between 4 rows and the next
var<workgroup> a_scale: array<f32, A_SCALES>;    // of a row
var<workgroup> b_scale: array<f32, B_SCALES>;    // of a column, from the first that is reached
var<workgroup> tainted: atomic<u32>;

// Four columns, each of 4 rows.
struct Sums {
    e0: vec4<f32>,
    e1: vec4<f32>,
    e2: vec4<f32>,
    e3: vec4<f32>,
}

// What a workgroup brings. Starts are in memory, in fours.
struct Part {
    i0: i32,           // first row
    a_start: i32,
    a_fours: i32,      // in a row
    a_count: i32,      // in all
    b_start: i32,      // of the first p, which B may lack
    quads: vec2<i32>,  // first and end of those that B has
    brings: vec2<i32>, // fours of B, and with A's, that are looked at before the products
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = group_index(group, groups);
    if tile >= params.batch * params.tiles { return; }
    let t = i32(local);
    let batch = i32(tile / params.tiles);
    let a0 = batch * a_len();
    let b0 = batch * b_len();
    let i0 = i32(tile % params.tiles) * ROWS;
    let p0 = i0 - params.a_lower;
    let a_fours = (params.a_lower + params.a_upper) / 4;
    let a_count = min(STRIPS, (params.rows - i0) / 4) * (4 * a_fours + 1);
    let first = clamp(-p0 / 4, 0, STRIPS + a_fours);
    let end = clamp((params.inner - p0) / 4, first, STRIPS + a_fours);
    let from_b = select(0, (end - first) * B_WIDTH, STAGES_B | TAINTS);
    let brings = vec2(from_b, from_b + select(0, a_count, STAGES_A | TAINTS));
    let a_start = (a0 + i0 * (4 * a_fours + 1)) / 4;
    let part = Part(i0, a_start, a_fours, a_count, b0 / 4 + p0 / 4 * B_WIDTH, vec2(first, end), brings);

    if TAINTS {
        if local == 0u { atomicStore(&tainted, 0u); }
        workgroupBarrier();
    }
    bring(t, part);
    if STAGES_A | STAGES_B | TAINTS { workgroupBarrier(); }
    if SCALES { scale(t, part); }

    let lane = t % LANES;
    let strip = t / LANES;
    if i0 + strip * 4 >= params.rows { return; }
    let c_fours = a_fours + FOURS;
    let j0 = p0 + strip * 4 - params.b_lower;
    let c_start = (batch * c_len() + (i0 + strip * 4) * (4 * c_fours + 1)) / 4;
    let own = Own(c_start, c_fours, strip * 4, j0, (j0 >= 0) & (j0 + 4 * c_fours + 3 < params.cols));
    redo = false;
    var c0 = nothing();
    var c1 = nothing();
    var c2 = nothing();
    var c3 = nothing();
    let a_first = select(a_start, 0, STAGES_A) + strip * (4 * a_fours + 1);
    let b_first = select(part.b_start + strip * B_WIDTH, strip * PITCH, STAGES_B);
    let steps = vec2(max(0, part.quads.x - strip), min(a_fours + 1, part.quads.y - strip));
    for (var turn = 0; turn <= c_fours; turn += LANES) {
        var done = nothing();
        let end = min(turn + LANES, steps.y);
        for (var step = max(turn, steps.x); step < end; step++) {
            // Four p of 4 rows of A, which begin and end one p after the other.
            let at_a = a_first + step;
            var x0 = four_of_a(at_a);
            var x1 = four_of_a(at_a + a_fours);
            var x2 = four_of_a(at_a + 2 * a_fours);
            var x3 = four_of_a(at_a + 3 * a_fours);
            if (step == 0) | (step == a_fours) {
                let pad = vec4(ring_pad());
                x0 = select(pad, x0, in_row(0, step, a_fours));
                x1 = select(pad, x1, in_row(1, step, a_fours));
                x2 = select(pad, x2, in_row(2, step, a_fours));
                x3 = select(pad, x3, in_row(3, step, a_fours));
            }

            // The owner's four is the old one from column k on, for row k of B, and the new one up to there.
            let four = turn + lane - step;
            let owns = four == 0;
            let at = b_first + step * PITCH + four;
            let at_first = at + select(0, FOURS, four < 0);
            let y0 = four_of_b(at_first);
            let y1 = four_of_b(at_first + FOURS);
            let y2 = four_of_b(at_first + 2 * FOURS);
            let y3 = four_of_b(at_first + 3 * FOURS);
            var y4 = vec4(ring_pad());
            if owns { y4 = four_of_b(at_first + 4 * FOURS); }
            {
                let x = vec4(x0.x, x1.x, x2.x, x3.x);
                c0 = add(c0, x, y0);
                done.e0 = select(done.e0, c0.e0, owns);
                c0.e0 = ring_mac(select(c0.e0, vec4(ring_start()), owns), select(ring_pad(), y1.x, owns), x);
                if SLOTS > 1 { c1 = add(c1, x, four_of_b(at + LANES)); }
                if SLOTS > 2 { c2 = add(c2, x, four_of_b(at + 2 * LANES)); }
                if SLOTS > 3 { c3 = add(c3, x, four_of_b(at + 3 * LANES)); }
            }
            {
                let x = vec4(x0.y, x1.y, x2.y, x3.y);
                c0 = add(c0, x, vec4(select(y1.x, y2.x, owns), y1.yzw));
                done.e1 = select(done.e1, c0.e1, owns);
                c0.e1 = ring_mac(select(c0.e1, vec4(ring_start()), owns), select(ring_pad(), y2.y, owns), x);
                if SLOTS > 1 { c1 = add(c1, x, four_of_b(at + FOURS + LANES)); }
                if SLOTS > 2 { c2 = add(c2, x, four_of_b(at + FOURS + 2 * LANES)); }
                if SLOTS > 3 { c3 = add(c3, x, four_of_b(at + FOURS + 3 * LANES)); }
            }
            {
                let x = vec4(x0.z, x1.z, x2.z, x3.z);
                c0 = add(c0, x, vec4(select(y2.xy, y3.xy, owns), y2.zw));
                done.e2 = select(done.e2, c0.e2, owns);
                c0.e2 = ring_mac(select(c0.e2, vec4(ring_start()), owns), select(ring_pad(), y3.z, owns), x);
                if SLOTS > 1 { c1 = add(c1, x, four_of_b(at + 2 * FOURS + LANES)); }
                if SLOTS > 2 { c2 = add(c2, x, four_of_b(at + 2 * FOURS + 2 * LANES)); }
                if SLOTS > 3 { c3 = add(c3, x, four_of_b(at + 2 * FOURS + 3 * LANES)); }
            }
            {
                let x = vec4(x0.w, x1.w, x2.w, x3.w);
                c0 = add(c0, x, vec4(select(y3.xyz, y4.xyz, owns), y3.w));
                done.e3 = select(done.e3, c0.e3, owns);
                c0.e3 = ring_mac(select(c0.e3, vec4(ring_start()), owns), select(ring_pad(), y4.w, owns), x);
                if SLOTS > 1 { c1 = add(c1, x, four_of_b(at + 3 * FOURS + LANES)); }
                if SLOTS > 2 { c2 = add(c2, x, four_of_b(at + 3 * FOURS + 2 * LANES)); }
                if SLOTS > 3 { c3 = add(c3, x, four_of_b(at + 3 * FOURS + 3 * LANES)); }
            }
        }
        // After the last step nothing comes to where fours leave.
        if turn + lane >= end {
            done = c0;
            c0 = nothing();
        }
        finish(turn + lane, own, done);
        let newest = c0;
        if SLOTS > 1 { c0 = c1; }
        if SLOTS > 2 { c1 = c2; }
        if SLOTS > 3 { c2 = c3; }
        if SLOTS == 2 { c1 = newest; }
        if SLOTS == 3 { c2 = newest; }
        if SLOTS == 4 { c3 = newest; }
    }

    // What padding may have spoilt is computed anew, entry by entry.
    var tainted_all = false;
    if TAINTS { tainted_all = atomicLoad(&tainted) != 0u; }
    if !(redo | tainted_all) { return; }
    for (var four = lane; four <= c_fours; four += LANES) {
        for (var n = 0; n < 16; n++) {
            let r = n / 4;
            let column = four * 4 + n % 4;
            let j = j0 + column;
            if (j < 0) | (j >= params.cols) | (column < r) | (column > 4 * c_fours + r) { continue; }
            let at = c_start + r * c_fours + four;
            if tainted_all | is_nan(c[at][n % 4]) { c[at][n % 4] = ring_exact(a0, b0, i0 + strip * 4 + r, j); }
        }
    }
}

// ---- The operands come ----

fn four_of_a(at: i32) -> vec4<f32> {
    if STAGES_A { return tile_a[at]; }
    return a[at];
}

fn four_of_b(at: i32) -> vec4<f32> {
    if STAGES_B { return tile_b[at]; }
    return b[at];
}

// Where a four of B is staged, by its number from the first p.
fn place(n: i32) -> i32 { return n + n / B_WIDTH * (PITCH - B_WIDTH); }

// Four number n of B's, or of A's, which come after.
fn bring_four(n: i32, part: Part) -> vec4<f32> {
    var values = vec4(0.0);
    if n < part.brings.x { values = b[part.b_start + part.quads.x * B_WIDTH + n]; }
    if (n >= part.brings.x) & (n < part.brings.y) { values = a[part.a_start + n - part.brings.x]; }
    return values;
}

fn stage_four(n: i32, values: vec4<f32>, part: Part) -> vec4<bool> {
    if STAGES_B & (n < part.brings.x) { tile_b[place(part.quads.x * B_WIDTH + n)] = values; }
    if STAGES_A & (n >= part.brings.x) & (n < part.brings.y) { tile_a[n - part.brings.x] = values; }
    return ring_taints(values);
}

// Into workgroup memory, or only past ring_taints, which may be asked about values that count for nothing, too. Eight at a time are
// on their way.
fn bring(t: i32, part: Part) {
    var taint = vec4(false);
    for (var n = t; n < part.brings.y; n += 8 * GROUP) {
        let x0 = bring_four(n, part);
        let x1 = bring_four(n + 1 * GROUP, part);
        let x2 = bring_four(n + 2 * GROUP, part);
        let x3 = bring_four(n + 3 * GROUP, part);
        let x4 = bring_four(n + 4 * GROUP, part);
        let x5 = bring_four(n + 5 * GROUP, part);
        let x6 = bring_four(n + 6 * GROUP, part);
        let x7 = bring_four(n + 7 * GROUP, part);
        taint |= stage_four(n, x0, part);
        taint |= stage_four(n + 1 * GROUP, x1, part);
        taint |= stage_four(n + 2 * GROUP, x2, part);
        taint |= stage_four(n + 3 * GROUP, x3, part);
        taint |= stage_four(n + 4 * GROUP, x4, part);
        taint |= stage_four(n + 5 * GROUP, x5, part);
        taint |= stage_four(n + 6 * GROUP, x6, part);
        taint |= stage_four(n + 7 * GROUP, x7, part);
    }
    if TAINTS {
        if any(taint) { atomicStore(&tainted, 1u); }
    }
}

// Scales for rows and columns by what is staged of them, and the stage scaled: any scale is right that all terms of an entry
// share.
fn scale(t: i32, part: Part) {
    let columns = QUADS + FOURS;
    for (var n = t; n < columns + ROWS; n += GROUP) {
        if n < columns {
            scale_columns(n, part);
        } else if part.i0 + n - columns < params.rows {
            scale_row(n - columns, part);
        }
    }
    workgroupBarrier();
    let a_width = 4 * part.a_fours + 1;
    let by_width = 1048576u / u32(a_width) + 1u;
    for (var n = t; n < part.a_count; n += GROUP) {
        let values = tile_a[n];
        let row = i32((u32(n) * 4u * by_width) >> 20u);
        let rows = row + vec4<i32>(n * 4 - row * a_width + vec4(0, 1, 2, 3) >= vec4(a_width));
        tile_a[n] = ring_stage_a(values, rows, is_stored(values));
    }
    for (var n = part.quads.x * B_WIDTH + t; n < part.quads.y * B_WIDTH; n += GROUP) {
        let at = place(n);
        let values = tile_b[at];
        let slots = n * 4 + vec4(0, 1, 2, 3);
        tile_b[at] = ring_stage_b(values, slots - slots / B_WIDTH * (4 * FOURS), is_stored(values));
    }
    workgroupBarrier();
}

// Four columns, number `column` of those that are reached.
fn scale_columns(column: i32, part: Part) {
    var largest = vec4(minus_infinity());
    for (var quad = max(part.quads.x, column - FOURS); quad < min(part.quads.y, column + 1); quad++) {
        let four = column - quad;
        let at = quad * PITCH + four;
        let y0 = select(largest, tile_b[at], in_row(0, four, FOURS));
        let y1 = select(largest, tile_b[at + FOURS], in_row(1, four, FOURS));
        let y2 = select(largest, tile_b[at + 2 * FOURS], in_row(2, four, FOURS));
        let y3 = select(largest, tile_b[at + 3 * FOURS], in_row(3, four, FOURS));
        largest = max(max(max(y0, y1), max(y2, y3)), largest);
    }
    b_scale[column * 4] = finite(largest.x);
    b_scale[column * 4 + 1] = finite(largest.y);
    b_scale[column * 4 + 2] = finite(largest.z);
    b_scale[column * 4 + 3] = finite(largest.w);
}

fn scale_row(row: i32, part: Part) {
    let strip = row / 4;
    let at = strip * (4 * part.a_fours + 1) + row % 4 * part.a_fours;
    var largest = vec4(minus_infinity());
    for (var four = max(0, part.quads.x - strip); four < min(part.a_fours + 1, part.quads.y - strip); four++) {
        largest = max(largest, select(largest, tile_a[at + four], in_row(row % 4, four, part.a_fours)));
    }
    a_scale[row] = finite(max(max(largest.x, largest.y), max(largest.z, largest.w)));
}

fn finite(scale: f32) -> f32 { return select(0.0, scale, abs(scale) <= 3.4028234e38); }

// Which values of a four row r of 4 has, where a row lies in as many fours and one value more.
fn in_row(r: i32, four: i32, fours: i32) -> vec4<bool> {
    let n = vec4(0, 1, 2, 3);
    return ((n >= vec4(r)) | vec4(four > 0)) & ((n <= vec4(r)) | vec4(four < fours));
}

// ---- They are multiplied ----

fn nothing() -> Sums {
    let start = vec4(ring_start());
    return Sums(start, start, start, start);
}

// One p of 4 rows of A, and four columns of that row of B.
fn add(sums: Sums, x: vec4<f32>, y: vec4<f32>) -> Sums {
    return Sums(ring_mac(sums.e0, y.x, x), ring_mac(sums.e1, y.y, x), ring_mac(sums.e2, y.z, x), ring_mac(sums.e3, y.w, x));
}

// ---- C leaves ----

// A strip of C.
struct Own {
    start: i32,   // where its first row is stored, in fours
    fours: i32,   // in a row, which has one value more
    line: i32,    // its first row, of the workgroup's
    column: i32,  // and the first column that is reached
    inside: bool, // whether the matrix has all columns
}

// Four columns of the 4 rows into C, number `four` of those that the strip reaches. What no row has in the first and the last is
// any number.
fn finish(four: i32, own: Own, sums: Sums) {
    if four > own.fours { return; }
    var v0 = vec4(sums.e0.x, sums.e1.x, sums.e2.x, sums.e3.x);
    var v1 = vec4(sums.e0.y, sums.e1.y, sums.e2.y, sums.e3.y);
    var v2 = vec4(sums.e0.z, sums.e1.z, sums.e2.z, sums.e3.z);
    var v3 = vec4(sums.e0.w, sums.e1.w, sums.e2.w, sums.e3.w);
    if (four == 0) | (four == own.fours) {
        v0 = select(vec4(1.0), v0, in_row(0, four, own.fours));
        v1 = select(vec4(1.0), v1, in_row(1, four, own.fours));
        v2 = select(vec4(1.0), v2, in_row(2, four, own.fours));
        v3 = select(vec4(1.0), v3, in_row(3, four, own.fours));
    }
    let all = ring_are_exact(v0) & ring_are_exact(v1) & ring_are_exact(v2) & ring_are_exact(v3) & own.inside;
    v0 = finished(0, four, own, v0, all);
    v1 = finished(1, four, own, v1, all);
    v2 = finished(2, four, own, v2, all);
    v3 = finished(3, four, own, v3, all);
    store(0, four, own, v0);
    store(1, four, own, v1);
    store(2, four, own, v2);
    store(3, four, own, v3);
}

// Unless all are exact and within the matrix, with the fill for columns that it lacks, and NaN for what is to be computed anew.
fn finished(r: i32, four: i32, own: Own, sums: vec4<f32>, all: bool) -> vec4<f32> {
    let row = own.line + r;
    let column = own.line + four * 4;
    var values = vec4(ring_finish(sums.x, row, column), ring_finish(sums.y, row, column + 1), ring_finish(sums.z, row, column + 2), ring_finish(sums.w, row, column + 3));
    if all { return values; }
    let j = own.column + four * 4 + vec4(0, 1, 2, 3);
    let there = (j >= vec4(0)) & (j < vec4(params.cols));
    let exact = vec4(ring_is_exact(sums.x), ring_is_exact(sums.y), ring_is_exact(sums.z), ring_is_exact(sums.w));
    redo |= any(there & !exact);
    values = select(vec4(from_bits(0x7fc00000u)), values, exact);
    return select(vec4(params.fill), values, there);
}

// A row's last value shares its four with the next row's first ones, but for the strip's.
fn store(r: i32, four: i32, own: Own, values: vec4<f32>) {
    let at = own.start + r * own.fours + four;
    let first = four == 0;
    if ((r == 0) | !first) & ((r == 3) | (four < own.fours)) {
        c[at] = values;
        return;
    }
    if (r == 0) | ((r > 0) & !first) { c[at].x = values.x; }
    if (r == 1) | ((r < 1) & first) | ((r > 1) & !first) { c[at].y = values.y; }
    if (r == 2) | ((r < 2) & first) | ((r > 2) & !first) { c[at].z = values.z; }
    if (r == 3) | ((r < 3) & first) { c[at].w = values.w; }
}
