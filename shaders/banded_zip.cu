// out[i,j] = f(a[i,j], b[i,j], c[i,j]), each operand read as its fill outside its band.

#include "shared/early.cuh"
#include "shared/stretch.cuh"

struct Params {
    uint batch;
    int rows, cols;
    uint flags; // two bits each for a, b, c, out: columns layout, dense
    int a_lower, a_upper;
    int b_lower, b_upper;
    int c_lower, c_upper;
    int out_lower, out_upper;
    float a_fill, b_fill, c_fill, out_fill;
};

// The expression, which the host appends, and the functions that it calls.
extern "C" __device__ float f(float a, float b, float c);
extern "C" __device__ float expr_exp(float x) { return expf(x); }
extern "C" __device__ float expr_ln(float x) { return logf(x); }
extern "C" __device__ float expr_tanh(float x) { return tanhf(x); }
extern "C" __device__ float expr_sin(float x) { return sinf(x); }
extern "C" __device__ float expr_cos(float x) { return cosf(x); }

KERNEL(256) banded_zip(PARAMS p, const float* __restrict__ a_values, const float* __restrict__ b_values,
                       const float* __restrict__ c_values, float* __restrict__ out_values) {
    after_previous();
    auto view = [&](int lower, int upper, uint flags) { return View{p.rows, p.cols, lower + upper, lower, upper, flags}; };
    View result = view(p.out_lower, p.out_upper, p.flags >> 6);
    bool columns = result.flags & 1;
    Stretch s = stretch_of(result, p.batch);
    Line a = line_of(view(p.a_lower, p.a_upper, p.flags), s.batch, s.first, columns);
    Line b = line_of(view(p.b_lower, p.b_upper, p.flags >> 2), s.batch, s.first, columns);
    Line c = line_of(view(p.c_lower, p.c_upper, p.flags >> 4), s.batch, s.first, columns);
    Line out = line_of(result, s.batch, s.first, columns);
    for (int from = s.from; from < s.to; from += AT_ONCE * s.lanes) {
        float x[AT_ONCE], y[AT_ONCE], z[AT_ONCE];
#pragma unroll
        for (int n = 0; n < AT_ONCE; n++) {
            int k = from + n * s.lanes;
            if (k < s.to) {
                x[n] = value_at(a_values, a, k, p.a_fill);
                y[n] = value_at(b_values, b, k, p.b_fill);
                z[n] = value_at(c_values, c, k, p.c_fill);
            }
        }
#pragma unroll
        for (int n = 0; n < AT_ONCE; n++) {
            int k = from + n * s.lanes;
            if (k < s.to) out_values[out.start + k] = has(out, k) ? f(x[n], y[n], z[n]) : p.out_fill;
        }
    }
}
