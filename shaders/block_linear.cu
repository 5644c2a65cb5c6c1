// What a layer's gradient needs around its products.

#include "shared/activation.cuh"

struct Params {
    uint tokens, features;
    uint flags; // bit 0: z along features, bit 1: g along features; from bit 4 on the activation
};

// The gradient before an activation: out = g · act′(z), entry by entry. z and g may be contiguous along
// tokens or features each; the result is along features.
KERNEL(128) block_linear(PARAMS params, const float* __restrict__ z, const float* __restrict__ g, float* __restrict__ out) {
    uint n = blockIdx.x * 128 + threadIdx.x;
    if (n >= params.tokens * params.features) return;
    uint across = n % params.features * params.tokens + n / params.features;
    out[n] = g[params.flags & 2 ? n : across] * slope(params.flags >> 4, z[params.flags & 1 ? n : across]);
}

// Sums over the tokens, CHUNK of them at a time: out[c][f] = Σ of g[t][f] over chunk c.
const uint CHUNK = 64;

KERNEL(128) block_linear_sums(PARAMS params, const float* __restrict__ g, float* __restrict__ out) {
    uint n = blockIdx.x * 128 + threadIdx.x;
    uint chunks = (params.tokens + CHUNK - 1) / CHUNK;
    if (n >= chunks * params.features) return;
    uint feature = n % params.features;
    uint first = n / params.features * CHUNK;
    bool along = params.flags & 2;
    uint step = along ? params.features : 1;
    g += along ? first * params.features + feature : feature * params.tokens + first;
    float sum = 0;
#pragma unroll 8
    for (uint t = 0; t < min(params.tokens - first, CHUNK); t++) sum += g[t * step];
    out[n] = sum;
}
