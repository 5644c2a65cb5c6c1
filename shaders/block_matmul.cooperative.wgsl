enable f16;
enable wgpu_cooperative_matrix;
diagnostic(off, derivative_uniformity); // branches of a subgroup depend on its number only

// Y = act(X · V + bias) on matrix units, V block-sparse, f16 with f32 sums, X and Y contiguous along
// features. Four subgroups share a tile of TOKENS × OUTPUTS, SHARE × 32 each, in one
// block column, whose blocks they go along DEPTH rows at a time. The next rows are on their way from
// memory while these are multiplied.

override OUTPUTS: u32 = 64u;
override DEPTH: u32 = 32u;
override TOKENS: u32 = 128u;
override SIDE_BY_SIDE: u32 = OUTPUTS / 32u;             // subgroups along the outputs
const GROUP = 128u;                                     // invocations
override SHARE: u32 = TOKENS * SIDE_BY_SIDE * 32u / GROUP; // tokens of a subgroup, 32 or 64
override X_PITCH: u32 = DEPTH / 4u + 2u;                // vec4s of a staged line, 2 to spread the banks
override X_SIZE: u32 = TOKENS * X_PITCH;                // [token][term]
override V_LINES: u32 = select(DEPTH, OUTPUTS, V_ALONG); // [term][output], or [output][term]
override V_LINE: u32 = select(OUTPUTS, DEPTH, V_ALONG) / 4u;
override V_PITCH: u32 = V_LINE + 2u;
override V_SIZE: u32 = V_LINES * V_PITCH;

@group(0) @binding(1) var<storage, read> left: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> right: array<vec4<f16>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f16>>;

var<workgroup> x_stage: array<vec4<f16>, X_SIZE>;
var<workgroup> v_stage: array<vec4<f16>, V_SIZE>;
var<workgroup> sums: array<vec4<f32>, 64>; // 16 × 16 on their way out

// Where a stage's terms are: the block, counted through the index, and the row inside it.
struct Stage {
    feature: u32, // of X, where its terms begin
    start: u32,   // of V's values, the block's first
    row: u32,
}

fn stage_of(block: u32, row: u32) -> Stage {
    let entry = params.columns + 1u + block * 2u;
    return Stage(index[entry] * params.depth + row, index[entry + 1u] * params.depth * params.width, row);
}

// Value n of a staged piece of X, and of V; tokens beyond the last are the last.
fn fetch_x(n: u32, batch: u32, t0: u32, s: Stage) -> vec4<f16> {
    let t = min(t0 + n / (DEPTH / 4u), params.tokens - 1u);
    return left[(batch * params.x_batch + t * params.x_stride + s.feature) / 4u + n % (DEPTH / 4u)];
}

fn fetch_v(n: u32, o0: u32, s: Stage) -> vec4<f16> {
    let line = n / V_LINE % V_LINES; // invocations beyond the last bring the first again
    let at = select((s.row + line) * params.width + o0, (o0 + line) * params.depth + s.row, V_ALONG);
    return right[(s.start + at) / 4u + n % V_LINE];
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = group_index(group, groups);
    if tile >= params.batch * params.token_tiles * params.output_tiles { return; }
    let tiles_in_block = params.output_tiles / params.columns;
    let output_tile = tile % params.output_tiles;
    let column = output_tile / tiles_in_block;
    let o0 = output_tile % tiles_in_block * OUTPUTS;
    let batch = tile / params.output_tiles / params.token_tiles;
    let t0 = tile / params.output_tiles % params.token_tiles * TOKENS;
    let subgroup = local / 32u;
    let own_t = subgroup / SIDE_BY_SIDE * SHARE;
    let own_o = subgroup % SIDE_BY_SIDE * 32u;
    let end = index[column + 1u];
    var block = index[column];
    var row = 0u;

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
    var c00 = coop_mat16x16<f32, C>(); var c01 = coop_mat16x16<f32, C>();
    var c10 = coop_mat16x16<f32, C>(); var c11 = coop_mat16x16<f32, C>();
    var c20 = coop_mat16x16<f32, C>(); var c21 = coop_mat16x16<f32, C>();
    var c30 = coop_mat16x16<f32, C>(); var c31 = coop_mat16x16<f32, C>();

    if block < end {
        let s = stage_of(block, row);
        x0 = fetch_x(local, batch, t0, s);
        if TOKENS * DEPTH > 4u * GROUP { x1 = fetch_x(local + 1u * GROUP, batch, t0, s); }
        if TOKENS * DEPTH > 8u * GROUP { x2 = fetch_x(local + 2u * GROUP, batch, t0, s); }
        if TOKENS * DEPTH > 12u * GROUP { x3 = fetch_x(local + 3u * GROUP, batch, t0, s); }
        if TOKENS * DEPTH > 16u * GROUP { x4 = fetch_x(local + 4u * GROUP, batch, t0, s); }
        if TOKENS * DEPTH > 20u * GROUP { x5 = fetch_x(local + 5u * GROUP, batch, t0, s); }
        if TOKENS * DEPTH > 24u * GROUP { x6 = fetch_x(local + 6u * GROUP, batch, t0, s); }
        if TOKENS * DEPTH > 28u * GROUP { x7 = fetch_x(local + 7u * GROUP, batch, t0, s); }
        v0 = fetch_v(local, o0, s);
        if OUTPUTS * DEPTH > 4u * GROUP { v1 = fetch_v(local + 1u * GROUP, o0, s); }
        if OUTPUTS * DEPTH > 8u * GROUP { v2 = fetch_v(local + 2u * GROUP, o0, s); }
        if OUTPUTS * DEPTH > 12u * GROUP { v3 = fetch_v(local + 3u * GROUP, o0, s); }
    }
    while block < end {
        workgroupBarrier();
        into_x(local, x0);
        if TOKENS * DEPTH > 4u * GROUP { into_x(local + 1u * GROUP, x1); }
        if TOKENS * DEPTH > 8u * GROUP { into_x(local + 2u * GROUP, x2); }
        if TOKENS * DEPTH > 12u * GROUP { into_x(local + 3u * GROUP, x3); }
        if TOKENS * DEPTH > 16u * GROUP { into_x(local + 4u * GROUP, x4); }
        if TOKENS * DEPTH > 20u * GROUP { into_x(local + 5u * GROUP, x5); }
        if TOKENS * DEPTH > 24u * GROUP { into_x(local + 6u * GROUP, x6); }
        if TOKENS * DEPTH > 28u * GROUP { into_x(local + 7u * GROUP, x7); }
        into_v(local, v0);
        if OUTPUTS * DEPTH > 4u * GROUP { into_v(local + 1u * GROUP, v1); }
        if OUTPUTS * DEPTH > 8u * GROUP { into_v(local + 2u * GROUP, v2); }
        if OUTPUTS * DEPTH > 12u * GROUP { into_v(local + 3u * GROUP, v3); }
        workgroupBarrier();
        row += DEPTH;
        if row >= params.depth {
            row = 0u;
            block++;
        }
        if block < end {
            let s = stage_of(block, row);
            x0 = fetch_x(local, batch, t0, s);
            if TOKENS * DEPTH > 4u * GROUP { x1 = fetch_x(local + 1u * GROUP, batch, t0, s); }
            if TOKENS * DEPTH > 8u * GROUP { x2 = fetch_x(local + 2u * GROUP, batch, t0, s); }
            if TOKENS * DEPTH > 12u * GROUP { x3 = fetch_x(local + 3u * GROUP, batch, t0, s); }
            if TOKENS * DEPTH > 16u * GROUP { x4 = fetch_x(local + 4u * GROUP, batch, t0, s); }
            if TOKENS * DEPTH > 20u * GROUP { x5 = fetch_x(local + 5u * GROUP, batch, t0, s); }
            if TOKENS * DEPTH > 24u * GROUP { x6 = fetch_x(local + 6u * GROUP, batch, t0, s); }
            if TOKENS * DEPTH > 28u * GROUP { x7 = fetch_x(local + 7u * GROUP, batch, t0, s); }
            v0 = fetch_v(local, o0, s);
            if OUTPUTS * DEPTH > 4u * GROUP { v1 = fetch_v(local + 1u * GROUP, o0, s); }
            if OUTPUTS * DEPTH > 8u * GROUP { v2 = fetch_v(local + 2u * GROUP, o0, s); }
            if OUTPUTS * DEPTH > 12u * GROUP { v3 = fetch_v(local + 3u * GROUP, o0, s); }
        }
        // Written out, since loops are not unrolled for us.
        {
            const k = 0u;
            let a0 = coopLoadT<coop_mat16x16<f16, A>>(&x_stage[(own_t + 0u) * X_PITCH + k / 4u], X_PITCH);
            let a1 = coopLoadT<coop_mat16x16<f16, A>>(&x_stage[(own_t + 16u) * X_PITCH + k / 4u], X_PITCH);
            var b0 = coop_mat16x16<f16, B>();
            var b1 = coop_mat16x16<f16, B>();
            if V_ALONG {
                b0 = coopLoad<coop_mat16x16<f16, B>>(&v_stage[own_o * V_PITCH + k / 4u], V_PITCH);
                b1 = coopLoad<coop_mat16x16<f16, B>>(&v_stage[(own_o + 16u) * V_PITCH + k / 4u], V_PITCH);
            } else {
                b0 = coopLoadT<coop_mat16x16<f16, B>>(&v_stage[k * V_PITCH + own_o / 4u], V_PITCH);
                b1 = coopLoadT<coop_mat16x16<f16, B>>(&v_stage[k * V_PITCH + own_o / 4u + 4u], V_PITCH);
            }
            c00 = coopMultiplyAdd(a0, b0, c00);
            c01 = coopMultiplyAdd(a0, b1, c01);
            c10 = coopMultiplyAdd(a1, b0, c10);
            c11 = coopMultiplyAdd(a1, b1, c11);
            if SHARE > 32u {
                let a2 = coopLoadT<coop_mat16x16<f16, A>>(&x_stage[(own_t + 32u) * X_PITCH + k / 4u], X_PITCH);
                let a3 = coopLoadT<coop_mat16x16<f16, A>>(&x_stage[(own_t + 48u) * X_PITCH + k / 4u], X_PITCH);
                c20 = coopMultiplyAdd(a2, b0, c20);
                c21 = coopMultiplyAdd(a2, b1, c21);
                c30 = coopMultiplyAdd(a3, b0, c30);
                c31 = coopMultiplyAdd(a3, b1, c31);
            }
        }
        if DEPTH > 16u {
            const k = 16u;
            let a0 = coopLoadT<coop_mat16x16<f16, A>>(&x_stage[(own_t + 0u) * X_PITCH + k / 4u], X_PITCH);
            let a1 = coopLoadT<coop_mat16x16<f16, A>>(&x_stage[(own_t + 16u) * X_PITCH + k / 4u], X_PITCH);
            var b0 = coop_mat16x16<f16, B>();
            var b1 = coop_mat16x16<f16, B>();
            if V_ALONG {
                b0 = coopLoad<coop_mat16x16<f16, B>>(&v_stage[own_o * V_PITCH + k / 4u], V_PITCH);
                b1 = coopLoad<coop_mat16x16<f16, B>>(&v_stage[(own_o + 16u) * V_PITCH + k / 4u], V_PITCH);
            } else {
                b0 = coopLoadT<coop_mat16x16<f16, B>>(&v_stage[k * V_PITCH + own_o / 4u], V_PITCH);
                b1 = coopLoadT<coop_mat16x16<f16, B>>(&v_stage[k * V_PITCH + own_o / 4u + 4u], V_PITCH);
            }
            c00 = coopMultiplyAdd(a0, b0, c00);
            c01 = coopMultiplyAdd(a0, b1, c01);
            c10 = coopMultiplyAdd(a1, b0, c10);
            c11 = coopMultiplyAdd(a1, b1, c11);
            if SHARE > 32u {
                let a2 = coopLoadT<coop_mat16x16<f16, A>>(&x_stage[(own_t + 32u) * X_PITCH + k / 4u], X_PITCH);
                let a3 = coopLoadT<coop_mat16x16<f16, A>>(&x_stage[(own_t + 48u) * X_PITCH + k / 4u], X_PITCH);
                c20 = coopMultiplyAdd(a2, b0, c20);
                c21 = coopMultiplyAdd(a2, b1, c21);
                c30 = coopMultiplyAdd(a3, b0, c30);
                c31 = coopMultiplyAdd(a3, b1, c31);
            }
        }
    }

    // 16 × 16 at a time; an invocation takes 8 outputs of a token. Subgroups take turns: with 16 KB of workgroup memory one
    // more workgroup runs at once.
    let lane = local % 32u;
    let from_sum = lane / 2u * 4u + lane % 2u * 2u;
    let t = t0 + own_t + lane / 2u;
    let o = column * params.width + o0 + own_o + lane % 2u * 8u;
    for (var turn = 0u; turn < GROUP / 32u; turn++) {
        workgroupBarrier();
        if turn != subgroup { continue; }
        subgroupBarrier(); coopStoreT(c00, &sums[0u], 4u); subgroupBarrier(); put(batch, t + 0u, o + 0u, from_sum);
        subgroupBarrier(); coopStoreT(c01, &sums[0u], 4u); subgroupBarrier(); put(batch, t + 0u, o + 16u, from_sum);
        subgroupBarrier(); coopStoreT(c10, &sums[0u], 4u); subgroupBarrier(); put(batch, t + 16u, o + 0u, from_sum);
        subgroupBarrier(); coopStoreT(c11, &sums[0u], 4u); subgroupBarrier(); put(batch, t + 16u, o + 16u, from_sum);
        if SHARE <= 32u { continue; }
        subgroupBarrier(); coopStoreT(c20, &sums[0u], 4u); subgroupBarrier(); put(batch, t + 32u, o + 0u, from_sum);
        subgroupBarrier(); coopStoreT(c21, &sums[0u], 4u); subgroupBarrier(); put(batch, t + 32u, o + 16u, from_sum);
        subgroupBarrier(); coopStoreT(c30, &sums[0u], 4u); subgroupBarrier(); put(batch, t + 48u, o + 0u, from_sum);
        subgroupBarrier(); coopStoreT(c31, &sums[0u], 4u); subgroupBarrier(); put(batch, t + 48u, o + 16u, from_sum);
    }
}

fn into_x(n: u32, value: vec4<f16>) { x_stage[n / (DEPTH / 4u) * X_PITCH + n % (DEPTH / 4u)] = value; }
fn into_v(n: u32, value: vec4<f16>) {
    if n < V_LINES * V_LINE { v_stage[n / V_LINE * V_PITCH + n % V_LINE] = value; }
}

fn put(batch: u32, t: u32, o: u32, at: u32) {
    if t < params.tokens {
        finish(batch, t, o, 4u, sums[at]);
        finish(batch, t, o + 4u, 4u, sums[at + 1u]);
    }
}

fn store(at: u32, step: u32, count: u32, v: vec4<f32>) { y[at / 4u] = vec4<f16>(v); }
