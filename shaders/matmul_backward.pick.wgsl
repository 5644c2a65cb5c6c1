// Where one term makes an entry of C, that term takes the whole gradient:
// ga[i,p] = Σ G[i,j] · slope over the j whose index is p. 256 invocations take 8 rows × 32 p, one
// entry each, and run along rows of C that are staged, always in the order of j.

@group(0) @binding(3) var<storage, read> index: array<u32>; // like C
@group(0) @binding(4) var<storage, read> g: array<f32>;     // like C
@group(0) @binding(5) var<storage, read_write> ga: array<f32>;

const ROWS = 8;
const PLACES = 32; // p of a workgroup
const WIDE = 128;  // j staged at once

var<workgroup> tile: array<vec2<u32>, ROWS * WIDE>; // [i][j]: index and gradient

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let number = group_index(group, groups);
    if number >= params.batch * params.tiles { return; }
    let batch = i32(number / params.tiles);
    let in_matrix = i32(number % params.tiles);
    let dense = (params.flags & 2u) != 0u;
    // Every row that A has slots for: in columns layout some are above and below the matrix.
    let beyond = (params.flags & 3u) == 1u;
    let lines = select(params.rows, params.inner + params.a_lower + params.a_upper, beyond);
    let p_tiles = i32(params.tiles) / ((lines + ROWS - 1) / ROWS);
    let i0 = in_matrix / p_tiles * ROWS - select(0, params.a_upper, beyond);
    let p0 = select(i0 - params.a_lower, 0, dense) + in_matrix % p_tiles * PLACES;
    let b0 = batch * b_len();
    let c0 = batch * c_len();

    let t = i32(local);
    let row = t / PLACES;
    let i = i0 + row;
    let p = p0 + t % PLACES;
    let real = (i >= 0) & (i < params.rows) & (p >= 0) & (p < params.inner);
    let begin = first_j(i, p);
    let to = select(begin, end_j(i, p), real);
    let columns = (params.flags & 16u) != 0u;

    var sum = 0.0;
    let end = end_j(i0 + ROWS - 1, p0 + PLACES - 1);
    for (var j0 = first_j(i0, p0); j0 < end; j0 += WIDE) {
        workgroupBarrier();
        for (var n = t; n < ROWS * WIDE; n += ROWS * PLACES) {
            // Neighbours read neighbours.
            let r = select(n / WIDE, n % ROWS, columns);
            let k = select(n % WIDE, n / ROWS, columns);
            let stored = (i0 + r >= 0) & (i0 + r < params.rows) & (j0 + k < params.cols) & in_band(i0 + r, j0 + k, params.c_lower, params.c_upper);
            let found = index[select(0, c0 + c_index(i0 + r, j0 + k), stored)];
            let slope = g[select(0, like_c(batch, i0 + r, j0 + k, 6u), stored)];
            tile[r * WIDE + k] = vec2(select(0xffffffffu, found, stored), bitcast<u32>(slope));
        }
        workgroupBarrier();
        let stop = min(to, j0 + WIDE);
        for (var j = max(begin, j0); j < stop; j++) {
            let entry = tile[row * WIDE + j - j0];
            let same = entry.x == u32(p);
            let value = bitcast<f32>(entry.y) * pick_slope(b[select(0, b0 + b_index(p, j), same)]);
            sum += select(0.0, value, same);
        }
    }
    let line = select(i, p, beyond);
    let slot = (line >= 0) & (line < select(params.rows, params.inner, beyond))
        & select(in_band(i, p, params.a_lower, params.a_upper), p < params.inner, dense);
    if slot { ga[batch * a_len() + a_index(i, p)] = select(0.0, sum, real); }
}
