// C = Aᵀ · B at stored blocks, in tiles of ROWS × PLACES: rows of a block row, and places of its
// columns laid end to end, so that a tile spans blocks and its part of A is read once for all of them.
// Each invocation has 8 × 8 sums in named registers; DEPTH tokens are staged at a time, and the next
// ones are on their way from memory while these are multiplied.

override ROWS: u32 = 32u;
override PLACES: u32 = 128u;
override DEPTH: u32 = 8u;
override THREADS: u32 = ROWS * PLACES / 64u;
override A_LOADS: u32 = 16u * DEPTH / PLACES;     // vec4s of A that an invocation brings, at most 2; 0 is one, by some
override B_LOADS: u32 = 16u * DEPTH / ROWS;       // of B, 1 to 4
override A_PITCH: u32 = ROWS / 4u + 1u;
override B_PITCH: u32 = PLACES / 4u + 1u;
override A_SIZE: u32 = DEPTH * A_PITCH;
override B_SIZE: u32 = DEPTH * B_PITCH;
override A_SIDE: u32 = ROWS / 8u;
override B_SIDE: u32 = PLACES / 8u;

@group(0) @binding(4) var<storage, read_write> c: array<f32>;

var<workgroup> a_stage: array<vec4<f32>, A_SIZE>; // [token][row]
var<workgroup> b_stage: array<vec4<f32>, B_SIZE>; // [token][place]
var<workgroup> places: array<vec2<i32>, PLACES>;

// Four values of A: along the rows of a token, or along tokens. `i0` is the tile's first row in its
// block, `base` that block's first row.
fn fetch_a(n: u32, base: u32, i0: u32, t0: u32, end: u32) -> vec4<f32> {
    let ramp = vec4(0u, 1u, 2u, 3u);
    if A_ALONG {
        let t = t0 + n / (ROWS / 4u);
        let i = vec4(i0 + n % (ROWS / 4u) * 4u) + ramp;
        let ok = (i < vec4(params.height)) & (vec4(base) + i < vec4(params.rows)) & vec4(t < end);
        return load_left(select(vec4(-1), vec4(a_index(t, base)) + vec4<i32>(i), ok));
    }
    let t = vec4(t0 + n % (DEPTH / 4u) * 4u) + ramp;
    let i = i0 + n / (DEPTH / 4u);
    let ok = (t < vec4(end)) & vec4((i < params.height) & (base + i < params.rows));
    return load_left(select(vec4(-1), vec4(a_index(t.x, base + i)) + vec4<i32>(ramp), ok));
}

fn stage_a(n: u32, v: vec4<f32>) {
    if A_ALONG {
        a_stage[n / (ROWS / 4u) * A_PITCH + n % (ROWS / 4u)] = v;
    } else {
        let at = n % (DEPTH / 4u) * 4u * A_PITCH + n / (DEPTH / 4u) / 4u;
        let lane = n / (DEPTH / 4u) % 4u;
        a_stage[at][lane] = v.x;
        a_stage[at + A_PITCH][lane] = v.y;
        a_stage[at + 2u * A_PITCH][lane] = v.z;
        a_stage[at + 3u * A_PITCH][lane] = v.w;
    }
}

// The same of B. Along features, all loads of an invocation are at the same places, whose `features` are
// given: THREADS is a multiple of PLACES / 4.
fn fetch_b(n: u32, features: vec4<i32>, t0: u32, end: u32) -> vec4<f32> {
    if B_ALONG {
        let t = t0 + n / (PLACES / 4u);
        let ok = (features >= vec4(0)) & vec4(t < end);
        return load_right(select(vec4(-1), vec4(b_index(t, 0)) + features, ok));
    }
    let ramp = vec4(0u, 1u, 2u, 3u);
    let t = vec4(t0 + n % (DEPTH / 4u) * 4u) + ramp;
    let feature = places[n / (DEPTH / 4u)].x;
    let ok = (t < vec4(end)) & vec4(feature >= 0);
    return load_right(select(vec4(-1), vec4(b_index(t.x, feature)) + vec4<i32>(ramp), ok));
}

fn stage_b(n: u32, v: vec4<f32>) {
    if B_ALONG {
        b_stage[n / (PLACES / 4u) * B_PITCH + n % (PLACES / 4u)] = v;
    } else {
        let at = n % (DEPTH / 4u) * 4u * B_PITCH + n / (DEPTH / 4u) / 4u;
        let lane = n / (DEPTH / 4u) % 4u;
        b_stage[at][lane] = v.x;
        b_stage[at + B_PITCH][lane] = v.y;
        b_stage[at + 2u * B_PITCH][lane] = v.z;
        b_stage[at + 3u * B_PITCH][lane] = v.w;
    }
}

@compute @workgroup_size(THREADS)
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
    for (var n = local; n < PLACES; n += THREADS) { places[n] = place(p0 + n, first, count); }
    workgroupBarrier();

    let p_first = local % (PLACES / 4u) * 4u;
    let features = vec4(places[p_first].x, places[p_first + 1u].x, places[p_first + 2u].x, places[p_first + 3u].x);
    let bx = local % B_SIDE;
    let ay = local / B_SIDE;
    let brings_a = local < ROWS * DEPTH / 4u;
    var c0l = vec4(0.0); var c0h = vec4(0.0);
    var c1l = vec4(0.0); var c1h = vec4(0.0);
    var c2l = vec4(0.0); var c2h = vec4(0.0);
    var c3l = vec4(0.0); var c3h = vec4(0.0);
    var c4l = vec4(0.0); var c4h = vec4(0.0);
    var c5l = vec4(0.0); var c5h = vec4(0.0);
    var c6l = vec4(0.0); var c6h = vec4(0.0);
    var c7l = vec4(0.0); var c7h = vec4(0.0);

    // The first tokens.
    var ra0 = vec4(0.0); var ra1 = vec4(0.0);
    var rb0 = vec4(0.0); var rb1 = vec4(0.0); var rb2 = vec4(0.0); var rb3 = vec4(0.0);
    if brings_a { ra0 = fetch_a(local, base, i0, start, end); }
    if A_LOADS > 1u { ra1 = fetch_a(local + THREADS, base, i0, start, end); }
    rb0 = fetch_b(local, features, start, end);
    if B_LOADS > 1u { rb1 = fetch_b(local + THREADS, features, start, end); }
    if B_LOADS > 2u { rb2 = fetch_b(local + 2u * THREADS, features, start, end); }
    if B_LOADS > 3u { rb3 = fetch_b(local + 3u * THREADS, features, start, end); }

    for (var t0 = start; t0 < end; t0 += DEPTH) {
        workgroupBarrier();
        if brings_a { stage_a(local, ra0); }
        if A_LOADS > 1u { stage_a(local + THREADS, ra1); }
        stage_b(local, rb0);
        if B_LOADS > 1u { stage_b(local + THREADS, rb1); }
        if B_LOADS > 2u { stage_b(local + 2u * THREADS, rb2); }
        if B_LOADS > 3u { stage_b(local + 3u * THREADS, rb3); }
        workgroupBarrier();

        let next = t0 + DEPTH;
        if brings_a { ra0 = fetch_a(local, base, i0, next, end); }
        if A_LOADS > 1u { ra1 = fetch_a(local + THREADS, base, i0, next, end); }
        rb0 = fetch_b(local, features, next, end);
        if B_LOADS > 1u { rb1 = fetch_b(local + THREADS, features, next, end); }
        if B_LOADS > 2u { rb2 = fetch_b(local + 2u * THREADS, features, next, end); }
        if B_LOADS > 3u { rb3 = fetch_b(local + 3u * THREADS, features, next, end); }

        // Two terms at once, so that their reads are in flight together.
        for (var k = 0u; k < DEPTH; k += 2u) {
            {
                let al = a_stage[k * A_PITCH + ay];
                let ah = a_stage[k * A_PITCH + A_SIDE + ay];
                let bl = b_stage[k * B_PITCH + bx];
                let bh = b_stage[k * B_PITCH + B_SIDE + bx];
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
                let al = a_stage[(k + 1u) * A_PITCH + ay];
                let ah = a_stage[(k + 1u) * A_PITCH + A_SIDE + ay];
                let bl = b_stage[(k + 1u) * B_PITCH + bx];
                let bh = b_stage[(k + 1u) * B_PITCH + B_SIDE + bx];
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

    let i = i0 + ay * 4u;
    let ih = i + ROWS / 2u;
    let p = bx * 4u;
    let ph = p + PLACES / 2u;
    let copy = part * params.length;
    put(copy, base, i, p, c0l); put(copy, base, i, ph, c0h);
    put(copy, base, i + 1u, p, c1l); put(copy, base, i + 1u, ph, c1h);
    put(copy, base, i + 2u, p, c2l); put(copy, base, i + 2u, ph, c2h);
    put(copy, base, i + 3u, p, c3l); put(copy, base, i + 3u, ph, c3h);
    put(copy, base, ih, p, c4l); put(copy, base, ih, ph, c4h);
    put(copy, base, ih + 1u, p, c5l); put(copy, base, ih + 1u, ph, c5h);
    put(copy, base, ih + 2u, p, c6l); put(copy, base, ih + 2u, ph, c6h);
    put(copy, base, ih + 3u, p, c7l); put(copy, base, ih + 3u, ph, c7h);
}

// Four places of a row, as far as the block row has them; what sticks out of the matrix is 0.
fn put(copy: u32, base: u32, i: u32, p: u32, sums: vec4<f32>) {
    if i >= params.height { return; }
    let inside = base + i < params.rows;
    one(copy, i, places[p], inside, sums.x);
    one(copy, i, places[p + 1u], inside, sums.y);
    one(copy, i, places[p + 2u], inside, sums.z);
    one(copy, i, places[p + 3u], inside, sums.w);
}

fn one(copy: u32, i: u32, at: vec2<i32>, inside: bool, sum: f32) {
    if at.y < 0 { return; }
    let where_to = copy + u32(at.y) + i * params.width;
    var value = select(0.0, sum, inside & (at.x >= 0));
    if ADD { value += c[where_to]; }
    c[where_to] = value;
}
