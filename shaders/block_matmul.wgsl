// Y = act(X · V + bias), V block-sparse, in tiles of TOKENS × OUTPUTS, each invocation 8 × 8 sums in
// named registers. A tile lies in one block column; the blocks there, laid end to end, are one line of
// terms, staged DEPTH at a time whatever the block shape. The next terms are on their way from memory
// while these are multiplied, and the index of those after them.

override TOKENS: u32 = 128u;
override OUTPUTS: u32 = 32u;
override DEPTH: u32 = 8u;
override THREADS: u32 = TOKENS * OUTPUTS / 64u;
override X_LOADS: u32 = 16u * DEPTH / OUTPUTS;    // vec4s of X that an invocation brings, 1 to 4
override V_LOADS: u32 = 16u * DEPTH / TOKENS;     // of V, at most 2; 0 is one, by some invocations
override X_PITCH: u32 = TOKENS / 4u + 1u;         // vec4s in a staged row, one to spread the banks
override V_PITCH: u32 = OUTPUTS / 4u + 1u;
override X_SIZE: u32 = DEPTH * X_PITCH;
override V_SIZE: u32 = DEPTH * V_PITCH;
override X_SIDE: u32 = TOKENS / 8u;
override V_SIDE: u32 = OUTPUTS / 8u;

var<workgroup> x_stage: array<vec4<f32>, X_SIZE>; // [term][token]
var<workgroup> v_stage: array<vec4<f32>, V_SIZE>; // [term][output]
var<workgroup> places: array<vec2<i32>, DEPTH>;

// Four values of X for the n-th place of the stage: along the terms of a token, or along tokens.
fn fetch_x(n: u32, batch: u32, t0: u32) -> vec4<f32> {
    let ramp = vec4(0, 1, 2, 3);
    if X_ALONG {
        let k = n % (DEPTH / 4u) * 4u;
        let t = t0 + n / (DEPTH / 4u);
        let features = vec4(places[k].x, places[k + 1u].x, places[k + 2u].x, places[k + 3u].x);
        let ok = (features >= vec4(0)) & vec4(t < params.tokens);
        return load_left(select(vec4(-1), vec4(x_index(batch, t, 0)) + features, ok));
    }
    let feature = places[n / (TOKENS / 4u)].x;
    let t = t0 + n % (TOKENS / 4u) * 4u;
    let ok = (vec4(i32(t)) + ramp < vec4(i32(params.tokens))) & vec4(feature >= 0);
    return load_left(select(vec4(-1), vec4(x_index(batch, t, feature)) + ramp, ok));
}

fn stage_x(n: u32, v: vec4<f32>) {
    if X_ALONG {
        let at = n % (DEPTH / 4u) * 4u * X_PITCH + n / (DEPTH / 4u) / 4u;
        let lane = n / (DEPTH / 4u) % 4u;
        x_stage[at][lane] = v.x;
        x_stage[at + X_PITCH][lane] = v.y;
        x_stage[at + 2u * X_PITCH][lane] = v.z;
        x_stage[at + 3u * X_PITCH][lane] = v.w;
    } else {
        x_stage[n / (TOKENS / 4u) * X_PITCH + n % (TOKENS / 4u)] = v;
    }
}

// The same of V; `o0` is the tile's first output in its block.
fn fetch_v(n: u32, o0: u32) -> vec4<f32> {
    let ramp = vec4(0, 1, 2, 3);
    if V_ALONG {
        let k = n % (DEPTH / 4u) * 4u;
        let o = o0 + n / (DEPTH / 4u);
        let features = vec4(places[k].x, places[k + 1u].x, places[k + 2u].x, places[k + 3u].x);
        let starts = vec4(places[k].y, places[k + 1u].y, places[k + 2u].y, places[k + 3u].y);
        let ok = (features >= vec4(0)) & vec4(o < params.width);
        return load_right(select(vec4(-1), starts + i32(o * params.depth), ok));
    }
    let at = places[n / (OUTPUTS / 4u)];
    let o = vec4(i32(o0 + n % (OUTPUTS / 4u) * 4u)) + ramp;
    let ok = (o < vec4(i32(params.width))) & vec4(at.x >= 0);
    return load_right(select(vec4(-1), at.y + o, ok));
}

fn stage_v(n: u32, v: vec4<f32>) {
    if V_ALONG {
        let at = n % (DEPTH / 4u) * 4u * V_PITCH + n / (DEPTH / 4u) / 4u;
        let lane = n / (DEPTH / 4u) % 4u;
        v_stage[at][lane] = v.x;
        v_stage[at + V_PITCH][lane] = v.y;
        v_stage[at + 2u * V_PITCH][lane] = v.z;
        v_stage[at + 3u * V_PITCH][lane] = v.w;
    } else {
        v_stage[n / (OUTPUTS / 4u) * V_PITCH + n % (OUTPUTS / 4u)] = v;
    }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = group_index(group, groups);
    if tile >= params.batch * params.token_tiles * params.output_tiles { return; }

    // Which tile, and the terms of its block column. Neighbours share tokens.
    let tiles_in_block = params.output_tiles / params.columns;
    let output_tile = tile % params.output_tiles;
    let column = output_tile / tiles_in_block;
    let o0 = output_tile % tiles_in_block * OUTPUTS;
    let batch = tile / params.output_tiles / params.token_tiles;
    let t0 = tile / params.output_tiles % params.token_tiles * TOKENS;
    let first = index[column];
    let end = index[column + 1u];
    let terms = (end - first) * params.depth;
    let vx = local % V_SIDE;
    let xy = local / V_SIDE;
    let brings_v = local < OUTPUTS * DEPTH / 4u;

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
    var next = vec2(-1, 0);
    var term = advance(Term(first, 0u), local);
    if local < DEPTH {
        places[local] = place(term, end);
        term = advance(term, DEPTH);
        next = place(term, end);
    }
    workgroupBarrier();
    rx0 = fetch_x(local, batch, t0);
    if X_LOADS > 1u { rx1 = fetch_x(local + THREADS, batch, t0); }
    if X_LOADS > 2u { rx2 = fetch_x(local + 2u * THREADS, batch, t0); }
    if X_LOADS > 3u { rx3 = fetch_x(local + 3u * THREADS, batch, t0); }
    if brings_v { rv0 = fetch_v(local, o0); }
    if V_LOADS > 1u { rv1 = fetch_v(local + THREADS, o0); }

    for (var k0 = 0u; k0 < terms; k0 += DEPTH) {
        workgroupBarrier();
        stage_x(local, rx0);
        if X_LOADS > 1u { stage_x(local + THREADS, rx1); }
        if X_LOADS > 2u { stage_x(local + 2u * THREADS, rx2); }
        if X_LOADS > 3u { stage_x(local + 3u * THREADS, rx3); }
        if brings_v { stage_v(local, rv0); }
        if V_LOADS > 1u { stage_v(local + THREADS, rv1); }
        if local < DEPTH { places[local] = next; }
        workgroupBarrier();

        rx0 = fetch_x(local, batch, t0);
        if X_LOADS > 1u { rx1 = fetch_x(local + THREADS, batch, t0); }
        if X_LOADS > 2u { rx2 = fetch_x(local + 2u * THREADS, batch, t0); }
        if X_LOADS > 3u { rx3 = fetch_x(local + 3u * THREADS, batch, t0); }
        if brings_v { rv0 = fetch_v(local, o0); }
        if V_LOADS > 1u { rv1 = fetch_v(local + THREADS, o0); }
        if local < DEPTH {
            term = advance(term, DEPTH);
            next = place(term, end);
        }

        // Two terms at once, so that their reads are in flight together.
        for (var k = 0u; k < DEPTH; k += 2u) {
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
        }
    }

    let t = t0 + xy * 4u;
    let th = t + TOKENS / 2u;
    let o = o0 + vx * 4u;
    let oh = o + OUTPUTS / 2u;
    put(batch, t, column, o, c0l); put(batch, t, column, oh, c0h);
    put(batch, t + 1u, column, o, c1l); put(batch, t + 1u, column, oh, c1h);
    put(batch, t + 2u, column, o, c2l); put(batch, t + 2u, column, oh, c2h);
    put(batch, t + 3u, column, o, c3l); put(batch, t + 3u, column, oh, c3h);
    put(batch, th, column, o, c4l); put(batch, th, column, oh, c4h);
    put(batch, th + 1u, column, o, c5l); put(batch, th + 1u, column, oh, c5h);
    put(batch, th + 2u, column, o, c6l); put(batch, th + 2u, column, oh, c6h);
    put(batch, th + 3u, column, o, c7l); put(batch, th + 3u, column, oh, c7h);
}

// Four outputs of a token, as far as the block and the matrix have them.
fn put(batch: u32, t: u32, column: u32, o: u32, sums: vec4<f32>) {
    let end = min(params.width, params.outputs - column * params.width);
    if (t < params.tokens) & (o < end) { finish(batch, t, column * params.width + o, min(4u, end - o), sums); }
}
