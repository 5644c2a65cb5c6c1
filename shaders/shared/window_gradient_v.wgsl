// The gradient of V: a line is a key, its partners are queries, their weights the probabilities.

const LINES_ARE_QUERIES = false;
const SLOPES = false;

fn result_width() -> i32 { return params.value_depth; }

fn left(which: u32, m: Matrices, line: i32, p: i32) -> f32 { return k_at(m, line, p); }

fn right(which: u32, m: Matrices, partner: i32, p: i32) -> f32 { return q_at(m, partner, p); }

fn value(m: Matrices, partner: i32, c: i32) -> f32 { return grad_at(m, partner, c); }

fn weight(m: Matrices, line: i32, partner: i32) -> f32 { return probability(m, partner, line); }

fn four_weights(m: Matrices, line: i32, partners: vec4<i32>, s: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    let n = partners;
    return four_powers(s, vec4(row_top(m, n.x), row_top(m, n.y), row_top(m, n.z), row_top(m, n.w)));
}
