// C = A ⊗ B where C holds the whole product of two bands and everything lies in fours: both bands have a multiple of four
// diagonals and one more, so that neighbouring rows, which begin a row's length less one apart, are alike to loads of four
// values. Columns of C, p, and what is stored of B come four at a time, straight as they lie in memory, through the first
// cache: with nothing in workgroup memory, as many subgroups run at once as there are registers for.
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

override ROWS: i32 = 64;        // of a workgroup
override LANES: i32 = 4;        // of a strip, which a row of A has a multiple of, in fours
override SLOTS: i32 = 2;        // 1 to 4
override LOOKS: bool = false;   // whether all that the workgroup needs is looked at first, which also brings it, all at once
override FINITE: bool = false;  // whether what is not finite counts there, as over Sum, or what ring_taint says
override AHEAD: bool = false;   // whether a step's operands are read while the one before is multiplied
override SCALES: bool = false;  // whether the semiring scales its operands
override FOURS: i32 = SLOTS * LANES; // in a row of B, which has one value more
override STRIPS: i32 = ROWS / 4;
override GROUP: i32 = STRIPS * LANES;
override B_WIDTH: i32 = 4 * FOURS + 1; // fours in 4 rows of B

var<workgroup> tainted: atomic<u32>;

// Four columns, each of 4 rows.
struct Sums {
    e0: vec4<f32>,
    e1: vec4<f32>,
    e2: vec4<f32>,
    e3: vec4<f32>,
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

    // Starts are in memory, in fours; quads are 4 rows of B, first and end of those that it has.
    let a_start = (a0 + i0 * (4 * a_fours + 1)) / 4;
    let b_start = b0 / 4 + p0 / 4 * B_WIDTH;
    let strips = min(STRIPS, (params.rows - i0) / 4);
    let first = clamp(-p0 / 4, 0, STRIPS + a_fours);
    let quads = vec2(first, clamp((params.inner - p0) / 4, first, strips + a_fours));
    redo = false;
    var tainted_all = false;
    if LOOKS {
        if local == 0u { atomicStore(&tainted, 0u); }
        workgroupBarrier();
        look(t, b_start + quads.x * B_WIDTH, (quads.y - quads.x) * B_WIDTH, a_start, strips * (4 * a_fours + 1));
        workgroupBarrier();
        // A sum that padding has spoilt is NaN, so over Sum there is no more to be done than to look for these.
        let found = atomicLoad(&tainted) != 0u;
        redo = FINITE & found;
        tainted_all = !FINITE & found;
    }

    let lane = t % LANES;
    let strip = t / LANES;
    var x_scale = vec4(0.0);
    if SCALES {
        look_for_scales(t, a_start, a_fours, strips, b_start, quads);
        workgroupBarrier();
        scale_columns(t, quads);
        if strip < strips { x_scale = scale_of_rows(strip); }
        workgroupBarrier();
    }
    if strip >= strips { return; }
    let c_fours = a_fours + FOURS;
    let j0 = p0 + strip * 4 - params.b_lower;
    let own = Own((batch * c_len() + (i0 + strip * 4) * (4 * c_fours + 1)) / 4, c_fours, j0, (j0 >= 0) & (j0 + 4 * c_fours + 3 < params.cols));
    let a_first = a_start + strip * (4 * a_fours + 1);
    let b_first = b_start + strip * B_WIDTH;
    let steps = vec2(max(0, quads.x - strip), min(a_fours + 1, quads.y - strip));
    var c0 = nothing();
    var c1 = nothing();
    var c2 = nothing();
    var c3 = nothing();
    var scale0 = scale_of(strip + lane);
    var scale1 = scale_of(strip + lane + LANES);
    var scale2 = scale_of(strip + lane + 2 * LANES);
    var scale3 = scale_of(strip + lane + 3 * LANES);
    var ahead: Step;
    if AHEAD & (steps.x < steps.y) { ahead = read_step(steps.x, steps.x / LANES * LANES + lane - steps.x, a_first, a_fours, b_first); }
    for (var turn = 0; turn <= c_fours; turn += LANES) {
        var done = nothing();
        if SCALES & (turn + lane < steps.x) { scale0 = scale_of(strip + turn + lane + FOURS); }
        let end = min(turn + LANES, steps.y);
        for (var step = max(turn, steps.x); step < end; step++) {
            // Four p of 4 rows of A, which begin and end one p after the other.
            let at_a = a_first + step;
            var x0 = ring_scaled(of_a(ahead.x0, at_a), vec4(x_scale.x));
            var x1 = ring_scaled(of_a(ahead.x1, at_a + a_fours), vec4(x_scale.y));
            var x2 = ring_scaled(of_a(ahead.x2, at_a + 2 * a_fours), vec4(x_scale.z));
            var x3 = ring_scaled(of_a(ahead.x3, at_a + 3 * a_fours), vec4(x_scale.w));
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
            let at = b_first + step * B_WIDTH + four;
            let at_first = at + select(0, FOURS, four < 0);
            let scale = scale0;
            if SCALES & owns { scale0 = scale_of(strip + turn + lane + FOURS); }
            let y0 = ring_scaled(of_b(ahead.y0, at_first), scale);
            let y1 = ring_scaled(of_b(ahead.y1, at_first + FOURS), vec4(scale0.x, scale.yzw));
            let y2 = ring_scaled(of_b(ahead.y2, at_first + 2 * FOURS), vec4(scale0.xy, scale.zw));
            let y3 = ring_scaled(of_b(ahead.y3, at_first + 3 * FOURS), vec4(scale0.xyz, scale.w));
            var y4 = vec4(ring_pad());
            if owns { y4 = ring_scaled(of_b(ahead.y4, at_first + 4 * FOURS), scale0); }
            {
                let x = vec4(x0.x, x1.x, x2.x, x3.x);
                c0 = add(c0, x, y0);
                if owns {
                    done.e0 = c0.e0;
                    c0.e0 = ring_mac(vec4(ring_start()), y1.x, x);
                }
                if SLOTS > 1 { c1 = add(c1, x, ring_scaled(of_b(ahead.u0, at + LANES), scale1)); }
                if SLOTS > 2 { c2 = add(c2, x, ring_scaled(of_b(ahead.v0, at + 2 * LANES), scale2)); }
                if SLOTS > 3 { c3 = add(c3, x, ring_scaled(of_b(ahead.w0, at + 3 * LANES), scale3)); }
            }
            {
                let x = vec4(x0.y, x1.y, x2.y, x3.y);
                c0 = add(c0, x, vec4(select(y1.x, y2.x, owns), y1.yzw));
                if owns {
                    done.e1 = c0.e1;
                    c0.e1 = ring_mac(vec4(ring_start()), y2.y, x);
                }
                if SLOTS > 1 { c1 = add(c1, x, ring_scaled(of_b(ahead.u1, at + FOURS + LANES), scale1)); }
                if SLOTS > 2 { c2 = add(c2, x, ring_scaled(of_b(ahead.v1, at + FOURS + 2 * LANES), scale2)); }
                if SLOTS > 3 { c3 = add(c3, x, ring_scaled(of_b(ahead.w1, at + FOURS + 3 * LANES), scale3)); }
            }
            {
                let x = vec4(x0.z, x1.z, x2.z, x3.z);
                c0 = add(c0, x, vec4(select(y2.xy, y3.xy, owns), y2.zw));
                if owns {
                    done.e2 = c0.e2;
                    c0.e2 = ring_mac(vec4(ring_start()), y3.z, x);
                }
                if SLOTS > 1 { c1 = add(c1, x, ring_scaled(of_b(ahead.u2, at + 2 * FOURS + LANES), scale1)); }
                if SLOTS > 2 { c2 = add(c2, x, ring_scaled(of_b(ahead.v2, at + 2 * FOURS + 2 * LANES), scale2)); }
                if SLOTS > 3 { c3 = add(c3, x, ring_scaled(of_b(ahead.w2, at + 2 * FOURS + 3 * LANES), scale3)); }
            }
            {
                let x = vec4(x0.w, x1.w, x2.w, x3.w);
                c0 = add(c0, x, vec4(select(y3.xyz, y4.xyz, owns), y3.w));
                if owns {
                    done.e3 = c0.e3;
                    c0.e3 = ring_mac(vec4(ring_start()), y4.w, x);
                }
                if SLOTS > 1 { c1 = add(c1, x, ring_scaled(of_b(ahead.u3, at + 3 * FOURS + LANES), scale1)); }
                if SLOTS > 2 { c2 = add(c2, x, ring_scaled(of_b(ahead.v3, at + 3 * FOURS + 2 * LANES), scale2)); }
                if SLOTS > 3 { c3 = add(c3, x, ring_scaled(of_b(ahead.w3, at + 3 * FOURS + 3 * LANES), scale3)); }
            }
            if AHEAD {
                let next = min(step + 1, steps.y - 1);
                let next_four = select(turn, turn + LANES, next == turn + LANES) + lane - next;
                ahead = read_step(next, next_four, a_first, a_fours, b_first);
            }
        }
        // After the last step nothing comes to where fours leave.
        if turn + lane >= end {
            done = c0;
            c0 = nothing();
        }
        finish(turn + lane, own, done, x_scale, scale_of(strip + turn + lane));
        let newest = c0;
        let newest_scale = scale0;
        if SLOTS > 1 { c0 = c1; scale0 = scale1; }
        if SLOTS > 2 { c1 = c2; scale1 = scale2; }
        if SLOTS > 3 { c2 = c3; scale2 = scale3; }
        if SLOTS == 2 { c1 = newest; scale1 = newest_scale; }
        if SLOTS == 3 { c2 = newest; scale2 = newest_scale; }
        if SLOTS == 4 { c3 = newest; scale3 = newest_scale; }
    }

    // What padding may have spoilt is computed anew, entry by entry.
    if !(redo | tainted_all) { return; }
    for (var four = lane; four <= c_fours; four += LANES) {
        for (var n = 0; n < 16; n++) {
            let r = n / 4;
            let column = four * 4 + n % 4;
            let j = j0 + column;
            if (j < 0) | (j >= params.cols) | (column < r) | (column > 4 * c_fours + r) { continue; }
            let at = own.start + r * c_fours + four;
            if tainted_all | is_nan(c[at][n % 4]) { c[at][n % 4] = ring_exact(a0, b0, i0 + strip * 4 + r, j); }
        }
    }
}

// ---- The operands are looked at ----

// So many fours of B and A, eight of each invocation on their way at once. Those that count for nothing may taint, too.
fn look(t: i32, b_start: i32, b_count: i32, a_start: i32, a_count: i32) {
    var taint = vec4(0u);
    for (var n = t; n < b_count; n += 8 * GROUP) {
        let v0 = four_of_b(n, b_start, b_count);
        let v1 = four_of_b(n + 1 * GROUP, b_start, b_count);
        let v2 = four_of_b(n + 2 * GROUP, b_start, b_count);
        let v3 = four_of_b(n + 3 * GROUP, b_start, b_count);
        let v4 = four_of_b(n + 4 * GROUP, b_start, b_count);
        let v5 = four_of_b(n + 5 * GROUP, b_start, b_count);
        let v6 = four_of_b(n + 6 * GROUP, b_start, b_count);
        let v7 = four_of_b(n + 7 * GROUP, b_start, b_count);
        taint = look_at(look_at(look_at(look_at(taint, v0), v1), v2), v3);
        taint = look_at(look_at(look_at(look_at(taint, v4), v5), v6), v7);
    }
    for (var n = t; n < a_count; n += 8 * GROUP) {
        let v0 = four_of_a(n, a_start, a_count);
        let v1 = four_of_a(n + 1 * GROUP, a_start, a_count);
        let v2 = four_of_a(n + 2 * GROUP, a_start, a_count);
        let v3 = four_of_a(n + 3 * GROUP, a_start, a_count);
        let v4 = four_of_a(n + 4 * GROUP, a_start, a_count);
        let v5 = four_of_a(n + 5 * GROUP, a_start, a_count);
        let v6 = four_of_a(n + 6 * GROUP, a_start, a_count);
        let v7 = four_of_a(n + 7 * GROUP, a_start, a_count);
        taint = look_at(look_at(look_at(look_at(taint, v0), v1), v2), v3);
        taint = look_at(look_at(look_at(look_at(taint, v4), v5), v6), v7);
    }
    if any(taint >= vec4(0x80000000u)) { atomicStore(&tainted, 1u); }
}

fn four_of_a(n: i32, start: i32, count: i32) -> vec4<f32> {
    var values = vec4(0.0);
    if n < count { values = a[start + n]; }
    return values;
}

fn four_of_b(n: i32, start: i32, count: i32) -> vec4<f32> {
    var values = vec4(0.0);
    if n < count { values = b[start + n]; }
    return values;
}

fn look_at(taint: vec4<u32>, values: vec4<f32>) -> vec4<u32> {
    if !FINITE { return ring_taint(taint, values, vec4(true)); }
    return select(taint, vec4(0x80000000u), (bitcast<vec4<u32>>(values) & vec4(0x7f800000u)) == vec4(0x7f800000u));
}

// ---- They are multiplied ----

// What a step takes: a four of each of 4 rows of A, and of the same p's 4 rows of B those of an invocation's slots and, y4, what
// the owner has of the row after.
struct Step {
    x0: vec4<f32>, x1: vec4<f32>, x2: vec4<f32>, x3: vec4<f32>,
    y0: vec4<f32>, y1: vec4<f32>, y2: vec4<f32>, y3: vec4<f32>, y4: vec4<f32>,
    u0: vec4<f32>, u1: vec4<f32>, u2: vec4<f32>, u3: vec4<f32>,
    v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32>,
    w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>,
}

// What was read ahead, or what is read where it is used: for narrow bands drivers make more of that than of read_step.
fn of_a(ahead: vec4<f32>, at: i32) -> vec4<f32> {
    if AHEAD { return ahead; }
    return a[at];
}

fn of_b(ahead: vec4<f32>, at: i32) -> vec4<f32> {
    if AHEAD { return ahead; }
    return b[at];
}

// `four` is the invocation's first, counted from where the step's rows of B begin: negative if the window has left it.
fn read_step(step: i32, four: i32, a_first: i32, a_fours: i32, b_first: i32) -> Step {
    var s: Step;
    let at_a = a_first + step;
    s.x0 = a[at_a];
    s.x1 = a[at_a + a_fours];
    s.x2 = a[at_a + 2 * a_fours];
    s.x3 = a[at_a + 3 * a_fours];
    let at = b_first + step * B_WIDTH + four;
    let at_first = at + select(0, FOURS, four < 0);
    s.y0 = b[at_first];
    s.y1 = b[at_first + FOURS];
    s.y2 = b[at_first + 2 * FOURS];
    s.y3 = b[at_first + 3 * FOURS];
    s.y4 = vec4(ring_pad());
    if four == 0 { s.y4 = b[at_first + 4 * FOURS]; }
    if SLOTS > 1 {
        s.u0 = b[at + LANES];
        s.u1 = b[at + FOURS + LANES];
        s.u2 = b[at + 2 * FOURS + LANES];
        s.u3 = b[at + 3 * FOURS + LANES];
    }
    if SLOTS > 2 {
        s.v0 = b[at + 2 * LANES];
        s.v1 = b[at + FOURS + 2 * LANES];
        s.v2 = b[at + 2 * FOURS + 2 * LANES];
        s.v3 = b[at + 3 * FOURS + 2 * LANES];
    }
    if SLOTS > 3 {
        s.w0 = b[at + 3 * LANES];
        s.w1 = b[at + FOURS + 3 * LANES];
        s.w2 = b[at + 2 * FOURS + 3 * LANES];
        s.w3 = b[at + 3 * FOURS + 3 * LANES];
    }
    return s;
}

fn nothing() -> Sums {
    let start = vec4(ring_start());
    return Sums(start, start, start, start);
}

// One p of 4 rows of A, and four columns of that row of B.
fn add(sums: Sums, x: vec4<f32>, y: vec4<f32>) -> Sums {
    return Sums(ring_mac(sums.e0, y.x, x), ring_mac(sums.e1, y.y, x), ring_mac(sums.e2, y.z, x), ring_mac(sums.e3, y.w, x));
}

// Which values of a four row r of 4 has, where a row lies in as many fours and one value more.
fn in_row(r: i32, four: i32, fours: i32) -> vec4<bool> {
    let n = vec4(0, 1, 2, 3);
    return ((n >= vec4(r)) | vec4(four > 0)) & ((n <= vec4(r)) | vec4(four < fours));
}

// ---- C leaves ----

// A strip of C.
struct Own {
    start: i32,   // where its first row is stored, in fours
    fours: i32,   // in a row, which has one value more
    column: i32,  // the first that is reached
    inside: bool, // whether the matrix has all columns
}

// The first four of rows 1 to 3, which they share with the last values of the rows before.
var<private> first1: vec4<f32>;
var<private> first2: vec4<f32>;
var<private> first3: vec4<f32>;

// Four columns of the 4 rows into C, number `four` of those that the strip reaches. What no row has in the first and the last is
// any number. One invocation has both.
fn finish(four: i32, own: Own, sums: Sums, x_scale: vec4<f32>, y_scale: vec4<f32>) {
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
    v0 = finished(four, own, v0, x_scale.x + y_scale, all);
    v1 = finished(four, own, v1, x_scale.y + y_scale, all);
    v2 = finished(four, own, v2, x_scale.z + y_scale, all);
    v3 = finished(four, own, v3, x_scale.w + y_scale, all);
    if four == 0 {
        c[own.start] = v0;
        first1 = v1;
        first2 = v2;
        first3 = v3;
        return;
    }
    if four == own.fours {
        v0 = vec4(v0.x, first1.yzw);
        v1 = vec4(v1.xy, first2.zw);
        v2 = vec4(v2.xyz, first3.w);
    }
    let at = own.start + four;
    c[at] = v0;
    c[at + own.fours] = v1;
    c[at + 2 * own.fours] = v2;
    c[at + 3 * own.fours] = v3;
}

// Unless all are exact and within the matrix, with the fill for columns that it lacks, and NaN for what is to be computed anew.
fn finished(four: i32, own: Own, sums: vec4<f32>, scale: vec4<f32>, all: bool) -> vec4<f32> {
    let values = ring_unscaled(sums, scale);
    if all { return values; }
    let j = own.column + four * 4 + vec4(0, 1, 2, 3);
    let there = (j >= vec4(0)) & (j < vec4(params.cols));
    let exact = vec4(ring_is_exact(sums.x), ring_is_exact(sums.y), ring_is_exact(sums.z), ring_is_exact(sums.w));
    redo |= any(there & !exact);
    return select(vec4(params.fill), select(vec4(from_bits(0x7fc00000u)), values, exact), there);
}
