// One operand as kernels see it; `cpu::View` is the same in Rust.
#pragma once

#include "band.cuh"

struct View {
    int rows, cols, stride, lower, upper;
    uint flags; // bit 0: columns layout, bit 1: dense
};

// Row and column, which may lie outside the matrix.
struct Entry {
    int i, j;
};

DEVICE int view_len(const View& v) { return band_len(v.rows, v.cols, v.stride, v.flags); }

// Where an entry of matrix `batch` is.
DEVICE int view_index(const View& v, int batch, Entry at) {
    return batch * view_len(v) + band_index(at.i, at.j, v.stride, v.lower, v.upper, v.flags);
}

// The entry that slot `place` of a line of storage holds.
DEVICE Entry view_entry(const View& v, int line, int place) {
    bool columns = v.flags & 1;
    int inner = place + (v.flags & 2 ? 0 : line - (columns ? v.upper : v.lower));
    return columns ? Entry{inner, line} : Entry{line, inner};
}
