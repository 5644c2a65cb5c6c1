//! The specification of every kernel: plain loops, f64 accumulation, all cores.

pub(crate) mod banded_matvec;
pub(crate) mod banded_move;
pub(crate) mod banded_softmax;
pub(crate) mod banded_zip;
pub(crate) mod block_add;
pub(crate) mod block_linear;
pub(crate) mod block_matmul;
pub(crate) mod block_move;
pub(crate) mod block_norms;
pub(crate) mod block_sddmm;
pub(crate) mod block_sparse_matmul;
pub(crate) mod cast;
pub(crate) mod matmul;
pub(crate) mod matmul_backward;
pub(crate) mod matmul_double_backward;
pub(crate) mod matmul_index;
pub(crate) mod matmul_scale;
pub(crate) mod window_attention;
pub(crate) mod window_attention_backward;

use crate::device::cpu::Args;

/// An operand's index formula, as every kernel's `Params` carry it.
#[derive(Clone, Copy)]
pub(crate) struct View {
    pub rows: i32,
    pub cols: i32,
    pub stride: i32,
    pub lower: i32,
    pub upper: i32,
    /// Bit 0: columns layout; bit 1: dense.
    pub flags: u32,
}

impl View {
    fn columns(self) -> bool {
        self.flags & 1 != 0
    }

    fn dense(self) -> bool {
        self.flags & 2 != 0
    }

    /// Values of one matrix.
    pub fn len(self) -> usize {
        let lines = if self.columns() { self.cols } else { self.rows };
        lines as usize * (self.stride + i32::from(!self.dense())) as usize
    }

    /// Where entry (i, j) is; see `shaders/shared/band.wgsl`.
    pub fn index(self, i: i32, j: i32) -> usize {
        let origin = match (self.dense(), self.columns()) {
            (true, _) => 0,
            (false, true) => self.upper,
            (false, false) => self.lower,
        };
        let (outer, inner) = if self.columns() { (j, i) } else { (i, j) };
        (i64::from(outer) * i64::from(self.stride) + i64::from(inner) + i64::from(origin)) as usize
    }

    /// Whether the band holds entry (i, j) and the matrix has it.
    pub fn holds(self, i: i32, j: i32) -> bool {
        0 <= i && i < self.rows && 0 <= j && j < self.cols && -self.lower <= j - i && j - i <= self.upper
    }

    /// Entry (i, j) of the matrix that starts at `data[0]`, or the fill.
    pub fn get(self, data: &[f32], i: i32, j: i32, fill: f32) -> f32 {
        if self.holds(i, j) { data[self.index(i, j)] } else { fill }
    }

    /// Length of a line of storage: a row, or a column in columns layout, of slots.
    pub fn line_len(self) -> usize {
        (self.stride + i32::from(!self.dense())) as usize
    }

    /// The (i, j) of slot k in line `line`; j or i may lie outside the matrix.
    pub fn entry(self, line: i32, k: i32) -> (i32, i32) {
        match (self.dense(), self.columns()) {
            (true, false) => (line, k),
            (true, true) => (k, line),
            (false, false) => (line, line + k - self.lower),
            (false, true) => (line + k - self.upper, line),
        }
    }
}

/// Computes every slot of every line of a result on all cores: `slot(b, i, j)` for entries inside
/// the matrix, the fill for slots outside.
pub(crate) fn for_slots<T: Copy + Send + Sync>(out: &mut [T], view: View, fill: T, slot: impl Fn(usize, i32, i32) -> T + Sync) {
    use rayon::prelude::*;
    let (line_len, per_matrix) = (view.line_len(), view.len());
    if out.is_empty() {
        return;
    }
    let lines = per_matrix / line_len;
    out.par_chunks_mut(line_len).enumerate().for_each(|(line, values)| {
        for (k, value) in values.iter_mut().enumerate() {
            let (i, j) = view.entry((line % lines) as i32, k as i32);
            let inside = 0 <= i && i < view.rows && 0 <= j && j < view.cols;
            *value = if inside { slot(line / lines, i, j) } else { fill };
        }
    });
}

/// The sum of all terms, 0 of none: `Iterator::sum` begins with −0.
pub(crate) fn total(terms: impl Iterator<Item = f64>) -> f64 {
    terms.fold(0.0, |sum, term| sum + term)
}

/// Matrix `b` of an input.
pub(crate) fn matrix<'a>(args: &'a Args<'_>, input: usize, view: View, b: usize) -> &'a [f32] {
    &args.f32(input)[b * view.len()..][..view.len()]
}
