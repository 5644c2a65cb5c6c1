//! Windowed attention in one pass.

pub(crate) mod cooperative;

use std::ops::Range;

use super::common::{Output, as_read, parts, result_dtype, same, same_device, values, widened};
use super::{banded_move, matmul};
use crate::device::{Buffer, Launch};
use crate::kernel::{Kernel, Stored, for_dtype, params, ptx, stored};
use crate::operand::{ALIGNED, MAX_LEN, Operand};
use crate::{Dense, DenseShape, Dtype, Error, Layout, Result, WindowAttention, cpu};

params! {
    /// What every kernel of windowed attention gets; see `shaders/shared/window_params.wgsl`.
    Params {
        batch: u32, group: u32, rows: i32, keys: i32, depth: i32, value_depth: i32,
        offset: i32, lower: i32, upper: i32, dilation: i32,
        globals: u32, lengths: u32, first_key: i32, scale: f32, tiles: u32,
    }
}

/// In place of an index: there is none.
pub(crate) const NONE: u32 = u32::MAX;

/// The shared files of every kernel here.
pub(crate) const PARAMS: &str = include_str!("../../shaders/shared/window_params.wgsl");
/// The same for kernels on matrix units.
pub(crate) const OPERANDS_OF_UNITS: &str = include_str!("../../shaders/shared/window_cooperative.wgsl");
pub(crate) const OPERANDS: &str = include_str!("../../shaders/shared/window_operands.wgsl");
pub(crate) const TILE: &str = include_str!("../../shaders/shared/window_tile.wgsl");
pub(crate) const LINE: &str = include_str!("../../shaders/shared/window_line.wgsl");
const OUTPUT: &str = include_str!("../../shaders/shared/window_output.wgsl");

pub(crate) static KERNEL: Stored = stored!(
    "window_attention",
    [include_str!("../../shaders/window_attention.wgsl"), PARAMS, OPERANDS, TILE, OUTPUT, matmul::SHARED[1]],
    ptx!("window_attention.sm_80"),
    { cpu: cpu::window_attention::run, params: Params::FIELDS, inputs: 4, outputs: 2 }
);

pub(crate) static KERNEL_LINE: Stored = stored!(
    "window_attention.line",
    [include_str!("../../shaders/window_attention.line.wgsl"), PARAMS, OPERANDS, LINE, OUTPUT, matmul::SHARED[1]],
    ptx!("window_attention.sm_80"),
    { cpu: cpu::window_attention::line, params: Params::FIELDS, inputs: 4, outputs: 2 }
);

/// Attention in a window, O = softmax(scale · Q·Kᵀ)·V over the keys that each query attends to, and
/// the logsumexp of each row of scaled scores; nothing of size n × width is made.
///
/// Q is (batch · heads) × n × d, K (batch · kv_heads) × m × d (a K stored d × m is `k.t()`), V
/// (batch · kv_heads) × m × e. O is (batch · heads) × n × e, row-major, the logsumexp
/// (batch · heads) × n × 1 in f32. `options` say who attends to whom: see [`WindowAttention`] for the
/// definition and the drawing. A query that attends to nothing gives zeros and −∞.
///
/// All three are of one type, f32, f16 or bf16, and so is O; sums are f32. Scores of any size are fine:
/// they are taken relative to the row's largest.
///
/// Memory beside the result: a 16-bit result takes an f32 copy off the matrix units, operands that are not
/// row-major an f32 copy, and so do 16-bit operands on the CPU and through CUDA. On other GPUs those are read as they
/// are stored.
///
/// The online softmax is that of FlashAttention (Dao and others, 2022), the pattern Longformer's
/// (Beltagy and others, 2020).
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let shape = DenseShape::new(500, 16).batch(6); // 3 sequences, 2 heads
/// let x = Dense::from_fn(&device, shape, |b, i, d| ((b + i * (d + 1)) as f32).sin())?;
/// let options = WindowAttention::new(Band::new(32, 0)?).heads(2, 2).lengths([500, 100, 8]);
/// let (out, lse) = window_attention(&x, &x, &x, &options)?;
/// assert_eq!((out.shape(), lse.shape().cols), (shape, 1));
/// // The first token sees itself alone.
/// assert_eq!(out.read()?[..16], x.read()?[..16]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] if sizes, storage types, heads, lengths, positions, dilation, offset or scale
/// are not as above, [`Error::WrongDevice`], [`Error::OutOfMemory`] or [`Error::Limit`] if the result
/// cannot be held.
pub fn window_attention(q: &Dense, k: &Dense, v: &Dense, options: &WindowAttention) -> Result<(Dense, Dense)> {
    const OP: &str = "window_attention";
    let operands = [q.operand(), k.operand(), v.operand()];
    check(OP, &operands, options)?;
    let (batch, rows, device) = (operands[0].batch, operands[0].rows, q.device());
    let shape = DenseShape::new(rows, operands[2].cols).batch(batch).dtype(result_dtype(&operands.each_ref()));
    let units = cooperative::suits(&operands, options, cooperative::FORWARD_COLUMNS);
    let (out, shape) = if units { Output::stored(OP, device, shape)? } else { Output::dense(OP, device, shape)? };
    let (lse, lse_shape) = Output::dense(OP, device, DenseShape::new(rows, 1).batch(batch))?;
    let read = if units { operands } else { row_majors(OP, operands.each_ref())? };
    let mut problem = Problem::new(read, options)?;
    let [of_out, of_lse] = [&out.operand, &lse.operand].map(|operand| problem.grouped(operand));
    let cut = if units { problem.whole(OP, &[&of_out, &of_lse]) } else { problem.parts(OP, Lines::Queries, &[&of_out, &of_lse]) };
    let cut = cut?;
    if !cut.iter().all(|part| problem.is_in_words(part)) {
        problem.widen()?;
    }
    let [main, line] = [&KERNEL, &KERNEL_LINE].map(|kernels| for_dtype(kernels, problem.q.dtype));
    for part in cut {
        let results = [part.rows_of(&of_out), part.rows_of(&of_lse)];
        let results = results.each_ref();
        if units {
            cooperative::forward(&problem, &part, &results)?;
            continue;
        }
        let params = problem.params(&part);
        let by_tiles = Params { tiles: tiles(&params, params.rows, params.value_depth), ..params };
        problem.launch(main, &part, by_tiles, params.batch, &[], &results, &[])?;
        let by_lines = Params { tiles: line_tiles(&params, params.value_depth), ..params };
        problem.launch(line, &part, by_lines, params.batch, &[], &results, &[])?;
    }
    Ok((Dense::from_buffer(shape, out.finish()?), Dense::from_buffer(lse_shape, lse.finish()?)))
}

/// Workgroups of a kernel of tiles: 64 lines of one of the sequences that dilation makes, and 64
/// columns of a result of this width.
pub(crate) fn tiles(params: &Params, lines: i32, width: i32) -> u32 {
    let (lines, width, dilation) = (lines as u32, width as u32, params.dilation as u32);
    dilation.min(lines) * lines.div_ceil(dilation).div_ceil(64) * width.div_ceil(64)
}

/// Workgroups of a kernel of global lines: each and 128 columns.
pub(crate) fn line_tiles(params: &Params, width: i32) -> u32 {
    params.globals * (width as u32).div_ceil(128)
}

/// Checks what forward and backward need of q, k and v.
pub(crate) fn check(op: &'static str, [q, k, v]: &[Operand; 3], options: &WindowAttention) -> Result<()> {
    same_device(op, q, &[("k", k), ("v", v)])?;
    for (name, operand) in [("q", q), ("k", k), ("v", v)] {
        values(op, name, operand)?;
        same_dtype(op, name, operand, q.dtype, "the dtype of q")?;
    }
    same(op, "k", "columns", k.cols, q.cols, "the columns of q")?;
    same(op, "v", "batch", v.batch, k.batch, "the batch of k")?;
    same(op, "v", "rows", v.rows, k.rows, "the rows of k")?;
    options.check(op, [q.batch, k.batch, k.rows])
}

pub(crate) fn same_dtype(op: &'static str, argument: &'static str, operand: &Operand, want: Dtype, of: &str) -> Result<()> {
    if operand.dtype == want {
        return Ok(());
    }
    Err(Error::argument(op, argument, format!("dtype {}", operand.dtype), format!("dtype {want} ({of})")))
}

/// What the workgroups of a kernel hold: queries, or keys in the gradients of K and V.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Lines {
    Queries,
    Keys,
}

/// Some matrices of keys and the queries that share them; of a single one perhaps only some rows.
pub(crate) struct Part {
    pub matrices: Range<usize>,
    /// Whether some rows or keys are left out.
    cut: bool,
    rows: Range<usize>,
    keys: Range<usize>,
}

impl Part {
    /// Of an operand with a row for each query.
    pub fn rows_of(&self, operand: &Operand) -> Buffer {
        self.lines(operand, &self.rows)
    }

    /// Of an operand with a row for each key.
    pub fn keys_of(&self, operand: &Operand) -> Buffer {
        self.lines(operand, &self.keys)
    }

    fn lines(&self, operand: &Operand, range: &Range<usize>) -> Buffer {
        let matrices = operand.slice(self.matrices.clone()).buffer;
        let row = operand.cols * operand.dtype.bytes();
        if self.cut { matrices.view(range.start * row, (range.len() * row).next_multiple_of(4)) } else { matrices }
    }
}

/// The operands as kernels want them: row-major; query matrices that share keys side by side.
pub(crate) struct Problem {
    pub q: Operand,
    pub k: Operand,
    pub v: Operand,
    /// The global positions, then the length for each matrix of keys; nothing if there is neither.
    positions: Option<Buffer>,
    params: Params,
}

impl Problem {
    /// Of q, k and v, each row-major.
    pub fn new([q, k, v]: [Operand; 3], options: &WindowAttention) -> Result<Self> {
        let device = q.device();
        let mut globals: Vec<u32> = options.global.iter().map(|position| *position as u32).collect();
        globals.sort_unstable();
        globals.dedup();
        let mut positions = globals.clone();
        for length in options.lengths.iter().flatten() {
            positions.extend(std::iter::repeat_n(*length as u32, options.kv_heads));
        }
        let params = Params {
            batch: 0,
            group: (options.heads / options.kv_heads) as u32,
            rows: q.rows as i32,
            keys: k.rows as i32,
            depth: q.cols as i32,
            value_depth: v.cols as i32,
            offset: options.offset as i32,
            lower: options.band.lower() as i32,
            upper: options.band.upper() as i32,
            dilation: options.dilation as i32,
            globals: globals.len() as u32,
            lengths: if options.lengths.is_some() { globals.len() as u32 } else { NONE },
            first_key: 0,
            scale: options.scale.unwrap_or(1.0 / (q.cols as f32).sqrt()),
            tiles: 0,
        };
        let positions = if positions.is_empty() {
            None
        } else {
            let buffer = device.alloc(positions.len() * 4)?;
            device.write(&buffer, bytemuck::cast_slice(&positions))?;
            Some(buffer)
        };
        let mut new = Self { q, k, v, positions, params };
        new.q = new.grouped(&new.q);
        Ok(new)
    }

    /// Whether q, k and v of a part start where a word does, as kernels that read halves take them.
    pub fn is_in_words(&self, part: &Part) -> bool {
        [part.rows_of(&self.q), part.keys_of(&self.k), part.keys_of(&self.v)].iter().all(|view| view.offset.is_multiple_of(4))
    }

    /// From halves to f32.
    pub fn widen(&mut self) -> Result<()> {
        for operand in [&mut self.q, &mut self.k, &mut self.v] {
            *operand = widened(operand)?;
        }
        Ok(())
    }

    /// Matrices of queries in as many batch entries as there are matrices of keys.
    pub fn grouped(&self, operand: &Operand) -> Operand {
        let group = self.params.group as usize;
        Operand { batch: operand.batch / group, rows: operand.rows * group, ..operand.clone() }
    }

    /// The arguments for a part.
    pub fn params(&self, part: &Part) -> Params {
        let first = |range: &Range<usize>| range.start as i32;
        Params {
            batch: part.matrices.len() as u32 * self.params.group,
            rows: part.rows.len() as i32,
            keys: part.keys.len() as i32,
            offset: self.params.offset + first(&part.rows) - first(&part.keys),
            first_key: first(&part.keys),
            lengths: if self.params.lengths == NONE { NONE } else { self.params.lengths + part.matrices.start as u32 },
            ..self.params
        }
    }

    /// The work cut into matrices, so that each operand fits a binding.
    pub fn whole(&self, op: &'static str, more: &[&Operand]) -> Result<Vec<Part>> {
        let mut operands = vec![&self.q, &self.k, &self.v];
        operands.extend(more);
        let [rows, keys] = [self.params.rows, self.params.keys].map(|count| 0..count as usize);
        let part = |matrices| Part { matrices, cut: false, rows: rows.clone(), keys: keys.clone() };
        Ok(parts(op, &operands)?.into_iter().map(part).collect())
    }

    /// The work cut so that each operand fits a binding: into matrices, or if one of them is too large
    /// into lines with the partners that these meet. Groups of heads and global positions, which meet
    /// everything, cannot be cut so.
    pub fn parts(&self, op: &'static str, lines: Lines, more: &[&Operand]) -> Result<Vec<Part>> {
        let Params { rows, keys, group, globals, offset, lower, upper, dilation, .. } = self.params;
        let widest = [&self.q, &self.k, &self.v].iter().chain(more).map(|operand| operand.cols).max().unwrap_or(1);
        let fit = self.q.device().max_binding().min(4 * MAX_LEN) / (4 * widest); // lines in a binding
        let fits = fit >= (rows as usize * group as usize).max(keys as usize);
        let beyond = (i64::from(lower) + i64::from(upper)).saturating_mul(dilation.into());
        let step = (fit as i64 - beyond - ALIGNED as i64) / ALIGNED as i64 * ALIGNED as i64;
        if fits || group > 1 || globals > 0 || step <= 0 {
            return self.whole(op, more);
        }
        // Line i meets partners from i + before to i + after.
        let [before, after] = match lines {
            Lines::Queries => [-lower, upper].map(|side| i64::from(offset) + i64::from(side) * i64::from(dilation)),
            Lines::Keys => [-upper, lower].map(|side| i64::from(side) * i64::from(dilation) - i64::from(offset)),
        };
        let [count, partners] = if lines == Lines::Queries { [rows, keys] } else { [keys, rows] }.map(i64::from);
        let mut all = Vec::new();
        for matrix in 0..self.q.batch {
            for start in (0..count).step_by(step as usize) {
                let end = (start + step).min(count);
                let first = (start + before).clamp(0, partners - 1) as usize / ALIGNED * ALIGNED;
                let met = first..((end + after).clamp(0, partners) as usize).max(first + 1);
                let range = start as usize..end as usize;
                let [rows, keys] = if lines == Lines::Queries { [range, met] } else { [met, range] };
                all.push(Part { matrices: matrix..matrix + 1, cut: true, rows, keys });
            }
        }
        Ok(all)
    }

    /// Launches a kernel over so many matrices: q, k, v and positions are read, then `more`.
    #[allow(clippy::too_many_arguments)] // what varies between launches
    pub fn launch(
        &self,
        kernel: &'static Kernel,
        part: &Part,
        params: Params,
        matrices: u32,
        more: &[&Buffer],
        outputs: &[&Buffer],
        constants: &[(&'static str, f64)],
    ) -> Result<()> {
        let (q, k, v) = (part.rows_of(&self.q), part.keys_of(&self.k), part.keys_of(&self.v));
        let mut inputs = vec![&q, &k, &v, self.positions.as_ref().unwrap_or(&q)];
        inputs.extend(more);
        q.device.launch(&Launch {
            kernel,
            params: bytemuck::bytes_of(&params),
            inputs: &inputs,
            outputs,
            groups: u64::from(matrices) * u64::from(params.tiles),
            constants,
            function: None,
        })
    }
}

/// Operands as kernels off the matrix units read them: row-major, and as they are stored if they are that and kernels
/// of their storage type run here; else f32.
pub(crate) fn row_majors<const N: usize>(op: &'static str, operands: [&Operand; N]) -> Result<[Operand; N]> {
    if operands.iter().all(|operand| operand.layout == Layout::Rows) {
        return as_read(operands, &[]);
    }
    let mut copies = operands.map(Operand::clone);
    for operand in &mut copies {
        *operand = row_major(op, operand)?;
    }
    Ok(copies)
}

/// Row-major and f32: itself, or a copy.
pub(crate) fn row_major(op: &'static str, operand: &Operand) -> Result<Operand> {
    if operand.layout == Layout::Rows {
        return widened(operand);
    }
    let shape = DenseShape::new(operand.rows, operand.cols).batch(operand.batch);
    let (copy, _) = Output::dense(op, operand.device(), shape)?;
    banded_move::run(op, operand, &copy.operand, [0, 0], 0.0)?;
    Ok(copy.operand)
}
