// Which k wins under (max, +) and (max, ×). Padding is a value that no comparison takes; where the data
// hold one that it cannot be told from, entries are computed again one by one.
#pragma once

#include "kernel.cuh"

struct Max {
    DEVICE float pad() { return minus_infinity(); }
    DEVICE float term(float x, float y) { return x + y; }
    // +∞ may meet a -∞ that is data.
    DEVICE bool taints(float value) { return isnan(value) | (value == -minus_infinity()); }

    // What the winning term's gradient is multiplied by for one factor, given the other, and whether
    // the other matters.
    static constexpr bool FACTOR = false;
    DEVICE float slope(float) { return 1; }
};

struct ProdMax {
    DEVICE float pad() { return not_a_number(); }
    DEVICE float term(float x, float y) { return x * y; }
    // A NaN or an infinity (0 · ∞) in the data would be dropped like the padding.
    DEVICE bool taints(float value) { return !isfinite(value); }

    static constexpr bool FACTOR = true;
    DEVICE float slope(float other) { return other; }
};
