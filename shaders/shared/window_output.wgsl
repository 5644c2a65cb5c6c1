// The forward pass: a line is a query, its partners are keys.

const LINES_ARE_QUERIES = true;

// log2 Σ 2^score of the line that `weight` is asked about.
var<private> top: f32;

fn left(which: u32, m: Matrices, line: i32, p: i32) -> f32 {
    var x = 0.0;
    if (line >= 0) & (p < params.depth) { x = load_q((m.head * params.rows + line) * params.depth + p); }
    return x;
}

fn right(which: u32, m: Matrices, partner: i32, p: i32) -> f32 {
    var x = 0.0;
    if (partner >= 0) & (p < params.depth) { x = load_k((m.kv * params.keys + partner) * params.depth + p); }
    return x;
}

fn value(m: Matrices, partner: i32, c: i32) -> f32 {
    var x = 0.0;
    if (partner >= 0) & (c < params.value_depth) { x = load_v((m.kv * params.keys + partner) * params.value_depth + c); }
    return x;
}

fn weight(m: Matrices, line: i32, partner: i32) -> f32 {
    return power(score(m, line, partner) - top);
}
