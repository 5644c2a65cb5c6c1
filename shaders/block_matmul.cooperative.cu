// Y = act(X · V + bias) on tensor cores, V block-sparse, f16 with f32 sums, X and Y contiguous along
// features. A tile is of 128 tokens and up to 256 outputs, which are slices of SLICE, each in one block column. The
// block rows of these columns together are gone along in steps of 16 terms, STEPS to a stage: X's part
// is staged once for all slices, V's for those that have a block there. Hopper's matrix units take all
// slices of a tile at once, the others one after another.

#include <cuda_fp16.h>

#include "shared/block_params.cuh"
#include "shared/hopper.cuh"
#include "shared/tensor.cuh"

#define OPERANDS \
    const __half *__restrict__ x, const __half *__restrict__ v, const uint *__restrict__ index, const float *__restrict__ bias, __half *__restrict__ y

constexpr uint THREADS = 256;
constexpr uint TOKENS = 128;
constexpr uint STEPS = 4, TERMS = 16 * STEPS;
constexpr uint WINDOW = 128; // block rows looked at together

// Slices taken at once, and stages of them in shared memory.
#ifdef HOPPER
template <uint SLICE>
constexpr uint slices = 256 / SLICE;
constexpr uint STAGES = 4;
#else
template <uint SLICE>
constexpr uint slices = 1;
constexpr uint STAGES = 3;
#endif

// In bytes: a stage's X and V, and all stages, aligned.
constexpr uint X_BYTES = TOKENS * TERMS * 2;
template <uint SLICE>
constexpr uint v_bytes = SLICE * TERMS * 2;
template <uint SLICE>
constexpr uint stage_bytes = X_BYTES + slices<SLICE> * v_bytes<SLICE>;
template <uint SLICE>
constexpr uint shared_bytes = STAGES * stage_bytes<SLICE> + 1024;

// Block rows of a window that some slice has, one after another: for each its row in the window and the
// slices that have a block; and of each slice and row of the window where in V's values the slice's part
// of the block begins, or −1.
template <uint SLICES>
struct Rows {
    int starts[SLICES][WINDOW];
    unsigned char rows[WINDOW], masks[WINDOW];
    uint count;
    uint next[SLICES], end[SLICES], taken[SLICES]; // in the slices' columns
    uint offset[SLICES];                           // of a slice in its blocks
};

// Starts at the first block row for slices from `slice` on, of which there are `all`, `offset` values apart
// in a block.
template <uint SLICES>
DEVICE void start(Rows<SLICES>& list, const Params& p, const uint* index, uint slice, uint all, uint in_block, uint offset) {
    if (threadIdx.x < SLICES) {
        uint own = slice + threadIdx.x;
        list.next[threadIdx.x] = own < all ? index[own / in_block] : 0;
        list.end[threadIdx.x] = own < all ? index[own / in_block + 1] : 0;
        list.offset[threadIdx.x] = own % in_block * offset;
    }
}

// Lists the window of block rows from `row` on.
template <uint SLICES>
DEVICE void list_rows(Rows<SLICES>& list, const Params& p, const uint* index, uint row) {
    const uint local = threadIdx.x;
    constexpr uint SHARE = THREADS / SLICES;
    const uint slice = local / SHARE;
    for (uint n = local; n < SLICES * WINDOW; n += THREADS) list.starts[n / WINDOW][n % WINDOW] = -1;
    if (local < SLICES) list.taken[local] = 0;
    __syncthreads();
    for (uint n = list.next[slice] + local % SHARE; n < list.end[slice]; n += SHARE) {
        uint entry = p.columns + 1 + n * 2;
        uint there = index[entry] - row;
        if (there >= WINDOW) break;
        list.starts[slice][there] = index[entry + 1] * p.depth * p.width + list.offset[slice];
        atomicAdd(&list.taken[slice], 1);
    }
    __syncthreads();
    if (local < SLICES) list.next[local] += list.taken[local];
    if (local < 32) {
        uint count = 0;
        for (uint n = local; n < WINDOW; n += 32) {
            uint mask = 0;
#pragma unroll
            for (uint own = 0; own < SLICES; own++) mask |= uint(list.starts[own][n] >= 0) << own;
            uint some = __ballot_sync(0xffffffff, mask != 0);
            uint at = count + __popc(some & ((1u << local) - 1));
            if (mask != 0) {
                list.rows[at] = n;
                list.masks[at] = mask;
            }
            count += __popc(some);
        }
        if (local == 0) list.count = count;
    }
    __syncthreads();
}

// Where 16 bytes of a panel lie: lines of 128 bytes or of 64, the pieces permuted so that those above
// each other are in different banks.
template <uint LINE>
DEVICE uint spot(uint line, uint piece) {
    return line * LINE + (LINE == 128 ? piece ^ line % 8 : piece ^ line / 2 % 4) * 16;
}

// A step of a window: the block row, counted through the list, and the step inside it.
struct Step {
    uint row, step;
};

DEVICE Step advance(Step step, uint steps, uint in_block) {
    step.step += steps;
    while (step.step >= in_block) {
        step.step -= in_block;
        step.row++;
    }
    return step;
}

// V of a slice at a stage: for ALONG [output][term], else [term][output], 64 outputs side by side.
template <uint SLICE, bool ALONG>
struct Panel {
    static constexpr uint LINE = ALONG || SLICE >= 64 ? 128 : 64;      // bytes
    static constexpr uint PIECES = LINE / 16;
    static constexpr uint LINES = v_bytes<SLICE> / LINE;
    static constexpr uint STEP = ALONG ? 32 : 16 * LINE;               // bytes from step to step
};

#ifdef HOPPER
template <uint SLICE, bool ALONG>
struct Sums {
    float c[slices<SLICE>][SLICE / 2];
};

// Adds a stage's products: of step n the slices in bits 8 n and up of the mask. They are under way
// then.
template <uint SLICE, bool ALONG>
DEVICE void add(Sums<SLICE, ALONG>& sums, const char* stage, uint mask) {
    const uint group = threadIdx.x / 128;
    const unsigned long long a = panel_descriptor(stage + group * 64 * 128, 128, 1024, 0);
    const unsigned long long b = panel_descriptor(stage + X_BYTES, Panel<SLICE, ALONG>::LINE, Panel<SLICE, ALONG>::LINE * 8, 8192);
    mask = __shfl_sync(0xffffffff, mask, 0);
    wgmma_begin();
#pragma unroll
    for (uint step = 0; step < STEPS; step++) {
#pragma unroll
        for (uint n = 0; n < slices<SLICE>; n++) {
            if (mask >> (step * 8 + n) & 1) {
                wgmma<!ALONG>(sums.c[n], a + step * 2, b + ((n * v_bytes<SLICE> + step * Panel<SLICE, ALONG>::STEP) >> 4));
            }
        }
    }
    wgmma_commit();
}

template <uint SLICE, bool ALONG>
DEVICE void spread(const Sums<SLICE, ALONG>& sums, float* tile, uint pitch) {
    const uint lane = threadIdx.x % 32;
    float* to = tile + (threadIdx.x / 32 * 16 + lane / 4) * pitch + lane % 4 * 2;
#pragma unroll
    for (uint n = 0; n < slices<SLICE>; n++) {
#pragma unroll
        for (uint j = 0; j < SLICE / 8; j++) {
            *(float2*)(to + n * SLICE + j * 8) = float2{sums.c[n][j * 4], sums.c[n][j * 4 + 1]};
            *(float2*)(to + n * SLICE + j * 8 + 8 * pitch) = float2{sums.c[n][j * 4 + 2], sums.c[n][j * 4 + 3]};
        }
    }
}
#else
template <uint SLICE, bool ALONG>
struct Sums {
    // A warp's outputs and tokens, in pieces of 8 and of 16.
    static constexpr uint WIDTH = SLICE == 128 ? 64 : 32, ACROSS = SLICE / WIDTH, HEIGHT = TOKENS * ACROSS / (THREADS / 32);
    float c[HEIGHT / 16][WIDTH / 8][4];
};

template <uint SLICE, bool ALONG>
DEVICE void add(Sums<SLICE, ALONG>& sums, const char* stage, uint mask) {
    using Own = Sums<SLICE, ALONG>;
    const uint lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const uint t0 = warp / Own::ACROSS * Own::HEIGHT, o0 = warp % Own::ACROSS * Own::WIDTH;
#pragma unroll
    for (uint step = 0; step < STEPS; step++) {
        if ((mask >> (step * 8) & 1) == 0) continue;
        uint a[Own::HEIGHT / 16][4];
#pragma unroll
        for (uint i = 0; i < Own::HEIGHT / 16; i++) ldmatrix_x4(a[i], stage + spot<128>(t0 + i * 16 + lane % 16, step * 2 + lane / 16));
#pragma unroll
        for (uint j = 0; j < Own::WIDTH / 16; j++) {
            uint b[4];
            const uint o = o0 + j * 16;
            const char* panel = stage + X_BYTES;
            if (ALONG) {
                ldmatrix_x4(b, panel + spot<128>(o + lane % 8 + lane / 16 * 8, step * 2 + lane / 8 % 2));
            } else {
                const uint beside = o / 64 * 64 * 128, piece = o % 64 / 8 + lane / 16;
                ldmatrix_x4_trans(b, panel + beside + spot<Panel<SLICE, ALONG>::LINE>(step * 16 + lane % 16, piece));
            }
#pragma unroll
            for (uint i = 0; i < Own::HEIGHT / 16; i++) {
                mma_16x8x16(sums.c[i][j * 2], a[i], b[0], b[1]);
                mma_16x8x16(sums.c[i][j * 2 + 1], a[i], b[2], b[3]);
            }
        }
    }
}

template <uint SLICE, bool ALONG>
DEVICE void spread(const Sums<SLICE, ALONG>& sums, float* tile, uint pitch) {
    using Own = Sums<SLICE, ALONG>;
    const uint lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float* to = tile + (warp / Own::ACROSS * Own::HEIGHT + lane / 4) * pitch + warp % Own::ACROSS * Own::WIDTH + lane % 4 * 2;
#pragma unroll
    for (uint i = 0; i < Own::HEIGHT / 16; i++) {
#pragma unroll
        for (uint j = 0; j < Own::WIDTH / 8; j++) {
            *(float2*)(to + i * 16 * pitch + j * 8) = float2{sums.c[i][j][0], sums.c[i][j][1]};
            *(float2*)(to + (i * 16 + 8) * pitch + j * 8) = float2{sums.c[i][j][2], sums.c[i][j][3]};
        }
    }
}
#endif

// The sums of TOKENS tokens and `slices` slices from `slice` on.
template <uint SLICE, bool ALONG>
DEVICE void some_slices(const Params& p, OPERANDS, char* memory, Rows<slices<SLICE>>& list, uint (&masks)[STAGES], uint batch, uint t0, uint slice, uint all) {
    constexpr uint SLICES = slices<SLICE>;
    using V = Panel<SLICE, ALONG>;
    const uint local = threadIdx.x;
    const uint in_block = p.width / SLICE, steps_in_block = p.depth / 16;
    Sums<SLICE, ALONG> sums = {};

    // A thread brings the same piece of some lines.
    const uint x_line = local / 8, x_piece = local % 8, v_line = local / V::PIECES, v_piece = local % V::PIECES;
    const uint x_apart = THREADS / 8 * p.x_stride;
    const __half* x0 = x + batch * p.x_batch + (t0 + x_line) * p.x_stride + x_piece % 2 * 8;
    const __half* v0 = v + (ALONG ? v_line * p.depth + v_piece % 2 * 8 : v_line % 16 * p.width + v_piece * 8);

    start(list, p, index, slice, all, in_block, SLICE * (ALONG ? p.depth : 1));
    for (uint row = 0; row * p.depth < p.inner; row += WINDOW) {
        list_rows(list, p, index, row);
        const uint stages = (list.count * steps_in_block + STEPS - 1) / STEPS;

        Step x_step = advance(Step{0, 0}, x_piece / 2, steps_in_block);
        Step v_step = advance(Step{0, 0}, ALONG ? v_piece / 2 : v_line / 16, steps_in_block);
        Step mask_step = advance(Step{0, 0}, local % STEPS, steps_in_block);
        auto fetch = [&](uint stage) {
            char* to = memory + stage % STAGES * stage_bytes<SLICE>;
            if (x_step.row < list.count) {
                const __half* from = x0 + (row + list.rows[x_step.row]) * p.depth + x_step.step * 16;
#pragma unroll
                for (uint n = 0; n < TOKENS * 8 / THREADS; n++) {
                    bool ok = t0 + x_line + n * (THREADS / 8) < p.tokens;
                    cp_async_16(to + spot<128>(x_line + n * (THREADS / 8), x_piece), ok ? from + n * x_apart : x, ok);
                }
            }
            to += X_BYTES;
            // Lines next to each other belong to one step along the terms, and to one or two else.
            constexpr uint LINES = THREADS / V::PIECES, COPIES = V::LINES / LINES, TOGETHER = ALONG ? COPIES : 1;
#pragma unroll
            for (uint n = 0; n < COPIES; n += TOGETHER) {
                Step step = advance(v_step, ALONG ? 0 : n * LINES % TERMS / 16, steps_in_block);
                if (step.row >= list.count) continue;
                const __half* from = v0 + step.step * 16 * (ALONG ? 1 : p.width) + (ALONG ? 0 : n * LINES / TERMS * 64);
                const int* starts = &list.starts[0][list.rows[step.row]];
#pragma unroll
                for (uint own = 0; own < SLICES; own++) {
                    int start = starts[own * WINDOW];
                    if (start < 0) continue;
#pragma unroll
                    for (uint m = 0; m < TOGETHER; m++) {
                        cp_async_16(to + own * v_bytes<SLICE> + spot<V::LINE>(v_line + (n + m) * LINES, v_piece), from + start + m * LINES * p.depth);
                    }
                }
            }
            if (local < STEPS) ((unsigned char*)&masks[stage % STAGES])[local] = mask_step.row < list.count ? list.masks[mask_step.row] : 0;
            x_step = advance(x_step, STEPS, steps_in_block);
            v_step = advance(v_step, STEPS, steps_in_block);
            mask_step = advance(mask_step, STEPS, steps_in_block);
        };

        // On Hopper a stage's products are still under way while the next are issued.
#ifdef HOPPER
        constexpr uint AHEAD = STAGES - 2;
#else
        constexpr uint AHEAD = STAGES - 1;
#endif
        for (uint stage = 0; stage < AHEAD; stage++) {
            if (stage < stages) fetch(stage);
            cp_async_commit();
        }
        for (uint stage = 0; stage < stages; stage++) {
            cp_async_wait<AHEAD - 1>();
#ifdef HOPPER
            matrix_fence();
            wgmma_wait<1>();
#endif
            __syncthreads();
            add(sums, memory + stage % STAGES * stage_bytes<SLICE>, masks[stage % STAGES]);
            if (stage + AHEAD < stages) fetch(stage + AHEAD);
            cp_async_commit();
        }
        cp_async_wait<0>();
#ifdef HOPPER
        wgmma_wait<0>();
#endif
        __syncthreads();
    }

    // Out through shared memory, 8 outputs at a time.
    constexpr uint WIDTH = SLICES * SLICE, PITCH = WIDTH + 8;
    static_assert(TOKENS * PITCH * 4 <= STAGES * stage_bytes<SLICE>);
    float* tile = (float*)memory;
    spread(sums, tile, PITCH);
    __syncthreads();
#pragma unroll 1
    for (uint n = local; n < TOKENS * WIDTH / 8; n += THREADS) {
        uint t = n / (WIDTH / 8), o = n % (WIDTH / 8) * 8, output = slice * SLICE + o;
        if (t0 + t >= p.tokens || output >= all * SLICE) continue;
        const float* from = tile + t * PITCH + o;
        __half results[8];
#pragma unroll
        for (uint i = 0; i < 8; i++) results[i] = __float2half_rn(finish(p, bias, output + i, from[i]));
        *(uint4*)(y + y_index(p, batch, t0 + t, output)) = *(const uint4*)results;
    }
    __syncthreads();
}

template <uint SLICE, bool ALONG>
DEVICE void product(const Params& p, OPERANDS) {
    extern __shared__ float4 dynamic[];
    __shared__ Rows<slices<SLICE>> list;
    __shared__ uint masks[STAGES];
    // Neighbours share tokens. The launch says how many slices make a tile, at most 256 / SLICE.
    const uint all = p.outputs / SLICE, in_tile = (all + p.output_tiles - 1) / p.output_tiles;
    const uint tile = blockIdx.x % p.output_tiles;
    const uint t0 = blockIdx.x / p.output_tiles % p.token_tiles * TOKENS;
    const uint batch = blockIdx.x / p.output_tiles / p.token_tiles;
    const uint end = min(all, (tile + 1) * in_tile);
    char* memory = (char*)((size_t(dynamic) + 1023) / 1024 * 1024);
    for (uint slice = tile * in_tile; slice < end; slice += slices<SLICE>) {
        some_slices<SLICE, ALONG>(p, x, v, index, bias, y, memory, list, masks, batch, t0, slice, end);
    }
}

#define ENTRY(slice, along) \
    SHARED_BYTES(block_matmul_cooperative_##slice##_##along, shared_bytes<slice>) \
    KERNEL(THREADS, 1) block_matmul_cooperative_##slice##_##along(PARAMS p, OPERANDS) { product<slice, along>(p, x, v, index, bias, y); }

ENTRY(32, 0)
ENTRY(32, 1)
ENTRY(64, 0)
ENTRY(64, 1)
ENTRY(128, 0)
ENTRY(128, 1)
