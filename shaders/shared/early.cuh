// Kernels that come one after the other without a gap.
#pragma once

#include "kernel.cuh"

// An entry that begins with this may be launched while the kernel before still runs, and waits here until that has ended; then
// the next one may come. No thread touches memory, or ends, before. It's a place in the PTX, where src/device/cuda/modules.rs puts the
// instructions, which GPUs before Hopper lack.
DEVICE void after_previous() {
#ifdef __CUDACC__
    asm volatile("// after the kernel before" ::: "memory");
#endif
}
