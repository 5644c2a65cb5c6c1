enable f16;
enable wgpu_cooperative_matrix;
diagnostic(off, derivative_uniformity); // branches of a subgroup depend on its number only


// C = A·B on matrix units: A a band, B and C dense row-major; all f16, sums f32. A subgroup has 16 rows of C
// and goes along A's band, 16 p at a time.
//
// Neighbours in memory are neighbours in p, or, in columns layout (ACROSS), in i; so are those in the stage,
// which then holds A's piece transposed and is read along its columns.

@group(0) @binding(1) var<storage, read> a: array<f16>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f16>>;
@group(0) @binding(3) var<storage, read_write> c: array<vec4<f16>>;

const GROUP = 128u;
const LINES = 64;                   // rows of a workgroup, 16 to a subgroup
const STAGED = 16u;                 // rows of B at once
override TILES: u32 = 4u;           // pieces of 16 columns in a row of the dense operand
override ROW: u32 = TILES * 4u;     // vec4s of such a row
override PITCH: u32 = ROW + 2u;     // of a staged one
override STAGE: u32 = PITCH * STAGED;
override ACROSS: bool = false;      // whether A is in columns layout
const SCORES = 5u;                  // vec4s of a row of 16 sums: 4, and one that spreads the banks

const WEIGHTS = 6u;                 // vec4s of a line of A's piece, in f16

var<workgroup> stage: array<vec4<f16>, STAGE>;
var<workgroup> weights: array<vec4<f16>, 384>; // 16 × 16 of each subgroup
var<workgroup> sums: array<vec4<f32>, 320>;

// Value `at` of B's rows from `first` on, 0 outside.
fn line_of_b(b_at: i32, first: i32, at: u32) -> vec4<f16> {
    let line = first + i32(at / ROW);
    var value = vec4<f16>();
    if (at < STAGED * ROW) & (line >= 0) & (line < params.inner) { value = b[u32(b_at + first * i32(ROW) + i32(at))]; }
    return value;
}

fn into_stage(at: u32, value: vec4<f16>) {
    if at < STAGED * ROW { stage[at / ROW * PITCH + at % ROW] = value; }
}

// A's entry 2n lines behind (i, p), which lies at `at`; 0 outside the band.
fn entry_of_a(at: i32, i: i32, p: i32, n: i32) -> f16 {
    let row = select(i + 2 * n, i, ACROSS);
    let column = select(p, p + 2 * n, ACROSS);
    var value = f16();
    if (column < params.inner) & in_band(row, column, params.a_lower, params.a_upper) { value = a[at + 2 * n * params.a_stride]; }
    return value;
}

// By bits, since compilers may take it that nothing is infinite.
fn finite(x: vec4<f32>) -> bool {
    return all((bitcast<vec4<u32>>(x) & vec4(0x7f800000u)) != vec4(0x7f800000u));
}

// Four columns of row i by the definition: a value that the row doesn't reach has met a 0.
fn exact(batch: i32, i: i32, column: u32) -> vec4<f32> {
    var sum = vec4(0.0);
    for (var p = max(0, i - params.a_lower); p < min(params.inner, i + params.a_upper + 1); p++) {
        sum = fma(vec4(f32(a[batch * a_len() + a_index(i, p)])), vec4<f32>(b[u32(batch * params.inner + p) * ROW + column]), sum);
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
    let own = local / 32u * 16u * SCORES;
    let own_weights = local / 32u * 16u * WEIGHTS;
    let a0 = batch * a_len();
    let b_at = batch * params.inner * i32(ROW);
    // This invocation brings every other row of A's piece, one entry each, or every other column.
    let i_of = row + i32(select(lane / 16u, lane % 16u, ACROSS));
    let p_of = i32(select(lane % 16u, lane / 16u, ACROSS));
    let slot = own_weights + lane / 16u * WEIGHTS + lane % 16u / 4u;
    let part = lane % 4u;
    let zero = vec4<f16>();
    var b0 = zero; var b1 = zero; var b2 = zero; var b3 = zero; // what comes next
    var w0 = f16(); var w1 = f16(); var w2 = f16(); var w3 = f16();
    var w4 = f16(); var w5 = f16(); var w6 = f16(); var w7 = f16();

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
    var p = 0;
    var a_at = 0;
    b0 = line_of_b(b_at, start, local);
    if TILES > 2u { b1 = line_of_b(b_at, start, local + 1u * GROUP); }
    if TILES > 4u { b2 = line_of_b(b_at, start, local + 2u * GROUP); }
    if TILES > 6u { b3 = line_of_b(b_at, start, local + 3u * GROUP); }
    p = start + p_of;
    a_at = a0 + a_index(i_of, p);
    w0 = entry_of_a(a_at, i_of, p, 0);
    w1 = entry_of_a(a_at, i_of, p, 1);
    w2 = entry_of_a(a_at, i_of, p, 2);
    w3 = entry_of_a(a_at, i_of, p, 3);
    w4 = entry_of_a(a_at, i_of, p, 4);
    w5 = entry_of_a(a_at, i_of, p, 5);
    w6 = entry_of_a(a_at, i_of, p, 6);
    w7 = entry_of_a(a_at, i_of, p, 7);
    for (var p0 = start; p0 < end; p0 += i32(STAGED)) {
        workgroupBarrier();
        into_stage(local, b0);
        if TILES > 2u { into_stage(local + 1u * GROUP, b1); }
        if TILES > 4u { into_stage(local + 2u * GROUP, b2); }
        if TILES > 6u { into_stage(local + 3u * GROUP, b3); }
        weights[slot + 0u * WEIGHTS][part] = w0;
        weights[slot + 2u * WEIGHTS][part] = w1;
        weights[slot + 4u * WEIGHTS][part] = w2;
        weights[slot + 6u * WEIGHTS][part] = w3;
        weights[slot + 8u * WEIGHTS][part] = w4;
        weights[slot + 10u * WEIGHTS][part] = w5;
        weights[slot + 12u * WEIGHTS][part] = w6;
        weights[slot + 14u * WEIGHTS][part] = w7;
        workgroupBarrier();
        if p0 + i32(STAGED) < end {
            b0 = line_of_b(b_at, p0 + i32(STAGED), local);
            if TILES > 2u { b1 = line_of_b(b_at, p0 + i32(STAGED), local + 1u * GROUP); }
            if TILES > 4u { b2 = line_of_b(b_at, p0 + i32(STAGED), local + 2u * GROUP); }
            if TILES > 6u { b3 = line_of_b(b_at, p0 + i32(STAGED), local + 3u * GROUP); }
            p = p0 + i32(STAGED) + p_of;
            a_at = a0 + a_index(i_of, p);
            w0 = entry_of_a(a_at, i_of, p, 0);
            w1 = entry_of_a(a_at, i_of, p, 1);
            w2 = entry_of_a(a_at, i_of, p, 2);
            w3 = entry_of_a(a_at, i_of, p, 3);
            w4 = entry_of_a(a_at, i_of, p, 4);
            w5 = entry_of_a(a_at, i_of, p, 5);
            w6 = entry_of_a(a_at, i_of, p, 6);
            w7 = entry_of_a(a_at, i_of, p, 7);
        }
        if (p0 + i32(STAGED) <= row - params.a_lower) | (p0 > row + 15 + params.a_upper) { continue; }
        var w = coop_mat16x16<f16, A>();
        if ACROSS {
            w = coopLoad<coop_mat16x16<f16, A>>(&weights[own_weights], WEIGHTS);
        } else {
            w = coopLoadT<coop_mat16x16<f16, A>>(&weights[own_weights], WEIGHTS);
        }
        c0 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage[0u], PITCH), c0);
        if TILES > 1u { c1 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage[4u], PITCH), c1); }
        if TILES > 2u { c2 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage[8u], PITCH), c2); }
        if TILES > 3u { c3 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage[12u], PITCH), c3); }
        if TILES > 4u { c4 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage[16u], PITCH), c4); }
        if TILES > 5u { c5 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage[20u], PITCH), c5); }
        if TILES > 6u { c6 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage[24u], PITCH), c6); }
        if TILES > 7u { c7 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage[28u], PITCH), c7); }
    }

    let i = row + i32(lane / 2u);
    let held = own + lane / 2u * SCORES + lane % 2u * 2u;
    let to = lane % 2u * 2u;
    subgroupBarrier(); coopStoreT(c0, &sums[own], SCORES); subgroupBarrier(); if i >= nominal { put(batch, i, held, to + 0u); }
    if TILES > 1u { subgroupBarrier(); coopStoreT(c1, &sums[own], SCORES); subgroupBarrier(); if i >= nominal { put(batch, i, held, to + 4u); } }
    if TILES > 2u { subgroupBarrier(); coopStoreT(c2, &sums[own], SCORES); subgroupBarrier(); if i >= nominal { put(batch, i, held, to + 8u); } }
    if TILES > 3u { subgroupBarrier(); coopStoreT(c3, &sums[own], SCORES); subgroupBarrier(); if i >= nominal { put(batch, i, held, to + 12u); } }
    if TILES > 4u { subgroupBarrier(); coopStoreT(c4, &sums[own], SCORES); subgroupBarrier(); if i >= nominal { put(batch, i, held, to + 16u); } }
    if TILES > 5u { subgroupBarrier(); coopStoreT(c5, &sums[own], SCORES); subgroupBarrier(); if i >= nominal { put(batch, i, held, to + 20u); } }
    if TILES > 6u { subgroupBarrier(); coopStoreT(c6, &sums[own], SCORES); subgroupBarrier(); if i >= nominal { put(batch, i, held, to + 24u); } }
    if TILES > 7u { subgroupBarrier(); coopStoreT(c7, &sums[own], SCORES); subgroupBarrier(); if i >= nominal { put(batch, i, held, to + 28u); } }
}
