// C = A · B, all block-sparse: a workgroup takes a tile of 32 × 32 of one block of C and sums over the
// pairs of blocks that meet there, laid end to end and staged 16 terms at a time. 64 invocations, each
// 4 × 4 sums.

struct Params {
    rows: u32,
    inner: u32,
    cols: u32,
    height: u32,    // rows of a block of A and C
    depth: u32,     // columns of a block of A, rows of one of B
    width: u32,     // columns of a block of B and C
    blocks: u32,    // of C
    row_tiles: u32, // workgroups along the rows and columns of a block
    col_tiles: u32,
    flags: u32,     // bit 0: blocks of A are contiguous along columns, bit 1: those of B
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> pairs: array<u32>; // where each block of C starts, then the slots of A and B
@group(0) @binding(4) var<storage, read> blocks: array<u32>; // block row and column of each block of C
@group(0) @binding(5) var<storage, read_write> c: array<f32>;

const TILE = 32u;
const DEPTH = 16u;
const PITCH = 9u; // vec4s in a staged row

var<workgroup> a_stage: array<vec4<f32>, 144>; // [term][row]
var<workgroup> b_stage: array<vec4<f32>, 144>; // [term][column]
var<workgroup> places: array<vec2<u32>, 16>;   // where a term's column of A and row of B are

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = group_index(group, groups);
    if tile >= params.blocks * params.row_tiles * params.col_tiles { return; }
    let slot = tile / params.col_tiles / params.row_tiles;
    let i0 = tile / params.col_tiles % params.row_tiles * TILE;
    let j0 = tile % params.col_tiles * TILE;
    let first = pairs[slot];
    let terms = (pairs[slot + 1u] - first) * params.depth;
    let a_row = select(params.depth, 1u, (params.flags & 1u) != 0u);
    let a_col = select(1u, params.height, (params.flags & 1u) != 0u);
    let b_row = select(params.width, 1u, (params.flags & 2u) != 0u);
    let b_col = select(1u, params.depth, (params.flags & 2u) != 0u);

    let x = local % 8u;
    let y = local / 8u;
    var c0 = vec4(0.0);
    var c1 = vec4(0.0);
    var c2 = vec4(0.0);
    var c3 = vec4(0.0);
    for (var k0 = 0u; k0 < terms; k0 += DEPTH) {
        workgroupBarrier();
        if local < DEPTH {
            let k = k0 + local;
            if k < terms {
                let pair = params.blocks + 1u + (first + k / params.depth) * 2u;
                let inside = k % params.depth;
                let a_start = pairs[pair] * params.height * params.depth + inside * a_col;
                places[local] = vec2(a_start, pairs[pair + 1u] * params.depth * params.width + inside * b_row);
            }
        }
        workgroupBarrier();
        // An invocation brings 8 values of each: a row or column of the tile, every other term.
        let side = local % TILE;
        for (var n = 0u; n < 8u; n++) {
            let k = n * 2u + local / TILE;
            var va = 0.0;
            var vb = 0.0;
            if (k0 + k < terms) & (i0 + side < params.height) { va = a[places[k].x + (i0 + side) * a_row]; }
            if (k0 + k < terms) & (j0 + side < params.width) { vb = b[places[k].y + (j0 + side) * b_col]; }
            a_stage[k * PITCH + side / 4u][side % 4u] = va;
            b_stage[k * PITCH + side / 4u][side % 4u] = vb;
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let av = a_stage[k * PITCH + y];
            let bv = b_stage[k * PITCH + x];
            c0 = fma(vec4(av.x), bv, c0);
            c1 = fma(vec4(av.y), bv, c1);
            c2 = fma(vec4(av.z), bv, c2);
            c3 = fma(vec4(av.w), bv, c3);
        }
    }
    put(slot, i0 + y * 4u, j0 + x * 4u, c0);
    put(slot, i0 + y * 4u + 1u, j0 + x * 4u, c1);
    put(slot, i0 + y * 4u + 2u, j0 + x * 4u, c2);
    put(slot, i0 + y * 4u + 3u, j0 + x * 4u, c3);
}

// Four entries of a block, as far as it has them; what sticks out of the matrix is 0.
fn put(slot: u32, i: u32, j: u32, sums: vec4<f32>) {
    if i >= params.height { return; }
    let inside = blocks[slot * 2u] * params.height + i < params.rows;
    let left = params.cols - blocks[slot * 2u + 1u] * params.width;
    let at = (slot * params.height + i) * params.width + j;
    if j < params.width { c[at] = select(0.0, sums.x, inside & (j < left)); }
    if j + 1u < params.width { c[at + 1u] = select(0.0, sums.y, inside & (j + 1u < left)); }
    if j + 2u < params.width { c[at + 2u] = select(0.0, sums.z, inside & (j + 2u < left)); }
    if j + 3u < params.width { c[at + 3u] = select(0.0, sums.w, inside & (j + 3u < left)); }
}
