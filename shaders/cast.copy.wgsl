// Words copied as they are: 16 to an invocation, all on their way at once.

struct Params { words: u32, values: u32, brain: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> words: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = group_index(group, groups) * 2048u + local;
    if at + 1920u < params.words {
        let a = vec4(words[at], words[at + 128u], words[at + 256u], words[at + 384u]);
        let b = vec4(words[at + 512u], words[at + 640u], words[at + 768u], words[at + 896u]);
        let c = vec4(words[at + 1024u], words[at + 1152u], words[at + 1280u], words[at + 1408u]);
        let d = vec4(words[at + 1536u], words[at + 1664u], words[at + 1792u], words[at + 1920u]);
        out[at] = a.x; out[at + 128u] = a.y; out[at + 256u] = a.z; out[at + 384u] = a.w;
        out[at + 512u] = b.x; out[at + 640u] = b.y; out[at + 768u] = b.z; out[at + 896u] = b.w;
        out[at + 1024u] = c.x; out[at + 1152u] = c.y; out[at + 1280u] = c.z; out[at + 1408u] = c.w;
        out[at + 1536u] = d.x; out[at + 1664u] = d.y; out[at + 1792u] = d.z; out[at + 1920u] = d.w;
        return;
    }
    for (var word = at; word < min(params.words, at + 2048u - local); word += 128u) {
        out[word] = words[word];
    }
}
