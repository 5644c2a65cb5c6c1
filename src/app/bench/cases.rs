//! What is measured.

use bandsaw::{
    Band, Banded, BandedShape, Dense, DenseShape, Device, Result, Semiring, a, b, banded_map, banded_matmul, banded_matmul_backward,
    banded_matmul_dense, banded_matmul_index, banded_matvec, banded_shift_cols, banded_zip, semiring_matmul, window_matmul,
};

use crate::app::Family;

/// Operands are taken in turn, so that no cache holds them all.
pub const TURNS: usize = 3;

pub type Run = Box<dyn Fn(usize) -> Result<()>>;
type Setup = Box<dyn Fn(&Device) -> Result<Run>>;

/// One operation on one shape.
pub struct Case {
    pub operation: &'static str,
    pub shape: String,
    /// Bytes of operands and result, each once.
    pub bytes: f64,
    pub flops: f64,
    /// Makes the operands; what comes back runs the operation on the n-th of them.
    pub setup: Setup,
}

/// Uniform numbers in −1 … 1, the same every time.
pub fn random() -> impl FnMut() -> f32 {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }
}

pub fn banded(device: &Device, batch: usize, n: usize, side: i64) -> Result<Banded> {
    let mut next = random();
    Banded::from_fn(device, BandedShape::new(n, n, Band::new(side, side)?).batch(batch), |_, _, _| next())
}

pub fn dense(device: &Device, batch: usize, rows: usize, cols: usize) -> Result<Dense> {
    let mut next = random();
    Dense::from_fn(device, DenseShape::new(rows, cols).batch(batch), |_, _, _| next())
}

pub fn turns<T>(make: impl Fn() -> Result<T>) -> Result<Vec<T>> {
    (0..TURNS).map(|_| make()).collect()
}

/// A large matrix copied by the device itself: what all else is compared with.
pub fn copy(device: &Device, quick: bool) -> Case {
    let rows = if quick || device.info().backend == "cpu" { 1 << 18 } else { 1 << 22 };
    Case {
        operation: "copy",
        shape: format!("1 · {rows} · 7"),
        bytes: rows as f64 * 15.0 * 8.0,
        flops: 0.0,
        setup: Box::new(move |device| {
            let x = turns(|| banded(device, 1, rows, 7))?;
            let device = device.clone();
            Ok(Box::new(move |n| x[n % TURNS].to_device(&device).map(drop)))
        }),
    }
}

/// Multiplications and additions of a product of two n × n matrices of this many diagonals a side.
fn product_flops(batch: usize, n: usize, side: i64) -> Result<f64> {
    let band = Band::new(side, side)?;
    let terms: usize = (0..n).map(|p| band.rows_of_col(p, n).len() * band.cols_of_row(p, n).len()).sum();
    Ok(2.0 * (batch * terms) as f64)
}

/// Batch, n and diagonals on each side of the four shapes that other libraries are compared on.
const SHAPES: [[usize; 3]; 4] = [[16, 4096, 16], [16, 4096, 64], [4, 65536, 8], [1, 4096, 256]];

const RINGS: [(Semiring, &str, &str); 4] = [
    (Semiring::Sum, "banded_matmul sum", "banded_matmul sum, forward + backward"),
    (Semiring::Log, "banded_matmul log", "banded_matmul log, forward + backward"),
    (Semiring::Max, "banded_matmul max", "banded_matmul max, forward + backward"),
    (Semiring::ProdMax, "banded_matmul prodmax", "banded_matmul prodmax, forward + backward"),
];

/// The cases of one family, or of all.
pub fn all(quick: bool, family: Option<Family>) -> Result<Vec<Case>> {
    let wanted = |this: Family| family.is_none_or(|family| family == this);
    let mut cases = Vec::new();
    if wanted(Family::Banded) {
        cases.extend(bands(quick)?);
    }
    if wanted(Family::Window) {
        cases.extend(super::window::all(quick)?);
    }
    if wanted(Family::Blocks) {
        cases.extend(super::blocks::all(quick)?);
    }
    Ok(cases)
}

fn bands(quick: bool) -> Result<Vec<Case>> {
    let small = |n: usize| if quick { n / 16 } else { n };
    let mut cases = Vec::new();
    for [batch, n, side] in SHAPES {
        let (n, width) = (small(n), 2.0 * side as f64 + 1.0);
        let lines = (batch * n) as f64;
        let shape = format!("{batch} · {n} · {side}");
        for (ring, operation, _) in RINGS {
            cases.push(Case {
                operation,
                shape: shape.clone(),
                bytes: lines * (4.0 * width - 1.0) * 4.0,
                flops: product_flops(batch, n, side as i64)?,
                setup: Box::new(move |device| {
                    let x = turns(|| banded(device, batch, n, side as i64))?;
                    Ok(Box::new(move |n| banded_matmul(&x[n % TURNS], &x[(n + 1) % TURNS], ring).map(drop)))
                }),
            });
        }
    }
    for [batch, n, side] in [SHAPES[1], SHAPES[3]] {
        cases.push(smoothing([batch, small(n), side])?);
    }
    for [batch, n, side] in SHAPES {
        let (n, width) = (small(n), 2.0 * side as f64 + 1.0);
        cases.push(Case {
            operation: "banded_matmul_index max",
            shape: format!("{batch} · {n} · {side}"),
            bytes: (batch * n) as f64 * (4.0 * width - 1.0) * 4.0,
            flops: product_flops(batch, n, side as i64)?,
            setup: Box::new(move |device| {
                let x = turns(|| banded(device, batch, n, side as i64))?;
                Ok(Box::new(move |n| banded_matmul_index(&x[n % TURNS], &x[(n + 1) % TURNS], Semiring::Max).map(drop)))
            }),
        });
    }
    for [batch, n, side] in SHAPES {
        for (ring, _, operation) in RINGS {
            cases.push(with_gradients(operation, ring, [batch, small(n), side])?);
        }
    }
    let (batch, side) = (if quick { 2 } else { 10 }, if quick { 128 } else { 512 });
    for (ring, operation) in
        [(Semiring::Log, "semiring_matmul log"), (Semiring::Max, "semiring_matmul max"), (Semiring::ProdMax, "semiring_matmul prodmax")]
    {
        cases.push(Case {
            operation,
            shape: format!("{batch} · {side}³"),
            bytes: 12.0 * (batch * side * side) as f64,
            flops: 2.0 * batch as f64 * (side as f64).powi(3),
            setup: Box::new(move |device| {
                let x = turns(|| dense(device, batch, side, side))?;
                Ok(Box::new(move |n| semiring_matmul(&x[n % TURNS], &x[(n + 1) % TURNS], ring).map(drop)))
            }),
        });
    }
    cases.extend(around_attention(quick));
    cases.extend(streaming(quick));
    Ok(cases)
}

/// A product of Gaussian kernels that the device made of distances, whose values are far apart in size.
fn smoothing([batch, n, side]: [usize; 3]) -> Result<Case> {
    Ok(Case {
        operation: "banded_matmul sum, Gaussian kernels",
        shape: format!("{batch} · {n} · {side}"),
        bytes: (batch * n) as f64 * (8.0 * side as f64 + 3.0) * 4.0,
        flops: product_flops(batch, n, side as i64)?,
        setup: Box::new(move |device| {
            let shape = BandedShape::new(n, n, Band::new(side as i64, side as i64)?).batch(batch);
            let distances = Banded::from_fn(device, shape, |_, i, j| 4.0 * (i as f32 - j as f32) / side as f32)?;
            let x = turns(|| banded_map(&distances, &(-(a() * a())).exp()))?;
            Ok(Box::new(move |n| banded_matmul(&x[n % TURNS], &x[(n + 1) % TURNS], Semiring::Sum).map(drop)))
        }),
    })
}

/// A product of bands and both its gradients.
fn with_gradients(operation: &'static str, ring: Semiring, [batch, n, side]: [usize; 3]) -> Result<Case> {
    let width = 2.0 * side as f64 + 1.0;
    Ok(Case {
        operation,
        shape: format!("{batch} · {n} · {side}"),
        // a, b, ga and gb; c and g.
        bytes: (batch * n) as f64 * (4.0 * width + 2.0 * (2.0 * width - 1.0)) * 4.0,
        flops: 3.0 * product_flops(batch, n, side as i64)?,
        setup: Box::new(move |device| {
            let x = turns(|| banded(device, batch, n, side as i64))?;
            let g = banded(device, batch, n, 2 * side as i64)?;
            Ok(Box::new(move |n| {
                let (a, b) = (&x[n % TURNS], &x[(n + 1) % TURNS]);
                let c = banded_matmul(a, b, ring)?;
                banded_matmul_backward(a, b, &c, &g, ring).map(drop)
            }))
        }),
    })
}

/// Products between band and dense.
fn around_attention(quick: bool) -> Vec<Case> {
    let (batch, n, side, d) = if quick { (2, 512, 16, 64) } else { (16, 4096, 64, 64) };
    let (lines, width) = ((batch * n) as f64, 2.0 * side as f64 + 1.0);
    let (bytes, flops) = (lines * (width + 2.0 * d as f64) * 4.0, 2.0 * lines * width * d as f64);
    let shape = format!("{batch} · {n} · {side}, d {d}");
    vec![
        Case {
            operation: "window_matmul",
            shape: shape.clone(),
            bytes,
            flops,
            setup: Box::new(move |device| {
                let (x, band) = (turns(|| dense(device, batch, n, d))?, Band::window(side)?);
                Ok(Box::new(move |n| window_matmul(&x[n % TURNS], &x[(n + 1) % TURNS], band).map(drop)))
            }),
        },
        Case {
            operation: "banded_matmul_dense",
            shape,
            bytes,
            flops,
            setup: Box::new(move |device| {
                let (x, v) = (turns(|| banded(device, batch, n, side as i64))?, turns(|| dense(device, batch, n, d))?);
                Ok(Box::new(move |n| banded_matmul_dense(&x[n % TURNS], &v[n % TURNS], Semiring::Sum).map(drop)))
            }),
        },
    ]
}

/// Operations that only move data.
fn streaming(quick: bool) -> Vec<Case> {
    let (batch, n, side) = if quick { (4, 1024, 16) } else { (16, 16384, 32) };
    let slots = batch as f64 * n as f64 * (2.0 * side as f64 + 1.0);
    let shape = format!("{batch} · {n} · {side}");
    let operands = move |device: &Device| turns(|| banded(device, batch, n, side));
    vec![
        Case {
            operation: "banded_zip",
            shape: shape.clone(),
            bytes: 12.0 * slots,
            flops: 2.0 * slots,
            setup: Box::new(move |device| {
                let (x, mean) = (operands(device)?, (a() + b()) / 2.0);
                Ok(Box::new(move |n| banded_zip(&x[n % TURNS], &x[(n + 1) % TURNS], &mean).map(drop)))
            }),
        },
        Case {
            operation: "banded_shift_cols",
            shape: shape.clone(),
            bytes: 8.0 * slots,
            flops: 0.0,
            setup: Box::new(move |device| {
                let x = operands(device)?;
                Ok(Box::new(move |n| banded_shift_cols(&x[n % TURNS], 3).map(drop)))
            }),
        },
        Case {
            operation: "banded_matvec",
            shape,
            bytes: 4.0 * (slots + 2.0 * (batch * n) as f64),
            flops: 2.0 * slots,
            setup: Box::new(move |device| {
                let (x, v) = (operands(device)?, turns(|| dense(device, batch, n, 1))?);
                Ok(Box::new(move |n| banded_matvec(&x[n % TURNS], &v[n % TURNS]).map(drop)))
            }),
        },
    ]
}
