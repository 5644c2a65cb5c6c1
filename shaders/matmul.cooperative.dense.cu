// C = A·B on tensor cores: A a band in rows layout, B and C dense row-major; all f16, sums f32. A block has
// 64 rows of C, a warp 16, and goes along A's band with staged pieces of both.
//
// A[i,p] lies at i · stride + p: where the stride is a multiple of 8, eight columns begin at a multiple of 16
// bytes in every row alike, and are staged by one copy.

#include "shared/matmul_params.cuh"
#include "shared/tensor_rows.cuh"

const int THREADS = 128;
const int LINES = 64;

// Eight columns of row i from p on into the stage. What lies outside the band may come along.
DEVICE void stage_eight(const Params& params, half* to, const half* a, int room, int i, int p, bool whole) {
    int at = a_index(params, i, p);
    bool some = (i < params.rows) & (p + 7 >= i - params.a_lower) & (p <= i + params.a_upper);
    if (whole & (at + 8 <= room)) {
        cp_async_16(to, some ? a + at : a, some);
        return;
    }
    uint words[4];
#pragma unroll
    for (int n = 0; n < 8; n++) {
        uint bits = 0;
        if (some & in_band(i, p + n, params.a_lower, params.a_upper)) bits = __half_as_ushort(a[at + n]);
        words[n / 2] = n % 2 ? words[n / 2] | bits << 16 : bits;
    }
    *(uint4*)to = {words[0], words[1], words[2], words[3]};
}

template <int TILES>
DEVICE void onto_dense(const Params& params, const half* __restrict__ a, const half* __restrict__ b, half* __restrict__ c) {
    constexpr int D = TILES * 16, COUNT = TILES <= 4 ? 64 : 32, PITCH = COUNT + 8, PIECES = COUNT / 8;
    constexpr int STAGE = COUNT * pitch_of<TILES> + LINES * PITCH;
    __shared__ uint4 shared[2 * STAGE / 8];
    if (blockIdx.x >= params.batch * params.tiles) return;
    int batch = blockIdx.x / params.tiles, i0 = blockIdx.x % params.tiles * LINES, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int row = i0 + warp * 16, length = a_len(params);
    const half* own_a = a + (size_t)batch * length;
    const half* own_b = b + (size_t)batch * params.inner * D;
    half* stages = (half*)shared;
    float sums[1][TILES * 2][4];
#pragma unroll
    for (int n = 0; n < TILES * 2; n++) sums[0][n][0] = sums[0][n][1] = sums[0][n][2] = sums[0][n][3] = 0;

    int start = i0 - params.a_lower, end = min(params.inner, i0 + LINES + params.a_upper);
    bool whole = (size_t)(own_a + a_index(params, i0, start)) % 16 == 0 && params.a_stride % 8 == 0;
    if (start < 0) start = start % COUNT;
    auto stage = [&](half* to, int p0) {
        stage_rows<TILES, COUNT, THREADS>(to, own_b, p0, params.inner);
        for (int n = 0; n < LINES * PIECES; n += THREADS) {
            int at = threadIdx.x + n, line = at / PIECES, piece = at % PIECES * 8;
            stage_eight(params, to + COUNT * pitch_of<TILES> + line * PITCH + piece, own_a, length, i0 + line, p0 + piece, whole);
        }
    };
    stage(stages, start);
    cp_async_commit();
    for (int p0 = start, at = 0; p0 < end; p0 += COUNT, at ^= 1) {
        if (p0 + COUNT < end) stage(stages + (at ^ 1) * STAGE, p0 + COUNT);
        cp_async_commit();
        cp_async_wait<1>();
        __syncthreads();
        if ((p0 + COUNT > row - params.a_lower) & (p0 <= row + 15 + params.a_upper)) {
            const half* values = stages + at * STAGE;
            const half* own = values + COUNT * pitch_of<TILES> + (warp * 16 + lane % 16) * PITCH + lane / 16 * 8;
            uint left[1][COUNT / 16][4];
            bool inside = (p0 >= row + 15 - params.a_lower) & (p0 + COUNT - 1 <= row + params.a_upper) & (p0 >= 0) & (p0 + COUNT <= params.inner);
#pragma unroll
            for (int k = 0; k < COUNT / 16; k++) {
                ldmatrix_x4(left[0][k], own + k * 16);
                if (inside) continue;
#pragma unroll
                for (int r = 0; r < 4; r++) {
                    int i = row + lane / 4 + r % 2 * 8, p = p0 + k * 16 + lane % 4 * 2 + r / 2 * 8;
                    bool first = in_band(i, p, params.a_lower, params.a_upper) & (p >= 0) & (p < params.inner);
                    bool second = in_band(i, p + 1, params.a_lower, params.a_upper) & (p + 1 >= 0) & (p + 1 < params.inner);
                    left[0][k][r] &= (first ? 0xffff : 0) | (second ? 0xffff0000 : 0);
                }
            }
            add_rows<TILES, 1, COUNT / 16>(sums, left, values);
        }
        __syncthreads();
    }

    // A value that the row doesn't reach has met a 0.
    auto exact = [&](int i, int, int column, uint4& words) {
        float x[8] = {};
#pragma unroll 1
        for (int p = max(0, i - params.a_lower); p < min(params.inner, i + params.a_upper + 1); p++) {
            add_eight(x, __half2float(own_a[a_index(params, i, p)]), own_b + p * D + column);
        }
        words = pack_eight(x);
    };
    const float ones[1][2] = {{1, 1}};
    put_rows<TILES, 1>(c + (size_t)batch * params.rows * D, row, params.rows, sums, ones, stages + warp * 16 * pitch_of<TILES>, exact);
}

#define ONTO_DENSE(TILES)                                                                                                               \
    KERNEL(THREADS) matmul_cooperative_dense_##TILES(PARAMS params, const half* __restrict__ a, const half* __restrict__ b,             \
                                                     half* __restrict__ c) {                                                            \
        onto_dense<TILES>(params, a, b, c);                                                                                             \
    }

ONTO_DENSE(1)
ONTO_DENSE(2)
ONTO_DENSE(3)
ONTO_DENSE(4)
ONTO_DENSE(5)
ONTO_DENSE(6)
ONTO_DENSE(7)
ONTO_DENSE(8)
