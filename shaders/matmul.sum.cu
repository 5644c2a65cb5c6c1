// The product over (+, ×); the constants are COLUMNS and 0 for tiles, 1 for sliding strips, 2 for narrow bands, 3 for wide
// ones on Hopper's matrix units, and then whether operands are aligned, 4 for narrow bands of just 17 or 33 diagonals
// in rows layout, 5 for narrow bands onto a band, and then whether A (1) and B (2) are
// in columns layout, 6 for gradients of bands of just 17 or 33 diagonals, and then whether they are of the left operand,
// 7 for what fills windows that stand still on those units, and then how operands are read (src/ops/matmul/warpgroups.rs).

#include "shared/semiring_sum.cuh"
#include "shared/matmul.cuh"
#include "shared/matmul_hopper_slide.cuh"
#include "shared/matmul_hopper_tile.cuh"
#include "shared/matmul_narrow_full.cuh"
#include "shared/matmul_narrow_gradient.cuh"

#if defined(HOPPER) || !defined(__CUDACC__)
typedef Sliding<18, false> SlidingWide;
typedef Sliding<18, true> SlidingAligned;
typedef Standing<18, true, Across<18, true, false>> Standing1; // A and B in rows
typedef Standing<18, true, Along<18>> Standing2;               // A in rows, B in columns
typedef Standing<18, false, Across<18, true, false>> Standing3; // A in columns, B in rows
KERNEL(512, 1) matmul_sum_18_3_0(PARAMS params, PRODUCT_BUFFERS) { slide_in_teams<SlidingWide>(params, a, b, c); }
KERNEL(512, 1) matmul_sum_18_3_1(PARAMS params, PRODUCT_BUFFERS) { slide_in_teams<SlidingAligned>(params, a, b, c); }
KERNEL(512, 1) matmul_sum_18_7_1(PARAMS params, PRODUCT_BUFFERS) { tile_in_teams<Standing1>(params, a, b, c); }
KERNEL(512, 1) matmul_sum_18_7_2(PARAMS params, PRODUCT_BUFFERS) { tile_in_teams<Standing2>(params, a, b, c); }
KERNEL(512, 1) matmul_sum_18_7_3(PARAMS params, PRODUCT_BUFFERS) { tile_in_teams<Standing3>(params, a, b, c); }
SHARED_BYTES(matmul_sum_18_3_0, SlidingWide::BYTES)
SHARED_BYTES(matmul_sum_18_3_1, SlidingAligned::BYTES)
SHARED_BYTES(matmul_sum_18_7_1, Standing1::BYTES)
SHARED_BYTES(matmul_sum_18_7_2, Standing2::BYTES)
SHARED_BYTES(matmul_sum_18_7_3, Standing3::BYTES)
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

KERNEL(128, 8) matmul_sum_5_4(PARAMS params, PRODUCT_BUFFERS) { narrow_full<Full17OfSum>(PRODUCT); }
KERNEL(128, 4) matmul_sum_9_4(PARAMS params, PRODUCT_BUFFERS) { narrow_full<Full33OfSum>(PRODUCT); }
SHARED_BYTES(matmul_sum_5_4, Full17OfSum::Band::BYTES)
SHARED_BYTES(matmul_sum_9_4, Full33OfSum::Band::BYTES)

KERNEL(160, 7) matmul_sum_5_5_0(PARAMS params, PRODUCT_BUFFERS) { narrow_cropped<NarrowCropped<5, false, false>>(PRODUCT); }
KERNEL(160, 7) matmul_sum_5_5_1(PARAMS params, PRODUCT_BUFFERS) { narrow_cropped<NarrowCropped<5, true, false>>(PRODUCT); }
KERNEL(160, 7) matmul_sum_5_5_2(PARAMS params, PRODUCT_BUFFERS) { narrow_cropped<NarrowCropped<5, false, true>>(PRODUCT); }
KERNEL(160, 7) matmul_sum_5_5_3(PARAMS params, PRODUCT_BUFFERS) { narrow_cropped<NarrowCropped<5, true, true>>(PRODUCT); }
KERNEL(288, 3) matmul_sum_9_5_0(PARAMS params, PRODUCT_BUFFERS) { narrow_cropped<NarrowCropped<9, false, false>>(PRODUCT); }
KERNEL(288, 3) matmul_sum_9_5_1(PARAMS params, PRODUCT_BUFFERS) { narrow_cropped<NarrowCropped<9, true, false>>(PRODUCT); }
KERNEL(288, 3) matmul_sum_9_5_2(PARAMS params, PRODUCT_BUFFERS) { narrow_cropped<NarrowCropped<9, false, true>>(PRODUCT); }
KERNEL(288, 3) matmul_sum_9_5_3(PARAMS params, PRODUCT_BUFFERS) { narrow_cropped<NarrowCropped<9, true, true>>(PRODUCT); }
SHARED_BYTES(matmul_sum_5_5_0, (NarrowCropped<5, false, false>::BYTES))
SHARED_BYTES(matmul_sum_5_5_1, (NarrowCropped<5, true, false>::BYTES))
SHARED_BYTES(matmul_sum_5_5_2, (NarrowCropped<5, false, true>::BYTES))
SHARED_BYTES(matmul_sum_5_5_3, (NarrowCropped<5, true, true>::BYTES))
SHARED_BYTES(matmul_sum_9_5_0, (NarrowCropped<9, false, false>::BYTES))
SHARED_BYTES(matmul_sum_9_5_1, (NarrowCropped<9, true, false>::BYTES))
SHARED_BYTES(matmul_sum_9_5_2, (NarrowCropped<9, false, true>::BYTES))
SHARED_BYTES(matmul_sum_9_5_3, (NarrowCropped<9, true, true>::BYTES))

KERNEL(160, 7) matmul_sum_5_6_0(PARAMS params, PRODUCT_BUFFERS) { narrow_gradient<NarrowGradient<5, 128, false>>(PRODUCT); }
KERNEL(160, 7) matmul_sum_5_6_1(PARAMS params, PRODUCT_BUFFERS) { narrow_gradient<NarrowGradient<5, 128, true>>(PRODUCT); }
KERNEL(288, 3) matmul_sum_9_6_0(PARAMS params, PRODUCT_BUFFERS) { narrow_gradient<NarrowGradient<9, 128, false>>(PRODUCT); }
KERNEL(288, 4) matmul_sum_9_6_1(PARAMS params, PRODUCT_BUFFERS) { narrow_gradient<NarrowGradient<9, 128, true>>(PRODUCT); }
SHARED_BYTES(matmul_sum_5_6_0, (NarrowGradient<5, 128, false>::BYTES))
SHARED_BYTES(matmul_sum_5_6_1, (NarrowGradient<5, 128, true>::BYTES))
SHARED_BYTES(matmul_sum_9_6_0, (NarrowGradient<9, 128, false>::BYTES))
SHARED_BYTES(matmul_sum_9_6_1, (NarrowGradient<9, 128, true>::BYTES))

KERNEL(128, 4) matmul_sum_4_0(PARAMS params, PRODUCT_BUFFERS) { tile<4>(PRODUCT); }
KERNEL(128, 3) matmul_sum_8_0(PARAMS params, PRODUCT_BUFFERS) { tile<8>(PRODUCT); }
#endif
