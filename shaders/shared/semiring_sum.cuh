// (+, ×).
#pragma once

#include "matmul_params.cuh"

// Whether staged values have to be looked at, or scaled, before they are multiplied.
constexpr bool RING_LOOKS = false;
constexpr bool RING_SCALES = false;
// Whether products of terms are summed, as tensor cores do.
constexpr bool RING_SUMS = true;

DEVICE float ring_start() { return 0; }
// What is staged where nothing is stored.
DEVICE float ring_pad() { return 0; }
DEVICE float ring_mac(float acc, float x, float y) { return fmaf(x, y, acc); }
DEVICE float ring_stage(float value, float) { return value; }
// Staged values after which padding can no longer be told from data.
DEVICE bool ring_taints(float) { return false; }

// A sum that padding may have spoilt (0 · ∞), or what tensor cores make of an infinity, shows it by not being finite.
DEVICE bool ring_is_exact(float acc) { return fabsf(acc) <= 3.4028234e38f; }
DEVICE float ring_finish(float acc, float) { return acc; }

// The definition.
DEVICE float ring_exact(const Params& params, const float* a, const float* b, int i, int j) {
    float acc = 0;
#pragma unroll 1
    for (int k = first_k(params, i, j); k < end_k(params, i, j); k++) acc = fmaf(a[a_index(params, i, k)], b[b_index(params, k, j)], acc);
    return acc;
}
