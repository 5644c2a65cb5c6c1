// One gradient of windowed attention for the lines of global positions, which meet every partner.

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = group_index(group, groups);
    let heads = select(params.group, 1u, LINES_ARE_QUERIES);
    if index >= params.batch / heads * params.tiles { return; }
    let matrix = i32(index / params.tiles);
    let kv = select(matrix, matrix / i32(params.group), LINES_ARE_QUERIES);
    let end = key_end(kv);
    let line = global_line(index % params.tiles, result_width());
    let c = column_of(index % params.tiles, result_width(), local);
    if line < 0 { return; }

    // A key that is padding meets nobody.
    var sum = 0.0;
    if LINES_ARE_QUERIES || line < end {
        for (var h = 0u; h < heads; h++) {
            sum = line_sum(sum, Matrices(matrix * i32(heads) + i32(h), kv, end), line, c, local);
        }
    }
    let lines = select(params.keys, params.rows, LINES_ARE_QUERIES);
    if c < result_width() { result[(matrix * lines + line) * result_width() + c] = sum; }
}
