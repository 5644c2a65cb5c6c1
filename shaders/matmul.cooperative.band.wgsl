enable f16;
enable wgpu_cooperative_matrix;
diagnostic(off, derivative_uniformity); // branches of a subgroup depend on its number only


// The part of A·B that lies in a band, on matrix units: A dense row-major, B a transpose (row-major itself,
// p along a row), C a band in rows layout; all f16, sums f32. A subgroup keeps 16 rows of A and goes
// along C's band, 16 columns at a time.

@group(0) @binding(1) var<storage, read> a: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f16>>;
@group(0) @binding(3) var<storage, read_write> c: array<f16>;

const GROUP = 128u;
const SUBGROUPS = 4u;
const LINES = 64;                   // rows of a workgroup, 16 to a subgroup
const PARTNERS = 16;                // p or columns at once
override TILES: u32 = 4u;           // pieces of 16 columns in a row of the dense operand
override ROW: u32 = TILES * 4u;     // vec4s of such a row
override PITCH: u32 = ROW + 2u;     // of a staged one
override STAGE: u32 = PITCH * 16u;
const SCORES = 5u;                  // vec4s of a row of 16 sums: 4, and one that spreads the banks

var<workgroup> stage: array<vec4<f16>, STAGE>;
var<workgroup> scores: array<vec4<f32>, 320>; // 16 × 16 of each subgroup

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
    let zero = vec4<f16>();
    var b0 = zero; var b1 = zero; var b2 = zero; var b3 = zero; // what comes next
    var at = 0u;
    var ok = false;

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
    at = local + 0u * GROUP; ok = (at < 16u * ROW) & (start + i32(at / ROW) < params.cols) & (start + i32(at / ROW) >= 0); b0 = zero; if ok { b0 = b[u32(b_at + start * i32(ROW) + i32(at))]; }
    if TILES > 2u { at = local + 1u * GROUP; ok = (at < 16u * ROW) & (start + i32(at / ROW) < params.cols) & (start + i32(at / ROW) >= 0); b1 = zero; if ok { b1 = b[u32(b_at + start * i32(ROW) + i32(at))]; } }
    if TILES > 4u { at = local + 2u * GROUP; ok = (at < 16u * ROW) & (start + i32(at / ROW) < params.cols) & (start + i32(at / ROW) >= 0); b2 = zero; if ok { b2 = b[u32(b_at + start * i32(ROW) + i32(at))]; } }
    if TILES > 6u { at = local + 3u * GROUP; ok = (at < 16u * ROW) & (start + i32(at / ROW) < params.cols) & (start + i32(at / ROW) >= 0); b3 = zero; if ok { b3 = b[u32(b_at + start * i32(ROW) + i32(at))]; } }
    for (var j0 = start; j0 < end; j0 += PARTNERS) {
        workgroupBarrier();
        at = local + 0u * GROUP; if at < 16u * ROW { stage[at / ROW * PITCH + at % ROW] = b0; }
        if TILES > 2u { at = local + 1u * GROUP; if at < 16u * ROW { stage[at / ROW * PITCH + at % ROW] = b1; } }
        if TILES > 4u { at = local + 2u * GROUP; if at < 16u * ROW { stage[at / ROW * PITCH + at % ROW] = b2; } }
        if TILES > 6u { at = local + 3u * GROUP; if at < 16u * ROW { stage[at / ROW * PITCH + at % ROW] = b3; } }
        workgroupBarrier();
        if j0 + PARTNERS < end {
            at = local + 0u * GROUP; ok = (at < 16u * ROW) & ((j0 + PARTNERS) + i32(at / ROW) < params.cols) & ((j0 + PARTNERS) + i32(at / ROW) >= 0); b0 = zero; if ok { b0 = b[u32(b_at + (j0 + PARTNERS) * i32(ROW) + i32(at))]; }
            if TILES > 2u { at = local + 1u * GROUP; ok = (at < 16u * ROW) & ((j0 + PARTNERS) + i32(at / ROW) < params.cols) & ((j0 + PARTNERS) + i32(at / ROW) >= 0); b1 = zero; if ok { b1 = b[u32(b_at + (j0 + PARTNERS) * i32(ROW) + i32(at))]; } }
            if TILES > 4u { at = local + 2u * GROUP; ok = (at < 16u * ROW) & ((j0 + PARTNERS) + i32(at / ROW) < params.cols) & ((j0 + PARTNERS) + i32(at / ROW) >= 0); b2 = zero; if ok { b2 = b[u32(b_at + (j0 + PARTNERS) * i32(ROW) + i32(at))]; } }
            if TILES > 6u { at = local + 3u * GROUP; ok = (at < 16u * ROW) & ((j0 + PARTNERS) + i32(at / ROW) < params.cols) & ((j0 + PARTNERS) + i32(at / ROW) >= 0); b3 = zero; if ok { b3 = b[u32(b_at + (j0 + PARTNERS) * i32(ROW) + i32(at))]; } }
        }
        if (j0 + PARTNERS <= row - params.c_lower) | (j0 > row + 15 + params.c_upper) { continue; }
        var s = coop_mat16x16<f32, C>();
        s = coopMultiplyAdd(a0, coopLoad<coop_mat16x16<f16, B>>(&stage[0u], PITCH), s);
        if TILES > 1u { s = coopMultiplyAdd(a1, coopLoad<coop_mat16x16<f16, B>>(&stage[4u], PITCH), s); }
        if TILES > 2u { s = coopMultiplyAdd(a2, coopLoad<coop_mat16x16<f16, B>>(&stage[8u], PITCH), s); }
        if TILES > 3u { s = coopMultiplyAdd(a3, coopLoad<coop_mat16x16<f16, B>>(&stage[12u], PITCH), s); }
        if TILES > 4u { s = coopMultiplyAdd(a4, coopLoad<coop_mat16x16<f16, B>>(&stage[16u], PITCH), s); }
        if TILES > 5u { s = coopMultiplyAdd(a5, coopLoad<coop_mat16x16<f16, B>>(&stage[20u], PITCH), s); }
        if TILES > 6u { s = coopMultiplyAdd(a6, coopLoad<coop_mat16x16<f16, B>>(&stage[24u], PITCH), s); }
        if TILES > 7u { s = coopMultiplyAdd(a7, coopLoad<coop_mat16x16<f16, B>>(&stage[28u], PITCH), s); }
        subgroupBarrier();
        coopStoreT(s, &scores[own], SCORES);
        subgroupBarrier();

        // Two rows at once, each written by neighbours. The band has slots outside the matrix too.
        let j = j0 + column;
        let in_cols = (j >= 0) & (j < params.cols);
        for (var n = i32(local % 32u / 16u); n < 16; n += 2) {
            let i = row + n;
            if in_band(i, j, params.c_lower, params.c_upper) & (i >= nominal) {
                let value = scores[own + u32(n) * SCORES + u32(column) / 4u][u32(column) % 4u];
                c[c0 + c_index(i, j)] = f16(select(params.fill, value, in_cols));
            }
        }
    }
}
