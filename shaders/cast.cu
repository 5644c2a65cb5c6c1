// Halves, two to a word, widened to f32; f32 rounded to halves; words copied.

#include <cuda_fp16.h>

#include "shared/kernel.cuh"

struct Params {
    uint words, values;
};

KERNEL(128) cast(PARAMS params, const uint* __restrict__ halves, float* __restrict__ out) {
    uint word = blockIdx.x * 128 + threadIdx.x;
    if (word >= params.words) return;
    uint pair = halves[word];
    out[word * 2] = __half2float(__ushort_as_half(pair & 0xffff));
    if (word * 2 + 1 < params.values) out[word * 2 + 1] = __half2float(__ushort_as_half(pair >> 16));
}

KERNEL(128) cast_narrow(PARAMS params, const float* __restrict__ values, uint* __restrict__ halves) {
    uint word = blockIdx.x * 128 + threadIdx.x;
    if (word >= params.words) return;
    uint low = __half_as_ushort(__float2half_rn(values[word * 2]));
    uint high = word * 2 + 1 < params.values ? __half_as_ushort(__float2half_rn(values[word * 2 + 1])) : 0;
    halves[word] = low | high << 16;
}

// 16 words to a thread, all on their way at once.
KERNEL(128) cast_copy(PARAMS params, const uint* __restrict__ words, uint* __restrict__ out) {
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
