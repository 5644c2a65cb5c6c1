// What matmul_hopper.cuh multiplies by: a slab of B in shared memory, in thirds of f32, for warpgroups. On a CPU, which runs
// the rest of that kernel as it is, products are done at once, by warps.
#pragma once

#include "hopper.cuh"
#include "matmul_params.cuh"
#include "tensor.cuh"
#include "thirds.cuh"

#if defined(HOPPER) || !defined(__CUDACC__)

// A slab lies in shared memory in three parts, each of squares: 8 columns of 8 k, one k below the other, each in 16 bytes, or,
// if ALONG, one column below the other; beside a square comes that of the next 8 columns, then those of the other 8 k. Gaps
// bring what is written at once into different banks. The k come in the order in which split_a has them, and of 16 columns
// first those that are 0 and 1 after a multiple of four, so that a thread's sums in two groups are four columns side by side.
template <int GROUPS>
struct Slab {
    static constexpr int DEPTH = 16, COLUMNS = GROUPS * 8, ROWS = 64;
    static constexpr int BESIDE = 8 * 16 + 16, HALF = GROUPS * BESIDE, PART = 2 * HALF, BYTES = 3 * PART;

    // Where a k and a column have their place: in which half and group of columns, and there as which.
    METHOD static int half_of(int k) { return k % 4 / 2 * HALF; }
    METHOD static int in_half(int k) { return k / 4 * 2 + k % 2; }
    METHOD static int group_of(int column) { return (column / 16 * 2 + column % 4 / 2) * BESIDE; }
    METHOD static int in_group(int column) { return column % 16 / 4 * 2 + column % 2; }

    template <bool ALONG>
    METHOD static int at(int k, int column) {
        int n = in_group(column), m = in_half(k);
        return half_of(k) + group_of(column) + (ALONG ? n : m) * 16 + (ALONG ? m : n) * 2;
    }
};

#ifdef HOPPER
// c += A · B: 16 k of 64 rows, in registers, and of one part of a slab.
template <bool ALONG>
DEVICE void add_part(float (&sums)[18][4], const uint (&a)[4], const char* b) {
    typedef Slab<18> Own;
    auto& c = reinterpret_cast<float(&)[72]>(sums);
    asm volatile("{\n.reg .b64 b;\nmov.b64 b, {%76, %77};\n"
                 "wgmma.mma_async.sync.aligned.m64n144k16.f32.bf16.bf16 "
                 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
                 "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
                 "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
                 "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"
                 "%64,%65,%66,%67,%68,%69,%70,%71}, {%72,%73,%74,%75}, b, 1, 1, 1, %78;\n}"
                 : SUMS_8(0), SUMS_8(8), SUMS_8(16), SUMS_8(24), SUMS_8(32), SUMS_8(40), SUMS_8(48), SUMS_8(56), SUMS_8(64)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(panel_low(b, Own::HALF)), "n"(Own::BESIDE >> 4), "n"(!ALONG));
}
// The registers are as the program says from here on.
template <int GROUPS>
DEVICE void hold(float (&c)[GROUPS][4]) {
#pragma unroll
    for (int n = 0; n < GROUPS; n++) asm volatile("" : "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])::"memory");
}
DEVICE void hold(uint (&a)[4]) { asm volatile("" : "+r"(a[0]), "+r"(a[1]), "+r"(a[2]), "+r"(a[3])::"memory"); }
// Four values, and what lies beside them in 256 bytes into L2: the next slab reads on there.
DEVICE float4 load_four(const float* from) {
    float4 v;
    asm("ld.global.nc.L2::256B.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(from));
    return v;
}
// 0, put where it has to be right here.
DEVICE float nothing() {
    float zero;
    asm volatile("mov.f32 %0, 0f00000000;" : "=f"(zero));
    return zero;
}
#else
// On a CPU products are done at once, as warps do them.
template <bool ALONG, int GROUPS>
DEVICE void add_part(float (&sums)[GROUPS][4], const uint (&a)[4], const char* b) {
    typedef Slab<GROUPS> Own;
    int g = threadIdx.x % 32 / 4, k = threadIdx.x % 4 * 4;
    for (int n = 0; n < GROUPS; n++) {
        uint right[4];
        for (int m = 0; m < 4; m++) {
            int place = Own::in_half(k + m), of_both = ALONG ? g * 16 + place * 2 : place * 16 + g * 2;
            right[m] = *(const uint16_t*)(b + Own::half_of(k + m) + n * Own::BESIDE + of_both);
        }
        add_product<__nv_bfloat16>(sums[n], a, right[0] | right[1] << 16, right[2] | right[3] << 16);
    }
}
DEVICE void hold(uint (&)[4]) {}
DEVICE float4 load_four(const float* from) { return *(const float4*)from; }
DEVICE float nothing() { return 0; }
template <int GROUPS>
DEVICE void hold(float (&)[GROUPS][4]) {}
DEVICE void matrix_fence() {}
DEVICE void wgmma_begin() {}
DEVICE void wgmma_commit() {}
// Products are the warp's, not its lanes': when it has waited for them, all lanes have read what they were to.
template <int left>
DEVICE void wgmma_wait() {
    __syncwarp();
}
#endif

// A bit for each of `count` from `first` on, before `end`.
DEVICE uint stored_bits(int first, int end, int count) { return (1u << clamp(end, 0, count)) - (1u << clamp(first, 0, count)); }

// Brings B where columns are side by side in memory, or nothing is known: four columns of four rows to a thread, and two of one
// row of the columns beyond 128. If ALIGNED it may be read 4 at once. Whether the window SLIDES: moves on with the slabs, as far as the band does.
template <int GROUPS, bool OF_FOURS, bool MOVES>
struct Across {
    typedef Slab<GROUPS> Own;
    static constexpr bool ALIGNED = OF_FOURS, SLIDES = MOVES, ALONG = false;
    static constexpr int DEPTH = Own::DEPTH, PAIRS = GROUPS / 2;
    static_assert(Own::COLUMNS == 128 + 16, "four columns to a lane and two values of those beyond to a thread");

    struct Values {
        float four[4][4], rest[2];
        uint stored;
    };

    const Params& params;
    const float* next; // the first of the slab's four columns, in the first of the four rows
    int t;             // thread
    int turn;          // slabs so far, modulo PAIRS
    int along, step;   // to the next column, and to the next k
    int rest;          // to the first of the two columns
    int k, j, end;     // the slab's first row and column, and where slabs or rows end
    int in_all;        // which of the values are in the band, row by row, where that is the same for all slabs

    METHOD int column() const { return t % 32 * 4; }
    METHOD int k_of(int n) const { return n * 4 + t / 32; }
    METHOD int rest_column() const { return 128 + t % 8 * 2; }
    METHOD int rest_k() const { return t / 8; }

    // Which values of a slab are in the matrix and in the band.
    METHOD uint in_matrix() const {
        uint four = stored_bits(-j - column(), params.cols - j - column(), 4), two = stored_bits(-j - rest_column(), params.cols - j - rest_column(), 2);
        uint stored = (uint)(k + rest_k()) < (uint)end ? two << 16 : 0;
#pragma unroll
        for (int n = 0; n < 4; n++) stored |= (uint)(k + k_of(n)) < (uint)end ? four << n * 4 : 0;
        return stored;
    }

    METHOD uint in_band() const {
        int first = k - params.b_lower - j, width = params.b_lower + params.b_upper + 1, rest = first + rest_k() - rest_column();
        uint stored = stored_bits(rest, rest + width, 2) << 16;
#pragma unroll
        for (int n = 0; n < 4; n++) stored |= stored_bits(first + k_of(n) - column(), first + k_of(n) - column() + width, 4) << n * 4;
        return stored;
    }

    METHOD Across(const Params& params, const float* b, int t, int k, int j, int end) : params(params), t(t), turn(0), k(k), j(j), end(end) {
        bool columns = !ALIGNED & (params.flags >> 2 & 1);
        next = b + b_index(params, k + k_of(0), j + column());
        along = columns ? params.b_stride : 1;
        step = columns ? 1 : params.b_stride;
        rest = (rest_column() - column()) * along + (rest_k() - k_of(0)) * step;
        in_all = SLIDES ? in_band() : 0x3ffff;
    }

    METHOD void load(Values& v) {
        bool inner = (k >= 0) & (k + DEPTH <= end) & (j >= 0) & (j + Own::COLUMNS <= params.cols);
        computed_here(in_all);
        v.stored = in_all;
        if (!inner) v.stored &= in_matrix();
        if (!SLIDES) {
            int first = k - params.b_lower - j, last = k + params.b_upper + 1 - j;
            if ((first + DEPTH - 1 > 0) | (last < Own::COLUMNS)) v.stored &= in_band();
        }
        computed_here(step);
        computed_here(along);
        const float* two = next + rest;
        if (ALIGNED) {
#pragma unroll
            for (int n = 0; n < 4; n++) {
                if (v.stored >> n * 4 & 15) {
                    float4 four = load_four(next + n * 4 * step);
                    v.four[n][0] = four.x, v.four[n][1] = four.y, v.four[n][2] = four.z, v.four[n][3] = four.w;
                }
            }
            if (v.stored >> 16) {
                float2 values = *(const float2*)two;
                v.rest[0] = values.x, v.rest[1] = values.y;
            }
        } else {
#pragma unroll
            for (int n = 0; n < 4; n++) {
                const float* line = next + n * 4 * step;
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    if (v.stored >> (n * 4 + e) & 1) v.four[n][e] = line[e * along];
                }
            }
            if (v.stored >> 16 & 1) v.rest[0] = two[0];
            if (v.stored >> 17 & 1) v.rest[1] = two[along];
        }
        next += DEPTH * (step + (SLIDES ? along : 0));
        k += DEPTH;
        if (SLIDES) j += DEPTH;
    }

    METHOD void stage(Values& v, char* slab) {
        // Columns keep their place in the window as it slides: those that come in have that of those that it left.
        auto place = [&](int pair) { return (pair + turn < PAIRS ? pair + turn : pair + turn - PAIRS) * 2 * Own::BESIDE; };
        char* to = slab + Own::template at<false>(t / 32, column() % 16) + place(t % 32 / 4);
#pragma unroll
        for (int n = 0; n < 4; n++) {
#pragma unroll
            for (int e = 0; e < 4; e++) v.four[n][e] = v.stored >> (n * 4 + e) & 1 ? v.four[n][e] : 0;
            Thirds low = thirds(v.four[n][0], v.four[n][1]), high = thirds(v.four[n][2], v.four[n][3]);
#pragma unroll
            for (int m = 0; m < 3; m++) {
                *(uint*)(to + Own::template at<false>(n * 4, 0) + m * Own::PART) = low.part[m];
                *(uint*)(to + Own::template at<false>(n * 4, 2) + m * Own::PART) = high.part[m];
            }
        }
        Thirds split = thirds(v.stored >> 16 & 1 ? v.rest[0] : 0, v.stored >> 17 & 1 ? v.rest[1] : 0);
        to = slab + Own::template at<false>(rest_k(), rest_column() % 16) + place(PAIRS - 1);
        if (SLIDES) turn = turn + 1 < PAIRS ? turn + 1 : 0;
#pragma unroll
        for (int m = 0; m < 3; m++) *(uint*)(to + m * Own::PART) = split.part[m];
    }
};

#endif
