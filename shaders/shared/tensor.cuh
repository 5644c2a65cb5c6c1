// Tensor cores, and copies from global to shared memory that don't pass through registers. In each
// wrapper all 32 lanes of a warp take part. A word holds two halves, the lower column or row in its
// lower half. With g = lane / 4 and t = lane % 4 (PTX ISA, "Matrix fragments for mma.m16n8k16"):
//
//   A (16 × 16)   a[0]: row g,     columns 2t, 2t + 1     a[2]: row g,     columns 2t + 8, 2t + 9
//                 a[1]: row g + 8, columns 2t, 2t + 1     a[3]: row g + 8, columns 2t + 8, 2t + 9
//   B (16 × 8)    b[0]: rows 2t, 2t + 1 of column g       b[1]: rows 2t + 8, 2t + 9 of column g
//   C (16 × 8)    c[0], c[1]: row g, columns 2t, 2t + 1   c[2], c[3]: row g + 8, the same columns
//
// On a CPU the emulator defines what is called emulate_ here.
#pragma once

#include "kernel.cuh"

// c += A · B, f16 factors, f32 sums.
DEVICE void mma_16x8x16(float (&c)[4], const uint (&a)[4], uint b0, uint b1) {
#ifdef __CUDACC__
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    emulate_mma_16x8x16(c, a, b0, b1);
#endif
}

// A value of f32 as the sum of two that a tensor core takes (tf32: 11 bits of an f32's 24): within 2^-22 of the value.
// The core cuts off what `small` has beyond 11 bits. Where the value is infinite or NaN, `small` is NaN.
struct Split {
    uint big, small;
};

DEVICE Split split(float value) {
    uint big = (__float_as_uint(value) + 0x1000) & 0xffffe000;
    return Split{big, __float_as_uint(value - __uint_as_float(big))};
}

// d = A · B + c of tf32 factors. A product of f32 is three of these, small · big, big · small and big · big; what small · small
// would add is below 2^-22 of a term. Together with how the units round: within 2 (k + 8) · 2^-24 of the sum of k terms'
// absolute values. Anything infinite or NaN, and what rounds up beyond f32's range, gives a sum that is not finite.
//
//   A (16 × 8)   a[0]: row g, k t          a[2]: row g, k t + 4
//                a[1]: row g + 8, k t      a[3]: row g + 8, k t + 4
//   B (8 × 8)    b[0]: k t of column g     b[1]: k t + 4 of column g
//   C (16 × 8)   as above
DEVICE void mma_16x8x8(float (&d)[4], const uint (&a)[4], uint b0, uint b1, const float (&c)[4]) {
#ifdef __CUDACC__
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
#else
    emulate_mma_16x8x8(d, a, b0, b1, c);
#endif
}

// Four values of A, split.
struct SplitRows {
    uint big[4], small[4];

    METHOD void set(int n, float value) {
        Split s = split(value);
        big[n] = s.big, small[n] = s.small;
    }
};

// The warp's number in the block; the compiler knows that all lanes have the same.
DEVICE int warp_index() { return __shfl_sync(0xffffffff, threadIdx.x / 32, 0); }

#ifdef __CUDACC__
DEVICE uint shared_address(const void* pointer) { return (uint)__cvta_generic_to_shared(pointer); }
#endif

// Four matrices of 8 × 8 halves. Lane 8n + r gives where row r of matrix n starts in shared memory, a
// multiple of 16 bytes; lane l gets of each matrix columns 2 (l % 4) and the next of row l / 4.
DEVICE void ldmatrix_x4(uint (&d)[4], const void* row) {
#ifdef __CUDACC__
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : "r"(shared_address(row)) : "memory");
#else
    emulate_ldmatrix(d, 4, false, row);
#endif
}

// The same transposed: lane l gets rows 2 (l % 4) and the next of column l / 4.
DEVICE void ldmatrix_x4_trans(uint (&d)[4], const void* row) {
#ifdef __CUDACC__
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : "r"(shared_address(row)) : "memory");
#else
    emulate_ldmatrix(d, 4, true, row);
#endif
}

// 16 bytes from global to shared memory, both 16-byte aligned, on their way until a wait. Where `ok` is
// false, zeros, and nothing is read: `global` may lie anywhere.
DEVICE void cp_async_16(void* shared, const void* global, bool ok = true) {
#ifdef __CUDACC__
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(ok ? 16 : 0) : "memory");
#else
    emulate_cp_async(shared, global, 16, ok);
#endif
}

// The same with 4 bytes.
DEVICE void cp_async_4(void* shared, const void* global, bool ok = true) {
#ifdef __CUDACC__
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(ok ? 4 : 0) : "memory");
#else
    emulate_cp_async(shared, global, 4, ok);
#endif
}

// The copies since the last commit are a group.
DEVICE void cp_async_commit() {
#ifdef __CUDACC__
    asm volatile("cp.async.commit_group;" ::: "memory");
#else
    emulate_cp_async_commit();
#endif
}

// Until all but this thread's last `left` groups are there; the others' need a __syncthreads too.
template <int left>
DEVICE void cp_async_wait() {
#ifdef __CUDACC__
    asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
#else
    emulate_cp_async_wait(left);
#endif
}

// Works off stages of asynchronous copies in order while the next `STAGES` - 1 are on their way: `fetch` starts the
// copies of one, `work` runs once they are there for the whole block.
template <uint STAGES, class Fetch, class Work>
DEVICE void in_stages(uint stages, Fetch&& fetch, Work&& work) {
    for (uint stage = 0; stage < STAGES - 1; stage++) {
        if (stage < stages) fetch(stage);
        cp_async_commit();
    }
    for (uint stage = 0; stage < stages; stage++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        if (stage + STAGES - 1 < stages) fetch(stage + STAGES - 1);
        cp_async_commit();
        work(stage);
    }
}
