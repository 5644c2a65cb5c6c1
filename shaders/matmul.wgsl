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
var<private> taint: bool;

// The 16 values of an operand that an invocation brings into a tile: a walk along one direction,
// of which the stretch lo .. lo + len is stored.
struct Walk {
    v: i32,     // the coordinate that moves
    dv: i32,    // how far it moves
    lo: i32,
    len: u32,
    at: i32,    // where the first value is
    step: i32,  // how far the next one is
    line: i32,  // row of A, column of B: what Log scales by
    dline: i32,
}

// Neighbours read neighbours: along p where the operand is contiguous in p (16 invocations to a
// line, 4 lines at once), along the lines otherwise (64 lines, one p at once).
fn walk(t: i32, along_p: bool, p0: i32, line0: i32, lines: i32, below: i32, above: i32, stride: i32, origin: i32) -> Walk {
    let p = p0 + select(0, t % DEPTH, along_p);
    let line = line0 + select(t, t / DEPTH, along_p);
    // Along the lines, those whose band holds p; along p, those that the line's band holds.
    let lo = select(max(0, line - below), max(0, p - above), along_p);
    let hi = select(min(params.inner, line + above + 1), min(lines, p + below + 1), along_p);
    let inside = select((line >= 0) & (line < lines), p < params.inner, along_p);
    var w: Walk;
    w.v = select(p, line, along_p);
    w.dv = select(1, TILE / DEPTH, along_p);
    w.lo = lo;
    w.len = select(0u, u32(max(0, hi - lo)), inside);
    w.at = select(p, line, along_p) * stride + select(line, p, along_p) + origin;
    w.step = w.dv * stride;
    w.line = line;
    w.dline = select(0, w.dv, along_p);
    return w;
}

fn pick_a(w: Walk, n: i32) -> f32 {
    let stored = u32(w.v + n * w.dv - w.lo) < w.len;
    let value = a[select(0, a0 + w.at + n * w.step, stored)];
    taint = taint | (stored & ring_taints(value));
    return select(ring_pad(), ring_stage_a(value, batch * params.rows + clamp(w.line + n * w.dline, 0, params.rows - 1)), stored);
}

fn pick_b(w: Walk, n: i32) -> f32 {
    let stored = u32(w.v + n * w.dv - w.lo) < w.len;
    let value = b[select(0, b0 + w.at + n * w.step, stored)];
    taint = taint | (stored & ring_taints(value));
    return select(ring_pad(), ring_stage_b(value, batch * params.cols + clamp(w.line + n * w.dline, 0, params.cols - 1)), stored);
}

fn load_a(w: Walk, n: i32) -> vec4<f32> { return vec4(pick_a(w, n), pick_a(w, n + 1), pick_a(w, n + 2), pick_a(w, n + 3)); }
fn load_b(w: Walk, n: i32) -> vec4<f32> { return vec4(pick_b(w, n), pick_b(w, n + 1), pick_b(w, n + 2), pick_b(w, n + 3)); }

// A walk over A, whose lines are rows, and over B, whose lines are columns.
fn walk_a(t: i32, p0: i32, i0: i32) -> Walk {
    let columns = (params.flags & 1u) != 0u;
    let origin = a_index(0, 0);
    return walk(t, !columns, p0, i0, params.rows, params.a_lower, params.a_upper, params.a_stride, origin);
}

fn walk_b(t: i32, p0: i32, j0: i32) -> Walk {
    let columns = (params.flags & 4u) != 0u;
    let origin = b_index(0, 0);
    return walk(t, columns, p0, j0, params.cols, params.b_upper, params.b_lower, params.b_stride, origin);
}

// Where value n of invocation t stands in a staged tile, as vec4 and component.
fn keep_a(t: u32, n: u32, value: f32) {
    let along_p = (params.flags & 1u) == 0u;
    let p = select(n, t % 16u, along_p);
    let line = select(t, t / 16u + n * 4u, along_p);
    tile_a[p * PITCH + line / 4u][line % 4u] = value;
}

fn keep_b(t: u32, n: u32, value: f32) {
    let along_p = (params.flags & 4u) != 0u;
    let p = select(n, t % 16u, along_p);
    let line = select(t, t / 16u + n * 4u, along_p);
    tile_b[p * PITCH + line / 4u][line % 4u] = value;
}

fn keep4_a(t: u32, n: u32, v: vec4<f32>) {
    keep_a(t, n, v.x); keep_a(t, n + 1u, v.y); keep_a(t, n + 2u, v.z); keep_a(t, n + 3u, v.w);
}

fn keep4_b(t: u32, n: u32, v: vec4<f32>) {
    keep_b(t, n, v.x); keep_b(t, n + 1u, v.y); keep_b(t, n + 2u, v.z); keep_b(t, n + 3u, v.w);
}

// Whether C has a slot for (i, j); j may lie outside the matrix, where the slot holds the fill.
fn has_slot(i: i32, j: i32) -> bool {
    let inside = (j >= 0) & (j < params.cols);
    return (i < params.rows) & select(in_band(i, j, params.c_lower, params.c_upper), inside, (params.flags & 32u) != 0u);
}

fn put(c0: i32, i: i32, j: i32, acc: f32) {
    if !has_slot(i, j) { return; }
    var value = params.fill;
    if (j >= 0) & (j < params.cols) {
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
    taint = false;
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
        let wa = walk_a(t, p_first, i0);
        let wb = walk_b(t, p_first, j0);
        a_0 = load_a(wa, 0); a_4 = load_a(wa, 4); a_8 = load_a(wa, 8); a_12 = load_a(wa, 12);
        b_0 = load_b(wb, 0); b_4 = load_b(wb, 4); b_8 = load_b(wb, 8); b_12 = load_b(wb, 12);
    }
    for (var p0 = p_first; p0 < p_end; p0 += DEPTH) {
        // Stage what was loaded.
        keep4_a(local, 0u, a_0); keep4_a(local, 4u, a_4); keep4_a(local, 8u, a_8); keep4_a(local, 12u, a_12);
        keep4_b(local, 0u, b_0); keep4_b(local, 4u, b_4); keep4_b(local, 8u, b_8); keep4_b(local, 12u, b_12);
        workgroupBarrier();

        // Load what comes next while computing.
        let next = p0 + DEPTH;
        if next < p_end {
            let wa = walk_a(t, next, i0);
            let wb = walk_b(t, next, j0);
            a_0 = load_a(wa, 0); a_4 = load_a(wa, 4); a_8 = load_a(wa, 8); a_12 = load_a(wa, 12);
            b_0 = load_b(wb, 0); b_4 = load_b(wb, 4); b_8 = load_b(wb, 8); b_12 = load_b(wb, 12);
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
    if taint { atomicStore(&tainted, 1u); }
    workgroupBarrier();
    let all = atomicLoad(&tainted) != 0u;
    if !(redo | all) { return; }
    for (var n = 0; n < 64; n++) {
        let row = i + n / 8 % 4 + n / 32 * 32;
        let col = j + n % 4 + n / 4 % 2 * 32;
        if !has_slot(row, col) | (col < 0) | (col >= params.cols) { continue; }
        let at = c0 + c_index(row, col);
        if all | is_nan(c[at]) { c[at] = ring_exact(a0, b0, row, col); }
    }
}
