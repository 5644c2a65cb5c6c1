// The one index formula; see band.wgsl, which this follows line by line.
#pragma once

#include "kernel.cuh"

DEVICE int band_index(int i, int j, int stride, int lower, int upper, uint flags) {
    bool columns = flags & 1;
    int origin = flags & 2 ? 0 : columns ? upper : lower;
    return (columns ? j : i) * stride + (columns ? i : j) + origin;
}

// Values in one matrix.
DEVICE int band_len(int rows, int cols, int stride, uint flags) {
    return (flags & 1 ? cols : rows) * (flags & 2 ? stride : stride + 1);
}

DEVICE bool in_band(int i, int j, int lower, int upper) {
    return (j - i >= -lower) & (j - i <= upper);
}
