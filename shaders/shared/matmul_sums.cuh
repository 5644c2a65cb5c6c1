// The sums of a tile of ROWS × WIDTH, of which each of four warps has half the rows by half the columns; how
// operands are staged for them, how a stage is multiplied, and how they leave. Lines are rows of A and columns of B.
//
//   `slot`      where a line has a k in a stage of COUNT lines; `along` says that memory has a line's values side by side
//   `put`       stages four values, along a line or of one k
//   `multiply`  adds a stage's products
//   `spread`    sets them out in rows, PITCH apart, columns 2 n and 2 n + 1 having changed places
#pragma once

#include "matmul_params.cuh"
#include "thirds.cuh"

// By threads, each 8 × COLUMNS sums, 8 k at a time. Operands go through the stage as [k][line]: what a thread multiplies
// at one k it reads 4 values at once.
template <int ROWS, int WIDTH>
struct ThreadSums {
    static constexpr int DEPTH = 8, COLUMNS = WIDTH / 16;
    template <int COUNT>
    static constexpr int pitch = COUNT + 4; // 4 k apart, another bank
    static constexpr int A_SIZE = DEPTH * pitch<ROWS>, B_SIZE = DEPTH * pitch<WIDTH>; // floats of a stage

    int row, column;
    float acc[COLUMNS][8];

    // In a half of a warp, neighbours share rows and those two apart columns. A thread's rows are 4 and
    // 4, 16 apart, its columns by fours, 32 apart.
    METHOD ThreadSums(int wi, int wj, bool, bool) {
        int lane = threadIdx.x % 32;
        row = wi + ((lane >> 1 & 1) + (lane >> 2 & 2)) * 4;
        column = wj + ((lane & 1) + (lane >> 1 & 2) + (lane >> 2 & 4)) * 4;
#pragma unroll
        for (int e = 0; e < COLUMNS; e++) {
#pragma unroll
            for (int r = 0; r < 8; r++) acc[e][r] = ring_start();
        }
    }

    template <int COUNT>
    METHOD static int slot(bool, int line, int k) { return k * pitch<COUNT> + line; }

    template <int COUNT>
    METHOD static void put(bool along, float* stage, int slot, float4 v) {
        float* to = stage + slot;
        if (along) {
            to[0] = v.x;
            to[pitch<COUNT>] = v.y;
            to[2 * pitch<COUNT>] = v.z;
            to[3 * pitch<COUNT>] = v.w;
        } else {
            *(float4*)to = v;
        }
    }

    METHOD void multiply(const float* stage) {
        const float *tile_a = stage + row, *tile_b = stage + A_SIZE + column;
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            float4 x[2], y[COLUMNS / 4];
#pragma unroll
            for (int n = 0; n < 2; n++) x[n] = *(const float4*)(tile_a + k * pitch<ROWS> + 16 * n);
#pragma unroll
            for (int n = 0; n < COLUMNS / 4; n++) y[n] = *(const float4*)(tile_b + k * pitch<WIDTH> + 32 * n);
#pragma unroll
            for (int e = 0; e < COLUMNS; e++) {
                float ye = e % 4 == 0 ? y[e / 4].x : e % 4 == 1 ? y[e / 4].y : e % 4 == 2 ? y[e / 4].z : y[e / 4].w;
#pragma unroll
                for (int n = 0; n < 2; n++) {
                    acc[e][4 * n] = ring_mac(acc[e][4 * n], x[n].x, ye);
                    acc[e][4 * n + 1] = ring_mac(acc[e][4 * n + 1], x[n].y, ye);
                    acc[e][4 * n + 2] = ring_mac(acc[e][4 * n + 2], x[n].z, ye);
                    acc[e][4 * n + 3] = ring_mac(acc[e][4 * n + 3], x[n].w, ye);
                }
            }
        }
    }

    // Columns change places to have a sum and the value of B it is multiplied with in different banks of registers.
    METHOD void spread(float* memory, int pitch) const {
#pragma unroll
        for (int r = 0; r < 8; r++) {
            float* to = memory + (row + r / 4 * 16 + r % 4) * pitch + column;
#pragma unroll
            for (int e = 0; e < COLUMNS; e += 4) *(float4*)(to + 8 * e) = make_float4(acc[e + 1][r], acc[e][r], acc[e + 3][r], acc[e + 2][r]);
        }
    }
};

// By warps, on tensor cores, 16 k at a time: two fragments of 16 rows by COLUMNS of 8 columns. Operands are staged as they
// lie in memory, in thirds.
template <int ROWS, int WIDTH>
struct WarpSums {
    static constexpr int DEPTH = 16, COLUMNS = WIDTH / 16;
    static constexpr int A_SIZE = 3 * third_plane<ROWS> / 2, B_SIZE = 3 * third_plane<WIDTH> / 2;

    int wi, wj;
    bool a_along, b_along;
    float acc[COLUMNS][2][4];

    METHOD WarpSums(int wi, int wj, bool a_along, bool b_along) : wi(wi), wj(wj), a_along(a_along), b_along(b_along) {
#pragma unroll
        for (int n = 0; n < COLUMNS; n++) {
#pragma unroll
            for (int m = 0; m < 2; m++) acc[n][m][0] = acc[n][m][1] = acc[n][m][2] = acc[n][m][3] = 0;
        }
    }

    template <int COUNT>
    METHOD static int slot(bool along, int line, int k) { return along ? third_at<true, COUNT>(line, k) : third_at<false, COUNT>(line, k); }

    template <int COUNT>
    METHOD static void put(bool, float* stage, int slot, float4 v) { put_thirds<third_plane<COUNT>>((__nv_bfloat16*)stage + slot, v); }

    template <bool A_ALONG, bool B_ALONG>
    METHOD void multiply_lying(const float* stage) {
        const __nv_bfloat16* from_a = (const __nv_bfloat16*)stage + third_at<A_ALONG, ROWS>(wi, 0) + third_fragment<A_ALONG, ROWS, false>();
        const __nv_bfloat16* from_b = (const __nv_bfloat16*)(stage + A_SIZE) + third_at<B_ALONG, WIDTH>(wj, 0) + third_fragment<B_ALONG, WIDTH, true>();
        uint a[3][2][4];
#pragma unroll
        for (int part = 0; part < 3; part++) {
#pragma unroll
            for (int m = 0; m < 2; m++) load_fragment<A_ALONG>(a[part][m], from_a + part * third_plane<ROWS> + third_at<A_ALONG, ROWS>(16 * m, 0));
        }
#pragma unroll
        for (int n = 0; n < COLUMNS; n += 2) {
            uint b[3][4];
#pragma unroll
            for (int part = 0; part < 3; part++) load_fragment<B_ALONG>(b[part], from_b + part * third_plane<WIDTH> + third_at<B_ALONG, WIDTH>(8 * n, 0));
#pragma unroll
            for (int product = 0; product < 6; product++) add_third<2>(product, acc[n], acc[n + 1], a, b);
        }
    }

    METHOD void multiply(const float* stage) {
        if (a_along) {
            if (b_along) multiply_lying<true, true>(stage);
            else multiply_lying<true, false>(stage);
        } else {
            if (b_along) multiply_lying<false, true>(stage);
            else multiply_lying<false, false>(stage);
        }
    }

    METHOD void spread(float* memory, int pitch) const {
        int lane = threadIdx.x % 32;
        float* to = memory + (wi + lane / 4) * pitch + wj + lane % 4 * 2;
#pragma unroll
        for (int n = 0; n < COLUMNS; n++) {
#pragma unroll
            for (int m = 0; m < 2; m++) {
                *(float2*)(to + 16 * m * pitch + 8 * n) = make_float2(acc[n][m][1], acc[n][m][0]);
                *(float2*)(to + (16 * m + 8) * pitch + 8 * n) = make_float2(acc[n][m][3], acc[n][m][2]);
            }
        }
    }
};

template <bool SUMS, int ROWS, int WIDTH>
struct ChosenSums {
    typedef ThreadSums<ROWS, WIDTH> Type;
};
template <int ROWS, int WIDTH>
struct ChosenSums<true, ROWS, WIDTH> {
    typedef WarpSums<ROWS, WIDTH> Type;
};
template <int ROWS, int WIDTH>
using Sums = typename ChosenSums<RING_SUMS, ROWS, WIDTH>::Type;
