// Rows of a matrix, shared out to LANES threads each (4 to 32, a power of two), 128 / LANES rows to a block of 128.
// In rows layout neighbouring threads take neighbouring entries of a row. In columns layout they take
// neighbouring rows, and the rows of a warp go along the columns in step, each leaving out what is not in
// its band.
#pragma once

#include "band.cuh"

struct Row {
    uint line; // of all rows of the batch
    int lane;
    int ahead, behind; // rows of the warp before this one and after it
    int apart;         // threads from lane to lane
};

template <int LANES> DEVICE Row row_of(uint flags) {
    const int ROWS = 32 / LANES; // of a warp
    bool columns = flags & 1;
    int thread = threadIdx.x % 32;
    int nth = columns ? thread % ROWS : thread / LANES;
    Row row;
    row.line = (blockIdx.x * 4 + threadIdx.x / 32) * ROWS + nth;
    row.lane = columns ? thread / ROWS : thread % LANES;
    row.ahead = columns ? nth : 0;
    row.behind = columns ? ROWS - 1 - nth : 0;
    row.apart = columns ? ROWS : 1;
    return row;
}

// Over all lanes of a row, in the same order every time.
template <int LANES> DEVICE float row_sum(const Row& row, float x) {
#pragma unroll
    for (int n = 1; n < LANES; n *= 2) x += __shfl_xor_sync(0xffffffff, x, n * row.apart);
    return x;
}

template <int LANES> DEVICE float row_max(const Row& row, float x) {
#pragma unroll
    for (int n = 1; n < LANES; n *= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, n * row.apart));
    return x;
}
