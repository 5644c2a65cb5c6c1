// Tiles of f32 sums for the block products: panels of two operands, DEPTH terms at a time, go into shared
// memory by asynchronous copies, STAGES - 1 ahead, and each thread has 8 × 8 sums in registers.
//
// A panel lies in shared memory as its operand does in global memory, so that copies are of 16 bytes:
// term after term, or item after item (along the terms; the items are tokens, outputs, rows or places).
// Either way a thread reads 16 bytes at a time, 4 items of a term or 4 terms of an item.
#pragma once

#include "tensor.cuh"

constexpr uint DEPTH = 32;
constexpr uint STAGES = 2;

// Which float4 of a panel holds this item of this term. Along the terms, the eight float4s of an item are
// permuted so that the threads of a warp, 4 items apart, meet all banks.
template <bool ALONG, uint ITEMS>
DEVICE uint spot(uint item, uint term) {
    return ALONG ? item * 8 + (term / 4 ^ item / 4 % 8) : term * (ITEMS / 4) + item / 4;
}

// Keeps a value in a register, where the compiler would rather compute it again.
DEVICE uint kept(uint value) {
#ifdef __CUDACC__
    asm volatile("" : "+r"(value));
#endif
    return value;
}

// The pieces that a thread copies, VECTOR values each: of which item and term the first starts, how far the
// next is, and where in a panel the first two go.
struct Pieces {
    uint item, term, items_on, terms_on, to, to_next;
};

// Along the terms.
template <uint VECTOR, uint THREADS>
DEVICE Pieces pieces_along(uint local) {
    return Pieces{local / (DEPTH / VECTOR), local % (DEPTH / VECTOR) * VECTOR, THREADS * VECTOR / DEPTH, 0, 0, 0};
}

// Along the items, all of one term; or, wide, all of the same items.
template <uint VECTOR, uint THREADS>
DEVICE Pieces pieces_across(uint local) {
    return Pieces{local % (THREADS / DEPTH) * VECTOR, local / (THREADS / DEPTH), THREADS * VECTOR / DEPTH, 0, 0, 0};
}

template <uint VECTOR, uint THREADS, uint ITEMS>
DEVICE Pieces pieces_across_wide(uint local) {
    return Pieces{local % (ITEMS / VECTOR) * VECTOR, local / (ITEMS / VECTOR), 0, THREADS * VECTOR / ITEMS, 0, 0};
}

// The same, knowing where they go.
template <bool ALONG, uint ITEMS>
DEVICE Pieces placed(Pieces of) {
    of.to = kept(spot<ALONG, ITEMS>(of.item, of.term));
    of.to_next = kept(spot<ALONG, ITEMS>(of.item + of.items_on, of.term + of.terms_on));
    return of;
}

// Copies piece n.
template <uint VECTOR, bool ALONG, uint ITEMS>
DEVICE void copy(float4* panel, Pieces of, uint n, const float* from, bool ok) {
    if (VECTOR == 4) {
        // Along the terms, 32 items further on the permutation is the same.
        uint at = !ALONG                ? of.to + n * (of.terms_on * (ITEMS / 4) + of.items_on / 4)
                  : of.items_on == 16   ? (n % 2 ? of.to_next : of.to) + n / 2 * (32 * DEPTH / 4)
                                        : spot<ALONG, ITEMS>(of.item + n * of.items_on, of.term);
        cp_async_16(panel + at, from, ok);
    } else {
        uint item = of.item + n * of.items_on, term = of.term + n * of.terms_on;
        cp_async_4((float*)(panel + spot<ALONG, ITEMS>(item, term)) + (ALONG ? term : item) % 4, from, ok);
    }
}

// Item n of the 8 of a thread, 4 in each half of the panel.
template <uint ITEMS>
DEVICE uint own(uint place, uint n) {
    return place * 4 + n % 4 + n / 4 * (ITEMS / 2);
}

// Where a thread's items begin in a panel, in bytes.
template <bool ALONG>
DEVICE uint begin(uint place) {
    return ALONG ? place * 512 + place % 8 * 16 : place * 16;
}

// Item n of a thread's at terms 4 k and on, of a panel along the terms that begins for the thread at byte
// `at`: what `spot` says, with few instructions.
template <uint ITEMS>
DEVICE float4 terms_of(const float4* memory, uint at, uint n, uint k) {
    uint flips = k ^ n / 4 * (ITEMS / 8 % 8);
    return *(const float4*)((const char*)memory + (at ^ flips * 16) + n % 4 * 128 + n / 4 * (ITEMS * 64));
}

// All of them at one term of a panel along the items, PITCH from term to term.
template <uint ITEMS, uint PITCH>
DEVICE void items_at(float (&values)[8], const float4* memory, uint at, uint term) {
    const float4* from = (const float4*)((const char*)memory + at + term * (PITCH * 4));
#pragma unroll
    for (uint n = 0; n < 8; n += 4) {
        float4 four = from[n / 4 * (ITEMS / 8)];
        values[n] = four.x, values[n + 1] = four.y, values[n + 2] = four.z, values[n + 3] = four.w;
    }
}

// sums += A · B over a stage, whose panels begin for the thread at bytes a and b. A is read bit by bit, to
// spare registers.
template <bool A_ALONG, uint A_ITEMS, bool B_ALONG, uint B_ITEMS, uint B_PITCH = B_ITEMS>
DEVICE void multiply(float (&sums)[8][8], const float4* memory, uint a, uint b) {
    constexpr int UNROLL = A_ALONG && B_ALONG ? 1 : 2; // as registers allow
#pragma unroll UNROLL
    for (uint k = 0; k < DEPTH / 4; k++) {
        float right[4][8];
#pragma unroll
        for (uint n = 0; n < (B_ALONG ? 8 : 4); n++) {
            if (B_ALONG) {
                float4 four = terms_of<B_ITEMS>(memory, b, n, k);
                right[0][n] = four.x, right[1][n] = four.y, right[2][n] = four.z, right[3][n] = four.w;
            } else {
                items_at<B_ITEMS, B_PITCH>(right[n], memory, b, k * 4 + n);
            }
        }
#pragma unroll
        for (uint n = 0; n < (A_ALONG ? 8 : 4); n++) {
            if (A_ALONG) {
                float4 left = terms_of<A_ITEMS>(memory, a, n, k);
#pragma unroll
                for (uint j = 0; j < 8; j++) {
                    sums[n][j] = fmaf(left.w, right[3][j], fmaf(left.z, right[2][j], fmaf(left.y, right[1][j], fmaf(left.x, right[0][j], sums[n][j]))));
                }
            } else {
                float left[8];
                items_at<A_ITEMS, A_ITEMS>(left, memory, a, k * 4 + n);
#pragma unroll
                for (uint i = 0; i < 8; i++) {
#pragma unroll
                    for (uint j = 0; j < 8; j++) sums[i][j] = fmaf(left[i], right[n][j], sums[i][j]);
                }
            }
        }
    }
}

// A tile of sums in shared memory, from where it goes out: pitch in floats, a multiple of 4.
template <uint A_ITEMS, uint B_ITEMS>
DEVICE void spread(const float (&sums)[8][8], float* tile, uint pitch, uint a_place, uint b_place) {
#pragma unroll
    for (uint i = 0; i < 8; i++) {
        float* line = tile + own<A_ITEMS>(a_place, i) * pitch + b_place * 4;
        *(float4*)line = float4{sums[i][0], sums[i][1], sums[i][2], sums[i][3]};
        *(float4*)(line + B_ITEMS / 2) = float4{sums[i][4], sums[i][5], sums[i][6], sums[i][7]};
    }
}
