//! out = softmax(scale · Q·Kᵀ)·V over the keys that each query attends to, and the logsumexp of each
//! row, row by row.

use rayon::prelude::*;

use crate::device::cpu::{Args, Outputs};
use crate::ops::window_attention::{NONE, Params};
use crate::window::in_window;

/// The operands of one query matrix and its keys.
pub(crate) struct Head<'a> {
    pub params: Params,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    globals: &'a [u32],
    /// Keys that are no padding.
    pub end: i32,
}

/// Row `i` of a matrix of this many columns.
pub(crate) fn row(matrix: &[f32], i: i32, columns: i32) -> &[f32] {
    &matrix[i as usize * columns as usize..][..columns as usize]
}

/// Matrix `n` of a batch.
pub(crate) fn matrix(batch: &[f32], n: usize, rows: i32, columns: i32) -> &[f32] {
    let len = rows as usize * columns as usize;
    &batch[n * len..][..len]
}

pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

impl<'a> Head<'a> {
    pub fn new(args: &'a Args<'_>, head: usize) -> Self {
        let params: Params = args.params();
        let Params { group, rows, keys, depth, value_depth, globals, lengths, first_key, .. } = params;
        let kv = head / group as usize;
        let end = if lengths == NONE { keys } else { (args.u32(3)[lengths as usize + kv] as i32 - first_key).clamp(0, keys) };
        Self {
            params,
            q: matrix(args.f32(0), head, rows, depth),
            k: matrix(args.f32(1), kv, keys, depth),
            v: matrix(args.f32(2), kv, keys, value_depth),
            globals: &args.u32(3)[..globals as usize],
            end,
        }
    }

    pub fn is_global(&self, position: i32) -> bool {
        u32::try_from(position).is_ok_and(|position| self.globals.contains(&position))
    }

    fn in_window(&self, i: i32, j: i32) -> bool {
        let Params { offset, lower, upper, dilation, .. } = self.params;
        in_window(i64::from(j - i - offset), lower.into(), upper.into(), dilation.into())
    }

    /// The keys that query i attends to, each once.
    pub fn keys_of(&self, i: i32) -> impl Iterator<Item = i32> {
        let p = i + self.params.offset;
        let beyond = self.globals.iter().map(|j| *j as i32).filter(move |j| *j < self.end && !self.in_window(i, *j));
        let all = self.is_global(p).then_some(0..self.end);
        let some = all.is_none().then(|| self.window(p, -self.params.lower, self.params.upper, self.end).chain(beyond));
        all.into_iter().flatten().chain(some.into_iter().flatten())
    }

    /// The queries that attend to key j, each once.
    pub fn rows_of(&self, j: i32) -> impl Iterator<Item = i32> {
        let Params { rows, offset, lower, upper, .. } = self.params;
        let rows = if j < self.end { rows } else { 0 };
        let globals = self.globals.iter().map(move |position| *position as i32 - offset);
        let beyond = globals.filter(move |i| 0 <= *i && *i < rows && !self.in_window(*i, j));
        let all = self.is_global(j).then_some(0..rows);
        let some = all.is_none().then(|| self.window(j - offset, -upper, lower, rows).chain(beyond));
        all.into_iter().flatten().chain(some.into_iter().flatten())
    }

    /// from + s · dilation for s from `first` to `last`, as far as it is in 0 .. end.
    fn window(&self, from: i32, first: i32, last: i32, end: i32) -> impl Iterator<Item = i32> + use<> {
        let (from, dilation) = (i64::from(from), i64::from(self.params.dilation));
        let first = i64::from(first).max((-from).div_euclid(dilation));
        let last = i64::from(last).min((i64::from(end) - from).div_euclid(dilation));
        (first..=last).map(move |s| from + s * dilation).filter(move |at| 0 <= *at && *at < i64::from(end)).map(|at| at as i32)
    }

    /// The scaled score of query i and key j.
    pub fn score(&self, i: i32, j: i32) -> f64 {
        dot(row(self.q, i, self.params.depth), self.k(j)) * f64::from(self.params.scale)
    }

    pub fn q(&self, i: i32) -> &'a [f32] {
        row(self.q, i, self.params.depth)
    }

    pub fn k(&self, j: i32) -> &'a [f32] {
        row(self.k, j, self.params.depth)
    }

    pub fn v(&self, j: i32) -> &'a [f32] {
        row(self.v, j, self.params.value_depth)
    }
}

/// Every row.
pub(crate) fn run(args: &Args<'_>, out: Outputs<'_, '_>) {
    rows(args, out, |_, _| true);
}

/// The rows of global positions.
pub(crate) fn line(args: &Args<'_>, out: Outputs<'_, '_>) {
    rows(args, out, |head, i| head.is_global(i + head.params.offset));
}

fn rows(args: &Args<'_>, out: Outputs<'_, '_>, wanted: impl Fn(&Head<'_>, i32) -> bool + Sync) {
    let params: Params = args.params();
    let (rows, width) = (params.rows as usize, params.value_depth as usize);
    let [values, lse] = out else { unreachable!("two outputs") };
    let lines = bytemuck::cast_slice_mut::<u32, f32>(values).par_chunks_mut(width).zip(bytemuck::cast_slice_mut::<u32, f32>(lse));
    lines.enumerate().for_each(|(line, (values, lse))| {
        let (head, i) = (Head::new(args, line / rows), (line % rows) as i32);
        if !wanted(&head, i) {
            return;
        }
        let scores: Vec<_> = head.keys_of(i).map(|j| (j, head.score(i, j))).collect();
        let largest = scores.iter().map(|(_, score)| *score).fold(f64::NEG_INFINITY, |a, b| if a.is_nan() || a > b { a } else { b });
        values.fill(0.0);
        *lse = f32::NEG_INFINITY;
        if largest == f64::NEG_INFINITY {
            return;
        }
        let total: f64 = scores.iter().map(|(_, score)| (score - largest).exp()).sum();
        *lse = (largest + total.ln()) as f32;
        let mut sums = vec![0.0; width];
        for (j, score) in scores {
            let weight = (score - largest).exp() / total;
            sums.iter_mut().zip(head.v(j)).for_each(|(sum, v)| *sum += weight * f64::from(*v));
        }
        values.iter_mut().zip(sums).for_each(|(value, sum)| *value = sum as f32);
    });
}
