// Windowed attention in f32 along tiles: 64 lines (queries, or keys in their own gradient) meet their
// partners (keys, or queries), 32 at a time. With dilation r, lines and partners fall into r sequences
// that never meet, so a tile takes its lines from one of them, r apart.
//
// Each of two warps has 32 lines. Lane (x, y) = (lane % 8, lane / 8) has its lines y, y + 4, … y + 28; of
// the scores the partners x, x + 8, x + 16, x + 24, of the result the columns 4x … 4x+3 and 32+4x … 35+4x.
// So the lanes of a line are 8 neighbours, and a line's weights never leave its warp.
#pragma once

#include "tensor.cuh"
#include "window.cuh"

const int LINES = 64;
const int PARTNERS = 32;
const int WIDE = 64;           // columns of the result
const int PITCH = 68;          // floats from one staged line to the next: spreads the banks
const int WEIGHT_PITCH = 40;
const int THREADS = 64;

enum Of { RESULT, OF_Q, OF_K, OF_V };
template <Of of>
constexpr bool lines_are_queries = of == RESULT || of == OF_Q;
template <Of of>
constexpr bool has_slopes = of == OF_Q || of == OF_K;

struct Operands {
    const float *q, *k, *v;
    const uint* positions;     // the global ones, then the lengths
    const float *grad;         // of the result
    const float *lse, *delta;  // of its rows: logsumexp, and Σ grad · out
};

// A row-major matrix.
struct Matrix {
    const float* data;
    int width;
};

// The matrices a block works on.
struct Matrices {
    int head;  // of queries
    int kv;    // of keys and values
    int end;   // keys that are no padding
};

DEVICE Matrix of_head(const Params& params, const float* all, int head, int width) { return {all + (size_t)head * params.rows * width, width}; }
DEVICE Matrix of_kv(const Params& params, const float* all, int kv, int width) { return {all + (size_t)kv * params.keys * width, width}; }

// The left operand of the products of lines with partners: of queries with keys (0), or of the
// result's gradient with the values (1).
template <Of of>
DEVICE Matrix left_of(const Params& params, const Operands& from, const Matrices& m, int which) {
    int width = which ? params.value_depth : params.depth;
    if (lines_are_queries<of>) return of_head(params, which ? from.grad : from.q, m.head, width);
    return of_kv(params, which ? from.v : from.k, m.kv, width);
}

template <Of of>
DEVICE Matrix right_of(const Params& params, const Operands& from, const Matrices& m, int which) {
    int width = which ? params.value_depth : params.depth;
    if (lines_are_queries<of>) return of_kv(params, which ? from.v : from.k, m.kv, width);
    return of_head(params, which ? from.grad : from.q, m.head, width);
}

// What a line's weights are multiplied with.
template <Of of>
DEVICE Matrix values_of(const Params& params, const Operands& from, const Matrices& m) {
    if (of == RESULT) return of_kv(params, from.v, m.kv, params.value_depth);
    if (of == OF_Q) return of_kv(params, from.k, m.kv, params.depth);
    if (of == OF_K) return of_head(params, from.q, m.head, params.depth);
    return of_head(params, from.grad, m.head, params.value_depth);
}

template <Of of>
DEVICE int result_width(const Params& params) { return has_slopes<of> ? params.depth : params.value_depth; }

// Of a row's logsumexp in powers of two; a row that attends to nothing has no weight anywhere.
DEVICE float row_top(const Params& params, const Operands& from, int head, int i) {
    float x = from.lse[head * params.rows + max(i, 0)];
    return x == minus_infinity() ? -minus_infinity() : x * LOG2_E;
}

DEVICE float row_delta(const Params& params, const Operands& from, int head, int i) {
    return from.delta[head * params.rows + max(i, 0)];
}

DEVICE float dot(const Matrix& a, int i, const Matrix& b, int j) {
    float sum = 0;
    for (int p = 0; p < a.width; p++) sum = fmaf(a.data[i * a.width + p], b.data[j * b.width + p], sum);
    return sum;
}

// The scaled score of query i and key j, in powers of two.
DEVICE float score(const Params& params, const Operands& from, const Matrices& m, int i, int j) {
    return dot(of_head(params, from.q, m.head, params.depth), i, of_kv(params, from.k, m.kv, params.depth), j) * (params.scale * LOG2_E);
}

// The weight of a line's partner by the definition; `top` is what a result's scores are relative to.
template <Of of>
DEVICE float weight(const Params& params, const Operands& from, const Matrices& m, int line, int partner, float top) {
    int i = lines_are_queries<of> ? line : partner, j = lines_are_queries<of> ? partner : line;
    float probability = power_of_two(score(params, from, m, i, j) - (of == RESULT ? top : row_top(params, from, m.head, i)));
    if (!has_slopes<of>) return probability;
    float upstream = dot(of_head(params, from.grad, m.head, params.value_depth), i, of_kv(params, from.v, m.kv, params.value_depth), j);
    return probability * (upstream - row_delta(params, from, m.head, i)) * params.scale;
}

// One of the sequences: line u is number `line` + u · dilation, partner t `partner` + t · dilation,
// and they meet where -below <= t - u - shift <= above.
struct Sequence {
    int line, lines;
    int met;                   // lines that are no padding
    int partner, partners;
    int shift, below, above;
};

template <Of of>
DEVICE Sequence sequence(const Params& params, int line, int end) {
    int r = params.dilation;
    if (lines_are_queries<of>) {
        int lines = div_up(params.rows - line, r), partner = rest(line + params.offset, r);
        return {line, lines, lines, partner, div_up(end - partner, r), (line + params.offset - partner) / r, params.lower, params.upper};
    }
    int partner = rest(line - params.offset, r);
    return {line, div_up(params.keys - line, r), div_up(end - line, r), partner, div_up(params.rows - partner, r),
            (line - params.offset - partner) / r, params.upper, params.lower};
}

// What meets: lines `u0` … of a sequence, and up to 32 partners from `t0` on, in the sequence or,
// if `listed`, in the list of global positions.
struct Tile {
    Matrices m;
    Sequence s;
    int u0, t0, t_end;
    bool listed;
    int c0;                    // first column of the result
};

DEVICE int line_of(const Params& params, const Tile& tile, int u) {
    return tile.u0 + u < tile.s.lines ? tile.s.line + (tile.u0 + u) * params.dilation : -1;
}

template <Of of>
DEVICE int partner_of(const Params& params, const uint* positions, const Tile& tile, int t) {
    int at = tile.t0 + t;
    if (at >= tile.t_end) return -1;
    if (!tile.listed) return tile.s.partner + at * params.dilation;
    int position = positions[at];
    if (lines_are_queries<of>) return position < tile.m.end ? position : -1;
    int i = position - params.offset;
    return (i >= 0) & (i < params.rows) ? i : -1;
}

template <Of of>
DEVICE bool meet(const Params& params, const uint* positions, const Tile& tile, int u, int t) {
    int steps = tile.t0 + t - (tile.u0 + u + tile.s.shift);
    bool met = tile.u0 + u < tile.s.met;
    if (!tile.listed) return met & (tile.t0 + t < tile.t_end) & (steps >= -tile.s.below) & (steps <= tile.s.above);
    // What the window holds has been counted there.
    int line = line_of(params, tile, u), partner = partner_of<of>(params, positions, tile, t);
    return met & (partner >= 0) & !(lines_are_queries<of> ? in_window(params, line, partner) : in_window(params, partner, line));
}

// Whether all of the tile's lines meet all of its partners.
DEVICE bool is_inside(const Tile& tile) {
    int nearest = tile.t0 - tile.s.shift - tile.u0;
    bool whole = !tile.listed & (tile.t0 + PARTNERS <= tile.t_end) & (tile.u0 + LINES <= tile.s.met);
    return whole & (nearest - (LINES - 1) >= -tile.s.below) & (nearest + PARTNERS - 1 <= tile.s.above);
}

// The partners in the sequence that some line from `u0` to `u0` + count - 1 meets: first and end. Padding meets none.
DEVICE int2 reach(const Sequence& s, int u0, int count) {
    int first = max(0, u0 + s.shift - s.below);
    if (u0 >= s.met) return {first, first};
    return {first, max(first, min(s.partners, min(u0 + count, s.met) + s.shift + s.above))};
}

// The first tile of a block, for a result of `width` columns.
template <Of of>
DEVICE Tile first_tile(const Params& params, const Matrices& m, uint in_matrix, int width) {
    int lines = lines_are_queries<of> ? params.rows : params.keys;
    int sequences = min(params.dilation, lines), chunks = div_up(width, WIDE);
    int number = in_matrix / chunks;
    Sequence s = sequence<of>(params, number % sequences, m.end);
    int u0 = number / sequences * LINES;
    int2 met = reach(s, u0, LINES);
    return {m, s, u0, met.x, met.y, false, (int)in_matrix % chunks * WIDE};
}

// How many tiles lie side by side: those in the window, then the listed ones.
DEVICE int tiles_of(const Params& params, const Tile& first) {
    return div_up(first.t_end - first.t0, PARTNERS) + div_up(params.globals, PARTNERS);
}

DEVICE Tile nth_tile(const Params& params, const Tile& first, int n) {
    int window = div_up(first.t_end - first.t0, PARTNERS);
    Tile tile = first;
    tile.listed = n >= window;
    tile.t0 = tile.listed ? (n - window) * PARTNERS : first.t0 + n * PARTNERS;
    tile.t_end = tile.listed ? params.globals : first.t_end;
    return tile;
}

// One entry by the definition: where an infinite or NaN value of a partner that the line doesn't meet
// has spoilt a sum. Ends at the first NaN that belongs there.
template <Of of>
DEVICE float exact(const Params& params, const Operands& from, const Tile& first, int u, int c, float top) {
    Matrix values = values_of<of>(params, from, first.m);
    int line = line_of(params, first, u);
    int2 met = reach(first.s, first.u0 + u, 1);
    Tile listed = nth_tile(params, first, div_up(first.t_end - first.t0, PARTNERS));
    float sum = 0;
    for (int t = met.x - (int)params.globals; t < met.y && !isnan(sum); t++) {
        int partner = first.s.partner + t * params.dilation;
        if (t < met.x) {
            int n = t - met.x + params.globals;
            partner = meet<of>(params, from.positions, listed, u, n) ? partner_of<of>(params, from.positions, listed, n) : -1;
        }
        if (partner >= 0) sum = fmaf(weight<of>(params, from, first.m, line, partner, top), values.data[partner * values.width + c], sum);
    }
    return sum;
}

// 64 columns from p0 on of a matrix's row, 0 where there is none, on their way into the stage. Sixteen
// threads take a row: this one the four columns from c on.
DEVICE void stage_row(float* stage, const Matrix& matrix, int row, int p0, int c, bool whole) {
    const float* at = matrix.data + (row < 0 ? 0 : row * matrix.width + p0 + c);
    int left = row < 0 ? 0 : matrix.width - p0 - c;
    if (whole) {
        cp_async_16(stage + c, left > 0 ? at : matrix.data, left > 0);
    } else {
#pragma unroll
        for (int n = 0; n < 4; n++) cp_async_4(stage + c + n, n < left ? at + n : matrix.data, n < left);
    }
}

// Whether every fourth column starts at a multiple of 16 bytes.
DEVICE bool in_fours(const void* data, int width) { return ((size_t)data % 16 == 0) & (width % 4 == 0); }

// 64 lines of a product's left operand, columns from p0 on.
DEVICE void stage_lines(const Params& params, float* stage, const Matrix& matrix, const Tile& tile, int p0) {
    bool whole = in_fours(matrix.data, matrix.width);
#pragma unroll 1
    for (int u = threadIdx.x / 16; u < LINES; u += THREADS / 16) {
        stage_row(stage + u * PITCH, matrix, line_of(params, tile, u), p0, threadIdx.x % 16 * 4, whole);
    }
}

template <Of of>
DEVICE void stage_partners(const Params& params, const uint* positions, float* stage, const Matrix& matrix, const Tile& tile, int p0) {
    bool whole = in_fours(matrix.data, matrix.width);
    int c = threadIdx.x % 16 * 4, first = threadIdx.x / 16;
    if (whole & !tile.listed) {
        // Along a sequence: steps of as many rows each.
        int at = tile.t0 + first, step = params.dilation * matrix.width * (THREADS / 16);
        const float* from = matrix.data + (tile.s.partner + at * params.dilation) * matrix.width + p0 + c;
        bool column = p0 + c < matrix.width;
#pragma unroll
        for (int t = 0; t < PARTNERS; t += THREADS / 16) {
            cp_async_16(stage + (first + t) * PITCH + c, from, column & (at + t < tile.t_end));
            from += step;
        }
        return;
    }
#pragma unroll 1
    for (int t = first; t < PARTNERS; t += THREADS / 16) {
        stage_row(stage + t * PITCH, matrix, partner_of<of>(params, positions, tile, t), p0, c, whole);
    }
}

// What a thread has of one tile's products, and of the result.
typedef float Scores[8][4];
typedef float Sums[8][8];

// Which of this thread's lines and partners meet: a bit for each of 8 × 4.
template <Of of>
DEVICE uint meetings(const Params& params, const uint* positions, const Tile& tile) {
    int x = threadIdx.x % 8, u = threadIdx.x / 32 * 32 + threadIdx.x % 32 / 8;
    uint bits = 0;
    if (tile.listed) {
#pragma unroll 1
        for (int at = 0; at < 32; at++) bits |= (uint)meet<of>(params, positions, tile, u + at / 4 * 4, x + at % 4 * 8) << at;
        return bits;
    }
#pragma unroll
    for (int n = 0; n < 8; n++) {
        int2 met = reach(tile.s, tile.u0 + u + n * 4, 1);
        int first = met.x - tile.t0;
        uint count = tile.u0 + u + n * 4 < tile.s.met ? met.y - met.x : 0;
#pragma unroll
        for (int m = 0; m < 4; m++) bits |= (uint)((uint)(x + m * 8 - first) < count) << (n * 4 + m);
    }
    return bits;
}

DEVICE float fma4(float4 a, float4 b, float sum) { return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum)))); }

// Adds the products of staged lines and partners, so many columns.
DEVICE void add_products(Scores& c, const float* lines, const float* partners, int columns) {
    int x = threadIdx.x % 8, y = threadIdx.x % 32 / 8, w = threadIdx.x / 32;
    const float* a_at = lines + (w * 32 + y) * PITCH;
    const float* b_at = partners + x * PITCH;
#pragma unroll 2
    for (int p = 0; p < columns; p += 4) {
        float4 b[4];
#pragma unroll
        for (int m = 0; m < 4; m++) b[m] = *(const float4*)(b_at + m * 8 * PITCH + p);
#pragma unroll
        for (int n = 0; n < 8; n++) {
            float4 a = *(const float4*)(a_at + n * 4 * PITCH + p);
#pragma unroll
            for (int m = 0; m < 4; m++) c[n][m] = fma4(a, b[m], c[n][m]);
        }
    }
}

// Adds the weights of the tile's partners times their staged values. `place` is the warp's own.
DEVICE void add_weighted(Sums& sums, const Scores& weights, float* place, const float* values) {
    int x = threadIdx.x % 8, y = threadIdx.x % 32 / 8;
    __syncwarp();
#pragma unroll
    for (int n = 0; n < 8; n++) {
#pragma unroll
        for (int m = 0; m < 4; m++) place[(y + n * 4) * WEIGHT_PITCH + x + m * 8] = weights[n][m];
    }
    __syncwarp();
#pragma unroll 2
    for (int t = 0; t < PARTNERS; t += 4) {
        float4 low[4], high[4];
#pragma unroll
        for (int m = 0; m < 4; m++) {
            low[m] = *(const float4*)(values + (t + m) * PITCH + x * 4);
            high[m] = *(const float4*)(values + (t + m) * PITCH + 32 + x * 4);
        }
#pragma unroll
        for (int n = 0; n < 8; n++) {
            float4 w = *(const float4*)(place + (y + n * 4) * WEIGHT_PITCH + t);
            float four[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
            for (int m = 0; m < 4; m++) {
                sums[n][0] = fmaf(four[m], low[m].x, sums[n][0]);
                sums[n][1] = fmaf(four[m], low[m].y, sums[n][1]);
                sums[n][2] = fmaf(four[m], low[m].z, sums[n][2]);
                sums[n][3] = fmaf(four[m], low[m].w, sums[n][3]);
                sums[n][4] = fmaf(four[m], high[m].x, sums[n][4]);
                sums[n][5] = fmaf(four[m], high[m].y, sums[n][5]);
                sums[n][6] = fmaf(four[m], high[m].z, sums[n][6]);
                sums[n][7] = fmaf(four[m], high[m].w, sums[n][7]);
            }
        }
    }
}

// Columns c … c+3 of a line of a result leave.
DEVICE void store_four(float* line, int c, int width, bool whole, float a, float b, float d, float e) {
    if (whole) {
        if (c < width) *(float4*)(line + c) = make_float4(a, b, d, e);
        return;
    }
    if (c < width) line[c] = a;
    if (c + 1 < width) line[c + 1] = b;
    if (c + 2 < width) line[c + 2] = d;
    if (c + 3 < width) line[c + 3] = e;
}

// Where operands are staged: those of up to two products, and the values.
struct Stages {
    float *lines[2], *partners[2], *values;
};

// The first 64 columns of a tile's operands on their way. Lines stay from tile to tile unless there are
// more columns.
template <Of of>
DEVICE void fetch_products(const Params& params, const Operands& from, const Stages& to, const Tile& tile, bool first) {
#pragma unroll
    for (int which = 0; which < (has_slopes<of> ? 2 : 1); which++) {
        Matrix left = left_of<of>(params, from, tile.m, which);
        if (first | (left.width > WIDE)) stage_lines(params, to.lines[which], left, tile, 0);
        stage_partners<of>(params, from.positions, to.partners[which], right_of<of>(params, from, tile.m, which), tile, 0);
    }
    cp_async_commit();
}

template <Of of>
DEVICE void fetch_values(const Params& params, const Operands& from, const Stages& to, const Tile& tile) {
    stage_partners<of>(params, from.positions, to.values, values_of<of>(params, from, tile.m), tile, tile.c0);
    cp_async_commit();
}

// One product of a tile whose first columns are staged.
template <Of of>
DEVICE void product(Scores& c, const Params& params, const Operands& from, const Stages& at, const Tile& tile, int which) {
    Matrix left = left_of<of>(params, from, tile.m, which), right = right_of<of>(params, from, tile.m, which);
#pragma unroll
    for (int n = 0; n < 8; n++) {
#pragma unroll
        for (int m = 0; m < 4; m++) c[n][m] = 0;
    }
    for (int p0 = 0; p0 < left.width; p0 += WIDE) {
        if (p0 > 0) {
            __syncthreads();
            stage_lines(params, at.lines[which], left, tile, p0);
            stage_partners<of>(params, from.positions, at.partners[which], right, tile, p0);
            cp_async_commit();
            cp_async_wait<0>();
            __syncthreads();
        }
        add_products(c, at.lines[which], at.partners[which], min(WIDE, left.width - p0));
    }
}
