enable f16;
enable wgpu_cooperative_matrix;
diagnostic(off, derivative_uniformity); // branches of a subgroup depend on its number only

// C = Aᵀ · B at stored blocks on matrix units, f16 with f32 sums, A and B contiguous along features. A tile
// is ROWS rows of a block row times PLACES places of its columns laid end to end, and four subgroups have up
// to 32 × 64 of it each. DEPTH tokens are staged at a time, as they lie in memory, so that A is read the
// other way round; the next ones are on their way while these are multiplied.

override ROWS: u32 = 64u;                             // 64, 32 or 16
override PLACES: u32 = select(256u, 128u, ROWS > 32u);
override DEPTH: u32 = select(16u, 32u, ROWS > 32u);
override ACROSS: u32 = PLACES / 64u;                  // subgroups along the places
override A_LINE: u32 = ROWS / 4u;                     // vec4s of a token
override B_LINE: u32 = PLACES / 4u;
override A_PITCH: u32 = A_LINE + 2u;                  // 2 to spread the banks
override B_PITCH: u32 = B_LINE + 2u;
override A_SIZE: u32 = DEPTH * A_PITCH;               // [token][row]
override B_SIZE: u32 = DEPTH * B_PITCH;               // [token][place]
const GROUP = 128u;
override A_STEP: u32 = GROUP / A_LINE;                // tokens between an invocation's pieces
override B_STEP: u32 = GROUP / B_LINE;

// Sums of 16 × 16 on their way out. Subgroups take turns where that lets one more workgroup run at once.
override TURNS: u32 = select(1u, 4u, ROWS > 32u);
override SUMS: u32 = 320u / TURNS;

@group(0) @binding(1) var<storage, read> left: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> right: array<vec4<f16>>;

var<workgroup> a_stage: array<vec4<f16>, A_SIZE>;
var<workgroup> b_stage: array<vec4<f16>, B_SIZE>;
var<workgroup> sums: array<vec4<f32>, SUMS>;

// Four features of a token, from one on; 0 beyond the matrix (−1) and the last token.
fn fetch_a(t: u32, end: u32, feature: i32) -> vec4<f16> {
    var v = vec4<f16>();
    if (feature >= 0) & (t < end) { v = left[(t * params.a_stride + u32(feature)) / 4u]; }
    return v;
}

fn fetch_b(t: u32, end: u32, feature: i32) -> vec4<f16> {
    var v = vec4<f16>();
    if (feature >= 0) & (t < end) { v = right[(t * params.b_stride + u32(feature)) / 4u]; }
    return v;
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = group_index(group, groups);
    let in_part = params.grid_rows * params.row_tiles * params.column_tiles;
    if tile >= in_part * params.parts { return; }

    // Which tile, of which tokens.
    let part = tile / in_part;
    let row = tile % in_part / params.column_tiles / params.row_tiles;
    let i0 = tile / params.column_tiles % params.row_tiles * ROWS;
    let p0 = tile % params.column_tiles * PLACES;
    let first = index[row];
    let count = (index[row + 1u] - first) * params.width;
    if p0 >= count { return; }
    let base = row * params.height;
    let start = part * params.part_tokens;
    let end = min(params.tokens, start + params.part_tokens);
    let subgroup = local / 32u;
    let own_i = subgroup / ACROSS * 32u;
    let own_p = subgroup % ACROSS * 64u;

    // An invocation brings the same four features of some tokens.
    let a_token = local / A_LINE;
    let a_piece = local % A_LINE;
    let i = i0 + a_piece * 4u;
    let a_feature = select(-1, i32(base + i), (i < params.height) & (base + i < params.rows) & (a_token < DEPTH));
    let b_token = local / B_LINE;
    let b_piece = local % B_LINE;
    let b_feature = place(p0 + b_piece * 4u, first, count).x;
    var a0 = vec4<f16>();
    var a1 = vec4<f16>();
    var a2 = vec4<f16>();
    var a3 = vec4<f16>();
    var b0 = vec4<f16>();
    var b1 = vec4<f16>();
    var b2 = vec4<f16>();
    var b3 = vec4<f16>();
    var b4 = vec4<f16>();
    var b5 = vec4<f16>();
    var b6 = vec4<f16>();
    var b7 = vec4<f16>();
    var c00 = coop_mat16x16<f32, C>(); var c01 = coop_mat16x16<f32, C>();
    var c02 = coop_mat16x16<f32, C>(); var c03 = coop_mat16x16<f32, C>();
    var c10 = coop_mat16x16<f32, C>(); var c11 = coop_mat16x16<f32, C>();
    var c12 = coop_mat16x16<f32, C>(); var c13 = coop_mat16x16<f32, C>();

    a0 = fetch_a(start + a_token, end, a_feature);
    if DEPTH > 1u * A_STEP { a1 = fetch_a(start + a_token + 1u * A_STEP, end, a_feature); }
    if DEPTH > 2u * A_STEP { a2 = fetch_a(start + a_token + 2u * A_STEP, end, a_feature); }
    if DEPTH > 3u * A_STEP { a3 = fetch_a(start + a_token + 3u * A_STEP, end, a_feature); }
    b0 = fetch_b(start + b_token, end, b_feature);
    b1 = fetch_b(start + b_token + 1u * B_STEP, end, b_feature);
    b2 = fetch_b(start + b_token + 2u * B_STEP, end, b_feature);
    b3 = fetch_b(start + b_token + 3u * B_STEP, end, b_feature);
    b4 = fetch_b(start + b_token + 4u * B_STEP, end, b_feature);
    b5 = fetch_b(start + b_token + 5u * B_STEP, end, b_feature);
    b6 = fetch_b(start + b_token + 6u * B_STEP, end, b_feature);
    b7 = fetch_b(start + b_token + 7u * B_STEP, end, b_feature);
    for (var t0 = start; t0 < end; t0 += DEPTH) {
        workgroupBarrier();
        if a_token < DEPTH { a_stage[a_token * A_PITCH + a_piece] = a0; }
        if DEPTH > 1u * A_STEP { a_stage[(a_token + 1u * A_STEP) * A_PITCH + a_piece] = a1; }
        if DEPTH > 2u * A_STEP { a_stage[(a_token + 2u * A_STEP) * A_PITCH + a_piece] = a2; }
        if DEPTH > 3u * A_STEP { a_stage[(a_token + 3u * A_STEP) * A_PITCH + a_piece] = a3; }
        b_stage[(b_token) * B_PITCH + b_piece] = b0;
        b_stage[(b_token + 1u * B_STEP) * B_PITCH + b_piece] = b1;
        b_stage[(b_token + 2u * B_STEP) * B_PITCH + b_piece] = b2;
        b_stage[(b_token + 3u * B_STEP) * B_PITCH + b_piece] = b3;
        b_stage[(b_token + 4u * B_STEP) * B_PITCH + b_piece] = b4;
        b_stage[(b_token + 5u * B_STEP) * B_PITCH + b_piece] = b5;
        b_stage[(b_token + 6u * B_STEP) * B_PITCH + b_piece] = b6;
        b_stage[(b_token + 7u * B_STEP) * B_PITCH + b_piece] = b7;
        workgroupBarrier();
        let next = t0 + DEPTH;
        a0 = fetch_a(next + a_token, end, a_feature);
        if DEPTH > 1u * A_STEP { a1 = fetch_a(next + a_token + 1u * A_STEP, end, a_feature); }
        if DEPTH > 2u * A_STEP { a2 = fetch_a(next + a_token + 2u * A_STEP, end, a_feature); }
        if DEPTH > 3u * A_STEP { a3 = fetch_a(next + a_token + 3u * A_STEP, end, a_feature); }
        b0 = fetch_b(next + b_token, end, b_feature);
        b1 = fetch_b(next + b_token + 1u * B_STEP, end, b_feature);
        b2 = fetch_b(next + b_token + 2u * B_STEP, end, b_feature);
        b3 = fetch_b(next + b_token + 3u * B_STEP, end, b_feature);
        b4 = fetch_b(next + b_token + 4u * B_STEP, end, b_feature);
        b5 = fetch_b(next + b_token + 5u * B_STEP, end, b_feature);
        b6 = fetch_b(next + b_token + 6u * B_STEP, end, b_feature);
        b7 = fetch_b(next + b_token + 7u * B_STEP, end, b_feature);
        // Written out, since loops are not unrolled for us.
        {
            const k = 0u;
            let l0 = coopLoad<coop_mat16x16<f16, A>>(&a_stage[k * A_PITCH + own_i / 4u], A_PITCH);
            let r0 = coopLoadT<coop_mat16x16<f16, B>>(&b_stage[k * B_PITCH + own_p / 4u], B_PITCH);
            let r1 = coopLoadT<coop_mat16x16<f16, B>>(&b_stage[k * B_PITCH + own_p / 4u + 4u], B_PITCH);
            let r2 = coopLoadT<coop_mat16x16<f16, B>>(&b_stage[k * B_PITCH + own_p / 4u + 8u], B_PITCH);
            let r3 = coopLoadT<coop_mat16x16<f16, B>>(&b_stage[k * B_PITCH + own_p / 4u + 12u], B_PITCH);
            c00 = coopMultiplyAdd(l0, r0, c00);
            c01 = coopMultiplyAdd(l0, r1, c01);
            c02 = coopMultiplyAdd(l0, r2, c02);
            c03 = coopMultiplyAdd(l0, r3, c03);
            if ROWS > 16u {
                let l1 = coopLoad<coop_mat16x16<f16, A>>(&a_stage[k * A_PITCH + own_i / 4u + 4u], A_PITCH);
                c10 = coopMultiplyAdd(l1, r0, c10);
                c11 = coopMultiplyAdd(l1, r1, c11);
                c12 = coopMultiplyAdd(l1, r2, c12);
                c13 = coopMultiplyAdd(l1, r3, c13);
            }
        }
        if DEPTH > 16u {
            const k = 16u;
            let l0 = coopLoad<coop_mat16x16<f16, A>>(&a_stage[k * A_PITCH + own_i / 4u], A_PITCH);
            let r0 = coopLoadT<coop_mat16x16<f16, B>>(&b_stage[k * B_PITCH + own_p / 4u], B_PITCH);
            let r1 = coopLoadT<coop_mat16x16<f16, B>>(&b_stage[k * B_PITCH + own_p / 4u + 4u], B_PITCH);
            let r2 = coopLoadT<coop_mat16x16<f16, B>>(&b_stage[k * B_PITCH + own_p / 4u + 8u], B_PITCH);
            let r3 = coopLoadT<coop_mat16x16<f16, B>>(&b_stage[k * B_PITCH + own_p / 4u + 12u], B_PITCH);
            c00 = coopMultiplyAdd(l0, r0, c00);
            c01 = coopMultiplyAdd(l0, r1, c01);
            c02 = coopMultiplyAdd(l0, r2, c02);
            c03 = coopMultiplyAdd(l0, r3, c03);
            if ROWS > 16u {
                let l1 = coopLoad<coop_mat16x16<f16, A>>(&a_stage[k * A_PITCH + own_i / 4u + 4u], A_PITCH);
                c10 = coopMultiplyAdd(l1, r0, c10);
                c11 = coopMultiplyAdd(l1, r1, c11);
                c12 = coopMultiplyAdd(l1, r2, c12);
                c13 = coopMultiplyAdd(l1, r3, c13);
            }
        }
    }

    // 16 × 16 at a time; an invocation takes 8 places of a row.
    let lane = local % 32u;
    let own = subgroup * 80u % SUMS;
    let from_sum = own + lane / 2u * 5u + lane % 2u * 2u;
    let copy = part * params.length;
    let io = i0 + own_i + lane / 2u;
    let p = p0 + own_p + lane % 2u * 8u;
    let at0 = place(p, first, count);
    let at1 = place(p + 16u, first, count);
    let at2 = place(p + 32u, first, count);
    let at3 = place(p + 48u, first, count);
    for (var turn = 0u; turn < TURNS; turn++) {
        if TURNS > 1u { workgroupBarrier(); }
        if turn != subgroup % TURNS { continue; }
        subgroupBarrier(); coopStoreT(c00, &sums[own], 5u); subgroupBarrier(); put(copy, base, io, at0, from_sum);
        subgroupBarrier(); coopStoreT(c01, &sums[own], 5u); subgroupBarrier(); put(copy, base, io, at1, from_sum);
        subgroupBarrier(); coopStoreT(c02, &sums[own], 5u); subgroupBarrier(); put(copy, base, io, at2, from_sum);
        subgroupBarrier(); coopStoreT(c03, &sums[own], 5u); subgroupBarrier(); put(copy, base, io, at3, from_sum);
        if ROWS > 16u {
            subgroupBarrier(); coopStoreT(c10, &sums[own], 5u); subgroupBarrier(); put(copy, base, io + 16u, at0, from_sum);
            subgroupBarrier(); coopStoreT(c11, &sums[own], 5u); subgroupBarrier(); put(copy, base, io + 16u, at1, from_sum);
            subgroupBarrier(); coopStoreT(c12, &sums[own], 5u); subgroupBarrier(); put(copy, base, io + 16u, at2, from_sum);
            subgroupBarrier(); coopStoreT(c13, &sums[own], 5u); subgroupBarrier(); put(copy, base, io + 16u, at3, from_sum);
        }
    }
}

// Eight places of a row, if the block row has them; what sticks out of the matrix is 0.
fn put(copy: u32, base: u32, i: u32, at: vec2<i32>, from_sum: u32) {
    if (i >= params.height) | (at.y < 0) { return; }
    let inside = (base + i < params.rows) & (at.x >= 0);
    let to = copy + u32(at.y) + i * params.width;
    store(to, select(vec4(0.0), sums[from_sum], inside));
    store(to + 4u, select(vec4(0.0), sums[from_sum + 1u], inside));
}
