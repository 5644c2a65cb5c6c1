// Products of a warpgroup, for rows of 64 halves: four warps with 16 rows each multiply by what lies in shared
// memory, which is read once for all of them. Fragments are those of mma_16x8x16. Rows are staged without
// gaps from a multiple of 1024 bytes on; the 16-byte pieces of row r are permuted by an exclusive or of r % 8.
#pragma once

#include "hopper.cuh"

#ifdef HOPPER

// c += A · B for 64 columns: 16 staged rows of B.
DEVICE void wgmma_rows(float (&c)[8][4], const uint (&a)[4], uint b) {
    asm volatile("{\n.reg .b64 b;\nmov.b64 b, {%36, %37};\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 "
                 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
                 "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, {%32,%33,%34,%35}, b, 1, 1, 1, 1;\n}"
                 : "+f"(c[0][0]), "+f"(c[0][1]), "+f"(c[0][2]), "+f"(c[0][3]), "+f"(c[1][0]), "+f"(c[1][1]), "+f"(c[1][2]), "+f"(c[1][3]),
                   "+f"(c[2][0]), "+f"(c[2][1]), "+f"(c[2][2]), "+f"(c[2][3]), "+f"(c[3][0]), "+f"(c[3][1]), "+f"(c[3][2]), "+f"(c[3][3]),
                   "+f"(c[4][0]), "+f"(c[4][1]), "+f"(c[4][2]), "+f"(c[4][3]), "+f"(c[5][0]), "+f"(c[5][1]), "+f"(c[5][2]), "+f"(c[5][3]),
                   "+f"(c[6][0]), "+f"(c[6][1]), "+f"(c[6][2]), "+f"(c[6][3]), "+f"(c[7][0]), "+f"(c[7][1]), "+f"(c[7][2]), "+f"(c[7][3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b), "n"(1024 >> 4 | 1 << 30));
}

// The registers are as they should be from here on.
DEVICE void pin(uint (&a)[4]) { asm volatile("" : "+r"(a[0]), "+r"(a[1]), "+r"(a[2]), "+r"(a[3])::"memory"); }
template <int NT>
DEVICE void pin(float (&c)[NT][4]) {
#pragma unroll
    for (int n = 0; n < NT; n++) asm volatile("" : "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])::"memory");
}

// c = A · Bᵀ for 64 staged rows of A and NT · 8 of B; on its way until a wait. A is not in registers, since
// ptxas 13.0 may take those for free that a loop multiplies by again.
template <int NT>
DEVICE void times_staged(float (&c)[NT][4], const void* a, const void* b) {
    uint left = panel_low(a, 0), right = panel_low(b, 0);
    auto& sums = reinterpret_cast<float(&)[NT * 4]>(c);
    wgmma_begin();
    wgmma<128, 0, 0>(sums, left, right);
#pragma unroll
    for (int k = 1; k < 4; k++) wgmma<128, 0>(sums, left + k * 2, right + k * 2); // 16 columns further
    wgmma_commit();
}

// c += A · B for KT · 16 staged rows of B; on its way until a wait.
template <int KT>
DEVICE void add_staged(float (&c)[8][4], uint (&a)[KT][4], const void* b) {
    uint right = panel_low(b, 0);
    pin(c);
#pragma unroll
    for (int k = 0; k < KT; k++) pin(a[k]);
    wgmma_begin();
#pragma unroll
    for (int k = 0; k < KT; k++) wgmma_rows(c, a[k], right + k * 128); // 16 rows further
    wgmma_commit();
}

// Until all products are done; sums are not read before.
template <int NT>
DEVICE void wait_for_products(float (&c)[NT][4]) {
    wgmma_wait<0>();
    pin(c);
}

#endif
