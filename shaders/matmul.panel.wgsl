// C = A ⊗ B for bands a few dozen diagonals wide, which are bound by memory: everything a
// workgroup needs is loaded at once, all loads in flight together.
//
// Cut along the band in units of 4. Row group r is rows i0 + 4r .. + 4; its terms run over NA chunks
// of 4 p, the first at p = i0 + 4r - a_lower; chunk k of group r meets block row r + k of B, whose
// NB blocks of 4 columns start at B's band. Invocation (r, s) holds a 4 × 4 tile of C. In chunk k it
// works on column block (s - k) mod LANES; where that wraps, the tile has left B's band, is kept,
// and the one entering on the other side begins. So every invocation works all the time.

@group(0) @binding(3) var<storage, read> a_scale: array<f32>;
@group(0) @binding(4) var<storage, read> b_scale: array<f32>;
@group(0) @binding(5) var<storage, read_write> c: array<f32>;

override ROWS: u32 = 16u; // row groups, 16 or 32
override NA: u32 = 2u;    // chunks: ceil((width of A + 3) / 4)
override NB: u32 = 2u;    // column blocks: ceil((width of B + 3) / 4)
override LANES: u32 = 2u; // max(NA, NB)
override POOL: u32 = 256u;

// First B's block rows, [p][column block], then A, [r][p] with the 4 rows of the group in a vec4;
// then, over both, C: [row][column block].
var<workgroup> pool: array<vec4<f32>, POOL>;
var<workgroup> tainted: atomic<u32>;

var<private> batch: i32;
var<private> a0: i32;
var<private> b0: i32;
var<private> c0: i32;
var<private> taint: bool;

fn pick_a(at: i32, row: i32, stored: bool) -> f32 {
    let value = a[select(0, at, stored)];
    taint = taint | (stored & ring_taints(value));
    return select(ring_pad(), ring_stage_a(value, batch * params.rows + clamp(row, 0, params.rows - 1)), stored);
}

fn pick_b(at: i32, col: i32, stored: bool) -> f32 {
    let value = b[select(0, at, stored)];
    taint = taint | (stored & ring_taints(value));
    return select(ring_pad(), ring_stage_b(value, batch * params.cols + clamp(col, 0, params.cols - 1)), stored);
}

// B's rows p0 .. p0 + 4(ROWS + NA - 1): an invocation stays on one diagonal, ROWS / 4 rows apart.
fn stage_b(p0: i32, local: u32) {
    if local >= ROWS * NB { return; }
    let x = local % (4u * NB);
    let first = local / (4u * NB);
    let k = i32(x) - i32(first % 4u);
    let p = p0 + i32(first);
    let j = p - params.b_lower + k;
    // The rows at which this diagonal is inside the matrix.
    let lo = max(0, p - j);
    let hi = min(params.inner, params.cols + p - j);
    let len = select(0u, u32(max(0, hi - lo)), (k >= 0) & (k <= params.b_lower + params.b_upper));
    let step = i32(ROWS / 4u);
    let at = b0 + b_index(p, j);
    let dat = step * (params.b_stride + 1);
    let rows = 4u * (ROWS + NA - 1u);
    for (var m = 0u; first + m * (ROWS / 4u) < rows; m += 8u) {
        let n = i32(m);
        let v0 = pick_b(at + n * dat, j + n * step, u32(p + n * step - lo) < len);
        let v1 = pick_b(at + (n + 1) * dat, j + (n + 1) * step, u32(p + (n + 1) * step - lo) < len);
        let v2 = pick_b(at + (n + 2) * dat, j + (n + 2) * step, u32(p + (n + 2) * step - lo) < len);
        let v3 = pick_b(at + (n + 3) * dat, j + (n + 3) * step, u32(p + (n + 3) * step - lo) < len);
        let v4 = pick_b(at + (n + 4) * dat, j + (n + 4) * step, u32(p + (n + 4) * step - lo) < len);
        let v5 = pick_b(at + (n + 5) * dat, j + (n + 5) * step, u32(p + (n + 5) * step - lo) < len);
        let v6 = pick_b(at + (n + 6) * dat, j + (n + 6) * step, u32(p + (n + 6) * step - lo) < len);
        let v7 = pick_b(at + (n + 7) * dat, j + (n + 7) * step, u32(p + (n + 7) * step - lo) < len);
        keep_b(first, m, x, v0); keep_b(first, m + 1u, x, v1); keep_b(first, m + 2u, x, v2); keep_b(first, m + 3u, x, v3);
        keep_b(first, m + 4u, x, v4); keep_b(first, m + 5u, x, v5); keep_b(first, m + 6u, x, v6); keep_b(first, m + 7u, x, v7);
    }
}

fn keep_b(first: u32, m: u32, x: u32, value: f32) {
    let row = first + m * (ROWS / 4u);
    if row < 4u * (ROWS + NA - 1u) { pool[row * NB + x / 4u][x % 4u] = value; }
}

// The rows of A, 16 values each invocation, on one diagonal too.
fn stage_a(i0: i32, local: u32) {
    if local >= ROWS * NA { return; }
    let x = local % (4u * NA);
    let first = local / (4u * NA);
    let k = i32(x) - i32(first % 4u);
    let i = i0 + i32(first);
    let p = i - params.a_lower + k;
    let lo = max(0, i - p);
    let hi = min(params.rows, params.inner + i - p);
    let len = select(0u, u32(max(0, hi - lo)), (k >= 0) & (k <= params.a_lower + params.a_upper));
    let step = i32(ROWS / 4u);
    let at = a0 + a_index(i, p);
    let dat = step * (params.a_stride + 1);
    for (var m = 0u; m < 16u; m += 8u) {
        let n = i32(m);
        let v0 = pick_a(at + n * dat, i + n * step, u32(i + n * step - lo) < len);
        let v1 = pick_a(at + (n + 1) * dat, i + (n + 1) * step, u32(i + (n + 1) * step - lo) < len);
        let v2 = pick_a(at + (n + 2) * dat, i + (n + 2) * step, u32(i + (n + 2) * step - lo) < len);
        let v3 = pick_a(at + (n + 3) * dat, i + (n + 3) * step, u32(i + (n + 3) * step - lo) < len);
        let v4 = pick_a(at + (n + 4) * dat, i + (n + 4) * step, u32(i + (n + 4) * step - lo) < len);
        let v5 = pick_a(at + (n + 5) * dat, i + (n + 5) * step, u32(i + (n + 5) * step - lo) < len);
        let v6 = pick_a(at + (n + 6) * dat, i + (n + 6) * step, u32(i + (n + 6) * step - lo) < len);
        let v7 = pick_a(at + (n + 7) * dat, i + (n + 7) * step, u32(i + (n + 7) * step - lo) < len);
        keep_a(first, m, x, v0); keep_a(first, m + 1u, x, v1); keep_a(first, m + 2u, x, v2); keep_a(first, m + 3u, x, v3);
        keep_a(first, m + 4u, x, v4); keep_a(first, m + 5u, x, v5); keep_a(first, m + 6u, x, v6); keep_a(first, m + 7u, x, v7);
    }
}

fn keep_a(first: u32, m: u32, x: u32, value: f32) {
    let row = first + m * (ROWS / 4u);
    pool[4u * (ROWS + NA - 1u) * NB + row / 4u * 4u * NA + x][row % 4u] = value;
}

@compute @workgroup_size(ROWS * LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = group_index(group, groups);
    if tile >= params.batch * params.tiles { return; }
    batch = i32(tile / params.tiles);
    let i0 = i32(tile % params.tiles * ROWS * 4u);
    a0 = batch * a_len();
    b0 = batch * b_len();
    c0 = batch * c_len();
    taint = false;
    let r = local / LANES;
    let s = local % LANES;

    if local == 0u { atomicStore(&tainted, 0u); }
    stage_b(i0 - params.a_lower, local);
    stage_a(i0, local);
    workgroupBarrier();
    if taint { atomicStore(&tainted, 1u); }

    var c0v = vec4(ring_start());
    var c1v = c0v; var c2v = c0v; var c3v = c0v;
    var k0v = c0v; var k1v = c0v; var k2v = c0v; var k3v = c0v;
    var block = s; // (s - chunk) mod LANES
    for (var chunk = 0u; chunk < NA; chunk++) {
        if (chunk > 0u) & (block == LANES - 1u) {
            k0v = c0v; k1v = c1v; k2v = c2v; k3v = c3v;
            c0v = vec4(ring_start()); c1v = c0v; c2v = c0v; c3v = c0v;
        }
        if block < NB {
            let at_a = 4u * (ROWS + NA - 1u) * NB + (r * NA + chunk) * 4u;
            let at_b = (r + chunk) * 4u * NB + block;
            for (var q = 0u; q < 4u; q++) {
                let av = pool[at_a + q];
                let bv = pool[at_b + q * NB];
                c0v = ring_mac(c0v, av.x, bv);
                c1v = ring_mac(c1v, av.y, bv);
                c2v = ring_mac(c2v, av.z, bv);
                c3v = ring_mac(c3v, av.w, bv);
            }
        }
        block = select(block - 1u, LANES - 1u, block == 0u);
    }
    workgroupBarrier();

    // C's tiles, side by side: the kept one is column block s, the last one NA - 1 + its block.
    let width = NA + NB - 1u;
    if (s + 1u < NA) & (s < width) {
        let at = r * 4u * width + s;
        pool[at] = k0v; pool[at + width] = k1v; pool[at + 2u * width] = k2v; pool[at + 3u * width] = k3v;
    }
    let last = select(block + 1u, 0u, block == LANES - 1u);
    if last < NB {
        let at = r * 4u * width + NA - 1u + last;
        pool[at] = c0v; pool[at + width] = c1v; pool[at + 2u * width] = c2v; pool[at + 3u * width] = c3v;
    }
    workgroupBarrier();

    let all = atomicLoad(&tainted) != 0u;
    let left = i0 - params.a_lower - params.b_lower;
    for (var n = local; n < 16u * ROWS * width; n += ROWS * LANES) {
        let row = n / (4u * width);
        let x = n % (4u * width);
        let i = i0 + i32(row);
        let j = left + i32(row / 4u * 4u + x);
        if (i < params.rows) & in_band(i, j, params.c_lower, params.c_upper) {
            put(i, j, pool[row * width + x / 4u][x % 4u], all);
        }
    }
}

// Writes a slot of C: the fill outside the matrix, and what padding may have spoilt computed anew.
fn put(i: i32, j: i32, acc: f32, all: bool) {
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
