// The whole product over `Sum` of two bands of just WIDTH diagonals each, in rows layout: what matmul_narrow.cuh does, but padding
// is never multiplied, so no sum has to be looked at, and A comes 16 bytes at once.
//
//   [ C: 8 rows of 2 · WIDTH - 1, one after the other          ]   A's rows come to where C's will be, 8 at a time, so that C's values
//   [                         A: 8 rows of WIDTH as in memory  ]   only take the places of A's that were read: those of a step, when
//                                                                  A's of the next step were.
#pragma once

#include "matmul.cuh"

// Blocks that begin together on a multiprocessor ask for their rows one after the other, DELAY cycles apart: those of the first are
// there first, and are multiplied while others come.
template <int COLUMNS, int DELAY>
struct NarrowFull {
    typedef Narrow<COLUMNS, 128, true> Band; // brings rows, and has the same places in shared memory
    static constexpr int ROWS = Band::ROWS, WIDTH = Band::WIDTH, C_WIDTH = 2 * WIDTH - 1, LINES = ROWS + WIDTH - 1;
    static constexpr int LAST = (WIDTH - 1) / 4; // step of four k in which rows lack some at their end; in the first they do at their start

    Band band; // its t is the thread

#ifdef __CUDACC__
    METHOD static uint cycles() {
        uint count;
        asm volatile("mov.u32 %0, %%clock;" : "=r"(count));
        return count;
    }
#endif

    METHOD static void stagger() {
#ifdef __CUDACC__
        if (DELAY == 0) return;
        uint warp, multiprocessors;
        asm volatile("mov.u32 %0, %%warpid;" : "=r"(warp));
        asm volatile("mov.u32 %0, %%nsmid;" : "=r"(multiprocessors));
        if (blockIdx.x >= 4 * multiprocessors) return;
        uint start = cycles(), wait = warp / (ROWS / 32) % 4 * DELAY;
        while (cycles() - start < wait) continue;
#endif
    }

    // ---- A comes ----

    METHOD float* a_row(int row) const { return band.tile_c + row / 8 * 8 * C_WIDTH + 8 * (C_WIDTH - WIDTH) + row % 8 * WIDTH; }

    METHOD void bring_a() const {
        const float* from = band.a.values + band.i0 * WIDTH;
        int t = band.t;
        if (band.i0 + ROWS <= band.params.rows & ((size_t)from & 15) == 0) {
            // Four times eight rows to a warp, which are whole lines of 32 fours, and two more fours.
            int lane = t % 32, first = t / 32 * 4;
            float* to = a_row(8 * first);
            from += first * 8 * WIDTH;
#pragma unroll
            for (int n = 0; n < 4; n++) {
#pragma unroll
                for (int x = 0; x < WIDTH / 16 * 128; x += 128) cp_async_16(to + n * 8 * C_WIDTH + x + 4 * lane, from + n * 8 * WIDTH + x + 4 * lane);
            }
            int x = WIDTH / 16 * 128 + lane % 2 * 4;
            if (lane < 8) cp_async_16(to + lane / 2 * 8 * C_WIDTH + x, from + lane / 2 * 8 * WIDTH + x);
            return;
        }
#pragma unroll 1
        for (int x = t; x < ROWS * WIDTH; x += ROWS) {
            float* to = a_row(x / WIDTH) + x % WIDTH;
            if (band.i0 + x / WIDTH < band.params.rows) cp_async_4(to, from + x);
            else *to = 0;
        }
    }

    // Zeros where a row of A reaches out of the matrix, which meet the zeros that stand for rows of B there.
    METHOD void clear() const {
        int row = band.i0 + band.t;
        float* own = a_row(band.t);
#pragma unroll 1
        for (int slot = band.a.first_slot(row) - 1; slot >= 0; slot--) own[slot] = 0;
#pragma unroll 1
        for (int slot = band.a.end_slot(row); slot < WIDTH; slot++) own[slot] = 0;
    }

    // ---- This thread's part of four rows ----

    // Where a column is beside B's band nothing is added, not 0 times a value of A, which might be infinite.
    METHOD static void add_where(bool stored, float& sum, float x, float y) {
#ifdef __CUDACC__
        asm("{\n.reg .pred stored;\nsetp.ne.u32 stored, %3, 0;\n@stored fma.rn.f32 %0, %1, %2, %0;\n}" : "+f"(sum) : "f"(x), "f"(y), "r"((uint)stored));
#else
        if (stored) sum = fmaf(x, y, sum);
#endif
    }

    // The window's sums, and what the next step begins with: four k of A, of row r beginning r before, and a k of B.
    struct Place {
        float* own;
        const float *a, *b;
        float sums[COLUMNS][4], x[4][4], y[COLUMNS];
    };

    METHOD static void load(Place& at) {
#pragma unroll
        for (int r = 0; r < 4; r++) {
            float4 v = *(const float4*)(at.a + r * (WIDTH - 1));
            at.x[r][0] = v.x, at.x[r][1] = v.y, at.x[r][2] = v.z, at.x[r][3] = v.w;
        }
#pragma unroll
        for (int e = 0; e < COLUMNS; e++) at.y[e] = at.b[e * 4];
    }

    // The window moves on; then four k. BEFORE and AFTER are how many k a row has at least before and after the first of these.
    template <int BEFORE, int AFTER>
    METHOD void multiply(Place& at) const {
        int lane = band.t % 4;
#pragma unroll
        for (int q = 0; q < 4; q++) {
#pragma unroll
            for (int e = 0; e < COLUMNS; e++) {
                float y = q == 0 ? at.y[e] : at.b[q * (WIDTH - 1) + e * 4];
#pragma unroll
                for (int r = 0; r < 4; r++) {
                    float& sum = at.sums[e][r];
                    if (q == 0) sum = BEFORE > 0 && e + 1 < COLUMNS ? at.sums[e + 1][r] : 0;
                    if (q + BEFORE < r || q - r >= AFTER) continue;
                    if (e == 0 && q > 0) add_where(lane >= q, sum, at.x[r][q], y);
                    else if (e == COLUMNS - 1 && q < 3) add_where(lane <= q, sum, at.x[r][q], y);
                    else sum = fmaf(at.x[r][q], y, sum);
                }
            }
        }
    }

    // Columns that no later k reaches, the first of which is FROM of the four rows'. At a row's ends some are none.
    template <int FROM>
    METHOD void store(float* own, const float (&sums)[4]) const {
        int lane = band.t % 4;
#pragma unroll
        for (int r = 0; r < 4; r++) {
            if (FROM - r >= C_WIDTH) continue;
            if ((FROM >= r || lane >= r - FROM) && (FROM + 3 - r < C_WIDTH || lane < C_WIDTH - FROM + r)) own[r * (C_WIDTH - 1)] = sums[r];
        }
    }

    // What the next step begins with is read before values of C take places of A's.
    template <int BEFORE, int AFTER>
    METHOD void step(Place& at) const {
        multiply<BEFORE, AFTER>(at);
        at.a += 4;
        at.b += 4 * WIDTH;
        load(at);
        __syncwarp();
        store<BEFORE>(at.own, at.sums[0]);
        at.own += 4;
    }

    template <int E>
    METHOD void rest(Place& at) const {
        if constexpr (E < COLUMNS) {
            store<4 * (LAST + E)>(at.own + E * 4, at.sums[E]);
            rest<E + 1>(at);
        }
    }

    // Into tile_c.
    METHOD void multiply_all() const {
        int row = band.t / 4 * 4, lane = band.t % 4;
        Place at;
        at.own = band.tile_c + row * C_WIDTH + lane;
        at.a = a_row(row);
        at.b = band.tile_b + row * WIDTH + lane;
        load(at);
        step<0, WIDTH>(at);
#pragma unroll 1
        for (int n = 1; n < LAST; n++) step<WIDTH, WIDTH>(at);
        multiply<WIDTH - 1, 1>(at);
        __syncwarp();
        rest<0>(at);
    }

    // ---- C leaves ----

    // The fill where rows of C reach out of the matrix.
    METHOD void fill() const {
        const Params& params = band.params;
        int i = band.i0 + band.t, first = clamp(params.c_lower - i, 0, C_WIDTH), end = clamp(params.cols + params.c_lower - i, first, C_WIDTH);
        float* row = band.tile_c + band.t * C_WIDTH;
#pragma unroll 1
        for (int slot = 0; slot < first; slot++) row[slot] = params.fill;
#pragma unroll 1
        for (int slot = end; slot < C_WIDTH; slot++) row[slot] = params.fill;
    }

    // A warp's 32 rows, which are one stretch.
    METHOD void write() const {
        constexpr int FOURS = 32 * C_WIDTH / 4;
        const Params& params = band.params;
        int t = band.t % 32, line = band.t / 32 * 32, row = band.i0 + line;
        const float* from = band.tile_c + line * C_WIDTH;
        float* to = band.c + row * C_WIDTH;
        if (row + 32 <= params.rows & ((size_t)band.c & 15) == 0) {
#pragma unroll 8
            for (int x = t; x < FOURS / 32 * 32; x += 32) ((float4*)to)[x] = ((const float4*)from)[x];
            int x = FOURS / 32 * 32 + t;
            if (x < FOURS) ((float4*)to)[x] = ((const float4*)from)[x];
        } else {
            int length = min(32, params.rows - row) * C_WIDTH;
#pragma unroll 4
            for (int x = t; x < length; x += 32) to[x] = from[x];
        }
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
            __syncthreads();
        } else {
            __syncwarp();
        }
        write();
    }
};

typedef NarrowFull<5, 0> Full17OfSum;
typedef NarrowFull<9, 1000> Full33OfSum;

template <class Full>
DEVICE void narrow_full(const Params& params, PRODUCT_BUFFERS) {
    after_previous();
    extern __shared__ float4 full_memory[];
    size_t batch = blockIdx.x / params.tiles;
    if (batch >= params.batch) return;
    typedef typename Full::Band Band;
    int i0 = blockIdx.x % params.tiles * Full::ROWS;
    float* tiles = (float*)full_memory;
    NarrowBand left = {a + batch * a_len(params), false, params.rows, params.inner, params.a_lower, params.a_upper};
    NarrowBand right = {b + batch * b_len(params), false, params.inner, params.cols, params.b_lower, params.b_upper};
    Full product = {
        {params, left, right, c + batch * c_len(params), tiles, tiles + Band::C_SIZE, nullptr, nullptr, i0, i0 - params.a_lower, threadIdx.x, false}};
    product.run();
}
