// C = Aᵀ · B at stored blocks, in tiles of ROWS × PLACES: rows of a block row, and places of its
// columns laid end to end, so that a tile spans blocks and its part of A is read once for all of them.
// The terms are the tokens.

#include "shared/block_tile.cuh"
#include "shared/sddmm_params.cuh"

#define OPERANDS const float *__restrict__ a, const float *__restrict__ b, const uint *__restrict__ index, float *c

// A sum by the definition, for what tensor cores made infinite or NaN. NaN stays.
DEVICE float sum_of(const Params& p, const float* a, const float* b, uint row, uint feature, uint start, uint end) {
    float sum = 0.0f;
#pragma unroll 1
    for (uint t = start; t < end && !isnan(sum); t++) sum = fmaf(a[a_index(p, t, row)], b[b_index(p, t, feature)], sum);
    return sum;
}

template <uint VECTOR, uint THREADS, uint ITEMS>
DEVICE Pieces across(uint local) {
    return VECTOR == 4 ? pieces_across_wide<VECTOR, THREADS, ITEMS>(local) : pieces_across<VECTOR, THREADS>(local);
}

// VECTOR values are copied at a time. A_ALONG and B_ALONG say whether the panels lie along the tokens;
// where VECTOR is 4, the operands too.
template <uint ROWS, uint PLACES, uint VECTOR, bool A_ALONG, bool B_ALONG>
DEVICE void product(const Params& p, OPERANDS) {
    extern __shared__ float4 memory[];
    __shared__ int2 places[PLACES];
    constexpr uint THREADS = Tile<PLACES, ROWS>::THREADS;
    constexpr uint A_SIZE = ROWS * DEPTH / 4, SIZE = A_SIZE + PLACES * DEPTH / 4;
    const bool along_a = VECTOR == 4 ? A_ALONG : !a_along(p), along_b = VECTOR == 4 ? B_ALONG : !b_along(p);
    const uint local = threadIdx.x;

    // Which tile, of which tokens. The rows of a block row share B.
    const uint in_part = p.grid_rows * p.row_tiles * p.column_tiles;
    const uint part = blockIdx.x / in_part;
    const uint row = blockIdx.x % in_part / p.column_tiles / p.row_tiles;
    const uint i0 = blockIdx.x / p.column_tiles % p.row_tiles * ROWS;
    const uint p0 = blockIdx.x % p.column_tiles * PLACES;
    const uint first = index[row];
    const uint count = (index[row + 1] - first) * p.width;
    if (p0 >= count) return;
    const uint base = row * p.height;
    const uint start = part * p.part_tokens, end = min(p.tokens, start + p.part_tokens);
    for (uint n = local; n < PLACES; n += THREADS) places[n] = place(p, index, p0 + n, first, count);
    __syncthreads();

    // Where the operands have a thread's pieces, from a stage's first token on; NONE for zeros, aligned as all are.
    constexpr uint A_PIECES = ROWS * DEPTH / VECTOR / THREADS, B_PIECES = PLACES * DEPTH / VECTOR / THREADS, NONE = ~3u;
    const Pieces as = placed<A_ALONG, ROWS>(along_a ? pieces_along<VECTOR, THREADS>(local) : across<VECTOR, THREADS, ROWS>(local));
    const Pieces bs = placed<B_ALONG, PLACES>(along_b ? pieces_along<VECTOR, THREADS>(local) : across<VECTOR, THREADS, PLACES>(local));
    auto a_place_of = [&](uint n) {
        uint i = i0 + as.item + n * as.items_on;
        return (i < p.height) & (base + i < p.rows) ? a_index(p, as.term + n * as.terms_on, base + i) : NONE;
    };
    auto b_place_of = [&](uint n) {
        int feature = places[bs.item + n * bs.items_on].x;
        return feature >= 0 ? b_index(p, bs.term + n * bs.terms_on, feature) : NONE;
    };
    // Pieces of the same items are steps from the first; of others the places are kept, unless they are many.
    constexpr bool KEPT = VECTOR == 4;
    constexpr int AT_ONCE = KEPT ? 64 : 2;
    constexpr bool A_STEPS = KEPT && !A_ALONG, B_STEPS = KEPT && !B_ALONG, A_KEPT = KEPT && A_ALONG, B_KEPT = KEPT && B_ALONG && B_PIECES <= 8;
    uint a_from[A_KEPT ? A_PIECES : 1], b_from[B_KEPT ? B_PIECES : 1];
#pragma unroll
    for (int n = 0; n < int(A_KEPT ? A_PIECES : A_STEPS); n++) a_from[n] = kept(a_place_of(n));
#pragma unroll
    for (int n = 0; n < int(B_KEPT ? B_PIECES : B_STEPS); n++) b_from[n] = kept(b_place_of(n));
    auto fetch = [&](uint stage) {
        float4* to = memory + stage % STAGES * SIZE;
        const uint t0 = start + stage * DEPTH, left = end - t0;
        const uint a0 = a_index(p, t0, 0), b0 = b_index(p, t0, 0);
#pragma unroll AT_ONCE
        for (uint n = 0; n < A_PIECES; n++) {
            const uint from = A_STEPS ? a_from[0] : A_KEPT ? a_from[n] : a_place_of(n);
            bool ok = (from != NONE) & (as.term + n * as.terms_on < left);
            copy<VECTOR, A_ALONG, ROWS>(to, as, n, a + (a0 + from + (A_STEPS ? n * as.terms_on * p.a_stride : 0)), ok);
        }
#pragma unroll AT_ONCE
        for (uint n = 0; n < B_PIECES; n++) {
            const uint from = B_STEPS ? b_from[0] : B_KEPT ? b_from[n] : b_place_of(n);
            bool ok = (from != NONE) & (bs.term + n * bs.terms_on < left);
            copy<VECTOR, B_ALONG, PLACES>(to + A_SIZE, bs, n, b + (b0 + from + (B_STEPS ? n * bs.terms_on * p.b_stride : 0)), ok);
        }
    };

    Tile<PLACES, ROWS> tile = {};
    const uint a_begin = begin<A_ALONG, ROWS>(tile.narrow()), b_begin = A_SIZE * 16 + begin<B_ALONG, PLACES>(tile.wide());
    const uint stages = (max(end, start) - start + DEPTH - 1) / DEPTH;
    in_stages<STAGES>(stages, fetch, [&](uint stage) {
        const uint from = stage % STAGES * (SIZE * 16);
        multiply<B_ALONG, A_ALONG>(tile, memory, from + b_begin, from + a_begin);
    });

    // Out through shared memory, four places of a row at a time; what sticks out of the matrix is 0.
    constexpr uint PITCH = PLACES + 4;
    static_assert(ROWS * PITCH * 4 <= Tile<PLACES, ROWS>::BYTES);
    float* out = (float*)memory;
    __syncthreads();
    spread<true>(tile, out, PITCH);
    __syncthreads();
#pragma unroll 1
    for (uint n = local; n < ROWS * PLACES / 4; n += THREADS) {
        uint i = n / (PLACES / 4), at = n % (PLACES / 4) * 4;
        if (i0 + i >= p.height) continue;
        bool inside = base + i0 + i < p.rows;
        float* from = out + i * PITCH + at;
        float four[4] = {from[0], from[1], from[2], from[3]};
        if (any_not_finite(four)) {
#pragma unroll 1
            for (uint m = 0; m < 4; m++) {
                const int feature = places[at + m].x;
                if (inside & (feature >= 0)) from[m] = sum_of(p, a, b, base + i0 + i, feature, start, end);
            }
#pragma unroll
            for (uint m = 0; m < 4; m++) four[m] = from[m];
        }
#pragma unroll
        for (uint m = 0; m < 4; m++) four[m] = inside & (places[at + m].x >= 0) ? four[m] : 0.0f;
        float* to = c + size_t(part) * p.length + (i0 + i) * p.width;
        if (VECTOR == 4) {
            if (places[at].y < 0) continue;
            float4* there = (float4*)(to + places[at].y);
            float4 old = adds(p) ? *there : float4{};
            *there = float4{old.x + four[0], old.y + four[1], old.z + four[2], old.w + four[3]};
        } else {
#pragma unroll
            for (uint m = 0; m < 4; m++) {
                int place = places[at + m].y;
                if (place >= 0) to[place] = adds(p) ? to[place] + four[m] : four[m];
            }
        }
    }
}

#define ENTRY(name, rows, places, ...) \
    SHARED_BYTES(name, (Tile<places, rows>::BYTES)) \
    KERNEL((Tile<places, rows>::THREADS), 384 / (Tile<places, rows>::THREADS)) name(PARAMS p, OPERANDS) { \
        product<rows, places, __VA_ARGS__>(p, a, b, index, c); \
    }

#define TILE(rows, places) \
    ENTRY(block_sddmm_scalar_##rows##_##places, rows, places, 1, true, true) \
    ENTRY(block_sddmm_vec4_##rows##_##places##_0, rows, places, 4, true, true) \
    ENTRY(block_sddmm_vec4_##rows##_##places##_1, rows, places, 4, false, true) \
    ENTRY(block_sddmm_vec4_##rows##_##places##_2, rows, places, 4, true, false) \
    ENTRY(block_sddmm_vec4_##rows##_##places##_3, rows, places, 4, false, false)

TILE(32, 256)
TILE(64, 128)
TILE(16, 256)
