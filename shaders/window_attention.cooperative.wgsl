enable f16;
enable wgpu_cooperative_matrix;
diagnostic(off, derivative_uniformity);


// out = softmax(scale · Q·Kᵀ)·V in a window, and the logsumexp of each row, from f16 operands. Sums are
// taken in f32; scores are f32, their exponentials (relative to a maximum that lags by at most 2⁸) are
// rounded to f16 once, before they meet V.

@group(0) @binding(5) var<storage, read_write> out: array<vec4<f16>>;
@group(0) @binding(6) var<storage, read_write> lse: array<f32>;

fn max4(a: vec4<f32>) -> f32 { return max(max(a.x, a.y), max(a.z, a.w)); }

// Four columns of a row by the definition: an infinite or NaN value that the row doesn't attend to has
// met a weight of 0. `top` is the row's logsumexp in powers of two.
fn exact(p: Place, head: i32, kv: i32, column: u32, top: f32) -> vec4<f32> {
    var sum = vec4(0.0);
    for (var j = p.first; j < p.first + i32(p.count); j++) {
        let weight = exp2(exact_score(head, kv, p.line, j) - top);
        sum = fma(vec4(weight), vec4<f32>(v[u32(kv * params.keys + j) * ROW + column]), sum);
    }
    return sum;
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
    let zero = vec4<f16>();
    var a0 = zero; var a1 = zero; // the next keys and values
    var b0 = zero; var b1 = zero;
    var at = 0u;
    var ok = false;

    // 16 columns of Q, and of the result's sums.
    var q0 = coop_mat16x16<f16, A>(); var o0 = coop_mat16x16<f32, C>();
    var q1 = coop_mat16x16<f16, A>(); var o1 = coop_mat16x16<f32, C>();
    var q2 = coop_mat16x16<f16, A>(); var o2 = coop_mat16x16<f32, C>();
    var q3 = coop_mat16x16<f16, A>(); var o3 = coop_mat16x16<f32, C>();
    var q4 = coop_mat16x16<f16, A>(); var o4 = coop_mat16x16<f32, C>();
    var q5 = coop_mat16x16<f16, A>(); var o5 = coop_mat16x16<f32, C>();
    var q6 = coop_mat16x16<f16, A>(); var o6 = coop_mat16x16<f32, C>();
    var q7 = coop_mat16x16<f16, A>(); var o7 = coop_mat16x16<f32, C>();
    q0 = coopLoadT<coop_mat16x16<f16, A>>(&q[q_at + 0u], ROW);
    if TILES > 1u { q1 = coopLoadT<coop_mat16x16<f16, A>>(&q[q_at + 4u], ROW); }
    if TILES > 2u { q2 = coopLoadT<coop_mat16x16<f16, A>>(&q[q_at + 8u], ROW); }
    if TILES > 3u { q3 = coopLoadT<coop_mat16x16<f16, A>>(&q[q_at + 12u], ROW); }
    if TILES > 4u { q4 = coopLoadT<coop_mat16x16<f16, A>>(&q[q_at + 16u], ROW); }
    if TILES > 5u { q5 = coopLoadT<coop_mat16x16<f16, A>>(&q[q_at + 20u], ROW); }
    if TILES > 6u { q6 = coopLoadT<coop_mat16x16<f16, A>>(&q[q_at + 24u], ROW); }
    if TILES > 7u { q7 = coopLoadT<coop_mat16x16<f16, A>>(&q[q_at + 28u], ROW); }
    var top = minus_infinity(); // what the row's scores are taken relative to
    var total = 0.0;            // of 2^score, this invocation's part

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

        // Scores.
        var s = coop_mat16x16<f32, C>();
        s = coopMultiplyAdd(q0, coopLoad<coop_mat16x16<f16, B>>(&stage_a[0u], PITCH), s);
        if TILES > 1u { s = coopMultiplyAdd(q1, coopLoad<coop_mat16x16<f16, B>>(&stage_a[4u], PITCH), s); }
        if TILES > 2u { s = coopMultiplyAdd(q2, coopLoad<coop_mat16x16<f16, B>>(&stage_a[8u], PITCH), s); }
        if TILES > 3u { s = coopMultiplyAdd(q3, coopLoad<coop_mat16x16<f16, B>>(&stage_a[12u], PITCH), s); }
        if TILES > 4u { s = coopMultiplyAdd(q4, coopLoad<coop_mat16x16<f16, B>>(&stage_a[16u], PITCH), s); }
        if TILES > 5u { s = coopMultiplyAdd(q5, coopLoad<coop_mat16x16<f16, B>>(&stage_a[20u], PITCH), s); }
        if TILES > 6u { s = coopMultiplyAdd(q6, coopLoad<coop_mat16x16<f16, B>>(&stage_a[24u], PITCH), s); }
        if TILES > 7u { s = coopMultiplyAdd(q7, coopLoad<coop_mat16x16<f16, B>>(&stage_a[28u], PITCH), s); }
        coopStoreT(s, &scores[p.scores], SCORES);
        subgroupBarrier();
        var x0 = scores[p.own_scores] * (params.scale * LOG2_E);
        var x1 = scores[p.own_scores + 1u] * (params.scale * LOG2_E);
        if (j0 < p.all_first) | (j0 + PARTNERS > p.all_end) {
            x0 = select(vec4(minus_infinity()), x0, meets(p, j0 + p.piece));
            x1 = select(vec4(minus_infinity()), x1, meets(p, j0 + p.piece + 4));
        }

        // The sums so far shrink only where the maximum has grown by more than f16 takes in.
        let own = max(max4(x0), max4(x1));
        let largest = max(own, subgroupShuffleXor(own, 1u));
        if subgroupAny(largest > top + 8.0) {
            let before = top;
            top = max(top, largest);
            let shrink = select(exp2(before - top), 0.0, before == minus_infinity());
            let some = subgroupAny(total != 0.0);
            total *= shrink;
            if some {
                subgroupBarrier();
                coopStoreT(o0, &scores[p.scores], SCORES);
                subgroupBarrier();
                scores[p.own_scores] *= shrink;
                scores[p.own_scores + 1u] *= shrink;
                subgroupBarrier();
                o0 = coopLoadT<coop_mat16x16<f32, C>>(&scores[p.scores], SCORES);
                if TILES > 1u {
                    subgroupBarrier();
                    coopStoreT(o1, &scores[p.scores], SCORES);
                    subgroupBarrier();
                    scores[p.own_scores] *= shrink;
                    scores[p.own_scores + 1u] *= shrink;
                    subgroupBarrier();
                    o1 = coopLoadT<coop_mat16x16<f32, C>>(&scores[p.scores], SCORES);
                }
                if TILES > 2u {
                    subgroupBarrier();
                    coopStoreT(o2, &scores[p.scores], SCORES);
                    subgroupBarrier();
                    scores[p.own_scores] *= shrink;
                    scores[p.own_scores + 1u] *= shrink;
                    subgroupBarrier();
                    o2 = coopLoadT<coop_mat16x16<f32, C>>(&scores[p.scores], SCORES);
                }
                if TILES > 3u {
                    subgroupBarrier();
                    coopStoreT(o3, &scores[p.scores], SCORES);
                    subgroupBarrier();
                    scores[p.own_scores] *= shrink;
                    scores[p.own_scores + 1u] *= shrink;
                    subgroupBarrier();
                    o3 = coopLoadT<coop_mat16x16<f32, C>>(&scores[p.scores], SCORES);
                }
                if TILES > 4u {
                    subgroupBarrier();
                    coopStoreT(o4, &scores[p.scores], SCORES);
                    subgroupBarrier();
                    scores[p.own_scores] *= shrink;
                    scores[p.own_scores + 1u] *= shrink;
                    subgroupBarrier();
                    o4 = coopLoadT<coop_mat16x16<f32, C>>(&scores[p.scores], SCORES);
                }
                if TILES > 5u {
                    subgroupBarrier();
                    coopStoreT(o5, &scores[p.scores], SCORES);
                    subgroupBarrier();
                    scores[p.own_scores] *= shrink;
                    scores[p.own_scores + 1u] *= shrink;
                    subgroupBarrier();
                    o5 = coopLoadT<coop_mat16x16<f32, C>>(&scores[p.scores], SCORES);
                }
                if TILES > 6u {
                    subgroupBarrier();
                    coopStoreT(o6, &scores[p.scores], SCORES);
                    subgroupBarrier();
                    scores[p.own_scores] *= shrink;
                    scores[p.own_scores + 1u] *= shrink;
                    subgroupBarrier();
                    o6 = coopLoadT<coop_mat16x16<f32, C>>(&scores[p.scores], SCORES);
                }
                if TILES > 7u {
                    subgroupBarrier();
                    coopStoreT(o7, &scores[p.scores], SCORES);
                    subgroupBarrier();
                    scores[p.own_scores] *= shrink;
                    scores[p.own_scores + 1u] *= shrink;
                    subgroupBarrier();
                    o7 = coopLoadT<coop_mat16x16<f32, C>>(&scores[p.scores], SCORES);
                }
            }
        }
        let relative = select(top, 0.0, top == minus_infinity());
        x0 = exp2(x0 - relative);
        x1 = exp2(x1 - relative);
        total += sum4(x0 + x1);
        weights[p.own_weights] = vec4<f16>(x0);
        weights[p.own_weights + 1u] = vec4<f16>(x1);
        subgroupBarrier();

        // Their sums of values.
        let w = coopLoadT<coop_mat16x16<f16, A>>(&weights[p.weights], WEIGHTS);
        o0 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage_b[0u], PITCH), o0);
        if TILES > 1u { o1 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage_b[4u], PITCH), o1); }
        if TILES > 2u { o2 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage_b[8u], PITCH), o2); }
        if TILES > 3u { o3 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage_b[12u], PITCH), o3); }
        if TILES > 4u { o4 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage_b[16u], PITCH), o4); }
        if TILES > 5u { o5 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage_b[20u], PITCH), o5); }
        if TILES > 6u { o6 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage_b[24u], PITCH), o6); }
        if TILES > 7u { o7 = coopMultiplyAdd(w, coopLoadT<coop_mat16x16<f16, B>>(&stage_b[28u], PITCH), o7); }
    }

    total += subgroupShuffleXor(total, 1u);
    let mine = p.line >= p.nominal;
    if mine & (p.piece == 0) {
        lse[head * params.rows + p.line] = select((top + log2(total)) / LOG2_E, minus_infinity(), total == 0.0);
    }
    subgroupBarrier();
    coopStoreT(o0, &scores[p.scores], SCORES);
    subgroupBarrier();
    if mine { put(p, head, kv, 0u, top, total); }
    if TILES > 1u {
        subgroupBarrier();
        coopStoreT(o1, &scores[p.scores], SCORES);
        subgroupBarrier();
        if mine { put(p, head, kv, 4u, top, total); }
    }
    if TILES > 2u {
        subgroupBarrier();
        coopStoreT(o2, &scores[p.scores], SCORES);
        subgroupBarrier();
        if mine { put(p, head, kv, 8u, top, total); }
    }
    if TILES > 3u {
        subgroupBarrier();
        coopStoreT(o3, &scores[p.scores], SCORES);
        subgroupBarrier();
        if mine { put(p, head, kv, 12u, top, total); }
    }
    if TILES > 4u {
        subgroupBarrier();
        coopStoreT(o4, &scores[p.scores], SCORES);
        subgroupBarrier();
        if mine { put(p, head, kv, 16u, top, total); }
    }
    if TILES > 5u {
        subgroupBarrier();
        coopStoreT(o5, &scores[p.scores], SCORES);
        subgroupBarrier();
        if mine { put(p, head, kv, 20u, top, total); }
    }
    if TILES > 6u {
        subgroupBarrier();
        coopStoreT(o6, &scores[p.scores], SCORES);
        subgroupBarrier();
        if mine { put(p, head, kv, 24u, top, total); }
    }
    if TILES > 7u {
        subgroupBarrier();
        coopStoreT(o7, &scores[p.scores], SCORES);
        subgroupBarrier();
        if mine { put(p, head, kv, 28u, top, total); }
    }
}

// Eight columns of a row leave, from the scores' place.
fn put(p: Place, head: i32, kv: i32, first: u32, top: f32, total: f32) {
    let column = first + u32(p.piece) / 4u;
    let one_over = select(1.0 / total, 0.0, total == 0.0);
    var x0 = scores[p.own_scores] * one_over;
    var x1 = scores[p.own_scores + 1u] * one_over;
    // A score that is NaN makes the whole row so.
    if !(finite(x0) & finite(x1)) & (total == total) {
        x0 = exact(p, head, kv, column, top + log2(total));
        x1 = exact(p, head, kv, column + 1u, top + log2(total));
    }
    let at = u32(head * params.rows + p.line) * ROW + column;
    out[at] = vec4<f16>(x0);
    out[at + 1u] = vec4<f16>(x1);
}
