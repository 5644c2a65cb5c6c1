// Slabs of a B whose k are side by side in memory, as those of a matrix in columns layout are; see matmul_slab.cuh.
#pragma once

#include "matmul_slab.cuh"

#if defined(HOPPER) || !defined(__CUDACC__)

// A thread has four k of every 32nd column, half of the threads also of one of the columns beyond 128. The window stands still.
template <int GROUPS>
struct Along {
    typedef Slab<GROUPS> Own;
    static constexpr bool ALIGNED = true, SLIDES = false, ALONG = true;
    static constexpr int DEPTH = Own::DEPTH, FOURS = 5;
    static_assert(Own::COLUMNS == 128 + 16, "as said");

    struct Values {
        float four[FOURS][4];
        uint stored;
    };

    const Params& params;
    const float* next; // the first of the slab's four k, in the first of the columns
    int t, k, j, end;  // thread, the slab's first row, its first column, and where rows or slabs end

    METHOD int own_k() const { return t % 4 * 4; }
    METHOD int column(int n) const { return t / 4 + n * 32; }

    METHOD Along(const Params& params, const float* b, int t, int k, int j, int end) : params(params), t(t), k(k), j(j), end(end) {
        next = b + b_index(params, k + own_k(), j + column(0));
    }

    // Which values of a slab are in the matrix and in the band.
    METHOD uint in_both() const {
        uint stored = 0;
#pragma unroll
        for (int n = 0; n < FOURS; n++) {
            int own = j + column(n), first = max(own - params.b_upper, 0), last = min(own + params.b_lower + 1, end);
            bool there = ((uint)own < (uint)params.cols) & (column(n) < Own::COLUMNS) & (first < last);
            stored |= there ? stored_bits(first - k - own_k(), last - k - own_k(), 4) << n * 4 : 0;
        }
        return stored;
    }

    METHOD void load(Values& v) {
        bool inner = (k >= 0) & (k + DEPTH <= end) & (j >= 0) & (j + Own::COLUMNS <= params.cols);
        bool full = (k >= j + Own::COLUMNS - 1 - params.b_upper) & (k + DEPTH <= j + params.b_lower + 1);
        v.stored = t < 64 ? 0xfffff : 0xffff;
        if (!(inner & full)) v.stored = in_both();
#pragma unroll
        for (int n = 0; n < FOURS; n++) {
            if (v.stored >> n * 4 & 15) {
                float4 four = load_four(next + n * 32 * params.b_stride);
                v.four[n][0] = four.x, v.four[n][1] = four.y, v.four[n][2] = four.z, v.four[n][3] = four.w;
            }
        }
        next += DEPTH;
        k += DEPTH;
    }

    METHOD void stage(Values& v, char* slab) {
        char* to = slab + Own::template at<true>(own_k(), column(0) % 16) + column(0) / 16 * 2 * Own::BESIDE;
#pragma unroll
        for (int n = 0; n < FOURS; n++) {
#pragma unroll
            for (int e = 0; e < 4; e++) v.four[n][e] = v.stored >> (n * 4 + e) & 1 ? v.four[n][e] : 0;
            Thirds low = thirds(v.four[n][0], v.four[n][1]), high = thirds(v.four[n][2], v.four[n][3]);
            if (n == FOURS - 1 && t >= 64) break;
#pragma unroll
            for (int m = 0; m < 3; m++) {
                *(uint*)(to + n * 4 * Own::BESIDE + m * Own::PART) = low.part[m];
                *(uint*)(to + n * 4 * Own::BESIDE + Own::HALF + m * Own::PART) = high.part[m];
            }
        }
    }
};

#endif
