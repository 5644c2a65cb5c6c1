// Σ grad · out of every row. 16 invocations share a row.

struct Params { rows: u32, depth: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> out: array<Stored>;
@group(0) @binding(2) var<storage, read> grad: array<Stored>;
@group(0) @binding(3) var<storage, read_write> delta: array<f32>;

var<workgroup> partial: array<f32, 128>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = group_index(group, groups) * 8u + local / 16u;
    let lane = local % 16u;
    var sum = 0.0;
    if row < params.rows {
        for (var c = lane; c < params.depth; c += 16u) {
            let at = i32(row * params.depth + c);
            sum = fma(value_of(out[word_of(at)], at), value_of(grad[word_of(at)], at), sum);
        }
    }
    partial[local] = sum;
    workgroupBarrier();
    for (var half = 8u; half > 0u; half /= 2u) {
        if lane < half { partial[local] += partial[local + half]; }
        workgroupBarrier();
    }
    if (lane == 0u) & (row < params.rows) { delta[row] = partial[local]; }
}
