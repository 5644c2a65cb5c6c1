// y = A·x, one vector per matrix; LANES threads share a row.

#include "shared/early.cuh"
#include "shared/row.cuh"

struct Params {
    uint batch;
    int rows, cols;
    uint flags;
    int stride, lower, upper;
};

template <int LANES> DEVICE void matvec(const Params& p, const float* __restrict__ a, const float* __restrict__ x, float* __restrict__ y) {
    after_previous();
    Row row = row_of<LANES>(p.flags);
    bool real = row.line < p.batch * p.rows;
    float sum = 0;
    if (real) {
        int i = row.line % p.rows;
        int batch = row.line / p.rows;
        a += batch * band_len(p.rows, p.cols, p.stride, p.flags);
        x += batch * p.cols;
        int end = min(p.cols, i + row.behind + p.upper + 1);
#pragma unroll 4
        for (int j = max(0, i - row.ahead - p.lower) + row.lane; j < end; j += LANES) {
            if (in_band(i, j, p.lower, p.upper)) sum = fmaf(a[band_index(i, j, p.stride, p.lower, p.upper, p.flags)], x[j], sum);
        }
    }
    sum = row_sum<LANES>(row, sum);
    if (real & (row.lane == 0)) y[row.line] = sum;
}

#define MATVEC(lanes)                                                                                                                    \
    KERNEL(128) banded_matvec_##lanes(PARAMS params, const float* __restrict__ a, const float* __restrict__ x, float* __restrict__ y) {  \
        matvec<lanes>(params, a, x, y);                                                                                                  \
    }
MATVEC(4)
MATVEC(8)
MATVEC(16)
MATVEC(32)
