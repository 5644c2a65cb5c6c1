// Four values of each operand, wherever they are; a negative place is none, and reads as 0.

@group(0) @binding(1) var<storage, read> left: array<f32>;
@group(0) @binding(2) var<storage, read> right: array<f32>;

fn load_left(at: vec4<i32>) -> vec4<f32> {
    var v = vec4(0.0);
    if at.x >= 0 { v.x = left[at.x]; }
    if at.y >= 0 { v.y = left[at.y]; }
    if at.z >= 0 { v.z = left[at.z]; }
    if at.w >= 0 { v.w = left[at.w]; }
    return v;
}

fn load_right(at: vec4<i32>) -> vec4<f32> {
    var v = vec4(0.0);
    if at.x >= 0 { v.x = right[at.x]; }
    if at.y >= 0 { v.y = right[at.y]; }
    if at.z >= 0 { v.z = right[at.z]; }
    if at.w >= 0 { v.w = right[at.w]; }
    return v;
}
