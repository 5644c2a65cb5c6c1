// One line of windowed attention that meets every partner: that of a global position. 128
// invocations share the partners, then the columns of the result.

const LANES = 128;

var<workgroup> weights: array<f32, 128>;

struct Line {
    line: i32,      // -1 if no line stands at the position
    c: i32,         // this invocation's column
}

// The line of a workgroup, for a result of `width` columns.
fn global_line(in_matrix: u32, width: i32, local: u32) -> Line {
    let chunks = u32(div_up(width, LANES));
    let position = i32(positions[in_matrix / chunks]);
    let i = position - params.offset;
    var at: Line;
    at.line = select(select(-1, i, (i >= 0) & (i < params.rows)), position, !LINES_ARE_QUERIES);
    at.c = i32(in_matrix % chunks) * LANES + i32(local);
    return at;
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
