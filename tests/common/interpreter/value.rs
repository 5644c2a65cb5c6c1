//! What an expression's value is: one for every invocation of the workgroup, or the same for all.

use std::sync::Arc;

use naga::{GlobalVariable, Handle, LocalVariable};

use super::mask::Mask;

/// The value of an expression for all invocations.
#[derive(Clone)]
pub enum Value {
    Words(Words),
    Pointer(Pointer),
    /// Of each subgroup a cooperative matrix, row by row.
    Tiles(Vec<Tile>),
}

pub type Tile = [f32; 256];

/// Where a pointer points: `offset` counts the memory's units, or a local variable's components.
#[derive(Clone)]
pub struct Pointer {
    pub variable: Variable,
    pub offset: Words,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    Global(Handle<GlobalVariable>),
    Local(Handle<LocalVariable>),
}

/// An offset that lies outside of what it indexes; only its use is an error.
pub const OUTSIDE: u32 = u32::MAX;

/// The bits of a scalar, a vector, or whatever has scalars in it, component after component: of each
/// component one word for every lane, or one for all. Halves are kept as the `f32` that they are equal to.
#[derive(Clone)]
pub struct Words {
    pub data: Vec<u32>,
    lanes: usize,
}

impl Words {
    pub fn same(data: Vec<u32>) -> Self {
        Self { data, lanes: 1 }
    }

    pub fn each(data: Vec<u32>, lanes: usize) -> Self {
        debug_assert!(data.len().is_multiple_of(lanes));
        Self { data, lanes }
    }

    pub fn is_same(&self) -> bool {
        self.lanes == 1
    }

    pub fn components(&self) -> usize {
        self.data.len() / self.lanes
    }

    pub fn component(&self, n: usize) -> &[u32] {
        &self.data[n * self.lanes..][..self.lanes]
    }

    pub fn at(&self, component: usize, lane: usize) -> u32 {
        self.data[component * self.lanes + if self.lanes == 1 { 0 } else { lane }]
    }

    /// With a word for every lane.
    pub fn spread(&self, lanes: usize) -> Self {
        if self.lanes == lanes {
            return self.clone();
        }
        Self { data: self.data.iter().flat_map(|word| std::iter::repeat_n(*word, lanes)).collect(), lanes }
    }

    /// These components, in this order.
    pub fn pick(&self, components: impl Iterator<Item = usize>) -> Self {
        let mut data = Vec::with_capacity(self.lanes * 4);
        components.for_each(|n| data.extend_from_slice(self.component(n)));
        Self { data, lanes: self.lanes }
    }

    /// The components of all parts, one after the other.
    pub fn join(parts: &[&Self], lanes: usize) -> Self {
        let all = if parts.iter().all(|part| part.is_same()) { 1 } else { lanes };
        let mut data = Vec::with_capacity(parts.len() * all);
        for part in parts {
            if part.lanes == all {
                data.extend_from_slice(&part.data);
            } else {
                data.extend(part.data.iter().flat_map(|word| std::iter::repeat_n(*word, all)));
            }
        }
        Self { data, lanes: all }
    }

    #[inline]
    pub fn map(&self, f: impl Fn(u32) -> u32) -> Self {
        Self { data: self.data.iter().map(|word| f(*word)).collect(), lanes: self.lanes }
    }

    /// Component by component; one of a single component goes with every one of the other's.
    #[inline]
    pub fn zip(&self, other: &Self, f: impl Fn(u32, u32) -> u32) -> Self {
        if self.lanes == other.lanes && self.data.len() == other.data.len() {
            let data = self.data.iter().zip(&other.data).map(|(x, y)| f(*x, *y)).collect();
            return Self { data, lanes: self.lanes };
        }
        let (lanes, count) = (self.lanes.max(other.lanes), self.components().max(other.components()));
        let component = |of: &Self, n: usize| if of.components() == 1 { 0 } else { n };
        let mut data = Vec::with_capacity(lanes * count);
        for n in 0..count {
            let (x, y) = (self.component(component(self, n)), other.component(component(other, n)));
            match (x, y) {
                ([x], y) => data.extend(y.iter().map(|y| f(*x, *y))),
                (x, [y]) => data.extend(x.iter().map(|x| f(*x, *y))),
                (x, y) => data.extend(x.iter().zip(y).map(|(x, y)| f(*x, *y))),
            }
        }
        Self { data, lanes }
    }

    /// Three values component by component, like `zip`.
    #[inline]
    pub fn zip3(&self, second: &Self, third: &Self, f: impl Fn(u32, u32, u32) -> u32) -> Self {
        let all = [self, second, third];
        let lanes = all.iter().map(|words| words.lanes).max().unwrap_or(1);
        let count = all.iter().map(|words| words.components()).max().unwrap_or(1);
        let mut data = Vec::with_capacity(lanes * count);
        for n in 0..count {
            let parts = all.map(|words| words.component(if words.components() == 1 { 0 } else { n }));
            let at = |part: &[u32], lane: usize| part[if part.len() == 1 { 0 } else { lane }];
            data.extend((0..lanes).map(|lane| f(at(parts[0], lane), at(parts[1], lane), at(parts[2], lane))));
        }
        Self { data, lanes }
    }

    /// The lanes where the one component is true.
    pub fn mask(&self, active: Mask) -> Mask {
        if let [all] = self.data[..] {
            return if all != 0 { active } else { Mask::default() };
        }
        let mut mask = Mask::default();
        active.lanes().filter(|lane| self.data[*lane] != 0).for_each(|lane| mask.insert(lane));
        mask
    }

    /// Takes over the lanes of `mask` in components from `start` on.
    pub fn blend(&mut self, new: &Self, mask: Mask, lanes: usize) {
        if self.lanes == 1 && new.lanes == 1 && self.data == new.data {
            return;
        }
        *self = self.spread(lanes);
        for n in 0..self.components() {
            for lane in mask.lanes() {
                self.data[n * lanes + lane] = new.at(n, lane);
            }
        }
    }
}

impl Value {
    pub fn words(&self) -> &Words {
        match self {
            Self::Words(words) => words,
            _ => unreachable!("naga's validation: an expression of scalars"),
        }
    }

    pub fn pointer(&self) -> &Pointer {
        match self {
            Self::Pointer(pointer) => pointer,
            _ => unreachable!("naga's validation: a pointer"),
        }
    }

    pub fn tiles(&self) -> &[Tile] {
        match self {
            Self::Tiles(tiles) => tiles,
            _ => unreachable!("naga's validation: a cooperative matrix"),
        }
    }

    /// Takes over the lanes of `mask`; all lanes of a subgroup or none, for matrices.
    pub fn blend(old: &mut Arc<Self>, new: &Arc<Self>, mask: Mask, all: Mask, lanes: usize) {
        if mask == all {
            *old = Arc::clone(new);
            return;
        }
        match (Arc::make_mut(old), &**new) {
            (Self::Words(old), Self::Words(new)) => old.blend(new, mask, lanes),
            (Self::Tiles(old), Self::Tiles(new)) => {
                for (n, (old, new)) in old.iter_mut().zip(new).enumerate().filter(|(n, _)| mask.subgroup(*n) != 0) {
                    debug_assert!(mask.subgroup(n).count_ones() >= 1);
                    *old = *new;
                }
            }
            _ => unreachable!("naga's validation: values of one type"),
        }
    }
}
