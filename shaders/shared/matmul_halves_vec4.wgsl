// The matrices of products in halves where all lies in fours: an address is that of four values.

@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> c: array<vec4<f32>>;

const UNIT = 4; // values to an address

// Four values, of which those beyond the first and the last address there is are any others.
fn four_of_a(at: i32, last: i32) -> vec4<f32> { return a[clamp(at, 0, last)]; }
fn four_of_b(at: i32, last: i32) -> vec4<f32> { return b[clamp(at, 0, last)]; }

// One, by its place among all values.
fn value_of_a(place: i32) -> f32 { return a[place / 4][place % 4]; }
fn value_of_b(place: i32) -> f32 { return b[place / 4][place % 4]; }
fn value_of_c(place: i32) -> f32 { return c[place / 4][place % 4]; }
fn put_value(place: i32, value: f32) { c[place / 4][place % 4] = value; }

fn put_four(at: i32, values: vec4<f32>) { c[at] = values; }

fn put_some(at: i32, values: vec4<f32>, here: vec4<bool>) {
    if here.x { c[at].x = values.x; }
    if here.y { c[at].y = values.y; }
    if here.z { c[at].z = values.z; }
    if here.w { c[at].w = values.w; }
}
