/// A number in 0..1 that depends on the seed and the entry alone.
pub fn noise(seed: u64, batch: usize, i: usize, j: usize) -> f32 {
    let mut x = seed ^ (batch as u64) << 56 ^ (i as u64) << 28 ^ j as u64;
    for _ in 0..2 {
        x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
    }
    (x >> 40) as f32 / (1u64 << 24) as f32
}
