//! Expressions over entries, built in Rust or parsed from text, run on every backend.

mod derivative;
mod parse;
#[cfg(feature = "cuda")]
mod ptx;
mod text;
#[cfg_attr(not(feature = "wgpu"), allow(dead_code))]
mod wgsl;

use std::sync::Arc;

/// An expression over the entries `a` and `b` of two matrices, for
/// [`banded_zip`](crate::banded_zip) and [`banded_map`](crate::banded_map).
///
/// Built with Rust's operators, or parsed from text. On the CPU it is evaluated in f64; for a GPU
/// it becomes a function of the shader, in f32. What occurs twice is computed once.
///
/// ```
/// use bandsaw::{Expr, a, b};
/// let mean = (a() + b()) / 2.0;
/// assert_eq!(mean.eval([1.0, 4.0, 0.0]), 2.5);
/// let same: Expr = "(a + b) / 2".parse()?;
/// assert_eq!(same, mean);
/// let clamped = a().exp().min(10.0).max(0.5);
/// assert_eq!(clamped.to_string(), "max(min(exp(a), 10), 0.5)");
/// # Ok::<(), bandsaw::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Expr(Arc<Vec<Op>>);

/// One step; the numbers are those of earlier steps. The last step is the expression's value.
///
/// A list of steps rather than a tree: nothing recurses, so no expression is too deep, and
/// squaring a thing thirty times takes thirty steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    /// Operand 0, 1 or 2: a, b, c.
    Entry(usize),
    /// The bits of an f32, so that 0 and -0 differ and NaN is itself.
    Const(u32),
    Unary(Unary, usize),
    Binary(Binary, usize, usize),
    /// The third where the first is at least the second, else the fourth.
    Select([usize; 4]),
}

/// Functions of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unary {
    Neg,
    Exp,
    Ln,
    Abs,
    Sqrt,
    Tanh,
    Sin,
    Cos,
}

/// Functions and operators of two arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
}

/// Steps there may be in an expression that a kernel runs.
const MAX_OPS: usize = 1024;

/// The entry of the first matrix.
///
/// ```
/// assert_eq!((bandsaw::a() + 1.0).eval([2.0, 0.0, 0.0]), 3.0);
/// ```
pub fn a() -> Expr {
    Expr::leaf(Op::Entry(0))
}

/// The entry of the second matrix.
///
/// ```
/// assert_eq!((bandsaw::b() * 2.0).eval([0.0, 3.0, 0.0]), 6.0);
/// ```
pub fn b() -> Expr {
    Expr::leaf(Op::Entry(1))
}

/// The entry of the third: the upstream gradient in [`banded_zip_backward`](crate::banded_zip_backward).
pub(crate) fn c() -> Expr {
    Expr::leaf(Op::Entry(2))
}

impl From<f32> for Expr {
    fn from(value: f32) -> Self {
        Self::leaf(constant(value))
    }
}

/// All NaNs are one.
fn constant(value: f32) -> Op {
    Op::Const(if value.is_nan() { f32::NAN } else { value }.to_bits())
}

macro_rules! operator {
    ($($trait:ident $method:ident $binary:ident;)+) => {$(
        impl<E: Into<Expr>> std::ops::$trait<E> for Expr {
            type Output = Expr;
            fn $method(self, other: E) -> Expr {
                self.binary(Binary::$binary, other)
            }
        }
        impl std::ops::$trait<Expr> for f32 {
            type Output = Expr;
            fn $method(self, other: Expr) -> Expr {
                Expr::from(self).binary(Binary::$binary, other)
            }
        }
    )+};
}
operator! { Add add Add; Sub sub Sub; Mul mul Mul; Div div Div; }

impl std::ops::Neg for Expr {
    type Output = Self;
    fn neg(self) -> Self {
        match self.0.as_slice() {
            // A negative number is a number, so that printed text parses to what it came from.
            [Op::Const(bits)] => (-f32::from_bits(*bits)).into(),
            _ => self.unary(Unary::Neg),
        }
    }
}

/// Adds a step unless it is there already; gives its number.
fn push(ops: &mut Vec<Op>, op: Op) -> usize {
    ops.iter().position(|known| *known == op).unwrap_or_else(|| {
        ops.push(op);
        ops.len() - 1
    })
}

impl Expr {
    fn leaf(op: Op) -> Self {
        Self(Arc::new(vec![op]))
    }

    /// The steps of all `parts`, then the one that `last` makes of their values.
    fn join<const N: usize>(parts: [Self; N], last: impl FnOnce([usize; N]) -> Op) -> Self {
        let mut ops = parts[0].0.to_vec();
        let values = std::array::from_fn(|n| {
            let part = &parts[n].0;
            if Arc::ptr_eq(part, &parts[0].0) {
                return part.len() - 1;
            }
            let mut moved = Vec::with_capacity(part.len());
            for op in part.iter() {
                moved.push(push(&mut ops, op.map(|n| moved[n])));
            }
            moved[part.len() - 1]
        });
        push(&mut ops, last(values));
        Self(Arc::new(ops))
    }

    fn unary(self, unary: Unary) -> Self {
        Self::join([self], |[x]| Op::Unary(unary, x))
    }

    fn binary(self, binary: Binary, other: impl Into<Self>) -> Self {
        Self::join([self, other.into()], |[x, y]| Op::Binary(binary, x, y))
    }

    /// e to this power.
    #[must_use]
    pub fn exp(self) -> Self {
        self.unary(Unary::Exp)
    }

    /// The natural logarithm.
    #[must_use]
    pub fn ln(self) -> Self {
        self.unary(Unary::Ln)
    }

    /// The absolute value.
    #[must_use]
    pub fn abs(self) -> Self {
        self.unary(Unary::Abs)
    }

    /// The square root.
    #[must_use]
    pub fn sqrt(self) -> Self {
        self.unary(Unary::Sqrt)
    }

    /// The hyperbolic tangent.
    #[must_use]
    pub fn tanh(self) -> Self {
        self.unary(Unary::Tanh)
    }

    /// The sine, in radians. Shader languages promise 2⁻¹¹ within ±π and little outside.
    #[must_use]
    pub fn sin(self) -> Self {
        self.unary(Unary::Sin)
    }

    /// The cosine, in radians. Shader languages promise 2⁻¹¹ within ±π and little outside.
    #[must_use]
    pub fn cos(self) -> Self {
        self.unary(Unary::Cos)
    }

    /// The other where it is smaller, else this: a NaN here stays, a NaN there is passed over.
    #[must_use]
    pub fn min(self, other: impl Into<Self>) -> Self {
        self.binary(Binary::Min, other)
    }

    /// The other where it is larger, else this: a NaN here stays, a NaN there is passed over.
    #[must_use]
    pub fn max(self, other: impl Into<Self>) -> Self {
        self.binary(Binary::Max, other)
    }

    /// Limited to `low ..= high`; NaN stays NaN.
    #[must_use]
    pub fn clamp(self, low: f32, high: f32) -> Self {
        self.max(low).min(high)
    }

    /// `yes` where this is at least `bound`, else `no`.
    ///
    /// ```
    /// use bandsaw::a;
    /// let leaky = a().select_ge(0.0, a(), a() * 0.1);
    /// assert_eq!(leaky.eval([3.0, 0.0, 0.0]), 3.0);
    /// assert!(leaky.eval([-3.0, 0.0, 0.0]) > -0.31);
    /// ```
    #[must_use]
    pub fn select_ge(self, bound: impl Into<Self>, yes: impl Into<Self>, no: impl Into<Self>) -> Self {
        Self::join([self, bound.into(), yes.into(), no.into()], Op::Select)
    }

    /// The value for the entries `[a, b, c]`; c is the upstream gradient where there is one.
    pub fn eval(&self, entries: [f64; 3]) -> f64 {
        // Kernels call this per entry; few expressions have more steps than fit here.
        let (mut few, mut many) = ([0.0; 32], Vec::new());
        let values = if self.0.len() <= few.len() {
            &mut few[..]
        } else {
            many.resize(self.0.len(), 0.0);
            &mut many
        };
        for (n, op) in self.0.iter().enumerate() {
            values[n] = op.eval(values, entries);
        }
        values[self.0.len() - 1]
    }

    /// Whether operand `n` (0 = a, 1 = b, 2 = c) occurs.
    pub(crate) fn uses(&self, n: usize) -> bool {
        self.0.contains(&Op::Entry(n))
    }

    /// Whether it takes an exponential.
    #[cfg(feature = "wgpu")]
    pub(crate) fn has_exponentials(&self) -> bool {
        self.0.iter().any(|op| matches!(op, Op::Unary(Unary::Exp, _)))
    }

    /// Checks what an operation needs of the expression it is given.
    pub(crate) fn check(&self, op: &'static str) -> crate::Result<()> {
        if self.0.len() <= MAX_OPS {
            return Ok(());
        }
        Err(crate::Error::argument(op, "f", format!("{} operations", self.0.len()), format!("at most {MAX_OPS}")))
    }
}

impl Op {
    /// The same step over other numbers.
    fn map(self, number: impl Fn(usize) -> usize) -> Self {
        match self {
            Self::Entry(_) | Self::Const(_) => self,
            Self::Unary(unary, x) => Self::Unary(unary, number(x)),
            Self::Binary(binary, x, y) => Self::Binary(binary, number(x), number(y)),
            Self::Select(all) => Self::Select(all.map(number)),
        }
    }

    fn eval(self, values: &[f64], entries: [f64; 3]) -> f64 {
        match self {
            Self::Entry(n) => entries[n],
            Self::Const(bits) => f64::from(f32::from_bits(bits)),
            Self::Unary(unary, x) => unary.eval(values[x]),
            Self::Binary(binary, x, y) => binary.eval(values[x], values[y]),
            Self::Select([x, bound, yes, no]) => values[if values[x] >= values[bound] { yes } else { no }],
        }
    }
}

impl Unary {
    fn eval(self, x: f64) -> f64 {
        match self {
            Self::Neg => -x,
            Self::Exp => x.exp(),
            Self::Ln => x.ln(),
            Self::Abs => x.abs(),
            Self::Sqrt => x.sqrt(),
            Self::Tanh => x.tanh(),
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
        }
    }
}

impl Binary {
    fn eval(self, x: f64, y: f64) -> f64 {
        match self {
            Self::Add => x + y,
            Self::Sub => x - y,
            Self::Mul => x * y,
            Self::Div => x / y,
            Self::Min if y < x => y,
            Self::Max if y > x => y,
            Self::Min | Self::Max => x,
        }
    }
}

#[cfg(test)]
mod tests;
