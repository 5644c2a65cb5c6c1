// Windowed attention: what every kernel gets, and which query attends to which key.

struct Params {
    batch: u32,        // query matrices: batch entries × heads
    group: u32,        // query matrices that share one matrix of keys and values
    rows: i32,         // queries
    keys: i32,
    depth: i32,        // of queries and keys
    value_depth: i32,
    offset: i32,       // query i stands at the position of key i + offset
    lower: i32,        // steps of the window before that position, and after it
    upper: i32,
    dilation: i32,     // keys to a step
    globals: u32,      // positions that attend everywhere and are attended by all
    lengths: u32,      // where `positions` tells the keys of each matrix that are no padding; NONE: all
    first_key: i32,    // the position of key 0, if only a part of the keys is here
    scale: f32,
    tiles: u32,        // workgroups for one matrix
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(4) var<storage, read> positions: array<u32>; // the global ones, then the lengths

const NONE = 0xffffffffu;
const LOG2_E = 1.4426950408889634;

fn div_up(a: i32, b: i32) -> i32 { return (max(a, 0) + b - 1) / b; }

// The rest of a division that rounds down. OpenGL leaves % of negative numbers undefined.
fn rest(a: i32, b: i32) -> i32 {
    let r = a - a / b * b;
    return select(r, r + b, r < 0);
}

// Keys of a matrix that are no padding.
fn key_end(matrix: i32) -> i32 {
    if params.lengths == NONE { return params.keys; }
    return clamp(i32(positions[params.lengths + u32(matrix)]) - params.first_key, 0, params.keys);
}

// Whether key j lies in the window of query i. It is attended too if its position, or the query's, is
// global.
fn in_window(i: i32, j: i32) -> bool {
    let away = j - i - params.offset;
    let steps = away / params.dilation;
    return (steps * params.dilation == away) & (steps >= -params.lower) & (steps <= params.upper);
}

// 2^x. A driver's exp2 may lose a NaN.
fn power(x: f32) -> f32 { return select(exp2(x), x, is_nan(x)); }
