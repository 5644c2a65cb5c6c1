//! Gradients of products, over any semiring: as those of C\[i,j\] = ⊕ₚ A\[i,p\] ⊗ B\[p,j\], an operand of
//! which may have gone in transposed.

use std::ops::Range;

use super::formula::{Text, number};
use super::{Cell, Entry, Stretch, Values, cols_of_row, first_cells, meeting, rows_of_col};
use crate::app::viewer::matrix_view::Storage;
use crate::app::viewer::operations::Origin;

pub struct Gradient<'a> {
    entry: &'a Entry<'a>,
    /// Whether A or B went in transposed.
    turned: [bool; 2],
    /// The entry: (i, p) by A, (p, j) by B, (0, j) by a bias.
    at: [usize; 2],
}

/// What a term of a product is made of: p, A\[i,p\] and B\[p,j\].
type Factors = (usize, f64, f64);

impl<'a> Gradient<'a> {
    pub fn of(entry: &'a Entry<'a>) -> Option<Self> {
        let Origin::Gradient { of, .. } = entry.origin else { return None };
        let turned = match of {
            Origin::Product => [false, false],
            Origin::Rows | Origin::Layer => [false, true],
            Origin::Columns => [true, false],
            _ => return None,
        };
        let facts = entry.facts;
        let at = turned.get(facts.by).map_or(entry.at, |turned| turn(*turned, entry.at));
        (entry.inputs.len() > facts.upstream.max(1)).then_some(Self { entry, turned, at })
    }

    /// Of an operation that is one of A · B as they are, and has A, B and G first.
    pub fn of_product(entry: &'a Entry<'a>) -> Self {
        Self { entry, turned: [false; 2], at: entry.at }
    }

    fn input(&self, n: usize) -> &Storage {
        &self.entry.inputs[n]
    }

    /// What is stored of a row or column of A or B, in the product's terms.
    fn line(&self, n: usize, row: bool, at: usize) -> Vec<Range<usize>> {
        if row == self.turned[n] { rows_of_col(self.input(n), at) } else { cols_of_row(self.input(n), at) }
    }

    /// The places in a row or column of G that the entry takes part in: which make its terms.
    pub fn runs(&self) -> Vec<Range<usize>> {
        let (g, [row, col]) = (self.input(self.entry.facts.upstream), self.at);
        match self.entry.facts.by {
            0 => meeting(&cols_of_row(g, row), &self.line(1, true, col)),
            1 => meeting(&rows_of_col(g, col), &self.line(0, false, row)),
            _ => rows_of_col(g, col).into_iter().filter(|run| !run.is_empty()).collect(),
        }
    }

    /// The entry of the product that term k is about.
    pub fn product_at(&self, k: usize) -> [usize; 2] {
        if self.entry.facts.by == 0 { [self.at[0], k] } else { [k, self.at[1]] }
    }

    /// The entry of the other operand in term k.
    fn other(&self, k: usize) -> Option<Cell> {
        match self.entry.facts.by {
            0 => Some((1, turn(self.turned[1], [self.at[1], k]))),
            1 => Some((0, turn(self.turned[0], [k, self.at[0]]))),
            _ => None,
        }
    }

    pub fn stretches(&self) -> Vec<Stretch> {
        let (facts, runs, [i, j]) = (self.entry.facts, self.runs(), self.entry.at);
        let own = Stretch { input: facts.by, rows: i..i + 1, cols: j..j + 1 };
        let span = |make: &dyn Fn(usize) -> Option<Cell>| -> Vec<Stretch> {
            let ends = runs.iter().filter_map(|run| Some((make(run.start)?, make(run.end - 1)?)));
            ends.map(|((input, first), (_, last))| Stretch { input, rows: first[0]..last[0] + 1, cols: first[1]..last[1] + 1 }).collect()
        };
        let own = Some(own).filter(|_| !matches!(facts.ring.as_str(), "" | "sum"));
        let of_g = span(&|k| Some((facts.upstream, self.product_at(k))));
        own.into_iter().chain(of_g).chain(span(&|k| self.other(k))).collect()
    }

    /// The p of an entry of the product.
    pub fn inner(&self, [i, j]: [usize; 2]) -> Vec<Range<usize>> {
        meeting(&self.line(0, true, i), &self.line(1, false, j))
    }

    /// The entries that make an entry of the product: each p, of A and of B.
    fn factors(&self, [i, j]: [usize; 2]) -> impl Iterator<Item = (usize, [Cell; 2])> + use<> {
        let (turned, runs) = (self.turned, self.inner([i, j]));
        let at = move |p| (p, [(0, turn(turned[0], [i, p])), (1, turn(turned[1], [p, j]))]);
        runs.into_iter().flatten().map(at)
    }

    /// The bias of a layer.
    fn bias(&self, j: usize) -> Option<Cell> {
        (self.entry.facts.upstream == 3).then_some((2, [0, j]))
    }

    /// Whether a term has a factor that depends on the product's entry.
    fn weighs(&self) -> bool {
        let facts = self.entry.facts;
        !matches!(facts.ring.as_str(), "" | "sum") || matches!(facts.activation.as_str(), "relu" | "gelu")
    }

    /// For each term the entries that its weight takes.
    pub fn behind(self, stretches: &[Stretch]) -> impl Iterator<Item = Vec<Cell>> + use<'a> {
        let shown = first_cells(self.entry.facts.upstream, stretches, if self.weighs() { self.entry.terms } else { 0 });
        let needs = move |at: [usize; 2]| self.factors(at).flat_map(|(_, cells)| cells).chain(self.bias(at[1])).collect();
        shown.into_iter().map(needs)
    }

    /// The terms of an entry of the product, if they have all been read.
    fn read(&self, at: [usize; 2], values: &Values) -> Option<Vec<Factors>> {
        let one = |cell| values.get(&cell).map(|value| f64::from(*value));
        self.factors(at).map(|(p, [a, b])| Some((p, one(a)?, one(b)?))).collect()
    }

    /// The factor beside G\[i,j\], of the other operand's entry b.
    fn weight(&self, at: [usize; 2], own: Option<f32>, b: Option<f32>, values: &Values) -> String {
        let (facts, p, [i, j]) = (self.entry.facts, self.at[usize::from(self.entry.facts.by == 0)], at);
        let terms = self.read(at, values);
        let other = b.map(number);
        match facts.ring.as_str() {
            "log" => {
                let product = terms.map(|terms| log_sum_exp(terms.iter().map(|(_, a, b)| a + b)) as f32);
                match product {
                    // A sum over −∞ alone has no slope.
                    Some(f32::NEG_INFINITY) => "0".into(),
                    product => {
                        let of_product = product.map_or_else(|| format!("C[{i}, {j}]"), number);
                        let [own, other] = [own, b].map(|value| value.map(number).unwrap_or_default());
                        format!("exp({own} + {other} − {of_product})")
                    }
                }
            }
            ring @ ("max" | "prodmax") => {
                let made = terms.map(|terms| largest(&terms, ring == "prodmax"));
                let slope = if ring == "max" { "1".into() } else { other.unwrap_or_default() };
                match made {
                    Some(made) => {
                        if made == Some(p) {
                            slope
                        } else {
                            "0".into()
                        }
                    }
                    None => format!("({slope} if p = {p} makes C[{i}, {j}])"),
                }
            }
            _ => {
                let bias = self.bias(j).map(|cell| values.get(&cell).map(|bias| f64::from(*bias)));
                let slope = match facts.activation.as_str() {
                    act @ ("relu" | "gelu") => {
                        let bias = bias.unwrap_or(Some(0.0));
                        let before = terms.zip(bias).map(|(terms, bias)| terms.iter().map(|(_, a, b)| a * b).sum::<f64>() + bias);
                        let before = before.map_or_else(|| format!("Z[{i}, {j}]"), |before| number(before as f32));
                        Some(format!("{act}′({})", before.trim_start_matches('(').trim_end_matches(')')))
                    }
                    _ => None,
                };
                slope.into_iter().chain(other).collect::<Vec<_>>().join(" · ")
            }
        }
    }

    pub fn formula(&self, text: &Text, values: &Values, made: &str) -> Option<String> {
        let (facts, runs) = (self.entry.facts, self.runs());
        let count = runs.iter().map(Range::len).sum();
        let own = values.get(&(facts.by, self.entry.at)).copied();
        let mut parts = Vec::new();
        for k in runs.into_iter().flatten().take(self.entry.terms) {
            let at = self.product_at(k);
            let g = number(*values.get(&(facts.upstream, at))?);
            let b = match self.other(k) {
                Some(cell) => Some(*values.get(&cell)?),
                None => None,
            };
            let weight = self.weight(at, own, b, values);
            parts.push(if weight.is_empty() { g } else { format!("{g} · {weight}") });
        }
        let p = self.at[usize::from(facts.by == 0)];
        let why = match facts.ring.as_str() {
            "max" => format!(", 1 where p = {p} makes the maximum"),
            "prodmax" => format!(", 0 where another p than {p} makes the maximum"),
            _ => String::new(),
        };
        Some(if count == 0 { format!("no term = {made}") } else { format!("{} = {made}{why}", text.sum(parts, count)) })
    }
}

fn turn(turned: bool, [i, j]: [usize; 2]) -> [usize; 2] {
    if turned { [j, i] } else { [i, j] }
}

/// ln Σ exp(x).
pub fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest.is_infinite() { largest } else { values.map(|value| (value - largest).exp()).sum::<f64>().ln() + largest }
}

/// The p of the largest term, the first of equal ones.
fn largest(terms: &[Factors], times: bool) -> Option<usize> {
    let mut best = (None, f64::NEG_INFINITY);
    for (p, a, b) in terms {
        // As the product computes it: equal sums in f32 are a tie.
        let term = f64::from(if times { (a * b) as f32 } else { (a + b) as f32 });
        if term > best.1 {
            best = (Some(*p), term);
        }
    }
    best.0
}
