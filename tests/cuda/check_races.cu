// Kernels that check.py runs, each right and with one thing left out that its threads need, so that two of them come to a place in shared
// memory in no order. All write `in` to shared memory and read what another thread has written there.

#include "shared/halves.cuh"
#include "shared/hopper.cuh"

struct Params {
    uint count;
};

#define RACE(threads, name)                                                                                                       \
    template <bool RIGHT>                                                                                                         \
    DEVICE void name(const float* __restrict__ in, float* __restrict__ out, uint t);                                              \
    KERNEL(threads) race_##name##_right(PARAMS params, const float* __restrict__ in, float* __restrict__ out) {                   \
        name<true>(in + blockIdx.x * threads, out + blockIdx.x * threads, threadIdx.x);                                           \
    }                                                                                                                             \
    KERNEL(threads) race_##name##_wrong(PARAMS params, const float* __restrict__ in, float* __restrict__ out) {                   \
        name<false>(in + blockIdx.x * threads, out + blockIdx.x * threads, threadIdx.x);                                          \
    }                                                                                                                             \
    template <bool RIGHT>                                                                                                         \
    DEVICE void name(const float* __restrict__ in, float* __restrict__ out, uint t)

RACE(64, block) {
    __shared__ float values[64];
    values[t] = in[t];
    if (RIGHT) __syncthreads();
    out[t] = values[63 - t];
}

RACE(64, write_after_read) {
    __shared__ float values[64];
    values[t] = in[t];
    __syncthreads();
    float other = values[63 - t];
    if (RIGHT) __syncthreads();
    values[t] = other + 1;
    __syncthreads();
    out[t] = values[t] - 1;
}

RACE(64, warp) {
    __shared__ float values[64];
    values[t] = in[t];
    if (RIGHT) __syncwarp();
    out[t] = values[t ^ 31];
}

RACE(64, other_warp) {
    __shared__ float values[64];
    values[t] = in[t];
    if (RIGHT) __syncthreads();
    else __syncwarp();
    out[t] = values[t ^ 32];
}

RACE(64, half_warp) {
    __shared__ float values[64];
    uint lane = t % 32;
    out[t] = in[t];
    if (lane >= 16) return;
    values[t] = in[t];
    __syncwarp(RIGHT ? 0xffff : lane < 8 ? 0xff : 0xff00);
    out[t] = values[t ^ 8];
}

RACE(64, shuffle) {
    __shared__ float values[64];
    values[t] = in[t];
    float none = __shfl_sync(~0u, 0.0f, 0);
    if (RIGHT) __syncwarp();
    out[t] = values[t ^ 1] + none;
}

RACE(64, vote) {
    __shared__ float values[64];
    values[t] = in[t];
    bool any = __any_sync(~0u, in[t] < 0);
    if (RIGHT) __syncwarp();
    out[t] = any ? 0 : values[t ^ 1];
}

RACE(64, copy_wait) {
    __shared__ float values[64];
    cp_async_4(values + t, in + t);
    cp_async_commit();
    if (RIGHT) cp_async_wait<0>();
    out[t] = values[t];
}

RACE(64, copy_older) {
    __shared__ float values[128];
    for (uint n = 0; n < 2; n++) {
        cp_async_4(values + n * 64 + t, in + t);
        cp_async_commit();
    }
    cp_async_wait<1>();
    out[t] = values[RIGHT ? t : 64 + t];
    cp_async_wait<0>();
}

RACE(64, copy_block) {
    __shared__ float values[64];
    cp_async_4(values + t, in + t);
    cp_async_commit();
    cp_async_wait<0>();
    if (RIGHT) __syncthreads();
    out[t] = values[63 - t];
}

RACE(64, copy_over) {
    __shared__ float values[64];
    values[t] = in[t];
    __syncthreads();
    out[t] = values[63 - t];
    if (RIGHT) __syncthreads();
    cp_async_4(values + t, in + t);
    cp_async_commit();
    cp_async_wait<0>();
}

RACE(96, part) {
    __shared__ float values[96];
    values[t] = in[t];
    if (RIGHT) part_sync(1, 96);
    else if (t < 64) part_sync(1, 64);
    out[t] = values[95 - t];
}

// The first warp writes, and says so to the second.
template <bool SYNC, bool WAIT, bool START>
DEVICE void handed_over(const float* in, float* out, uint t) {
    __shared__ float values[32];
    __shared__ Barrier full;
    if (t == 0) barrier_start(full, 1);
    if (START) __syncthreads();
    if (t < 32) {
        values[t] = in[t];
        if (SYNC) __syncwarp();
        if (t == 0) barrier_arrive(full);
        out[t] = in[t];
    } else {
        if (WAIT) barrier_wait(full, 0);
        out[t] = values[63 - t];
    }
}
RACE(64, wait) { handed_over<true, RIGHT, true>(in, out, t); }
RACE(64, arrive) { handed_over<RIGHT, true, true>(in, out, t); }
RACE(64, start) { handed_over<true, true, RIGHT>(in, out, t); }

// From the first warp to the third, by way of the second.
RACE(96, chain) {
    __shared__ float values[32];
    __shared__ Barrier first, second;
    if (t == 0) barrier_start(first, 1), barrier_start(second, 1);
    __syncthreads();
    if (t < 32) {
        values[t] = in[t];
        __syncwarp();
        if (t == 0) barrier_arrive(first);
    } else if (t < 64) {
        if (RIGHT || t > 32) barrier_wait(first, 0);
        if (RIGHT) __syncwarp();
        if (t == 32) barrier_arrive(second);
    } else {
        barrier_wait(second, 0);
    }
    out[t] = t < 64 ? in[t] : values[95 - t];
}

// One place again and again, for the second warp to read before the first may write it anew.
RACE(64, ring) {
    __shared__ float values[32];
    __shared__ Barrier full, empty;
    if (t == 0) barrier_start(full, 1), barrier_start(empty, 1);
    __syncthreads();
    for (uint n = 0; n < 4; n++) {
        if (t < 32) {
            barrier_wait(empty, n % 2 ^ 1);
            values[t] = in[t] + n;
            __syncwarp();
            if (t == 0) barrier_arrive(full);
        } else {
            barrier_wait(full, n % 2);
            if (!RIGHT && t == 32) barrier_arrive(empty);
            out[t] = values[63 - t] - n;
            __syncwarp();
            if (RIGHT && t == 32) barrier_arrive(empty);
        }
    }
    if (t < 32) out[t] = in[t];
}

RACE(64, atomic) {
    __shared__ uint count;
    if (t == 0) count = 0;
    __syncthreads();
    atomicAdd(&count, 1);
    if (RIGHT) __syncthreads();
    out[t] = count ? in[t] : 0;
}

// Neighbours write half a word each.
RACE(64, halves) {
    __shared__ __half values[128];
    values[t] = __float2half_rn(in[t]);
    if (RIGHT) values[t + 64] = values[t];
    else values[(t + 65) % 128] = __float2half_rn(0);
    __syncwarp();
    out[t] = __half2float(values[t ^ 1]);
}

RACE(32, matrix) {
    __shared__ __align__(16) float values[32 * 4];
    uint d[4];
    for (uint n = 0; n < 4; n++) values[t * 4 + n] = in[t];
    if (RIGHT) __syncwarp();
    ldmatrix_x4(d, values + t * 4);
    out[t] = d[0] == ~0u ? 0 : in[t];
}
