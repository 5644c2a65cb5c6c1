// C = Aᵀ · B at stored blocks, for flat blocks and few tokens: a thread walks along the tokens for one
// value; LANES of them share a value where there are too few to fill a GPU.

#include "shared/sddmm_params.cuh"

template <uint LANES>
DEVICE void walk(const Params& p, const float* __restrict__ a, const float* __restrict__ b, const uint* __restrict__ index,
                 float* __restrict__ c) {
    const uint VALUES = 128 / LANES;
    uint local = threadIdx.x;
    uint row = blockIdx.x / p.column_tiles;
    uint first = index[row];
    uint count = (index[row + 1] - first) * p.width;
    // Values of a row side by side, so that neighbours read neighbours of B.
    uint value = blockIdx.x % p.column_tiles * VALUES + local % VALUES;
    uint lane = local / VALUES;
    uint i = value / max(count, 1u);
    uint feature = row * p.height + i;
    int2 at = {-1, -1};
    if (i < p.height) at = place(p, index, value % max(count, 1u), first, count);
    bool inside = (at.x >= 0) & (feature < p.rows);

    float sum = 0;
    if (inside) {
        a += a_index(p, 0, feature);
        b += b_index(p, 0, at.x);
        uint a_step = a_along(p) ? p.a_stride : 1, b_step = b_along(p) ? p.b_stride : 1;
#pragma unroll 4
        for (uint t = lane; t < p.tokens; t += LANES) sum = fmaf(a[t * a_step], b[t * b_step], sum);
    }

    // The lanes' sums, in the same order every time.
    if (LANES > 1) {
        __shared__ float partial[128];
        partial[local] = sum;
        __syncthreads();
        for (uint half = LANES / 2; half > 0; half /= 2) {
            if (lane < half) partial[local] += partial[local + half * VALUES];
            __syncthreads();
        }
        sum = partial[local];
    }
    if ((lane > 0) | (at.y < 0)) return;
    uint to = at.y + i * p.width;
    c[to] = adds(p) ? c[to] + sum : sum;
}

#define WALK(lanes)                                                                                                        \
    KERNEL(128) block_sddmm_walk_##lanes(PARAMS params, const float* __restrict__ a, const float* __restrict__ b,          \
                                         const uint* __restrict__ index, float* __restrict__ c) {                          \
        walk<lanes>(params, a, b, index, c);                                                                               \
    }
WALK(1)
WALK(8)
WALK(32)
