// The product of block_matmul_hopper.cuh by pairs of blocks of threads, where V's blocks are of whole stages of terms and
// 128 outputs. The tiles of a pair have the same outputs and follow each other along the tokens, and each block brings
// half of V's part of a stage into both. What binds the product is how much goes from the second-level cache to the
// multiprocessors, and so V goes there once for two.
#pragma once

#include "block_matmul_hopper.cuh"

constexpr uint PAIR_SLICE = 128;

// A window's stages for a pair, by one thread: X's part of a stage for this block, and of V's the half that it brings
// into both. A stage lies in one block row.
template <bool ALONG>
DEVICE void fill_pair(const Params& p, const TensorMap& x, const TensorMap& v, const List<slices<PAIR_SLICE>>& list, Shared<slices<PAIR_SLICE>>& shared, const char* memory, Way& way) {
    using V = Panel<PAIR_SLICE, ALONG>;
    constexpr uint HALF = PAIR_SLICE / 2; // outputs, which are lines or, across, halves of a line
    const uint rank = rank_in_pair(), length = ALONG ? p.depth : p.width;
    const Place place = place_of<PAIR_SLICE, 2>(p, way.tile);
    const uint token = place.batch * p.tokens + place.t0;
    const uint at = uint(__cvta_generic_to_shared(memory)), v_at = X_BYTES + rank * (V::BYTES / 2);
    for (uint n = 0; n < list.count; n++) {
        const uint row = list.rows[n], bytes = X_BYTES + __popc(list.masks[n]) * V::BYTES;
        const Row<slices<PAIR_SLICE>> blocks = list.window[row];
        uint line[slices<PAIR_SLICE>], half[slices<PAIR_SLICE>];
#pragma unroll
        for (uint own = 0; own < slices<PAIR_SLICE>; own++) {
            line[own] = uint(blocks.starts[own]) / length + (ALONG ? rank * HALF : 0);
            half[own] = uint(blocks.starts[own]) % length + (ALONG ? 0 : rank * HALF);
        }
        for (uint term = 0; term < p.depth; term += TERMS, way.stages++) {
            const uint here = way.stages % STAGES, to = at + here * STAGE_BYTES;
            barrier_wait(shared.empty[here], way.stages / STAGES % 2 ^ 1);
            barrier_arrive_expecting(shared.full[here], bytes);
#pragma unroll
            for (uint own = 0; own < slices<PAIR_SLICE>; own++) {
                if (blocks.starts[own] < 0) continue;
                copy_box_to_both(to + v_at + own * V::BYTES, v, half[own] + (ALONG ? term : 0), line[own] + (ALONG ? 0 : term), shared.full[here]);
            }
            // The partner waits for V, too: X comes after it.
            copy_box(to, x, (way.row + row) * p.depth + term, token, shared.full[here]);
        }
    }
}

// Y's tiles. One filler fills, three warps list what it will.
template <bool ALONG>
DEVICE void pair_product(const Params& p, const TensorMap& x, const TensorMap& v, const uint* index, const float* bias, __half* y) {
    extern __shared__ __align__(1024) char memory[];
    __shared__ Shared<slices<PAIR_SLICE>> shared;
    constexpr uint LISTERS = FILLERS - 32;
    const uint tiles = p.batch * p.token_tiles * p.output_tiles;
    if (threadIdx.x == 0) {
        prefetch_map(x);
        prefetch_map(v);
        start_barriers(shared, LISTERS, MULTIPLIERS / 32 + 1, 1, 2 * MULTIPLIERS / 32);
        barriers_started();
    }
    pair_sync();
    const uint warp = __shfl_sync(0xffffffff, threadIdx.x / 32, 0);
    if (warp >= MULTIPLIERS / 32) {
        fewer_registers<88>();
        Way way = {blockIdx.x / 2, 0, 0, 0};
        if (warp > MULTIPLIERS / 32) {
            for (; way.tile < tiles; next<2>(way, p)) list_window<PAIR_SLICE, ALONG, 2, LISTERS>(p, index, shared, way, threadIdx.x - MULTIPLIERS - 32);
        } else if (threadIdx.x % 32 == 0) {
            for (; way.tile < tiles; next<2>(way, p)) {
                const uint turn = way.windows % 2;
                barrier_wait(shared.listed[turn], way.windows / 2 % 2);
                fill_pair<ALONG>(p, x, v, shared.lists[turn], shared, memory, way);
                barrier_arrive(shared.unlisted[turn]);
            }
        }
    } else {
        more_registers<208>();
        multiply_tiles<PAIR_SLICE, ALONG, 2>(p, bias, y, shared, memory, tiles, warp);
    }
    pair_end();
}
