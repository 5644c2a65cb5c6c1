// The one index formula. Rows layout: data[b][i][k] = A[b][i, i + k - lower]; columns layout:
// data[b][j][k] = A[b][j + k - upper, j]. Both are affine in i and j, with stride width - 1; a dense
// matrix has its row (or column) length as stride and no origin.

fn band_index(i: i32, j: i32, stride: i32, lower: i32, upper: i32, flags: u32) -> i32 {
    let columns = (flags & 1u) != 0u;
    let origin = select(select(lower, upper, columns), 0, (flags & 2u) != 0u);
    return select(i, j, columns) * stride + select(j, i, columns) + origin;
}

// Values in one matrix.
fn band_len(rows: i32, cols: i32, stride: i32, flags: u32) -> i32 {
    let lines = select(rows, cols, (flags & 1u) != 0u);
    return lines * select(stride + 1, stride, (flags & 2u) != 0u);
}

// Conditions are joined with & and |: && and || are branches, and a branch before a load keeps it
// from being issued together with its neighbours.
fn in_band(i: i32, j: i32, lower: i32, upper: i32) -> bool {
    return (j - i >= -lower) & (j - i <= upper);
}

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// WGSL has no literal for infinity or NaN.
fn from_bits(bits: u32) -> f32 {
    return bitcast<f32>(bits);
}

fn minus_infinity() -> f32 { return from_bits(0xff800000u); }

// Workgroups are counted along one line; the host folds the line into the grid.
fn group_index(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}
