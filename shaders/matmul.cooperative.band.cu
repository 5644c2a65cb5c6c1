// The part of A·B that lies in a band, on tensor cores: A dense row-major, B a transpose (row-major itself,
// p along a row), C a band in rows layout; all f16 or all bf16, sums f32. A block has 64 rows of A and goes along C's
// band, 64 columns at a time; a warp has a quarter, 32 rows by 32 columns.
//
// C[i,j] lies at i · stride + j: neighbours in a row are neighbours in memory, and where the stride is a
// multiple of 8, eight columns begin at a multiple of 16 bytes in every row alike.

#include "shared/matmul_params.cuh"
#include "shared/tensor_rows.cuh"

const int THREADS = 128;
const int LINES = 64;
const int COLUMNS = 64;
const int OWN = 32;            // rows and columns of a warp

const int PITCH = OWN + 8;     // of its rows on their way out

// A warp's 32 × 32 of C leave where they lie in the band. It has slots outside the matrix too.
template <class Half>
DEVICE void store_piece(const Params& params, Half* c, const Half* place, int row, int j, bool whole) {
    int lane = threadIdx.x % 32;
    bool inside = (j >= row + OWN - 1 - params.c_lower) & (j + OWN - 1 <= row + params.c_upper);
    if (whole & inside & (j >= 0) & (j + OWN <= params.cols) & (row + OWN <= params.rows)) {
        // Four lanes have a row, each eight columns of it.
        Half* to = c + c_index(params, row + lane / 4, j + lane % 4 * 8);
        const Half* from = place + lane / 4 * PITCH + lane % 4 * 8;
#pragma unroll
        for (int n = 0; n < OWN; n += 8) *(uint4*)(to + n * params.c_stride) = *(const uint4*)(from + n * PITCH);
        return;
    }
    Half fill = from_float<Half>(params.fill);
    bool column = (uint)(j + lane) < (uint)params.cols;
#pragma unroll 4
    for (int n = 0; n < min(OWN, params.rows - row); n++) {
        if (in_band(row + n, j + lane, params.c_lower, params.c_upper)) c[c_index(params, row + n, j + lane)] = column ? place[n * PITCH + lane] : fill;
    }
}

template <int TILES, class Half>
DEVICE void onto_band(const Params& params, const Half* __restrict__ a, const Half* __restrict__ b, Half* __restrict__ c) {
    constexpr int D = TILES * 16, STAGE = COLUMNS * pitch_of<TILES>, STAGES = TILES <= 4 ? 3 : 2;
    __shared__ uint4 shared[(STAGES * STAGE + 4 * OWN * PITCH) / 8];
    if (blockIdx.x >= params.batch * params.tiles) return;
    int batch = blockIdx.x / params.tiles, i0 = blockIdx.x % params.tiles * LINES, lane = threadIdx.x % 32, warp = warp_index();
    int row = i0 + warp / 2 * OWN, column = warp % 2 * OWN;
    const Half* own_b = b + (size_t)batch * params.cols * D;
    Half* own_c = c + (size_t)batch * c_len(params);
    Half* stages = (Half*)shared;
    Half* place = stages + STAGES * STAGE + warp * OWN * PITCH;
    uint left[2][TILES][4];
    load_rows<TILES>(left[0], a + (size_t)batch * params.rows * D, row, params.rows);
    load_rows<TILES>(left[1], a + (size_t)batch * params.rows * D, row + 16, params.rows);

    int start = i0 - params.c_lower, end = i0 + LINES + params.c_upper;
    bool whole = (size_t)(own_c + c_index(params, i0, start)) % 16 == 0 && params.c_stride % 8 == 0;
    auto stage = [&](int n) {
        if (start + n * COLUMNS < end) stage_rows<TILES, COLUMNS, THREADS>(stages + n % STAGES * STAGE, own_b, start + n * COLUMNS, params.cols);
        cp_async_commit();
    };
    for (int n = 0; n < STAGES - 1; n++) stage(n);
#pragma unroll 1
    for (int number = 0; start + number * COLUMNS < end; number++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        stage(number + STAGES - 1);
        int j = start + number * COLUMNS + column;
        if ((j + OWN <= row - params.c_lower) | (j > row + OWN - 1 + params.c_upper)) continue;
        float sums[2][OWN / 8][4];
        times_rows<TILES, 2, OWN / 8>(sums, left, stages + number % STAGES * STAGE + column * pitch_of<TILES>);
        __syncwarp();
#pragma unroll
        for (int m = 0; m < 2; m++) {
#pragma unroll
            for (int n = 0; n < OWN / 8; n++) {
                uint* to = (uint*)(place + (m * 16 + lane / 4) * PITCH + n * 8) + lane % 4;
                to[0] = pack<Half>(sums[m][n][0], sums[m][n][1]);
                to[4 * PITCH] = pack<Half>(sums[m][n][2], sums[m][n][3]);
            }
        }
        __syncwarp();
        store_piece(params, own_c, place, row, j, whole);
    }
}

#define ENTRY(TILES, BRAIN, Half)                                                                                                       \
    KERNEL(THREADS) matmul_cooperative_band_##TILES##_##BRAIN(PARAMS params, const Half* __restrict__ a, const Half* __restrict__ b,   \
                                                              Half* __restrict__ c) {                                                   \
        onto_band<TILES>(params, a, b, c);                                                                                              \
    }

#define ONTO_BAND(TILES)                                                                                                                \
    ENTRY(TILES, 0, half)                                                                                                               \
    ENTRY(TILES, 1, __nv_bfloat16)

ONTO_BAND(1)
ONTO_BAND(2)
ONTO_BAND(3)
ONTO_BAND(4)
ONTO_BAND(5)
ONTO_BAND(6)
ONTO_BAND(7)
ONTO_BAND(8)
