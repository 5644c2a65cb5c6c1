// The product over (max, +); the constants are COLUMNS and the threads that share a sliding strip, 0 for tiles.

#include "shared/semiring_max.cuh"
#include "shared/matmul.cuh"

KERNEL(128, 6) matmul_max_3_8(PARAMS params, PRODUCT_BUFFERS) { slide<Slide17>(PRODUCT); }
KERNEL(128, 4) matmul_max_5_8(PARAMS params, PRODUCT_BUFFERS) { slide<Slide33>(PRODUCT); }
KERNEL(128, 3) matmul_max_9_8(PARAMS params, PRODUCT_BUFFERS) { slide<Slide65>(PRODUCT); }
KERNEL(256, 2) matmul_max_9_16(PARAMS params, PRODUCT_BUFFERS) { slide<Slide129>(PRODUCT); }
SHARED_BYTES(matmul_max_3_8, Slide17::BYTES)
SHARED_BYTES(matmul_max_5_8, Slide33::BYTES)
SHARED_BYTES(matmul_max_9_8, Slide65::BYTES)
SHARED_BYTES(matmul_max_9_16, Slide129::BYTES)

// Tiles, B stored along its rows or along its columns.
KERNEL(128, 4) matmul_max_4_0_0(PARAMS params, PRODUCT_BUFFERS) { tile<4, false>(PRODUCT); }
KERNEL(128, 4) matmul_max_8_0_0(PARAMS params, PRODUCT_BUFFERS) { tile<8, false>(PRODUCT); }
KERNEL(128, 4) matmul_max_4_0_1(PARAMS params, PRODUCT_BUFFERS) { tile<4, true>(PRODUCT); }
KERNEL(128, 4) matmul_max_8_0_1(PARAMS params, PRODUCT_BUFFERS) { tile<8, true>(PRODUCT); }
