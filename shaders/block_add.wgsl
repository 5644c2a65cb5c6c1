// C = A + B on C's blocks, or A alone: each slot of C has the slots of A and B that go there, or none,
// and its block row and column. What sticks out of the matrix is 0.

struct Params {
    rows: u32,
    cols: u32,
    height: u32, // of a block
    width: u32,
    length: u32, // values of C
    flags: u32,  // bit 0: blocks of A are contiguous along columns, bit 1: those of B
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> sources: array<u32>;
@group(0) @binding(4) var<storage, read_write> c: array<f32>;

const NONE = 0xffffffffu;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let n = group_index(group, groups) * 128u + local;
    if n >= params.length { return; }
    let size = params.height * params.width;
    let slot = n / size;
    let i = n % size / params.width;
    let j = n % params.width;
    let across = j * params.height + i;
    let inside = (sources[slot * 4u + 2u] * params.height + i < params.rows) & (sources[slot * 4u + 3u] * params.width + j < params.cols);
    let from_a = sources[slot * 4u];
    let from_b = sources[slot * 4u + 1u];
    var value = 0.0;
    if inside & (from_a != NONE) { value = a[from_a * size + select(n % size, across, (params.flags & 1u) != 0u)]; }
    if inside & (from_b != NONE) { value += b[from_b * size + select(n % size, across, (params.flags & 2u) != 0u)]; }
    c[n] = value;
}
