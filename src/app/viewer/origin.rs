//! Where an entry of a result comes from, and its formula with numbers.

use std::ops::Range;

use bandsaw::{Device, WindowAttention};

use super::matrix_view::Storage;
use super::operations::{Arguments, Operation, Origin, window};
use super::session::Step;
use crate::app::colors::short;

/// A stretch of an operand, as it went in.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    pub input: usize,
    pub rows: Range<usize>,
    pub cols: Range<usize>,
}

/// What a step's parameters say about where entries come from.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Which matrix of the result's batch is looked at.
    pub batch: usize,
    pub t: i64,
    pub ring: String,
    pub scale: f32,
    pub activation: String,
    /// Who attends to whom, of attention.
    pub window: Option<WindowAttention>,
}

impl Facts {
    pub fn of(step: &Step, operation: &'static Operation, batch: usize) -> Self {
        let device = Device::cpu();
        let x = Arguments::new(&device, operation, step, &[]);
        let text = |name| x.text(name).unwrap_or_default().to_owned();
        let window = if operation.origin == Origin::Attention { window(&x).ok() } else { None };
        let (t, scale) = (x.integer("t").unwrap_or_default(), x.real("scale").unwrap_or(1.0));
        Self { batch, t, scale, ring: text("semiring"), activation: text("activation"), window }
    }

    /// Which matrix of an operand's batch goes into the one looked at: heads of attention may share keys and values.
    pub fn batch_of(&self, input: usize) -> usize {
        let shared = self.window.as_ref().map_or(1, |window| window.heads / window.kv_heads.max(1));
        if input == 0 { self.batch } else { self.batch / shared.max(1) }
    }

    /// The keys that query i attends to.
    fn keys(&self, i: usize, count: usize) -> Vec<Range<usize>> {
        let Some(window) = &self.window else { return Vec::new() };
        let entry = self.batch / window.heads.max(1);
        let mut runs: Vec<Range<usize>> = Vec::new();
        for j in (0..count).filter(|j| window.attends(entry, i, *j)) {
            match runs.last_mut() {
                Some(run) if run.end == j => run.end += 1,
                _ => runs.push(j..j + 1),
            }
        }
        runs
    }
}

/// What of the operands makes entry (i, j) of the result.
pub fn stretches(origin: Origin, inputs: &[Storage], facts: &Facts, [i, j]: [usize; 2]) -> Vec<Stretch> {
    let t = facts.t;
    let one = |input: usize, i: i64, j: i64| {
        let storage = inputs.get(input)?;
        let inside = i >= 0 && j >= 0 && i < storage.rows as i64 && j < storage.cols as i64;
        inside.then(|| Stretch { input, rows: i as usize..i as usize + 1, cols: j as usize..j as usize + 1 })
    };
    let (row, col) = (i as i64, j as i64);
    match (origin, inputs) {
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
        // The entry itself, then what stands before and after it.
        (Origin::Softmax, [a, ..]) => {
            let stored = cols_of_row(a, i).into_iter().flat_map(|run| [run.start..run.end.min(j), run.start.max(j + 1)..run.end]);
            let others = stored.filter(|run| !run.is_empty()).map(|cols| Stretch { input: 0, rows: i..i + 1, cols });
            one(0, row, col).into_iter().chain(others).collect()
        }
        (Origin::Attention, [q, k, ..]) => {
            let keys = facts.keys(i, k.rows);
            let of_k = keys.iter().map(|run| Stretch { input: 1, rows: run.clone(), cols: 0..k.cols });
            let of_v = keys.iter().map(|run| Stretch { input: 2, rows: run.clone(), cols: j..j + 1 });
            [Stretch { input: 0, rows: i..i + 1, cols: 0..q.cols }].into_iter().chain(of_k).chain(of_v).collect()
        }
        (Origin::Product | Origin::Index | Origin::Rows | Origin::Columns | Origin::Layer | Origin::Softmax | Origin::Attention, _) => {
            Vec::new()
        }
    }
}

fn clip(from: i64, to: i64, len: usize) -> Range<usize> {
    let from = from.clamp(0, len as i64);
    from as usize..to.clamp(from, len as i64) as usize
}

/// What is stored of a row: one stretch, but of a block-sparse matrix one for each block.
fn cols_of_row(a: &Storage, i: usize) -> Vec<Range<usize>> {
    if let Some(pattern) = &a.blocks {
        let ([r, c], starts) = (pattern.block(), pattern.row_starts());
        let of_row = &pattern.row_entries()[starts[i / r] as usize..starts[i / r + 1] as usize];
        return of_row.iter().map(|[col, _]| *col as usize * c..a.cols.min((*col as usize + 1) * c)).collect();
    }
    vec![if a.dense { 0..a.cols } else { clip(i as i64 - a.lower, i as i64 + a.upper + 1, a.cols) }]
}

fn rows_of_col(b: &Storage, j: usize) -> Vec<Range<usize>> {
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

/// Terms of a formula that are written out.
pub const TERMS: usize = 4;

/// The entries that the formula needs, the first few of each operand, first operand first; each with its row and column.
pub fn terms(stretches: &[Stretch]) -> Vec<(usize, [usize; 2])> {
    let mut all: Vec<(usize, [usize; 2])> = Vec::new();
    for stretch in stretches {
        let taken = all.iter().filter(|(input, _)| *input == stretch.input).count();
        let cells = stretch.rows.clone().flat_map(|i| stretch.cols.clone().map(move |j| [i, j]));
        all.extend(cells.take(TERMS - taken).map(|cell| (stretch.input, cell)));
    }
    all
}

/// An operand's part of a formula: how many entries, and the place and value of those written out.
struct Part {
    count: usize,
    shown: Vec<([usize; 2], String)>,
}

impl Part {
    fn of(input: usize, stretches: &[Stretch], values: &[f32]) -> Self {
        let of_it = stretches.iter().filter(|stretch| stretch.input == input);
        let all = terms(stretches);
        let shown = all.iter().zip(values).filter(|((of, _), _)| *of == input).map(|((_, cell), value)| (*cell, number(*value)));
        Self { count: of_it.map(|stretch| stretch.rows.len() * stretch.cols.len()).sum(), shown: shown.collect() }
    }

    /// With a word on those that are not written out.
    fn rest(&self, mut parts: Vec<String>) -> Vec<String> {
        if self.count > self.shown.len() {
            parts.push(format!("… ({} terms)", self.count));
        }
        parts
    }
}

/// The formula with numbers, of the operands' names and the values of [`terms`].
pub fn formula(origin: Origin, facts: &Facts, names: &[&str], stretches: &[Stretch], values: &[f32], result: f32) -> Option<String> {
    let ring = facts.ring.as_str();
    let made = number(result);
    let part = |input| Part::of(input, stretches, values);
    let times = if matches!(ring, "log" | "max" | "sample") { "+" } else { "·" };
    let [left, right] = [part(0), part(1)];
    let products = left.shown.iter().zip(&right.shown).map(|((_, a), (_, b))| format!("{a} {times} {b}"));
    match (origin, stretches) {
        (Origin::None, _) => None,
        (Origin::Index, _) if result >= u32::MAX as f32 => Some("no p: no term is above −∞".into()),
        (Origin::Index, _) => {
            let places = products.zip(&left.shown).map(|(product, ([_, p], _))| format!("{product} (p = {p})"));
            let chosen = if ring == "sample" { "drawn from" } else { "the largest of" };
            Some(format!("p = {result:.0}, {chosen} {}", left.rest(places.collect()).join(", ")))
        }
        (Origin::Product | Origin::Rows | Origin::Columns | Origin::Layer, _) => {
            let mut parts = left.rest(products.collect());
            parts.extend(part(2).shown.into_iter().map(|(_, bias)| bias).filter(|_| origin == Origin::Layer));
            Some(match (ring, facts.activation.as_str()) {
                _ if parts.is_empty() => format!("no term = {made}"),
                ("log" | "sample", _) => format!("logsumexp({}) = {made}", parts.join(", ")),
                ("max" | "prodmax", _) => format!("max({}) = {made}", parts.join(", ")),
                (_, act @ ("relu" | "gelu")) => format!("{act}({}) = {made}", parts.join(" + ")),
                _ => format!("{} = {made}", parts.join(" + ")),
            })
        }
        (Origin::Softmax, _) => {
            let scale = if facts.scale == 1.0 { String::new() } else { format!("{} · ", number(facts.scale)) };
            let parts: Vec<String> = left.shown.iter().map(|(_, a)| format!("exp({scale}{a})")).collect();
            Some(format!("{} / ({}) = {made}", parts.first()?, left.rest(parts.clone()).join(" + ")))
        }
        (Origin::Attention, _) => {
            let v = part(2);
            let parts: Vec<String> = v.shown.iter().map(|([key, _], v)| format!("p({key}) · {v}")).collect();
            Some(match v.count {
                0 => format!("no key = {made}"),
                1 => format!("{} = {made}, p = softmax of the row's score with 1 key", v.rest(parts).join(" + ")),
                keys => format!("{} = {made}, p = softmax of the row's scores with {keys} keys", v.rest(parts).join(" + ")),
            })
        }
        (_, []) => None,
        (Origin::Same | Origin::First, _) => {
            let name = |stretch: &Stretch| names.get(stretch.input).map_or(String::new(), |name| name.to_lowercase());
            let given = stretches.iter().zip(values).map(|(stretch, value)| format!("{} = {}", name(stretch), number(*value)));
            Some(format!("{} gives {made}", given.collect::<Vec<_>>().join(", ")))
        }
        (Origin::Transposed | Origin::ShiftRows | Origin::ShiftCols | Origin::ShiftBand, [one, ..]) => {
            Some(format!("A[{}, {}] = {made}", one.rows.start, one.cols.start))
        }
    }
}

/// A number in a few characters, in brackets where its sign would be read as an operator.
fn number(value: f32) -> String {
    let text = match value {
        f32::INFINITY => "∞".to_owned(),
        f32::NEG_INFINITY => "−∞".to_owned(),
        value if value.is_nan() => "NaN".to_owned(),
        value => short(value),
    };
    if value < 0.0 { format!("({})", text.replace('-', "−")) } else { text }
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
            let found = stretches(Origin::Product, &storages, &Facts::default(), [i, j]);
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
            let from = stretches(Origin::ShiftBand, &storages, &Facts { t: 1, ..Facts::default() }, [2, 3]);
            let want = from.first().map_or(Ok(0.0), |from| a.get(0, from.rows.start, from.cols.start))?;
            assert_eq!(shifted.get(0, 2, 3)?, want);
        }
        Ok(())
    }

    #[test]
    fn formulas_read_well() {
        let stretches = [Stretch { input: 0, rows: 0..1, cols: 0..2 }, Stretch { input: 1, rows: 0..2, cols: 0..1 }];
        let text = |ring: &str| {
            let facts = Facts { ring: ring.into(), ..Facts::default() };
            formula(Origin::Product, &facts, &["A", "B"], &stretches, &[1.0, -2.0, 3.0, 4.0], -5.0)
        };
        assert_eq!(text("sum").as_deref(), Some("1 · 3 + (−2) · 4 = (−5)"));
        assert_eq!(text("max").as_deref(), Some("max(1 + 3, (−2) + 4) = (−5)"));
    }
}
