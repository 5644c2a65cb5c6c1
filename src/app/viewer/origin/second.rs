//! Second derivatives of products over log: each term weighs how far the cotangents lie from their mean.

use std::ops::Range;

use super::formula::{Text, number};
use super::gradient::{Gradient, log_sum_exp};
use super::{Cell, Entry, Stretch, Values};
use crate::app::viewer::operations::Origin;

const G: usize = 2;
const VA: usize = 3;
const VB: usize = 4;

pub struct Second<'a> {
    entry: &'a Entry<'a>,
    first: Gradient<'a>,
}

/// An entry (i, j) of the product and one of its terms.
type Term = ([usize; 2], usize);

impl<'a> Second<'a> {
    pub fn of(entry: &'a Entry<'a>) -> Option<Self> {
        let Origin::Gradient { of: Origin::Gradient { of: Origin::Product, .. }, .. } = entry.origin else { return None };
        (entry.inputs.len() > VB).then(|| Self { entry, first: Gradient::of_product(entry) })
    }

    fn by_upstream(&self) -> bool {
        self.entry.facts.by == G
    }

    /// By G the p of one entry of the product, else the entries of the product that the entry takes part in.
    fn runs(&self) -> Vec<Range<usize>> {
        if self.by_upstream() { self.first.inner(self.entry.at) } else { self.first.runs() }
    }

    fn term(&self, k: usize) -> Term {
        match self.entry.facts.by {
            G => (self.entry.at, k),
            0 => (self.first.product_at(k), self.entry.at[1]),
            _ => (self.first.product_at(k), self.entry.at[0]),
        }
    }

    /// What a term is made of: the entries of A, B, VA and VB.
    fn cells(([i, j], p): Term) -> [Cell; 4] {
        [(0, [i, p]), (1, [p, j]), (VA, [i, p]), (VB, [p, j])]
    }

    pub fn stretches(&self) -> Vec<Stretch> {
        let (runs, [row, col]) = (self.runs(), self.entry.at);
        let by = self.entry.facts.by;
        let span = |make: &dyn Fn(usize) -> Cell| -> Vec<Stretch> {
            let ends = runs.iter().map(|run| (make(run.start), make(run.end - 1)));
            ends.map(|((input, first), (_, last))| Stretch { input, rows: first[0]..last[0] + 1, cols: first[1]..last[1] + 1 }).collect()
        };
        let mut all = Vec::new();
        if !self.by_upstream() {
            all.extend(span(&|k| (G, self.term(k).0)));
        }
        for n in 0..4 {
            // The entry's own operand, and that one's cotangent, go into each term with the same entry.
            let (input, _) = Self::cells(([0, 0], 0))[n];
            if !self.by_upstream() && n % 2 == by {
                all.push(Stretch { input, rows: row..row + 1, cols: col..col + 1 });
            } else {
                all.extend(span(&|k| Self::cells(self.term(k))[n]));
            }
        }
        all
    }

    /// The terms written out, and how many there are.
    pub fn shown(&self) -> (Vec<Term>, usize) {
        let runs = self.runs();
        let count = runs.iter().map(Range::len).sum();
        (runs.into_iter().flatten().take(self.entry.terms).map(|k| self.term(k)).collect(), count)
    }

    /// For each entry of the product, all that its logsumexp and mean take.
    pub fn behind(self) -> impl Iterator<Item = Vec<Cell>> + use<'a> {
        let mut entries: Vec<[usize; 2]> = self.shown().0.into_iter().map(|(at, _)| at).collect();
        entries.dedup();
        entries.into_iter().map(move |at| self.first.inner(at).into_iter().flatten().flat_map(|p| Self::cells((at, p))).collect())
    }

    /// The product's entry and the mean of the cotangents there, if all of it has been read.
    fn product(&self, at: [usize; 2], values: &Values) -> Option<[f64; 2]> {
        let one = |cell: &Cell| values.get(cell).map(|value| f64::from(*value));
        let read = |p| -> Option<[f64; 2]> {
            let [a, b, va, vb] = Self::cells((at, p));
            Some([one(&a)? + one(&b)?, one(&va)? + one(&vb)?])
        };
        let terms: Vec<[f64; 2]> = self.first.inner(at).into_iter().flatten().map(read).collect::<Option<_>>()?;
        let whole = log_sum_exp(terms.iter().map(|[sum, _]| *sum));
        let share = |sum: f64| if whole == f64::NEG_INFINITY { 0.0 } else { (sum - whole).exp() };
        Some([whole, terms.iter().map(|[sum, apart]| share(*sum) * apart).sum()])
    }

    pub fn formula(&self, text: &Text, values: &Values, made: &str) -> Option<String> {
        let (shown, count) = self.shown();
        if count == 0 {
            return Some(format!("no term = {made}"));
        }
        let mut parts = Vec::new();
        for (at, p) in shown {
            let product = self.product(at, values);
            let [i, j] = at;
            let of_product = product.map_or_else(|| format!("C[{i}, {j}]"), |[whole, _]| number(whole as f32));
            let mean = product.map_or_else(|| format!("S[{i}, {j}]"), |[_, mean]| number(mean as f32));
            let mut factors = Vec::new();
            for cell in Self::cells((at, p)) {
                factors.push(number(*values.get(&cell)?));
            }
            let [a, b, va, vb] = factors.as_slice() else { return None };
            let share = format!("exp({a} + {b} − {of_product})");
            parts.push(if self.by_upstream() {
                format!("{share} · ({va} + {vb})")
            } else {
                format!("{} · {share} · ({va} + {vb} − {mean})", number(*values.get(&(G, at))?))
            });
        }
        Some(format!("{} = {made}", text.sum(parts, count)))
    }
}
