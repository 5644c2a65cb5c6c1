// Tiles of f32 sums for the block products: panels of two operands, DEPTH terms at a time, go into shared
// memory by asynchronous copies, STAGES - 1 ahead, and tensor cores multiply them as three products of tf32
// (tensor.cuh), 64 sums a thread.
//
// A panel lies in shared memory as its operand does in global memory, so that copies are of 16 bytes:
// term after term, or item after item (along the terms; the items are tokens, outputs, rows or places).
// Either way a lane reads 16 bytes at a time, 4 items of a term or 4 terms of an item: with g = lane / 4 and
// t = lane % 4, items RUN g to RUN g + RUN - 1 at terms 4 t to 4 t + 3 of 16. Which item is a row of a fragment's and
// which term a k of it is free as long as both operands and the sums agree:
//
//   k t and k t + 4 of step s are terms 4 t + 2 s and 4 t + 2 s + 1
//   WIDE:   of 32 items, 4 g + 2 m and 4 g + 2 m + 1 are rows g and g + 8 of fragment m
//   NARROW: of 8 RUN items, RUN g + n is column g of fragment n
#pragma once

#include "tensor.cuh"

constexpr uint DEPTH = 32;
constexpr uint STAGES = 2;

// Items of a panel that lie side by side for a lane.
template <uint ITEMS>
constexpr uint RUN = ITEMS < 32 ? ITEMS / 8 : 4;

// Which float4 of a panel holds this item of this term. 8 lanes are served at once, two g with all t. Along the terms
// they want float4s t of two items, whose eight are permuted so that the second has 4 to 7. Along the items they want
// g of terms that are 4 apart; float4s that would be above each other in the banks go 2 t further, and those of odd terms
// another 4, so that the copies of two neighbouring terms meet all banks, too. With 16 items (8-byte reads, 16 lanes) odd
// terms are there anyhow.
//
// It is linear over the bits: where no bit is in both of two places, the spot of their sum is the spots' exclusive or.
template <bool ALONG, uint ITEMS>
DEVICE constexpr uint spot(uint item, uint term) {
    return ALONG ? item * 8 + (term / 4 ^ item / RUN<ITEMS> % 2 * 4)
                 : (term * (ITEMS / 4) + item / 4) ^ term / 4 % 4 * 2 ^ (ITEMS < 32 ? 0 : term % 2 * 4);
}

// Keeps a value in a register, where the compiler would rather compute it again.
DEVICE uint kept(uint value) {
#ifdef __CUDACC__
    asm volatile("" : "+r"(value));
#endif
    return value;
}

// The pieces that a thread copies, VECTOR values each: of which item and term the first starts, how far the
// next is, and where in a panel the first goes.
struct Pieces {
    uint item, term, items_on, terms_on, to;
};

// Along the terms.
template <uint VECTOR, uint THREADS>
DEVICE Pieces pieces_along(uint local) {
    return Pieces{local / (DEPTH / VECTOR), local % (DEPTH / VECTOR) * VECTOR, THREADS * VECTOR / DEPTH, 0, 0};
}

// Along the items, all of one term; or, wide, all of the same items.
template <uint VECTOR, uint THREADS>
DEVICE Pieces pieces_across(uint local) {
    return Pieces{local % (THREADS / DEPTH) * VECTOR, local / (THREADS / DEPTH), THREADS * VECTOR / DEPTH, 0, 0};
}

template <uint VECTOR, uint THREADS, uint ITEMS>
DEVICE Pieces pieces_across_wide(uint local) {
    return Pieces{local % (ITEMS / VECTOR) * VECTOR, local / (ITEMS / VECTOR), 0, THREADS * VECTOR / ITEMS, 0};
}

// The same, knowing where they go.
template <bool ALONG, uint ITEMS>
DEVICE Pieces placed(Pieces of) {
    of.to = kept(spot<ALONG, ITEMS>(of.item, of.term));
    return of;
}

// Copies piece n.
template <uint VECTOR, bool ALONG, uint ITEMS>
DEVICE void copy(float4* panel, Pieces of, uint n, const float* from, bool ok) {
    uint item = n * of.items_on, term = n * of.terms_on;
    if (VECTOR == 4) {
        const uint on = spot<ALONG, ITEMS>(item, term); // known to the compiler
        cp_async_16(panel + (of.to ^ on % 8) + on / 8 * 8, from, ok);
    } else {
        item += of.item, term += of.term;
        cp_async_4((float*)(panel + spot<ALONG, ITEMS>(item, term)) + (ALONG ? term : item) % 4, from, ok);
    }
}

// A tile's warps have 64 × 32 sums each, or 128 × 16 where it is that narrow.
template <uint WIDE, uint NARROW>
struct Tile {
    static constexpr uint THREADS = WIDE * NARROW / 64, BYTES = STAGES * DEPTH * 4 * (WIDE + NARROW);
    static constexpr uint N = RUN<NARROW>, M = 16 / N; // fragments
    static constexpr uint WARPS = WIDE / (M * 16);     // along the wide side

    float sums[M][N][4];

    // Where the warp's part of the tile begins.
    METHOD static uint wide() { return warp_index() % WARPS * (M * 16); }
    METHOD static uint narrow() { return warp_index() / WARPS * (N * 8); }
};

// Where a lane's items of a panel begin, in bytes, for a warp that begins at `item`.
template <bool ALONG, uint ITEMS>
DEVICE uint begin(uint item) {
    const uint lane = threadIdx.x % 32;
    item += lane / 4 * RUN<ITEMS>;
    return spot<ALONG, ITEMS>(item, lane % 4 * 4) * 16 + (ALONG ? 0 : item % 4 * 4);
}

// The same so many items and terms on.
template <bool ALONG, uint ITEMS>
DEVICE uint further(uint begin, uint items, uint terms) {
    const uint on = spot<ALONG, ITEMS>(items, terms);
    return (begin ^ on % 8 * 16) + on / 8 * 128;
}

// RUN items of 4 terms each, from where a lane begins.
template <bool ALONG, uint ITEMS>
DEVICE void values_at(float (&values)[RUN<ITEMS>][4], const float4* memory, uint begin, uint items) {
    auto at = [&](uint item, uint term) { return (const char*)memory + further<ALONG, ITEMS>(begin, items + item, term); };
#pragma unroll
    for (uint n = 0; n < (ALONG ? RUN<ITEMS> : 4); n++) {
        if (ALONG) {
            float4 four = *(const float4*)at(n, 0);
            values[n][0] = four.x, values[n][1] = four.y, values[n][2] = four.z, values[n][3] = four.w;
        } else if (RUN<ITEMS> == 4) {
            float4 four = *(const float4*)at(0, n);
            values[0][n] = four.x, values[1][n] = four.y, values[2 % RUN<ITEMS>][n] = four.z, values[3 % RUN<ITEMS>][n] = four.w;
        } else {
            float2 two = *(const float2*)at(0, n);
            values[0][n] = two.x, values[1][n] = two.y;
        }
    }
}

// Adds the products of a stage, whose panels begin for the lane at these bytes. Each of the three products goes over
// several sums before the next comes back to them, since a unit answers late.
template <bool WIDE_ALONG, bool NARROW_ALONG, uint WIDE, uint NARROW>
DEVICE void multiply(Tile<WIDE, NARROW>& tile, const float4* memory, uint wide, uint narrow) {
    constexpr uint M = Tile<WIDE, NARROW>::M, N = Tile<WIDE, NARROW>::N;
#pragma unroll
    for (uint term = 0; term < DEPTH; term += 16) {
        const uint wide_at = further<WIDE_ALONG, WIDE>(wide, 0, term), narrow_at = further<NARROW_ALONG, NARROW>(narrow, 0, term);
        float narrows[N][4];
        values_at<NARROW_ALONG, NARROW>(narrows, memory, narrow_at, 0);
        Split right[N][4];
#pragma unroll
        for (uint n = 0; n < N * 4; n++) right[n / 4][n % 4] = split(narrows[n / 4][n % 4]);
#pragma unroll
        for (uint pair = 0; pair < M; pair += 2) {
            float left[4][4];
            values_at<WIDE_ALONG, WIDE>(left, memory, wide_at, pair * 16);
#pragma unroll
            for (uint k = 0; k < 4; k += 2) {
#pragma unroll
                for (uint m = 0; m < 2; m++) {
                    SplitRows a;
#pragma unroll
                    for (uint n = 0; n < 4; n++) a.set(n, left[m * 2 + n % 2][k + n / 2]);
#pragma unroll
                    for (uint product = 0; product < 3; product++) {
#pragma unroll
                        for (uint n = 0; n < N; n++) {
                            const Split b0 = right[n][k], b1 = right[n][k + 1];
                            float(&sums)[4] = tile.sums[pair + m][n];
                            if (product == 0) mma_16x8x8(sums, a.small, b0.big, b1.big, sums);
                            if (product == 1) mma_16x8x8(sums, a.big, b0.small, b1.small, sums);
                            if (product == 2) mma_16x8x8(sums, a.big, b0.big, b1.big, sums);
                        }
                    }
                }
            }
        }
    }
}

// The sums in shared memory, from where they go out: `pitch` floats, a multiple of 4, from item to item of the wide side,
// or, ACROSS, of the narrow one.
template <bool ACROSS, uint WIDE, uint NARROW>
DEVICE void spread(const Tile<WIDE, NARROW>& tile, float* out, uint pitch) {
    constexpr uint M = Tile<WIDE, NARROW>::M, N = Tile<WIDE, NARROW>::N;
    const uint lane = threadIdx.x % 32, wide = tile.wide() + lane / 4 * 4, narrow = tile.narrow() + lane % 4 * (2 * N);
    // Item `w` of a lane's of the wide side, 4 of each 32, and `n` of its 2 N of the narrow one.
    auto sum = [&](uint w, uint n) { return tile.sums[w / 2][n % N][w % 2 * 2 + n / N]; };
#pragma unroll
    for (uint w = 0; w < M * 2; w += 4) {
#pragma unroll
        for (uint n = 0; n < N * 2; n += 4) {
#pragma unroll
            for (uint i = 0; i < 4; i++) {
                float4 four = ACROSS ? float4{sum(w, n + i), sum(w + 1, n + i), sum(w + 2, n + i), sum(w + 3, n + i)}
                                     : float4{sum(w + i, n), sum(w + i, n + 1), sum(w + i, n + 2), sum(w + i, n + 3)};
                uint at = ACROSS ? (narrow + n + i) * pitch + wide + w * 8 : (wide + w * 8 + i) * pitch + narrow + n;
                *(float4*)(out + at) = four;
            }
        }
    }
}

// Whether any is infinite or NaN. Splitting may have made it so, and the definition has to say.
DEVICE bool any_not_finite(const float (&values)[4]) {
    bool any = false;
#pragma unroll
    for (uint i = 0; i < 4; i++) any |= !isfinite(values[i]);
    return any;
}
