// What the gradients' kernels share; see gradient.wgsl.
#pragma once

#include "matmul_params.cuh"
#include "stretch.cuh"

DEVICE View view_a(const Params& p) { return {p.rows, p.inner, p.a_stride, p.a_lower, p.a_upper, p.flags}; }
DEVICE View view_b(const Params& p) { return {p.inner, p.cols, p.b_stride, p.b_lower, p.b_upper, p.flags >> 2}; }
DEVICE View view_c(const Params& p) { return {p.rows, p.cols, p.c_stride, p.c_lower, p.c_upper, p.flags >> 4}; }

// An operand that is like another but of its own layout: two more bits of the flags.
DEVICE View like(View v, uint flags) {
    v.flags = flags;
    if (flags & 2) v.stride = flags & 1 ? v.rows : v.cols;
    return v;
}

// The j whose C[i,j] the entry A[i,k] takes part in.
DEVICE int first_j(const Params& p, int i, int k) { return max(0, max(i - p.c_lower, k - p.b_lower)); }
DEVICE int end_j(const Params& p, int i, int k) { return min(p.cols, min(i + p.c_upper, k + p.b_upper) + 1); }

// The share that the term x + y has in a logsumexp of z.
DEVICE float share(float x, float y, float z) { return z == minus_infinity() ? 0 : expf(x + y - z); }
