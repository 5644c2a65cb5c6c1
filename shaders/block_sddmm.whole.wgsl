// The same at blocks of whole tiles, a multiple of DEPTH tokens and sides that are multiples of 4, A and B
// contiguous along features: an invocation goes along its own features of both. 32 invocations have 32 rows
// of 64 places; those whose places are all beyond the block row only bring values.

override ROWS: u32 = 32u;                         // 32 or 64
const PLACES: u32 = 128u;
const DEPTH: u32 = 8u;
override THREADS: u32 = ROWS * PLACES / 64u;      // each brings one vec4 of A
override B_LOADS: u32 = 16u * DEPTH / ROWS;       // and 2 or 4 of B
override A_LINE: u32 = ROWS / 4u;                 // vec4s of a token
const B_LINE: u32 = PLACES / 4u;
override A_PITCH: u32 = A_LINE + 1u;              // one to spread the banks
const B_PITCH: u32 = B_LINE + 1u;
override A_SIZE: u32 = DEPTH * A_PITCH;
override B_STEP: u32 = THREADS / B_LINE;          // tokens between an invocation's vec4s

@group(0) @binding(1) var<storage, read> left: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> right: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> c: array<vec4<f32>>;

var<workgroup> a_stage: array<vec4<f32>, A_SIZE>;           // [token][row]
var<workgroup> b_stage: array<vec4<f32>, DEPTH * B_PITCH>;  // [token][place]

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = group_index(group, groups);
    let row_tiles = params.grid_rows * params.row_tiles;
    if tile >= row_tiles * params.column_tiles * params.parts { return; }

    // Which tile, of which tokens. The first tiles of all block rows come first, the last ones last: many of those
    // have less to do, or nothing.
    let p0 = tile / row_tiles / params.parts * PLACES;
    let part = tile / row_tiles % params.parts;
    let row = tile % row_tiles / params.row_tiles;
    let i0 = tile % params.row_tiles * ROWS;
    let first = index[row];
    let count = (index[row + 1u] - first) * params.width;
    if p0 >= count { return; }
    let start = part * params.part_tokens;
    let end = min(params.tokens, start + params.part_tokens);

    // Its 8 × 8 sums: four rows, and four more 16 further on, of four places and four more 32 further on. The
    // invocations lie 4 × 8, in an order in which two neighbours share both operands.
    let warp = local / 32u;
    let own_p = warp / (ROWS / 32u) * 64u;
    let works = p0 + own_p < count;
    let ay = (local & 1u) + ((local >> 1u) & 2u) + warp % (ROWS / 32u) * 8u;
    let bx = ((local >> 1u) & 1u) + ((local >> 2u) & 6u) + own_p / 4u;

    // Where in A and B, in vec4s, its first ones are. Places beyond the row bring what is at feature 0.
    let feature = u32(max(place(p0 + local % B_LINE * 4u, first, count).x, 0));
    let b_step = B_STEP * params.b_stride / 4u;
    var a = ((start + local / A_LINE) * params.a_stride + row * params.height + i0) / 4u + local % A_LINE;
    var b = ((start + local / B_LINE) * params.b_stride + feature) / 4u;
    let a_to = local / A_LINE * A_PITCH + local % A_LINE;
    let b_to = local / B_LINE * B_PITCH + local % B_LINE;

    var c0l = vec4(0.0); var c0h = vec4(0.0);
    var c1l = vec4(0.0); var c1h = vec4(0.0);
    var c2l = vec4(0.0); var c2h = vec4(0.0);
    var c3l = vec4(0.0); var c3h = vec4(0.0);
    var c4l = vec4(0.0); var c4h = vec4(0.0);
    var c5l = vec4(0.0); var c5h = vec4(0.0);
    var c6l = vec4(0.0); var c6h = vec4(0.0);
    var c7l = vec4(0.0); var c7h = vec4(0.0);

    // The first tokens.
    var rb2 = vec4(0.0); var rb3 = vec4(0.0);
    var ra = left[a];
    var rb0 = right[b];
    var rb1 = right[b + b_step];
    if B_LOADS > 2u {
        rb2 = right[b + 2u * b_step];
        rb3 = right[b + 3u * b_step];
    }

    for (var t0 = start; t0 < end; t0 += DEPTH) {
        workgroupBarrier();
        a_stage[a_to] = ra;
        b_stage[b_to] = rb0;
        b_stage[b_to + B_STEP * B_PITCH] = rb1;
        if B_LOADS > 2u {
            b_stage[b_to + 2u * B_STEP * B_PITCH] = rb2;
            b_stage[b_to + 3u * B_STEP * B_PITCH] = rb3;
        }
        workgroupBarrier();

        if t0 + DEPTH < end {
            a += DEPTH * params.a_stride / 4u;
            b += DEPTH * params.b_stride / 4u;
            ra = left[a];
            rb0 = right[b];
            rb1 = right[b + b_step];
            if B_LOADS > 2u {
                rb2 = right[b + 2u * b_step];
                rb3 = right[b + 3u * b_step];
            }
        }

        // Four tokens at once, so that their reads are in flight together.
        if works {
            for (var k = 0u; k < DEPTH; k += 4u) {
                {
                    let al = a_stage[k * A_PITCH + ay];
                    let ah = a_stage[k * A_PITCH + 4u + ay];
                    let bl = b_stage[k * B_PITCH + bx];
                    let bh = b_stage[k * B_PITCH + 8u + bx];
                    c0l = fma(vec4(al.x), bl, c0l); c0h = fma(vec4(al.x), bh, c0h);
                    c1l = fma(vec4(al.y), bl, c1l); c1h = fma(vec4(al.y), bh, c1h);
                    c2l = fma(vec4(al.z), bl, c2l); c2h = fma(vec4(al.z), bh, c2h);
                    c3l = fma(vec4(al.w), bl, c3l); c3h = fma(vec4(al.w), bh, c3h);
                    c4l = fma(vec4(ah.x), bl, c4l); c4h = fma(vec4(ah.x), bh, c4h);
                    c5l = fma(vec4(ah.y), bl, c5l); c5h = fma(vec4(ah.y), bh, c5h);
                    c6l = fma(vec4(ah.z), bl, c6l); c6h = fma(vec4(ah.z), bh, c6h);
                    c7l = fma(vec4(ah.w), bl, c7l); c7h = fma(vec4(ah.w), bh, c7h);
                }
                {
                    let al = a_stage[(k + 1u) * A_PITCH + ay];
                    let ah = a_stage[(k + 1u) * A_PITCH + 4u + ay];
                    let bl = b_stage[(k + 1u) * B_PITCH + bx];
                    let bh = b_stage[(k + 1u) * B_PITCH + 8u + bx];
                    c0l = fma(vec4(al.x), bl, c0l); c0h = fma(vec4(al.x), bh, c0h);
                    c1l = fma(vec4(al.y), bl, c1l); c1h = fma(vec4(al.y), bh, c1h);
                    c2l = fma(vec4(al.z), bl, c2l); c2h = fma(vec4(al.z), bh, c2h);
                    c3l = fma(vec4(al.w), bl, c3l); c3h = fma(vec4(al.w), bh, c3h);
                    c4l = fma(vec4(ah.x), bl, c4l); c4h = fma(vec4(ah.x), bh, c4h);
                    c5l = fma(vec4(ah.y), bl, c5l); c5h = fma(vec4(ah.y), bh, c5h);
                    c6l = fma(vec4(ah.z), bl, c6l); c6h = fma(vec4(ah.z), bh, c6h);
                    c7l = fma(vec4(ah.w), bl, c7l); c7h = fma(vec4(ah.w), bh, c7h);
                }
                {
                    let al = a_stage[(k + 2u) * A_PITCH + ay];
                    let ah = a_stage[(k + 2u) * A_PITCH + 4u + ay];
                    let bl = b_stage[(k + 2u) * B_PITCH + bx];
                    let bh = b_stage[(k + 2u) * B_PITCH + 8u + bx];
                    c0l = fma(vec4(al.x), bl, c0l); c0h = fma(vec4(al.x), bh, c0h);
                    c1l = fma(vec4(al.y), bl, c1l); c1h = fma(vec4(al.y), bh, c1h);
                    c2l = fma(vec4(al.z), bl, c2l); c2h = fma(vec4(al.z), bh, c2h);
                    c3l = fma(vec4(al.w), bl, c3l); c3h = fma(vec4(al.w), bh, c3h);
                    c4l = fma(vec4(ah.x), bl, c4l); c4h = fma(vec4(ah.x), bh, c4h);
                    c5l = fma(vec4(ah.y), bl, c5l); c5h = fma(vec4(ah.y), bh, c5h);
                    c6l = fma(vec4(ah.z), bl, c6l); c6h = fma(vec4(ah.z), bh, c6h);
                    c7l = fma(vec4(ah.w), bl, c7l); c7h = fma(vec4(ah.w), bh, c7h);
                }
                {
                    let al = a_stage[(k + 3u) * A_PITCH + ay];
                    let ah = a_stage[(k + 3u) * A_PITCH + 4u + ay];
                    let bl = b_stage[(k + 3u) * B_PITCH + bx];
                    let bh = b_stage[(k + 3u) * B_PITCH + 8u + bx];
                    c0l = fma(vec4(al.x), bl, c0l); c0h = fma(vec4(al.x), bh, c0h);
                    c1l = fma(vec4(al.y), bl, c1l); c1h = fma(vec4(al.y), bh, c1h);
                    c2l = fma(vec4(al.z), bl, c2l); c2h = fma(vec4(al.z), bh, c2h);
                    c3l = fma(vec4(al.w), bl, c3l); c3h = fma(vec4(al.w), bh, c3h);
                    c4l = fma(vec4(ah.x), bl, c4l); c4h = fma(vec4(ah.x), bh, c4h);
                    c5l = fma(vec4(ah.y), bl, c5l); c5h = fma(vec4(ah.y), bh, c5h);
                    c6l = fma(vec4(ah.z), bl, c6l); c6h = fma(vec4(ah.z), bh, c6h);
                    c7l = fma(vec4(ah.w), bl, c7l); c7h = fma(vec4(ah.w), bh, c7h);
                }
            }
        }
    }

    let i = i0 + ay * 4u;
    let copy = part * params.length;
    let at = place(p0 + bx * 4u, first, count).y;
    let ath = place(p0 + bx * 4u + 32u, first, count).y;
    put(copy, i, at, c0l); put(copy, i, ath, c0h);
    put(copy, i + 1u, at, c1l); put(copy, i + 1u, ath, c1h);
    put(copy, i + 2u, at, c2l); put(copy, i + 2u, ath, c2h);
    put(copy, i + 3u, at, c3l); put(copy, i + 3u, ath, c3h);
    put(copy, i + 16u, at, c4l); put(copy, i + 16u, ath, c4h);
    put(copy, i + 17u, at, c5l); put(copy, i + 17u, ath, c5h);
    put(copy, i + 18u, at, c6l); put(copy, i + 18u, ath, c6h);
    put(copy, i + 19u, at, c7l); put(copy, i + 19u, ath, c7h);
}

// Four places of a row, if the block row has them.
fn put(copy: u32, i: u32, at: i32, sums: vec4<f32>) {
    if at < 0 { return; }
    let to = (copy + u32(at) + i * params.width) / 4u;
    var values = sums;
    if ADD { values += c[to]; }
    c[to] = values;
}
