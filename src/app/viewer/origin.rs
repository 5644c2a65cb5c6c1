//! Where an entry of a result comes from, and its formula with numbers.

mod attention;
mod formula;
mod gradient;
mod second;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use bandsaw::{Device, WindowAttention};

use super::matrix_view::Storage;
use super::operations::{Arguments, Operation, Origin, window};
use super::session::Step;
use attention::Attention;
use gradient::Gradient;
use second::Second;

/// A stretch of an operand, as it went in.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    pub input: usize,
    pub rows: Range<usize>,
    pub cols: Range<usize>,
}

/// An entry of an operand, as it went in: which one, row and column.
pub type Cell = (usize, [usize; 2]);

/// The values of some entries of the operands.
pub type Values = HashMap<Cell, f32>;

/// What a step's parameters say about where entries come from.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Which matrix of the first operand's batch goes into the one looked at; where heads share keys, the first of them.
    pub batch: usize,
    pub t: i64,
    pub ring: String,
    pub scale: f32,
    pub activation: String,
    /// Of a norm: "2", "1" or "inf".
    pub power: String,
    /// Of a gradient: the operand that it is by, and the one that is the gradient of the result.
    pub by: usize,
    pub upstream: usize,
    /// Who attends to whom, of attention.
    pub window: Option<WindowAttention>,
}

impl Facts {
    pub fn of(step: &Step, operation: &'static Operation, batch: usize) -> Self {
        let device = Device::cpu();
        let x = Arguments::new(&device, operation, step, &[]);
        let text = |name| x.text(name).unwrap_or_default().to_owned();
        let place = |name: &str| operation.inputs.iter().position(|input| input.name == name);
        let (of, by) = match operation.origin {
            Origin::Gradient { of, by } => (*of, by.or_else(|| place(&text("by")))),
            origin => (origin, None),
        };
        let (by, upstream) = (by.unwrap_or(0), place("G").unwrap_or(operation.inputs.len()));
        let window = if of == Origin::Attention { window(&x).ok() } else { None };
        let (t, scale) = (x.integer("t").unwrap_or_default(), x.real("scale").unwrap_or(1.0));
        let (ring, activation, power) = (text("semiring"), text("activation"), text("p"));
        let mut facts = Self { batch, t, ring, scale, activation, power, by, upstream, window };
        if matches!(by, 1 | 2) {
            facts.batch *= facts.sharing();
        }
        facts
    }

    /// How many heads of queries share keys and values.
    fn sharing(&self) -> usize {
        self.window.as_ref().map_or(1, |window| window.heads / window.kv_heads.max(1)).max(1)
    }

    /// Which matrix of an operand's batch goes into the one looked at.
    pub fn batch_of(&self, input: usize) -> usize {
        if matches!(input, 1 | 2) { self.batch / self.sharing() } else { self.batch }
    }
}

/// An entry of a step's result, and how many terms of its formula are looked at.
pub struct Entry<'a> {
    pub origin: Origin,
    /// The operands as they went in.
    pub inputs: &'a [Storage],
    pub facts: &'a Facts,
    pub at: [usize; 2],
    pub terms: usize,
}

/// Terms of a formula that are written out, and when all are asked for.
pub const TERMS: usize = 4;
pub const ALL_TERMS: usize = 256;

/// Values that are read for weights which are no entry of an operand, such as those of attention.
const BEHIND: usize = 16_384;

impl Entry<'_> {
    /// What of the operands makes it.
    pub fn stretches(&self) -> Vec<Stretch> {
        let (facts, inputs, [i, j]) = (self.facts, self.inputs, self.at);
        let t = facts.t;
        let one = |input: usize, i: i64, j: i64| {
            let storage = inputs.get(input)?;
            let inside = i >= 0 && j >= 0 && i < storage.rows as i64 && j < storage.cols as i64;
            inside.then(|| Stretch { input, rows: i as usize..i as usize + 1, cols: j as usize..j as usize + 1 })
        };
        let (row, col) = (i as i64, j as i64);
        // The entry itself, then what stands before and after it.
        let row_of = |input: usize, a: &Storage| {
            let stored = cols_of_row(a, i).into_iter().flat_map(|run| [run.start..run.end.min(j), run.start.max(j + 1)..run.end]);
            let others = stored.filter(|run| !run.is_empty()).map(move |cols| Stretch { input, rows: i..i + 1, cols });
            one(input, row, col).into_iter().chain(others).collect::<Vec<_>>()
        };
        match (self.origin, inputs) {
            (Origin::None, _) => Vec::new(),
            (Origin::Same, _) => (0..inputs.len()).filter_map(|n| one(n, row, col)).collect(),
            (Origin::Transposed, _) => one(0, col, row).into_iter().collect(),
            (Origin::ShiftRows, _) => one(0, row + t, col).into_iter().collect(),
            (Origin::ShiftCols, _) => one(0, row, col + t).into_iter().collect(),
            // A slot further is a row further in columns layout, a column back in rows layout.
            (Origin::ShiftBand, [a, ..]) if a.columns => one(0, row + 2 * t, col).into_iter().collect(),
            (Origin::ShiftBand, _) => one(0, row, col - 2 * t).into_iter().collect(),
            (Origin::First, _) => one(0, row, col).into_iter().collect(),
            (Origin::Product | Origin::Index, [a, b, ..]) => {
                let meet = meeting(&cols_of_row(a, i), &rows_of_col(b, j));
                let of_a = meet.iter().map(|run| Stretch { input: 0, rows: i..i + 1, cols: run.clone() });
                of_a.chain(meet.iter().map(|run| Stretch { input: 1, rows: run.clone(), cols: j..j + 1 })).collect()
            }
            (Origin::Rows, [q, k, ..]) => {
                vec![Stretch { input: 0, rows: i..i + 1, cols: 0..q.cols }, Stretch { input: 1, rows: j..j + 1, cols: 0..k.cols }]
            }
            (Origin::Columns, [a, b, ..]) => {
                vec![Stretch { input: 0, rows: 0..a.rows, cols: i..i + 1 }, Stretch { input: 1, rows: 0..b.rows, cols: j..j + 1 }]
            }
            (Origin::Layer, [_, w, ..]) => {
                let kept = cols_of_row(w, j);
                let of_x = kept.iter().map(|run| Stretch { input: 0, rows: i..i + 1, cols: run.clone() });
                let of_w = kept.iter().map(|run| Stretch { input: 1, rows: j..j + 1, cols: run.clone() });
                of_x.chain(of_w).chain(one(2, 0, col)).collect()
            }
            (Origin::Softmax, [a, ..]) => row_of(0, a),
            (Origin::Norm, [a, ..]) => block(a, i, j).map(|[rows, cols]| Stretch { input: 0, rows, cols }).into_iter().collect(),
            (Origin::Attention | Origin::Gradient { of: Origin::Attention, .. }, _) => {
                Attention::of(self).map_or_else(Vec::new, |attention| attention.stretches())
            }
            (Origin::Gradient { of, .. }, [a, ..]) => match of {
                Origin::Same => one(facts.upstream, row, col).into_iter().collect(),
                Origin::ShiftRows => one(facts.upstream, row - t, col).into_iter().collect(),
                Origin::ShiftCols => one(facts.upstream, row, col - t).into_iter().collect(),
                Origin::ShiftBand if a.columns => one(facts.upstream, row - 2 * t, col).into_iter().collect(),
                Origin::ShiftBand => one(facts.upstream, row, col + 2 * t).into_iter().collect(),
                Origin::Softmax => [row_of(0, a), row_of(facts.upstream, a)].concat(),
                Origin::Gradient { .. } => Second::of(self).map_or_else(Vec::new, |second| second.stretches()),
                _ => Gradient::of(self).map_or_else(Vec::new, |gradient| gradient.stretches()),
            },
            _ => Vec::new(),
        }
    }

    /// The entries that the formula needs: the first few of each operand, and what weights are computed from.
    pub fn cells(&self, stretches: &[Stretch]) -> Vec<Cell> {
        let mut all: Vec<Cell> = Vec::new();
        let mut taken = vec![0; self.inputs.len()];
        for Stretch { input, rows, cols } in stretches {
            let Some(taken) = taken.get_mut(*input) else { continue };
            let cells = rows.clone().flat_map(|i| cols.clone().map(move |j| (*input, [i, j])));
            let before = all.len();
            all.extend(cells.take(self.terms.saturating_sub(*taken)));
            *taken += all.len() - before;
        }
        let mut known: HashSet<Cell> = all.iter().copied().collect();
        // As many weights as there is room for.
        for cells in self.behind(stretches) {
            let new: Vec<Cell> = cells.into_iter().filter(|cell| !known.contains(cell)).collect();
            if all.len() + new.len() > BEHIND {
                break;
            }
            known.extend(new.iter().copied());
            all.extend(new);
        }
        // Neighbours are read together.
        all.sort_unstable();
        all
    }

    /// How many terms the formula has.
    pub fn count(&self, stretches: &[Stretch]) -> usize {
        if let Some(attention) = Attention::of(self) {
            return attention.shown().1;
        }
        if let Some(second) = Second::of(self) {
            return second.shown().1;
        }
        if let Some(gradient) = Gradient::of(self) {
            return gradient.runs().iter().map(Range::len).sum();
        }
        let cells = |input| stretches.iter().filter(move |stretch| stretch.input == input).map(|of_it| of_it.rows.len() * of_it.cols.len());
        (0..self.inputs.len()).map(|input| cells(input).sum()).max().unwrap_or(0)
    }

    /// For each weight that has to be computed, the entries that it takes.
    fn behind(&self, stretches: &[Stretch]) -> Box<dyn Iterator<Item = Vec<Cell>> + '_> {
        if let Some(attention) = Attention::of(self) {
            Box::new(attention.behind(stretches))
        } else if let Some(second) = Second::of(self) {
            Box::new(second.behind())
        } else if let Some(gradient) = Gradient::of(self) {
            Box::new(gradient.behind(stretches))
        } else {
            Box::new(std::iter::empty())
        }
    }
}

/// The first cells of an operand's stretches.
fn first_cells(input: usize, stretches: &[Stretch], count: usize) -> Vec<[usize; 2]> {
    let of_it = stretches.iter().filter(|stretch| stretch.input == input);
    of_it.flat_map(|stretch| stretch.rows.clone().flat_map(|i| stretch.cols.clone().map(move |j| [i, j]))).take(count).collect()
}

/// Rows and columns of a stored block, without what sticks out of the matrix.
fn block(a: &Storage, row: usize, col: usize) -> Option<[Range<usize>; 2]> {
    let pattern = a.blocks.as_ref()?;
    let [r, c] = pattern.block();
    pattern.slot(row, col)?;
    Some([row * r..a.rows.min((row + 1) * r), col * c..a.cols.min((col + 1) * c)])
}

fn clip(from: i64, to: i64, len: usize) -> Range<usize> {
    let from = from.clamp(0, len as i64);
    from as usize..to.clamp(from, len as i64) as usize
}

/// What is stored of a row: one stretch, but of a block-sparse matrix one for each block. Nothing of a row that it
/// does not have: another parameter may have been chosen since.
fn cols_of_row(a: &Storage, i: usize) -> Vec<Range<usize>> {
    if i >= a.rows {
        return Vec::new();
    }
    if let Some(pattern) = &a.blocks {
        let ([r, c], starts) = (pattern.block(), pattern.row_starts());
        let of_row = &pattern.row_entries()[starts[i / r] as usize..starts[i / r + 1] as usize];
        return of_row.iter().map(|[col, _]| *col as usize * c..a.cols.min((*col as usize + 1) * c)).collect();
    }
    vec![if a.dense { 0..a.cols } else { clip(i as i64 - a.lower, i as i64 + a.upper + 1, a.cols) }]
}

fn rows_of_col(b: &Storage, j: usize) -> Vec<Range<usize>> {
    if j >= b.cols {
        return Vec::new();
    }
    if let Some(pattern) = &b.blocks {
        let ([r, c], starts) = (pattern.block(), pattern.col_starts());
        let of_col = &pattern.col_entries()[starts[j / c] as usize..starts[j / c + 1] as usize];
        return of_col.iter().map(|[row, _]| *row as usize * r..b.rows.min((*row as usize + 1) * r)).collect();
    }
    vec![if b.dense { 0..b.rows } else { clip(j as i64 - b.upper, j as i64 + b.lower + 1, b.rows) }]
}

/// Where two lists of stretches have something in common.
fn meeting(a: &[Range<usize>], b: &[Range<usize>]) -> Vec<Range<usize>> {
    let of_a = |x: &Range<usize>| b.iter().map(|y| x.start.max(y.start)..x.end.min(y.end)).collect::<Vec<_>>();
    a.iter().flat_map(of_a).filter(|run| !run.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Matrix;
    use bandsaw::{Band, Banded, BandedShape, Device, Layout, Result, Semiring, banded_matmul, banded_shift_band};

    fn matrix(layout: Layout) -> Result<Banded> {
        let shape = BandedShape::new(7, 7, Band::new(1, 2)?).layout(layout);
        Banded::from_fn(&Device::cpu(), shape, |_, i, j| 1.0 + (i * 10 + j) as f32)
    }

    /// What a product's entry is said to come from sums to it.
    #[test]
    fn stretches_make_the_product() -> Result<()> {
        let a = matrix(Layout::Rows)?;
        let c = banded_matmul(&a, &a, Semiring::Sum)?;
        let storages = [Storage::of(&Matrix::Banded(a.clone())), Storage::of(&Matrix::Banded(a.clone()))];
        for (i, j) in (0..7).flat_map(|i| (0..7).map(move |j| (i, j))) {
            let facts = Facts::default();
            let found = Entry { origin: Origin::Product, inputs: &storages, facts: &facts, at: [i, j], terms: TERMS }.stretches();
            let mut sum = 0.0;
            for p in found[..found.len() / 2].iter().flat_map(|stretch| stretch.cols.clone()) {
                sum += a.get(0, i, p)? * a.get(0, p, j)?;
            }
            assert_eq!(sum, c.get(0, i, j)?, "({i}, {j})");
        }
        Ok(())
    }

    /// A shifted entry comes from where it is said to, in both layouts.
    #[test]
    fn shifts_come_from_their_place() -> Result<()> {
        for layout in [Layout::Rows, Layout::Columns] {
            let a = matrix(layout)?;
            let shifted = banded_shift_band(&a, 1)?;
            let storages = [Storage::of(&Matrix::Banded(a.clone()))];
            let facts = Facts { t: 1, ..Facts::default() };
            let from = Entry { origin: Origin::ShiftBand, inputs: &storages, facts: &facts, at: [2, 3], terms: TERMS }.stretches();
            let want = from.first().map_or(Ok(0.0), |from| a.get(0, from.rows.start, from.cols.start))?;
            assert_eq!(shifted.get(0, 2, 3)?, want);
        }
        Ok(())
    }
}
