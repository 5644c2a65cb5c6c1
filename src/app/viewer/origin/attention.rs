//! Windowed attention and its gradients: probabilities and slopes, which no operand holds, are computed from
//! the rows of Q, K, V and G that they come from.

use std::ops::Range;

use bandsaw::WindowAttention;

use super::formula::{Text, number};
use super::gradient::log_sum_exp;
use super::{Cell, Entry, Stretch, Values, first_cells};
use crate::app::viewer::operations::Origin;

pub struct Attention<'a> {
    entry: &'a Entry<'a>,
    window: &'a WindowAttention,
    /// Of a gradient, by Q, K or V.
    by: Option<usize>,
}

const Q: usize = 0;
const K: usize = 1;
const V: usize = 2;

impl<'a> Attention<'a> {
    pub fn of(entry: &'a Entry<'a>) -> Option<Self> {
        let gradient = matches!(entry.origin, Origin::Gradient { .. });
        let needed = if gradient { entry.facts.upstream + 1 } else { 3 };
        let window = entry.facts.window.as_ref().filter(|_| entry.inputs.len() >= needed)?;
        Some(Self { entry, window, by: gradient.then_some(entry.facts.by) })
    }

    fn attends(&self, i: usize, j: usize) -> bool {
        self.window.attends(self.entry.facts.batch / self.window.heads.max(1), i, j)
    }

    /// The keys that query i attends to.
    fn keys(&self, i: usize) -> impl Iterator<Item = usize> {
        (0..self.entry.inputs[K].rows).filter(move |j| self.attends(i, *j))
    }

    /// The keys of the entry's query; by K or V, the queries of its key.
    fn partners(&self) -> Vec<Range<usize>> {
        let line = self.entry.at[0];
        if matches!(self.by, Some(K | V)) {
            return runs((0..self.entry.inputs[Q].rows).filter(|i| self.attends(*i, line)));
        }
        runs(self.keys(line))
    }

    pub fn stretches(&self) -> Vec<Stretch> {
        let (partners, [line, col]) = (self.partners(), self.entry.at);
        let upstream = self.entry.facts.upstream;
        let whole = |input: usize, rows: &Range<usize>| Stretch { input, rows: rows.clone(), cols: 0..self.entry.inputs[input].cols };
        let own = |input| vec![whole(input, &(line..line + 1))];
        let all = |input| partners.iter().map(|rows| whole(input, rows)).collect::<Vec<_>>();
        let part = |input| partners.iter().map(|rows| Stretch { input, rows: rows.clone(), cols: col..col + 1 }).collect::<Vec<_>>();
        match self.by {
            None => [own(Q), all(K), part(V)].concat(),
            Some(V) => [all(Q), own(K), part(upstream)].concat(),
            Some(K) => [part(Q), all(upstream), own(K), own(V)].concat(),
            _ => [own(Q), part(K), all(V), own(upstream)].concat(),
        }
    }

    /// The operand that stands beside the weights.
    fn beside(&self) -> usize {
        match self.by {
            None => V,
            Some(V) => self.entry.facts.upstream,
            Some(K) => Q,
            _ => K,
        }
    }

    /// The places written out, and how many there are.
    pub fn shown(&self) -> (Vec<usize>, usize) {
        let partners = self.partners();
        let count = partners.iter().map(Range::len).sum();
        (partners.into_iter().flatten().take(self.entry.terms).collect(), count)
    }

    /// For each query whose probabilities are needed, what they are computed from.
    pub fn behind(self, stretches: &[Stretch]) -> impl Iterator<Item = Vec<Cell>> + use<'a> {
        let queries = match self.by {
            Some(K | V) => first_cells(self.beside(), stretches, self.entry.terms).into_iter().map(|[i, _]| i).collect(),
            _ => vec![self.entry.at[0]],
        };
        queries.into_iter().map(move |i| {
            let row = |input: usize, i: usize| (0..self.entry.inputs[input].cols).map(move |d| (input, [i, d]));
            let slopes = matches!(self.by, Some(Q | K));
            let mut cells: Vec<Cell> = row(Q, i).collect();
            for j in self.keys(i) {
                cells.extend(row(K, j));
                cells.extend(row(V, j).filter(|_| slopes));
            }
            cells.extend(row(self.entry.facts.upstream.min(self.entry.inputs.len() - 1), i).filter(|_| slopes));
            cells
        })
    }

    /// Σ over the columns of row i of one operand and row j of another, if they have been read.
    fn dot(&self, [a, i]: [usize; 2], [b, j]: [usize; 2], values: &Values) -> Option<f64> {
        let one = |input, row, d| values.get(&(input, [row, d])).map(|value| f64::from(*value));
        (0..self.entry.inputs[a].cols).map(|d| Some(one(a, i, d)? * one(b, j, d)?)).sum()
    }

    fn scale(&self) -> f64 {
        self.window.scale.map_or_else(|| 1.0 / (self.entry.inputs[Q].cols as f64).sqrt(), f64::from)
    }

    /// What query i gives each of its keys.
    fn probabilities(&self, i: usize, values: &Values) -> Option<Vec<(usize, f64)>> {
        let scores: Vec<(usize, f64)> =
            self.keys(i).map(|j| Some((j, self.scale() * self.dot([Q, i], [K, j], values)?))).collect::<Option<_>>()?;
        let whole = log_sum_exp(scores.iter().map(|(_, score)| *score));
        Some(scores.into_iter().map(|(j, score)| (j, if whole == f64::NEG_INFINITY { 0.0 } else { (score - whole).exp() })).collect())
    }

    /// The weight of each key of query i in the entry's formula: its probability, or the slope of its score.
    fn weights(&self, i: usize, values: &Values) -> Option<Vec<(usize, f64)>> {
        let probabilities = self.probabilities(i, values)?;
        if !matches!(self.by, Some(Q | K)) {
            return Some(probabilities);
        }
        let up = |j: usize| self.dot([self.entry.facts.upstream, i], [V, j], values);
        let ups: Vec<f64> = probabilities.iter().map(|(j, _)| up(*j)).collect::<Option<_>>()?;
        let mean: f64 = probabilities.iter().zip(&ups).map(|((_, p), up)| p * up).sum();
        Some(probabilities.into_iter().zip(ups).map(|((j, p), up)| (j, p * (up - mean) * self.scale())).collect())
    }

    pub fn formula(&self, text: &Text, values: &Values, made: &str) -> Option<String> {
        let ((shown, count), [line, col]) = (self.shown(), self.entry.at);
        let of_key = matches!(self.by, Some(K | V));
        let all = if of_key { None } else { self.weights(line, values) };
        let name = if matches!(self.by, Some(Q | K)) { "s" } else { "p" };
        let mut parts = Vec::new();
        for partner in shown {
            let found = if of_key { self.weights(partner, values) } else { None };
            let (weights, key) = if of_key { (found.as_ref(), line) } else { (all.as_ref(), partner) };
            let weight = weights.and_then(|weights| weights.iter().find(|(j, _)| *j == key));
            let weight = weight.map_or_else(|| format!("{name}({partner})"), |(_, weight)| number(*weight as f32));
            parts.push(format!("{weight} · {}", number(*values.get(&(self.beside(), [partner, col]))?)));
        }
        let heads = if of_key { self.entry.facts.sharing() } else { 1 };
        let who = match (of_key, count) {
            (_, 0) => return Some(format!("no {} = {made}", if of_key { "query" } else { "key" })),
            (false, 1) => "1 key".to_owned(),
            (false, keys) => format!("{keys} keys"),
            (true, 1) => "1 query".to_owned(),
            (true, queries) => format!("{queries} queries"),
        };
        let mut sum = text.sum(parts, count);
        if heads > 1 {
            sum = format!("{sum} + the same of {} more", if heads == 2 { "1 head".into() } else { format!("{} heads", heads - 1) });
        }
        Some(match (name, of_key) {
            ("p", false) => format!("{sum} = {made}, weights: softmax of the row's scores with {who}"),
            ("p", true) => format!("{sum} = {made}, weights: what {who} give the key"),
            _ => format!("{sum} = {made}, weights: slopes of the scores with {who}"),
        })
    }
}

/// Neighbours together.
fn runs(places: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for j in places {
        match runs.last_mut() {
            Some(run) if run.end == j => run.end += 1,
            _ => runs.push(j..j + 1),
        }
    }
    runs
}
