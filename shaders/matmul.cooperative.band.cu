// The part of A·B that lies in a band, on tensor cores: A dense row-major, B a transpose (row-major itself,
// p along a row), C a band in rows layout; all f16, sums f32. A block has 64 rows of A, a warp 16, and goes
// along C's band, 64 columns at a time.
//
// C[i,j] lies at i · stride + j: neighbours in a row are neighbours in memory, and where the stride is a
// multiple of 8, eight columns begin at a multiple of 16 bytes in every row alike.

#include "shared/matmul_params.cuh"
#include "shared/tensor_rows.cuh"

const int THREADS = 128;
const int LINES = 64;
const int COLUMNS = 64;
const int PITCH = COLUMNS + 8;

template <int TILES>
DEVICE void onto_band(const Params& params, const half* __restrict__ a, const half* __restrict__ b, half* __restrict__ c) {
    constexpr int D = TILES * 16, STAGE = COLUMNS * pitch_of<TILES>;
    __shared__ uint4 shared[(2 * STAGE + LINES * PITCH) / 8];
    if (blockIdx.x >= params.batch * params.tiles) return;
    int batch = blockIdx.x / params.tiles, i0 = blockIdx.x % params.tiles * LINES, lane = threadIdx.x % 32;
    int row = i0 + threadIdx.x / 32 * 16;
    const half* own_b = b + (size_t)batch * params.cols * D;
    half* own_c = c + (size_t)batch * c_len(params);
    half* stages = (half*)shared;
    half* place = stages + 2 * STAGE + threadIdx.x / 32 * 16 * PITCH;
    uint left[1][TILES][4];
    load_rows<TILES>(left[0], a + (size_t)batch * params.rows * D, row, params.rows);

    int start = i0 - params.c_lower, end = i0 + LINES + params.c_upper;
    bool whole = (size_t)(own_c + c_index(params, i0, start)) % 16 == 0 && params.c_stride % 8 == 0;
    half fill = __float2half_rn(params.fill);
    stage_rows<TILES, COLUMNS, THREADS>(stages, own_b, start, params.cols);
    cp_async_commit();
    for (int j0 = start, at = 0; j0 < end; j0 += COLUMNS, at ^= 1) {
        if (j0 + COLUMNS < end) stage_rows<TILES, COLUMNS, THREADS>(stages + (at ^ 1) * STAGE, own_b, j0 + COLUMNS, params.cols);
        cp_async_commit();
        cp_async_wait<1>();
        __syncthreads();
        if ((j0 + COLUMNS > row - params.c_lower) & (j0 <= row + 15 + params.c_upper)) {
            float sums[1][COLUMNS / 8][4];
            times_rows<TILES, 1, COLUMNS / 8>(sums, left, stages + at * STAGE);
            uint* low = (uint*)(place + lane / 4 * PITCH) + lane % 4;
            uint* high = low + 4 * PITCH;
            __syncwarp();
#pragma unroll
            for (int n = 0; n < COLUMNS / 8; n++) {
                low[n * 4] = pack(sums[0][n][0], sums[0][n][1]);
                high[n * 4] = pack(sums[0][n][2], sums[0][n][3]);
            }
            __syncwarp();
            // Eight lanes have a row, each eight columns of it. The band has slots outside the matrix too.
#pragma unroll
            for (int n = 0; n < 16; n += 4) {
                int i = row + n + lane / 8, j = j0 + lane % 8 * 8;
                const half* from = place + (n + lane / 8) * PITCH + lane % 8 * 8;
                half* to = own_c + c_index(params, i, j);
                bool all = whole & (j >= 0) & (j + 8 <= params.cols) & (j >= i - params.c_lower) & (j + 7 <= i + params.c_upper);
                if (i >= params.rows) continue;
                if (all) {
                    *(uint4*)to = *(const uint4*)from;
                    continue;
                }
#pragma unroll
                for (int e = 0; e < 8; e++) {
                    if (in_band(i, j + e, params.c_lower, params.c_upper)) to[e] = (j + e >= 0) & (j + e < params.cols) ? from[e] : fill;
                }
            }
        }
        __syncthreads();
    }
}

#define ONTO_BAND(TILES)                                                                                                                \
    KERNEL(THREADS) matmul_cooperative_band_##TILES(PARAMS params, const half* __restrict__ a, const half* __restrict__ b,              \
                                                    half* __restrict__ c) {                                                             \
        onto_band<TILES>(params, a, b, c);                                                                                              \
    }

ONTO_BAND(1)
ONTO_BAND(2)
ONTO_BAND(3)
ONTO_BAND(4)
ONTO_BAND(5)
ONTO_BAND(6)
ONTO_BAND(7)
ONTO_BAND(8)
