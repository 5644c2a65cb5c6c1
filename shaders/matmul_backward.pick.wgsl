// Where one term makes an entry of C, that term takes the whole gradient:
// ga[i,p] = Σ G[i,j] · slope over the j whose index is p. 16 rows have a sum for each of their p in workgroup memory. Sharers
// of a row go along C's row in the order of j, and each adds to the sums of every SHARERS-th p.
//
// The entries are staged, those of the next stage on their way from memory while these are worked off.

@group(0) @binding(3) var<storage, read> index: array<u32>; // like C
@group(0) @binding(4) var<storage, read> g: array<f32>;     // like C
@group(0) @binding(5) var<storage, read_write> ga: array<f32>;

override PLACES: u32 = 128u; // p of a workgroup, for each row from its own first one
const GROUP = 64;            // invocations
const ROWS = 16;
const SHARERS = GROUP / ROWS; // of a row
const WIDE = 4 * SHARERS;     // j staged at once: an invocation brings in 4 entries
const PITCH = 17;             // of staged rows and sums: one more spreads the banks
const NOWHERE = 0x80000000u;  // a place that is no sharer's

var<workgroup> entries: array<vec2<u32>, WIDE * PITCH>; // [j][i]: place, and the bits of what is added there
var<workgroup> sums: array<f32, PLACES * 17u>;          // [place][i]

// Whether a place is this sharer's.
fn owns(sharer: u32, place: u32) -> bool { return ((place ^ sharer) & (NOWHERE | u32(SHARERS - 1))) == 0u; }

// Adds to two places of row t at once, which may be the same one.
fn add(sharer: u32, t: i32, first: vec2<u32>, second: vec2<u32>) {
    let own_first = owns(sharer, first.x);
    let own_second = owns(sharer, second.x);
    let at_first = i32(first.x) * PITCH + t;
    let at_second = i32(second.x) * PITCH + t;
    var sum_first = 0.0;
    var sum_second = 0.0;
    if own_first { sum_first = sums[at_first]; }
    if own_second { sum_second = sums[at_second]; }
    sum_first += bitcast<f32>(first.y);
    sum_second = select(sum_second, sum_first, first.x == second.x) + bitcast<f32>(second.y);
    if own_first { sums[at_first] = sum_first; }
    if own_second { sums[at_second] = sum_second; }
}

// An entry as it is staged.
fn entry(batch: i32, j: i32, p: u32, slope: f32, mine: i32) -> vec2<u32> {
    let made = p != 0xffffffffu;
    var factor = 1.0;
    if PICK_FACTOR {
        factor = b[select(0, batch * b_len() + b_index(i32(p), j), made)];
    }
    let place = p - u32(mine);
    return vec2(select(NOWHERE, place, made & (place < PLACES)), bitcast<u32>(slope * pick_slope(factor)));
}

@compute @workgroup_size(GROUP)
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

    let t = i32(local) % ROWS;
    let sharer = i32(local) / ROWS;
    let i = i0 + t;
    // Where the places of row i0 start; each further row's start one further, but for dense A.
    let p0 = select(i0 - params.a_lower, 0, dense) + in_matrix % p_tiles * places;
    let shift = select(1, 0, dense);
    let mine = p0 + t * shift;
    for (var k = sharer; k < places; k += SHARERS) { sums[k * PITCH + t] = 0.0; }

    // What this invocation brings in: neighbours read neighbours, along C's rows or down its columns.
    let ramp = vec4(0, 1, 2, 3);
    let columns = (params.flags & 16u) != 0u;
    let at = select(vec2(i32(local) / WIDE, i32(local) % WIDE), vec2(t, sharer), columns);
    let next = select(vec2(ROWS / 4, 0), vec2(0, SHARERS), columns);
    let rows = vec4(i0 + at.x) + ramp * next.x;
    let low = max(vec4(0), rows - params.c_lower);
    let high = min(vec4(params.cols), rows + params.c_upper + 1);
    let len = vec4<u32>(select(vec4(0), max(vec4(0), high - low), (rows >= vec4(0)) & (rows < vec4(params.rows))));
    let own_p = vec4(p0 + at.x * shift) + ramp * next.x * shift;
    let slot = at.y * PITCH + at.x;
    let slot_next = next.y * PITCH + next.x;
    let index_next = params.c_stride * (next.x + next.y);
    let g_next = like_c(0, next.x, next.y, 6u) - like_c(0, 0, 0, 6u);

    let first = first_j(i0, p0);
    let end = end_j(i0 + ROWS - 1, p0 + (ROWS - 1) * shift + places - 1);
    var found = vec4(0xffffffffu);
    var slopes = vec4(0.0);
    for (var j0 = first - WIDE; j0 < end; j0 += WIDE) {
        if j0 >= first {
            let j = j0 + at.y;
            let e0 = entry(batch, j, found.x, slopes.x, own_p.x);
            let e1 = entry(batch, j + next.y, found.y, slopes.y, own_p.y);
            let e2 = entry(batch, j + next.y * 2, found.z, slopes.z, own_p.z);
            let e3 = entry(batch, j + next.y * 3, found.w, slopes.w, own_p.w);
            workgroupBarrier();
            entries[slot] = e0;
            entries[slot + slot_next] = e1;
            entries[slot + slot_next * 2] = e2;
            entries[slot + slot_next * 3] = e3;
            workgroupBarrier();
        }
        let j = j0 + WIDE + at.y;
        let stored = vec4<u32>(vec4(j) + ramp * next.y - low) < len;
        let from_c = batch * c_len() + c_index(rows.x, j);
        let from_g = like_c(batch, rows.x, j, 6u);
        found = vec4(0xffffffffu);
        slopes = vec4(0.0);
        if stored.x { found.x = index[from_c]; }
        if stored.y { found.y = index[from_c + index_next]; }
        if stored.z { found.z = index[from_c + index_next * 2]; }
        if stored.w { found.w = index[from_c + index_next * 3]; }
        if stored.x { slopes.x = g[from_g]; }
        if stored.y { slopes.y = g[from_g + g_next]; }
        if stored.z { slopes.z = g[from_g + g_next * 2]; }
        if stored.w { slopes.w = g[from_g + g_next * 3]; }
        if j0 < first { continue; }
        for (var k = 0; k < WIDE; k += 4) {
            let e0 = entries[k * PITCH + t];
            let e1 = entries[(k + 1) * PITCH + t];
            let e2 = entries[(k + 2) * PITCH + t];
            let e3 = entries[(k + 3) * PITCH + t];
            add(u32(sharer), t, e0, e1);
            add(u32(sharer), t, e2, e3);
        }
    }
    workgroupBarrier();

    // Neighbours write neighbours: along A's rows, or down its columns.
    if !upright {
        for (var r = i32(local) / 32; r < min(ROWS, params.rows - i0); r += GROUP / 32) {
            for (var k = i32(local) % 32; k < places; k += 32) {
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
