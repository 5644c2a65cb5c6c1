// Windowed attention on matrix units, f16 × f16 → f32 in pieces of 16 × 16: what its kernels share.
//
// Lines are queries (or keys, in their own gradient), partners what they meet. A subgroup of 32 has
// 16 lines; all subgroups of a workgroup go along their partners together, 16 at a time. What a matrix
// unit makes can only be looked at in workgroup memory: there invocations 2n and 2n + 1 hold line n's 8
// and 8 partners.
//
// Which branches a subgroup takes depends on its number only, which the compiler cannot see; hence
// `diagnostic(off, …)` in front.

override TILES: u32 = 4u;     // pieces of 16 columns in a row of q, k and v
override SUBGROUPS: u32 = 8u; // in a workgroup
override GROUP: u32 = SUBGROUPS * 32u;
override LINES: i32 = i32(SUBGROUPS) * 16;
override ROW: u32 = TILES * 4u;    // vec4s of a row
override PITCH: u32 = ROW + 2u;    // of a staged row
override STAGE: u32 = PITCH * 16u;
override ALL_SCORES: u32 = SUBGROUPS * 80u;
override ALL_WEIGHTS: u32 = SUBGROUPS * 96u;
const PARTNERS = 16;
const SCORES = 5u;                 // vec4s of a line of scores: 4, and one that spreads the banks
const WEIGHTS = 6u;                // of a line of weights, in f16

@group(0) @binding(1) var<storage, read> q: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<f16>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<f16>>;

// 16 partners: their rows in the products for scores, and in the other ones.
var<workgroup> stage_a: array<vec4<f16>, STAGE>;
var<workgroup> stage_b: array<vec4<f16>, STAGE>;
// Of each subgroup 16 × 16.
var<workgroup> scores: array<vec4<f32>, ALL_SCORES>;
var<workgroup> weights: array<vec4<f16>, ALL_WEIGHTS>;

// Where an invocation stands.
struct Place {
    line: i32,      // its line
    nominal: i32,   // the first line of the subgroup that is not another's too
    first: i32,     // the first partner of its line, and how many
    count: u32,
    any_first: i32, // partners that some line of the subgroup meets, first and end
    any_end: i32,
    all_first: i32, // and that all of them meet
    all_end: i32,
    start: i32,     // partners that the workgroup goes along
    end: i32,
    scores: u32,    // where the subgroup's scores are, and the invocation's among them
    own_scores: u32,
    weights: u32,
    own_weights: u32,
    piece: i32,     // its first partner of 16, and column of 16
}

// For lines of which there are `lines` (at least 16): line u meets t if
// -below <= t - u - shift <= above and t < end.
fn place(local: u32, tile: i32, lines: i32, shift: i32, below: i32, above: i32, end: i32) -> Place {
    let lane = local % 32u;
    let subgroup = local / 32u;
    let u0 = tile * LINES;
    var p: Place;
    p.nominal = u0 + i32(subgroup) * 16;
    let r0 = min(p.nominal, lines - 16);
    p.line = r0 + i32(lane / 2u);
    p.first = max(0, p.line + shift - below);
    p.count = u32(max(0, min(end, p.line + shift + above + 1) - p.first));
    p.any_first = r0 + shift - below;
    p.any_end = min(end, r0 + 16 + shift + above);
    p.all_first = max(0, r0 + 15 + shift - below);
    p.all_end = min(end, r0 + shift + above + 1);
    p.start = max(0, u0 + shift - below) / PARTNERS * PARTNERS;
    p.end = min(end, u0 + LINES + shift + above);
    p.scores = subgroup * 80u;
    p.own_scores = p.scores + lane / 2u * SCORES + lane % 2u * 2u;
    p.weights = subgroup * 96u;
    p.own_weights = p.weights + lane / 2u * WEIGHTS + lane % 2u * 2u;
    p.piece = i32(lane % 2u) * 8;
    return p;
}

// Whether an invocation's 4 partners from t on meet its line.
fn meets(p: Place, t: i32) -> vec4<bool> {
    return vec4<u32>(vec4(t - p.first) + vec4(0, 1, 2, 3)) < vec4(p.count);
}

// By bits, since compilers may take it that nothing is infinite.
fn finite(x: vec4<f32>) -> bool {
    return all((bitcast<vec4<u32>>(x) & vec4(0x7f800000u)) != vec4(0x7f800000u));
}

fn sum4(a: vec4<f32>) -> f32 { return (a.x + a.y) + (a.z + a.w); }

// The score of query i and key j, in powers of two.
fn exact_score(head: i32, kv: i32, i: i32, j: i32) -> f32 {
    var sum = vec4(0.0);
    for (var n = 0u; n < ROW; n++) {
        sum = fma(vec4<f32>(q[u32(head * params.rows + i) * ROW + n]), vec4<f32>(k[u32(kv * params.keys + j) * ROW + n]), sum);
    }
    return sum4(sum) * (params.scale * LOG2_E);
}
