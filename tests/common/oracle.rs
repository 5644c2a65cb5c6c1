//! The dense oracle: naive loops in f64 over what is stored.

use bandsaw::{Banded, BandedShape, Dense, Layout, Semiring};

use super::{Bound, Host};

/// Which rows of a result are compared.
pub enum Rows {
    All,
    /// About this many, among them the first and the last ones.
    Some(usize),
}

impl Rows {
    fn of(&self, rows: usize) -> Vec<usize> {
        match *self {
            Self::Some(count) if count < rows => {
                let mut chosen: Vec<_> = (0..4).chain(rows - 4..rows).chain((0..rows).step_by(rows / count * 2 + 1)).collect();
                chosen.sort_unstable();
                chosen.dedup();
                chosen
            }
            _ => (0..rows).collect(),
        }
    }
}

/// Compares one value with what it must be.
#[track_caller]
pub fn check_value(got: f32, want: f64, bound: f64, place: impl FnOnce() -> String) {
    let got = f64::from(got);
    let right = match want {
        want if want.is_nan() => got.is_nan(),
        want if want.is_infinite() => got == want,
        want => (got - want).abs() <= bound,
    };
    assert!(right, "{}: got {got:e}, must be {want:e} within {bound:e} (off by {:e})", place(), (got - want).abs());
}

/// ⊕ of the terms.
fn reduce(ring: Semiring, terms: &[(f64, f64)]) -> f64 {
    let largest = |values: &mut dyn Iterator<Item = f64>, of_none: f64| {
        let mut best = None;
        for value in values {
            best = Some(match best {
                Some(best) if f64::is_nan(best) || best > value => best,
                _ => value,
            });
        }
        best.unwrap_or(of_none)
    };
    match ring {
        Semiring::Sum => terms.iter().map(|(x, y)| x * y).sum(),
        Semiring::ProdMax => largest(&mut terms.iter().map(|(x, y)| x * y), 0.0),
        Semiring::Max => largest(&mut terms.iter().map(|(x, y)| x + y), f64::NEG_INFINITY),
        Semiring::Log | Semiring::Sample { .. } => {
            let top = largest(&mut terms.iter().map(|(x, y)| x + y), f64::NEG_INFINITY);
            if top.is_finite() { top + terms.iter().map(|(x, y)| (x + y - top).exp()).sum::<f64>().ln() } else { top }
        }
    }
}

/// Calls `entry(b, i, j, want, bound)` for the chosen rows of A ⊗ B where `wanted(i, j)`.
fn product(
    a: &Host,
    b: &Host,
    ring: Semiring,
    rows: &Rows,
    wanted: impl Fn(usize, usize) -> bool,
    mut entry: impl FnMut([usize; 3], f64, Bound),
) {
    let finite = |value: f64| if value.is_finite() { value.abs() } else { 0.0 };
    for batch in 0..a.batch {
        let mut reach_b = vec![0f64; b.cols];
        if matches!(ring, Semiring::Log | Semiring::Sample { .. }) {
            for (j, reach) in reach_b.iter_mut().enumerate() {
                *reach = (0..b.rows).filter_map(|p| b.entry(batch, p, j)).map(finite).fold(0.0, f64::max);
            }
        }
        for i in rows.of(a.rows) {
            let row: Vec<_> = (0..a.cols).filter_map(|p| a.entry(batch, i, p).map(|value| (p, value))).collect();
            let reach_a = row.iter().map(|(_, value)| finite(*value)).fold(0.0, f64::max);
            for j in (0..b.cols).filter(|j| wanted(i, *j)) {
                let terms: Vec<_> = row.iter().filter_map(|(p, x)| b.entry(batch, *p, j).map(|y| (*x, y))).collect();
                let magnitude = terms.iter().map(|(x, y)| (x * y).abs()).sum();
                entry([batch, i, j], reduce(ring, &terms), Bound { terms: terms.len(), magnitude, reach: reach_a + reach_b[j] });
            }
        }
    }
}

/// Holds a banded product against the oracle: every chosen entry, and every slot outside.
#[track_caller]
pub fn check_banded(what: &str, got: &Banded, a: &Host, b: &Host, ring: Semiring, rows: &Rows) {
    let shape = got.shape();
    assert_eq!((shape.batch, shape.rows, shape.cols), (a.batch, a.rows, b.cols), "{what}");
    let data = got.read().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(data.len(), shape.len(), "{what}");
    assert_eq!(shape.fill, ring.zero(), "{what}: the fill is the semiring's zero");
    let host = Host::new(shape.batch, shape.rows, shape.cols, Some(shape.band), |_, _, _| 0.0);
    let wide = |factor: &Host| factor.band.is_some_and(|band| band.width() > 96);
    let in_halves = matches!(ring, Semiring::Sum) && wide(a) && wide(b);
    product(
        a,
        b,
        ring,
        rows,
        |i, j| host.entry(0, i, j).is_some(),
        |[b, i, j], want, bound| {
            let value = data[slot(&shape, b, i, j)];
            let bound = if in_halves { bound.in_halves(got.device()) } else { bound };
            check_value(value, want, bound.of(ring, want, shape.dtype), || format!("{what}: [{b}][{i}, {j}], {} terms", bound.terms));
        },
    );
    outside_holds_fill(what, &shape, &data);
}

/// Holds a dense product against the oracle.
#[track_caller]
pub fn check_dense(what: &str, got: &Dense, a: &Host, b: &Host, ring: Semiring, rows: &Rows) {
    let shape = got.shape();
    assert_eq!((shape.batch, shape.rows, shape.cols, shape.layout), (a.batch, a.rows, b.cols, Layout::Rows), "{what}");
    let data = got.read().unwrap_or_else(|error| panic!("{what}: {error}"));
    product(
        a,
        b,
        ring,
        rows,
        |_, _| true,
        |[b, i, j], want, bound| {
            let got = data[(b * shape.rows + i) * shape.cols + j];
            check_value(got, want, bound.of(ring, want, shape.dtype), || format!("{what}: [{b}][{i}, {j}], {} terms", bound.terms));
        },
    );
}

/// Every slot whose partner lies outside the matrix holds the fill, bit for bit.
#[track_caller]
pub fn outside_holds_fill(what: &str, shape: &BandedShape, data: &[f32]) {
    let width = shape.band.width();
    let (lines, partners, origin) = match shape.layout {
        Layout::Rows => (shape.rows, shape.cols, shape.band.lower()),
        Layout::Columns => (shape.cols, shape.rows, shape.band.upper()),
    };
    for (slot, value) in data.iter().enumerate() {
        let (line, k) = (slot / width % lines, slot % width);
        let partner = line as i64 + k as i64 - origin;
        let inside = 0 <= partner && partner < partners as i64;
        assert!(inside || value.to_bits() == shape.fill.to_bits(), "{what}: line {line}, slot {k} is outside and holds {value}");
    }
}

/// Where a stored entry is, by the formulas of [`Layout`].
fn slot(shape: &BandedShape, b: usize, i: usize, j: usize) -> usize {
    let (lower, upper, width) = (shape.band.lower(), shape.band.upper(), shape.band.width());
    match shape.layout {
        Layout::Rows => (b * shape.rows + i) * width + (j as i64 - i as i64 + lower) as usize,
        Layout::Columns => (b * shape.cols + j) * width + (i as i64 - j as i64 + upper) as usize,
    }
}
