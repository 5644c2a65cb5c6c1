// C = A ⊗ B for narrow bands, which square tiles would mostly miss. Everything is cut along the
// band: 8 rows of C are a row group, 8 rows of B a block row, and columns count from where the
// band starts, in blocks of 8.
//
//   row group r starts at row i0 + 8r; its terms run over NA chunks of 8 p; chunk k of group r is
//   block row r + k of B, which starts at p = i0 - a_lower + 8(r + k) and has NB column blocks.
//
// Invocation (r, s) holds one 8 × 8 tile of C at a time. In chunk k it works on column block
// (s - k) mod NB of its block row, so all invocations are busy in every chunk: as C's columns leave
// B's band on the right, the invocation writes its tile and takes the one that enters on the left.
// A ring of ROWS + 1 block rows of B passes by in workgroup memory.

@group(0) @binding(3) var<storage, read> a_scale: array<f32>;
@group(0) @binding(4) var<storage, read> b_scale: array<f32>;
@group(0) @binding(5) var<storage, read_write> c: array<f32>;

override ROWS: u32 = 4u; // row groups of a workgroup
override NB: u32 = 3u;   // column blocks of B: ceil((width + 7) / 8)

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

// Block row `row` of B, counted from the workgroup's first, into the ring.
fn stage_b(row: u32, local: u32) {
    let p0 = i0 - params.a_lower + i32(row) * 8;
    let slot = row % (ROWS + 1u) * 16u * NB;
    let along_p = (params.flags & 4u) != 0u;
    for (var n = local; n < 64u * NB; n += ROWS * NB) {
        let q = select(n / (8u * NB), n % 8u, along_p);
        let x = select(n % (8u * NB), n / 8u, along_p);
        let p = p0 + i32(q);
        let k = i32(x) - i32(q); // the diagonal, counted from B's lowest
        let j = p - params.b_lower + k;
        var value = ring_pad();
        if p >= 0 && p < params.inner && j >= 0 && j < params.cols && k >= 0 && k <= params.b_lower + params.b_upper {
            let stored = b[b0 + b_index(p, j)];
            if ring_taints(stored) { atomicStore(&tainted, 1u); }
            value = ring_stage_b(stored, batch * params.cols + j);
        }
        ring[slot + (q * 2u + x / 4u % 2u) * NB + x / 8u][x % 4u] = value;
    }
}

// The 8 × 8 entries of A that every row group needs in a chunk.
fn stage_a(chunk: u32, local: u32) {
    let parity = chunk % 2u * ROWS * 17u;
    let along_p = (params.flags & 1u) == 0u;
    for (var n = local; n < 64u * ROWS; n += ROWS * NB) {
        let r = n / 64u;
        let q = select(n / 8u % 8u, n % 8u, along_p);
        let y = select(n % 8u, n / 8u % 8u, along_p);
        let i = i0 + i32(r * 8u + y);
        let k = i32(chunk * 8u + q) - i32(y); // the diagonal, counted from A's lowest
        let p = i - params.a_lower + k;
        var value = ring_pad();
        if i < params.rows && p >= 0 && p < params.inner && k >= 0 && k <= params.a_lower + params.a_upper {
            let stored = a[a0 + a_index(i, p)];
            if ring_taints(stored) { atomicStore(&tainted, 1u); }
            value = ring_stage_a(stored, batch * params.rows + i);
        }
        tile_a[parity + r * 17u + q * 2u + y / 4u][y % 4u] = value;
    }
}

// Writes the entry in row i whose column is j, if C has a slot for it.
fn put(i: i32, j: i32, acc: f32) {
    if i >= params.rows || !in_band(i, j, params.c_lower, params.c_upper) { return; }
    var value = params.fill;
    if j >= 0 && j < params.cols {
        if ring_is_exact(acc) && atomicLoad(&tainted) == 0u {
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
    let r = local / NB;
    let s = local % NB;
    let chunks = u32(params.a_lower + params.a_upper + 8 + 7) / 8u;
    // Column of C's block 0 in row group 0.
    let left = i0 - params.a_lower - params.b_lower;

    if local == 0u { atomicStore(&tainted, 0u); }
    workgroupBarrier();
    for (var row = 0u; row < ROWS; row++) { stage_b(row, local); }
    stage_a(0u, local);
    workgroupBarrier();

    var c0l = vec4(ring_start()); var c0h = c0l;
    var c1l = c0l; var c1h = c0l;
    var c2l = c0l; var c2h = c0l;
    var c3l = c0l; var c3h = c0l;
    var c4l = c0l; var c4h = c0l;
    var c5l = c0l; var c5h = c0l;
    var c6l = c0l; var c6h = c0l;
    var c7l = c0l; var c7h = c0l;

    var block = s;             // (s - chunk) mod NB
    for (var chunk = 0u; chunk < chunks; chunk++) {
        let leaves = chunk > 0u && block == NB - 1u;
        let parity = chunk % 2u * ROWS * 17u;
        if leaves {
            let at = parity + r * 17u;
            done[at] = c0l; done[at + 1u] = c0h; done[at + 2u] = c1l; done[at + 3u] = c1h;
            done[at + 4u] = c2l; done[at + 5u] = c2h; done[at + 6u] = c3l; done[at + 7u] = c3h;
            done[at + 8u] = c4l; done[at + 9u] = c4h; done[at + 10u] = c5l; done[at + 11u] = c5h;
            done[at + 12u] = c6l; done[at + 13u] = c6h; done[at + 14u] = c7l; done[at + 15u] = c7h;
            c0l = vec4(ring_start()); c0h = c0l; c1l = c0l; c1h = c0l; c2l = c0l; c2h = c0l; c3l = c0l; c3h = c0l;
            c4l = c0l; c4h = c0l; c5l = c0l; c5h = c0l; c6l = c0l; c6h = c0l; c7l = c0l; c7h = c0l;
        }
        if chunk + 1u < chunks {
            stage_b(chunk + ROWS, local);
            stage_a(chunk + 1u, local);
        }

        let from_a = parity + r * 17u;
        let from_b = (r + chunk) % (ROWS + 1u) * 16u * NB + block;
        for (var q = 0u; q < 8u; q++) {
            let al = tile_a[from_a + q * 2u];
            let ah = tile_a[from_a + q * 2u + 1u];
            let bl = ring[from_b + q * 2u * NB];
            let bh = ring[from_b + (q * 2u + 1u) * NB];
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

        // Column block `chunk - 1` of every row group is done.
        if chunk > 0u {
            for (var n = local; n < 64u * ROWS; n += ROWS * NB) {
                let y = n / 8u;
                let x = n % 8u;
                let acc = done[parity + n / 64u * 17u + y % 8u * 2u + x / 4u][x % 4u];
                put(i0 + i32(y), left + i32(n / 64u * 8u + (chunk - 1u) * 8u + x), acc);
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
    for (var n = local; n < 64u * ROWS * NB; n += ROWS * NB) {
        let y = n / (8u * NB);
        let x = n % (8u * NB);
        put(i0 + i32(y), left + i32(y / 8u * 8u + (chunks - 1u) * 8u + x), ring[y * 2u * NB + x / 4u][x % 4u]);
    }
}
