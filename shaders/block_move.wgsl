// The values of given blocks, from a dense matrix; what sticks out of the matrix is 0.

struct Params {
    rows: u32,
    cols: u32,
    height: u32, // of a block
    width: u32,
    stride: u32, // of the dense matrix
    lines: u32,  // values of the result, or the block rows of the index
    flags: u32,  // bit 0: the dense matrix is column-major; bit 1: blocks are contiguous along columns
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dense: array<f32>;
@group(0) @binding(2) var<storage, read> blocks: array<u32>; // block row and column of each slot
@group(0) @binding(3) var<storage, read_write> values: array<f32>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let n = group_index(group, groups) * 128u + local;
    if n >= params.lines { return; }
    let slot = n / (params.height * params.width);
    let i = blocks[slot * 2u] * params.height + n / params.width % params.height;
    let j = blocks[slot * 2u + 1u] * params.width + n % params.width;
    let columns = (params.flags & 1u) != 0u;
    var value = 0.0;
    if (i < params.rows) & (j < params.cols) { value = dense[select(i, j, columns) * params.stride + select(j, i, columns)]; }
    values[n] = value;
}
