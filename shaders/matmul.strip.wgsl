// C = A ⊗ B for bands: strips of 16 rows that start where C's band starts, so that little work
// falls outside it, whatever its width. 32 invocations make a strip, two strips a workgroup. An
// invocation holds 2 to 4 columns, 32 apart, of all 16 rows: neighbours read neighbouring columns
// of B and write neighbouring columns of C.
//
//   p runs along A's band; k counts it from the first p of the strip's first row. In C's columns,
//   counted from the start of C's band, row k of B covers k .. k + width of B.
//
// B comes straight from the cache, once per 16 rows; A through a small stage. Workgroup memory is
// kept low on purpose: how many workgroups run at once hangs on it.

@group(0) @binding(3) var<storage, read> a_scale: array<f32>;
@group(0) @binding(4) var<storage, read> b_scale: array<f32>;
@group(0) @binding(5) var<storage, read_write> c: array<f32>;

override BLOCKS: u32 = 4u;         // columns of an invocation
override B_COLUMNS: bool = false;  // whether B is in columns layout

const DEPTH = 32;  // p staged at once
const PITCH = 5u;  // vec4s of a staged p: 16 rows of A, and one that spreads the banks

var<workgroup> tile_a: array<vec4<f32>, 320>; // [strip][p][row]
var<workgroup> tainted: atomic<u32>;

var<private> redo: bool;

// Four rows of one column into C, where it has slots for them.
fn put(acc: vec4<f32>, at: i32, row: i32, first: i32, len: u32, in_cols: bool, a_line: i32, b_line: i32) {
    for (var n = 0; n < 4; n++) {
        if u32(row + n - first) < len {
            var value = params.fill;
            if in_cols {
                value = ring_finish(acc[n], min(a_line + n, i32(params.batch) * params.rows - 1), b_line);
                if !ring_is_exact(acc[n]) {
                    value = from_bits(0x7fc00000u);
                    redo = true;
                }
            }
            c[at + n * params.c_stride] = value;
        }
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = group_index(group, groups);
    if tile >= params.batch * params.tiles { return; }

    // Which strip.
    let batch = i32(tile / params.tiles);
    let row_tiles = (u32(params.rows) + 31u) / 32u;
    let strips = params.tiles / row_tiles;
    let in_matrix = tile % params.tiles;
    let lane = i32(local % 32u);
    let i0 = i32(in_matrix / strips * 32u + local / 32u * 16u);
    let a0 = batch * a_len();
    let b0 = batch * b_len();
    let c0 = batch * c_len();
    let width_a = params.a_lower + params.a_upper + 1;
    let width_b = params.b_lower + params.b_upper + 1;
    // The strip's first column, counted from where the bands of A and B put C's band; C's own may be
    // narrower or wider.
    let column = i32(in_matrix % strips * BLOCKS * 32u) + params.a_lower + params.b_lower - params.c_lower;
    let j0 = i0 - params.a_lower - params.b_lower + column + lane;
    let k_first = max(0, column - width_b + 1);
    let k_end = min(width_a + 15, column + i32(BLOCKS * 32u));
    let p0 = i0 - params.a_lower; // where k = 0
    redo = false;
    if local == 0u { atomicStore(&tainted, 0u); }

    let ramp = vec4(0, 1, 2, 3);
    let pad = vec4(ring_pad());
    let stage = local / 32u * 160u;
    let b_step = select(1, params.b_stride, B_COLUMNS) * 32; // to the invocation's next column
    let b_down = select(params.b_stride, 1, B_COLUMNS);      // to the next p
    let a_step = select(params.a_stride, 1, (params.flags & 1u) != 0u); // to the next row
    let last_row = vec4((batch + 1) * params.rows - 1);
    let cols = vec4(j0) + ramp * 32;
    let b_lines = clamp(batch * params.cols + cols, vec4(0), vec4((batch + 1) * params.cols - 1));
    // The k at which B stores each column.
    let k_lo = max(cols - params.b_upper, vec4(0)) - p0;
    let k_hi = min(cols + params.b_lower + 1, vec4(params.inner)) - p0;
    let in_cols = (cols >= vec4(0)) & (cols < vec4(params.cols));
    let k_len = select(vec4(0u), vec4<u32>(max(vec4(0), k_hi - k_lo)), in_cols);
    var taint = vec4(false);

    // Column e of the invocation, rows 4v .. 4v + 4.
    var c00 = vec4(ring_start()); var c01 = c00; var c02 = c00; var c03 = c00;
    var c10 = c00; var c11 = c00; var c12 = c00; var c13 = c00;
    var c20 = c00; var c21 = c00; var c22 = c00; var c23 = c00;
    var c30 = c00; var c31 = c00; var c32 = c00; var c33 = c00;

    for (var k0 = k_first; k0 < k_end; k0 += DEPTH) {
        // Each invocation brings the 16 rows of one p.
        let p = p0 + k0 + lane;
        let lo = vec4(max(0, p - params.a_upper));
        let hi = min(params.rows, p + params.a_lower + 1);
        let len = vec4(select(0u, u32(max(0, hi - lo.x)), (p >= 0) & (p < params.inner)));
        let rows = vec4(i0) + ramp;
        let at = vec4(a0 + a_index(i0, p)) + ramp * a_step;
        let ok0 = vec4<u32>(rows - lo) < len;
        let ok1 = vec4<u32>(rows + 4 - lo) < len;
        let ok2 = vec4<u32>(rows + 8 - lo) < len;
        let ok3 = vec4<u32>(rows + 12 - lo) < len;
        let at0 = select(vec4(0), at, ok0);
        let at1 = select(vec4(0), at + 4 * a_step, ok1);
        let at2 = select(vec4(0), at + 8 * a_step, ok2);
        let at3 = select(vec4(0), at + 12 * a_step, ok3);
        let r0 = vec4(a[at0.x], a[at0.y], a[at0.z], a[at0.w]);
        let r1 = vec4(a[at1.x], a[at1.y], a[at1.z], a[at1.w]);
        let r2 = vec4(a[at2.x], a[at2.y], a[at2.z], a[at2.w]);
        let r3 = vec4(a[at3.x], a[at3.y], a[at3.z], a[at3.w]);
        taint |= (ring_taints(r0) & ok0) | (ring_taints(r1) & ok1) | (ring_taints(r2) & ok2) | (ring_taints(r3) & ok3);
        let lines = vec4(batch * params.rows) + rows;
        let v0 = select(pad, ring_stage_a(r0, min(lines, last_row)), ok0);
        let v1 = select(pad, ring_stage_a(r1, min(lines + 4, last_row)), ok1);
        let v2 = select(pad, ring_stage_a(r2, min(lines + 8, last_row)), ok2);
        let v3 = select(pad, ring_stage_a(r3, min(lines + 12, last_row)), ok3);
        workgroupBarrier();
        let slot = stage + u32(lane) * PITCH;
        tile_a[slot] = v0;
        tile_a[slot + 1u] = v1;
        tile_a[slot + 2u] = v2;
        tile_a[slot + 3u] = v3;
        workgroupBarrier();

        // Two p at once, so that their loads are in flight together. Where nothing is stored the
        // padding stays: a load that may be left out costs less than one that is masked after.
        var b_at = b0 + b_index(p0 + k0, j0);
        for (var q = 0; q < min(DEPTH, k_end - k0); q += 2) {
            let ok0 = vec4<u32>(vec4(k0 + q) - k_lo) < k_len;
            let ok1 = vec4<u32>(vec4(k0 + q + 1) - k_lo) < k_len;
            var y0 = pad;
            var y1 = pad;
            if ok0.x { y0.x = b[b_at]; }
            if ok0.y { y0.y = b[b_at + b_step]; }
            if ok1.x { y1.x = b[b_at + b_down]; }
            if ok1.y { y1.y = b[b_at + b_down + b_step]; }
            if BLOCKS > 2u {
                if ok0.z { y0.z = b[b_at + 2 * b_step]; }
                if ok1.z { y1.z = b[b_at + b_down + 2 * b_step]; }
            }
            if BLOCKS > 3u {
                if ok0.w { y0.w = b[b_at + 3 * b_step]; }
                if ok1.w { y1.w = b[b_at + b_down + 3 * b_step]; }
            }
            b_at += 2 * b_down;
            taint |= (ring_taints(y0) & ok0) | (ring_taints(y1) & ok1);
            y0 = ring_stage_strip(y0, b_lines, ok0);
            y1 = ring_stage_strip(y1, b_lines, ok1);
            let at_a = stage + u32(q) * PITCH;
            let x00 = tile_a[at_a + 0u * PITCH];
            let x01 = tile_a[at_a + 0u * PITCH + 1u];
            let x02 = tile_a[at_a + 0u * PITCH + 2u];
            let x03 = tile_a[at_a + 0u * PITCH + 3u];
            let x10 = tile_a[at_a + 1u * PITCH];
            let x11 = tile_a[at_a + 1u * PITCH + 1u];
            let x12 = tile_a[at_a + 1u * PITCH + 2u];
            let x13 = tile_a[at_a + 1u * PITCH + 3u];
            c00 = ring_mac(c00, y0.x, x00); c01 = ring_mac(c01, y0.x, x01); c02 = ring_mac(c02, y0.x, x02); c03 = ring_mac(c03, y0.x, x03);
            c10 = ring_mac(c10, y0.y, x00); c11 = ring_mac(c11, y0.y, x01); c12 = ring_mac(c12, y0.y, x02); c13 = ring_mac(c13, y0.y, x03);
            if BLOCKS > 2u {
                c20 = ring_mac(c20, y0.z, x00); c21 = ring_mac(c21, y0.z, x01); c22 = ring_mac(c22, y0.z, x02); c23 = ring_mac(c23, y0.z, x03);
            }
            if BLOCKS > 3u {
                c30 = ring_mac(c30, y0.w, x00); c31 = ring_mac(c31, y0.w, x01); c32 = ring_mac(c32, y0.w, x02); c33 = ring_mac(c33, y0.w, x03);
            }
            c00 = ring_mac(c00, y1.x, x10); c01 = ring_mac(c01, y1.x, x11); c02 = ring_mac(c02, y1.x, x12); c03 = ring_mac(c03, y1.x, x13);
            c10 = ring_mac(c10, y1.y, x10); c11 = ring_mac(c11, y1.y, x11); c12 = ring_mac(c12, y1.y, x12); c13 = ring_mac(c13, y1.y, x13);
            if BLOCKS > 2u {
                c20 = ring_mac(c20, y1.z, x10); c21 = ring_mac(c21, y1.z, x11); c22 = ring_mac(c22, y1.z, x12); c23 = ring_mac(c23, y1.z, x13);
            }
            if BLOCKS > 3u {
                c30 = ring_mac(c30, y1.w, x10); c31 = ring_mac(c31, y1.w, x11); c32 = ring_mac(c32, y1.w, x12); c33 = ring_mac(c33, y1.w, x13);
            }
        }
    }
    if any(taint) { atomicStore(&tainted, 1u); }

    // Of each column C holds one stretch of rows.
    let first = max(vec4(0), cols - params.c_upper);
    let end = min(vec4(params.rows), cols + params.c_lower + 1);
    let count = vec4<u32>(max(vec4(0), end - first));
    let c_at = vec4(c0 + c_index(i0, j0)) + ramp * 32;
    let a_line = batch * params.rows + i0;
    let down = 4 * params.c_stride;
    put(c00, c_at.x, i0, first.x, count.x, in_cols.x, a_line, b_lines.x);
    put(c01, c_at.x + down, i0 + 4, first.x, count.x, in_cols.x, a_line + 4, b_lines.x);
    put(c02, c_at.x + 2 * down, i0 + 8, first.x, count.x, in_cols.x, a_line + 8, b_lines.x);
    put(c03, c_at.x + 3 * down, i0 + 12, first.x, count.x, in_cols.x, a_line + 12, b_lines.x);
    put(c10, c_at.y, i0, first.y, count.y, in_cols.y, a_line, b_lines.y);
    put(c11, c_at.y + down, i0 + 4, first.y, count.y, in_cols.y, a_line + 4, b_lines.y);
    put(c12, c_at.y + 2 * down, i0 + 8, first.y, count.y, in_cols.y, a_line + 8, b_lines.y);
    put(c13, c_at.y + 3 * down, i0 + 12, first.y, count.y, in_cols.y, a_line + 12, b_lines.y);
    if BLOCKS > 2u {
        put(c20, c_at.z, i0, first.z, count.z, in_cols.z, a_line, b_lines.z);
        put(c21, c_at.z + down, i0 + 4, first.z, count.z, in_cols.z, a_line + 4, b_lines.z);
        put(c22, c_at.z + 2 * down, i0 + 8, first.z, count.z, in_cols.z, a_line + 8, b_lines.z);
        put(c23, c_at.z + 3 * down, i0 + 12, first.z, count.z, in_cols.z, a_line + 12, b_lines.z);
    }
    if BLOCKS > 3u {
        put(c30, c_at.w, i0, first.w, count.w, in_cols.w, a_line, b_lines.w);
        put(c31, c_at.w + down, i0 + 4, first.w, count.w, in_cols.w, a_line + 4, b_lines.w);
        put(c32, c_at.w + 2 * down, i0 + 8, first.w, count.w, in_cols.w, a_line + 8, b_lines.w);
        put(c33, c_at.w + 3 * down, i0 + 12, first.w, count.w, in_cols.w, a_line + 12, b_lines.w);
    }

    // What padding may have spoilt is computed anew, entry by entry.
    workgroupBarrier();
    let all = atomicLoad(&tainted) != 0u;
    if !(redo | all) { return; }
    for (var e = 0u; e < BLOCKS; e++) {
        let stop = min(end[e], i0 + 16);
        for (var i = max(first[e], i0); i < select(i0, stop, in_cols[e]); i++) {
            let at = c_at[e] + (i - i0) * params.c_stride;
            if all | is_nan(c[at]) { c[at] = ring_exact(a0, b0, i, cols[e]); }
        }
    }
}
