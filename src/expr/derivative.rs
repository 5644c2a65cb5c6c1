//! Expression to its derivative, step by step forward.

use std::sync::Arc;

use super::{Binary, Expr, Op, Unary, constant, push};

impl Expr {
    /// The derivative by operand `n` (0 = a, 1 = b). At a kink (`min`, `max`, `abs`,
    /// `select_ge`) it is that of the side that is taken.
    ///
    /// ```
    /// use bandsaw::{a, b};
    /// let f = (a() * b()).tanh();
    /// assert_eq!(f.derivative(0).eval([0.0, 3.0, 0.0]), 3.0); // b · (1 - tanh²(a·b))
    /// ```
    #[must_use]
    pub fn derivative(&self, n: usize) -> Self {
        let mut steps = Steps(self.0.to_vec());
        // `None` is a derivative that is 0 everywhere: its terms are left out, since 0 · ∞ is no 0.
        let mut by: Vec<Option<usize>> = Vec::with_capacity(self.0.len());
        for (number, op) in self.0.iter().enumerate() {
            let derivative = match *op {
                Op::Entry(m) => (m == n).then(|| steps.number(1.0)),
                Op::Const(_) => None,
                Op::Unary(unary, x) => by[x].map(|dx| steps.unary(unary, number, x, dx)),
                Op::Binary(binary, x, y) => steps.binary(binary, number, [x, y], [by[x], by[y]]),
                Op::Select([x, bound, yes, no]) => steps.select(x, bound, by[yes], by[no]),
            };
            by.push(derivative);
        }
        let root = by[by.len() - 1].unwrap_or_else(|| steps.number(0.0));
        steps.finish(root)
    }
}

/// The steps of the expression, to which those of its derivative are added.
struct Steps(Vec<Op>);

impl Steps {
    fn number(&mut self, value: f32) -> usize {
        push(&mut self.0, constant(value))
    }

    fn one(&mut self, unary: Unary, x: usize) -> usize {
        push(&mut self.0, Op::Unary(unary, x))
    }

    fn two(&mut self, binary: Binary, x: usize, y: usize) -> usize {
        push(&mut self.0, Op::Binary(binary, x, y))
    }

    fn times(&mut self, x: usize, y: usize) -> usize {
        let one = constant(1.0);
        match (self.0[x] == one, self.0[y] == one) {
            (true, _) => y,
            (_, true) => x,
            _ => self.two(Binary::Mul, x, y),
        }
    }

    fn unary(&mut self, unary: Unary, value: usize, x: usize, dx: usize) -> usize {
        match unary {
            Unary::Neg => self.one(Unary::Neg, dx),
            Unary::Exp => self.times(dx, value),
            Unary::Ln => self.two(Binary::Div, dx, x),
            Unary::Abs => {
                let (zero, minus) = (self.number(0.0), self.one(Unary::Neg, dx));
                push(&mut self.0, Op::Select([x, zero, dx, minus]))
            }
            Unary::Sqrt => {
                let half = self.number(0.5);
                let scaled = self.times(dx, half);
                self.two(Binary::Div, scaled, value)
            }
            Unary::Tanh => {
                let (one, square) = (self.number(1.0), self.two(Binary::Mul, value, value));
                let slope = self.two(Binary::Sub, one, square);
                self.times(dx, slope)
            }
            Unary::Sin => {
                let slope = self.one(Unary::Cos, x);
                self.times(dx, slope)
            }
            Unary::Cos => {
                let sine = self.one(Unary::Sin, x);
                let slope = self.one(Unary::Neg, sine);
                self.times(dx, slope)
            }
        }
    }

    fn binary(&mut self, binary: Binary, value: usize, [x, y]: [usize; 2], [dx, dy]: [Option<usize>; 2]) -> Option<usize> {
        match binary {
            Binary::Add => self.sum(dx, dy),
            Binary::Sub => {
                let minus = dy.map(|dy| self.one(Unary::Neg, dy));
                self.sum(dx, minus)
            }
            Binary::Mul => {
                let (left, right) = (dx.map(|dx| self.times(dx, y)), dy.map(|dy| self.times(x, dy)));
                self.sum(left, right)
            }
            Binary::Div => {
                // (dx - (x / y) · dy) / y: no square of y, which could overflow.
                let right = dy.map(|dy| {
                    let scaled = self.times(value, dy);
                    self.one(Unary::Neg, scaled)
                });
                self.sum(dx, right).map(|top| self.two(Binary::Div, top, y))
            }
            // x is what is taken where the two are equal and where one is NaN.
            Binary::Min => {
                let strict = self.select(x, y, dy, dx);
                self.select(y, x, dx, strict)
            }
            Binary::Max => {
                let strict = self.select(y, x, dy, dx);
                self.select(x, y, dx, strict)
            }
        }
    }

    fn sum(&mut self, x: Option<usize>, y: Option<usize>) -> Option<usize> {
        match (x, y) {
            (Some(x), Some(y)) => Some(self.two(Binary::Add, x, y)),
            (x, y) => x.or(y),
        }
    }

    fn select(&mut self, x: usize, bound: usize, yes: Option<usize>, no: Option<usize>) -> Option<usize> {
        if yes.is_none() && no.is_none() {
            return None;
        }
        let zero = self.number(0.0);
        Some(push(&mut self.0, Op::Select([x, bound, yes.unwrap_or(zero), no.unwrap_or(zero)])))
    }

    /// The expression whose value is step `root`, without the steps that it does not need.
    fn finish(self, root: usize) -> Expr {
        let mut needed = vec![false; root + 1];
        needed[root] = true;
        for number in (0..=root).rev() {
            if !needed[number] {
                continue;
            }
            match self.0[number] {
                Op::Entry(_) | Op::Const(_) => {}
                Op::Unary(_, x) => needed[x] = true,
                Op::Binary(_, x, y) => [x, y].iter().for_each(|n| needed[*n] = true),
                Op::Select(all) => all.iter().for_each(|n| needed[*n] = true),
            }
        }
        let mut moved = vec![0; root + 1];
        let mut kept = Vec::new();
        for number in 0..=root {
            if needed[number] {
                moved[number] = kept.len();
                kept.push(self.0[number].map(|n| moved[n]));
            }
        }
        Expr(Arc::new(kept))
    }
}
