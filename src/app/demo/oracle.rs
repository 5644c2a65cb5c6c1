//! The definition of every operation, entry by entry in f64, with a bound on the error.
//!
//! Written apart from the library's own kernels, so that the two can disagree.

use bandsaw::{Band, Banded, Dense, Expr, Result, Semiring, block_to_dense};

use crate::app::Matrix;

/// Half the distance from 1 to the next f32.
pub const EPSILON: f64 = 1.0 / (1 << 24) as f64;

/// A matrix with a bound on each entry's error. Entries outside the band are the fill.
#[derive(Clone)]
pub struct Oracle {
    rows: usize,
    cols: usize,
    band: Band,
    fill: f64,
    /// (value, bound) of row i, diagonal k, at i · width + k.
    entries: Vec<(f64, f64)>,
}

impl Oracle {
    pub fn new(rows: usize, cols: usize, band: Band, fill: f64, mut entry: impl FnMut(usize, usize) -> (f64, f64)) -> Self {
        let mut entries = vec![(fill, 0.0); rows * band.width()];
        for i in 0..rows {
            for j in band.cols_of_row(i, cols) {
                entries[i * band.width() + (j as i64 - i as i64 + band.lower()) as usize] = entry(i, j);
            }
        }
        Self { rows, cols, band, fill, entries }
    }

    /// An operand as it is, without error.
    pub fn of(a: &Banded) -> Result<Self> {
        let (shape, values) = (a.shape(), a.read()?);
        let entry = |i, j| (shape.slot(0, i, j).map_or(f64::NAN, |slot| f64::from(values[slot])), 0.0);
        Ok(Self::new(shape.rows, shape.cols, shape.band, f64::from(shape.fill), entry))
    }

    /// A dense operand: a band that covers everything.
    pub fn of_dense(a: &Dense) -> Result<Self> {
        let (shape, values) = (a.shape(), a.read()?);
        let band = full(shape.rows, shape.cols)?;
        Ok(Self::new(shape.rows, shape.cols, band, 0.0, |i, j| (f64::from(values[shape.index(0, i, j)]), 0.0)))
    }

    pub fn at(&self, i: usize, j: usize) -> (f64, f64) {
        if i < self.rows && j < self.cols && self.band.contains(i, j) {
            self.entries[i * self.band.width() + (j as i64 - i as i64 + self.band.lower()) as usize]
        } else {
            (self.fill, 0.0)
        }
    }

    pub fn t(&self) -> Self {
        Self::new(self.cols, self.rows, self.band.t(), self.fill, |i, j| self.at(j, i))
    }

    /// C[i,j] = A[i + di, j + dj] in the given band.
    pub fn moved(&self, band: Band, di: i64, dj: i64) -> Self {
        let source = |i: usize, j: usize| -> Option<(usize, usize)> {
            Some((usize::try_from(i as i64 + di).ok()?, usize::try_from(j as i64 + dj).ok()?))
        };
        Self::new(self.rows, self.cols, band, self.fill, |i, j| source(i, j).map_or((self.fill, 0.0), |(i, j)| self.at(i, j)))
    }

    /// The same entries, stored all.
    pub fn dense(&self) -> Result<Self> {
        Ok(self.moved(full(self.rows, self.cols)?, 0, 0))
    }

    /// f over the union of the bands.
    pub fn zip(&self, other: &Self, f: &Expr) -> Self {
        let fill = f.eval([self.fill, other.fill, 0.0]);
        Self::new(self.rows, self.cols, self.band.union(other.band), fill, |i, j| {
            let (a, b) = (self.at(i, j).0, other.at(i, j).0);
            let value = f.eval([a, b, 0.0]);
            (value, 8.0 * EPSILON * (a.abs() + b.abs() + 1.0) * value.abs().max(a.abs()).max(b.abs()))
        })
    }

    /// The product over a semiring onto its full band.
    pub fn product(&self, other: &Self, ring: Semiring) -> Self {
        self.product_onto(other, ring, self.band * other.band)
    }

    /// The product onto a given band.
    pub fn product_onto(&self, other: &Self, ring: Semiring, band: Band) -> Self {
        Self::new(self.rows, other.cols, band, f64::from(ring.zero()), |i, j| {
            let inner = self.band.cols_of_row(i, self.cols);
            let stored = other.band.rows_of_col(j, other.rows);
            let terms = inner.start.max(stored.start)..inner.end.min(stored.end);
            let pairs = terms.map(|p| (self.at(i, p), other.at(p, j)));
            match ring {
                Semiring::Sum => sum(pairs),
                Semiring::Log | Semiring::Sample { .. } => log(pairs),
                Semiring::Max => largest(pairs, f64::NEG_INFINITY, |a, b| a + b),
                Semiring::ProdMax => largest(pairs, 0.0, |a, b| a * b),
            }
        })
    }

    /// The probabilities of attention in a band of this: softmax(scale · Q·Kᵀ) over the keys that each
    /// query attends to.
    pub fn attention(q: &Self, k: &Self, scale: f32, band: Band, attends: impl Fn(usize, usize) -> bool) -> Self {
        let (depth, scale) = (q.cols, f64::from(scale));
        let scores = Self::new(q.rows, k.rows, band, f64::NEG_INFINITY, |i, j| {
            let score = sum((0..depth).map(|p| (q.at(i, p), k.at(j, p))));
            if attends(i, j) {
                (score.0 * scale, (score.1 + 16.0 * EPSILON * score.0.abs()) * scale.abs())
            } else {
                (f64::NEG_INFINITY, 0.0)
            }
        });
        let rows: Vec<(f64, f64)> = (0..q.rows)
            .map(|i| {
                let row = || band.cols_of_row(i, k.rows).map(|j| scores.at(i, j));
                let top = row().fold(f64::NEG_INFINITY, |top, score| top.max(score.0));
                let total: f64 = row().map(|score| (score.0 - top).exp()).sum();
                let error = row().fold(0.0f64, |error, score| error.max(score.1));
                (top + total.ln(), 2.0 * error + EPSILON * (2.0 * row().count() as f64 + 40.0))
            })
            .collect();
        Self::new(q.rows, k.rows, band, 0.0, |i, j| {
            let (score, (lse, error)) = (scores.at(i, j).0, rows[i]);
            if score == f64::NEG_INFINITY {
                return (0.0, 0.0);
            }
            let p = (score - lse).exp();
            (p, p * (error + 4.0 * EPSILON * (score - lse).abs()) + 1e-38)
        })
    }

    /// The gradient of a softmax with this result, its own upstream gradient.
    pub fn softmax_gradient(&self, scale: f32) -> Self {
        let mean = |i| sum(self.band.cols_of_row(i, self.cols).map(|j| (self.at(i, j), self.at(i, j))));
        let means: Vec<Entry> = (0..self.rows).map(mean).collect();
        Self::new(self.rows, self.cols, self.band, 0.0, |i, j| {
            let (p, (mean, error), scale) = (self.at(i, j).0, means[i], f64::from(scale));
            (scale * p * (p - mean), (scale * p).abs() * (error + 8.0 * EPSILON * (p + mean)))
        })
    }

    /// The gradient of a product over log by A: Σⱼ g · P with P = exp(A[i,p] + B[p,j] − C[i,j]);
    /// with cotangents (va, vb) of both gradients the second derivative, Σⱼ g · P · (v − s) with
    /// v = va[i,p] + vb[p,j] and s[i,j] = Σₚ P · v.
    pub fn log_gradient(a: &Self, b: &Self, g: &Self, v: Option<(&Self, &Self)>) -> Self {
        let c = a.product_onto(b, Semiring::Log, g.band);
        let weight = |i, p, j| (a.at(i, p).0 + b.at(p, j).0 - c.at(i, j).0).exp();
        let direction = |i, p, j| v.map_or(1.0, |(va, vb)| va.at(i, p).0 + vb.at(p, j).0);
        // The weighted mean of the direction over p, and of its size.
        let mean = |i, j| {
            let terms = a.band.cols_of_row(i, a.cols).filter(|p| b.band.contains(*p, j));
            terms.fold((0.0, 0.0), |(mean, size), p| {
                let (weight, v): (f64, f64) = (weight(i, p, j), direction(i, p, j));
                (mean + weight * v, size + weight * v.abs())
            })
        };
        let wide = (a.band.width() + b.band.width()) as f64;
        Self::new(a.rows, a.cols, a.band, 0.0, |i, p| {
            let (mut value, mut bound) = (0.0, 0.0);
            for j in b.band.cols_of_row(p, b.cols) {
                let (mean, size) = if v.is_some() { mean(i, j) } else { (0.0, 0.0) };
                let (direction, share) = (direction(i, p, j), g.at(i, j).0 * weight(i, p, j));
                value += share * (direction - mean);
                let exponent = a.at(i, p).0.abs() + b.at(p, j).0.abs() + c.at(i, j).0.abs();
                // Each factor's relative error: the sums', the exponent's, and that of C itself.
                let relative = EPSILON * (4.0 * (wide + 2.0) + 8.0 * exponent) + c.at(i, j).1;
                bound += share.abs() * (direction.abs() + size) * relative;
            }
            (value, bound)
        })
    }

    /// The gradient of a product over max by A: g goes to the p that makes each entry.
    pub fn max_gradient(a: &Self, b: &Self, g: &Self) -> Self {
        Self::new(a.rows, a.cols, a.band, 0.0, |i, p| {
            let won = b.band.cols_of_row(p, b.cols).filter(|j| a.winner(b, i, *j) == Some(p)).map(|j| (g.at(i, j), (1.0, 0.0)));
            sum(won)
        })
    }

    /// The p that makes each entry of a product over max; u32::MAX where there is none.
    pub fn max_index(&self, other: &Self) -> Self {
        let none = f64::from(u32::MAX as f32);
        Self::new(self.rows, other.cols, self.band * other.band, none, |i, j| (self.winner(other, i, j).map_or(none, |p| p as f64), 0.0))
    }

    /// The first p whose term, rounded to f32, is the largest.
    fn winner(&self, other: &Self, i: usize, j: usize) -> Option<usize> {
        let term = |p| (self.at(i, p).0 + other.at(p, j).0) as f32;
        let terms = self.band.cols_of_row(i, self.cols).filter(|p| *p < other.rows && other.band.contains(*p, j));
        terms.reduce(|best, p| if term(p) > term(best) { p } else { best })
    }

    /// The largest error of a result over its bound; infinite if its size, band or fill differ.
    pub fn error(&self, result: &Matrix) -> Result<f64> {
        let got = match result {
            Matrix::Banded(banded) => Self::of(banded)?,
            Matrix::Dense(dense) => Self::of_dense(dense)?,
            Matrix::Blocks(blocks) => Self::of_dense(&block_to_dense(blocks)?)?,
        };
        let alike = got.rows == self.rows && got.cols == self.cols && got.band == self.band;
        if !alike || (matches!(result, Matrix::Banded(_)) && got.fill != self.fill) {
            return Ok(f64::INFINITY);
        }
        let mut worst: f64 = 0.0;
        for i in 0..self.rows {
            for j in self.band.cols_of_row(i, self.cols) {
                let ((got, _), (want, bound)) = (got.at(i, j), self.at(i, j));
                let same = got == want || (got.is_nan() && want.is_nan());
                let error = if same { 0.0 } else { (got - want).abs() / bound };
                worst = if error.is_nan() { f64::INFINITY } else { worst.max(error) };
            }
        }
        Ok(worst)
    }
}

/// The band that holds every entry.
pub fn full(rows: usize, cols: usize) -> Result<Band> {
    Band::new(rows as i64, cols as i64)
}

type Entry = (f64, f64);

/// 2(k + 2)·ε·(|A|·|B|), and what the operands' own errors make of it.
fn sum(pairs: impl Iterator<Item = (Entry, Entry)>) -> Entry {
    let (mut value, mut size, mut inherited, mut count) = (0.0, 0.0, 0.0, 0.0);
    for ((a, da), (b, db)) in pairs {
        value += a * b;
        size += (a * b).abs();
        inherited += a.abs() * db + da * b.abs() + da * db;
        count += 1.0;
    }
    (value, 2.0 * (count + 2.0) * EPSILON * size + inherited)
}

/// The error of a term's exponent grows with its size, that of the sum with the count.
fn log(pairs: impl Iterator<Item = (Entry, Entry)>) -> Entry {
    let terms: Vec<(f64, f64)> = pairs.map(|((a, _), (b, _))| (a + b, a.abs() + b.abs())).collect();
    let largest = terms.iter().fold(f64::NEG_INFINITY, |largest, term| largest.max(term.0));
    if largest == f64::NEG_INFINITY {
        return (largest, 0.0);
    }
    let value = largest + terms.iter().map(|term| (term.0 - largest).exp()).sum::<f64>().ln();
    let size = terms.iter().fold(0.0, |size: f64, term| size.max(term.1));
    (value, EPSILON * (2.0 * (terms.len() as f64 + 2.0) + 8.0 * size + 4.0 * value.abs()))
}

/// One rounding of the winning term.
fn largest(pairs: impl Iterator<Item = (Entry, Entry)>, none: f64, times: impl Fn(f64, f64) -> f64) -> Entry {
    let value = pairs.map(|((a, _), (b, _))| times(a, b)).reduce(f64::max).unwrap_or(none);
    (value, if value.is_finite() { 2.0 * EPSILON * value.abs() } else { 0.0 })
}
