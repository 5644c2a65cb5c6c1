// The whole product over `Log` of two bands of just WIDTH diagonals each, in rows layout, with a multiple of four rows: what
// matmul_narrow.cuh does, but logarithms are taken in registers, as sums leave the window. Blocks at the matrix's ends are no
// different but for what they bring and what they write.
//
// Rows of A, later of C, are 2 · WIDTH - 1 values apart in shared memory, so that four k of a row begin at a multiple of 16 bytes;
// rows of B lie as in memory, and as far from a multiple of 16 bytes.
#pragma once

#include "matmul.cuh"

struct NarrowFixed {
    static constexpr int WIDTH = 17, C_WIDTH = 2 * WIDTH - 1;
    static constexpr int ROWS = 128, THREADS = ROWS;
    static constexpr int LINES = ROWS + WIDTH - 1;    // of B
    static constexpr int COLUMNS = (WIDTH + 3) / 4;   // fours in the window
    static constexpr int STEPS = COLUMNS;             // fours of k that a group of rows has
    static constexpr int C_SIZE = ROWS * C_WIDTH;
    static constexpr int B_SIZE = LINES * WIDTH + 12; // starts up to 3 further on; the window reaches beyond the last
    static constexpr int SCALES = ROWS + LINES + WIDTH - 1;
    static constexpr int BYTES = (C_SIZE + B_SIZE + SCALES) * 4;

    const Params& params;
    const float* __restrict__ a;
    const float* __restrict__ b;
    float* __restrict__ c;
    float* tile_c; // [row][slot]; A's values before
    float* tile_b; // [row][slot]
    float* row_scale;
    float* column_scale; // from the first column that any row of B has on
    int i0, k0;          // first row of the block, first row of B it needs
    int t;               // thread

    template <bool EDGE>
    METHOD float load_a(int row, int slot) const {
        if (EDGE) {
            int k = i0 + row - params.a_lower + slot;
            if ((i0 + row >= params.rows) | ((uint)k >= (uint)params.inner)) return minus_infinity();
        }
        return a[(i0 + row) * WIDTH + slot];
    }

    template <bool EDGE>
    METHOD void bring_b() const {
        constexpr int PIECES = (LINES * WIDTH + 3 + 3) / 4;
        int origin = k0 * WIDTH, shift = origin & 3, first = origin - shift;
        float* to = tile_b - shift;
        int end = params.inner * WIDTH;
#pragma unroll
        for (int n = 0; n < PIECES; n += THREADS) {
            int x = 4 * (n + t);
            if (n + THREADS <= PIECES || n + t < PIECES) {
                if (EDGE) cp_async_16(to + x, b + first + x, (uint)(first + x) < (uint)end);
                else cp_async_16(to + x, b + first + x);
            }
        }
    }

    // A row's first values by half a warp, the last one by a thread.
    template <bool EDGE>
    METHOD void bring_a() const {
        constexpr int LAST = WIDTH - 1, LINES_AT_ONCE = THREADS / LAST, COUNT = ROWS / LINES_AT_ONCE;
        int lane = t % LAST, line = t / LAST;
        float values[COUNT];
#pragma unroll
        for (int n = 0; n < COUNT; n++) values[n] = load_a<EDGE>(line + n * LINES_AT_ONCE, lane);
        float last = load_a<EDGE>(t, LAST);
#pragma unroll
        for (int n = 0; n < COUNT; n++) tile_c[(line + n * LINES_AT_ONCE) * C_WIDTH + lane] = values[n];
        tile_c[t * C_WIDTH + LAST] = last;
    }

    // Rows of B beyond the matrix, which were brought as zeros.
    METHOD void clear_b() const {
#pragma unroll 1
        for (int line = t; line < LINES; line += THREADS) {
            if ((uint)(k0 + line) < (uint)params.inner) continue;
#pragma unroll 1
            for (int slot = 0; slot < WIDTH; slot++) tile_b[line * WIDTH + slot] = minus_infinity();
        }
    }

    // Scales by the largest of a row of A, or of a column of B among the rows that are here: an entry of C is a sum over values
    // of one row and one column, so any scale does that these share.
    template <bool ALL>
    METHOD static float prepare(float* from, int step, int first, int end) {
        float values[WIDTH], largest = minus_infinity();
#pragma unroll
        for (int n = 0; n < WIDTH; n++) {
            values[n] = ALL || ((n >= first) & (n < end)) ? from[n * step] : minus_infinity();
            largest = fmaxf(largest, values[n]);
        }
        float scale = isfinite(largest) ? largest : 0;
        // As ring_stage does it, in one instruction less.
        float shift = scale * -1.44269504f;
#pragma unroll
        for (int n = 0; n < WIDTH; n++) {
            if (ALL || ((n >= first) & (n < end))) from[n * step] = power_of_two(fmaf(values[n], 1.44269504f, shift));
        }
        return scale;
    }

    METHOD void prepare_all() const {
#pragma unroll 1
        for (int row = t; row < ROWS; row += THREADS) row_scale[row] = prepare<true>(tile_c + row * C_WIDTH, 1, 0, WIDTH);
#pragma unroll 1
        for (int column = t; column < LINES + WIDTH - 1; column += THREADS) {
            // Whether all of these columns' rows are here, for all of the warp.
            bool all = (column - t % 32 >= WIDTH - 1) & (column - t % 32 + 31 < LINES);
            float* from = tile_b + column * WIDTH;
            column_scale[column] = all ? prepare<true>(from, 1 - WIDTH, 0, WIDTH) : prepare<false>(from, 1 - WIDTH, column - LINES + 1, column + 1);
        }
    }

    // What leaves a window for good, of one column.
    METHOD static float finished(float sum, float scale, bool& spoilt) {
        bool exact = ring_is_exact(sum);
        spoilt = !exact;
        float value = natural_log(sum, scale);
#ifdef __CUDACC__
        // Without a branch.
        asm("{\n.reg .pred p;\nsetp.ne.u32 p, %1, 0;\nselp.f32 %0, %0, 0f7fc00000, p;\n}" : "+f"(value) : "r"((uint)exact));
        return value;
#else
        return exact ? value : not_a_number();
#endif
    }

    typedef float Sums[COLUMNS][4];

    // Four k, of which the FIRST and the LAST of a row are not all there; before that the window moves on.
    template <bool FIRST, bool LAST>
    METHOD void multiply(Sums& acc, const float* from_a, const float* from_b) const {
        int lane = t % 4;
        float x[4][4];
#pragma unroll
        for (int r = 0; r < 4; r++) {
            float4 v = *(const float4*)(from_a + r * (C_WIDTH - 1));
            x[r][0] = v.x, x[r][1] = v.y, x[r][2] = v.z, x[r][3] = v.w;
        }
#pragma unroll
        for (int q = 0; q < 4; q++) {
#pragma unroll
            for (int e = 0; e < COLUMNS; e++) {
                float y = from_b[q * (WIDTH - 1) + e * 4];
                if (e == 0 && q > 0) y = lane >= q ? y : ring_pad();
                if (e == COLUMNS - 1 && q < 3) y = lane <= q ? y : ring_pad();
#pragma unroll
                for (int r = 0; r < 4; r++) {
                    float before = q > 0 ? acc[e][r] : !FIRST && e + 1 < COLUMNS ? acc[e + 1][r] : ring_start();
                    bool there = (!FIRST || q >= r) && (!LAST || q <= r);
                    acc[e][r] = there ? ring_mac(before, x[r][q], y) : before;
                }
            }
        }
    }

    // Four columns of the window to slots `slot` - r on. At the row's ends some are none.
    template <bool FIRST, bool LAST>
    METHOD void store(float* own, const float (&sums)[4], int slot, const float (&scale)[4], bool& spoilt) const {
        int lane = t % 4;
        float of_column = column_scale[t / 4 * 4 + slot + lane];
#pragma unroll
        for (int r = 0; r < 4; r++) {
            bool bad, there = (!FIRST || lane >= r) && (!LAST || lane <= r);
            float value = finished(sums[r], scale[r] + of_column, bad);
            if (there) own[r * (C_WIDTH - 1) + slot + lane] = value;
            spoilt |= there & bad;
        }
    }

    // This thread's part of four rows, into tile_c; whether padding may have spoilt some of it.
    METHOD bool multiply_all() const {
        int rows = t / 4 * 4;
        float* own = tile_c + rows * C_WIDTH;
        const float* from_b = tile_b + rows * WIDTH + t % 4;
        float scale[4];
#pragma unroll
        for (int r = 0; r < 4; r++) scale[r] = row_scale[rows + r];
        bool spoilt = false;
        Sums acc;
        multiply<true, false>(acc, own, from_b);
        __syncwarp();
        store<true, false>(own, acc[0], 0, scale, spoilt);
#pragma unroll 1
        for (int n = 1; n < STEPS - 1; n++) {
            from_b += 4 * WIDTH;
            multiply<false, false>(acc, own + 4 * n, from_b);
            __syncwarp();
            store<false, false>(own, acc[0], 4 * n, scale, spoilt);
        }
        multiply<false, true>(acc, own + 4 * (STEPS - 1), from_b + 4 * WIDTH);
        __syncwarp();
#pragma unroll
        for (int e = 0; e < COLUMNS - 1; e++) store<false, false>(own, acc[e], 4 * (STEPS - 1 + e), scale, spoilt);
        store<false, true>(own, acc[COLUMNS - 1], 4 * (STEPS - 1 + COLUMNS - 1), scale, spoilt);
        return spoilt;
    }

    // What a thread is about to write: the fill outside of the matrix; what padding may have spoilt is computed anew.
    METHOD void mend(float* from, int first_row, int x) const {
#pragma unroll 1
        for (int n = x; n < x + 4; n++) {
            int i = i0 + first_row + n / C_WIDTH, j = i - params.c_lower + n % C_WIDTH;
            if ((uint)j >= (uint)params.cols) from[n] = params.fill;
            else if (isnan(from[n])) from[n] = ring_exact(params, a, b, i, j);
        }
    }

    // The rows of a warp.
    METHOD void write(bool anew) const {
        constexpr int FOURS = 32 * C_WIDTH / 4;
        int row = t / 32 * 32, lane = t % 32;
        const int end = min(32, params.rows - i0 - row) * C_WIDTH / 4;
        float* from = tile_c + row * C_WIDTH;
        float4* to = (float4*)(c + (i0 + row) * C_WIDTH);
        if (anew) {
#pragma unroll 1
            for (int x = lane; x < end; x += 32) mend(from, row, 4 * x);
        }
        if (end == FOURS) {
#pragma unroll
            for (int x = 0; x < FOURS / 32 * 32; x += 32) to[x + lane] = ((const float4*)from)[x + lane];
            int x = FOURS / 32 * 32 + lane;
            if (x < FOURS) to[x] = ((const float4*)from)[x];
        } else {
#pragma unroll 1
            for (int x = lane; x < end; x += 32) to[x] = ((const float4*)from)[x];
        }
    }

    METHOD void run() {
        bool edge = (k0 < 0) | (k0 + LINES + 1 > params.inner) | (i0 + ROWS > params.rows) | (i0 < params.c_lower) |
                    (i0 + ROWS > params.cols - params.c_upper);
        tile_b += k0 & 3;
        if (edge) {
            bring_b<true>();
            cp_async_commit();
            bring_a<true>();
        } else {
            bring_b<false>();
            cp_async_commit();
            bring_a<false>();
        }
        cp_async_wait<0>();
        __syncthreads();
        if (edge) {
            clear_b();
            __syncthreads();
        }
        prepare_all();
        __syncthreads();
        bool spoilt = multiply_all() | edge;
        __syncwarp();
        spoilt = __any_sync(~0u, spoilt);
        if (i0 + t / 32 * 32 < params.rows) write(spoilt);
    }
};

DEVICE void narrow_fixed(const Params& params, PRODUCT_BUFFERS) {
    after_previous();
    extern __shared__ float4 fixed_memory[];
    size_t batch = blockIdx.x / params.tiles;
    if (batch >= params.batch) return;
    int i0 = blockIdx.x % params.tiles * NarrowFixed::ROWS;
    float* tiles = (float*)fixed_memory;
    float* scales = tiles + NarrowFixed::C_SIZE + NarrowFixed::B_SIZE;
    NarrowFixed product = {params,
                           a + batch * params.rows * NarrowFixed::WIDTH,
                           b + batch * params.inner * NarrowFixed::WIDTH,
                           c + batch * params.rows * NarrowFixed::C_WIDTH,
                           tiles,
                           tiles + NarrowFixed::C_SIZE,
                           scales,
                           scales + NarrowFixed::ROWS,
                           i0,
                           i0 - params.a_lower,
                           (int)threadIdx.x};
    product.run();
}
