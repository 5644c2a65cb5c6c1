// For every C[i,j] one p, drawn with probability softmax over p of A[i,p] + B[p,j]. One invocation
// per slot of C.

@group(0) @binding(3) var<storage, read_write> c: array<u32>;

// A counter-based generator (Jarzynski and Olano's pcg3d): the same counter, the same number.
fn random(counter: vec3<u32>) -> u32 {
    var v = counter * 1664525u + 1013904223u;
    v.x += v.y * v.z; v.y += v.z * v.x; v.z += v.x * v.y;
    v ^= v >> vec3(16u);
    v.x += v.y * v.z; v.y += v.z * v.x; v.z += v.x * v.y;
    return v.x;
}

fn draw(a0: i32, b0: i32, i: i32, j: i32, u: f32) -> u32 {
    var largest = minus_infinity();
    var top = 0xffffffffu;
    let begin = first_p(i, j);
    let end = end_p(i, j);
    for (var p = begin; p < end; p++) {
        let value = a[a0 + a_index(i, p)] + b[b0 + b_index(p, j)];
        if is_nan(value) { return u32(p); }
        let take = value > largest;
        largest = select(largest, value, take);
        top = select(top, u32(p), take);
    }
    // -∞ alone or nothing: no p. +∞: all the mass is at the first.
    if (top == 0xffffffffu) | !is_finite(largest) { return top; }
    var sum = 0.0;
    for (var p = begin; p < end; p++) {
        sum += exp_of(a[a0 + a_index(i, p)] + b[b0 + b_index(p, j)] - largest);
    }
    let goal = u * sum;
    var upto = 0.0;
    for (var p = begin; p < end; p++) {
        let mass = exp_of(a[a0 + a_index(i, p)] + b[b0 + b_index(p, j)] - largest);
        upto += mass;
        if upto > goal { return u32(p); }
        top = select(top, u32(p), mass > 0.0);
    }
    return top;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let number = group_index(group, groups) * 64u + local;
    let batch = i32(number / u32(c_len()));
    if batch >= i32(params.batch) { return; }
    let slot = i32(number);
    let at = slot_entry(slot % c_len(), params.c_stride, params.c_lower, params.c_upper, params.flags >> 4u);
    var index = 0xffffffffu;
    if inside(at, params.rows, params.cols) {
        // An odd multiple of 2^-24: neither 0 nor 1, and exact in f32.
        let bits = random(vec3(u32(at.x), u32(at.y), params.tiles + u32(batch) * 0x9e3779b9u));
        let u = (f32(bits >> 9u) + 0.5) * 1.1920929e-7;
        index = draw(batch * a_len(), batch * b_len(), at.x, at.y, u);
    }
    c[slot] = index;
}
