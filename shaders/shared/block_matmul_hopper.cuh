// The product of block_matmul.cooperative.cu on Hopper's matrix units: 128 tokens × all slices of a tile
// at once. Four warps fill stages in shared memory, eight multiply, and each block goes from tile to tile,
// so that the next tile's first stages are on their way while the last one's sums go out.
// block_matmul_pair.cuh has another way to fill stages.
#pragma once

#include "block_list.cuh"
#include "cluster.cuh"

template <uint SLICE>
constexpr uint slices = 256 / SLICE;
constexpr uint MULTIPLIERS = 256, FILLERS = 128, THREADS = MULTIPLIERS + FILLERS;
constexpr uint STAGES = 4;
constexpr uint X_BYTES = TOKENS * TERMS * 2, STAGE_BYTES = X_BYTES + 256 * TERMS * 2;
constexpr uint PITCH = 72; // halves of a line of 64 results on their way out
constexpr uint OUT_BYTES = 16 * PITCH * 2;
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

// To the next window, perhaps of the next tile. A tile is of BLOCKS blocks.
template <uint BLOCKS>
DEVICE void next(Way& way, const Params& p) {
    way.windows++;
    way.row += WINDOW;
    if (way.row * p.depth < p.inner) return;
    way.row = 0;
    way.tile += gridDim.x / BLOCKS;
}

struct Place {
    uint batch, t0, slice, all; // all: where the tile's slices end
};

// This block's part of a tile.
template <uint SLICE, uint BLOCKS>
DEVICE Place place_of(const Params& p, uint tile) {
    const uint all = p.outputs / SLICE, in_tile = (all + p.output_tiles - 1) / p.output_tiles;
    const uint slice = tile % p.output_tiles * in_tile;
    const uint part = tile / p.output_tiles % p.token_tiles * BLOCKS + blockIdx.x % BLOCKS;
    return Place{tile / p.output_tiles / p.token_tiles, part * TOKENS, slice, min(all, slice + in_tile)};
}

// A filler's share of a window's stages: the same piece of some lines, all of one step of a stage, of X and
// of V. Where V has them is looked up a stage ahead.
template <uint SLICE, bool ALONG>
DEVICE void fill(const Params& p, const __half* x, const __half* v, const List<slices<SLICE>>& list, Shared<slices<SLICE>>& shared, char* memory, Way& way, uint local) {
    using V = Panel<SLICE, ALONG>;
    constexpr uint X_LINES = FILLERS / 8, EACH = V::BYTES / 16 / FILLERS;
    // V's lines at a time: of all steps, or, across, of the warp's.
    constexpr uint V_LINES = (ALONG ? FILLERS : 32) / V::PIECES;
    const Place place = place_of<SLICE, 1>(p, way.tile);
    const Pace pace = pace_of(p.depth / 16);
    const uint count = list.count, stages = (count * pace.in_block + STEPS - 1) / STEPS;
    const uint x_line = local / 8, x_piece = local % 8, x_to = spot<128>(x_line, x_piece);
    uint x_from[TOKENS / X_LINES]; // tokens beyond the last are the last
#pragma unroll
    for (uint n = 0; n < TOKENS / X_LINES; n++) {
        x_from[n] = place.batch * p.x_batch + min(place.t0 + x_line + n * X_LINES, p.tokens - 1) * p.x_stride + x_piece % 2 * 8;
    }
    const uint v_step = ALONG ? local % 8 / 2 : local / 32, v_piece = local % V::PIECES;
    const uint v_line = ALONG ? local / V::PIECES : local % 32 / V::PIECES;
    const uint v_to = X_BYTES + spot<V::LINE>(ALONG ? v_line : v_step * 16 + v_line, v_piece);
    const uint v_from = ALONG ? v_line * p.depth + v_piece % 2 * 8 : v_line * p.width + v_piece * 8;
    const uint v_apart = V_LINES * (ALONG ? p.depth : p.width), step_apart = ALONG ? 16 : 16 * p.width;

    Step x_at = first(pace, x_piece / 2), v_at = first(pace, v_step);
    Row<slices<SLICE>> none;
#pragma unroll
    for (uint own = 0; own < slices<SLICE>; own++) none.starts[own] = -1;
    auto x_row = [&] { return x_at.row < count ? list.rows[x_at.row] : WINDOW; };
    auto v_row = [&] { return v_at.row < count ? list.window[list.rows[v_at.row]] : none; };
    const uint at = uint(__cvta_generic_to_shared(memory));
    uint row = x_row();
    Row<slices<SLICE>> blocks = v_row();
    for (uint stage = 0; stage < stages; stage++, way.stages++) {
        const uint here = way.stages % STAGES;
        const uint to = at + here * STAGE_BYTES;
        barrier_wait(shared.empty[here], way.stages / STAGES % 2 ^ 1);
        if (row < WINDOW) {
            const uint feature = (way.row + row) * p.depth + x_at.step * 16;
#pragma unroll
            for (uint n = 0; n < TOKENS / X_LINES; n++) copy_16(to + x_to + n * X_LINES * 128, x + (x_from[n] + feature));
        }
        const uint from = v_from + v_at.step * step_apart;
#pragma unroll
        for (uint own = 0; own < slices<SLICE>; own++) {
            if (blocks.starts[own] < 0) continue;
#pragma unroll
            for (uint n = 0; n < EACH; n++) {
                // Across, 4 lines on flip the permutation, and 4 times that is the next 64 outputs.
                const uint flip = ALONG || V::LINE == 64 ? 0 : n % 2 * 64, beside = ALONG ? 0 : n / 4;
                const uint lines = n % (ALONG ? EACH : 4);
                copy_16(to + own * V::BYTES + (v_to ^ flip) + lines * V_LINES * V::LINE + beside * 64 * 128,
                            v + (blocks.starts[own] + from + lines * v_apart + beside * 64));
            }
        }
        barrier_arrive_copied(shared.full[here]);
        x_at = next(pace, x_at);
        v_at = next(pace, v_at);
        row = x_row();
        blocks = v_row();
    }
}

// The slices with a block in each of a stage's steps, in 8 bits each; blocks are GRAIN steps deep or some
// times that, and so many steps apart are these.
template <uint GRAIN, uint SLICES>
DEVICE uint masks_at(const List<SLICES>& list, const Step (&at)[STEPS / GRAIN], uint count) {
    uint mask = 0;
#pragma unroll
    for (uint n = 0; n < STEPS / GRAIN; n++) mask |= (at[n].row < count ? list.masks[at[n].row] : 0u) << n * GRAIN * 8;
    return mask * (GRAIN == 4 ? 0x01010101 : GRAIN == 2 ? 0x0101 : 1);
}

// A stage's products for two slices, those in the mask, as one group. Each case has its own end of the group: where ptxas
// does not know what is in one, it has the wait for the group before wait for this one's products too.
template <uint SLICE, bool ALONG>
DEVICE void multiply_two(float (&first)[SLICE / 2], float (&second)[SLICE / 2], uint x, uint v, uint mask) {
    using V = Panel<SLICE, ALONG>;
    auto add = [&](float (&sums)[SLICE / 2], uint panel) {
#pragma unroll
        for (uint m = 0; m < STEPS; m++) wgmma<V::LINE, !ALONG>(sums, x + m * 2, v + (panel * V::BYTES + m * V::STEP >> 4));
    };
    if ((mask & 3) == 3) {
        wgmma_begin();
        add(first, 0);
        add(second, 1);
        wgmma_commit();
    } else if (mask & 1) {
        wgmma_begin();
        add(first, 0);
        wgmma_commit();
    } else if (mask & 2) {
        wgmma_begin();
        add(second, 1);
        wgmma_commit();
    } else {
        wgmma_commit();
    }
}

// A window's products, whose blocks are GRAIN steps deep or some times that. Those of a stage are still
// under way while the next are issued.
template <uint SLICE, bool ALONG, uint BLOCKS, uint GRAIN>
DEVICE void multiply(float (&sums)[slices<SLICE>][SLICE / 2], const Params& p, const List<slices<SLICE>>& list, Shared<slices<SLICE>>& shared, const char* memory, Way& way, uint warp) {
    using V = Panel<SLICE, ALONG>;
    // Groups of a stage, or none where it is one with a branch for each step of a slice.
    constexpr uint TWOS = GRAIN == 4 && SLICE >= 64 ? slices<SLICE> / 2 : 0;
    const uint lane = threadIdx.x % 32, count = __shfl_sync(0xffffffff, list.count, 0);
    const Pace pace = pace_of(p.depth / 16);
    const uint stages = (count * pace.in_block + STEPS - 1) / STEPS;
    const uint x = panel_low(memory + warp / 4 * 64 * 128, 0), v = panel_low(memory + X_BYTES, 64 * 128);
    Step at[STEPS / GRAIN];
#pragma unroll
    for (uint n = 0; n < STEPS / GRAIN; n++) at[n] = first(pace, n * GRAIN);
    uint mask = __shfl_sync(0xffffffff, masks_at<GRAIN>(list, at, count), 0);
    // Who fills a stage waits for all who read what it brings.
    auto arrive_empty = [&](uint stage) {
        if (BLOCKS == 1 && lane == 0) barrier_arrive(shared.empty[stage % STAGES]);
        if (BLOCKS > 1 && lane < BLOCKS) barrier_arrive_in(shared.empty[stage % STAGES], lane);
    };
    for (uint stage = 0; stage < stages; stage++, way.stages++) {
        const uint here = way.stages % STAGES;
        const uint to = here * (STAGE_BYTES >> 4);
#pragma unroll
        for (uint n = 0; n < STEPS / GRAIN; n++) at[n] = next(pace, at[n]);
        const uint next_mask = masks_at<GRAIN>(list, at, count);
        barrier_wait(shared.full[here], way.stages / STAGES % 2);
        if (BLOCKS == 1) matrix_fence();
        if constexpr (TWOS > 0) {
#pragma unroll
            for (uint n = 0; n < slices<SLICE>; n += 2) {
                multiply_two<SLICE, ALONG>(sums[n], sums[n + 1], x + to, v + to + (n * V::BYTES >> 4), mask >> n);
            }
        } else {
#pragma unroll
            for (uint n = 0; n < slices<SLICE>; n++) {
#pragma unroll
                for (uint k = 0; k < STEPS; k += GRAIN) {
                    if ((mask >> (k * 8 + n) & 1) == 0) continue;
                    wgmma_begin();
#pragma unroll
                    for (uint m = k; m < k + GRAIN; m++) wgmma<V::LINE, !ALONG>(sums[n], x + to + m * 2, v + to + (n * V::BYTES + m * V::STEP >> 4));
                }
            }
            wgmma_commit();
        }
        mask = __shfl_sync(0xffffffff, next_mask, 0);
        wgmma_wait<TWOS == 0 ? 1 : TWOS>();
        if (stage > 0) arrive_empty(way.stages - 1);
    }
    wgmma_wait<0>();
    if (stages > 0) arrive_empty(way.stages - 1);
}

// A warp's sums, 16 tokens × 256 outputs, on their way out through shared memory, 64 outputs at a time.
template <uint SLICE, uint BLOCKS>
DEVICE void put(const float (&sums)[slices<SLICE>][SLICE / 2], const Params& p, const float* bias, __half* y, __half* tile, uint index, uint warp) {
    const Place place = place_of<SLICE, BLOCKS>(p, index);
    const uint lane = threadIdx.x % 32, t = place.t0 + warp * 16 + lane / 8;
    const uint first = place.slice * SLICE, outputs = place.all * SLICE - first;
    __half* to = tile + lane / 4 * PITCH + lane % 4 * 2;
    const __half* from = tile + lane / 8 * PITCH + lane % 8 * 8;
    __half* out = y + y_index(p, place.batch, t, first + lane % 8 * 8);
    auto put_part = [&](const float (&values)[32], uint part) {
        __syncwarp();
#pragma unroll
        for (uint m = 0; m < 32; m += 4) {
            *(__half2*)(to + m * 2) = __floats2half2_rn(values[m], values[m + 1]);
            *(__half2*)(to + m * 2 + 8 * PITCH) = __floats2half2_rn(values[m + 2], values[m + 3]);
        }
        __syncwarp();
        if (part * 64 + lane % 8 * 8 >= outputs) return;
#pragma unroll
        for (uint n = 0; n < 16; n += 4) {
            if (t + n < p.tokens) *(uint4*)(out + n * p.y_stride + part * 64) = *(const uint4*)(from + n * PITCH);
        }
    };
    auto take_part = [&](float (&values)[32], uint part) {
#pragma unroll
        for (uint m = 0; m < 32; m++) values[m] = sums[(part * 32 + m) / (SLICE / 2)][(part * 32 + m) % (SLICE / 2)];
    };
    if (!has_bias(p) && activation(p) == 0) {
#pragma unroll
        for (uint part = 0; part < 4; part++) {
            float values[32];
            take_part(values, part);
            put_part(values, part);
        }
        return;
    }
#pragma unroll 1
    for (uint part = 0; part < 4 && part * 64 < outputs; part++) {
        float values[32];
#pragma unroll
        for (uint n = 0; n < 4; n++) {
            if (n == part) take_part(values, n);
        }
        if (has_bias(p)) {
            const uint output = part * 64 + lane % 4 * 2;
#pragma unroll
            for (uint m = 0; m < 32; m++) {
                if (output + m / 4 * 8 < outputs) values[m] += bias[first + output + m / 4 * 8 + m % 2];
            }
        }
        if (activation(p) == 1) {
#pragma unroll
            for (uint m = 0; m < 32; m++) values[m] = activate(1, values[m]);
        } else if (activation(p) == 2) {
#pragma unroll
            for (uint m = 0; m < 32; m++) values[m] = activate(2, values[m]);
        }
        put_part(values, part);
    }
}

// Lists a window for a tile, by the THREADS that call it.
template <uint SLICE, bool ALONG, uint BLOCKS, uint THREADS>
DEVICE void list_window(const Params& p, const uint* index, Shared<slices<SLICE>>& shared, const Way& way, uint local) {
    const uint turn = way.windows % 2;
    if (way.row == 0) {
        const Place place = place_of<SLICE, BLOCKS>(p, way.tile);
        part_sync(1, THREADS);
        start(shared.cursors, p, index, place.slice, place.all, p.width / SLICE, SLICE * (ALONG ? p.depth : 1), local);
    }
    barrier_wait(shared.unlisted[turn], way.windows / 2 % 2 ^ 1);
    list_rows<THREADS>(shared.lists[turn], shared.cursors, p, index, way.row, local, [] { part_sync(1, THREADS); });
    barrier_arrive(shared.listed[turn]);
}

// A multiplier's products and sums, of all its tiles.
template <uint SLICE, bool ALONG, uint BLOCKS>
DEVICE void multiply_tiles(const Params& p, const float* bias, __half* y, Shared<slices<SLICE>>& shared, char* memory, uint tiles, uint warp) {
    Way way = {blockIdx.x / BLOCKS, 0, 0, 0};
    __half* tile = (__half*)(memory + STAGES * STAGE_BYTES + warp * OUT_BYTES);
    while (way.tile < tiles) {
        const uint now = way.tile;
        float sums[slices<SLICE>][SLICE / 2] = {};
        while (way.tile == now) {
            barrier_wait(shared.listed[way.windows % 2], way.windows / 2 % 2);
            const auto& list = shared.lists[way.windows % 2];
            if (BLOCKS > 1 || p.depth % 64 == 0) multiply<SLICE, ALONG, BLOCKS, 4>(sums, p, list, shared, memory, way, warp);
            else if (p.depth % 32 == 0) multiply<SLICE, ALONG, BLOCKS, 2>(sums, p, list, shared, memory, way, warp);
            else multiply<SLICE, ALONG, BLOCKS, 1>(sums, p, list, shared, memory, way, warp);
            __syncwarp();
            if (threadIdx.x % 32 == 0) barrier_arrive(shared.unlisted[way.windows % 2]);
            next<BLOCKS>(way, p);
        }
        put<SLICE, BLOCKS>(sums, p, bias, y, tile, now, warp);
    }
}

// By one thread: the barriers, with how many arrive at each.
template <uint SLICES>
DEVICE void start_barriers(Shared<SLICES>& shared, uint listed, uint unlisted, uint full, uint empty) {
    for (uint n = 0; n < 2; n++) barrier_start(shared.listed[n], listed), barrier_start(shared.unlisted[n], unlisted);
    for (uint n = 0; n < STAGES; n++) barrier_start(shared.full[n], full), barrier_start(shared.empty[n], empty);
}

template <uint SLICE, bool ALONG>
DEVICE void product(const Params& p, OPERANDS(__half)) {
    extern __shared__ __align__(1024) char memory[];
    __shared__ Shared<slices<SLICE>> shared;
    const uint tiles = p.batch * p.token_tiles * p.output_tiles;
    if (threadIdx.x == 0) start_barriers(shared, FILLERS, MULTIPLIERS / 32, FILLERS, MULTIPLIERS / 32);
    __syncthreads();
    const uint warp = __shfl_sync(0xffffffff, threadIdx.x / 32, 0);
    if (warp >= MULTIPLIERS / 32) {
        fewer_registers<88>();
        const uint local = threadIdx.x - MULTIPLIERS;
        Way way = {blockIdx.x, 0, 0, 0};
        while (way.tile < tiles) {
            list_window<SLICE, ALONG, 1, FILLERS>(p, index, shared, way, local);
            fill<SLICE, ALONG>(p, x, v, shared.lists[way.windows % 2], shared, memory, way, local);
            next<1>(way, p);
        }
    } else {
        more_registers<208>();
        multiply_tiles<SLICE, ALONG, 1>(p, bias, y, shared, memory, tiles, warp);
    }
}
