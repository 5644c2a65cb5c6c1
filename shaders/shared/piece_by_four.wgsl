// A's pieces of 16 × 16 four entries at a time, where memory has them at multiples of 8 bytes: an invocation has four of a
// line and of the eighth after it.

@group(0) @binding(1) var<storage, read> a: array<vec4<f16>>;

fn value_of_a(at: u32) -> f16 { return a[at / 4u][at % 4u]; }

struct Piece {
    low: vec4<f16>,
    high: vec4<f16>,
}

fn line_of_piece(lane: u32) -> i32 { return i32(lane / 4u); }
fn entry_of_piece(lane: u32) -> i32 { return i32(lane % 4u) * 4; }

// What lies at `at`; 0 outside the band and the matrix. `behind` is the first one's place in the band's row, of
// `width`; a row has `columns` left.
fn four_of_a(at: i32, behind: i32, width: i32, columns: i32) -> vec4<f16> {
    let ramp = vec4(0, 1, 2, 3);
    let places = vec4(behind) + select(ramp, -ramp, ACROSS);
    let left = vec4(columns) - select(vec4(0), ramp, ACROSS);
    let ok = (places >= vec4(0)) & (places < min(vec4(width), left));
    var value = vec4<f16>();
    if any(ok) { value = select(vec4<f16>(), a[u32(at) / 4u], ok); }
    return value;
}

fn piece_of_a(at: i32, behind: i32, width: i32, columns: i32) -> Piece {
    let further = select(-8, 8, ACROSS);
    let left = columns - select(8, 0, ACROSS);
    return Piece(four_of_a(at, behind, width, columns), four_of_a(at + 8 * params.a_stride, behind + further, width, left));
}

// The same where all of it is inside.
fn whole_piece_of_a(at: i32) -> Piece {
    return Piece(a[u32(at) / 4u], a[u32(at + 8 * params.a_stride) / 4u]);
}

fn into_weights(own: u32, lane: u32, piece: Piece) {
    let slot = own + lane / 4u * WEIGHTS + lane % 4u;
    weights[slot] = piece.low;
    weights[slot + 8u * WEIGHTS] = piece.high;
}
