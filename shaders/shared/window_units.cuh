// Windowed attention on tensor cores: what its kernels share. Lines are queries (or keys, in their own
// gradient), partners what they meet. A warp has 16 lines or 32, a warpgroup 64, and goes along their partners some at a time.
#pragma once

#include "tensor_rows.cuh"
#include "window.cuh"

// The memory for one operand of a step of staged partners, in halves.
template <int TILES, int STEP>
constexpr int stage_of = STEP * pitch_of<TILES>;

// And for an operand of so many lines, if that is staged too.
template <int TILES, int LINES>
constexpr int left_of = by_warpgroup<TILES> ? LINES * pitch_of<TILES> : 0;

// Where a warp stands.
struct Place {
    int line;                 // its first line
    int shift, below, above;  // line u meets t if -below <= t - u - shift <= above and 0 <= t < end
    int end;
    int lines;                // those from here on meet nobody
    int any_first, any_end;   // partners that some line of the warp meets, first and end
    int all_first, all_end;   // and that all of them meet
    int start, stop;          // partners that the block goes along
};

// A block of `lines` lines from `first` on, a warp (or warpgroup) of `own` from `line` on. Partners are counted
// from the first line's first one on, so that a warp's begin with a step; perhaps there are some before the first.
template <int STEP>
DEVICE Place place(int first, int lines, int line, int own, int shift, int below, int above, int end) {
    Place p = {line, shift, below, above, end, 0x7fffffff};
    p.any_first = max(0, line + shift - below);
    p.any_end = min(end, line + own + shift + above);
    p.all_first = max(0, line + own - 1 + shift - below);
    p.all_end = min(end, line + shift + above + 1);
    p.start = first + shift - below;
    if (p.start < 0) p.start = p.start % STEP;
    p.stop = min(end, first + lines + shift + above);
    return p;
}

// The partners of a line, counted from t on: first and how many.
struct Range {
    int first;
    uint count;
    __device__ bool has(int t) const { return (uint)(t - first) < count; }
};

DEVICE Range partners(const Place& p, int line, int t) {
    int first = max(0, line + p.shift - p.below);
    int count = max(0, min(p.end, line + p.shift + p.above + 1) - first);
    return {first - t, line < p.lines ? (uint)count : 0};
}

// Sums c of a warp's lines with partners from t on: `value` where they don't meet.
template <int MT, int NT>
DEVICE void mask(float (&c)[MT][NT][4], const Place& p, int t, float value) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < MT; m++) {
#pragma unroll
        for (int r = 0; r < 4; r += 2) {
            const Range range = partners(p, p.line + m * 16 + r * 4 + lane / 4, t + lane % 4 * 2);
#pragma unroll
            for (int n = 0; n < NT; n++) {
                if (!range.has(n * 8)) c[m][n][r] = value;
                if (!range.has(n * 8 + 1)) c[m][n][r + 1] = value;
            }
        }
    }
}

// The product of two rows of so many halves. Not unrolled, as it stands in paths that are rarely taken and
// must not cost registers.
DEVICE float row_dot(const half* a, const half* b, int columns) {
    float sum = 0;
#pragma unroll 1
    for (int n = 0; n < columns; n++) sum = fmaf(__half2float(a[n]), __half2float(b[n]), sum);
    return sum;
}
