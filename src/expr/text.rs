//! Expression to text that parses to the same expression.

use std::fmt::{Debug, Display, Formatter, Result};

use super::{Binary, Expr, Op, Unary};

impl Unary {
    /// Those that are written as a function.
    pub(super) const NAMED: [(Self, &'static str); 7] = [
        (Self::Exp, "exp"),
        (Self::Ln, "ln"),
        (Self::Abs, "abs"),
        (Self::Sqrt, "sqrt"),
        (Self::Tanh, "tanh"),
        (Self::Sin, "sin"),
        (Self::Cos, "cos"),
    ];

    fn opening(self) -> [&'static str; 2] {
        let name = Self::NAMED.iter().find(|(unary, _)| *unary == self);
        name.map_or(["(", "-"], |(_, name)| [name, "("])
    }
}

impl Binary {
    /// What stands before, between and after the two.
    fn text(self) -> [&'static str; 3] {
        match self {
            Self::Add => ["(", " + ", ")"],
            Self::Sub => ["(", " - ", ")"],
            Self::Mul => ["(", " * ", ")"],
            Self::Div => ["(", " / ", ")"],
            Self::Min => ["min(", ", ", ")"],
            Self::Max => ["max(", ", ", ")"],
        }
    }
}

/// What is left to write.
enum Token {
    Op(usize),
    Text(&'static str),
}

/// Written steps beyond which only their number is written: text repeats what steps share.
const MAX_TEXT: usize = 1 << 14;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        use Token::{Op as Step, Text};
        let mut sizes: Vec<usize> = Vec::with_capacity(self.0.len());
        for op in self.0.iter() {
            let below = match *op {
                Op::Entry(_) | Op::Const(_) => 0,
                Op::Unary(_, x) => sizes[x],
                Op::Binary(_, x, y) => sizes[x].saturating_add(sizes[y]),
                Op::Select(all) => all.iter().fold(0, |sum, n| sizes[*n].saturating_add(sum)),
            };
            sizes.push(below.saturating_add(1));
        }
        let last = self.0.len() - 1;
        if sizes[last] > MAX_TEXT {
            return write!(f, "an expression of {} operations", self.0.len());
        }
        let mut left = vec![Step(last)];
        while let Some(token) = left.pop() {
            let number = match token {
                Text(text) => {
                    f.write_str(text)?;
                    continue;
                }
                Step(number) => number,
            };
            match self.0[number] {
                Op::Entry(n) => f.write_str(["a", "b", "c"][n])?,
                Op::Const(bits) if f32::from_bits(bits).is_nan() => f.write_str("nan")?,
                Op::Const(bits) => write!(f, "{}", f32::from_bits(bits))?,
                Op::Unary(unary, x) => {
                    let [first, second] = unary.opening();
                    left.extend([Text(")"), Step(x), Text(second), Text(first)]);
                }
                Op::Binary(binary, x, y) => {
                    let [before, between, after] = binary.text();
                    left.extend([Text(after), Step(y), Text(between), Step(x), Text(before)]);
                }
                Op::Select([x, bound, yes, no]) => {
                    left.extend([Text(")"), Step(no), Text(", "), Step(yes), Text(", "), Step(bound), Text(", "), Step(x)]);
                    left.push(Text("select_ge("));
                }
            }
        }
        Ok(())
    }
}

impl Debug for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "Expr({self})")
    }
}
