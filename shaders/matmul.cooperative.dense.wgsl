enable f16;
enable wgpu_cooperative_matrix;
diagnostic(off, derivative_uniformity); // branches of a subgroup depend on its number only


// C = A·B on matrix units: A a band, B and C dense row-major; all f16, sums f32. A subgroup has 16 rows of C
// and goes along A's band, 32 p at a time, in two pieces of 16.
//
// Neighbours in memory are neighbours in p, or, in columns layout (ACROSS), in i; so are those in the stage,
// which then holds A's piece transposed and is read along its columns. `pieces_by_entry` and `pieces_by_four`
// (shared) bring both pieces as they lie in memory. What lies beside the band is dropped when they are stored, a stage later:
// to look at a value is to wait for it.

@group(0) @binding(2) var<storage, read> b: array<vec4<f16>>;
@group(0) @binding(3) var<storage, read_write> c: array<vec4<f16>>;

const GROUP = 128u;
const LINES = 64;                   // rows of a workgroup, 16 to a subgroup
const STAGED = 32u;                 // rows of B at once, in two pieces of 16
override TILES: u32 = 4u;           // pieces of 16 columns in a row of the dense operand
override ROW: u32 = TILES * 4u;     // vec4s of such a row
override PITCH: u32 = ROW + 2u;     // of a staged one
override STAGE: u32 = PITCH * STAGED;
override ACROSS: bool = false;      // whether A is in columns layout
const SCORES = 5u;                  // vec4s of a row of 16 sums: 4, and one that spreads the banks

const WEIGHTS = 4u;                 // vec4s of a line of A's piece, in f16

var<workgroup> stage: array<vec4<f16>, STAGE>;
var<workgroup> weights: array<vec4<f16>, 256>; // 16 × 16 of each subgroup: one piece, then the other
var<workgroup> sums: array<vec4<f32>, 320>;    // 16 × 16 of each on their way out

// Value `at` of B's rows from `first` on, 0 outside.
fn line_of_b(b_at: i32, first: i32, at: u32) -> vec4<f16> {
    let line = first + i32(at / ROW);
    var value = vec4<f16>();
    if (at < STAGED * ROW) & (line < params.inner) { value = b[u32(b_at + first * i32(ROW) + i32(at))]; }
    return value;
}

fn into_stage(at: u32, value: vec4<f16>) {
    if at < STAGED * ROW { stage[at / ROW * PITCH + at % ROW] = value; }
}

// By bits, since compilers may take it that nothing is infinite.
fn finite(x: vec4<f32>) -> bool {
    return all((bitcast<vec4<u32>>(x) & vec4(0x7f800000u)) != vec4(0x7f800000u));
}

// Four columns of row i by the definition: a value that the row doesn't reach has met a 0.
fn exact(batch: i32, i: i32, column: u32) -> vec4<f32> {
    var sum = vec4(0.0);
    for (var p = max(0, i - params.a_lower); p < min(params.inner, i + params.a_upper + 1); p++) {
        sum = fma(vec4(f32(value_of_a(u32(batch * a_len() + a_index(i, p))))), vec4<f32>(b[u32(batch * params.inner + p) * ROW + column]), sum);
    }
    return sum;
}

// Eight columns of row i leave, from `at` on in their place.
fn put(batch: i32, i: i32, at: u32, column: u32) {
    var x0 = sums[at];
    var x1 = sums[at + 1u];
    if !(finite(x0) & finite(x1)) {
        x0 = exact(batch, i, column);
        x1 = exact(batch, i, column + 1u);
    }
    let to = u32(batch * params.rows + i) * ROW + column;
    c[to] = vec4<f16>(x0);
    c[to + 1u] = vec4<f16>(x1);
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = group_index(group, groups);
    if index >= params.batch * params.tiles { return; }
    let batch = i32(index / params.tiles);
    let i0 = i32(index % params.tiles) * LINES;
    let lane = local % 32u;
    let nominal = i0 + i32(local / 32u) * 16; // the first row that is not another subgroup's too
    let row = min(nominal, params.rows - 16);
    let own_weights = local / 32u * 16u * WEIGHTS;
    let b_at = batch * params.inner * i32(ROW);
    let zero = vec4<f16>();
    var b0 = zero; var b1 = zero; var b2 = zero; var b3 = zero; // what comes next
    var b4 = zero; var b5 = zero; var b6 = zero; var b7 = zero;

    var c0 = coop_mat16x16<f32, C>();
    var c1 = coop_mat16x16<f32, C>();
    var c2 = coop_mat16x16<f32, C>();
    var c3 = coop_mat16x16<f32, C>();
    var c4 = coop_mat16x16<f32, C>();
    var c5 = coop_mat16x16<f32, C>();
    var c6 = coop_mat16x16<f32, C>();
    var c7 = coop_mat16x16<f32, C>();

    let start = max(0, i0 - params.a_lower) / i32(STAGED) * i32(STAGED);
    let end = min(params.inner, i0 + LINES + params.a_upper);
    // Where this invocation's part of A's pieces begins.
    let i_of = row + select(line_of_pieces(lane), entry_of_pieces(lane), ACROSS);
    let p_of = start + select(entry_of_pieces(lane), line_of_pieces(lane), ACROSS);
    var a_at = batch * a_len() + a_index(i_of, p_of);
    let a_on = i32(STAGED) * select(1, params.a_stride, ACROSS);
    // It holds (i, p) where p is at most so far behind the band's first, and before the last.
    var behind = p_of - i_of + params.a_lower;
    let width = params.a_lower + params.a_upper + 1;
    let columns = params.inner - i_of + params.a_lower;
    b0 = line_of_b(b_at, start, local);
    if TILES > 1u { b1 = line_of_b(b_at, start, local + 1u * GROUP); }
    if TILES > 2u { b2 = line_of_b(b_at, start, local + 2u * GROUP); }
    if TILES > 3u { b3 = line_of_b(b_at, start, local + 3u * GROUP); }
    if TILES > 4u { b4 = line_of_b(b_at, start, local + 4u * GROUP); }
    if TILES > 5u { b5 = line_of_b(b_at, start, local + 5u * GROUP); }
    if TILES > 6u { b6 = line_of_b(b_at, start, local + 6u * GROUP); }
    if TILES > 7u { b7 = line_of_b(b_at, start, local + 7u * GROUP); }
    // Where both pieces lie inside of the band, nothing is masked.
    let whole_from = max(0, row + 15 - params.a_lower);
    let whole_to = min(params.inner, row + 1 + params.a_upper) - i32(STAGED);
    var pieces = pieces_of_a(a_at, behind, width, columns);
    var whole = false;
    var w0 = coop_mat16x16<f16, A>();
    var w1 = coop_mat16x16<f16, A>();
    for (var p0 = start; p0 < end; p0 += i32(STAGED)) {
        // A's pieces are the subgroup's own, so they get no barrier of the workgroup; and the next ones set out at once.
        if !whole { pieces = in_band_of_a(pieces, behind, width, columns); }
        subgroupBarrier();
        into_weights(own_weights, lane, pieces, 0u);
        subgroupBarrier();
        if ACROSS {
            w0 = coopLoad<coop_mat16x16<f16, A>>(&weights[own_weights], WEIGHTS);
        } else {
            w0 = coopLoadT<coop_mat16x16<f16, A>>(&weights[own_weights], WEIGHTS);
        }
        subgroupBarrier();
        into_weights(own_weights, lane, pieces, 1u);
        subgroupBarrier();
        if ACROSS {
            w1 = coopLoad<coop_mat16x16<f16, A>>(&weights[own_weights], WEIGHTS);
        } else {
            w1 = coopLoadT<coop_mat16x16<f16, A>>(&weights[own_weights], WEIGHTS);
        }
        if p0 + i32(STAGED) < end {
            a_at += a_on;
            behind += i32(STAGED);
            whole = (p0 + i32(STAGED) >= whole_from) & (p0 + i32(STAGED) <= whole_to);
            if whole {
                pieces = whole_pieces_of_a(a_at);
            } else {
                pieces = pieces_of_a(a_at, behind, width, columns);
            }
        }
        workgroupBarrier();
        into_stage(local, b0);
        if TILES > 1u { into_stage(local + 1u * GROUP, b1); }
        if TILES > 2u { into_stage(local + 2u * GROUP, b2); }
        if TILES > 3u { into_stage(local + 3u * GROUP, b3); }
        if TILES > 4u { into_stage(local + 4u * GROUP, b4); }
        if TILES > 5u { into_stage(local + 5u * GROUP, b5); }
        if TILES > 6u { into_stage(local + 6u * GROUP, b6); }
        if TILES > 7u { into_stage(local + 7u * GROUP, b7); }
        if p0 + i32(STAGED) < end {
            b0 = line_of_b(b_at, p0 + i32(STAGED), local);
            if TILES > 1u { b1 = line_of_b(b_at, p0 + i32(STAGED), local + 1u * GROUP); }
            if TILES > 2u { b2 = line_of_b(b_at, p0 + i32(STAGED), local + 2u * GROUP); }
            if TILES > 3u { b3 = line_of_b(b_at, p0 + i32(STAGED), local + 3u * GROUP); }
            if TILES > 4u { b4 = line_of_b(b_at, p0 + i32(STAGED), local + 4u * GROUP); }
            if TILES > 5u { b5 = line_of_b(b_at, p0 + i32(STAGED), local + 5u * GROUP); }
            if TILES > 6u { b6 = line_of_b(b_at, p0 + i32(STAGED), local + 6u * GROUP); }
            if TILES > 7u { b7 = line_of_b(b_at, p0 + i32(STAGED), local + 7u * GROUP); }
        }
        workgroupBarrier();
        for (var half = 0; half < 2; half++) {
            let p = p0 + half * 16;
            if (p + 16 <= row - params.a_lower) | (p > row + 15 + params.a_upper) { continue; }
            let rows = u32(half) * 16u * PITCH;
            var w = coop_mat16x16<f16, A>();
            if half == 0 { w = w0; } else { w = w1; }
            c0 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage[rows], PITCH), c0);
            if TILES > 1u { c1 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage[rows + 4u], PITCH), c1); }
            if TILES > 2u { c2 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage[rows + 8u], PITCH), c2); }
            if TILES > 3u { c3 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage[rows + 12u], PITCH), c3); }
            if TILES > 4u { c4 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage[rows + 16u], PITCH), c4); }
            if TILES > 5u { c5 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage[rows + 20u], PITCH), c5); }
            if TILES > 6u { c6 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage[rows + 24u], PITCH), c6); }
            if TILES > 7u { c7 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage[rows + 28u], PITCH), c7); }
        }
    }

    let i = row + i32(lane / 2u);
    let own_sums = local / 32u * 16u * SCORES;
    let held = own_sums + lane / 2u * SCORES + lane % 2u * 2u;
    let to = lane % 2u * 2u;
    subgroupBarrier(); coopStoreT(c0, &sums[own_sums], SCORES); subgroupBarrier(); if i >= nominal { put(batch, i, held, to + 0u); }
    if TILES > 1u { subgroupBarrier(); coopStoreT(c1, &sums[own_sums], SCORES); subgroupBarrier(); if i >= nominal { put(batch, i, held, to + 4u); } }
    if TILES > 2u { subgroupBarrier(); coopStoreT(c2, &sums[own_sums], SCORES); subgroupBarrier(); if i >= nominal { put(batch, i, held, to + 8u); } }
    if TILES > 3u { subgroupBarrier(); coopStoreT(c3, &sums[own_sums], SCORES); subgroupBarrier(); if i >= nominal { put(batch, i, held, to + 12u); } }
    if TILES > 4u { subgroupBarrier(); coopStoreT(c4, &sums[own_sums], SCORES); subgroupBarrier(); if i >= nominal { put(batch, i, held, to + 16u); } }
    if TILES > 5u { subgroupBarrier(); coopStoreT(c5, &sums[own_sums], SCORES); subgroupBarrier(); if i >= nominal { put(batch, i, held, to + 20u); } }
    if TILES > 6u { subgroupBarrier(); coopStoreT(c6, &sums[own_sums], SCORES); subgroupBarrier(); if i >= nominal { put(batch, i, held, to + 24u); } }
    if TILES > 7u { subgroupBarrier(); coopStoreT(c7, &sums[own_sums], SCORES); subgroupBarrier(); if i >= nominal { put(batch, i, held, to + 28u); } }
}
