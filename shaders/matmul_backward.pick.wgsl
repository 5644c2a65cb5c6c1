// Where one term makes an entry of C, that term takes the whole gradient:
// ga[i,p] = Σ G[i,j] · slope over the j whose index is p. 32 invocations own a row each: they go
// along C's row in the order of j and add each gradient to the sum of its p in workgroup memory.

@group(0) @binding(3) var<storage, read> index: array<u32>; // like C
@group(0) @binding(4) var<storage, read> g: array<f32>;     // like C
@group(0) @binding(5) var<storage, read_write> ga: array<f32>;

override PLACES: u32 = 32u; // p of a workgroup, for each row from its own first one
const ROWS = 32;
const WIDE = 32;            // j staged at once
const PITCH = 33;           // of staged rows and sums: one more spreads the banks

var<workgroup> indices: array<u32, WIDE * PITCH>; // [j][i]
var<workgroup> slopes: array<f32, WIDE * PITCH>;
var<workgroup> sums: array<f32, (PLACES + 1u) * 33u>; // [p][i], and one for what goes elsewhere

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let number = group_index(group, groups);
    if number >= params.batch * params.tiles { return; }
    let batch = i32(number / params.tiles);
    let in_matrix = i32(number % params.tiles);
    let dense = (params.flags & 2u) != 0u;
    // Every row that A has slots for: in columns layout some are above and below the matrix.
    let upright = (params.flags & 1u) != 0u;
    let beyond = upright & !dense;
    let lines = select(params.rows, params.inner + params.a_lower + params.a_upper, beyond);
    let p_tiles = i32(params.tiles) / ((lines + ROWS - 1) / ROWS);
    let i0 = in_matrix / p_tiles * ROWS - select(0, params.a_upper, beyond);
    let places = i32(PLACES);
    let a0 = batch * a_len();
    let b0 = batch * b_len();
    let c0 = batch * c_len();

    let t = i32(local);
    let i = i0 + t;
    // Where the places of row i0 start; each further row's start one further, but for dense A.
    let p0 = select(i0 - params.a_lower, 0, dense) + in_matrix % p_tiles * places;
    let shift = select(1, 0, dense);
    let mine = p0 + t * shift;
    for (var k = 0; k <= places; k++) { sums[k * PITCH + t] = 0.0; }

    let columns = (params.flags & 16u) != 0u;
    let end = end_j(i0 + ROWS - 1, p0 + (ROWS - 1) * shift + places - 1);
    for (var j0 = first_j(i0, p0); j0 < end; j0 += WIDE) {
        workgroupBarrier();
        for (var n = 0; n < ROWS; n++) {
            // Neighbours read neighbours.
            let r = select(n, t, columns);
            let k = select(t, n, columns);
            let row = i0 + r;
            let j = j0 + k;
            let stored = (row >= 0) & (row < params.rows) & (j < params.cols) & in_band(row, j, params.c_lower, params.c_upper);
            let found = select(0xffffffffu, index[select(0, c0 + c_index(row, j), stored)], stored);
            let slope = g[select(0, like_c(batch, row, j, 6u), stored)];
            let other = b[select(0, b0 + b_index(i32(found), j), PICK_FACTOR & (found != 0xffffffffu))];
            indices[k * PITCH + r] = found;
            slopes[k * PITCH + r] = slope * pick_slope(other);
        }
        workgroupBarrier();
        for (var k = 0; k < WIDE; k++) {
            let found = indices[k * PITCH + t];
            let at = select(PLACES, min(found - u32(mine), PLACES), found != 0xffffffffu);
            sums[i32(at) * PITCH + t] += slopes[k * PITCH + t];
        }
    }
    workgroupBarrier();

    // Neighbours write neighbours: along A's rows, or down its columns.
    if !upright {
        for (var r = 0; r < min(ROWS, params.rows - i0); r++) {
            for (var k = t; k < places; k += ROWS) {
                let p = p0 + r * shift + k;
                let real = (p >= 0) & (p < params.inner);
                if select(in_band(i0 + r, p, params.a_lower, params.a_upper), real, dense) {
                    ga[a0 + a_index(i0 + r, p)] = select(0.0, sums[k * PITCH + r], real);
                }
            }
        }
        return;
    }
    let real = (i >= 0) & (i < params.rows);
    for (var p = max(0, p0); p < min(params.inner, p0 + (ROWS - 1) * shift + places); p++) {
        let k = p - mine;
        if (k >= 0) & (k < places) & select(in_band(i, p, params.a_lower, params.a_upper), real, dense) {
            ga[a0 + a_index(i, p)] = select(0.0, sums[k * PITCH + t], real);
        }
    }
}
