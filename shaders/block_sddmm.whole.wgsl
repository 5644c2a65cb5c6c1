// The same at blocks of whole tiles, a multiple of DEPTH tokens and sides that are multiples of 4, A and B
// contiguous along features: an invocation goes along its own features of both. 32 invocations have 32 rows
// of 64 places; those whose places are all beyond the block row only bring values.

override ROWS: u32 = 32u;
override PLACES: u32 = 128u;
override DEPTH: u32 = 8u;
override UNROLL: u32 = 8u;                        // tokens written out, 2, 4 or 8
override BUFFERS: u32 = 1u;                       // stages, 1 with two barriers each or 2 with one
override SQUARE: bool = true;                     // neighbours in a subgroup share both sides in pairs
override ORDERED: bool = true;                    // the first tiles of all block rows first, the last ones last
override THREADS: u32 = ROWS * PLACES / 64u;
override A_LOADS: u32 = 16u * DEPTH / PLACES;     // vec4s of A that an invocation brings, at most 4; 0 is one, by some
override B_LOADS: u32 = 16u * DEPTH / ROWS;       // of B, 1 to 8
override A_LINE: u32 = ROWS / 4u;                 // vec4s of a token
override B_LINE: u32 = PLACES / 4u;
override A_PITCH: u32 = A_LINE + 1u;              // one to spread the banks
override B_PITCH: u32 = B_LINE + 1u;
override A_SIZE: u32 = BUFFERS * DEPTH * A_PITCH;
override B_SIZE: u32 = BUFFERS * DEPTH * B_PITCH;
override A_STEP: u32 = THREADS / A_LINE;          // tokens between an invocation's vec4s
override B_STEP: u32 = THREADS / B_LINE;

@group(0) @binding(1) var<storage, read> left: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> right: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> c: array<vec4<f32>>;

var<workgroup> a_stage: array<vec4<f32>, A_SIZE>; // [token][row]
var<workgroup> b_stage: array<vec4<f32>, B_SIZE>; // [token][place]

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = group_index(group, groups);
    let in_part = params.grid_rows * params.row_tiles * params.column_tiles;
    if tile >= in_part * params.parts { return; }

    // Which tile, of which tokens.
    let row_tiles = params.grid_rows * params.row_tiles;
    var part = tile / in_part;
    var row_tile = tile % in_part / params.column_tiles;
    var p0 = tile % params.column_tiles * PLACES;
    if ORDERED {
        part = tile / row_tiles % params.parts;
        row_tile = tile % row_tiles;
        p0 = tile / row_tiles / params.parts * PLACES;
    }
    let row = row_tile / params.row_tiles;
    let i0 = row_tile % params.row_tiles * ROWS;
    let first = index[row];
    let count = (index[row + 1u] - first) * params.width;
    if p0 >= count { return; }
    let start = part * params.part_tokens;
    let end = min(params.tokens, start + params.part_tokens);

    // Its 8 × 8 sums: four rows, and four more 16 further on, of four places and four more 32 further on.
    var ay = local / 8u % 4u;
    var bx = local % 8u;
    if SQUARE {
        ay = (local & 1u) + (local >> 1u & 2u);
        bx = (local >> 1u & 1u) + (local >> 2u & 6u);
    }
    let warp = local / 32u;
    let own_i = warp % (ROWS / 32u) * 32u;
    let own_p = warp / (ROWS / 32u) * 64u;
    let works = p0 + own_p < count;
    ay += own_i / 4u;
    bx += own_p / 4u;

    // Where in A and B, in vec4s, its first ones are. Places beyond the row bring what is at feature 0.
    let brings_a = local < ROWS * DEPTH / 4u;
    let feature = u32(max(place(p0 + local % B_LINE * 4u, first, count).x, 0));
    let a_step = A_STEP * params.a_stride / 4u;
    let b_step = B_STEP * params.b_stride / 4u;
    var a = ((start + local / A_LINE) * params.a_stride + row * params.height + i0) / 4u + local % A_LINE;
    var b = ((start + local / B_LINE) * params.b_stride + feature) / 4u;
    let a_to = local / A_LINE * A_PITCH + local % A_LINE;
    let b_to = local / B_LINE * B_PITCH + local % B_LINE;

    var c0l = vec4(0.0); var c0h = vec4(0.0);
    var c1l = vec4(0.0); var c1h = vec4(0.0);
    var c2l = vec4(0.0); var c2h = vec4(0.0);
    var c3l = vec4(0.0); var c3h = vec4(0.0);
    var c4l = vec4(0.0); var c4h = vec4(0.0);
    var c5l = vec4(0.0); var c5h = vec4(0.0);
    var c6l = vec4(0.0); var c6h = vec4(0.0);
    var c7l = vec4(0.0); var c7h = vec4(0.0);

    // The first tokens.
    var ra0 = vec4(0.0); var ra1 = vec4(0.0); var ra2 = vec4(0.0); var ra3 = vec4(0.0);
    var rb0 = vec4(0.0); var rb1 = vec4(0.0); var rb2 = vec4(0.0); var rb3 = vec4(0.0);
    var rb4 = vec4(0.0); var rb5 = vec4(0.0); var rb6 = vec4(0.0); var rb7 = vec4(0.0);
    if brings_a { ra0 = left[a]; }
    if A_LOADS > 1u { ra1 = left[a + 1u * a_step]; }
    if A_LOADS > 2u { ra2 = left[a + 2u * a_step]; }
    if A_LOADS > 3u { ra3 = left[a + 3u * a_step]; }
    rb0 = right[b];
    if B_LOADS > 1u { rb1 = right[b + 1u * b_step]; }
    if B_LOADS > 2u { rb2 = right[b + 2u * b_step]; }
    if B_LOADS > 3u { rb3 = right[b + 3u * b_step]; }
    if B_LOADS > 4u { rb4 = right[b + 4u * b_step]; }
    if B_LOADS > 5u { rb5 = right[b + 5u * b_step]; }
    if B_LOADS > 6u { rb6 = right[b + 6u * b_step]; }
    if B_LOADS > 7u { rb7 = right[b + 7u * b_step]; }
    var first_line = 0u; // the stage's first line
    for (var t0 = start; t0 < end; t0 += DEPTH) {
        if BUFFERS == 1u { workgroupBarrier(); }
        let to_a = a_to + first_line * A_PITCH;
        let to_b = b_to + first_line * B_PITCH;
        if brings_a { a_stage[to_a] = ra0; }
        if A_LOADS > 1u { a_stage[to_a + 1u * A_STEP * A_PITCH] = ra1; }
        if A_LOADS > 2u { a_stage[to_a + 2u * A_STEP * A_PITCH] = ra2; }
        if A_LOADS > 3u { a_stage[to_a + 3u * A_STEP * A_PITCH] = ra3; }
        b_stage[to_b] = rb0;
        if B_LOADS > 1u { b_stage[to_b + 1u * B_STEP * B_PITCH] = rb1; }
        if B_LOADS > 2u { b_stage[to_b + 2u * B_STEP * B_PITCH] = rb2; }
        if B_LOADS > 3u { b_stage[to_b + 3u * B_STEP * B_PITCH] = rb3; }
        if B_LOADS > 4u { b_stage[to_b + 4u * B_STEP * B_PITCH] = rb4; }
        if B_LOADS > 5u { b_stage[to_b + 5u * B_STEP * B_PITCH] = rb5; }
        if B_LOADS > 6u { b_stage[to_b + 6u * B_STEP * B_PITCH] = rb6; }
        if B_LOADS > 7u { b_stage[to_b + 7u * B_STEP * B_PITCH] = rb7; }
        workgroupBarrier();
        if t0 + DEPTH < end {
            a += DEPTH * params.a_stride / 4u;
            b += DEPTH * params.b_stride / 4u;
            if brings_a { ra0 = left[a]; }
            if A_LOADS > 1u { ra1 = left[a + 1u * a_step]; }
            if A_LOADS > 2u { ra2 = left[a + 2u * a_step]; }
            if A_LOADS > 3u { ra3 = left[a + 3u * a_step]; }
            rb0 = right[b];
            if B_LOADS > 1u { rb1 = right[b + 1u * b_step]; }
            if B_LOADS > 2u { rb2 = right[b + 2u * b_step]; }
            if B_LOADS > 3u { rb3 = right[b + 3u * b_step]; }
            if B_LOADS > 4u { rb4 = right[b + 4u * b_step]; }
            if B_LOADS > 5u { rb5 = right[b + 5u * b_step]; }
            if B_LOADS > 6u { rb6 = right[b + 6u * b_step]; }
            if B_LOADS > 7u { rb7 = right[b + 7u * b_step]; }
        }
        if works {
            for (var k = first_line; k < first_line + DEPTH; k += UNROLL) {
                {
                    let al = a_stage[k * A_PITCH + ay];
                    let ah = a_stage[k * A_PITCH + 4u + ay];
                    let bl = b_stage[k * B_PITCH + bx];
                    let bh = b_stage[k * B_PITCH + 8u + bx];
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
                    let ah = a_stage[(k + 1u) * A_PITCH + 4u + ay];
                    let bl = b_stage[(k + 1u) * B_PITCH + bx];
                    let bh = b_stage[(k + 1u) * B_PITCH + 8u + bx];
                    c0l = fma(vec4(al.x), bl, c0l); c0h = fma(vec4(al.x), bh, c0h);
                    c1l = fma(vec4(al.y), bl, c1l); c1h = fma(vec4(al.y), bh, c1h);
                    c2l = fma(vec4(al.z), bl, c2l); c2h = fma(vec4(al.z), bh, c2h);
                    c3l = fma(vec4(al.w), bl, c3l); c3h = fma(vec4(al.w), bh, c3h);
                    c4l = fma(vec4(ah.x), bl, c4l); c4h = fma(vec4(ah.x), bh, c4h);
                    c5l = fma(vec4(ah.y), bl, c5l); c5h = fma(vec4(ah.y), bh, c5h);
                    c6l = fma(vec4(ah.z), bl, c6l); c6h = fma(vec4(ah.z), bh, c6h);
                    c7l = fma(vec4(ah.w), bl, c7l); c7h = fma(vec4(ah.w), bh, c7h);
                }
                if UNROLL > 2u {
                    {
                        let al = a_stage[(k + 2u) * A_PITCH + ay];
                        let ah = a_stage[(k + 2u) * A_PITCH + 4u + ay];
                        let bl = b_stage[(k + 2u) * B_PITCH + bx];
                        let bh = b_stage[(k + 2u) * B_PITCH + 8u + bx];
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
                        let al = a_stage[(k + 3u) * A_PITCH + ay];
                        let ah = a_stage[(k + 3u) * A_PITCH + 4u + ay];
                        let bl = b_stage[(k + 3u) * B_PITCH + bx];
                        let bh = b_stage[(k + 3u) * B_PITCH + 8u + bx];
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
                if UNROLL > 4u {
                    {
                        let al = a_stage[(k + 4u) * A_PITCH + ay];
                        let ah = a_stage[(k + 4u) * A_PITCH + 4u + ay];
                        let bl = b_stage[(k + 4u) * B_PITCH + bx];
                        let bh = b_stage[(k + 4u) * B_PITCH + 8u + bx];
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
                        let al = a_stage[(k + 5u) * A_PITCH + ay];
                        let ah = a_stage[(k + 5u) * A_PITCH + 4u + ay];
                        let bl = b_stage[(k + 5u) * B_PITCH + bx];
                        let bh = b_stage[(k + 5u) * B_PITCH + 8u + bx];
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
                        let al = a_stage[(k + 6u) * A_PITCH + ay];
                        let ah = a_stage[(k + 6u) * A_PITCH + 4u + ay];
                        let bl = b_stage[(k + 6u) * B_PITCH + bx];
                        let bh = b_stage[(k + 6u) * B_PITCH + 8u + bx];
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
                        let al = a_stage[(k + 7u) * A_PITCH + ay];
                        let ah = a_stage[(k + 7u) * A_PITCH + 4u + ay];
                        let bl = b_stage[(k + 7u) * B_PITCH + bx];
                        let bh = b_stage[(k + 7u) * B_PITCH + 8u + bx];
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
        }
        if BUFFERS == 2u { first_line = DEPTH - first_line; }
    }

    let i = i0 + ay * 4u;
    let copy = part * params.length;
    let at = place(p0 + bx * 4u, first, count).y;
    let ath = place(p0 + bx * 4u + 32u, first, count).y;
    put(copy, i, at, c0l); put(copy, i, ath, c0h);
    put(copy, i + 1u, at, c1l); put(copy, i + 1u, ath, c1h);
    put(copy, i + 2u, at, c2l); put(copy, i + 2u, ath, c2h);
    put(copy, i + 3u, at, c3l); put(copy, i + 3u, ath, c3h);
    put(copy, i + 16u, at, c4l); put(copy, i + 16u, ath, c4h);
    put(copy, i + 17u, at, c5l); put(copy, i + 17u, ath, c5h);
    put(copy, i + 18u, at, c6l); put(copy, i + 18u, ath, c6h);
    put(copy, i + 19u, at, c7l); put(copy, i + 19u, ath, c7h);
}

// Four places of a row, if the block row has them.
fn put(copy: u32, i: u32, at: i32, sums: vec4<f32>) {
    if at < 0 { return; }
    let to = (copy + u32(at) + i * params.width) / 4u;
    var values = sums;
    if ADD { values += c[to]; }
    c[to] = values;
}
