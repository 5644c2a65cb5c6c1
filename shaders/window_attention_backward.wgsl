// One gradient of windowed attention: of Q, K or V, by the file that says what lines and partners
// are. A workgroup takes 64 lines and 64 columns, goes along the lines' partners, 32 at a time, and
// computes their weights again. Grouped heads are summed in their order. Lines of global positions
// come from the `line` kernels.

fn put(first: Tile, u: i32, c: i32, x: vec4<f32>) {
    let line = line_of(first, u);
    if line < 0 { return; }
    var y = x;
    if any(vec4(is_nan(x.x), is_nan(x.y), is_nan(x.z), is_nan(x.w))) { y = all_exact(first, u, c, x); }
    let lines = select(params.keys, params.rows, LINES_ARE_QUERIES);
    let matrix = select(first.m.kv, first.m.head, LINES_ARE_QUERIES);
    let at = (matrix * lines + line) * result_width() + c;
    if c < result_width() { result[at] = y.x; }
    if c + 1 < result_width() { result[at + 1] = y.y; }
    if c + 2 < result_width() { result[at + 2] = y.z; }
    if c + 3 < result_width() { result[at + 3] = y.w; }
}

// What NaN has spoilt, by the definition, over all heads.
fn all_exact(first: Tile, u: i32, c: i32, x: vec4<f32>) -> vec4<f32> {
    var sum = select(x, vec4(0.0), vec4(is_nan(x.x), is_nan(x.y), is_nan(x.z), is_nan(x.w)));
    var tile = first;
    for (var n = 0; n < heads(); n++) {
        tile.m.head = first.m.head + n;
        if is_nan(x.x) { sum.x += exact(tile, u, c); }
        if is_nan(x.y) { sum.y += exact(tile, u, c + 1); }
        if is_nan(x.z) { sum.z += exact(tile, u, c + 2); }
        if is_nan(x.w) { sum.w += exact(tile, u, c + 3); }
    }
    return sum;
}

// Query matrices whose terms one result sums.
fn heads() -> i32 { return select(i32(params.group), 1, LINES_ARE_QUERIES); }

fn weighted(tile: Tile, inside: bool, u: i32, t: i32, s: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    let w = four_weights(tile.m, line_of(tile, u), partners_of(tile, t), s, g);
    if inside { return w; }
    return select(vec4(0.0), w, meet(tile, u, t));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = group_index(group, groups);
    if index >= params.batch / u32(heads()) * params.tiles { return; }
    let head = i32(index / params.tiles) * heads();
    let kv = head / i32(params.group);
    var first = first_tile(Matrices(head, kv, key_end(kv)), index % params.tiles, result_width());

    let x = local % 8u;
    let y = local / 8u;
    let low = i32(y) * 4;
    let high = low + 32;
    let t = i32(x) * 4;
    var sums: Sums;
    var count = tiles_of(first);
    for (var h = 0; h < heads(); h++) {
        for (var n = 0; n < count; n++) {
            var tile = nth_tile(first, n);
            tile.m.head = head + h;
            let inside = is_inside(tile);
            let s = scores(0u, tile, local);
            var g: Scores;
            if SLOPES { g = scores(1u, tile, local); }
            var w: Scores;
            w.r0 = weighted(tile, inside, low, t, s.r0, g.r0);
            w.r1 = weighted(tile, inside, low + 1, t, s.r1, g.r1);
            w.r2 = weighted(tile, inside, low + 2, t, s.r2, g.r2);
            w.r3 = weighted(tile, inside, low + 3, t, s.r3, g.r3);
            w.r4 = weighted(tile, inside, high, t, s.r4, g.r4);
            w.r5 = weighted(tile, inside, high + 1, t, s.r5, g.r5);
            w.r6 = weighted(tile, inside, high + 2, t, s.r6, g.r6);
            w.r7 = weighted(tile, inside, high + 3, t, s.r7, g.r7);
            sums = accumulate(sums, w, tile, local);
        }
    }

    let c = first.c0 + i32(x) * 4;
    put(first, low, c, sums.l0); put(first, low, c + 32, sums.h0);
    put(first, low + 1, c, sums.l1); put(first, low + 1, c + 32, sums.h1);
    put(first, low + 2, c, sums.l2); put(first, low + 2, c + 32, sums.h2);
    put(first, low + 3, c, sums.l3); put(first, low + 3, c + 32, sums.h3);
    put(first, high, c, sums.l4); put(first, high, c + 32, sums.h4);
    put(first, high + 1, c, sums.l5); put(first, high + 1, c + 32, sums.h5);
    put(first, high + 2, c, sums.l6); put(first, high + 2, c + 32, sums.h6);
    put(first, high + 3, c, sums.l7); put(first, high + 3, c + 32, sums.h7);
}
