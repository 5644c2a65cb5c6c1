enable f16;
enable wgpu_cooperative_matrix;
diagnostic(off, derivative_uniformity); // branches of a subgroup depend on its number only


// C = A·B in f32 on matrix units as in matmul.cooperative.halves.wgsl, for bands whose rows are too long for a window in registers:
// C is cut into tiles of 64 rows × 128 columns that stand still, and a workgroup goes along the p that its tile sums over, 16 a step.
// Where everything lies in fours, an address is that of four values, else of one (matmul_halves_vec4.wgsl and _scalar.wgsl).
//
//      p →                       columns →
//   i  x x x x x . . .   x x x x x . . .      A subgroup has half of the rows and half of the columns, 2 × 4 tiles of 16 × 16.
//      . x x x x x . .   . x x x x x . .      Columns count from where C's first row begins, p from where A's does, so that fours
//      . . x x x x x .   . . x x x x x .      of them begin where stored ones do, if any. What four values hold of a neighbouring
//      . . . x x x x x   . . . x x x x x      row is masked in those steps alone that have an end of a row.

const COLUMNS = 128;
override A_ACROSS: i32 = 0; // 1 if it is in columns layout, where neighbours in memory are so in i, and in the stage, too
override B_ACROSS: i32 = 0; // and there in p
const B_PITCH = 34;  // vec4s of a staged row of B: 32, and two that spread the banks
const A_PITCH = 18;  // of a p of all rows of A: 16, and two
const LINE = 6;      // of 16 p of a row of A, or a column of B: 4, and two
const SUMS = 4;      // of 16 sums
const NOTED = 1024;  // entries that the place for sums can name
override B_SIZE: i32 = 544 + 224 * B_ACROSS;

var<workgroup> b_high: array<vec4<f16>, B_SIZE>;
var<workgroup> b_low: array<vec4<f16>, B_SIZE>;
var<workgroup> a_high: array<vec4<f16>, 384>;
var<workgroup> a_low: array<vec4<f16>, 384>;
var<workgroup> sums: array<vec4<f32>, 256>;  // 16 × 16 of each subgroup on their way out

fn b_into_stage(at: i32, x: vec4<f32>, scale: f32) {
    let halves = split(x, scale);
    b_high[at] = halves.high;
    b_low[at] = halves.low;
}

fn a_into_stage(at: i32, x: vec4<f32>, scale: f32) {
    let halves = split(x, scale);
    a_high[at] = halves.high;
    a_low[at] = halves.low;
}

fn left_high(at: i32) -> Left {
    if A_ACROSS == 1 { return coopLoad<Left>(&a_high[at], u32(A_PITCH)); }
    return coopLoadT<Left>(&a_high[at], u32(LINE));
}

fn left_low(at: i32) -> Left {
    if A_ACROSS == 1 { return coopLoad<Left>(&a_low[at], u32(A_PITCH)); }
    return coopLoadT<Left>(&a_low[at], u32(LINE));
}

fn right_high(at: i32) -> Right {
    if B_ACROSS == 1 { return coopLoad<Right>(&b_high[at], u32(LINE)); }
    return coopLoadT<Right>(&b_high[at], u32(B_PITCH));
}

fn right_low(at: i32) -> Right {
    if B_ACROSS == 1 { return coopLoad<Right>(&b_low[at], u32(LINE)); }
    return coopLoadT<Right>(&b_low[at], u32(B_PITCH));
}

// What four values hold of a line of `last + 1`, the first of them at place `d` there and the others before one another, and 0.
fn of_line(four: vec4<f32>, d: i32, last: i32) -> vec4<f32> {
    let n = vec4(d) - vec4(0, 1, 2, 3);
    return select(vec4(0.0), four, (n >= vec4(0)) & (n <= vec4(last)));
}

// How a subgroup's tiles leave, one after the other, by way of workgroup memory.
struct Leaving {
    back: f32,     // from scaled values, in two steps, since one number may not do
    and_back: f32,
    own: i32,      // its place there
    row: i32,      // its first row, and how many tiles after that one's first value in C its first column is
    m: i32,
    line: i32,     // the invocation's row and four of columns in a tile, and its place in C
    four: i32,
    to: i32,
}

fn tile_leaves(high: Sums, low: Sums, out: Leaving, down: i32, right: i32) {
    let done = (high + low * (1.0 / LOW)) * out.back * out.and_back;
    let at = out.own;
    subgroupBarrier();
    coopStoreT(done, &sums[at], u32(SUMS));
    subgroupBarrier();
    let held = at + out.line * SUMS + out.four;
    let to = out.to + 16 / UNIT * (down * (params.c_lower + params.c_upper) + right);
    leave(sums[held], sums[held + 8 * SUMS], out.row + 16 * down, out.line, out.m + right - down, out.four, to);
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = group_index(group, groups);
    if index >= params.batch * params.tiles { return; }
    zero = f16(params.batch >> 31u);
    let a_stride = params.a_lower + params.a_upper;
    let b_stride = params.b_lower + params.b_upper;
    let c_stride = params.c_lower + params.c_upper;
    let beyond = params.a_lower + params.b_lower - params.c_lower; // columns of the whole product that C lacks at the left
    // Tiles in the middle of C's band sum over the most, so they come first.
    let windows = (c_stride + ROWS + COLUMNS - 1) / COLUMNS;
    let row_tiles = i32(params.tiles) / windows;
    let batch = i32(index / params.tiles);
    let tile = i32(index % params.tiles);
    let rank = tile / row_tiles;
    let away = (rank + 1) / 2;
    let n0 = COLUMNS * (windows / 2 + select(away, -away, (rank & 1) != 0));
    let i0 = tile % row_tiles * ROWS;
    let p0 = i0 - params.a_lower;
    let a0 = batch * a_len();
    let b0 = batch * b_len();
    let c0 = batch * c_len();
    let lane = i32(local & 31u);
    let subgroup = i32(subgroupBroadcastFirst(local >> 5u));
    if local == 0u {
        atomicStore(&largest_a, 0u);
        atomicStore(&largest_b, 0u);
        atomicStore(&doubtful, 0u);
        atomicStore(&found, 0u);
    }

    // Steps in which both factors have something.
    let first = n0 + beyond; // column, counted from where the whole product's first row begins
    let begin = max(max(0, -p0 >> 4u), (first - b_stride) >> 4u);
    let end = 1 + min(min((a_stride + ROWS - 1) >> 4u, (first + COLUMNS - 1) >> 4u), (params.inner - 1 - p0) >> 4u);

    // An invocation brings four values of each of 4 lines of B, and of 2 of A, a line being what is contiguous. Addresses that stay
    // inside leave loads without a branch.
    let j0 = i0 - params.c_lower + n0;
    let from_p = p0 + 16 * begin;
    let b_line = select(4 * subgroup, i32(local >> 2u), B_ACROSS == 1); // a row, from p on, or a column, from j0 on
    let b_four = 4 * select(lane, lane & 3, B_ACROSS == 1);
    let b_next = select(1, 32, B_ACROSS == 1) * b_stride / UNIT;
    let b_on = 16 * select(b_stride, 1, B_ACROSS == 1) / UNIT;
    let b_last = i32(params.batch) * b_len() / UNIT - 1;
    var b_at = (b0 + (from_p + b_line) * b_stride + j0 + params.b_lower + b_four) / UNIT;
    if B_ACROSS == 1 { b_at = (b0 + (j0 + b_line) * b_stride + from_p + params.b_upper + b_four) / UNIT; }
    let a_line = i32(local >> select(2u, 4u, A_ACROSS == 1)); // a row, or a column
    let a_four = 4 * i32(local & select(3u, 15u, A_ACROSS == 1));
    let a_next = select(32, 8, A_ACROSS == 1) * a_stride / UNIT;
    let a_on = 16 * select(1, a_stride, A_ACROSS == 1) / UNIT;
    let a_last = i32(params.batch) * a_len() / UNIT - 1;
    var a_at = (a0 + (i0 + a_line) * a_stride + from_p + params.a_lower + a_four) / UNIT;
    if A_ACROSS == 1 { a_at = (a0 + (from_p + a_line) * a_stride + i0 + params.a_upper + a_four) / UNIT; }
    var v0 = four_of_b(b_at, b_last);
    var v1 = four_of_b(b_at + b_next, b_last);
    var v2 = four_of_b(b_at + 2 * b_next, b_last);
    var v3 = four_of_b(b_at + 3 * b_next, b_last);
    var x0 = four_of_a(a_at, a_last);
    var x1 = four_of_a(a_at + a_next, a_last);
    {
        // How large values are, by four of each line of the tile's, and so many in all.
        let p = clamp(from_p + i32(local) * (end - begin) / 8, 0, params.inner - 1);
        let i = min(i0 + i32(local & 63u), params.rows - 1);
        let j = clamp(j0 + i32(local), 0, params.cols - 1);
        let of_a = a0 + select(i, p, A_ACROSS == 1) * (a_stride + 1) + i32(local & 7u) * (a_stride / 40) * 4;
        let of_b = b0 + select(p, j, B_ACROSS == 1) * (b_stride + 1) + i32(local & 7u) * (b_stride / 40) * 4;
        let x = largest(four_of_a(of_a / UNIT, a_last));
        let y = largest(four_of_b(of_b / UNIT, b_last));
        workgroupBarrier();
        let x_most = subgroupMax(x);
        let y_most = subgroupMax(y);
        if lane == 0 {
            atomicMax(&largest_a, bitcast<u32>(x_most));
            atomicMax(&largest_b, bitcast<u32>(y_most));
        }
        workgroupBarrier();
    }
    let a_scale = scale_for(atomicLoad(&largest_a));
    let b_scale = scale_for(atomicLoad(&largest_b));
    let back = inverse(max(a_scale, b_scale));
    let and_back = inverse(min(a_scale, b_scale));

    // Products of high halves, and of those with a low one.
    var e00 = Sums(); var e01 = Sums(); var e02 = Sums(); var e03 = Sums();
    var e10 = Sums(); var e11 = Sums(); var e12 = Sums(); var e13 = Sums();
    var l00 = Sums(); var l01 = Sums(); var l02 = Sums(); var l03 = Sums();
    var l10 = Sums(); var l11 = Sums(); var l12 = Sums(); var l13 = Sums();
    tiny = 0xffffffffu;
    odd = vec4(f16(0.0));
    // Of what is staged, a subgroup's rows and columns, each tile so much after the one before; and an invocation's part.
    let of_a = (subgroup >> 1u) * select(32 * LINE, 8, A_ACROSS == 1);
    let of_b = (subgroup & 1) * select(16, 64 * LINE, B_ACROSS == 1);
    let a_tile = select(16 * LINE, 4, A_ACROSS == 1);
    let b_tile = select(4, 16 * LINE, B_ACROSS == 1);
    let a_to = a_line * select(LINE, A_PITCH, A_ACROSS == 1) + a_four / 4;
    let a_down = select(32 * LINE, 8 * A_PITCH, A_ACROSS == 1);
    let b_to = b_line * select(B_PITCH, LINE, B_ACROSS == 1) + b_four / 4;
    let b_down = select(B_PITCH, 32 * LINE, B_ACROSS == 1);
    for (var s = begin; s < end; s++) {
        workgroupBarrier();
        let p = p0 + 16 * s;
        let d = first - 16 * s; // of the first column in the step's first row of B
        if (d < 15) | (d + COLUMNS > b_stride + 1) | (p < 0) | (p + 16 > params.inner) {
            if B_ACROSS == 1 {
                let n = d + b_line - b_four;
                let here = vec4(p + b_four) + vec4(0, 1, 2, 3);
                let valid = (here >= vec4(0)) & (here < vec4(params.inner));
                v0 = select(vec4(0.0), of_line(v0, n, b_stride), valid);
                v1 = select(vec4(0.0), of_line(v1, n + 32, b_stride), valid);
                v2 = select(vec4(0.0), of_line(v2, n + 64, b_stride), valid);
                v3 = select(vec4(0.0), of_line(v3, n + 96, b_stride), valid);
            } else {
                let n = d + b_four - b_line;
                let here = vec4(p + b_line) + vec4(0, 1, 2, 3);
                let valid = (here >= vec4(0)) & (here < vec4(params.inner));
                v0 = select(vec4(0.0), of_row(v0, n, b_stride), valid.xxxx);
                v1 = select(vec4(0.0), of_row(v1, n - 1, b_stride), valid.yyyy);
                v2 = select(vec4(0.0), of_row(v2, n - 2, b_stride), valid.zzzz);
                v3 = select(vec4(0.0), of_row(v3, n - 3, b_stride), valid.wwww);
            }
        }
        if (16 * s < ROWS - 1) | (16 * s + 15 > a_stride) {
            if A_ACROSS == 1 {
                let n = 16 * s + a_line - a_four;
                x0 = of_line(x0, n, a_stride);
                x1 = of_line(x1, n + 8, a_stride);
            } else {
                let n = 16 * s + a_four - a_line;
                x0 = of_row(x0, n, a_stride);
                x1 = of_row(x1, n - 32, a_stride);
            }
        }
        b_into_stage(b_to, v0, b_scale);
        b_into_stage(b_to + b_down, v1, b_scale);
        b_into_stage(b_to + 2 * b_down, v2, b_scale);
        b_into_stage(b_to + 3 * b_down, v3, b_scale);
        a_into_stage(a_to, x0, a_scale);
        a_into_stage(a_to + a_down, x1, a_scale);
        workgroupBarrier();
        b_at += b_on;
        a_at += a_on;
        v0 = four_of_b(b_at, b_last);
        v1 = four_of_b(b_at + b_next, b_last);
        v2 = four_of_b(b_at + 2 * b_next, b_last);
        v3 = four_of_b(b_at + 3 * b_next, b_last);
        x0 = four_of_a(a_at, a_last);
        x1 = four_of_a(a_at + a_next, a_last);
        let x0_high = left_high(of_a);
        let x1_high = left_high(of_a + a_tile);
        let x0_low = left_low(of_a);
        let x1_low = left_low(of_a + a_tile);
        let y0 = right_high(of_b);
        let y0_low = right_low(of_b);
        e00 = coopMultiplyAdd(x0_high, y0, e00);
        e10 = coopMultiplyAdd(x1_high, y0, e10);
        l00 = coopMultiplyAdd(x0_high, y0_low, coopMultiplyAdd(x0_low, y0, l00));
        l10 = coopMultiplyAdd(x1_high, y0_low, coopMultiplyAdd(x1_low, y0, l10));
        let y1 = right_high(of_b + b_tile);
        let y1_low = right_low(of_b + b_tile);
        e01 = coopMultiplyAdd(x0_high, y1, e01);
        e11 = coopMultiplyAdd(x1_high, y1, e11);
        l01 = coopMultiplyAdd(x0_high, y1_low, coopMultiplyAdd(x0_low, y1, l01));
        l11 = coopMultiplyAdd(x1_high, y1_low, coopMultiplyAdd(x1_low, y1, l11));
        let y2 = right_high(of_b + 2 * b_tile);
        let y2_low = right_low(of_b + 2 * b_tile);
        e02 = coopMultiplyAdd(x0_high, y2, e02);
        e12 = coopMultiplyAdd(x1_high, y2, e12);
        l02 = coopMultiplyAdd(x0_high, y2_low, coopMultiplyAdd(x0_low, y2, l02));
        l12 = coopMultiplyAdd(x1_high, y2_low, coopMultiplyAdd(x1_low, y2, l12));
        let y3 = right_high(of_b + 3 * b_tile);
        let y3_low = right_low(of_b + 3 * b_tile);
        e03 = coopMultiplyAdd(x0_high, y3, e03);
        e13 = coopMultiplyAdd(x1_high, y3, e13);
        l03 = coopMultiplyAdd(x0_high, y3_low, coopMultiplyAdd(x0_low, y3, l03));
        l13 = coopMultiplyAdd(x1_high, y3_low, coopMultiplyAdd(x1_low, y3, l13));
    }

    var out: Leaving;
    out.back = back;
    out.and_back = and_back;
    out.own = subgroup * 16 * SUMS;
    out.row = i0 + (subgroup >> 1u) * 32;
    out.m = n0 / 16 + (subgroup & 1) * 4 - (subgroup >> 1u) * 2;
    out.line = lane >> 2u;
    out.four = lane & 3;
    out.to = (c0 + (out.row + out.line) * c_stride + i0 + n0 + (subgroup & 1) * 64 + 4 * out.four) / UNIT;
    tile_leaves(e00, l00, out, 0, 0);
    tile_leaves(e01, l01, out, 0, 1);
    tile_leaves(e02, l02, out, 0, 2);
    tile_leaves(e03, l03, out, 0, 3);
    tile_leaves(e10, l10, out, 1, 0);
    tile_leaves(e11, l11, out, 1, 1);
    tile_leaves(e12, l12, out, 1, 2);
    tile_leaves(e13, l13, out, 1, 3);

    // Values that halves do not hold are rare, and what comes of them is looked at in memory: those below 2⁻¹⁴, whose bits are half of this.
    if (tiny < 0x71000000u) | !all(odd == vec4(f16(0.0))) { atomicStore(&doubtful, 1u); }
    workgroupBarrier();
    let doubt = atomicLoad(&doubtful);
    if doubt == 0u { return; }
    storageBarrier();
    look_again(i32(local), i0, n0, COLUMNS, a0, b0, c0, 64.0 * back * and_back);
}
