//! Expression to PTX: the function `f` that `shaders/banded_zip.cu` declares. That file defines the
//! functions called here.

use std::fmt::Write;

use super::{Binary, Expr, Op, Unary};

impl Expr {
    /// The expression as the PTX function `f`.
    pub(crate) fn to_ptx(&self) -> String {
        let steps = self.0.len();
        let mut text = String::from(
            ".visible .func (.param .b32 func_retval0) f(.param .b32 f_param_0, .param .b32 f_param_1, .param .b32 f_param_2)\n{\n",
        );
        // Writing to a String does not fail.
        let _ = writeln!(text, ".reg .f32 %v<{steps}>;\n.reg .pred %p<{steps}>;");
        for (n, op) in self.0.iter().enumerate() {
            let _ = writeln!(text, "{}", op.ptx(n));
        }
        let _ = writeln!(text, "st.param.f32 [func_retval0], %v{};\nret;\n}}", steps - 1);
        text
    }
}

impl Op {
    /// The step that gives register `v<n>`.
    fn ptx(self, n: usize) -> String {
        let call = |function: &str, x: usize| {
            format!(
                "{{ .param .b32 p0; st.param.f32 [p0], %v{x}; .param .b32 r0; call.uni (r0), {function}, (p0); ld.param.f32 %v{n}, [r0]; }}"
            )
        };
        // x if the condition between its operands holds, else y.
        let choose = |compare: &str, left: usize, right: usize, x: usize, y: usize| {
            format!("setp.{compare}.f32 %p{n}, %v{left}, %v{right};\nselp.f32 %v{n}, %v{x}, %v{y}, %p{n};")
        };
        match self {
            Self::Entry(operand) => format!("ld.param.f32 %v{n}, [f_param_{operand}];"),
            Self::Const(bits) => format!("mov.f32 %v{n}, 0f{bits:08X};"),
            Self::Unary(unary, x) => match unary {
                Unary::Neg => format!("neg.f32 %v{n}, %v{x};"),
                Unary::Abs => format!("abs.f32 %v{n}, %v{x};"),
                Unary::Sqrt => format!("sqrt.rn.f32 %v{n}, %v{x};"),
                Unary::Exp => call("expr_exp", x),
                Unary::Ln => call("expr_ln", x),
                Unary::Tanh => call("expr_tanh", x),
                Unary::Sin => call("expr_sin", x),
                Unary::Cos => call("expr_cos", x),
            },
            Self::Binary(binary, x, y) => match binary {
                Binary::Add => format!("add.rn.f32 %v{n}, %v{x}, %v{y};"),
                Binary::Sub => format!("sub.rn.f32 %v{n}, %v{x}, %v{y};"),
                Binary::Mul => format!("mul.rn.f32 %v{n}, %v{x}, %v{y};"),
                Binary::Div => format!("div.rn.f32 %v{n}, %v{x}, %v{y};"),
                Binary::Min => choose("lt", y, x, y, x),
                Binary::Max => choose("gt", y, x, y, x),
            },
            Self::Select([x, bound, yes, no]) => choose("ge", x, bound, yes, no),
        }
    }
}
