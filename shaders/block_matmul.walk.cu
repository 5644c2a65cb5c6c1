// Y = act(X · V + bias) for narrow blocks and for few tokens: a thread walks along one column of V for
// 8 tokens at once. LANES of them share a column where there are too few to fill a GPU.

#include "shared/block_params.cuh"

const uint TOKENS = 8;

template <uint LANES>
DEVICE void walk(const Params& p, const float* __restrict__ x, const float* __restrict__ v, const uint* __restrict__ index,
                 const float* __restrict__ bias, float* __restrict__ y) {
    const uint OUTPUTS = 128 / LANES;
    uint local = threadIdx.x, tile = blockIdx.x;
    // Neighbours read neighbouring values of V.
    uint lane = v_along(p) ? local % LANES : local / OUTPUTS;
    uint output = tile % p.output_tiles * OUTPUTS + (v_along(p) ? local / LANES : local % OUTPUTS);
    uint batch = tile / p.output_tiles / p.token_tiles;
    uint t = tile / p.output_tiles % p.token_tiles * TOKENS;
    bool here = output < p.outputs;
    uint count = min(p.tokens - t, TOKENS);
    uint column = output / p.width;

    // The terms of the column: its blocks laid end to end, every LANES-th for this lane.
    uint v_step = v_along(p) ? 1 : p.width;
    uint from_token = x_along(p) ? p.x_stride : 1, from_feature = x_along(p) ? 1 : p.x_stride;
    x += batch * p.x_batch + t * from_token;
    v += output % p.width * (v_along(p) ? p.depth : 1);
    float sums[TOKENS] = {};
    uint end = here ? index[column + 1] : 0;
    uint row = lane;
    for (uint block = here ? index[column] : 0; block < end; block++) {
        uint entry = p.columns + 1 + block * 2;
        uint feature = index[entry] * p.depth, start = index[entry + 1] * p.depth * p.width;
#pragma unroll 2
        for (; row < p.depth; row += LANES) {
            if (feature + row >= p.inner) continue;
            float value = v[start + row * v_step];
#pragma unroll
            for (uint n = 0; n < TOKENS; n++) {
                if (n < count) sums[n] = fmaf(x[(feature + row) * from_feature + n * from_token], value, sums[n]);
            }
        }
        row -= p.depth;
    }

    // The lanes' sums, in the same order every time.
    if (LANES > 1) {
        __shared__ float partial[TOKENS][128];
        const uint distance = v_along(p) ? 1 : OUTPUTS;
#pragma unroll
        for (uint n = 0; n < TOKENS; n++) partial[n][local] = sums[n];
        __syncthreads();
        for (uint half = LANES / 2; half > 0; half /= 2) {
            if (lane < half) {
#pragma unroll
                for (uint n = 0; n < TOKENS; n++) partial[n][local] += partial[n][local + half * distance];
            }
            __syncthreads();
        }
#pragma unroll
        for (uint n = 0; n < TOKENS; n++) sums[n] = partial[n][local];
    }
    if ((lane > 0) | !here) return;
#pragma unroll
    for (uint n = 0; n < TOKENS; n++) {
        if (n < count) y[y_index(p, batch, t + n, output)] = finish(p, bias, output, sums[n]);
    }
}

#define WALK(lanes)                                                                                                              \
    KERNEL(128) block_matmul_walk_##lanes(PARAMS params, const float* __restrict__ x, const float* __restrict__ v,               \
                                          const uint* __restrict__ index, const float* __restrict__ bias, float* __restrict__ y) { \
        walk<lanes>(params, x, v, index, bias, y);                                                                               \
    }
WALK(1)
WALK(8)
WALK(32)
