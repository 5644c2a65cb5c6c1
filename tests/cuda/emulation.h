// CUDA's language on a CPU: what the kernels of shaders/*.cu need so that g++ compiles them. Every one of
// their translation units starts with this file; blocks.cpp runs the threads.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
#define alignas(n) __attribute__((aligned(n)))
// All threads of a block run on one thread of the CPU, so what is local to that is the block's own. With
// `extern` it is the dynamic memory, which scripts/cuda-emulator defines.
#define __shared__ thread_local
// The script reads threads and name of an entry where this is left as it stands.
#ifndef EMULATION_LISTS_ENTRIES
#define __launch_bounds__(...)
#endif

struct uint3 { unsigned x, y, z; };
typedef uint3 dim3;
#define EMULATION_VECTORS(type, element, alignment)                                                              \
    struct __align__(alignment * 2) type##2 { element x, y; };                                                  \
    struct __align__(alignment * 4) type##4 { element x, y, z, w; };                                            \
    static inline type##2 make_##type##2(element x, element y) { return {x, y}; }                               \
    static inline type##4 make_##type##4(element x, element y, element z, element w) { return {x, y, z, w}; }
EMULATION_VECTORS(float, float, 4)
EMULATION_VECTORS(int, int, 4)
EMULATION_VECTORS(uint, unsigned, 4)
EMULATION_VECTORS(short, short, 2)
EMULATION_VECTORS(ushort, unsigned short, 2)
EMULATION_VECTORS(uchar, unsigned char, 1)

namespace emulation {

// What a lane shows the others of its warp: a value, an address, or six words of a matrix product.
struct Slot { unsigned word[8]; };

struct Warp {
    int index;
    unsigned live, ready, joining, at_barrier, polling; // lanes, one bit each
    unsigned ordered;                                   // those that join by __syncwarp
    unsigned mask[32];                                  // whom a joining lane waits for
    void* fiber[32];
    // A lane writes to slots[turn] before a join and reads slots[turn ^ 1] after it: others may be ahead.
    int turn;
    Slot slots[2][32];
    unsigned long joins, product_join;
    float product[16][8];
};

// The thread that runs now, and its block.
struct Here {
    uint3 thread, block, block_size, grid;
    unsigned lane;
    Warp* warp;
    struct Worker* worker;
    class Races* races;
};
extern thread_local Here here;

void barrier(); // until all threads of the block that have not returned are there
// Until all lanes of `mask` that have not returned are there; what they did before comes before what they do then if ORDERED.
void join(unsigned mask, bool ordered = false);
void trap();
void copy_later(void* to, const void* from, int bytes, bool ok);
void commit_copies();
void wait_for_copies(int groups_left);

// So many arrivals end a phase.
struct Barrier {
    uint8_t count, left, phase;
};
void start_barrier(Barrier& barrier, unsigned count);
void arrive(Barrier& barrier);
void wait_for_phase(Barrier& barrier, unsigned phase);
void meet(unsigned part, unsigned threads); // until so many of the block have named this part

template <class T>
static inline void show(T value) {
    static_assert(sizeof(T) <= sizeof(Slot), "too large for a slot");
    memcpy(&here.warp->slots[here.warp->turn][here.lane], &value, sizeof value);
}
template <class T>
static inline T see(unsigned lane) {
    T value;
    memcpy(&value, &here.warp->slots[here.warp->turn ^ 1][lane], sizeof value);
    return value;
}
template <class T>
static inline T shuffle(unsigned mask, T value, unsigned source) {
    show(value);
    join(mask);
    return see<T>(source);
}
static inline unsigned ballot(unsigned mask, bool yes) {
    show(unsigned(yes));
    join(mask);
    unsigned lanes = 0;
    for (unsigned lane = 0; lane < 32; lane++) lanes |= see<unsigned>(lane) == 1 ? mask & 1u << lane : 0;
    return lanes;
}

template <class To, class From>
static inline To bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "sizes differ");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

} // namespace emulation

#define threadIdx (emulation::here.thread)
#define blockIdx (emulation::here.block)
#define blockDim (emulation::here.block_size)
#define gridDim (emulation::here.grid)
#define warpSize 32

static inline void __syncthreads() { emulation::barrier(); }
static inline void __syncwarp(unsigned mask = ~0u) { emulation::join(mask, true); }
static inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
static inline void __threadfence_block() {}
static inline void __trap() { emulation::trap(); }

template <class T>
static inline T __shfl_sync(unsigned mask, T value, unsigned source, unsigned width = 32) {
    return emulation::shuffle(mask, value, (emulation::here.lane & ~(width - 1)) | (source & (width - 1)));
}
template <class T>
static inline T __shfl_xor_sync(unsigned mask, T value, unsigned flip, unsigned width = 32) {
    unsigned lane = emulation::here.lane, source = lane ^ flip;
    return emulation::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source);
}
template <class T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned by, unsigned width = 32) {
    unsigned lane = emulation::here.lane, source = lane + by;
    return emulation::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source);
}
template <class T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned by, unsigned width = 32) {
    unsigned lane = emulation::here.lane;
    return emulation::shuffle(mask, value, (lane & (width - 1)) < by ? lane : lane - by);
}
static inline unsigned __ballot_sync(unsigned mask, int yes) { return emulation::ballot(mask, yes); }
static inline int __any_sync(unsigned mask, int yes) { return emulation::ballot(mask, yes) != 0; }
static inline int __all_sync(unsigned mask, int yes) { return emulation::ballot(mask, !yes) == 0; }

#define EMULATION_ATOMICS(type)                                                                                  \
    static inline type atomicAdd(type* at, type value) { return __atomic_fetch_add(at, value, __ATOMIC_SEQ_CST); } \
    static inline type atomicSub(type* at, type value) { return __atomic_fetch_sub(at, value, __ATOMIC_SEQ_CST); } \
    static inline type atomicOr(type* at, type value) { return __atomic_fetch_or(at, value, __ATOMIC_SEQ_CST); }   \
    static inline type atomicAnd(type* at, type value) { return __atomic_fetch_and(at, value, __ATOMIC_SEQ_CST); } \
    static inline type atomicXor(type* at, type value) { return __atomic_fetch_xor(at, value, __ATOMIC_SEQ_CST); } \
    static inline type atomicExch(type* at, type value) { return __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST); } \
    static inline type atomicCAS(type* at, type want, type value) {                                              \
        __atomic_compare_exchange_n(at, &want, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                \
        return want;                                                                                             \
    }                                                                                                            \
    static inline type atomicMax(type* at, type value) {                                                         \
        type old = __atomic_load_n(at, __ATOMIC_SEQ_CST);                                                        \
        while (old < value && atomicCAS(at, old, value) != old) old = __atomic_load_n(at, __ATOMIC_SEQ_CST);     \
        return old;                                                                                              \
    }                                                                                                            \
    static inline type atomicMin(type* at, type value) {                                                         \
        type old = __atomic_load_n(at, __ATOMIC_SEQ_CST);                                                        \
        while (value < old && atomicCAS(at, old, value) != old) old = __atomic_load_n(at, __ATOMIC_SEQ_CST);     \
        return old;                                                                                              \
    }
EMULATION_ATOMICS(int)
EMULATION_ATOMICS(unsigned)

#define EMULATION_MIN_MAX(a, b, type)                               \
    static inline type min(a x, b y) { type p = x, q = y; return p < q ? p : q; } \
    static inline type max(a x, b y) { type p = x, q = y; return p > q ? p : q; }
EMULATION_MIN_MAX(int, int, int)
EMULATION_MIN_MAX(unsigned, unsigned, unsigned)
EMULATION_MIN_MAX(int, unsigned, unsigned)
EMULATION_MIN_MAX(unsigned, int, unsigned)
EMULATION_MIN_MAX(long long, long long, long long)
EMULATION_MIN_MAX(unsigned long long, unsigned long long, unsigned long long)
static inline float min(float x, float y) { return fminf(x, y); }
static inline float max(float x, float y) { return fmaxf(x, y); }
static inline double min(double x, double y) { return fmin(x, y); }
static inline double max(double x, double y) { return fmax(x, y); }

static inline int __float_as_int(float x) { return emulation::bits<int>(x); }
static inline unsigned __float_as_uint(float x) { return emulation::bits<unsigned>(x); }
static inline float __int_as_float(int x) { return emulation::bits<float>(x); }
static inline float __uint_as_float(unsigned x) { return emulation::bits<float>(x); }
static inline float __int2float_rn(int x) { return float(x); }
static inline float __uint2float_rn(unsigned x) { return float(x); }
static inline int __float2int_rn(float x) { return int(nearbyintf(x)); }
static inline int __float2int_rz(float x) { return int(x); }
static inline int __float2int_rd(float x) { return int(floorf(x)); }
static inline unsigned __float2uint_rz(float x) { return unsigned(x); }

static inline float __fadd_rn(float x, float y) { return x + y; }
static inline float __fsub_rn(float x, float y) { return x - y; }
static inline float __fmul_rn(float x, float y) { return x * y; }
static inline float __fdiv_rn(float x, float y) { return x / y; }
static inline float __fdividef(float x, float y) { return x / y; }
static inline float __frcp_rn(float x) { return 1 / x; }
static inline float __fsqrt_rn(float x) { return sqrtf(x); }
static inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
static inline float __saturatef(float x) { return fminf(fmaxf(x, 0), 1); }
static inline float rsqrtf(float x) { return 1 / sqrtf(x); }
// The C library has declared functions of these names.
#define __expf expf
#define __logf logf
#define __log2f log2f
#define __sinf sinf
#define __cosf cosf

static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
static inline unsigned __umulhi(unsigned x, unsigned y) { return (unsigned long long)x * y >> 32; }
static inline int __mulhi(int x, int y) { return (long long)x * y >> 32; }
static inline unsigned __brev(unsigned x) {
    unsigned y = 0;
    for (int bit = 0; bit < 32; bit++) y |= (x >> bit & 1) << (31 - bit);
    return y;
}
static inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
    unsigned long long both = (unsigned long long)y << 32 | x;
    unsigned bytes = 0;
    for (int n = 0; n < 4; n++) bytes |= unsigned(both >> (selector >> n * 4 & 7) * 8 & 0xff) << n * 8;
    return bytes;
}
template <class T> static inline T __ldg(const T* at) { return *at; }
template <class T> static inline T __ldcg(const T* at) { return *at; }
template <class T> static inline T __ldcs(const T* at) { return *at; }
template <class T> static inline void __stcs(T* at, T value) { *at = value; }
template <class T> static inline void __stcg(T* at, T value) { *at = value; }

// What shaders/shared/tensor.cuh, halves.cuh and hopper.cuh ask for.

namespace emulation {
void multiply(float (&product)[16][8], const Slot (&slots)[32], bool brain);
void multiply_tf32(float (&product)[16][8], const Slot (&slots)[32]);
}

// f16 factors, or bf16 if `brain`.
static inline void emulate_mma_16x8x16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, bool brain = false) {
    emulation::show(emulation::Slot{a[0], a[1], a[2], a[3], b0, b1, 0, 0});
    emulation::join(~0u);
    emulation::Warp& warp = *emulation::here.warp;
    if (warp.product_join != warp.joins) {
        emulation::multiply(warp.product, warp.slots[warp.turn ^ 1], brain);
        warp.product_join = warp.joins;
    }
    unsigned row = emulation::here.lane / 4, column = emulation::here.lane % 4 * 2;
    c[0] += warp.product[row][column];
    c[1] += warp.product[row][column + 1];
    c[2] += warp.product[row + 8][column];
    c[3] += warp.product[row + 8][column + 1];
}

// tf32 factors: words of f32 that lose their lowest 13 bits.
static inline void emulate_mma_16x8x8(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, const float (&c)[4]) {
    emulation::show(emulation::Slot{a[0], a[1], a[2], a[3], b0, b1, 0, 0});
    emulation::join(~0u);
    emulation::Warp& warp = *emulation::here.warp;
    if (warp.product_join != warp.joins) {
        emulation::multiply_tf32(warp.product, warp.slots[warp.turn ^ 1]);
        warp.product_join = warp.joins;
    }
    unsigned row = emulation::here.lane / 4, column = emulation::here.lane % 4 * 2;
    d[0] = c[0] + warp.product[row][column];
    d[1] = c[1] + warp.product[row][column + 1];
    d[2] = c[2] + warp.product[row + 8][column];
    d[3] = c[3] + warp.product[row + 8][column + 1];
}

static inline void emulate_ldmatrix(unsigned* d, int matrices, bool transposed, const void* row) {
    emulation::show(row);
    emulation::join(~0u);
    unsigned lane = emulation::here.lane;
    for (int matrix = 0; matrix < matrices; matrix++) {
        uint16_t halves[2];
        for (unsigned n = 0; n < 2; n++) {
            unsigned at = transposed ? lane % 4 * 2 + n : lane / 4, column = transposed ? lane / 4 : lane % 4 * 2 + n;
            halves[n] = emulation::see<const uint16_t*>(matrix * 8 + at)[column];
        }
        d[matrix] = halves[0] | unsigned(halves[1]) << 16;
    }
    // The lanes read one another's rows: none may go on and write to them before all have read.
    emulation::join(~0u);
}

static inline void emulate_cp_async(void* shared, const void* global, int bytes, bool ok) { emulation::copy_later(shared, global, bytes, ok); }
static inline void emulate_cp_async_commit() { emulation::commit_copies(); }
static inline void emulate_cp_async_wait(int left) { emulation::wait_for_copies(left); }

static inline void emulate_barrier_start(emulation::Barrier& barrier, unsigned count) { emulation::start_barrier(barrier, count); }
static inline void emulate_barrier_arrive(emulation::Barrier& barrier) { emulation::arrive(barrier); }
static inline void emulate_barrier_wait(emulation::Barrier& barrier, unsigned phase) { emulation::wait_for_phase(barrier, phase); }
static inline void emulate_part_sync(unsigned part, unsigned threads) { emulation::meet(part, threads); }

#include "cuda_bf16.h"
#include "cuda_fp16.h"

// How the driver finds an entry, calls it, and finds the variables that go with it.
namespace emulation {

struct Entry {
    const char* name;
    unsigned threads;
    const void* function;
    void (*call)(const void* function, void** arguments);
    size_t shared_from, shared_to; // of the static shared memory: what the first block wrote
    bool shared_known;
    unsigned dynamic_limit;
};
void add(const Entry& entry);
void add(const char* variable, const void* address);

template <class... T>
struct Caller {
    template <size_t... N>
    static void call(void (*function)(T...), void** arguments, std::index_sequence<N...>) {
        function(*static_cast<T*>(arguments[N])...);
    }
    static void call(const void* function, void** arguments) {
        call(reinterpret_cast<void (*)(T...)>(const_cast<void*>(function)), arguments, std::index_sequence_for<T...>());
    }
};

struct Registered {
    template <class... T>
    Registered(const char* name, unsigned threads, void (*function)(T...)) {
        add(Entry{name, threads, reinterpret_cast<const void*>(function), Caller<T...>::call, 0, 0, false, 48 << 10});
    }
    Registered(const char* variable, const unsigned* address) { add(variable, address); }
};

// The first number of launch bounds.
static inline constexpr unsigned threads(unsigned first, ...) { return first; }

} // namespace emulation
