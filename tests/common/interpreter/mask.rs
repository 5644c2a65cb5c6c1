//! Which invocations of a workgroup run.

/// Invocations of a workgroup, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Mask([u64; 8]);

impl Mask {
    /// The most invocations a workgroup may have.
    pub const MOST: usize = 512;

    pub fn first(count: usize) -> Self {
        let mut mask = Self::default();
        (0..count).for_each(|lane| mask.insert(lane));
        mask
    }

    pub fn insert(&mut self, lane: usize) {
        self.0[lane / 64] |= 1 << (lane % 64);
    }

    pub fn has(&self, lane: usize) -> bool {
        self.0[lane / 64] >> (lane % 64) & 1 != 0
    }

    pub fn is_empty(&self) -> bool {
        self.0 == [0; 8]
    }

    pub fn and(self, other: Self) -> Self {
        Self(std::array::from_fn(|n| self.0[n] & other.0[n]))
    }

    pub fn or(self, other: Self) -> Self {
        Self(std::array::from_fn(|n| self.0[n] | other.0[n]))
    }

    pub fn without(self, other: Self) -> Self {
        Self(std::array::from_fn(|n| self.0[n] & !other.0[n]))
    }

    /// The bits of a subgroup's 32 invocations.
    pub fn subgroup(&self, number: usize) -> u32 {
        (self.0[number / 2] >> (number % 2 * 32)) as u32
    }

    pub fn lanes(self) -> impl Iterator<Item = usize> {
        (0..8).flat_map(move |n| {
            let mut bits = self.0[n];
            std::iter::from_fn(move || {
                let lane = (bits != 0).then(|| n * 64 + bits.trailing_zeros() as usize)?;
                bits &= bits - 1;
                Some(lane)
            })
        })
    }
}
