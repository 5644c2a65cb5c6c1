// C = A ⊗ B in 64 × 64 tiles: 64 invocations, each 8 × 8 entries in named registers. A tile runs
// over just the p at which the bands of its rows and columns meet.

@group(0) @binding(3) var<storage, read> a_scale: array<f32>;
@group(0) @binding(4) var<storage, read> b_scale: array<f32>;
@group(0) @binding(5) var<storage, read_write> c: array<f32>;

const TILE = 64;   // rows and columns of a tile
const DEPTH = 16;  // p staged at once
const PITCH = 17u; // vec4s in a staged row of p: 16, and one that spreads the banks

var<workgroup> tile_a: array<vec4<f32>, DEPTH * PITCH>; // [p][i]
var<workgroup> tile_b: array<vec4<f32>, DEPTH * PITCH>; // [p][j]
var<workgroup> tainted: atomic<u32>;

// Where this workgroup and invocation stand.
var<private> a0: i32;
var<private> b0: i32;
var<private> batch: i32;
var<private> redo: bool;

fn fetch_a(i: i32, p: i32) -> f32 {
    if i < params.rows && p < params.inner && in_band(i, p, params.a_lower, params.a_upper) {
        let value = a[a0 + a_index(i, p)];
        if ring_taints(value) { atomicStore(&tainted, 1u); }
        return ring_stage_a(value, batch * params.rows + i);
    }
    return ring_pad();
}

fn fetch_b(p: i32, j: i32) -> f32 {
    if j >= 0 && j < params.cols && p < params.inner && in_band(p, j, params.b_lower, params.b_upper) {
        let value = b[b0 + b_index(p, j)];
        if ring_taints(value) { atomicStore(&tainted, 1u); }
        return ring_stage_b(value, batch * params.cols + j);
    }
    return ring_pad();
}

// Which (p, line) of a tile is value n of invocation t, so that neighbours read neighbours:
// along p where the operand is contiguous in p, along the line otherwise.
fn place(t: i32, n: i32, along_p: bool) -> vec2<i32> {
    return select(vec2(n, t), vec2(t % DEPTH, t / DEPTH + n * (TILE / DEPTH)), along_p);
}

fn load_a(i0: i32, p0: i32, t: i32, n: i32) -> vec4<f32> {
    let along_p = (params.flags & 1u) == 0u;
    let x = place(t, n, along_p);
    let y = place(t, n + 1, along_p);
    let z = place(t, n + 2, along_p);
    let w = place(t, n + 3, along_p);
    return vec4(fetch_a(i0 + x.y, p0 + x.x), fetch_a(i0 + y.y, p0 + y.x), fetch_a(i0 + z.y, p0 + z.x), fetch_a(i0 + w.y, p0 + w.x));
}

fn load_b(p0: i32, j0: i32, t: i32, n: i32) -> vec4<f32> {
    let along_p = (params.flags & 4u) != 0u;
    let x = place(t, n, along_p);
    let y = place(t, n + 1, along_p);
    let z = place(t, n + 2, along_p);
    let w = place(t, n + 3, along_p);
    return vec4(fetch_b(p0 + x.x, j0 + x.y), fetch_b(p0 + y.x, j0 + y.y), fetch_b(p0 + z.x, j0 + z.y), fetch_b(p0 + w.x, j0 + w.y));
}

fn keep_a(t: i32, n: i32, value: f32) {
    let at = vec2<u32>(place(t, n, (params.flags & 1u) == 0u));
    tile_a[at.x * PITCH + at.y / 4u][at.y % 4u] = value;
}

fn keep_b(t: i32, n: i32, value: f32) {
    let at = vec2<u32>(place(t, n, (params.flags & 4u) != 0u));
    tile_b[at.x * PITCH + at.y / 4u][at.y % 4u] = value;
}

fn keep4_a(t: i32, n: i32, v: vec4<f32>) {
    keep_a(t, n, v.x); keep_a(t, n + 1, v.y); keep_a(t, n + 2, v.z); keep_a(t, n + 3, v.w);
}

fn keep4_b(t: i32, n: i32, v: vec4<f32>) {
    keep_b(t, n, v.x); keep_b(t, n + 1, v.y); keep_b(t, n + 2, v.z); keep_b(t, n + 3, v.w);
}

// Whether C has a slot for (i, j); j may lie outside the matrix, where the slot holds the fill.
fn has_slot(i: i32, j: i32) -> bool {
    let inside = j >= 0 && j < params.cols;
    return i < params.rows && select(in_band(i, j, params.c_lower, params.c_upper), inside, (params.flags & 32u) != 0u);
}

fn put(c0: i32, i: i32, j: i32, acc: f32) {
    if !has_slot(i, j) { return; }
    var value = params.fill;
    if j >= 0 && j < params.cols {
        if ring_is_exact(acc) {
            value = ring_finish(acc, batch * params.rows + i, batch * params.cols + j);
        } else {
            value = from_bits(0x7fc00000u);
            redo = true;
        }
    }
    c[c0 + c_index(i, j)] = value;
}

fn put4(c0: i32, i: i32, j: i32, acc: vec4<f32>) {
    put(c0, i, j, acc.x);
    put(c0, i, j + 1, acc.y);
    put(c0, i, j + 2, acc.z);
    put(c0, i, j + 3, acc.w);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = group_index(group, groups);
    if tile >= params.batch * params.tiles { return; }

    // Which tile.
    batch = i32(tile / params.tiles);
    let row_tiles = (params.rows + TILE - 1) / TILE;
    let col_tiles = i32(params.tiles) / row_tiles;
    let in_matrix = i32(tile % params.tiles);
    let i0 = in_matrix / col_tiles * TILE;
    let left = select(i0 - params.c_lower, 0, (params.flags & 32u) != 0u);
    let j0 = left + in_matrix % col_tiles * TILE;
    a0 = batch * a_len();
    b0 = batch * b_len();
    let c0 = batch * c_len();

    let t = i32(local);
    let x = local % 8u;
    let y = local / 8u;
    redo = false;
    if local == 0u { atomicStore(&tainted, 0u); }

    var c0l = vec4(ring_start()); var c0h = c0l;
    var c1l = c0l; var c1h = c0l;
    var c2l = c0l; var c2h = c0l;
    var c3l = c0l; var c3h = c0l;
    var c4l = c0l; var c4h = c0l;
    var c5l = c0l; var c5h = c0l;
    var c6l = c0l; var c6h = c0l;
    var c7l = c0l; var c7h = c0l;

    // The p at which some row and some column of the tile meet.
    let p_first = first_p(i0, j0);
    let p_end = end_p(i0 + TILE - 1, j0 + TILE - 1);

    var a_0 = vec4(0.0); var a_4 = a_0; var a_8 = a_0; var a_12 = a_0;
    var b_0 = a_0; var b_4 = a_0; var b_8 = a_0; var b_12 = a_0;
    workgroupBarrier();
    if p_first < p_end {
        a_0 = load_a(i0, p_first, t, 0); a_4 = load_a(i0, p_first, t, 4); a_8 = load_a(i0, p_first, t, 8); a_12 = load_a(i0, p_first, t, 12);
        b_0 = load_b(p_first, j0, t, 0); b_4 = load_b(p_first, j0, t, 4); b_8 = load_b(p_first, j0, t, 8); b_12 = load_b(p_first, j0, t, 12);
    }
    for (var p0 = p_first; p0 < p_end; p0 += DEPTH) {
        // Stage what was loaded.
        keep4_a(t, 0, a_0); keep4_a(t, 4, a_4); keep4_a(t, 8, a_8); keep4_a(t, 12, a_12);
        keep4_b(t, 0, b_0); keep4_b(t, 4, b_4); keep4_b(t, 8, b_8); keep4_b(t, 12, b_12);
        workgroupBarrier();

        // Load what comes next while computing.
        let next = p0 + DEPTH;
        if next < p_end {
            a_0 = load_a(i0, next, t, 0); a_4 = load_a(i0, next, t, 4); a_8 = load_a(i0, next, t, 8); a_12 = load_a(i0, next, t, 12);
            b_0 = load_b(next, j0, t, 0); b_4 = load_b(next, j0, t, 4); b_8 = load_b(next, j0, t, 8); b_12 = load_b(next, j0, t, 12);
        }

        for (var k = 0u; k < u32(DEPTH); k++) {
            let al = tile_a[k * PITCH + y];
            let ah = tile_a[k * PITCH + 8u + y];
            let bl = tile_b[k * PITCH + x];
            let bh = tile_b[k * PITCH + 8u + x];
            c0l = ring_mac(c0l, al.x, bl); c0h = ring_mac(c0h, al.x, bh);
            c1l = ring_mac(c1l, al.y, bl); c1h = ring_mac(c1h, al.y, bh);
            c2l = ring_mac(c2l, al.z, bl); c2h = ring_mac(c2h, al.z, bh);
            c3l = ring_mac(c3l, al.w, bl); c3h = ring_mac(c3h, al.w, bh);
            c4l = ring_mac(c4l, ah.x, bl); c4h = ring_mac(c4h, ah.x, bh);
            c5l = ring_mac(c5l, ah.y, bl); c5h = ring_mac(c5h, ah.y, bh);
            c6l = ring_mac(c6l, ah.z, bl); c6h = ring_mac(c6h, ah.z, bh);
            c7l = ring_mac(c7l, ah.w, bl); c7h = ring_mac(c7h, ah.w, bh);
        }
        workgroupBarrier();
    }

    let i = i0 + i32(y) * 4;
    let j = j0 + i32(x) * 4;
    put4(c0, i, j, c0l); put4(c0, i, j + 32, c0h);
    put4(c0, i + 1, j, c1l); put4(c0, i + 1, j + 32, c1h);
    put4(c0, i + 2, j, c2l); put4(c0, i + 2, j + 32, c2h);
    put4(c0, i + 3, j, c3l); put4(c0, i + 3, j + 32, c3h);
    put4(c0, i + 32, j, c4l); put4(c0, i + 32, j + 32, c4h);
    put4(c0, i + 33, j, c5l); put4(c0, i + 33, j + 32, c5h);
    put4(c0, i + 34, j, c6l); put4(c0, i + 34, j + 32, c6h);
    put4(c0, i + 35, j, c7l); put4(c0, i + 35, j + 32, c7h);

    // What the fast path could not do, entry by entry.
    let all = atomicLoad(&tainted) != 0u;
    if !(redo || all) { return; }
    for (var n = 0; n < 64; n++) {
        let row = i + n / 8 % 4 + n / 32 * 32;
        let col = j + n % 4 + n / 4 % 2 * 32;
        if !has_slot(row, col) || col < 0 || col >= params.cols { continue; }
        let at = c0 + c_index(row, col);
        if all || is_nan(c[at]) { c[at] = ring_exact(a0, b0, row, col); }
    }
}
