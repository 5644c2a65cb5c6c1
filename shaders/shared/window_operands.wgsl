// Queries, keys and values.

@group(0) @binding(1) var<storage, read> q: array<Stored>;
@group(0) @binding(2) var<storage, read> k: array<Stored>;
@group(0) @binding(3) var<storage, read> v: array<Stored>;

fn load_q(at: i32) -> f32 { return value_of(q[word_of(at)], at); }
fn load_k(at: i32) -> f32 { return value_of(k[word_of(at)], at); }
fn load_v(at: i32) -> f32 { return value_of(v[word_of(at)], at); }

// The matrices a workgroup works on.
struct Matrices {
    head: i32,  // of queries
    kv: i32,    // of keys and values
    end: i32,   // keys that are no padding
}

// The scaled score of query i and key j, in powers of two.
fn score(m: Matrices, i: i32, j: i32) -> f32 {
    let q0 = (m.head * params.rows + i) * params.depth;
    let k0 = (m.kv * params.keys + j) * params.depth;
    var sum = 0.0;
    for (var p = 0; p < params.depth; p++) { sum = fma(load_q(q0 + p), load_k(k0 + p), sum); }
    return sum * (params.scale * LOG2_E);
}
