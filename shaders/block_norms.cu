// The p-norm of each stored block, scaled by its largest value so that no power leaves the range.

#include "shared/kernel.cuh"

struct Params {
    uint blocks;
    uint size; // values of a block
    float p;   // 0 stands for infinity
};

KERNEL(64) block_norms(PARAMS params, const float* __restrict__ values, float* __restrict__ norms) {
    __shared__ uint bits[64];
    __shared__ float sums[64];
    uint t = threadIdx.x;
    values += blockIdx.x * params.size;

    // The largest magnitude, by its bits, in whose order NaN is greatest.
    uint most = 0;
#pragma unroll 8
    for (uint n = t; n < params.size; n += 64) most = max(most, __float_as_uint(values[n]) & 0x7fffffff);
    bits[t] = most;
    __syncthreads();
    for (uint half = 32; half > 0; half /= 2) {
        if (t < half) bits[t] = max(bits[t], bits[t + half]);
        __syncthreads();
    }
    float largest = __uint_as_float(bits[0]);
    bool special = !isfinite(largest) | (largest == 0) | (params.p == 0);

    // By a power of 2, so that scaling rounds nothing.
    int exponent = clamp((int)(bits[0] >> 23) - 127, -126, 126);
    float up = __uint_as_float((uint)(127 + exponent) << 23);
    float down = __uint_as_float((uint)(127 - exponent) << 23);
    float sum = 0;
    if (!special) {
#pragma unroll 4
        for (uint n = t; n < params.size; n += 64) {
            float x = fabsf(values[n]) * down;
            sum += params.p == 1 ? x : params.p == 2 ? x * x : powf(x, params.p);
        }
    }
    sums[t] = sum;
    __syncthreads();
    for (uint half = 32; half > 0; half /= 2) {
        if (t < half) sums[t] += sums[t + half];
        __syncthreads();
    }
    if (t > 0) return;
    float root = params.p == 1 ? sums[0] : params.p == 2 ? sqrtf(sums[0]) : powf(sums[0], 1 / params.p);
    norms[blockIdx.x] = special ? largest : root * up;
}
