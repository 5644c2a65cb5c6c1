// How the values of an operand get into shared memory, SIZE at once (4, or 1 where alignment or layout
// forbid 4): first the copy, and once it is there what makes it ready to be multiplied.
#pragma once

#include "tensor.cuh"

// Whether a line's values may be copied 4 at once from an aligned place on.
DEVICE bool has_vectors(const float* values, int stride, int len) { return !(((size_t)values & 15) | (stride & 3) | (len & 3)); }

// Values `from`[first .. end) into the same of slot[0 .. SIZE); padding if there is none. What else is
// copied is cleared when the values get ready.
template <int SIZE>
DEVICE void bring_values(float* slot, const float* from, int first, int end) {
    if ((first < SIZE) & (end > 0) & (first < end)) {
        if (SIZE == 4) cp_async_16(slot, from);
        else cp_async_4(slot, from);
    } else {
        if (SIZE == 4) *(float4*)slot = make_float4(ring_pad(), ring_pad(), ring_pad(), ring_pad());
        else *slot = ring_pad();
    }
}

// Whether values of the slot are not to be used as they were copied.
template <int SIZE>
DEVICE bool needs_ready(int first, int end) {
    return RING_LOOKS | (SIZE > 1 & ((first > 0) | (end < SIZE)));
}

// The thread that brought the values: padding beside them, and the ring's own work. Neighbours' scales are
// scale_step apart. Returns whether padding can no longer be told from a value.
template <int SIZE>
DEVICE bool ready_values(float* slot, int first, int end, const float* scale, int scale_step) {
    bool taints = false;
    if ((first >= SIZE) | (end <= 0) | (first >= end)) return taints;
#pragma unroll
    for (int e = 0; e < SIZE; e++) {
        bool ok = (e >= first) & (e < end);
        if (SIZE > 1 & !ok) slot[e] = ring_pad();
        if (RING_LOOKS & ok) {
            taints |= ring_taints(slot[e]);
            if (RING_SCALES) slot[e] = ring_stage(slot[e], scale[e * scale_step]);
        }
    }
    return taints;
}
