//! Operations that between them launch every kernel with the values of its constants, on small matrices.

use bandsaw::*;

use crate::common::noise;

const RINGS: [Semiring; 5] = [Semiring::Sum, Semiring::Log, Semiring::Max, Semiring::ProdMax, Semiring::Sample { seed: 7 }];
const LAYOUTS: [Layout; 2] = [Layout::Rows, Layout::Columns];
const TYPES: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::Bf16];

/// What an operation gave.
pub struct Outcome {
    pub what: String,
    pub dtype: Dtype,
    pub values: Vec<f32>,
}

/// Runs operations on a device and keeps what they gave.
struct Work<'a> {
    device: &'a Device,
    outcomes: Vec<Outcome>,
}

pub fn everything(device: &Device) -> Result<Vec<Outcome>> {
    let mut work = Work { device, outcomes: Vec::new() };
    work.products()?;
    work.gradients()?;
    work.elementwise()?;
    work.attention()?;
    work.blocks()?;
    work.on_blocks()?;
    Ok(work.outcomes)
}

impl Work<'_> {
    fn keep(&mut self, what: String, dtype: Dtype, values: Vec<f32>) {
        self.outcomes.push(Outcome { what, dtype, values });
    }

    fn banded(&mut self, what: &str, result: &Banded) -> Result<()> {
        let shape = result.shape();
        let index = |n: u32| n as i32 as f32;
        let values = if shape.dtype == Dtype::U32 { result.read_u32()?.into_iter().map(index).collect() } else { result.read()? };
        self.keep(format!("{what}: {}, {:?}, {}", shape.band, shape.layout, shape.dtype), shape.dtype, values);
        Ok(())
    }

    fn dense(&mut self, what: &str, result: &Dense) -> Result<()> {
        let shape = result.shape();
        self.keep(format!("{what}: {} × {}, {}", shape.rows, shape.cols, shape.dtype), shape.dtype, result.read()?);
        Ok(())
    }

    fn sparse(&mut self, what: &str, result: &BlockSparse) -> Result<()> {
        self.keep(format!("{what}: {}, {}", result.pattern(), result.dtype()), result.dtype(), result.read()?);
        Ok(())
    }

    fn a_band(&self, seed: u64, n: usize, [lower, upper]: [i64; 2], layout: Layout, dtype: Dtype) -> Result<Banded> {
        let shape = BandedShape::new(n, n, Band::new(lower, upper)?).batch(2).layout(layout).dtype(dtype);
        Banded::from_fn(self.device, shape, |b, i, j| noise(seed, b, i, j))
    }

    fn a_dense(&self, seed: u64, [batch, rows, cols]: [usize; 3], dtype: Dtype) -> Result<Dense> {
        Dense::from_fn(self.device, DenseShape::new(rows, cols).batch(batch).dtype(dtype), |b, i, j| noise(seed, b, i, j))
    }

    fn some_blocks(&self, seed: u64, shape: [usize; 2], block: [usize; 2], count: usize) -> Result<BlockSparse> {
        let pattern = BlockPattern::random(shape, block, count, seed)?;
        BlockSparse::from_fn(self.device, &pattern, |i, j| noise(seed, 0, i, j))
    }

    /// Every number of columns of an invocation, with a window that slides and one that stands still. The rings and
    /// types are one text each in all of these: beyond the first, the least and the most, or the least.
    fn products(&mut self) -> Result<()> {
        const F32: Dtype = Dtype::F32;
        for (ring, dtype) in RINGS.into_iter().flat_map(|ring| TYPES.map(|dtype| (ring, dtype))) {
            let (all, few) = (ring == Semiring::Sum && dtype == F32, ring != Semiring::Sum && dtype != F32);
            let some = |all_of: &[usize; 5]| match (all, few) {
                (true, _) => all_of.to_vec(),
                (_, true) => vec![all_of[0]],
                _ => vec![all_of[0], all_of[4]],
            };
            for beside in some(&[5, 12, 20, 30, 50]) {
                let a = self.a_band(1, 70, [2, 3], Layout::Rows, dtype)?;
                let b = self.a_band(2, 70, [beside as i64, beside as i64], Layout::Columns, dtype)?;
                self.banded(&format!("{ring:?}"), &banded_matmul(&a, &b, ring)?)?;
            }
            for cols in some(&[32, 48, 64, 96, 144]) {
                let (a, b) = (self.a_dense(3, [1, 20, 33], dtype)?, self.a_dense(4, [1, 33, cols], dtype)?);
                self.dense(&format!("{ring:?}"), &semiring_matmul(&a, &b, ring)?)?;
            }
        }
        // Narrow bands that lie in fours, with two to eight lanes to a strip.
        for (ring, beside) in RINGS.into_iter().flat_map(|ring| [(ring, 4), (ring, 8)]).chain([(Semiring::Sum, 16), (Semiring::Log, 16)]) {
            let a = self.a_band(1, 68, [beside, beside], Layout::Rows, F32)?;
            let b = self.a_band(2, 68, [beside, beside], Layout::Rows, F32)?;
            self.banded(&format!("{ring:?}, fours"), &banded_matmul(&a, &b, ring)?)?;
        }
        // Wide ones, in halves on matrix units.
        let (a, b) = (self.a_band(1, 80, [48, 52], Layout::Rows, F32)?, self.a_band(2, 80, [50, 46], Layout::Rows, F32)?);
        self.banded("wide, fours", &banded_matmul(&a, &b, Semiring::Sum)?)?;
        // Wider ones, in tiles, and transposed.
        for (n, band) in [(80, [64, 68]), (78, [61, 70])] {
            let (a, b) = (self.a_band(1, n, band, Layout::Rows, F32)?, self.a_band(2, n, band, Layout::Rows, F32)?);
            self.banded("wider", &banded_matmul(&a, &b, Semiring::Sum)?)?;
            self.banded("wider, transposed", &banded_matmul(&a, &b.t(), Semiring::Sum)?)?;
            self.banded("wider, from columns", &banded_matmul(&a.t(), &b, Semiring::Sum)?)?;
        }
        // The scales of (logsumexp, +) by wider and wider rows.
        for cols in [9, 33, 65, 129] {
            let (a, b) = (self.a_dense(5, [1, 10, cols], F32)?, self.a_dense(6, [1, cols, 10], F32)?);
            self.dense("logsumexp", &semiring_matmul(&a, &b, Semiring::Log)?)?;
        }
        for dtype in TYPES {
            // A band whose entries lie four by four, and one where they don't.
            for (rows, lower) in [(72, 8), (70, 9)] {
                let (q, k) = (self.a_dense(7, [2, rows, 32], dtype)?, self.a_dense(8, [2, rows, 32], dtype)?);
                let scores = window_matmul(&q, &k, Band::new(lower, 20)?)?;
                self.banded("window product", &scores)?;
                let (gq, gk) = window_matmul_backward(&q, &k, &scores)?;
                self.dense("its gradient by Q", &gq)?;
                self.dense("its gradient by K", &gk)?;
                self.dense("unwindow", &banded_matmul_dense(&scores, &q, Semiring::Sum)?)?;
            }
        }
        Ok(())
    }

    fn gradients(&mut self) -> Result<()> {
        for (layout, ring) in LAYOUTS.into_iter().flat_map(|layout| RINGS.map(|ring| (layout, ring))) {
            let a = self.a_band(11, 40, [2, 1], layout, Dtype::F32)?;
            let b = self.a_band(12, 40, [1, 3], layout, Dtype::F32)?;
            let c = banded_matmul(&a, &b, ring)?;
            let g = Banded::from_fn(self.device, c.shape().fill(0.0), |b, i, j| noise(13, b, i, j))?;
            let (ga, gb) = banded_matmul_backward(&a, &b, &c, &g, ring)?;
            self.banded(&format!("{ring:?}, gradient by A"), &ga)?;
            self.banded(&format!("{ring:?}, gradient by B"), &gb)?;
            if ![Semiring::Sum, Semiring::Log].contains(&ring) {
                self.banded(&format!("{ring:?}, index"), &banded_matmul_index(&a, &b, ring)?)?;
            }
            if ring == Semiring::Log {
                let (ha, hb, hg) = banded_matmul_double_backward(&a, &b, &c, &g, &a, &b)?;
                self.banded("second derivative by A", &ha)?;
                self.banded("second derivative by B", &hb)?;
                self.banded("second derivative by g", &hg)?;
            }
        }
        let (a, b) = (self.a_dense(14, [2, 20, 70], Dtype::F32)?, self.a_dense(15, [2, 70, 24], Dtype::F32)?);
        let c = semiring_matmul(&a, &b, Semiring::Max)?;
        let (ga, gb) = semiring_matmul_backward(&a, &b, &c, &c, Semiring::Max)?;
        self.dense("gradient by A", &ga)?;
        self.dense("gradient by B", &gb)
    }

    fn elementwise(&mut self) -> Result<()> {
        for layout in LAYOUTS {
            let m = self.a_band(21, 50, [2, 3], layout, Dtype::F32)?;
            let n = self.a_band(22, 50, [1, 4], layout, Dtype::F16)?;
            self.dense("matvec", &banded_matvec(&m, &self.a_dense(23, [2, 50, 1], Dtype::F32)?)?)?;
            let p = banded_softmax(&m, 0.7)?;
            self.banded("softmax", &p)?;
            self.banded("softmax, gradient", &banded_softmax_backward(&p, &m, 0.7)?)?;
            self.banded("shift of rows", &banded_shift_rows(&m, 2)?)?;
            self.banded("shift of columns", &banded_shift_cols(&m, -1)?)?;
            self.banded("shift of the band", &banded_shift_band(&m, 1)?)?;
            self.banded("from dense", &banded_from_dense(&banded_to_dense(&m)?, Band::window(2)?, layout, 0.0)?)?;
            self.banded("copy", &m.to_device(self.device)?)?;
            // Every function and operator that an expression can have.
            for text in EXPRESSIONS {
                let f: Expr = text.parse()?;
                let z = banded_zip(&m, &n, &f)?;
                let (ga, gb) = banded_zip_backward(&m, &n, &f, &z)?;
                self.banded(text, &z)?;
                self.banded(&format!("{text}, gradient by a"), &ga)?;
                self.banded(&format!("{text}, gradient by b"), &gb)?;
            }
        }
        Ok(())
    }

    /// Columns that are no pieces of 16, and that are; f32 and halves, with and without what kernels of lines compute.
    fn attention(&mut self) -> Result<()> {
        let options = WindowAttention::new(Band::new(9, 4)?).heads(4, 2).lengths([70, 61]);
        let variants = [options.clone(), options.clone().global([0, 33]), options.clone().dilation(3)];
        let mut cases: Vec<_> = variants.iter().flat_map(|options| TYPES.map(|dtype| (options, dtype, [20, 24]))).collect();
        cases.push((&options, Dtype::F16, [16, 16]));
        for (options, dtype, [depth, columns]) in cases {
            let (q, g) = (self.a_dense(31, [8, 70, depth], dtype)?, self.a_dense(34, [8, 70, columns], dtype)?);
            let (k, v) = (self.a_dense(32, [4, 70, depth], dtype)?, self.a_dense(33, [4, 70, columns], dtype)?);
            let (out, lse) = window_attention(&q, &k, &v, options)?;
            let (dq, dk, dv) = window_attention_backward(&q, &k, &v, &out, &lse, &g, options)?;
            for (what, result) in [("attention", out), ("logsumexp", lse), ("dQ", dq), ("dK", dk), ("dV", dv)] {
                self.dense(what, &result)?;
            }
        }
        Ok(())
    }

    /// Every tile, with sides that are and are not multiples of 4, every flag, and pieces of 16 in halves.
    fn blocks(&mut self) -> Result<()> {
        for (block, tokens) in [
            ([64, 64], 70),
            ([64, 64], 40),
            ([32, 32], 70),
            ([32, 32], 40),
            ([32, 32], 72),
            ([32, 12], 70),
            ([16, 16], 40),
            ([17, 18], 40),
            ([4, 4], 40),
        ] {
            let w = self.some_blocks(41, [block[0] * 2, block[1] * 3], block, 4)?;
            let x = self.a_dense(42, [2, tokens, block[1] * 3], Dtype::F32)?;
            let y = block_matmul(&x, &w.t())?;
            let (gx, gw) = block_matmul_backward(&x, &w.t(), &y)?;
            self.dense("X · Wᵀ", &y)?;
            self.dense("its gradient by X", &gx)?;
            self.sparse("its gradient by W", &gw)?;
            let z = self.a_dense(43, [1, block[1] * 3, tokens], Dtype::F32)?;
            let y = block_matmul_left(&w, &z)?;
            let (gw, gz) = block_matmul_left_backward(&w, &z, &y)?;
            self.dense("W · X", &y)?;
            self.sparse("its gradient by W", &gw)?;
            self.dense("its gradient by X", &gz)?;
        }
        // So many tokens that blocks are turned round first.
        for (dtype, tokens) in [(Dtype::F32, 2048), (Dtype::F16, 4096)] {
            let w = self.some_blocks(46, [64, 64], [32, 32], 2)?.to_dtype(dtype)?;
            self.dense("X · Wᵀ", &block_matmul(&self.a_dense(47, [1, tokens, 64], dtype)?, &w.t())?)?;
        }
        // As many walks along a column as leave it to 8 lanes, or to 1.
        for tokens in [80, 528] {
            let w = self.some_blocks(50, [256, 8], [4, 4], 100)?;
            self.dense("walk", &block_matmul(&self.a_dense(51, [1, tokens, 8], Dtype::F32)?, &w.t())?)?;
            let pattern = BlockPattern::full([tokens / 4, 128], [4, 4])?;
            let (a, b) = (self.a_dense(52, [1, 24, tokens / 4], Dtype::F32)?, self.a_dense(53, [1, 24, 128], Dtype::F32)?);
            self.sparse("sampled walk", &block_sddmm(&a, &b, &pattern)?)?;
        }
        // So many tokens that they are summed in parts.
        for dtype in [Dtype::F32, Dtype::F16] {
            let w = self.some_blocks(44, [96, 64], [32, 32], 4)?.to_dtype(dtype)?;
            for tokens in [70, 1100, 1104] {
                let x = self.a_dense(48, [1, tokens, 64], dtype)?;
                let y = block_matmul(&x, &w.t())?;
                let (gx, gw) = block_matmul_backward(&x, &w.t(), &y)?;
                self.dense("X · Wᵀ", &y)?;
                self.dense("its gradient by X", &gx)?;
                self.sparse("its gradient by W", &gw)?;
            }
        }
        Ok(())
    }

    fn on_blocks(&mut self) -> Result<()> {
        let (w, u) = (self.some_blocks(44, [96, 64], [32, 32], 4)?, self.some_blocks(45, [96, 64], [32, 32], 3)?);
        let bias = self.a_dense(49, [1, 1, 96], Dtype::F32)?;
        for activation in [Activation::None, Activation::Relu, Activation::Gelu] {
            for tokens in [72, 40, 9] {
                let x = self.a_dense(46, [1, tokens, 64], Dtype::F32)?;
                let y = block_linear(&x, &w, Some(&bias), activation)?;
                let gradients = block_linear_backward(&x, &w, Some(&bias), activation, &y, &y)?;
                self.dense(&format!("layer, {activation:?}"), &y)?;
                self.dense("its gradient by X", &gradients.x)?;
                self.sparse("its gradient by W", &gradients.w)?;
            }
        }
        let product = block_sparse_matmul(&w, &u.t())?;
        let (gw, gu) = block_sparse_matmul_backward(&w, &u.t(), &product)?;
        self.sparse("W · Uᵀ", &product)?;
        self.sparse("its gradient by W", &gw)?;
        self.sparse("its gradient by Uᵀ", &gu)?;
        self.sparse("W + U", &block_add(&w, &u)?)?;
        self.sparse("W at U's blocks", &block_select(&w, u.pattern())?)?;
        let whole = block_to_dense(&w)?;
        self.dense("W as dense", &whole)?;
        self.sparse("its gradient", &block_to_dense_backward(&w, &whole)?)?;
        self.dense("a gradient from blocks", &block_from_dense_backward(&w)?)?;
        self.sparse("W pruned", &block_prune(&w, 0.5)?)?;
        self.keep("norms".into(), Dtype::F32, block_norms(&w, 1.0)?);
        Ok(())
    }
}

const EXPRESSIONS: [&str; 4] =
    ["(a + b) / 2", "sqrt(abs(a)) + exp(b) * tanh(a) + ln(abs(b) + 1)", "sin(a) - cos(b)", "max(a, b) * min(a, 0.5) - -a"];
