// C[i,j] = A[i + di, j + dj], or the fill where A does not store it.

#include "shared/view.cuh"

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

KERNEL(256) banded_move(PARAMS params, const uint* __restrict__ values, uint* __restrict__ out) {
    View a = {params.a_rows, params.a_cols, params.a_stride, params.a_lower, params.a_upper, params.flags};
    View c = {params.rows, params.cols, params.c_stride, params.c_lower, params.c_upper, params.flags >> 2};
    uint first = first_slot(), end = params.batch * view_len(c);
    Slot slot = slot_at(c, first), step = slot_at(c, 256);
    uint words[SLOTS];
#pragma unroll
    for (int n = 0; n < SLOTS; n++) {
        Entry to = slot_entry(c, slot);
        Entry from = {to.i + params.di, to.j + params.dj};
        words[n] = params.fill;
        if ((first + n * 256 < end) & view_has(c, to) & view_stores(a, from)) words[n] = values[view_index(a, slot.batch, from)];
        slot = slot_after(c, slot, step);
    }
#pragma unroll
    for (int n = 0; n < SLOTS; n++) {
        if (first + n * 256 < end) out[first + n * 256] = words[n];
    }
}
