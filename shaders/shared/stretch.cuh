// Results that are written slot by slot, in storage order. A line of storage is cut into stretches of at
// most 16 slots for each of `lanes` threads, neighbours writing neighbours, so that finding one's place is
// paid for once. `slot_groups` in src/ops/common.rs counts the blocks of 256 threads.
#pragma once

#include "view.cuh"

const int SLOTS = 16; // of a thread
const int AT_ONCE = 5; // of them, whose loads are under way together

// A thread's slots of a line: from, from + lanes, … below `to`.
struct Stretch {
    int batch;
    int from, to, lanes;
    Entry first; // what the line's slot 0 holds
};

DEVICE Stretch stretch_of(const View& out, uint batch) {
    int width = out.flags & 2 ? out.stride : out.stride + 1;
    uint lines = out.flags & 1 ? out.cols : out.rows;
    int log = 0;
    while ((log < 5) & (SLOTS << log < width)) log++;
    uint line = (blockIdx.x << (8 - log)) + (threadIdx.x >> log);
    int start = 0, end = width;
    if (width > SLOTS << log) {
        int parts = (width - 1) / (SLOTS * 32) + 1;
        int length = (width - 1) / parts + 1;
        start = line % parts * length;
        end = min(start + length, width);
        line /= parts;
    }
    Stretch s;
    s.batch = line / lines;
    s.lanes = 1 << log;
    s.from = start + (threadIdx.x & (s.lanes - 1));
    s.to = s.batch < (int)batch ? end : 0;
    s.first = view_entry(out, line % lines, 0);
    return s;
}

// A matrix along the result's line: what belongs to slot k is at start + k · step, stored for `from` <= k < `to`.
struct Line {
    int start, step, from, to;
};

// `first` is the entry that belongs to slot 0; `columns` says whether the result's line goes down a column.
DEVICE Line line_of(const View& v, int batch, Entry first, bool columns) {
    int outer = columns ? first.j : first.i, inner = columns ? first.i : first.j;
    int before = columns ? v.upper : v.lower, after = columns ? v.lower : v.upper;
    bool real = (outer >= 0) & (outer < (columns ? v.cols : v.rows));
    Line line;
    line.start = view_index(v, batch, first);
    line.step = columns == (v.flags & 1) ? 1 : v.stride;
    line.from = max(0, outer - before) - inner;
    line.to = real ? min(columns ? v.rows : v.cols, outer + after + 1) - inner : line.from;
    return line;
}

DEVICE bool has(const Line& line, int k) { return (k >= line.from) & (k < line.to); }

DEVICE float value_at(const float* __restrict__ values, const Line& line, int k, float fill) {
    return has(line, k) ? values[line.start + k * line.step] : fill;
}
