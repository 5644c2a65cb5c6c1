// The block rows of some neighbouring slices of V together, for products on tensor cores. A slice is
// SLICE columns of V inside one block column. The rows are looked at a window at a time.
#pragma once

#include "block_params.cuh"
#include "panel.cuh"

constexpr uint STEPS = 4, TERMS = 16 * STEPS; // of a stage; a step is 16 terms
constexpr uint WINDOW = 128;                  // block rows

// Where in V's values the slices' parts of a block row's blocks begin, −1 where there is no block.
template <uint SLICES>
struct __align__(SLICES * 4) Row {
    int starts[SLICES];
};

// The block rows of a window that some slice has, one after another: for each its row in the window and
// the slices that have a block; and all rows of the window.
template <uint SLICES>
struct List {
    Row<SLICES> window[WINDOW];
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
    for (uint n = local; n < SLICES * WINDOW; n += THREADS) list.window[n / SLICES].starts[n % SLICES] = -1;
    sync();
    for (uint n = cursors.next[slice] + local % SHARE; n < cursors.end[slice]; n += SHARE) {
        uint entry = p.columns + 1 + n * 2;
        uint there = index[entry] - row;
        if (there >= WINDOW) break;
        list.window[there].starts[slice] = index[entry + 1] * p.depth * p.width + cursors.offset[slice];
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
            for (uint own = 0; own < SLICES; own++) mask |= uint(list.window[n].starts[own] >= 0) << own;
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

// From a step to the same of the next stage.
struct Pace {
    uint rows, steps, in_block;
};

DEVICE Pace pace_of(uint in_block) { return Pace{STEPS / in_block, STEPS % in_block, in_block}; }

DEVICE Step first(Pace pace, uint step) { return Step{step / pace.in_block, step % pace.in_block}; }

DEVICE Step next(Pace pace, Step at) {
    at.row += pace.rows;
    at.step += pace.steps;
    if (at.step >= pace.in_block) {
        at.step -= pace.in_block;
        at.row++;
    }
    return at;
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
