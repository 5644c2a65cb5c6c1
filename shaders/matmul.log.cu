// The product over (logsumexp, +); the constants are COLUMNS and 0 for tiles, 1 for sliding strips, 2 for narrow bands,
// 4 for those of just 17 or 33 diagonals in rows layout.

#include "shared/semiring_log.cuh"
#include "shared/matmul.cuh"
#include "shared/matmul_narrow_fixed.cuh"

KERNEL(128, 6) matmul_log_3_1(PARAMS params, PRODUCT_BUFFERS) { slide<Slide17>(PRODUCT); }
KERNEL(128, 4) matmul_log_5_1(PARAMS params, PRODUCT_BUFFERS) { slide<Slide33>(PRODUCT); }
KERNEL(128, 3) matmul_log_9_1(PARAMS params, PRODUCT_BUFFERS) { slide<Slide65>(PRODUCT); }
KERNEL(128, 2) matmul_log_17_1(PARAMS params, PRODUCT_BUFFERS) { slide<Slide129>(PRODUCT); }
SHARED_BYTES(matmul_log_3_1, Slide17::BYTES)
SHARED_BYTES(matmul_log_5_1, Slide33::BYTES)
SHARED_BYTES(matmul_log_9_1, Slide65::BYTES)
SHARED_BYTES(matmul_log_17_1, Slide129::BYTES)

KERNEL(128, 8) matmul_log_5_2(PARAMS params, PRODUCT_BUFFERS) { narrow<Narrow17>(PRODUCT); }
KERNEL(128, 4) matmul_log_9_2(PARAMS params, PRODUCT_BUFFERS) { narrow<Narrow33>(PRODUCT); }
SHARED_BYTES(matmul_log_5_2, Narrow17::BYTES)
SHARED_BYTES(matmul_log_9_2, Narrow33::BYTES)

KERNEL(128, 8) matmul_log_5_4(PARAMS params, PRODUCT_BUFFERS) { narrow_fixed(PRODUCT); }
KERNEL(128, 4) matmul_log_9_4(PARAMS params, PRODUCT_BUFFERS) { narrow<Full33>(PRODUCT); }
SHARED_BYTES(matmul_log_5_4, NarrowFixed::BYTES)
SHARED_BYTES(matmul_log_9_4, Full33::BYTES)

KERNEL(128, 4) matmul_log_4_0(PARAMS params, PRODUCT_BUFFERS) { tile<4>(PRODUCT); }
KERNEL(128, 3) matmul_log_8_0(PARAMS params, PRODUCT_BUFFERS) { tile<8>(PRODUCT); }
