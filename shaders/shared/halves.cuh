// The two kinds of halves that tensor cores take, f16 and bf16: all that kernels for both have to tell apart.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "tensor.cuh"

template <class Half>
constexpr bool is_brain = false;
template <>
constexpr bool is_brain<__nv_bfloat16> = true;

// c += A · B, f32 sums; fragments are those of mma_16x8x16.
template <class Half>
DEVICE void add_product(float (&c)[4], const uint (&a)[4], uint b0, uint b1) {
    if constexpr (is_brain<Half>) {
#ifdef __CUDACC__
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
        emulate_mma_16x8x16(c, a, b0, b1, true);
#endif
    } else {
        mma_16x8x16(c, a, b0, b1);
    }
}

DEVICE float widened(__half x) { return __half2float(x); }
DEVICE float widened(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class Half>
DEVICE Half from_float(float x) {
    if constexpr (is_brain<Half>) return __float2bfloat16_rn(x);
    else return __float2half_rn(x);
}

// Two values rounded to the nearest, ties to even, the first in the lower half.
template <class Half>
DEVICE uint rounded(float low, float high) {
    if constexpr (is_brain<Half>) {
        __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
        return *(uint*)&pair;
    } else {
        __half2 pair = __floats2half2_rn(low, high);
        return *(uint*)&pair;
    }
}
