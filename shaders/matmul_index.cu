// For every C[i,j] the first k whose term is the largest. 64 threads take 4 rows × 64 columns, one
// column each, so that neighbours read neighbours in B's rows; A's 4 rows are staged.

#include "shared/gradient.cuh"
#include "shared/pick.cuh"

const int ROWS = 4;
const int COLUMNS = 64;
const int DEPTH = 192; // k staged at once: the width of a row of A in most bands
const uint NONE = 0xffffffff;

// The first largest term of an entry, NaN counting as the largest.
template <class Pick>
DEVICE uint exact(const Params& p, const float* __restrict__ a, const float* __restrict__ b, int i, int j) {
    float best = minus_infinity();
    uint index = NONE;
    for (int k = first_k(p, i, j); k < end_k(p, i, j); k++) {
        float value = Pick::term(a[a_index(p, i, k)], b[b_index(p, k, j)]);
        if (isnan(value)) return k;
        if ((value > best) | (index == NONE)) {
            best = value;
            index = k;
        }
    }
    return index;
}

template <class Pick> DEVICE void index_of(const Params& p, const float* __restrict__ a, const float* __restrict__ b, uint* __restrict__ c) {
    __shared__ float4 tile[DEPTH]; // [k], 4 rows
    __shared__ int tainted;

    int batch = blockIdx.x / p.tiles;
    if (batch >= (int)p.batch) return;
    int in_matrix = blockIdx.x % p.tiles;
    int col_tiles = (int)p.tiles / ((p.rows + ROWS - 1) / ROWS);
    int i0 = in_matrix / col_tiles * ROWS;
    bool dense = p.flags & 32;
    int j0 = (dense ? 0 : i0 - p.c_lower) + in_matrix % col_tiles * COLUMNS;
    a += batch * a_len(p);
    b += batch * b_len(p);
    c += batch * c_len(p);

    int t = threadIdx.x;
    int j = j0 + t;
    bool real = (j >= 0) & (j < p.cols);
    // A warp walks the same k, so that its loads stay together.
    int corner = j0 + t / 32 * 32;
    int begin = first_k(p, i0, corner);
    int to = end_k(p, i0 + ROWS - 1, corner + 31);
    // The k that B's column stores.
    int low = max(0, j - p.b_upper);
    int high = real ? min(p.inner, j + p.b_lower + 1) : low;
    int step = p.flags & 4 ? 1 : p.b_stride;
    int column = b_index(p, 0, j);

    float best[ROWS];
    uint index[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        best[r] = minus_infinity();
        index[r] = NONE;
    }
    bool taint = false;
    if (t == 0) tainted = 0;
    int end = end_k(p, i0 + ROWS - 1, j0 + COLUMNS - 1);
    for (int k0 = first_k(p, i0, j0); k0 < end; k0 += DEPTH) {
        __syncthreads();
        for (int k = t; k < DEPTH; k += COLUMNS) {
            float values[ROWS];
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                bool stored = (i0 + r < p.rows) & (k0 + k < p.inner) & in_band(i0 + r, k0 + k, p.a_lower, p.a_upper);
                values[r] = stored ? a[a_index(p, i0 + r, k0 + k)] : Pick::pad();
                taint = taint | (stored & Pick::taints(values[r]));
            }
            tile[k] = {values[0], values[1], values[2], values[3]};
        }
        __syncthreads();
        int stop = min(to, k0 + DEPTH);
#pragma unroll 4
        for (int k = max(begin, k0); k < stop; k++) {
            bool stored = (k >= low) & (k < high);
            float value = stored ? b[column + k * step] : Pick::pad();
            taint = taint | (stored & Pick::taints(value));
            float4 rows = tile[k - k0];
            float terms[ROWS] = {Pick::term(rows.x, value), Pick::term(rows.y, value), Pick::term(rows.z, value), Pick::term(rows.w, value)};
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                bool larger = terms[r] > best[r];
                best[r] = larger ? terms[r] : best[r];
                index[r] = larger ? k : index[r];
            }
        }
    }
    if (taint) atomicOr(&tainted, 1);
    __syncthreads();
    bool redo = tainted;

#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        int i = i0 + r;
        bool slot = (i < p.rows) & (dense ? real : in_band(i, j, p.c_lower, p.c_upper));
        if (!slot) continue;
        uint found = NONE;
        if (real) {
            found = index[r];
            // Nothing was larger than -∞: the first term, if there is one.
            if ((found == NONE) & (first_k(p, i, j) < end_k(p, i, j))) found = first_k(p, i, j);
            if (redo) found = exact<Pick>(p, a, b, i, j);
        }
        c[c_index(p, i, j)] = found;
    }
}

KERNEL(64) matmul_index_max(PARAMS params, const float* __restrict__ a, const float* __restrict__ b, uint* __restrict__ c) {
    index_of<Max>(params, a, b, c);
}

KERNEL(64) matmul_index_prodmax(PARAMS params, const float* __restrict__ a, const float* __restrict__ b, uint* __restrict__ c) {
    index_of<ProdMax>(params, a, b, c);
}

// A counter-based generator (Jarzynski and Olano's pcg3d): the same counter, the same number.
DEVICE uint random(uint x, uint y, uint z) {
    x = x * 1664525 + 1013904223;
    y = y * 1664525 + 1013904223;
    z = z * 1664525 + 1013904223;
    x += y * z;
    y += z * x;
    z += x * y;
    x ^= x >> 16;
    y ^= y >> 16;
    z ^= z >> 16;
    return x + y * z;
}

// The k at which the sum of the softmax of the terms passes u.
DEVICE uint draw(const Params& p, const float* __restrict__ a, const float* __restrict__ b, int i, int j, float u) {
    float largest = minus_infinity();
    uint top = NONE;
    int begin = first_k(p, i, j), end = end_k(p, i, j);
    auto term = [&](int k) { return a[a_index(p, i, k)] + b[b_index(p, k, j)]; };
    for (int k = begin; k < end; k++) {
        float value = term(k);
        if (isnan(value)) return k;
        if (value > largest) {
            largest = value;
            top = k;
        }
    }
    // -∞ alone or nothing: no k. +∞: all the mass is at the first.
    if (top == NONE || !isfinite(largest)) return top;
    float sum = 0;
    for (int k = begin; k < end; k++) sum += expf(term(k) - largest);
    float goal = u * sum, upto = 0;
    for (int k = begin; k < end; k++) {
        float mass = expf(term(k) - largest);
        upto += mass;
        if (upto > goal) return k;
        if (mass > 0) top = k;
    }
    return top;
}

// For every C[i,j] one k, drawn with probability softmax over k of A[i,k] + B[k,j]. One thread per slot of C.
KERNEL(64) matmul_index_sample(PARAMS params, const float* __restrict__ a, const float* __restrict__ b, uint* __restrict__ c) {
    View view = view_c(params);
    uint slot = blockIdx.x * 64 + threadIdx.x;
    uint batch = slot / view_len(view);
    if (batch >= params.batch) return;
    int in_matrix = slot % view_len(view);
    int width = view.flags & 2 ? view.stride : view.stride + 1;
    Entry at = view_entry(view, in_matrix / width, in_matrix % width);
    uint index = NONE;
    if ((at.i >= 0) & (at.i < params.rows) & (at.j >= 0) & (at.j < params.cols)) {
        // An odd multiple of 2^-24: neither 0 nor 1, and exact in f32.
        uint bits = random(at.i, at.j, params.tiles + batch * 0x9e3779b9);
        float u = (float(bits >> 9) + 0.5f) * 1.1920929e-7f;
        index = draw(params, a + batch * a_len(params), b + batch * b_len(params), at.i, at.j, u);
    }
    c[slot] = index;
}
