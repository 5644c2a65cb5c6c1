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
// In the ring the rows of B stand between padding, so that the window may reach beyond the band.
#pragma once

#include "tensor.cuh"

template <int LANES, int COLUMNS, int STAGES>
struct Slide {
    static constexpr int STRIPS = 16;
    static constexpr int ROWS = 8 * STRIPS;
    static constexpr int GROUP = STRIPS * LANES;
    static constexpr int STEP = LANES / 8;                      // slabs that a step moves on
    static constexpr int SLABS = STRIPS - 1 + STEP * STAGES;    // of the ring
    static constexpr int WIDTH = LANES * (COLUMNS - 1) + 1;     // of B at most
    static constexpr int PITCH = LANES * COLUMNS + STEP;        // strips of a warp then read different banks
    static constexpr int PAD = PITCH - WIDTH;                   // between two rows
    static constexpr int A_STRIP = 8 * LANES + 4;
    static constexpr int A_STAGE = STRIPS * A_STRIP;
    static constexpr int B_START = LANES;                       // of the first row, after its left padding
    static constexpr int B_SIZE = B_START + SLABS * 8 * PITCH;
    static constexpr int A_SIZE = STAGES * A_STAGE;
    static constexpr int BYTES = (A_SIZE + B_SIZE) * 4;

    const Params& params;
    const float* __restrict__ a;
    const float* __restrict__ b;
    const float* __restrict__ a_scale;
    const float* __restrict__ b_scale;
    float* __restrict__ c;
    float* tile_a; // [stage][strip][row][k]
    float* tile_b; // [row in the ring][column]
    int i0, k0, t; // first row of the block, first row of B it needs, thread
    bool tainted, redo;

    // Calls visit(slot, row, k, is stored) for each value of A that this thread brings into step n.
    template <class Visit>
    METHOD void a_values(int n, Visit visit) {
        bool columns = params.flags & 1;
        int row = columns ? t % 8 : t / LANES % 8;
        int q = columns ? t / 8 % LANES : t % LANES;
        int strip = t / (8 * LANES);
        float* slot = tile_a + n % STAGES * A_STAGE + strip * A_STRIP + row * LANES + q;
        int i = i0 + strip * 8 + row;
        int k = k0 + strip * 8 + n * LANES + q;
        int left = k - i + params.a_lower;
        bool in_band = (left >= 0) & (left <= params.a_lower + params.a_upper);
#pragma unroll
        for (int m = 0; m < STRIPS / 2; m++) {
            visit(slot, i, k, in_band & (i < params.rows) & ((uint)k < (uint)params.inner));
            slot += 2 * A_STRIP;
            i += 16;
            k += 16;
        }
    }

    // The same of B, for `count` slabs from slab `first` on.
    template <class Visit>
    METHOD void b_values(int first, int count, Visit visit) {
        int width = params.b_lower + params.b_upper + 1;
        int ring = first % SLABS * 8;
        auto at = [&](int row, int left) {
            int k = k0 + first * 8 + row;
            int j = k - params.b_lower + left;
            int in_ring = ring + row < SLABS * 8 ? ring + row : ring + row - SLABS * 8;
            bool ok = ((uint)k < (uint)params.inner) & ((uint)j < (uint)params.cols) & (left < width);
            visit(tile_b + in_ring * PITCH + left, k, j, ok);
        };
        if (params.flags & 4) {
            constexpr int LINES = WIDTH + 7;
            for (int x = t; x < count * 8 * LINES; x += GROUP) {
                int slab = x / (8 * LINES);
                int row = x % 8;
                int left = x / 8 - slab * LINES - row;
                if ((uint)left < WIDTH) at(slab * 8 + row, left);
            }
        } else {
            for (int x = t; x < count * 8 * WIDTH; x += GROUP) at(x / WIDTH, x % WIDTH);
        }
    }

    // Slabs that step n needs and the step before did not.
    METHOD int first_slab(int n) { return n == 0 ? 0 : STRIPS - 1 + STEP * n; }
    METHOD int slabs(int n) { return n == 0 ? STRIPS - 1 + STEP : STEP; }

    METHOD void bring(int n) {
        a_values(n, [&](float* slot, int i, int k, bool ok) {
            if (ok) cp_async_4(slot, a + a_index(params, i, k));
            else *slot = ring_pad();
        });
        b_values(first_slab(n), slabs(n), [&](float* slot, int k, int j, bool ok) {
            if (ok) cp_async_4(slot, b + b_index(params, k, j));
            else *slot = ring_pad();
        });
    }

    // What this thread brought, once it is there.
    METHOD void look(int n) {
        if (!RING_LOOKS) return;
        a_values(n, [&](float* slot, int i, int, bool ok) {
            if (!ok) return;
            tainted |= ring_taints(*slot);
            if (RING_SCALES) *slot = ring_stage(*slot, a_scale[i]);
        });
        b_values(first_slab(n), slabs(n), [&](float* slot, int, int j, bool ok) {
            if (!ok) return;
            tainted |= ring_taints(*slot);
            if (RING_SCALES) *slot = ring_stage(*slot, b_scale[j]);
        });
    }

    // One column of a strip into C; `slot` is its place in the strip's first row.
    METHOD void finish(const float (&acc)[8], int row, int slot) {
        int j = row - params.c_lower + slot;
        bool in_cols = (uint)j < (uint)params.cols;
        float scale = RING_SCALES & in_cols ? b_scale[j] : 0;
        float* to = c + c_index(params, row, j);
#pragma unroll
        for (int r = 0; r < 8; r++) {
            if (((uint)(slot - r) > (uint)(params.c_lower + params.c_upper)) | (row + r >= params.rows)) continue;
            float value = params.fill;
            if (in_cols) {
                value = ring_finish(acc[r], RING_SCALES ? a_scale[row + r] + scale : 0);
                if (!ring_is_exact(acc[r])) {
                    value = not_a_number();
                    redo = true;
                }
            }
            to[r * params.c_stride] = value;
        }
    }

    METHOD void run(int* any_tainted) {
        if (t == 0) *any_tainted = 0;
        // The padding, for good.
        for (int x = t; x < (SLABS * 8 + 1) * PAD; x += GROUP) {
            int at = x / PAD * PITCH - PAD + x % PAD;
            if (at >= -B_START) tile_b[at] = ring_pad();
        }

        int strip = t / LANES, lane = t % LANES;
        int row = i0 + strip * 8;
        int steps = (params.a_lower + params.a_upper + 8 + LANES - 1) / LANES;
        float acc[COLUMNS][8];
#pragma unroll
        for (int e = 0; e < COLUMNS; e++) {
#pragma unroll
            for (int r = 0; r < 8; r++) acc[e][r] = ring_start();
        }
#pragma unroll 1
        for (int n = 0; n < STAGES - 1; n++) {
            if (n < steps) bring(n);
            cp_async_commit();
        }
        int slab = strip;
#pragma unroll 1
        for (int n = 0; n < steps; n++) {
            cp_async_wait<STAGES - 2>();
            look(n);
            __syncthreads();
            if (n + STAGES - 1 < steps) bring(n + STAGES - 1);
            cp_async_commit();
#pragma unroll 1
            for (int half = 0; half < STEP; half++) {
                const float* from_a = tile_a + n % STAGES * A_STAGE + strip * A_STRIP + half * 8;
                const float* from_b = tile_b + slab * 8 * PITCH - half * 8 + lane;
                slab = slab + 1 == SLABS ? 0 : slab + 1;
#pragma unroll
                for (int q0 = 0; q0 < 8; q0 += 4) {
                    float4 x[8];
#pragma unroll
                    for (int r = 0; r < 8; r++) x[r] = *(const float4*)(from_a + r * LANES + q0);
#pragma unroll
                    for (int q = q0; q < q0 + 4; q++) {
#pragma unroll
                        for (int e = 0; e < COLUMNS; e++) {
                            float y = from_b[q * (PITCH - 1) + e * LANES];
#pragma unroll
                            for (int r = 0; r < 8; r++) {
                                float xr = q % 4 == 0 ? x[r].x : q % 4 == 1 ? x[r].y : q % 4 == 2 ? x[r].z : x[r].w;
                                acc[e][r] = ring_mac(acc[e][r], xr, y);
                            }
                        }
                    }
                }
            }
            // No later k reaches the window's first columns.
            finish(acc[0], row, n * LANES + lane);
#pragma unroll
            for (int e = 0; e + 1 < COLUMNS; e++) {
#pragma unroll
                for (int r = 0; r < 8; r++) acc[e][r] = acc[e + 1][r];
            }
#pragma unroll
            for (int r = 0; r < 8; r++) acc[COLUMNS - 1][r] = ring_start();
        }
#pragma unroll
        for (int e = 0; e + 1 < COLUMNS; e++) finish(acc[e], row, (steps + e) * LANES + lane);

        // What padding may have spoilt is computed anew.
        if (RING_LOOKS & tainted) atomicOr(any_tainted, 1);
        __syncthreads();
        bool all = *any_tainted;
        if (!(redo | all)) return;
        for (int slot = lane; slot < (steps + COLUMNS) * LANES; slot += LANES) {
            int j = row - params.c_lower + slot;
            if ((uint)j >= (uint)params.cols) continue;
            for (int r = 0; r < 8; r++) {
                if (((uint)(slot - r) > (uint)(params.c_lower + params.c_upper)) | (row + r >= params.rows)) continue;
                float* to = c + c_index(params, row + r, j);
                if (all || isnan(*to)) *to = ring_exact(params, a, b, row + r, j);
            }
        }
    }
};
