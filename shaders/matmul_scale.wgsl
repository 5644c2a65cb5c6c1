// The largest entry of each row, or 0 where that is not finite: what (logsumexp, +) scales by.
// LANES invocations share a row, 128 / LANES rows to a workgroup.

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
@group(0) @binding(1) var<storage, read> a: array<Stored>;
@group(0) @binding(2) var<storage, read_write> scale: array<f32>;

override LANES: u32 = 32u; // 4 to 32, a power of two

var<workgroup> partial: array<f32, 128>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    // In columns layout neighbours take neighbouring lines, so that what is contiguous is read
    // together.
    let columns = (params.flags & 1u) != 0u;
    let shared_lines = 128u / LANES;
    let in_group = select(local / LANES, local % shared_lines, columns);
    let lane = i32(select(local % LANES, local / shared_lines, columns));
    let line = i32(group_index(group, groups) * shared_lines + in_group);
    let lines = i32(params.batch) * params.rows;
    var best = minus_infinity();
    if line < lines {
        let i = line % params.rows;
        let start = line / params.rows * band_len(params.rows, params.cols, params.stride, params.flags);
        let end = min(params.cols, i + params.upper + 1);
        for (var j = max(0, i - params.lower) + lane; j < end; j += i32(LANES)) {
            let entry = start + band_index(i, j, params.stride, params.lower, params.upper, params.flags);
            let value = value_of(a[word_of(entry)], entry);
            best = select(best, value, value > best);
        }
    }
    let at = in_group * LANES + u32(lane);
    partial[at] = best;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if u32(lane) < half { partial[at] = max(partial[at], partial[at + half]); }
        workgroupBarrier();
    }
    if (lane == 0) & (line < lines) {
        scale[line] = select(0.0, partial[at], abs(partial[at]) <= 3.4028234e38);
    }
}
