// Tiles of f32 sums for the block products: panels of two operands, DEPTH terms at a time, go into shared
// memory by asynchronous copies, STAGES - 1 ahead, and each thread has 8 × 8 sums in registers.
//
// A panel lies in shared memory as its operand does in global memory, so that copies are of 16 bytes:
// term after term, or item after item (along the terms; the items are tokens, outputs, rows or places).
// Either way a thread reads 16 bytes at a time, 4 items of a term or 4 terms of an item.
#pragma once

#include "tensor.cuh"

constexpr uint DEPTH = 16;
constexpr uint STAGES = 3;

// Which float4 of a panel holds this item of this term. Along the terms, two items share 128 bytes, and
// the eight float4s there are permuted so that the threads of a warp, 4 items apart, meet all banks.
template <bool ALONG, uint ITEMS>
DEVICE uint spot(uint item, uint term) {
    return ALONG ? item / 2 * 8 + ((item % 2 * 4 + term / 4) ^ (item / 4 % 8)) : term * (ITEMS / 4) + item / 4;
}

// What a thread copies as its n-th piece, VECTOR values: of which item and term it starts.
struct Piece {
    uint item, term;
};

// Along the terms.
template <uint VECTOR>
DEVICE Piece piece_along(uint n) {
    return Piece{n / (DEPTH / VECTOR), n % (DEPTH / VECTOR) * VECTOR};
}

// Along the items, as many pieces of a term side by side.
template <uint VECTOR, uint BESIDE>
DEVICE Piece piece_across(uint n) {
    return Piece{(n % BESIDE + n / (BESIDE * DEPTH) * BESIDE) * VECTOR, n / BESIDE % DEPTH};
}

template <uint VECTOR, bool ALONG, uint ITEMS>
DEVICE void copy(float4* panel, Piece at, const float* from, bool ok) {
    float* to = (float*)(panel + spot<ALONG, ITEMS>(at.item, at.term)) + (ALONG ? at.term : at.item) % 4;
    if (VECTOR == 4) cp_async_16(to, from, ok);
    else cp_async_4(to, from, ok);
}

// Item n of the 8 of a thread: 4 in each half of the panel.
template <uint ITEMS>
DEVICE uint own(uint place, uint n) {
    return place * 4 + n % 4 + n / 4 * (ITEMS / 2);
}

// A thread's items at 4 terms of a panel along the terms: item n's.
template <uint ITEMS>
DEVICE float4 terms_of(const float4* panel, uint place, uint n, uint term) {
    return panel[spot<true, ITEMS>(own<ITEMS>(place, n), term)];
}

// All 8 at one term of a panel along the items.
template <uint ITEMS>
DEVICE void items_at(float (&values)[8], const float4* panel, uint place, uint term) {
    float4 low = panel[spot<false, ITEMS>(own<ITEMS>(place, 0), term)], high = panel[spot<false, ITEMS>(own<ITEMS>(place, 4), term)];
    values[0] = low.x, values[1] = low.y, values[2] = low.z, values[3] = low.w;
    values[4] = high.x, values[5] = high.y, values[6] = high.z, values[7] = high.w;
}

// sums += A · B over a stage. What is read last is read bit by bit, to spare registers.
template <bool A_ALONG, uint A_ITEMS, bool B_ALONG, uint B_ITEMS>
DEVICE void multiply(float (&sums)[8][8], const float4* a, uint a_place, const float4* b, uint b_place) {
#pragma unroll 1
    for (uint term = 0; term < DEPTH; term += 4) {
        float left[4][8];
#pragma unroll
        for (int n = 0; n < (A_ALONG ? 8 : 4); n++) {
            if (A_ALONG) {
                float4 four = terms_of<A_ITEMS>(a, a_place, n, term);
                left[0][n] = four.x, left[1][n] = four.y, left[2][n] = four.z, left[3][n] = four.w;
            } else {
                items_at<A_ITEMS>(left[n], a, a_place, term + n);
            }
        }
#pragma unroll
        for (int n = 0; n < (B_ALONG ? 8 : 4); n++) {
            if (B_ALONG) {
                float4 four = terms_of<B_ITEMS>(b, b_place, n, term);
#pragma unroll
                for (int i = 0; i < 8; i++) {
                    sums[i][n] = fmaf(left[3][i], four.w, fmaf(left[2][i], four.z, fmaf(left[1][i], four.y, fmaf(left[0][i], four.x, sums[i][n]))));
                }
            } else {
                float right[8];
                items_at<B_ITEMS>(right, b, b_place, term + n);
#pragma unroll
                for (int i = 0; i < 8; i++) {
#pragma unroll
                    for (int j = 0; j < 8; j++) sums[i][j] = fmaf(left[n][i], right[j], sums[i][j]);
                }
            }
        }
    }
}

// A tile of sums in shared memory, from where it goes out: pitch in floats, a multiple of 4.
template <uint A_ITEMS, uint B_ITEMS>
DEVICE void spread(const float (&sums)[8][8], float* tile, uint pitch, uint a_place, uint b_place) {
#pragma unroll
    for (int i = 0; i < 8; i++) {
        float* line = tile + own<A_ITEMS>(a_place, i) * pitch + b_place * 4;
        *(float4*)line = float4{sums[i][0], sums[i][1], sums[i][2], sums[i][3]};
        *(float4*)(line + B_ITEMS / 2) = float4{sums[i][4], sums[i][5], sums[i][6], sums[i][7]};
    }
}
