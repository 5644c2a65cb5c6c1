// C = Aᵀ · B at stored blocks, for flat blocks and few tokens: an invocation walks along the tokens for
// one value; LANES of them share a value where there are too few to fill a GPU.

override LANES: u32 = 1u;

@group(0) @binding(4) var<storage, read_write> c: array<f32>;

var<workgroup> partial: array<f32, 128>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tile = group_index(group, groups);
    if tile >= params.grid_rows * params.column_tiles { return; }
    let values = 128u / LANES;
    let row = tile / params.column_tiles;
    let first = index[row];
    let count = (index[row + 1u] - first) * params.width;
    // Values of a row side by side, so that neighbours read neighbours of B.
    let value = tile % params.column_tiles * values + local % values;
    let lane = local / values;
    let i = value / max(count, 1u);
    let feature = row * params.height + i;
    let here = i < params.height;
    var at = vec2(-1, -1);
    if here { at = place(value % max(count, 1u), first, count); }
    let inside = (at.x >= 0) & (feature < params.rows);

    var sum = 0.0;
    if inside {
        for (var t = lane; t < params.tokens; t += LANES) {
            sum = fma(left[a_index(t, feature)], right[b_index(t, at.x)], sum);
        }
    }

    // The lanes' sums, in the same order every time.
    partial[local] = sum;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half { partial[local] += partial[local + half * values]; }
        workgroupBarrier();
    }
    if lane > 0u || at.y < 0 { return; }
    let where_to = u32(at.y) + i * params.width;
    sum = select(0.0, partial[local], inside);
    if ADD { sum += c[where_to]; }
    c[where_to] = sum;
}
