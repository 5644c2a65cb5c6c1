// The gradient of windowed attention: what every one of its kernels reads beside Q, K and V, and
// the derivative of the loss with respect to one score.

@group(0) @binding(5) var<storage, read> grad: array<Stored>; // of the result
@group(0) @binding(6) var<storage, read> lse: array<f32>;
@group(0) @binding(7) var<storage, read> delta: array<f32>;  // Σ grad · out of each row
@group(0) @binding(8) var<storage, read_write> result: array<f32>;

fn load_grad(at: i32) -> f32 { return value_of(grad[word_of(at)], at); }

// Of a row's logsumexp in powers of two; a row that attends to nothing has no weight anywhere.
fn row_top(m: Matrices, i: i32) -> f32 {
    let x = lse[m.head * params.rows + max(i, 0)];
    return select(x * LOG2_E, -minus_infinity(), x == minus_infinity());
}

fn row_delta(m: Matrices, i: i32) -> f32 { return delta[m.head * params.rows + max(i, 0)]; }

fn q_at(m: Matrices, i: i32, p: i32) -> f32 {
    var x = 0.0;
    if (i >= 0) & (p < params.depth) { x = load_q((m.head * params.rows + i) * params.depth + p); }
    return x;
}

fn k_at(m: Matrices, j: i32, p: i32) -> f32 {
    var x = 0.0;
    if (j >= 0) & (p < params.depth) { x = load_k((m.kv * params.keys + j) * params.depth + p); }
    return x;
}

fn v_at(m: Matrices, j: i32, p: i32) -> f32 {
    var x = 0.0;
    if (j >= 0) & (p < params.value_depth) { x = load_v((m.kv * params.keys + j) * params.value_depth + p); }
    return x;
}

fn grad_at(m: Matrices, i: i32, p: i32) -> f32 {
    var x = 0.0;
    if (i >= 0) & (p < params.value_depth) { x = load_grad((m.head * params.rows + i) * params.value_depth + p); }
    return x;
}

// Of scores that are not yet scaled, relative to their rows' logsumexp.
fn four_powers(s: vec4<f32>, tops: vec4<f32>) -> vec4<f32> {
    let x = s * (params.scale * LOG2_E) - tops;
    let nan = (bitcast<vec4<u32>>(x) & vec4(0x7fffffffu)) > vec4(0x7f800000u);
    return select(exp2(x), x, nan);
}

// The probability that query i gives key j.
fn probability(m: Matrices, i: i32, j: i32) -> f32 { return power(score(m, i, j) - row_top(m, i)); }

// The derivative with respect to query i's score of key j before scaling.
fn slope(m: Matrices, i: i32, j: i32) -> f32 {
    var sum = 0.0;
    for (var c = 0; c < params.value_depth; c++) { sum = fma(grad_at(m, i, c), v_at(m, j, c), sum); }
    return probability(m, i, j) * (sum - row_delta(m, i)) * params.scale;
}
