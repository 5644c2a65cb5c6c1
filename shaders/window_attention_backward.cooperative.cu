// The gradients of windowed attention on tensor cores, from f16 operands. The slopes of scores,
// S = P ∘ (dO·Vᵀ - delta), are rounded to f16 once. They are taken relative to the largest gradient of
// all, by a power of two, so that small gradients keep their digits. On HOPPER rows of 64 are multiplied by
// warpgroups.

#include "shared/window_units.cuh"

struct StatsParams {
    uint rows, row; // row: fours of halves in one
};

// Of each row of the result the logsumexp in powers of two, and Σ grad · out. Of all rows the largest
// gradient, which starts at 0. A block has 64 rows, 8 at a time; 16 threads share a row.
KERNEL(128) window_attention_backward_cooperative_stats_64(const __grid_constant__ StatsParams params, const uint2* __restrict__ out,
                                                           const uint2* __restrict__ grad, const float* __restrict__ lse,
                                                           float2* __restrict__ stats, uint* largest) {
    __shared__ uint shared_most;
    if (threadIdx.x == 0) shared_most = 0;
    __syncthreads();
    size_t row = (size_t)blockIdx.x * 64 + threadIdx.x / 16;
    float sums[8] = {}, most = 0;
    for (uint c = threadIdx.x % 16; c < params.row; c += 16) {
        uint2 x[8] = {}, y[8] = {}; // all on their way at once
#pragma unroll
        for (int n = 0; n < 8; n++) {
            if (row + n * 8 < params.rows) x[n] = out[(row + n * 8) * params.row + c], y[n] = grad[(row + n * 8) * params.row + c];
        }
#pragma unroll
        for (int n = 0; n < 8; n++) {
            const half *xs = (const half*)&x[n], *ys = (const half*)&y[n];
#pragma unroll
            for (int e = 0; e < 4; e++) {
                float g = __half2float(ys[e]);
                sums[n] = fmaf(__half2float(xs[e]), g, sums[n]);
                // Infinite and NaN gradients don't count: they make what they reach NaN anyway.
                if (fabsf(g) <= 65504) most = fmaxf(most, fabsf(g));
            }
        }
    }
#pragma unroll
    for (int n = 0; n < 8; n++) {
#pragma unroll
        for (int half = 8; half > 0; half /= 2) sums[n] += __shfl_xor_sync(0xffffffff, sums[n], half);
        size_t at = row + n * 8;
        if ((threadIdx.x % 16 == 0) & (at < params.rows)) stats[at] = make_float2(lse[at] * LOG2_E, sums[n]);
    }
    atomicMax(&shared_most, __float_as_uint(most));
    __syncthreads();
    if (threadIdx.x == 0) atomicMax(largest, shared_most);
}

// The power of two that brings the largest gradient to 1 … 2.
DEVICE float gradient_scale(uint largest) {
    uint exponent = largest >> 23;
    return (exponent == 0) | (exponent >= 254) ? 1 : __uint_as_float((254 - exponent) << 23);
}

struct Operands {
    const half *q, *k, *v, *grad;  // of one head, and of the keys that it meets
    const float2* stats;
};

struct Pair {
    float probability, slope;
};

// Of query i and key j, by the definition.
template <int TILES>
DEVICE Pair exact_pair(const Params& params, const Operands& of, int i, int j) {
    constexpr int D = TILES * 16;
    float probability = power_of_two(row_dot(of.q + i * D, of.k + j * D, D) * (params.scale * LOG2_E) - of.stats[i].x);
    return {probability, probability * (row_dot(of.grad + i * D, of.v + j * D, D) - of.stats[i].y) * params.scale};
}

template <int TILES>
DEVICE Operands operands(const Params& params, int head, const half* q, const half* k, const half* v, const half* grad, const float2* stats) {
    constexpr int D = TILES * 16;
    size_t rows = (size_t)head * params.rows, keys = (size_t)(head / (int)params.group) * params.keys;
    return {q + rows * D, k + keys * D, v + keys * D, grad + rows * D, stats + rows};
}

// dQ = S·K. A block has 128 queries, a warp 32.
template <int TILES>
DEVICE void gradient_q(const Params& params, const half* q, const half* k, const half* v, const uint* positions, const half* grad,
                       const float2* stats, const uint* largest, half* __restrict__ dq) {
    constexpr int D = TILES * 16, MT = by_warpgroup<TILES> ? 1 : 2, LINES = 128, THREADS = LINES / MT * 2, STEP = 32, COUNT = by_warpgroup<TILES> ? 32 : 16;
    constexpr int GROUP = by_warpgroup<TILES> ? 64 : MT * 16, NT = COUNT / 8, STAGE = stage_of<TILES, STEP>, STAGES = by_warpgroup<TILES> ? 2 : 4, LEFT = left_of<TILES, LINES>;
    __shared__ __align__(1024) uint4 shared[(LEFT * 2 + STAGES * 2 * STAGE) / 8];
    if (blockIdx.x >= params.batch * params.tiles) return;
    int head = blockIdx.x / params.tiles, lane = threadIdx.x % 32, warp = warp_index();
    int i0 = blockIdx.x % params.tiles * LINES, end = key_end(params, positions, head / (int)params.group);
    const Operands of = operands<TILES>(params, head, q, k, v, grad, stats);
    Place p = place<STEP>(i0, LINES, i0 + warp * MT * 16 / GROUP * GROUP, GROUP, params.offset, params.lower, params.upper, end);
    p.line = i0 + warp * MT * 16;
    half* stages = (half*)shared + LEFT * 2;
    float unit = gradient_scale(*largest), factor = params.scale * LOG2_E, slope = params.scale * unit;

    Left<TILES, MT> of_q, of_grad;
    of_q.template load<LINES, THREADS>((half*)shared, of.q, i0, p.line, params.rows);
    of_grad.template load<LINES, THREADS>((half*)shared + LEFT, of.grad, i0, p.line, params.rows);
    float sums[MT][TILES * 2][4], tops[MT][2], deltas[MT][2];
#pragma unroll
    for (int m = 0; m < MT; m++) {
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float2 stat = of.stats[min(p.line + m * 16 + r * 8 + lane / 4, params.rows - 1)];
            tops[m][r] = stat.x;
            deltas[m][r] = stat.y * slope;
        }
#pragma unroll
        for (int n = 0; n < TILES * 2; n++) sums[m][n][0] = sums[m][n][1] = sums[m][n][2] = sums[m][n][3] = 0;
    }

    auto stage = [&](int n) {
        half* to = stages + n % STAGES * 2 * STAGE;
        if (p.start + n * STEP < p.stop) {
            stage_rows<TILES, STEP, THREADS>(to, of.k, p.start + n * STEP, params.keys);
            stage_rows<TILES, STEP, THREADS>(to + STAGE, of.v, p.start + n * STEP, params.keys);
        }
        cp_async_commit();
    };
    for (int n = 0; n < STAGES - 1; n++) stage(n);
#pragma unroll 1
    for (int number = 0; p.start + number * STEP < p.stop; number++) {
        cp_async_wait<STAGES - 2>();
        copies_are_there<TILES>();
        __syncthreads();
        stage(number + STAGES - 1);
#pragma unroll 1
        for (int h = 0; h < STEP; h += COUNT) {
            int j = p.start + number * STEP + h;
            if ((j + COUNT <= p.any_first) | (j >= p.any_end)) continue;
            const half* keys = stages + number % STAGES * 2 * STAGE + h * pitch_of<TILES>;
            float s[MT][NT][4], t[MT][NT][4];
            times_rows(s, of_q, keys);
            times_rows(t, of_grad, keys + STAGE);
            products_are_there<TILES>(s);
            products_are_there<TILES>(t);
#pragma unroll
            for (int m = 0; m < MT; m++) {
#pragma unroll
                for (int n = 0; n < NT; n++) {
#pragma unroll
                    for (int r = 0; r < 4; r++) {
                        s[m][n][r] = power_of_two(fmaf(s[m][n][r], factor, -tops[m][r / 2])) * fmaf(t[m][n][r], slope, -deltas[m][r / 2]);
                    }
                }
            }
            if ((j < p.all_first) | (j + COUNT > p.all_end)) mask(s, p, j, 0);
            uint slopes[MT][NT / 2][4];
#pragma unroll
            for (int m = 0; m < MT; m++) {
#pragma unroll
                for (int n = 0; n < NT * 2; n++) slopes[m][n / 4][n % 4] = pack(s[m][n / 2][n % 2 * 2], s[m][n / 2][n % 2 * 2 + 1]);
            }
            add_rows<TILES, MT, NT / 2>(sums, slopes, keys);
            products_are_there<TILES>(sums);
        }
    }
    __syncthreads();

    // Where a sum has left f16's range or met a value it shouldn't.
    auto exact = [&](int i, int, int column, uint4& words) {
        float x[8] = {};
#pragma unroll 1
        for (int j = max(0, i + p.shift - p.below); j < min(p.end, i + p.shift + p.above + 1); j++) {
            add_eight(x, exact_pair<TILES>(params, of, i, j).slope, of.k + j * D + column);
        }
        words = pack_eight(x);
    };
    float units[MT][2];
#pragma unroll
    for (int m = 0; m < MT; m++) units[m][0] = units[m][1] = 1 / unit;
    put_rows<TILES, MT>(dq + (size_t)head * params.rows * D, p.line, params.rows, sums, units, stages + warp * MT * 16 * pitch_of<TILES>, exact);
}

// dK = Sᵀ·Q and dV = Pᵀ·dO, summed over the heads that share the keys. A block has 64 keys, a warp 16.
template <int TILES>
DEVICE void gradient_kv(const Params& params, const half* q, const half* k, const half* v, const uint* positions, const half* grad,
                        const float2* stats, const uint* largest, half* __restrict__ dk, half* __restrict__ dv) {
    constexpr int D = TILES * 16, THREADS = 128, LINES = 64, STEP = 32, NT = STEP / 8, GROUP = by_warpgroup<TILES> ? 64 : 16;
    constexpr int STAGE = stage_of<TILES, STEP>, STAGES = by_warpgroup<TILES> ? 3 : 4, LEFT = left_of<TILES, LINES>;
    __shared__ __align__(1024) uint4 shared[(LEFT * 2 + STAGES * 2 * STAGE) / 8];
    __shared__ float4 shared_stats[STAGES][STEP / 2];
    int group = params.group;
    if (blockIdx.x >= params.batch / group * params.tiles) return;
    int kv = blockIdx.x / params.tiles, lane = threadIdx.x % 32, warp = warp_index();
    int j0 = blockIdx.x % params.tiles * LINES, end = key_end(params, positions, kv);
    const Operands first = operands<TILES>(params, kv * group, q, k, v, grad, stats);
    Place p = place<STEP>(j0, LINES, j0 + warp * 16 / GROUP * GROUP, GROUP, -params.offset, params.upper, params.lower, params.rows);
    if (p.line + GROUP > end) p.all_end = 0;
    p.line = j0 + warp * 16;
    p.lines = end; // padding is met by nobody
    half* stages = (half*)shared + LEFT * 2;
    float unit = gradient_scale(*largest), factor = params.scale * LOG2_E, slope = params.scale * unit;

    Left<TILES, 1> of_k, of_v;
    of_k.template load<LINES, THREADS>((half*)shared, first.k, j0, p.line, params.keys);
    of_v.template load<LINES, THREADS>((half*)shared + LEFT, first.v, j0, p.line, params.keys);
    float key_sums[1][TILES * 2][4], value_sums[1][TILES * 2][4];
#pragma unroll
    for (int n = 0; n < TILES * 2; n++) {
#pragma unroll
        for (int r = 0; r < 4; r++) key_sums[0][n][r] = value_sums[0][n][r] = 0;
    }

    // Steps of all heads that share the keys: the next one to be staged, and the one whose turn it is.
    int steps = div_up(p.stop - p.start, STEP), all = steps * group, next = 0, next_head = 0, next_i = p.start;
    auto stage = [&]() {
        half* to = stages + next % STAGES * 2 * STAGE;
        if (next < all) {
            size_t rows = (size_t)next_head * params.rows;
            stage_rows<TILES, STEP, THREADS>(to, first.q + rows * D, next_i, params.rows);
            stage_rows<TILES, STEP, THREADS>(to + STAGE, first.grad + rows * D, next_i, params.rows);
            int row = next_i + threadIdx.x / 2;
            if (threadIdx.x < STEP * 2) cp_async_4((float*)shared_stats[next % STAGES] + threadIdx.x, (const float*)(first.stats + rows + row) + threadIdx.x % 2, (uint)row < (uint)params.rows);
        }
        cp_async_commit();
        next++;
        next_i += STEP;
        if (next_i >= p.stop) {
            next_i = p.start;
            next_head++;
        }
    };
    for (int n = 0; n < STAGES - 1; n++) stage();
    int now = p.start;
#pragma unroll 1
    for (int number = 0; number < all; number++) {
        cp_async_wait<STAGES - 2>();
        copies_are_there<TILES>();
        __syncthreads();
        stage();
        int i = now;
        now = now + STEP < p.stop ? now + STEP : p.start;
        if ((i + STEP <= p.any_first) | (i >= p.any_end)) continue;
        const half* queries = stages + number % STAGES * 2 * STAGE;
        const float4* own_stats = shared_stats[number % STAGES] + lane % 4;
        float s[1][NT][4], t[1][NT][4];
        times_rows(s, of_k, queries);
        times_rows(t, of_v, queries + STAGE);
        products_are_there<TILES>(s);
        products_are_there<TILES>(t);
#pragma unroll
        for (int n = 0; n < NT; n++) {
            float4 two = own_stats[n * 4];
#pragma unroll
            for (int r = 0; r < 4; r++) {
                s[0][n][r] = power_of_two(fmaf(s[0][n][r], factor, -(r % 2 ? two.z : two.x)));
                t[0][n][r] = s[0][n][r] * ((t[0][n][r] - (r % 2 ? two.w : two.y)) * slope);
            }
        }
        if ((i < p.all_first) | (i + STEP > p.all_end)) {
            mask(s, p, i, 0);
            mask(t, p, i, 0);
        }
        uint probabilities[1][NT / 2][4], slopes[1][NT / 2][4];
#pragma unroll
        for (int n = 0; n < NT; n++) {
#pragma unroll
            for (int r = 0; r < 2; r++) {
                probabilities[0][n / 2][n % 2 * 2 + r] = pack(s[0][n][r * 2], s[0][n][r * 2 + 1]);
                slopes[0][n / 2][n % 2 * 2 + r] = pack(t[0][n][r * 2], t[0][n][r * 2 + 1]);
            }
        }
        add_rows<TILES, 1, NT / 2>(value_sums, probabilities, queries + STAGE);
        add_rows<TILES, 1, NT / 2>(key_sums, slopes, queries);
        products_are_there<TILES>(value_sums);
        products_are_there<TILES>(key_sums);
    }
    __syncthreads();

    // Where a sum has left f16's range or met a value it shouldn't.
    auto exact = [&](int j, int column, bool of_key, uint4& words) {
        float x[8] = {};
        int stop = j < end ? min(p.end, j + p.shift + p.above + 1) : 0;
#pragma unroll 1
        for (int member = 0; member < group; member++) {
            const Operands of = operands<TILES>(params, kv * group + member, q, k, v, grad, stats);
#pragma unroll 1
            for (int i = max(0, j + p.shift - p.below); i < stop; i++) {
                Pair pair = exact_pair<TILES>(params, of, i, j);
                add_eight(x, of_key ? pair.slope : pair.probability, (of_key ? of.q : of.grad) + i * D + column);
            }
        }
        words = pack_eight(x);
    };
    const float units[1][2] = {{1 / unit, 1 / unit}}, ones[1][2] = {{1, 1}};
    half* own = stages + warp * 16 * pitch_of<TILES>;
    size_t keys = (size_t)kv * params.keys * D;
    put_rows<TILES, 1>(dk + keys, p.line, params.keys, key_sums, units, own, [&](int j, int, int column, uint4& words) { exact(j, column, true, words); });
    put_rows<TILES, 1>(dv + keys, p.line, params.keys, value_sums, ones, own, [&](int j, int, int column, uint4& words) { exact(j, column, false, words); });
}

#define GRADIENTS(TILES)                                                                                                                \
    KERNEL(by_warpgroup<TILES> ? 256 : 128, 2) window_attention_backward_cooperative_q_##TILES##_8(                                                                    \
        PARAMS params, const half* __restrict__ q, const half* __restrict__ k, const half* __restrict__ v,                              \
        const uint* __restrict__ positions, const half* __restrict__ grad, const float2* __restrict__ stats,                            \
        const uint* __restrict__ largest, half* __restrict__ dq) {                                                                      \
        gradient_q<TILES>(params, q, k, v, positions, grad, stats, largest, dq);                                                        \
    }                                                                                                                                   \
    KERNEL(128, by_warpgroup<TILES> ? 4 : 3) window_attention_backward_cooperative_kv_##TILES##_4(                                                                   \
        PARAMS params, const half* __restrict__ q, const half* __restrict__ k, const half* __restrict__ v,                              \
        const uint* __restrict__ positions, const half* __restrict__ grad, const float2* __restrict__ stats,                            \
        const uint* __restrict__ largest, half* __restrict__ dk, half* __restrict__ dv) {                                               \
        gradient_kv<TILES>(params, q, k, v, positions, grad, stats, largest, dk, dv);                                                   \
    }

GRADIENTS(1)
GRADIENTS(2)
GRADIENTS(3)
GRADIENTS(4)
