// What the gradients of windowed attention on matrix units share. The slopes of scores,
// S = P ∘ (dO·Vᵀ - delta), are rounded to f16 once. They are taken relative to the largest gradient of
// all, by a power of two, so that small gradients keep their digits.

@group(0) @binding(5) var<storage, read> grad: array<vec4<f16>>;
@group(0) @binding(6) var<storage, read> stats: array<vec2<f32>>; // logsumexp in powers of two, delta
@group(0) @binding(7) var<storage, read> largest: array<u32>;     // gradient, the bits of its absolute value

// The power of two that brings the largest gradient to 1 … 2.
fn gradient_scale() -> f32 {
    let exponent = largest[0] >> 23u;
    return select(from_bits((254u - exponent) << 23u), 1.0, (exponent == 0u) | (exponent >= 254u));
}

// dO·v of query i and key j.
fn exact_upstream(head: i32, kv: i32, i: i32, j: i32) -> f32 {
    var sum = vec4(0.0);
    for (var n = 0u; n < ROW; n++) {
        sum = fma(vec4<f32>(grad[u32(head * params.rows + i) * ROW + n]), vec4<f32>(v[u32(kv * params.keys + j) * ROW + n]), sum);
    }
    return sum4(sum);
}

// Probability and slope of query i and key j.
fn exact_pair(head: i32, kv: i32, i: i32, j: i32) -> vec2<f32> {
    let stat = stats[head * params.rows + i];
    let probability = exp2(exact_score(head, kv, i, j) - stat.x);
    return vec2(probability, probability * (exact_upstream(head, kv, i, j) - stat.y) * params.scale);
}
