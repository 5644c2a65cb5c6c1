// The whole product of two bands. A strip is 8 rows of C; 8 threads work on it, each with COLUMNS columns,
// 8 apart, of all 8 rows in registers. Row k of B reaches width-of-B columns only, so the strip's window of
// 8 · COLUMNS columns slides along with k, 8 columns after every 8 k (a step), and what it leaves behind is
// finished.
//
//            columns of C                  Each strip has its own k: at step n, strip s is at rows
//       [ window ]→                        8 (s + n) of B, counted from the first that the block needs.
//   s   x x x x x . . .                    So all strips do the same at the same time, none waits at
//       . x x x x x . .                    the band's ends, and 8 rows of B (a slab) go from each strip
//  s+1  . . x x x x x .                    to the one before it step after step: slabs lie in a ring,
//                                          into which the next come while a step is worked off.
//
// In the ring a slab's rows stand column below column, with padding beside the band, so that the window
// may reach beyond it.
#pragma once

#include "matmul_params.cuh"
#include "tensor.cuh"

template <int COLUMNS, int STAGES>
struct Slide {
    static constexpr int STRIPS = 16;
    static constexpr int ROWS = 8 * STRIPS;
    static constexpr int GROUP = STRIPS * 8;
    static constexpr int SLABS = STRIPS - 1 + STAGES;      // of the ring
    static constexpr int B_ROW = 8 * COLUMNS;
    static constexpr int B_SLAB = 8 * B_ROW + 8;           // so the strips of a warp read different banks
    static constexpr int B_THREADS = B_ROW <= 32 ? 8 : 16; // that bring a row
    static constexpr int A_STRIP = 8 * 8 + 4;
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
    METHOD void bring(float* slot, const float* from, int step, bool vectors, int first, int end) const {
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

    // Four values once they are there, as they will be multiplied. STEP is from one's scale to the next's.
    template <int STEP>
    METHOD void ready(float* slot, const float* scale, int first, int end) {
        float4 v = *(float4*)slot;
        float values[4] = {v.x, v.y, v.z, v.w}, scales[4];
        float one = RING_SCALES & STEP == 0 & (first < 4) & (end > 0) & (first < end) ? *scale : 0;
#pragma unroll
        for (int e = 0; e < 4; e++) scales[e] = STEP == 0 ? one : RING_SCALES & (e >= first) & (e < end) ? scale[e] : 0;
#pragma unroll
        for (int e = 0; e < 4; e++) {
            bool ok = (e >= first) & (e < end);
            tainted |= ok & ring_taints(values[e]);
            values[e] = ok ? ring_stage(values[e], scales[e]) : values[e];
        }
        if (RING_SCALES) *(float4*)slot = make_float4(values[0], values[1], values[2], values[3]);
    }

    // What this thread does for A in step n: bring it, clear what it brought from beside the band, or make it
    // ready. Neighbours read neighbours in memory.
    enum Task { BRING, CLEAR, READY };
    template <Task TASK>
    METHOD void a_values(int n) {
        constexpr int PER_ROW = 2;
        bool columns = params.flags & 1;
        int row = columns ? t % 8 : t / PER_ROW % 8;
        int q = (columns ? t / 8 % PER_ROW : t % PER_ROW) * 4;
        int step = columns ? params.a_stride : 1;
        int strip = t / (8 * PER_ROW);
        int i = i0 + strip * 8 + row, k = k0 + strip * 8 + n * 8 + q;
        float* slot = tile_a + n % STAGES * A_STAGE + strip * A_STRIP + row * 8 + q;
        const float* from = a + a_index(params, i, k);
        // A second strip, so much further on, has the same place in the band.
        constexpr int FURTHER = STRIPS / 2 * 8;
        float* further_slot = slot + STRIPS / 2 * A_STRIP;
        int first = i - params.a_lower - k, end = i + params.a_upper + 1 - k;
        bool inner = (k0 + n * 8 >= 0) & (k0 + n * 8 + ROWS - 8 + 8 <= params.inner);
        // Inside the matrix four are copied anyway.
        bool any_four = a_vectors & inner & (i0 >= ROWS) & (i0 + ROWS + 16 <= params.rows);
        if (TASK == CLEAR) {
            if (!any_four | ((n * 8 >= 7) & (n * 8 + 8 <= params.a_lower + params.a_upper + 1))) return;
#pragma unroll
            for (int e = 0; e < 4; e++) {
                if ((e < first) | (e >= end)) slot[e] = further_slot[e] = ring_pad();
            }
        } else if (TASK == BRING && any_four) {
            cp_async_16(slot, from);
            cp_async_16(further_slot, from + FURTHER * (params.a_stride + 1));
        } else {
            int further_first = max(first, -k - FURTHER);
            int further_end = i + FURTHER < params.rows ? min(end, params.inner - k - FURTHER) : 0;
            first = max(first, -k);
            end = i < params.rows ? min(end, params.inner - k) : 0;
            if (TASK == READY) {
                ready<0>(slot, a_scale + i, first, end);
                ready<0>(further_slot, a_scale + i + FURTHER, further_first, further_end);
            } else {
                bring(slot, from, step, a_vectors, first, end);
                bring(further_slot, from + FURTHER * (params.a_stride + 1), step, a_vectors, further_first, further_end);
            }
        }
    }

    // Slabs of B that step n needs and the step before did not.
    METHOD int first_slab(int n) const { return n == 0 ? 0 : STRIPS - 1 + n; }
    METHOD int end_slab(int n) const { return STRIPS + n; }

    // Any of them.
    template <Task TASK>
    METHOD void b_outer(int n) {
        constexpr int PER_ROW = B_ROW / 4, PER_SLAB = 8 * PER_ROW;
        computed_here(n);
        bool columns = params.flags & 4;
        int step = columns ? params.b_stride : 1;
#pragma unroll 1
        for (int x = first_slab(n) * PER_SLAB + t; x < end_slab(n) * PER_SLAB; x += GROUP) {
            int slab = x / PER_SLAB, in_slab = x % PER_SLAB;
            int row = columns ? in_slab % 8 : in_slab / PER_ROW;
            int at = (columns ? in_slab / 8 : in_slab % PER_ROW) * 4;
            int j = k0 + slab * 8 - params.b_lower + at;
            int k = k0 + slab * 8 + row;
            int first = max(0, k - params.b_lower) - j;
            int end = (uint)k < (uint)params.inner ? min(params.cols, k + params.b_upper + 1) - j : 0;
            float* slot = tile_b + slab % SLABS * B_SLAB + row * B_ROW + at;
            if (TASK == READY) ready<1>(slot, b_scale + j, first, end);
            else bring(slot, b + b_index(params, k, j), step, b_vectors, first, end);
        }
    }

    // Those no row or column of which lies outside the matrix, 4 values at once: the padding beside the band
    // is there already. A thread stays in its row of the slab.
    template <Task TASK>
    METHOD void b_inner(int n) {
        constexpr int PASS = GROUP / B_THREADS / 8; // slabs at once
        int row = t / B_THREADS % 8, lane = t % B_THREADS;
        int slab = first_slab(n) + t / B_THREADS / 8;
        int in_ring = slab % SLABS;
        int start = row, end = row + params.b_lower + params.b_upper + 1; // of the band in the row
        // What is not four at its ends.
        int single = lane < 4 ? (start & ~3) + lane : (end & ~3) + lane - 4;
        bool has_single = (lane < 4 ? (start & 3) != 0 : lane < 8) & (single >= start) & (single < end);
        constexpr int FOURS = (B_ROW / 4 + B_THREADS - 1) / B_THREADS; // of a thread in a row
        bool has_four[FOURS];
#pragma unroll
        for (int m = 0; m < FOURS; m++) {
            int at = (lane + m * B_THREADS) * 4;
            has_four[m] = (at >= start) & (at + 4 <= end);
        }
        float* to = tile_b + in_ring * B_SLAB + row * B_ROW;
        int j = k0 + slab * 8 - params.b_lower;
        const float* from = b + (k0 + slab * 8 + row) * params.b_stride + j + params.b_lower;
#pragma unroll 1
        for (int left = end_slab(n) - slab; left > 0; left -= PASS) {
#pragma unroll
            for (int m = 0; m < FOURS; m++) {
                int at = (lane + m * B_THREADS) * 4;
                if (TASK == READY) {
                    if (at < B_ROW) ready<1>(to + at, b_scale + j + at, start - at, end - at);
                } else if (has_four[m]) {
                    cp_async_16(to + at, from + at);
                }
            }
            if (TASK == BRING & has_single) cp_async_4(to + single, from + single);
            in_ring += PASS;
            to += in_ring < SLABS ? PASS * B_SLAB : (PASS - SLABS) * B_SLAB;
            if (in_ring >= SLABS) in_ring -= SLABS;
            j += PASS * 8;
            from += PASS * 8 * (params.b_stride + 1);
        }
    }

    template <Task TASK>
    METHOD void values(int n) {
        a_values<TASK>(n);
        int k = k0 + first_slab(n) * 8, end = k0 + end_slab(n) * 8;
        bool inner = (k >= max(0, params.b_lower)) & (end <= min(params.inner, params.cols - params.b_upper));
        if (b_vectors & inner) b_inner<TASK>(n);
        else b_outer<TASK>(n);
    }

    METHOD bool inside(int slot) const {
        int j = i0 - params.c_lower + slot;
        return (slot >= 7) & (slot + 8 <= params.c_lower + params.c_upper + 1) & (i0 + ROWS <= params.rows) & (j >= 0) &
               (j + ROWS - 8 + 8 <= params.cols);
    }

    // One column of a strip into C; `slot` is its place in the strip's first row. `inside` says that all of
    // the block's strips have all of these 8 columns.
    METHOD void finish(const float (&acc)[8], int row, int slot, bool inside) {
        int j = row - params.c_lower + slot;
        bool in_cols = inside | ((uint)j < (uint)params.cols), exact = true;
        float scale = RING_SCALES & in_cols ? b_scale[j] : 0;
        float* to = c + c_index(params, row, j);
        float value[8];
#pragma unroll
        for (int r = 0; r < 8; r++) {
            value[r] = acc[r];
            if (RING_SCALES) {
                int line = inside ? row + r : min(row + r, params.rows - 1);
                value[r] = ring_is_exact(acc[r]) ? ring_finish(acc[r], a_scale[line] + scale) : not_a_number();
            }
        }
        computed_here(to);
        if (inside) {
#pragma unroll
            for (int r = 0; r < 8; r++) {
                to[r * params.c_stride] = value[r];
                exact &= ring_is_exact(acc[r]);
            }
        } else {
            int first = slot - params.c_lower - params.c_upper, end = min(slot + 1, params.rows - row);
#pragma unroll
            for (int r = 0; r < 8; r++) {
                bool there = (r >= first) & (r < end);
                value[r] = in_cols ? value[r] : params.fill;
                if (there) *to = value[r];
                exact &= !there | ring_is_exact(acc[r]);
                to += params.c_stride;
                computed_here(to);
            }
        }
        if (in_cols & !exact) redo = true;
    }

    METHOD static void read(float (&x)[2], const float* from) {
        float2 v = *(const float2*)from;
        x[0] = v.x, x[1] = v.y;
    }
    METHOD static void read(float (&x)[4], const float* from) {
        float4 v = *(const float4*)from;
        x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
    }

    // The window moves on; then 8 k of a strip's rows times it.
    METHOD void multiply(float (&acc)[COLUMNS][8], const float* from_a, const float* from_b) {
        // How many k of A are read at once; the registers are what there is least of.
        constexpr int AT_ONCE = COLUMNS > 5 ? 2 : 4;
#pragma unroll
        for (int q0 = 0; q0 < 8; q0 += AT_ONCE) {
            float x[8][AT_ONCE];
#pragma unroll
            for (int r = 0; r < 8; r++) read(x[r], from_a + r * 8 + q0);
#pragma unroll
            for (int q = 0; q < AT_ONCE; q++) {
#pragma unroll
                for (int e = 0; e < COLUMNS; e++) {
                    float y = from_b[(q0 + q) * B_ROW + e * 8];
#pragma unroll
                    for (int r = 0; r < 8; r++) {
                        float before = q0 + q == 0 ? (e + 1 < COLUMNS ? acc[e + 1][r] : ring_start()) : acc[e][r];
                        acc[e][r] = ring_mac(before, x[r][q], y);
                    }
                }
            }
        }
    }

    METHOD void run(int* any_tainted) {
        if (t == 0) *any_tainted = 0;
        for (int x = t; x < SLABS * B_SLAB / 4; x += GROUP) ((float4*)tile_b)[x] = make_float4(ring_pad(), ring_pad(), ring_pad(), ring_pad());
        __syncthreads();
        int strip = t / 8, lane = t % 8;
        int row = i0 + strip * 8;
        int steps = (params.a_lower + params.a_upper + 8 + 8 - 1) / 8;
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
                a_values<CLEAR>(n);
                __syncthreads();
                if (RING_LOOKS) {
                    values<READY>(n);
                    __syncthreads();
                }
            }
            if (n + STAGES - 1 < steps) values<BRING>(n + STAGES - 1);
            cp_async_commit();
            if (n < 0) continue;
            const float* from_a = tile_a + n % STAGES * A_STAGE + strip * A_STRIP;
            const float* from_b = tile_b + lane;
            multiply(acc, from_a, from_b + slab * B_SLAB);
            slab = slab + 1 == SLABS ? 0 : slab + 1;
            // No later k reaches the window's first columns.
            finish(acc[0], row, n * 8 + lane, inside(n * 8));
        }
        constexpr int AT_ONCE = COLUMNS > 4 ? 4 : COLUMNS - 1;
#pragma unroll 1
        for (int n = steps; n < steps + COLUMNS - 1; n += AT_ONCE) {
#pragma unroll
            for (int e = 1; e <= AT_ONCE; e++) finish(acc[e], row, (n + e - 1) * 8 + lane, inside((n + e - 1) * 8));
#pragma unroll
            for (int e = 1; e + AT_ONCE < COLUMNS; e++) {
#pragma unroll
                for (int r = 0; r < 8; r++) acc[e][r] = acc[e + AT_ONCE][r];
            }
        }

        // What padding may have spoilt is computed anew.
        if (RING_LOOKS & tainted) atomicOr(any_tainted, 1);
        __syncthreads();
        bool all = *any_tainted;
        if (!(redo | all)) return;
#pragma unroll 1
        for (int slot = lane; slot < (steps + COLUMNS) * 8; slot += 8) {
            int j = row - params.c_lower + slot;
            if ((uint)j >= (uint)params.cols) continue;
#pragma unroll 1
            for (int r = 0; r < 8; r++) {
                if (((uint)(slot - r) > (uint)(params.c_lower + params.c_upper)) | (row + r >= params.rows)) continue;
                float* to = c + c_index(params, row + r, j);
                if (all || !(*to > minus_infinity())) *to = ring_exact(params, a, b, row + r, j);
            }
        }
    }
};
