// Blocks from dense matrices, and back.

#include "shared/kernel.cuh"

struct Params {
    uint rows, cols;
    uint height, width; // of a block
    uint stride;        // of the dense matrix
    uint lines;         // values of the result, or the block rows of the index
    uint flags;         // bit 0: the dense matrix is column-major; bit 1: blocks are contiguous along columns
};

// The values of given blocks, by the block row and column of each slot; what sticks out of the matrix is 0.
KERNEL(128) block_move(PARAMS params, const float* __restrict__ dense, const uint* __restrict__ blocks, float* __restrict__ values) {
    uint n = blockIdx.x * 128 + threadIdx.x;
    if (n >= params.lines) return;
    uint slot = n / (params.height * params.width);
    uint i = blocks[slot * 2] * params.height + n / params.width % params.height;
    uint j = blocks[slot * 2 + 1] * params.width + n % params.width;
    bool inside = (i < params.rows) & (j < params.cols);
    values[n] = inside ? dense[params.flags & 1 ? j * params.stride + i : i * params.stride + j] : 0;
}

// Every entry of a block-sparse matrix, row-major. The index lists the blocks by rows: where each block
// row starts, then block column and slot of each block, columns rising.
KERNEL(128) block_move_dense(PARAMS params, const float* __restrict__ values, const uint* __restrict__ index, float* __restrict__ dense) {
    uint n = blockIdx.x * 128 + threadIdx.x;
    if (n >= params.rows * params.cols) return;
    uint i = n / params.cols, j = n % params.cols;

    // The first entry of the block row whose column is not below j's.
    uint row = i / params.height, column = j / params.width;
    uint low = index[row], end = index[row + 1];
    const uint* entries = index + params.lines + 1;
    for (uint high = end; low < high;) {
        uint middle = (low + high) / 2;
        if (entries[middle * 2] < column) low = middle + 1;
        else high = middle;
    }
    float value = 0;
    if (low < end && entries[low * 2] == column) {
        uint y = i % params.height, x = j % params.width;
        uint inside = params.flags & 2 ? x * params.height + y : y * params.width + x;
        value = values[entries[low * 2 + 1] * params.height * params.width + inside];
    }
    dense[n] = value;
}
