// C = Aᵀ · B at stored blocks on tensor cores, f16 or bf16 with f32 sums, A and B contiguous along features. A tile
// is ROWS rows of a block row times PLACES places of its columns laid end to end; the terms are the tokens.
// Both operands are staged token after token, as they lie in memory, and transposed on their way to registers.

#include "shared/halves.cuh"
#include "shared/panel.cuh"
#include "shared/sddmm_params.cuh"

#define OPERANDS(Half, Out) const Half *__restrict__ a, const Half *__restrict__ b, const uint *__restrict__ index, Out *c

constexpr uint STAGES = 4, TERMS = 32;

// A warp has HEIGHT × 64 sums.
template <uint ROWS>
struct Tile {
    static constexpr uint PLACES = ROWS == 128 ? 128 : 256;
    static constexpr uint HEIGHT = ROWS < 32 ? ROWS : 32, WIDTH = 64, ACROSS = PLACES / WIDTH;
    static constexpr uint THREADS = ROWS / HEIGHT * ACROSS * 32;
    static constexpr uint A_BYTES = ROWS * TERMS * 2, BYTES = A_BYTES + PLACES * TERMS * 2; // of a stage
    static constexpr uint PITCH = PLACES + 8, OUT_BYTES = ROWS * PITCH * 4;
    static constexpr uint SHARED = STAGES * BYTES > OUT_BYTES ? STAGES * BYTES : OUT_BYTES;
};

// Where eight features of a token are staged: 64 features side by side, and the next 64 behind.
template <uint ITEMS>
DEVICE uint staged(uint token, uint piece) {
    constexpr uint LINE = ITEMS < 64 ? ITEMS * 2 : 128;
    return piece / 8 * (TERMS * LINE) + spot<LINE>(token, piece % 8);
}

// The pieces of eight features that a thread brings: the same one of some tokens.
template <class Half, uint ITEMS, uint THREADS>
struct Pieces {
    static constexpr uint ACROSS = ITEMS / 8, STEP = THREADS / ACROSS;
    const Half* from; // in the first token
    bool ok;

    METHOD void bring(char* panel, uint t0, uint end, uint stride) const {
        const uint token = threadIdx.x / ACROSS, piece = threadIdx.x % ACROSS;
#pragma unroll
        for (uint n = 0; n < TERMS; n += STEP) {
            if (STEP > TERMS && token >= TERMS) break;
            const bool there = ok & (t0 + token + n < end);
            cp_async_16(panel + staged<ITEMS>(token + n, piece), from + (there ? (t0 + token + n) * stride : 0), there);
        }
    }
};

// Eight sums leave, rounded.
template <class Half>
DEVICE void put(Half* to, const float (&sums)[8], bool) {
    uint words[4];
#pragma unroll
    for (uint n = 0; n < 4; n++) words[n] = rounded<Half>(sums[n * 2], sums[n * 2 + 1]);
    *(uint4*)to = uint4{words[0], words[1], words[2], words[3]};
}

DEVICE void put(float* to, const float (&sums)[8], bool add) {
#pragma unroll
    for (uint n = 0; n < 8; n += 4) {
        float4 old = add ? *(float4*)(to + n) : float4{};
        *(float4*)(to + n) = float4{old.x + sums[n], old.y + sums[n + 1], old.z + sums[n + 2], old.w + sums[n + 3]};
    }
}

template <uint ROWS, class Half, class Out>
DEVICE void product(const Params& p, OPERANDS(Half, Out)) {
    using Own = Tile<ROWS>;
    extern __shared__ float4 memory[];
    const uint local = threadIdx.x, lane = local % 32, warp = warp_index();

    // Which tile, of which tokens. The rows of a block row share B.
    const uint in_part = p.grid_rows * p.row_tiles * p.column_tiles;
    const uint part = blockIdx.x / in_part;
    const uint row = blockIdx.x % in_part / p.column_tiles / p.row_tiles;
    const uint i0 = blockIdx.x / p.column_tiles % p.row_tiles * ROWS;
    const uint p0 = blockIdx.x % p.column_tiles * Own::PLACES;
    const uint first = index[row];
    const uint count = (index[row + 1] - first) * p.width;
    if (p0 >= count) return;
    const uint start = part * p.part_tokens, end = min(p.tokens, start + p.part_tokens);

    // Eight features are in one block, and inside the matrix or beyond it together.
    Pieces<Half, ROWS, Own::THREADS> as;
    Pieces<Half, Own::PLACES, Own::THREADS> bs;
    const uint i = i0 + local % as.ACROSS * 8, feature = row * p.height + i;
    as.ok = (i < p.height) & (feature < p.rows);
    as.from = a + (as.ok ? feature : 0);
    const int2 at = place(p, index, p0 + local % bs.ACROSS * 8, first, count);
    bs.ok = at.x >= 0;
    bs.from = b + max(at.x, 0);

    const uint own_i = warp / Own::ACROSS * Own::HEIGHT, own_p = warp % Own::ACROSS * Own::WIDTH;
    const bool works = (i0 + own_i < p.height) & (p0 + own_p < count);
    float sums[Own::HEIGHT / 16][Own::WIDTH / 8][4] = {};
    const uint stages = (max(end, start) - start + TERMS - 1) / TERMS;
    auto fetch = [&](uint stage) {
        char* to = (char*)memory + stage % STAGES * Own::BYTES;
        as.bring(to, start + stage * TERMS, end, p.a_stride);
        bs.bring(to + Own::A_BYTES, start + stage * TERMS, end, p.b_stride);
    };
    in_stages<STAGES>(stages, fetch, [&](uint stage) {
        if (!works) return;
        const char* from = (const char*)memory + stage % STAGES * Own::BYTES;
#pragma unroll
        for (uint t = 0; t < TERMS; t += 16) {
            uint left[Own::HEIGHT / 16][4];
#pragma unroll
            for (uint m = 0; m < Own::HEIGHT / 16; m++) {
                ldmatrix_x4_trans(left[m], from + staged<ROWS>(t + lane % 8 + lane / 16 * 8, own_i / 8 + m * 2 + lane / 8 % 2));
            }
#pragma unroll
            for (uint n = 0; n < Own::WIDTH / 8; n += 2) {
                uint right[4];
                ldmatrix_x4_trans(right, from + Own::A_BYTES + staged<Own::PLACES>(t + lane % 16, own_p / 8 + n + lane / 16));
#pragma unroll
                for (uint m = 0; m < Own::HEIGHT / 16; m++) {
                    add_product<Half>(sums[m][n], left[m], right[0], right[1]);
                    add_product<Half>(sums[m][n + 1], left[m], right[2], right[3]);
                }
            }
        }
    });

    // Out through shared memory, eight places of a row at a time; what sticks out of the matrix is 0.
    cp_async_wait<0>();
    __syncthreads();
    float* tile = (float*)memory;
#pragma unroll
    for (uint m = 0; m < Own::HEIGHT / 16; m++) {
#pragma unroll
        for (uint n = 0; n < Own::WIDTH / 8; n++) {
            float* to = tile + (own_i + m * 16 + lane / 4) * Own::PITCH + own_p + n * 8 + lane % 4 * 2;
            *(float2*)to = float2{sums[m][n][0], sums[m][n][1]};
            *(float2*)(to + 8 * Own::PITCH) = float2{sums[m][n][2], sums[m][n][3]};
        }
    }
    __syncthreads();
    if (at.y < 0) return;
    c += size_t(part) * p.length + at.y;
#pragma unroll 1
    for (uint n = local / bs.ACROSS; n < min(ROWS, p.height - i0); n += bs.STEP) {
        const bool inside = bs.ok & (row * p.height + i0 + n < p.rows);
        const float* from = tile + n * Own::PITCH + local % bs.ACROSS * 8;
        float eight[8];
#pragma unroll
        for (uint m = 0; m < 8; m++) eight[m] = inside ? from[m] : 0.0f;
        put(c + (i0 + n) * p.width, eight, adds(p));
    }
}

// The sums themselves, or of parts of the tokens in f32.
#define ENTRIES(rows, blocks, brain, Half) \
    SHARED_BYTES(block_sddmm_cooperative_##rows##_##brain, Tile<rows>::SHARED) \
    KERNEL(Tile<rows>::THREADS, blocks) block_sddmm_cooperative_##rows##_##brain(PARAMS p, OPERANDS(Half, Half)) { \
        product<rows>(p, a, b, index, c); \
    } \
    SHARED_BYTES(block_sddmm_cooperative_sums_##rows##_##brain, Tile<rows>::SHARED) \
    KERNEL(Tile<rows>::THREADS, blocks) block_sddmm_cooperative_sums_##rows##_##brain(PARAMS p, OPERANDS(Half, float)) { \
        product<rows>(p, a, b, index, c); \
    }

#define TILE(rows, blocks) \
    ENTRIES(rows, blocks, 0, __half) \
    ENTRIES(rows, blocks, 1, __nv_bfloat16)

TILE(16, 3)
TILE(32, 3)
TILE(64, 2)
TILE(128, 2)
