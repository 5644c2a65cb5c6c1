// The second derivative of products over (logsumexp, +). One thread per slot of the result.

#include "shared/gradient.cuh"

// The matrix and the entry of this thread's slot, whose number is `slot`; outside if it is none of the matrix's.
struct Place {
    uint slot;
    int batch;
    Entry at;
    bool inside;
};

DEVICE Place place_of(const View& v) {
    Place place;
    place.slot = blockIdx.x * 256 + threadIdx.x;
    place.batch = place.slot / view_len(v);
    int width = v.flags & 2 ? v.stride : v.stride + 1;
    int in_matrix = place.slot % view_len(v);
    place.at = view_entry(v, in_matrix / width, in_matrix % width);
    place.inside = (place.at.i >= 0) & (place.at.i < v.rows) & (place.at.j >= 0) & (place.at.j < v.cols);
    return place;
}

// S[i,j] = Σ P · (VA[i,k] + VB[k,j]) over k, with P = exp(A[i,k] + B[k,j] − C[i,j]).
KERNEL(256) matmul_double_backward_mean(PARAMS params, const float* __restrict__ a, const float* __restrict__ b,
                                        const float* __restrict__ va, const float* __restrict__ vb, const float* __restrict__ c,
                                        float* __restrict__ s) {
    View of_a = view_a(params), of_b = view_b(params);
    View of_va = like(of_a, params.flags >> 8), of_vb = like(of_b, params.flags >> 10);
    Place place = place_of(view_c(params));
    if (place.batch >= (int)params.batch) return;
    float sum = 0;
    if (place.inside) {
        int i = place.at.i, j = place.at.j;
        float z = c[place.slot];
#pragma unroll 4
        for (int k = first_k(params, i, j); k < end_k(params, i, j); k++) {
            float weight = share(a[view_index(of_a, place.batch, {i, k})], b[view_index(of_b, place.batch, {k, j})], z);
            float v = va[view_index(of_va, place.batch, {i, k})] + vb[view_index(of_vb, place.batch, {k, j})];
            sum = fmaf(weight, v, sum);
        }
    }
    s[place.slot] = sum;
}

// ha[i,k] = Σ G[i,j] · P · (VA[i,k] + VB[k,j] − S[i,j]) over j.
KERNEL(256) matmul_double_backward(PARAMS params, const float* __restrict__ a, const float* __restrict__ b, const float* __restrict__ va,
                                   const float* __restrict__ vb, const float* __restrict__ c, const float* __restrict__ g,
                                   const float* __restrict__ s, float* __restrict__ ha) {
    View of_a = view_a(params), of_b = view_b(params), of_c = view_c(params);
    View of_va = like(of_a, params.flags >> 8), of_vb = like(of_b, params.flags >> 10), of_g = like(of_c, params.flags >> 6);
    Place place = place_of(of_a);
    if (place.batch >= (int)params.batch) return;
    float sum = 0;
    if (place.inside) {
        int i = place.at.i, k = place.at.j;
        float x = a[place.slot];
        float v = va[view_index(of_va, place.batch, {i, k})];
#pragma unroll 4
        for (int j = first_j(params, i, k); j < end_j(params, i, k); j++) {
            int in_c = view_index(of_c, place.batch, {i, j});
            float weight = share(x, b[view_index(of_b, place.batch, {k, j})], c[in_c]);
            float apart = v + vb[view_index(of_vb, place.batch, {k, j})] - s[in_c];
            sum = fmaf(g[view_index(of_g, place.batch, {i, j})] * weight, apart, sum);
        }
    }
    ha[place.slot] = sum;
}
