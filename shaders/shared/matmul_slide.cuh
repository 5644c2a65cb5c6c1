// The whole product of two bands. A strip is 8 rows of C; LANES threads work on it, each with COLUMNS
// columns, LANES apart, of all 8 rows in registers. Row k of B reaches width-of-B columns only, so the
// strip's window of LANES · COLUMNS columns slides along with k, LANES columns after every LANES k (a
// step), and what it leaves behind is finished.
//
//            columns of C                  Each strip has its own k: at step t, strip s is at rows
//       [ window ]→                        8 s + LANES · t of B, counted from the first that the block
//   s   x x x x x . . .                    needs. So all strips do the same at the same time, none waits
//       . x x x x x . .                    at the band's ends, and 8 rows of B (a slab) go from the last
//  s+1  . . x x x x x .                    strip to the one before it step after step: slabs lie in a
//                                          ring, into which the next come while a step is worked off.
//
// In the ring a slab's rows stand column below column, with padding beside the band, so that the window
// may reach beyond it.
#pragma once

#include "matmul_stage.cuh"

template <int LANES, int COLUMNS, int STAGES>
struct Slide {
    static constexpr int STRIPS = 16;
    static constexpr int ROWS = 8 * STRIPS;
    static constexpr int GROUP = STRIPS * LANES;
    static constexpr int STEP = LANES / 8;                      // slabs that a step moves on
    static constexpr int SLABS = STRIPS - 1 + STEP * STAGES;    // of the ring
    static constexpr int WIDTH = LANES * (COLUMNS - 1) + 1;     // of B at most
    static constexpr int LEFT = LANES - 8;                      // the window of a step's second slab starts there
    static constexpr int B_ROW = LANES * COLUMNS + LEFT;
    static constexpr int B_SLAB = 8 * B_ROW + LANES;            // so the strips of a warp read different banks
    static constexpr int A_STRIP = 8 * LANES + 4;
    static constexpr int A_STAGE = STRIPS * A_STRIP;
    static constexpr int A_SIZE = STAGES * A_STAGE;
    static constexpr int BYTES = (A_SIZE + SLABS * B_SLAB) * 4;

    const Params& params;
    const float* __restrict__ a;
    const float* __restrict__ b;
    const float* __restrict__ a_scale;
    const float* __restrict__ b_scale;
    float* __restrict__ c;
    float* tile_a; // [stage][strip][row][k]
    float* tile_b; // [row in the ring][column]
    int i0, k0, t; // first row of the block, first row of B it needs, thread
    bool a_vectors, b_vectors; // whether values may be copied 4 at once
    bool tainted, redo;

    // What this thread brings of A into step n: copied, or made ready. Neighbours read neighbours in memory.
    template <bool READY, int SIZE>
    METHOD void a_values(int n) {
        constexpr int PER_ROW = LANES / SIZE, PASSES = 8 / SIZE;
        bool columns = SIZE == 1 && params.flags & 1;
        int row = columns ? t % 8 : t / PER_ROW % 8;
        int q = (columns ? t / 8 % PER_ROW : t % PER_ROW) * SIZE;
#pragma unroll
        for (int m = 0; m < PASSES; m++) {
            int strip = t / (8 * PER_ROW) + m * (STRIPS / PASSES);
            int i = i0 + strip * 8 + row;
            int k = k0 + strip * 8 + n * LANES + q;
            int first = max(0, i - params.a_lower) - k;
            int end = i < params.rows ? min(params.inner, i + params.a_upper + 1) - k : 0;
            float* slot = tile_a + n % STAGES * A_STAGE + strip * A_STRIP + row * LANES + q;
            if (READY) tainted |= ready_values<SIZE>(slot, first, end, a_scale + i, 0);
            else bring_values<SIZE>(slot, a + a_index(params, i, k), first, end);
        }
    }

    // The same of B: the slabs that step n needs and the step before did not.
    template <bool READY, int SIZE>
    METHOD void b_values(int n) {
        int slab = n == 0 ? 0 : STRIPS - 1 + STEP * n;
        int count = n == 0 ? STRIPS - 1 + STEP : STEP;
        constexpr int PER_ROW = B_ROW / SIZE, PER_SLAB = 8 * PER_ROW;
        bool columns = SIZE == 1 && params.flags & 4;
        int ring = slab % SLABS;
#pragma unroll 1
        for (int x = t; x < count * PER_SLAB; x += GROUP) {
            int next = x / PER_SLAB, in_slab = x - next * PER_SLAB;
            int row = columns ? in_slab % 8 : in_slab / PER_ROW;
            int at = (columns ? in_slab / 8 : in_slab % PER_ROW) * SIZE;
            int k = k0 + (slab + next) * 8;
            int j = k - params.b_lower - LEFT + at;
            k += row;
            int first = max(0, k - params.b_lower) - j;
            int end = (uint)k < (uint)params.inner ? min(params.cols, k + params.b_upper + 1) - j : 0;
            int in_ring = ring + next < SLABS ? ring + next : ring + next - SLABS;
            float* slot = tile_b + in_ring * B_SLAB + row * B_ROW + at;
            if (READY) tainted |= ready_values<SIZE>(slot, first, end, b_scale + j, 1);
            else bring_values<SIZE>(slot, b + b_index(params, k, j), first, end);
        }
    }

    template <bool READY>
    METHOD void values(int n) {
        if (a_vectors) a_values<READY, 4>(n);
        else if (!READY | RING_LOOKS) a_values<READY, 1>(n);
        if (b_vectors) b_values<READY, 4>(n);
        else if (!READY | RING_LOOKS) b_values<READY, 1>(n);
    }

    METHOD bool inside(int slot) const {
        int j = i0 - params.c_lower + slot;
        return (slot >= 7) & (slot + LANES <= params.c_lower + params.c_upper + 1) & (i0 + ROWS <= params.rows) & (j >= 0) &
               (j + ROWS - 8 + LANES <= params.cols);
    }

    // One column of a strip into C; `slot` is its place in the strip's first row. `inside` says that all of
    // the block's strips have all of these LANES columns.
    METHOD void finish(const float (&acc)[8], int row, int slot, bool inside) {
        int j = row - params.c_lower + slot;
        bool in_cols = inside | (uint)j < (uint)params.cols;
        float scale = RING_SCALES & in_cols ? b_scale[j] : 0;
        float* to = c + c_index(params, row, j);
        auto store = [&](int r) {
            float value = params.fill;
            if (in_cols) {
                value = ring_finish(acc[r], RING_SCALES ? a_scale[row + r] + scale : 0);
                if (!ring_is_exact(acc[r])) {
                    value = not_a_number();
                    redo = true;
                }
            }
            to[r * params.c_stride] = value;
        };
        if (inside) {
#pragma unroll
            for (int r = 0; r < 8; r++) store(r);
        } else {
#pragma unroll
            for (int r = 0; r < 8; r++) {
                if (((uint)(slot - r) <= (uint)(params.c_lower + params.c_upper)) & (row + r < params.rows)) store(r);
            }
        }
    }

    // 4 k of a strip's rows times its window.
    METHOD void multiply(float (&acc)[COLUMNS][8], const float* from_a, const float* from_b) {
        float4 x[8];
#pragma unroll
        for (int r = 0; r < 8; r++) x[r] = *(const float4*)(from_a + r * LANES);
#pragma unroll
        for (int q = 0; q < 4; q++) {
#pragma unroll
            for (int e = 0; e < COLUMNS; e++) {
                float y = from_b[q * B_ROW + e * LANES];
#pragma unroll
                for (int r = 0; r < 8; r++) acc[e][r] = ring_mac(acc[e][r], q == 0 ? x[r].x : q == 1 ? x[r].y : q == 2 ? x[r].z : x[r].w, y);
            }
        }
    }

    METHOD void run(int* any_tainted) {
        if (t == 0) *any_tainted = 0;
        int strip = t / LANES, lane = t % LANES;
        int row = i0 + strip * 8;
        int steps = (params.a_lower + params.a_upper + 8 + LANES - 1) / LANES;
        float acc[COLUMNS][8];
#pragma unroll
        for (int e = 0; e < COLUMNS; e++) {
#pragma unroll
            for (int r = 0; r < 8; r++) acc[e][r] = ring_start();
        }
        int slab = strip;
#pragma unroll 1
        for (int n = 1 - STAGES; n < steps + COLUMNS - 1; n++) {
            if ((n >= 0) & (n < steps)) {
                cp_async_wait<STAGES - 2>();
                values<true>(n);
                __syncthreads();
            }
            if (n + STAGES - 1 < steps) values<false>(n + STAGES - 1);
            cp_async_commit();
            if (n < 0) continue;
            if (n < steps) {
#pragma unroll 1
                for (int half = 0; half < STEP; half++) {
                    const float* from_a = tile_a + n % STAGES * A_STAGE + strip * A_STRIP + half * 8;
                    const float* from_b = tile_b + slab * B_SLAB + LEFT - half * 8 + lane;
                    slab = slab + 1 == SLABS ? 0 : slab + 1;
                    multiply(acc, from_a, from_b);
                    multiply(acc, from_a + 4, from_b + 4 * B_ROW);
                }
            }
            // No later k reaches the window's first columns.
            finish(acc[0], row, n * LANES + lane, inside(n * LANES));
#pragma unroll
            for (int e = 0; e + 1 < COLUMNS; e++) {
#pragma unroll
                for (int r = 0; r < 8; r++) acc[e][r] = acc[e + 1][r];
            }
#pragma unroll
            for (int r = 0; r < 8; r++) acc[COLUMNS - 1][r] = ring_start();
        }

        // What padding may have spoilt is computed anew.
        if (RING_LOOKS & tainted) atomicOr(any_tainted, 1);
        __syncthreads();
        bool all = *any_tainted;
        if (!(redo | all)) return;
#pragma unroll 1
        for (int slot = lane; slot < (steps + COLUMNS) * LANES; slot += LANES) {
            int j = row - params.c_lower + slot;
            if ((uint)j >= (uint)params.cols) continue;
#pragma unroll 1
            for (int r = 0; r < 8; r++) {
                if (((uint)(slot - r) > (uint)(params.c_lower + params.c_upper)) | (row + r >= params.rows)) continue;
                float* to = c + c_index(params, row + r, j);
                if (all || isnan(*to)) *to = ring_exact(params, a, b, row + r, j);
            }
        }
    }
};
