// out = softmax(scale · Q·Kᵀ)·V in a window, and the logsumexp of each row, from f16 operands. Sums are
// taken in f32; scores are f32, their exponentials (relative to a maximum that lags by at most 2⁸) are
// rounded to f16 once, before they meet V. A block has 128 queries.

#include "shared/window_units.cuh"

const int LINES = 128;

// Lines of a warp, in sixteens: as many as its registers hold, or for HOPPER's warpgroups one.
template <int TILES>
constexpr int tall = by_warpgroup<TILES> || TILES > 4 ? 1 : 2;
template <int TILES>
constexpr int threads_of = LINES / tall<TILES> * 2;

template <int TILES>
DEVICE void forward(const Params& params, const half* __restrict__ q, const half* __restrict__ k, const half* __restrict__ v,
                    const uint* __restrict__ positions, half* __restrict__ out, float* __restrict__ lse) {
    constexpr int D = TILES * 16, MT = tall<TILES>, STEP = by_warpgroup<TILES> ? 64 : 32, NT = STEP / 8, THREADS = threads_of<TILES>;
    constexpr int GROUP = by_warpgroup<TILES> ? 64 : MT * 16, STAGE = stage_of<TILES, STEP>, STAGES = by_warpgroup<TILES> || TILES > 4 ? 2 : 4;
    constexpr int BASES = LINES * pitch_of<TILES>, ALL = STAGES * 2 * STAGE; // halves; a row's base comes behind the results
    __shared__ __align__(1024) uint4 shared[(left_of<TILES, LINES> + (ALL < BASES + LINES * 2 ? BASES + LINES * 2 : ALL)) / 8];
    if (blockIdx.x >= params.batch * params.tiles) return;
    int head = blockIdx.x / params.tiles, kv = head / (int)params.group, lane = threadIdx.x % 32, warp = warp_index();
    int i0 = blockIdx.x % params.tiles * LINES;
    Place p = place<STEP>(i0, LINES, i0 + warp * MT * 16 / GROUP * GROUP, GROUP, params.offset, params.lower, params.upper, key_end(params, positions, kv));
    p.line = i0 + warp * MT * 16;
    const half* own_q = q + (size_t)head * params.rows * D;
    const half* own_k = k + (size_t)kv * params.keys * D;
    const half* own_v = v + (size_t)kv * params.keys * D;
    half* stages = (half*)shared + left_of<TILES, LINES>;

    // Scores are compared before they are scaled, so a factor below 0 goes into Q, and 0 is none.
    Left<TILES, MT> left;
    left.template load<LINES, THREADS>((half*)shared, own_q, i0, p.line, params.rows);
    if (params.scale < 0) left.template negate<LINES, THREADS>((half*)shared);
    float factor = fmaxf(fabsf(params.scale) * LOG2_E, 1e-37f);
    float sums[MT][TILES * 2][4], tops[MT][2], totals[MT][2];
#pragma unroll
    for (int m = 0; m < MT; m++) {
#pragma unroll
        for (int n = 0; n < TILES * 2; n++) sums[m][n][0] = sums[m][n][1] = sums[m][n][2] = sums[m][n][3] = 0;
        tops[m][0] = tops[m][1] = minus_infinity(); // what a row's scores are taken relative to
        totals[m][0] = totals[m][1] = 0;            // of 2^score, this thread's part
    }

    auto stage = [&](int n) {
        half* to = stages + n % STAGES * 2 * STAGE;
        if (p.start + n * STEP < p.stop) {
            stage_rows<TILES, STEP, THREADS>(to, own_k, p.start + n * STEP, params.keys);
            stage_rows<TILES, STEP, THREADS>(to + STAGE, own_v, p.start + n * STEP, params.keys);
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
        int j = p.start + number * STEP;
        if ((j + STEP <= p.any_first) | (j >= p.any_end)) continue;
        const half* keys = stages + number % STAGES * 2 * STAGE;
        float s[MT][NT][4];
        times_rows(s, left, keys);
        products_are_there<TILES>(s);
        if ((j < p.all_first) | (j + STEP > p.all_end)) mask(s, p, j, minus_infinity());

        // The sums so far shrink only where the maximum has grown by more than f16 takes in.
        float largest[MT][2];
        bool grown = false;
#pragma unroll
        for (int m = 0; m < MT; m++) {
#pragma unroll
            for (int r = 0; r < 2; r++) {
                largest[m][r] = fmaxf(s[m][0][r * 2], s[m][0][r * 2 + 1]);
#pragma unroll
                for (int n = 1; n < NT; n++) largest[m][r] = fmaxf(largest[m][r], fmaxf(s[m][n][r * 2], s[m][n][r * 2 + 1]));
                largest[m][r] *= factor;
                grown |= largest[m][r] > tops[m][r] + 8;
            }
        }
        if (__any_sync(0xffffffff, grown)) {
#pragma unroll
            for (int m = 0; m < MT; m++) {
#pragma unroll
                for (int r = 0; r < 2; r++) {
                    float before = tops[m][r], x = largest[m][r];
                    x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, 1));
                    x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, 2));
                    tops[m][r] = fmaxf(before, x);
                    float shrink = before == minus_infinity() ? 1 : power_of_two(before - tops[m][r]);
                    totals[m][r] *= shrink;
#pragma unroll
                    for (int n = 0; n < TILES * 2; n++) {
                        sums[m][n][r * 2] *= shrink;
                        sums[m][n][r * 2 + 1] *= shrink;
                    }
                }
            }
        }

        // Weights, and their sums of values.
        uint weights[MT][NT / 2][4];
#pragma unroll
        for (int m = 0; m < MT; m++) {
            float low = tops[m][0] == minus_infinity() ? 0 : tops[m][0], high = tops[m][1] == minus_infinity() ? 0 : tops[m][1];
#pragma unroll
            for (int n = 0; n < NT; n++) {
                float x0 = power_of_two(fmaf(s[m][n][0], factor, -low)), x1 = power_of_two(fmaf(s[m][n][1], factor, -low));
                float x2 = power_of_two(fmaf(s[m][n][2], factor, -high)), x3 = power_of_two(fmaf(s[m][n][3], factor, -high));
                totals[m][0] += x0 + x1;
                totals[m][1] += x2 + x3;
                weights[m][n / 2][n % 2 * 2] = pack(x0, x1);
                weights[m][n / 2][n % 2 * 2 + 1] = pack(x2, x3);
            }
        }
        add_rows<TILES, MT, NT / 2>(sums, weights, keys + STAGE);
        products_are_there<TILES>(sums);
    }
    __syncthreads();

    float factors[MT][2];
    float* own_bases = (float*)(stages + BASES) + warp * MT * 16;
#pragma unroll
    for (int m = 0; m < MT; m++) {
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float total = totals[m][r];
            total += __shfl_xor_sync(0xffffffff, total, 1);
            total += __shfl_xor_sync(0xffffffff, total, 2);
            factors[m][r] = total == 0 ? 0 : 1 / total;
            int row = m * 16 + r * 8 + lane / 4, i = p.line + row;
            float base = total == 0 ? minus_infinity() : tops[m][r] + log2f(total);
            if (lane % 4 != 0) continue;
            own_bases[row] = base;
            if (i < params.rows) lse[head * params.rows + i] = base / LOG2_E;
        }
    }
    // An infinite or NaN value that a row doesn't attend to has met a weight of 0. A score that is NaN makes
    // the whole row so.
    auto exact = [&](int i, int row, int column, uint4& words) {
        if (isnan(own_bases[row])) return;
        float x[8] = {};
#pragma unroll 1
        for (int j = max(0, i + p.shift - p.below); j < min(p.end, i + p.shift + p.above + 1); j++) {
            float score = row_dot(own_q + i * D, own_k + j * D, D) * (params.scale * LOG2_E);
            add_eight(x, power_of_two(score - own_bases[row]), own_v + j * D + column);
        }
        words = pack_eight(x);
    };
    put_rows<TILES, MT>(out + (size_t)head * params.rows * D, p.line, params.rows, sums, factors, stages + warp * MT * 16 * pitch_of<TILES>, exact);
}

#define FORWARD(TILES)                                                                                                                  \
    KERNEL(threads_of<TILES>, by_warpgroup<TILES> ? 2 : TILES <= 4 ? 3 : 1) window_attention_cooperative_##TILES##_8(                                                                 \
        PARAMS params, const half* __restrict__ q, const half* __restrict__ k, const half* __restrict__ v,                              \
        const uint* __restrict__ positions, half* __restrict__ out, float* __restrict__ lse) {                                          \
        forward<TILES>(params, q, k, v, positions, out, lse);                                                                           \
    }

FORWARD(1)
FORWARD(2)
FORWARD(3)
FORWARD(4)
FORWARD(5)
FORWARD(6)
FORWARD(7)
FORWARD(8)
