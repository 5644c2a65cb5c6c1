// Any product of bands onto a band by warpgroups (matmul_hopper.cuh): a block computes three times 64 rows by 144 columns of C, and runs
// over just the rows of B at which the bands of its rows and columns meet.
#pragma once

#include "matmul_hopper.cuh"

#if defined(HOPPER) || !defined(__CUDACC__)

template <int GROUPS, bool FOURS, class Slabs>
struct Standing : Warpgroups<GROUPS, FOURS, Slabs> {
    typedef Warpgroups<GROUPS, FOURS, Slabs> Base;
    using typename Base::FromA;
    using typename Base::Own;
    using typename Base::Sums;
    using typename Base::ToC;
    using Base::all, Base::DEPTH, Base::end, Base::i0, Base::j0, Base::origin, Base::PAIR, Base::PAIRS, Base::params, Base::ROWS, Base::TEAMS;
    static constexpr int WIDTH = Own::COLUMNS;

    // The slabs that the warpgroup's rows and the window have in common, first and end.
    METHOD int first_slab() const { return clamp((max(i0 - params.a_lower, j0 - params.b_upper) - origin) / DEPTH, 0, all); }
    METHOD int end_slab(int first) const {
        int k = min(i0 + ROWS + params.a_upper, j0 + WIDTH + params.b_lower) - origin;
        return i0 < end ? clamp((k + DEPTH - 1) / DEPTH, first, all) : first;
    }

    METHOD void multiply() {
        int s = 0, first = first_slab(), last = end_slab(first);
        float x[2][4] = {};
        Sums sums;
        uint own[3][4];
        FromA from = this->from_a(i0, first);
        this->load_a(x, from);
        this->split_a(own, x, from);
        this->load_a(x, from);
        this->clear(sums);
        this->pass(s, first);
#pragma unroll 1
        for (; s < last; s++) {
            this->add(sums, own, s, [&](uint (&next)[3][4]) {
                this->split_a(next, x, from);
                this->load_a(x, from);
            });
        }
        this->pass(s, all);
        ToC to = this->to_c();
        int column = j0 - i0 + params.c_lower;
#pragma unroll
        for (int n = 0; n < PAIRS; n++) this->finish(reinterpret_cast<float(&)[PAIR][4]>(sums[n * PAIR]), to, column + n * DEPTH);
        if (__any_sync(0xffffffff, to.finite != 0)) this->again();
    }
};

template <class Product>
DEVICE void tile_in_teams(const Params& params, const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c) {
    after_previous();
    extern __shared__ float4 slabs[];
    __shared__ Staged<Product> staged;
    size_t batch = blockIdx.x / params.tiles;
    if (batch >= params.batch) return;
    constexpr int ROWS = Product::TEAMS * Product::ROWS, DEPTH = Product::DEPTH;
    int row_tiles = (params.rows + ROWS - 1) / ROWS, column_tiles = params.tiles / row_tiles;
    // The middle of C has the most to sum: it comes first.
    int rank = blockIdx.x % params.tiles / row_tiles, half = (rank + 1) / 2;
    int base = blockIdx.x % row_tiles * ROWS, end = min(params.rows, base + ROWS);
    int j0 = base - params.c_lower + ((column_tiles - 1) / 2 + (rank % 2 ? half : -half)) * Product::WIDTH;
    // Slabs begin where values of A's first row do that are aligned, a multiple of 16 further on.
    int origin = params.flags & 2 ? 0 : base - params.a_lower;
    origin += max(0, max(j0 - params.b_upper, 0) - origin) / DEPTH * DEPTH;
    int last = min(params.inner, min(end + params.a_upper, j0 + Product::WIDTH + params.b_lower));
    int team = __shfl_sync(0xffffffff, threadIdx.x / 128, 0);
    a += batch * a_len(params);
    b += batch * b_len(params);
    c += batch * c_len(params);
    Product product{{params, a, b, c, (char*)slabs, (int)threadIdx.x % 128, team, origin, max(0, last - origin + DEPTH - 1) / DEPTH, j0, base + team * Product::ROWS, end}};
    in_teams(product, staged);
}

#endif
