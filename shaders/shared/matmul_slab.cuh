// What matmul_hopper.cuh multiplies: a slab of A and B in shared memory, in thirds of f32, by a warpgroup. On a CPU, which runs
// the rest of that kernel as it is, products are done at once, by warps.
#pragma once

#include "hopper.cuh"
#include "tensor.cuh"

#if defined(HOPPER) || !defined(__CUDACC__)

// A slab lies in shared memory in three parts. B's are squares: 8 columns of 8 k, one below the other, each in 16 bytes; beside
// a square comes that of the next 8 columns, then those of the other 8 k. A's are 8 k of 64 rows, 16 bytes for each row, then
// the other 8. Gaps bring what is written at once into different banks.
template <int GROUPS>
struct Slab {
    static constexpr int DEPTH = 16, COLUMNS = GROUPS * 8, ROWS = 64;
    static constexpr int BESIDE = 8 * 16 + 16, B_HALF = GROUPS * BESIDE, B_PART = 2 * B_HALF;
    static constexpr int A_HALF = ROWS * 16 + 64, A_PART = 2 * A_HALF, A_AT = 3 * B_PART, BYTES = A_AT + 3 * A_PART;

    METHOD static int of_b(int k, int column) { return k / 8 * B_HALF + column / 8 * BESIDE + k % 8 * 16 + column % 8 * 2; }
    METHOD static int of_a(int row, int k) { return A_AT + k / 8 * A_HALF + row * 16 + k % 8 * 2; }
};

#ifdef HOPPER
// c += A · B: 16 k of 64 rows, and of one part of a slab.
DEVICE void add_part(float (&sums)[18][4], const char* a, const char* b) {
    typedef Slab<18> Own;
    auto& c = reinterpret_cast<float(&)[72]>(sums);
    asm volatile("{\n.reg .b64 a, b;\nmov.b64 a, {%72, %73};\nmov.b64 b, {%74, %75};\n"
                 "wgmma.mma_async.sync.aligned.m64n144k16.f32.bf16.bf16 "
                 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
                 "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
                 "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
                 "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"
                 "%64,%65,%66,%67,%68,%69,%70,%71}, a, b, 1, 1, 1, 0, 1;\n}"
                 : SUMS_8(0), SUMS_8(8), SUMS_8(16), SUMS_8(24), SUMS_8(32), SUMS_8(40), SUMS_8(48), SUMS_8(56), SUMS_8(64)
                 : "r"(panel_low(a, Own::A_HALF)), "n"(8 * 16 >> 4), "r"(panel_low(b, Own::B_HALF)), "n"(Own::BESIDE >> 4));
}
// The registers are as the program says from here on.
template <int GROUPS>
DEVICE void hold(float (&c)[GROUPS][4]) {
#pragma unroll
    for (int n = 0; n < GROUPS; n++) asm volatile("" : "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])::"memory");
}
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
DEVICE void add_part(float (&sums)[GROUPS][4], const char* a, const char* b) {
    typedef Slab<GROUPS> Own;
    int g = threadIdx.x % 32 / 4, k = threadIdx.x % 4 * 2, row = threadIdx.x / 32 * 16 + g;
    uint left[4];
    for (int m = 0; m < 4; m++) left[m] = *(const uint*)(a + Own::of_a(row + m % 2 * 8, k + m / 2 * 8) - Own::A_AT);
    for (int n = 0; n < GROUPS; n++) {
        uint right[4];
        for (int m = 0; m < 4; m++) right[m] = *(const uint16_t*)(b + Own::of_b(k + m / 2 * 8 + m % 2, n * 8 + g));
        add_product<__nv_bfloat16>(sums[n], left, right[0] | right[1] << 16, right[2] | right[3] << 16);
    }
}
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
