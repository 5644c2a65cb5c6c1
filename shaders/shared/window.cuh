// Windowed attention: what every kernel gets, and which query attends to which key.
#pragma once

#include "kernel.cuh"

struct Params {
    uint batch;        // query matrices: batch entries × heads
    uint group;        // query matrices that share one matrix of keys and values
    int rows;          // queries
    int keys;
    int depth;         // of queries and keys
    int value_depth;
    int offset;        // query i stands at the position of key i + offset
    int lower;         // steps of the window before that position, and after it
    int upper;
    int dilation;      // keys to a step
    uint globals;      // positions that attend everywhere and are attended by all
    uint lengths;      // where `positions` tells the keys of each matrix that are no padding; NONE: all
    int first_key;     // the position of key 0, if only a part of the keys is here
    float scale;
    uint tiles;        // blocks for one matrix
};

#define NONE 0xffffffffu
#define LOG2_E 1.4426950408889634f

DEVICE int div_up(int a, int b) { return (max(a, 0) + b - 1) / b; }

// The rest of a division that rounds down.
DEVICE int rest(int a, int b) {
    int r = a % b;
    return r < 0 ? r + b : r;
}

// Keys of a matrix that are no padding.
DEVICE int key_end(const Params& params, const uint* positions, int matrix) {
    if (params.lengths == NONE) return params.keys;
    return clamp((int)positions[params.lengths + matrix] - params.first_key, 0, params.keys);
}

// Whether key j lies in the window of query i. It is attended too if its position, or the query's, is
// global.
DEVICE bool in_window(const Params& params, int i, int j) {
    int away = j - i - params.offset;
    int steps = away / params.dilation;
    return (steps * params.dilation == away) & (steps >= -params.lower) & (steps <= params.upper);
}
