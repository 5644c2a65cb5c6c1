// The product of block_matmul.cooperative.cu on Hopper's matrix units: 128 tokens × all slices of a tile
// at once. Four warps fill stages in shared memory, eight multiply, and each block goes from tile to tile,
// so that the next tile's first stages are on their way while the last one's sums go out.
#pragma once

#include "block_list.cuh"
#include "hopper.cuh"
#include "tensor.cuh"

template <uint SLICE>
constexpr uint slices = 256 / SLICE;
constexpr uint MULTIPLIERS = 256, FILLERS = 128, THREADS = MULTIPLIERS + FILLERS;
constexpr uint STAGES = 4;
constexpr uint X_BYTES = TOKENS * TERMS * 2, STAGE_BYTES = X_BYTES + 256 * TERMS * 2;
constexpr uint PITCH = 40; // floats of a line of 32 sums on their way out
constexpr uint OUT_BYTES = 16 * PITCH * 4;
template <uint SLICE>
constexpr uint shared_bytes = STAGES * STAGE_BYTES + MULTIPLIERS / 32 * OUT_BYTES;

template <uint SLICES>
struct Shared {
    List<SLICES> lists[2];
    Cursors<SLICES> cursors;
    Barrier listed[2], unlisted[2], full[STAGES], empty[STAGES];
};

// Where a block is on its way: the tile, the window's first block row, and how many windows and stages
// came before.
struct Way {
    uint tile, row, windows, stages;
};

// To the next window, perhaps of the next tile.
DEVICE void next(Way& way, const Params& p) {
    way.windows++;
    way.row += WINDOW;
    if (way.row * p.depth < p.inner) return;
    way.row = 0;
    way.tile += gridDim.x;
}

struct Place {
    uint batch, t0, slice, all; // all: where the tile's slices end
};

template <uint SLICE>
DEVICE Place place_of(const Params& p, uint tile) {
    const uint all = p.outputs / SLICE, in_tile = (all + p.output_tiles - 1) / p.output_tiles;
    const uint slice = tile % p.output_tiles * in_tile;
    return Place{tile / p.output_tiles / p.token_tiles, tile / p.output_tiles % p.token_tiles * TOKENS, slice, min(all, slice + in_tile)};
}

// A filler's share of a window's stages. Its pieces have the same place in their lines, and, along the
// terms, the same step of a stage.
template <uint SLICE, bool ALONG>
DEVICE void fill(const Params& p, const __half* x, const __half* v, const List<slices<SLICE>>& list, Shared<slices<SLICE>>& shared, char* memory, Way& way, uint local) {
    using V = Panel<SLICE, ALONG>;
    constexpr uint X_LINES = FILLERS / 8, V_LINES = FILLERS / V::PIECES; // brought at a time
    constexpr uint V_STEPS = ALONG ? 1 : STEPS * 16 / V_LINES, EACH = V::LINES / V_LINES / V_STEPS;
    const Place place = place_of<SLICE>(p, way.tile);
    const uint steps_in_block = p.depth / 16, stages = (__shfl_sync(0xffffffff, list.count, 0) * steps_in_block + STEPS - 1) / STEPS;
    const uint x_line = local / 8, x_piece = local % 8, v_line = local / V::PIECES, v_piece = local % V::PIECES;
    const uint x_to = spot<128>(x_line, x_piece), v_to = X_BYTES + spot<V::LINE>(v_line, v_piece);
    const uint v_from = ALONG ? v_line * p.depth + v_piece % 2 * 8 : v_line % 16 * p.width + v_piece * 8;
    const uint v_apart = ALONG ? V_LINES * p.depth : 64, step_apart = ALONG ? 16 : 16 * p.width;
    uint x_from[TOKENS / X_LINES]; // tokens beyond the last are the last
#pragma unroll
    for (uint n = 0; n < TOKENS / X_LINES; n++) {
        x_from[n] = place.batch * p.x_batch + min(place.t0 + x_line + n * X_LINES, p.tokens - 1) * p.x_stride + x_piece % 2 * 8;
    }

    Step x_step = advance(Step{0, 0}, x_piece / 2, steps_in_block);
    Step v_step = advance(Step{0, 0}, ALONG ? v_piece / 2 : v_line / 16, steps_in_block);
    for (uint stage = 0; stage < stages; stage++, way.stages++) {
        const uint here = way.stages % STAGES;
        char* to = memory + here * STAGE_BYTES;
        const uint row = x_step.row < list.count ? list.rows[x_step.row] : WINDOW;
        barrier_wait(shared.empty[here], way.stages / STAGES % 2 ^ 1);
        if (row < WINDOW) {
            const uint feature = (way.row + row) * p.depth + x_step.step * 16;
#pragma unroll
            for (uint n = 0; n < TOKENS / X_LINES; n++) cp_async_16(to + x_to + n * X_LINES * 128, x + (x_from[n] + feature));
        }
#pragma unroll
        for (uint n = 0; n < V_STEPS; n++) {
            Step step = advance(v_step, n * (V_LINES / 16), steps_in_block);
            if (step.row >= list.count) break;
            const int* starts = &list.starts[0][list.rows[step.row]];
            const uint from = v_from + step.step * step_apart;
#pragma unroll
            for (uint own = 0; own < slices<SLICE>; own++) {
                int start = starts[own * WINDOW];
                if (start < 0) continue;
#pragma unroll
                for (uint m = 0; m < EACH; m++) {
                    // A thread's lines keep the same permutation: they are multiples of 8 apart.
                    const uint line = ALONG ? m * V_LINES : m * TERMS + n * V_LINES;
                    cp_async_16(to + v_to + own * V::BYTES + line * V::LINE, v + (start + from + m * v_apart));
                }
            }
        }
        barrier_arrive_copied(shared.full[here]);
        x_step = advance(x_step, STEPS, steps_in_block);
        v_step = advance(v_step, STEPS, steps_in_block);
    }
}

// The slices with a block in each of a stage's steps, in 8 bits each. Lane n looks step n % 4 up.
template <uint SLICES>
DEVICE uint masks_of(const List<SLICES>& list, Step step, uint lane) {
    uint mask = (step.row < list.count ? list.masks[step.row] : 0u) << lane % 4 * 8;
    mask |= __shfl_xor_sync(0xffffffff, mask, 1);
    mask |= __shfl_xor_sync(0xffffffff, mask, 2);
    return __shfl_sync(0xffffffff, mask, 0);
}

// A window's products. Those of a stage are still under way while the next are issued.
template <uint SLICE, bool ALONG>
DEVICE void multiply(float (&sums)[slices<SLICE>][SLICE / 2], const Params& p, const List<slices<SLICE>>& list, Shared<slices<SLICE>>& shared, const char* memory, Way& way) {
    using V = Panel<SLICE, ALONG>;
    const uint lane = threadIdx.x % 32, group = threadIdx.x / 128;
    const uint steps_in_block = p.depth / 16, stages = (__shfl_sync(0xffffffff, list.count, 0) * steps_in_block + STEPS - 1) / STEPS;
    const unsigned long long x = panel_descriptor(memory + group * 64 * 128, 128, 1024, 0);
    const unsigned long long v = panel_descriptor(memory + X_BYTES, V::LINE, V::LINE * 8, 64 * 128);
    Step step = advance(Step{0, 0}, lane % STEPS, steps_in_block);
    uint mask = masks_of(list, step, lane);
    for (uint stage = 0; stage < stages; stage++, way.stages++) {
        const uint here = way.stages % STAGES;
        const unsigned long long to = here * STAGE_BYTES >> 4;
        barrier_wait(shared.full[here], way.stages / STAGES % 2);
        matrix_fence();
#pragma unroll
        for (uint n = 0; n < slices<SLICE>; n++) {
            const uint own = mask >> n & 0x01010101;
            const unsigned long long panel = v + to + (n * V::BYTES >> 4);
            if (own == 0x01010101) {
                wgmma_begin();
#pragma unroll
                for (uint k = 0; k < STEPS; k++) wgmma<!ALONG>(sums[n], x + to + k * 2, panel + (k * V::STEP >> 4));
            } else if (own != 0) {
#pragma unroll
                for (uint k = 0; k < STEPS; k++) {
                    if ((own >> k * 8 & 1) == 0) continue;
                    wgmma_begin();
                    wgmma<!ALONG>(sums[n], x + to + k * 2, panel + (k * V::STEP >> 4));
                }
            }
        }
        wgmma_commit();
        step = advance(step, STEPS, steps_in_block);
        mask = masks_of(list, step, lane);
        wgmma_wait<1>();
        if (stage > 0 && lane == 0) barrier_arrive(shared.empty[(way.stages - 1) % STAGES]);
    }
    wgmma_wait<0>();
    if (stages > 0 && lane == 0) barrier_arrive(shared.empty[(way.stages - 1) % STAGES]);
}

// A warp's sums, 16 tokens × 256 outputs, on their way out through shared memory, 32 outputs at a time.
template <uint SLICE>
DEVICE void put(const float (&sums)[slices<SLICE>][SLICE / 2], const Params& p, const float* bias, __half* y, float* tile, uint index) {
    const Place place = place_of<SLICE>(p, index);
    const uint lane = threadIdx.x % 32, t0 = place.t0 + threadIdx.x / 32 * 16;
    float* to = tile + lane / 4 * PITCH + lane % 4 * 2;
#pragma unroll 1
    for (uint part = 0; part < 8; part++) {
        const uint output = place.slice * SLICE + part * 32 + lane % 4 * 8;
        __syncwarp();
#pragma unroll
        for (uint n = 0; n < 8; n++) {
            if (n != part) continue;
            const float* own = &sums[n * 32 / SLICE][n * 32 % SLICE / 2];
#pragma unroll
            for (uint j = 0; j < 4; j++) {
                *(float2*)(to + j * 8) = float2{own[j * 4], own[j * 4 + 1]};
                *(float2*)(to + j * 8 + 8 * PITCH) = float2{own[j * 4 + 2], own[j * 4 + 3]};
            }
        }
        __syncwarp();
#pragma unroll 1
        for (uint line = lane / 4; line < 16; line += 8) {
            if (t0 + line >= p.tokens || output >= place.all * SLICE) continue;
            const float* from = tile + line * PITCH + lane % 4 * 8;
            __half2 results[4];
#pragma unroll
            for (uint n = 0; n < 4; n++) {
                results[n] = __floats2half2_rn(finish(p, bias, output + n * 2, from[n * 2]), finish(p, bias, output + n * 2 + 1, from[n * 2 + 1]));
            }
            *(uint4*)(y + y_index(p, place.batch, t0 + line, output)) = *(const uint4*)results;
        }
    }
}

template <uint SLICE, bool ALONG>
DEVICE void product(const Params& p, const __half* x, const __half* v, const uint* index, const float* bias, __half* y) {
    extern __shared__ __align__(1024) char memory[];
    __shared__ Shared<slices<SLICE>> shared;
    const uint tiles = p.batch * p.token_tiles * p.output_tiles;
    if (threadIdx.x == 0) {
        for (uint n = 0; n < 2; n++) barrier_start(shared.listed[n], FILLERS), barrier_start(shared.unlisted[n], MULTIPLIERS / 32);
        for (uint n = 0; n < STAGES; n++) barrier_start(shared.full[n], FILLERS), barrier_start(shared.empty[n], MULTIPLIERS / 32);
    }
    __syncthreads();

    Way way = {blockIdx.x, 0, 0, 0};
    if (__shfl_sync(0xffffffff, threadIdx.x / 32, 0) >= MULTIPLIERS / 32) {
        const uint local = threadIdx.x - MULTIPLIERS;
        while (way.tile < tiles) {
            auto& list = shared.lists[way.windows % 2];
            if (way.row == 0) {
                const Place place = place_of<SLICE>(p, way.tile);
                part_sync(1, FILLERS);
                start(shared.cursors, p, index, place.slice, place.all, p.width / SLICE, SLICE * (ALONG ? p.depth : 1), local);
            }
            barrier_wait(shared.unlisted[way.windows % 2], way.windows / 2 % 2 ^ 1);
            list_rows<FILLERS>(list, shared.cursors, p, index, way.row, local, [] { part_sync(1, FILLERS); });
            barrier_arrive(shared.listed[way.windows % 2]);
            fill<SLICE, ALONG>(p, x, v, list, shared, memory, way, local);
            next(way, p);
        }
    } else {
        float* tile = (float*)(memory + STAGES * STAGE_BYTES + threadIdx.x / 32 * OUT_BYTES);
        while (way.tile < tiles) {
            const uint now = way.tile;
            float sums[slices<SLICE>][SLICE / 2] = {};
            while (way.tile == now) {
                barrier_wait(shared.listed[way.windows % 2], way.windows / 2 % 2);
                multiply<SLICE, ALONG>(sums, p, shared.lists[way.windows % 2], shared, memory, way);
                __syncwarp();
                if (threadIdx.x % 32 == 0) barrier_arrive(shared.unlisted[way.windows % 2]);
                next(way, p);
            }
            put<SLICE>(sums, p, bias, y, tile, now);
        }
    }
}
