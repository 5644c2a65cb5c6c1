// What block_matmul_hopper.cuh is made of: matrix products of a warpgroup (4 warps) from two panels in shared
// memory, under way until waited for; barriers between warps that fill the panels and warps that multiply;
// registers given from the former to the latter. Only in what is compiled for sm_90a, which defines HOPPER.
#pragma once

#include "kernel.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define HOPPER

// Makes what this thread has written to shared memory visible to the matrix units, after a barrier.
DEVICE void matrix_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Before the first product of a group: the sums in registers are as the program says.
DEVICE void wgmma_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Until all but the last `left` groups are done.
template <int left>
DEVICE void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(left) : "memory");
}

// As cp_async_16, to an address in shared memory.
DEVICE void copy_16(uint shared, const void* global) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared), "l"(global) : "memory");
}

// A barrier in shared memory: `count` arrivals end a phase, and phases alternate 0, 1.
typedef unsigned long long Barrier;

DEVICE uint barrier_address(Barrier& barrier) { return (uint)__cvta_generic_to_shared(&barrier); }

DEVICE void barrier_start(Barrier& barrier, uint count) {
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barrier_address(barrier)), "r"(count) : "memory");
}

DEVICE void barrier_arrive(Barrier& barrier) {
    asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(barrier_address(barrier)) : "memory");
}

// Arrives when this thread's asynchronous copies so far are there.
DEVICE void barrier_arrive_copied(Barrier& barrier) {
    asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(barrier_address(barrier)) : "memory");
}

DEVICE void barrier_wait(Barrier& barrier, uint phase) {
    asm volatile("{\n.reg .pred done;\nagain:\nmbarrier.try_wait.parity.shared.b64 done, [%0], %1;\n@!done bra again;\n}"
                 ::"r"(barrier_address(barrier)), "r"(phase) : "memory");
}

// How many registers each thread of this warpgroup has from here on.
template <int count>
DEVICE void fewer_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}

template <int count>
DEVICE void more_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

// Waits for the others among `threads` threads, a part of the block.
DEVICE void part_sync(uint part, uint threads) { asm volatile("bar.sync %0, %1;" ::"r"(part), "r"(threads) : "memory"); }

// How a panel of halves lies in shared memory, for the matrix units (PTX ISA, "Matrix descriptor"): lines
// of 128 or 64 bytes whose 16-byte pieces are permuted (by line % 8, or line / 2 % 4), the panel at a
// multiple of 1024 bytes. `beside` is bytes from one line's 64 halves to its next 64, where lines are along
// the outputs and longer than that. The low word says where, in 16 bytes, the high word how. Where blocks of threads are
// in clusters, an address has its block's number above the 18 bits of the place.
DEVICE uint panel_low(const void* panel, uint beside) {
    return (uint(__cvta_generic_to_shared(panel)) & 0x3ffff) >> 4 | beside >> 4 << 16;
}

#define SUMS_8(n) "+f"(c[n]), "+f"(c[n + 1]), "+f"(c[n + 2]), "+f"(c[n + 3]), "+f"(c[n + 4]), "+f"(c[n + 5]), "+f"(c[n + 6]), "+f"(c[n + 7])

// c = A · B, or if ADD c +=, 64 × 16 times 16 × n: lane l of warp w has rows 16 w + l / 4 (c[4 j], c[4 j + 1]) and that
// + 8, columns 8 j + 2 (l % 4) and the next. A's lines, of 128 bytes, are along the terms; B's, of `LINE`
// bytes, too, or along the outputs if ACROSS.
template <uint LINE, int ACROSS, int ADD = 1>
DEVICE void wgmma(float (&c)[16], uint a, uint b) {
    asm volatile("{\n.reg .b64 a, b;\nmov.b64 a, {%16, %17};\nmov.b64 b, {%18, %19};\n"
                 "wgmma.mma_async.sync.aligned.m64n32k16.f32.f16.f16 "
                 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}, a, b, %21, 1, 1, 0, %20;\n}"
                 : SUMS_8(0), SUMS_8(8) : "r"(a), "n"(1024 >> 4 | 1 << 30), "r"(b), "n"(int(LINE * 8 >> 4 | (LINE == 128 ? 1u : 2u) << 30)), "n"(ACROSS), "n"(ADD));
}

template <uint LINE, int ACROSS, int ADD = 1>
DEVICE void wgmma(float (&c)[32], uint a, uint b) {
    asm volatile("{\n.reg .b64 a, b;\nmov.b64 a, {%32, %33};\nmov.b64 b, {%34, %35};\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 "
                 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
                 "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, a, b, %37, 1, 1, 0, %36;\n}"
                 : SUMS_8(0), SUMS_8(8), SUMS_8(16), SUMS_8(24)
                 : "r"(a), "n"(1024 >> 4 | 1 << 30), "r"(b), "n"(int(LINE * 8 >> 4 | (LINE == 128 ? 1u : 2u) << 30)), "n"(ACROSS), "n"(ADD));
}

template <uint LINE, int ACROSS>
DEVICE void wgmma(float (&c)[64], uint a, uint b) {
    asm volatile("{\n.reg .b64 a, b;\nmov.b64 a, {%64, %65};\nmov.b64 b, {%66, %67};\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 "
                 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
                 "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
                 "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
                 "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}, a, b, 1, 1, 1, 0, %68;\n}"
                 : SUMS_8(0), SUMS_8(8), SUMS_8(16), SUMS_8(24), SUMS_8(32), SUMS_8(40), SUMS_8(48), SUMS_8(56)
                 : "r"(a), "n"(1024 >> 4 | 1 << 30), "r"(b), "n"(int(LINE * 8 >> 4 | (LINE == 128 ? 1u : 2u) << 30)), "n"(ACROSS));
}
#endif

#ifndef __CUDACC__
typedef emulation::Barrier Barrier;

DEVICE void barrier_start(Barrier& barrier, uint count) { emulate_barrier_start(barrier, count); }
DEVICE void barrier_arrive(Barrier& barrier) { emulate_barrier_arrive(barrier); }
DEVICE void barrier_wait(Barrier& barrier, uint phase) { emulate_barrier_wait(barrier, phase); }
DEVICE void part_sync(uint part, uint threads) { emulate_part_sync(part, threads); }
template <int count>
DEVICE void fewer_registers() {}
template <int count>
DEVICE void more_registers() {}
#endif
