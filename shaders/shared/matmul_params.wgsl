// What every product kernel gets: three operands, each a band. A dense matrix is a band that covers
// everything. The result is always in rows layout; the host transposes the problem otherwise.

struct Params {
    batch: u32,
    rows: i32,   // of C and A
    cols: i32,   // of C and B
    inner: i32,  // columns of A, rows of B
    flags: u32,  // two bits each for A, B, C: columns layout, dense
    a_stride: i32,
    a_lower: i32,
    a_upper: i32,
    b_stride: i32,
    b_lower: i32,
    b_upper: i32,
    c_stride: i32,
    c_lower: i32,
    c_upper: i32,
    fill: f32,   // of C: the semiring's zero
    tiles: u32,  // workgroups for one matrix, or the seed where one invocation does one entry
}

@group(0) @binding(0) var<uniform> params: Params;

// Values in one matrix of each operand.
fn a_len() -> i32 { return band_len(params.rows, params.inner, params.a_stride, params.flags); }
fn b_len() -> i32 { return band_len(params.inner, params.cols, params.b_stride, params.flags >> 2u); }
fn c_len() -> i32 { return band_len(params.rows, params.cols, params.c_stride, params.flags >> 4u); }

fn a_index(i: i32, p: i32) -> i32 { return band_index(i, p, params.a_stride, params.a_lower, params.a_upper, params.flags); }
fn b_index(p: i32, j: i32) -> i32 { return band_index(p, j, params.b_stride, params.b_lower, params.b_upper, params.flags >> 2u); }
fn c_index(i: i32, j: i32) -> i32 { return band_index(i, j, params.c_stride, params.c_lower, params.c_upper, params.flags >> 4u); }

// The p whose terms make up C[i,j].
fn first_p(i: i32, j: i32) -> i32 { return max(0, max(i - params.a_lower, j - params.b_upper)); }
fn end_p(i: i32, j: i32) -> i32 { return min(params.inner, min(i + params.a_upper, j + params.b_lower) + 1); }
