// Rows of TILES · 16 halves, f16 or bf16, on tensor cores: how they are staged, multiplied, and leave. A warp has MT · 16
// rows of the left operand.
//
// A staged row is 16 bytes longer than its values, an odd number of 16-byte pieces, so that eight rows
// below each other lie in different banks; on a Hopper GPU rows of 64 are staged as its warpgroups want them.
#pragma once

#include "halves.cuh"
#include "warpgroup.cuh"

#ifdef HOPPER
template <int TILES>
constexpr bool by_warpgroup = TILES == 4;
#else
template <int TILES>
constexpr bool by_warpgroup = false;
#endif

template <int TILES>
constexpr int pitch_of = by_warpgroup<TILES> ? TILES * 16 : TILES * 16 + 8; // halves from one staged row to the next

// Where a row's eight columns from a multiple of 8 on are staged.
template <int TILES>
DEVICE int staged_at(int row, int column) { return row * pitch_of<TILES> + (by_warpgroup<TILES> ? column ^ row % 8 * 8 : column); }

template <class Half = half>
DEVICE uint pack(float low, float high) {
    return rounded<Half>(low, high);
}

// Whether one of the two halves is infinite or NaN, or, in bf16, at least 2^121.
DEVICE bool is_special(uint pair) { return ((pair & 0x7c007c00) + 0x04000400) & 0x80008000; }

// COUNT rows from `first` on, 0 where there is none, on their way into the stage.
template <int TILES, int COUNT, int THREADS, class Half>
DEVICE void stage_rows(Half* to, const Half* matrix, int first, int rows) {
    constexpr int pieces = TILES * 2, all = COUNT * pieces;
    if constexpr (THREADS % pieces == 0 && all % THREADS == 0) {
        // Steps of whole rows: addresses a constant apart.
        int row = threadIdx.x / pieces, column = threadIdx.x % pieces * 8;
        const Half* from = matrix + (first + row) * (TILES * 16) + column;
        Half* at = to + staged_at<TILES>(row, column);
#pragma unroll
        for (int n = 0; n < COUNT; n += THREADS / pieces) {
            cp_async_16(at + n * pitch_of<TILES>, from + n * (TILES * 16), (uint)(first + row + n) < (uint)rows);
        }
    } else {
#pragma unroll
        for (int n = 0; n < all; n += THREADS) {
            int at = threadIdx.x + n, row = at / pieces, column = at % pieces * 8;
            if (at >= all) break;
            cp_async_16(to + staged_at<TILES>(row, column), matrix + (first + row) * (TILES * 16) + column, (uint)(first + row) < (uint)rows);
        }
    }
}

// Sixteen rows as left operands, from memory. Beyond the last row it is repeated.
template <int TILES, class Half>
DEVICE void load_rows(uint (&a)[TILES][4], const Half* matrix, int first, int rows) {
    int lane = threadIdx.x % 32;
    const uint* low = (const uint*)(matrix + min(first + lane / 4, rows - 1) * (TILES * 16)) + lane % 4;
    const uint* high = (const uint*)(matrix + min(first + lane / 4 + 8, rows - 1) * (TILES * 16)) + lane % 4;
#pragma unroll
    for (int k = 0; k < TILES; k++) {
        a[k][0] = low[k * 8];
        a[k][1] = high[k * 8];
        a[k][2] = low[k * 8 + 4];
        a[k][3] = high[k * 8 + 4];
    }
}

// Copies that have come may be multiplied with once all threads have met.
template <int TILES>
DEVICE void copies_are_there() {
#ifdef HOPPER
    if (by_warpgroup<TILES>) matrix_fence();
#endif
}

// Sums of products, also read after this only: until then they may be on their way.
template <int TILES, int MT, int NT>
DEVICE void products_are_there(float (&c)[MT][NT][4]) {
#ifdef HOPPER
    if constexpr (by_warpgroup<TILES>) wait_for_products(c[0]);
#endif
}

// c = A · Bᵀ where B is NT · 8 staged rows.
template <int TILES, int MT, int NT, class Half>
DEVICE void times_rows(float (&c)[MT][NT][4], const uint (&a)[MT][TILES][4], const Half* stage) {
    int lane = threadIdx.x % 32;
    const Half* own = stage + (lane / 16 * 8 + lane % 8) * pitch_of<TILES> + lane / 8 % 2 * 8;
#pragma unroll
    for (int m = 0; m < MT; m++) {
#pragma unroll
        for (int n = 0; n < NT; n++) c[m][n][0] = c[m][n][1] = c[m][n][2] = c[m][n][3] = 0;
    }
#pragma unroll
    for (int k = 0; k < TILES; k++) {
#pragma unroll
        for (int n = 0; n < NT; n += 2) {
            uint b[4];
            ldmatrix_x4(b, own + n * 8 * pitch_of<TILES> + k * 16);
#pragma unroll
            for (int m = 0; m < MT; m++) {
                add_product<Half>(c[m][n], a[m][k], b[0], b[1]);
                add_product<Half>(c[m][n + 1], a[m][k], b[2], b[3]);
            }
        }
    }
}

// A left operand that stays: a warp's rows in registers, or a warpgroup's 64 in shared memory.
template <int TILES, int MT>
struct Left {
    uint a[MT][TILES][4];
    const half* staged;

    // A block's LINES rows from `first` on; `stage` is where they may be staged, `line` the warp's first.
    template <int LINES, int THREADS>
    METHOD void load(half* stage, const half* matrix, int first, int line, int rows) {
        if constexpr (by_warpgroup<TILES>) {
            stage_rows<TILES, LINES, THREADS>(stage, matrix, first, rows);
            staged = stage + (line - first) / 64 * 64 * pitch_of<TILES>;
        } else {
#pragma unroll
            for (int m = 0; m < MT; m++) load_rows<TILES>(a[m], matrix, line + m * 16, rows);
        }
    }

    // Every value with its sign changed.
    template <int LINES, int THREADS>
    METHOD void negate(half* stage) {
        if constexpr (by_warpgroup<TILES>) {
            cp_async_commit();
            cp_async_wait<0>();
            __syncthreads();
            for (int n = threadIdx.x; n < LINES * TILES * 8; n += THREADS) ((uint*)stage)[n] ^= 0x80008000;
        } else {
#pragma unroll
            for (int m = 0; m < MT; m++) {
#pragma unroll
                for (int k = 0; k < TILES; k++) a[m][k][0] ^= 0x80008000, a[m][k][1] ^= 0x80008000, a[m][k][2] ^= 0x80008000, a[m][k][3] ^= 0x80008000;
            }
        }
    }
};

template <int TILES, int MT, int NT>
DEVICE void times_rows(float (&c)[MT][NT][4], const Left<TILES, MT>& left, const half* stage) {
#ifdef HOPPER
    if constexpr (by_warpgroup<TILES>) times_staged(c[0], left.staged, stage);
    else times_rows<TILES, MT, NT>(c, left.a, stage);
#else
    times_rows<TILES, MT, NT>(c, left.a, stage);
#endif
}
// c += A · B where B is KT · 16 staged rows.
template <int TILES, int MT, int KT, class Half>
DEVICE void add_rows(float (&c)[MT][TILES * 2][4], uint (&a)[MT][KT][4], const Half* stage) {
#ifdef HOPPER
    if constexpr (by_warpgroup<TILES>) return add_staged(c[0], a[0], stage);
#endif
    int lane = threadIdx.x % 32;
    const Half* own = stage + lane % 16 * pitch_of<TILES> + lane / 16 * 8;
#pragma unroll
    for (int k = 0; k < KT; k++) {
#pragma unroll
        for (int n = 0; n < TILES; n++) {
            uint b[4];
            ldmatrix_x4_trans(b, own + k * 16 * pitch_of<TILES> + n * 16);
#pragma unroll
            for (int m = 0; m < MT; m++) {
                add_product<Half>(c[m][n * 2], a[m][k], b[0], b[1]);
                add_product<Half>(c[m][n * 2 + 1], a[m][k], b[2], b[3]);
            }
        }
    }
}

// A warp's sums, each row times its factor, leave as rows from `first` on. `place` holds MT · 16 staged
// rows of the warp's own. Where eight columns are not all finite, `exact` (line, its place in the warp, first
// column, words) may set them.
template <int TILES, int MT, class Half, typename Exact>
DEVICE void put_rows(Half* matrix, int first, int rows, const float (&c)[MT][TILES * 2][4], const float (&factors)[MT][2], Half* place, Exact exact) {
    int lane = threadIdx.x % 32;
    constexpr int pieces = TILES * 2;
    __syncwarp();
#pragma unroll
    for (int m = 0; m < MT; m++) {
#pragma unroll
        for (int n = 0; n < pieces; n++) {
            uint* to = (uint*)(place + staged_at<TILES>(m * 16 + lane / 4, n * 8)) + lane % 4;
            to[0] = pack<Half>(c[m][n][0] * factors[m][0], c[m][n][1] * factors[m][0]);
            to[8 * pitch_of<TILES> / 2] = pack<Half>(c[m][n][2] * factors[m][1], c[m][n][3] * factors[m][1]);
        }
    }
    __syncwarp();
#pragma unroll 1
    for (int at = lane; at < MT * 16 * pieces; at += 32) {
        int row = at / pieces, column = at % pieces * 8;
        if (first + row >= rows) break;
        uint4 words = *(const uint4*)(place + staged_at<TILES>(row, column));
        if (is_special(words.x) | is_special(words.y) | is_special(words.z) | is_special(words.w)) exact(first + row, row, column, words);
        *(uint4*)(matrix + (first + row) * (TILES * 16) + column) = words;
    }
}

// Adds a factor times eight halves.
template <class Half>
DEVICE void add_eight(float (&sums)[8], float factor, const Half* eight) {
#pragma unroll
    for (int n = 0; n < 8; n++) sums[n] = fmaf(factor, widened(eight[n]), sums[n]);
}

template <class Half = half>
DEVICE uint4 pack_eight(const float (&x)[8]) {
    return {pack<Half>(x[0], x[1]), pack<Half>(x[2], x[3]), pack<Half>(x[4], x[5]), pack<Half>(x[6], x[7])};
}
