//! Expressions, each for all invocations at once. Those outside the mask may get any value.

use std::sync::Arc;

use naga::{Expression, Handle, Scalar, ScalarKind};

use super::arithmetic;
use super::machine::{Frame, Machine};
use super::mask::Mask;
use super::types::scalar;
use super::value::{Value, Words};

impl<'a> Machine<'a> {
    /// The value of an expression, computed now.
    pub fn compute(&mut self, frame: &mut Frame<'a>, handle: Handle<Expression>, mask: Mask) -> Arc<Value> {
        if let Some(constant) = &frame.routine.constants[handle.index()] {
            return Arc::clone(constant);
        }
        self.at = frame.routine.function.expressions.get_span(handle);
        let words = match frame.routine.function.expressions[handle] {
            Expression::FunctionArgument(n) => return Arc::clone(&frame.arguments[n as usize]),
            Expression::Load { pointer } => return self.load(frame, pointer, mask),
            Expression::Access { base, index } => return Arc::new(self.access(frame, base, index, mask)),
            Expression::AccessIndex { base, index } => return Arc::new(self.access_known(frame, base, index, mask)),
            Expression::CooperativeLoad { ref data, .. } => {
                let whole = self.load_tiles(frame, data, mask);
                return Arc::new(Value::Tiles(whole));
            }
            Expression::CooperativeMultiplyAdd { a, b, c } => {
                return Arc::new(Value::Tiles(self.multiply_tiles(frame, [a, b, c], mask)));
            }
            Expression::ArrayLength(pointer) => Words::same(vec![self.array_length(frame, pointer, mask)]),
            Expression::Compose { ref components, .. } => {
                let parts: Vec<_> = components.iter().map(|part| self.value(frame, *part, mask)).collect();
                let parts: Vec<_> = parts.iter().map(|part| part.words()).collect();
                Words::join(&parts, self.lanes)
            }
            Expression::Splat { size, value } => self.value(frame, value, mask).words().pick(std::iter::repeat_n(0, size as usize)),
            Expression::Swizzle { size, vector, pattern } => {
                let vector = self.value(frame, vector, mask);
                vector.words().pick(pattern[..size as usize].iter().map(|component| *component as usize))
            }
            Expression::Unary { op, expr } => {
                let scalar = self.scalar(frame, expr);
                let value = self.value(frame, expr, mask);
                arithmetic::unary(op, scalar, value.words()).unwrap_or_else(|error| self.fail(0, &error))
            }
            Expression::Binary { op, left, right } => {
                let scalar = self.scalar(frame, left);
                let (left, right) = (self.value(frame, left, mask), self.value(frame, right, mask));
                if let Value::Tiles(tiles) = &*left {
                    return Arc::new(Value::Tiles(self.combine_tiles(op, tiles, &right, mask)));
                }
                let (left, right) = (left.words(), right.words());
                if arithmetic::divides(op, scalar) {
                    self.check_divisor(right, mask);
                }
                arithmetic::binary(op, scalar, left, right).unwrap_or_else(|error| self.fail(0, &error))
            }
            Expression::Select { condition, accept, reject } => {
                let condition = self.value(frame, condition, mask);
                let (accept, reject) = (self.value(frame, accept, mask), self.value(frame, reject, mask));
                condition.words().zip3(accept.words(), reject.words(), |condition, x, y| if condition != 0 { x } else { y })
            }
            Expression::Relational { fun, argument } => {
                let argument = self.value(frame, argument, mask);
                arithmetic::relational(fun, argument.words())
            }
            Expression::Math { fun, arg, arg1, arg2, arg3: None } => {
                let scalar = self.scalar(frame, arg);
                let arguments: Vec<_> = [Some(arg), arg1, arg2].into_iter().flatten().map(|arg| self.value(frame, arg, mask)).collect();
                let arguments: Vec<_> = arguments.iter().map(|argument| argument.words()).collect();
                arithmetic::math(fun, scalar, &arguments).unwrap_or_else(|error| self.fail(0, &error))
            }
            Expression::As { expr, kind, convert } => {
                let from = self.scalar(frame, expr);
                let value = self.value(frame, expr, mask);
                let to = convert.map(|width| Scalar { kind, width });
                arithmetic::convert(from, to, value.words()).unwrap_or_else(|error| self.fail(0, &error))
            }
            ref other => self.fail(0, &format!("the interpreter has no {other:?}")),
        };
        Arc::new(Value::Words(words))
    }

    fn scalar(&self, frame: &Frame<'a>, expression: Handle<Expression>) -> Scalar {
        let inner = self.program.inner(frame.routine.info, expression);
        scalar(&self.program.module, inner).unwrap_or(Scalar { kind: ScalarKind::Uint, width: 4 })
    }

    /// Division by 0 is undefined where the compiler injects no checks.
    fn check_divisor(&self, divisor: &Words, mask: Mask) {
        for n in 0..divisor.components() {
            if let Some(lane) = mask.lanes().find(|lane| divisor.at(n, *lane) == 0) {
                self.fail(lane, "an integer divided by 0");
            }
        }
    }
}
