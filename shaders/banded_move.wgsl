// C[i,j] = A[i + di, j + dj], or the fill where A does not store it. One invocation per slot of C,
// in storage order. Values move as words, so that no driver changes a NaN or a subnormal.

struct Params {
    batch: u32,
    rows: i32,   // of C
    cols: i32,
    flags: u32,  // two bits each for A, C: columns layout, dense
    a_rows: i32,
    a_cols: i32,
    a_stride: i32,
    a_lower: i32,
    a_upper: i32,
    c_stride: i32,
    c_lower: i32,
    c_upper: i32,
    di: i32,
    dj: i32,
    fill: u32,   // its bits
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read_write> c: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    // Which slot, and which entry it holds.
    let slot = group_index(group, groups) * 256u + local;
    let columns = (params.flags & 4u) != 0u;
    let dense = (params.flags & 8u) != 0u;
    let width = u32(select(params.c_stride + 1, params.c_stride, dense));
    let lines = u32(select(params.rows, params.cols, columns));
    let line = slot / width;
    let batch = i32(line / lines);
    if batch >= i32(params.batch) { return; }
    let outer = i32(line % lines);
    let first = select(outer - select(params.c_lower, params.c_upper, columns), 0, dense);
    let inner = first + i32(slot % width);
    let i = select(outer, inner, columns);
    let j = select(inner, outer, columns);

    var word = params.fill;
    if i >= 0 && i < params.rows && j >= 0 && j < params.cols {
        let p = i + params.di;
        let q = j + params.dj;
        let inside = p >= 0 && p < params.a_rows && q >= 0 && q < params.a_cols;
        if inside && in_band(p, q, params.a_lower, params.a_upper) {
            let start = batch * band_len(params.a_rows, params.a_cols, params.a_stride, params.flags);
            word = a[start + band_index(p, q, params.a_stride, params.a_lower, params.a_upper, params.flags)];
        }
    }
    c[slot] = word;
}
