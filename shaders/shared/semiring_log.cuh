// (logsumexp, +). Each row of A and column of B is scaled by its largest entry, so that the sum of
// exponentials is an ordinary product; see semiring_log.wgsl.
#pragma once

#include "matmul_params.cuh"

constexpr bool RING_LOOKS = true;
constexpr bool RING_SCALES = true;
constexpr bool RING_SUMS = true;

DEVICE float ring_start() { return 0; }
DEVICE float ring_pad() { return 0; }
DEVICE float ring_mac(float acc, float x, float y) { return fmaf(x, y, acc); }
DEVICE float ring_stage(float value, float scale) { return power_of_two((value - scale) * 1.44269504f); }
DEVICE bool ring_taints(float) { return false; }

// Below 2^-60 terms may have been lost.
DEVICE bool ring_is_exact(float acc) { return (acc >= 8.673617e-19f) & (acc <= 3.4028234e38f); }
// `scale` is that of the row and of the column.
DEVICE float ring_finish(float acc, float scale) { return logf(acc) + scale; }

// The definition: against the largest term of its own.
DEVICE float ring_exact(const Params& params, const float* a, const float* b, int i, int j) {
    int first = first_k(params, i, j), end = end_k(params, i, j);
    float largest = minus_infinity();
#pragma unroll 1
    for (int k = first; k < end; k++) {
        float value = a[a_index(params, i, k)] + b[b_index(params, k, j)];
        if (isnan(value)) return not_a_number();
        largest = fmaxf(largest, value);
    }
    if (isinf(largest)) return largest;
    float sum = 0;
#pragma unroll 1
    for (int k = first; k < end; k++) sum += expf(a[a_index(params, i, k)] + b[b_index(params, k, j)] - largest);
    return largest + logf(sum);
}
