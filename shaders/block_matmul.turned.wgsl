// Every block turned round: what was a column of it as it is stored becomes a line. A workgroup takes 32 × 32 values
// of a block through workgroup memory, so that both sides are read and written along their lines.

struct Params {
    blocks: u32,
    lines: u32,  // of a block as it is stored
    length: u32, // values of a line
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> blocks: array<u32>;
@group(0) @binding(2) var<storage, read_write> turned: array<u32>;

override HALVES: bool = false;                    // two values to a word, both sides even
override EACH: u32 = select(1u, 2u, HALVES);      // values of a word
override WORDS: u32 = 32u / EACH;                 // of a tile's line
override PITCH: u32 = WORDS + 1u;                 // one to spread the banks
override SIZE: u32 = 32u * PITCH;
override THREADS: u32 = 8u * WORDS;               // four words each

var<workgroup> tile: array<u32, SIZE>;

// Word n of the tile's, if the block has it.
fn fetch(n: u32, start: u32, line: u32, at: u32) -> u32 {
    let l = line + n / WORDS;
    let w = at / EACH + n % WORDS;
    var word = 0u;
    if (l < params.lines) & (w < params.length / EACH) { word = blocks[start + l * (params.length / EACH) + w]; }
    return word;
}

fn keep(n: u32, word: u32) { tile[n / WORDS * PITCH + n % WORDS] = word; }

// Word n of the tile turned round: one value, or those of two lines that follow each other.
fn put(n: u32, start: u32, line: u32, at: u32) {
    let l = at + n / WORDS;
    let w = line / EACH + n % WORDS;
    if (l >= params.length) | (w >= params.lines / EACH) { return; }
    let first = n % WORDS * EACH * PITCH + n / WORDS / EACH;
    var word = tile[first];
    if HALVES {
        let next = tile[first + PITCH];
        word = select((word & 0xffffu) | (next << 16u), (word >> 16u) | (next & 0xffff0000u), n / WORDS % 2u == 1u);
    }
    turned[start + l * (params.lines / EACH) + w] = word;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let id = group_index(group, groups);
    let across = (params.length + 31u) / 32u;
    let tiles = (params.lines + 31u) / 32u * across;
    if id >= params.blocks * tiles { return; }
    let start = id / tiles * (params.lines * params.length / EACH);
    let line = id % tiles / across * 32u;
    let at = id % across * 32u;

    // All four on their way at once.
    let w0 = fetch(local, start, line, at);
    let w1 = fetch(local + THREADS, start, line, at);
    let w2 = fetch(local + 2u * THREADS, start, line, at);
    let w3 = fetch(local + 3u * THREADS, start, line, at);
    keep(local, w0);
    keep(local + THREADS, w1);
    keep(local + 2u * THREADS, w2);
    keep(local + 3u * THREADS, w3);
    workgroupBarrier();
    put(local, start, line, at);
    put(local + THREADS, start, line, at);
    put(local + 2u * THREADS, start, line, at);
    put(local + 3u * THREADS, start, line, at);
}
