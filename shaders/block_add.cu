// C = A + B on C's blocks, or A alone: each slot of C has the slots of A and B that go there, or none,
// and its block row and column. What sticks out of the matrix is 0.

#include "shared/kernel.cuh"

struct Params {
    uint rows, cols;
    uint height, width; // of a block
    uint length;        // values of C
    uint flags;         // bit 0: blocks of A are contiguous along columns, bit 1: those of B
};

const uint NONE = 0xffffffff;

KERNEL(128) block_add(PARAMS params, const float* __restrict__ a, const float* __restrict__ b, const uint* __restrict__ sources,
                      float* __restrict__ c) {
    uint n = blockIdx.x * 128 + threadIdx.x;
    if (n >= params.length) return;
    uint size = params.height * params.width;
    const uint* source = sources + n / size * 4;
    uint along = n % size;
    uint i = along / params.width, j = along % params.width;
    uint across = j * params.height + i;
    bool inside = (source[2] * params.height + i < params.rows) & (source[3] * params.width + j < params.cols);
    uint from_a = source[0], from_b = source[1];
    float value = 0;
    if (inside & (from_a != NONE)) value = a[from_a * size + (params.flags & 1 ? across : along)];
    if (inside & (from_b != NONE)) value += b[from_b * size + (params.flags & 2 ? across : along)];
    c[n] = value;
}
