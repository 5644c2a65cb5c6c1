// What the sampled products get: C[i,j] = Σ over tokens of A[t,i] · B[t,j] at stored blocks. The index
// lists C's blocks by rows: where each block row starts, then block column and slot of each block. A
// block row's columns are laid end to end: place n is in its block n / width.

struct Params {
    tokens: u32,
    rows: u32,         // features of A
    cols: u32,         // features of B
    a_stride: u32,     // from token to token, or from feature to feature
    b_stride: u32,
    height: u32,       // rows of a block
    width: u32,        // columns of a block
    grid_rows: u32,    // block rows
    row_tiles: u32,    // workgroups along the rows of a block
    column_tiles: u32, // and along the columns of the longest block row
    parts: u32,        // the tokens are cut into this many, each with a copy of the result
    part_tokens: u32,
    length: u32,       // values of the result
    flags: u32,        // FLAGS, for the definition on the CPU
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> index: array<u32>;

override FLAGS: u32 = 0u;
override A_ALONG: bool = (FLAGS & 1u) != 0u;  // A is contiguous along the features
override B_ALONG: bool = (FLAGS & 2u) != 0u;
override ADD: bool = (FLAGS & 4u) != 0u;      // to what C holds already

// Place n of a block row: the feature of B, −1 beyond the matrix, and where in C its column begins, −1
// beyond the row.
fn place(n: u32, first: u32, places: u32) -> vec2<i32> {
    var at = vec2(-1, -1);
    if n < places {
        let entry = params.grid_rows + 1u + (first + n / params.width) * 2u;
        let feature = index[entry] * params.width + n % params.width;
        at.y = i32(index[entry + 1u] * params.height * params.width + n % params.width);
        if feature < params.cols { at.x = i32(feature); }
    }
    return at;
}

fn a_index(t: u32, feature: u32) -> i32 {
    return i32(select(feature * params.a_stride + t, t * params.a_stride + feature, A_ALONG));
}

fn b_index(t: u32, feature: i32) -> i32 {
    return select(feature * i32(params.b_stride) + i32(t), i32(t * params.b_stride) + feature, B_ALONG);
}
