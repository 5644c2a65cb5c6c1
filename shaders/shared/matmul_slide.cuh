// The whole product of two bands. A strip is 8 rows of C; LANES threads work on it, each with COLUMNS
// columns, LANES apart, of all 8 rows in registers. Row k of B reaches width-of-B columns only, so the
// strip's window of LANES · COLUMNS columns slides along with k, LANES columns after every LANES k (a
// step), and what it leaves behind is finished.
//
//            columns of C                  Each strip has its own k: at step n, strip s is at rows
//       [ window ]→                        8 s + LANES · n of B, counted from the first that the block
//   s   x x x x x . . .                    needs. So all strips do the same at the same time, none waits
//       . x x x x x . .                    at the band's ends, and 8 rows of B (a slab) go from the last
//  s+1  . . x x x x x .                    strip to the one before it step after step: slabs lie in a
//                                          ring, into which the next come while a step is worked off.
//
// In the ring a slab's rows stand column below column, with padding beside the band, so that the window
// may reach beyond it.
#pragma once

#include "matmul_params.cuh"
#include "tensor.cuh"

template <int LANES, int COLUMNS, int STAGES>
struct Slide {
    static constexpr int STRIPS = 16;
    static constexpr int ROWS = 8 * STRIPS;
    static constexpr int GROUP = STRIPS * LANES;
    static constexpr int STEP = LANES / 8;                   // slabs that a step moves on
    static constexpr int SLABS = STRIPS - 1 + STEP * STAGES; // of the ring
    static constexpr int WIDTH = LANES * (COLUMNS - 1) + 1;  // of B at most
    static constexpr int LEFT = LANES - 8;                   // the window of a step's second slab starts there
    static constexpr int B_ROW = LANES * COLUMNS + LEFT;
    static constexpr int B_SLAB = 8 * B_ROW + LANES;         // so the strips of a warp read different banks
    static constexpr int B_THREADS = B_ROW <= 32 ? 8 : 16;   // that bring a row
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
    float* tile_b; // [slab][row][column]
    int i0, k0, t; // first row of the block, first row of B it needs, thread
    bool a_vectors, b_vectors; // whether values may be copied 4 at once
    bool tainted, redo;

    // Four values from[0], from[step], …, of which those from `first` to `end` are stored, on their way to
    // slot[0 .. 4); padding for the others.
    METHOD void bring(float* slot, const float* from, int step, bool vectors, int first, int end) {
        if (vectors & (first <= 0) & (end >= 4)) {
            cp_async_16(slot, from);
        } else {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                if ((e >= first) & (e < end)) cp_async_4(slot + e, from + e * step);
                else slot[e] = ring_pad();
            }
        }
    }

    // Four values once they are there, as they will be multiplied. Neighbours' scales are `step` apart.
    METHOD void ready(float* slot, const float* scale, int step, int first, int end) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
            if ((e < first) | (e >= end)) continue;
            tainted |= ring_taints(slot[e]);
            if (RING_SCALES) slot[e] = ring_stage(slot[e], scale[e * step]);
        }
    }

    // What this thread does for A in step n: bring it, or make it ready. Neighbours read neighbours in memory.
    template <bool READY>
    METHOD void a_values(int n) {
        constexpr int PER_ROW = LANES / 4;
        bool columns = params.flags & 1;
        int row = columns ? t % 8 : t / PER_ROW % 8;
        int q = (columns ? t / 8 % PER_ROW : t % PER_ROW) * 4;
        int step = columns ? params.a_stride : 1;
#pragma unroll
        for (int m = 0; m < 2; m++) {
            int strip = t / (8 * PER_ROW) + m * STRIPS / 2;
            int i = i0 + strip * 8 + row;
            int k = k0 + strip * 8 + n * LANES + q;
            int first = max(0, i - params.a_lower) - k;
            int end = i < params.rows ? min(params.inner, i + params.a_upper + 1) - k : 0;
            float* slot = tile_a + n % STAGES * A_STAGE + strip * A_STRIP + row * LANES + q;
            if (READY) ready(slot, a_scale + i, 0, first, end);
            else bring(slot, a + a_index(params, i, k), step, a_vectors, first, end);
        }
    }

    // Slabs of B that step n needs and the step before did not.
    METHOD int first_slab(int n) const { return n == 0 ? 0 : STRIPS - 1 + STEP * n; }
    METHOD int end_slab(int n) const { return STRIPS - 1 + STEP * (n + 1); }

    template <bool READY>
    METHOD void b_values(int n) {
        constexpr int PER_ROW = B_ROW / 4, PER_SLAB = 8 * PER_ROW;
        bool columns = params.flags & 4;
        int step = columns ? params.b_stride : 1;
#pragma unroll 1
        for (int x = first_slab(n) * PER_SLAB + t; x < end_slab(n) * PER_SLAB; x += GROUP) {
            int slab = x / PER_SLAB, in_slab = x % PER_SLAB;
            int row = columns ? in_slab % 8 : in_slab / PER_ROW;
            int at = (columns ? in_slab / 8 : in_slab % PER_ROW) * 4;
            int j = k0 + slab * 8 - params.b_lower - LEFT + at;
            int k = k0 + slab * 8 + row;
            int first = max(0, k - params.b_lower) - j;
            int end = (uint)k < (uint)params.inner ? min(params.cols, k + params.b_upper + 1) - j : 0;
            float* slot = tile_b + slab % SLABS * B_SLAB + row * B_ROW + at;
            if (READY) ready(slot, b_scale + j, 1, first, end);
            else bring(slot, b + b_index(params, k, j), step, b_vectors, first, end);
        }
    }

    // The same where no row or column lies outside the matrix: the padding beside the band is there already.
    METHOD void bring_inner(int n) {
        int width = params.b_lower + params.b_upper + 1;
        int lane = t % B_THREADS;
#pragma unroll 1
        for (int x = first_slab(n) * 8 + t / B_THREADS; x < end_slab(n) * 8; x += GROUP / B_THREADS) {
            int row = x % 8;
            int start = LEFT + row, end = start + width; // of the band in the row
            float* to = tile_b + x / 8 % SLABS * B_SLAB + row * B_ROW;
            const float* from = b + (k0 + x) * params.b_stride + k0 + x - start;
#pragma unroll
            for (int at = lane * 4; at < B_ROW; at += B_THREADS * 4) {
                if ((at >= start) & (at + 4 <= end)) cp_async_16(to + at, from + at);
            }
            // At its ends, what is not four.
            int at = lane < 4 ? (start & ~3) + lane : (end & ~3) + lane - 4;
            bool beside = lane < 4 ? (start & 3) != 0 : lane < 8;
            if (beside & (at >= start) & (at < end)) cp_async_4(to + at, from + at);
        }
    }

    METHOD void bring(int n) {
        a_values<false>(n);
        int k = k0 + first_slab(n) * 8, end = k0 + end_slab(n) * 8;
        bool inner = (k >= max(0, params.b_lower)) & (end <= min(params.inner, params.cols - params.b_upper));
        if (b_vectors & inner) bring_inner(n);
        else b_values<false>(n);
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
        bool in_cols = inside | ((uint)j < (uint)params.cols), exact = true;
        float* to = c + c_index(params, row, j);
        float value[8];
#pragma unroll
        for (int r = 0; r < 8; r++) {
            exact &= ring_is_exact(acc[r]);
            value[r] = acc[r];
        }
        if (RING_SCALES) {
            float scale = in_cols ? b_scale[j] : 0;
#pragma unroll
            for (int r = 0; r < 8; r++) value[r] = ring_finish(acc[r], (inside | (row + r < params.rows) ? a_scale[row + r] : 0) + scale);
        }
        if (!exact) {
#pragma unroll
            for (int r = 0; r < 8; r++) value[r] = ring_is_exact(acc[r]) ? value[r] : not_a_number();
            redo = true;
        }
        if (inside) {
#pragma unroll
            for (int r = 0; r < 8; r++) to[r * params.c_stride] = value[r];
        } else {
            int end = min(slot + 1, params.rows - row);
            int first = slot - params.c_lower - params.c_upper;
#pragma unroll
            for (int r = 0; r < 8; r++) {
                if ((r >= first) & (r < end)) to[r * params.c_stride] = in_cols ? value[r] : params.fill;
            }
        }
    }

    // 8 k of a strip's rows times its window. MOVE says that the window moves on before.
    template <bool MOVE>
    METHOD void multiply(float (&acc)[COLUMNS][8], const float* from_a, const float* from_b) {
#pragma unroll
        for (int q = 0; q < 8; q += 2) {
            float2 x[8];
#pragma unroll
            for (int r = 0; r < 8; r++) x[r] = *(const float2*)(from_a + r * LANES + q);
#pragma unroll
            for (int e = 0; e < COLUMNS; e++) {
                float y = from_b[q * B_ROW + e * LANES];
#pragma unroll
                for (int r = 0; r < 8; r++) {
                    float before = MOVE & q == 0 ? (e + 1 < COLUMNS ? acc[e + 1][r] : ring_start()) : acc[e][r];
                    acc[e][r] = ring_mac(before, x[r].x, y);
                }
            }
#pragma unroll
            for (int e = 0; e < COLUMNS; e++) {
                float y = from_b[(q + 1) * B_ROW + e * LANES];
#pragma unroll
                for (int r = 0; r < 8; r++) acc[e][r] = ring_mac(acc[e][r], x[r].y, y);
            }
        }
    }

    METHOD void run(int* any_tainted) {
        if (t == 0) *any_tainted = 0;
        for (int x = t; x < SLABS * B_SLAB / 4; x += GROUP) ((float4*)tile_b)[x] = make_float4(ring_pad(), ring_pad(), ring_pad(), ring_pad());
        __syncthreads();
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
        for (int n = 1 - STAGES; n < steps; n++) {
            if (n >= 0) {
                cp_async_wait<STAGES - 2>();
                __syncthreads();
                if (RING_LOOKS) {
                    a_values<true>(n);
                    b_values<true>(n);
                    __syncthreads();
                }
            }
            if (n + STAGES - 1 < steps) bring(n + STAGES - 1);
            cp_async_commit();
            if (n < 0) continue;
            const float* from_a = tile_a + n % STAGES * A_STAGE + strip * A_STRIP;
            const float* from_b = tile_b + LEFT + lane;
            multiply<true>(acc, from_a, from_b + slab * B_SLAB);
            slab = slab + 1 == SLABS ? 0 : slab + 1;
            if (STEP == 2) {
                multiply<false>(acc, from_a + 8, from_b + slab * B_SLAB - 8);
                slab = slab + 1 == SLABS ? 0 : slab + 1;
            }
            // No later k reaches the window's first columns.
            finish(acc[0], row, n * LANES + lane, inside(n * LANES));
        }
#pragma unroll 1
        for (int n = steps; n < steps + COLUMNS - 1; n++) {
#pragma unroll
            for (int e = 0; e + 1 < COLUMNS; e++) {
#pragma unroll
                for (int r = 0; r < 8; r++) acc[e][r] = acc[e + 1][r];
            }
            finish(acc[0], row, n * LANES + lane, inside(n * LANES));
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
