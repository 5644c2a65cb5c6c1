// exp(A[i,p] - scale[i]), one invocation per slot of A; `b` is the scale.

@group(0) @binding(3) var<storage, read_write> e: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let number = group_index(group, groups) * 256u + local;
    let batch = i32(number / u32(a_len()));
    if batch >= i32(params.batch) { return; }
    let slot = i32(number);
    let at = a_entry(slot);
    let ok = inside(at, params.rows, params.inner);
    let line = batch * params.rows + clamp(at.x, 0, params.rows - 1);
    e[slot] = select(0.0, exp_of(a[slot] - b[line]), ok);
}
