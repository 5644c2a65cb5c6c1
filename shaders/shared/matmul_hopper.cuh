// The whole product of two wide bands on Hopper's matrix units, in thirds of f32 (thirds.cuh): a warpgroup has 64
// rows of C, and goes along the rows of B that they reach, 16 at a time (a slab).
//
//         columns of C                    16 rows of B reach no more columns than a row does and 15 more: the
//   A     [ window ]→                     window. It moves on with the slabs, and the 16 columns that it leaves
//   x x . x x x x x . . .                 behind are finished. They go from registers to C while the next
//   . x x . x x x x x . .                 slab's products are under way, and the slab after that is split and
//                                         staged, of A as of B.
#pragma once

#include "early.cuh"
#include "matmul_params.cuh"
#include "matmul_slab.cuh"
#include "thirds.cuh"

#if defined(HOPPER) || !defined(__CUDACC__)

// The window has GROUPS · 8 columns. If ALIGNED, A and B may be read 4 at once, and C written 2 at once.
template <int GROUPS, bool ALIGNED>
struct Warpgroup {
    typedef Slab<GROUPS> Own;
    static constexpr int ROWS = Own::ROWS, DEPTH = Own::DEPTH;
    static constexpr int LEFT = DEPTH / 8; // groups that the window leaves behind
    static constexpr int BYTES = 2 * Own::BYTES;
    static_assert(Own::COLUMNS == 128 + 16, "four columns to a lane and two values of those beyond to a thread");

    const Params& params;
    const float* __restrict__ a;
    const float* __restrict__ b;
    float* __restrict__ c;
    char* slabs; // two, in turns
    int i0, t;   // first row of the block, thread

    METHOD int slab_count() const { return (ROWS + params.a_lower + params.a_upper + DEPTH - 1) / DEPTH; }
    METHOD int k0(int slab) const { return i0 - params.a_lower + slab * DEPTH; } // first row of B in the slab
    METHOD int row() const { return t / 32 * 16 + t % 32 / 4; }                  // this thread's of the block, and 8 further

    // ---- A: four k of two rows ----

    struct FromA {
        const float* next;     // the first of the next slab's four
        int down, step;        // to the other row, and to the next k
        int place[2], count[2]; // of the four in what is stored of each row, and how many are
    };

    METHOD FromA from_a() const {
        bool columns = !ALIGNED & (params.flags & 1);
        int k = k0(0) + t % 4 * 4;
        FromA from = {a + a_index(params, i0 + row(), k), 8 * (columns ? 1 : params.a_stride), columns ? params.a_stride : 1};
#pragma unroll
        for (int n = 0; n < 2; n++) {
            int i = i0 + row() + n * 8;
            int first = max(i - params.a_lower, 0), end = i < params.rows ? min(i + params.a_upper + 1, params.inner) : 0;
            from.place[n] = k - first;
            from.count[n] = max(end - first, 0);
        }
        return from;
    }

    METHOD void load_a(float (&x)[2][4], FromA& from) const {
        computed_here(from.down);
        computed_here(from.step);
#pragma unroll
        for (int n = 0; n < 2; n++) {
            computed_here(from.place[n]);
            computed_here(from.count[n]);
            int place = from.place[n];
            uint count = from.count[n];
            const float* line = from.next + n * from.down;
            if (ALIGNED) {
                // Else what was there stays, so that nothing waits for what is loaded.
                if (((uint)(place + 3) < count + 3) & (count > 0)) {
                    float4 v = load_four(line);
                    x[n][0] = v.x, x[n][1] = v.y, x[n][2] = v.z, x[n][3] = v.w;
                }
            } else {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    if ((uint)(place + e) < count) x[n][e] = line[e * from.step];
                }
            }
        }
        from.next += DEPTH * from.step;
    }

    // What was loaded last.
    METHOD void stage_a(float (&x)[2][4], FromA& from, char* slab) const {
#pragma unroll
        for (int n = 0; n < 2; n++) {
#pragma unroll
            for (int e = 0; e < 4; e++) x[n][e] = (uint)(from.place[n] + e) < (uint)from.count[n] ? x[n][e] : 0;
            from.place[n] += DEPTH;
        }
        char* to = slab + Own::of_a(row(), t % 4 * 4);
#pragma unroll
        for (int n = 0; n < 2; n++) {
            Thirds low = thirds(x[n][0], x[n][1]), high = thirds(x[n][2], x[n][3]);
#pragma unroll
            for (int m = 0; m < 3; m++) *(uint2*)(to + m * Own::A_PART + n * 8 * 16) = make_uint2(low.part[m], high.part[m]);
        }
    }

    // ---- B: four columns of four rows to a thread, and two of one row of the columns beyond ----

    struct FromB {
        const float* next; // the first of the next slab's four columns, in the first of the four rows
        int along, step;   // to the next column, and to the next k
        int rest;          // to the first of the two columns
        int k, end;        // the slab's first, and where slabs or rows end
        int bits;          // which of the values are in the band, row by row
    };
    struct Values {
        float four[4][4], rest[2];
        uint stored;
    };
    METHOD int column() const { return t % 32 * 4; }
    METHOD int k_of(int n) const { return n * 4 + t / 32; }
    METHOD int rest_column() const { return 128 + t % 8 * 2; }
    METHOD int rest_k() const { return t / 8; }

    // A bit for each of `count` from `first` on, before `end`.
    METHOD static uint bits(int first, int end, int count) { return (1u << clamp(end, 0, count)) - (1u << clamp(first, 0, count)); }

    METHOD FromB from_b() const {
        int k = k0(0), j = k - params.b_lower, width = params.b_lower + params.b_upper + 1;
        bool columns = !ALIGNED & (params.flags >> 2 & 1);
        FromB from;
        from.next = b + b_index(params, k + k_of(0), j + column());
        from.along = columns ? params.b_stride : 1;
        from.step = columns ? 1 : params.b_stride;
        from.rest = (rest_column() - column()) * from.along + (rest_k() - k_of(0)) * from.step;
        from.k = k;
        from.end = min(params.inner, k0(slab_count()));
        from.bits = bits(rest_k() - rest_column(), rest_k() - rest_column() + width, 2) << 16;
#pragma unroll
        for (int n = 0; n < 4; n++) from.bits |= bits(k_of(n) - column(), k_of(n) - column() + width, 4) << n * 4;
        return from;
    }

    // Which values are in the matrix, if not all are.
    METHOD uint in_matrix(const FromB& from) const {
        int j = from.k - params.b_lower;
        uint four = bits(-j - column(), params.cols - j - column(), 4), two = bits(-j - rest_column(), params.cols - j - rest_column(), 2);
        uint stored = (uint)(from.k + rest_k()) < (uint)from.end ? two << 16 : 0;
#pragma unroll
        for (int n = 0; n < 4; n++) stored |= (uint)(from.k + k_of(n)) < (uint)from.end ? four << n * 4 : 0;
        return stored;
    }

    METHOD void load_b(Values& v, FromB& from) const {
        int j = from.k - params.b_lower;
        bool inner = (from.k >= 0) & (from.k + DEPTH <= from.end) & (j >= 0) & (j + Own::COLUMNS <= params.cols);
        computed_here(from.bits);
        v.stored = from.bits;
        if (!inner) v.stored &= in_matrix(from);
        computed_here(from.step);
        computed_here(from.along);
        const float* rest = from.next + from.rest;
        if (ALIGNED) {
#pragma unroll
            for (int n = 0; n < 4; n++) {
                if (v.stored >> n * 4 & 15) {
                    float4 four = load_four(from.next + n * 4 * from.step);
                    v.four[n][0] = four.x, v.four[n][1] = four.y, v.four[n][2] = four.z, v.four[n][3] = four.w;
                }
            }
            if (v.stored >> 16) {
                float2 two = *(const float2*)rest;
                v.rest[0] = two.x, v.rest[1] = two.y;
            }
        } else {
#pragma unroll
            for (int n = 0; n < 4; n++) {
                const float* line = from.next + n * 4 * from.step;
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    if (v.stored >> (n * 4 + e) & 1) v.four[n][e] = line[e * from.along];
                }
            }
            if (v.stored >> 16 & 1) v.rest[0] = rest[0];
            if (v.stored >> 17 & 1) v.rest[1] = rest[from.along];
        }
        from.next += DEPTH * (params.b_stride + 1);
        from.k += DEPTH;
    }

    METHOD void stage_b(Values& v, char* slab) const {
        char* to = slab + Own::of_b(t / 32, column());
#pragma unroll
        for (int n = 0; n < 4; n++) {
#pragma unroll
            for (int e = 0; e < 4; e++) v.four[n][e] = v.stored >> (n * 4 + e) & 1 ? v.four[n][e] : 0;
            Thirds low = thirds(v.four[n][0], v.four[n][1]), high = thirds(v.four[n][2], v.four[n][3]);
#pragma unroll
            for (int m = 0; m < 3; m++) *(uint2*)(to + Own::of_b(n * 4, 0) + m * Own::B_PART) = make_uint2(low.part[m], high.part[m]);
        }
        Thirds split = thirds(v.stored >> 16 & 1 ? v.rest[0] : 0, v.stored >> 17 & 1 ? v.rest[1] : 0);
        to = slab + Own::of_b(t / 8, rest_column());
#pragma unroll
        for (int m = 0; m < 3; m++) *(uint*)(to + m * Own::B_PART) = split.part[m];
    }

    // ---- C ----

    struct ToC {
        float* next;  // the row's next two columns
        int down;     // to the other row
        float finite; // 0, or NaN after a sum that is not
        int first, end; // columns that all of the block's rows have
    };

    METHOD ToC to_c() const {
        int j = i0 - params.c_lower;
        int end = i0 + ROWS <= params.rows ? min(params.c_lower + params.c_upper + 1, params.cols - j) : 0;
        return {c + c_index(params, i0 + row(), j + t % 4 * 2), 8 * params.c_stride, 0, max(ROWS - 1, -j), end};
    }

    // Groups of the window from this column on, counted from the first that the block's first row has.
    template <int COUNT>
    METHOD void finish(const float (&sums)[COUNT][4], ToC& to, int column) const {
        int j = i0 - params.c_lower + column, width = params.c_lower + params.c_upper + 1;
        computed_here(to.down);
        computed_here(to.next);
        float* other = to.next + to.down;
        computed_here(other);
        if ((column >= to.first) & (column + COUNT * 8 <= to.end)) {
#pragma unroll
            for (int n = 0; n < COUNT; n++) {
                if (ALIGNED) {
                    *(float2*)(to.next + n * 8) = make_float2(sums[n][0], sums[n][1]);
                    *(float2*)(other + n * 8) = make_float2(sums[n][2], sums[n][3]);
                } else {
                    to.next[n * 8] = sums[n][0], to.next[n * 8 + 1] = sums[n][1];
                    other[n * 8] = sums[n][2], other[n * 8 + 1] = sums[n][3];
                }
            }
        } else {
#pragma unroll
            for (int m = 0; m < 4; m++) {
                int r = row() + m / 2 * 8, place = column + t % 4 * 2 + m % 2 - r; // in the row of C
                float* line = (m / 2 ? other : to.next) + m % 2;
                int there = i0 + r < params.rows ? width : 0;
#pragma unroll
                for (int n = 0; n < COUNT; n++) {
                    bool in_cols = (uint)(j + t % 4 * 2 + m % 2 + n * 8) < (uint)params.cols;
                    if ((place + n * 8 >= 0) & (place + n * 8 < there)) line[n * 8] = in_cols ? sums[n][m] : params.fill;
                }
            }
        }
        to.next += COUNT * 8;
#pragma unroll
        for (int n = 0; n < COUNT; n++) {
#pragma unroll
            for (int m = 0; m < 4; m++) to.finite = fmaf(sums[n][m], 0.0f, to.finite);
        }
    }

    METHOD void run() {
        int count = slab_count();
        float sums[GROUPS][4], left[LEFT][4], x[2][4] = {};
        Values values = {};
        FromA of_a = from_a();
        FromB of_b = from_b();
        ToC to = to_c();
#pragma unroll
        for (int n = 0; n < GROUPS; n++) {
#pragma unroll
            for (int m = 0; m < 4; m++) sums[n][m] = 0;
        }
        load_b(values, of_b);
        load_a(x, of_a);
        stage_b(values, slabs);
        stage_a(x, of_a, slabs);
        load_b(values, of_b);
        load_a(x, of_a);
#pragma unroll 1
        for (int s = 0; s < count; s++) {
            matrix_fence();
            __syncthreads();
            const char* slab = slabs + s % 2 * Own::BYTES;
            hold(sums);
            wgmma_begin();
#pragma unroll
            for (int product = 0; product < 6; product++) {
                constexpr int part_a[6] = {2, 1, 0, 1, 0, 0}, part_b[6] = {0, 1, 2, 0, 1, 0};
                add_part(sums, slab + Own::A_AT + part_a[product] * Own::A_PART, slab + part_b[product] * Own::B_PART);
            }
            wgmma_commit();
            if (s > 0) finish(left, to, (s - 1) * DEPTH);
            // All have waited for the products before, which read what is overwritten here. No branches in front of this:
            // ptxas would have the products follow one another.
            char* other = slabs + (s + 1) % 2 * Own::BYTES;
            stage_a(x, of_a, other);
            load_a(x, of_a);
            stage_b(values, other);
            load_b(values, of_b);
            wgmma_wait<0>();
            hold(sums);
#pragma unroll
            for (int m = 0; m < 4; m++) {
#pragma unroll
                for (int n = 0; n < LEFT; n++) left[n][m] = sums[n][m];
#pragma unroll
                for (int n = 0; n < GROUPS; n++) sums[n][m] = n + LEFT < GROUPS ? sums[n + LEFT][m] : nothing();
            }
        }
        finish(left, to, (count - 1) * DEPTH);
#pragma unroll
        for (int n = 0; n < GROUPS - LEFT; n += LEFT) {
            finish(reinterpret_cast<float(&)[LEFT][4]>(sums[n]), to, (count - 1) * DEPTH + (LEFT + n) * 8);
        }
        if (__any_sync(0xffffffff, to.finite != 0)) again();
    }

    // Sums of the warp's rows that are not finite, computed anew by the definition.
    METHOD void again() const {
        __syncwarp();
        int r0 = t / 32 * 16, width = params.c_lower + params.c_upper + 1;
#pragma unroll 1
        for (int r = r0; r < min(r0 + 16, params.rows - i0); r++) {
            int i = i0 + r;
#pragma unroll 1
            for (int slot = t % 32; slot < width; slot += 32) {
                int j = i - params.c_lower + slot;
                if ((uint)j >= (uint)params.cols) continue;
                float* to = c + c_index(params, i, j);
                if (!ring_is_exact(*to)) *to = ring_exact(params, a, b, i, j);
            }
        }
    }
};

template <int GROUPS, bool ALIGNED>
DEVICE void warpgroup(const Params& params, const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c) {
    after_previous();
    typedef Warpgroup<GROUPS, ALIGNED> Product;
    __shared__ float4 slabs[Product::BYTES / 16];
    size_t batch = blockIdx.x / params.tiles;
    if (batch >= params.batch) return;
    int i0 = blockIdx.x % params.tiles * Product::ROWS;
    Product product = {params, a + batch * a_len(params), b + batch * b_len(params), c + batch * c_len(params), (char*)slabs, i0, (int)threadIdx.x};
    product.run();
}

#endif
