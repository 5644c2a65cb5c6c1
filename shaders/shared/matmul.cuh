// C = A ⊗ B over the semiring of the file included before. A dense matrix is a band that covers
// everything; C is in rows layout.
#pragma once

#include "early.cuh"
#include "matmul_narrow.cuh"
#include "matmul_slide.cuh"
#include "matmul_tile.cuh"

#define PRODUCT_BUFFERS                                                                                                  \
    const float *__restrict__ a, const float *__restrict__ b, const float *__restrict__ a_scale,                         \
        const float *__restrict__ b_scale, float *__restrict__ c
// Whether values may be read 4 at once from where that is aligned in one line.
DEVICE bool has_vectors(const float* values, int stride, int len) { return stride > 0 && !(((size_t)values & 15) | (stride & 3) | (len & 3)); }

#define PRODUCT params, a, b, a_scale, b_scale, c

// Products of whole bands, by the width of B they reach.
typedef Slide<3, 3> Slide17;
typedef Slide<5, 5> Slide33;
typedef Slide<9, 3> Slide65;
typedef Slide<17, 3> Slide129;

template <class Slide>
DEVICE void slide(const Params& params, PRODUCT_BUFFERS) {
    after_previous();
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

// Products of whole bands neither of which is wider than the type's name says, or both as wide, in rows layout.
typedef Narrow<5, 128> Narrow17;
typedef Narrow<9, 128> Narrow33;
typedef Narrow<5, 128, true> Full17;
typedef Narrow<9, 128, true> Full33;

template <class Narrow>
DEVICE void narrow(const Params& params, PRODUCT_BUFFERS) {
    after_previous();
    extern __shared__ float4 narrow_memory[];
    __shared__ int any_tainted;
    size_t batch = blockIdx.x / params.tiles;
    if (batch >= params.batch) return;
    int i0 = blockIdx.x % params.tiles * Narrow::ROWS;
    float* tiles = (float*)narrow_memory;
    float* scales = tiles + Narrow::C_SIZE + Narrow::B_SIZE;
    NarrowBand left = {a + batch * a_len(params), bool(params.flags & 1), params.rows, params.inner, params.a_lower, params.a_upper};
    NarrowBand right = {b + batch * b_len(params), bool(params.flags & 4), params.inner, params.cols, params.b_lower, params.b_upper};
    Narrow product = {params,
                      left,
                      right,
                      c + batch * c_len(params),
                      tiles,
                      tiles + Narrow::C_SIZE,
                      scales,
                      scales + Narrow::ROWS,
                      i0,
                      i0 - params.a_lower,
                      threadIdx.x,
                      false};
    product.run(&any_tainted);
}

template <int COLUMNS>
DEVICE void tile(const Params& params, PRODUCT_BUFFERS) {
    after_previous();
    typedef Tile<COLUMNS> Product;
    __shared__ float4 tile_memory[Product::SIZE / 4];
    __shared__ int any_tainted;
    size_t batch = blockIdx.x / params.tiles;
    if (batch >= params.batch) return;
    int row_tiles = (params.rows + Product::ROWS - 1) / Product::ROWS;
    int column_tiles = params.tiles / row_tiles;
    int in_matrix = blockIdx.x % params.tiles;
    int row_tile = in_matrix / column_tiles, column_tile = in_matrix % column_tiles;
    if (!(params.flags & 10)) {
        // The middle of a product of bands has the most to sum: it comes first.
        int rank = in_matrix / row_tiles;
        row_tile = in_matrix % row_tiles;
        column_tile = (column_tiles - 1) / 2 + (rank % 2 ? (rank + 1) / 2 : -rank / 2);
    }
    int i0 = row_tile * Product::ROWS;
    int j0 = (params.flags & 32 ? 0 : i0 - params.c_lower) + column_tile * Product::WIDTH;
    a += batch * a_len(params);
    b += batch * b_len(params);
    bool a_columns = params.flags & 1, b_columns = params.flags & 4;
    int a_origin = a_index(params, 0, 0), b_origin = b_index(params, 0, 0);
    Lines rows = {a + a_origin,    a_scale + batch * params.rows, params.rows, params.inner,  params.a_lower,
                  params.a_upper,  params.a_stride,               a_origin,    a_len(params), !a_columns,
                  has_vectors(a, params.a_stride, a_len(params))};
    Lines columns = {b + b_origin,   b_scale + batch * params.cols, params.cols, params.inner,  params.b_upper,
                     params.b_lower, params.b_stride,               b_origin,    b_len(params), b_columns,
                     has_vectors(b, params.b_stride, b_len(params))};
    Product product = {params, rows, columns, c + batch * c_len(params), (float*)tile_memory, i0, j0, (int)threadIdx.x, false};
    product.run(a, b, &any_tainted);
}
