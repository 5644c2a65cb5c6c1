enable f16;
enable wgpu_cooperative_matrix;
diagnostic(off, derivative_uniformity); // branches of a subgroup depend on its number and on blocks only

// Y = act(X · V + bias) on matrix units over several block columns at once, f16 with f32 sums, X and Y contiguous
// along features. Four subgroups share a tile of 128 tokens × 128 outputs (or 256 × 64), 64 × 64 each. Its outputs
// are slices of block columns, WIDE of each. It goes along the block rows that any of them has, so that X is staged
// once for all, and a subgroup multiplies where its own slices have a block. The last tile of tokens starts early
// enough to be whole; what it shares with the one before is written by that one.

override OUTPUTS: u32 = 128u;
override WIDE: u32 = 32u;                               // 32, 64 or 128
override DEPTH: u32 = 32u;
override TURNS: u32 = 1u;                               // subgroups to a piece of memory on the way out
override TOKENS: u32 = 16384u / OUTPUTS;
override SIDE_BY_SIDE: u32 = OUTPUTS / 64u;             // subgroups along the outputs
override X_LINE: u32 = DEPTH / 4u;                      // vec4s of a token
override X_PITCH: u32 = X_LINE + 2u;                    // 2 to spread the banks
override X_SIZE: u32 = TOKENS * X_PITCH;                // [token][term]
override V_LINES: u32 = select(DEPTH, OUTPUTS, V_ALONG); // [term][output], or [output][term]
override V_LINE: u32 = select(OUTPUTS, DEPTH, V_ALONG) / 4u;
override V_PITCH: u32 = V_LINE + 2u;
override V_SIZE: u32 = V_LINES * V_PITCH;
override SUMS: u32 = 320u / TURNS;
const GROUP = 128u;
override X_STEP: u32 = GROUP / X_LINE;                  // lines between an invocation's pieces
override V_STEP: u32 = GROUP / V_LINE;
const NONE = 0xffffffffu;

@group(0) @binding(1) var<storage, read> left: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> right: array<vec4<f16>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f16>>;

var<workgroup> x_stage: array<vec4<f16>, X_SIZE>;
var<workgroup> v_stage: array<vec4<f16>, V_SIZE>;
var<workgroup> sums: array<vec4<f32>, SUMS>; // 16 × 16 of a subgroup, on their way out

// The next blocks of the tile's slices, up to four.
var<private> blocks: vec4<u32>; // counted through the index
var<private> ends: vec4<u32>;
var<private> rows: vec4<u32>;   // their block rows, NONE behind the last
var<private> slots: vec4<u32>;
var<private> firsts: vec4<u32>; // where in a block a slice begins
var<private> block_row: u32;    // where the next stages are, NONE behind the last

// The first block of a slice and the end of its blocks, of which there are none beyond the tile and the last column.
fn blocks_of(n: u32, slice: u32) -> vec2<u32> {
    var all = vec2(0u, 0u);
    if (n * WIDE < OUTPUTS) & (slice * WIDE < params.outputs) {
        let column = slice * WIDE / params.width;
        all = vec2(index[column], index[column + 1u]);
    }
    return all;
}

// Block row and slot of a block.
fn entry_of(block: u32, end: u32) -> vec2<u32> {
    var found = vec2(NONE, 0u);
    if block < end {
        let entry = params.columns + 1u + block * 2u;
        found = vec2(index[entry], index[entry + 1u]);
    }
    return found;
}

fn first_of(slice: u32) -> u32 {
    let o = slice * WIDE % params.width;
    return select(o, o * params.depth, V_ALONG);
}

// Goes on to the next block row that a slice has. Where in V each slice's block begins, −1 if it has none there.
fn meet() -> vec4<i32> {
    block_row = min(min(rows.x, rows.y), min(rows.z, rows.w));
    let here = rows == vec4(block_row);
    let starts = select(vec4(-1), vec4<i32>(slots * params.depth * params.width + firsts), here & vec4(block_row != NONE));
    if here.x { blocks.x += 1u; let e = entry_of(blocks.x, ends.x); rows.x = e.x; slots.x = e.y; }
    if here.y { blocks.y += 1u; let e = entry_of(blocks.y, ends.y); rows.y = e.x; slots.y = e.y; }
    if here.z { blocks.z += 1u; let e = entry_of(blocks.z, ends.z); rows.z = e.x; slots.z = e.y; }
    if here.w { blocks.w += 1u; let e = entry_of(blocks.w, ends.w); rows.w = e.x; slots.w = e.y; }
    return starts;
}

fn pick(starts: vec4<i32>, n: u32) -> i32 {
    return select(select(starts.x, starts.y, n == 1u), select(starts.z, starts.w, n == 3u), n >= 2u);
}

// Of an invocation's n-th piece of V: where its block begins.
fn start_of(starts: vec4<i32>, n: u32, local: u32) -> i32 {
    if V_ALONG { return pick(starts, n * V_STEP / WIDE); }
    return pick(starts, local % V_LINE * 4u / WIDE);
}

// And where it is, in vec4s, with the stage at a row of the block and the first piece `own` from the block's begin.
fn v_place(start: u32, row: u32, n: u32, own: u32) -> u32 {
    if V_ALONG { return own + (start + row) / 4u + n * V_STEP % WIDE * params.depth / 4u; }
    return own + (start + row * params.width) / 4u + n * V_STEP * params.width / 4u;
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = group_index(group, groups);
    if tile >= params.batch * params.token_tiles * params.output_tiles { return; }
    let o0 = tile % params.output_tiles * OUTPUTS;
    let batch = tile / params.output_tiles / params.token_tiles;
    let own_first = tile / params.output_tiles % params.token_tiles * TOKENS;
    let t0 = min(own_first, params.tokens - TOKENS);
    let subgroup = local / 32u;
    let own_t = subgroup / SIDE_BY_SIDE * 64u;
    let own_o = subgroup % SIDE_BY_SIDE * 64u;

    let slice = o0 / WIDE;
    let of0 = blocks_of(0u, slice);
    let of1 = blocks_of(1u, slice + 1u);
    let of2 = blocks_of(2u, slice + 2u);
    let of3 = blocks_of(3u, slice + 3u);
    blocks = vec4(of0.x, of1.x, of2.x, of3.x);
    ends = vec4(of0.y, of1.y, of2.y, of3.y);
    let e0 = entry_of(of0.x, of0.y);
    let e1 = entry_of(of1.x, of1.y);
    let e2 = entry_of(of2.x, of2.y);
    let e3 = entry_of(of3.x, of3.y);
    rows = vec4(e0.x, e1.x, e2.x, e3.x);
    slots = vec4(e0.y, e1.y, e2.y, e3.y);
    firsts = vec4(first_of(slice), first_of(slice + 1u), first_of(slice + 2u), first_of(slice + 3u));

    let x_own = (batch * params.x_batch + (t0 + local / X_LINE) * params.x_stride) / 4u + local % X_LINE;
    let x_step = X_STEP * params.x_stride / 4u;
    let x_to = local / X_LINE * X_PITCH + local % X_LINE;
    let v_own = select(local / V_LINE * params.width + local % V_LINE * 4u % WIDE, local / V_LINE * params.depth + local % V_LINE * 4u, V_ALONG) / 4u;
    let v_to = local / V_LINE * V_PITCH + local % V_LINE;

    var x0 = vec4<f16>();
    var x1 = vec4<f16>();
    var x2 = vec4<f16>();
    var x3 = vec4<f16>();
    var x4 = vec4<f16>();
    var x5 = vec4<f16>();
    var x6 = vec4<f16>();
    var x7 = vec4<f16>();
    var v0 = vec4<f16>();
    var v1 = vec4<f16>();
    var v2 = vec4<f16>();
    var v3 = vec4<f16>();
    var v4 = vec4<f16>();
    var v5 = vec4<f16>();
    var v6 = vec4<f16>();
    var v7 = vec4<f16>();
    var c00 = coop_mat16x16<f32, C>(); var c01 = coop_mat16x16<f32, C>();
    var c02 = coop_mat16x16<f32, C>(); var c03 = coop_mat16x16<f32, C>();
    var c10 = coop_mat16x16<f32, C>(); var c11 = coop_mat16x16<f32, C>();
    var c12 = coop_mat16x16<f32, C>(); var c13 = coop_mat16x16<f32, C>();
    var c20 = coop_mat16x16<f32, C>(); var c21 = coop_mat16x16<f32, C>();
    var c22 = coop_mat16x16<f32, C>(); var c23 = coop_mat16x16<f32, C>();
    var c30 = coop_mat16x16<f32, C>(); var c31 = coop_mat16x16<f32, C>();
    var c32 = coop_mat16x16<f32, C>(); var c33 = coop_mat16x16<f32, C>();

    var starts = meet();
    var row = 0u; // in the blocks
    if block_row != NONE {
        let x = x_own + (block_row * params.depth + row) / 4u;
        x0 = left[x];
        if TOKENS * DEPTH > 512u { x1 = left[x + 1u * x_step]; }
        if TOKENS * DEPTH > 1024u { x2 = left[x + 2u * x_step]; }
        if TOKENS * DEPTH > 1536u { x3 = left[x + 3u * x_step]; }
        if TOKENS * DEPTH > 2048u { x4 = left[x + 4u * x_step]; }
        if TOKENS * DEPTH > 2560u { x5 = left[x + 5u * x_step]; }
        if TOKENS * DEPTH > 3072u { x6 = left[x + 6u * x_step]; }
        if TOKENS * DEPTH > 3584u { x7 = left[x + 7u * x_step]; }
        let s0 = start_of(starts, 0u, local); if s0 >= 0 { v0 = right[v_place(u32(s0), row, 0u, v_own)]; }
        if OUTPUTS * DEPTH > 512u { let s1 = start_of(starts, 1u, local); if s1 >= 0 { v1 = right[v_place(u32(s1), row, 1u, v_own)]; } }
        if OUTPUTS * DEPTH > 1024u { let s2 = start_of(starts, 2u, local); if s2 >= 0 { v2 = right[v_place(u32(s2), row, 2u, v_own)]; } }
        if OUTPUTS * DEPTH > 1536u { let s3 = start_of(starts, 3u, local); if s3 >= 0 { v3 = right[v_place(u32(s3), row, 3u, v_own)]; } }
        if OUTPUTS * DEPTH > 2048u { let s4 = start_of(starts, 4u, local); if s4 >= 0 { v4 = right[v_place(u32(s4), row, 4u, v_own)]; } }
        if OUTPUTS * DEPTH > 2560u { let s5 = start_of(starts, 5u, local); if s5 >= 0 { v5 = right[v_place(u32(s5), row, 5u, v_own)]; } }
        if OUTPUTS * DEPTH > 3072u { let s6 = start_of(starts, 6u, local); if s6 >= 0 { v6 = right[v_place(u32(s6), row, 6u, v_own)]; } }
        if OUTPUTS * DEPTH > 3584u { let s7 = start_of(starts, 7u, local); if s7 >= 0 { v7 = right[v_place(u32(s7), row, 7u, v_own)]; } }
    }
    while block_row != NONE {
        workgroupBarrier();
        x_stage[x_to] = x0;
        if TOKENS * DEPTH > 512u { x_stage[x_to + 1u * X_STEP * X_PITCH] = x1; }
        if TOKENS * DEPTH > 1024u { x_stage[x_to + 2u * X_STEP * X_PITCH] = x2; }
        if TOKENS * DEPTH > 1536u { x_stage[x_to + 3u * X_STEP * X_PITCH] = x3; }
        if TOKENS * DEPTH > 2048u { x_stage[x_to + 4u * X_STEP * X_PITCH] = x4; }
        if TOKENS * DEPTH > 2560u { x_stage[x_to + 5u * X_STEP * X_PITCH] = x5; }
        if TOKENS * DEPTH > 3072u { x_stage[x_to + 6u * X_STEP * X_PITCH] = x6; }
        if TOKENS * DEPTH > 3584u { x_stage[x_to + 7u * X_STEP * X_PITCH] = x7; }
        v_stage[v_to] = v0;
        if OUTPUTS * DEPTH > 512u { v_stage[v_to + 1u * V_STEP * V_PITCH] = v1; }
        if OUTPUTS * DEPTH > 1024u { v_stage[v_to + 2u * V_STEP * V_PITCH] = v2; }
        if OUTPUTS * DEPTH > 1536u { v_stage[v_to + 3u * V_STEP * V_PITCH] = v3; }
        if OUTPUTS * DEPTH > 2048u { v_stage[v_to + 4u * V_STEP * V_PITCH] = v4; }
        if OUTPUTS * DEPTH > 2560u { v_stage[v_to + 5u * V_STEP * V_PITCH] = v5; }
        if OUTPUTS * DEPTH > 3072u { v_stage[v_to + 6u * V_STEP * V_PITCH] = v6; }
        if OUTPUTS * DEPTH > 3584u { v_stage[v_to + 7u * V_STEP * V_PITCH] = v7; }
        let has0 = pick(starts, own_o / WIDE) >= 0;
        let has1 = pick(starts, (own_o + 32u) / WIDE) >= 0;
        workgroupBarrier();
        row += DEPTH;
        if row >= params.depth {
            row = 0u;
            starts = meet();
        }
        if block_row != NONE {
            let x = x_own + (block_row * params.depth + row) / 4u;
            x0 = left[x];
            if TOKENS * DEPTH > 512u { x1 = left[x + 1u * x_step]; }
            if TOKENS * DEPTH > 1024u { x2 = left[x + 2u * x_step]; }
            if TOKENS * DEPTH > 1536u { x3 = left[x + 3u * x_step]; }
            if TOKENS * DEPTH > 2048u { x4 = left[x + 4u * x_step]; }
            if TOKENS * DEPTH > 2560u { x5 = left[x + 5u * x_step]; }
            if TOKENS * DEPTH > 3072u { x6 = left[x + 6u * x_step]; }
            if TOKENS * DEPTH > 3584u { x7 = left[x + 7u * x_step]; }
            let s0 = start_of(starts, 0u, local); if s0 >= 0 { v0 = right[v_place(u32(s0), row, 0u, v_own)]; }
            if OUTPUTS * DEPTH > 512u { let s1 = start_of(starts, 1u, local); if s1 >= 0 { v1 = right[v_place(u32(s1), row, 1u, v_own)]; } }
            if OUTPUTS * DEPTH > 1024u { let s2 = start_of(starts, 2u, local); if s2 >= 0 { v2 = right[v_place(u32(s2), row, 2u, v_own)]; } }
            if OUTPUTS * DEPTH > 1536u { let s3 = start_of(starts, 3u, local); if s3 >= 0 { v3 = right[v_place(u32(s3), row, 3u, v_own)]; } }
            if OUTPUTS * DEPTH > 2048u { let s4 = start_of(starts, 4u, local); if s4 >= 0 { v4 = right[v_place(u32(s4), row, 4u, v_own)]; } }
            if OUTPUTS * DEPTH > 2560u { let s5 = start_of(starts, 5u, local); if s5 >= 0 { v5 = right[v_place(u32(s5), row, 5u, v_own)]; } }
            if OUTPUTS * DEPTH > 3072u { let s6 = start_of(starts, 6u, local); if s6 >= 0 { v6 = right[v_place(u32(s6), row, 6u, v_own)]; } }
            if OUTPUTS * DEPTH > 3584u { let s7 = start_of(starts, 7u, local); if s7 >= 0 { v7 = right[v_place(u32(s7), row, 7u, v_own)]; } }
        }
        if has0 | has1 {
            for (var k = 0u; k < DEPTH; k += 16u) {
                let a0 = coopLoadT<coop_mat16x16<f16, A>>(&x_stage[(own_t + 0u) * X_PITCH + k / 4u], X_PITCH);
                let a1 = coopLoadT<coop_mat16x16<f16, A>>(&x_stage[(own_t + 16u) * X_PITCH + k / 4u], X_PITCH);
                let a2 = coopLoadT<coop_mat16x16<f16, A>>(&x_stage[(own_t + 32u) * X_PITCH + k / 4u], X_PITCH);
                let a3 = coopLoadT<coop_mat16x16<f16, A>>(&x_stage[(own_t + 48u) * X_PITCH + k / 4u], X_PITCH);
                if has0 {
                    var b0 = coop_mat16x16<f16, B>();
                    var b1 = coop_mat16x16<f16, B>();
                    if V_ALONG {
                        b0 = coopLoad<coop_mat16x16<f16, B>>(&v_stage[own_o * V_PITCH + k / 4u], V_PITCH);
                        b1 = coopLoad<coop_mat16x16<f16, B>>(&v_stage[(own_o + 16u) * V_PITCH + k / 4u], V_PITCH);
                    } else {
                        b0 = coopLoadT<coop_mat16x16<f16, B>>(&v_stage[k * V_PITCH + own_o / 4u], V_PITCH);
                        b1 = coopLoadT<coop_mat16x16<f16, B>>(&v_stage[k * V_PITCH + (own_o + 16u) / 4u], V_PITCH);
                    }
                    c00 = coopMultiplyAdd(a0, b0, c00);
                    c01 = coopMultiplyAdd(a0, b1, c01);
                    c10 = coopMultiplyAdd(a1, b0, c10);
                    c11 = coopMultiplyAdd(a1, b1, c11);
                    c20 = coopMultiplyAdd(a2, b0, c20);
                    c21 = coopMultiplyAdd(a2, b1, c21);
                    c30 = coopMultiplyAdd(a3, b0, c30);
                    c31 = coopMultiplyAdd(a3, b1, c31);
                }
                if has1 {
                    var b0 = coop_mat16x16<f16, B>();
                    var b1 = coop_mat16x16<f16, B>();
                    if V_ALONG {
                        b0 = coopLoad<coop_mat16x16<f16, B>>(&v_stage[(own_o + 32u) * V_PITCH + k / 4u], V_PITCH);
                        b1 = coopLoad<coop_mat16x16<f16, B>>(&v_stage[(own_o + 48u) * V_PITCH + k / 4u], V_PITCH);
                    } else {
                        b0 = coopLoadT<coop_mat16x16<f16, B>>(&v_stage[k * V_PITCH + (own_o + 32u) / 4u], V_PITCH);
                        b1 = coopLoadT<coop_mat16x16<f16, B>>(&v_stage[k * V_PITCH + (own_o + 48u) / 4u], V_PITCH);
                    }
                    c02 = coopMultiplyAdd(a0, b0, c02);
                    c03 = coopMultiplyAdd(a0, b1, c03);
                    c12 = coopMultiplyAdd(a1, b0, c12);
                    c13 = coopMultiplyAdd(a1, b1, c13);
                    c22 = coopMultiplyAdd(a2, b0, c22);
                    c23 = coopMultiplyAdd(a2, b1, c23);
                    c32 = coopMultiplyAdd(a3, b0, c32);
                    c33 = coopMultiplyAdd(a3, b1, c33);
                }
            }
        }
    }

    // 16 × 16 at a time; an invocation takes 8 outputs of a token.
    let lane = local % 32u;
    let place = subgroup / TURNS * 80u;
    let from_sum = place + lane / 2u * 5u + lane % 2u * 2u;
    let t = t0 + own_t + lane / 2u;
    let o = o0 + own_o + lane % 2u * 8u;
    for (var turn = 0u; turn < TURNS; turn++) {
        workgroupBarrier();
        if subgroup % TURNS == turn {
            subgroupBarrier(); coopStoreT(c00, &sums[place], 5u); subgroupBarrier(); put(batch, own_first, t, o, from_sum);
            subgroupBarrier(); coopStoreT(c01, &sums[place], 5u); subgroupBarrier(); put(batch, own_first, t, o + 16u, from_sum);
            subgroupBarrier(); coopStoreT(c02, &sums[place], 5u); subgroupBarrier(); put(batch, own_first, t, o + 32u, from_sum);
            subgroupBarrier(); coopStoreT(c03, &sums[place], 5u); subgroupBarrier(); put(batch, own_first, t, o + 48u, from_sum);
            subgroupBarrier(); coopStoreT(c10, &sums[place], 5u); subgroupBarrier(); put(batch, own_first, t + 16u, o, from_sum);
            subgroupBarrier(); coopStoreT(c11, &sums[place], 5u); subgroupBarrier(); put(batch, own_first, t + 16u, o + 16u, from_sum);
            subgroupBarrier(); coopStoreT(c12, &sums[place], 5u); subgroupBarrier(); put(batch, own_first, t + 16u, o + 32u, from_sum);
            subgroupBarrier(); coopStoreT(c13, &sums[place], 5u); subgroupBarrier(); put(batch, own_first, t + 16u, o + 48u, from_sum);
            subgroupBarrier(); coopStoreT(c20, &sums[place], 5u); subgroupBarrier(); put(batch, own_first, t + 32u, o, from_sum);
            subgroupBarrier(); coopStoreT(c21, &sums[place], 5u); subgroupBarrier(); put(batch, own_first, t + 32u, o + 16u, from_sum);
            subgroupBarrier(); coopStoreT(c22, &sums[place], 5u); subgroupBarrier(); put(batch, own_first, t + 32u, o + 32u, from_sum);
            subgroupBarrier(); coopStoreT(c23, &sums[place], 5u); subgroupBarrier(); put(batch, own_first, t + 32u, o + 48u, from_sum);
            subgroupBarrier(); coopStoreT(c30, &sums[place], 5u); subgroupBarrier(); put(batch, own_first, t + 48u, o, from_sum);
            subgroupBarrier(); coopStoreT(c31, &sums[place], 5u); subgroupBarrier(); put(batch, own_first, t + 48u, o + 16u, from_sum);
            subgroupBarrier(); coopStoreT(c32, &sums[place], 5u); subgroupBarrier(); put(batch, own_first, t + 48u, o + 32u, from_sum);
            subgroupBarrier(); coopStoreT(c33, &sums[place], 5u); subgroupBarrier(); put(batch, own_first, t + 48u, o + 48u, from_sum);
        }
    }
}

fn put(batch: u32, own_first: u32, t: u32, o: u32, at: u32) {
    if (t >= own_first) & (o < params.outputs) {
        finish(batch, t, o, 4u, sums[at]);
        finish(batch, t, o + 4u, 4u, sums[at + 1u]);
    }
}

fn store(at: u32, step: u32, count: u32, v: vec4<f32>) { y[at / 4u] = vec4<f16>(v); }
