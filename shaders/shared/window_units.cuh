// Windowed attention on tensor cores: what its kernels share. Lines are queries (or keys, in their own
// gradient), partners what they meet. A warp has 16 lines or 32 and goes along their partners 32 at a time.
#pragma once

#include "tensor_rows.cuh"
#include "window.cuh"

const int STEP = 32; // partners at once

// Where a warp stands.
struct Place {
    int line;                 // its first line
    int shift, below, above;  // line u meets t if -below <= t - u - shift <= above and 0 <= t < end
    int end;
    int any_first, any_end;   // partners that some line of the warp meets, first and end
    int all_first, all_end;   // and that all of them meet
    int start, stop;          // partners that the block goes along
};

// A block of `lines` lines from `first` on, a warp of `own` from `line` on. Partners are counted from the
// first line's first one on, so that a warp's begin with a step; perhaps there are some before the first.
template <int COUNT>
DEVICE Place place(int first, int lines, int line, int own, int shift, int below, int above, int end) {
    Place p = {line, shift, below, above, end};
    p.any_first = max(0, line + shift - below);
    p.any_end = min(end, line + own + shift + above);
    p.all_first = max(0, line + own - 1 + shift - below);
    p.all_end = min(end, line + shift + above + 1);
    p.start = first + shift - below;
    if (p.start < 0) p.start = p.start % COUNT;
    p.stop = min(end, first + lines + shift + above);
    return p;
}

DEVICE bool meets(const Place& p, int line, int t) {
    int steps = t - line - p.shift;
    return (t >= 0) & (t < p.end) & (steps >= -p.below) & (steps <= p.above);
}

// The product of two rows of so many halves.
DEVICE float row_dot(const half* a, const half* b, int columns) {
    float sum = 0;
    for (int n = 0; n < columns; n++) sum = fmaf(__half2float(a[n]), __half2float(b[n]), sum);
    return sum;
}
