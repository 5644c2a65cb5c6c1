// C = A · B, all block-sparse: 64 threads take a tile of 32 × 32 of one block of C and sum over the
// pairs of blocks that meet there, laid end to end and staged 16 terms at a time; 4 × 4 sums a thread.

#include "shared/kernel.cuh"

struct Params {
    uint rows, inner, cols;
    uint height;    // rows of a block of A and C
    uint depth;     // columns of a block of A, rows of one of B
    uint width;     // columns of a block of B and C
    uint blocks;    // of C
    uint row_tiles; // tiles along the rows and columns of a block
    uint col_tiles;
    uint flags;     // bit 0: blocks of A are contiguous along columns, bit 1: those of B
};

const uint TILE = 32;
const uint DEPTH = 16;
const uint PITCH = 9; // float4s in a staged row

// pairs: where each block of C starts, then the slots of A and B; blocks: block row and column of each block of C.
KERNEL(64) block_sparse_matmul(PARAMS params, const float* __restrict__ a, const float* __restrict__ b, const uint* __restrict__ pairs,
                               const uint* __restrict__ blocks, float* __restrict__ c) {
    __shared__ float4 a_stage[DEPTH * PITCH]; // [term][row]
    __shared__ float4 b_stage[DEPTH * PITCH]; // [term][column]

    uint tile = blockIdx.x;
    uint slot = tile / params.col_tiles / params.row_tiles;
    uint i0 = tile / params.col_tiles % params.row_tiles * TILE;
    uint j0 = tile % params.col_tiles * TILE;
    uint first = pairs[slot];
    uint count = pairs[slot + 1] - first;
    const uint* pair = pairs + params.blocks + 1 + first * 2;
    uint a_row = params.flags & 1 ? 1 : params.depth, a_col = params.flags & 1 ? params.height : 1;
    uint b_row = params.flags & 2 ? 1 : params.width, b_col = params.flags & 2 ? params.depth : 1;

    uint t = threadIdx.x;
    uint x = t % 8, y = t / 8;
    // A thread brings 8 values of each: a row or column of the tile, every other term.
    uint side = t % TILE;
    bool a_side = i0 + side < params.height, b_side = j0 + side < params.width;
    // The term that it brings next: the pair, and the column of A and row of B inside.
    uint nth = 0, inside = t / TILE;
    float va[8], vb[8];
    auto fetch = [&]() {
#pragma unroll
        for (uint n = 0; n < 8; n++) {
            while (inside >= params.depth) {
                inside -= params.depth;
                nth++;
            }
            bool real = nth < count;
            va[n] = real & a_side ? a[pair[nth * 2] * params.height * params.depth + inside * a_col + (i0 + side) * a_row] : 0;
            vb[n] = real & b_side ? b[pair[nth * 2 + 1] * params.depth * params.width + inside * b_row + (j0 + side) * b_col] : 0;
            inside += 2;
        }
    };
    float4 sums[4] = {};
    fetch();
    for (uint k0 = 0; k0 < count * params.depth; k0 += DEPTH) {
        __syncthreads();
#pragma unroll
        for (uint n = 0; n < 8; n++) {
            uint k = n * 2 + t / TILE;
            ((float*)(a_stage + k * PITCH))[side] = va[n];
            ((float*)(b_stage + k * PITCH))[side] = vb[n];
        }
        __syncthreads();
        fetch(); // the next stage, while this one is worked off
#pragma unroll
        for (uint k = 0; k < DEPTH; k++) {
            float4 left = a_stage[k * PITCH + y], right = b_stage[k * PITCH + x];
            float rows[4] = {left.x, left.y, left.z, left.w};
#pragma unroll
            for (int n = 0; n < 4; n++) {
                sums[n].x = fmaf(rows[n], right.x, sums[n].x);
                sums[n].y = fmaf(rows[n], right.y, sums[n].y);
                sums[n].z = fmaf(rows[n], right.z, sums[n].z);
                sums[n].w = fmaf(rows[n], right.w, sums[n].w);
            }
        }
    }

    // What sticks out of the matrix is 0.
    uint top = blocks[slot * 2] * params.height, left = blocks[slot * 2 + 1] * params.width;
#pragma unroll
    for (uint r = 0; r < 4; r++) {
        float row[4] = {sums[r].x, sums[r].y, sums[r].z, sums[r].w};
        uint i = i0 + y * 4 + r;
#pragma unroll
        for (uint n = 0; n < 4; n++) {
            uint j = j0 + x * 4 + n;
            bool inside = (top + i < params.rows) & (left + j < params.cols);
            if ((i < params.height) & (j < params.width)) c[(slot * params.height + i) * params.width + j] = inside ? row[n] : 0;
        }
    }
}
