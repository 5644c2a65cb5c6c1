// A row of attention that meets every key: first the logsumexp of its scores, then its result.

@group(0) @binding(5) var<storage, read_write> out: array<f32>;
@group(0) @binding(6) var<storage, read_write> lse: array<f32>;

var<workgroup> tops: array<f32, 128>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = group_index(group, groups);
    if index >= params.batch * params.tiles { return; }
    let head = i32(index / params.tiles);
    let kv = head / i32(params.group);
    let m = Matrices(head, kv, key_end(kv));
    let line = global_line(index % params.tiles, params.value_depth);
    let c = column_of(index % params.tiles, params.value_depth, local);
    if line < 0 { return; }

    // Every invocation's share of the keys, with its own largest score.
    var largest = minus_infinity();
    var share = 0.0;
    for (var j = i32(local); j < m.end; j += LANES) {
        let x = score(m, line, j);
        let before = largest;
        largest = max(before, x);
        let relative = select(largest, 0.0, largest == minus_infinity());
        share = fma(share, exp2(before - relative), power(x - relative));
    }
    tops[local] = largest;
    weights[local] = share;
    workgroupBarrier();
    for (var n = 0u; n < 128u; n++) { largest = max(largest, tops[n]); }
    let relative = select(largest, 0.0, largest == minus_infinity());
    var total = 0.0;
    for (var n = 0u; n < 128u; n++) { total = fma(weights[n], exp2(tops[n] - relative), total); }
    let none = total == 0.0;
    top = select(relative + log2(total), total, is_nan(total));
    if none { top = 0.0; }

    let sum = line_sum(0.0, m, line, c, local);
    let row = head * params.rows + line;
    if c < params.value_depth { out[row * params.value_depth + c] = select(sum, 0.0, none); }
    if c == 0 { lse[row] = select(top / LOG2_E, minus_infinity(), none); }
}
