// ha[i,p] = Σ_j G[i,j] · P · (VA[i,p] + VB[p,j] - S[i,j]), with P = exp(A[i,p] + B[p,j] - C[i,j]).
// One invocation per slot of A.

@group(0) @binding(3) var<storage, read> va: array<f32>; // like A
@group(0) @binding(4) var<storage, read> vb: array<f32>; // like B
@group(0) @binding(5) var<storage, read> c: array<f32>;
@group(0) @binding(6) var<storage, read> g: array<f32>;  // like C
@group(0) @binding(7) var<storage, read> s: array<f32>;  // like C, in its layout
@group(0) @binding(8) var<storage, read_write> ha: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let number = group_index(group, groups) * 256u + local;
    let batch = i32(number / u32(a_len()));
    if batch >= i32(params.batch) { return; }
    let slot = i32(number);
    let at = a_entry(slot);
    var sum = 0.0;
    if inside(at, params.rows, params.inner) {
        let i = at.x;
        let p = at.y;
        let b0 = batch * b_len();
        let c0 = batch * c_len();
        let x = a[slot];
        let v = va[like_a(batch, i, p, 8u)];
        for (var j = first_j(i, p); j < end_j(i, p); j++) {
            let weight = share(x, b[b0 + b_index(p, j)], c[c0 + c_index(i, j)]);
            let apart = v + vb[like_b(batch, p, j, 10u)] - s[c0 + c_index(i, j)];
            sum += g[like_c(batch, i, j, 6u)] * weight * apart;
        }
    }
    ha[slot] = sum;
}
