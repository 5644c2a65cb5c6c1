// Y = act(X · V + bias), V block-sparse, in tiles of TOKENS × OUTPUTS. A tile lies in one block column;
// the blocks there, laid end to end, are one line of terms, staged DEPTH at a time whatever the block
// shape.

#include "shared/block_params.cuh"
#include "shared/block_tile.cuh"

#define OPERANDS \
    const float *__restrict__ x, const float *__restrict__ v, const uint *__restrict__ index, const float *__restrict__ bias, float *__restrict__ y

template <uint TOKENS, uint OUTPUTS>
constexpr uint threads = TOKENS * OUTPUTS / 64;
template <uint TOKENS, uint OUTPUTS>
constexpr uint shared = STAGES * DEPTH * 4 * (TOKENS + OUTPUTS + 4);

// VECTOR values are copied at a time. X_ALONG says how X's panel lies; where VECTOR is 4, X too. V's panel
// lies along the outputs, with a pitch that spreads what is copied term by term over the banks.
template <uint TOKENS, uint OUTPUTS, uint VECTOR, bool X_ALONG>
DEVICE void product(const Params& p, OPERANDS) {
    extern __shared__ float4 memory[];
    constexpr uint THREADS = threads<TOKENS, OUTPUTS>, SIDE = OUTPUTS / 8;
    constexpr uint V_PITCH = OUTPUTS + 4, X_SIZE = TOKENS * DEPTH / 4, SIZE = X_SIZE + V_PITCH * DEPTH / 4;
    const bool along_x = VECTOR == 4 ? X_ALONG : x_along(p), along_v = v_along(p);
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
    const Pieces vs = along_v ? pieces_along<VECTOR, THREADS>(local) : pieces_across<VECTOR, THREADS>(local);
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
        const uint from = x_from + max(x_place.x, 0) * (along_x ? 1 : p.x_stride);
#pragma unroll AT_ONCE
        for (uint n = 0; n < X_PIECES; n++) {
            bool ok = (x_place.x >= 0) & (int(n * xs.items_on) < tokens_left);
            copy<VECTOR, X_ALONG, TOKENS>(to, xs, n, x + (from + n * xs.items_on * x_step), ok);
        }
        float* v_to = (float*)(to + X_SIZE) + vs.term * V_PITCH + vs.item;
        const float* v_at = v + (v_from + v_place.y);
        if (VECTOR == 4 && along_v) {
#pragma unroll
            for (uint n = 0; n < V_PIECES; n++) {
                bool ok = (v_place.x >= 0) & (int(n * vs.items_on) < outputs_left);
#pragma unroll
                for (uint m = 0; m < 4; m++) cp_async_4(v_to + n * vs.items_on + m * V_PITCH, v_at + n * vs.items_on * v_step + m, ok);
            }
        } else {
#pragma unroll AT_ONCE
            for (uint n = 0; n < V_PIECES; n++) {
                bool ok = (v_place.x >= 0) & (int(n * vs.items_on) < outputs_left);
                if (VECTOR == 4) cp_async_16(v_to + n * vs.items_on, v_at + n * vs.items_on, ok);
                else cp_async_4(v_to + n * vs.items_on, v_at + n * vs.items_on * v_step, ok);
            }
        }
        x_term = after(x_term);
        x_entry = entry(p, index, x_term.block, end);
        if (together) return;
        v_term = after(v_term);
        v_entry = entry(p, index, v_term.block, end);
    };

    const uint x_begin = begin<X_ALONG>(local / SIDE), v_begin = X_SIZE * 16 + begin<false>(local % SIDE);
    float sums[8][8] = {};
    in_stages<STAGES>(stages, fetch, [&](uint stage) {
        const uint from = stage % STAGES * (SIZE * 16);
        multiply<X_ALONG, TOKENS, false, OUTPUTS, V_PITCH>(sums, memory, from + x_begin, from + v_begin);
    });

    // Out through shared memory, four values at a time, along outputs or along tokens.
    constexpr uint PITCH = OUTPUTS + 4;
    static_assert(TOKENS * PITCH * 4 <= shared<TOKENS, OUTPUTS>);
    float* tile = (float*)memory;
    __syncthreads();
    spread<TOKENS, OUTPUTS>(sums, tile, PITCH, local / SIDE, local % SIDE);
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
        float results[4];
#pragma unroll
        for (uint i = 0; i < 4; i++) results[i] = tile[along ? t * PITCH + o + i : (t + i) * PITCH + o];
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

#define VEC4(tokens, outputs, along) \
    SHARED_BYTES(block_matmul_vec4_##tokens##_##outputs##_##along, (shared<tokens, outputs>)) \
    KERNEL((threads<tokens, outputs>), 384 / (threads<tokens, outputs>)) block_matmul_vec4_##tokens##_##outputs##_##along(PARAMS p, OPERANDS) { \
        product<tokens, outputs, 4, along>(p, x, v, index, bias, y); \
    }

#define TILE(tokens, outputs) \
    SHARED_BYTES(block_matmul_scalar_##tokens##_##outputs, (shared<tokens, outputs>)) \
    KERNEL((threads<tokens, outputs>), 384 / (threads<tokens, outputs>)) block_matmul_scalar_##tokens##_##outputs(PARAMS p, OPERANDS) { \
        product<tokens, outputs, 1, true>(p, x, v, index, bias, y); \
    } \
    VEC4(tokens, outputs, 0) \
    VEC4(tokens, outputs, 1)

TILE(256, 32)
TILE(256, 16)
TILE(64, 32)
