// C = A·B on tensor cores: A a band, B and C dense row-major; all f16 or all bf16, sums f32. A block has 64 rows of C, a
// warp 16, and goes along A's band with staged pieces of both.
//
// In rows layout A[i,p] lies at i · stride + p, in columns layout (ACROSS) at p · stride + i: where the stride
// is a multiple of 8, eight neighbours begin at a multiple of 16 bytes in every line alike, and are staged
// by one copy. What lies outside the band is other lines' values; the warps leave it out.

#include "shared/matmul_params.cuh"
#include "shared/tensor_rows.cuh"

const int THREADS = 128;
const int LINES = 64;

// A piece of A that is staged as it is stored: lines of `wide` values, each line `stride` after the other.
template <class Half>
struct Piece {
    const Half* a;      // of one matrix
    int length, stride;
    bool whole;         // eight values at a time
};

// The eight values that begin at `at`, one by one; 0 for those before and behind the matrix.
template <class Half>
DEVICE void stage_eight(Half* to, const Piece<Half>& piece, int at) {
    uint words[4];
#pragma unroll
    for (int e = 0; e < 8; e++) {
        uint bits = 0;
        if ((uint)(at + e) < (uint)piece.length) bits = ((const unsigned short*)piece.a)[at + e];
        words[e / 2] = e % 2 ? words[e / 2] | bits << 16 : bits;
    }
    *(uint4*)to = {words[0], words[1], words[2], words[3]};
}

// COUNT lines from the one that begins at `at` on.
template <int COUNT, int WIDE, class Half>
DEVICE void stage_piece(Half* to, const Piece<Half>& piece, int at) {
    constexpr int pieces = WIDE / 8, lines = THREADS / pieces;
    int first = threadIdx.x / pieces, column = threadIdx.x % pieces * 8;
    at += first * piece.stride + column;
    Half* own = to + first * (WIDE + 8) + column;
    // A matrix that begins within eight values has another one in front of it.
    if (piece.whole & (at > -8) & (at + (COUNT - lines) * piece.stride + 8 <= piece.length)) {
        const Half* from = piece.a + at;
#pragma unroll
        for (int n = 0; n < COUNT; n += lines) {
            cp_async_16(own + n * (WIDE + 8), from);
            from += lines * piece.stride;
        }
        return;
    }
#pragma unroll 1
    for (int n = 0; n < COUNT; n += lines) {
        int there = at <= -8 ? 0 : clamp(piece.length - at, 0, 8);
        if (piece.whole & (there % 8 == 0)) cp_async_16(own + n * (WIDE + 8), piece.a + at, there > 0);
        else stage_eight(own + n * (WIDE + 8), piece, at);
        at += lines * piece.stride;
    }
}

template <int TILES, bool ACROSS, class Half>
DEVICE void onto_dense(const Params& params, const Half* __restrict__ a, const Half* __restrict__ b, Half* __restrict__ c) {
    constexpr int D = TILES * 16, COUNT = TILES <= 4 ? 64 : 32, STAGES = 2;
    constexpr int OF_A = ACROSS ? COUNT * (LINES + 8) : LINES * (COUNT + 8), STAGE = COUNT * pitch_of<TILES> + OF_A;
    __shared__ uint4 shared[STAGES * STAGE / 8];
    if (blockIdx.x >= params.batch * params.tiles) return;
    int batch = blockIdx.x / params.tiles, i0 = blockIdx.x % params.tiles * LINES, lane = threadIdx.x % 32, warp = warp_index();
    int row = i0 + warp * 16, length = a_len(params);
    const Half* own_a = a + (size_t)batch * length;
    const Half* own_b = b + (size_t)batch * params.inner * D;
    Half* stages = (Half*)shared;
    float sums[1][TILES * 2][4];
#pragma unroll
    for (int n = 0; n < TILES * 2; n++) sums[0][n][0] = sums[0][n][1] = sums[0][n][2] = sums[0][n][3] = 0;

    int start = i0 - params.a_lower, end = min(params.inner, i0 + LINES + params.a_upper);
    bool whole = (size_t)(own_a + a_index(params, i0, start)) % 16 == 0 && params.a_stride % 8 == 0;
    const Piece<Half> piece = {own_a, length, params.a_stride, whole};
    if (start < 0) start = start % COUNT;
    auto stage = [&](int n) {
        int p0 = start + n * COUNT;
        Half* to = stages + n % STAGES * STAGE;
        if (p0 < end) {
            stage_rows<TILES, COUNT, THREADS>(to, own_b, p0, params.inner);
            if (ACROSS) stage_piece<COUNT, LINES>(to + COUNT * pitch_of<TILES>, piece, a_index(params, i0, p0));
            else stage_piece<LINES, COUNT>(to + COUNT * pitch_of<TILES>, piece, a_index(params, i0, p0));
        }
        cp_async_commit();
    };
    for (int n = 0; n < STAGES - 1; n++) stage(n);
#pragma unroll 1
    for (int number = 0; start + number * COUNT < end; number++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        stage(number + STAGES - 1);
        int p0 = start + number * COUNT;
        if ((p0 + COUNT <= row - params.a_lower) | (p0 > row + 15 + params.a_upper)) continue;
        const Half* values = stages + number % STAGES * STAGE;
        const Half* factors = values + COUNT * pitch_of<TILES>;
        uint left[1][COUNT / 16][4];
#pragma unroll
        for (int k = 0; k < COUNT / 16; k++) {
            if (ACROSS) ldmatrix_x4_trans(left[0][k], factors + (k * 16 + lane / 16 * 8 + lane % 8) * (LINES + 8) + warp * 16 + lane / 8 % 2 * 8);
            else ldmatrix_x4(left[0][k], factors + (warp * 16 + lane % 16) * (COUNT + 8) + k * 16 + lane / 16 * 8);
        }
        bool inside = (p0 >= row + 15 - params.a_lower) & (p0 + COUNT - 1 <= row + params.a_upper) & (p0 >= 0) & (p0 + COUNT <= params.inner);
        if (!inside) {
#pragma unroll
            for (int r = 0; r < 2; r++) {
                // The row's entries, counted from this lane's first column on.
                int i = row + lane / 4 + r * 8, first = max(0, i - params.a_lower), count = max(0, min(params.inner, i + params.a_upper + 1) - first);
                first -= p0 + lane % 4 * 2;
#pragma unroll
                for (int k = 0; k < COUNT / 16 * 2; k++) {
                    uint kept = ((uint)(k * 8 - first) < (uint)count ? 0xffff : 0) | ((uint)(k * 8 + 1 - first) < (uint)count ? 0xffff0000 : 0);
                    left[0][k / 2][k % 2 * 2 + r] &= kept;
                }
            }
        }
        add_rows<TILES, 1, COUNT / 16>(sums, left, values);
    }
    __syncthreads();

    // A value that the row doesn't reach has met a 0.
    auto exact = [&](int i, int, int column, uint4& words) {
        float x[8] = {};
#pragma unroll 1
        for (int p = max(0, i - params.a_lower); p < min(params.inner, i + params.a_upper + 1); p++) {
            add_eight(x, widened(own_a[a_index(params, i, p)]), own_b + p * D + column);
        }
        words = pack_eight<Half>(x);
    };
    const float ones[1][2] = {{1, 1}};
    put_rows<TILES, 1>(c + (size_t)batch * params.rows * D, row, params.rows, sums, ones, stages + warp * 16 * pitch_of<TILES>, exact);
}

#define ENTRY(TILES, ACROSS, BRAIN, Half)                                                                                               \
    KERNEL(THREADS) matmul_cooperative_dense_##TILES##_##ACROSS##_##BRAIN(PARAMS params, const Half* __restrict__ a,                   \
                                                                          const Half* __restrict__ b, Half* __restrict__ c) {           \
        onto_dense<TILES, ACROSS>(params, a, b, c);                                                                                     \
    }

#define ONTO_DENSE(TILES)                                                                                                               \
    ENTRY(TILES, 0, 0, half)                                                                                                            \
    ENTRY(TILES, 1, 0, half)                                                                                                            \
    ENTRY(TILES, 0, 1, __nv_bfloat16)                                                                                                   \
    ENTRY(TILES, 1, 1, __nv_bfloat16)

ONTO_DENSE(1)
ONTO_DENSE(2)
ONTO_DENSE(3)
ONTO_DENSE(4)
ONTO_DENSE(5)
ONTO_DENSE(6)
ONTO_DENSE(7)
ONTO_DENSE(8)
