// The largest entry of each row, or 0 where that is not finite: what (logsumexp, +) scales by. LANES
// threads share a row.

#include "shared/early.cuh"
#include "shared/row.cuh"

struct Params {
    uint batch;
    int rows, cols;
    uint flags;
    int stride, lower, upper;
};

template <int LANES> DEVICE void largest(const Params& p, const float* __restrict__ a, float* __restrict__ scale) {
    after_previous();
    Row row = row_of<LANES>(p.flags);
    bool real = row.line < p.batch * p.rows;
    float best = minus_infinity();
    if (real) {
        int i = row.line % p.rows;
        a += row.line / p.rows * band_len(p.rows, p.cols, p.stride, p.flags);
        int end = min(p.cols, i + row.behind + p.upper + 1);
#pragma unroll 4
        for (int j = max(0, i - row.ahead - p.lower) + row.lane; j < end; j += LANES) {
            // NaN is passed over.
            if (in_band(i, j, p.lower, p.upper)) best = fmaxf(best, a[band_index(i, j, p.stride, p.lower, p.upper, p.flags)]);
        }
    }
    best = row_max<LANES>(row, best);
    if (real & (row.lane == 0)) scale[row.line] = isfinite(best) ? best : 0;
}

#define SCALE(lanes)                                                                                               \
    KERNEL(128) matmul_scale_##lanes(PARAMS params, const float* __restrict__ a, float* __restrict__ scale) {      \
        largest<lanes>(params, a, scale);                                                                          \
    }
SCALE(4)
SCALE(8)
SCALE(16)
SCALE(32)
