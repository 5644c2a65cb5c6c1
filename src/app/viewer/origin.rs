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
            let meet = meeting(&cols_of_row(a, i), &rows_of_col(b, j));
            let of_a = meet.iter().map(|run| Stretch { input: 0, rows: i..i + 1, cols: run.clone() });
            of_a.chain(meet.iter().map(|run| Stretch { input: 1, rows: run.clone(), cols: j..j + 1 })).collect()
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

/// The entries that the formula needs, first operand first; each with its row and column.
pub fn terms(stretches: &[Stretch]) -> Vec<(usize, [usize; 2])> {
    let all = stretches.iter().map(|stretch| {
        let cells = stretch.rows.clone().flat_map(|i| stretch.cols.clone().map(move |j| [i, j]));
        cells.take(TERMS).map(|cell| (stretch.input, cell)).collect::<Vec<_>>()
    });
    all.collect::<Vec<_>>().concat()
}

/// The formula with numbers, of the operands' names and the values of [`terms`].
pub fn formula(origin: Origin, ring: &str, names: &[&str], stretches: &[Stretch], values: &[f32], result: f32) -> Option<String> {
    let result = number(result);
    match (origin, stretches) {
        (Origin::Product | Origin::Rows, all) => {
            // Those of the first operand, then as many of the second.
            let count: usize = all[..all.len() / 2].iter().map(|a| a.rows.len() * a.cols.len()).sum();
            let (left, right) = values.split_at_checked(values.len() / 2)?;
            if count == 0 || left.len() != right.len() {
                return Some(format!("no term = {result}"));
            }
            let shown = left.len().min(TERMS);
            let (left, right) = (&left[..shown], &right[..shown]);
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
            let name = |stretch: &Stretch| names.get(stretch.input).map_or(String::new(), |name| name.to_lowercase());
            let given = stretches.iter().zip(values).map(|(stretch, value)| format!("{} = {}", name(stretch), number(*value)));
            Some(format!("{} gives {result}", given.collect::<Vec<_>>().join(", ")))
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
            let from = stretches(Origin::ShiftBand, &storages, 1, [2, 3]);
            let want = from.first().map_or(Ok(0.0), |from| a.get(0, from.rows.start, from.cols.start))?;
            assert_eq!(shifted.get(0, 2, 3)?, want);
        }
        Ok(())
    }

    #[test]
    fn formulas_read_well() {
        let stretches = [Stretch { input: 0, rows: 0..1, cols: 0..2 }, Stretch { input: 1, rows: 0..2, cols: 0..1 }];
        let text = |ring| formula(Origin::Product, ring, &["A", "B"], &stretches, &[1.0, -2.0, 3.0, 4.0], -5.0);
        assert_eq!(text("sum").as_deref(), Some("1 · 3 + (−2) · 4 = (−5)"));
        assert_eq!(text("max").as_deref(), Some("max(1 + 3, (−2) + 4) = (−5)"));
    }
}
