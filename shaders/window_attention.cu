// out = softmax(scale · Q·Kᵀ)·V over the keys that each query attends to, with the logsumexp of each
// row. One block takes 64 rows and 64 columns of the result and goes along the window, 32 keys at a
// time, with running maxima and sums. Rows of global positions come from the `line` kernel.

#include "shared/window_line.cuh"

KERNEL(64) window_attention(PARAMS params, const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v,
                            const uint* __restrict__ positions, float* __restrict__ out, float* __restrict__ lse) {
    __shared__ float4 stage[(LINES + 2 * PARTNERS) * PITCH / 4 + LINES * WEIGHT_PITCH / 4];
    if (blockIdx.x >= params.batch * params.tiles) return;
    int head = blockIdx.x / params.tiles, kv = head / (int)params.group;
    const Operands from = {q, k, v, positions, q, q, q};
    const Matrices m = {head, kv, key_end(params, positions, kv)};
    const Tile first = first_tile<RESULT>(params, m, blockIdx.x % params.tiles, params.value_depth);
    float* floats = (float*)stage;
    const Stages stages = {{floats, floats}, {floats + LINES * PITCH, floats}, floats + (LINES + PARTNERS) * PITCH};
    int x = threadIdx.x % 8, y = threadIdx.x % 32 / 8, w = threadIdx.x / 32;
    float* place = floats + (LINES + 2 * PARTNERS) * PITCH + w * 32 * WEIGHT_PITCH;

    Sums sums;
    float tops[8], totals[8]; // what each line's scores are taken relative to; this thread's part of the sum of 2^score
#pragma unroll
    for (int n = 0; n < 8; n++) {
        tops[n] = minus_infinity();
        totals[n] = 0;
#pragma unroll
        for (int c = 0; c < 8; c++) sums[n][c] = 0;
    }

    int count = tiles_of(params, first);
    fetch_products<RESULT>(params, from, stages, nth_tile(params, first, 0), true);
    fetch_values<RESULT>(params, from, stages, nth_tile(params, first, 0));
    for (int number = 0; number < count; number++) {
        const Tile tile = nth_tile(params, first, number), next = nth_tile(params, first, number + 1);
        Scores s;
        cp_async_wait<1>();
        __syncthreads();
        product<RESULT>(s, params, from, stages, tile, 0);
        __syncthreads();
        if (number + 1 < count) fetch_products<RESULT>(params, from, stages, next, false);
        else cp_async_commit();

        bool grown = false;
        uint met = is_inside(tile) ? 0xffffffff : meetings<RESULT>(params, positions, tile);
#pragma unroll
        for (int n = 0; n < 8; n++) {
#pragma unroll
            for (int c = 0; c < 4; c++) {
                s[n][c] = met >> (n * 4 + c) & 1 ? s[n][c] * (params.scale * LOG2_E) : minus_infinity();
                grown |= s[n][c] > tops[n] + 8;
            }
        }
        // The sums so far shrink only where the largest score has grown by a good deal.
        if (__any_sync(0xffffffff, grown)) {
#pragma unroll
            for (int n = 0; n < 8; n++) {
                float largest = fmaxf(fmaxf(s[n][0], s[n][1]), fmaxf(s[n][2], s[n][3])), before = tops[n];
                largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, 1));
                largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, 2));
                largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, 4));
                tops[n] = fmaxf(before, largest);
                float shrink = before == minus_infinity() ? 0 : power_of_two(before - tops[n]);
                totals[n] = before == minus_infinity() ? totals[n] : totals[n] * shrink;
#pragma unroll
                for (int c = 0; c < 8; c++) sums[n][c] = before == minus_infinity() ? sums[n][c] : sums[n][c] * shrink;
            }
        }
#pragma unroll
        for (int n = 0; n < 8; n++) {
            float relative = tops[n] == minus_infinity() ? 0 : tops[n];
#pragma unroll
            for (int c = 0; c < 4; c++) {
                s[n][c] = power_of_two(s[n][c] - relative);
                totals[n] += s[n][c];
            }
        }
        cp_async_wait<1>();
        __syncthreads();
        add_weighted(sums, s, place, stages.values);
        __syncthreads();
        if (number + 1 < count) fetch_values<RESULT>(params, from, stages, next);
        else cp_async_commit();
    }

    // Lines leave, sums over the total.
    bool spoilt = false;
    bool whole = in_fours(out, params.value_depth);
    __syncwarp();
#pragma unroll
    for (int n = 0; n < 8; n++) {
        float total = totals[n];
        total += __shfl_xor_sync(0xffffffff, total, 1);
        total += __shfl_xor_sync(0xffffffff, total, 2);
        total += __shfl_xor_sync(0xffffffff, total, 4);
        bool none = total == 0;
        float base = isnan(total) ? total : tops[n] + log2f(total), factor = none ? 0 : 1 / total;
        int line = line_of(params, first, w * 32 + y + n * 4);
        if (x == 0) place[y + n * 4] = base;
        if ((x == 0) & (line >= 0) & (first.c0 == 0)) lse[head * params.rows + line] = none ? minus_infinity() : base / LOG2_E;
#pragma unroll
        for (int c = 0; c < 8; c++) {
            sums[n][c] = none ? 0 : sums[n][c] * factor;
            spoilt |= isnan(sums[n][c]);
        }
        if (line < 0) continue;
        float* to = out + (size_t)(head * params.rows + line) * params.value_depth;
        store_four(to, first.c0 + x * 4, params.value_depth, whole, sums[n][0], sums[n][1], sums[n][2], sums[n][3]);
        store_four(to, first.c0 + 32 + x * 4, params.value_depth, whole, sums[n][4], sums[n][5], sums[n][6], sums[n][7]);
    }
    __syncwarp();
    if (!spoilt) return;
    // A score that is NaN makes the whole row so.
#pragma unroll 1
    for (int at = 0; at < 64; at++) {
        int u = at / 8 * 4 + y, c = first.c0 + at % 8 / 4 * 32 + x * 4 + at % 4, line = line_of(params, first, w * 32 + u);
        if ((line < 0) | (c >= params.value_depth)) continue;
        float* to = out + (size_t)(head * params.rows + line) * params.value_depth + c;
        if (isnan(*to) && !isnan(place[u])) *to = exact<RESULT>(params, from, first, w * 32 + u, c, place[u]);
    }
}

// A row that meets every key: first the logsumexp of its scores, then its result.
KERNEL(128) window_attention_line(PARAMS params, const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v,
                                  const uint* __restrict__ positions, float* __restrict__ out, float* __restrict__ lse) {
    __shared__ float tops[LANES], weights[LANES];
    if (blockIdx.x >= params.batch * params.tiles) return;
    int head = blockIdx.x / params.tiles, kv = head / (int)params.group;
    const Operands from = {q, k, v, positions, q, q, q};
    const Matrices m = {head, kv, key_end(params, positions, kv)};
    const Line at = global_line<RESULT>(params, positions, blockIdx.x % params.tiles, params.value_depth);
    if (at.line < 0) return;

    // Every thread's share of the keys, with its own largest score.
    float largest = minus_infinity(), share = 0;
    for (int j = threadIdx.x; j < m.end; j += LANES) {
        float x = score(params, from, m, at.line, j), before = largest;
        largest = fmaxf(before, x);
        float relative = largest == minus_infinity() ? 0 : largest;
        share = fmaf(share, power_of_two(before - relative), power_of_two(x - relative));
    }
    tops[threadIdx.x] = largest;
    weights[threadIdx.x] = share;
    __syncthreads();
    for (int n = 0; n < LANES; n++) largest = fmaxf(largest, tops[n]);
    float relative = largest == minus_infinity() ? 0 : largest, total = 0;
    for (int n = 0; n < LANES; n++) total = fmaf(weights[n], power_of_two(tops[n] - relative), total);
    bool none = total == 0;
    float top = none ? 0 : isnan(total) ? total : relative + log2f(total);

    float sum = line_sum<RESULT>(0, params, from, m, at, weights, top);
    int row = head * params.rows + at.line;
    if (at.c < params.value_depth) out[(size_t)row * params.value_depth + at.c] = none ? 0 : sum;
    if (at.c == 0) lse[row] = none ? minus_infinity() : top / LOG2_E;
}
