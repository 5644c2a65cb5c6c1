// Rows of a band for the softmax and its gradient. 128 invocations share a few rows: in rows layout
// 32 take one row, so that neighbours read along it; in columns layout neighbours take neighbouring
// rows, 4 each.

struct Params {
    batch: u32,
    rows: i32,
    cols: i32,
    flags: u32,   // two bits each for the matrix and the gradient: columns layout, dense
    stride: i32,
    lower: i32,
    upper: i32,
    scale: f32,
    lines: u32,   // rows to visit, those included that only have slots outside the matrix
}

@group(0) @binding(0) var<uniform> params: Params;

// One row and this invocation's share of it.
struct Row {
    batch: i32,
    i: i32,
    j: i32,       // its first slot, and the end of the row's
    end: i32,
    step: i32,
    lane: u32,
    at: u32,      // of its partial result
}

// Invocations that share a row. Not in `Row`, where it would no longer be known to be the same for all.
fn lanes_of_row() -> u32 { return select(32u, 4u, (params.flags & 1u) != 0u); }

fn row_of(group: u32, local: u32) -> Row {
    let columns = (params.flags & 1u) != 0u;
    var row: Row;
    let lanes = lanes_of_row();
    let rows = 128u / lanes;
    let nth = select(local / lanes, local % rows, columns);
    row.lane = select(local % lanes, local / rows, columns);
    row.at = nth * lanes + row.lane;
    row.step = i32(lanes);
    let line = group * rows + nth;
    row.batch = i32(line / params.lines);
    // Columns hold slots above and below the matrix, rows before and after it.
    row.i = i32(line % params.lines) - select(0, params.upper, columns);
    let first = row.i - params.lower;
    let end = row.i + params.upper + 1;
    row.j = select(first, max(first, 0), columns) + i32(row.lane);
    row.end = select(end, min(end, params.cols), columns);
    if row.batch >= i32(params.batch) { row.end = row.j; }
    return row;
}

fn is_inside(row: Row, j: i32) -> bool {
    return (row.i >= 0) & (row.i < params.rows) & (j >= 0) & (j < params.cols);
}

// Where entry (i, j) is in a matrix whose layout these flags tell.
fn entry(row: Row, j: i32, flags: u32) -> i32 {
    let start = row.batch * band_len(params.rows, params.cols, params.stride, flags);
    return start + band_index(row.i, j, params.stride, params.lower, params.upper, flags);
}
