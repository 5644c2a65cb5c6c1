// Tiles of f32 sums for the block products: panels of two operands, DEPTH terms at a time, go into shared
// memory by asynchronous copies, STAGES - 1 ahead, and each thread has 8 × 8 sums in registers.
//
// A panel lies in shared memory as its operand does in global memory, so that copies are of 16 bytes:
// term after term, or item after item (along the terms; the items are tokens, outputs, rows or places).
// Either way a thread reads 16 bytes at a time, 4 items of a term or 4 terms of an item.
#pragma once

#include "tensor.cuh"

#ifndef TOGETHER
#define TOGETHER 1
#endif
#ifndef UNROLL
#define UNROLL 1
#endif
#ifndef OWN16
#define OWN16 0
#endif
constexpr int UNROLLED = UNROLL;
constexpr uint DEPTH = 16;
constexpr uint STAGES = 3;

// Which float4 of a panel holds this item of this term. Along the terms, two items share 128 bytes, and
// the eight float4s there are permuted so that the threads of a warp, 4 items apart, meet all banks.
template <bool ALONG, uint ITEMS>
DEVICE uint spot(uint item, uint term) {
    return ALONG ? item / 2 * 8 + ((item % 2 * 4 + term / 4) ^ (item / 4 % 8)) : term * (ITEMS / 4) + item / 4;
}

// The pieces that a thread copies, VECTOR values each: of which item and term the first starts, and how far
// the next is.
struct Pieces {
    uint item, term, items_on, terms_on;
};

// Along the terms.
template <uint VECTOR, uint THREADS>
DEVICE Pieces pieces_along(uint local) {
    return Pieces{local / (DEPTH / VECTOR), local % (DEPTH / VECTOR) * VECTOR, THREADS * VECTOR / DEPTH, 0};
}

// Along the items, all of one term; or, if `wide`, all of the same items.
template <uint VECTOR, uint THREADS>
DEVICE Pieces pieces_across(uint local) {
    return Pieces{local % (THREADS / DEPTH) * VECTOR, local / (THREADS / DEPTH), THREADS * VECTOR / DEPTH, 0};
}

template <uint VECTOR, uint THREADS, uint ITEMS>
DEVICE Pieces pieces_across_wide(uint local) {
    return Pieces{local % (ITEMS / VECTOR) * VECTOR, local / (ITEMS / VECTOR), 0, THREADS * VECTOR / ITEMS};
}

// Copies piece n.
template <uint VECTOR, bool ALONG, uint ITEMS>
DEVICE void copy(float4* panel, Pieces of, uint n, const float* from, bool ok) {
    uint item = of.item + n * of.items_on, term = of.term + n * of.terms_on;
    uint at = spot<ALONG, ITEMS>(item, term);
    if (!ALONG) {
        at = spot<ALONG, ITEMS>(of.item, of.term) + n * (of.terms_on * (ITEMS / 4) + of.items_on / 4);
    } else if (VECTOR == 4) {
        // 32 items further on the permutation is the same.
        uint same = n * of.items_on / 32 * 32;
        at = spot<ALONG, ITEMS>(item - same, of.term) + same * 4;
    }
    float* to = (float*)(panel + at) + (VECTOR == 4 ? 0 : (ALONG ? term : item) % 4);
    if (VECTOR == 4) cp_async_16(to, from, ok);
    else cp_async_4(to, from, ok);
}

// Keeps a value in a register, where the compiler would rather compute it again.
DEVICE uint kept(uint value) {
#ifdef __CUDACC__
    asm volatile("" : "+r"(value));
#endif
    return value;
}

// Item n of the OWN of a thread, 4 in each of as many parts of the panel.
template <uint ITEMS, uint OWN>
DEVICE uint own(uint place, uint n) {
    return place * 4 + n % 4 + n / 4 * (ITEMS * 4 / OWN);
}

// Where a thread's items begin in a panel, in bytes.
template <bool ALONG>
DEVICE uint begin(uint place) {
    return ALONG ? place * 256 + place % 8 * 16 : place * 16;
}

// Item n of a thread's at terms 4 k and on, of a panel along the terms that begins for the thread at byte
// `at`: what `spot` says, with few instructions.
template <uint ITEMS, uint OWN>
DEVICE float4 terms_of(const float4* memory, uint at, uint n, uint k) {
    uint flips = n % 2 * 4 ^ n / 4 * (ITEMS / OWN % 8);
    return *(const float4*)((const char*)memory + (at ^ k * 16 ^ flips * 16) + n % 4 / 2 * 128 + n / 4 * (ITEMS * 256 / OWN));
}

// All of them at one term of a panel along the items.
template <uint ITEMS, uint OWN>
DEVICE void items_at(float (&values)[OWN], const float4* memory, uint at, uint term) {
    const float4* from = (const float4*)((const char*)memory + at + term * (ITEMS * 4));
#pragma unroll
    for (uint n = 0; n < OWN; n += 4) {
        float4 four = from[n / 4 * (ITEMS / OWN)];
        values[n] = four.x, values[n + 1] = four.y, values[n + 2] = four.z, values[n + 3] = four.w;
    }
}

// sums += A · B over a stage, whose panels begin for the thread at bytes a and b. A is read bit by bit, to
// spare registers.
template <bool A_ALONG, uint A_ITEMS, uint A_OWN, bool B_ALONG, uint B_ITEMS>
DEVICE void multiply(float (&sums)[A_OWN][8], const float4* memory, uint a, uint b) {
#pragma unroll (UNROLLED)
    for (uint k = 0; k < DEPTH / 4; k++) {
        float right[4][8];
#pragma unroll
        for (uint n = 0; n < (B_ALONG ? 8 : 4); n++) {
            if (B_ALONG) {
                float4 four = terms_of<B_ITEMS, 8>(memory, b, n, k);
                right[0][n] = four.x, right[1][n] = four.y, right[2][n] = four.z, right[3][n] = four.w;
            } else {
                items_at<B_ITEMS, 8>(right[n], memory, b, k * 4 + n);
            }
        }
#pragma unroll
        for (uint n = 0; n < (A_ALONG ? A_OWN : 4); n += A_ALONG ? TOGETHER : 1) {
            if (A_ALONG) {
                float left[4][TOGETHER];
#pragma unroll
                for (uint i = 0; i < TOGETHER; i++) {
                    float4 four = terms_of<A_ITEMS, A_OWN>(memory, a, n + i, k);
                    left[0][i] = four.x, left[1][i] = four.y, left[2][i] = four.z, left[3][i] = four.w;
                }
#pragma unroll
                for (uint m = 0; m < 4; m++) {
#pragma unroll
                    for (uint j = 0; j < 8; j++) {
#pragma unroll
                        for (uint i = 0; i < TOGETHER; i++) sums[n + i][j] = fmaf(left[m][i], right[m][j], sums[n + i][j]);
                    }
                }
            } else {
                float left[A_OWN];
                items_at<A_ITEMS, A_OWN>(left, memory, a, k * 4 + n);
#pragma unroll
                for (uint i = 0; i < A_OWN; i++) {
#pragma unroll
                    for (uint j = 0; j < 8; j++) sums[i][j] = fmaf(left[i], right[n][j], sums[i][j]);
                }
            }
        }
    }
}

// A tile of sums in shared memory, from where it goes out: pitch in floats, a multiple of 4.
template <uint A_ITEMS, uint A_OWN, uint B_ITEMS>
DEVICE void spread(const float (&sums)[A_OWN][8], float* tile, uint pitch, uint a_place, uint b_place) {
#pragma unroll
    for (uint i = 0; i < A_OWN; i++) {
        float* line = tile + own<A_ITEMS, A_OWN>(a_place, i) * pitch + b_place * 4;
        *(float4*)line = float4{sums[i][0], sums[i][1], sums[i][2], sums[i][3]};
        *(float4*)(line + B_ITEMS / 2) = float4{sums[i][4], sums[i][5], sums[i][6], sums[i][7]};
    }
}
