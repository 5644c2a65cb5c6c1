// Every entry of a block-sparse matrix, row-major. The index lists the blocks by rows: where each block
// row starts, then block column and slot of each block, columns rising.

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
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(3) var<storage, read_write> dense: array<f32>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let n = group_index(group, groups) * 128u + local;
    if n >= params.rows * params.cols { return; }
    let i = n / params.cols;
    let j = n % params.cols;

    // The first entry of the block row whose column is not below j's.
    let row = i / params.height;
    let column = j / params.width;
    var low = index[row];
    var high = index[row + 1u];
    let end = high;
    while low < high {
        let middle = (low + high) / 2u;
        if index[params.lines + 1u + middle * 2u] < column { low = middle + 1u; } else { high = middle; }
    }
    var value = 0.0;
    if low < end {
        let entry = params.lines + 1u + low * 2u;
        if index[entry] == column {
            let inside = select(i % params.height * params.width + j % params.width, j % params.width * params.height + i % params.height, (params.flags & 2u) != 0u);
            value = values[index[entry + 1u] * params.height * params.width + inside];
        }
    }
    dense[n] = value;
}
