// y = A·x, one vector per matrix. 128 invocations share a few rows: in rows layout 32 take one row,
// so that neighbours read along it; in columns layout neighbours take neighbouring rows, 4 each.

struct Params {
    batch: u32,
    rows: i32,
    cols: i32,
    flags: u32,
    stride: i32,
    lower: i32,
    upper: i32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

var<workgroup> partial: array<f32, 128>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let columns = (params.flags & 1u) != 0u;
    let lanes = select(32u, 4u, columns);
    let shared_rows = 128u / lanes;
    let row = select(local / lanes, local % shared_rows, columns);
    let lane = select(local % lanes, local / shared_rows, columns);
    let line = group_index(group, groups) * shared_rows + row;
    let lines = params.batch * u32(params.rows);

    // Every lane's share of the row's terms.
    var sum = 0.0;
    if line < lines {
        let i = i32(line) % params.rows;
        let batch = i32(line) / params.rows;
        let start = batch * band_len(params.rows, params.cols, params.stride, params.flags);
        let end = min(params.cols, i + params.upper + 1);
        for (var j = max(0, i - params.lower) + i32(lane); j < end; j += i32(lanes)) {
            let entry = a[start + band_index(i, j, params.stride, params.lower, params.upper, params.flags)];
            sum = fma(entry, x[batch * params.cols + j], sum);
        }
    }

    // Their sum, in the same order every time.
    let at = row * lanes + lane;
    partial[at] = sum;
    workgroupBarrier();
    for (var half = lanes / 2u; half > 0u; half /= 2u) {
        if lane < half { partial[at] += partial[at + half]; }
        workgroupBarrier();
    }
    if lane == 0u && line < lines { y[line] = partial[at]; }
}
