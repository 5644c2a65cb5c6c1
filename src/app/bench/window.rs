//! What is measured of windowed attention.

use bandsaw::{
    Band, Banded, Dense, DenseShape, Device, Dtype, Result, Semiring, WindowAttention, banded_matmul_dense, banded_matmul_dense_backward,
    window_attention, window_attention_backward, window_matmul, window_matmul_backward,
};

use super::cases::{Case, Run, TURNS, random, turns};

/// Matrices, rows, columns of all operands, and the window on each side.
#[derive(Clone, Copy)]
struct Size {
    batch: usize,
    n: usize,
    d: usize,
    w: usize,
    dtype: Dtype,
}

/// Operations in both storage types: their names, what they do, and what it takes.
struct Kind {
    names: [&'static str; 2],
    /// Multiplications and additions for each entry of the band and column of an operand.
    flops: f64,
    /// How often operands of n × d, and bands, are read or written.
    dense: f64,
    banded: f64,
    setup: fn(&Device, Size) -> Result<Run>,
}

const KINDS: [Kind; 6] = [
    Kind { names: ["window_matmul f32", "window_matmul f16"], flops: 2.0, dense: 2.0, banded: 1.0, setup: window },
    Kind { names: ["unwindow f32", "unwindow f16"], flops: 2.0, dense: 2.0, banded: 1.0, setup: unwindow },
    Kind {
        names: ["window_matmul_backward f32", "window_matmul_backward f16"],
        flops: 4.0,
        dense: 4.0,
        banded: 1.0,
        setup: window_backward,
    },
    Kind { names: ["unwindow_backward f32", "unwindow_backward f16"], flops: 4.0, dense: 3.0, banded: 2.0, setup: unwindow_backward },
    ATTENTION,
    Kind {
        names: ["window_attention f32, forward + backward", "window_attention f16, forward + backward"],
        flops: 14.0,
        dense: 12.0,
        banded: 0.0,
        setup: both,
    },
];

const ATTENTION: Kind =
    Kind { names: ["window_attention f32", "window_attention f16"], flops: 4.0, dense: 4.0, banded: 0.0, setup: forward };

pub fn all(quick: bool) -> Result<Vec<Case>> {
    let types = [Dtype::F32, Dtype::F16];
    // Where others have been measured.
    let [batch, n, d] = if quick { [2, 512, 32] } else { [96, 4096, 64] };
    let mut cases = Vec::new();
    for w in if quick { [32, 8] } else { [256, 64] } {
        for dtype in types {
            for kind in &KINDS {
                cases.push(case(kind, Size { batch, n, d, w, dtype })?);
            }
        }
    }
    // Growth with n, and with w.
    let (batch, w, sizes) = if quick { (1, 16, [256, 512, 1024, 2048]) } else { (8, 64, [1 << 10, 1 << 13, 1 << 15, 1 << 17]) };
    for n in sizes {
        for dtype in types {
            cases.push(case(&ATTENTION, Size { batch, n, d, w, dtype })?);
        }
    }
    for w in if quick { [4, 16, 64, 128] } else { [16, 128, 512, 1024] } {
        for dtype in types {
            cases.push(case(&ATTENTION, Size { batch, n: sizes[1], d, w, dtype })?);
        }
    }
    Ok(cases)
}

fn case(kind: &Kind, size: Size) -> Result<Case> {
    let Size { batch, n, d, w, dtype } = size;
    let (band, setup) = (Band::window(w)?, kind.setup);
    let entries: usize = (0..n).map(|i| band.cols_of_row(i, n).len()).sum();
    let operand = (batch * n * d) as f64;
    let stored = (batch * n * band.width()) as f64;
    Ok(Case {
        operation: kind.names[usize::from(dtype == Dtype::F16)],
        shape: format!("{batch} · {n} · {w}, d {d}"),
        bytes: (kind.dense * operand + kind.banded * stored) * dtype.bytes() as f64,
        flops: kind.flops * (batch * entries * d) as f64,
        setup: Box::new(move |device| setup(device, size)),
    })
}

fn operand(device: &Device, Size { batch, n, d, dtype, .. }: Size) -> Result<Dense> {
    let mut next = random();
    Dense::from_fn(device, DenseShape::new(n, d).batch(batch).dtype(dtype), |_, _, _| next())
}

/// A band matrix made where it is used: one of these is larger than any cache.
fn stored(x: &Dense, band: Band) -> Result<Banded> {
    window_matmul(x, x, band)
}

fn window(device: &Device, size: Size) -> Result<Run> {
    let (x, band) = (turns(|| operand(device, size))?, Band::window(size.w)?);
    Ok(Box::new(move |n| window_matmul(&x[n % TURNS], &x[(n + 1) % TURNS], band).map(drop)))
}

fn unwindow(device: &Device, size: Size) -> Result<Run> {
    let x = turns(|| operand(device, size))?;
    let p = stored(&x[0], Band::window(size.w)?)?;
    Ok(Box::new(move |n| banded_matmul_dense(&p, &x[n % TURNS], Semiring::Sum).map(drop)))
}

fn window_backward(device: &Device, size: Size) -> Result<Run> {
    let x = turns(|| operand(device, size))?;
    let g = stored(&x[0], Band::window(size.w)?)?;
    Ok(Box::new(move |n| window_matmul_backward(&x[n % TURNS], &x[(n + 1) % TURNS], &g).map(drop)))
}

fn unwindow_backward(device: &Device, size: Size) -> Result<Run> {
    let x = turns(|| operand(device, size))?;
    let p = stored(&x[0], Band::window(size.w)?)?;
    let o = banded_matmul_dense(&p, &x[0], Semiring::Sum)?;
    Ok(Box::new(move |n| banded_matmul_dense_backward(&p, &x[n % TURNS], &o, &x[(n + 1) % TURNS], Semiring::Sum).map(drop)))
}

fn forward(device: &Device, size: Size) -> Result<Run> {
    let (x, options) = (turns(|| operand(device, size))?, WindowAttention::new(Band::window(size.w)?));
    Ok(Box::new(move |n| window_attention(&x[n % TURNS], &x[(n + 1) % TURNS], &x[(n + 2) % TURNS], &options).map(drop)))
}

fn both(device: &Device, size: Size) -> Result<Run> {
    let (x, options) = (turns(|| operand(device, size))?, WindowAttention::new(Band::window(size.w)?));
    Ok(Box::new(move |n| {
        let [q, k, v] = [0, 1, 2].map(|turn| &x[(n + turn) % TURNS]);
        let (out, lse) = window_attention(q, k, v, &options)?;
        window_attention_backward(q, k, v, &out, &lse, q, &options).map(drop)
    }))
}
