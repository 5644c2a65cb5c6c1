enable f16;
enable wgpu_cooperative_matrix;
diagnostic(off, derivative_uniformity);


// dK = Sᵀ·Q and dV = Pᵀ·dO of windowed attention, from f16 operands: lines are keys, partners the
// queries of all heads that share them.

@group(0) @binding(8) var<storage, read_write> dk: array<vec4<f16>>;
@group(0) @binding(9) var<storage, read_write> dv: array<vec4<f16>>;

var<workgroup> stage_stats: array<vec2<f32>, 16>;

// Four columns of dK and dV by the definition: where a sum has left f16's range or met a value it
// shouldn't.
fn exact(p: Place, kv: i32, column: u32, of_key: bool) -> vec4<f32> {
    var sum = vec4(0.0);
    for (var member = 0; member < i32(params.group); member++) {
        let head = kv * i32(params.group) + member;
        for (var i = p.first; i < p.first + i32(p.count); i++) {
            let pair = exact_pair(head, kv, i, p.line);
            let at = u32(head * params.rows + i) * ROW + column;
            if of_key {
                sum = fma(vec4(pair.y), vec4<f32>(q[at]), sum);
            } else {
                sum = fma(vec4(pair.x), vec4<f32>(grad[at]), sum);
            }
        }
    }
    return sum;
}

// Eight columns of a row leave, from the scores' place.
fn put(p: Place, kv: i32, first: u32, of_key: bool) {
    let column = first + u32(p.piece) / 4u;
    let unit = select(1.0, 1.0 / gradient_scale(), of_key);
    var x0 = scores[p.own_scores] * unit;
    var x1 = scores[p.own_scores + 1u] * unit;
    if !(finite(x0) & finite(x1)) {
        x0 = exact(p, kv, column, of_key);
        x1 = exact(p, kv, column + 1u, of_key);
    }
    let at = u32(kv * params.keys + p.line) * ROW + column;
    if of_key {
        dk[at] = vec4<f16>(x0);
        dk[at + 1u] = vec4<f16>(x1);
    } else {
        dv[at] = vec4<f16>(x0);
        dv[at + 1u] = vec4<f16>(x1);
    }
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = group_index(group, groups);
    if index >= params.batch / params.group * params.tiles { return; }
    let kv = i32(index / params.tiles);
    var p = place(local, i32(index % params.tiles), params.keys, -params.offset, params.upper, params.lower, params.rows);
    // Padding is met by nobody.
    let keys = key_end(kv);
    p.count = select(0u, p.count, p.line < keys);
    let r0 = min(p.nominal, params.keys - 16);
    p.all_end = select(p.all_end, 0, r0 + 16 > keys);
    let line_at = u32(kv * params.keys + r0) * ROW;
    let unit = gradient_scale();
    let zero = vec4<f16>();
    var a0 = zero; var a1 = zero; // the next queries and gradients
    var b0 = zero; var b1 = zero;
    var at = 0u;
    var ok = false;

    // 16 columns of K and of V, and of the sums of their gradients.
    var k0 = coop_mat16x16<f16, A>(); var of_k0 = coop_mat16x16<f32, C>();
    var v0 = coop_mat16x16<f16, A>(); var of_v0 = coop_mat16x16<f32, C>();
    var k1 = coop_mat16x16<f16, A>(); var of_k1 = coop_mat16x16<f32, C>();
    var v1 = coop_mat16x16<f16, A>(); var of_v1 = coop_mat16x16<f32, C>();
    var k2 = coop_mat16x16<f16, A>(); var of_k2 = coop_mat16x16<f32, C>();
    var v2 = coop_mat16x16<f16, A>(); var of_v2 = coop_mat16x16<f32, C>();
    var k3 = coop_mat16x16<f16, A>(); var of_k3 = coop_mat16x16<f32, C>();
    var v3 = coop_mat16x16<f16, A>(); var of_v3 = coop_mat16x16<f32, C>();
    k0 = coopLoadT<coop_mat16x16<f16, A>>(&k[line_at + 0u], ROW); v0 = coopLoadT<coop_mat16x16<f16, A>>(&v[line_at + 0u], ROW);
    if TILES > 1u { k1 = coopLoadT<coop_mat16x16<f16, A>>(&k[line_at + 4u], ROW); v1 = coopLoadT<coop_mat16x16<f16, A>>(&v[line_at + 4u], ROW); }
    if TILES > 2u { k2 = coopLoadT<coop_mat16x16<f16, A>>(&k[line_at + 8u], ROW); v2 = coopLoadT<coop_mat16x16<f16, A>>(&v[line_at + 8u], ROW); }
    if TILES > 3u { k3 = coopLoadT<coop_mat16x16<f16, A>>(&k[line_at + 12u], ROW); v3 = coopLoadT<coop_mat16x16<f16, A>>(&v[line_at + 12u], ROW); }

    for (var member = 0; member < i32(params.group); member++) {
        let head = kv * i32(params.group) + member;
        let q_at = u32(head * params.rows) * ROW;
        at = local + 0u * GROUP;
        ok = (at < 16u * ROW) & (p.start + i32(at / ROW) < params.rows);
        a0 = zero; b0 = zero;
        if ok { a0 = q[q_at + u32(p.start) * ROW + at]; b0 = grad[q_at + u32(p.start) * ROW + at]; }
        at = local + 1u * GROUP;
        ok = (at < 16u * ROW) & (p.start + i32(at / ROW) < params.rows);
        a1 = zero; b1 = zero;
        if ok { a1 = q[q_at + u32(p.start) * ROW + at]; b1 = grad[q_at + u32(p.start) * ROW + at]; }
        for (var i0 = p.start; i0 < p.end; i0 += PARTNERS) {
            workgroupBarrier();
            at = local + 0u * GROUP;
            if at < 16u * ROW { stage_a[at / ROW * PITCH + at % ROW] = a0; stage_b[at / ROW * PITCH + at % ROW] = b0; }
            at = local + 1u * GROUP;
            if at < 16u * ROW { stage_a[at / ROW * PITCH + at % ROW] = a1; stage_b[at / ROW * PITCH + at % ROW] = b1; }
            if local < 16u { stage_stats[local] = stats[head * params.rows + min(i0 + i32(local), params.rows - 1)]; }
            workgroupBarrier();
            if i0 + PARTNERS < p.end {
                at = local + 0u * GROUP;
                ok = (at < 16u * ROW) & ((i0 + PARTNERS) + i32(at / ROW) < params.rows);
                a0 = zero; b0 = zero;
                if ok { a0 = q[q_at + u32((i0 + PARTNERS)) * ROW + at]; b0 = grad[q_at + u32((i0 + PARTNERS)) * ROW + at]; }
                at = local + 1u * GROUP;
                ok = (at < 16u * ROW) & ((i0 + PARTNERS) + i32(at / ROW) < params.rows);
                a1 = zero; b1 = zero;
                if ok { a1 = q[q_at + u32((i0 + PARTNERS)) * ROW + at]; b1 = grad[q_at + u32((i0 + PARTNERS)) * ROW + at]; }
            }
            if (i0 + PARTNERS <= p.any_first) | (i0 >= p.any_end) { continue; }

            // Scores, and what comes from above.
            var s = coop_mat16x16<f32, C>();
            var t = coop_mat16x16<f32, C>();
            s = coopMultiplyAdd(k0, coopLoad<coop_mat16x16<f16, B>>(&stage_a[0u], PITCH), s); t = coopMultiplyAdd(v0, coopLoad<coop_mat16x16<f16, B>>(&stage_b[0u], PITCH), t);
            if TILES > 1u { s = coopMultiplyAdd(k1, coopLoad<coop_mat16x16<f16, B>>(&stage_a[4u], PITCH), s); t = coopMultiplyAdd(v1, coopLoad<coop_mat16x16<f16, B>>(&stage_b[4u], PITCH), t); }
            if TILES > 2u { s = coopMultiplyAdd(k2, coopLoad<coop_mat16x16<f16, B>>(&stage_a[8u], PITCH), s); t = coopMultiplyAdd(v2, coopLoad<coop_mat16x16<f16, B>>(&stage_b[8u], PITCH), t); }
            if TILES > 3u { s = coopMultiplyAdd(k3, coopLoad<coop_mat16x16<f16, B>>(&stage_a[12u], PITCH), s); t = coopMultiplyAdd(v3, coopLoad<coop_mat16x16<f16, B>>(&stage_b[12u], PITCH), t); }
            let first = u32(p.piece);
            let s0 = stage_stats[first]; let s1 = stage_stats[first + 1u]; let s2 = stage_stats[first + 2u]; let s3 = stage_stats[first + 3u];
            let s4 = stage_stats[first + 4u]; let s5 = stage_stats[first + 5u]; let s6 = stage_stats[first + 6u]; let s7 = stage_stats[first + 7u];
            coopStoreT(s, &scores[p.scores], SCORES);
            subgroupBarrier();
            var x0 = exp2(scores[p.own_scores] * (params.scale * LOG2_E) - vec4(s0.x, s1.x, s2.x, s3.x));
            var x1 = exp2(scores[p.own_scores + 1u] * (params.scale * LOG2_E) - vec4(s4.x, s5.x, s6.x, s7.x));
            let inside = (i0 >= p.all_first) & (i0 + PARTNERS <= p.all_end);
            let ok0 = vec4(inside) | meets(p, i0 + p.piece);
            let ok1 = vec4(inside) | meets(p, i0 + p.piece + 4);
            x0 = select(vec4(0.0), x0, ok0);
            x1 = select(vec4(0.0), x1, ok1);
            weights[p.own_weights] = vec4<f16>(x0);
            weights[p.own_weights + 1u] = vec4<f16>(x1);
            subgroupBarrier();
            let probabilities = coopLoadT<coop_mat16x16<f16, A>>(&weights[p.weights], WEIGHTS);
            coopStoreT(t, &scores[p.scores], SCORES);
            subgroupBarrier();
            let y0 = x0 * (scores[p.own_scores] - vec4(s0.y, s1.y, s2.y, s3.y)) * (params.scale * unit);
            let y1 = x1 * (scores[p.own_scores + 1u] - vec4(s4.y, s5.y, s6.y, s7.y)) * (params.scale * unit);
            weights[p.own_weights] = vec4<f16>(select(vec4(0.0), y0, ok0));
            weights[p.own_weights + 1u] = vec4<f16>(select(vec4(0.0), y1, ok1));
            subgroupBarrier();
            let slopes = coopLoadT<coop_mat16x16<f16, A>>(&weights[p.weights], WEIGHTS);
            of_v0 = coopMultiplyAdd(probabilities, coopLoadT<coop_mat16x16<f16, B>>(&stage_b[0u], PITCH), of_v0); of_k0 = coopMultiplyAdd(slopes, coopLoadT<coop_mat16x16<f16, B>>(&stage_a[0u], PITCH), of_k0);
            if TILES > 1u { of_v1 = coopMultiplyAdd(probabilities, coopLoadT<coop_mat16x16<f16, B>>(&stage_b[4u], PITCH), of_v1); of_k1 = coopMultiplyAdd(slopes, coopLoadT<coop_mat16x16<f16, B>>(&stage_a[4u], PITCH), of_k1); }
            if TILES > 2u { of_v2 = coopMultiplyAdd(probabilities, coopLoadT<coop_mat16x16<f16, B>>(&stage_b[8u], PITCH), of_v2); of_k2 = coopMultiplyAdd(slopes, coopLoadT<coop_mat16x16<f16, B>>(&stage_a[8u], PITCH), of_k2); }
            if TILES > 3u { of_v3 = coopMultiplyAdd(probabilities, coopLoadT<coop_mat16x16<f16, B>>(&stage_b[12u], PITCH), of_v3); of_k3 = coopMultiplyAdd(slopes, coopLoadT<coop_mat16x16<f16, B>>(&stage_a[12u], PITCH), of_k3); }
        }
    }

    let mine = p.line >= p.nominal;
    subgroupBarrier(); coopStoreT(of_k0, &scores[p.scores], SCORES); subgroupBarrier(); if mine { put(p, kv, 0u, true); }
    if TILES > 1u { subgroupBarrier(); coopStoreT(of_k1, &scores[p.scores], SCORES); subgroupBarrier(); if mine { put(p, kv, 4u, true); } }
    if TILES > 2u { subgroupBarrier(); coopStoreT(of_k2, &scores[p.scores], SCORES); subgroupBarrier(); if mine { put(p, kv, 8u, true); } }
    if TILES > 3u { subgroupBarrier(); coopStoreT(of_k3, &scores[p.scores], SCORES); subgroupBarrier(); if mine { put(p, kv, 12u, true); } }
    subgroupBarrier(); coopStoreT(of_v0, &scores[p.scores], SCORES); subgroupBarrier(); if mine { put(p, kv, 0u, false); }
    if TILES > 1u { subgroupBarrier(); coopStoreT(of_v1, &scores[p.scores], SCORES); subgroupBarrier(); if mine { put(p, kv, 4u, false); } }
    if TILES > 2u { subgroupBarrier(); coopStoreT(of_v2, &scores[p.scores], SCORES); subgroupBarrier(); if mine { put(p, kv, 8u, false); } }
    if TILES > 3u { subgroupBarrier(); coopStoreT(of_v3, &scores[p.scores], SCORES); subgroupBarrier(); if mine { put(p, kv, 12u, false); } }
}
