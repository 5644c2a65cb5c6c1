// One line of windowed attention that meets every partner: that of a global position. 128 threads share
// the partners, then the columns of the result.
#pragma once

#include "window_tile.cuh"

const int LANES = 128;

struct Line {
    int line;  // -1 if no line stands at the position
    int c;     // this thread's column
};

// The line of a block, for a result of `width` columns.
template <Of of>
DEVICE Line global_line(const Params& params, const uint* positions, uint in_matrix, int width) {
    uint chunks = div_up(width, LANES);
    int position = positions[in_matrix / chunks];
    int i = position - params.offset;
    int query = (i >= 0) & (i < params.rows) ? i : -1;
    return {lines_are_queries<of> ? query : position, (int)(in_matrix % chunks) * LANES + (int)threadIdx.x};
}

// `before` and the sum of weights times values, column c.
template <Of of>
DEVICE float line_sum(float before, const Params& params, const Operands& from, const Matrices& m, const Line& at, float* weights, float top) {
    Matrix values = values_of<of>(params, from, m);
    int partners = lines_are_queries<of> ? m.end : params.rows;
    float sum = before;
    for (int n = 0; n < partners; n += LANES) {
        int own = n + threadIdx.x;
        float w = own < partners ? weight<of>(params, from, m, at.line, own, top) : 0;
        __syncthreads();
        weights[threadIdx.x] = w;
        __syncthreads();
        int count = at.c < values.width ? min(LANES, partners - n) : 0;
        for (int t = 0; t < count; t++) sum = fmaf(weights[t], values.data[(n + t) * values.width + at.c], sum);
    }
    return sum;
}
