// The same product where nothing is ragged: blocks whose terms are whole stages and whose outputs are whole
// tiles, tokens for a tile, all sides multiples of 4. A stage lies in one block, so that its place is found
// once for all of it, and each invocation goes along its own lines of X and V by an offset that is the same
// for all. The last tile of tokens starts early enough to be whole; what it shares with the one before is
// written by that one.

const TOKENS: u32 = 64u;
const OUTPUTS: u32 = 32u;
const DEPTH: u32 = 8u;
const THREADS: u32 = TOKENS * OUTPUTS / 64u;    // one subgroup, on most GPUs
const X_PITCH: u32 = TOKENS / 4u + 1u;          // vec4s in a staged row, one to spread the banks
const V_PITCH: u32 = OUTPUTS / 4u + 1u;
const X_SIDE: u32 = TOKENS / 8u;
const V_SIDE: u32 = OUTPUTS / 8u;
override X_LINE: u32 = select(TOKENS, DEPTH, X_ALONG) / 4u; // vec4s in a line of a stage in memory
override V_LINE: u32 = select(OUTPUTS, DEPTH, V_ALONG) / 4u;
override X_APART: u32 = select(THREADS / X_LINE, 1u, X_ALONG); // lines between an invocation's vec4s in memory
override X_HOP: u32 = select(THREADS / X_LINE * X_PITCH, X_PITCH, X_ALONG); // vec4s between them in the stage
override V_HOP: u32 = select(THREADS / V_LINE * V_PITCH, THREADS / V_LINE / 4u, V_ALONG);

@group(0) @binding(1) var<storage, read> left: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> right: array<vec4<f32>>;

var<workgroup> x_stage: array<vec4<f32>, DEPTH * X_PITCH>; // [term][token]
var<workgroup> v_stage: array<vec4<f32>, DEPTH * V_PITCH>; // [term][output]

// An invocation's values of X into the stage. Along the terms they are four neighbouring tokens', turned round here.
fn stage_x(at: u32, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) {
    if X_ALONG {
        x_stage[at] = vec4(a.x, b.x, c.x, d.x);
        x_stage[at + X_HOP] = vec4(a.y, b.y, c.y, d.y);
        x_stage[at + 2u * X_HOP] = vec4(a.z, b.z, c.z, d.z);
        x_stage[at + 3u * X_HOP] = vec4(a.w, b.w, c.w, d.w);
    } else {
        x_stage[at] = a;
        x_stage[at + X_HOP] = b;
        x_stage[at + 2u * X_HOP] = c;
        x_stage[at + 3u * X_HOP] = d;
    }
}

// A vec4 of V into the stage: down the terms of an output, from lane `lane` of a place on, or along a line.
fn stage_v(at: u32, lane: u32, v: vec4<f32>) {
    if V_ALONG {
        v_stage[at][lane] = v.x;
        v_stage[at + V_PITCH][lane] = v.y;
        v_stage[at + 2u * V_PITCH][lane] = v.z;
        v_stage[at + 3u * V_PITCH][lane] = v.w;
    } else {
        v_stage[at] = v;
    }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = group_index(group, groups);
    if tile >= params.batch * params.token_tiles * params.output_tiles { return; }

    // Which tile, and the blocks of its column. Neighbours share tokens.
    let tiles_in_block = params.output_tiles / params.columns;
    let output_tile = tile % params.output_tiles;
    let column = output_tile / tiles_in_block;
    let o0 = output_tile % tiles_in_block * OUTPUTS;
    let batch = tile / params.output_tiles / params.token_tiles;
    let own_t = tile / params.output_tiles % params.token_tiles * TOKENS;
    let t0 = min(own_t, params.tokens - TOKENS);
    var block = index[column];
    let end = index[column + 1u];
    let terms = (end - block) * params.depth;
    var row = 0u; // of the block's, the next to be fetched
    var at = vec2(0u, 0u);

    // Its 8 × 8 sums: the invocations lie 8 × 4, in an order in which two neighbours share both operands.
    let vx = (local & 1u) + ((local >> 1u) & 2u);
    let xy = ((local >> 1u) & 1u) + ((local >> 2u) & 6u);

    // Where in X and V, in vec4s, its first ones are, from where a stage begins, and the steps to further ones.
    let x_step = X_APART * params.x_stride / 4u;
    let x_line = local / X_LINE * select(1u, 4u, X_ALONG) * params.x_stride;
    let x_own = (batch * params.x_batch + select(t0, t0 * params.x_stride, X_ALONG) + x_line) / 4u + local % X_LINE;
    let v_pitch = select(params.width, params.depth, V_ALONG);
    let v_step = THREADS / V_LINE * v_pitch / 4u;
    let v_own = (select(o0, o0 * v_pitch, V_ALONG) + local / V_LINE * v_pitch) / 4u + local % V_LINE;
    let x_term = select(params.x_stride, 1u, X_ALONG);
    let v_term = select(params.width, 1u, V_ALONG);

    // And where in the stages they go.
    let x_to = select(local / X_LINE * X_PITCH + local % X_LINE, local % X_LINE * 4u * X_PITCH + local / X_LINE, X_ALONG);
    let v_to = select(local / V_LINE * V_PITCH + local % V_LINE, local % V_LINE * 4u * V_PITCH + local / V_LINE / 4u, V_ALONG);
    let v_lane = local / V_LINE % 4u;

    var c0l = vec4(0.0); var c0h = vec4(0.0);
    var c1l = vec4(0.0); var c1h = vec4(0.0);
    var c2l = vec4(0.0); var c2h = vec4(0.0);
    var c3l = vec4(0.0); var c3h = vec4(0.0);
    var c4l = vec4(0.0); var c4h = vec4(0.0);
    var c5l = vec4(0.0); var c5h = vec4(0.0);
    var c6l = vec4(0.0); var c6h = vec4(0.0);
    var c7l = vec4(0.0); var c7h = vec4(0.0);

    // The first terms.
    var rx0 = vec4(0.0); var rx1 = vec4(0.0); var rx2 = vec4(0.0); var rx3 = vec4(0.0);
    var rv0 = vec4(0.0); var rv1 = vec4(0.0);
    if block < end {
        at = place_of(block);
        let x = x_own + at.x * x_term / 4u;
        let v = v_own + at.y / 4u;
        rx0 = left[x];
        rx1 = left[x + x_step];
        rx2 = left[x + 2u * x_step];
        rx3 = left[x + 3u * x_step];
        rv0 = right[v];
        rv1 = right[v + v_step];
        row = DEPTH;
        if row == params.depth {
            row = 0u;
            block++;
            if block < end { at = place_of(block); }
        }
    }

    for (var k0 = 0u; k0 < terms; k0 += DEPTH) {
        workgroupBarrier();
        stage_x(x_to, rx0, rx1, rx2, rx3);
        stage_v(v_to, v_lane, rv0);
        stage_v(v_to + V_HOP, v_lane, rv1);
        workgroupBarrier();

        if block < end {
            let x = x_own + (at.x + row) * x_term / 4u;
            let v = v_own + (at.y + row * v_term) / 4u;
            rx0 = left[x];
            rx1 = left[x + x_step];
            rx2 = left[x + 2u * x_step];
            rx3 = left[x + 3u * x_step];
            rv0 = right[v];
            rv1 = right[v + v_step];
            row += DEPTH;
            if row == params.depth {
                row = 0u;
                block++;
                if block < end { at = place_of(block); }
            }
        }

        // Four terms at once, so that their reads are in flight together.
        for (var k = 0u; k < DEPTH; k += 4u) {
            {
                let al = x_stage[k * X_PITCH + xy];
                let ah = x_stage[k * X_PITCH + X_SIDE + xy];
                let bl = v_stage[k * V_PITCH + vx];
                let bh = v_stage[k * V_PITCH + V_SIDE + vx];
                c0l = fma(vec4(al.x), bl, c0l); c0h = fma(vec4(al.x), bh, c0h);
                c1l = fma(vec4(al.y), bl, c1l); c1h = fma(vec4(al.y), bh, c1h);
                c2l = fma(vec4(al.z), bl, c2l); c2h = fma(vec4(al.z), bh, c2h);
                c3l = fma(vec4(al.w), bl, c3l); c3h = fma(vec4(al.w), bh, c3h);
                c4l = fma(vec4(ah.x), bl, c4l); c4h = fma(vec4(ah.x), bh, c4h);
                c5l = fma(vec4(ah.y), bl, c5l); c5h = fma(vec4(ah.y), bh, c5h);
                c6l = fma(vec4(ah.z), bl, c6l); c6h = fma(vec4(ah.z), bh, c6h);
                c7l = fma(vec4(ah.w), bl, c7l); c7h = fma(vec4(ah.w), bh, c7h);
            }
            {
                let al = x_stage[(k + 1u) * X_PITCH + xy];
                let ah = x_stage[(k + 1u) * X_PITCH + X_SIDE + xy];
                let bl = v_stage[(k + 1u) * V_PITCH + vx];
                let bh = v_stage[(k + 1u) * V_PITCH + V_SIDE + vx];
                c0l = fma(vec4(al.x), bl, c0l); c0h = fma(vec4(al.x), bh, c0h);
                c1l = fma(vec4(al.y), bl, c1l); c1h = fma(vec4(al.y), bh, c1h);
                c2l = fma(vec4(al.z), bl, c2l); c2h = fma(vec4(al.z), bh, c2h);
                c3l = fma(vec4(al.w), bl, c3l); c3h = fma(vec4(al.w), bh, c3h);
                c4l = fma(vec4(ah.x), bl, c4l); c4h = fma(vec4(ah.x), bh, c4h);
                c5l = fma(vec4(ah.y), bl, c5l); c5h = fma(vec4(ah.y), bh, c5h);
                c6l = fma(vec4(ah.z), bl, c6l); c6h = fma(vec4(ah.z), bh, c6h);
                c7l = fma(vec4(ah.w), bl, c7l); c7h = fma(vec4(ah.w), bh, c7h);
            }
            {
                let al = x_stage[(k + 2u) * X_PITCH + xy];
                let ah = x_stage[(k + 2u) * X_PITCH + X_SIDE + xy];
                let bl = v_stage[(k + 2u) * V_PITCH + vx];
                let bh = v_stage[(k + 2u) * V_PITCH + V_SIDE + vx];
                c0l = fma(vec4(al.x), bl, c0l); c0h = fma(vec4(al.x), bh, c0h);
                c1l = fma(vec4(al.y), bl, c1l); c1h = fma(vec4(al.y), bh, c1h);
                c2l = fma(vec4(al.z), bl, c2l); c2h = fma(vec4(al.z), bh, c2h);
                c3l = fma(vec4(al.w), bl, c3l); c3h = fma(vec4(al.w), bh, c3h);
                c4l = fma(vec4(ah.x), bl, c4l); c4h = fma(vec4(ah.x), bh, c4h);
                c5l = fma(vec4(ah.y), bl, c5l); c5h = fma(vec4(ah.y), bh, c5h);
                c6l = fma(vec4(ah.z), bl, c6l); c6h = fma(vec4(ah.z), bh, c6h);
                c7l = fma(vec4(ah.w), bl, c7l); c7h = fma(vec4(ah.w), bh, c7h);
            }
            {
                let al = x_stage[(k + 3u) * X_PITCH + xy];
                let ah = x_stage[(k + 3u) * X_PITCH + X_SIDE + xy];
                let bl = v_stage[(k + 3u) * V_PITCH + vx];
                let bh = v_stage[(k + 3u) * V_PITCH + V_SIDE + vx];
                c0l = fma(vec4(al.x), bl, c0l); c0h = fma(vec4(al.x), bh, c0h);
                c1l = fma(vec4(al.y), bl, c1l); c1h = fma(vec4(al.y), bh, c1h);
                c2l = fma(vec4(al.z), bl, c2l); c2h = fma(vec4(al.z), bh, c2h);
                c3l = fma(vec4(al.w), bl, c3l); c3h = fma(vec4(al.w), bh, c3h);
                c4l = fma(vec4(ah.x), bl, c4l); c4h = fma(vec4(ah.x), bh, c4h);
                c5l = fma(vec4(ah.y), bl, c5l); c5h = fma(vec4(ah.y), bh, c5h);
                c6l = fma(vec4(ah.z), bl, c6l); c6h = fma(vec4(ah.z), bh, c6h);
                c7l = fma(vec4(ah.w), bl, c7l); c7h = fma(vec4(ah.w), bh, c7h);
            }
        }
    }

    let t = t0 + xy * 4u;
    let th = t + TOKENS / 2u;
    let o = column * params.width + o0 + vx * 4u;
    let oh = o + OUTPUTS / 2u;
    put(batch, own_t, t, o, c0l); put(batch, own_t, t, oh, c0h);
    put(batch, own_t, t + 1u, o, c1l); put(batch, own_t, t + 1u, oh, c1h);
    put(batch, own_t, t + 2u, o, c2l); put(batch, own_t, t + 2u, oh, c2h);
    put(batch, own_t, t + 3u, o, c3l); put(batch, own_t, t + 3u, oh, c3h);
    put(batch, own_t, th, o, c4l); put(batch, own_t, th, oh, c4h);
    put(batch, own_t, th + 1u, o, c5l); put(batch, own_t, th + 1u, oh, c5h);
    put(batch, own_t, th + 2u, o, c6l); put(batch, own_t, th + 2u, oh, c6h);
    put(batch, own_t, th + 3u, o, c7l); put(batch, own_t, th + 3u, oh, c7h);
}

// Where a block begins: the feature of X, and the value of V.
fn place_of(block: u32) -> vec2<u32> {
    let entry = params.columns + 1u + block * 2u;
    return vec2(index[entry], index[entry + 1u] * params.width) * params.depth;
}

// Four outputs of a token, unless the tile before has it, as far as the matrix has them.
fn put(batch: u32, own_t: u32, t: u32, o: u32, sums: vec4<f32>) {
    if (t >= own_t) & (o < params.outputs) { finish(batch, t, o, min(4u, params.outputs - o), sums); }
}
