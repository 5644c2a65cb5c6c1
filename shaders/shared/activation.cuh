// What a layer does to its sums: 0 nothing, 1 ReLU, 2 GELU (z · Φ(z), exact up to 2e-7 · |z|); see
// activation.wgsl, which this follows.
#pragma once

#include "kernel.cuh"

// 1 / x to 1 unit in the last place, for x from 1 to 2^126; a division proper is a call, next to which the
// compiler can't keep Hopper's matrix products under way.
DEVICE float reciprocal(float x) {
#ifdef __CUDACC__
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return 1.0f / x;
#endif
}

// Φ, the normal distribution function: Abramowitz and Stegun, 7.1.26, |error| < 1e-7.
DEVICE float normal(float z) {
    float x = fabsf(z) * 0.70710678f;
    float t = reciprocal(1.0f + 0.3275911f * x);
    float tail = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    float half = 0.5f * tail * expf(-x * x);
    return z < 0.0f ? half : 1.0f - half;
}

DEVICE float activate(uint kind, float z) {
    if (kind == 1) return z <= 0.0f ? 0.0f : z;
    // Far below 0 GELU is 0, at −∞ too.
    if (kind == 2) return z < -20.0f ? 0.0f : z * normal(z);
    return z;
}

// The derivative at z.
DEVICE float slope(uint kind, float z) {
    if (kind == 1) return z <= 0.0f ? 0.0f : 1.0f;
    if (kind == 2) {
        if (fabsf(z) > 20.0f) return z < 0.0f ? 0.0f : 1.0f;
        return normal(z) + z * 0.39894228f * expf(-0.5f * z * z);
    }
    return 1.0f;
}
