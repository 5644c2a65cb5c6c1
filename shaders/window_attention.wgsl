// out = softmax(scale · Q·Kᵀ)·V over the keys that each query attends to, with the logsumexp of each
// row. One workgroup takes 64 rows and 64 columns of the result and goes along the window, 32 keys
// at a time, with running maxima and sums. Rows of global positions come from the `line` variant.

@group(0) @binding(5) var<storage, read_write> out: array<f32>;
@group(0) @binding(6) var<storage, read_write> lse: array<f32>;

// Of each line: what its scores are taken relative to, and by what its sums so far shrink.
var<workgroup> tops: array<vec4<f32>, 16>;
var<workgroup> shrink: array<vec4<f32>, 16>;

fn max4(a: vec4<f32>) -> f32 { return max(max(a.x, a.y), max(a.z, a.w)); }
fn are_nan(x: vec4<f32>) -> vec4<bool> { return (bitcast<vec4<u32>>(x) & vec4(0x7fffffffu)) > vec4(0x7f800000u); }
fn sum4(a: vec4<f32>) -> f32 { return (a.x + a.y) + (a.z + a.w); }

// Scores of line u in powers of two; −∞ where line and partner don't meet.
fn scaled(tile: Tile, inside: bool, u: i32, t: i32, s: vec4<f32>) -> vec4<f32> {
    let x = s * (params.scale * LOG2_E);
    if inside { return x; }
    return select(vec4(minus_infinity()), x, meet(tile, u, t));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = group_index(group, groups);
    if index >= params.batch * params.tiles { return; }
    let head = i32(index / params.tiles);
    let kv = head / i32(params.group);
    var first = first_tile(Matrices(head, kv, key_end(kv)), index % params.tiles, params.value_depth);

    let x = local % 8u;
    let y = local / 8u;
    let u_low = i32(y) * 4;
    let u_high = u_low + 32;
    let t = i32(x) * 4;
    var sums: Sums;
    // This invocation's part of the sums of 2^score, and the largest score of line `local` so far.
    var low = vec4(0.0);
    var high = vec4(0.0);
    var largest = minus_infinity();

    var count = tiles_of(first);
    for (var n = 0; n < count; n++) {
        let tile = nth_tile(first, n);
        let inside = is_inside(tile);
        var s = scores(0u, tile, local);
        s.r0 = scaled(tile, inside, u_low, t, s.r0);
        s.r1 = scaled(tile, inside, u_low + 1, t, s.r1);
        s.r2 = scaled(tile, inside, u_low + 2, t, s.r2);
        s.r3 = scaled(tile, inside, u_low + 3, t, s.r3);
        s.r4 = scaled(tile, inside, u_high, t, s.r4);
        s.r5 = scaled(tile, inside, u_high + 1, t, s.r5);
        s.r6 = scaled(tile, inside, u_high + 2, t, s.r6);
        s.r7 = scaled(tile, inside, u_high + 3, t, s.r7);

        // The largest score of each line: of this invocation's, then of all.
        workgroupBarrier();
        pool[x * 16u + y] = vec4(max4(s.r0), max4(s.r1), max4(s.r2), max4(s.r3));
        pool[x * 16u + 8u + y] = vec4(max4(s.r4), max4(s.r5), max4(s.r6), max4(s.r7));
        workgroupBarrier();
        let row = local / 4u;
        let part = local % 4u;
        let a = max4(vec4(pool[row][part], pool[16u + row][part], pool[32u + row][part], pool[48u + row][part]));
        let b = max4(vec4(pool[64u + row][part], pool[80u + row][part], pool[96u + row][part], pool[112u + row][part]));
        let before = largest;
        largest = max(before, max(a, b));
        let relative = select(largest, 0.0, largest == minus_infinity());
        tops[row][part] = relative;
        shrink[row][part] = exp2(before - relative);
        workgroupBarrier();

        // A NaN goes into the sum of its line as it is: a driver's exp2 may lose it.
        let nl = vec4(sum4(s.r0), sum4(s.r1), sum4(s.r2), sum4(s.r3));
        let nh = vec4(sum4(s.r4), sum4(s.r5), sum4(s.r6), sum4(s.r7));

        // Weights, their sums, and the sums of values.
        let tl = tops[y];
        let th = tops[8u + y];
        s.r0 = exp2(s.r0 - tl.x); s.r1 = exp2(s.r1 - tl.y); s.r2 = exp2(s.r2 - tl.z); s.r3 = exp2(s.r3 - tl.w);
        s.r4 = exp2(s.r4 - th.x); s.r5 = exp2(s.r5 - th.y); s.r6 = exp2(s.r6 - th.z); s.r7 = exp2(s.r7 - th.w);
        let fl = shrink[y];
        let fh = shrink[8u + y];
        low = fma(low, fl, select(vec4(sum4(s.r0), sum4(s.r1), sum4(s.r2), sum4(s.r3)), nl, are_nan(nl)));
        high = fma(high, fh, select(vec4(sum4(s.r4), sum4(s.r5), sum4(s.r6), sum4(s.r7)), nh, are_nan(nh)));
        sums.l0 *= fl.x; sums.h0 *= fl.x; sums.l1 *= fl.y; sums.h1 *= fl.y;
        sums.l2 *= fl.z; sums.h2 *= fl.z; sums.l3 *= fl.w; sums.h3 *= fl.w;
        sums.l4 *= fh.x; sums.h4 *= fh.x; sums.l5 *= fh.y; sums.h5 *= fh.y;
        sums.l6 *= fh.z; sums.h6 *= fh.z; sums.l7 *= fh.w; sums.h7 *= fh.w;
        sums = accumulate(sums, s, tile, local);
    }

    // Each line's sum of 2^score, from all that have a part of it.
    workgroupBarrier();
    pool[x * 16u + y] = low;
    pool[x * 16u + 8u + y] = high;
    workgroupBarrier();
    let row = local / 4u;
    let part = local % 4u;
    let a = sum4(vec4(pool[row][part], pool[16u + row][part], pool[32u + row][part], pool[48u + row][part]));
    let b = sum4(vec4(pool[64u + row][part], pool[80u + row][part], pool[96u + row][part], pool[112u + row][part]));
    let total = a + b;
    let none = total == 0.0;
    let base = select(largest + log2(total), total, is_nan(total));
    tops[row][part] = base;
    shrink[row][part] = select(1.0 / total, 0.0, none);
    let line = line_of(first, i32(local));
    if (line >= 0) & (first.c0 == 0) {
        lse[head * params.rows + line] = select(base / LOG2_E, minus_infinity(), none);
    }
    workgroupBarrier();

    // Lines leave one after the other, sums over the total.
    let c = first.c0 + i32(local);
    for (var half = 0; half < 2; half++) {
        stage_sums(sums, u32(half), local);
        for (var u = half * 32; u < half * 32 + 32; u++) {
            let line = line_of(first, u);
            let factor = shrink[u / 4][u % 4];
            if (line >= 0) & (c < params.value_depth) {
                var value = select(staged_sum(u, local) * factor, 0.0, factor == 0.0);
                // A score that is NaN makes the whole row so.
                if is_nan(value) & !is_nan(factor) {
                    top = tops[u / 4][u % 4];
                    value = exact(first, u, c);
                }
                out[(head * params.rows + line) * params.value_depth + c] = value;
            }
        }
    }
}
