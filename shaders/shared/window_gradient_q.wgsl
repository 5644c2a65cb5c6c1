// The gradient of Q: a line is a query, its partners are keys, their weights the slopes.

const LINES_ARE_QUERIES = true;
const SLOPES = true;

fn result_width() -> i32 { return params.depth; }

fn left(which: u32, m: Matrices, line: i32, p: i32) -> f32 {
    if which == 0u { return q_at(m, line, p); }
    return grad_at(m, line, p);
}

fn right(which: u32, m: Matrices, partner: i32, p: i32) -> f32 {
    if which == 0u { return k_at(m, partner, p); }
    return v_at(m, partner, p);
}

fn value(m: Matrices, partner: i32, c: i32) -> f32 { return k_at(m, partner, c); }

fn weight(m: Matrices, line: i32, partner: i32) -> f32 { return slope(m, line, partner); }

// Of line and four partners, from the products of q and k, and of the gradient and v.
fn four_weights(m: Matrices, line: i32, partners: vec4<i32>, s: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    return four_powers(s, vec4(row_top(m, line))) * (g - row_delta(m, line)) * params.scale;
}
