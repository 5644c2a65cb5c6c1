// The same product where nothing is ragged: blocks of whole stages and tiles, tokens for a whole tile, all
// sides multiples of 4. DEPTH terms lie in one block, so that its place is found once for all of them, and
// each invocation goes along its own lines of X and V by an offset that is the same for all. The last tile
// of tokens starts early enough to be whole; what it shares with the one before is written by that one.

override TOKENS: u32 = 128u;
override OUTPUTS: u32 = 32u;
override DEPTH: u32 = 8u;
override UNROLL: u32 = 8u;                        // terms written out, 2, 4 or 8
override BUFFERS: u32 = 1u;                       // stages, 1 with two barriers each or 2 with one
override SQUARE: bool = true;                     // neighbours in a subgroup share both sides in pairs
override THREADS: u32 = TOKENS * OUTPUTS / 64u;
override X_LOADS: u32 = 16u * DEPTH / OUTPUTS;    // vec4s of X that an invocation brings, 1 to 8
override V_LOADS: u32 = 16u * DEPTH / TOKENS;     // of V, at most 4; 0 is one, by some invocations
override X_PITCH: u32 = TOKENS / 4u + 1u;         // vec4s in a staged row, one to spread the banks
override V_PITCH: u32 = OUTPUTS / 4u + 1u;
override X_SIZE: u32 = BUFFERS * DEPTH * X_PITCH;
override V_SIZE: u32 = BUFFERS * DEPTH * V_PITCH;
override X_SIDE: u32 = TOKENS / 8u;
override V_SIDE: u32 = OUTPUTS / 8u;
override X_LINE: u32 = select(TOKENS, DEPTH, X_ALONG) / 4u; // vec4s in a line of a stage in memory
override V_LINE: u32 = select(OUTPUTS, DEPTH, V_ALONG) / 4u;
override X_HOP: u32 = select(THREADS / X_LINE * X_PITCH, THREADS / X_LINE / 4u, X_ALONG); // between an invocation's vec4s
override V_HOP: u32 = select(THREADS / V_LINE * V_PITCH, THREADS / V_LINE / 4u, V_ALONG);

@group(0) @binding(1) var<storage, read> left: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> right: array<vec4<f32>>;

var<workgroup> x_stage: array<vec4<f32>, X_SIZE>; // [term][token]
var<workgroup> v_stage: array<vec4<f32>, V_SIZE>; // [term][output]

// A vec4 into a stage: down the terms of a token or an output, from lane `lane` of a place on, or along a line.
fn stage_x(at: u32, lane: u32, v: vec4<f32>) {
    if X_ALONG {
        x_stage[at][lane] = v.x;
        x_stage[at + X_PITCH][lane] = v.y;
        x_stage[at + 2u * X_PITCH][lane] = v.z;
        x_stage[at + 3u * X_PITCH][lane] = v.w;
    } else {
        x_stage[at] = v;
    }
}

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
    var row = 0u;  // of the block's, the next to be fetched
    var at = vec2(0u, 0u);

    // Its 8 × 8 sums: 32 invocations have 4 × 8 of these, and only two or four of them read the same place.
    var vx = local % V_SIDE;
    var xy = local / V_SIDE;
    if SQUARE {
        let warp = local / 32u;
        vx = (local & 1u) + (local >> 1u & 2u) + warp % (V_SIDE / 4u) * 4u;
        xy = (local >> 1u & 1u) + (local >> 2u & 6u) + warp / (V_SIDE / 4u) * 8u;
    }
    let brings_v = local < OUTPUTS * DEPTH / 4u;

    // Where in X and V, in vec4s, its first ones are, from where a stage begins, and the steps to further ones.
    let x_steps = THREADS / X_LINE * params.x_stride / 4u;
    let x_own = (batch * params.x_batch + select(t0, t0 * params.x_stride, X_ALONG) + local / X_LINE * params.x_stride) / 4u + local % X_LINE;
    let v_pitch = select(params.width, params.depth, V_ALONG);
    let v_steps = THREADS / V_LINE * v_pitch / 4u;
    let v_own = (select(o0, o0 * v_pitch, V_ALONG) + local / V_LINE * v_pitch) / 4u + local % V_LINE;
    let x_term = select(params.x_stride, 1u, X_ALONG);
    let v_term = select(params.width, 1u, V_ALONG);

    // And where in the stages they go.
    let x_to = select(local / X_LINE * X_PITCH + local % X_LINE, local % X_LINE * 4u * X_PITCH + local / X_LINE / 4u, X_ALONG);
    let v_to = select(local / V_LINE * V_PITCH + local % V_LINE, local % V_LINE * 4u * V_PITCH + local / V_LINE / 4u, V_ALONG);
    let x_lane = local / X_LINE % 4u;
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
    var rx4 = vec4(0.0); var rx5 = vec4(0.0); var rx6 = vec4(0.0); var rx7 = vec4(0.0);
    var rv0 = vec4(0.0); var rv1 = vec4(0.0); var rv2 = vec4(0.0); var rv3 = vec4(0.0);
    if block < end {
        at = place_of(block);
        let x = x_own + (at.x + row) * x_term / 4u;
        let v = v_own + (at.y + row * v_term) / 4u;
        rx0 = left[x];
        if X_LOADS > 1u { rx1 = left[x + 1u * x_steps]; }
        if X_LOADS > 2u { rx2 = left[x + 2u * x_steps]; }
        if X_LOADS > 3u { rx3 = left[x + 3u * x_steps]; }
        if X_LOADS > 4u { rx4 = left[x + 4u * x_steps]; }
        if X_LOADS > 5u { rx5 = left[x + 5u * x_steps]; }
        if X_LOADS > 6u { rx6 = left[x + 6u * x_steps]; }
        if X_LOADS > 7u { rx7 = left[x + 7u * x_steps]; }
        if brings_v { rv0 = right[v]; }
        if V_LOADS > 1u { rv1 = right[v + 1u * v_steps]; }
        if V_LOADS > 2u { rv2 = right[v + 2u * v_steps]; }
        if V_LOADS > 3u { rv3 = right[v + 3u * v_steps]; }
        row += DEPTH;
        if row == params.depth {
            row = 0u;
            block++;
            if block < end { at = place_of(block); }
        }
    }
    var first_line = 0u; // the stage's first line
    for (var k0 = 0u; k0 < terms; k0 += DEPTH) {
        if BUFFERS == 1u { workgroupBarrier(); }
        let to_x = x_to + first_line * X_PITCH;
        let to_v = v_to + first_line * V_PITCH;
        stage_x(to_x, x_lane, rx0);
        if X_LOADS > 1u { stage_x(to_x + 1u * X_HOP, x_lane, rx1); }
        if X_LOADS > 2u { stage_x(to_x + 2u * X_HOP, x_lane, rx2); }
        if X_LOADS > 3u { stage_x(to_x + 3u * X_HOP, x_lane, rx3); }
        if X_LOADS > 4u { stage_x(to_x + 4u * X_HOP, x_lane, rx4); }
        if X_LOADS > 5u { stage_x(to_x + 5u * X_HOP, x_lane, rx5); }
        if X_LOADS > 6u { stage_x(to_x + 6u * X_HOP, x_lane, rx6); }
        if X_LOADS > 7u { stage_x(to_x + 7u * X_HOP, x_lane, rx7); }
        if brings_v { stage_v(to_v, v_lane, rv0); }
        if V_LOADS > 1u { stage_v(to_v + 1u * V_HOP, v_lane, rv1); }
        if V_LOADS > 2u { stage_v(to_v + 2u * V_HOP, v_lane, rv2); }
        if V_LOADS > 3u { stage_v(to_v + 3u * V_HOP, v_lane, rv3); }
        workgroupBarrier();
        if block < end {
            let x = x_own + (at.x + row) * x_term / 4u;
            let v = v_own + (at.y + row * v_term) / 4u;
            rx0 = left[x];
            if X_LOADS > 1u { rx1 = left[x + 1u * x_steps]; }
            if X_LOADS > 2u { rx2 = left[x + 2u * x_steps]; }
            if X_LOADS > 3u { rx3 = left[x + 3u * x_steps]; }
            if X_LOADS > 4u { rx4 = left[x + 4u * x_steps]; }
            if X_LOADS > 5u { rx5 = left[x + 5u * x_steps]; }
            if X_LOADS > 6u { rx6 = left[x + 6u * x_steps]; }
            if X_LOADS > 7u { rx7 = left[x + 7u * x_steps]; }
            if brings_v { rv0 = right[v]; }
            if V_LOADS > 1u { rv1 = right[v + 1u * v_steps]; }
            if V_LOADS > 2u { rv2 = right[v + 2u * v_steps]; }
            if V_LOADS > 3u { rv3 = right[v + 3u * v_steps]; }
            row += DEPTH;
            if row == params.depth {
                row = 0u;
                block++;
                if block < end { at = place_of(block); }
            }
        }
        for (var k = first_line; k < first_line + DEPTH; k += UNROLL) {
            {
                let a0 = x_stage[k * X_PITCH + xy];
                let a1 = x_stage[k * X_PITCH + X_SIDE + xy];
                let bl = v_stage[k * V_PITCH + vx];
                let bh = v_stage[k * V_PITCH + V_SIDE + vx];
                c0l = fma(vec4(a0.x), bl, c0l); c0h = fma(vec4(a0.x), bh, c0h);
                c1l = fma(vec4(a0.y), bl, c1l); c1h = fma(vec4(a0.y), bh, c1h);
                c2l = fma(vec4(a0.z), bl, c2l); c2h = fma(vec4(a0.z), bh, c2h);
                c3l = fma(vec4(a0.w), bl, c3l); c3h = fma(vec4(a0.w), bh, c3h);
                c4l = fma(vec4(a1.x), bl, c4l); c4h = fma(vec4(a1.x), bh, c4h);
                c5l = fma(vec4(a1.y), bl, c5l); c5h = fma(vec4(a1.y), bh, c5h);
                c6l = fma(vec4(a1.z), bl, c6l); c6h = fma(vec4(a1.z), bh, c6h);
                c7l = fma(vec4(a1.w), bl, c7l); c7h = fma(vec4(a1.w), bh, c7h);
            }
            {
                let a0 = x_stage[(k + 1u) * X_PITCH + xy];
                let a1 = x_stage[(k + 1u) * X_PITCH + X_SIDE + xy];
                let bl = v_stage[(k + 1u) * V_PITCH + vx];
                let bh = v_stage[(k + 1u) * V_PITCH + V_SIDE + vx];
                c0l = fma(vec4(a0.x), bl, c0l); c0h = fma(vec4(a0.x), bh, c0h);
                c1l = fma(vec4(a0.y), bl, c1l); c1h = fma(vec4(a0.y), bh, c1h);
                c2l = fma(vec4(a0.z), bl, c2l); c2h = fma(vec4(a0.z), bh, c2h);
                c3l = fma(vec4(a0.w), bl, c3l); c3h = fma(vec4(a0.w), bh, c3h);
                c4l = fma(vec4(a1.x), bl, c4l); c4h = fma(vec4(a1.x), bh, c4h);
                c5l = fma(vec4(a1.y), bl, c5l); c5h = fma(vec4(a1.y), bh, c5h);
                c6l = fma(vec4(a1.z), bl, c6l); c6h = fma(vec4(a1.z), bh, c6h);
                c7l = fma(vec4(a1.w), bl, c7l); c7h = fma(vec4(a1.w), bh, c7h);
            }
            if UNROLL > 2u {
                {
                    let a0 = x_stage[(k + 2u) * X_PITCH + xy];
                    let a1 = x_stage[(k + 2u) * X_PITCH + X_SIDE + xy];
                    let bl = v_stage[(k + 2u) * V_PITCH + vx];
                    let bh = v_stage[(k + 2u) * V_PITCH + V_SIDE + vx];
                    c0l = fma(vec4(a0.x), bl, c0l); c0h = fma(vec4(a0.x), bh, c0h);
                    c1l = fma(vec4(a0.y), bl, c1l); c1h = fma(vec4(a0.y), bh, c1h);
                    c2l = fma(vec4(a0.z), bl, c2l); c2h = fma(vec4(a0.z), bh, c2h);
                    c3l = fma(vec4(a0.w), bl, c3l); c3h = fma(vec4(a0.w), bh, c3h);
                    c4l = fma(vec4(a1.x), bl, c4l); c4h = fma(vec4(a1.x), bh, c4h);
                    c5l = fma(vec4(a1.y), bl, c5l); c5h = fma(vec4(a1.y), bh, c5h);
                    c6l = fma(vec4(a1.z), bl, c6l); c6h = fma(vec4(a1.z), bh, c6h);
                    c7l = fma(vec4(a1.w), bl, c7l); c7h = fma(vec4(a1.w), bh, c7h);
                }
                {
                    let a0 = x_stage[(k + 3u) * X_PITCH + xy];
                    let a1 = x_stage[(k + 3u) * X_PITCH + X_SIDE + xy];
                    let bl = v_stage[(k + 3u) * V_PITCH + vx];
                    let bh = v_stage[(k + 3u) * V_PITCH + V_SIDE + vx];
                    c0l = fma(vec4(a0.x), bl, c0l); c0h = fma(vec4(a0.x), bh, c0h);
                    c1l = fma(vec4(a0.y), bl, c1l); c1h = fma(vec4(a0.y), bh, c1h);
                    c2l = fma(vec4(a0.z), bl, c2l); c2h = fma(vec4(a0.z), bh, c2h);
                    c3l = fma(vec4(a0.w), bl, c3l); c3h = fma(vec4(a0.w), bh, c3h);
                    c4l = fma(vec4(a1.x), bl, c4l); c4h = fma(vec4(a1.x), bh, c4h);
                    c5l = fma(vec4(a1.y), bl, c5l); c5h = fma(vec4(a1.y), bh, c5h);
                    c6l = fma(vec4(a1.z), bl, c6l); c6h = fma(vec4(a1.z), bh, c6h);
                    c7l = fma(vec4(a1.w), bl, c7l); c7h = fma(vec4(a1.w), bh, c7h);
                }
            }
            if UNROLL > 4u {
                {
                    let a0 = x_stage[(k + 4u) * X_PITCH + xy];
                    let a1 = x_stage[(k + 4u) * X_PITCH + X_SIDE + xy];
                    let bl = v_stage[(k + 4u) * V_PITCH + vx];
                    let bh = v_stage[(k + 4u) * V_PITCH + V_SIDE + vx];
                    c0l = fma(vec4(a0.x), bl, c0l); c0h = fma(vec4(a0.x), bh, c0h);
                    c1l = fma(vec4(a0.y), bl, c1l); c1h = fma(vec4(a0.y), bh, c1h);
                    c2l = fma(vec4(a0.z), bl, c2l); c2h = fma(vec4(a0.z), bh, c2h);
                    c3l = fma(vec4(a0.w), bl, c3l); c3h = fma(vec4(a0.w), bh, c3h);
                    c4l = fma(vec4(a1.x), bl, c4l); c4h = fma(vec4(a1.x), bh, c4h);
                    c5l = fma(vec4(a1.y), bl, c5l); c5h = fma(vec4(a1.y), bh, c5h);
                    c6l = fma(vec4(a1.z), bl, c6l); c6h = fma(vec4(a1.z), bh, c6h);
                    c7l = fma(vec4(a1.w), bl, c7l); c7h = fma(vec4(a1.w), bh, c7h);
                }
                {
                    let a0 = x_stage[(k + 5u) * X_PITCH + xy];
                    let a1 = x_stage[(k + 5u) * X_PITCH + X_SIDE + xy];
                    let bl = v_stage[(k + 5u) * V_PITCH + vx];
                    let bh = v_stage[(k + 5u) * V_PITCH + V_SIDE + vx];
                    c0l = fma(vec4(a0.x), bl, c0l); c0h = fma(vec4(a0.x), bh, c0h);
                    c1l = fma(vec4(a0.y), bl, c1l); c1h = fma(vec4(a0.y), bh, c1h);
                    c2l = fma(vec4(a0.z), bl, c2l); c2h = fma(vec4(a0.z), bh, c2h);
                    c3l = fma(vec4(a0.w), bl, c3l); c3h = fma(vec4(a0.w), bh, c3h);
                    c4l = fma(vec4(a1.x), bl, c4l); c4h = fma(vec4(a1.x), bh, c4h);
                    c5l = fma(vec4(a1.y), bl, c5l); c5h = fma(vec4(a1.y), bh, c5h);
                    c6l = fma(vec4(a1.z), bl, c6l); c6h = fma(vec4(a1.z), bh, c6h);
                    c7l = fma(vec4(a1.w), bl, c7l); c7h = fma(vec4(a1.w), bh, c7h);
                }
                {
                    let a0 = x_stage[(k + 6u) * X_PITCH + xy];
                    let a1 = x_stage[(k + 6u) * X_PITCH + X_SIDE + xy];
                    let bl = v_stage[(k + 6u) * V_PITCH + vx];
                    let bh = v_stage[(k + 6u) * V_PITCH + V_SIDE + vx];
                    c0l = fma(vec4(a0.x), bl, c0l); c0h = fma(vec4(a0.x), bh, c0h);
                    c1l = fma(vec4(a0.y), bl, c1l); c1h = fma(vec4(a0.y), bh, c1h);
                    c2l = fma(vec4(a0.z), bl, c2l); c2h = fma(vec4(a0.z), bh, c2h);
                    c3l = fma(vec4(a0.w), bl, c3l); c3h = fma(vec4(a0.w), bh, c3h);
                    c4l = fma(vec4(a1.x), bl, c4l); c4h = fma(vec4(a1.x), bh, c4h);
                    c5l = fma(vec4(a1.y), bl, c5l); c5h = fma(vec4(a1.y), bh, c5h);
                    c6l = fma(vec4(a1.z), bl, c6l); c6h = fma(vec4(a1.z), bh, c6h);
                    c7l = fma(vec4(a1.w), bl, c7l); c7h = fma(vec4(a1.w), bh, c7h);
                }
                {
                    let a0 = x_stage[(k + 7u) * X_PITCH + xy];
                    let a1 = x_stage[(k + 7u) * X_PITCH + X_SIDE + xy];
                    let bl = v_stage[(k + 7u) * V_PITCH + vx];
                    let bh = v_stage[(k + 7u) * V_PITCH + V_SIDE + vx];
                    c0l = fma(vec4(a0.x), bl, c0l); c0h = fma(vec4(a0.x), bh, c0h);
                    c1l = fma(vec4(a0.y), bl, c1l); c1h = fma(vec4(a0.y), bh, c1h);
                    c2l = fma(vec4(a0.z), bl, c2l); c2h = fma(vec4(a0.z), bh, c2h);
                    c3l = fma(vec4(a0.w), bl, c3l); c3h = fma(vec4(a0.w), bh, c3h);
                    c4l = fma(vec4(a1.x), bl, c4l); c4h = fma(vec4(a1.x), bh, c4h);
                    c5l = fma(vec4(a1.y), bl, c5l); c5h = fma(vec4(a1.y), bh, c5h);
                    c6l = fma(vec4(a1.z), bl, c6l); c6h = fma(vec4(a1.z), bh, c6h);
                    c7l = fma(vec4(a1.w), bl, c7l); c7h = fma(vec4(a1.w), bh, c7h);
                }
            }
        }
        if BUFFERS == 2u { first_line = DEPTH - first_line; }
    }

    let t = t0 + xy * 4u;
    let o = column * params.width + o0 + vx * 4u;
    let oh = o + OUTPUTS / 2u;
    put(batch, own_t, t, o, c0l); put(batch, own_t, t, oh, c0h);
    put(batch, own_t, t + 1u, o, c1l); put(batch, own_t, t + 1u, oh, c1h);
    put(batch, own_t, t + 2u, o, c2l); put(batch, own_t, t + 2u, oh, c2h);
    put(batch, own_t, t + 3u, o, c3l); put(batch, own_t, t + 3u, oh, c3h);
    put(batch, own_t, t + 1u * TOKENS / 2u, o, c4l); put(batch, own_t, t + 1u * TOKENS / 2u, oh, c4h);
    put(batch, own_t, t + 1u * TOKENS / 2u + 1u, o, c5l); put(batch, own_t, t + 1u * TOKENS / 2u + 1u, oh, c5h);
    put(batch, own_t, t + 1u * TOKENS / 2u + 2u, o, c6l); put(batch, own_t, t + 1u * TOKENS / 2u + 2u, oh, c6h);
    put(batch, own_t, t + 1u * TOKENS / 2u + 3u, o, c7l); put(batch, own_t, t + 1u * TOKENS / 2u + 3u, oh, c7h);
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
