// The whole product of two narrow bands. A block has as many rows of C as threads. It brings its rows of A and the rows of B that these
// reach all at once, multiplies, and writes its rows of C as the one stretch of memory that they are: with barriers at
// each step, as in matmul_slide.cuh, narrow bands would mostly wait. Blocks in other phases fill the time.
//
//            columns of C                  Four threads share four rows, a thread every fourth column of a window of
//       [ window ]→                        4 · COLUMNS that slides along with k, four columns after every four (a step).
//   g   x x x x x . . .                    What it leaves behind is finished. Each four rows have their own k.
//       . x x x x x . .
//       . . x x x x x .                    In shared memory both operands lie in rows, whatever their layout; a row is an
//       . . . x x x x x                    odd number of values long, so that a warp's threads read different banks.
//                                          C's values take the places of A's that were multiplied.
#pragma once

#include "matmul_params.cuh"
#include "tensor.cuh"

// ln x + scale, to 2^-21 and two roundings where x is no less than 2^-126: with the exponent apart, since what the unit's
// logarithm is off by is small beside 1, not beside the result. A third of the instructions of `logf`.
DEVICE float natural_log(float x, float scale) {
    uint bits = __float_as_uint(x);
    uint exponent = (bits >> 23) + 0x4b3fff81; // as a float, 1.5 · 2^23 more
    float rest = __uint_as_float(bits - exponent * 0x800000), log; // 1 to 2
#ifdef __CUDACC__
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(log) : "f"(rest));
#else
    log = log2f(rest);
#endif
    return fmaf(log, 0.693147181f, fmaf(__uint_as_float(exponent) - 12582912, 0.693147181f, scale));
}

// An operand as it lies in memory.
struct NarrowBand {
    const float* __restrict__ values;
    bool columns; // layout
    int rows, cols, lower, upper;

    METHOD int width() const { return lower + upper + 1; }
    METHOD const float* at(int row, int slot) const {
        int column = row - lower + slot;
        return values + (columns ? column * (width() - 1) + row + upper : row * width() + slot);
    }
    // The slots of a row that are inside the matrix.
    METHOD int first_slot(int row) const { return clamp(lower - row, 0, width()); }
    METHOD int end_slot(int row) const { return (uint)row < (uint)rows ? clamp(cols + lower - row, 0, width()) : 0; }
    // Whether all slots of these rows are.
    METHOD bool inside(int row, int count) const { return (row >= max(0, lower)) & (row + count <= min(rows, cols - upper)); }
};

// FULL: both operands have WIDTH diagonals, in rows layout, so that all offsets are constant.
template <int COLUMNS, int ROWS_OF_C, bool FULL = false>
struct Narrow {
    static constexpr int ROWS = ROWS_OF_C, GROUP = ROWS;
    static constexpr int WIDTH = 4 * COLUMNS - 3;    // of each operand at most, and what B's is padded to
    static constexpr int LINES = ROWS - 4 + 4 * COLUMNS; // of B at most
    static constexpr int C_SIZE = ROWS * (2 * WIDTH - 1);
    static constexpr int B_SIZE = LINES * WIDTH + 8; // the window reaches beyond the last, which may start up to 3 further on
    static constexpr int SCALES = RING_SCALES ? ROWS + LINES + WIDTH : 0;
    static constexpr int BYTES = (C_SIZE + B_SIZE + SCALES) * 4;

    const Params& params;
    NarrowBand a, b;
    float* __restrict__ c;
    float* tile_c; // [row][slot]; A's values before
    float* tile_b; // [row][slot]
    float* row_scale;
    float* column_scale; // from the first column that any row of B has on
    int i0, k0;          // first row of the block, first row of B it needs
    uint t;              // thread
    bool tainted;

    METHOD int a_width() const { return FULL ? WIDTH : a.width(); }
    METHOD int c_width() const { return FULL ? 2 * WIDTH - 1 : params.c_stride + 1; }
    METHOD int steps() const { return (a_width() + 3 + 3) / 4; }

    // Rows of an operand from `first` on, `pitch` apart, with padding where they are shorter than `slots` values and where no
    // row is; in rows layout what a row has in memory outside the matrix comes with it. By fours, where a row is as long as
    // the pitch, all is one stretch that comes 16 bytes at once.
    METHOD void bring(float* to, int pitch, int slots, const NarrowBand& from, int first, int count, bool by_fours) const {
        constexpr int LANES = WIDTH - 1; // of a row; one more value may be left
        int width = from.width();
        if (from.columns) {
            // Four neighbours take four values of a column.
            int by = t % 4;
#pragma unroll 1
            for (int line = t; line < count; line += GROUP) {
                int row = first + line, first_slot = from.first_slot(row), end_slot = from.end_slot(row);
                const float* values = from.at(row, -by);
                float* own = to + line * pitch - by;
#pragma unroll 4
                for (int slot = -by; slot < slots + 3 - by; slot++) {
                    if ((slot >= first_slot) & (slot < end_slot)) cp_async_4(own, values);
                    else if ((uint)slot < (uint)slots) *own = ring_pad();
                    own++;
                    values += width - 1;
                }
            }
            return;
        }
        int start = clamp(-first, 0, count), end = clamp(from.rows - first, start, count);
        if (by_fours) {
            const float* values = from.at(first, 0);
            int x = start * WIDTH, last = end * WIDTH, shift = -((size_t)(values + x) / 4) % 4; // to a multiple of 16 bytes
            if (t < 3 & start < end) {
                if ((int)t < shift & x + (int)t < last) cp_async_4(to + x + t, values + x + t);
                int rest = x + shift + ((last - x - shift) & ~3) + (int)t;
                if (rest < last) cp_async_4(to + rest, values + rest);
            }
#pragma unroll 4
            for (x += shift + 4 * t; x + 4 <= last; x += 4 * GROUP) cp_async_16(to + x, values + x);
        } else {
            int lane = t % LANES, line = start + t / LANES;
            float* own = to + line * pitch + lane;
            const float* values = from.at(first + line, lane);
            if (lane < width) {
#pragma unroll 4
                for (; line < end; line += GROUP / LANES) {
                    cp_async_4(own, values);
                    own += GROUP / LANES * pitch;
                    values += GROUP / LANES * width;
                }
            }
#pragma unroll 1
            for (int line = start + t; line < end; line += GROUP) {
                if (LANES < width) cp_async_4(to + line * pitch + LANES, from.at(first + line, LANES));
#pragma unroll 1
                for (int slot = width; slot < slots; slot++) to[line * pitch + slot] = ring_pad();
            }
        }
#pragma unroll 1
        for (int line = t; line < count & (start > 0 | end < count); line += GROUP) {
#pragma unroll 1
            for (int slot = 0; slot < slots & (line < start | line >= end); slot++) to[line * pitch + slot] = ring_pad();
        }
    }

    // A's rows of a full width, all of which exist.
    METHOD void bring_a() const {
        constexpr int LANES = WIDTH - 1, AT_ONCE = GROUP / LANES; // one more value of each row is left
        int lane = t % LANES, line = t / LANES;
        const float* from = a.values + (i0 + line) * WIDTH + lane;
        float* to = tile_c + line * c_width() + lane;
#pragma unroll
        for (int n = 0; n < ROWS / AT_ONCE; n++) cp_async_4(to + n * AT_ONCE * c_width(), from + n * AT_ONCE * WIDTH);
        cp_async_4(tile_c + t * c_width() + LANES, a.values + (i0 + t) * WIDTH + LANES);
    }

    // Padding before and after A's rows, as far as four that share their k reach: slots of C not yet written.
    METHOD void surround() const {
#pragma unroll
        for (int n = 0; n < 3; n++) {
            tile_c[t * c_width() + WIDTH + n] = ring_pad();
            tile_c[t * c_width() + c_width() - 1 - n] = ring_pad();
        }
    }

    // Padding where a row of A reaches out of the matrix: rows of B that don't exist are padding too, but what A's slots hold
    // there need not be finite, and then the sum would have to be computed anew.
    METHOD void clear() const {
        float* own = tile_c + t * c_width();
#pragma unroll 1
        for (int slot = a.first_slot(i0 + t) - 1; slot >= 0; slot--) own[slot] = ring_pad();
#pragma unroll 1
        for (int slot = a.end_slot(i0 + t); slot < a.width(); slot++) own[slot] = ring_pad();
    }

    // Looks at values before they are multiplied, and scales them by the largest, which it returns.
    METHOD float prepare(float* from, int step, int count) {
        float largest = minus_infinity();
#pragma unroll 4
        for (int n = 0; n < count; n++) {
            float value = from[n * step];
            tainted |= ring_taints(value);
            if (RING_SCALES) largest = fmaxf(largest, value);
        }
        if (!RING_SCALES) return 0;
        float scale = isfinite(largest) ? largest : 0;
#pragma unroll 4
        for (int n = 0; n < count; n++) from[n * step] = ring_stage(from[n * step], scale);
        return scale;
    }

    // A row of A and columns of B to each thread. An entry of C is a sum over values of one row and one column, so any
    // scale does that these share: that of a column is its largest value among the rows of B that are here.
    METHOD void prepare_all(int count) {
        int first = a.first_slot(i0 + t), end = a.end_slot(i0 + t);
        float scale = prepare(tile_c + t * c_width() + first, 1, end - first);
        if (RING_SCALES) row_scale[t] = scale;
        for (int column = t; column < count + b.width() - 1; column += GROUP) {
            bool real = (uint)(k0 - b.lower + column) < (uint)params.cols;
            int first = max(max(0, -k0), column - b.width() + 1), end = min(min(count, params.inner - k0), column + 1);
            float scale = prepare(tile_b + column + first * (WIDTH - 1), WIDTH - 1, real ? end - first : 0);
            if (RING_SCALES) column_scale[column] = scale;
        }
    }

    // The window moves on; then four k of four rows times it. At the band's ENDS rows lack some of them.
    template <bool ENDS>
    METHOD void multiply(float (&acc)[COLUMNS][4], const float* const (&from_a)[4], const float* from_b, int n) const {
        int lane = t % 4;
        float fours[4][4]; // of A, where its rows begin at multiples of 16 bytes less r values
#pragma unroll
        for (int r = 0; FULL && r < 4; r++) {
            float4 v = *(const float4*)(from_a[0] + r * (c_width() - 1) + 4 * n);
            fours[r][0] = v.x, fours[r][1] = v.y, fours[r][2] = v.z, fours[r][3] = v.w;
        }
#pragma unroll
        for (int q = 0; q < 4; q++) {
            float x[4];
#pragma unroll
            for (int r = 0; r < 4; r++) {
                // Beside the band are other rows' values, or C's that other threads write.
                if (!ENDS | ((uint)(4 * n + q - r) < (uint)a.width())) x[r] = FULL ? fours[r][q] : from_a[r][4 * n + q];
                else x[r] = ring_pad();
            }
#pragma unroll
            for (int e = 0; e < COLUMNS; e++) {
                float y = from_b[q * (WIDTH - 1) + e * 4];
                if (e == 0 && q > 0) y = lane >= q ? y : ring_pad();
                if (e == COLUMNS - 1 && q < 3) y = lane <= q ? y : ring_pad();
#pragma unroll
                for (int r = 0; r < 4; r++) {
                    float before = q > 0 ? acc[e][r] : e + 1 < COLUMNS ? acc[e + 1][r] : ring_start();
                    acc[e][r] = ring_mac(before, x[r], y);
                }
            }
        }
    }

    // This thread's part of four rows, into tile_c.
    METHOD void multiply_all() {
        int lane = t % 4;
        float* own[4];
        const float* from_a[4];
#pragma unroll
        for (int r = 0; r < 4; r++) {
            own[r] = tile_c + (t / 4 * 4 + r) * c_width() - r;
            from_a[r] = own[r];
        }
        const float* from_b = tile_b + t / 4 * 4 * WIDTH + lane;
        float acc[COLUMNS][4];
#pragma unroll
        for (int e = 0; e < COLUMNS; e++) {
#pragma unroll
            for (int r = 0; r < 4; r++) acc[e][r] = ring_start();
        }
#pragma unroll 1
        for (int n = 0; n < steps(); n++, from_b += 4 * WIDTH) {
            bool ends = !FULL && ((n == 0) | (4 * n + 3 >= a.width()));
            if (ends) multiply<true>(acc, from_a, from_b, n);
            else multiply<false>(acc, from_a, from_b, n);
            __syncwarp();
            // No later k reaches the window's first columns.
#pragma unroll
            for (int r = 0; r < 4; r++) {
                if (!ends | ((uint)(4 * n + lane - r) < (uint)c_width())) own[r][4 * n + lane] = acc[0][r];
            }
        }
#pragma unroll
        for (int e = 1; e < COLUMNS; e++) {
#pragma unroll
            for (int r = 0; r < 4; r++) {
                int slot = 4 * (steps() - 1 + e) + lane - r;
                if ((FULL && e < COLUMNS - 1) || slot < c_width()) own[r][slot + r] = acc[e][r];
            }
        }
    }

    // A row of C to each thread: scaled back, and the fill where it reaches out of the matrix.
    METHOD void finish() const {
        int i = i0 + t, first = clamp(params.c_lower - i, 0, c_width()), end = clamp(params.cols + params.c_lower - i, first, c_width());
        float* row = tile_c + t * c_width();
        if (RING_SCALES) {
            float scale = row_scale[t];
#pragma unroll 4
            for (int slot = first; slot < end; slot++) {
                // Of a sum of exponentials, which is what there are scales for.
                float sum = row[slot], value = natural_log(sum, scale + column_scale[t + slot]);
                row[slot] = ring_is_exact(sum) ? value : not_a_number();
            }
        }
#pragma unroll 1
        for (int slot = 0; slot < first; slot++) row[slot] = params.fill;
#pragma unroll 1
        for (int slot = end; slot < c_width(); slot++) row[slot] = params.fill;
    }

    METHOD static bool is_exact(float value) { return RING_SCALES ? !isnan(value) : ring_is_exact(value); }

    // A warp's rows to memory. What padding may have spoilt is computed anew.
    METHOD void write(bool all) const {
        int row = i0 + t / 32 * 32, length = min(32, params.rows - row) * c_width();
        const float* from = tile_c + t / 32 * 32 * c_width();
        float* to = c + row * c_width();
        // Four values at once as far as there are, where C begins at a multiple of 16 bytes.
        int fours = (size_t)c & 15 ? 0 : length & ~3;
        bool exact = true;
#pragma unroll 4
        for (int x = t % 32 * 4; x < fours; x += 128) {
            float4 v = *(const float4*)(from + x);
            exact &= is_exact(v.x) & is_exact(v.y) & is_exact(v.z) & is_exact(v.w);
            *(float4*)(to + x) = v;
        }
#pragma unroll 1
        for (int x = fours + t % 32; x < length; x += 32) {
            exact &= is_exact(from[x]);
            to[x] = from[x];
        }
        if (!__any_sync(~0u, all | !exact)) return;
        __syncwarp();
#pragma unroll 1
        for (int x = t % 32; x < length; x += 32) {
            int i = row + x / c_width(), j = i - params.c_lower + x % c_width();
            if ((all | !is_exact(from[x])) & ((uint)j < (uint)params.cols)) to[x] = ring_exact(params, a.values, b.values, i, j);
        }
    }

    METHOD void run(int* any_tainted) {
        int count = ROWS - 4 + 4 * steps();
        if (RING_LOOKS & t == 0) *any_tainted = 0;
        if (FULL) surround();
        if (FULL && i0 + ROWS <= params.rows) bring_a();
        else bring(tile_c, c_width(), a_width(), a, i0, ROWS, false);
        // As far from a multiple of 16 bytes as it is in memory.
        bool by_fours = FULL || (!b.columns & (b.width() == WIDTH));
        if (by_fours) tile_b += (size_t)b.at(k0, 0) / 4 % 4;
        bring(tile_b, WIDTH, WIDTH, b, k0, count, by_fours);
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();
        bool edge = !a.inside(i0, ROWS);
        if (edge) clear();
        if (RING_LOOKS) {
            prepare_all(count);
            if (tainted) atomicOr(any_tainted, 1);
        }
        if (RING_LOOKS | edge) __syncthreads();
        if (i0 + t / 32 * 32 >= params.rows) return;
        multiply_all();
        __syncwarp();
        finish();
        __syncwarp();
        write(RING_LOOKS && *any_tainted);
    }
};
