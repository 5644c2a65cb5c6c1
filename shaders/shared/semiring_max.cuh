// (max, +).
#pragma once

#include "matmul_params.cuh"

constexpr bool RING_LOOKS = true;
constexpr bool RING_SCALES = false;
constexpr bool RING_SUMS = false;

DEVICE float ring_start() { return minus_infinity(); }
DEVICE float ring_pad() { return minus_infinity(); }
DEVICE float ring_mac(float acc, float x, float y) { return fmaxf(acc, x + y); }
DEVICE float ring_stage(float value, float) { return value; }
// max drops a NaN, and +∞ meets the padding's -∞: then every entry is computed by the definition.
DEVICE bool ring_taints(float value) { return !(value < -minus_infinity()); }

DEVICE bool ring_is_exact(float) { return true; }
DEVICE float ring_finish(float acc, float) { return acc; }

DEVICE float ring_exact(const Params& params, const float* a, const float* b, int i, int j) {
    float best = minus_infinity();
#pragma unroll 1
    for (int k = first_k(params, i, j); k < end_k(params, i, j); k++) {
        float value = a[a_index(params, i, k)] + b[b_index(params, k, j)];
        if (isnan(value)) return not_a_number();
        best = fmaxf(best, value);
    }
    return best;
}
