// A's two pieces of 16 × 16, side by side in p, one entry at a time, wherever they start: an invocation has one of each
// second line of both.

@group(0) @binding(1) var<storage, read> a: array<f16>;

fn value_of_a(at: u32) -> f16 { return a[at]; }

struct Pieces {
    low0: vec4<f16>,
    high0: vec4<f16>,
    low1: vec4<f16>,
    high1: vec4<f16>,
}

fn line_of_pieces(lane: u32) -> i32 { return i32(lane / 16u); }
fn entry_of_pieces(lane: u32) -> i32 { return i32(lane % 16u); }

// What lies `n` · 2 lines after `at`; 0 outside the band and the matrix. `behind` is the place in the band's row,
// of `width`; a row has `columns` left.
fn entry_of_a(at: i32, behind: i32, width: i32, columns: i32, n: i32) -> f16 {
    let place = behind + select(-2 * n, 2 * n, ACROSS);
    let left = select(columns - 2 * n, columns, ACROSS);
    var value = f16();
    if (place >= 0) & (place < min(width, left)) { value = a[at + 2 * n * params.a_stride]; }
    return value;
}

fn four_of_a(at: i32, behind: i32, width: i32, columns: i32, n: i32) -> vec4<f16> {
    return vec4(
        entry_of_a(at, behind, width, columns, n),
        entry_of_a(at, behind, width, columns, n + 1),
        entry_of_a(at, behind, width, columns, n + 2),
        entry_of_a(at, behind, width, columns, n + 3),
    );
}

fn pieces_of_a(at: i32, behind: i32, width: i32, columns: i32) -> Pieces {
    let second = at + 16 * select(1, params.a_stride, ACROSS);
    return Pieces(
        four_of_a(at, behind, width, columns, 0),
        four_of_a(at, behind, width, columns, 4),
        four_of_a(second, behind + 16, width, columns, 0),
        four_of_a(second, behind + 16, width, columns, 4),
    );
}

// The same where all of it is inside.
fn whole_pieces_of_a(at: i32) -> Pieces { return pieces_of_a(at, 30, 100, 100); }

// Nothing else was brought.
fn in_band_of_a(pieces: Pieces, behind: i32, width: i32, columns: i32) -> Pieces { return pieces; }

fn into_weights(own: u32, lane: u32, pieces: Pieces, half: u32) {
    let low = select(pieces.low0, pieces.low1, half == 1u);
    let high = select(pieces.high0, pieces.high1, half == 1u);
    let slot = own + lane / 16u * WEIGHTS + lane % 16u / 4u;
    let part = lane % 4u;
    weights[slot][part] = low.x;
    weights[slot + 2u * WEIGHTS][part] = low.y;
    weights[slot + 4u * WEIGHTS][part] = low.z;
    weights[slot + 6u * WEIGHTS][part] = low.w;
    weights[slot + 8u * WEIGHTS][part] = high.x;
    weights[slot + 10u * WEIGHTS][part] = high.y;
    weights[slot + 12u * WEIGHTS][part] = high.z;
    weights[slot + 14u * WEIGHTS][part] = high.w;
}
