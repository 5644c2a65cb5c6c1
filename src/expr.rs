//! Expressions over entries, built in Rust or parsed from text, run on every backend.

mod parse;

use std::sync::Arc;

/// An expression over the entries `a` and `b` of two matrices (and `c` of a third), for
/// [`banded_zip`](crate::banded_zip) and [`banded_map`](crate::banded_map).
///
/// Built with Rust's operators, or parsed from text. On the CPU it is evaluated in f64; for a GPU
/// it becomes a function of the shader.
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
#[derive(Debug, Clone, PartialEq)]
pub struct Expr(Arc<Node>);

#[derive(Debug, PartialEq)]
enum Node {
    /// Operand 0, 1 or 2: a, b, c.
    Entry(usize),
    Const(f32),
    Unary(Unary, Expr),
    Binary(Binary, Expr, Expr),
    /// The third where the first is at least the second, else the fourth.
    Select([Expr; 4]),
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

impl Unary {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Exp, "exp"),
        (Self::Ln, "ln"),
        (Self::Abs, "abs"),
        (Self::Sqrt, "sqrt"),
        (Self::Tanh, "tanh"),
        (Self::Sin, "sin"),
        (Self::Cos, "cos"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(unary, _)| *unary == self).map_or("-", |(_, name)| name)
    }
}

/// The entry of the first matrix.
///
/// ```
/// assert_eq!(bandsaw::a().eval([3.0, 0.0, 0.0]), 3.0);
/// ```
pub fn a() -> Expr {
    Expr::new(Node::Entry(0))
}

/// The entry of the second matrix.
///
/// ```
/// assert_eq!((bandsaw::b() * 2.0).eval([0.0, 3.0, 0.0]), 6.0);
/// ```
pub fn b() -> Expr {
    Expr::new(Node::Entry(1))
}

/// The entry of the third: the upstream gradient in [`banded_zip_backward`](crate::banded_zip_backward).
pub(crate) fn c() -> Expr {
    Expr::new(Node::Entry(2))
}

impl From<f32> for Expr {
    fn from(value: f32) -> Self {
        Self::new(Node::Const(value))
    }
}

macro_rules! operator {
    ($($trait:ident $method:ident $binary:ident;)+) => {$(
        impl<E: Into<Expr>> std::ops::$trait<E> for Expr {
            type Output = Expr;
            fn $method(self, other: E) -> Expr {
                Expr::new(Node::Binary(Binary::$binary, self, other.into()))
            }
        }
        impl std::ops::$trait<Expr> for f32 {
            type Output = Expr;
            fn $method(self, other: Expr) -> Expr {
                Expr::new(Node::Binary(Binary::$binary, self.into(), other))
            }
        }
    )+};
}
operator! { Add add Add; Sub sub Sub; Mul mul Mul; Div div Div; }

impl std::ops::Neg for Expr {
    type Output = Self;
    fn neg(self) -> Self {
        self.unary(Unary::Neg)
    }
}

impl Expr {
    fn new(node: Node) -> Self {
        Self(Arc::new(node))
    }

    fn unary(self, unary: Unary) -> Self {
        Self::new(Node::Unary(unary, self))
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

    /// The sine, in radians. Outside ±π shader languages promise little accuracy.
    #[must_use]
    pub fn sin(self) -> Self {
        self.unary(Unary::Sin)
    }

    /// The cosine, in radians. Outside ±π shader languages promise little accuracy.
    #[must_use]
    pub fn cos(self) -> Self {
        self.unary(Unary::Cos)
    }

    /// The smaller of the two.
    #[must_use]
    pub fn min(self, other: impl Into<Self>) -> Self {
        Self::new(Node::Binary(Binary::Min, self, other.into()))
    }

    /// The larger of the two.
    #[must_use]
    pub fn max(self, other: impl Into<Self>) -> Self {
        Self::new(Node::Binary(Binary::Max, self, other.into()))
    }

    /// Limited to `low ..= high`.
    #[must_use]
    pub fn clamp(self, low: f32, high: f32) -> Self {
        self.max(low).min(high)
    }

    /// `yes` where this is at least `bound`, else `no`.
    #[must_use]
    pub fn select_ge(self, bound: impl Into<Self>, yes: impl Into<Self>, no: impl Into<Self>) -> Self {
        Self::new(Node::Select([self, bound.into(), yes.into(), no.into()]))
    }

    /// The value for the entries `[a, b, c]`.
    pub fn eval(&self, entries: [f64; 3]) -> f64 {
        match &*self.0 {
            Node::Entry(n) => entries[*n],
            Node::Const(value) => f64::from(*value),
            Node::Unary(unary, x) => {
                let x = x.eval(entries);
                match unary {
                    Unary::Neg => -x,
                    Unary::Exp => x.exp(),
                    Unary::Ln => x.ln(),
                    Unary::Abs => x.abs(),
                    Unary::Sqrt => x.sqrt(),
                    Unary::Tanh => x.tanh(),
                    Unary::Sin => x.sin(),
                    Unary::Cos => x.cos(),
                }
            }
            Node::Binary(binary, x, y) => {
                let (x, y) = (x.eval(entries), y.eval(entries));
                match binary {
                    Binary::Add => x + y,
                    Binary::Sub => x - y,
                    Binary::Mul => x * y,
                    Binary::Div => x / y,
                    Binary::Min => {
                        if y < x {
                            y
                        } else {
                            x
                        }
                    }
                    Binary::Max => {
                        if y > x {
                            y
                        } else {
                            x
                        }
                    }
                }
            }
            Node::Select([x, bound, yes, no]) => if x.eval(entries) >= bound.eval(entries) { yes } else { no }.eval(entries),
        }
    }

    /// Whether operand `n` (0 = a, 1 = b, 2 = c) occurs.
    pub(crate) fn uses(&self, n: usize) -> bool {
        match &*self.0 {
            Node::Entry(m) => n == *m,
            Node::Const(_) => false,
            Node::Unary(_, x) => x.uses(n),
            Node::Binary(_, x, y) => x.uses(n) || y.uses(n),
            Node::Select(all) => all.iter().any(|x| x.uses(n)),
        }
    }

    /// The derivative by operand `n`. At a kink (`min`, `max`, `abs`) it is that of the side that
    /// is taken.
    #[must_use]
    pub fn derivative(&self, n: usize) -> Self {
        let zero = || Self::from(0.0);
        if !self.uses(n) {
            return zero();
        }
        match &*self.0 {
            Node::Entry(_) => Self::from(1.0),
            Node::Const(_) => zero(),
            Node::Unary(unary, x) => {
                let (dx, x) = (x.derivative(n), x.clone());
                match unary {
                    Unary::Neg => -dx,
                    Unary::Exp => dx * self.clone(),
                    Unary::Ln => dx / x,
                    Unary::Abs => x.select_ge(0.0, dx.clone(), -dx),
                    Unary::Sqrt => dx * 0.5 / self.clone(),
                    Unary::Tanh => dx * (1.0 - self.clone() * self.clone()),
                    Unary::Sin => dx * x.cos(),
                    Unary::Cos => -(dx * x.sin()),
                }
            }
            Node::Binary(binary, x, y) => {
                let (dx, dy, x, y) = (x.derivative(n), y.derivative(n), x.clone(), y.clone());
                match binary {
                    Binary::Add => dx + dy,
                    Binary::Sub => dx - dy,
                    Binary::Mul => dx * y + x * dy,
                    Binary::Div => dx / y.clone() - x * dy / (y.clone() * y),
                    Binary::Min => y.select_ge(x, dx, dy),
                    Binary::Max => x.select_ge(y, dx, dy),
                }
            }
            Node::Select([x, bound, yes, no]) => x.clone().select_ge(bound.clone(), yes.derivative(n), no.derivative(n)),
        }
    }

    /// The expression as the shader function `f`.
    pub(crate) fn to_wgsl(&self) -> String {
        format!("fn f(a: f32, b: f32, c: f32) -> f32 {{\n    return {};\n}}\n", self.wgsl())
    }

    fn wgsl(&self) -> String {
        match &*self.0 {
            Node::Entry(n) => ["a", "b", "c"][*n].into(),
            // WGSL has no literal for these; the shader makes them from their bits at run time.
            Node::Const(value) if !value.is_finite() => format!("from_bits({}u)", value.to_bits()),
            Node::Const(value) => format!("f32({value:e})"),
            Node::Unary(Unary::Neg, x) => format!("(-{})", x.wgsl()),
            Node::Unary(Unary::Ln, x) => format!("log({})", x.wgsl()),
            // tanh overflows to NaN on some drivers; beyond ±10 it is ±1 in f32.
            Node::Unary(Unary::Tanh, x) => format!("tanh(clamp({}, -10.0, 10.0))", x.wgsl()),
            Node::Unary(unary, x) => format!("{}({})", unary.name(), x.wgsl()),
            Node::Binary(Binary::Min, x, y) => format!("min({}, {})", x.wgsl(), y.wgsl()),
            Node::Binary(Binary::Max, x, y) => format!("max({}, {})", x.wgsl(), y.wgsl()),
            Node::Binary(binary, x, y) => format!("({} {} {})", x.wgsl(), binary.sign(), y.wgsl()),
            Node::Select([x, bound, yes, no]) => {
                format!("select({}, {}, {} >= {})", no.wgsl(), yes.wgsl(), x.wgsl(), bound.wgsl())
            }
        }
    }
}

impl Binary {
    fn sign(self) -> char {
        match self {
            Self::Add => '+',
            Self::Sub => '-',
            Self::Mul => '*',
            Self::Div | Self::Min | Self::Max => '/',
        }
    }
}

impl std::fmt::Display for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &*self.0 {
            Node::Entry(n) => f.write_str(["a", "b", "c"][*n]),
            Node::Const(value) => write!(f, "{value}"),
            Node::Unary(Unary::Neg, x) => write!(f, "(-{x})"),
            Node::Unary(unary, x) => write!(f, "{}({x})", unary.name()),
            Node::Binary(Binary::Min, x, y) => write!(f, "min({x}, {y})"),
            Node::Binary(Binary::Max, x, y) => write!(f, "max({x}, {y})"),
            Node::Binary(binary, x, y) => write!(f, "({x} {} {y})", binary.sign()),
            Node::Select([x, bound, yes, no]) => write!(f, "select_ge({x}, {bound}, {yes}, {no})"),
        }
    }
}
