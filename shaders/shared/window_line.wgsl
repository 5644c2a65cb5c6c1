// One line of windowed attention that meets every partner: that of a global position. 128
// invocations share the partners, then the columns of the result.

const LANES = 128;

var<workgroup> weights: array<f32, 128>;

// The line of a workgroup, for a result of `width` columns; -1 if none stands at the position. Apart from
// the column, so that it is known to be the same for all invocations.
fn global_line(in_matrix: u32, width: i32) -> i32 {
    let position = i32(positions[in_matrix / u32(div_up(width, LANES))]);
    let i = position - params.offset;
    return select(select(-1, i, (i >= 0) & (i < params.rows)), position, !LINES_ARE_QUERIES);
}

// An invocation's column.
fn column_of(in_matrix: u32, width: i32, local: u32) -> i32 {
    return i32(in_matrix % u32(div_up(width, LANES))) * LANES + i32(local);
}

// `before` and the sum of weights times values, column c.
fn line_sum(before: f32, m: Matrices, line: i32, c: i32, local: u32) -> f32 {
    var partners = select(params.rows, m.end, LINES_ARE_QUERIES);
    var sum = before;
    for (var n = 0; n < partners; n += LANES) {
        var w = 0.0;
        if n + i32(local) < partners { w = weight(m, line, n + i32(local)); }
        workgroupBarrier();
        weights[local] = w;
        workgroupBarrier();
        let count = min(LANES, partners - n);
        for (var t = 0; t < count; t++) { sum = fma(weights[t], value(m, n + t, c), sum); }
    }
    return sum;
}
