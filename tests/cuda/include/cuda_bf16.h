// bfloat16 as the kernels use it: the upper half of an f32, rounded to nearest, ties to even.
#pragma once

#include "cuda_fp16.h"

struct __nv_bfloat16 {
    uint16_t word;
    __nv_bfloat16() = default;
    __nv_bfloat16(float x) {
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        word = x != x ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    }
    explicit __nv_bfloat16(double x) : __nv_bfloat16(float(x)) {}
    operator float() const {
        uint32_t bits = uint32_t(word) << 16;
        float x;
        memcpy(&x, &bits, sizeof x);
        return x;
    }
};
EMULATION_NUMBER(__nv_bfloat16, __nv_bfloat162, bfloat16)

static inline float __bfloat162float(__nv_bfloat16 a) { return a; }
static inline __nv_bfloat16 __float2bfloat16(float a) { return a; }
static inline __nv_bfloat16 __float2bfloat16_rn(float a) { return a; }
static inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 a) { return a.word; }
static inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short word) {
    __nv_bfloat16 a;
    a.word = word;
    return a;
}
static inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {x, y}; }
static inline float2 __bfloat1622float2(__nv_bfloat162 a) { return {a.x, a.y}; }
