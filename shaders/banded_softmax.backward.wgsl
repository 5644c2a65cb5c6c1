// scale · P ∘ (G − Σ P·G), row by row.

@group(0) @binding(1) var<storage, read> p: array<f32>;
@group(0) @binding(2) var<storage, read> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> ga: array<f32>;

var<workgroup> sums: array<f32, 128>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = row_of(group_index(group, groups), local);
    var sum = 0.0;
    for (var j = row.j; j < row.end; j += row.step) {
        if is_inside(row, j) { sum = fma(p[entry(row, j, params.flags)], g[entry(row, j, params.flags >> 2u)], sum); }
    }
    sums[row.at] = sum;
    workgroupBarrier();
    for (var half = lanes_of_row() / 2u; half > 0u; half /= 2u) {
        if row.lane < half { sums[row.at] += sums[row.at + half]; }
        workgroupBarrier();
    }
    let mean = sums[row.at - row.lane];
    for (var j = row.j; j < row.end; j += row.step) {
        var value = 0.0;
        if is_inside(row, j) {
            value = params.scale * p[entry(row, j, params.flags)] * (g[entry(row, j, params.flags >> 2u)] - mean);
        }
        ga[entry(row, j, params.flags)] = value;
    }
}
