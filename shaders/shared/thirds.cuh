// f32 on tensor cores: a value as the sum of three bf16, which hold all 24 bits, and a product as six products of those.
// What is left out is below 2^-25 of a term; so with how the units round, sums are as exact as those of fused
// multiply-adds, and a value times a power of two is exact. Values infinite or NaN, and those that round up beyond f32's
// range, make sums that are not finite: these have to be computed again by the definition.
//
// Thirds lie in shared memory in three planes of bf16, from where fragments are read (see tensor.cuh).
#pragma once

#include "halves.cuh"

// The three parts of two values, the first one's in the lower halves, largest first.
struct Thirds {
    uint part[3];
};

DEVICE Thirds thirds(float x, float y) {
    Thirds t;
#pragma unroll
    for (int n = 0; n < 3; n++) {
        t.part[n] = rounded<__nv_bfloat16>(x, y);
        x -= __uint_as_float(t.part[n] << 16);
        y -= __uint_as_float(t.part[n] & 0xffff0000);
    }
    return t;
}

// Four values, PLANE halves from part to part; `to` is a multiple of 8 bytes.
template <int PLANE>
DEVICE void put_thirds(__nv_bfloat16* to, float4 v) {
    Thirds low = thirds(v.x, v.y), high = thirds(v.z, v.w);
#pragma unroll
    for (int n = 0; n < 3; n++) *(uint2*)(to + n * PLANE) = make_uint2(low.part[n], high.part[n]);
}

// Where lines (rows of A or columns of B) meet k, 16 of them at a time. Along a line: 16 k in two pieces of 16 bytes, which
// change places in every other four lines; else k below k, LINES + 8 apart. Either way eight rows of a fragment
// lie in different banks.
template <bool ALONG, int LINES>
DEVICE int third_at(int line, int k) {
    return ALONG ? line * 16 + (k / 8 ^ line / 4 % 2) * 8 + k % 8 : k * (LINES + 8) + line;
}
template <int LINES>
constexpr int third_plane = 16 * (LINES + 8); // halves of 16 k

// Where this lane's row of a fragment of 16 lines begins: lines of A go into fragments 8 at a time, then k; those of B first k.
template <bool ALONG, int LINES, bool OF_B>
DEVICE int third_fragment() {
    int lane = threadIdx.x % 32, low = lane / 8 % 2 * 8, high = lane / 16 * 8, row = lane % 8;
    // Which of the two runs over lines.
    int line = OF_B ? high : low, k = OF_B ? low : high;
    return third_at<ALONG, LINES>(line + (ALONG ? row : 0), k + (ALONG ? 0 : row));
}

template <bool ALONG>
DEVICE void load_fragment(uint (&d)[4], const __nv_bfloat16* row) {
    if (ALONG) ldmatrix_x4(d, row);
    else ldmatrix_x4_trans(d, row);
}

// c0[m], c1[m] += A's 16 lines · 16 lines of B, whose fragments b[part] hold two of 8, in six products, smallest first.
template <int MT>
DEVICE void add_third(int product, float (&c0)[MT][4], float (&c1)[MT][4], const uint (&a)[3][MT][4], const uint (&b)[3][4]) {
    constexpr int of_a[6] = {2, 1, 0, 1, 0, 0}, of_b[6] = {0, 1, 2, 0, 1, 0};
    const uint(&other)[4] = b[of_b[product]];
#pragma unroll
    for (int m = 0; m < MT; m++) {
        add_product<__nv_bfloat16>(c0[m], a[of_a[product]][m], other[0], other[1]);
        add_product<__nv_bfloat16>(c1[m], a[of_a[product]][m], other[2], other[3]);
    }
}
