// C = A ⊗ B in 64 × 64 tiles: 64 invocations, each 8 × 8 entries in named registers. A tile runs
// over just the p at which the bands of its rows and columns meet.
//
// Loads are written out in place, several to a statement: a call or a branch around a load would
// make the next one wait for it.

@group(0) @binding(3) var<storage, read> a_scale: array<f32>;
@group(0) @binding(4) var<storage, read> b_scale: array<f32>;
@group(0) @binding(5) var<storage, read_write> c: array<f32>;

const TILE = 64;    // rows and columns of a tile
const DEPTH = 16;   // p staged at once
const PITCH = 17u;  // vec4s in a staged row: 16, and one that spreads the banks
const PANEL = 272u; // vec4s of one staged operand

// A as [p][i], B as [p][j]; at the end half of C as [i][j].
var<workgroup> pool: array<vec4<f32>, 544>;
var<workgroup> tainted: atomic<u32>;

// The 16 values of an operand that an invocation brings into a stage, a walk in one direction: from
// `v` by `dv`, of which lo .. lo + len is stored; `at` and `step` say where in the buffer, `line`
// and `dline` which row of A or column of B, `slot` and `dslot` where in the stage.
struct Walk {
    v: i32,
    dv: i32,
    lo: i32,
    len: u32,
    at: i32,
    step: i32,
    line: i32,
    dline: i32,
}

// Neighbours read neighbours: along p where the operand is contiguous in p (16 invocations to a
// line, 4 lines at once), along the lines otherwise (64 lines, one p at once).
fn walk(t: i32, along_p: bool, p0: i32, line0: i32, lines: i32, below: i32, above: i32, stride: i32, origin: i32) -> Walk {
    let p = p0 + select(0, t % DEPTH, along_p);
    let line = line0 + select(t, t / DEPTH, along_p);
    // Along p's lines those whose band holds p; along a line's p those that its band holds.
    let lo = select(max(0, line - below), max(0, p - above), along_p);
    let hi = select(min(params.inner, line + above + 1), min(lines, p + below + 1), along_p);
    let inside = select((line >= 0) & (line < lines), p < params.inner, along_p);
    var w: Walk;
    w.v = select(p, line, along_p);
    w.dv = select(1, TILE / DEPTH, along_p);
    w.lo = lo;
    w.len = select(0u, u32(max(0, hi - lo)), inside);
    w.at = w.v * stride + select(line, p, along_p) + origin;
    w.step = w.dv * stride;
    w.line = line;
    w.dline = select(0, w.dv, along_p);
    return w;
}

// Where value n of invocation t stands in a stage, counted in floats.
fn slot(t: u32, n: u32, along_p: bool) -> u32 {
    return select(n * PITCH * 4u + t, t % 16u * PITCH * 4u + t / 16u + n * 4u, along_p);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = group_index(group, groups);
    if tile >= params.batch * params.tiles { return; }

    // Which tile.
    let batch = i32(tile / params.tiles);
    let row_tiles = (params.rows + TILE - 1) / TILE;
    let col_tiles = i32(params.tiles) / row_tiles;
    let in_matrix = i32(tile % params.tiles);
    let c_dense = (params.flags & 32u) != 0u;
    let i0 = in_matrix / col_tiles * TILE;
    let j0 = select(i0 - params.c_lower, 0, c_dense) + in_matrix % col_tiles * TILE;
    let a0 = batch * a_len();
    let b0 = batch * b_len();
    let c0 = batch * c_len();

    // Where this invocation stands: in the tile, and in what it loads.
    let t = i32(local);
    let x = local % 8u;
    let y = local / 8u;
    let a_along = (params.flags & 1u) == 0u;
    let b_along = (params.flags & 4u) != 0u;
    let a_slot = slot(local, 0u, a_along);
    let a_next = slot(0u, 1u, a_along);
    let b_slot = slot(local, 0u, b_along) + PANEL * 4u;
    let b_next = slot(0u, 1u, b_along);
    let last_row = vec4((batch + 1) * params.rows - 1);
    let last_col = vec4((batch + 1) * params.cols - 1);
    let ramp = vec4(0, 1, 2, 3);
    var taint = vec4(false);
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
    for (var p0 = p_first; p0 < p_end; p0 += DEPTH) {
        // Which values are stored, and where.
        let wa = walk(t, a_along, p0, i0, params.rows, params.a_lower, params.a_upper, params.a_stride, a_index(0, 0));
        let wb = walk(t, b_along, p0, j0, params.cols, params.b_upper, params.b_lower, params.b_stride, b_index(0, 0));
        let a_ok0 = vec4<u32>(vec4(wa.v - wa.lo) + ramp * wa.dv) < vec4(wa.len);
        let a_ok1 = vec4<u32>(vec4(wa.v - wa.lo) + (ramp + 4) * wa.dv) < vec4(wa.len);
        let a_ok2 = vec4<u32>(vec4(wa.v - wa.lo) + (ramp + 8) * wa.dv) < vec4(wa.len);
        let a_ok3 = vec4<u32>(vec4(wa.v - wa.lo) + (ramp + 12) * wa.dv) < vec4(wa.len);
        let b_ok0 = vec4<u32>(vec4(wb.v - wb.lo) + ramp * wb.dv) < vec4(wb.len);
        let b_ok1 = vec4<u32>(vec4(wb.v - wb.lo) + (ramp + 4) * wb.dv) < vec4(wb.len);
        let b_ok2 = vec4<u32>(vec4(wb.v - wb.lo) + (ramp + 8) * wb.dv) < vec4(wb.len);
        let b_ok3 = vec4<u32>(vec4(wb.v - wb.lo) + (ramp + 12) * wb.dv) < vec4(wb.len);
        let ka0 = select(vec4(0), vec4(a0 + wa.at) + ramp * wa.step, a_ok0);
        let ka1 = select(vec4(0), vec4(a0 + wa.at) + (ramp + 4) * wa.step, a_ok1);
        let ka2 = select(vec4(0), vec4(a0 + wa.at) + (ramp + 8) * wa.step, a_ok2);
        let ka3 = select(vec4(0), vec4(a0 + wa.at) + (ramp + 12) * wa.step, a_ok3);
        let kb0 = select(vec4(0), vec4(b0 + wb.at) + ramp * wb.step, b_ok0);
        let kb1 = select(vec4(0), vec4(b0 + wb.at) + (ramp + 4) * wb.step, b_ok1);
        let kb2 = select(vec4(0), vec4(b0 + wb.at) + (ramp + 8) * wb.step, b_ok2);
        let kb3 = select(vec4(0), vec4(b0 + wb.at) + (ramp + 12) * wb.step, b_ok3);

        // All loads in flight together.
        let ra0 = vec4(a[ka0.x], a[ka0.y], a[ka0.z], a[ka0.w]);
        let ra1 = vec4(a[ka1.x], a[ka1.y], a[ka1.z], a[ka1.w]);
        let ra2 = vec4(a[ka2.x], a[ka2.y], a[ka2.z], a[ka2.w]);
        let ra3 = vec4(a[ka3.x], a[ka3.y], a[ka3.z], a[ka3.w]);
        let rb0 = vec4(b[kb0.x], b[kb0.y], b[kb0.z], b[kb0.w]);
        let rb1 = vec4(b[kb1.x], b[kb1.y], b[kb1.z], b[kb1.w]);
        let rb2 = vec4(b[kb2.x], b[kb2.y], b[kb2.z], b[kb2.w]);
        let rb3 = vec4(b[kb3.x], b[kb3.y], b[kb3.z], b[kb3.w]);
        taint |= (ring_taints(ra0) & a_ok0) | (ring_taints(ra1) & a_ok1) | (ring_taints(ra2) & a_ok2) | (ring_taints(ra3) & a_ok3);
        taint |= (ring_taints(rb0) & b_ok0) | (ring_taints(rb1) & b_ok1) | (ring_taints(rb2) & b_ok2) | (ring_taints(rb3) & b_ok3);

        // Into the stage, once the tile before has been worked off.
        let la = vec4(batch * params.rows + wa.line);
        let lb = vec4(batch * params.cols + wb.line);
        let pad = vec4(ring_pad());
        let va0 = select(pad, ring_stage_a(ra0, clamp(la + ramp * wa.dline, vec4(0), last_row)), a_ok0);
        let va1 = select(pad, ring_stage_a(ra1, clamp(la + (ramp + 4) * wa.dline, vec4(0), last_row)), a_ok1);
        let va2 = select(pad, ring_stage_a(ra2, clamp(la + (ramp + 8) * wa.dline, vec4(0), last_row)), a_ok2);
        let va3 = select(pad, ring_stage_a(ra3, clamp(la + (ramp + 12) * wa.dline, vec4(0), last_row)), a_ok3);
        let vb0 = select(pad, ring_stage_b(rb0, clamp(lb + ramp * wb.dline, vec4(0), last_col)), b_ok0);
        let vb1 = select(pad, ring_stage_b(rb1, clamp(lb + (ramp + 4) * wb.dline, vec4(0), last_col)), b_ok1);
        let vb2 = select(pad, ring_stage_b(rb2, clamp(lb + (ramp + 8) * wb.dline, vec4(0), last_col)), b_ok2);
        let vb3 = select(pad, ring_stage_b(rb3, clamp(lb + (ramp + 12) * wb.dline, vec4(0), last_col)), b_ok3);
        workgroupBarrier();
        stage(a_slot, a_next, va0); stage(a_slot + 4u * a_next, a_next, va1);
        stage(a_slot + 8u * a_next, a_next, va2); stage(a_slot + 12u * a_next, a_next, va3);
        stage(b_slot, b_next, vb0); stage(b_slot + 4u * b_next, b_next, vb1);
        stage(b_slot + 8u * b_next, b_next, vb2); stage(b_slot + 12u * b_next, b_next, vb3);
        workgroupBarrier();

        for (var k = 0u; k < u32(DEPTH); k++) {
            let al = pool[k * PITCH + y];
            let ah = pool[k * PITCH + 8u + y];
            let bl = pool[PANEL + k * PITCH + x];
            let bh = pool[PANEL + k * PITCH + 8u + x];
            c0l = ring_mac(c0l, al.x, bl); c0h = ring_mac(c0h, al.x, bh);
            c1l = ring_mac(c1l, al.y, bl); c1h = ring_mac(c1h, al.y, bh);
            c2l = ring_mac(c2l, al.z, bl); c2h = ring_mac(c2h, al.z, bh);
            c3l = ring_mac(c3l, al.w, bl); c3h = ring_mac(c3h, al.w, bh);
            c4l = ring_mac(c4l, ah.x, bl); c4h = ring_mac(c4h, ah.x, bh);
            c5l = ring_mac(c5l, ah.y, bl); c5h = ring_mac(c5h, ah.y, bh);
            c6l = ring_mac(c6l, ah.z, bl); c6h = ring_mac(c6h, ah.z, bh);
            c7l = ring_mac(c7l, ah.w, bl); c7h = ring_mac(c7h, ah.w, bh);
        }
    }
    if any(taint) { atomicStore(&tainted, 1u); }

    // C leaves through the stage, 32 rows at a time, each row written by neighbours. An invocation
    // keeps to one column, in which C holds the rows `first` .. `end`.
    let j = j0 + t;
    let in_cols = (j >= 0) & (j < params.cols);
    let first = select(max(0, j - params.c_upper), 0, c_dense);
    let end = select(min(params.rows, j + params.c_lower + 1), select(0, params.rows, in_cols), c_dense);
    for (var half = 0; half < 2; half++) {
        workgroupBarrier();
        let at = 4u * y * PITCH + x;
        if half == 0 {
            pool[at] = c0l; pool[at + 8u] = c0h; pool[at + PITCH] = c1l; pool[at + PITCH + 8u] = c1h;
            pool[at + 2u * PITCH] = c2l; pool[at + 2u * PITCH + 8u] = c2h; pool[at + 3u * PITCH] = c3l; pool[at + 3u * PITCH + 8u] = c3h;
        } else {
            pool[at] = c4l; pool[at + 8u] = c4h; pool[at + PITCH] = c5l; pool[at + PITCH + 8u] = c5h;
            pool[at + 2u * PITCH] = c6l; pool[at + 2u * PITCH + 8u] = c6h; pool[at + 3u * PITCH] = c7l; pool[at + 3u * PITCH + 8u] = c7h;
        }
        workgroupBarrier();
        let all = atomicLoad(&tainted) != 0u;
        let i_first = max(first, i0 + half * 32);
        let i_end = min(end, i0 + half * 32 + 32);
        for (var i = i_first; i < i_end; i++) {
            var value = params.fill;
            if in_cols {
                let acc = pool[u32(i - i0 - half * 32) * PITCH + local / 4u][local % 4u];
                if ring_is_exact(acc) & !all {
                    value = ring_finish(acc, batch * params.rows + i, batch * params.cols + j);
                } else {
                    value = ring_exact(a0, b0, i, j);
                }
            }
            c[c0 + c_index(i, j)] = value;
        }
    }
}

// Four values into the stage, `next` floats apart.
fn stage(at: u32, next: u32, v: vec4<f32>) {
    pool[at / 4u][at % 4u] = v.x;
    pool[(at + next) / 4u][(at + next) % 4u] = v.y;
    pool[(at + 2u * next) / 4u][(at + 2u * next) % 4u] = v.z;
    pool[(at + 3u * next) / 4u][(at + 3u * next) % 4u] = v.w;
}
