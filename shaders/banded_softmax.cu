// P = softmax(scale · A) over the stored entries of each row, and its gradient; LANES threads share a row.

#include "shared/row.cuh"

struct Params {
    uint batch;
    int rows, cols;
    uint flags; // two bits each for the matrix and the gradient: columns layout, dense
    int stride, lower, upper;
    float scale;
    uint lines; // rows to visit, those included that only have slots outside the matrix
};

const int VALUES = 9; // of a row that a thread keeps, as `row_lanes` counts on; longer rows are read again

// A row, whose slots go from j to end. Some are outside the matrix: rows layout has such before and after
// a row, columns layout whole rows of them, above and below.
struct Slots {
    int batch, i, j, end;
    int first, stop; // the columns of the matrix among them
    int from, to;    // where the lanes start and end, in step with the warp's other rows
};

template <int LANES> DEVICE Slots slots_of(const Params& p, const Row& row) {
    bool columns = p.flags & 1;
    Slots s;
    s.batch = row.line / p.lines;
    s.i = (int)(row.line % p.lines) - (columns ? p.upper : 0);
    s.j = columns ? max(s.i - p.lower, 0) : s.i - p.lower;
    s.end = columns ? min(s.i + p.upper + 1, p.cols) : s.i + p.upper + 1;
    bool real = (s.i >= 0) & (s.i < p.rows);
    s.first = max(s.j, 0);
    s.stop = real ? min(s.end, p.cols) : s.first;
    s.from = (columns ? max(s.i - row.ahead - p.lower, 0) : s.j) + row.lane;
    s.to = columns ? min(s.i + row.behind + p.upper + 1, p.cols) : s.end;
    if (s.batch >= (int)p.batch) s.to = s.from;
    return s;
}

// Where column 0 of the row is in a matrix whose layout these flags tell, and how far column 1 is from there.
DEVICE int row_start(const Params& p, const Slots& s, uint flags) {
    return s.batch * band_len(p.rows, p.cols, p.stride, flags) + band_index(s.i, 0, p.stride, p.lower, p.upper, flags);
}

DEVICE int row_step(const Params& p, uint flags) { return flags & 1 ? p.stride : 1; }

template <int LANES> DEVICE void softmax(const Params& params, const float* __restrict__ a, float* __restrict__ out) {
    const int CHUNK = LANES * VALUES;
    Row row = row_of<LANES>(params.flags);
    Slots s = slots_of<LANES>(params, row);
    int start = row_start(params, s, params.flags), step = row_step(params, params.flags);
    bool kept = s.to - s.from <= CHUNK;
    float x[VALUES]; // -∞ where there is no entry

    auto fetch = [&](int from) {
#pragma unroll
        for (int n = 0; n < VALUES; n++) {
            int j = from + n * LANES;
            x[n] = minus_infinity();
            if ((j >= s.first) & (j < s.stop)) x[n] = a[start + j * step] * params.scale;
        }
    };
    float top = minus_infinity();
    for (int from = s.from; from < s.to; from += CHUNK) {
        fetch(from);
#pragma unroll
        for (int n = 0; n < VALUES; n++) top = fmaxf(top, x[n]);
    }
    top = row_max<LANES>(row, top);
    // What exponentials are taken relative to: where all are 0, to anything.
    float base = top == minus_infinity() ? 0 : top;

    float total = 0;
    for (int from = s.from; from < s.to; from += CHUNK) {
        if (!kept) fetch(from);
#pragma unroll
        for (int n = 0; n < VALUES; n++) total += x[n] = expf(x[n] - base);
    }
    total = row_sum<LANES>(row, total);
    float factor = total == 0 ? 0 : 1 / total;

    for (int from = s.from; from < s.to; from += CHUNK) {
        if (!kept) fetch(from);
#pragma unroll
        for (int n = 0; n < VALUES; n++) {
            int j = from + n * LANES;
            float value = (j >= s.first) & (j < s.stop) ? (kept ? x[n] : expf(x[n] - base)) * factor : 0;
            if ((j >= s.j) & (j < s.end)) out[start + j * step] = value;
        }
    }
}

// scale · P ∘ (G − Σ P·G), row by row.
template <int LANES>
DEVICE void backward(const Params& params, const float* __restrict__ p, const float* __restrict__ g, float* __restrict__ ga) {
    const int CHUNK = LANES * VALUES;
    Row row = row_of<LANES>(params.flags);
    Slots s = slots_of<LANES>(params, row);
    int start = row_start(params, s, params.flags), step = row_step(params, params.flags);
    int g_start = row_start(params, s, params.flags >> 2), g_step = row_step(params, params.flags >> 2);
    bool kept = s.to - s.from <= CHUNK;
    float x[VALUES], y[VALUES]; // 0 where there is no entry

    auto fetch = [&](int from) {
#pragma unroll
        for (int n = 0; n < VALUES; n++) {
            int j = from + n * LANES;
            x[n] = y[n] = 0;
            if ((j >= s.first) & (j < s.stop)) {
                x[n] = p[start + j * step];
                y[n] = g[g_start + j * g_step];
            }
        }
    };
    float mean = 0;
    for (int from = s.from; from < s.to; from += CHUNK) {
        fetch(from);
#pragma unroll
        for (int n = 0; n < VALUES; n++) mean = fmaf(x[n], y[n], mean);
    }
    mean = row_sum<LANES>(row, mean);
    for (int from = s.from; from < s.to; from += CHUNK) {
        if (!kept) fetch(from);
#pragma unroll
        for (int n = 0; n < VALUES; n++) {
            int j = from + n * LANES;
            float value = (j >= s.first) & (j < s.stop) ? params.scale * x[n] * (y[n] - mean) : 0;
            if ((j >= s.j) & (j < s.end)) ga[start + j * step] = value;
        }
    }
}

#define SOFTMAX(lanes)                                                                                                               \
    KERNEL(128) banded_softmax_##lanes(PARAMS params, const float* __restrict__ a, float* __restrict__ out) {                        \
        softmax<lanes>(params, a, out);                                                                                              \
    }                                                                                                                                \
    KERNEL(128) banded_softmax_backward_##lanes(PARAMS params, const float* __restrict__ p, const float* __restrict__ g,             \
                                                float* __restrict__ ga) {                                                            \
        backward<lanes>(params, p, g, ga);                                                                                           \
    }
SOFTMAX(4)
SOFTMAX(8)
SOFTMAX(16)
SOFTMAX(32)
