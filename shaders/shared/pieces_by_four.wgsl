// A's two pieces of 16 × 16, side by side in p, four entries at a time, where memory has them at multiples of 8 bytes. An
// invocation has four of a line, and those as many lines further on once, twice and three times: a line of 16 rows has 32 p,
// one of 32 p in columns layout 16 rows.

@group(0) @binding(1) var<storage, read> a: array<vec4<f16>>;

fn value_of_a(at: u32) -> f16 { return a[at / 4u][at % 4u]; }

override FOURS: u32 = select(8u, 4u, ACROSS);     // of a line
override FURTHER: i32 = i32(select(4u, 8u, ACROSS)); // lines from an invocation's first four to its next

struct Pieces {
    n0: vec4<f16>,
    n1: vec4<f16>,
    n2: vec4<f16>,
    n3: vec4<f16>,
}

fn line_of_pieces(lane: u32) -> i32 { return i32(lane / FOURS); }
fn entry_of_pieces(lane: u32) -> i32 { return i32(lane % FOURS) * 4; }

// Which of the invocation's four number n, which begin at `behind` in the band's row, of `width`, are in the band and in the
// matrix: from x to before y. A row has `columns` left.
fn part_in_band(behind: i32, width: i32, columns: i32, n: i32) -> vec2<i32> {
    if ACROSS {
        let last = behind + n * FURTHER;
        return vec2(last + 1 - width, select(0, last + 1, last < columns));
    }
    let first = behind - n * FURTHER;
    return vec2(-first, min(width, columns - n * FURTHER) - first);
}

// Number n as it lies in memory, if any of it counts.
fn four_of_a(at: i32, behind: i32, width: i32, columns: i32, n: i32) -> vec4<f16> {
    let part = part_in_band(behind, width, columns, n);
    var value = vec4<f16>();
    if (part.x < 4) & (part.y > 0) { value = a[u32(at + n * FURTHER * params.a_stride) / 4u]; }
    return value;
}

fn pieces_of_a(at: i32, behind: i32, width: i32, columns: i32) -> Pieces {
    return Pieces(
        four_of_a(at, behind, width, columns, 0),
        four_of_a(at, behind, width, columns, 1),
        four_of_a(at, behind, width, columns, 2),
        four_of_a(at, behind, width, columns, 3),
    );
}

// The same where all of it is inside.
fn whole_pieces_of_a(at: i32) -> Pieces {
    let on = FURTHER * params.a_stride;
    return Pieces(a[u32(at) / 4u], a[u32(at + on) / 4u], a[u32(at + 2 * on) / 4u], a[u32(at + 3 * on) / 4u]);
}

fn four_in_band(value: vec4<f16>, part: vec2<i32>) -> vec4<f16> {
    let ramp = vec4(0, 1, 2, 3);
    return select(vec4<f16>(), value, (ramp >= vec4(part.x)) & (ramp < vec4(part.y)));
}

// Without what is not in the band and the matrix.
fn in_band_of_a(pieces: Pieces, behind: i32, width: i32, columns: i32) -> Pieces {
    return Pieces(
        four_in_band(pieces.n0, part_in_band(behind, width, columns, 0)),
        four_in_band(pieces.n1, part_in_band(behind, width, columns, 1)),
        four_in_band(pieces.n2, part_in_band(behind, width, columns, 2)),
        four_in_band(pieces.n3, part_in_band(behind, width, columns, 3)),
    );
}

fn into_weights(own: u32, lane: u32, pieces: Pieces, half: u32) {
    let slot = own + lane / FOURS * WEIGHTS + lane % 4u;
    if ACROSS {
        weights[slot] = select(pieces.n0, pieces.n2, half == 1u);
        weights[slot + 8u * WEIGHTS] = select(pieces.n1, pieces.n3, half == 1u);
    } else if lane % 8u / 4u == half {
        weights[slot] = pieces.n0;
        weights[slot + 4u * WEIGHTS] = pieces.n1;
        weights[slot + 8u * WEIGHTS] = pieces.n2;
        weights[slot + 12u * WEIGHTS] = pieces.n3;
    }
}
