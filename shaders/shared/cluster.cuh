// Two blocks of threads on neighbouring multiprocessors that bring parts of an array into each other's shared
// memory: the array's boxes, copied by one instruction each, and barriers that both arrive at. Only in what is
// compiled for sm_90a.
//
// A place in shared memory is the same in both blocks, since they run one entry.
#pragma once

#include "hopper.cuh"

#ifdef HOPPER
#define PAIRS __cluster_dims__(2, 1, 1)

// Which of the two this block is.
DEVICE uint rank_in_pair() { return blockIdx.x % 2; }

// Until all threads of both are here. What they did to shared memory before, all see after.
DEVICE void pair_sync() { asm volatile("barrier.cluster.arrive;\nbarrier.cluster.wait;" ::: "memory"); }

// As the last thing: neither ends while the other may still arrive at its barriers.
DEVICE void pair_end() { asm volatile("barrier.cluster.arrive.relaxed;\nbarrier.cluster.wait;" ::: "memory"); }

// After this thread's barrier_start: they may be used by what comes after a pair_sync, copies too.
DEVICE void barriers_started() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

// Arrives at the same barrier of a block of the pair.
DEVICE void barrier_arrive_in(Barrier& barrier, uint rank) {
    asm volatile("{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %0, %1;\nmbarrier.arrive.shared::cluster.b64 _, [there];\n}"
                 ::"r"(barrier_address(barrier)), "r"(rank) : "memory");
}

// Arrives, and has the phase last until so many bytes more have been copied.
DEVICE void barrier_arrive_expecting(Barrier& barrier, uint bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(barrier_address(barrier)), "r"(bytes) : "memory");
}

// An array of halves in lines, as the driver describes it to what copies boxes of it; a parameter of the entry.
struct __align__(64) TensorMap {
    unsigned long long words[16];
};
#define TENSOR_MAP const __grid_constant__ TensorMap

// Which arrays the maps behind an entry's pointers are of, for the backend, three words each: the input, the word of
// Params that has the length of its lines, and how many lines a box has, 64 halves of each. A box lies in shared memory
// as panel.cuh says of lines of 128 bytes.
#define TENSOR_MAPS(entry, ...) extern "C" __device__ const unsigned entry##_maps[] = {__VA_ARGS__};
#define LINES(input, length, box) input, (unsigned)(__builtin_offsetof(Params, length) / 4), box

DEVICE void prefetch_map(const TensorMap& map) { asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory"); }

// Copies the box that begins at this half of this line; the bytes count for `full`. Lines beyond the last are 0.
DEVICE void copy_box(uint to, const TensorMap& map, uint half, uint line, Barrier& full) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
                 ::"r"(to), "l"(&map), "r"(half), "r"(line), "r"(barrier_address(full)) : "memory");
}

// The same into both blocks, for the same barrier of each.
DEVICE void copy_box_to_both(uint to, const TensorMap& map, uint half, uint line, Barrier& full) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;"
                 ::"r"(to), "l"(&map), "r"(half), "r"(line), "r"(barrier_address(full)), "h"((unsigned short)3) : "memory");
}
#endif
