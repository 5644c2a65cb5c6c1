//! The generator behind random patterns and fresh weights: the same numbers for a seed, for ever.

/// Splitmix64, from Steele, Lea and Flood: Fast splittable pseudorandom number generators, 2014.
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    /// A whole number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// Uniform in −1 … 1.
    pub fn signed(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    /// `count` of 0 .. total, rising, every choice equally likely (Knuth's algorithm S).
    pub fn choose(&mut self, count: usize, total: usize) -> Vec<usize> {
        let mut chosen = Vec::with_capacity(count);
        for n in 0..total {
            if chosen.len() == count {
                break;
            }
            if self.below((total - n) as u64) < (count - chosen.len()) as u64 {
                chosen.push(n);
            }
        }
        chosen
    }
}
