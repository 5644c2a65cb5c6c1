// Any product: a block computes 64 rows by 16 · COLUMNS columns of C, and runs over just the k at which the
// bands of its rows and columns meet. Four warps have 32 × 8 · COLUMNS each, a thread 8 × COLUMNS.
//
// Both operands go through a stage, lines being rows of A and columns of B. The next stage's values are on their way
// from memory, in registers, while one is worked off. What a stage looks like, and how it is multiplied, is
// said in matmul_sums.cuh.
#pragma once

#include "matmul_sums.cuh"

struct Span {
    int first, end;

    METHOD bool has(int k) const { return (k >= first) & (k < end); }
};

// One operand as lines.
struct Lines {
    const float* values; // of line 0 at k = 0
    const float* scale;
    int count, inner, before, after; // line n holds k from n - before to n + after
    int stride, origin, len; // of one matrix; `values` is at origin
    bool along;   // whether memory has a line's values side by side, or those of a k
    bool vectors; // whether they may be read 4 at once

    METHOD int first(int line) const { return max(0, line - before); }
    METHOD int end(int line) const { return min(inner, line + after + 1); }
    // The k from which on `ks` of them are stored in all of these lines.
    METHOD Span full(int line, int lines, int ks) const {
        if ((line < 0) | (line + lines > count)) return {0, 0};
        return {first(line + lines - 1), end(line) - ks + 1};
    }
    // From which on memory has something there, be it of other lines.
    METHOD Span readable(int line, int lines, int ks) const {
        if (!vectors) return {0, 0};
        if (along) {
            if ((line < 0) | (line + lines > count)) return {0, 0};
            return {-origin - line * stride, len - origin - (line + lines - 1) * stride - ks + 1};
        }
        int before = origin + line, after = len - before - lines;
        return {before < 0 ? 1 - before / stride : 0, after < 0 ? 0 : after / stride - ks + 2};
    }
    METHOD bool aligned(int n) const { return ((size_t)(values + n) & 15) == 0; }
};

template <int COLUMNS>
struct Tile {
    static constexpr int GROUP = 128;
    static constexpr int ROWS = 64;
    static constexpr int WIDTH = 16 * COLUMNS;
    typedef Sums<ROWS, WIDTH> Own;
    static constexpr int DEPTH = Own::DEPTH;
    static constexpr int PITCH = WIDTH + 4; // of C on its way out; 4 rows apart, another bank
    static constexpr int STAGE = Own::A_SIZE + Own::B_SIZE;
    static constexpr int A_PASSES = ROWS * DEPTH / 4 / GROUP, B_PASSES = WIDTH * DEPTH / 4 / GROUP;
    static constexpr int SIZE = 2 * STAGE > ROWS * PITCH ? 2 * STAGE : ROWS * PITCH;

    const Params& params;
    Lines a, b;
    float* __restrict__ c;
    float* memory;
    int i0, j0, t;
    bool tainted;

    // Where the 4 values are that this thread brings in a pass, and which of them are stored.
    struct Place {
        int line, k, first, end;
    };

    template <int COUNT>
    METHOD Place place(const Lines& lines, int pass, int line0, int k0) const {
        int x = t + pass * GROUP;
        Place p;
        p.line = line0 + (lines.along ? x / (DEPTH / 4) : x % (COUNT / 4) * 4);
        p.k = k0 + (lines.along ? x % (DEPTH / 4) * 4 : x / (COUNT / 4));
        if (lines.along) {
            p.first = lines.first(p.line) - p.k;
            p.end = (uint)p.line < (uint)lines.count ? lines.end(p.line) - p.k : 0;
        } else {
            p.first = max(0, p.k - lines.after) - p.line;
            p.end = (uint)p.k < (uint)lines.inner ? min(lines.count, p.k + lines.before + 1) - p.line : 0;
        }
        return p;
    }

    template <int COUNT, int PASSES>
    METHOD void load(const Lines& lines, float4 (&v)[PASSES], int line0, int k0) const {
        computed_here(line0);
        computed_here(k0);
#pragma unroll
        for (int n = 0; n < PASSES; n++) {
            Place p = place<COUNT>(lines, n, line0, k0);
            const float* from = lines.values + (lines.along ? p.line * lines.stride + p.k : p.k * lines.stride + p.line);
            if (lines.vectors) {
                if ((p.first < 4) & (p.end > 0) & (p.first < p.end)) v[n] = *(const float4*)from;
            } else {
                if ((p.first <= 0) & (p.end > 0)) v[n].x = from[0];
                if ((p.first <= 1) & (p.end > 1)) v[n].y = from[1];
                if ((p.first <= 2) & (p.end > 2)) v[n].z = from[2];
                if ((p.first <= 3) & (p.end > 3)) v[n].w = from[3];
            }
        }
    }

    METHOD float ready(float value, float scale) {
        tainted |= ring_taints(value);
        return ring_stage(value, scale);
    }

    template <int COUNT, int PASSES>
    METHOD void store(const Lines& lines, const float4 (&v)[PASSES], float* stage, int line0, int k0) {
        computed_here(line0);
        computed_here(k0);
#pragma unroll
        for (int n = 0; n < PASSES; n++) {
            Place p = place<COUNT>(lines, n, line0, k0);
            int step = lines.along ? 0 : 1;
            const float* scale = lines.scale + p.line;
            float4 w = v[n];
            w.x = (p.first <= 0) & (p.end > 0) ? ready(w.x, RING_SCALES ? scale[0] : 0) : ring_pad();
            w.y = (p.first <= 1) & (p.end > 1) ? ready(w.y, RING_SCALES ? scale[step] : 0) : ring_pad();
            w.z = (p.first <= 2) & (p.end > 2) ? ready(w.z, RING_SCALES ? scale[2 * step] : 0) : ring_pad();
            w.w = (p.first <= 3) & (p.end > 3) ? ready(w.w, RING_SCALES ? scale[3 * step] : 0) : ring_pad();
            Own::template put<COUNT>(lines.along, stage, Own::template slot<COUNT>(lines.along, p.line - line0, p.k - k0), w);
        }
    }

    // The same without a look at which are stored.
    template <int COUNT, int PASSES>
    METHOD void load_all(const Lines& lines, float4 (&v)[PASSES], const float* from) const {
        int further = lines.along ? GROUP / (DEPTH / 4) * lines.stride : GROUP / (COUNT / 4) * lines.stride;
#pragma unroll
        for (int n = 0; n < PASSES; n++) v[n] = *(const float4*)(from + n * further);
    }

    template <int COUNT, int PASSES>
    METHOD void store_all(const Lines& lines, const float4 (&v)[PASSES], float* stage, int slot, int line) {
        int lines_on = lines.along ? GROUP / (DEPTH / 4) : 0;
        int further = lines.along ? Own::template slot<COUNT>(true, lines_on, 0) : Own::template slot<COUNT>(false, 0, GROUP / (COUNT / 4));
        int step = lines.along ? 0 : 1;
#pragma unroll
        for (int n = 0; n < PASSES; n++) {
            const float* scale = lines.scale + line + n * lines_on;
            float4 w = v[n];
            w.x = ready(w.x, RING_SCALES ? scale[0] : 0);
            w.y = ready(w.y, RING_SCALES ? scale[step] : 0);
            w.z = ready(w.z, RING_SCALES ? scale[2 * step] : 0);
            w.w = ready(w.w, RING_SCALES ? scale[3 * step] : 0);
            Own::template put<COUNT>(lines.along, stage, slot + n * further, w);
        }
    }

    METHOD void run(const float* all_a, const float* all_b, int* any_tainted) {
        if (t == 0) *any_tainted = 0;
        int lane = t % 32, warp = t / 32;
        int wi = warp / 2 * 32, wj = warp % 2 * 8 * COLUMNS;
        int warp_first = max(a.first(i0 + wi), b.first(j0 + wj));
        int warp_end = min(a.end(i0 + wi + 31), b.end(j0 + wj + 8 * COLUMNS - 1));
        bool beside = (j0 + wj > i0 + wi + 31 + params.c_upper) | (j0 + wj + 8 * COLUMNS <= i0 + wi - params.c_lower);
        if (beside & !(params.flags & 32)) warp_end = warp_first; // C has none of the warp's entries

        int first = max(a.first(i0), b.first(j0));
        int end = min(a.end(i0 + ROWS - 1), b.end(j0 + WIDTH - 1));
        // Where values are read 4 at once, from an aligned k on.
        if (a.along & a.vectors) first -= (size_t)(a.values + first) >> 2 & 3;
        else if (b.along & b.vectors) first -= (size_t)(b.values + first) >> 2 & 3;
        a.vectors = a.vectors & a.aligned(a.along ? first : i0);
        b.vectors = b.vectors & b.aligned(b.along ? first : j0);
        int stages = max(0, (end - first + DEPTH - 1) / DEPTH);

        Own sums(wi, wj, a.along, b.along);
        // Beside a band lie other values, which may be read but not used.
        Span full_a = a.full(i0, ROWS, DEPTH), full_b = b.full(j0, WIDTH, DEPTH);
        Span read_a = a.readable(i0, ROWS, DEPTH), read_b = b.readable(j0, WIDTH, DEPTH);
        Span readable = {max(read_a.first, read_b.first), min(read_a.end, read_b.end)};
        Place place_a = place<ROWS>(a, 0, i0, first), place_b = place<WIDTH>(b, 0, j0, first);
        const float* next_a = a.values + (a.along ? place_a.line * a.stride + place_a.k : place_a.k * a.stride + place_a.line);
        const float* next_b = b.values + (b.along ? place_b.line * b.stride + place_b.k : place_b.k * b.stride + place_b.line);
        int slot_a = Own::template slot<ROWS>(a.along, place_a.line - i0, place_a.k - first);
        int slot_b = Own::template slot<WIDTH>(b.along, place_b.line - j0, place_b.k - first);
        float4 from_a[A_PASSES], from_b[B_PASSES];
#pragma unroll 1
        for (int n = -1; n < stages; n++) {
            int k0 = first + n * DEPTH, next = k0 + DEPTH;
            if (n + 1 < stages) {
                if (readable.has(next)) {
                    load_all<ROWS>(a, from_a, next_a);
                    load_all<WIDTH>(b, from_b, next_b);
                } else {
                    load<ROWS>(a, from_a, i0, next);
                    load<WIDTH>(b, from_b, j0, next);
                }
                next_a += DEPTH * (a.along ? 1 : a.stride);
                next_b += DEPTH * (b.along ? 1 : b.stride);
            }
            if ((n >= 0) & (k0 < warp_end) & (next > warp_first)) sums.multiply(memory + (n & 1) * STAGE);
            if (n + 1 < stages) {
                float *to_a = memory + (n + 1 & 1) * STAGE, *to_b = to_a + Own::A_SIZE;
                if (full_a.has(next)) store_all<ROWS>(a, from_a, to_a, slot_a, place_a.line);
                else store<ROWS>(a, from_a, to_a, i0, next);
                if (full_b.has(next)) store_all<WIDTH>(b, from_b, to_b, slot_b, place_b.line);
                else store<WIDTH>(b, from_b, to_b, j0, next);
            }
            __syncthreads();
        }
        if (RING_LOOKS & tainted) atomicOr(any_tainted, 1);

        // Through shared memory, so that warps write rows.
        sums.spread(memory, PITCH);
        __syncthreads();
        bool all = *any_tainted, dense = params.flags & 32;
        bool redo = false;
        bool side_by_side = !((params.c_stride & 3) | ((size_t)(c + c_index(params, i0, j0)) & 15));
#pragma unroll 1
        for (int r = warp; r < min(ROWS, params.rows - i0); r += GROUP / 32) {
            int i = i0 + r;
            int lower = dense ? 0 : i - params.c_lower, upper = dense ? params.cols - 1 : i + params.c_upper;
            const float* line = memory + r * PITCH;
            float* to = c + c_index(params, i, j0);
            float row_scale = RING_SCALES ? a.scale[i] : 0;
            auto finished = [&](float sum, int n) {
                redo |= all | !ring_is_exact(sum);
                return ring_finish(sum, RING_SCALES ? row_scale + b.scale[j0 + n] : 0);
            };
            if ((j0 >= max(lower, 0)) & (j0 + WIDTH - 1 <= min(upper, params.cols - 1))) {
                if (side_by_side) {
                    // WIDTH / 32 columns, which lie aligned.
                    if constexpr (WIDTH == 128) {
                        float4 v = *(const float4*)(line + lane * 4);
                        int n = lane * 4;
                        *(float4*)(to + n) = make_float4(finished(v.y, n), finished(v.x, n + 1), finished(v.w, n + 2), finished(v.z, n + 3));
                    } else {
                        float2 v = *(const float2*)(line + lane * 2);
                        int n = lane * 2;
                        *(float2*)(to + n) = make_float2(finished(v.y, n), finished(v.x, n + 1));
                    }
                } else {
#pragma unroll
                    for (int n = lane; n < WIDTH; n += 32) to[n] = finished(line[n ^ 1], n);
                }
            } else {
#pragma unroll
                for (int m = 0; m < WIDTH; m += 32) {
                    int n = lane + m, j = j0 + n;
                    if ((j >= lower) & (j <= upper)) to[n] = (uint)j < (uint)params.cols ? finished(line[n ^ 1], n) : params.fill;
                }
            }
        }
        // What padding may have spoilt is computed anew, by lanes other than those that wrote it.
        if (!__any_sync(0xffffffff, redo)) return;
        __syncwarp();
#pragma unroll 1
        for (int x = lane; x < ROWS * WIDTH / 4; x += 32) {
            int r = x / WIDTH * 4 + warp, i = i0 + r, j = j0 + x % WIDTH;
            bool stored = dense | in_band(i, j, params.c_lower, params.c_upper);
            if (stored & (i < params.rows) & ((uint)j < (uint)params.cols) & (all | !ring_is_exact(memory[r * PITCH + (x % WIDTH ^ 1)]))) {
                c[c_index(params, i, j)] = ring_exact(params, all_a, all_b, i, j);
            }
        }
    }
};
