// The gradients of windowed attention. A block takes 64 lines (queries, or keys in their own gradient)
// and 64 columns of one gradient, goes along the lines' partners, 32 at a time, and computes their weights
// again: the slopes of scores for Q and K, the probabilities for V. Grouped heads are summed in their
// order. Lines of global positions come from the `line` kernels.

#include "shared/window_line.cuh"

struct DeltaParams {
    uint rows, depth;
};

// Σ grad · out of every row. 16 threads share a row.
KERNEL(128) window_attention_backward_delta(const __grid_constant__ DeltaParams params, const float* __restrict__ out,
                                            const float* __restrict__ grad, float* __restrict__ delta) {
    size_t row = blockIdx.x * 8 + threadIdx.x / 16;
    float sum = 0;
    if (row < params.rows) {
        for (uint c = threadIdx.x % 16; c < params.depth; c += 16) sum = fmaf(out[row * params.depth + c], grad[row * params.depth + c], sum);
    }
#pragma unroll
    for (int half = 8; half > 0; half /= 2) sum += __shfl_xor_sync(0xffffffff, sum, half);
    if ((threadIdx.x % 16 == 0) & (row < params.rows)) delta[row] = sum;
}

// Floats that a block shares: what it stages, and the weights.
template <Of of>
constexpr int shared_floats() {
    return (has_slopes<of> ? 2 : 1) * (LINES + PARTNERS) * PITCH + PARTNERS * PITCH + LINES * WEIGHT_PITCH;
}

template <Of of>
DEVICE void gradient(const Params& params, const Operands& from, float* floats, float* __restrict__ result) {
    constexpr int products = has_slopes<of> ? 2 : 1;
    int heads = lines_are_queries<of> ? 1 : params.group;
    if (blockIdx.x >= params.batch / heads * params.tiles) return;
    int head = blockIdx.x / params.tiles * heads, kv = head / (int)params.group, width = result_width<of>(params);
    const Matrices m = {head, kv, key_end(params, from.positions, kv)};
    const Tile first = first_tile<of>(params, m, blockIdx.x % params.tiles, width);
    float* partners = floats + products * LINES * PITCH;
    const Stages stages = {{floats, floats + LINES * PITCH}, {partners, partners + PARTNERS * PITCH}, partners + products * PARTNERS * PITCH};
    int x = threadIdx.x % 8, y = threadIdx.x % 32 / 8, w = threadIdx.x / 32;
    float* place = stages.values + PARTNERS * PITCH + w * 32 * WEIGHT_PITCH;

    Sums sums;
    float tops[8], deltas[8]; // of the lines, or of four partners
#pragma unroll
    for (int n = 0; n < 8; n++) {
#pragma unroll
        for (int c = 0; c < 8; c++) sums[n][c] = 0;
        if (!lines_are_queries<of>) continue;
        int line = line_of(params, first, w * 32 + y + n * 4);
        tops[n] = row_top(params, from, head, line);
        deltas[n] = row_delta(params, from, head, line);
    }

    // Tile n of all heads.
    int of_head = tiles_of(params, first), count = of_head * heads;
    auto nth = [&](int n) {
        Tile tile = nth_tile(params, first, n % of_head);
        tile.m.head = head + n / of_head;
        return tile;
    };
    if (count > 0) {
        fetch_products<of>(params, from, stages, nth(0), true);
        fetch_values<of>(params, from, stages, nth(0));
    }
    for (int number = 0; number < count; number++) {
        const Tile tile = nth(number);
        if (!lines_are_queries<of>) {
#pragma unroll
            for (int c = 0; c < 4; c++) {
                int partner = partner_of<of>(params, from.positions, tile, x + c * 8);
                tops[c] = row_top(params, from, tile.m.head, partner);
                if (has_slopes<of>) deltas[c] = row_delta(params, from, tile.m.head, partner);
            }
        }
        Scores s, g;
        cp_async_wait<1>();
        __syncthreads();
        product<of>(s, params, from, stages, tile, 0);
        if (has_slopes<of>) product<of>(g, params, from, stages, tile, 1);
        __syncthreads();
        if (number + 1 < count) fetch_products<of>(params, from, stages, nth(number + 1), false);
        else cp_async_commit();

        uint met = is_inside(tile) ? 0xffffffff : meetings<of>(params, from.positions, tile);
#pragma unroll
        for (int n = 0; n < 8; n++) {
#pragma unroll
            for (int c = 0; c < 4; c++) {
                int row = lines_are_queries<of> ? n : c;
                float value = power_of_two(fmaf(s[n][c], params.scale * LOG2_E, -tops[row]));
                if (has_slopes<of>) value *= (g[n][c] - deltas[row]) * params.scale;
                s[n][c] = met >> (n * 4 + c) & 1 ? value : 0;
            }
        }
        cp_async_wait<1>();
        __syncthreads();
        add_weighted(sums, s, place, stages.values);
        __syncthreads();
        if (number + 1 < count) fetch_values<of>(params, from, stages, nth(number + 1));
        else cp_async_commit();
    }

    // Lines leave.
    float* matrix = result + (size_t)(lines_are_queries<of> ? head * params.rows : kv * params.keys) * width;
    bool spoilt = false, whole = in_fours(matrix, width);
#pragma unroll
    for (int n = 0; n < 8; n++) {
        int line = line_of(params, first, w * 32 + y + n * 4);
        if (line < 0) continue;
#pragma unroll
        for (int c = 0; c < 8; c++) spoilt |= isnan(sums[n][c]);
        store_four(matrix + line * width, first.c0 + x * 4, width, whole, sums[n][0], sums[n][1], sums[n][2], sums[n][3]);
        store_four(matrix + line * width, first.c0 + 32 + x * 4, width, whole, sums[n][4], sums[n][5], sums[n][6], sums[n][7]);
    }
    if (!spoilt) return;
    // What NaN has spoilt, by the definition, over all heads.
#pragma unroll 1
    for (int at = 0; at < 64; at++) {
        int u = w * 32 + at / 8 * 4 + y, c = first.c0 + at % 8 / 4 * 32 + x * 4 + at % 4, line = line_of(params, first, u);
        if ((line < 0) | (c >= width) || !isnan(matrix[line * width + c])) continue;
        float sum = 0;
        for (int n = 0; n < heads && !isnan(sum); n++) {
            Tile tile = first;
            tile.m.head += n;
            sum += exact<of>(params, from, tile, u, c, 0);
        }
        matrix[line * width + c] = sum;
    }
}

// For the lines of global positions, which meet every partner.
template <Of of>
DEVICE void line_gradient(const Params& params, const Operands& from, float* weights, float* __restrict__ result) {
    int heads = lines_are_queries<of> ? 1 : params.group, width = result_width<of>(params);
    if (blockIdx.x >= params.batch / heads * params.tiles) return;
    int matrix = blockIdx.x / params.tiles, kv = lines_are_queries<of> ? matrix / (int)params.group : matrix;
    int end = key_end(params, from.positions, kv);
    const Line at = global_line<of>(params, from.positions, blockIdx.x % params.tiles, width);
    if (at.line < 0) return;

    // A key that is padding meets nobody.
    float sum = 0;
    if (lines_are_queries<of> || at.line < end) {
        for (int n = 0; n < heads; n++) sum = line_sum<of>(sum, params, from, {matrix * heads + n, kv, end}, at, weights, 0);
    }
    int lines = lines_are_queries<of> ? params.rows : params.keys;
    if (at.c < width) result[(size_t)(matrix * lines + at.line) * width + at.c] = sum;
}

#define GRADIENT(letter, of)                                                                                                           \
    SHARED_BYTES(window_attention_backward_##letter, shared_floats<of>() * 4)                                                          \
    KERNEL(64) window_attention_backward_##letter(PARAMS params, const float* __restrict__ q, const float* __restrict__ k,             \
                                                  const float* __restrict__ v, const uint* __restrict__ positions,                     \
                                                  const float* __restrict__ grad, const float* __restrict__ lse,                       \
                                                  const float* __restrict__ delta, float* __restrict__ result) {                       \
        extern __shared__ float4 stage[];                                                                                              \
        gradient<of>(params, {q, k, v, positions, grad, lse, delta}, (float*)stage, result);                                           \
    }                                                                                                                                  \
    KERNEL(128) window_attention_backward_##letter##_line(PARAMS params, const float* __restrict__ q, const float* __restrict__ k,     \
                                                          const float* __restrict__ v, const uint* __restrict__ positions,             \
                                                          const float* __restrict__ grad, const float* __restrict__ lse,               \
                                                          const float* __restrict__ delta, float* __restrict__ result) {               \
        __shared__ float weights[LANES];                                                                                               \
        line_gradient<of>(params, {q, k, v, positions, grad, lse, delta}, weights, result);                                            \
    }

GRADIENT(q, OF_Q)
GRADIENT(k, OF_K)
GRADIENT(v, OF_V)
