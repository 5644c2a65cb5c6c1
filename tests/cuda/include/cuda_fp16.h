// Halves as the kernels use them, each operation rounded on its own.
#pragma once

#include <stdint.h>
#include <string.h>

// `Number` is a type of 16 bits: __half here, __nv_bfloat16 in cuda_bf16.h.
#define EMULATION_NUMBER(Number, Pair, Bits)                                                                       \
    struct __attribute__((aligned(4))) Pair {                                                                      \
        Number x, y;                                                                                               \
        Pair() = default;                                                                                          \
        Pair(Number x, Number y) : x(x), y(y) {}                                                                   \
    };                                                                                                             \
    static inline Number operator+(Number a, Number b) { return float(a) + float(b); }                            \
    static inline Number operator-(Number a, Number b) { return float(a) - float(b); }                            \
    static inline Number operator*(Number a, Number b) { return float(a) * float(b); }                            \
    static inline Number operator/(Number a, Number b) { return float(a) / float(b); }                            \
    static inline Number operator-(Number a) { return -float(a); }                                                \
    static inline Number& operator+=(Number& a, Number b) { return a = a + b; }                                    \
    static inline bool operator<(Number a, Number b) { return float(a) < float(b); }                              \
    static inline bool operator>(Number a, Number b) { return float(a) > float(b); }                              \
    static inline bool operator==(Number a, Number b) { return float(a) == float(b); }                            \
    static inline bool operator!=(Number a, Number b) { return float(a) != float(b); }                            \
    static inline Number __hadd(Number a, Number b) { return a + b; }                                              \
    static inline Number __hsub(Number a, Number b) { return a - b; }                                              \
    static inline Number __hmul(Number a, Number b) { return a * b; }                                              \
    static inline Number __hdiv(Number a, Number b) { return a / b; }                                              \
    static inline Number __hneg(Number a) { return -a; }                                                           \
    static inline Number __habs(Number a) { return fabsf(a); }                                                     \
    static inline Number __hmax(Number a, Number b) { return fmaxf(a, b); }                                        \
    static inline Number __hmin(Number a, Number b) { return fminf(a, b); }                                        \
    static inline Number __hfma(Number a, Number b, Number c) { return Number(double(float(a)) * float(b) + float(c)); } \
    static inline bool __hisnan(Number a) { return float(a) != float(a); }                                        \
    static inline Pair __hadd2(Pair a, Pair b) { return {a.x + b.x, a.y + b.y}; }                                  \
    static inline Pair __hsub2(Pair a, Pair b) { return {a.x - b.x, a.y - b.y}; }                                  \
    static inline Pair __hmul2(Pair a, Pair b) { return {a.x * b.x, a.y * b.y}; }                                  \
    static inline Pair __hfma2(Pair a, Pair b, Pair c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; }  \
    static inline Pair __hmax2(Pair a, Pair b) { return {__hmax(a.x, b.x), __hmax(a.y, b.y)}; }                    \
    static inline Number __low2##Bits(Pair a) { return a.x; }                                                      \
    static inline Number __high2##Bits(Pair a) { return a.y; }                                                     \
    static inline float __low2float(Pair a) { return a.x; }                                                        \
    static inline float __high2float(Pair a) { return a.y; }

struct __half {
    uint16_t word;
    __half() = default;
    __half(float x) { *this = _Float16(x); }
    __half(_Float16 x) { memcpy(&word, &x, sizeof word); }
    explicit __half(double x) { *this = _Float16(x); }
    operator float() const {
        _Float16 x;
        memcpy(&x, &word, sizeof x);
        return x;
    }
};
EMULATION_NUMBER(__half, __half2, half)
typedef __half half;
typedef __half2 half2;

static inline float __half2float(__half a) { return a; }
static inline __half __float2half(float a) { return a; }
static inline __half __float2half_rn(float a) { return a; }
static inline unsigned short __half_as_ushort(__half a) { return a.word; }
static inline __half __ushort_as_half(unsigned short word) {
    __half a;
    a.word = word;
    return a;
}
static inline __half2 make_half2(__half x, __half y) { return {x, y}; }
static inline __half2 __halves2half2(__half x, __half y) { return {x, y}; }
static inline __half2 __half2half2(__half x) { return {x, x}; }
static inline __half2 __float2half2_rn(float x) { return {x, x}; }
static inline __half2 __floats2half2_rn(float x, float y) { return {x, y}; }
static inline __half2 __float22half2_rn(float2 a) { return {a.x, a.y}; }
static inline float2 __half22float2(__half2 a) { return {a.x, a.y}; }
