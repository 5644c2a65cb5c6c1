// Y = act(X · V + bias), V block-sparse, in tiles of TOKENS × OUTPUTS. A tile lies in one block column;
// the blocks there, laid end to end, are one line of terms, staged DEPTH at a time whatever the block
// shape.

#include "shared/block_params.cuh"
#include "shared/block_tile.cuh"

#define OPERANDS \
    const float *__restrict__ x, const float *__restrict__ v, const uint *__restrict__ index, const float *__restrict__ bias, float *__restrict__ y

// A sum by the definition, for what tensor cores made infinite or NaN. NaN stays.
DEVICE float sum_of(const Params& p, const float* __restrict__ x, const float* __restrict__ v, const uint* __restrict__ index, uint first, uint end) {
    const uint x_step = x_along(p) ? 1 : p.x_stride;
    float sum = 0.0f;
#pragma unroll 1
    for (uint block = first; block < end; block++) {
        const uint2 at = entry(p, index, block, end);
#pragma unroll 1
        for (uint row = 0; row < p.depth; row++) {
            const int2 term = place(p, at, row);
            if (term.x >= 0) sum = fmaf(x[term.x * x_step], v[term.y], sum);
        }
        if (isnan(sum)) break;
    }
    return sum;
}

// VECTOR values are copied at a time. X_ALONG and V_ALONG say how the panels lie; where VECTOR is 4, the
// operands too.
template <uint TOKENS, uint OUTPUTS, uint VECTOR, bool X_ALONG, bool V_ALONG>
DEVICE void product(const Params& p, OPERANDS) {
    extern __shared__ float4 memory[];
    constexpr uint THREADS = Tile<TOKENS, OUTPUTS>::THREADS;
    constexpr uint X_SIZE = TOKENS * DEPTH / 4, SIZE = X_SIZE + OUTPUTS * DEPTH / 4;
    const bool along_x = VECTOR == 4 ? X_ALONG : x_along(p), along_v = VECTOR == 4 ? V_ALONG : v_along(p);
    const uint local = threadIdx.x;

    // Which tile, and the terms of its block column. Neighbours share tokens.
    const uint tiles_in_block = p.output_tiles / p.columns;
    const uint output_tile = blockIdx.x % p.output_tiles;
    const uint column = output_tile / tiles_in_block;
    const uint o0 = output_tile % tiles_in_block * OUTPUTS;
    const uint batch = blockIdx.x / p.output_tiles / p.token_tiles;
    const uint t0 = blockIdx.x / p.output_tiles % p.token_tiles * TOKENS;
    const uint first = index[column], end = index[column + 1];
    const uint stages = ((end - first) * p.depth + DEPTH - 1) / DEPTH;

    // A thread's pieces all begin at one term of the stage, for which it keeps where the operands have it,
    // looked up one stage ahead.
    const Pieces xs = placed<X_ALONG, TOKENS>(along_x ? pieces_along<VECTOR, THREADS>(local) : pieces_across<VECTOR, THREADS>(local));
    const Pieces vs = placed<V_ALONG, OUTPUTS>(along_v ? pieces_along<VECTOR, THREADS>(local) : pieces_across<VECTOR, THREADS>(local));
    Term x_term = advance(p, Term{first, 0}, xs.term), v_term = advance(p, Term{first, 0}, vs.term);
    uint2 x_entry = entry(p, index, x_term.block, end), v_entry = entry(p, index, v_term.block, end);
    const bool together = along_x && along_v; // then both begin at one term
    const uint blocks_on = DEPTH / p.depth, rows_on = DEPTH % p.depth;
    auto after = [&](Term term) { // DEPTH further on
        term.block += blocks_on;
        term.row += rows_on;
        if (term.row >= p.depth) {
            term.row -= p.depth;
            term.block++;
        }
        return term;
    };
    // Where the operands have the first piece, but for its term, and how far the next is.
    constexpr uint X_PIECES = TOKENS * DEPTH / VECTOR / THREADS, V_PIECES = OUTPUTS * DEPTH / VECTOR / THREADS;
    constexpr int AT_ONCE = VECTOR == 4 ? 64 : 2;
    const uint x_step = along_x ? p.x_stride : 1, v_step = along_v ? p.depth : 1;
    const uint x_from = batch * p.x_batch + (t0 + xs.item) * x_step, v_from = (o0 + vs.item) * v_step;
    const int tokens_left = p.tokens - t0 - xs.item, outputs_left = p.width - o0 - vs.item;
    auto fetch = [&](uint stage) {
        float4* to = memory + stage % STAGES * SIZE;
        const int2 x_place = place(p, x_entry, x_term.row), v_place = together ? x_place : place(p, v_entry, v_term.row);
        // One comparison a copy, none of which is worth a register from stage to stage.
        const int tokens_here = x_place.x < 0 ? 0 : tokens_left, outputs_here = v_place.x < 0 ? 0 : outputs_left;
        const float* x_at = x + (x_from + max(x_place.x, 0) * (along_x ? 1 : p.x_stride));
#pragma unroll AT_ONCE
        for (uint n = 0; n < X_PIECES; n++) {
            copy<VECTOR, X_ALONG, TOKENS>(to, xs, n, x_at, int(n * xs.items_on) < tokens_here);
            x_at += xs.items_on * x_step;
        }
        const float* v_at = v + (v_from + v_place.y);
#pragma unroll AT_ONCE
        for (uint n = 0; n < V_PIECES; n++) {
            copy<VECTOR, V_ALONG, OUTPUTS>(to + X_SIZE, vs, n, v_at, int(n * vs.items_on) < outputs_here);
            v_at += vs.items_on * v_step;
        }
        x_term = after(x_term);
        x_entry = entry(p, index, x_term.block, end);
        if (together) return;
        v_term = after(v_term);
        v_entry = entry(p, index, v_term.block, end);
    };

    Tile<TOKENS, OUTPUTS> tile = {};
    const uint x_begin = begin<X_ALONG, TOKENS>(tile.wide()), v_begin = X_SIZE * 16 + begin<V_ALONG, OUTPUTS>(tile.narrow());
    in_stages<STAGES>(stages, fetch, [&](uint stage) {
        const uint from = stage % STAGES * (SIZE * 16);
        multiply<X_ALONG, V_ALONG>(tile, memory, from + x_begin, from + v_begin);
    });

    // Out through shared memory, four values at a time, along outputs or along tokens.
    constexpr uint PITCH = OUTPUTS + 4;
    static_assert(TOKENS * PITCH * 4 <= Tile<TOKENS, OUTPUTS>::BYTES);
    float* out = (float*)memory;
    __syncthreads();
    spread<false>(tile, out, PITCH);
    __syncthreads();
    const bool along = y_along(p);
    const uint o_end = min(p.width, p.outputs - column * p.width);
#pragma unroll 1
    for (uint n = local; n < TOKENS * OUTPUTS / 4; n += THREADS) {
        uint t = along ? n / (OUTPUTS / 4) : n % (TOKENS / 4) * 4;
        uint o = along ? n % (OUTPUTS / 4) * 4 : n / (TOKENS / 4);
        if (t0 + t >= p.tokens || o0 + o >= o_end) continue;
        uint count = min(4u, along ? o_end - o0 - o : p.tokens - t0 - t);
        const uint output = column * p.width + o0 + o;
        float* at = out + t * PITCH + o;
        const uint on = along ? 1 : PITCH;
        float results[4] = {at[0], at[on], at[on * 2], at[on * 3]};
        if (any_not_finite(results)) {
#pragma unroll 1
            for (uint i = 0; i < count; i++) {
                const uint token = t0 + t + (along ? 0 : i), side = o0 + o + (along ? i : 0);
                at[i * on] = sum_of(p, x + batch * p.x_batch + token * (x_along(p) ? p.x_stride : 1), v + side * (v_along(p) ? p.depth : 1), index, first, end);
            }
#pragma unroll
            for (uint i = 0; i < 4; i++) results[i] = at[i * on];
        }
        finish_four(p, bias, output, along, count, results);
        float* to = y + y_index(p, batch, t0 + t, output);
        if (VECTOR == 4) {
            *(float4*)to = float4{results[0], results[1], results[2], results[3]};
        } else {
#pragma unroll
            for (uint i = 0; i < 4; i++) {
                if (i < count) to[i] = results[i];
            }
        }
    }
}

#define ENTRY(name, tokens, outputs, ...) \
    SHARED_BYTES(name, (Tile<tokens, outputs>::BYTES)) \
    KERNEL((Tile<tokens, outputs>::THREADS), 384 / (Tile<tokens, outputs>::THREADS)) name(PARAMS p, OPERANDS) { \
        product<tokens, outputs, __VA_ARGS__>(p, x, v, index, bias, y); \
    }

#define TILE(tokens, outputs) \
    ENTRY(block_matmul_scalar_##tokens##_##outputs, tokens, outputs, 1, true, true) \
    ENTRY(block_matmul_vec4_##tokens##_##outputs##_0, tokens, outputs, 4, false, false) \
    ENTRY(block_matmul_vec4_##tokens##_##outputs##_1, tokens, outputs, 4, true, false) \
    ENTRY(block_matmul_vec4_##tokens##_##outputs##_2, tokens, outputs, 4, false, true) \
    ENTRY(block_matmul_vec4_##tokens##_##outputs##_3, tokens, outputs, 4, true, true)

TILE(128, 64)
TILE(256, 32)
TILE(256, 16)
TILE(64, 32)
