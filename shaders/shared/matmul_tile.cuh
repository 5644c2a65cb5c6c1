// Any product: a block computes 64 rows by 16 · COLUMNS columns of C, and runs over just the k at which the
// bands of its rows and columns meet. Four warps have 32 × 8 · COLUMNS each, a thread 8 × COLUMNS.
//
// Both operands go through the stage 16 k at a time, A as rows along k, B as columns along k (ALONG) or as
// rows along the columns, whichever its memory has; the next two stages are on their way while one is
// worked off. What a thread multiplies it reads 4 values at once.
#pragma once

#include "matmul_stage.cuh"

// One operand as lines, rows of A or columns of B: which k a line holds, and where in memory.
struct Lines {
    const float* values; // of line 0 at k = 0
    const float* scale;
    int count, inner, before, after; // line n holds k from n - before to n + after
    int line_step, k_step;
    bool vectors; // whether values may be copied 4 at once

    METHOD int first(int line) const { return max(0, line - before); }
    METHOD int end(int line) const { return min(inner, line + after + 1); }
};

template <int COLUMNS, bool ALONG>
struct Tile {
    static constexpr int GROUP = 128;
    static constexpr int ROWS = 64;
    static constexpr int WIDTH = 16 * COLUMNS;
    static constexpr int DEPTH = 16;
    static constexpr int PITCH = DEPTH + 4; // 8 lines at one k then lie in different banks
    static constexpr int STAGES = 3;
    static constexpr int STAGE = ROWS * PITCH + (ALONG ? WIDTH * PITCH : WIDTH * DEPTH);
    static constexpr int C_PITCH = WIDTH + 8;
    static constexpr int SIZE = STAGES * STAGE > ROWS * C_PITCH ? STAGES * STAGE : ROWS * C_PITCH;

    const Params& params;
    Lines a, b;
    float* __restrict__ c;
    float* memory;
    int i0, j0, t;
    bool tainted;

    // What this thread brings of COUNT lines from line0 on into a stage from k0 on: copied, or made ready.
    // Neighbours read neighbours in memory. STORED is how the stage has it, values of a line side by side or
    // of a k. FULL says that everything is stored.
    template <bool READY, bool FULL, int SIZE, int COUNT, bool STORED>
    METHOD void values(const Lines& lines, float* slot, int line0, int k0) {
        constexpr int PASSES = COUNT * DEPTH / SIZE / GROUP;
        constexpr int PER_LINE = DEPTH / SIZE, PER_K = COUNT / SIZE;
        bool along = SIZE > 1 ? STORED : lines.k_step == 1;
#pragma unroll(FULL ? PASSES : 1)
        for (int n = 0; n < PASSES; n++) {
            // Of single values, 8 lines to a warp that finds them side by side in memory: no bank twice.
            int x = t + n * GROUP;
            int line = along ? x / PER_LINE : SIZE > 1 | !STORED ? x % PER_K * SIZE : x / (8 * DEPTH) * 8 + x % 8;
            int k = along ? x % PER_LINE * SIZE : SIZE > 1 | !STORED ? x / PER_K : x / 8 % DEPTH;
            float* to = slot + (STORED ? line * PITCH + k : k * COUNT + line);
            line += line0;
            k += k0;
            int first = 0, end = SIZE;
            if (!FULL & (STORED | SIZE == 1)) {
                first = lines.first(line) - k;
                end = (uint)line < (uint)lines.count ? lines.end(line) - k : 0;
            } else if (!FULL) {
                first = max(0, k - lines.after) - line;
                end = (uint)k < (uint)lines.inner ? min(lines.count, k + lines.before + 1) - line : 0;
            }
            if (READY) tainted |= ready_values<SIZE>(to, first, end, lines.scale + line, !STORED);
            else bring_values<SIZE>(to, lines.values + line * lines.line_step + k * lines.k_step, first, end);
        }
    }

    template <bool READY, int COUNT, bool STORED>
    METHOD void values(const Lines& lines, float* slot, int line0, int k0) {
        int last = line0 + COUNT - 1;
        bool full = (line0 >= 0) & (last < lines.count) & (k0 >= lines.first(last)) & (k0 + DEPTH <= lines.end(line0));
        if (READY & !RING_LOOKS & (full | !lines.vectors)) return;
        if (!lines.vectors) values<READY, false, 1, COUNT, STORED>(lines, slot, line0, k0);
        else if (full) values<READY, true, 4, COUNT, STORED>(lines, slot, line0, k0);
        else values<READY, false, 4, COUNT, STORED>(lines, slot, line0, k0);
    }

    template <bool READY>
    METHOD void values(float* stage, int k0) {
        values<READY, ROWS, true>(a, stage, i0, k0);
        values<READY, WIDTH, ALONG>(b, stage + ROWS * PITCH, j0, k0);
    }

    METHOD void multiply(float (&acc)[COLUMNS][8], const float4 (&x)[8], int e, float y0, float y1, float y2, float y3) {
#pragma unroll
        for (int r = 0; r < 8; r++) acc[e][r] = ring_mac(acc[e][r], x[r].x, y0);
#pragma unroll
        for (int r = 0; r < 8; r++) acc[e][r] = ring_mac(acc[e][r], x[r].y, y1);
#pragma unroll
        for (int r = 0; r < 8; r++) acc[e][r] = ring_mac(acc[e][r], x[r].z, y2);
#pragma unroll
        for (int r = 0; r < 8; r++) acc[e][r] = ring_mac(acc[e][r], x[r].w, y3);
    }

    METHOD void run(const float* all_a, const float* all_b, int* any_tainted) {
        if (t == 0) *any_tainted = 0;
        int lane = t % 32, warp = t / 32;
        // In a half of a warp, neighbours share a row and those two apart a column. A thread's rows are 4
        // apart; its columns 8 apart (ALONG) or by fours, 32 apart.
        int row = warp / 2 * 32 + (lane >> 1 & 1) + (lane >> 2 & 2);
        int column = warp % 2 * 8 * COLUMNS + ((lane & 1) + (lane >> 1 & 2) + (lane >> 2 & 4)) * (ALONG ? 1 : 4);
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
        // Where values are copied 4 at once, from an aligned k on.
        if (a.vectors) first -= (size_t)(a.values + first) >> 2 & 3;
        else if (ALONG & b.vectors) first -= (size_t)(b.values + first) >> 2 & 3;
        b.vectors = b.vectors & !((size_t)(b.values + (ALONG ? first : j0)) & 15);
        int stages = max(0, (end - first + DEPTH - 1) / DEPTH);
#pragma unroll 1
        for (int n = 1 - STAGES; n < stages; n++) {
            float* stage = memory + n % STAGES * STAGE;
            int k0 = first + n * DEPTH;
            if (n >= 0) {
                cp_async_wait<STAGES - 2>();
                values<true>(stage, k0);
                __syncthreads();
            }
            if (n + STAGES - 1 < stages) values<false>(memory + (n + STAGES - 1) % STAGES * STAGE, k0 + (STAGES - 1) * DEPTH);
            cp_async_commit();
            if ((n < 0) | (k0 >= warp_end) | (k0 + DEPTH <= warp_first)) continue;
            const float* from_a = stage + row * PITCH;
            const float* from_b = stage + ROWS * PITCH + column * (ALONG ? PITCH : 1);
#pragma unroll
            for (int k = 0; k < DEPTH; k += 4) {
                float4 x[8];
#pragma unroll
                for (int r = 0; r < 8; r++) x[r] = *(const float4*)(from_a + r * 4 * PITCH + k);
                if (ALONG) {
#pragma unroll
                    for (int e = 0; e < COLUMNS; e++) {
                        float4 y = *(const float4*)(from_b + e * 8 * PITCH + k);
                        multiply(acc, x, e, y.x, y.y, y.z, y.w);
                    }
                } else {
#pragma unroll
                    for (int e = 0; e < COLUMNS; e += 4) {
                        const float4* y = (const float4*)(from_b + k * WIDTH + e * 8);
                        float4 y0 = y[0], y1 = y[WIDTH / 4], y2 = y[WIDTH / 2], y3 = y[3 * WIDTH / 4];
                        multiply(acc, x, e, y0.x, y1.x, y2.x, y3.x);
                        multiply(acc, x, e + 1, y0.y, y1.y, y2.y, y3.y);
                        multiply(acc, x, e + 2, y0.z, y1.z, y2.z, y3.z);
                        multiply(acc, x, e + 3, y0.w, y1.w, y2.w, y3.w);
                    }
                }
            }
        }
        if (RING_LOOKS & tainted) atomicOr(any_tainted, 1);

        // Through shared memory, so that warps write rows.
        cp_async_wait<0>();
        __syncthreads();
#pragma unroll
        for (int r = 0; r < 8; r++) {
            float* to = memory + (row + 4 * r) * C_PITCH + column;
#pragma unroll
            for (int e = 0; e < COLUMNS; e++) {
                if (ALONG) to[8 * e] = acc[e][r];
                else if (e % 4 == 0) *(float4*)(to + 8 * e) = make_float4(acc[e][r], acc[e + 1][r], acc[e + 2][r], acc[e + 3][r]);
            }
        }
        __syncthreads();
        bool all = *any_tainted, dense = params.flags & 32;
        bool redo = false;
#pragma unroll 1
        for (int r = warp; r < min(ROWS, params.rows - i0); r += GROUP / 32) {
            int i = i0 + r;
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
                    redo |= all | !ring_is_exact(sum);
                }
                to[n] = value;
            }
        }
        // What padding may have spoilt is computed anew.
        if (!redo) return;
#pragma unroll 1
        for (int x = lane; x < ROWS * WIDTH / 4; x += 32) {
            int r = x / WIDTH * 4 + warp, i = i0 + r, j = j0 + x % WIDTH;
            bool stored = dense | in_band(i, j, params.c_lower, params.c_upper);
            if (stored & (i < params.rows) & ((uint)j < (uint)params.cols) & (all | !ring_is_exact(memory[r * C_PITCH + x % WIDTH]))) {
                c[c_index(params, i, j)] = ring_exact(params, all_a, all_b, i, j);
            }
        }
    }
};
