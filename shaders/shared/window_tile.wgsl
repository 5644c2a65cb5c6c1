// A tile of windowed attention: 64 lines (queries, or keys in their own gradient) meet their
// partners (keys, or queries), 32 at a time. With dilation r, lines and partners fall into r
// sequences that never meet, so a tile takes its lines from one of them, r apart.
//
// 64 invocations: (x, y) has the lines 4y … 4y+3 and 32+4y … 35+4y, of the scores the partners
// 4x … 4x+3, of the result the columns 4x … 4x+3 and 32+4x … 35+4x.

const LINES = 64;
const PARTNERS = 32;
const WIDE = 64;           // columns of the result
const DEPTH = 16;          // of a staged part of a product
const LINE_PITCH = 17u;    // vec4s from one depth (or partner) to the next in a stage
const PARTNER_PITCH = 9u;
const SECOND = 272u;       // where the second operand's stage begins: 16 · LINE_PITCH

var<workgroup> pool: array<vec4<f32>, 528>;

// One of the sequences: line u is number `line` + u · dilation, partner t `partner` + t · dilation,
// and they meet where -below <= t - u - shift <= above.
struct Sequence {
    line: i32,
    lines: i32,
    met: i32,       // lines that are no padding
    partner: i32,
    partners: i32,
    shift: i32,
    below: i32,
    above: i32,
}

fn sequence(first_line: i32, end: i32) -> Sequence {
    let r = params.dilation;
    var s: Sequence;
    s.line = first_line;
    if LINES_ARE_QUERIES {
        s.lines = div_up(params.rows - first_line, r);
        s.met = s.lines;
        s.partner = rest(first_line + params.offset, r);
        s.partners = div_up(end - s.partner, r);
        s.shift = (first_line + params.offset - s.partner) / r;
        s.below = params.lower;
        s.above = params.upper;
    } else {
        s.lines = div_up(params.keys - first_line, r);
        s.met = div_up(end - first_line, r);
        s.partner = rest(first_line - params.offset, r);
        s.partners = div_up(params.rows - s.partner, r);
        s.shift = (first_line - params.offset - s.partner) / r;
        s.below = params.upper;
        s.above = params.lower;
    }
    return s;
}

// What meets: lines `u0` … of a sequence, and up to 32 partners from `t0` on, in the sequence or,
// if `listed`, in the list of global positions.
struct Tile {
    m: Matrices,
    s: Sequence,
    u0: i32,
    t0: i32,
    t_end: i32,
    listed: bool,
    c0: i32,        // first column of the result
}

fn line_of(tile: Tile, u: i32) -> i32 {
    return select(-1, tile.s.line + (tile.u0 + u) * params.dilation, tile.u0 + u < tile.s.lines);
}

// One of the listed partners.
fn listed_partner(tile: Tile, at: i32) -> i32 {
    if at >= tile.t_end { return -1; }
    let position = i32(positions[at]);
    if LINES_ARE_QUERIES { return select(-1, position, position < tile.m.end); }
    let i = position - params.offset;
    return select(-1, i, (i >= 0) & (i < params.rows));
}

fn partners_of(tile: Tile, t: i32) -> vec4<i32> {
    let at = vec4(tile.t0 + t) + vec4(0, 1, 2, 3);
    if tile.listed {
        return vec4(listed_partner(tile, at.x), listed_partner(tile, at.y), listed_partner(tile, at.z), listed_partner(tile, at.w));
    }
    return select(vec4(-1), tile.s.partner + at * params.dilation, at < vec4(tile.t_end));
}

// Which of four partners meet line u.
fn meet(tile: Tile, u: i32, t: i32) -> vec4<bool> {
    if tile.listed {
        // What the window holds has been counted there.
        let line = vec4(line_of(tile, u));
        let partner = partners_of(tile, t);
        let i = select(partner, line, LINES_ARE_QUERIES);
        let j = select(line, partner, LINES_ARE_QUERIES);
        let lines = vec4(tile.u0 + u < tile.s.met);
        return lines & (partner >= vec4(0)) & !vec4(in_window(i.x, j.x), in_window(i.y, j.y), in_window(i.z, j.z), in_window(i.w, j.w));
    }
    let at = vec4(tile.t0 + t) + vec4(0, 1, 2, 3);
    let steps = at - vec4(tile.u0 + u + tile.s.shift);
    return vec4(tile.u0 + u < tile.s.met) & (at < vec4(tile.t_end)) & (steps >= vec4(-tile.s.below)) & (steps <= vec4(tile.s.above));
}

// Whether all of the tile's lines meet all of its partners.
fn is_inside(tile: Tile) -> bool {
    let nearest = tile.t0 - tile.s.shift - tile.u0;
    let whole = !tile.listed & (tile.t0 + PARTNERS <= tile.t_end) & (tile.u0 + LINES <= tile.s.met);
    return whole & (nearest - (LINES - 1) >= -tile.s.below) & (nearest + PARTNERS - 1 <= tile.s.above);
}

// The partners in the sequence that some line from `u0` to `u0` + count - 1 meets: first and end. Padding meets none.
fn reach(s: Sequence, u0: i32, count: i32) -> vec2<i32> {
    let first = max(0, u0 + s.shift - s.below);
    if u0 >= s.met { return vec2(first); }
    return vec2(first, max(first, min(s.partners, min(u0 + count, s.met) + s.shift + s.above)));
}

// The first tile of a workgroup, for a result of `width` columns.
fn first_tile(m: Matrices, in_matrix: u32, width: i32) -> Tile {
    let lines = select(params.keys, params.rows, LINES_ARE_QUERIES);
    let sequences = min(params.dilation, lines);
    let number = i32(in_matrix) / div_up(width, WIDE);
    var tile: Tile;
    tile.m = m;
    tile.s = sequence(number % sequences, m.end);
    tile.u0 = number / sequences * LINES;
    tile.c0 = i32(in_matrix) % div_up(width, WIDE) * WIDE;
    let met = reach(tile.s, tile.u0, LINES);
    tile.t0 = met.x;
    tile.t_end = met.y;
    return tile;
}

// How many tiles lie side by side: those in the window, then the listed ones.
fn tiles_of(first: Tile) -> i32 {
    return div_up(first.t_end - first.t0, PARTNERS) + div_up(i32(params.globals), PARTNERS);
}

fn nth_tile(first: Tile, n: i32) -> Tile {
    let window = div_up(first.t_end - first.t0, PARTNERS);
    var tile = first;
    tile.listed = n >= window;
    tile.t0 = select(first.t0 + n * PARTNERS, (n - window) * PARTNERS, tile.listed);
    tile.t_end = select(first.t_end, i32(params.globals), tile.listed);
    return tile;
}

// Sums of one tile: 8 lines by 4 partners.
struct Scores {
    r0: vec4<f32>, r1: vec4<f32>, r2: vec4<f32>, r3: vec4<f32>,
    r4: vec4<f32>, r5: vec4<f32>, r6: vec4<f32>, r7: vec4<f32>,
}

fn four_lines(which: u32, tile: Tile, u: i32, p: i32) -> vec4<f32> {
    let l = vec4(line_of(tile, u), line_of(tile, u + 1), line_of(tile, u + 2), line_of(tile, u + 3));
    return vec4(left(which, tile.m, l.x, p), left(which, tile.m, l.y, p), left(which, tile.m, l.z, p), left(which, tile.m, l.w, p));
}

fn four_partners(which: u32, tile: Tile, t: i32, p: i32) -> vec4<f32> {
    let n = partners_of(tile, t);
    return vec4(right(which, tile.m, n.x, p), right(which, tile.m, n.y, p), right(which, tile.m, n.z, p), right(which, tile.m, n.w, p));
}

// The products of all lines with all partners: of queries with keys (0), or of the result's
// gradient with the values (1).
fn scores(which: u32, tile: Tile, local: u32) -> Scores {
    let x = local % 8u;
    let y = local / 8u;
    let across = local % 16u;
    let along = local / 16u;
    var c: Scores;
    var depth = select(params.depth, params.value_depth, which == 1u);
    for (var p0 = 0; p0 < depth; p0 += DEPTH) {
        // All loads in flight together; neighbours read along a line.
        let p = p0 + i32(across);
        let u = i32(along) * 16;
        let t = i32(along) * 8;
        let a0 = four_lines(which, tile, u, p);
        let a1 = four_lines(which, tile, u + 4, p);
        let a2 = four_lines(which, tile, u + 8, p);
        let a3 = four_lines(which, tile, u + 12, p);
        let b0 = four_partners(which, tile, t, p);
        let b1 = four_partners(which, tile, t + 4, p);
        workgroupBarrier();
        let a_slot = across * LINE_PITCH + along * 4u;
        pool[a_slot] = a0; pool[a_slot + 1u] = a1; pool[a_slot + 2u] = a2; pool[a_slot + 3u] = a3;
        let b_slot = SECOND + across * PARTNER_PITCH + along * 2u;
        pool[b_slot] = b0; pool[b_slot + 1u] = b1;
        workgroupBarrier();
        for (var n = 0u; n < u32(DEPTH); n++) {
            let al = pool[n * LINE_PITCH + y];
            let ah = pool[n * LINE_PITCH + 8u + y];
            let b = pool[SECOND + n * PARTNER_PITCH + x];
            c.r0 = fma(vec4(al.x), b, c.r0);
            c.r1 = fma(vec4(al.y), b, c.r1);
            c.r2 = fma(vec4(al.z), b, c.r2);
            c.r3 = fma(vec4(al.w), b, c.r3);
            c.r4 = fma(vec4(ah.x), b, c.r4);
            c.r5 = fma(vec4(ah.y), b, c.r5);
            c.r6 = fma(vec4(ah.z), b, c.r6);
            c.r7 = fma(vec4(ah.w), b, c.r7);
        }
    }
    return c;
}

// A part of the result: 8 lines by twice 4 columns.
struct Sums {
    l0: vec4<f32>, l1: vec4<f32>, l2: vec4<f32>, l3: vec4<f32>,
    l4: vec4<f32>, l5: vec4<f32>, l6: vec4<f32>, l7: vec4<f32>,
    h0: vec4<f32>, h1: vec4<f32>, h2: vec4<f32>, h3: vec4<f32>,
    h4: vec4<f32>, h5: vec4<f32>, h6: vec4<f32>, h7: vec4<f32>,
}

fn four_values(tile: Tile, t: i32, c: i32) -> vec4<f32> {
    let n = partners_of(tile, t);
    return vec4(value(tile.m, n.x, c), value(tile.m, n.y, c), value(tile.m, n.z, c), value(tile.m, n.w, c));
}

fn stage_value(partner: u32, column: u32, x: f32) {
    pool[SECOND + partner * 16u + column / 4u][column % 4u] = x;
}

// `before` and the weights of the tile's partners times their values.
fn accumulate(before: Sums, w: Scores, tile: Tile, local: u32) -> Sums {
    let x = local % 8u;
    let y = local / 8u;
    var c = before;
    for (var half = 0u; half < 2u; half++) {
        let t = i32(half) * 16;
        let column = tile.c0 + i32(local);
        let v0 = four_values(tile, t, column);
        let v1 = four_values(tile, t + 4, column);
        let v2 = four_values(tile, t + 8, column);
        let v3 = four_values(tile, t + 12, column);
        workgroupBarrier();
        if x / 4u == half {
            let slot = x % 4u * 4u * LINE_PITCH + y;
            pool[slot] = vec4(w.r0.x, w.r1.x, w.r2.x, w.r3.x);
            pool[slot + 8u] = vec4(w.r4.x, w.r5.x, w.r6.x, w.r7.x);
            pool[slot + LINE_PITCH] = vec4(w.r0.y, w.r1.y, w.r2.y, w.r3.y);
            pool[slot + LINE_PITCH + 8u] = vec4(w.r4.y, w.r5.y, w.r6.y, w.r7.y);
            pool[slot + 2u * LINE_PITCH] = vec4(w.r0.z, w.r1.z, w.r2.z, w.r3.z);
            pool[slot + 2u * LINE_PITCH + 8u] = vec4(w.r4.z, w.r5.z, w.r6.z, w.r7.z);
            pool[slot + 3u * LINE_PITCH] = vec4(w.r0.w, w.r1.w, w.r2.w, w.r3.w);
            pool[slot + 3u * LINE_PITCH + 8u] = vec4(w.r4.w, w.r5.w, w.r6.w, w.r7.w);
        }
        stage_value(0u, local, v0.x); stage_value(1u, local, v0.y); stage_value(2u, local, v0.z); stage_value(3u, local, v0.w);
        stage_value(4u, local, v1.x); stage_value(5u, local, v1.y); stage_value(6u, local, v1.z); stage_value(7u, local, v1.w);
        stage_value(8u, local, v2.x); stage_value(9u, local, v2.y); stage_value(10u, local, v2.z); stage_value(11u, local, v2.w);
        stage_value(12u, local, v3.x); stage_value(13u, local, v3.y); stage_value(14u, local, v3.z); stage_value(15u, local, v3.w);
        workgroupBarrier();
        for (var n = 0u; n < 16u; n++) {
            let wl = pool[n * LINE_PITCH + y];
            let wh = pool[n * LINE_PITCH + 8u + y];
            let bl = pool[SECOND + n * 16u + x];
            let bh = pool[SECOND + n * 16u + 8u + x];
            c.l0 = fma(vec4(wl.x), bl, c.l0); c.h0 = fma(vec4(wl.x), bh, c.h0);
            c.l1 = fma(vec4(wl.y), bl, c.l1); c.h1 = fma(vec4(wl.y), bh, c.h1);
            c.l2 = fma(vec4(wl.z), bl, c.l2); c.h2 = fma(vec4(wl.z), bh, c.h2);
            c.l3 = fma(vec4(wl.w), bl, c.l3); c.h3 = fma(vec4(wl.w), bh, c.h3);
            c.l4 = fma(vec4(wh.x), bl, c.l4); c.h4 = fma(vec4(wh.x), bh, c.h4);
            c.l5 = fma(vec4(wh.y), bl, c.l5); c.h5 = fma(vec4(wh.y), bh, c.h5);
            c.l6 = fma(vec4(wh.z), bl, c.l6); c.h6 = fma(vec4(wh.z), bh, c.h6);
            c.l7 = fma(vec4(wh.w), bl, c.l7); c.h7 = fma(vec4(wh.w), bh, c.h7);
        }
    }
    return c;
}

// Half of the sums into the stage, 16 vec4s a line, so that they leave along lines: lines 0 … 31 of
// the tile, or 32 … 63.
fn stage_sums(c: Sums, half: u32, local: u32) {
    let x = local % 8u;
    let slot = local / 8u * 64u + x;
    workgroupBarrier();
    pool[slot] = select(c.l0, c.l4, half == 1u); pool[slot + 8u] = select(c.h0, c.h4, half == 1u);
    pool[slot + 16u] = select(c.l1, c.l5, half == 1u); pool[slot + 24u] = select(c.h1, c.h5, half == 1u);
    pool[slot + 32u] = select(c.l2, c.l6, half == 1u); pool[slot + 40u] = select(c.h2, c.h6, half == 1u);
    pool[slot + 48u] = select(c.l3, c.l7, half == 1u); pool[slot + 56u] = select(c.h3, c.h7, half == 1u);
    workgroupBarrier();
}

// Column `column` of the tile of line u, out of its half in the stage.
fn staged_sum(u: i32, column: u32) -> f32 {
    return pool[u32(u) % 32u * 16u + column / 4u][column % 4u];
}

// One entry by the definition: where an infinite or NaN value of a partner that the line doesn't
// meet has spoilt a sum. Ends at the first NaN that belongs there.
fn exact(first: Tile, u: i32, c: i32) -> f32 {
    let line = line_of(first, u);
    let met = reach(first.s, first.u0 + u, 1);
    let listed = nth_tile(first, div_up(first.t_end - first.t0, PARTNERS));
    var sum = 0.0;
    for (var t = met.x - i32(params.globals); (t < met.y) & !is_nan(sum); t++) {
        var partner = first.s.partner + t * params.dilation;
        if t < met.x {
            let n = t - met.x + i32(params.globals);
            partner = select(-1, listed_partner(listed, n), meet(listed, u, n).x);
        }
        if partner >= 0 { sum = fma(weight(first.m, line, partner), value(first.m, partner, c), sum); }
    }
    return sum;
}
