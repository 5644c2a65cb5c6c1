// Products of two bands on Hopper's matrix units, in thirds of f32 (thirds.cuh): what a window that slides along wide bands
// (matmul_hopper_slide.cuh) and one that stands still (matmul_hopper_tile.cuh) have in common.
//
// A block goes along rows of B, 16 at a time (a slab). One warpgroup brings slabs, split, some ahead; three multiply by them,
// each 64 rows of A by a window of B's columns. A's values go from memory to registers, where they are split and multiplied.
#pragma once

#include "early.cuh"
#include "matmul_params.cuh"
#include "matmul_slab_along.cuh"

#if defined(HOPPER) || !defined(__CUDACC__)

// The window has GROUPS · 8 columns. `Slabs` brings B (matmul_slab.cuh) and says whether the window slides with the slabs, or
// begins with column j0 throughout, and whether C may be written 4 at once; A may be read so if FOURS.
template <int GROUPS, bool FOURS, class Slabs>
struct Warpgroups {
    typedef Slab<GROUPS> Own;
    static constexpr int ROWS = Own::ROWS, DEPTH = Own::DEPTH;
    static constexpr int TEAMS = 3; // warpgroups that multiply
    static constexpr int PAIR = 2;  // groups, of 16 columns
    static constexpr int PAIRS = GROUPS / PAIR;
    static constexpr int STAGES = 4, BYTES = STAGES * Own::BYTES;
    typedef float Sums[GROUPS][4];

    const Params& params;
    const float* __restrict__ a;
    const float* __restrict__ b;
    float* __restrict__ c;
    char* slabs;           // STAGES, in turns
    int t, team;           // thread of its warpgroup, and which that is
    int origin, all;       // first row of the first slab of B, number of slabs
    int j0;                // first column of the window
    int i0, end;           // first row of the warpgroup's strip, and the one after the block's
    Barrier *full, *empty; // of each stage

    METHOD int k0(int slab) const { return origin + slab * DEPTH; } // first row of B in the slab
    METHOD int row() const { return t / 32 * 16 + t % 32 / 4; }     // this thread's of the strip, and 8 further
    METHOD char* slab(int s) const { return slabs + s % STAGES * Own::BYTES; }
    METHOD uint round(int s) const { return s / STAGES % 2; } // which of a barrier's phases

    // ---- A: four k of two rows ----

    struct FromA {
        const float* next;     // the first of the next slab's four
        int down, step;        // to the other row, and to the next k
        int place[2], count[2]; // of the four in what is stored of each row, and how many are
    };

    // For the strip at row `strip`, from this slab on.
    METHOD FromA from_a(int strip, int slab) const {
        bool columns = !FOURS & (params.flags & 1);
        int k = k0(slab) + t % 4 * 4;
        FromA from = {a + a_index(params, strip + row(), k), 8 * (columns ? 1 : params.a_stride), columns ? params.a_stride : 1};
#pragma unroll
        for (int n = 0; n < 2; n++) {
            int i = strip + row() + n * 8;
            int first = max(i - params.a_lower, 0), last = i < end ? min(i + params.a_upper + 1, params.inner) : 0;
            from.place[n] = k - first;
            from.count[n] = max(last - first, 0);
        }
        return from;
    }

    METHOD void load_a(float (&x)[2][4], FromA& from) const {
        computed_here(from.down);
        computed_here(from.step);
#pragma unroll
        for (int n = 0; n < 2; n++) {
            computed_here(from.place[n]);
            computed_here(from.count[n]);
            int place = from.place[n];
            uint count = from.count[n];
            const float* line = from.next + n * from.down;
            if (FOURS) {
                // Else what was there stays, so that nothing waits for what is loaded.
                if (((uint)(place + 3) < count + 3) & (count > 0)) {
                    float4 v = load_four(line);
                    x[n][0] = v.x, x[n][1] = v.y, x[n][2] = v.z, x[n][3] = v.w;
                }
            } else {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    if ((uint)(place + e) < count) x[n][e] = line[e * from.step];
                }
            }
        }
        from.next += DEPTH * from.step;
    }

    // What was loaded last, in thirds, as products take it: of this thread's four k the first two as if they were 2 (t % 4)
    // and the next, the others as if 8 further. B's rows lie accordingly.
    METHOD void split_a(uint (&thirds_of)[3][4], const float (&x)[2][4], FromA& from) const {
#pragma unroll
        for (int n = 0; n < 2; n++) {
            float y[4];
#pragma unroll
            for (int e = 0; e < 4; e++) y[e] = (uint)(from.place[n] + e) < (uint)from.count[n] ? x[n][e] : 0;
            from.place[n] += DEPTH;
            Thirds low = thirds(y[0], y[1]), high = thirds(y[2], y[3]);
#pragma unroll
            for (int m = 0; m < 3; m++) thirds_of[m][n] = low.part[m], thirds_of[m][2 + n] = high.part[m];
        }
    }

    // ---- C ----

    struct ToC {
        float* line;  // the row's first four columns
        int down;     // to the other row
        float finite; // 0, or NaN after a sum that is not
        int first, end; // columns that all of the strip's rows have
    };

    METHOD ToC to_c() const {
        int j = i0 - params.c_lower;
        int last = i0 + ROWS <= params.rows ? min(params.c_lower + params.c_upper + 1, params.cols - j) : 0;
        return {c + c_index(params, i0 + row(), j + t % 4 * 4), 8 * params.c_stride, 0, max(ROWS - 1, -j), last};
    }

    // 16 columns of the window, counted from the first that the strip's first row has.
    METHOD void finish(const float (&sums)[PAIR][4], ToC& to, int column) const {
        int j = i0 - params.c_lower + column, width = params.c_lower + params.c_upper + 1;
        computed_here(to.down);
        float* own = to.line + column;
        computed_here(own);
        float* other = own + to.down;
        computed_here(other);
        if ((column >= to.first) & (column + DEPTH <= to.end)) {
#pragma unroll
            for (int n = 0; n < 2; n++) {
                float* line = n ? other : own;
                float4 v = make_float4(sums[0][2 * n], sums[0][2 * n + 1], sums[1][2 * n], sums[1][2 * n + 1]);
                if (Slabs::ALIGNED) *(float4*)line = v;
                else line[0] = v.x, line[1] = v.y, line[2] = v.z, line[3] = v.w;
            }
        } else {
#pragma unroll
            for (int n = 0; n < 2; n++) {
                int r = row() + n * 8, place = column + t % 4 * 4 - r; // in the row of C
                float* line = n ? other : own;
                int there = i0 + r < params.rows ? width : 0;
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    bool in_cols = (uint)(j + t % 4 * 4 + e) < (uint)params.cols;
                    if ((place + e >= 0) & (place + e < there)) line[e] = in_cols ? sums[e / 2][2 * n + e % 2] : params.fill;
                }
            }
        }
#pragma unroll
        for (int n = 0; n < PAIR; n++) {
#pragma unroll
            for (int m = 0; m < 4; m++) to.finite = fmaf(sums[n][m], 0.0f, to.finite);
        }
    }

    // ---- What warpgroups do ----

    METHOD void bring() const {
        typename Slabs::Values values[2] = {};
        Slabs from(params, b, t, k0(0), j0, min(params.inner, k0(all)));
        from.load(values[0]);
        from.load(values[1]);
#pragma unroll 1
        for (int s = 0; s < all; s += 2) {
#pragma unroll
            for (int n = 0; n < 2; n++) {
                if (s + n >= all) break;
                barrier_wait(empty[(s + n) % STAGES], round(s + n) ^ 1);
                from.stage(values[n], slab(s + n));
                matrix_fence();
                // Where the window slides, a place in a slab has another writer each time round, who is so known to come later.
                if (Slabs::SLIDES) part_sync(1, 128);
                else __syncwarp();
                if (t % 32 == 0) barrier_arrive(full[(s + n) % STAGES]);
                from.load(values[n]);
            }
        }
    }

    // Lets slabs pass until this one.
    METHOD void pass(int& s, int until) const {
#pragma unroll 1
        for (; s < until; s++) {
            barrier_wait(full[s % STAGES], round(s));
            if (t % 32 == 0) barrier_arrive(empty[s % STAGES]);
        }
    }

    METHOD static void clear(Sums& sums) {
#pragma unroll
        for (int n = 0; n < GROUPS; n++) {
#pragma unroll
            for (int m = 0; m < 4; m++) sums[n][m] = nothing();
        }
    }

    // Adds A's slab, split, times that of B; on their way while `meanwhile` does what it likes but with these, and splits A's
    // next slab.
    template <class Meanwhile>
    METHOD void add(Sums& sums, uint (&own)[3][4], int s, Meanwhile meanwhile) const {
        barrier_wait(full[s % STAGES], round(s));
        hold(sums);
#pragma unroll
        for (int m = 0; m < 3; m++) hold(own[m]);
        wgmma_begin();
#pragma unroll
        for (int product = 0; product < 6; product++) {
            constexpr int part_a[6] = {2, 1, 0, 1, 0, 0}, part_b[6] = {0, 1, 2, 0, 1, 0};
            add_part<Slabs::ALONG>(sums, own[part_a[product]], slab(s) + part_b[product] * Own::PART);
        }
        wgmma_commit();
        uint next[3][4];
        meanwhile(next);
        wgmma_wait<0>();
        hold(sums);
        if (t % 32 == 0) barrier_arrive(empty[s % STAGES]);
        // What is multiplied keeps its registers until here, since it is asked for, and the next comes no earlier.
        uint none = params.batch >> 31; // 0, but no compiler knows
#pragma unroll
        for (int m = 0; m < 3; m++) {
            hold(own[m]);
            hold(next[m]);
#pragma unroll
            for (int e = 0; e < 4; e++) own[m][e] = next[m][e] ^ (own[m][e] & none);
        }
    }

    // Sums of the warp's rows that are not finite, computed anew by the definition.
    METHOD void again() const {
        __syncwarp();
        int r0 = t / 32 * 16, width = params.c_lower + params.c_upper + 1;
#pragma unroll 1
        for (int r = r0; r < min(r0 + 16, end - i0); r++) {
            int i = i0 + r, before = Slabs::SLIDES ? 0 : j0 - i + params.c_lower;
            int last = Slabs::SLIDES ? width : min(width, before + Own::COLUMNS);
#pragma unroll 1
            for (int slot = max(before, 0) + t % 32; slot < last; slot += 32) {
                int j = i - params.c_lower + slot;
                if ((uint)j >= (uint)params.cols) continue;
                float* to = c + c_index(params, i, j);
                if (!ring_is_exact(*to)) *to = ring_exact(params, a, b, i, j);
            }
        }
    }
};

// Slabs, and the barriers that say which are full and which empty.
template <class Product>
struct Staged {
    Barrier full[Product::STAGES], empty[Product::STAGES];
};

// What the block has to do, by its warpgroups.
template <class Product>
DEVICE void in_teams(Product& product, Staged<Product>& staged) {
    if (threadIdx.x == 0) {
        for (int n = 0; n < Product::STAGES; n++) barrier_start(staged.full[n], 4), barrier_start(staged.empty[n], Product::TEAMS * 4);
    }
    __syncthreads();
    product.full = staged.full;
    product.empty = staged.empty;
    if (product.team == Product::TEAMS) {
        fewer_registers<80>();
        product.bring();
    } else {
        more_registers<144>();
        product.multiply();
    }
}

#endif
