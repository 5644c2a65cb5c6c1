// (logsumexp, +), first step: W[i,j] = G[i,j] · exp(row scale + column scale - C[i,j]). NaN marks
// what cannot be had from scaled factors: a sum below 2^-60 of its scales, or not finite. One
// invocation per slot of C; `a` is the scale of A's rows, `b` that of B's columns.

@group(0) @binding(3) var<storage, read> c: array<f32>;
@group(0) @binding(4) var<storage, read> g: array<f32>; // like C
@group(0) @binding(5) var<storage, read_write> w: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let number = group_index(group, groups) * 256u + local;
    let batch = i32(number / u32(c_len()));
    if batch >= i32(params.batch) { return; }
    let slot = i32(number);
    let at = c_entry(slot);
    var value = 0.0;
    if inside(at, params.rows, params.cols) {
        let z = c[slot];
        let slope = g[like_c(batch, at.x, at.y, 6u)];
        let below = a[batch * params.rows + at.x] + b[batch * params.cols + at.y] - z;
        value = select(from_bits(0x7fc00000u), slope * exp(below), (abs(below) <= 41.0) & is_finite(slope));
        // A sum of -∞ alone has no gradient.
        value = select(value, 0.0, is_minus_infinity(z));
    }
    w[slot] = value;
}
