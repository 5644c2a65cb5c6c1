enable f16;
enable wgpu_cooperative_matrix;
diagnostic(off, derivative_uniformity); // branches of a subgroup depend on its number only


// C = A·B in f32 on matrix units, which take f16: C is the whole product of two wide bands. A value times a power of two is the sum of
// two halves, high + low / 2048, which hold 22 of its 24 bits, and a product is three of theirs; that of both low ones is below 2⁻²² of it.
// A sum of k terms is within 2 (k + 8) · 2⁻²⁴ · Σ |term|. As in matmul.fours.wgsl, rows lie in fours, and columns count from where p's row of B begins.
//
//      p →                        window →
//   i  x x x x . . . .   x x x x . . .      A subgroup has 16 rows, and so many p of A a step. The window has TILES tiles of 16
//      . x x x x . . .   . x x x x . .      columns, as 16 rows of B reach, and goes along with p: its first tile is finished after
//      . . x x x x . .   . . x x x x .      a step, and its place becomes the tile that comes next. So tiles have places, in B's
//      . . . x x x x .                      stage too, that go round.
//
// 16 rows of B begin one after the other in the first LANES fours, where a row lies as it is stored, and end in the next four fours.

override TILES: i32 = 9;          // of the window, at most 9
override FOURS: i32 = TILES * 4;  // of columns in it
override LANES: i32 = FOURS - 4;  // in a row of B, which has one value more
override PITCH: i32 = FOURS + 2;  // of a staged row of B: all are in different banks
override STAGE: i32 = PITCH * 16;
override IN_FOURS: i32 = -1;      // the bits of an index of a four: see matmul.fours.wgsl
const LINE = 6;                   // vec4s of 16 values of A: 4, and two that spread the banks
const SUMS = 5;                   // and of 16 sums, with one
const NOTED = 1280;               // entries that the place for sums can name

var<workgroup> high: array<vec4<f16>, STAGE>;
var<workgroup> low: array<vec4<f16>, STAGE>;
var<workgroup> a_high: array<vec4<f16>, 384>; // 16 × 16 of each subgroup
var<workgroup> a_low: array<vec4<f16>, 384>;
var<workgroup> sums: array<vec4<f32>, 320>;   // 16 × 16 of each on their way out

// An index of a four of A, its last at most.
fn inside(at: i32, last: i32) -> i32 { return clamp(at, 0, last) & IN_FOURS; }

fn into_stage(at: i32, x: vec4<f32>, scale: f32) {
    let halves = split(x, scale);
    high[at] = halves.high;
    low[at] = halves.low;
}

// A step's products for a tile: those with a lower half first, on their own. Registers for a second sum to each tile would be too many.
fn plus(e: Sums, x: Left, x_low: Left, place: i32) -> Sums {
    let y = coopLoadT<Right>(&high[4 * place], u32(PITCH));
    let y_low = coopLoadT<Right>(&low[4 * place], u32(PITCH));
    return coopMultiplyAdd(x, y, e) + coopMultiplyAdd(x, y_low, coopMultiplyAdd(x_low, y, Sums())) * (1.0 / LOW);
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = group_index(group, groups);
    if index >= params.batch * params.tiles { return; }
    zero = f16(params.batch >> 31u);
    let batch = i32(index / params.tiles);
    let i0 = i32(index % params.tiles) * ROWS;
    let lane = i32(local & 31u);
    let subgroup = i32(subgroupBroadcastFirst(local >> 5u));
    let a0 = batch * a_len();
    let b0 = batch * b_len();
    let c0 = batch * c_len();
    let a_stride = params.a_lower + params.a_upper;
    let b_stride = 4 * LANES;
    let c_stride = a_stride + b_stride;
    let p0 = i0 - params.a_lower;
    let row = i0 + subgroup * 16;
    if local == 0u {
        atomicStore(&largest_a, 0u);
        atomicStore(&largest_b, 0u);
        atomicStore(&doubtful, 0u);
        atomicStore(&found, 0u);
    }

    // Of B a subgroup brings 4 rows, in which lanes have one four each, and two subgroups where the rows end.
    let begins = lane >= subgroup;
    let begun = lane > subgroup;
    let own_row = p0 + 4 * subgroup;
    let b_first = (b0 + p0 * (b_stride + 1)) / 4;
    let b_on = 4 * (b_stride + 1);
    let b_last = i32(params.batch) * b_len() / 4 - 1;
    var b_at = b_first + 4 * subgroup * LANES + min(lane, LANES - 1);
    let end_row = i32(local >> 2u) & 15;
    let end_four = i32(local & 3u);
    let ends = vec4(4 * end_four) + vec4(0, 1, 2, 3) <= vec4(end_row);
    var end_at = b_first + end_row * LANES + LANES + end_four;
    // Of A, four lane % 4 of rows lane / 4 and 8 more.
    let line = lane >> 2u;
    let four = lane & 3;
    let d = 4 * four - line; // its place in the first row's first step, 16 less for every one more
    let a_last = i32(params.batch) * a_len() / 4 - 1;
    let a_eight = 2 * a_stride;
    var a_at = (a0 + (row + line) * a_stride + params.a_lower + p0) / 4 + four;

    // The first of each on their way, and some to tell how large values are. What isn't there is some other value: addresses that
    // stay inside leave loads without a branch, so that nothing waits for them yet.
    var valid = (own_row >= 0) & (own_row < params.inner);
    var at = max(0, select(0, b_at, valid));
    var v0 = b[at];
    var v1 = b[at + LANES];
    var v2 = b[at + 2 * LANES];
    var v3 = b[at + 3 * LANES];
    var v_end = b[clamp(end_at, 0, b_last)];
    var x0 = a[inside(a_at, a_last)];
    var x8 = a[inside(a_at + a_eight, a_last)];
    {
        let of_b = b0 / 4 + min(i0, params.inner - 16) / 4 * (b_stride + 1) + i32(local);
        let of_a = a0 / 4 + min(i0, params.rows - 16) / 4 * (a_stride + 1) + i32(local);
        let y = max(largest(b[of_b]), largest(b[of_b + GROUP]));
        let x = max(largest(a[of_a]), largest(a[of_a + GROUP]));
        workgroupBarrier();
        let y_most = subgroupMax(y);
        let x_most = subgroupMax(x);
        if lane == 0 {
            atomicMax(&largest_a, bitcast<u32>(x_most));
            atomicMax(&largest_b, bitcast<u32>(y_most));
        }
        workgroupBarrier();
    }
    let a_scale = scale_for(atomicLoad(&largest_a));
    let b_scale = scale_for(atomicLoad(&largest_b));
    // Sums are taken back in two steps, since one number may not do.
    let back = inverse(max(a_scale, b_scale));
    let and_back = inverse(min(a_scale, b_scale));

    var e0 = Sums();
    var e1 = Sums();
    var e2 = Sums();
    var e3 = Sums();
    var e4 = Sums();
    var e5 = Sums();
    var e6 = Sums();
    var e7 = Sums();
    var e8 = Sums();
    tiny = 0xffffffffu;
    odd = vec4(f16(0.0));
    let steps = (a_stride + ROWS + 15) >> 4u;
    let last = (a_stride + 15) >> 4u; // of a subgroup, counted from its own first
    let own_a = subgroup * 16 * LINE;
    let own_sums = subgroup * 16 * SUMS;
    let held = own_sums + line * SUMS + four;
    let c_first = (c0 + row * c_stride + params.a_lower + p0 + subgroup * 16) / 4 + line * (c_stride / 4) + four;
    var front = 0; // the place of the window's first tile
    for (var s = 0; s < steps; s++) {
        let own = s - subgroup;
        let mine = (own >= 0) & (own <= last);
        workgroupBarrier();
        var place = lane + 4 * front;
        if place >= FOURS { place -= FOURS; }
        if (LANES == 32) | (lane < LANES) {
            place += 4 * subgroup * PITCH;
            let here = vec2(begins, begun) & vec2(valid);
            into_stage(place, select(vec4(0.0), v0, here.xxxx), b_scale);
            into_stage(place + PITCH, select(vec4(0.0), v1, here.yxxx), b_scale);
            into_stage(place + 2 * PITCH, select(vec4(0.0), v2, here.yyxx), b_scale);
            into_stage(place + 3 * PITCH, select(vec4(0.0), v3, here.yyyx), b_scale);
        }
        if subgroup < 2 {
            var end_place = LANES + end_four + 4 * front;
            if end_place >= FOURS { end_place -= FOURS; }
            let p = p0 + 16 * s + end_row;
            let here = ends & vec4((p >= 0) & (p < params.inner));
            into_stage(end_row * PITCH + end_place, select(vec4(0.0), v_end, here), b_scale);
        }
        if mine {
            // A loop, not an `if`, of which NVIDIA's compiler would make selections in every step.
            for (var once = 0; ((own == 0) | (own >= last - 1)) & (once < 1); once++) {
                x0 = of_row(x0, d + 16 * own, a_stride);
                x8 = of_row(x8, d + 16 * own - 8, a_stride);
            }
            let first = split(x0, a_scale);
            let eighth = split(x8, a_scale);
            let to = own_a + line * LINE + four;
            subgroupBarrier();
            a_high[to] = first.high;
            a_low[to] = first.low;
            a_high[to + 8 * LINE] = eighth.high;
            a_low[to + 8 * LINE] = eighth.low;
        }
        workgroupBarrier();
        b_at += b_on;
        end_at += b_on;
        a_at += 4;
        let next_row = own_row + 16 * s + 16;
        valid = (next_row >= 0) & (next_row < params.inner);
        at = max(0, select(0, b_at, valid));
        v0 = b[at];
        v1 = b[at + LANES];
        v2 = b[at + 2 * LANES];
        v3 = b[at + 3 * LANES];
        v_end = b[clamp(end_at, 0, b_last)];
        x0 = a[inside(a_at, a_last)];
        x8 = a[inside(a_at + a_eight, a_last)];
        if mine {
            let x = coopLoadT<Left>(&a_high[own_a], u32(LINE));
            let x_low = coopLoadT<Left>(&a_low[own_a], u32(LINE));
            e0 = plus(e0, x, x_low, 0);
            if TILES > 1 { e1 = plus(e1, x, x_low, 1); }
            if TILES > 2 { e2 = plus(e2, x, x_low, 2); }
            if TILES > 3 { e3 = plus(e3, x, x_low, 3); }
            if TILES > 4 { e4 = plus(e4, x, x_low, 4); }
            if TILES > 5 { e5 = plus(e5, x, x_low, 5); }
            if TILES > 6 { e6 = plus(e6, x, x_low, 6); }
            if TILES > 7 { e7 = plus(e7, x, x_low, 7); }
            if TILES > 8 { e8 = plus(e8, x, x_low, 8); }
        }
        // What the window leaves behind is finished.
        if own >= 0 {
            var done = Sums();
            if front == 0 { done = e0; e0 = Sums(); }
            else if (TILES > 1) & (front == 1) { done = e1; e1 = Sums(); }
            else if (TILES > 2) & (front == 2) { done = e2; e2 = Sums(); }
            else if (TILES > 3) & (front == 3) { done = e3; e3 = Sums(); }
            else if (TILES > 4) & (front == 4) { done = e4; e4 = Sums(); }
            else if (TILES > 5) & (front == 5) { done = e5; e5 = Sums(); }
            else if (TILES > 6) & (front == 6) { done = e6; e6 = Sums(); }
            else if (TILES > 7) & (front == 7) { done = e7; e7 = Sums(); }
            else if (TILES > 8) & (front == 8) { done = e8; e8 = Sums(); }
            done = done * back * and_back;
            subgroupBarrier();
            coopStoreT(done, &sums[own_sums], u32(SUMS));
            subgroupBarrier();
            leave(sums[held], sums[held + 8 * SUMS], row, line, own, four, c_first + 4 * own);
        }
        front++;
        if front == TILES { front = 0; }
    }
    for (var m = steps - subgroup; m < last + TILES; m++) {
        var done = Sums();
        if front == 0 { done = e0; e0 = Sums(); }
        else if (TILES > 1) & (front == 1) { done = e1; e1 = Sums(); }
        else if (TILES > 2) & (front == 2) { done = e2; e2 = Sums(); }
        else if (TILES > 3) & (front == 3) { done = e3; e3 = Sums(); }
        else if (TILES > 4) & (front == 4) { done = e4; e4 = Sums(); }
        else if (TILES > 5) & (front == 5) { done = e5; e5 = Sums(); }
        else if (TILES > 6) & (front == 6) { done = e6; e6 = Sums(); }
        else if (TILES > 7) & (front == 7) { done = e7; e7 = Sums(); }
        else if (TILES > 8) & (front == 8) { done = e8; e8 = Sums(); }
        done = done * back * and_back;
        subgroupBarrier();
        coopStoreT(done, &sums[own_sums], u32(SUMS));
        subgroupBarrier();
        leave(sums[held], sums[held + 8 * SUMS], row, line, m, four, c_first + 4 * m);
        front++;
        if front == TILES { front = 0; }
    }

    // Values that halves do not hold are rare, and what comes of them is looked at in memory: those below 2⁻¹⁴, whose bits are half of this.
    if (tiny < 0x71000000u) | !all(odd == vec4(f16(0.0))) { atomicStore(&doubtful, 1u); }
    workgroupBarrier();
    let doubt = atomicLoad(&doubtful);
    if doubt == 0u { return; }
    storageBarrier();
    look_again(i32(local), i0, 0, c_stride + ROWS, a0, b0, c0, 64.0 * back * and_back);
}
