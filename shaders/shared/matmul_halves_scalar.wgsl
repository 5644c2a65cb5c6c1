// The same wherever values lie: an address is that of one.

@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;

const UNIT = 1;

fn four_of_a(at: i32, last: i32) -> vec4<f32> {
    let each = clamp(vec4(at) + vec4(0, 1, 2, 3), vec4(0), vec4(last));
    return vec4(a[each.x], a[each.y], a[each.z], a[each.w]);
}

fn four_of_b(at: i32, last: i32) -> vec4<f32> {
    let each = clamp(vec4(at) + vec4(0, 1, 2, 3), vec4(0), vec4(last));
    return vec4(b[each.x], b[each.y], b[each.z], b[each.w]);
}

fn value_of_a(place: i32) -> f32 { return a[place]; }
fn value_of_b(place: i32) -> f32 { return b[place]; }
fn value_of_c(place: i32) -> f32 { return c[place]; }
fn put_value(place: i32, value: f32) { c[place] = value; }

fn put_four(at: i32, values: vec4<f32>) { put_some(at, values, vec4(true)); }

fn put_some(at: i32, values: vec4<f32>, here: vec4<bool>) {
    if here.x { c[at] = values.x; }
    if here.y { c[at + 1] = values.y; }
    if here.z { c[at + 2] = values.z; }
    if here.w { c[at + 3] = values.w; }
}
