// The whole product of two wide bands on Hopper's matrix units, in thirds of f32 (thirds.cuh): a warpgroup has 64
// rows of C, and goes along the rows of B that they reach, 16 at a time (a slab).
//
//         columns of C                    16 rows of B reach no more columns than a row does and 15 more: the
//   A     [ window ]→                     window. It moves on with the slabs, and the 16 columns that it leaves
//   x x . x x x x x . . .                 behind are finished. They go from registers to C while the next
//   . x x . x x x x x . .                 slab's products are under way, and the slab after that is split and
//                                         staged. What A has of a slab is in registers.
//
// Which k of a slab a lane has is free, as long as A and B agree: lane l's are 4 (l % 4) and the next three, side by
// side in a row of A.
#pragma once

#include "hopper.cuh"
#include "matmul_params.cuh"
#include "thirds.cuh"

#if defined(HOPPER) || !defined(__CUDACC__)

// A slab lies in shared memory as pieces of 8 k of a column, 16 bytes, column after column. Then come those of the
// other 8 k, then the next of three parts.
template <int GROUPS>
struct Slab {
    static constexpr int DEPTH = 16, COLUMNS = GROUPS * 8;
    static constexpr int HALF = COLUMNS * 16, PART = 2 * HALF, BYTES = 3 * PART;

    // Where k, a multiple of 2, and the next one of a column are: those of a lane's four are in both halves.
    METHOD static int at(int column, int k) { return k / 2 % 2 * HALF + column * 16 + k / 4 * 4; }
};

#ifdef HOPPER
// c += A · B: 16 k of 64 rows, and of one part of a slab.
DEVICE void add_part(float (&sums)[18][4], const uint (&a)[4], const char* part) {
    typedef Slab<18> Own;
    auto& c = reinterpret_cast<float(&)[72]>(sums);
    asm volatile("{\n.reg .b64 b;\nmov.b64 b, {%76, %77};\n"
                 "wgmma.mma_async.sync.aligned.m64n144k16.f32.bf16.bf16 "
                 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
                 "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
                 "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
                 "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"
                 "%64,%65,%66,%67,%68,%69,%70,%71}, {%72,%73,%74,%75}, b, 1, 1, 1, 0;\n}"
                 : SUMS_8(0), SUMS_8(8), SUMS_8(16), SUMS_8(24), SUMS_8(32), SUMS_8(40), SUMS_8(48), SUMS_8(56), SUMS_8(64)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(panel_low(part, Own::HALF)), "n"(8 * 16 >> 4));
}
// The registers are as the program says from here on, and not used for anything else before.
DEVICE void hold(uint (&a)[3][4]) {
#pragma unroll
    for (int n = 0; n < 3; n++) asm volatile("" : "+r"(a[n][0]), "+r"(a[n][1]), "+r"(a[n][2]), "+r"(a[n][3])::"memory");
}
template <int GROUPS>
DEVICE void hold(float (&c)[GROUPS][4]) {
#pragma unroll
    for (int n = 0; n < GROUPS; n++) asm volatile("" : "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])::"memory");
}
#else
// On a CPU products are done at once, as warps do them.
template <int GROUPS>
DEVICE void add_part(float (&sums)[GROUPS][4], const uint (&a)[4], const char* part) {
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    for (int n = 0; n < GROUPS; n++) {
        const char* from = part + (n * 8 + g) * 16 + t * 4;
        add_product<__nv_bfloat16>(sums[n], a, *(const uint*)from, *(const uint*)(from + Slab<GROUPS>::HALF));
    }
}
DEVICE void hold(uint (&)[3][4]) {}
template <int GROUPS>
DEVICE void hold(float (&)[GROUPS][4]) {}
DEVICE void matrix_fence() {}
DEVICE void wgmma_begin() {}
DEVICE void wgmma_commit() {}
template <int left>
DEVICE void wgmma_wait() {}
#endif

// The window has GROUPS · 8 columns.
template <int GROUPS>
struct Warpgroup {
    typedef Slab<GROUPS> Own;
    static constexpr int ROWS = 64, DEPTH = Own::DEPTH;
    static constexpr int LEFT = DEPTH / 8;               // groups that the window leaves behind
    static constexpr int REST = Own::COLUMNS - 128;      // columns beyond one for each thread
    static constexpr int BYTES = 2 * Own::BYTES;
    static_assert(REST == 16);

    const Params& params;
    const float* __restrict__ a;
    const float* __restrict__ b;
    float* __restrict__ c;
    char* slabs; // two, in turns
    int i0, t;   // first row of the block, thread
    bool a_vectors, c_pairs; // whether A may be read 4 at once, C written 2 at once
    bool redo;

    METHOD int slab_count() const { return (ROWS + params.a_lower + params.a_upper + DEPTH - 1) / DEPTH; }
    METHOD int k0(int slab) const { return i0 - params.a_lower + slab * DEPTH; } // first row of B in the slab
    METHOD int row() const { return t / 32 * 16 + t % 32 / 4; }                  // this thread's of the block, and 8 further

    // ---- A: four k of two rows ----

    METHOD void load_a(float (&x)[2][4], int slab) const {
        int q = t % 4 * 4, k = k0(slab) + q;
        int step = params.flags & 1 ? params.a_stride : 1;
#pragma unroll
        for (int n = 0; n < 2; n++) {
            int r = row() + n * 8, i = i0 + r;
            int in_band = slab * DEPTH + q - r; // the place in row i of A
            int first = max(-in_band, -k);
            int end = i < params.rows ? min(params.a_lower + params.a_upper + 1 - in_band, params.inner - k) : 0;
            const float* from = a + a_index(params, i, k);
            if (a_vectors) {
                float4 v = make_float4(0, 0, 0, 0);
                if ((first < 4) & (end > 0) & (first < end)) v = *(const float4*)from;
                x[n][0] = v.x, x[n][1] = v.y, x[n][2] = v.z, x[n][3] = v.w;
            } else {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    if ((e >= first) & (e < end)) x[n][e] = from[e * step];
                }
            }
#pragma unroll
            for (int e = 0; e < 4; e++) {
                if ((e < first) | (e >= end)) x[n][e] = 0;
            }
        }
    }

    METHOD void split_a(uint (&part)[3][4], const float (&x)[2][4]) const {
#pragma unroll
        for (int m = 0; m < 4; m++) {
            Thirds split = thirds(x[m % 2][m / 2 * 2], x[m % 2][m / 2 * 2 + 1]);
#pragma unroll
            for (int n = 0; n < 3; n++) part[n][m] = split.part[n];
        }
    }

    // ---- B: all 16 k of one column to a thread, and two of one of the columns beyond ----

    struct Values {
        float column[DEPTH], rest[2];
    };
    // Four groups of 8 lanes, so that words go to different banks.
    METHOD int rest_column() const { return 128 + t / 32 % 2 * 8 + t % 8; }
    METHOD int rest_k() const { return t % 32 / 8 * 4 + t / 64 * 2; }

    // Which k of a column of the window are stored, a bit for each; k is the slab's first.
    METHOD uint stored(int column, int k) const {
        int first = max(max(column - params.b_lower - params.b_upper, -k), 0);
        int end = min(min(column + 1, params.inner - k), DEPTH);
        bool any = ((uint)(k - params.b_lower + column) < (uint)params.cols) & (first < end);
        return any ? (1u << end) - (1u << first) : 0;
    }

    METHOD void load_b(Values& v, int slab) const {
        // Nothing of slabs that there are not.
        int k = slab < slab_count() ? k0(slab) : params.inner, step = params.flags & 4 ? 1 : params.b_stride;
        uint bits = stored(t, k), rest_bits = stored(rest_column(), k) >> rest_k();
        const float* from = b + b_index(params, k, k - params.b_lower + t);
        const float* rest_from = b + b_index(params, k + rest_k(), k - params.b_lower + rest_column());
#pragma unroll
        for (int n = 0; n < DEPTH; n++) {
            v.column[n] = 0;
            if (bits >> n & 1) v.column[n] = from[n * step];
        }
#pragma unroll
        for (int n = 0; n < 2; n++) {
            v.rest[n] = 0;
            if (rest_bits >> n & 1) v.rest[n] = rest_from[n * step];
        }
    }

    METHOD void stage_b(const Values& v, char* slab) const {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            uint part[3][4];
#pragma unroll
            for (int m = 0; m < 4; m++) {
                Thirds split = thirds(v.column[m * 4 + half * 2], v.column[m * 4 + half * 2 + 1]);
#pragma unroll
                for (int n = 0; n < 3; n++) part[n][m] = split.part[n];
            }
            char* to = slab + Own::at(t, half * 2);
#pragma unroll
            for (int n = 0; n < 3; n++) *(uint4*)(to + n * Own::PART) = make_uint4(part[n][0], part[n][1], part[n][2], part[n][3]);
        }
        Thirds split = thirds(v.rest[0], v.rest[1]);
        char* to = slab + Own::at(rest_column(), rest_k());
#pragma unroll
        for (int n = 0; n < 3; n++) *(uint*)(to + n * Own::PART) = split.part[n];
    }

    // ---- C ----

    // Whether C has these columns of the block's window in all of the block's rows.
    METHOD bool inside(int column, int count) const {
        int j = i0 - params.c_lower + column;
        return (column >= ROWS - 1) & (column + count <= params.c_lower + params.c_upper + 1) & (i0 + ROWS <= params.rows) & (j >= 0) &
               (j + count <= params.cols);
    }

    // Eight columns from this one on, counted from the first that the block's first row has.
    METHOD void finish(const float (&sums)[4], int column, bool inside) {
        int x = column + t % 4 * 2;
#pragma unroll
        for (int n = 0; n < 2; n++) {
            int r = row() + n * 8;
            float low = sums[n * 2], high = sums[n * 2 + 1];
            redo |= !(ring_is_exact(low) & ring_is_exact(high));
            float* to = c + c_index(params, i0 + r, i0 - params.c_lower + x);
            if (inside & c_pairs) {
                *(float2*)to = make_float2(low, high);
            } else {
                int j = i0 - params.c_lower + x, end = i0 + r < params.rows ? params.c_lower + params.c_upper + 1 : 0;
                if ((x >= r) & (x - r < end)) to[0] = (uint)j < (uint)params.cols ? low : params.fill;
                if ((x + 1 >= r) & (x + 1 - r < end)) to[1] = (uint)(j + 1) < (uint)params.cols ? high : params.fill;
            }
        }
    }

    METHOD void run() {
        int count = slab_count();
        float sums[GROUPS][4], left[LEFT][4], x[2][4];
        uint parts[3][4];
        Values values;
#pragma unroll
        for (int n = 0; n < GROUPS; n++) {
#pragma unroll
            for (int m = 0; m < 4; m++) sums[n][m] = 0;
        }
        load_b(values, 0);
        load_a(x, 0);
        stage_b(values, slabs);
        split_a(parts, x);
        load_b(values, 1);
        load_a(x, 1);
#pragma unroll 1
        for (int s = 0; s < count; s++) {
            matrix_fence();
            __syncthreads();
            const char* slab = slabs + s % 2 * Own::BYTES;
            hold(sums);
            hold(parts);
            wgmma_begin();
#pragma unroll
            for (int product = 0; product < 6; product++) {
                constexpr int of_a[6] = {2, 1, 0, 1, 0, 0}, of_b[6] = {0, 1, 2, 0, 1, 0};
                add_part(sums, parts[of_a[product]], slab + of_b[product] * Own::PART);
            }
            wgmma_commit();
            if (s > 0) {
                int column = (s - 1) * DEPTH;
                bool whole = inside(column, DEPTH);
#pragma unroll
                for (int n = 0; n < LEFT; n++) finish(left[n], column + n * 8, whole);
            }
            // All have waited for the products before, which read what is overwritten here. No branches in front of this:
            // ptxas would have the products follow one another.
            stage_b(values, slabs + (s + 1) % 2 * Own::BYTES);
            load_b(values, s + 2);
            wgmma_wait<0>();
            hold(parts);
            hold(sums);
#pragma unroll
            for (int m = 0; m < 4; m++) {
#pragma unroll
                for (int n = 0; n < LEFT; n++) left[n][m] = sums[n][m];
#pragma unroll
                for (int n = 0; n < GROUPS; n++) sums[n][m] = n + LEFT < GROUPS ? sums[n + LEFT][m] : 0;
            }
            split_a(parts, x);
            load_a(x, s + 2);
        }
        int column = (count - 1) * DEPTH;
#pragma unroll
        for (int n = 0; n < LEFT; n++) finish(left[n], column + n * 8, false);
#pragma unroll
        for (int n = 0; n < GROUPS - LEFT; n++) finish(sums[n], column + (LEFT + n) * 8, inside(column + (LEFT + n) * 8, 8));
        if (__any_sync(0xffffffff, redo)) again();
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

template <int GROUPS>
DEVICE void warpgroup(const Params& params, const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c) {
    typedef Warpgroup<GROUPS> Product;
    __shared__ float4 slabs[Product::BYTES / 16];
    size_t batch = blockIdx.x / params.tiles;
    if (batch >= params.batch) return;
    int i0 = blockIdx.x % params.tiles * Product::ROWS;
    a += batch * a_len(params);
    b += batch * b_len(params);
    c += batch * c_len(params);
    bool a_vectors = !(params.flags & 1) && has_vectors(a, params.a_stride, a_len(params));
    bool c_pairs = !(((size_t)c & 7) | (params.c_stride & 1));
    Product product = {params, a, b, c, (char*)slabs, i0, (int)threadIdx.x, a_vectors, c_pairs, false};
    product.run();
}

#endif
