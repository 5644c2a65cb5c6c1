// f16 or bf16, two to a word, widened to f32; f32 rounded to either; words copied.

#include <cuda_fp16.h>

#include "shared/early.cuh"

struct Params {
    uint words, values, brain; // brain: 1 for bf16
};

DEVICE float widen(uint half, uint brain) {
    return brain ? __int_as_float(half << 16) : __half2float(__ushort_as_half(half));
}

// To the nearest, ties to even.
DEVICE uint narrow(float value, uint brain) {
    if (!brain) return __half_as_ushort(__float2half_rn(value));
    uint bits = __float_as_int(value);
    return isnan(value) ? bits >> 16 | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

KERNEL(128) cast(PARAMS params, const uint* __restrict__ halves, float* __restrict__ out) {
    after_previous();
    uint word = blockIdx.x * 128 + threadIdx.x;
    if (word >= params.words) return;
    uint pair = halves[word];
    out[word * 2] = widen(pair & 0xffff, params.brain);
    if (word * 2 + 1 < params.values) out[word * 2 + 1] = widen(pair >> 16, params.brain);
}

KERNEL(128) cast_narrow(PARAMS params, const float* __restrict__ values, uint* __restrict__ halves) {
    after_previous();
    uint word = blockIdx.x * 128 + threadIdx.x;
    if (word >= params.words) return;
    uint low = narrow(values[word * 2], params.brain);
    uint high = word * 2 + 1 < params.values ? narrow(values[word * 2 + 1], params.brain) : 0;
    halves[word] = low | high << 16;
}

// 16 words to a thread, all on their way at once.
KERNEL(128) cast_copy(PARAMS params, const uint* __restrict__ words, uint* __restrict__ out) {
    after_previous();
    uint at = blockIdx.x * 2048 + threadIdx.x;
    uint values[16];
#pragma unroll
    for (int n = 0; n < 16; n++) {
        if (at + n * 128 < params.words) values[n] = words[at + n * 128];
    }
#pragma unroll
    for (int n = 0; n < 16; n++) {
        if (at + n * 128 < params.words) out[at + n * 128] = values[n];
    }
}
