// One operand as kernels see it, and its slots in storage order; `cpu::View` is the same in Rust.
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

DEVICE bool view_has(const View& v, Entry at) {
    return (at.i >= 0) & (at.i < v.rows) & (at.j >= 0) & (at.j < v.cols);
}

DEVICE bool view_stores(const View& v, Entry at) { return view_has(v, at) & in_band(at.i, at.j, v.lower, v.upper); }

// A slot: its matrix, its line there, and its place in the line.
struct Slot {
    uint batch, line, place;
};

DEVICE uint line_len(const View& v) { return v.flags & 2 ? v.stride : v.stride + 1; }
DEVICE uint view_lines(const View& v) { return v.flags & 1 ? v.cols : v.rows; }

// The slot of this number in the whole batch.
DEVICE Slot slot_at(const View& v, uint number) {
    uint line = number / line_len(v);
    return {line / view_lines(v), line % view_lines(v), number % line_len(v)};
}

// The slot that is `step` further on: digits are added, which is cheaper than to divide again.
DEVICE Slot slot_after(const View& v, Slot slot, Slot step) {
    Slot next = {slot.batch + step.batch, slot.line + step.line, slot.place + step.place};
    if (next.place >= line_len(v)) {
        next.place -= line_len(v);
        next.line++;
    }
    if (next.line >= view_lines(v)) {
        next.line -= view_lines(v);
        next.batch++;
    }
    return next;
}

DEVICE Entry slot_entry(const View& v, Slot slot) {
    bool columns = v.flags & 1;
    int outer = slot.line;
    int inner = (int)slot.place + (v.flags & 2 ? 0 : outer - (columns ? v.upper : v.lower));
    return columns ? Entry{inner, outer} : Entry{outer, inner};
}

// Kernels that write each slot once run in blocks of 256 threads, each of which takes SLOTS, 256 apart:
// neighbours write neighbours, and the loads of all its slots are under way together.
const int SLOTS = 4;

DEVICE uint first_slot() { return blockIdx.x * (256 * SLOTS) + threadIdx.x; }
