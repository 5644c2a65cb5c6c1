// What the products of dense and block-sparse matrices get: Y = act(X · V + bias), X and Y tokens
// along features, V in blocks. The index lists V's blocks by columns: where each block column starts,
// then block row and slot of each block.

struct Params {
    batch: u32,
    tokens: u32,       // rows of X and Y
    inner: u32,        // columns of X, rows of V
    outputs: u32,      // columns of Y and V
    x_batch: u32,      // values of one matrix
    x_stride: u32,     // from token to token, or from feature to feature
    y_batch: u32,
    y_stride: u32,
    depth: u32,        // rows of a block
    width: u32,        // columns of a block
    columns: u32,      // block columns
    token_tiles: u32,  // workgroups along the tokens, and along the outputs
    output_tiles: u32,
    flags: u32,        // FLAGS, for the definition on the CPU
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> index: array<u32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;

override FLAGS: u32 = 0u;
override X_ALONG: bool = (FLAGS & 1u) != 0u;       // X is contiguous along the features
override V_ALONG: bool = (FLAGS & 2u) != 0u;       // a block is contiguous along its rows' side, the depth
override Y_ALONG: bool = (FLAGS & 4u) != 0u;       // Y is contiguous along the features
override HAS_BIAS: bool = (FLAGS & 8u) != 0u;
override ACTIVATION: u32 = FLAGS >> 4u;

// A term of a block column, its blocks laid end to end: the block, counted through the index, and the
// row inside it.
struct Term {
    block: u32,
    row: u32,
}

// The term that many further on. Counted rather than divided, since blocks are rarely short.
fn advance(term: Term, terms: u32) -> Term {
    var next = Term(term.block, term.row + terms);
    while next.row >= params.depth {
        next.row -= params.depth;
        next.block++;
    }
    return next;
}

// Where a term is: the feature of X, −1 if there is none, and where in V's values its row begins. The
// column's blocks end before block `end`.
fn place(term: Term, end: u32) -> vec2<i32> {
    var at = vec2(-1, 0);
    if term.block < end {
        let entry = params.columns + 1u + term.block * 2u;
        let feature = index[entry] * params.depth + term.row;
        let start = index[entry + 1u] * params.depth * params.width + term.row * select(params.width, 1u, V_ALONG);
        if feature < params.inner { at = vec2(i32(feature), i32(start)); }
    }
    return at;
}

fn x_index(batch: u32, t: u32, feature: i32) -> i32 {
    return i32(batch * params.x_batch) + select(feature * i32(params.x_stride) + i32(t), i32(t * params.x_stride) + feature, X_ALONG);
}

// The sums of `count` outputs of a token, up to four, on their way out.
fn finish(batch: u32, t: u32, output: u32, count: u32, sums: vec4<f32>) {
    var z = sums;
    if HAS_BIAS {
        z.x += bias[output];
        if count > 1u { z.y += bias[output + 1u]; }
        if count > 2u { z.z += bias[output + 2u]; }
        if count > 3u { z.w += bias[output + 3u]; }
    }
    let at = batch * params.y_batch + select(output * params.y_stride + t, t * params.y_stride + output, Y_ALONG);
    let results = vec4(activate(ACTIVATION, z.x), activate(ACTIVATION, z.y), activate(ACTIVATION, z.z), activate(ACTIVATION, z.w));
    store(at, select(params.y_stride, 1u, Y_ALONG), count, results);
}
