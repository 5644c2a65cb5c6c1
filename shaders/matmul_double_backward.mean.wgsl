// S[i,j] = Σ_p P · (VA[i,p] + VB[p,j]), with P = exp(A[i,p] + B[p,j] - C[i,j]). One invocation per
// slot of C.

@group(0) @binding(3) var<storage, read> va: array<f32>; // like A
@group(0) @binding(4) var<storage, read> vb: array<f32>; // like B
@group(0) @binding(5) var<storage, read> c: array<f32>;
@group(0) @binding(6) var<storage, read_write> s: array<f32>; // like C, in its layout

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let number = group_index(group, groups) * 256u + local;
    let batch = i32(number / u32(c_len()));
    if batch >= i32(params.batch) { return; }
    let slot = i32(number);
    let at = c_entry(slot);
    var sum = 0.0;
    if inside(at, params.rows, params.cols) {
        let i = at.x;
        let j = at.y;
        let a0 = batch * a_len();
        let b0 = batch * b_len();
        let z = c[batch * c_len() + c_index(i, j)];
        for (var p = first_p(i, j); p < end_p(i, j); p++) {
            let weight = share(a[a0 + a_index(i, p)], b[b0 + b_index(p, j)], z);
            sum += weight * (va[like_a(batch, i, p, 8u)] + vb[like_b(batch, p, j, 10u)]);
        }
    }
    s[slot] = sum;
}
