// What matmul_hopper.cuh multiplies by: a slab of B in shared memory, in thirds of f32, for warpgroups. On a CPU, which runs
// the rest of that kernel as it is, products are done at once, by warps.
#pragma once

#include "hopper.cuh"
#include "tensor.cuh"

#if defined(HOPPER) || !defined(__CUDACC__)

// A slab lies in shared memory in three parts, each of squares: 8 columns of 8 k, one below the other, each in 16 bytes; beside
// a square comes that of the next 8 columns, then those of the other 8 k. Gaps bring what is written at once into different
// banks. The k come in the order in which split_a has them, and of 16 columns first those that are 0 and 1 after a multiple of
// four, so that a thread's sums in two groups are four columns side by side.
template <int GROUPS>
struct Slab {
    static constexpr int DEPTH = 16, COLUMNS = GROUPS * 8, ROWS = 64;
    static constexpr int BESIDE = 8 * 16 + 16, HALF = GROUPS * BESIDE, PART = 2 * HALF, BYTES = 3 * PART;

    METHOD static int of_k(int k) { return k % 4 / 2 * HALF + (k / 4 * 2 + k % 2) * 16; }
    METHOD static int at(int k, int column) { return of_k(k) + (column / 16 * 2 + column % 4 / 2) * BESIDE + (column % 16 / 4 * 2 + column % 2) * 2; }
};

#ifdef HOPPER
// c += A · B: 16 k of 64 rows, in registers, and of one part of a slab.
DEVICE void add_part(float (&sums)[18][4], const uint (&a)[4], const char* b) {
    typedef Slab<18> Own;
    auto& c = reinterpret_cast<float(&)[72]>(sums);
    asm volatile("{\n.reg .b64 b;\nmov.b64 b, {%76, %77};\n"
                 "wgmma.mma_async.sync.aligned.m64n144k16.f32.bf16.bf16 "
                 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
                 "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
                 "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
                 "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"
                 "%64,%65,%66,%67,%68,%69,%70,%71}, {%72,%73,%74,%75}, b, 1, 1, 1, 1;\n}"
                 : SUMS_8(0), SUMS_8(8), SUMS_8(16), SUMS_8(24), SUMS_8(32), SUMS_8(40), SUMS_8(48), SUMS_8(56), SUMS_8(64)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(panel_low(b, Own::HALF)), "n"(Own::BESIDE >> 4));
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
template <int GROUPS>
DEVICE void add_part(float (&sums)[GROUPS][4], const uint (&a)[4], const char* b) {
    typedef Slab<GROUPS> Own;
    int g = threadIdx.x % 32 / 4, k = threadIdx.x % 4 * 4;
    for (int n = 0; n < GROUPS; n++) {
        uint right[4];
        for (int m = 0; m < 4; m++) right[m] = *(const uint16_t*)(b + Own::of_k(k + m) + n * Own::BESIDE + g * 2);
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
template <int left>
DEVICE void wgmma_wait() {}
#endif

#endif
