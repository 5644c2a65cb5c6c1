// out[i,j] = f(a[i,j], b[i,j], c[i,j]), each operand read as its fill outside its band.

#include "shared/view.cuh"

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

DEVICE float value_at(const float* __restrict__ values, const View& v, int batch, Entry at, float fill) {
    return in_band(at.i, at.j, v.lower, v.upper) ? values[view_index(v, batch, at)] : fill;
}

KERNEL(256) banded_zip(PARAMS p, const float* __restrict__ a_values, const float* __restrict__ b_values,
                       const float* __restrict__ c_values, float* __restrict__ out_values) {
    View a = {p.rows, p.cols, p.a_lower + p.a_upper, p.a_lower, p.a_upper, p.flags};
    View b = {p.rows, p.cols, p.b_lower + p.b_upper, p.b_lower, p.b_upper, p.flags >> 2};
    View c = {p.rows, p.cols, p.c_lower + p.c_upper, p.c_lower, p.c_upper, p.flags >> 4};
    View out = {p.rows, p.cols, p.out_lower + p.out_upper, p.out_lower, p.out_upper, p.flags >> 6};
    uint first = first_slot(), end = p.batch * view_len(out);
    Slot slot = slot_at(out, first), step = slot_at(out, 256);
    bool inside[SLOTS];
    float x[SLOTS], y[SLOTS], z[SLOTS];
#pragma unroll
    for (int n = 0; n < SLOTS; n++) {
        Entry at = slot_entry(out, slot);
        inside[n] = (first + n * 256 < end) & view_has(out, at);
        if (inside[n]) {
            x[n] = value_at(a_values, a, slot.batch, at, p.a_fill);
            y[n] = value_at(b_values, b, slot.batch, at, p.b_fill);
            z[n] = value_at(c_values, c, slot.batch, at, p.c_fill);
        }
        slot = slot_after(out, slot, step);
    }
#pragma unroll
    for (int n = 0; n < SLOTS; n++) {
        if (first + n * 256 < end) out_values[first + n * 256] = inside[n] ? f(x[n], y[n], z[n]) : p.out_fill;
    }
}
