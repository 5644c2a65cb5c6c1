enable f16;
enable wgpu_cooperative_matrix;
diagnostic(off, derivative_uniformity);


// dQ = S·K of windowed attention, from f16 operands.

@group(0) @binding(8) var<storage, read_write> dq: array<vec4<f16>>;

// Four columns by the definition: where a sum has left f16's range or met a value it shouldn't.
fn exact(p: Place, head: i32, kv: i32, column: u32) -> vec4<f32> {
    var sum = vec4(0.0);
    for (var j = p.first; j < p.first + i32(p.count); j++) {
        sum = fma(vec4(exact_pair(head, kv, p.line, j).y), vec4<f32>(k[u32(kv * params.keys + j) * ROW + column]), sum);
    }
    return sum;
}

// Eight columns of a row leave, from the scores' place.
fn put(p: Place, head: i32, kv: i32, first: u32) {
    let column = first + u32(p.piece) / 4u;
    let unit = 1.0 / gradient_scale();
    var x0 = scores[p.own_scores] * unit;
    var x1 = scores[p.own_scores + 1u] * unit;
    if !(finite(x0) & finite(x1)) {
        x0 = exact(p, head, kv, column);
        x1 = exact(p, head, kv, column + 1u);
    }
    let at = u32(head * params.rows + p.line) * ROW + column;
    dq[at] = vec4<f16>(x0);
    dq[at + 1u] = vec4<f16>(x1);
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = group_index(group, groups);
    if index >= params.batch * params.tiles { return; }
    let head = i32(index / params.tiles);
    let kv = head / i32(params.group);
    let p = place(local, i32(index % params.tiles), params.rows, params.offset, params.lower, params.upper, key_end(kv));
    let q_at = u32(head * params.rows + min(p.nominal, params.rows - 16)) * ROW;
    let k_at = u32(kv * params.keys) * ROW;
    let stat = stats[head * params.rows + p.line];
    let unit = gradient_scale();
    let zero = vec4<f16>();
    var a0 = zero; var a1 = zero; // the next keys and values
    var b0 = zero; var b1 = zero;
    var at = 0u;
    var ok = false;

    // 16 columns of Q, of dO, and of the result's sums.
    var q0 = coop_mat16x16<f16, A>(); var g0 = coop_mat16x16<f16, A>(); var o0 = coop_mat16x16<f32, C>();
    var q1 = coop_mat16x16<f16, A>(); var g1 = coop_mat16x16<f16, A>(); var o1 = coop_mat16x16<f32, C>();
    var q2 = coop_mat16x16<f16, A>(); var g2 = coop_mat16x16<f16, A>(); var o2 = coop_mat16x16<f32, C>();
    var q3 = coop_mat16x16<f16, A>(); var g3 = coop_mat16x16<f16, A>(); var o3 = coop_mat16x16<f32, C>();
    q0 = coopLoadT<coop_mat16x16<f16, A>>(&q[q_at + 0u], ROW); g0 = coopLoadT<coop_mat16x16<f16, A>>(&grad[q_at + 0u], ROW);
    if TILES > 1u { q1 = coopLoadT<coop_mat16x16<f16, A>>(&q[q_at + 4u], ROW); g1 = coopLoadT<coop_mat16x16<f16, A>>(&grad[q_at + 4u], ROW); }
    if TILES > 2u { q2 = coopLoadT<coop_mat16x16<f16, A>>(&q[q_at + 8u], ROW); g2 = coopLoadT<coop_mat16x16<f16, A>>(&grad[q_at + 8u], ROW); }
    if TILES > 3u { q3 = coopLoadT<coop_mat16x16<f16, A>>(&q[q_at + 12u], ROW); g3 = coopLoadT<coop_mat16x16<f16, A>>(&grad[q_at + 12u], ROW); }
    at = local + 0u * GROUP;
    ok = (at < 16u * ROW) & (p.start + i32(at / ROW) < params.keys);
    a0 = zero; b0 = zero;
    if ok { a0 = k[k_at + u32(p.start) * ROW + at]; b0 = v[k_at + u32(p.start) * ROW + at]; }
    at = local + 1u * GROUP;
    ok = (at < 16u * ROW) & (p.start + i32(at / ROW) < params.keys);
    a1 = zero; b1 = zero;
    if ok { a1 = k[k_at + u32(p.start) * ROW + at]; b1 = v[k_at + u32(p.start) * ROW + at]; }
    for (var j0 = p.start; j0 < p.end; j0 += PARTNERS) {
        workgroupBarrier();
        at = local + 0u * GROUP;
        if at < 16u * ROW { stage_a[at / ROW * PITCH + at % ROW] = a0; stage_b[at / ROW * PITCH + at % ROW] = b0; }
        at = local + 1u * GROUP;
        if at < 16u * ROW { stage_a[at / ROW * PITCH + at % ROW] = a1; stage_b[at / ROW * PITCH + at % ROW] = b1; }
        workgroupBarrier();
        if j0 + PARTNERS < p.end {
            at = local + 0u * GROUP;
            ok = (at < 16u * ROW) & ((j0 + PARTNERS) + i32(at / ROW) < params.keys);
            a0 = zero; b0 = zero;
            if ok { a0 = k[k_at + u32((j0 + PARTNERS)) * ROW + at]; b0 = v[k_at + u32((j0 + PARTNERS)) * ROW + at]; }
            at = local + 1u * GROUP;
            ok = (at < 16u * ROW) & ((j0 + PARTNERS) + i32(at / ROW) < params.keys);
            a1 = zero; b1 = zero;
            if ok { a1 = k[k_at + u32((j0 + PARTNERS)) * ROW + at]; b1 = v[k_at + u32((j0 + PARTNERS)) * ROW + at]; }
        }
        if (j0 + PARTNERS <= p.any_first) | (j0 >= p.any_end) { continue; }

        // Scores, and what comes from above.
        var s = coop_mat16x16<f32, C>();
        var t = coop_mat16x16<f32, C>();
        s = coopMultiplyAdd(q0, coopLoad<coop_mat16x16<f16, B>>(&stage_a[0u], PITCH), s); t = coopMultiplyAdd(g0, coopLoad<coop_mat16x16<f16, B>>(&stage_b[0u], PITCH), t);
        if TILES > 1u { s = coopMultiplyAdd(q1, coopLoad<coop_mat16x16<f16, B>>(&stage_a[4u], PITCH), s); t = coopMultiplyAdd(g1, coopLoad<coop_mat16x16<f16, B>>(&stage_b[4u], PITCH), t); }
        if TILES > 2u { s = coopMultiplyAdd(q2, coopLoad<coop_mat16x16<f16, B>>(&stage_a[8u], PITCH), s); t = coopMultiplyAdd(g2, coopLoad<coop_mat16x16<f16, B>>(&stage_b[8u], PITCH), t); }
        if TILES > 3u { s = coopMultiplyAdd(q3, coopLoad<coop_mat16x16<f16, B>>(&stage_a[12u], PITCH), s); t = coopMultiplyAdd(g3, coopLoad<coop_mat16x16<f16, B>>(&stage_b[12u], PITCH), t); }
        coopStoreT(s, &scores[p.scores], SCORES);
        subgroupBarrier();
        var x0 = exp2(scores[p.own_scores] * (params.scale * LOG2_E) - stat.x);
        var x1 = exp2(scores[p.own_scores + 1u] * (params.scale * LOG2_E) - stat.x);
        subgroupBarrier();
        coopStoreT(t, &scores[p.scores], SCORES);
        subgroupBarrier();
        x0 *= (scores[p.own_scores] - stat.y) * (params.scale * unit);
        x1 *= (scores[p.own_scores + 1u] - stat.y) * (params.scale * unit);
        if (j0 < p.all_first) | (j0 + PARTNERS > p.all_end) {
            x0 = select(vec4(0.0), x0, meets(p, j0 + p.piece));
            x1 = select(vec4(0.0), x1, meets(p, j0 + p.piece + 4));
        }
        weights[p.own_weights] = vec4<f16>(x0);
        weights[p.own_weights + 1u] = vec4<f16>(x1);
        subgroupBarrier();

        let w = coopLoadT<coop_mat16x16<f16, A>>(&weights[p.weights], WEIGHTS);
        o0 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage_a[0u], PITCH), o0);
        if TILES > 1u { o1 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage_a[4u], PITCH), o1); }
        if TILES > 2u { o2 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage_a[8u], PITCH), o2); }
        if TILES > 3u { o3 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage_a[12u], PITCH), o3); }
    }

    let mine = p.line >= p.nominal;
    subgroupBarrier(); coopStoreT(o0, &scores[p.scores], SCORES); subgroupBarrier(); if mine { put(p, head, kv, 0u); }
    if TILES > 1u { subgroupBarrier(); coopStoreT(o1, &scores[p.scores], SCORES); subgroupBarrier(); if mine { put(p, head, kv, 4u); } }
    if TILES > 2u { subgroupBarrier(); coopStoreT(o2, &scores[p.scores], SCORES); subgroupBarrier(); if mine { put(p, head, kv, 8u); } }
    if TILES > 3u { subgroupBarrier(); coopStoreT(o3, &scores[p.scores], SCORES); subgroupBarrier(); if mine { put(p, head, kv, 12u); } }
}
