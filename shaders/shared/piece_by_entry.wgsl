// A's pieces of 16 × 16 one entry at a time, wherever they start: an invocation has one of each second line.

@group(0) @binding(1) var<storage, read> a: array<f16>;

fn value_of_a(at: u32) -> f16 { return a[at]; }

struct Piece {
    low: vec4<f16>,
    high: vec4<f16>,
}

fn line_of_piece(lane: u32) -> i32 { return i32(lane / 16u); }
fn entry_of_piece(lane: u32) -> i32 { return i32(lane % 16u); }

// What lies `n` · 2 lines after `at`; 0 outside the band and the matrix. `behind` is the place in the band's row,
// of `width`; a row has `columns` left.
fn entry_of_a(at: i32, behind: i32, width: i32, columns: i32, n: i32) -> f16 {
    let place = behind + select(-2 * n, 2 * n, ACROSS);
    let left = select(columns - 2 * n, columns, ACROSS);
    var value = f16();
    if (place >= 0) & (place < min(width, left)) { value = a[at + 2 * n * params.a_stride]; }
    return value;
}

fn piece_of_a(at: i32, behind: i32, width: i32, columns: i32) -> Piece {
    return Piece(
        vec4(
            entry_of_a(at, behind, width, columns, 0),
            entry_of_a(at, behind, width, columns, 1),
            entry_of_a(at, behind, width, columns, 2),
            entry_of_a(at, behind, width, columns, 3),
        ),
        vec4(
            entry_of_a(at, behind, width, columns, 4),
            entry_of_a(at, behind, width, columns, 5),
            entry_of_a(at, behind, width, columns, 6),
            entry_of_a(at, behind, width, columns, 7),
        ),
    );
}

fn whole_piece_of_a(at: i32) -> Piece { return piece_of_a(at, 30, 100, 100); }

fn into_weights(own: u32, lane: u32, piece: Piece) {
    let slot = own + lane / 16u * WEIGHTS + lane % 16u / 4u;
    let part = lane % 4u;
    weights[slot][part] = piece.low.x;
    weights[slot + 2u * WEIGHTS][part] = piece.low.y;
    weights[slot + 4u * WEIGHTS][part] = piece.low.z;
    weights[slot + 6u * WEIGHTS][part] = piece.low.w;
    weights[slot + 8u * WEIGHTS][part] = piece.high.x;
    weights[slot + 10u * WEIGHTS][part] = piece.high.y;
    weights[slot + 12u * WEIGHTS][part] = piece.high.z;
    weights[slot + 14u * WEIGHTS][part] = piece.high.w;
}
