// C[i,j] = A[i + di, j + dj], or the fill where A does not store it. Values move as words.

#include "shared/early.cuh"
#include "shared/stretch.cuh"

struct Params {
    uint batch;
    int rows, cols; // of C
    uint flags;     // two bits each for A, C: columns layout, dense
    int a_rows, a_cols;
    int a_stride, a_lower, a_upper;
    int c_stride, c_lower, c_upper;
    int di, dj;
    uint fill; // its bits
};

KERNEL(256) banded_move(PARAMS params, const uint* __restrict__ a, uint* __restrict__ c) {
    after_previous();
    View a_view = {params.a_rows, params.a_cols, params.a_stride, params.a_lower, params.a_upper, params.flags};
    View c_view = {params.rows, params.cols, params.c_stride, params.c_lower, params.c_upper, params.flags >> 2};
    bool columns = c_view.flags & 1;
    Stretch s = stretch_of(c_view, params.batch);
    Line source = line_of(a_view, s.batch, {s.first.i + params.di, s.first.j + params.dj}, columns);
    Line target = line_of(c_view, s.batch, s.first, columns);
    for (int from = s.from; from < s.to; from += AT_ONCE * s.lanes) {
        uint words[AT_ONCE];
#pragma unroll
        for (int n = 0; n < AT_ONCE; n++) {
            int k = from + n * s.lanes;
            words[n] = params.fill;
            if ((k < s.to) & has(source, k) & has(target, k)) words[n] = a[source.start + k * source.step];
        }
#pragma unroll
        for (int n = 0; n < AT_ONCE; n++) {
            int k = from + n * s.lanes;
            if (k < s.to) c[target.start + k] = words[n];
        }
    }
}
