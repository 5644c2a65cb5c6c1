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
override LOOKS: bool = false;   // whether all that the workgroup needs is looked at, first if not on the way, which brings it all at once
override FINITE: bool = false;  // whether what is not finite counts there, as over Sum, or what ring_taint says
override LONG: bool = false;    // whether rows are so long that it pays to know A_FOURS, and to write steps out, those at edges apart
override IN_FOURS: i32 = -1;    // the bits of an index of a four. Where they are few, NVIDIA's compiler makes offsets parts of loads
override AHEAD: bool = false;   // whether a step's operands are read while the one before is multiplied
override SCALES: bool = false;  // whether the semiring scales its operands
override FOURS: i32 = SLOTS * LANES; // in a row of B, which has one value more
override STRIPS: i32 = ROWS / 4;
override GROUP: i32 = STRIPS * LANES;
override ON_THE_WAY: bool = LOOKS & LONG & (STRIPS >= LANES); // whether operands are looked at as they are multiplied
override B_WIDTH: i32 = 4 * FOURS + 1; // fours in 4 rows of B
override BEFORE: i32 = select(0, LANES, LONG); // is added to the first slot's index, which may be before B, and masked may not be negative
override NEXT: i32 = LANES - BEFORE;           // from there to the next slot's

var<workgroup> tainted: atomic<u32>;
var<workgroup> suspected: u32;

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
    let a_fours = select((params.a_lower + params.a_upper) / 4, A_FOURS, LONG);

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
    }
    if LOOKS & !ON_THE_WAY {
        look(t, b_start + quads.x * B_WIDTH, (quads.y - quads.x) * B_WIDTH, a_start, strips * (4 * a_fours + 1));
        workgroupBarrier();
        // A sum that padding has spoilt is NaN, so over Sum there is no more to be done than to look for these.
        let found = atomicLoad(&tainted) != 0u;
        redo = FINITE & found;
        tainted_all = !FINITE & found;
    }

    // The strips of 32 invocations that go in step are apart, so that what they read lies alike in the cache's lines, as neighbours'
    // rows don't: that took 5 to 8% off.
    let lane = t % LANES;
    let strip = t / max(32, LANES) + t % 32 / LANES * (GROUP / 32);
    var x_scale = vec4(0.0);
    if SCALES {
        look_for_scales(t, a_start, a_fours, strips, b_start, quads);
        workgroupBarrier();
        scale_columns(t, quads);
        if strip < strips { x_scale = scale_of_rows(strip); }
        workgroupBarrier();
    }
    let c_fours = a_fours + FOURS;
    let j0 = p0 + strip * 4 - params.b_lower;
    let own = Own((batch * c_len() + (i0 + strip * 4) * (4 * c_fours + 1)) / 4, c_fours, j0, (j0 >= 0) & (j0 + 4 * c_fours + 3 < params.cols));
    let a_first = a_start + strip * (4 * a_fours + 1);
    let b_first = b_start + strip * B_WIDTH;
    let steps = vec2(max(0, quads.x - strip), min(a_fours + 1, quads.y - strip));
    if ON_THE_WAY & (strip < strips) { suspect_rows(a_first, lane); }
    let next = strip + lane + 1;
    var w = Window(nothing(), nothing(), nothing(), nothing(), nothing(),
        scale_of(strip), scale_of(next), scale_of(next + LANES), scale_of(next + 2 * LANES));
    var ahead: Step;
    if AHEAD & (steps.x < steps.y) {
        let turn = (steps.x + LANES - 1) / LANES * LANES - (LANES - 1);
        ahead = read_step(steps.x, turn + lane, a_first, a_fours, b_first);
    }
    if strip < strips {
        // The last lane has the first four of C, which leaves in the first turn, and the last, which leaves in the last. Where rows are
        // long, turns without steps are apart.
        var turn = 1 - LANES;
        for (; turn < select(c_fours, steps.y, LONG); turn += LANES) {
            let end = min(turn + LANES, steps.y);
            if !LONG | (turn < steps.x) { w.done = nothing(); }
            if SCALES & (turn + lane < steps.x) { w.scale0 = scale_of(strip + turn + lane + FOURS); }
            var step = max(turn, steps.x);
            // LANES are a divisor of A's fours: no step of a turn but the last is at an edge of its rows. Of the others two are written
            // out. All stand in a loop that runs once: NVIDIA's compiler then copies no sums between them.
            for (var once = 0; LONG & (once < 1); once++) {
                let last = turn + LANES - 1;
                let stop = min(end, last);
                if (step < stop) & (((stop - step) & 1) == 1) {
                    w = multiply(w, step, turn + lane, strip, a_first, a_fours, b_first, x_scale, ahead, false);
                    if AHEAD { ahead = read_next(step, turn, lane, steps.y, a_first, a_fours, b_first); }
                    step++;
                }
                for (; step < stop; step += 2) {
                    w = multiply(w, step, turn + lane, strip, a_first, a_fours, b_first, x_scale, ahead, false);
                    if AHEAD { ahead = read_next(step, turn, lane, steps.y, a_first, a_fours, b_first); }
                    w = multiply(w, step + 1, turn + lane, strip, a_first, a_fours, b_first, x_scale, ahead, false);
                    if AHEAD { ahead = read_next(step + 1, turn, lane, steps.y, a_first, a_fours, b_first); }
                }
                if (step < end) & (step == last) {
                    w = multiply(w, step, turn + lane, strip, a_first, a_fours, b_first, x_scale, ahead, true);
                    if AHEAD { ahead = read_next(step, turn, lane, steps.y, a_first, a_fours, b_first); }
                    step++;
                }
            }
            for (; !LONG & (step < end); step++) {
                w = multiply(w, step, turn + lane, strip, a_first, a_fours, b_first, x_scale, ahead, (step == 0) | (step == a_fours));
                if AHEAD { ahead = read_next(step, turn, lane, steps.y, a_first, a_fours, b_first); }
            }
            // After the last step nothing comes to where fours leave. Where rows are long there seldom are such in a turn, so it is a
            // loop, of which compilers make no selections.
            if !LONG {
                if turn + lane >= end {
                    w.done = w.c0;
                    w.c0 = nothing();
                }
            }
            for (var late = end; LONG & (late < turn + LANES); late++) {
                if turn + lane == late {
                    w.done = w.c0;
                    w.c0 = nothing();
                }
            }
            finish(turn + lane, strip, own, w.done, natural(x_scale));
            let newest = w.c0;
            let newest_scale = w.scale0;
            if SLOTS > 1 { w.c0 = w.c1; w.scale0 = w.scale1; }
            if SLOTS > 2 { w.c1 = w.c2; w.scale1 = w.scale2; }
            if SLOTS > 3 { w.c2 = w.c3; w.scale2 = w.scale3; }
            if SLOTS == 2 { w.c1 = newest; w.scale1 = newest_scale; }
            if SLOTS == 3 { w.c2 = newest; w.scale2 = newest_scale; }
            if SLOTS == 4 { w.c3 = newest; w.scale3 = newest_scale; }
        }
        // Windows leave as they are.
        for (; LONG & (turn < c_fours); turn += LANES) {
            finish(turn + lane, strip, own, w.c0, natural(x_scale));
            w.c0 = w.c1;
            w.c1 = w.c2;
            w.c2 = w.c3;
            w.c3 = nothing();
        }
    }

    // Where something odd was met, or strips that would have met it are missing, all is looked at for what taints.
    if ON_THE_WAY {
        workgroupBarrier();
        if local == 0u {
            suspected = select(atomicLoad(&tainted), 1u, strips < STRIPS);
            atomicStore(&tainted, 0u);
        }
        if workgroupUniformLoad(&suspected) != 0u {
            look(t, b_start + quads.x * B_WIDTH, (quads.y - quads.x) * B_WIDTH, a_start, strips * (4 * a_fours + 1));
            workgroupBarrier();
            tainted_all = atomicLoad(&tainted) != 0u;
        }
    }

    // What padding may have spoilt is computed anew, entry by entry.
    if !(redo | tainted_all) | (strip >= strips) { return; }
    for (var four = (lane + 1) % LANES; four <= c_fours; four += LANES) {
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

// So many fours of B and A, eight of an invocation on their way at once, and where rows are short eight of both. Those that count
// for nothing may taint, too.
fn look(t: i32, b_start: i32, b_count: i32, a_start: i32, a_count: i32) {
    var taint = vec4(0u);
    for (var n = t; n < select(max(a_count, b_count), b_count, LONG); n += 8 * GROUP) {
        let values = eight_of_b(n, b_start, b_count);
        if !LONG { taint = look_at_eight(taint, eight_of_a(n, a_start, a_count)); }
        taint = look_at_eight(taint, values);
    }
    for (var n = t; LONG & (n < a_count); n += 8 * GROUP) { taint = look_at_eight(taint, eight_of_a(n, a_start, a_count)); }
    if select(ring_tainted(taint), any(taint >= vec4(0xff000000u)), FINITE) { atomicStore(&tainted, 1u); }
}

// GROUP apart.
struct Eight {
    v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32>,
    v4: vec4<f32>, v5: vec4<f32>, v6: vec4<f32>, v7: vec4<f32>,
}

fn eight_of_a(n: i32, start: i32, count: i32) -> Eight {
    return Eight(
        four_of_a(n, start, count), four_of_a(n + GROUP, start, count), four_of_a(n + 2 * GROUP, start, count),
        four_of_a(n + 3 * GROUP, start, count), four_of_a(n + 4 * GROUP, start, count), four_of_a(n + 5 * GROUP, start, count),
        four_of_a(n + 6 * GROUP, start, count), four_of_a(n + 7 * GROUP, start, count));
}

fn eight_of_b(n: i32, start: i32, count: i32) -> Eight {
    return Eight(
        four_of_b(n, start, count), four_of_b(n + GROUP, start, count), four_of_b(n + 2 * GROUP, start, count),
        four_of_b(n + 3 * GROUP, start, count), four_of_b(n + 4 * GROUP, start, count), four_of_b(n + 5 * GROUP, start, count),
        four_of_b(n + 6 * GROUP, start, count), four_of_b(n + 7 * GROUP, start, count));
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

fn look_at_eight(taint: vec4<u32>, e: Eight) -> vec4<u32> {
    let half = look_at(look_at(look_at(look_at(taint, e.v0), e.v1), e.v2), e.v3);
    return look_at(look_at(look_at(look_at(half, e.v4), e.v5), e.v6), e.v7);
}

fn look_at(taint: vec4<u32>, values: vec4<f32>) -> vec4<u32> {
    if !FINITE { return ring_taint(taint, values, vec4(true)); }
    let bits = bitcast<vec4<u32>>(values);
    return max(taint, bits + bits); // without signs
}

// A strip's rows of A, eight fours of an invocation on their way at once, and the four that they end in.
fn suspect_rows(start: i32, lane: i32) {
    var last = vec4(0.0);
    if lane == 0 { last = a[start + 4 * A_FOURS]; }
    for (var n = start + lane; n < start + 4 * A_FOURS; n += 8 * LANES) {
        let end = start + 4 * A_FOURS;
        let e = Eight(
            four_of_a(n, 0, end), four_of_a(n + LANES, 0, end), four_of_a(n + 2 * LANES, 0, end), four_of_a(n + 3 * LANES, 0, end),
            four_of_a(n + 4 * LANES, 0, end), four_of_a(n + 5 * LANES, 0, end), four_of_a(n + 6 * LANES, 0, end), four_of_a(n + 7 * LANES, 0, end));
        suspect((((e.v0 + e.v1) + (e.v2 + e.v3)) + ((e.v4 + e.v5) + (e.v6 + e.v7))) + last);
    }
}

// A sum is finite only if all its values are.
fn suspect(sums: vec4<f32>) {
    let sum = (sums.x + sums.y) + (sums.z + sums.w);
    if (bitcast<u32>(sum) & 0x7f800000u) == 0x7f800000u { atomicStore(&tainted, 1u); }
}

fn nothing() -> Sums {
    let start = vec4(ring_start());
    return Sums(start, start, start, start);
}

// One p of 4 rows of A, and four columns of that row of B.
fn add(sums: Sums, x: vec4<f32>, y: vec4<f32>) -> Sums {
    return Sums(ring_next(sums.e0, y.x, x), ring_next(sums.e1, y.y, x), ring_next(sums.e2, y.z, x), ring_next(sums.e3, y.w, x));
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

// The sums in the first four of rows 1 to 3, which they share with the last sums of the rows before.
var<private> first1: vec4<f32>;
var<private> first2: vec4<f32>;
var<private> first3: vec4<f32>;

// Four columns of the 4 rows into C, number `four` of those that the strip reaches. One invocation has the first and the last.
fn finish(four: i32, strip: i32, own: Own, sums: Sums, x_scale: vec4<f32>) {
    if four < 0 { return; }
    var v0 = vec4(sums.e0.x, sums.e1.x, sums.e2.x, sums.e3.x);
    var v1 = vec4(sums.e0.y, sums.e1.y, sums.e2.y, sums.e3.y);
    var v2 = vec4(sums.e0.z, sums.e1.z, sums.e2.z, sums.e3.z);
    var v3 = vec4(sums.e0.w, sums.e1.w, sums.e2.w, sums.e3.w);
    let y_scale = natural(scale_of(strip + four));
    if four == 0 {
        first1 = v1;
        first2 = v2;
        first3 = v3;
        c[own.start] = finished(0, 0, own, v0, x_scale.x + y_scale, own.inside & ring_are_exact(v0, v0, v0, v0));
        return;
    }
    var scale0 = x_scale.x + y_scale;
    var scale1 = x_scale.y + y_scale;
    var scale2 = x_scale.z + y_scale;
    var scale3 = x_scale.w + y_scale;
    if four == own.fours {
        v0 = vec4(v0.x, first1.yzw);
        v1 = vec4(v1.xy, first2.zw);
        v2 = vec4(v2.xyz, first3.w);
        let first = natural(scale_of(strip));
        scale0 = vec4(scale0.x, x_scale.y + first.yzw);
        scale1 = vec4(scale1.xy, x_scale.z + first.zw);
        scale2 = vec4(scale2.xyz, x_scale.w + first.w);
    }
    let all = own.inside & ring_are_exact(v0, v1, v2, v3);
    let at = own.start + four;
    // One branch, where the rows' own would be four.
    if LONG & all {
        c[at] = ring_unscaled(v0, scale0);
        c[at + own.fours] = ring_unscaled(v1, scale1);
        c[at + 2 * own.fours] = ring_unscaled(v2, scale2);
        c[at + 3 * own.fours] = ring_unscaled(v3, scale3);
        return;
    }
    c[at] = finished(0, four, own, v0, scale0, all);
    c[at + own.fours] = finished(1, four, own, v1, scale1, all);
    c[at + 2 * own.fours] = finished(2, four, own, v2, scale2, all);
    c[at + 3 * own.fours] = finished(3, four, own, v3, scale3, all);
}

// Of row r. Unless all are exact and within the matrix, with the fill for columns that it lacks, and NaN for what is to be computed
// anew.
fn finished(r: i32, four: i32, own: Own, sums: vec4<f32>, scale: vec4<f32>, all: bool) -> vec4<f32> {
    let values = ring_unscaled(sums, scale);
    if all { return values; }
    let n = vec4(0, 1, 2, 3);
    let j = own.column + n + select(vec4(0), vec4(four * 4), (n <= vec4(r)) | vec4(four < own.fours)); // or of the next row's first
    let there = (j >= vec4(0)) & (j < vec4(params.cols));
    let exact = vec4(ring_is_exact(sums.x), ring_is_exact(sums.y), ring_is_exact(sums.z), ring_is_exact(sums.w));
    redo |= any(there & !exact);
    return select(vec4(params.fill), select(vec4(from_bits(0x7fc00000u)), values, exact), there);
}
