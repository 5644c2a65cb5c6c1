// out[i,j] = f(a[i,j], b[i,j], c[i,j]), each operand read as its fill outside its band. One
// invocation per slot of the result, in storage order. The function f is the expression.

struct Params {
    batch: u32,
    rows: i32,
    cols: i32,
    flags: u32, // two bits each for a, b, c, out: columns layout, dense
    a_lower: i32,
    a_upper: i32,
    b_lower: i32,
    b_upper: i32,
    c_lower: i32,
    c_upper: i32,
    out_lower: i32,
    out_upper: i32,
    a_fill: f32,
    b_fill: f32,
    c_fill: f32,
    out_fill: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a_values: array<f32>;
@group(0) @binding(2) var<storage, read> b_values: array<f32>;
@group(0) @binding(3) var<storage, read> c_values: array<f32>;
@group(0) @binding(4) var<storage, read_write> out_values: array<f32>;

// No flag is that high.
fn hidden_zero() -> u32 { return params.flags & 0x80000000u; }

// Where the band's entry (i, j) of a matrix is.
fn place(batch: i32, i: i32, j: i32, lower: i32, upper: i32, flags: u32) -> i32 {
    let stride = lower + upper;
    return batch * band_len(params.rows, params.cols, stride, flags) + band_index(i, j, stride, lower, upper, flags);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    // Which slot, and which entry it holds.
    let slot = group_index(group, groups) * 256u + local;
    let columns = (params.flags & 64u) != 0u;
    let width = u32(params.out_lower + params.out_upper + 1);
    let lines = u32(select(params.rows, params.cols, columns));
    let line = slot / width;
    let batch = i32(line / lines);
    if batch >= i32(params.batch) { return; }
    let outer = i32(line % lines);
    let inner = outer + i32(slot % width) - select(params.out_lower, params.out_upper, columns);
    let i = select(outer, inner, columns);
    let j = select(inner, outer, columns);

    var value = params.out_fill;
    if i >= 0 && i < params.rows && j >= 0 && j < params.cols {
        var a = params.a_fill;
        var b = params.b_fill;
        var c = params.c_fill;
        if in_band(i, j, params.a_lower, params.a_upper) {
            a = a_values[place(batch, i, j, params.a_lower, params.a_upper, params.flags)];
        }
        if in_band(i, j, params.b_lower, params.b_upper) {
            b = b_values[place(batch, i, j, params.b_lower, params.b_upper, params.flags >> 2u)];
        }
        if in_band(i, j, params.c_lower, params.c_upper) {
            c = c_values[place(batch, i, j, params.c_lower, params.c_upper, params.flags >> 4u)];
        }
        value = f(a, b, c);
    }
    out_values[slot] = value;
}
