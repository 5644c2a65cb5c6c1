// The whole product over `Sum` of two bands of just WIDTH diagonals each, in rows layout: what matmul_narrow.cuh does, with
// LANES threads to a group of rows. They share a window of LANES · COLUMNS columns, which moves LANES columns after as many k.
// EXACT: padding is never multiplied, so sums need no look before C leaves. DELAY staggers the blocks of a multiprocessor.
//
//   PACKED   [ C: 8 rows of 2 · WIDTH - 1, one after the other          ]   A's rows come 16 bytes at once to where C's will be, 8 at
//            [                         A: 8 rows of WIDTH as in memory  ]   a time, so that C's values only take the places of A's that
//                                                                            were read: those of a step, when A's of the next step were.
#pragma once

#include "matmul.cuh"

template <int COLUMNS_OF_FOUR, int LANES, int GROUP_ROWS, bool EXACT = true, bool PACKED = false, int DELAY = 0>
struct NarrowLanes {
    static constexpr int ROWS = 128, THREADS = ROWS * LANES / GROUP_ROWS;
    typedef Narrow<COLUMNS_OF_FOUR, ROWS, true, THREADS> Band; // brings rows, and has the same places in shared memory
    static constexpr int WIDTH = Band::WIDTH, C_WIDTH = 2 * WIDTH - 1, LINES = ROWS + WIDTH - 1;
    static constexpr int COLUMNS = (WIDTH - 1) / LANES + 1;                         // of a thread
    static constexpr int STEPS = (WIDTH + GROUP_ROWS - 1 + LANES - 1) / LANES;      // a group's k, as many as LANES at once
    static constexpr int FIRST = (GROUP_ROWS - 1 + LANES - 1) / LANES;              // of which rows lack some
    static constexpr int MIDDLE = (WIDTH - LANES) / LANES + 1;                      // where they lack some again
    // Groups of four rows are four banks apart: eight threads of each would meet, so two warps take every other.
    static constexpr bool PAIRS = LANES > GROUP_ROWS;
    static constexpr int PART = 32 * GROUP_ROWS / LANES * (PAIRS ? 2 : 1); // rows that are one stretch of C to be written
    static constexpr int WRITERS = PAIRS ? 64 : 32;                        // threads that do
    static_assert(!(PACKED && PAIRS), "a warp has whole eights of rows");
    static_assert(FIRST < MIDDLE && MIDDLE < STEPS, "no step is both a first and a last");

    Band band; // its t is the thread

#ifdef __CUDACC__
    METHOD static uint cycles() {
        uint count;
        asm volatile("mov.u32 %0, %%clock;" : "=r"(count));
        return count;
    }
#endif

    // Blocks that begin together on a multiprocessor ask for their rows one after the other, DELAY cycles apart: those of the
    // first are there first, and are multiplied while others come.
    METHOD static void stagger() {
#ifdef __CUDACC__
        if (DELAY == 0) return;
        uint warp, multiprocessors;
        asm volatile("mov.u32 %0, %%warpid;" : "=r"(warp));
        asm volatile("mov.u32 %0, %%nsmid;" : "=r"(multiprocessors));
        if (blockIdx.x >= 4 * multiprocessors) return;
        uint start = cycles(), wait = warp / (THREADS / 32) % 4 * DELAY;
        while (cycles() - start < wait) continue;
#endif
    }

    METHOD int row_group() const {
        int t = band.t, warp = t / 32, group = t / LANES;
        return PAIRS ? warp / 2 * 64 / LANES + t % 32 / LANES * 2 + warp % 2 : group;
    }

    // ---- A comes ----

    METHOD float* a_row(int row) const {
        return band.tile_c + (PACKED ? row / 8 * 8 * C_WIDTH + 8 * (C_WIDTH - WIDTH) + row % 8 * WIDTH : row * C_WIDTH);
    }

    METHOD void bring_a() const {
        if (PACKED) {
            bring_packed();
            return;
        }
        if (band.i0 + ROWS > band.params.rows) {
            band.bring(band.tile_c, C_WIDTH, WIDTH, band.a, band.i0, ROWS, false);
            return;
        }
        constexpr int WIDE = WIDTH - 1, AT_ONCE = THREADS / WIDE; // one more value of each row is left
        int t = band.t, lane = t % WIDE, line = t / WIDE;
        const float* from = band.a.values + (band.i0 + line) * WIDTH + lane;
        float* to = band.tile_c + line * C_WIDTH + lane;
#pragma unroll
        for (int n = 0; n < ROWS / AT_ONCE; n++) cp_async_4(to + n * AT_ONCE * C_WIDTH, from + n * AT_ONCE * WIDTH);
#pragma unroll
        for (int n = 0; n < ROWS; n += THREADS) {
            int row = n + t;
            if (THREADS <= ROWS || row < ROWS) cp_async_4(band.tile_c + row * C_WIDTH + WIDE, band.a.values + (band.i0 + row) * WIDTH + WIDE);
        }
    }

    METHOD void bring_packed() const {
        const float* from = band.a.values + band.i0 * WIDTH;
        int t = band.t;
        if (band.i0 + ROWS <= band.params.rows & ((size_t)from & 15) == 0) {
            // Eight rows are whole lines of 32 fours, and two more fours.
            constexpr int EIGHTS = ROWS / 8 / (THREADS / 32);
            int lane = t % 32, first = t / 32 * EIGHTS;
            float* to = a_row(8 * first);
            from += first * 8 * WIDTH;
#pragma unroll
            for (int n = 0; n < EIGHTS; n++) {
#pragma unroll
                for (int x = 0; x < WIDTH / 16 * 128; x += 128) cp_async_16(to + n * 8 * C_WIDTH + x + 4 * lane, from + n * 8 * WIDTH + x + 4 * lane);
            }
            int x = WIDTH / 16 * 128 + lane % 2 * 4;
            if (lane < 2 * EIGHTS) cp_async_16(to + lane / 2 * 8 * C_WIDTH + x, from + lane / 2 * 8 * WIDTH + x);
            return;
        }
#pragma unroll 1
        for (int x = t; x < ROWS * WIDTH; x += THREADS) {
            float* to = a_row(x / WIDTH) + x % WIDTH;
            if (band.i0 + x / WIDTH < band.params.rows) cp_async_4(to, from + x);
            else *to = 0;
        }
    }

    // Zeros where a row of A reaches out of the matrix, which meet the zeros that stand for rows of B there.
    METHOD void clear() const {
#pragma unroll 1
        for (int row = band.t; row < ROWS; row += THREADS) {
            float* own = a_row(row);
#pragma unroll 1
            for (int slot = band.a.first_slot(band.i0 + row) - 1; slot >= 0; slot--) own[slot] = 0;
#pragma unroll 1
            for (int slot = band.a.end_slot(band.i0 + row); slot < WIDTH; slot++) own[slot] = 0;
        }
    }

    // ---- This thread's part of its group's rows ----

    // Where a column is beside B's band nothing is added, not 0 times a value of A, which might be infinite.
    METHOD static void add_where(bool stored, float& sum, float x, float y) {
        if (!EXACT) {
            sum = fmaf(x, stored ? y : 0, sum);
            return;
        }
#ifdef __CUDACC__
        asm("{\n.reg .pred stored;\nsetp.ne.u32 stored, %3, 0;\n@stored fma.rn.f32 %0, %1, %2, %0;\n}" : "+f"(sum) : "f"(x), "f"(y), "r"((uint)stored));
#else
        if (stored) sum = fmaf(x, y, sum);
#endif
    }

    typedef float Sums[COLUMNS][GROUP_ROWS];
    typedef float Fours[GROUP_ROWS][4];

    // Four k of A, of row r beginning r before.
    METHOD static void load(Fours& x, const float* from_a) {
#pragma unroll
        for (int r = 0; r < GROUP_ROWS; r++) {
            float4 v = *(const float4*)(from_a + r * ((PACKED ? WIDTH : C_WIDTH) - 1));
            x[r][0] = v.x, x[r][1] = v.y, x[r][2] = v.z, x[r][3] = v.w;
        }
    }

    // The window's columns of one k.
    METHOD static void load(float (&y)[COLUMNS], const float* from_b) {
#pragma unroll
        for (int e = 0; e < COLUMNS; e++) y[e] = from_b[e * LANES];
    }

    // The window moves on; then LANES k, of which the first four of A and the first of B are loaded. BEFORE and AFTER are how many k a
    // row has at least before and after the first of these.
    template <int BEFORE, int AFTER>
    METHOD void multiply(Sums& acc, Fours& x, const float (&y0)[COLUMNS], const float* from_a, const float* from_b) const {
        int lane = band.t % LANES;
#pragma unroll
        for (int q = 0; q < LANES; q++) {
            if (q > 0 && q % 4 == 0) load(x, from_a + q);
#pragma unroll
            for (int e = 0; e < COLUMNS; e++) {
                float y = q == 0 ? y0[e] : from_b[q * (WIDTH - 1) + e * LANES];
#pragma unroll
                for (int r = 0; r < GROUP_ROWS; r++) {
                    if (q == 0) acc[e][r] = BEFORE > 0 && e + 1 < COLUMNS ? acc[e + 1][r] : 0;
                    if (q + BEFORE < r || q - r >= AFTER) continue;
                    if (e == 0 && q > 0) add_where(lane >= q, acc[e][r], x[r][q % 4], y);
                    else if (e == COLUMNS - 1 && q < LANES - 1) add_where(lane <= q, acc[e][r], x[r][q % 4], y);
                    else acc[e][r] = fmaf(x[r][q % 4], y, acc[e][r]);
                }
            }
        }
    }

    // Columns that no later k reaches, the first of which is FROM of the group's. At a row's ends some are none.
    template <int FROM>
    METHOD void store(float* own, const float (&sums)[GROUP_ROWS]) const {
        int lane = band.t % LANES;
#pragma unroll
        for (int r = 0; r < GROUP_ROWS; r++) {
            if (FROM - r >= C_WIDTH) continue;
            if ((FROM >= r || lane >= r - FROM) && (FROM + LANES - 1 - r < C_WIDTH || lane < C_WIDTH - FROM + r)) own[r * (C_WIDTH - 1)] = sums[r];
        }
    }

    struct Place {
        float* own;
        const float *a, *b;
        Sums acc;
        Fours x;
        float y[COLUMNS];
    };

    // What the next step begins with is read before values of C take places of A's.
    template <int BEFORE, int AFTER>
    METHOD void step(Place& at) const {
        multiply<BEFORE, AFTER>(at.acc, at.x, at.y, at.a, at.b);
        at.a += LANES;
        at.b += LANES * WIDTH;
        load(at.x, at.a);
        load(at.y, at.b);
        __syncwarp();
        store<BEFORE>(at.own, at.acc[0]);
        at.own += LANES;
    }

    template <int N>
    METHOD void first(Place& at) const {
        if constexpr (N < FIRST) {
            step<N * LANES, WIDTH>(at);
            first<N + 1>(at);
        }
    }

    template <int N>
    METHOD void last(Place& at) const {
        if constexpr (N < STEPS - 1) {
            step<N * LANES, WIDTH - N * LANES>(at);
            last<N + 1>(at);
        } else {
            multiply<N * LANES, WIDTH - N * LANES>(at.acc, at.x, at.y, at.a, at.b);
            __syncwarp();
        }
    }

    template <int E>
    METHOD void rest(Place& at) const {
        if constexpr (E < COLUMNS) {
            store<(STEPS - 1 + E) * LANES>(at.own + E * LANES, at.acc[E]);
            rest<E + 1>(at);
        }
    }

    // Into tile_c.
    METHOD void multiply_all() const {
        int row = row_group() * GROUP_ROWS, lane = band.t % LANES;
        Place at;
        at.own = band.tile_c + row * C_WIDTH + lane;
        at.a = a_row(row);
        at.b = band.tile_b + row * WIDTH + lane;
        load(at.x, at.a);
        load(at.y, at.b);
        first<0>(at);
#pragma unroll 1
        for (int n = FIRST; n < MIDDLE; n++) step<WIDTH, WIDTH>(at);
        last<MIDDLE>(at);
        rest<0>(at);
    }

    // ---- C leaves ----

    // The fill where rows of C reach out of the matrix.
    METHOD void fill() const {
        const Params& params = band.params;
#pragma unroll 1
        for (int line = band.t; line < ROWS; line += THREADS) {
            int i = band.i0 + line, first = clamp(params.c_lower - i, 0, C_WIDTH), end = clamp(params.cols + params.c_lower - i, first, C_WIDTH);
            float* row = band.tile_c + line * C_WIDTH;
#pragma unroll 1
            for (int slot = 0; slot < first; slot++) row[slot] = params.fill;
#pragma unroll 1
            for (int slot = end; slot < C_WIDTH; slot++) row[slot] = params.fill;
        }
    }

    METHOD static bool is_exact(float4 v) { return EXACT || (ring_is_exact(v.x) & ring_is_exact(v.y) & ring_is_exact(v.z) & ring_is_exact(v.w)); }

    METHOD void write() const {
        constexpr int FOURS = PART * C_WIDTH / 4;
        const Params& params = band.params;
        int t = band.t % WRITERS, line = band.t / WRITERS * PART, row = band.i0 + line;
        const float* from = band.tile_c + line * C_WIDTH;
        float* to = band.c + row * C_WIDTH;
        bool exact = true;
        int length = min(PART, params.rows - row) * C_WIDTH;
        bool whole = length == PART * C_WIDTH & ((size_t)band.c & 15) == 0;
        if (whole) {
#pragma unroll 8
            for (int x = t; x < FOURS / WRITERS * WRITERS; x += WRITERS) {
                float4 v = ((const float4*)from)[x];
                exact &= is_exact(v);
                ((float4*)to)[x] = v;
            }
            int x = FOURS / WRITERS * WRITERS + t;
            if (x < FOURS) {
                float4 v = ((const float4*)from)[x];
                exact &= is_exact(v);
                ((float4*)to)[x] = v;
            }
        } else {
#pragma unroll 4
            for (int x = t; x < length; x += WRITERS) {
                exact &= EXACT || ring_is_exact(from[x]);
                to[x] = from[x];
            }
        }
        if (EXACT || exact) return;
        int width = whole ? 4 : 1; // of what this thread wrote
#pragma unroll 1
        for (int n = t * width; n < length; n += WRITERS * width) {
#pragma unroll 1
            for (int x = n; x < n + width; x++) {
                int i = row + x / C_WIDTH, j = i - params.c_lower + x % C_WIDTH;
                if (!ring_is_exact(from[x]) & ((uint)j < (uint)params.cols)) to[x] = ring_exact(params, band.a.values, band.b.values, i, j);
            }
        }
    }

    METHOD void part_sync() const {
#ifdef __CUDACC__
        // A barrier's number in a register would cost a block all 16.
        int part = band.t / WRITERS;
        if (!PAIRS) __syncwarp();
        else if (part == 0) asm volatile("bar.sync 1, 64;" ::: "memory");
        else if (part == 1) asm volatile("bar.sync 2, 64;" ::: "memory");
        else if (part == 2) asm volatile("bar.sync 3, 64;" ::: "memory");
        else asm volatile("bar.sync 4, 64;" ::: "memory");
#else
        __syncthreads();
#endif
    }

    METHOD void run() {
        stagger();
        bring_a();
        // As far from a multiple of 16 bytes as it is in memory.
        band.tile_b += (size_t)band.b.at(band.k0, 0) / 4 % 4;
        band.bring(band.tile_b, WIDTH, WIDTH, band.b, band.k0, LINES, true);
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();
        bool edge = !(band.a.inside(band.i0, ROWS) & band.b.inside(band.k0, LINES));
        if (edge) {
            clear();
            __syncthreads();
        }
        multiply_all();
        if (edge) {
            __syncthreads();
            fill();
        }
        if (edge) __syncthreads();
        else part_sync();
        write();
    }
};

// Four threads to four rows.
typedef NarrowLanes<5, 4, 4, true, true> Lanes17;
typedef NarrowLanes<9, 4, 4, true, true> Lanes33;

template <class Lanes>
DEVICE void narrow_lanes(const Params& params, PRODUCT_BUFFERS) {
    after_previous();
    extern __shared__ float4 lanes_memory[];
    size_t batch = blockIdx.x / params.tiles;
    if (batch >= params.batch) return;
    typedef typename Lanes::Band Band;
    int i0 = blockIdx.x % params.tiles * Lanes::ROWS;
    float* tiles = (float*)lanes_memory;
    NarrowBand left = {a + batch * a_len(params), false, params.rows, params.inner, params.a_lower, params.a_upper};
    NarrowBand right = {b + batch * b_len(params), false, params.inner, params.cols, params.b_lower, params.b_upper};
    Lanes product = {
        {params, left, right, c + batch * c_len(params), tiles, tiles + Band::C_SIZE, nullptr, nullptr, i0, i0 - params.a_lower, threadIdx.x, false}};
    product.run();
}
