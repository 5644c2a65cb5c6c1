//! What the 32 invocations of a subgroup do together: cooperative matrices, votes and exchanges.

use naga::{BinaryOperator, CollectiveOperation, CooperativeData, Expression, GatherMode, Handle, ScalarKind, SubgroupOperation};

use super::machine::{Frame, Machine};
use super::mask::Mask;
use super::memory::Who;
use super::types::{components, scalar};
use super::value::{OUTSIDE, Pointer, Tile, Value, Variable, Words};

/// Rows and columns of a cooperative matrix.
const SIZE: usize = 16;

impl<'a> Machine<'a> {
    /// Subgroups at work, of which all invocations must be.
    fn subgroups(&self, mask: Mask, what: &str) -> Vec<usize> {
        self.whole_subgroups(mask, what);
        (0..self.lanes.div_ceil(32)).filter(|n| mask.subgroup(*n) != 0).collect()
    }

    /// A value that all invocations of a subgroup must agree about.
    fn agreed(&self, words: &Words, subgroup: usize, what: &str) -> u32 {
        let first = words.at(0, subgroup * 32);
        let other = (subgroup * 32..((subgroup + 1) * 32).min(self.lanes)).find(|lane| words.at(0, *lane) != first);
        if let Some(lane) = other {
            self.fail(lane, &format!("{what} of a cooperative matrix that is not uniform in subgroup {subgroup}"));
        }
        first
    }

    /// Where each entry of a subgroup's matrix is in memory.
    fn entries(&mut self, frame: &mut Frame<'a>, data: &CooperativeData, subgroup: usize, mask: Mask) -> (Pointer, Vec<usize>) {
        let target = self.target(frame, data.pointer);
        // The stride counts what the pointer points to.
        let wide = components(&self.program.module, &target);
        // naga does not emit it where it stands, so what it was in another turn of a loop says nothing.
        let pointer = self.compute(frame, data.pointer, mask).pointer().clone();
        let stride = self.value(frame, data.stride, mask);
        let stride = self.agreed(stride.words(), subgroup, "a stride") as usize * wide;
        let start = self.agreed(&pointer.offset, subgroup, "a place");
        let Variable::Global(global) = pointer.variable else { self.fail(subgroup * 32, "a cooperative matrix in a local variable") };
        if start == OUTSIDE {
            self.fail_outside(global, subgroup * 32);
        }
        let place = |n: usize| {
            let (row, column) = (n / SIZE, n % SIZE);
            let (line, along) = if data.row_major { (row, column) } else { (column, row) };
            start as usize + line * stride + along
        };
        (pointer, (0..SIZE * SIZE).map(place).collect())
    }

    pub fn load_tiles(&mut self, frame: &mut Frame<'a>, data: &CooperativeData, mask: Mask) -> Vec<Tile> {
        let mut tiles = vec![[0.0; 256]; Mask::MOST / 32];
        for subgroup in self.subgroups(mask, "a cooperative load") {
            let (pointer, places) = self.entries(frame, data, subgroup, mask);
            let Variable::Global(global) = pointer.variable else { unreachable!("checked above") };
            let shared = !self.shared[global.index()].is_empty();
            for (n, at) in places.into_iter().enumerate() {
                let word = self.read(global, shared, at, subgroup * 32, Who::subgroup(subgroup), false);
                tiles[subgroup][n] = f32::from_bits(word);
            }
        }
        tiles
    }

    pub fn store_tiles(&mut self, frame: &mut Frame<'a>, target: Handle<Expression>, data: &CooperativeData, mask: Mask) {
        let tiles = self.value(frame, target, mask);
        for subgroup in self.subgroups(mask, "a cooperative store") {
            let (pointer, places) = self.entries(frame, data, subgroup, mask);
            let Variable::Global(global) = pointer.variable else { unreachable!("checked above") };
            for (n, at) in places.into_iter().enumerate() {
                self.write(global, at, tiles.tiles()[subgroup][n].to_bits(), subgroup * 32, Who::subgroup(subgroup), false);
            }
        }
    }

    /// a · b + c, summed in f32 in order.
    pub fn multiply_tiles(&mut self, frame: &mut Frame<'a>, [a, b, c]: [Handle<Expression>; 3], mask: Mask) -> Vec<Tile> {
        let (a, b, c) = (self.value(frame, a, mask), self.value(frame, b, mask), self.value(frame, c, mask));
        let mut sums = c.tiles().to_vec();
        for subgroup in self.subgroups(mask, "a cooperative product") {
            let (a, b, sum) = (&a.tiles()[subgroup], &b.tiles()[subgroup], &mut sums[subgroup]);
            for (row, sums) in a.chunks_exact(SIZE).zip(sum.chunks_exact_mut(SIZE)) {
                for (x, line) in row.iter().zip(b.chunks_exact(SIZE)) {
                    for (sum, y) in sums.iter_mut().zip(line) {
                        *sum += x * y;
                    }
                }
            }
        }
        sums
    }

    /// Two matrices added, or one times a number.
    pub fn combine_tiles(&mut self, op: BinaryOperator, left: &[Tile], right: &Value, mask: Mask) -> Vec<Tile> {
        let mut tiles = left.to_vec();
        for subgroup in self.subgroups(mask, "arithmetic") {
            let own = &mut tiles[subgroup];
            match (op, right) {
                (BinaryOperator::Add, Value::Tiles(right)) => own.iter_mut().zip(&right[subgroup]).for_each(|(x, y)| *x += y),
                (BinaryOperator::Multiply, Value::Words(words)) => {
                    let factor = f32::from_bits(self.agreed(words, subgroup, "a factor"));
                    own.iter_mut().for_each(|x| *x *= factor);
                }
                _ => self.fail(subgroup * 32, &format!("the interpreter has no {op:?} of cooperative matrices")),
            }
        }
        tiles
    }

    pub fn gather(&mut self, frame: &mut Frame<'a>, mode: GatherMode, argument: Handle<Expression>, mask: Mask) -> Words {
        self.whole_subgroups(mask, "an exchange of a subgroup");
        let index = match mode {
            GatherMode::BroadcastFirst => None,
            GatherMode::Broadcast(n) | GatherMode::Shuffle(n) | GatherMode::ShuffleXor(n) => Some(self.value(frame, n, mask)),
            GatherMode::ShuffleDown(n) | GatherMode::ShuffleUp(n) => Some(self.value(frame, n, mask)),
            other => self.fail(0, &format!("the interpreter has no {other:?}")),
        };
        let value = self.value(frame, argument, mask);
        let words = value.words();
        let from = |lane: usize| {
            let n = index.as_ref().map_or(0, |index| index.words().at(0, lane)) as usize;
            let own = lane % 32;
            let other = match mode {
                GatherMode::ShuffleXor(_) => own ^ n,
                GatherMode::ShuffleDown(_) => own + n,
                GatherMode::ShuffleUp(_) => own.wrapping_sub(n),
                _ => n,
            };
            // Undefined beyond the subgroup; kernels may take it if they don't use it.
            if other < 32 && lane / 32 * 32 + other < self.lanes { lane / 32 * 32 + other } else { lane }
        };
        let data = (0..words.components()).flat_map(|n| (0..self.lanes).map(move |lane| words.at(n, from(lane)))).collect();
        Words::each(data, self.lanes)
    }

    pub fn collect(
        &mut self,
        frame: &mut Frame<'a>,
        op: SubgroupOperation,
        collective: CollectiveOperation,
        argument: Handle<Expression>,
        mask: Mask,
    ) -> Words {
        self.whole_subgroups(mask, "an operation of a subgroup");
        let value = self.value(frame, argument, mask);
        let kind = scalar(&self.program.module, self.program.inner(frame.routine.info, argument)).map(|scalar| scalar.kind);
        let float = |f: fn(f32, f32) -> f32| move |x: u32, y: u32| f(f32::from_bits(x), f32::from_bits(y)).to_bits();
        let of_float = kind == Some(ScalarKind::Float);
        let combine = |x: u32, y: u32| match op {
            SubgroupOperation::All | SubgroupOperation::And => x & y,
            SubgroupOperation::Any | SubgroupOperation::Or => x | y,
            SubgroupOperation::Xor => x ^ y,
            SubgroupOperation::Add if of_float => float(|x, y| x + y)(x, y),
            SubgroupOperation::Max if of_float => float(f32::max)(x, y),
            SubgroupOperation::Min if of_float => float(f32::min)(x, y),
            SubgroupOperation::Add => x.wrapping_add(y),
            SubgroupOperation::Max if kind == Some(ScalarKind::Uint) => x.max(y),
            SubgroupOperation::Min if kind == Some(ScalarKind::Uint) => x.min(y),
            other => self.fail(0, &format!("the interpreter has no {other:?} of {kind:?}")),
        };
        if collective != CollectiveOperation::Reduce {
            self.fail(0, &format!("the interpreter has no {collective:?}"));
        }
        let words = value.words();
        let mut data = vec![0; words.components() * self.lanes];
        for n in 0..words.components() {
            for first in (0..self.lanes).step_by(32) {
                let end = (first + 32).min(self.lanes);
                let all = (first + 1..end).fold(words.at(n, first), |all, lane| combine(all, words.at(n, lane)));
                data[n * self.lanes + first..n * self.lanes + end].fill(all);
            }
        }
        Words::each(data, self.lanes)
    }
}
