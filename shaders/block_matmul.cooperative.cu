// Y = act(X · V + bias) on tensor cores, V block-sparse, f16 or bf16 with f32 sums, X and Y contiguous along
// features. A tile is of 128 tokens and up to 256 outputs, which are slices of SLICE, each in one block
// column. The block rows of these columns together are gone along in steps of 16 terms, STEPS to a stage.
// On Hopper X's part of a stage is staged once for all slices of a tile, V's for those that have a block
// there, and matrix units take them all; elsewhere the slices follow one another.

#include "shared/block_list.cuh"
#include "shared/halves.cuh"
#include "shared/hopper.cuh"

#define OPERANDS(Half) \
    const Half *__restrict__ x, const Half *__restrict__ v, const uint *__restrict__ index, const float *__restrict__ bias, Half *__restrict__ y

constexpr uint TOKENS = 128;

#ifdef HOPPER
#include "shared/block_matmul_pair.cuh"
#else

constexpr uint THREADS = 256;
constexpr uint STAGES = 3;
constexpr uint X_BYTES = TOKENS * TERMS * 2;
template <uint SLICE>
constexpr uint stage_bytes = X_BYTES + SLICE * TERMS * 2;
template <uint SLICE>
constexpr uint shared_bytes = STAGES * stage_bytes<SLICE>;

struct Shared {
    List<1> list;
    Cursors<1> cursors;
    uint masks[STAGES];
};

template <uint SLICE, bool ALONG>
struct Sums {
    // A warp's outputs and tokens, in pieces of 8 and of 16.
    static constexpr uint WIDTH = SLICE == 128 ? 64 : 32, ACROSS = SLICE / WIDTH, HEIGHT = TOKENS * ACROSS / (THREADS / 32);
    float c[HEIGHT / 16][WIDTH / 8][4];
};

template <class Half, uint SLICE, bool ALONG>
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
                add_product<Half>(sums.c[i][j * 2], a[i], b[0], b[1]);
                add_product<Half>(sums.c[i][j * 2 + 1], a[i], b[2], b[3]);
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

// The sums of TOKENS tokens and a slice.
template <uint SLICE, bool ALONG, class Half>
DEVICE void one_slice(const Params& p, OPERANDS(Half), char* memory, Shared& shared, uint batch, uint t0, uint slice, uint all) {
    using V = Panel<SLICE, ALONG>;
    const uint local = threadIdx.x;
    const uint in_block = p.width / SLICE;
    const Pace pace = pace_of(p.depth / 16);
    const List<1>& list = shared.list;
    Sums<SLICE, ALONG> sums = {};

    // A thread brings the same piece of some lines; tokens beyond the last are the last.
    const uint x_line = local / 8, x_piece = local % 8, v_line = local / V::PIECES, v_piece = local % V::PIECES;
    const Half* x0 = x + batch * p.x_batch + x_piece % 2 * 8;
    const Half* v0 = v + (ALONG ? v_line * p.depth + v_piece % 2 * 8 : v_line % 16 * p.width + v_piece * 8);

    start(shared.cursors, p, index, slice, all, in_block, SLICE * (ALONG ? p.depth : 1), local);
    for (uint row = 0; row * p.depth < p.inner; row += WINDOW) {
        __syncthreads();
        list_rows<THREADS>(shared.list, shared.cursors, p, index, row, local, [] { __syncthreads(); });
        const uint stages = (list.count * pace.in_block + STEPS - 1) / STEPS;
        Step x_step = first(pace, x_piece / 2);
        // Across, a thread's lines are of one step of a stage or of two, 2 apart.
        Step v_steps[2] = {first(pace, ALONG ? v_piece / 2 : v_line / 16), first(pace, v_line / 16 + 2)};
        Step mask_step = first(pace, local % STEPS);
        auto fetch = [&](uint stage) {
            char* to = memory + stage % STAGES * stage_bytes<SLICE>;
            if (x_step.row < list.count) {
                const Half* from = x0 + (row + list.rows[x_step.row]) * p.depth + x_step.step * 16;
#pragma unroll
                for (uint line = x_line; line < TOKENS; line += THREADS / 8) {
                    cp_async_16(to + spot<128>(line, x_piece), from + min(t0 + line, p.tokens - 1) * p.x_stride);
                }
            }
            to += X_BYTES;
#pragma unroll
            for (uint n = 0; n < V::LINES * V::PIECES / THREADS; n++) {
                constexpr uint APART = THREADS / V::PIECES;
                const Step step = v_steps[ALONG ? 0 : n * APART % TERMS / 32];
                if (step.row >= list.count) continue;
                const Half* from = v0 + list.window[list.rows[step.row]].starts[0] + step.step * 16 * (ALONG ? 1 : p.width);
                cp_async_16(to + spot<V::LINE>(v_line + n * APART, v_piece), from + (ALONG ? n * APART * p.depth : n * APART / TERMS * 64));
            }
            if (local < STEPS) ((unsigned char*)&shared.masks[stage % STAGES])[local] = mask_step.row < list.count;
            x_step = next(pace, x_step);
            v_steps[0] = next(pace, v_steps[0]);
            v_steps[1] = next(pace, v_steps[1]);
            mask_step = next(pace, mask_step);
        };

        in_stages<STAGES>(stages, fetch, [&](uint stage) {
            add<Half>(sums, memory + stage % STAGES * stage_bytes<SLICE>, shared.masks[stage % STAGES]);
        });
        cp_async_wait<0>();
        __syncthreads();
    }

    // Out through shared memory, 8 outputs at a time.
    constexpr uint PITCH = SLICE + 8;
    static_assert(TOKENS * PITCH * 4 <= STAGES * stage_bytes<SLICE>);
    float* tile = (float*)memory;
    spread(sums, tile, PITCH);
    __syncthreads();
#pragma unroll 1
    for (uint n = local; n < TOKENS * SLICE / 8; n += THREADS) {
        uint t = n / (SLICE / 8), o = n % (SLICE / 8) * 8, output = slice * SLICE + o;
        if (t0 + t >= p.tokens) continue;
        const float* from = tile + t * PITCH + o;
        uint words[4];
#pragma unroll
        for (uint i = 0; i < 4; i++) {
            words[i] = rounded<Half>(finish(p, bias, output + i * 2, from[i * 2]), finish(p, bias, output + i * 2 + 1, from[i * 2 + 1]));
        }
        *(uint4*)(y + y_index(p, batch, t0 + t, output)) = uint4{words[0], words[1], words[2], words[3]};
    }
    __syncthreads();
}

template <uint SLICE, bool ALONG, class Half>
DEVICE void product(const Params& p, OPERANDS(Half)) {
    extern __shared__ float4 memory[];
    __shared__ Shared shared;
    // Neighbours share tokens. The launch says how many slices make a tile, and may have fewer blocks than tiles.
    const uint all = p.outputs / SLICE, in_tile = (all + p.output_tiles - 1) / p.output_tiles;
    for (uint tile = blockIdx.x; tile < p.batch * p.token_tiles * p.output_tiles; tile += gridDim.x) {
        const uint first = tile % p.output_tiles * in_tile;
        const uint t0 = tile / p.output_tiles % p.token_tiles * TOKENS, batch = tile / p.output_tiles / p.token_tiles;
        for (uint slice = first; slice < min(all, first + in_tile); slice++) {
            one_slice<SLICE, ALONG>(p, x, v, index, bias, y, (char*)memory, shared, batch, t0, slice, all);
        }
    }
}
#endif

#define ENTRY(slice, along, brain, Half) \
    SHARED_BYTES(block_matmul_cooperative_##slice##_##along##_##brain, shared_bytes<slice>) \
    KERNEL(THREADS, 1) block_matmul_cooperative_##slice##_##along##_##brain(PARAMS p, OPERANDS(Half)) { \
        product<slice, along>(p, x, v, index, bias, y); \
    }

#define ENTRIES(brain, Half) \
    ENTRY(32, 0, brain, Half) \
    ENTRY(32, 1, brain, Half) \
    ENTRY(64, 0, brain, Half) \
    ENTRY(64, 1, brain, Half) \
    ENTRY(128, 0, brain, Half) \
    ENTRY(128, 1, brain, Half)

ENTRIES(0, __half)
#ifdef HOPPER
// Pairs of blocks; each brings half of a slice.
#define PAIR_ENTRY(along, length) \
    SHARED_BYTES(block_matmul_cooperative_128_##along##_0_2, shared_bytes<PAIR_SLICE>) \
    TENSOR_MAPS(block_matmul_cooperative_128_##along##_0_2, LINES(0, x_stride, TOKENS), LINES(1, length, PAIR_SLICE / 2)) \
    KERNEL(THREADS, 1) PAIRS block_matmul_cooperative_128_##along##_0_2(PARAMS p, OPERANDS(__half), TENSOR_MAP x_map, TENSOR_MAP v_map) { \
        pair_product<along>(p, x_map, v_map, index, bias, y); \
    }

PAIR_ENTRY(0, width)
PAIR_ENTRY(1, depth)
#else
ENTRIES(1, __nv_bfloat16) // on Hopper too
#endif
