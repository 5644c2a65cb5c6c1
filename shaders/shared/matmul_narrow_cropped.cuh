// The product of two narrow bands onto a band that does not hold all of it, as a gradient is: dA = G · Bᵀ on A's band. A block
// has 128 rows of C, a warp 4 columns of each 4 rows, a thread one such 4 × 4. A block brings the lines of both operands
// that its rows of C need all at once, passes a barrier, multiplies, and writes its rows as the one stretch of memory that they are.
//
//            columns of C                  Each 4 × 4 has its own k, those at which the bands of its rows and columns meet,
//       [h = 0][h = 1]                     four at a time (a step). Where it is in the band hangs on h alone, so that a
//   g   x x x x x . . .                    warp's threads do the same.
//       . x x x x x . .
//       . . x x x x x .                    In shared memory lines lie as in memory, be they rows or columns: a step takes 4 × 4
//       . . . x x x x x                    values of either as four reads of 16 bytes.
//
// A line is one more than a multiple of four values long, so that what is at one place across begins at a multiple of 16 bytes
// in all lines or in none, and the threads of a warp, whose rows are four apart, meet in no bank.
#pragma once

#include "matmul.cuh"

typedef float Block[4][4];

// Of each of four lines four values across.
DEVICE void read_block(Block& block, const float* from, int step) {
#pragma unroll
    for (int n = 0; n < 4; n++) {
        float4 v = *(const float4*)(from + n * step);
        block[n][0] = v.x, block[n][1] = v.y, block[n][2] = v.z, block[n][3] = v.w;
    }
}

// An operand as it lies in memory, and the lines of it that a block has.
struct StagedBand {
    const float* __restrict__ values;
    int lines, width, origin; // lines there are, and values in each: line n begins at n - origin across
    int first, count;         // of the block
    float* memory;            // shared, at a multiple of 16 bytes
    int shift;                // 0 to 3

    // The lines from `first_line` on, each with `across` at a multiple of 16 bytes.
    METHOD void place(int first_line, int lines_needed, int across, float* shared) {
        first = first_line, count = lines_needed, memory = shared;
        shift = (first - origin - across) & 3;
    }
    METHOD int pitch() const { return ((width + 2) & ~3) + 1; }
    METHOD float* tile() const { return memory + 4 + shift; }
    // With what a step may read before the first line and behind the last.
    static constexpr METHOD int size(int lines, int pitch) { return (lines * pitch + 4 + 3 + 3 + 3) & ~3; }
    METHOD const float* at(int line, int across) const { return tile() + (line - first) * pitch() + across - line + origin; }

    template <int THREADS>
    METHOD void bring(int t) const {
        int start = clamp(-first, 0, count), end = clamp(lines - first, start, count);
        float* to = tile();
        const float* from = values + (long long)first * width;
        int x = start * width, last = end * width, beyond = pitch() - width;
        if (beyond == 0 && ((size_t)from / 4 - shift) % 4 == 0) {
            int head = min(-(x + shift) & 3, last - x), tail = (last - x - head) & 3;
            if (t < head) cp_async_4(to + x + t, from + x + t);
            if (t < tail) cp_async_4(to + last - 1 - t, from + last - 1 - t);
#pragma unroll 4
            for (x += head + 4 * t; x + 4 <= last; x += 4 * THREADS) cp_async_16(to + x, from + x);
        } else {
            int line = start + t / width, slot = t % width, lines_on = THREADS / width, slots_on = THREADS % width;
            to += line * beyond;
#pragma unroll 4
            for (x += t; x < last; x += THREADS) {
                cp_async_4(to + x, from + x);
                slot += slots_on;
                bool next = slot >= width;
                to += (lines_on + next) * beyond;
                slot -= next ? width : 0;
            }
        }
        clear_rest<THREADS>(t, start, end);
    }

    // Padding where nothing is brought.
    template <int THREADS>
    METHOD void clear_rest(int t, int start, int end) const {
        float* to = tile();
        if (t < 4 + shift) memory[t] = ring_pad();
        int behind = count * pitch();
        if (behind + t < size(count, pitch()) - 4 - shift) to[behind + t] = ring_pad();
        if (pitch() == width & start == 0 & end == count) return;
#pragma unroll 1
        for (int line = t; line < count; line += THREADS) {
            int slot = (line >= start) & (line < end) ? width : 0;
#pragma unroll 1
            for (; slot < pitch(); slot++) to[line * pitch() + slot] = ring_pad();
        }
    }

    // Padding in lines that go along k, where there is no such k: what their slots hold there need not be finite.
    template <int THREADS>
    METHOD void clear_ends(int t, int inner) const {
#pragma unroll 1
        for (int line = t; line < count; line += THREADS) {
            int k = first + line - origin;
            float* own = tile() + line * pitch();
#pragma unroll 1
            for (int slot = min(-k, width) - 1; slot >= 0; slot--) own[slot] = ring_pad();
#pragma unroll 1
            for (int slot = max(inner - k, 0); slot < width; slot++) own[slot] = ring_pad();
        }
    }
};

// C has at most WIDTH diagonals, so has one operand, and the other at most WIDE. Layouts are part of the type.
template <int GROUPS, bool A_COLUMNS, bool B_COLUMNS>
struct NarrowCropped {
    static constexpr int ROWS = 128, THREADS = 32 * GROUPS;
    static constexpr int WIDTH = 4 * GROUPS - 3, WIDE = 2 * WIDTH - 1;
    static constexpr int LINES = ROWS - 4; // and as many more as four rows meet

    // Shared memory where A is the wide one, or B is.
    static constexpr METHOD int needed(int a_width, int b_width, int met) {
        return StagedBand::size(A_COLUMNS ? LINES + met : ROWS, a_width) + StagedBand::size(LINES + (B_COLUMNS ? WIDTH + 3 : met), b_width);
    }
    static constexpr METHOD int larger(int a, int b) { return a > b ? a : b; }
    static constexpr int BYTES = larger(needed(WIDE, WIDTH, WIDE + 3), needed(WIDTH, WIDE, WIDTH + 3)) * 4;

    const Params& params;
    StagedBand a, b;
    float* __restrict__ c;
    float* memory; // shared; of C in the end
    int i0;        // first row of the block
    uint t;        // thread

    // Seen from the first of four rows:
    METHOD int column(int h) const { return 4 * h - params.c_lower; }
    METHOD int groups() const { return (params.c_stride + 7) >> 2; } // 4 × 4 beside each other
    METHOD int first_k(int h) const { return max(-params.a_lower, column(h) - params.b_upper); }
    METHOD int end_k(int h) const { return min(params.a_upper, column(h) + params.b_lower) + 4; }

    METHOD void place() {
        int k = first_k(0), met = max(end_k(groups() - 1) - k + 3, 0) & ~3;
        int from_k = i0 + k, from_column = i0 + column(0);
        a.place(A_COLUMNS ? from_k : i0, A_COLUMNS ? LINES + met : ROWS, A_COLUMNS ? i0 : from_k, memory);
        b.place(B_COLUMNS ? from_column : from_k, LINES + (B_COLUMNS ? 4 * groups() : met), B_COLUMNS ? from_k : from_column,
                memory + StagedBand::size(a.count, a.pitch()));
    }

    // Whether some k that a row of the block could have is none.
    METHOD bool lacks_k() const {
        int first = i0 + first_k(0), end = i0 + LINES + end_k(groups() - 1);
        return (first < 0) | (end > params.inner);
    }

    // Padding beside the band. The first value is at `slot` of its line.
    METHOD static void mask(Block& block, int slot, int width) {
        if (slot >= 3 & slot + 3 < width) return;
#pragma unroll
        for (int n = 0; n < 4; n++) {
#pragma unroll
            for (int m = 0; m < 4; m++) {
                if ((uint)(slot + m - n) >= (uint)width) block[n][m] = ring_pad();
            }
        }
    }

    METHOD void multiply(Block& acc, int g, int h) const {
        int rows = i0 + 4 * g, columns = rows + column(h);
        int k = first_k(0) + ((first_k(h) - first_k(0)) & ~3), end = end_k(h);
        // If k is in one band, and C's entry in C's, then k is in the other band as well, where that is as wide as a whole product.
        bool a_covers = (params.a_lower >= params.c_lower + params.b_upper) & (params.a_upper >= params.c_upper + params.b_lower);
        bool b_covers = (params.b_lower >= params.c_lower + params.a_upper) & (params.b_upper >= params.c_upper + params.a_lower);
        bool mask_a = !a_covers, mask_b = a_covers | !b_covers;
        const float* from_a = A_COLUMNS ? a.at(rows + k, rows) : a.at(rows, rows + k);
        const float* from_b = B_COLUMNS ? b.at(columns, rows + k) : b.at(rows + k, columns);
        int a_step = a.pitch() - 1, b_step = b.pitch() - 1;
#pragma unroll 1
        for (; k < end; k += 4) {
            Block x, y;
            read_block(x, from_a, a_step);
            read_block(y, from_b, b_step);
            if (mask_a) mask(x, A_COLUMNS ? params.a_upper - k : params.a_lower + k, a.width);
            if (mask_b) mask(y, B_COLUMNS ? params.b_upper + k - column(h) : params.b_lower + column(h) - k, b.width);
#pragma unroll
            for (int q = 0; q < 4; q++) {
#pragma unroll
                for (int r = 0; r < 4; r++) {
#pragma unroll
                    for (int e = 0; e < 4; e++) acc[r][e] = ring_mac(acc[r][e], A_COLUMNS ? x[q][r] : x[r][q], B_COLUMNS ? y[e][q] : y[q][e]);
                }
            }
            from_a += A_COLUMNS ? 4 * a_step : 4;
            from_b += B_COLUMNS ? 4 : 4 * b_step;
        }
    }

    // A thread's part of C, and the fill where that is outside of the matrix.
    METHOD void keep(Block& acc, int g, int h) const {
        int width = params.c_stride + 1, j = i0 + 4 * g + column(h);
        float* own = memory + 4 * g * width + 4 * h;
#pragma unroll
        for (int e = 0; e < 4; e++) {
#pragma unroll
            for (int r = 0; r < 4; r++) acc[r][e] = (uint)(j + e) < (uint)params.cols ? acc[r][e] : params.fill;
        }
        if ((h > 0) & (4 * h + 3 < width) & (width % 4 == 1)) {
#pragma unroll
            for (int r = 0; r < 4; r++) *(float4*)(own + r * (width - 1)) = make_float4(acc[r][0], acc[r][1], acc[r][2], acc[r][3]);
            return;
        }
#pragma unroll
        for (int r = 0; r < 4; r++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                if ((uint)(4 * h - r + e) < (uint)width) own[r * (width - 1) + e] = acc[r][e];
            }
        }
    }

    METHOD void write() const {
        int length = min(ROWS, params.rows - i0) * (params.c_stride + 1);
        float* to = c + i0 * (params.c_stride + 1);
        // Four values at once as far as there are, where C begins at a multiple of 16 bytes.
        int fours = (size_t)to & 15 ? 0 : length & ~3;
        bool exact = true;
#pragma unroll 4
        for (int x = 4 * t; x < fours; x += 4 * THREADS) {
            float4 v = *(const float4*)(memory + x);
            exact &= ring_is_exact(v.x) & ring_is_exact(v.y) & ring_is_exact(v.z) & ring_is_exact(v.w);
            *(float4*)(to + x) = v;
        }
#pragma unroll 1
        for (int x = fours + t; x < length; x += THREADS) {
            exact &= ring_is_exact(memory[x]);
            to[x] = memory[x];
        }
        if (!exact) anew(to, fours, length);
    }

    // What padding may have spoilt, of what this thread wrote, is computed anew.
    METHOD void anew(float* to, int fours, int length) const {
        int width = params.c_stride + 1;
        computed_here(width);
        bool by_fours = 4 * t < fours;
#pragma unroll 1
        for (int x = by_fours ? 4 * t : fours + t; x < length;) {
            int i = i0 + x / width, j = i - params.c_lower + x % width;
            if (!ring_is_exact(memory[x]) & ((uint)j < (uint)params.cols)) to[x] = ring_exact(params, a.values, b.values, i, j);
            x += !by_fours ? THREADS : x % 4 < 3 ? 1 : 4 * THREADS - 3;
            if (by_fours & x >= fours) by_fours = false, x = fours + t;
        }
    }

    METHOD void run() {
        place();
        a.template bring<THREADS>(t);
        b.template bring<THREADS>(t);
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();
        if ((!A_COLUMNS | B_COLUMNS) && lacks_k()) {
            if (!A_COLUMNS) a.template clear_ends<THREADS>(t, params.inner);
            if (B_COLUMNS) b.template clear_ends<THREADS>(t, params.inner);
            __syncthreads();
        }
        int g = t % 32, h = warp_index();
        Block acc;
#pragma unroll
        for (int r = 0; r < 4; r++) {
#pragma unroll
            for (int e = 0; e < 4; e++) acc[r][e] = ring_start();
        }
        if (h < groups()) multiply(acc, g, h);
        __syncthreads();
        if (h < groups()) keep(acc, g, h);
        __syncthreads();
        write();
    }
};

template <class Cropped>
DEVICE void narrow_cropped(const Params& params, PRODUCT_BUFFERS) {
    after_previous();
    extern __shared__ float4 cropped_memory[];
    size_t batch = blockIdx.x / params.tiles;
    if (batch >= params.batch) return;
    bool a_columns = params.flags & 1, b_columns = params.flags & 4;
    StagedBand left = {a + batch * a_len(params), a_columns ? params.inner : params.rows, params.a_stride + 1,
                       a_columns ? params.a_upper : params.a_lower};
    StagedBand right = {b + batch * b_len(params), b_columns ? params.cols : params.inner, params.b_stride + 1,
                        b_columns ? params.b_upper : params.b_lower};
    int i0 = blockIdx.x % params.tiles * Cropped::ROWS;
    Cropped product = {params, left, right, c + batch * c_len(params), (float*)cropped_memory, i0, threadIdx.x};
    product.run();
}
