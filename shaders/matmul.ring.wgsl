// C = A ⊗ B for bands of some hundred diagonals, where square tiles would spend half their work
// outside the band. Cut along the band in units of 8, as matmul.panel.wgsl is in units of 4; B's
// block rows pass by in a ring of ROWS + 1, and a tile of C is written when it leaves B's band.
//
//   row group r starts at row i0 + 8r; its terms run over chunks of 8 p; chunk k of group r is
//   block row r + k of B, which starts at p = i0 - a_lower + 8(r + k) and has NB column blocks.
//
// Invocation (r, s) holds one 8 × 8 tile of C at a time. In chunk k it works on column block
// (s - k) mod NB of its block row, so all invocations are busy in every chunk.

@group(0) @binding(3) var<storage, read> a_scale: array<f32>;
@group(0) @binding(4) var<storage, read> b_scale: array<f32>;
@group(0) @binding(5) var<storage, read_write> c: array<f32>;

override ROWS: u32 = 8u; // row groups of a workgroup: 4 or 8
override NB: u32 = 8u;   // column blocks of B: ceil((width + 7) / 8), at least 8

// Two vec4s make a block's row: the ring keeps all left halves of a row together, then all right
// ones, so that neighbours read neighbouring banks.
var<workgroup> ring: array<vec4<f32>, (ROWS + 1u) * 16u * NB>; // [block row][p][half][block]
var<workgroup> tile_a: array<vec4<f32>, 2u * ROWS * 17u>;      // [chunk parity][r][p][half of i]
var<workgroup> done: array<vec4<f32>, 2u * ROWS * 17u>;        // [chunk parity][r][i][half of j]
var<workgroup> tainted: atomic<u32>;

var<private> batch: i32;
var<private> a0: i32;
var<private> b0: i32;
var<private> c0: i32;
var<private> i0: i32;
var<private> taint: bool;

fn pick_a(at: i32, row: i32, stored: bool) -> f32 {
    let value = a[select(0, at, stored)];
    taint = taint | (stored & ring_taints(value));
    return select(ring_pad(), ring_stage_a(value, batch * params.rows + clamp(row, 0, params.rows - 1)), stored);
}

fn pick_b(at: i32, line: i32, stored: bool) -> f32 {
    let value = b[select(0, at, stored)];
    taint = taint | (stored & ring_taints(value));
    return select(ring_pad(), ring_stage_b(value, line), stored);
}

// A column x of block row `row`, p = 0 .. 4 or 4 .. 8 of its 8.
fn load_b(row: u32, x: u32, half: i32) -> vec4<f32> {
    let p = i0 - params.a_lower + i32(row) * 8;
    let j = p - params.b_lower + i32(x);
    // Which of the 8 rows hold this column: diagonal x - q, and inside the matrix.
    let lo = max(i32(x) - (params.b_lower + params.b_upper), -p);
    let hi = min(i32(x) + 1, params.inner - p);
    let len = select(0u, u32(max(0, hi - lo)), (j >= 0) & (j < params.cols));
    let line = batch * params.cols + clamp(j, 0, params.cols - 1);
    let step = select(params.b_stride, 1, (params.flags & 4u) != 0u);
    let at = b0 + b_index(p, j) + half * step;
    return vec4(
        pick_b(at, line, u32(half - lo) < len),
        pick_b(at + step, line, u32(half + 1 - lo) < len),
        pick_b(at + 2 * step, line, u32(half + 2 - lo) < len),
        pick_b(at + 3 * step, line, u32(half + 3 - lo) < len),
    );
}

fn keep_b(row: u32, x: u32, half: u32, v: vec4<f32>) {
    let at = row % (ROWS + 1u) * 16u * NB + (half * 2u + x / 4u % 2u) * NB + x / 8u;
    ring[at][x % 4u] = v.x;
    ring[at + 2u * NB][x % 4u] = v.y;
    ring[at + 4u * NB][x % 4u] = v.z;
    ring[at + 6u * NB][x % 4u] = v.w;
}

// Value n of invocation `local` among the ROWS · 64 of A that a chunk needs: 8 p to a row.
fn load_a1(chunk: u32, local: u32, n: u32) -> f32 {
    let row = local / 8u + n * (ROWS * NB / 8u);
    let q = local % 8u;
    let i = i0 + i32(row);
    let k = i32(chunk * 8u + q) - i32(row % 8u);
    let p = i - params.a_lower + k;
    let stored = (row < ROWS * 8u) & (i < params.rows) & (p >= 0) & (p < params.inner) & (k >= 0) & (k <= params.a_lower + params.a_upper);
    return pick_a(a0 + a_index(i, p), i, stored);
}

fn load_a(chunk: u32, local: u32, n: u32) -> vec4<f32> {
    return vec4(load_a1(chunk, local, n), load_a1(chunk, local, n + 1u), load_a1(chunk, local, n + 2u), load_a1(chunk, local, n + 3u));
}

fn keep_a1(chunk: u32, local: u32, n: u32, value: f32) {
    let row = local / 8u + n * (ROWS * NB / 8u);
    if row >= ROWS * 8u { return; }
    tile_a[chunk % 2u * ROWS * 17u + row / 8u * 17u + local % 8u * 2u + row / 4u % 2u][row % 4u] = value;
}

fn keep_a(chunk: u32, local: u32, n: u32, v: vec4<f32>) {
    keep_a1(chunk, local, n, v.x); keep_a1(chunk, local, n + 1u, v.y);
    keep_a1(chunk, local, n + 2u, v.z); keep_a1(chunk, local, n + 3u, v.w);
}

// Whole block row at once, for the ring's first filling.
fn stage_b(row: u32, local: u32) {
    let b_0 = load_b(row, local, 0);
    let b_4 = load_b(row, local, 4);
    keep_b(row, local, 0u, b_0);
    keep_b(row, local, 4u, b_4);
    if ROWS == 4u {
        keep_b(row, local + 4u * NB, 0u, load_b(row, local + 4u * NB, 0));
        keep_b(row, local + 4u * NB, 4u, load_b(row, local + 4u * NB, 4));
    }
}

// Writes the entry in row i whose column is j, if C has a slot for it.
fn put(i: i32, j: i32, acc: f32, all: bool) {
    if (i >= params.rows) | !in_band(i, j, params.c_lower, params.c_upper) { return; }
    var value = params.fill;
    if (j >= 0) & (j < params.cols) {
        if ring_is_exact(acc) & !all {
            value = ring_finish(acc, batch * params.rows + i, batch * params.cols + j);
        } else {
            value = ring_exact(a0, b0, i, j);
        }
    }
    c[c0 + c_index(i, j)] = value;
}

@compute @workgroup_size(ROWS * NB)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = group_index(group, groups);
    if tile >= params.batch * params.tiles { return; }
    batch = i32(tile / params.tiles);
    i0 = i32(tile % params.tiles * ROWS * 8u);
    a0 = batch * a_len();
    b0 = batch * b_len();
    c0 = batch * c_len();
    taint = false;
    let r = local / NB;
    let s = local % NB;
    let chunks = u32(params.a_lower + params.a_upper + 8 + 7) / 8u;
    // Column of C's block 0 in row group 0.
    let left = i0 - params.a_lower - params.b_lower;

    if local == 0u { atomicStore(&tainted, 0u); }
    workgroupBarrier();
    for (var row = 0u; row < ROWS; row++) { stage_b(row, local); }
    keep_a(0u, local, 0u, load_a(0u, local, 0u));
    if NB < 16u { keep_a(0u, local, 4u, load_a(0u, local, 4u)); }
    if taint { atomicStore(&tainted, 1u); }
    workgroupBarrier();

    var c0l = vec4(ring_start()); var c0h = c0l;
    var c1l = c0l; var c1h = c0l;
    var c2l = c0l; var c2h = c0l;
    var c3l = c0l; var c3h = c0l;
    var c4l = c0l; var c4h = c0l;
    var c5l = c0l; var c5h = c0l;
    var c6l = c0l; var c6h = c0l;
    var c7l = c0l; var c7h = c0l;

    var block = s; // (s - chunk) mod NB
    for (var chunk = 0u; chunk < chunks; chunk++) {
        let parity = chunk % 2u * ROWS * 17u;
        if (chunk > 0u) & (block == NB - 1u) {
            let at = parity + r * 17u;
            done[at] = c0l; done[at + 1u] = c0h; done[at + 2u] = c1l; done[at + 3u] = c1h;
            done[at + 4u] = c2l; done[at + 5u] = c2h; done[at + 6u] = c3l; done[at + 7u] = c3h;
            done[at + 8u] = c4l; done[at + 9u] = c4h; done[at + 10u] = c5l; done[at + 11u] = c5h;
            done[at + 12u] = c6l; done[at + 13u] = c6h; done[at + 14u] = c7l; done[at + 15u] = c7h;
            c0l = vec4(ring_start()); c0h = c0l; c1l = c0l; c1h = c0l; c2l = c0l; c2h = c0l; c3l = c0l; c3h = c0l;
            c4l = c0l; c4h = c0l; c5l = c0l; c5h = c0l; c6l = c0l; c6h = c0l; c7l = c0l; c7h = c0l;
        }

        // Load what the next chunk needs while computing this one.
        let more = chunk + 1u < chunks;
        let row = chunk + ROWS;
        var b_0: vec4<f32>; var b_4: vec4<f32>; var b_8: vec4<f32>; var b_12: vec4<f32>;
        var a_0: vec4<f32>; var a_4: vec4<f32>;
        if more {
            b_0 = load_b(row, local, 0);
            b_4 = load_b(row, local, 4);
            if ROWS == 4u {
                b_8 = load_b(row, local + 4u * NB, 0);
                b_12 = load_b(row, local + 4u * NB, 4);
            }
            a_0 = load_a(chunk + 1u, local, 0u);
            if NB < 16u { a_4 = load_a(chunk + 1u, local, 4u); }
        }

        let at_a = parity + r * 17u;
        let at_b = (r + chunk) % (ROWS + 1u) * 16u * NB + block;
        for (var q = 0u; q < 8u; q++) {
            let al = tile_a[at_a + q * 2u];
            let ah = tile_a[at_a + q * 2u + 1u];
            let bl = ring[at_b + q * 2u * NB];
            let bh = ring[at_b + (q * 2u + 1u) * NB];
            c0l = ring_mac(c0l, al.x, bl); c0h = ring_mac(c0h, al.x, bh);
            c1l = ring_mac(c1l, al.y, bl); c1h = ring_mac(c1h, al.y, bh);
            c2l = ring_mac(c2l, al.z, bl); c2h = ring_mac(c2h, al.z, bh);
            c3l = ring_mac(c3l, al.w, bl); c3h = ring_mac(c3h, al.w, bh);
            c4l = ring_mac(c4l, ah.x, bl); c4h = ring_mac(c4h, ah.x, bh);
            c5l = ring_mac(c5l, ah.y, bl); c5h = ring_mac(c5h, ah.y, bh);
            c6l = ring_mac(c6l, ah.z, bl); c6h = ring_mac(c6h, ah.z, bh);
            c7l = ring_mac(c7l, ah.w, bl); c7h = ring_mac(c7h, ah.w, bh);
        }
        if more {
            keep_b(row, local, 0u, b_0);
            keep_b(row, local, 4u, b_4);
            if ROWS == 4u {
                keep_b(row, local + 4u * NB, 0u, b_8);
                keep_b(row, local + 4u * NB, 4u, b_12);
            }
            keep_a(chunk + 1u, local, 0u, a_0);
            if NB < 16u { keep_a(chunk + 1u, local, 4u, a_4); }
        }
        if taint { atomicStore(&tainted, 1u); }
        workgroupBarrier();

        // Column block `chunk - 1` of every row group is done.
        if chunk > 0u {
            let all = atomicLoad(&tainted) != 0u;
            for (var n = local; n < 64u * ROWS; n += ROWS * NB) {
                let y = n / 8u;
                let x = n % 8u;
                let acc = done[parity + n / 64u * 17u + y % 8u * 2u + x / 4u][x % 4u];
                put(i0 + i32(y), left + i32(n / 64u * 8u + (chunk - 1u) * 8u + x), acc, all);
            }
        }
        block = select(block - 1u, NB - 1u, block == 0u);
    }

    // The last NB column blocks lie side by side: column block chunks - 1 + b is in the invocation
    // that last worked on block b. They leave through the ring, whose work is over.
    block = select(block + 1u, 0u, block == NB - 1u);
    let at = r * 16u * NB + block * 2u;
    ring[at] = c0l; ring[at + 1u] = c0h;
    ring[at + 2u * NB] = c1l; ring[at + 2u * NB + 1u] = c1h;
    ring[at + 4u * NB] = c2l; ring[at + 4u * NB + 1u] = c2h;
    ring[at + 6u * NB] = c3l; ring[at + 6u * NB + 1u] = c3h;
    ring[at + 8u * NB] = c4l; ring[at + 8u * NB + 1u] = c4h;
    ring[at + 10u * NB] = c5l; ring[at + 10u * NB + 1u] = c5h;
    ring[at + 12u * NB] = c6l; ring[at + 12u * NB + 1u] = c6h;
    ring[at + 14u * NB] = c7l; ring[at + 14u * NB + 1u] = c7h;
    workgroupBarrier();
    let all = atomicLoad(&tainted) != 0u;
    for (var n = local; n < 64u * ROWS * NB; n += ROWS * NB) {
        let y = n / (8u * NB);
        let x = n % (8u * NB);
        put(i0 + i32(y), left + i32(y / 8u * 8u + (chunks - 1u) * 8u + x), ring[y * 2u * NB + x / 4u][x % 4u], all);
    }
}
