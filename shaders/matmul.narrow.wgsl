// C = A ⊗ B where C holds the whole product of two narrow bands. A workgroup brings ROWS rows of A, and of B the rows
// that these reach, all at once; multiplies; and writes its rows of C, which are contiguous. There is next to nothing
// to multiply: what costs is waiting for memory, so it is waited for once.
//
//            columns of C                   LANES invocations share a strip of 4 rows. A strip has its own p, counted
//       [ window ]→                         from the first that it needs, and a window of COLUMNS · LANES columns that
//   i0  x x x x x . . .                     moves along with p, LANES columns after every LANES p. An invocation has
//       . x x x x x . .                     COLUMNS of them, LANES apart, of all 4 rows.
//
// Workgroup memory is kept low: how many workgroups run at once hangs on it.

@group(0) @binding(3) var<storage, read_write> c: array<f32>;

override LANES: i32 = 8;       // 8 or 16
override COLUMNS: i32 = 3;     // 1 to 3: at least a row of B and LANES - 1
override INNER: i32 = 2;       // of them, those that every row of B reaches
override PITCH: i32 = 17;      // of a row of B in the stage, odd, so that strips read different banks
override SLOTS: i32 = 20;      // p of a strip at most, which are 3 more than diagonals
override SCALES: bool = false; // whether the semiring scales its operands

const ROWS = 64;
const STRIPS = ROWS / 4;
override GROUP: i32 = STRIPS * LANES;
override A_SIZE: i32 = STRIPS * SLOTS;
override LINES: i32 = ROWS - 4 + SLOTS;     // rows of B at most
override B_SIZE: i32 = LINES * (SLOTS - 3) + 8;
override A_SCALES: i32 = select(1, ROWS, SCALES);
override B_SCALES: i32 = select(1, LINES + SLOTS, SCALES);

var<workgroup> tile_a: array<vec4<f32>, A_SIZE>; // [strip][p][row]
var<workgroup> tile_b: array<f32, B_SIZE>;       // [p][diagonal]
var<workgroup> a_scale: array<f32, A_SCALES>;    // of a row
var<workgroup> b_scale: array<f32, B_SCALES>;    // of a column, from the first that is reached
var<workgroup> tainted: atomic<u32>;

// Beside the bands, before values are scaled.
fn raw_pad() -> f32 { return select(ring_pad(), minus_infinity(), SCALES); }

// The part of an operand that is brought, in memory's order: lines of a band, of which value k is opposite
// line + k - shift.
struct Part {
    start: i32,        // in memory
    first: i32,        // line
    width: i32,        // of the band
    by_width: u32,     // 2^20 over it: dividing by it costs a multiplication
    shift: i32,
    size: i32,         // in values
    inside: bool,      // whether the matrix has all of them
    lines: vec2<i32>,  // first and end of the lines that count
    others: vec2<i32>, // and of what may be opposite
}

fn part_of(batch_start: i32, first: i32, count: i32, width: i32, shift: i32, lines: vec2<i32>, others: vec2<i32>) -> Part {
    let inside = (first >= lines.x) & (first + count <= lines.y) & (first - shift >= others.x) & (first + count - 1 + width - 1 - shift < others.y);
    return Part(batch_start + first * width, first, width, 1048576u / u32(width) + 1u, shift, count * width, inside, lines, others);
}

// Line, counted from the first, and k of its value n.
fn place(n: i32, part: Part) -> vec2<i32> {
    let line = i32((u32(n) * part.by_width) >> 20u);
    return vec2(line, n - line * part.width);
}

fn has(at: vec2<i32>, part: Part) -> bool {
    let line = part.first + at.x;
    let other = line + at.y - part.shift;
    return (line >= part.lines.x) & (line < part.lines.y) & (other >= part.others.x) & (other < part.others.y);
}

// One value into its stage, from either layout, if the workgroup has its row.
fn stage_a(at: vec2<i32>, value: f32, width: i32) {
    let columns = (params.flags & 1u) != 0u;
    let row = select(at.x, at.x + at.y - (width - 1), columns);
    let p = select(at.x + at.y, at.x, columns);
    if u32(row) < u32(ROWS) { tile_a[row / 4 * (SLOTS - 4) + p][row % 4] = value; }
}

fn stage_b(at: vec2<i32>, value: f32, width: i32, count: i32) {
    let columns = (params.flags & 4u) != 0u;
    let p = select(at.x, at.x + at.y - (width - 1), columns);
    let diagonal = select(at.y, width - 1 - at.y, columns);
    if u32(p) < u32(count) { tile_b[p * PITCH + diagonal] = value; }
}

// Four values that are side by side in memory, of rows of A.
fn stage_four_of_a(taint: vec4<u32>, n: i32, end: i32, values: vec4<f32>, part: Part) -> vec4<u32> {
    if n >= end { return taint; }
    var at = place(n * 4, part);
    stage_row(at, values.x);
    at = next(at, part.width);
    stage_row(at, values.y);
    at = next(at, part.width);
    stage_row(at, values.z);
    at = next(at, part.width);
    stage_row(at, values.w);
    return ring_taint(taint, values, vec4(true));
}

fn next(at: vec2<i32>, width: i32) -> vec2<i32> { return select(vec2(at.x, at.y + 1), vec2(at.x + 1, 0), at.y + 1 == width); }
fn stage_row(at: vec2<i32>, value: f32) { tile_a[at.x / 4 * (SLOTS - 4) + at.x + at.y][at.x % 4] = value; }

// Of rows of B, where the stage is as memory is.
fn stage_four_of_b(taint: vec4<u32>, n: i32, end: i32, values: vec4<f32>) -> vec4<u32> {
    if n >= end { return taint; }
    tile_b[n * 4] = values.x;
    tile_b[n * 4 + 1] = values.y;
    tile_b[n * 4 + 2] = values.z;
    tile_b[n * 4 + 3] = values.w;
    return ring_taint(taint, values, vec4(true));
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = group_index(group, groups);
    if tile >= params.batch * params.tiles { return; }
    let batch = i32(tile / params.tiles);
    let i0 = i32(tile % params.tiles) * ROWS;
    let a0 = batch * a_len();
    let b0 = batch * b_len();
    let t = i32(local);
    if local == 0u { atomicStore(&tainted, 0u); }
    for (var n = t; n < A_SIZE; n += GROUP) { tile_a[n] = vec4(raw_pad()); }

    // What is brought: rows of A, or the columns that these reach; rows of B from p0 on, or the columns that they reach.
    let a_width = params.a_lower + params.a_upper + 1;
    let b_width = params.b_lower + params.b_upper + 1;
    let steps = (a_width + 3 + 3) / 4 * 4; // p of a strip
    let p0 = i0 - params.a_lower;
    let b_rows = ROWS - 4 + steps;
    let own_rows = vec2(i0, min(params.rows, i0 + ROWS));
    let own_p = vec2(max(0, p0), min(params.inner, p0 + b_rows));
    var a_part = part_of(a0, i0, ROWS, a_width, params.a_lower, own_rows, vec2(0, params.inner));
    var b_part = part_of(b0, p0, b_rows, b_width, params.b_lower, own_p, vec2(0, params.cols));
    if (params.flags & 1u) != 0u {
        a_part = part_of(a0, p0, ROWS + a_width - 1, a_width, params.a_upper, vec2(0, params.inner), own_rows);
    }
    if (params.flags & 4u) != 0u {
        b_part = part_of(b0, p0 - params.b_lower, b_rows + b_width - 1, b_width, params.b_upper, vec2(0, params.cols), own_p);
    }

    // In the middle of matrices in rows layout, four values at a time, all on their way at once; B's from where that is aligned.
    var taint = vec4(0u);
    var skip = 0;
    workgroupBarrier();
    if a_part.inside & b_part.inside & ((params.flags & 5u) == 0u) & (PITCH == b_width) {
        skip = b_part.start & 3;
        let a_end = a_part.size / 4;
        let b_end = (b_part.size + skip + 3) / 4;
        let from_a = a_part.start / 4;
        let from_b = b_part.start / 4;
        for (var n = t; n < max(a_end, b_end); n += 4 * GROUP) {
            var x0 = vec4(0.0);
            var x1 = vec4(0.0);
            var x2 = vec4(0.0);
            var x3 = vec4(0.0);
            var y0 = vec4(0.0);
            var y1 = vec4(0.0);
            var y2 = vec4(0.0);
            var y3 = vec4(0.0);
            if n < a_end { x0 = a[from_a + n]; }
            if n + GROUP < a_end { x1 = a[from_a + n + GROUP]; }
            if n + 2 * GROUP < a_end { x2 = a[from_a + n + 2 * GROUP]; }
            if n + 3 * GROUP < a_end { x3 = a[from_a + n + 3 * GROUP]; }
            if n < b_end { y0 = b[from_b + n]; }
            if n + GROUP < b_end { y1 = b[from_b + n + GROUP]; }
            if n + 2 * GROUP < b_end { y2 = b[from_b + n + 2 * GROUP]; }
            if n + 3 * GROUP < b_end { y3 = b[from_b + n + 3 * GROUP]; }
            taint = stage_four_of_a(taint, n, a_end, x0, a_part);
            taint = stage_four_of_a(taint, n + GROUP, a_end, x1, a_part);
            taint = stage_four_of_a(taint, n + 2 * GROUP, a_end, x2, a_part);
            taint = stage_four_of_a(taint, n + 3 * GROUP, a_end, x3, a_part);
            taint = stage_four_of_b(taint, n, b_end, y0);
            taint = stage_four_of_b(taint, n + GROUP, b_end, y1);
            taint = stage_four_of_b(taint, n + 2 * GROUP, b_end, y2);
            taint = stage_four_of_b(taint, n + 3 * GROUP, b_end, y3);
        }
    } else {
        for (var n = t; n < a_part.size; n += GROUP) {
            let at = place(n, a_part);
            var value = raw_pad();
            if has(at, a_part) {
                value = load_a(a_part.start + n);
                taint = ring_taint(taint, vec4(value), vec4(true));
            }
            stage_a(at, value, a_width);
        }
        for (var n = t; n < b_part.size; n += GROUP) {
            let at = place(n, b_part);
            var value = raw_pad();
            if has(at, b_part) {
                value = load_b(b_part.start + n);
                taint = ring_taint(taint, vec4(value), vec4(true));
            }
            stage_b(at, value, b_width, b_rows);
        }
    }
    if ring_tainted(taint) { atomicStore(&tainted, 1u); }
    workgroupBarrier();

    // A lane of a strip. Strips that are read together lie apart such that they fill the banks.
    let lane = t % LANES;
    let nth = t / LANES;
    let apart = LANES / 4;
    let together = 8 / apart;
    let strip = nth / 8 * 8 + nth % together * apart + nth / together % apart;

    if SCALES { scale(t, steps, b_rows, b_width, skip); }

    let c_width = a_width + b_width - 1;
    let own = Own(i0 + strip * 4, batch * c_len() + (i0 + strip * 4) * c_width, c_width);
    redo = false;

    // Column e of the invocation, 4 rows.
    var c0 = vec4(ring_start());
    var c1 = c0;
    var c2 = c0;
    var from_a = strip * SLOTS;
    var from_b = skip + strip * 4 * PITCH + lane;
    let turns = (steps + LANES - 1) / LANES - 1;
    for (var turn = 0; turn <= turns; turn++) {
        for (var u = 0; u < min(LANES, steps - turn * LANES); u += 4) {
            {
                let x = tile_a[from_a];
                c0 = ring_mac(c0, in_column(0, from_b, u, lane, b_width), x);
                c1 = ring_mac(c1, in_column(1, from_b, u, lane, b_width), x);
                if COLUMNS > 2 { c2 = ring_mac(c2, in_column(2, from_b, u, lane, b_width), x); }
            }
            {
                let x = tile_a[from_a + 1];
                c0 = ring_mac(c0, in_column(0, from_b + 1 * PITCH, u + 1, lane, b_width), x);
                c1 = ring_mac(c1, in_column(1, from_b + 1 * PITCH, u + 1, lane, b_width), x);
                if COLUMNS > 2 { c2 = ring_mac(c2, in_column(2, from_b + 1 * PITCH, u + 1, lane, b_width), x); }
            }
            {
                let x = tile_a[from_a + 2];
                c0 = ring_mac(c0, in_column(0, from_b + 2 * PITCH, u + 2, lane, b_width), x);
                c1 = ring_mac(c1, in_column(1, from_b + 2 * PITCH, u + 2, lane, b_width), x);
                if COLUMNS > 2 { c2 = ring_mac(c2, in_column(2, from_b + 2 * PITCH, u + 2, lane, b_width), x); }
            }
            {
                let x = tile_a[from_a + 3];
                c0 = ring_mac(c0, in_column(0, from_b + 3 * PITCH, u + 3, lane, b_width), x);
                c1 = ring_mac(c1, in_column(1, from_b + 3 * PITCH, u + 3, lane, b_width), x);
                if COLUMNS > 2 { c2 = ring_mac(c2, in_column(2, from_b + 3 * PITCH, u + 3, lane, b_width), x); }
            }
            from_a += 4;
            from_b += 4 * PITCH;
        }
        if turn < turns {
            finish(turn * LANES + lane, strip, own, c0);
            c0 = c1;
            c1 = c2;
            c2 = vec4(ring_start());
        }
    }

    let tail = turns * LANES + lane;
    finish(tail, strip, own, c0);
    if COLUMNS > 1 { finish(tail + LANES, strip, own, c1); }
    if COLUMNS > 2 { finish(tail + 2 * LANES, strip, own, c2); }

    // What padding may have spoilt is computed anew, entry by entry.
    let tainted_all = atomicLoad(&tainted) != 0u;
    if !(redo | tainted_all) { return; }
    let end = tail + COLUMNS * LANES;
    for (var column = lane; column < end; column += LANES) {
        let j = own.row - params.c_lower + column;
        for (var r = 0; r < 4; r++) {
            let slot = column - r;
            if (j < 0) | (j >= params.cols) | (slot < 0) | (slot >= own.width) | (own.row + r >= params.rows) { continue; }
            let at = own.start + column + r * (own.width - 1);
            if tainted_all | is_nan(c[at]) { c[at] = ring_exact(a0, b0, own.row + r, j); }
        }
    }
}

// The value of B in column `e` of the window for p number `u` since it moved, if that row reaches it.
fn in_column(e: i32, at: i32, u: i32, lane: i32, width: i32) -> f32 {
    var value = ring_pad();
    if ((e > 0) | (lane >= u)) & ((e < INNER) | (lane + e * LANES < width + u)) { value = tile_b[at + e * LANES - u]; }
    return value;
}

// A strip of C.
struct Own {
    row: i32,   // its first
    start: i32, // where that is stored
    width: i32, // of C's band
}

// Column `column`, counted from the first that the strip reaches, of its 4 rows into C.
fn finish(column: i32, strip: i32, own: Own, sums: vec4<f32>) {
    let j = own.row - params.c_lower + column;
    let in_cols = (j >= 0) & (j < params.cols);
    let row = strip * 4;
    let scale = min(row + column, B_SCALES - 1);
    let at = own.start + column;
    let down = own.width - 1;
    let exact = vec4(ring_is_exact(sums.x), ring_is_exact(sums.y), ring_is_exact(sums.z), ring_is_exact(sums.w));
    if in_cols & (column >= 3) & (column < own.width) & (own.row + 4 <= params.rows) & all(exact) {
        c[at] = ring_finish(sums.x, row, scale);
        c[at + down] = ring_finish(sums.y, row + 1, scale);
        c[at + 2 * down] = ring_finish(sums.z, row + 2, scale);
        c[at + 3 * down] = ring_finish(sums.w, row + 3, scale);
        return;
    }
    // At an edge, or with entries to mark as not exact.
    for (var r = 0; r < 4; r++) {
        if (column < r) | (column >= own.width + r) | (own.row + r >= params.rows) { continue; }
        var value = params.fill;
        if in_cols {
            value = ring_finish(sums[r], row + r, scale);
            if !exact[r] {
                value = from_bits(0x7fc00000u);
                redo = true;
            }
        }
        c[at + r * down] = value;
    }
}

// Scales for rows and columns by what is staged of them, and the stage scaled: any scale is right that all terms of an entry
// share.
fn scale(t: i32, steps: i32, b_rows: i32, b_width: i32, skip: i32) {
    if t < ROWS {
        var largest = minus_infinity();
        for (var p = 0; p < steps; p++) {
            let value = tile_a[t / 4 * SLOTS + p][t % 4];
            largest = select(largest, value, value > largest);
        }
        a_scale[t] = select(0.0, largest, abs(largest) <= 3.4028234e38);
    }
    for (var j = t; j < B_SCALES; j += GROUP) {
        var largest = minus_infinity();
        for (var p = max(0, j - b_width + 1); p < min(b_rows, j + 1); p++) {
            let value = tile_b[skip + p * PITCH + j - p];
            largest = select(largest, value, value > largest);
        }
        b_scale[j] = select(0.0, largest, abs(largest) <= 3.4028234e38);
    }
    workgroupBarrier();
    for (var n = t; n < A_SIZE; n += GROUP) {
        let values = tile_a[n];
        tile_a[n] = ring_stage_a(values, vec4(n / SLOTS * 4) + vec4(0, 1, 2, 3), is_stored(values));
    }
    for (var n = t; n < b_rows * PITCH; n += GROUP) {
        let p = n / PITCH;
        let diagonal = n - p * PITCH;
        if diagonal < b_width {
            let value = vec4(tile_b[skip + n]);
            tile_b[skip + n] = ring_stage_b(value, vec4(p + diagonal), is_stored(value)).x;
        }
    }
    workgroupBarrier();
}
