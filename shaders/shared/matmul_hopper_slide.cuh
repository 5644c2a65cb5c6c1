// The whole product of two wide bands by warpgroups (matmul_hopper.cuh), each of which takes 64 rows of C at a time (a strip).
//
//         columns of C                    16 rows of B reach no more columns than a row does and 15 more: the
//   A     [ window ]→                     window. It moves on with the slabs, and the 16 columns that it leaves
//   x x . x x x x x . . .                 behind are finished. They go from registers to C while the next
//   . x x . x x x x x . .                 slab's products are under way.
//
// A block goes along many strips. A strip begins four slabs after the one before and has twelve at most, so three
// warpgroups take strips in turns, and multiply by the same slabs:
//
//         slab    0 . . . 4 . . . 8 . . . 12 . . 16
//   warpgroup 0   [ strip 0            ] [ strip 3    ...
//             1           [ strip 1            ] [ ...
//             2                   [ strip 2            ] ...
#pragma once

#include "matmul_hopper.cuh"

#if defined(HOPPER) || !defined(__CUDACC__)

template <int GROUPS, bool ALIGNED>
struct Sliding : Warpgroups<GROUPS, ALIGNED, Across<GROUPS, ALIGNED, true>> {
    typedef Warpgroups<GROUPS, ALIGNED, Across<GROUPS, ALIGNED, true>> Base;
    using typename Base::FromA;
    using typename Base::Sums;
    using typename Base::ToC;
    using Base::all, Base::DEPTH, Base::end, Base::i0, Base::PAIR, Base::PAIRS, Base::params, Base::ROWS, Base::team, Base::TEAMS;
    static constexpr int APART = ROWS / DEPTH; // slabs from strip to strip
    static constexpr int TURN = TEAMS * APART; // slabs until a warpgroup's next strip

    METHOD static int slab_count(const Params& params) { return (ROWS + params.a_lower + params.a_upper + DEPTH - 1) / DEPTH; } // of a strip

    // The columns that the window has left after a slab; those that come in have their place.
    METHOD static void take(float (&left)[PAIR][4], Sums& sums, int turn) {
        auto move = [&](int first) {
#pragma unroll
            for (int n = 0; n < PAIR; n++) {
#pragma unroll
                for (int m = 0; m < 4; m++) left[n][m] = sums[first + n][m], sums[first + n][m] = nothing();
            }
        };
        static_assert(PAIRS == 9, "as many cases");
        switch (turn) {
        case 0: move(0); break;
        case 1: move(PAIR); break;
        case 2: move(2 * PAIR); break;
        case 3: move(3 * PAIR); break;
        case 4: move(4 * PAIR); break;
        case 5: move(5 * PAIR); break;
        case 6: move(6 * PAIR); break;
        case 7: move(7 * PAIR); break;
        default: move(8 * PAIR); break;
        }
    }

    METHOD void multiply() {
        int count = slab_count(params), s = 0;
        float left[PAIR][4], x[2][4] = {};
        Sums sums;
        uint own[3][4];
        FromA from = this->from_a(i0, team * APART);
        this->load_a(x, from);
        this->split_a(own, x, from);
        this->load_a(x, from);
#pragma unroll 1
        for (int first = team * APART; i0 < end; first += TURN, i0 += TEAMS * ROWS) {
            ToC to = this->to_c();
            this->clear(sums);
            this->pass(s, first);
#pragma unroll 1
            for (int n = 0; n < count; n++, s++) {
                this->add(sums, own, s, [&](uint (&next)[3][4]) {
                    if (n > 0) this->finish(left, to, (n - 1) * DEPTH);
                    this->split_a(next, x, from);
                    // After a strip's last slab come the next one's.
                    if (n + 2 == count) from = this->from_a(i0 + TEAMS * ROWS, first + TURN);
                    this->load_a(x, from);
                });
                take(left, sums, s % PAIRS);
            }
            this->finish(left, to, (count - 1) * DEPTH);
            // The rest of the window, which begins at another place each time.
            int turn = s % PAIRS;
#pragma unroll
            for (int n = 0; n < PAIRS; n++) {
                int further = n - turn + (n < turn ? PAIRS : 0);
                if (further < PAIRS - 1) this->finish(reinterpret_cast<float(&)[PAIR][4]>(sums[n * PAIR]), to, (count + further) * DEPTH);
            }
            if (__any_sync(0xffffffff, to.finite != 0)) this->again();
        }
        this->pass(s, all);
    }
};

template <class Product>
DEVICE void slide_in_teams(const Params& params, const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c) {
    after_previous();
    extern __shared__ float4 slabs[];
    __shared__ Staged<Product> staged;
    size_t batch = blockIdx.x / params.tiles;
    if (batch >= params.batch) return;
    // As many strips to each block.
    int strips = (params.rows + Product::ROWS - 1) / Product::ROWS, own = (strips + params.tiles - 1) / params.tiles;
    int base = blockIdx.x % params.tiles * own * Product::ROWS, end = min(params.rows, base + own * Product::ROWS);
    if (base >= end) return;
    int team = __shfl_sync(0xffffffff, threadIdx.x / 128, 0), origin = base - params.a_lower;
    int all = ((end - base + Product::ROWS - 1) / Product::ROWS - 1) * Product::APART + Product::slab_count(params);
    a += batch * a_len(params);
    b += batch * b_len(params);
    c += batch * c_len(params);
    Product product{{params, a, b, c, (char*)slabs, (int)threadIdx.x % 128, team, origin, all, origin - params.b_lower, base + team * Product::ROWS, end}};
    in_teams(product, staged);
}

#endif
