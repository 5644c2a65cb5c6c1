// C = A ⊗ B. A workgroup keeps 64 rows by 16·COLUMNS columns of C: eight strips of 8 rows, 16 invocations
// to a strip, each with COLUMNS columns, 16 apart, of all 8 rows in named registers.
//
// The window of columns stands still (SLIDE false), and the workgroup runs over just the p at which the
// bands of its rows and columns meet. Or it slides: where C holds the whole product of two bands, row p
// of B reaches width of B columns only, and the window moves along with p, 16 columns after every 16 p.
// What it leaves behind is finished. Where C is another band, a window that stands still may be a parallelogram (SKEW 3):
// that of 16 rows begins 16 columns after that of the 16 before, as the band does, so that less of it lies beside the band.
//
//            columns of C                      A goes through the stage as [p][row], B as [p][column],
//       [ window ]→                            8 p at a time. The next 8 are on their way from memory
//   i0  x x x x x . . .                        while these are worked off.
//       . x x x x x . .
//       . . x x x x x .
//
// Workgroup memory is kept low on purpose: how many workgroups run at once hangs on it.

@group(0) @binding(3) var<storage, read> a_scale: array<f32>;
@group(0) @binding(4) var<storage, read> b_scale: array<f32>;
@group(0) @binding(5) var<storage, read_write> c: array<f32>;

override COLUMNS: i32 = 9;    // columns of an invocation, 1 to 9
override SLIDE: bool = false; // whether the window moves along with p
override SKEW: i32 = 0;       // 3 where it is a parallelogram: the last rows' begins 3 · 16 columns after the first rows'
override STAGED: i32 = COLUMNS + SKEW; // times 16 columns that all strips need together
override MIDDLE: bool = false; // whether windows come from the middle of C's band outwards, since those have the most to sum

const GROUP = 128; // invocations
const LANES = 16;  // of them to a strip
const STRIP = 8;   // rows of a strip
const ROWS = 64;   // rows of a workgroup
const DEPTH = 8;   // p staged at once
const A_PITCH = 17;             // vec4s of a staged p: 16, and one that spreads the banks
override B_PITCH: i32 = LANES * STAGED + 4;
override B_PLACES: i32 = 1184 + DEPTH * LANES * SKEW;

var<workgroup> tile_a: array<vec4<f32>, 136>; // [p][row]
var<workgroup> tile_b: array<f32, B_PLACES>;  // [p][column]
var<workgroup> tainted: atomic<u32>;

// Whether an entry of this invocation has to be computed anew.
var<private> redo: bool;

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = group_index(group, groups);
    if tile >= params.batch * params.tiles { return; }

    // Which part of C.
    let batch = i32(tile / params.tiles);
    let row_tiles = (params.rows + ROWS - 1) / ROWS;
    let col_tiles = i32(params.tiles) / row_tiles;
    let in_matrix = i32(tile % params.tiles);
    var row_tile = in_matrix / col_tiles;
    var col_tile = in_matrix % col_tiles;
    if MIDDLE {
        let rank = in_matrix / row_tiles;
        row_tile = in_matrix % row_tiles;
        col_tile = (col_tiles - 1) / 2 + select(-rank / 2, (rank + 1) / 2, rank % 2 == 1);
    }
    let i0 = row_tile * ROWS;
    let a0 = batch * a_len();
    let b0 = batch * b_len();
    let t = i32(local);
    let lane = t % LANES;
    let strip = t / LANES;
    let row = i0 + strip * STRIP;
    redo = false;
    if local == 0u { atomicStore(&tainted, 0u); }
    var taint = vec4(0u);

    // The window, and the p to run over in stages.
    var j0 = select(i0 - params.c_lower, 0, (params.flags & 32u) != 0u) + col_tile * COLUMNS * LANES;
    var p_first = first_p(i0, j0);
    var p_end = end_p(i0 + ROWS - 1, j0 + STAGED * LANES - 1);
    var stages = (p_end - p_first + DEPTH - 1) / DEPTH;
    let per_step = LANES / DEPTH;
    if SLIDE {
        p_first = i0 - params.a_lower;
        p_end = min(params.inner, i0 + ROWS + params.a_upper);
        j0 = p_first - params.b_lower;
        stages = (ROWS + params.a_lower + params.a_upper + params.b_lower + params.b_upper + LANES - 1) / LANES * per_step;
    }
    let j_first = j0;
    let skew = select(0, strip / 2 * LANES, SKEW > 0);

    // What this invocation brings into a stage: 4 values of A, COLUMNS of B. Neighbours read
    // neighbours in memory: along p (8 to a line), or along the rows of A and columns of B.
    let a_along = (params.flags & 1u) == 0u;
    let b_along = (params.flags & 4u) != 0u;
    let a_p = select(t / ROWS, t % DEPTH, a_along);
    let a_row = select(t % ROWS, t / DEPTH, a_along);
    let a_drow = select(0, LANES, a_along);
    let a_dv = select(GROUP / ROWS, LANES, a_along);
    let a_slot = a_p * A_PITCH + a_row / 4;
    let a_dslot = select(GROUP / ROWS * A_PITCH, LANES / 4, a_along);
    let b_p = select(strip, t % DEPTH, b_along);
    let b_column = select(lane, t / DEPTH, b_along);
    let b_next = LANES * select(1, params.b_stride, b_along);
    let ramp = vec4(0, 1, 2, 3);
    let pad = vec4(ring_pad());
    var a_raw = pad; var a_ok = vec4(false);
    var b_raw0 = pad; var b_ok0 = vec4(false);
    var b_raw1 = pad; var b_ok1 = vec4(false);
    var b_raw2 = pad; var b_ok2 = vec4(false);

    // Column e of the invocation: rows 0 .. 4 and 4 .. 8 of its strip.
    var c0l = vec4(ring_start()); var c0h = c0l;
    var c1l = vec4(ring_start()); var c1h = c1l;
    var c2l = vec4(ring_start()); var c2h = c2l;
    var c3l = vec4(ring_start()); var c3h = c3l;
    var c4l = vec4(ring_start()); var c4h = c4l;
    var c5l = vec4(ring_start()); var c5h = c5l;
    var c6l = vec4(ring_start()); var c6h = c6l;
    var c7l = vec4(ring_start()); var c7h = c7l;
    var c8l = vec4(ring_start()); var c8h = c8l;

    for (var stage = -1; stage < stages; stage++) {
        let p0 = p_first + stage * DEPTH;
        if (stage >= 0) & (p0 < p_end) {
            // Into the stage, once the one before has been worked off.
            let rows = batch * params.rows + min(vec4(i0 + a_row) + ramp * a_drow, vec4(params.rows - 1));
            let a_in = ring_stage_a(a_raw, rows, a_ok);
            taint = ring_taint(taint, a_raw, a_ok);
            workgroupBarrier();
            let part = a_row % 4;
            tile_a[a_slot][part] = a_in.x;
            tile_a[a_slot + a_dslot][part] = a_in.y;
            tile_a[a_slot + 2 * a_dslot][part] = a_in.z;
            tile_a[a_slot + 3 * a_dslot][part] = a_in.w;
            let columns = vec4(j0 + b_column) + ramp * LANES;
            let last = vec4(params.cols - 1);
            let b_slot = b_p * B_PITCH + b_column;
            let b_in0 = ring_stage_b(b_raw0, batch * params.cols + clamp(columns, vec4(0), last), b_ok0);
            taint = ring_taint(taint, b_raw0, b_ok0);
            tile_b[b_slot] = b_in0.x;
            if STAGED > 1 { tile_b[b_slot + LANES] = b_in0.y; }
            if STAGED > 2 { tile_b[b_slot + 2 * LANES] = b_in0.z; }
            if STAGED > 3 { tile_b[b_slot + 3 * LANES] = b_in0.w; }
            if STAGED > 4 {
                let b_in1 = ring_stage_b(b_raw1, batch * params.cols + clamp(columns + 4 * LANES, vec4(0), last), b_ok1);
                taint = ring_taint(taint, b_raw1, b_ok1);
                tile_b[b_slot + 4 * LANES] = b_in1.x;
                if STAGED > 5 { tile_b[b_slot + 5 * LANES] = b_in1.y; }
                if STAGED > 6 { tile_b[b_slot + 6 * LANES] = b_in1.z; }
                if STAGED > 7 { tile_b[b_slot + 7 * LANES] = b_in1.w; }
            }
            if STAGED > 8 {
                let b_in2 = ring_stage_b(b_raw2, batch * params.cols + clamp(columns + 8 * LANES, vec4(0), last), b_ok2);
                taint = ring_taint(taint, b_raw2, b_ok2);
                tile_b[b_slot + 8 * LANES] = b_in2.x;
                if STAGED > 9 { tile_b[b_slot + 9 * LANES] = b_in2.y; }
                if STAGED > 10 { tile_b[b_slot + 10 * LANES] = b_in2.z; }
                if STAGED > 11 { tile_b[b_slot + 11 * LANES] = b_in2.w; }
            }
            workgroupBarrier();
        }

        // The values of the next stage: of A those rows that hold this p (or the p that this row
        // holds), of B those columns that hold this p. A load that may be left out costs less than one
        // that is masked after.
        if p0 + DEPTH < p_end {
            let ap = p0 + DEPTH + a_p;
            let ai = i0 + a_row;
            let a_lo = select(max(0, ai - params.a_lower), max(0, ap - params.a_upper), a_along);
            let a_hi = select(min(params.inner, ai + params.a_upper + 1), min(params.rows, ap + params.a_lower + 1), a_along);
            let a_here = select(ai < params.rows, (ap >= 0) & (ap < params.inner), a_along);
            let a_len = select(0u, u32(max(0, a_hi - a_lo)), a_here);
            a_ok = vec4<u32>(vec4(select(ap, ai, a_along) - a_lo) + ramp * a_dv) < vec4(a_len);
            let a_at = a0 + a_index(ai, ap);
            let a_next = a_dv * params.a_stride;
            a_raw = pad;
            if a_ok.x { a_raw.x = load_a(a_at); }
            if a_ok.y { a_raw.y = load_a(a_at + a_next); }
            if a_ok.z { a_raw.z = load_a(a_at + 2 * a_next); }
            if a_ok.w { a_raw.w = load_a(a_at + 3 * a_next); }

            let moved = select(0, LANES, SLIDE & ((stage + 1) % per_step == 0) & (stage >= 0));
            let bp = p0 + DEPTH + b_p;
            let bj = j0 + moved + b_column;
            let b_lo = max(0, bp - params.b_lower);
            let b_hi = min(params.cols, bp + params.b_upper + 1);
            let b_len = vec4(select(0u, u32(max(0, b_hi - b_lo)), (bp >= 0) & (bp < params.inner)));
            let b_at = b0 + b_index(bp, bj);
            let b_from = vec4(bj - b_lo) + ramp * LANES;
            b_ok0 = vec4<u32>(b_from) < b_len;
            b_raw0 = pad;
            if b_ok0.x { b_raw0.x = load_b(b_at); }
            if STAGED > 1 { if b_ok0.y { b_raw0.y = load_b(b_at + b_next); } }
            if STAGED > 2 { if b_ok0.z { b_raw0.z = load_b(b_at + 2 * b_next); } }
            if STAGED > 3 { if b_ok0.w { b_raw0.w = load_b(b_at + 3 * b_next); } }
            if STAGED > 4 {
                b_ok1 = vec4<u32>(b_from + 4 * LANES) < b_len;
                b_raw1 = pad;
                if b_ok1.x { b_raw1.x = load_b(b_at + 4 * b_next); }
                if STAGED > 5 { if b_ok1.y { b_raw1.y = load_b(b_at + 5 * b_next); } }
                if STAGED > 6 { if b_ok1.z { b_raw1.z = load_b(b_at + 6 * b_next); } }
                if STAGED > 7 { if b_ok1.w { b_raw1.w = load_b(b_at + 7 * b_next); } }
            }
            if STAGED > 8 {
                b_ok2 = (vec4<u32>(b_from + 8 * LANES) < b_len) & vec4(true, STAGED > 9, STAGED > 10, STAGED > 11);
                b_raw2 = pad;
                if b_ok2.x { b_raw2.x = load_b(b_at + 8 * b_next); }
                if STAGED > 9 { if b_ok2.y { b_raw2.y = load_b(b_at + 9 * b_next); } }
                if STAGED > 10 { if b_ok2.z { b_raw2.z = load_b(b_at + 10 * b_next); } }
                if STAGED > 11 { if b_ok2.w { b_raw2.w = load_b(b_at + 11 * b_next); } }
            }
        }
        if stage < 0 { continue; }

        // The product, if a row of this strip reaches these p. Two p at once, so that their reads are
        // in flight together.
        if (p0 < p_end) & (p0 + DEPTH > row - params.a_lower) & (p0 < row + STRIP + params.a_upper) {
            for (var k = 0; k < DEPTH; k += 2) {
                let from_a = k * A_PITCH + strip * 2;
                let from_b = k * B_PITCH + skew + lane;
                let x0l = tile_a[from_a];
                let x0h = tile_a[from_a + 1];
                { let y = tile_b[from_b]; c0l = ring_mac(c0l, y, x0l); c0h = ring_mac(c0h, y, x0h); }
                if COLUMNS > 1 { let y = tile_b[from_b + LANES]; c1l = ring_mac(c1l, y, x0l); c1h = ring_mac(c1h, y, x0h); }
                if COLUMNS > 2 { let y = tile_b[from_b + 2 * LANES]; c2l = ring_mac(c2l, y, x0l); c2h = ring_mac(c2h, y, x0h); }
                if COLUMNS > 3 { let y = tile_b[from_b + 3 * LANES]; c3l = ring_mac(c3l, y, x0l); c3h = ring_mac(c3h, y, x0h); }
                if COLUMNS > 4 { let y = tile_b[from_b + 4 * LANES]; c4l = ring_mac(c4l, y, x0l); c4h = ring_mac(c4h, y, x0h); }
                if COLUMNS > 5 { let y = tile_b[from_b + 5 * LANES]; c5l = ring_mac(c5l, y, x0l); c5h = ring_mac(c5h, y, x0h); }
                if COLUMNS > 6 { let y = tile_b[from_b + 6 * LANES]; c6l = ring_mac(c6l, y, x0l); c6h = ring_mac(c6h, y, x0h); }
                if COLUMNS > 7 { let y = tile_b[from_b + 7 * LANES]; c7l = ring_mac(c7l, y, x0l); c7h = ring_mac(c7h, y, x0h); }
                if COLUMNS > 8 { let y = tile_b[from_b + 8 * LANES]; c8l = ring_mac(c8l, y, x0l); c8h = ring_mac(c8h, y, x0h); }
                let x1l = tile_a[from_a + A_PITCH];
                let x1h = tile_a[from_a + A_PITCH + 1];
                { let y = tile_b[from_b + B_PITCH]; c0l = ring_mac(c0l, y, x1l); c0h = ring_mac(c0h, y, x1h); }
                if COLUMNS > 1 { let y = tile_b[from_b + B_PITCH + LANES]; c1l = ring_mac(c1l, y, x1l); c1h = ring_mac(c1h, y, x1h); }
                if COLUMNS > 2 { let y = tile_b[from_b + B_PITCH + 2 * LANES]; c2l = ring_mac(c2l, y, x1l); c2h = ring_mac(c2h, y, x1h); }
                if COLUMNS > 3 { let y = tile_b[from_b + B_PITCH + 3 * LANES]; c3l = ring_mac(c3l, y, x1l); c3h = ring_mac(c3h, y, x1h); }
                if COLUMNS > 4 { let y = tile_b[from_b + B_PITCH + 4 * LANES]; c4l = ring_mac(c4l, y, x1l); c4h = ring_mac(c4h, y, x1h); }
                if COLUMNS > 5 { let y = tile_b[from_b + B_PITCH + 5 * LANES]; c5l = ring_mac(c5l, y, x1l); c5h = ring_mac(c5h, y, x1h); }
                if COLUMNS > 6 { let y = tile_b[from_b + B_PITCH + 6 * LANES]; c6l = ring_mac(c6l, y, x1l); c6h = ring_mac(c6h, y, x1h); }
                if COLUMNS > 7 { let y = tile_b[from_b + B_PITCH + 7 * LANES]; c7l = ring_mac(c7l, y, x1l); c7h = ring_mac(c7h, y, x1h); }
                if COLUMNS > 8 { let y = tile_b[from_b + B_PITCH + 8 * LANES]; c8l = ring_mac(c8l, y, x1l); c8h = ring_mac(c8h, y, x1h); }
            }
        }

        // No later p reaches the first columns of a sliding window.
        if SLIDE {
            if (stage + 1) % per_step == 0 {
                finish(c0l, c0h, batch, row, j0 + lane);
                j0 += LANES;
                if COLUMNS > 1 { c0l = c1l; c0h = c1h; }
                if COLUMNS > 2 { c1l = c2l; c1h = c2h; }
                if COLUMNS > 3 { c2l = c3l; c2h = c3h; }
                if COLUMNS > 4 { c3l = c4l; c3h = c4h; }
                if COLUMNS > 5 { c4l = c5l; c4h = c5h; }
                if COLUMNS > 6 { c5l = c6l; c5h = c6h; }
                if COLUMNS > 7 { c6l = c7l; c6h = c7h; }
                if COLUMNS > 8 { c7l = c8l; c7h = c8h; }
                if COLUMNS == 1 { c0l = vec4(ring_start()); c0h = c0l; }
                if COLUMNS == 2 { c1l = vec4(ring_start()); c1h = c1l; }
                if COLUMNS == 3 { c2l = vec4(ring_start()); c2h = c2l; }
                if COLUMNS == 4 { c3l = vec4(ring_start()); c3h = c3l; }
                if COLUMNS == 5 { c4l = vec4(ring_start()); c4h = c4l; }
                if COLUMNS == 6 { c5l = vec4(ring_start()); c5h = c5l; }
                if COLUMNS == 7 { c6l = vec4(ring_start()); c6h = c6l; }
                if COLUMNS == 8 { c7l = vec4(ring_start()); c7h = c7l; }
                if COLUMNS == 9 { c8l = vec4(ring_start()); c8h = c8l; }
            }
        }
    }
    if ring_tainted(taint) { atomicStore(&tainted, 1u); }
    if !SLIDE {
        finish(c0l, c0h, batch, row, j0 + skew + lane);
        if COLUMNS > 1 { finish(c1l, c1h, batch, row, j0 + skew + LANES + lane); }
        if COLUMNS > 2 { finish(c2l, c2h, batch, row, j0 + skew + 2 * LANES + lane); }
        if COLUMNS > 3 { finish(c3l, c3h, batch, row, j0 + skew + 3 * LANES + lane); }
        if COLUMNS > 4 { finish(c4l, c4h, batch, row, j0 + skew + 4 * LANES + lane); }
        if COLUMNS > 5 { finish(c5l, c5h, batch, row, j0 + skew + 5 * LANES + lane); }
        if COLUMNS > 6 { finish(c6l, c6h, batch, row, j0 + skew + 6 * LANES + lane); }
        if COLUMNS > 7 { finish(c7l, c7h, batch, row, j0 + skew + 7 * LANES + lane); }
        if COLUMNS > 8 { finish(c8l, c8h, batch, row, j0 + skew + 8 * LANES + lane); }
    }

    // What padding may have spoilt is computed anew, entry by entry.
    workgroupBarrier();
    let all = atomicLoad(&tainted) != 0u;
    if !(redo | all) { return; }
    let j_end = min(params.cols, select(j_first + skew + COLUMNS * LANES, j0, SLIDE));
    let c0 = batch * c_len();
    for (var j = j_first + skew + lane; j < j_end; j += LANES) {
        let rows = column_rows(j);
        let i_end = select(row, min(rows.y, row + STRIP), j >= 0);
        for (var i = max(rows.x, row); i < i_end; i++) {
            let at = c0 + c_index(i, j);
            if all | is_nan(c[at]) { c[at] = ring_exact(a0, b0, i, j); }
        }
    }
}

// The rows of column j that C has slots for, first and end; a band has slots outside the matrix too.
fn column_rows(j: i32) -> vec2<i32> {
    let dense = (params.flags & 32u) != 0u;
    let dense_end = select(0, params.rows, (j >= 0) & (j < params.cols));
    return vec2(select(max(0, j - params.c_upper), 0, dense), select(min(params.rows, j + params.c_lower + 1), dense_end, dense));
}

// One column of a strip into C.
fn finish(low: vec4<f32>, high: vec4<f32>, batch: i32, row: i32, j: i32) {
    let rows = column_rows(j);
    if (rows.y <= row) | (rows.x >= row + STRIP) { return; }
    let in_cols = (j >= 0) & (j < params.cols);
    let at = batch * c_len() + c_index(row, j);
    let a_line = batch * params.rows + row;
    let b_line = batch * params.cols + clamp(j, 0, params.cols - 1);
    let down = params.c_stride;
    if in_cols & (rows.x <= row) & (rows.y >= row + STRIP) {
        c[at] = ring_finish(low.x, a_line, b_line);
        c[at + down] = ring_finish(low.y, a_line + 1, b_line);
        c[at + 2 * down] = ring_finish(low.z, a_line + 2, b_line);
        c[at + 3 * down] = ring_finish(low.w, a_line + 3, b_line);
        c[at + 4 * down] = ring_finish(high.x, a_line + 4, b_line);
        c[at + 5 * down] = ring_finish(high.y, a_line + 5, b_line);
        c[at + 6 * down] = ring_finish(high.z, a_line + 6, b_line);
        c[at + 7 * down] = ring_finish(high.w, a_line + 7, b_line);
        let exact_low = ring_is_exact(low.x) & ring_is_exact(low.y) & ring_is_exact(low.z) & ring_is_exact(low.w);
        let exact_high = ring_is_exact(high.x) & ring_is_exact(high.y) & ring_is_exact(high.z) & ring_is_exact(high.w);
        if exact_low & exact_high { return; }
    }
    // At an edge, or with entries to mark as not exact.
    for (var n = 0; n < STRIP; n++) {
        if (row + n < rows.x) | (row + n >= rows.y) { continue; }
        let acc = select(high[n % 4], low[n % 4], n < 4);
        var value = params.fill;
        if in_cols {
            value = ring_finish(acc, a_line + n, b_line);
            if !ring_is_exact(acc) {
                value = from_bits(0x7fc00000u);
                redo = true;
            }
        }
        c[at + n * down] = value;
    }
}
