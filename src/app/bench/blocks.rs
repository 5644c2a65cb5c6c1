//! What is measured of block-sparse matrices.

use bandsaw::{
    Activation, BlockPattern, BlockSparse, Dense, DenseShape, Device, Dtype, Result, block_linear, block_matmul, block_matmul_left,
    block_sddmm, block_sparse_matmul,
};

use super::cases::{Case, Run, dense, random, turns};

/// X is tokens × side, W side × side in square blocks.
#[derive(Clone, Copy)]
struct Shape {
    tokens: usize,
    side: usize,
    block: usize,
    density: f64,
    dtype: Dtype,
}

impl Shape {
    fn stored(self) -> usize {
        let grid = self.side / self.block;
        (self.density * (grid * grid) as f64).round() as usize
    }

    fn pattern(self) -> Result<BlockPattern> {
        BlockPattern::random([self.side; 2], [self.block; 2], self.stored(), 1)
    }

    fn weights(self, device: &Device) -> Result<BlockSparse> {
        let mut next = random();
        BlockSparse::from_fn(device, &self.pattern()?, |_, _| next())?.to_dtype(self.dtype)
    }

    fn tokens(self, device: &Device) -> Result<Dense> {
        match self.dtype {
            Dtype::F16 | Dtype::Bf16 => {
                let mut next = random();
                Dense::from_fn(device, DenseShape::new(self.tokens, self.side).dtype(self.dtype), |_, _, _| next())
            }
            _ => dense(device, 1, self.tokens, self.side),
        }
    }

    /// X in as many copies as no cache holds together.
    fn tokens_in_turns(self, device: &Device) -> Result<Vec<Dense>> {
        let bytes = self.tokens * self.side * self.dtype.bytes();
        if bytes > 64 << 20 { Ok(vec![self.tokens(device)?]) } else { turns(|| self.tokens(device)) }
    }

    fn case(self, operation: &'static str, setup: impl Fn(&Device) -> Result<Run> + 'static) -> Case {
        let Self { tokens, side, block, density, dtype } = self;
        let values = self.stored() * block * block;
        Case {
            operation,
            shape: format!("{tokens} × {side} · {side} × {side}, {block} × {block}, {dtype}, density {density}"),
            bytes: ((2 * tokens * side + values) * dtype.bytes()) as f64,
            flops: 2.0 * tokens as f64 * values as f64,
            setup: Box::new(setup),
        }
    }
}

type Forward = fn(&Dense, &BlockSparse) -> Result<()>;

/// What is measured on an X of tokens × features and weights.
const FORWARD: (&str, Forward) = ("block X·Wᵀ", |x, w| block_matmul(x, &w.t()).map(drop));
const BY_X: (&str, Forward) = ("block dX = dY·W", |x, w| block_matmul(x, w).map(drop));
const LEFT: (&str, Forward) = ("block W·Xᵀ", |x, w| block_matmul_left(w, &x.t()).map(drop));
const FUSED: (&str, Forward) = ("block X·Wᵀ, GELU", |x, w| block_linear(x, w, None, Activation::Gelu).map(drop));

fn forward(shape: Shape, (operation, run): (&'static str, Forward)) -> Case {
    shape.case(operation, move |device| {
        let (x, w) = (shape.tokens_in_turns(device)?, shape.weights(device)?);
        Ok(Box::new(move |n| run(&x[n % x.len()], &w)))
    })
}

fn by_w(shape: Shape) -> Case {
    shape.case("block dW = dYᵀ·X", move |device| {
        let (x, g, pattern) = (shape.tokens(device)?, shape.tokens(device)?, shape.pattern()?);
        Ok(Box::new(move |_| block_sddmm(&x, &g, &pattern).map(drop)))
    })
}

pub fn all(quick: bool) -> Result<Vec<Case>> {
    let [tokens, side] = if quick { [128, 256] } else { [8192, 4096] };
    let shape = |block, density| Shape { tokens, side, block, density, dtype: Dtype::F32 };
    let half = |block, density| Shape { dtype: Dtype::F16, ..shape(block, density) };
    const DENSITIES: [f64; 4] = [1.0, 0.5, 0.25, 0.1];
    let mut cases = Vec::new();
    for what in [FORWARD, BY_X] {
        cases.extend(DENSITIES.map(|density| forward(shape(32, density), what)));
    }
    cases.extend(DENSITIES.map(|density| by_w(shape(32, density))));
    cases.extend(DENSITIES.map(|density| forward(shape(64, density), FORWARD)));
    cases.extend(DENSITIES.map(|density| by_w(shape(64, density))));
    for block in [32, 64, 128] {
        cases.extend(DENSITIES.map(|density| forward(half(block, density), FORWARD)));
        cases.extend(DENSITIES.map(|density| by_w(half(block, density))));
    }
    cases.extend([32, 64].map(|block| forward(half(block, 0.5), BY_X)));
    for block in [32, 128] {
        let brain = Shape { dtype: Dtype::Bf16, ..shape(block, 0.25) };
        cases.extend([forward(brain, FORWARD), by_w(brain)]);
    }
    // Other block shapes, operations and numbers of tokens at one density.
    cases.extend([1, 4, 8, 16, 128].map(|block| forward(shape(block, 0.1), FORWARD)));
    cases.push(forward(shape(32, 0.25), LEFT));
    cases.push(forward(shape(32, 0.25), FUSED));
    cases.extend([1, 16, 256].map(|tokens| forward(Shape { tokens, ..shape(32, 0.25) }, FORWARD)));
    // Cost against density.
    cases.extend([0.8, 0.6, 0.4, 0.2, 0.05, 0.02, 0.01].map(|density| forward(shape(32, density), FORWARD)));
    cases.push(sparse_sparse(shape(32, 0.1)));
    Ok(cases)
}

/// W · W, both block-sparse.
fn sparse_sparse(shape: Shape) -> Case {
    let Shape { side, block, density, .. } = shape;
    let grid = (side / block) as f64;
    // So many pairs meet on average.
    let pairs = grid * grid * grid * density * density;
    Case {
        operation: "block W·W",
        shape: format!("{side} × {side}, {block} × {block}, density {density}"),
        bytes: 0.0,
        flops: 2.0 * pairs * (block * block * block) as f64,
        setup: Box::new(move |device| {
            let w = shape.weights(device)?;
            Ok(Box::new(move |_| block_sparse_matmul(&w, &w).map(drop)))
        }),
    }
}
