// For every C[i,j] the first p whose term is the largest. A workgroup takes 32 rows × 32 columns: four strips of 8 rows, an
// invocation to each column of a strip. Both operands are staged, A as [p][row], B as [p][column].
//
// The largest of four neighbouring terms is compared with the best so far, and the first p of the four is noted. Once the
// stage is worked off, and while its values are still there, the one of the four is looked for.

@group(0) @binding(3) var<storage, read_write> c: array<u32>;

const GROUP = 128;  // invocations
const COLUMNS = 32;
const ROWS = 32;
const STRIP = 8;    // rows of an invocation
const DEPTH = 32;   // p staged at once
const A_PITCH = 9;  // vec4s of a staged p: 8, and one that spreads the banks
const A_FOUR = 37;  // of four staged p, and one more for where neighbours look at different fours
const NONE = 0xffffffffu;

var<workgroup> tile_a: array<vec4<f32>, DEPTH / 4 * A_FOUR>; // [p][row]
var<workgroup> tile_b: array<f32, DEPTH * COLUMNS>;       // [p][column]
var<workgroup> tainted: atomic<u32>;

// The first largest term of an entry, NaN counting as the largest; NONE if there is none.
fn exact(a0: i32, b0: i32, i: i32, j: i32) -> u32 {
    var best = minus_infinity();
    var index = NONE;
    for (var p = first_p(i, j); p < end_p(i, j); p++) {
        let value = pick_term(a[a0 + a_index(i, p)], b[b0 + b_index(p, j)]);
        if is_nan(value) { return u32(p); }
        let take = (value > best) | (index == NONE);
        best = select(best, value, take);
        index = select(index, u32(p), take);
    }
    return index;
}

// The terms of four rows, each at a place of its own in both stages.
fn terms_at(from_a: vec4<i32>, from_b: vec4<i32>) -> vec4<f32> {
    let x = vec4(tile_a[from_a.x].x, tile_a[from_a.y].y, tile_a[from_a.z].z, tile_a[from_a.w].w);
    return pick_terms(x, vec4(tile_b[from_b.x], tile_b[from_b.y], tile_b[from_b.z], tile_b[from_b.w]));
}

// The index of four rows, where it is the first p of four of this stage, becomes that of the one p.
fn settle(index: vec4<u32>, best: vec4<f32>, p0: i32, rows: i32, lane: i32) -> vec4<u32> {
    let from_stage = index - vec4(u32(p0));
    let fresh = from_stage < vec4(u32(DEPTH));
    let k = select(vec4(0), vec4<i32>(from_stage), fresh);
    let from_a = (k >> vec4(2u)) * A_FOUR + rows;
    let from_b = k * COLUMNS + lane;
    let first = terms_at(from_a, from_b) == best;
    let second = terms_at(from_a + A_PITCH, from_b + COLUMNS) == best;
    let third = terms_at(from_a + 2 * A_PITCH, from_b + 2 * COLUMNS) == best;
    let further = select(select(select(vec4(3u), vec4(2u), third), vec4(1u), second), vec4(0u), first);
    return select(index, index + further, fresh);
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let number = group_index(group, groups);
    if number >= params.batch * params.tiles { return; }
    let batch = i32(number / params.tiles);
    let in_matrix = i32(number % params.tiles);
    let col_tiles = i32(params.tiles) / ((params.rows + ROWS - 1) / ROWS);
    let i0 = in_matrix / col_tiles * ROWS;
    let dense = (params.flags & 32u) != 0u;
    let j0 = select(i0 - params.c_lower, 0, dense) + in_matrix % col_tiles * COLUMNS;
    let a0 = batch * a_len();
    let b0 = batch * b_len();

    let t = i32(local);
    let lane = t % COLUMNS;
    let strip = t / COLUMNS;
    let row = i0 + strip * STRIP;
    let j = j0 + lane;
    if local == 0u { atomicStore(&tainted, 0u); }
    var taint = false;

    // The p of a strip; none if C has no slots there.
    let begin = first_p(row, j0);
    let reached = dense | ((j0 + COLUMNS > row - params.c_lower) & (j0 < row + STRIP + params.c_upper));
    let to = select(begin, end_p(row + STRIP - 1, j0 + COLUMNS - 1), reached);

    // What this invocation brings into a stage: of A 4 values of one row and 4 more, of that row or another, of B 8 of a
    // column. Neighbours read neighbours in memory, along p (8 to a line) or along the rows of A.
    let ramp = vec4(0, 1, 2, 3);
    let along = (params.flags & 1u) == 0u;
    let a_p = select(strip, t % 8, along);
    let a_row = select(lane, t / 8, along);
    let a_dp = select(4, 8, along);
    let a_next = vec2(select(0, 16, along), select(16, 0, along)); // row and p from the first four to the others
    let a_lines = vec2(i0 + a_row, i0 + a_row + a_next.x);
    let a_low = max(vec2(0), a_lines - params.a_lower);
    let a_high = min(vec2(params.inner), a_lines + params.a_upper + 1);
    let a_len = vec2<u32>(select(vec2(0), max(vec2(0), a_high - a_low), a_lines < vec2(params.rows)));
    let a_step = a_dp * select(params.a_stride, 1, along);
    let b_low = max(0, j - params.b_upper);
    let b_high = min(params.inner, j + params.b_lower + 1);
    let b_len = u32(select(0, max(0, b_high - b_low), (j >= 0) & (j < params.cols)));
    let b_step = 4 * select(params.b_stride, 1, (params.flags & 4u) != 0u);

    var best_low = vec4(minus_infinity()); var best_high = best_low;
    var index_low = vec4(NONE); var index_high = index_low;
    let end = end_p(i0 + ROWS - 1, j0 + COLUMNS - 1);
    for (var p0 = first_p(i0, j0); p0 < end; p0 += DEPTH) {
        let p_a = vec4(p0 + a_p) + ramp * a_dp;
        let a_ok0 = vec4<u32>(p_a - a_low.x) < vec4(a_len.x);
        let a_ok1 = vec4<u32>(p_a + a_next.y - a_low.y) < vec4(a_len.y);
        let a_at0 = a0 + a_index(a_lines.x, p0 + a_p);
        let a_at1 = a0 + a_index(a_lines.y, p0 + a_p + a_next.y);
        let p_b = vec4(p0 + strip) + ramp * 4;
        let b_ok0 = vec4<u32>(p_b - b_low) < vec4(b_len);
        let b_ok1 = vec4<u32>(p_b + 16 - b_low) < vec4(b_len);
        let b_at = b0 + b_index(p0 + strip, j);
        var x0 = vec4(pick_pad()); var x1 = x0; var y0 = x0; var y1 = x0;
        if a_ok0.x { x0.x = a[a_at0]; }
        if a_ok0.y { x0.y = a[a_at0 + a_step]; }
        if a_ok0.z { x0.z = a[a_at0 + 2 * a_step]; }
        if a_ok0.w { x0.w = a[a_at0 + 3 * a_step]; }
        if a_ok1.x { x1.x = a[a_at1]; }
        if a_ok1.y { x1.y = a[a_at1 + a_step]; }
        if a_ok1.z { x1.z = a[a_at1 + 2 * a_step]; }
        if a_ok1.w { x1.w = a[a_at1 + 3 * a_step]; }
        if b_ok0.x { y0.x = b[b_at]; }
        if b_ok0.y { y0.y = b[b_at + b_step]; }
        if b_ok0.z { y0.z = b[b_at + 2 * b_step]; }
        if b_ok0.w { y0.w = b[b_at + 3 * b_step]; }
        if b_ok1.x { y1.x = b[b_at + 4 * b_step]; }
        if b_ok1.y { y1.y = b[b_at + 5 * b_step]; }
        if b_ok1.z { y1.z = b[b_at + 6 * b_step]; }
        if b_ok1.w { y1.w = b[b_at + 7 * b_step]; }
        workgroupBarrier();
        let slot0 = a_p / 4 * A_FOUR + a_p % 4 * A_PITCH + a_row / 4;
        let slot1 = slot0 + a_next.y / 4 * A_FOUR + a_next.x / 4;
        let down = a_dp / 4 * A_FOUR;
        let part = a_row % 4;
        tile_a[slot0][part] = x0.x;
        tile_a[slot0 + down][part] = x0.y;
        tile_a[slot0 + 2 * down][part] = x0.z;
        tile_a[slot0 + 3 * down][part] = x0.w;
        tile_a[slot1][part] = x1.x;
        tile_a[slot1 + down][part] = x1.y;
        tile_a[slot1 + 2 * down][part] = x1.z;
        tile_a[slot1 + 3 * down][part] = x1.w;
        tile_b[t] = y0.x;
        tile_b[t + GROUP] = y0.y;
        tile_b[t + 2 * GROUP] = y0.z;
        tile_b[t + 3 * GROUP] = y0.w;
        tile_b[t + 4 * GROUP] = y1.x;
        tile_b[t + 5 * GROUP] = y1.y;
        tile_b[t + 6 * GROUP] = y1.z;
        tile_b[t + 7 * GROUP] = y1.w;
        taint |= pick_taints(x0, a_ok0) | pick_taints(x1, a_ok1) | pick_taints(y0, b_ok0) | pick_taints(y1, b_ok1);
        workgroupBarrier();

        let stop = min(to - p0, DEPTH);
        for (var k = max(begin - p0, 0) / 4 * 4; k < stop; k += 4) {
            let from_a = (k >> 2u) * A_FOUR + strip * 2;
            let from_b = k * COLUMNS + lane;
            let y = vec4(tile_b[from_b], tile_b[from_b + COLUMNS], tile_b[from_b + 2 * COLUMNS], tile_b[from_b + 3 * COLUMNS]);
            let low = pick_largest(
                pick_terms(tile_a[from_a], vec4(y.x)),
                pick_terms(tile_a[from_a + A_PITCH], vec4(y.y)),
                pick_terms(tile_a[from_a + 2 * A_PITCH], vec4(y.z)),
                pick_terms(tile_a[from_a + 3 * A_PITCH], vec4(y.w)));
            let high = pick_largest(
                pick_terms(tile_a[from_a + 1], vec4(y.x)),
                pick_terms(tile_a[from_a + A_PITCH + 1], vec4(y.y)),
                pick_terms(tile_a[from_a + 2 * A_PITCH + 1], vec4(y.z)),
                pick_terms(tile_a[from_a + 3 * A_PITCH + 1], vec4(y.w)));
            let larger_low = low > best_low;
            let larger_high = high > best_high;
            best_low = select(best_low, low, larger_low);
            best_high = select(best_high, high, larger_high);
            index_low = select(index_low, vec4(u32(p0 + k)), larger_low);
            index_high = select(index_high, vec4(u32(p0 + k)), larger_high);
        }
        if begin - p0 < stop {
            index_low = settle(index_low, best_low, p0, strip * 2, lane);
            index_high = settle(index_high, best_high, p0, strip * 2 + 1, lane);
        }
    }
    if taint { atomicStore(&tainted, 1u); }
    workgroupBarrier();
    let redo = atomicLoad(&tainted) != 0u;
    finish(index_low.x, redo, batch, row, j);
    finish(index_low.y, redo, batch, row + 1, j);
    finish(index_low.z, redo, batch, row + 2, j);
    finish(index_low.w, redo, batch, row + 3, j);
    finish(index_high.x, redo, batch, row + 4, j);
    finish(index_high.y, redo, batch, row + 5, j);
    finish(index_high.z, redo, batch, row + 6, j);
    finish(index_high.w, redo, batch, row + 7, j);
}

// One entry into C, if there is a slot for it.
fn finish(index: u32, redo: bool, batch: i32, i: i32, j: i32) {
    let in_cols = (j >= 0) & (j < params.cols);
    let dense = (params.flags & 32u) != 0u;
    if !((i < params.rows) & select(in_band(i, j, params.c_lower, params.c_upper), in_cols, dense)) { return; }
    // Nothing was larger than -∞: the first term, if there is one.
    let first = first_p(i, j);
    let some = in_cols & (first < end_p(i, j));
    var found = select(NONE, select(index, u32(first), index == NONE), some);
    if redo & some { found = exact(batch * a_len(), batch * b_len(), i, j); }
    c[batch * c_len() + c_index(i, j)] = found;
}
