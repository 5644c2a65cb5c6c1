// Any product: a block computes 64 rows by 16 · COLUMNS columns of C, and runs over just the k at which the
// bands of its rows and columns meet. Four warps have 32 × 8 · COLUMNS each, a thread 8 × COLUMNS, 4 rows
// and 8 columns apart.
//
// Both operands go through the stage as lines (rows of A, columns of B) along k, 16 k at a time; the next
// two stages are on their way while one is worked off. What a thread multiplies it reads 4 k at once.
#pragma once

#include "tensor.cuh"

// One operand as lines: which k a line holds, and where in memory.
struct Lines {
    const float* values;
    const float* scale;
    int count, inner, before, after; // line n holds k from n - before to n + after
    int line_step, k_step;

    METHOD int first(int line) const { return max(0, line - before); }
    METHOD int end(int line) const { return min(inner, line + after + 1); }
};

template <int COLUMNS>
struct Tile {
    static constexpr int GROUP = 128;
    static constexpr int ROWS = 64;
    static constexpr int WIDTH = 16 * COLUMNS;
    static constexpr int DEPTH = 16;
    static constexpr int PITCH = DEPTH + 4; // 8 lines at one k then lie in different banks
    static constexpr int STAGES = 3;
    static constexpr int STAGE = (ROWS + WIDTH) * PITCH;
    static constexpr int C_PITCH = WIDTH + 8;
    static constexpr int SIZE = STAGES * STAGE > ROWS * C_PITCH ? STAGES * STAGE : ROWS * C_PITCH;

    const Params& params;
    Lines a, b;
    float* __restrict__ c;
    float* memory;
    int i0, j0, t;
    bool tainted;

    // Calls visit(slot, address, line, is stored) for each value that this thread brings into a stage that
    // starts at k0. Neighbours read neighbours in memory.
    template <int COUNT, class Visit>
    METHOD void values(const Lines& lines, float* slot, int line0, int k0, Visit visit) {
        bool along = lines.k_step == 1;
        int line = along ? t / DEPTH : t % 8;
        int in_stage = along ? t % DEPTH : t / 8;
        slot += line * PITCH + in_stage;
        int last = line0 + COUNT - 1;
        bool full = (line0 >= 0) & (last < lines.count) & (k0 >= lines.first(last)) & (k0 + DEPTH <= lines.end(line0));
        line += line0;
        int k = k0 + in_stage;
        int at = line * lines.line_step + k * lines.k_step;
#pragma unroll
        for (int n = 0; n < COUNT / 8; n++) {
            bool ok = full || ((uint)line < (uint)lines.count) & (k >= lines.first(line)) & (k < lines.end(line));
            visit(slot, lines.values + at, line, ok);
            slot += 8 * PITCH;
            line += 8;
            at += 8 * lines.line_step;
        }
    }

    METHOD void bring(float* stage, int k0) {
        auto copy = [&](float* slot, const float* from, int, bool ok) {
            if (ok) cp_async_4(slot, from);
            else *slot = ring_pad();
        };
        values<ROWS>(a, stage, i0, k0, copy);
        values<WIDTH>(b, stage + ROWS * PITCH, j0, k0, copy);
    }

    // What this thread brought, once it is there.
    METHOD void look(float* stage, int k0) {
        if (!RING_LOOKS) return;
        auto look = [&](const float* scale) {
            return [&, scale](float* slot, const float*, int line, bool ok) {
                if (!ok) return;
                tainted |= ring_taints(*slot);
                if (RING_SCALES) *slot = ring_stage(*slot, scale[line]);
            };
        };
        values<ROWS>(a, stage, i0, k0, look(a.scale));
        values<WIDTH>(b, stage + ROWS * PITCH, j0, k0, look(b.scale));
    }

    METHOD void run(const float* all_a, const float* all_b, int* any_tainted) {
        if (t == 0) *any_tainted = 0;
        int lane = t % 32, warp = t / 32;
        // In a half of a warp, neighbours share a row and those two apart a column.
        int row = warp / 2 * 32 + (lane >> 1 & 1) + (lane >> 2 & 2);
        int column = warp % 2 * 8 * COLUMNS + (lane & 1) + (lane >> 1 & 2) + (lane >> 2 & 4);
        int wi = i0 + warp / 2 * 32, wj = j0 + warp % 2 * 8 * COLUMNS;
        int warp_first = max(a.first(wi), b.first(wj));
        int warp_end = min(a.end(wi + 31), b.end(wj + 8 * COLUMNS - 1));

        float acc[COLUMNS][8];
#pragma unroll
        for (int e = 0; e < COLUMNS; e++) {
#pragma unroll
            for (int r = 0; r < 8; r++) acc[e][r] = ring_start();
        }
        int first = max(a.first(i0), b.first(j0));
        int end = min(a.end(i0 + ROWS - 1), b.end(j0 + WIDTH - 1));
        int stages = max(0, (end - first + DEPTH - 1) / DEPTH);
#pragma unroll 1
        for (int n = 0; n < STAGES - 1; n++) {
            if (n < stages) bring(memory + n * STAGE, first + n * DEPTH);
            cp_async_commit();
        }
#pragma unroll 1
        for (int n = 0; n < stages; n++) {
            float* stage = memory + n % STAGES * STAGE;
            int k0 = first + n * DEPTH;
            cp_async_wait<STAGES - 2>();
            look(stage, k0);
            __syncthreads();
            if (n + STAGES - 1 < stages) bring(memory + (n + STAGES - 1) % STAGES * STAGE, k0 + (STAGES - 1) * DEPTH);
            cp_async_commit();
            if ((k0 >= warp_end) | (k0 + DEPTH <= warp_first)) continue;
            const float* from_a = stage + row * PITCH;
            const float* from_b = stage + (ROWS + column) * PITCH;
#pragma unroll
            for (int k = 0; k < DEPTH; k += 4) {
                float4 x[8];
#pragma unroll
                for (int r = 0; r < 8; r++) x[r] = *(const float4*)(from_a + r * 4 * PITCH + k);
#pragma unroll
                for (int e = 0; e < COLUMNS; e++) {
                    float4 y = *(const float4*)(from_b + e * 8 * PITCH + k);
#pragma unroll
                    for (int r = 0; r < 8; r++) acc[e][r] = ring_mac(acc[e][r], x[r].x, y.x);
#pragma unroll
                    for (int r = 0; r < 8; r++) acc[e][r] = ring_mac(acc[e][r], x[r].y, y.y);
#pragma unroll
                    for (int r = 0; r < 8; r++) acc[e][r] = ring_mac(acc[e][r], x[r].z, y.z);
#pragma unroll
                    for (int r = 0; r < 8; r++) acc[e][r] = ring_mac(acc[e][r], x[r].w, y.w);
                }
            }
        }
        if (RING_LOOKS & tainted) atomicOr(any_tainted, 1);

        // Through shared memory, so that warps write rows.
        cp_async_wait<0>();
        __syncthreads();
#pragma unroll
        for (int e = 0; e < COLUMNS; e++) {
#pragma unroll
            for (int r = 0; r < 8; r++) memory[(row + 4 * r) * C_PITCH + column + 8 * e] = acc[e][r];
        }
        __syncthreads();
        bool all = *any_tainted, dense = params.flags & 32;
#pragma unroll 1
        for (int r = warp; r < ROWS; r += GROUP / 32) {
            int i = i0 + r;
            if (i >= params.rows) break;
            int lower = dense ? 0 : i - params.c_lower, upper = dense ? params.cols - 1 : i + params.c_upper;
            float row_scale = RING_SCALES ? a.scale[i] : 0;
            float* to = c + c_index(params, i, j0);
#pragma unroll
            for (int n = lane; n < WIDTH; n += 32) {
                int j = j0 + n;
                if ((j < lower) | (j > upper)) continue;
                float value = params.fill;
                if ((uint)j < (uint)params.cols) {
                    float sum = memory[r * C_PITCH + n];
                    value = ring_finish(sum, RING_SCALES ? row_scale + b.scale[j] : 0);
                    if (all | !ring_is_exact(sum)) value = ring_exact(params, all_a, all_b, i, j);
                }
                to[n] = value;
            }
        }
    }
};
