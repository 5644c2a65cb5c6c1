// What every product kernel gets; see matmul_params.wgsl.
#pragma once

#include "band.cuh"

struct Params {
    uint batch;
    int rows, cols, inner;
    uint flags; // two bits each for A, B, C: columns layout, dense
    int a_stride, a_lower, a_upper;
    int b_stride, b_lower, b_upper;
    int c_stride, c_lower, c_upper;
    float fill; // of C: the semiring's zero
    uint tiles; // blocks for one matrix, or the seed where one thread does one entry
};

// Values in one matrix of each operand.
DEVICE int a_len(const Params& p) { return band_len(p.rows, p.inner, p.a_stride, p.flags); }
DEVICE int b_len(const Params& p) { return band_len(p.inner, p.cols, p.b_stride, p.flags >> 2); }
DEVICE int c_len(const Params& p) { return band_len(p.rows, p.cols, p.c_stride, p.flags >> 4); }

DEVICE int a_index(const Params& p, int i, int k) { return band_index(i, k, p.a_stride, p.a_lower, p.a_upper, p.flags); }
DEVICE int b_index(const Params& p, int k, int j) { return band_index(k, j, p.b_stride, p.b_lower, p.b_upper, p.flags >> 2); }
DEVICE int c_index(const Params& p, int i, int j) { return band_index(i, j, p.c_stride, p.c_lower, p.c_upper, p.flags >> 4); }

// The k whose terms make up C[i,j].
DEVICE int first_k(const Params& p, int i, int j) { return max(0, max(i - p.a_lower, j - p.b_upper)); }
DEVICE int end_k(const Params& p, int i, int j) { return min(p.inner, min(i + p.a_upper, j + p.b_lower) + 1); }
