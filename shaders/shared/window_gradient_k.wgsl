// The gradient of K: a line is a key, its partners are queries, their weights the slopes.

const LINES_ARE_QUERIES = false;
const SLOPES = true;

fn result_width() -> i32 { return params.depth; }

fn left(which: u32, m: Matrices, line: i32, p: i32) -> f32 {
    if which == 0u { return k_at(m, line, p); }
    return v_at(m, line, p);
}

fn right(which: u32, m: Matrices, partner: i32, p: i32) -> f32 {
    if which == 0u { return q_at(m, partner, p); }
    return grad_at(m, partner, p);
}

fn value(m: Matrices, partner: i32, c: i32) -> f32 { return q_at(m, partner, c); }

fn weight(m: Matrices, line: i32, partner: i32) -> f32 { return slope(m, partner, line); }

fn four_weights(m: Matrices, line: i32, partners: vec4<i32>, s: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    let n = partners;
    let tops = vec4(row_top(m, n.x), row_top(m, n.y), row_top(m, n.z), row_top(m, n.w));
    let deltas = vec4(row_delta(m, n.x), row_delta(m, n.y), row_delta(m, n.z), row_delta(m, n.w));
    return four_powers(s, tops) * (g - deltas) * params.scale;
}
