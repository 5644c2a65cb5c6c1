// The gradients of the product of two bands of just WIDTH diagonals each: what matmul_narrow_cropped.cuh does, with constant widths
// and no test of what is in a band. Tiles begin at multiples of 16 bytes in memory, so all comes and leaves by fours.
//
// LEFT: A is the wide operand, in rows layout, and B in columns layout: dA = G · Bᵀ. Else B is the wide one, in rows layout, and A
// in columns layout: dB = Aᵀ · G. A step's k are counted from the first one that the narrow operand has beside its
// 4 × 4, so that of the first step and the last one each thread leaves out the same terms, and no other is beside the band. What is
// not in the matrix is 0 in both operands: nothing has to be computed anew.
#pragma once

#include "matmul_narrow_cropped.cuh"

template <int GROUPS, int ROWS_OF_C, bool LEFT>
struct NarrowGradient {
    static constexpr bool IS_LEFT = LEFT;
    static constexpr int ROWS = ROWS_OF_C, SHARES = ROWS / 4; // fours of rows
    static constexpr int THREADS = GROUPS * SHARES;
    static constexpr int WIDTH = 4 * GROUPS - 3, WIDE = 2 * WIDTH - 1;
    static constexpr int MORE = ROWS + WIDTH - 1; // lines that meet the rows
    static constexpr int A_LINES = LEFT ? ROWS : MORE, B_LINES = MORE;
    static constexpr int A_WIDTH = LEFT ? WIDE : WIDTH, B_WIDTH = LEFT ? WIDTH : WIDE;
    static constexpr int A_SIZE = A_LINES * A_WIDTH, C_SIZE = ROWS * WIDTH;
    static constexpr int BYTES = (A_SIZE + B_LINES * B_WIDTH) * 4;

    const Params& params;
    const float* __restrict__ a;
    const float* __restrict__ b;
    float* __restrict__ c;
    float* tile_a; // [line][slot]; C's values in the end
    float* tile_b; // [line][slot]
    int i0;        // first row of the block
    int t;         // thread

    METHOD int first_k() const { return i0 - params.a_lower; }
    METHOD int first_column() const { return i0 - params.c_lower; }

    // Lines of a tile, zeros where there are none. Those of bands far off are as many lines off as there are in the tile.
    template <int COUNT, int LINE, bool EDGE>
    METHOD void bring(float* to, const float* from, int first, int lines) const {
        constexpr int FOURS = COUNT * LINE / 4;
        uint start = (EDGE ? clamp(first, -COUNT, lines) : first) * LINE, end = lines * LINE;
#pragma unroll
        for (int n = 0; n < FOURS; n += THREADS) {
            int x = 4 * (n + t);
            if (n + THREADS <= FOURS || n + t < FOURS) cp_async_16(to + x, from + (int)start + x, !EDGE || start + x < end);
        }
    }

    template <bool EDGE>
    METHOD void bring_all() const {
        bring<A_LINES, A_WIDTH, EDGE>(tile_a, a, LEFT ? i0 : first_k(), LEFT ? params.rows : params.inner);
        bring<B_LINES, B_WIDTH, EDGE>(tile_b, b, LEFT ? first_column() : first_k(), LEFT ? params.cols : params.inner);
    }

    // Zeros in lines that go along k where there is no such k, whatever their slots hold there. A line has k from `k` on.
    METHOD void clear(float* line, int k, int width) const {
#pragma unroll 1
        for (int slot = min(-k, width) - 1; slot >= 0; slot--) line[slot] = 0;
#pragma unroll 1
        for (int slot = max(params.inner - k, 0); slot < width; slot++) line[slot] = 0;
    }

    METHOD void clear_all() const {
#pragma unroll 1
        for (int line = t; line < A_LINES; line += THREADS) clear(tile_a + line * A_WIDTH, first_k() + line, A_WIDTH);
#pragma unroll 1
        for (int line = t; line < B_LINES; line += THREADS) clear(tile_b + line * B_WIDTH, first_k() + line, B_WIDTH);
    }

    // Four k times 4 × 4 of C, of which the FIRST and the LAST lack some.
    template <bool FIRST, bool LAST>
    METHOD static void multiply(Block& acc, const float* from_a, const float* from_b) {
        Block x, y;
        read_block(x, from_a, A_WIDTH - 1);
        read_block(y, from_b, B_WIDTH - 1);
#pragma unroll
        for (int n = 0; n < 4; n++) {
#pragma unroll
            for (int m = 0; m < 4; m++) {
                int e = LEFT ? n : m, q = LEFT ? m : n;
#pragma unroll
                for (int r = 0; r < 4; r++) {
                    int line = LEFT ? e : r; // of the narrow operand
                    bool there = (!FIRST || q >= line) && (!LAST || q <= line);
                    if (there) acc[r][e] = ring_mac(acc[r][e], LEFT ? x[r][q] : x[q][r], y[n][m]);
                }
            }
        }
    }

    METHOD void multiply_all(Block& acc, int g, int h) const {
        const float* from_a = tile_a + 4 * g * A_WIDTH + (LEFT ? 4 * h : WIDTH - 1);
        const float* from_b = tile_b + 4 * g * B_WIDTH + (LEFT ? 4 * h * WIDTH : WIDTH - 1 + 4 * h);
        constexpr int A_STEP = LEFT ? 4 : 4 * (A_WIDTH - 1), B_STEP = LEFT ? 4 : 4 * (B_WIDTH - 1);
        multiply<true, false>(acc, from_a, from_b);
#pragma unroll 1
        for (int n = 1; n < GROUPS - 1; n++) {
            from_a += A_STEP, from_b += B_STEP;
            multiply<false, false>(acc, from_a, from_b);
        }
        multiply<false, true>(acc, from_a + A_STEP, from_b + B_STEP);
    }

    // A thread's part of C. The first four columns and the last are not in the bands of all four rows.
    METHOD void keep(const Block& acc, int g, int h) const {
        float* own = tile_a + 4 * g * WIDTH + 4 * h;
#pragma unroll
        for (int r = 0; r < 4; r++) {
            float* row = own + r * (WIDTH - 1);
            if ((h > 0) & (h < GROUPS - 1)) {
                *(float4*)row = make_float4(acc[r][0], acc[r][1], acc[r][2], acc[r][3]);
            } else {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    if (h == 0 ? e >= r : e <= r) row[e] = acc[r][e];
                }
            }
        }
    }

    // The fill where four values are outside of the matrix.
    METHOD void fill(float* values, int x) const {
#pragma unroll 1
        for (int n = 0; n < 4; n++) {
            int j = first_column() + (x + n) / WIDTH + (x + n) % WIDTH;
            if ((uint)j >= (uint)params.cols) values[x + n] = params.fill;
        }
    }

    template <bool EDGE>
    METHOD void write() const {
        int end = EDGE ? min(C_SIZE, (params.rows - i0) * WIDTH) : C_SIZE;
        float* to = c + i0 * WIDTH;
#pragma unroll 4
        for (int x = 4 * t; x < end; x += 4 * THREADS) {
            if (EDGE) fill(tile_a, x);
            *(float4*)(to + x) = *(const float4*)(tile_a + x);
        }
    }

    METHOD void run() {
        bool edge = (first_k() < 0) | (first_k() + ROWS + A_WIDTH - 1 > params.inner) | (i0 + ROWS > params.rows) |
                    (first_column() < 0) | (first_column() + MORE > params.cols);
        if (edge) bring_all<true>();
        else bring_all<false>();
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();
        if (LEFT && edge) {
            clear_all();
            __syncthreads();
        }
        int g = t % SHARES, h = t / SHARES;
        Block acc;
#pragma unroll
        for (int r = 0; r < 4; r++) {
#pragma unroll
            for (int e = 0; e < 4; e++) acc[r][e] = ring_start();
        }
        multiply_all(acc, g, h);
        __syncthreads();
        keep(acc, g, h);
        __syncthreads();
        if (edge) write<true>();
        else write<false>();
    }
};

template <class Gradient>
DEVICE void narrow_gradient(const Params& params, PRODUCT_BUFFERS) {
    after_previous();
    extern __shared__ float4 gradient_memory[];
    size_t batch = blockIdx.x / params.tiles;
    if (batch >= params.batch) return;
    a += batch * Gradient::A_WIDTH * (Gradient::IS_LEFT ? params.rows : params.inner);
    b += batch * Gradient::B_WIDTH * (Gradient::IS_LEFT ? params.cols : params.inner);
    c += batch * Gradient::WIDTH * params.rows;
    int i0 = blockIdx.x % params.tiles * Gradient::ROWS;
    float* tiles = (float*)gradient_memory;
    Gradient product = {params, a, b, c, tiles, tiles + Gradient::A_SIZE, i0, (int)threadIdx.x};
    product.run();
}
