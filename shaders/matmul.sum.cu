// The product over (+, ×); the constants are COLUMNS and 0 for tiles, 1 for sliding strips, 2 for narrow bands, 3 for wide
// ones on Hopper's matrix units, and then whether operands are aligned, 4 for narrow bands of just 17 or 33 diagonals
// in rows layout.

#include "shared/semiring_sum.cuh"
#include "shared/matmul.cuh"
#include "shared/matmul_hopper.cuh"
#include "shared/matmul_narrow_lanes.cuh"

#if defined(HOPPER) || !defined(__CUDACC__)
KERNEL(128, 3) matmul_sum_18_3_0(PARAMS params, PRODUCT_BUFFERS) { warpgroup<18, false>(params, a, b, c); }
KERNEL(128, 3) matmul_sum_18_3_1(PARAMS params, PRODUCT_BUFFERS) { warpgroup<18, true>(params, a, b, c); }
#endif

#ifndef HOPPER
KERNEL(128, 6) matmul_sum_3_1(PARAMS params, PRODUCT_BUFFERS) { slide<Slide17>(PRODUCT); }
KERNEL(128, 4) matmul_sum_5_1(PARAMS params, PRODUCT_BUFFERS) { slide<Slide33>(PRODUCT); }
KERNEL(128, 3) matmul_sum_9_1(PARAMS params, PRODUCT_BUFFERS) { slide<Slide65>(PRODUCT); }
KERNEL(128, 2) matmul_sum_17_1(PARAMS params, PRODUCT_BUFFERS) { slide<Slide129>(PRODUCT); }
SHARED_BYTES(matmul_sum_3_1, Slide17::BYTES)
SHARED_BYTES(matmul_sum_5_1, Slide33::BYTES)
SHARED_BYTES(matmul_sum_9_1, Slide65::BYTES)
SHARED_BYTES(matmul_sum_17_1, Slide129::BYTES)

KERNEL(128, 8) matmul_sum_5_2(PARAMS params, PRODUCT_BUFFERS) { narrow<Narrow17>(PRODUCT); }
KERNEL(128, 4) matmul_sum_9_2(PARAMS params, PRODUCT_BUFFERS) { narrow<Narrow33>(PRODUCT); }
SHARED_BYTES(matmul_sum_5_2, Narrow17::BYTES)
SHARED_BYTES(matmul_sum_9_2, Narrow33::BYTES)

KERNEL(128, 8) matmul_sum_5_4(PARAMS params, PRODUCT_BUFFERS) { narrow_lanes<Lanes17>(PRODUCT); }
KERNEL(128, 4) matmul_sum_9_4(PARAMS params, PRODUCT_BUFFERS) { narrow_lanes<Lanes33>(PRODUCT); }
SHARED_BYTES(matmul_sum_5_4, Lanes17::Band::BYTES)
SHARED_BYTES(matmul_sum_9_4, Lanes33::Band::BYTES)

KERNEL(128, 4) matmul_sum_4_0(PARAMS params, PRODUCT_BUFFERS) { tile<4>(PRODUCT); }
KERNEL(128, 3) matmul_sum_8_0(PARAMS params, PRODUCT_BUFFERS) { tile<8>(PRODUCT); }
#endif
