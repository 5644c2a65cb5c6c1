// Products of Hopper's warpgroups, for rows of 64 halves: four warps with 16 rows each multiply by what lies in
// shared memory, which is read once for all of them. Fragments are those of mma_16x8x16.
//
// Rows are staged without gaps from a multiple of 1024 bytes on; the 16-byte pieces of row r are permuted by
// an exclusive or of r % 8 (the 128-byte swizzle of the PTX ISA, "Matrix descriptor").
#pragma once

#include "tensor.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Rows from `stage` on, groups of 8 following each other.
DEVICE unsigned long long descriptor_of(const void* stage) {
    return (unsigned long long)(1 << 30 | 1024 >> 4) << 32 | 1 << 16 | (shared_address(stage) & 0x3ffff) >> 4;
}

// What this thread copied is there for warpgroups once all have met.
DEVICE void fence_of_copies() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// c = A · Bᵀ, or with `add` more than that, for 32 rows of B or 64. The rows of both are staged.
DEVICE void wgmma(float (&c)[4][4], unsigned long long a, unsigned long long b, int add) {
    asm volatile("{.reg .pred add; setp.ne.b32 add, %18, 0;"
                 "wgmma.mma_async.sync.aligned.m64n32k16.f32.f16.f16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15},"
                 " %16, %17, add, 1, 1, 0, 0;}"
                 : "+f"(c[0][0]), "+f"(c[0][1]), "+f"(c[0][2]), "+f"(c[0][3]), "+f"(c[1][0]), "+f"(c[1][1]), "+f"(c[1][2]), "+f"(c[1][3]),
                   "+f"(c[2][0]), "+f"(c[2][1]), "+f"(c[2][2]), "+f"(c[2][3]), "+f"(c[3][0]), "+f"(c[3][1]), "+f"(c[3][2]), "+f"(c[3][3])
                 : "l"(a), "l"(b), "r"(add));
}

DEVICE void wgmma(float (&c)[8][4], unsigned long long a, unsigned long long b, int add) {
    asm volatile("{.reg .pred add; setp.ne.b32 add, %34, 0;"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31},"
                 " %32, %33, add, 1, 1, 0, 0;}"
                 : "+f"(c[0][0]), "+f"(c[0][1]), "+f"(c[0][2]), "+f"(c[0][3]), "+f"(c[1][0]), "+f"(c[1][1]), "+f"(c[1][2]), "+f"(c[1][3]),
                   "+f"(c[2][0]), "+f"(c[2][1]), "+f"(c[2][2]), "+f"(c[2][3]), "+f"(c[3][0]), "+f"(c[3][1]), "+f"(c[3][2]), "+f"(c[3][3]),
                   "+f"(c[4][0]), "+f"(c[4][1]), "+f"(c[4][2]), "+f"(c[4][3]), "+f"(c[5][0]), "+f"(c[5][1]), "+f"(c[5][2]), "+f"(c[5][3]),
                   "+f"(c[6][0]), "+f"(c[6][1]), "+f"(c[6][2]), "+f"(c[6][3]), "+f"(c[7][0]), "+f"(c[7][1]), "+f"(c[7][2]), "+f"(c[7][3])
                 : "l"(a), "l"(b), "r"(add));
}

// c += A · B for 64 columns: the rows of B are staged.
DEVICE void wgmma_transposed(float (&c)[8][4], const uint (&a)[4], unsigned long long b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31},"
                 "{%32,%33,%34,%35}, %36, 1, 1, 1, 1;"
                 : "+f"(c[0][0]), "+f"(c[0][1]), "+f"(c[0][2]), "+f"(c[0][3]), "+f"(c[1][0]), "+f"(c[1][1]), "+f"(c[1][2]), "+f"(c[1][3]),
                   "+f"(c[2][0]), "+f"(c[2][1]), "+f"(c[2][2]), "+f"(c[2][3]), "+f"(c[3][0]), "+f"(c[3][1]), "+f"(c[3][2]), "+f"(c[3][3]),
                   "+f"(c[4][0]), "+f"(c[4][1]), "+f"(c[4][2]), "+f"(c[4][3]), "+f"(c[5][0]), "+f"(c[5][1]), "+f"(c[5][2]), "+f"(c[5][3]),
                   "+f"(c[6][0]), "+f"(c[6][1]), "+f"(c[6][2]), "+f"(c[6][3]), "+f"(c[7][0]), "+f"(c[7][1]), "+f"(c[7][2]), "+f"(c[7][3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

// The registers are as they should be from here on.
DEVICE void pin(uint (&a)[4]) { asm volatile("" : "+r"(a[0]), "+r"(a[1]), "+r"(a[2]), "+r"(a[3])::"memory"); }
template <int NT>
DEVICE void pin(float (&c)[NT][4]) {
#pragma unroll
    for (int n = 0; n < NT; n++) asm volatile("" : "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])::"memory");
}

// c = A · Bᵀ for 64 staged rows of A and NT · 8 of B; on its way until a wait. A is not in registers, since
// the assembler (13.0) may take those for free that a loop multiplies by again.
template <int NT>
DEVICE void times_staged(float (&c)[NT][4], const void* a, const void* b) {
    unsigned long long left = descriptor_of(a), right = descriptor_of(b);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
    for (int k = 0; k < 4; k++) wgmma(c, left + k * 2, right + k * 2, k > 0); // 16 columns further
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// c += A · B for KT · 16 staged rows of B; on its way until a wait.
template <int KT>
DEVICE void add_staged(float (&c)[8][4], uint (&a)[KT][4], const void* b) {
    unsigned long long right = descriptor_of(b);
    pin(c);
#pragma unroll
    for (int k = 0; k < KT; k++) pin(a[k]);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
    for (int k = 0; k < KT; k++) wgmma_transposed(c, a[k], right + k * 128); // 16 rows further
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Until all products are done; sums are not read before.
template <int NT>
DEVICE void wait_for_products(float (&c)[NT][4]) {
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    pin(c);
}

#endif
