// Where one term makes an entry of C, that term takes the whole gradient:
// ga[i,p] = Σ G[i,j] · slope over the j whose index is p. 4 invocations own a row: they go along C's
// row in the order of j, and each adds to every fourth p's sum in workgroup memory.

@group(0) @binding(3) var<storage, read> index: array<u32>; // like C
@group(0) @binding(4) var<storage, read> g: array<f32>;     // like C
@group(0) @binding(5) var<storage, read_write> ga: array<f32>;

override PLACES: u32 = 32u; // p of a workgroup, for each row from its own first one
const ROWS = 32;
const WIDE = 32;            // j staged at once
const PITCH = 33;           // of staged rows and sums: one more spreads the banks
const SHARERS = 4;          // of a row

var<workgroup> indices: array<u32, WIDE * PITCH>; // [j][i]
var<workgroup> slopes: array<f32, WIDE * PITCH>;
var<workgroup> sums: array<f32, PLACES * 33u>; // [p][i]

// What an invocation brings in.
struct Entry {
    index: u32,
    slope: f32,
}

fn fetch(batch: i32, row: i32, j: i32) -> Entry {
    let stored = (row >= 0) & (row < params.rows) & (j < params.cols) & in_band(row, j, params.c_lower, params.c_upper);
    var e: Entry;
    e.index = select(0xffffffffu, index[select(0, batch * c_len() + c_index(row, j), stored)], stored);
    e.slope = g[select(0, like_c(batch, row, j, 6u), stored)];
    return e;
}

fn keep(batch: i32, j0: i32, k: i32, r: i32, e: Entry) {
    let at = select(0, batch * b_len() + b_index(i32(e.index), j0 + k), PICK_FACTOR & (e.index != 0xffffffffu));
    indices[k * PITCH + r] = e.index;
    slopes[k * PITCH + r] = e.slope * pick_slope(b[at]);
}

@compute @workgroup_size(128)
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

    let t = i32(local % 32u);
    let sharer = i32(local / 32u);
    let i = i0 + t;
    // Where the places of row i0 start; each further row's start one further, but for dense A.
    let p0 = select(i0 - params.a_lower, 0, dense) + in_matrix % p_tiles * places;
    let shift = select(1, 0, dense);
    let mine = p0 + t * shift;
    for (var k = sharer; k < places; k += SHARERS) { sums[k * PITCH + t] = 0.0; }

    let columns = (params.flags & 16u) != 0u;
    let end = end_j(i0 + ROWS - 1, p0 + (ROWS - 1) * shift + places - 1);
    for (var j0 = first_j(i0, p0); j0 < end; j0 += WIDE) {
        workgroupBarrier();
        // Neighbours read neighbours. Eight loads are under way before the first is needed.
        let n = sharer * 8;
        let along = select(vec2(1, 0), vec2(0, 1), columns);
        let at = select(vec2(n, t), vec2(t, n), columns);
        let first = vec2(i0, j0) + at;
        let e0 = fetch(batch, first.x, first.y);
        let e1 = fetch(batch, first.x + along.x, first.y + along.y);
        let e2 = fetch(batch, first.x + along.x * 2, first.y + along.y * 2);
        let e3 = fetch(batch, first.x + along.x * 3, first.y + along.y * 3);
        let e4 = fetch(batch, first.x + along.x * 4, first.y + along.y * 4);
        let e5 = fetch(batch, first.x + along.x * 5, first.y + along.y * 5);
        let e6 = fetch(batch, first.x + along.x * 6, first.y + along.y * 6);
        let e7 = fetch(batch, first.x + along.x * 7, first.y + along.y * 7);
        keep(batch, j0, at.y, at.x, e0);
        keep(batch, j0, at.y + along.y, at.x + along.x, e1);
        keep(batch, j0, at.y + along.y * 2, at.x + along.x * 2, e2);
        keep(batch, j0, at.y + along.y * 3, at.x + along.x * 3, e3);
        keep(batch, j0, at.y + along.y * 4, at.x + along.x * 4, e4);
        keep(batch, j0, at.y + along.y * 5, at.x + along.x * 5, e5);
        keep(batch, j0, at.y + along.y * 6, at.x + along.x * 6, e6);
        keep(batch, j0, at.y + along.y * 7, at.x + along.x * 7, e7);
        workgroupBarrier();
        for (var k = 0; k < WIDE; k += 4) {
            let found = vec4(indices[k * PITCH + t], indices[(k + 1) * PITCH + t], indices[(k + 2) * PITCH + t], indices[(k + 3) * PITCH + t]);
            let slope = vec4(slopes[k * PITCH + t], slopes[(k + 1) * PITCH + t], slopes[(k + 2) * PITCH + t], slopes[(k + 3) * PITCH + t]);
            let place = found - vec4(u32(mine));
            let own = (found != vec4(0xffffffffu)) & (place < vec4(PLACES)) & (place % vec4(4u) == vec4(u32(sharer)));
            let at = vec4<i32>(place) * PITCH + t;
            if own.x { sums[at.x] += slope.x; }
            if own.y { sums[at.y] += slope.y; }
            if own.z { sums[at.z] += slope.z; }
            if own.w { sums[at.w] += slope.w; }
        }
    }
    workgroupBarrier();

    // Neighbours write neighbours: along A's rows, or down its columns.
    if !upright {
        for (var r = sharer; r < min(ROWS, params.rows - i0); r += SHARERS) {
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
    for (var p = max(0, p0) + sharer; p < min(params.inner, p0 + (ROWS - 1) * shift + places); p += SHARERS) {
        let k = p - mine;
        if (k >= 0) & (k < places) & select(in_band(i, p, params.a_lower, params.a_upper), real, dense) {
            ga[a0 + a_index(i, p)] = select(0.0, sums[k * PITCH + t], real);
        }
    }
}
