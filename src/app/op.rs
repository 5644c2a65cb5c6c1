//! `bandsaw op`.

use std::path::PathBuf;

use bandsaw::{
    Band, Banded, Dense, Device, Error, Expr, Layout, Result, Semiring, WindowAttention as Options, banded_from_dense, banded_map,
    banded_matmul_band, banded_matmul_dense, banded_matmul_index, banded_matvec, banded_relayout, banded_resize, banded_shift_band,
    banded_shift_cols, banded_shift_rows, banded_softmax, banded_to_dense, banded_zip, find_band, semiring_matmul, semiring_matmul_index,
    window_attention, window_matmul,
};

use super::matrix::{LayoutName, holds, readable, single, writable};
use super::progress::Progress;
use super::{Files, Matrix};

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Operation {
    /// A · B, both band matrices, over --semiring; only in the band --lower --upper, if there is one
    Matmul,
    /// The p, from 0, that makes each entry of A · B, for --semiring max, prodmax or sample
    MatmulIndex,
    /// A · B, both dense, over --semiring
    SemiringMatmul,
    /// The p that makes each entry of it
    SemiringMatmulIndex,
    /// A · V, V dense, over --semiring
    MatmulDense,
    /// A · x, x a dense column
    Matvec,
    /// The entries of Q · Kᵀ in the band --lower --upper; Q and K dense
    WindowMatmul,
    /// softmax(--scale · Q · Kᵀ) · V in the band --lower --upper; Q, K and V dense
    WindowAttention,
    /// Softmax along the rows of --scale · A, stored entries only
    Softmax,
    /// --expr over the entries a and b of two matrices, on the union of their bands
    Zip,
    /// --expr over the entries a
    Map,
    /// The same matrix in the band --lower --upper
    Resize,
    /// C[i,j] = A[i + t, j], t from --by
    ShiftRows,
    /// C[i,j] = A[i, j + t], t from --by
    ShiftCols,
    /// Slots of the band storage move by t, from --by
    ShiftBand,
    /// Aᵀ
    Transpose,
    /// All entries
    ToDense,
    /// The band found, or that of --lower --upper
    FromDense,
    /// Read in the other layout, stored in --layout
    Relayout,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Ring {
    /// (+, ×)
    Sum,
    /// (logsumexp, +)
    Log,
    /// (max, +)
    Max,
    /// (max, ×)
    Prodmax,
    /// as log; its index is a draw
    Sample,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    bandsaw op matmul a.mtx b.mtx -o c.mtx\n  \
    bandsaw op matmul a.mtx a.mtx --transpose-b --semiring max -o c.npy\n  \
    bandsaw op matmul a.mtx b.mtx --lower 0 --upper 0 -o diagonal.mtx\n  \
    bandsaw op matmul-index a.mtx b.mtx --semiring max -o through.npy\n  \
    bandsaw op zip a.mtx b.mtx --expr '(a + b) / 2' -o mean.mtx\n  \
    bandsaw op map a.mtx --expr 'clamp(a, -1, 1)' -o clamped.mtx\n  \
    bandsaw op shift-cols a.mtx --by -1 -o shifted.mtx\n  \
    bandsaw op resize a.mtx --lower 0 --upper 2 -o upper.mtx\n  \
    bandsaw op window-matmul q.npy k.npy --lower 128 --upper 0 -o scores.npy\n  \
    bandsaw op window-attention q.npy k.npy v.npy --lower 128 --upper 0 --global 0 -o out.npy\n  \
    bandsaw op matvec a.npy x.npy --stored 1,2 -o y.npy\n\n\
    .mtx files and dense .npy files become band matrices by the band found in them. Results in a band are\n\
    written without the value outside it, which the line at the end names where it is not 0.")]
#[derive(Clone)]
pub struct Args {
    #[arg(value_enum)]
    operation: Operation,
    /// One to three .mtx or .npy files
    #[arg(required = true, num_args = 1..=3, value_name = "FILE")]
    inputs: Vec<PathBuf>,
    /// The result, .mtx or .npy
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// What a product sums with [default: sum]
    #[arg(long, value_enum)]
    semiring: Option<Ring>,
    /// Seed of the semiring sample [default: 0]
    #[arg(long)]
    seed: Option<u32>,
    /// Expression over a and b: + - * / exp ln abs sqrt tanh sin cos min max clamp select_ge
    #[arg(long, allow_hyphen_values = true)]
    expr: Option<String>,
    /// Places to shift by
    #[arg(long, visible_alias = "t", value_name = "T", allow_negative_numbers = true)]
    by: Option<i64>,
    /// Diagonals below the main one, may be negative
    #[arg(long, allow_negative_numbers = true)]
    lower: Option<i64>,
    /// Diagonals above the main one, may be negative
    #[arg(long, allow_negative_numbers = true)]
    upper: Option<i64>,
    /// What scores are multiplied with [default: 1; for attention 1/√depth]
    #[arg(long, allow_negative_numbers = true, value_parser = single)]
    scale: Option<f32>,
    /// Keys to a step of attention's window [default: 1]
    #[arg(long)]
    dilation: Option<usize>,
    /// Positions that attend everywhere and are attended by all
    #[arg(long, value_name = "POSITIONS", value_delimiter = ',')]
    global: Vec<usize>,
    /// Use the transpose of the first matrix
    #[arg(long)]
    transpose_a: bool,
    /// Use the transpose of the second matrix
    #[arg(long)]
    transpose_b: bool,
    #[command(flatten)]
    files: Files,
}

impl Args {
    fn name(&self) -> String {
        use clap::ValueEnum;
        self.operation.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn missing(&self, argument: &'static str, allowed: &str) -> Error {
        Error::Argument { op: "op", argument, got: format!("nothing for {}", self.name()), allowed: allowed.into() }
    }

    fn ring(&self) -> Semiring {
        match self.semiring.unwrap_or(Ring::Sum) {
            Ring::Sum => Semiring::Sum,
            Ring::Log => Semiring::Log,
            Ring::Max => Semiring::Max,
            Ring::Prodmax => Semiring::ProdMax,
            Ring::Sample => Semiring::Sample { seed: self.seed.unwrap_or(0) },
        }
    }

    fn expr(&self) -> Result<Expr> {
        self.expr.as_deref().ok_or_else(|| self.missing("--expr", "an expression like '(a + b) / 2'"))?.parse()
    }

    fn by(&self) -> Result<i64> {
        self.by.ok_or_else(|| self.missing("--by", "a whole number"))
    }

    fn band(&self) -> Result<Option<Band>> {
        match (self.lower, self.upper) {
            (None, None) => Ok(None),
            (Some(lower), Some(upper)) => Band::new(lower, upper).map(Some),
            (lower, _) => Err(self.missing(if lower.is_some() { "--upper" } else { "--lower" }, "a whole number beside the other")),
        }
    }

    fn need_band(&self) -> Result<Band> {
        self.band()?.ok_or_else(|| self.missing("--lower, --upper", "both"))
    }

    /// Refuses options that are given and would do nothing.
    fn check_options(&self) -> Result<()> {
        use Operation::*;
        let takes: &[&str] = match self.operation {
            Matmul => &["--semiring", "--seed", "--lower", "--upper"],
            MatmulIndex | SemiringMatmul | SemiringMatmulIndex | MatmulDense => &["--semiring", "--seed"],
            WindowMatmul | Resize | FromDense => &["--lower", "--upper"],
            WindowAttention => &["--lower", "--upper", "--scale", "--dilation", "--global"],
            Softmax => &["--scale"],
            Zip | Map => &["--expr"],
            ShiftRows | ShiftCols | ShiftBand => &["--by"],
            Matvec | Transpose | ToDense | Relayout => &[],
        };
        let given = [
            ("--semiring", self.semiring.is_some()),
            ("--seed", self.seed.is_some()),
            ("--expr", self.expr.is_some()),
            ("--by", self.by.is_some()),
            ("--lower", self.lower.is_some()),
            ("--upper", self.upper.is_some()),
            ("--scale", self.scale.is_some()),
            ("--dilation", self.dilation.is_some()),
            ("--global", !self.global.is_empty()),
            ("--transpose-b", self.transpose_b && self.inputs.len() < 2),
        ];
        match given.into_iter().find(|(option, given)| *given && !takes.contains(option)) {
            None => Ok(()),
            Some((argument, _)) => {
                let allowed = if takes.is_empty() { "no such option".into() } else { format!("no option but {}", takes.join(", ")) };
                Err(Error::Argument { op: "op", argument, got: format!("a value for {}", self.name()), allowed })
            }
        }
    }

    fn attention(&self) -> Result<Options> {
        let options = Options::new(self.need_band()?).dilation(self.dilation.unwrap_or(1)).global(self.global.clone());
        Ok(Options { scale: self.scale, ..options })
    }

    /// Input `n` as a band matrix.
    fn banded(&self, device: &Device, n: usize) -> Result<Banded> {
        let a = self.files.banded(device, &self.inputs[n])?;
        holds(&self.output, a.shape().batch)?;
        Ok(if [self.transpose_a, self.transpose_b, false][n] { a.t() } else { a })
    }

    fn dense(&self, device: &Device, n: usize) -> Result<Dense> {
        let a = self.files.dense(device, &self.inputs[n])?;
        holds(&self.output, a.shape().batch)?;
        Ok(if [self.transpose_a, self.transpose_b, false][n] { a.t() } else { a })
    }

    /// The second input as a dense matrix beside a band matrix, which alone may be in band storage.
    fn beside(&self, device: &Device) -> Result<Dense> {
        let b = self.files.plain().dense(device, &self.inputs[1])?;
        Ok(if self.transpose_b { b.t() } else { b })
    }
}

fn in_layout(a: Banded, layout: Layout) -> Result<Banded> {
    if a.shape().layout == layout { Ok(a) } else { banded_relayout(&a, layout) }
}

pub fn run(args: &Args, device: &Device) -> Result<()> {
    use Operation::*;
    let (count, allowed) = match args.operation {
        WindowAttention => (3, "three files"),
        Matmul | MatmulIndex | SemiringMatmul | SemiringMatmulIndex | MatmulDense | Matvec | WindowMatmul | Zip => (2, "two files"),
        _ => (1, "one file"),
    };
    if args.inputs.len() != count {
        return Err(Error::Argument {
            op: "op",
            argument: "FILE",
            got: format!("{} for {}", args.inputs.len(), args.name()),
            allowed: allowed.into(),
        });
    }
    args.check_options()?;
    readable(&args.inputs)?;
    holds(&args.output, 1)?;
    writable(&args.output)?;
    let progress = Progress::new(3);
    progress.step("reading");
    let banded = |n| args.banded(device, n);
    let dense = |n| args.dense(device, n);
    let timed = |work: &dyn Fn() -> Result<Matrix>| {
        progress.step("computing");
        device.time(work)
    };
    let (result, time) = match args.operation {
        Matmul => {
            let (a, b) = (banded(0)?, banded(1)?);
            let band = args.band()?.unwrap_or(a.shape().band * b.shape().band);
            timed(&|| banded_matmul_band(&a, &b, args.ring(), band).map(Matrix::Banded))
        }
        MatmulIndex => {
            // The result is in A's layout; indices can't be moved.
            let (a, b) = (in_layout(banded(0)?, args.files.layout.into())?, banded(1)?);
            timed(&|| banded_matmul_index(&a, &b, args.ring()).map(Matrix::Banded))
        }
        SemiringMatmulIndex => {
            let (a, b) = (dense(0)?, dense(1)?);
            timed(&|| semiring_matmul_index(&a, &b, args.ring()).map(Matrix::Dense))
        }
        SemiringMatmul => {
            let (a, b) = (dense(0)?, dense(1)?);
            timed(&|| semiring_matmul(&a, &b, args.ring()).map(Matrix::Dense))
        }
        MatmulDense => {
            let (a, v) = (banded(0)?, args.beside(device)?);
            timed(&|| banded_matmul_dense(&a, &v, args.ring()).map(Matrix::Dense))
        }
        Matvec => {
            let (a, x) = (banded(0)?, args.beside(device)?);
            timed(&|| banded_matvec(&a, &x).map(Matrix::Dense))
        }
        WindowMatmul => {
            let (q, k, band) = (dense(0)?, dense(1)?, args.need_band()?);
            timed(&|| window_matmul(&q, &k, band).map(Matrix::Banded))
        }
        WindowAttention => {
            let (q, k, v, options) = (dense(0)?, dense(1)?, dense(2)?, args.attention()?);
            timed(&|| window_attention(&q, &k, &v, &options).map(|(out, _)| Matrix::Dense(out)))
        }
        Softmax => {
            let a = banded(0)?;
            timed(&|| banded_softmax(&a, args.scale.unwrap_or(1.0)).map(Matrix::Banded))
        }
        Zip => {
            let (a, b, f) = (banded(0)?, banded(1)?, args.expr()?);
            timed(&|| banded_zip(&a, &b, &f).map(Matrix::Banded))
        }
        Map => {
            let (a, f) = (banded(0)?, args.expr()?);
            timed(&|| banded_map(&a, &f).map(Matrix::Banded))
        }
        Resize => {
            let (a, band) = (banded(0)?, args.need_band()?);
            timed(&|| banded_resize(&a, band).map(Matrix::Banded))
        }
        ShiftRows | ShiftCols | ShiftBand => {
            let (a, t) = (banded(0)?, args.by()?);
            let shift = match args.operation {
                ShiftRows => banded_shift_rows,
                ShiftCols => banded_shift_cols,
                _ => banded_shift_band,
            };
            timed(&|| shift(&a, t).map(Matrix::Banded))
        }
        Transpose => {
            let a = banded(0)?;
            timed(&|| Ok(Matrix::Banded(a.t())))
        }
        ToDense => {
            let a = banded(0)?;
            timed(&|| banded_to_dense(&a).map(Matrix::Dense))
        }
        FromDense => {
            let d = dense(0)?;
            let band = match args.band()? {
                Some(band) => band,
                None => find_band(&d)?.map_or_else(|| Band::new(0, 0), Ok)?,
            };
            timed(&|| banded_from_dense(&d, band, args.files.layout.into(), 0.0).map(Matrix::Banded))
        }
        Relayout => {
            let to: Layout = args.files.layout.into();
            let from = if to == Layout::Rows { LayoutName::Columns } else { LayoutName::Rows };
            let mut files = args.files.clone();
            files.layout = from;
            let a = Args { files, ..args.clone() }.banded(device, 0)?;
            timed(&|| banded_relayout(&a, to).map(Matrix::Banded))
        }
    }?;
    // Some results are in an operand's layout, or have one of their own.
    let layout = args.files.layout.into();
    let result = if let Matrix::Banded(band) = result { Matrix::Banded(in_layout(band, layout)?) } else { result };
    progress.step("writing");
    result.write(&args.output, &format!("bandsaw op {}: {}", args.name(), result.describe()))?;
    drop(progress);
    let milliseconds = time.as_secs_f64() * 1e3;
    super::print(&format!("{}: {} ({} on {device}, {milliseconds:.3} ms)\n", args.output.display(), result.describe(), args.name()))?;
    Ok(())
}
