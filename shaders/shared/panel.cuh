// Panels of halves in shared memory, as matrix units want them: lines of 128, 64 or 32 bytes, their 16-byte
// pieces permuted so that those above each other are in different banks.
#pragma once

#include "kernel.cuh"

template <uint LINE>
DEVICE uint spot(uint line, uint piece) {
    return line * LINE + (piece ^ line / (128 / LINE) % (LINE / 16)) * 16;
}
