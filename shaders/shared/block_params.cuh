// What the products of dense and block-sparse matrices get; see block_params.wgsl.
#pragma once

#include "activation.cuh"

struct Params {
    uint batch;
    uint tokens;       // rows of X and Y
    uint inner;        // columns of X, rows of V
    uint outputs;      // columns of Y and V
    uint x_batch;      // values of one matrix
    uint x_stride;     // from token to token, or from feature to feature
    uint y_batch;
    uint y_stride;
    uint depth;        // rows of a block
    uint width;        // columns of a block
    uint columns;      // block columns
    uint token_tiles;  // blocks of threads along the tokens, and along the outputs
    uint output_tiles;
    uint flags;
};

DEVICE bool x_along(const Params& p) { return p.flags & 1; }  // X is contiguous along the features
DEVICE bool v_along(const Params& p) { return p.flags & 2; }  // a block is contiguous along its rows' side, the depth
DEVICE bool y_along(const Params& p) { return p.flags & 4; }  // Y is contiguous along the features
DEVICE bool has_bias(const Params& p) { return p.flags & 8; }
DEVICE uint activation(const Params& p) { return p.flags >> 4; }

// A term of a block column, its blocks laid end to end: the block, counted through the index, and the
// row inside it.
struct Term {
    uint block, row;
};

// The term that many further on. Counted rather than divided, since blocks are rarely short.
DEVICE Term advance(const Params& p, Term term, uint terms) {
    term.row += terms;
    while (term.row >= p.depth) {
        term.row -= p.depth;
        term.block++;
    }
    return term;
}

// Block row and slot of a block of a column whose blocks end before block `end`.
DEVICE uint2 entry(const Params& p, const uint* index, uint block, uint end) {
    const uint* at = index + p.columns + 1 + block * 2;
    return block < end ? uint2{at[0], at[1]} : uint2{~0u, 0};
}

// Where a term is: the feature of X, −1 if there is none, and where in V's values its row begins.
DEVICE int2 place(const Params& p, uint2 entry, uint row) {
    uint feature = entry.x * p.depth + row;
    uint start = entry.y * p.depth * p.width + row * (v_along(p) ? 1 : p.width);
    return entry.x != ~0u && feature < p.inner ? int2{int(feature), int(start)} : int2{-1, 0};
}

DEVICE int2 place(const Params& p, const uint* index, Term term, uint end) {
    return place(p, entry(p, index, term.block, end), term.row);
}

// Where the sum of a token and an output goes.
DEVICE uint y_index(const Params& p, uint batch, uint t, uint output) {
    return batch * p.y_batch + (y_along(p) ? t * p.y_stride + output : output * p.y_stride + t);
}

// A sum on its way out.
DEVICE float finish(const Params& p, const float* bias, uint output, float sum) {
    return activate(activation(p), has_bias(p) ? sum + bias[output] : sum);
}

// Four of them, the first `count` of which count: a token's, along the outputs, or an output's.
DEVICE void finish_four(const Params& p, const float* bias, uint output, bool along, uint count, float (&sums)[4]) {
    if (has_bias(p)) {
#pragma unroll
        for (uint i = 0; i < 4; i++) {
            if (i < count) sums[i] += bias[along ? output + i : output];
        }
    }
    if (activation(p) == 1) {
#pragma unroll
        for (uint i = 0; i < 4; i++) sums[i] = activate(1, sums[i]);
    } else if (activation(p) == 2) {
#pragma unroll
        for (uint i = 0; i < 4; i++) sums[i] = activate(2, sums[i]);
    }
}
