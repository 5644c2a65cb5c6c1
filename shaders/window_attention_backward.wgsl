// One gradient of windowed attention: of Q, K or V, by the file that says what lines and partners
// are. A workgroup takes 64 lines and 64 columns, goes along the lines' partners, 32 at a time, and
// computes their weights again. Grouped heads are summed in their order. Lines of global positions
// come from the `line` kernels.

// Query matrices whose terms one result sums.
fn heads() -> i32 { return select(i32(params.group), 1, LINES_ARE_QUERIES); }

// What NaN has spoilt, by the definition, over all heads.
fn all_exact(first: Tile, u: i32, c: i32) -> f32 {
    var sum = 0.0;
    for (var n = 0; (n < heads()) & !is_nan(sum); n++) {
        var tile = first;
        tile.m.head += n;
        sum += exact(tile, u, c);
    }
    return sum;
}

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
            // Both products by one piece of code: twice would take drivers twice as long to compile.
            var s: Scores;
            var g: Scores;
            for (var which = 0u; which < select(1u, 2u, SLOPES); which++) {
                s = g;
                g = scores(which, tile, local);
            }
            if !SLOPES { s = g; }
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

    // Lines leave one after the other.
    let c = first.c0 + i32(local);
    let lines = select(params.keys, params.rows, LINES_ARE_QUERIES);
    let matrix = select(kv, head, LINES_ARE_QUERIES);
    for (var half = 0; half < 2; half++) {
        stage_sums(sums, u32(half), local);
        for (var u = half * 32; u < half * 32 + 32; u++) {
            let line = line_of(first, u);
            if (line >= 0) & (c < result_width()) {
                var value = staged_sum(u, local);
                if is_nan(value) { value = all_exact(first, u, c); }
                result[(matrix * lines + line) * result_width() + c] = value;
            }
        }
    }
}
