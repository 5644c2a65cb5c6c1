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
constexpr uint shared = STAGES * DEPTH * 4 * (TOKENS + OUTPUTS);

// VECTOR values are copied at a time. X_ALONG and V_ALONG say how the panels lie; where VECTOR is 4, the
// operands too.
template <uint TOKENS, uint OUTPUTS, uint VECTOR, bool X_ALONG, bool V_ALONG>
DEVICE void product(const Params& p, OPERANDS) {
    extern __shared__ float4 memory[];
    constexpr uint THREADS = threads<TOKENS, OUTPUTS>, SIDE = OUTPUTS / 8;
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
    constexpr uint BESIDE = THREADS / DEPTH;
    auto x_piece = [&](uint n) { return along_x ? piece_along<VECTOR>(n) : piece_across<VECTOR, BESIDE>(n); };
    auto v_piece = [&](uint n) { return along_v ? piece_along<VECTOR>(n) : piece_across<VECTOR, BESIDE>(n); };
    Term x_term = advance(p, Term{first, 0}, x_piece(local).term), v_term = advance(p, Term{first, 0}, v_piece(local).term);
    int2 x_place = place(p, index, x_term, end), v_place = place(p, index, v_term, end);
    auto fetch = [&](uint stage) {
        float4* to = memory + stage % STAGES * SIZE;
        const uint x_step = along_x ? p.x_stride : 1, v_step = along_v ? p.depth : 1;
        const float* from = x + batch * p.x_batch + max(x_place.x, 0) * (along_x ? 1 : p.x_stride) + t0 * x_step;
#pragma unroll
        for (uint n = 0; n < TOKENS * DEPTH / VECTOR / THREADS; n++) {
            Piece at = x_piece(local + n * THREADS);
            bool ok = (x_place.x >= 0) & (t0 + at.item < p.tokens);
            copy<VECTOR, X_ALONG, TOKENS>(to, at, ok ? from + at.item * x_step : x, ok);
        }
        from = v + v_place.y + o0 * v_step;
#pragma unroll
        for (uint n = 0; n < OUTPUTS * DEPTH / VECTOR / THREADS; n++) {
            Piece at = v_piece(local + n * THREADS);
            bool ok = (v_place.x >= 0) & (o0 + at.item < p.width);
            copy<VECTOR, V_ALONG, OUTPUTS>(to + X_SIZE, at, ok ? from + at.item * v_step : v, ok);
        }
        x_term = advance(p, x_term, DEPTH);
        x_place = place(p, index, x_term, end);
        v_term = advance(p, v_term, DEPTH);
        v_place = place(p, index, v_term, end);
    };

    float sums[8][8] = {};
    for (uint stage = 0; stage < STAGES - 1; stage++) {
        if (stage < stages) fetch(stage);
        cp_async_commit();
    }
    for (uint stage = 0; stage < stages; stage++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        if (stage + STAGES - 1 < stages) fetch(stage + STAGES - 1);
        cp_async_commit();
        const float4* from = memory + stage % STAGES * SIZE;
        multiply<X_ALONG, TOKENS, V_ALONG, OUTPUTS>(sums, from, local / SIDE, from + X_SIZE, local % SIDE);
    }

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
        float results[4] = {};
#pragma unroll
        for (uint i = 0; i < 4; i++) {
            if (i < count) {
                uint ti = along ? t : t + i, oi = along ? o + i : o;
                results[i] = finish(p, bias, column * p.width + o0 + oi, tile[ti * PITCH + oi]);
            }
        }
        float* to = y + y_index(p, batch, t0 + t, column * p.width + o0 + o);
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

#define VEC4(tokens, outputs, flags) \
    SHARED_BYTES(block_matmul_vec4_##tokens##_##outputs##_16_##flags, (shared<tokens, outputs>)) \
    KERNEL((threads<tokens, outputs>), 384 / (threads<tokens, outputs>)) block_matmul_vec4_##tokens##_##outputs##_16_##flags(PARAMS p, OPERANDS) { \
        product<tokens, outputs, 4, (flags & 1) != 0, (flags & 2) != 0>(p, x, v, index, bias, y); \
    }

#define TILE(tokens, outputs) \
    SHARED_BYTES(block_matmul_scalar_##tokens##_##outputs##_16, (shared<tokens, outputs>)) \
    KERNEL((threads<tokens, outputs>), 384 / (threads<tokens, outputs>)) block_matmul_scalar_##tokens##_##outputs##_16(PARAMS p, OPERANDS) { \
        product<tokens, outputs, 1, true, true>(p, x, v, index, bias, y); \
    } \
    VEC4(tokens, outputs, 0) \
    VEC4(tokens, outputs, 1) \
    VEC4(tokens, outputs, 2) \
    VEC4(tokens, outputs, 3)

TILE(256, 32)
TILE(128, 64)
TILE(256, 16)
TILE(64, 32)
