// Kernels that check.py runs, on the emulation or on a GPU, to compare both with what CUDA promises.

#include "shared/halves.cuh"

struct Params {
    uint count;
};

// The sum of 256 values: shuffles in each warp, then one warp over what the others left.
KERNEL(256) check_sum(PARAMS params, const float* __restrict__ in, float* __restrict__ out) {
    __shared__ float sums[8];
    uint at = blockIdx.x * 256 + threadIdx.x;
    float sum = at < params.count ? in[at] : 0;
    for (int by = 16; by; by /= 2) sum += __shfl_xor_sync(~0u, sum, by);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x >= 32) return;
    sum = threadIdx.x < 8 ? sums[threadIdx.x] : 0;
    for (int by = 4; by; by /= 2) sum += __shfl_down_sync(~0u, sum, by);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

// Each block reversed, by way of shared memory; without the barrier that takes the emulation's word for it.
template <bool barrier>
DEVICE void reverse(const float* in, float* out) {
    __shared__ float values[128];
    values[threadIdx.x] = in[blockIdx.x * 128 + threadIdx.x];
    if (barrier) __syncthreads();
    out[blockIdx.x * 128 + threadIdx.x] = values[127 - threadIdx.x];
}
KERNEL(128) check_reverse(PARAMS params, const float* __restrict__ in, float* __restrict__ out) { reverse<true>(in, out); }
KERNEL(128) check_no_barrier(PARAMS params, const float* __restrict__ in, float* __restrict__ out) { reverse<false>(in, out); }

// 100 KB of dynamic memory, reversed over all of it.
const int MANY = 25 << 10;
SHARED_BYTES(check_dynamic, MANY * 4)
KERNEL(1024) check_dynamic(PARAMS params, const float* __restrict__ in, float* __restrict__ out) {
    extern __shared__ float4 memory[];
    float* values = (float*)memory;
    for (int n = threadIdx.x; n < MANY; n += 1024) values[n] = in[n];
    __syncthreads();
    for (int n = threadIdx.x; n < MANY; n += 1024) out[n] = values[MANY - 1 - n];
}

// Votes, also of the first half of a warp alone, and a count in shared memory.
KERNEL(96) check_votes(PARAMS params, const uint* __restrict__ in, uint* __restrict__ out) {
    __shared__ uint count;
    uint value = in[threadIdx.x], lane = threadIdx.x % 32;
    if (threadIdx.x == 0) count = 0;
    __syncthreads();
    if (value & 1) atomicAdd(&count, 1u);
    uint odd = __ballot_sync(~0u, value & 1);
    uint any = __any_sync(~0u, value > 90), all = __all_sync(~0u, value < 90);
    uint half = lane < 16 ? __ballot_sync(0xffff, value & 2) : 0;
    uint from = __shfl_up_sync(~0u, value, 3, 8);
    __syncthreads();
    uint* to = out + threadIdx.x * 5;
    to[0] = odd, to[1] = any | all << 1, to[2] = half, to[3] = from, to[4] = count;
}

// A thread that waits where no other does.
KERNEL(64) check_stuck(PARAMS params, const float* __restrict__ in, float* __restrict__ out) {
    if (threadIdx.x == 5) __syncwarp();
    else __syncthreads();
    out[threadIdx.x] = in[threadIdx.x];
}

KERNEL(32) check_outside(PARAMS params, const float* __restrict__ in, float* __restrict__ out) { out[threadIdx.x] = in[params.count + threadIdx.x]; }

// C (16 × 8) = A (16 × 16) · B (16 × 8), halves by rows; `out` is C, then what each ldmatrix gave.
template <class Half>
DEVICE void product(const Params& params, const uint* __restrict__ in, uint* __restrict__ out) {
    __shared__ __align__(16) uint words[192];
    for (int n = threadIdx.x; n < 48; n += 32) cp_async_16(words + n * 4, in + n * 4, n * 4 < params.count);
    cp_async_commit();
    cp_async_wait<0>();
    __syncwarp();
    uint lane = threadIdx.x, a[4], b[4], plain[4];
    const uint *left = words, *right = words + 128;
    ldmatrix_x4(a, left + (lane % 16) * 8 + lane / 16 * 4);
    // The upper lanes name the same rows again.
    ldmatrix_x4_trans(b, right + (lane % 16) * 4);
    ldmatrix_x4(plain, right + (lane % 16) * 4);
    float c[4] = {1, 2, 3, 4};
    add_product<Half>(c, a, b[0], b[1]);
    for (int n = 0; n < 4; n++) out[(lane / 4 + n / 2 * 8) * 8 + lane % 4 * 2 + n % 2] = __float_as_uint(c[n]);
    uint* to = out + 128 + lane * 8;
    for (int n = 0; n < 4; n++) to[n] = a[n];
    for (int n = 0; n < 2; n++) to[4 + n] = b[n], to[6 + n] = plain[n];
}

KERNEL(32) check_product(PARAMS params, const uint* __restrict__ in, uint* __restrict__ out) { product<__half>(params, in, out); }
KERNEL(32) check_product_brain(PARAMS params, const uint* __restrict__ in, uint* __restrict__ out) { product<__nv_bfloat16>(params, in, out); }
