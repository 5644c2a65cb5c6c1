enable f16;

// Of each row of the result, for its gradients on matrix units: the logsumexp in powers of two, and
// Σ grad · out. Of all rows the largest gradient. 16 invocations share a row.

struct Params { rows: u32, row: u32 } // row: vec4s in one

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> out: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> grad: array<vec4<f16>>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read_write> stats: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> largest: atomic<u32>; // starts at 0

var<workgroup> partial: array<f32, 128>;
var<workgroup> most: array<u32, 128>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = group_index(group, groups) * 8u + local / 16u;
    let lane = local % 16u;
    var sum = 0.0;
    var bits = vec4(0u);
    if row < params.rows {
        for (var c = lane; c < params.row; c += 16u) {
            let g = vec4<f32>(grad[row * params.row + c]);
            sum += dot(vec4<f32>(out[row * params.row + c]), g);
            bits = max(bits, bitcast<vec4<u32>>(g) & vec4(0x7fffffffu));
        }
    }
    partial[local] = sum;
    most[local] = max(max(bits.x, bits.y), max(bits.z, bits.w));
    workgroupBarrier();
    for (var half = 8u; half > 0u; half /= 2u) {
        if lane < half {
            partial[local] += partial[local + half];
            most[local] = max(most[local], most[local + half]);
        }
        workgroupBarrier();
    }
    if (lane == 0u) & (row < params.rows) {
        stats[row] = vec2(lse[row] * 1.4426950408889634, partial[local]);
        // Infinite and NaN gradients don't count: they make what they reach NaN anyway.
        if most[local] < 0x7f800000u { atomicMax(&largest, most[local]); }
    }
}
