// What every CUDA kernel starts from.
//
// A kernel's entry is its name with '.' as '_', then the values of its constants in the order of the
// launch: `matmul.sum` with COLUMNS 9, SLIDE 1 is `matmul_sum_9_1`. It takes `Params` by value, then the
// inputs, then the outputs, and runs in blocks of as many threads as its launch bounds say, in one line.
// Inputs and outputs start at multiples of 16 bytes and are readable up to the next one: a load of 16 bytes that
// begins in a buffer may end behind it, in memory whose contents mean nothing.
#pragma once

#define KERNEL(...) extern "C" __global__ void __launch_bounds__(__VA_ARGS__)
#define PARAMS const __grid_constant__ Params
#define DEVICE static __device__ __forceinline__
#define METHOD __device__ __forceinline__

// Memory that the threads of a block share beyond 48 KB: the entry says how much it wants.
#define SHARED_BYTES(entry, bytes) extern "C" __device__ const unsigned entry##_shared = bytes;

typedef unsigned int uint;

DEVICE int clamp(int x, int low, int high) { return min(max(x, low), high); }
DEVICE float minus_infinity() { return __int_as_float(0xff800000); }
DEVICE float not_a_number() { return __int_as_float(0x7fc00000); }

// 2^x to 2 units in the last place, below 2^-126 as 0.
DEVICE float power_of_two(float x) {
#ifdef __CUDACC__
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return exp2f(x);
#endif
}

// Keeps the compiler from moving what makes the value, or is made of it, past this place: not anew into each
// branch that uses it, nor out of the one branch that does.
DEVICE void computed_here(int& value) {
#ifdef __CUDACC__
    asm volatile("" : "+r"(value));
#endif
}
DEVICE void computed_here(float*& global) {
#ifdef __CUDACC__
    asm volatile("" : "+l"(global));
    __builtin_assume(__isGlobal(global));
#endif
}
