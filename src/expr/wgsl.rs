//! Expression to shader text. `shaders/shared/expression.wgsl` has the functions it calls: WGSL's
//! own may do as they like with NaN, infinity and what lies outside a function's domain.

use std::fmt::Write;

use super::{Binary, Expr, Op, Unary};

impl Expr {
    /// The expression as the shader function `f`.
    pub(crate) fn to_wgsl(&self) -> String {
        let mut text = String::from("fn f(a: f32, b: f32, c: f32) -> f32 {\n");
        // Steps over numbers alone are computed here: WGSL refuses 1 / 0 between constants.
        let mut numbers: Vec<Option<f64>> = Vec::with_capacity(self.0.len());
        let mut values = Vec::with_capacity(self.0.len());
        for (n, op) in self.0.iter().enumerate() {
            let known = |x: &usize| numbers[*x].is_some();
            let constant = match op {
                Op::Entry(_) => false,
                Op::Const(_) => true,
                Op::Unary(_, x) => known(x),
                Op::Binary(_, x, y) => known(x) && known(y),
                Op::Select(all) => all.iter().all(known),
            };
            if constant {
                let before: Vec<f64> = numbers.iter().map(|number| number.unwrap_or(f64::NAN)).collect();
                let value = op.eval(&before, [0.0; 3]);
                numbers.push(Some(value));
                values.push(literal(value as f32));
                continue;
            }
            numbers.push(None);
            values.push(format!("v{n}"));
            // Writing to a String does not fail.
            let _ = writeln!(text, "    let v{n} = expr_keep({});", op.wgsl(&values));
        }
        let _ = writeln!(text, "    return {};\n}}", values[values.len() - 1]);
        text
    }
}

/// From its bits at run time: WGSL has no literal for infinity or NaN and need not keep -0 and
/// subnormals, and compilers simplify around numbers they know.
fn literal(value: f32) -> String {
    format!("expr_keep(from_bits({}u))", value.to_bits())
}

impl Op {
    fn wgsl(self, values: &[String]) -> String {
        match self {
            Self::Entry(n) => ["a", "b", "c"][n].into(),
            Self::Const(bits) => literal(f32::from_bits(bits)),
            Self::Unary(unary, x) => {
                let function = match unary {
                    Unary::Neg => "-",
                    Unary::Exp => "expr_exp",
                    Unary::Ln => "expr_ln",
                    Unary::Abs => "abs",
                    Unary::Sqrt => "expr_sqrt",
                    Unary::Tanh => "expr_tanh",
                    Unary::Sin => "expr_sin",
                    Unary::Cos => "expr_cos",
                };
                format!("{function}({})", values[x])
            }
            Self::Binary(binary, x, y) => {
                let twice = if x == y { format!("expr_keep({})", values[y]) } else { values[y].clone() };
                let (x, y) = (&values[x], twice);
                match binary {
                    Binary::Add => format!("{x} + {y}"),
                    Binary::Sub => format!("{x} - {y}"),
                    Binary::Mul => format!("{x} * {y}"),
                    Binary::Div => format!("expr_div({x}, {y})"),
                    Binary::Min => format!("expr_min({x}, {y})"),
                    Binary::Max => format!("expr_max({x}, {y})"),
                }
            }
            Self::Select([x, bound, yes, no]) => {
                format!("select({}, {}, expr_ge({}, {}))", values[no], values[yes], values[x], values[bound])
            }
        }
    }
}
