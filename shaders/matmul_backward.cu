// The gradients of products over (logsumexp, +), step by step.

#include "shared/gradient.cuh"

// First step: W[i,j] = G[i,j] · exp(row scale + column scale − C[i,j]). NaN marks what cannot be had from
// scaled factors: a sum below 2^-60 of its scales, or not finite.
KERNEL(256) matmul_backward_weight(PARAMS params, const float* __restrict__ row_scale, const float* __restrict__ column_scale,
                                   const float* __restrict__ c, const float* __restrict__ g, float* __restrict__ w) {
    View view = view_c(params);
    bool columns = view.flags & 1;
    Stretch s = stretch_of(view, params.batch);
    Line of_c = line_of(view, s.batch, s.first, columns);
    Line of_g = line_of(like(view, params.flags >> 6), s.batch, s.first, columns);
#pragma unroll 4
    for (int k = s.from; k < s.to; k += s.lanes) {
        float value = 0;
        if (has(of_c, k)) {
            Entry at = columns ? Entry{s.first.i + k, s.first.j} : Entry{s.first.i, s.first.j + k};
            float z = c[of_c.start + k];
            float slope = g[of_g.start + k * of_g.step];
            float below = row_scale[s.batch * params.rows + at.i] + column_scale[s.batch * params.cols + at.j] - z;
            value = (fabsf(below) <= 41) & isfinite(slope) ? slope * expf(below) : not_a_number();
            // A sum of -∞ alone has no gradient.
            if (z == minus_infinity()) value = 0;
        }
        w[of_c.start + k] = value;
    }
}

// exp(A[i,k] − scale[i]).
KERNEL(256) matmul_backward_exp(PARAMS params, const float* __restrict__ a, const float* __restrict__ scale, float* __restrict__ e) {
    View view = view_a(params);
    bool columns = view.flags & 1;
    Stretch s = stretch_of(view, params.batch);
    Line of_a = line_of(view, s.batch, s.first, columns);
    scale += s.batch * params.rows + s.first.i;
#pragma unroll 4
    for (int k = s.from; k < s.to; k += s.lanes) {
        e[of_a.start + k] = has(of_a, k) ? expf(a[of_a.start + k] - scale[columns ? k : 0]) : 0;
    }
}

// Last step: ga[i,k] = exp(A[i,k] − scale[i]) · S[i,k], where S = W · exp(B − scale)ᵀ. Where that is not
// finite, W said that scaling loses terms, or they overflowed: then the sum itself, term by term.
KERNEL(256) matmul_backward_log(PARAMS params, const float* __restrict__ a, const float* __restrict__ b, const float* __restrict__ c,
                                const float* __restrict__ g, const float* __restrict__ scale, const float* __restrict__ sums,
                                float* __restrict__ ga) {
    View view = view_a(params);
    bool columns = view.flags & 1;
    Stretch s = stretch_of(view, params.batch);
    Line of_a = line_of(view, s.batch, s.first, columns);
    scale += s.batch * params.rows + s.first.i;
    bool all = true;
#pragma unroll 4
    for (int n = s.from; n < s.to; n += s.lanes) {
        float value = has(of_a, n) ? expf(a[of_a.start + n] - scale[columns ? n : 0]) * sums[of_a.start + n] : 0;
        all = all & isfinite(value);
        ga[of_a.start + n] = value;
    }
    if (all) return;

    View of_b = view_b(params), of_c = view_c(params), of_g = like(of_c, params.flags >> 6);
    for (int n = s.from; n < s.to; n += s.lanes) {
        if (isfinite(ga[of_a.start + n])) continue;
        int i = columns ? s.first.i + n : s.first.i, k = columns ? s.first.j : s.first.j + n;
        float value = 0;
        for (int j = first_j(params, i, k); j < end_j(params, i, k); j++) {
            float weight = share(a[of_a.start + n], b[view_index(of_b, s.batch, {k, j})], c[view_index(of_c, s.batch, {i, j})]);
            value = fmaf(g[view_index(of_g, s.batch, {i, j})], weight, value);
        }
        ga[of_a.start + n] = value;
    }
}
