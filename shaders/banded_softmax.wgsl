// P = softmax(scale · A) over the stored entries of each row.

@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> p: array<f32>;

var<workgroup> tops: array<f32, 128>;
var<workgroup> sums: array<f32, 128>;

// What a sum of exponentials is taken relative to: where all are 0, to anything.
fn relative(top: f32) -> f32 { return select(top, 0.0, top == minus_infinity()); }

// A driver's exp may lose a NaN.
fn exponential(x: f32) -> f32 { return select(exp(x), x, is_nan(x)); }

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = row_of(group_index(group, groups), local);

    // This invocation's share: its largest entry, and the sum relative to that.
    var top = minus_infinity();
    var sum = 0.0;
    for (var j = row.j; j < row.end; j += row.step) {
        if is_inside(row, j) {
            let x = a[entry(row, j, params.flags)] * params.scale;
            let before = top;
            top = max(before, x);
            sum = fma(sum, exp(before - relative(top)), exponential(x - relative(top)));
        }
    }

    // All shares of the row, in the same order every time.
    tops[row.at] = top;
    sums[row.at] = sum;
    workgroupBarrier();
    for (var half = lanes_of_row() / 2u; half > 0u; half /= 2u) {
        if row.lane < half {
            let other = tops[row.at + half];
            top = max(tops[row.at], other);
            sums[row.at] = fma(sums[row.at], exp(tops[row.at] - relative(top)), sums[row.at + half] * exp(other - relative(top)));
            tops[row.at] = top;
        }
        workgroupBarrier();
    }
    let all = row.at - row.lane;
    let base = relative(tops[all]);
    let total = sums[all];
    let none = total == 0.0; // and not !=, which is false of NaN on some drivers
    for (var j = row.j; j < row.end; j += row.step) {
        var value = 0.0;
        if is_inside(row, j) & !none { value = exponential(a[entry(row, j, params.flags)] * params.scale - base) / total; }
        p[entry(row, j, params.flags)] = value;
    }
}
