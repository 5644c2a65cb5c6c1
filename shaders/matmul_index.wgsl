// For every C[i,j] the first p whose term is the largest. 64 invocations take 4 rows × 64 columns,
// one column each, so that neighbours read neighbours in B's rows; A's 4 rows are staged.

@group(0) @binding(3) var<storage, read_write> c: array<u32>;

const ROWS = 4;
const COLUMNS = 64;
const DEPTH = 192; // p staged at once: the width of a row of A in most bands

var<workgroup> tile: array<vec4<f32>, DEPTH>; // [p], 4 rows
var<workgroup> tainted: atomic<u32>;

// The first largest term of an entry, NaN counting as the largest; u32::MAX if there is none.
fn exact(a0: i32, b0: i32, i: i32, j: i32) -> u32 {
    var best = minus_infinity();
    var index = 0xffffffffu;
    for (var p = first_p(i, j); p < end_p(i, j); p++) {
        let value = pick_term(a[a0 + a_index(i, p)], b[b0 + b_index(p, j)]);
        if is_nan(value) { return u32(p); }
        let take = (value > best) | (index == 0xffffffffu);
        best = select(best, value, take);
        index = select(index, u32(p), take);
    }
    return index;
}

@compute @workgroup_size(64)
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
    let c0 = batch * c_len();

    let t = i32(local);
    let j = j0 + t;
    // Half a workgroup walks the same p, so that its loads stay together.
    let half = j0 + t / 32 * 32;
    let begin = first_p(i0, half);
    let to = end_p(i0 + ROWS - 1, half + 31);
    // The p that B's column stores.
    let lo = max(0, j - params.b_upper);
    let len = u32(select(0, max(0, min(params.inner, j + params.b_lower + 1) - lo), (j >= 0) & (j < params.cols)));
    let step = select(params.b_stride, 1, (params.flags & 4u) != 0u);
    let column = b0 + b_index(0, j);

    var best = vec4(minus_infinity());
    var index = vec4(0xffffffffu);
    var taint = false;
    if local == 0u { atomicStore(&tainted, 0u); }
    let end = end_p(i0 + ROWS - 1, j0 + COLUMNS - 1);
    for (var p0 = first_p(i0, j0); p0 < end; p0 += DEPTH) {
        workgroupBarrier();
        for (var q = t; q < DEPTH; q += COLUMNS) {
            var values = vec4(pick_pad());
            for (var r = 0; r < ROWS; r++) {
                let stored = (i0 + r < params.rows) & (p0 + q < params.inner) & in_band(i0 + r, p0 + q, params.a_lower, params.a_upper);
                let value = a[select(0, a0 + a_index(i0 + r, p0 + q), stored)];
                taint = taint | (stored & pick_taints(value));
                values[r] = select(pick_pad(), value, stored);
            }
            tile[q] = values;
        }
        workgroupBarrier();
        let stop = min(to, p0 + DEPTH);
        for (var p = max(begin, p0); p < stop; p++) {
            let stored = u32(p - lo) < len;
            let value = b[select(0, column + p * step, stored)];
            taint = taint | (stored & pick_taints(value));
            let terms = pick_terms(tile[p - p0], select(pick_pad(), value, stored));
            let larger = terms > best;
            best = select(best, terms, larger);
            index = select(index, vec4(u32(p)), larger);
        }
    }
    if taint { atomicStore(&tainted, 1u); }
    workgroupBarrier();
    let redo = atomicLoad(&tainted) != 0u;

    let in_matrix_column = (j >= 0) & (j < params.cols);
    for (var r = 0; r < ROWS; r++) {
        let i = i0 + r;
        let slot = (i < params.rows) & select(in_band(i, j, params.c_lower, params.c_upper), in_matrix_column, dense);
        if !slot { continue; }
        var found = 0xffffffffu;
        if in_matrix_column {
            found = index[r];
            // Nothing was larger than -∞: the first term, if there is one.
            if (found == 0xffffffffu) & (first_p(i, j) < end_p(i, j)) { found = u32(first_p(i, j)); }
            if redo { found = exact(a0, b0, i, j); }
        }
        c[c0 + c_index(i, j)] = found;
    }
}
