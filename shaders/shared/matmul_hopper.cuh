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
    static constexpr int LEFT = DEPTH / 8; // groups that the window leaves behind
    static constexpr int BYTES = 2 * Own::BYTES;
    static_assert(Own::COLUMNS == 128 + 16, "a column for each thread, and two values of those beyond");

    const Params& params;
    const float* __restrict__ a;
    const float* __restrict__ b;
    float* __restrict__ c;
    char* slabs; // two, in turns
    int i0, t;   // first row of the block, thread
    bool a_vectors, c_pairs; // whether A may be read 4 at once, C written 2 at once

    METHOD int slab_count() const { return (ROWS + params.a_lower + params.a_upper + DEPTH - 1) / DEPTH; }
    METHOD int k0(int slab) const { return i0 - params.a_lower + slab * DEPTH; } // first row of B in the slab
    METHOD int row() const { return t / 32 * 16 + t % 32 / 4; }                  // this thread's of the block, and 8 further

    // ---- A: four k of two rows ----

    struct FromA {
        const float* next; // the row's first in the next slab
        int down, step;    // to the other row, and to the next k
    };

    METHOD FromA from_a() const {
        bool columns = params.flags & 1;
        const float* first = a + a_index(params, i0 + row(), k0(0) + t % 4 * 4);
        return {first, 8 * (columns ? 1 : params.a_stride), columns ? params.a_stride : 1};
    }

    METHOD void load_a(float (&x)[2][4], FromA& from, int slab) const {
        int q = t % 4 * 4, k = k0(slab) + q;
        computed_here(from.down);
        computed_here(from.step);
#pragma unroll
        for (int n = 0; n < 2; n++) {
            int r = row() + n * 8;
            int in_band = slab * DEPTH + q - r; // the place in the row of A
            int first = max(-in_band, -k);
            int end = min(params.a_lower + params.a_upper + 1 - in_band, params.inner - k);
            uint count = i0 + r < params.rows ? max(end - first, 0) : 0;
            const float* line = from.next + n * from.down;
            if (a_vectors) {
                float4 v = make_float4(0, 0, 0, 0);
                if ((first < 4) & (end > 0) & (count > 0)) v = *(const float4*)line;
                x[n][0] = v.x, x[n][1] = v.y, x[n][2] = v.z, x[n][3] = v.w;
            } else {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    if ((uint)(e - first) < count) x[n][e] = line[e * from.step];
                }
            }
#pragma unroll
            for (int e = 0; e < 4; e++) x[n][e] = (uint)(e - first) < count ? x[n][e] : 0;
        }
        from.next += DEPTH * from.step;
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

    struct FromB {
        const float* next; // the column's first in the next slab
        int step, rest;    // to the next k, and to the other column's two
        uint bits, rest_bits; // which k are in the band
    };
    struct Values {
        float column[DEPTH], rest[2];
    };
    // Four groups of 8 lanes, so that words go to different banks.
    METHOD int rest_column() const { return 128 + t / 32 % 2 * 8 + t % 8; }
    METHOD int rest_k() const { return t % 32 / 8 * 4 + t / 64 * 2; }

    // A bit for each k of a slab from `first` on, before `end`.
    METHOD static uint bits(int first, int end) { return (1u << clamp(end, 0, DEPTH)) - (1u << clamp(first, 0, DEPTH)); }

    METHOD FromB from_b() const {
        int k = k0(0), j = k - params.b_lower, width = params.b_lower + params.b_upper + 1;
        const float* first = b + b_index(params, k, j + t);
        int rest = b_index(params, k + rest_k(), j + rest_column()) - b_index(params, k, j + t);
        return {first, params.flags & 4 ? 1 : params.b_stride, rest, bits(t - width + 1, t + 1),
                bits(rest_column() - width + 1, rest_column() + 1) >> rest_k()};
    }

    METHOD void load_b(Values& v, FromB& from, int slab) const {
        int k = k0(slab), j = k - params.b_lower + t;
        // Nothing of slabs that there are not.
        uint there = slab < slab_count() ? bits(-k, params.inner - k) : 0;
        uint column = (uint)j < (uint)params.cols ? there & from.bits : 0;
        uint rest = (uint)(j - t + rest_column()) < (uint)params.cols ? there >> rest_k() & from.rest_bits : 0;
        computed_here(from.step);
        // From one address to the next is one instruction, if the compiler is kept from multiplying.
        const float* at = from.next;
#pragma unroll
        for (int n = 0; n < DEPTH; n++) {
            computed_here(at);
            v.column[n] = 0;
            if (column >> n & 1) v.column[n] = *at;
            at += from.step;
        }
        at = from.next + from.rest;
#pragma unroll
        for (int n = 0; n < 2; n++) {
            computed_here(at);
            v.rest[n] = 0;
            if (rest >> n & 1) v.rest[n] = *at;
            at += from.step;
        }
        from.next += DEPTH * (params.b_stride + 1);
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

    struct ToC {
        float* next;  // the row's next two columns
        int down;     // to the other row
        float finite; // 0, or NaN after a sum that is not
    };

    METHOD ToC to_c() const { return {c + c_index(params, i0 + row(), i0 - params.c_lower + t % 4 * 2), 8 * params.c_stride, 0}; }

    // Groups of the window from this column on, counted from the first that the block's first row has.
    template <int COUNT>
    METHOD void finish(const float (&sums)[COUNT][4], ToC& to, int column) const {
        int j = i0 - params.c_lower + column, width = params.c_lower + params.c_upper + 1;
        bool inside = (column >= ROWS - 1) & (column + COUNT * 8 <= width) & (i0 + ROWS <= params.rows) & (j >= 0) & (j + COUNT * 8 <= params.cols);
        computed_here(to.down);
        computed_here(to.next);
        float* other = to.next + to.down;
        computed_here(other);
        if (inside & c_pairs) {
#pragma unroll
            for (int n = 0; n < COUNT; n++) {
                *(float2*)(to.next + n * 8) = make_float2(sums[n][0], sums[n][1]);
                *(float2*)(other + n * 8) = make_float2(sums[n][2], sums[n][3]);
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
        float sums[GROUPS][4], left[LEFT][4], x[2][4];
        uint parts[3][4];
        Values values;
        FromA of_a = from_a();
        FromB of_b = from_b();
        ToC to = to_c();
#pragma unroll
        for (int n = 0; n < GROUPS; n++) {
#pragma unroll
            for (int m = 0; m < 4; m++) sums[n][m] = 0;
        }
        load_b(values, of_b, 0);
        load_a(x, of_a, 0);
        stage_b(values, slabs);
        split_a(parts, x);
        load_b(values, of_b, 1);
        load_a(x, of_a, 1);
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
                constexpr int part_a[6] = {2, 1, 0, 1, 0, 0}, part_b[6] = {0, 1, 2, 0, 1, 0};
                add_part(sums, parts[part_a[product]], slab + part_b[product] * Own::PART);
            }
            wgmma_commit();
            if (s > 0) finish(left, to, (s - 1) * DEPTH);
            // All have waited for the products before, which read what is overwritten here. No branches in front of this:
            // ptxas would have the products follow one another.
            stage_b(values, slabs + (s + 1) % 2 * Own::BYTES);
            load_b(values, of_b, s + 2);
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
            load_a(x, of_a, s + 2);
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
    Product product = {params, a, b, c, (char*)slabs, i0, (int)threadIdx.x, a_vectors, c_pairs};
    product.run();
}

#endif
