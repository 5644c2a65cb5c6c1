// What the gradients' kernels share.

// The j whose C[i,j] the entry A[i,p] takes part in.
fn first_j(i: i32, p: i32) -> i32 { return max(0, max(i - params.c_lower, p - params.b_lower)); }
fn end_j(i: i32, p: i32) -> i32 { return min(params.cols, min(i + params.c_upper, p + params.b_upper) + 1); }

// Where entry (i, j) of matrix `batch` is in an operand that is like A, B or C but of its own layout:
// two more bits of the flags.
fn like(batch: i32, i: i32, j: i32, rows: i32, cols: i32, stride: i32, lower: i32, upper: i32, flags: u32) -> i32 {
    let whole = select(cols, rows, (flags & 1u) != 0u);
    let own = select(stride, whole, (flags & 2u) != 0u);
    return batch * band_len(rows, cols, own, flags) + band_index(i, j, own, lower, upper, flags);
}

fn like_a(batch: i32, i: i32, p: i32, bits: u32) -> i32 {
    return like(batch, i, p, params.rows, params.inner, params.a_stride, params.a_lower, params.a_upper, params.flags >> bits);
}

fn like_b(batch: i32, p: i32, j: i32, bits: u32) -> i32 {
    return like(batch, p, j, params.inner, params.cols, params.b_stride, params.b_lower, params.b_upper, params.flags >> bits);
}

fn like_c(batch: i32, i: i32, j: i32, bits: u32) -> i32 {
    return like(batch, i, j, params.rows, params.cols, params.c_stride, params.c_lower, params.c_upper, params.flags >> bits);
}

// Which entry a slot of one matrix holds; it may lie outside the matrix.
fn slot_entry(slot: i32, stride: i32, lower: i32, upper: i32, flags: u32) -> vec2<i32> {
    let columns = (flags & 1u) != 0u;
    let dense = (flags & 2u) != 0u;
    let width = select(stride + 1, stride, dense);
    let outer = slot / width;
    let inner = slot % width + select(outer - select(lower, upper, columns), 0, dense);
    return select(vec2(outer, inner), vec2(inner, outer), columns);
}

fn a_entry(slot: i32) -> vec2<i32> {
    return slot_entry(slot % a_len(), params.a_stride, params.a_lower, params.a_upper, params.flags);
}

fn c_entry(slot: i32) -> vec2<i32> {
    return slot_entry(slot % c_len(), params.c_stride, params.c_lower, params.c_upper, params.flags >> 4u);
}

fn inside(at: vec2<i32>, rows: i32, cols: i32) -> bool {
    return (at.x >= 0) & (at.x < rows) & (at.y >= 0) & (at.y < cols);
}

// By bits, since compilers may take it that nothing is infinite.
fn is_finite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }
fn is_minus_infinity(x: f32) -> bool { return bitcast<u32>(x) == 0xff800000u; }

// exp with its limits spelt out: drivers differ in what they make of infinity and NaN.
fn exp_of(x: f32) -> f32 {
    let value = select(exp(x), 0.0, x < -104.0);
    return select(select(value, from_bits(0x7f800000u), x > 89.0), x, is_nan(x));
}

// The share that the term x + y has in a logsumexp of z.
fn share(x: f32, y: f32, z: f32) -> f32 {
    return select(exp_of(x + y - z), 0.0, is_minus_infinity(z));
}
