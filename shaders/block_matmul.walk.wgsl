// Y = act(X · V + bias) for narrow blocks and for few tokens: an invocation walks along one column of
// V for 8 tokens at once. LANES of them share a column where there are too few to fill a GPU.

override LANES: u32 = 1u;

var<workgroup> partial: array<vec4<f32>, 256>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = group_index(group, groups);
    if tile >= params.batch * params.token_tiles * params.output_tiles { return; }
    let outputs = 128u / LANES;
    // Neighbours read neighbouring values of V.
    let lane = select(local / outputs, local % LANES, V_ALONG);
    let output = tile % params.output_tiles * outputs + select(local % outputs, local / LANES, V_ALONG);
    let batch = tile / params.output_tiles / params.token_tiles;
    let t = tile / params.output_tiles % params.token_tiles * 8u;
    let here = output < params.outputs;
    let column = output / params.width;
    let o = i32(output % params.width * select(1u, params.depth, V_ALONG));
    var term = Term(0u, 0u);
    var end = 0u;
    if here {
        term = advance(Term(index[column], 0u), lane);
        end = index[column + 1u];
    }

    let low = vec4(t < params.tokens, t + 1u < params.tokens, t + 2u < params.tokens, t + 3u < params.tokens);
    let high = vec4(t + 4u < params.tokens, t + 5u < params.tokens, t + 6u < params.tokens, t + 7u < params.tokens);
    let step = i32(select(1u, params.x_stride, X_ALONG));
    let ramp = vec4(0, 1, 2, 3) * step;
    var sum_low = vec4(0.0);
    var sum_high = vec4(0.0);
    for (; term.block < end; term = advance(term, LANES)) {
        let at = place(term, end);
        let v = load_right(select(vec4(-1), vec4(at.y + o, -1, -1, -1), at.x >= 0)).x;
        let x = vec4(x_index(batch, t, at.x));
        sum_low = fma(load_left(select(vec4(-1), x + ramp, low & vec4(at.x >= 0))), vec4(v), sum_low);
        sum_high = fma(load_left(select(vec4(-1), x + ramp + 4 * step, high & vec4(at.x >= 0))), vec4(v), sum_high);
    }

    // The lanes' sums, in the same order every time.
    let distance = select(outputs, 1u, V_ALONG);
    partial[local * 2u] = sum_low;
    partial[local * 2u + 1u] = sum_high;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            partial[local * 2u] += partial[(local + half * distance) * 2u];
            partial[local * 2u + 1u] += partial[(local + half * distance) * 2u + 1u];
        }
        workgroupBarrier();
    }
    if lane > 0u || !here { return; }
    sum_low = partial[local * 2u];
    sum_high = partial[local * 2u + 1u];
    if low.x { finish(batch, t, output, 1u, vec4(sum_low.x)); }
    if low.y { finish(batch, t + 1u, output, 1u, vec4(sum_low.y)); }
    if low.z { finish(batch, t + 2u, output, 1u, vec4(sum_low.z)); }
    if low.w { finish(batch, t + 3u, output, 1u, vec4(sum_low.w)); }
    if high.x { finish(batch, t + 4u, output, 1u, vec4(sum_high.x)); }
    if high.y { finish(batch, t + 5u, output, 1u, vec4(sum_high.y)); }
    if high.z { finish(batch, t + 6u, output, 1u, vec4(sum_high.z)); }
    if high.w { finish(batch, t + 7u, output, 1u, vec4(sum_high.w)); }
}
