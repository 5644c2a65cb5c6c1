// Where one term makes an entry of C, that term takes the whole gradient:
// ga[i,k] = Σ G[i,j] · slope over the j whose index is k. 4 threads own a row: they go along C's row in
// the order of j, and each adds to every fourth k's sum in shared memory.

#include "shared/gradient.cuh"
#include "shared/pick.cuh"

const int PLACES = 60;  // k of a block, for each row from its own first one; fewer where that divides better
const int ROWS = 32;
const int WIDE = 32;    // j staged at once
const int PITCH = 33;   // of staged rows and sums: one more spreads the banks
const int SHARERS = 4;  // of a row
const int EACH = WIDE / SHARERS; // entries that a thread brings in
const uint NONE = 0xffffffff;

template <class Pick>
DEVICE void pick(const Params& p, const float* __restrict__ b, const uint* __restrict__ index, const float* __restrict__ g,
                 float* __restrict__ ga) {
    __shared__ uint indices[WIDE * PITCH]; // [j][i]
    __shared__ float slopes[WIDE * PITCH];
    __shared__ float sums[PLACES * PITCH]; // [k][i]

    int batch = blockIdx.x / p.tiles;
    if (batch >= (int)p.batch) return;
    int in_matrix = blockIdx.x % p.tiles;
    bool dense = p.flags & 2;
    // Every row that A has slots for: in columns layout some are above and below the matrix.
    bool upright = p.flags & 1;
    bool beyond = upright & !dense;
    int lines = beyond ? p.inner + p.a_lower + p.a_upper : p.rows;
    int k_tiles = (int)p.tiles / ((lines + ROWS - 1) / ROWS);
    int places = ((dense ? p.inner : p.a_lower + p.a_upper + 1) + k_tiles - 1) / k_tiles;
    int i0 = in_matrix / k_tiles * ROWS - (beyond ? p.a_upper : 0);
    b += batch * b_len(p);
    index += batch * c_len(p);
    ga += batch * a_len(p);
    View of_g = like(view_c(p), p.flags >> 6);

    int t = threadIdx.x % 32;
    int sharer = threadIdx.x / 32;
    int i = i0 + t;
    // Where the places of row i0 start; each further row's start one further, but for dense A.
    int k0 = (dense ? 0 : i0 - p.a_lower) + in_matrix % k_tiles * places;
    int shift = dense ? 0 : 1;
    int mine = k0 + t * shift;
    for (int k = sharer; k < places; k += SHARERS) sums[k * PITCH + t] = 0;

    // Neighbours read neighbours, and a thread the entries across from the first.
    bool columns = p.flags & 16;
    int down = columns ? t : sharer * EACH, right = columns ? sharer * EACH : t;
    int across_down = columns ? 0 : 1, across_right = columns ? 1 : 0;
    int g_step = (of_g.flags & 1) == columns ? of_g.stride : 1;
    int end = end_j(p, i0 + ROWS - 1, k0 + (ROWS - 1) * shift + places - 1);
    for (int j0 = first_j(p, i0, k0); j0 < end; j0 += WIDE) {
        __syncthreads();
        uint found[EACH];
        float slope[EACH];
        int at_c = c_index(p, i0 + down, j0 + right);
        int at_g = view_index(of_g, batch, {i0 + down, j0 + right});
#pragma unroll
        for (int n = 0; n < EACH; n++) {
            int row = i0 + down + n * across_down, j = j0 + right + n * across_right;
            bool stored = (row >= 0) & (row < p.rows) & (j < p.cols) & in_band(row, j, p.c_lower, p.c_upper);
            found[n] = stored ? index[at_c + n * p.c_stride] : NONE;
            slope[n] = stored ? g[at_g + n * g_step] : 0;
        }
#pragma unroll
        for (int n = 0; n < EACH; n++) {
            int at = right + n * across_right;
            if (Pick::FACTOR && found[n] != NONE) slope[n] *= Pick::slope(b[b_index(p, found[n], j0 + at)]);
            indices[at * PITCH + down + n * across_down] = found[n];
            slopes[at * PITCH + down + n * across_down] = slope[n];
        }
        __syncthreads();
#pragma unroll 4
        for (int n = 0; n < WIDE; n++) {
            uint found = indices[n * PITCH + t];
            uint place = found - (uint)mine;
            bool own = (found != NONE) & (place < (uint)places) & (place % SHARERS == (uint)sharer);
            if (own) sums[place * PITCH + t] += slopes[n * PITCH + t];
        }
    }
    __syncthreads();

    // Neighbours write neighbours: along A's rows, or down its columns.
    if (!upright) {
        for (int r = sharer; r < min(ROWS, p.rows - i0); r += SHARERS) {
            for (int n = t; n < places; n += ROWS) {
                int k = k0 + r * shift + n;
                bool real = (k >= 0) & (k < p.inner);
                bool slot = dense ? real : in_band(i0 + r, k, p.a_lower, p.a_upper);
                if (slot) ga[a_index(p, i0 + r, k)] = real ? sums[n * PITCH + r] : 0;
            }
        }
        return;
    }
    bool real = (i >= 0) & (i < p.rows);
    for (int k = max(0, k0) + sharer; k < min(p.inner, k0 + (ROWS - 1) * shift + places); k += SHARERS) {
        int n = k - mine;
        bool slot = dense ? real : in_band(i, k, p.a_lower, p.a_upper);
        if ((n >= 0) & (n < places) & slot) ga[a_index(p, i, k)] = real ? sums[n * PITCH + t] : 0;
    }
}

KERNEL(128) matmul_backward_max(PARAMS params, const float* __restrict__, const float* __restrict__ b, const uint* __restrict__ index,
                                const float* __restrict__ g, float* __restrict__ ga) {
    pick<Max>(params, b, index, g, ga);
}

KERNEL(128) matmul_backward_prodmax(PARAMS params, const float* __restrict__, const float* __restrict__ b,
                                    const uint* __restrict__ index, const float* __restrict__ g, float* __restrict__ ga) {
    pick<ProdMax>(params, b, index, g, ga);
}
