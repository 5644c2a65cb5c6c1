// The block rows of some neighbouring slices of V together, for products on tensor cores. A slice is
// SLICE columns of V inside one block column. The rows are looked at a window at a time.
#pragma once

#include "block_params.cuh"

constexpr uint STEPS = 4, TERMS = 16 * STEPS; // of a stage; a step is 16 terms
constexpr uint WINDOW = 128;                  // block rows

// The block rows of a window that some slice has, one after another: for each its row in the window and
// the slices that have a block; and of each slice and row of the window where in V's values the slice's
// part of the block begins, or −1.
template <uint SLICES>
struct List {
    int starts[SLICES][WINDOW];
    unsigned char rows[WINDOW], masks[WINDOW];
    uint count;
};

// How far the columns of the slices have been gone along.
template <uint SLICES>
struct Cursors {
    uint next[SLICES], end[SLICES], taken[SLICES];
    uint offset[SLICES]; // of a slice in its blocks
};

// To the first block row, for slices from `slice` on, of which there are `all`. `in_block` slices are
// side by side in a block, `apart` values from each other.
template <uint SLICES>
DEVICE void start(Cursors<SLICES>& cursors, const Params& p, const uint* index, uint slice, uint all, uint in_block, uint apart, uint local) {
    if (local >= SLICES) return;
    uint own = slice + local;
    cursors.next[local] = own < all ? index[own / in_block] : 0;
    cursors.end[local] = own < all ? index[own / in_block + 1] : 0;
    cursors.taken[local] = 0;
    cursors.offset[local] = own % in_block * apart;
}

// Lists the window of block rows from `row` on. All THREADS that call it wait for each other in `sync`,
// and should before it.
template <uint THREADS, uint SLICES, class Sync>
DEVICE void list_rows(List<SLICES>& list, Cursors<SLICES>& cursors, const Params& p, const uint* index, uint row, uint local, Sync sync) {
    constexpr uint SHARE = THREADS / SLICES;
    const uint slice = local / SHARE;
    for (uint n = local; n < SLICES * WINDOW; n += THREADS) list.starts[n / WINDOW][n % WINDOW] = -1;
    sync();
    for (uint n = cursors.next[slice] + local % SHARE; n < cursors.end[slice]; n += SHARE) {
        uint entry = p.columns + 1 + n * 2;
        uint there = index[entry] - row;
        if (there >= WINDOW) break;
        list.starts[slice][there] = index[entry + 1] * p.depth * p.width + cursors.offset[slice];
        atomicAdd(&cursors.taken[slice], 1);
    }
    sync();
    if (local < SLICES) {
        cursors.next[local] += cursors.taken[local];
        cursors.taken[local] = 0;
    }
    if (local < 32) {
        uint count = 0;
        for (uint n = local; n < WINDOW; n += 32) {
            uint mask = 0;
#pragma unroll
            for (uint own = 0; own < SLICES; own++) mask |= uint(list.starts[own][n] >= 0) << own;
            uint some = __ballot_sync(0xffffffff, mask != 0);
            uint at = count + __popc(some & ((1u << local) - 1));
            if (mask != 0) {
                list.rows[at] = n;
                list.masks[at] = mask;
            }
            count += __popc(some);
        }
        if (local == 0) list.count = count;
    }
    sync();
}

// A step along the list: the row, and the step inside its blocks.
struct Step {
    uint row, step;
};

DEVICE Step advance(Step step, uint steps, uint in_block) {
    step.step += steps;
    while (step.step >= in_block) {
        step.step -= in_block;
        step.row++;
    }
    return step;
}

// Panels in shared memory: lines of 128 bytes or of 64, their 16-byte pieces permuted so that those above
// each other are in different banks, as matrix units want them.
template <uint LINE>
DEVICE uint spot(uint line, uint piece) {
    return line * LINE + (LINE == 128 ? piece ^ line % 8 : piece ^ line / 2 % 4) * 16;
}

// A stage's panel of a slice of V: for ALONG [output][term], else [term][output], 64 outputs side by side
// and the next 64 behind.
template <uint SLICE, bool ALONG>
struct Panel {
    static constexpr uint BYTES = SLICE * TERMS * 2;
    static constexpr uint LINE = ALONG || SLICE >= 64 ? 128 : 64; // bytes
    static constexpr uint PIECES = LINE / 16;
    static constexpr uint LINES = BYTES / LINE;
    static constexpr uint STEP = ALONG ? 32 : 16 * LINE; // bytes from step to step
};
