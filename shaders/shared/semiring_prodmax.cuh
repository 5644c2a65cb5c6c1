// (max, ×). No value pads without harm (-∞ times a negative is +∞), so the padding is NaN, which the
// maximum drops.
#pragma once

#include "matmul_params.cuh"

constexpr bool RING_LOOKS = true;
constexpr bool RING_SCALES = false;
constexpr bool RING_SUMS = false;

DEVICE float ring_start() { return minus_infinity(); }
DEVICE float ring_pad() { return not_a_number(); }
DEVICE float ring_mac(float acc, float x, float y) { return fmaxf(acc, x * y); }
DEVICE float ring_stage(float value, float) { return value; }
// A NaN or an infinity (0 · ∞) in the data would be dropped like the padding.
DEVICE bool ring_taints(float value) { return !(fabsf(value) < -minus_infinity()); }

// -∞ is what is left where there was no term, or where finite terms overflowed.
DEVICE bool ring_is_exact(float acc) { return acc >= -3.4028234e38f; }
DEVICE float ring_finish(float acc, float) { return acc; }

DEVICE float ring_exact(const Params& params, const float* a, const float* b, int i, int j) {
    int first = first_k(params, i, j), end = end_k(params, i, j);
    float best = minus_infinity();
#pragma unroll 1
    for (int k = first; k < end; k++) {
        float value = a[a_index(params, i, k)] * b[b_index(params, k, j)];
        if (isnan(value)) return not_a_number();
        best = fmaxf(best, value);
    }
    return first < end ? best : 0;
}
