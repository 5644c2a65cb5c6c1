// (logsumexp, +), last step: ga[i,p] = exp(A[i,p] - scale[i]) · S[i,p], where S = W · exp(B - scale)ᵀ.
// Where that is not finite, W said that scaling loses terms, or they overflowed: then the sum itself,
// term by term. One invocation per slot of A.

@group(0) @binding(3) var<storage, read> c: array<f32>;
@group(0) @binding(4) var<storage, read> g: array<f32>;     // like C
@group(0) @binding(5) var<storage, read> scale: array<f32>; // of A's rows
@group(0) @binding(6) var<storage, read> s: array<f32>;     // like A
@group(0) @binding(7) var<storage, read_write> ga: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let number = group_index(group, groups) * 256u + local;
    let batch = i32(number / u32(a_len()));
    if batch >= i32(params.batch) { return; }
    let slot = i32(number);
    let at = a_entry(slot);
    if !inside(at, params.rows, params.inner) {
        ga[slot] = 0.0;
        return;
    }
    let i = at.x;
    let p = at.y;
    let x = a[slot];
    let sum = s[slot];
    let factor = exp_of(x - scale[batch * params.rows + i]);
    var value = factor * sum;
    if !(is_finite(sum) & is_finite(factor) & is_finite(value)) {
        value = 0.0;
        let b0 = batch * b_len();
        let c0 = batch * c_len();
        for (var j = first_j(i, p); j < end_j(i, p); j++) {
            value += g[like_c(batch, i, j, 6u)] * share(x, b[b0 + b_index(p, j)], c[c0 + c_index(i, j)]);
        }
    }
    ga[slot] = value;
}
