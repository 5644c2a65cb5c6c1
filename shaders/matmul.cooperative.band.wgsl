enable f16;
enable wgpu_cooperative_matrix;
diagnostic(off, derivative_uniformity); // branches of a subgroup depend on its number only


// The part of A·B that lies in a band, on matrix units: A dense row-major, B a transpose (row-major itself,
// p along a row), C a band in rows layout; all f16, sums f32. A subgroup keeps 16 rows of A and goes
// along C's band, 32 columns at a time, in two pieces of 16.

@group(0) @binding(1) var<storage, read> a: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f16>>;
@group(0) @binding(3) var<storage, read_write> c: array<f16>;

const GROUP = 128u;
const LINES = 64;                   // rows of a workgroup, 16 to a subgroup
const STAGED = 32u;                 // rows of B at once
override TILES: u32 = 4u;           // pieces of 16 columns in a row of the dense operand
override ROW: u32 = TILES * 4u;     // vec4s of such a row
override PITCH: u32 = ROW + 2u;     // of a staged one
override STAGE: u32 = PITCH * STAGED;
const SCORES = 4u;                  // vec4s of a row of 16 sums

var<workgroup> stage: array<vec4<f16>, STAGE>;
var<workgroup> scores: array<vec4<f32>, 256>; // 16 × 16 of each subgroup

// Value `at` of B's rows from `first` on, 0 outside.
fn line_of_b(b_at: i32, first: i32, at: u32) -> vec4<f16> {
    let line = first + i32(at / ROW);
    var value = vec4<f16>();
    if (at < STAGED * ROW) & (line >= 0) & (line < params.cols) { value = b[u32(b_at + first * i32(ROW) + i32(at))]; }
    return value;
}

fn into_stage(at: u32, value: vec4<f16>) {
    if at < STAGED * ROW { stage[at / ROW * PITCH + at % ROW] = value; }
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = group_index(group, groups);
    if index >= params.batch * params.tiles { return; }
    let batch = i32(index / params.tiles);
    let i0 = i32(index % params.tiles) * LINES;
    let nominal = i0 + i32(local / 32u) * 16; // the first row that is not another subgroup's too
    let row = min(nominal, params.rows - 16);
    let own = local / 32u * 16u * SCORES;
    let a_at = u32(batch * params.rows + row) * ROW;
    let b_at = batch * params.cols * i32(ROW);
    let c0 = batch * c_len();
    let column = i32(local % 16u);
    let half = i32(local % 32u / 16u); // of two rows that are written at once
    let from_score = own + u32(half) * SCORES + local % 16u / 4u;
    let part = local % 4u;
    let zero = vec4<f16>();
    var b0 = zero; var b1 = zero; var b2 = zero; var b3 = zero; // what comes next
    var b4 = zero; var b5 = zero; var b6 = zero; var b7 = zero;

    var a0 = coop_mat16x16<f16, A>();
    var a1 = coop_mat16x16<f16, A>();
    var a2 = coop_mat16x16<f16, A>();
    var a3 = coop_mat16x16<f16, A>();
    var a4 = coop_mat16x16<f16, A>();
    var a5 = coop_mat16x16<f16, A>();
    var a6 = coop_mat16x16<f16, A>();
    var a7 = coop_mat16x16<f16, A>();
    a0 = coopLoadT<coop_mat16x16<f16, A>>(&a[a_at + 0u], ROW);
    if TILES > 1u { a1 = coopLoadT<coop_mat16x16<f16, A>>(&a[a_at + 4u], ROW); }
    if TILES > 2u { a2 = coopLoadT<coop_mat16x16<f16, A>>(&a[a_at + 8u], ROW); }
    if TILES > 3u { a3 = coopLoadT<coop_mat16x16<f16, A>>(&a[a_at + 12u], ROW); }
    if TILES > 4u { a4 = coopLoadT<coop_mat16x16<f16, A>>(&a[a_at + 16u], ROW); }
    if TILES > 5u { a5 = coopLoadT<coop_mat16x16<f16, A>>(&a[a_at + 20u], ROW); }
    if TILES > 6u { a6 = coopLoadT<coop_mat16x16<f16, A>>(&a[a_at + 24u], ROW); }
    if TILES > 7u { a7 = coopLoadT<coop_mat16x16<f16, A>>(&a[a_at + 28u], ROW); }

    let start = i0 - params.c_lower;
    let end = i0 + LINES + params.c_upper;
    b0 = line_of_b(b_at, start, local);
    if TILES > 1u { b1 = line_of_b(b_at, start, local + 1u * GROUP); }
    if TILES > 2u { b2 = line_of_b(b_at, start, local + 2u * GROUP); }
    if TILES > 3u { b3 = line_of_b(b_at, start, local + 3u * GROUP); }
    if TILES > 4u { b4 = line_of_b(b_at, start, local + 4u * GROUP); }
    if TILES > 5u { b5 = line_of_b(b_at, start, local + 5u * GROUP); }
    if TILES > 6u { b6 = line_of_b(b_at, start, local + 6u * GROUP); }
    if TILES > 7u { b7 = line_of_b(b_at, start, local + 7u * GROUP); }
    for (var j0 = start; j0 < end; j0 += i32(STAGED)) {
        workgroupBarrier();
        into_stage(local, b0);
        if TILES > 1u { into_stage(local + 1u * GROUP, b1); }
        if TILES > 2u { into_stage(local + 2u * GROUP, b2); }
        if TILES > 3u { into_stage(local + 3u * GROUP, b3); }
        if TILES > 4u { into_stage(local + 4u * GROUP, b4); }
        if TILES > 5u { into_stage(local + 5u * GROUP, b5); }
        if TILES > 6u { into_stage(local + 6u * GROUP, b6); }
        if TILES > 7u { into_stage(local + 7u * GROUP, b7); }
        workgroupBarrier();
        if j0 + i32(STAGED) < end {
            b0 = line_of_b(b_at, j0 + i32(STAGED), local);
            if TILES > 1u { b1 = line_of_b(b_at, j0 + i32(STAGED), local + 1u * GROUP); }
            if TILES > 2u { b2 = line_of_b(b_at, j0 + i32(STAGED), local + 2u * GROUP); }
            if TILES > 3u { b3 = line_of_b(b_at, j0 + i32(STAGED), local + 3u * GROUP); }
            if TILES > 4u { b4 = line_of_b(b_at, j0 + i32(STAGED), local + 4u * GROUP); }
            if TILES > 5u { b5 = line_of_b(b_at, j0 + i32(STAGED), local + 5u * GROUP); }
            if TILES > 6u { b6 = line_of_b(b_at, j0 + i32(STAGED), local + 6u * GROUP); }
            if TILES > 7u { b7 = line_of_b(b_at, j0 + i32(STAGED), local + 7u * GROUP); }
        }
        for (var h = 0; h < i32(STAGED); h += 16) {
            let j_at = j0 + h;
            if (j_at + 16 <= row - params.c_lower) | (j_at > row + 15 + params.c_upper) { continue; }
            var s = coop_mat16x16<f32, C>();
            s = coopMultiplyAdd(a0, coopLoad<coop_mat16x16<f16, B>>(&stage[u32(h) * PITCH + 0u], PITCH), s);
            if TILES > 1u { s = coopMultiplyAdd(a1, coopLoad<coop_mat16x16<f16, B>>(&stage[u32(h) * PITCH + 4u], PITCH), s); }
            if TILES > 2u { s = coopMultiplyAdd(a2, coopLoad<coop_mat16x16<f16, B>>(&stage[u32(h) * PITCH + 8u], PITCH), s); }
            if TILES > 3u { s = coopMultiplyAdd(a3, coopLoad<coop_mat16x16<f16, B>>(&stage[u32(h) * PITCH + 12u], PITCH), s); }
            if TILES > 4u { s = coopMultiplyAdd(a4, coopLoad<coop_mat16x16<f16, B>>(&stage[u32(h) * PITCH + 16u], PITCH), s); }
            if TILES > 5u { s = coopMultiplyAdd(a5, coopLoad<coop_mat16x16<f16, B>>(&stage[u32(h) * PITCH + 20u], PITCH), s); }
            if TILES > 6u { s = coopMultiplyAdd(a6, coopLoad<coop_mat16x16<f16, B>>(&stage[u32(h) * PITCH + 24u], PITCH), s); }
            if TILES > 7u { s = coopMultiplyAdd(a7, coopLoad<coop_mat16x16<f16, B>>(&stage[u32(h) * PITCH + 28u], PITCH), s); }
            subgroupBarrier();
            coopStoreT(s, &scores[own], SCORES);
            subgroupBarrier();

            // Two rows at once, each written by neighbours. The band has slots outside the matrix too.
            let j = j_at + column;
            let c_at = c0 + c_index(row + half, j);
            let c_next = 2 * params.c_stride;
            let whole = (j_at >= row + 15 - params.c_lower) & (j_at + 15 <= row + params.c_upper);
            if whole & (row == nominal) & (j_at >= 0) & (j_at + 16 <= params.cols) {
                c[c_at] = f16(scores[from_score][part]);
                c[c_at + c_next] = f16(scores[from_score + 2u * SCORES][part]);
                c[c_at + 2 * c_next] = f16(scores[from_score + 4u * SCORES][part]);
                c[c_at + 3 * c_next] = f16(scores[from_score + 6u * SCORES][part]);
                c[c_at + 4 * c_next] = f16(scores[from_score + 8u * SCORES][part]);
                c[c_at + 5 * c_next] = f16(scores[from_score + 10u * SCORES][part]);
                c[c_at + 6 * c_next] = f16(scores[from_score + 12u * SCORES][part]);
                c[c_at + 7 * c_next] = f16(scores[from_score + 14u * SCORES][part]);
                continue;
            }
            let in_cols = (j >= 0) & (j < params.cols);
            for (var n = 0; n < 8; n++) {
                let i = row + half + 2 * n;
                if in_band(i, j, params.c_lower, params.c_upper) & (i >= nominal) {
                    let value = scores[from_score + u32(n) * 2u * SCORES][part];
                    c[c_at + n * c_next] = f16(select(params.fill, value, in_cols));
                }
            }
        }
    }
}
