// C = A ⊗ B over the semiring of the file included before. A dense matrix is a band that covers
// everything; C is in rows layout.
#pragma once

#include "matmul_slide.cuh"
#include "matmul_tile.cuh"

#define PRODUCT_BUFFERS                                                                                                  \
    const float *__restrict__ a, const float *__restrict__ b, const float *__restrict__ a_scale,                         \
        const float *__restrict__ b_scale, float *__restrict__ c
#define PRODUCT params, a, b, a_scale, b_scale, c

// Products of whole bands, by the width of B they reach.
typedef Slide<8, 3, 3> Slide17;
typedef Slide<8, 5, 5> Slide33;
typedef Slide<8, 9, 3> Slide65;
typedef Slide<16, 9, 2> Slide129;

template <class Slide>
DEVICE void slide(const Params& params, PRODUCT_BUFFERS) {
    extern __shared__ float4 slide_memory[];
    __shared__ int any_tainted;
    size_t batch = blockIdx.x / params.tiles;
    if (batch >= params.batch) return;
    a += batch * a_len(params);
    b += batch * b_len(params);
    float* tiles = (float*)slide_memory;
    int i0 = blockIdx.x % params.tiles * Slide::ROWS;
    bool a_vectors = !(params.flags & 1) && has_vectors(a, params.a_stride, a_len(params));
    bool b_vectors = !(params.flags & 4) && has_vectors(b, params.b_stride, b_len(params)) && params.a_lower % 4 == 0;
    Slide product = {params,
                     a,
                     b,
                     a_scale + batch * params.rows,
                     b_scale + batch * params.cols,
                     c + batch * c_len(params),
                     tiles,
                     tiles + Slide::A_SIZE,
                     i0,
                     i0 - params.a_lower,
                     (int)threadIdx.x,
                     a_vectors,
                     b_vectors,
                     false,
                     false};
    product.run(&any_tainted);
}

template <int COLUMNS, bool ALONG>
DEVICE void tile(const Params& params, PRODUCT_BUFFERS) {
    typedef Tile<COLUMNS, ALONG> Product;
    __shared__ float4 tile_memory[Product::SIZE / 4];
    __shared__ int any_tainted;
    size_t batch = blockIdx.x / params.tiles;
    if (batch >= params.batch) return;
    int row_tiles = (params.rows + Product::ROWS - 1) / Product::ROWS;
    int column_tiles = params.tiles / row_tiles;
    int in_matrix = blockIdx.x % params.tiles;
    int i0 = in_matrix / column_tiles * Product::ROWS;
    int j0 = (params.flags & 32 ? 0 : i0 - params.c_lower) + in_matrix % column_tiles * Product::WIDTH;
    a += batch * a_len(params);
    b += batch * b_len(params);
    bool a_columns = params.flags & 1, b_columns = params.flags & 4;
    Lines rows = {a + a_index(params, 0, 0),  a_scale + batch * params.rows, params.rows, params.inner,
                  params.a_lower,             params.a_upper,                a_columns ? 1 : params.a_stride,
                  a_columns ? params.a_stride : 1, !a_columns && has_vectors(a, params.a_stride, a_len(params))};
    Lines columns = {b + b_index(params, 0, 0),  b_scale + batch * params.cols, params.cols, params.inner,
                     params.b_upper,             params.b_lower,                b_columns ? params.b_stride : 1,
                     b_columns ? 1 : params.b_stride, has_vectors(b, params.b_stride, b_len(params))};
    Product product = {params, rows, columns, c + batch * c_len(params), (float*)tile_memory, i0, j0, (int)threadIdx.x, false};
    product.run(a, b, &any_tainted);
}
