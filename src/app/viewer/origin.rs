//! Where an entry of a result comes from, and its formula with numbers.

use std::ops::Range;

use super::matrix_view::Storage;
use super::operations::Origin;
use crate::app::colors::short;

/// A stretch of an operand, as it went in.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    pub input: usize,
    pub rows: Range<usize>,
    pub cols: Range<usize>,
}

/// What of the operands makes entry (i, j) of the result.
pub fn stretches(origin: Origin, inputs: &[Storage], t: i64, [i, j]: [usize; 2]) -> Vec<Stretch> {
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
        (Origin::Product, [a, b, ..]) => {
            let (of_a, of_b) = (cols_of_row(a, i), rows_of_col(b, j));
            let meet = of_a.start.max(of_b.start)..of_a.end.min(of_b.end);
            vec![Stretch { input: 0, rows: i..i + 1, cols: meet.clone() }, Stretch { input: 1, rows: meet, cols: j..j + 1 }]
        }
        (Origin::Rows, [q, k, ..]) => {
            vec![Stretch { input: 0, rows: i..i + 1, cols: 0..q.cols }, Stretch { input: 1, rows: j..j + 1, cols: 0..k.cols }]
        }
        (Origin::Product | Origin::Rows, _) => Vec::new(),
    }
}

fn clip(from: i64, to: i64, len: usize) -> Range<usize> {
    let from = from.clamp(0, len as i64);
    from as usize..to.clamp(from, len as i64) as usize
}

fn cols_of_row(a: &Storage, i: usize) -> Range<usize> {
    if a.dense { 0..a.cols } else { clip(i as i64 - a.lower, i as i64 + a.upper + 1, a.cols) }
}

fn rows_of_col(b: &Storage, j: usize) -> Range<usize> {
    if b.dense { 0..b.rows } else { clip(j as i64 - b.upper, j as i64 + b.lower + 1, b.rows) }
}

/// Terms of a formula that are written out.
pub const TERMS: usize = 4;

/// The entries that the formula needs, first operand first; each with its row and column.
pub fn terms(stretches: &[Stretch]) -> Vec<(usize, [usize; 2])> {
    let all = stretches.iter().map(|stretch| {
        let cells = stretch.rows.clone().flat_map(|i| stretch.cols.clone().map(move |j| [i, j]));
        cells.take(TERMS).map(|cell| (stretch.input, cell)).collect::<Vec<_>>()
    });
    all.collect::<Vec<_>>().concat()
}

/// The formula with numbers, of the values of [`terms`].
pub fn formula(origin: Origin, ring: &str, stretches: &[Stretch], values: &[f32], result: f32) -> Option<String> {
    let result = number(result);
    match (origin, stretches) {
        (Origin::Product | Origin::Rows, [a, b]) => {
            let count = a.rows.len() * a.cols.len();
            let (left, right) = values.split_at_checked(values.len() / 2)?;
            if count == 0 || b.rows.is_empty() || left.len() != right.len() {
                return Some(format!("no term = {result}"));
            }
            let times = if matches!(ring, "log" | "max" | "sample") { "+" } else { "·" };
            let mut parts: Vec<String> = left.iter().zip(right).map(|(a, b)| format!("{} {times} {}", number(*a), number(*b))).collect();
            if count > left.len() {
                parts.push(format!("… ({count} terms)"));
            }
            Some(match ring {
                "log" | "sample" => format!("logsumexp({}) = {result}", parts.join(", ")),
                "max" | "prodmax" => format!("max({}) = {result}", parts.join(", ")),
                _ => format!("{} = {result}", parts.join(" + ")),
            })
        }
        (Origin::Same, [_, ..]) => {
            let names = ["a", "b", "g"].iter().zip(values).map(|(name, value)| format!("{name} = {}", number(*value)));
            Some(format!("{} gives {result}", names.collect::<Vec<_>>().join(", ")))
        }
        (Origin::None, _) | (_, []) => None,
        (_, [one, ..]) => Some(format!("A[{}, {}] = {result}", one.rows.start, one.cols.start)),
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
            let found = stretches(Origin::Product, &storages, 0, [i, j]);
            let mut sum = 0.0;
            for p in found[0].cols.clone() {
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
            let from = stretches(Origin::ShiftBand, &storages, 1, [2, 3]);
            let want = from.first().map_or(Ok(0.0), |from| a.get(0, from.rows.start, from.cols.start))?;
            assert_eq!(shifted.get(0, 2, 3)?, want);
        }
        Ok(())
    }

    #[test]
    fn formulas_read_well() {
        let stretches = [Stretch { input: 0, rows: 0..1, cols: 0..2 }, Stretch { input: 1, rows: 0..2, cols: 0..1 }];
        let text = |ring| formula(Origin::Product, ring, &stretches, &[1.0, -2.0, 3.0, 4.0], -5.0);
        assert_eq!(text("sum").as_deref(), Some("1 · 3 + (−2) · 4 = (−5)"));
        assert_eq!(text("max").as_deref(), Some("max(1 + 3, (−2) + 4) = (−5)"));
    }
}
