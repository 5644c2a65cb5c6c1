// What the sampled products get: C[i,j] = Σ over tokens of A[t,i] · B[t,j] at stored blocks; see
// sddmm_params.wgsl.
#pragma once

#include "kernel.cuh"

struct Params {
    uint tokens;
    uint rows;         // features of A
    uint cols;         // features of B
    uint a_stride;     // from token to token, or from feature to feature
    uint b_stride;
    uint height;       // rows of a block
    uint width;        // columns of a block
    uint grid_rows;    // block rows
    uint row_tiles;    // blocks of threads along the rows of a block
    uint column_tiles; // and along the columns of the longest block row
    uint parts;        // the tokens are cut into this many, each with a copy of the result
    uint part_tokens;
    uint length;       // values of the result
    uint flags;
};

DEVICE bool a_along(const Params& p) { return p.flags & 1; } // A is contiguous along the features
DEVICE bool b_along(const Params& p) { return p.flags & 2; }
DEVICE bool adds(const Params& p) { return p.flags & 4; }    // to what C holds already

// Place n of a block row: the feature of B, −1 beyond the matrix, and where in C its column begins, −1
// beyond the row.
DEVICE int2 place(const Params& p, const uint* index, uint n, uint first, uint places) {
    if (n >= places) return int2{-1, -1};
    uint entry = p.grid_rows + 1 + (first + n / p.width) * 2;
    uint feature = index[entry] * p.width + n % p.width;
    int start = int(index[entry + 1] * p.height * p.width + n % p.width);
    return int2{feature < p.cols ? int(feature) : -1, start};
}

DEVICE uint a_index(const Params& p, uint t, uint feature) {
    return a_along(p) ? t * p.a_stride + feature : feature * p.a_stride + t;
}

DEVICE uint b_index(const Params& p, uint t, uint feature) {
    return b_along(p) ? t * p.b_stride + feature : feature * p.b_stride + t;
}
