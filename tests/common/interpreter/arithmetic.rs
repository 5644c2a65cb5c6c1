//! What WGSL's operators and functions do to words. f16 is computed in f32 and rounded, which gives the
//! same as f16 would.

use half::f16;
use naga::{BinaryOperator as Op, MathFunction as Math, RelationalFunction, Scalar, ScalarKind, UnaryOperator};

use super::types::is_half;
use super::value::Words;

type Result = std::result::Result<Words, String>;

fn f(word: u32) -> f32 {
    f32::from_bits(word)
}

/// Rounded to f16, as f32.
pub fn to_half(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

fn rounded(scalar: Scalar, words: Words) -> Words {
    if is_half(scalar) { words.map(|word| to_half(f(word)).to_bits()) } else { words }
}

pub fn unary(op: UnaryOperator, scalar: Scalar, x: &Words) -> Result {
    Ok(match (op, scalar.kind) {
        (UnaryOperator::Negate, ScalarKind::Float) => x.map(|x| (-f(x)).to_bits()),
        (UnaryOperator::Negate, _) => x.map(u32::wrapping_neg),
        (UnaryOperator::LogicalNot, _) => x.map(|x| u32::from(x == 0)),
        (UnaryOperator::BitwiseNot, _) => x.map(|x| !x),
    })
}

/// Whether the operator divides integers.
pub fn divides(op: Op, scalar: Scalar) -> bool {
    matches!(op, Op::Divide | Op::Modulo) && scalar.kind != ScalarKind::Float
}

pub fn binary(op: Op, scalar: Scalar, x: &Words, y: &Words) -> Result {
    let words = match scalar.kind {
        ScalarKind::Float => float(op, x, y),
        ScalarKind::Sint => signed(op, x, y).or_else(|| bits(op, x, y)),
        _ => unsigned(op, x, y).or_else(|| bits(op, x, y)),
    };
    let words = words.ok_or_else(|| format!("the interpreter has no {op:?} of {scalar:?}"))?;
    let compares = matches!(op, Op::Equal | Op::NotEqual | Op::Less | Op::LessEqual | Op::Greater | Op::GreaterEqual);
    Ok(if compares { words } else { rounded(scalar, words) })
}

fn float(op: Op, x: &Words, y: &Words) -> Option<Words> {
    Some(match op {
        Op::Add => x.zip(y, |x, y| (f(x) + f(y)).to_bits()),
        Op::Subtract => x.zip(y, |x, y| (f(x) - f(y)).to_bits()),
        Op::Multiply => x.zip(y, |x, y| (f(x) * f(y)).to_bits()),
        Op::Divide => x.zip(y, |x, y| (f(x) / f(y)).to_bits()),
        Op::Modulo => x.zip(y, |x, y| (f(x) % f(y)).to_bits()),
        Op::Equal => x.zip(y, |x, y| u32::from(f(x) == f(y))),
        // As in SPIR-V, where naga has it take NaN for equal to all.
        Op::NotEqual => x.zip(y, |x, y| u32::from(f(x) < f(y) || f(x) > f(y))),
        Op::Less => x.zip(y, |x, y| u32::from(f(x) < f(y))),
        Op::LessEqual => x.zip(y, |x, y| u32::from(f(x) <= f(y))),
        Op::Greater => x.zip(y, |x, y| u32::from(f(x) > f(y))),
        Op::GreaterEqual => x.zip(y, |x, y| u32::from(f(x) >= f(y))),
        _ => return None,
    })
}

fn signed(op: Op, x: &Words, y: &Words) -> Option<Words> {
    Some(match op {
        Op::Divide => x.zip(y, |x, y| if y == 0 { x } else { (x as i32).wrapping_div(y as i32) as u32 }),
        Op::Modulo => x.zip(y, |x, y| if y == 0 { 0 } else { (x as i32).wrapping_rem(y as i32) as u32 }),
        Op::Less => x.zip(y, |x, y| u32::from((x as i32) < y as i32)),
        Op::LessEqual => x.zip(y, |x, y| u32::from(x as i32 <= y as i32)),
        Op::Greater => x.zip(y, |x, y| u32::from(x as i32 > y as i32)),
        Op::GreaterEqual => x.zip(y, |x, y| u32::from(x as i32 >= y as i32)),
        Op::ShiftRight => x.zip(y, |x, y| (x as i32 >> (y & 31)) as u32),
        _ => return None,
    })
}

fn unsigned(op: Op, x: &Words, y: &Words) -> Option<Words> {
    Some(match op {
        Op::Divide => x.zip(y, |x, y| x.checked_div(y).unwrap_or(x)),
        Op::Modulo => x.zip(y, |x, y| x.checked_rem(y).unwrap_or(0)),
        Op::Less => x.zip(y, |x, y| u32::from(x < y)),
        Op::LessEqual => x.zip(y, |x, y| u32::from(x <= y)),
        Op::Greater => x.zip(y, |x, y| u32::from(x > y)),
        Op::GreaterEqual => x.zip(y, |x, y| u32::from(x >= y)),
        Op::ShiftRight => x.zip(y, |x, y| x >> (y & 31)),
        _ => return None,
    })
}

/// What is the same for all integers and truth values.
fn bits(op: Op, x: &Words, y: &Words) -> Option<Words> {
    Some(match op {
        Op::Add => x.zip(y, u32::wrapping_add),
        Op::Subtract => x.zip(y, u32::wrapping_sub),
        Op::Multiply => x.zip(y, u32::wrapping_mul),
        Op::Equal => x.zip(y, |x, y| u32::from(x == y)),
        Op::NotEqual => x.zip(y, |x, y| u32::from(x != y)),
        Op::And | Op::LogicalAnd => x.zip(y, |x, y| x & y),
        Op::InclusiveOr | Op::LogicalOr => x.zip(y, |x, y| x | y),
        Op::ExclusiveOr => x.zip(y, |x, y| x ^ y),
        Op::ShiftLeft => x.zip(y, |x, y| x << (y & 31)),
        _ => return None,
    })
}

pub fn relational(fun: RelationalFunction, x: &Words) -> Words {
    let first = x.pick(std::iter::once(0));
    let rest = 1..x.components();
    match fun {
        RelationalFunction::All => rest.fold(first, |all, n| all.zip(&x.pick(std::iter::once(n)), |x, y| x & y)),
        RelationalFunction::Any => rest.fold(first, |any, n| any.zip(&x.pick(std::iter::once(n)), |x, y| x | y)),
        RelationalFunction::IsNan => x.map(|x| u32::from(f(x).is_nan())),
        RelationalFunction::IsInf => x.map(|x| u32::from(f(x).is_infinite())),
    }
}

/// The sum is rounded once, but for the rare case that lies between.
fn fma(x: u32, y: u32, z: u32) -> u32 {
    ((f64::from(f(x)) * f64::from(f(y)) + f64::from(f(z))) as f32).to_bits()
}

pub fn math(fun: Math, scalar: Scalar, arguments: &[&Words]) -> Result {
    let words = match scalar.kind {
        ScalarKind::Float => float_math(fun, arguments),
        kind => integer_math(fun, kind == ScalarKind::Sint, arguments),
    };
    Ok(rounded(scalar, words.ok_or_else(|| format!("the interpreter has no {fun:?} of {scalar:?}"))?))
}

fn float_math(fun: Math, arguments: &[&Words]) -> Option<Words> {
    Some(match (fun, arguments) {
        (Math::Fma, [x, y, z]) => x.zip3(y, z, fma),
        (Math::Abs, [x]) => x.map(|x| x & 0x7fff_ffff),
        (Math::Min, [x, y]) => x.zip(y, |x, y| f(x).min(f(y)).to_bits()),
        (Math::Max, [x, y]) => x.zip(y, |x, y| f(x).max(f(y)).to_bits()),
        (Math::Clamp, [x, low, high]) => x.zip3(low, high, |x, low, high| f(x).max(f(low)).min(f(high)).to_bits()),
        (Math::Exp, [x]) => x.map(|x| f(x).exp().to_bits()),
        (Math::Exp2, [x]) => x.map(|x| f(x).exp2().to_bits()),
        (Math::Log, [x]) => x.map(|x| f(x).ln().to_bits()),
        (Math::Log2, [x]) => x.map(|x| f(x).log2().to_bits()),
        (Math::Pow, [x, y]) => x.zip(y, |x, y| f(x).powf(f(y)).to_bits()),
        (Math::Sqrt, [x]) => x.map(|x| f(x).sqrt().to_bits()),
        (Math::Sin, [x]) => x.map(|x| f(x).sin().to_bits()),
        (Math::Cos, [x]) => x.map(|x| f(x).cos().to_bits()),
        (Math::Tanh, [x]) => x.map(|x| f(x).tanh().to_bits()),
        (Math::Floor, [x]) => x.map(|x| f(x).floor().to_bits()),
        (Math::Ceil, [x]) => x.map(|x| f(x).ceil().to_bits()),
        (Math::Trunc, [x]) => x.map(|x| f(x).trunc().to_bits()),
        (Math::Round, [x]) => x.map(|x| f(x).round_ties_even().to_bits()),
        (Math::Fract, [x]) => x.map(|x| (f(x) - f(x).floor()).to_bits()),
        (Math::Sign, [x]) => x.map(|x| if f(x) == 0.0 { x } else { f(x).signum().to_bits() }),
        (Math::Dot, [x, y]) => {
            let products = x.zip(y, |x, y| (f(x) * f(y)).to_bits());
            let part = |n: usize| products.pick(std::iter::once(n));
            (1..products.components()).fold(part(0), |sum, n| sum.zip(&part(n), |x, y| (f(x) + f(y)).to_bits()))
        }
        _ => return None,
    })
}

fn integer_math(fun: Math, signed: bool, arguments: &[&Words]) -> Option<Words> {
    Some(match (fun, arguments) {
        (Math::Abs, [x]) if signed => x.map(|x| (x as i32).wrapping_abs() as u32),
        (Math::Abs, [x]) => (*x).clone(),
        (Math::Min, [x, y]) if signed => x.zip(y, |x, y| (x as i32).min(y as i32) as u32),
        (Math::Max, [x, y]) if signed => x.zip(y, |x, y| (x as i32).max(y as i32) as u32),
        (Math::Min, [x, y]) => x.zip(y, |x, y| x.min(y)),
        (Math::Max, [x, y]) => x.zip(y, |x, y| x.max(y)),
        (Math::Clamp, [x, low, high]) if signed => x.zip3(low, high, |x, low, high| (x as i32).max(low as i32).min(high as i32) as u32),
        (Math::Clamp, [x, low, high]) => x.zip3(low, high, |x, low, high| x.max(low).min(high)),
        (Math::CountLeadingZeros, [x]) => x.map(u32::leading_zeros),
        (Math::CountTrailingZeros, [x]) => x.map(u32::trailing_zeros),
        (Math::CountOneBits, [x]) => x.map(u32::count_ones),
        _ => return None,
    })
}

/// To another scalar, or to the same bits where `to` says nothing.
pub fn convert(from: Scalar, to: Option<Scalar>, x: &Words) -> Result {
    let halves = is_half(from);
    let Some(to) = to else {
        return if halves { Err("the interpreter has no bitcast of f16".into()) } else { Ok(x.clone()) };
    };
    let words = match (from.kind, to.kind) {
        (ScalarKind::Float, ScalarKind::Float) => x.clone(),
        (ScalarKind::Float, ScalarKind::Sint) => x.map(|x| f(x) as i32 as u32),
        (ScalarKind::Float, ScalarKind::Uint) => x.map(|x| f(x) as u32),
        (ScalarKind::Float, ScalarKind::Bool) => x.map(|x| u32::from(f(x) != 0.0)),
        (ScalarKind::Sint, ScalarKind::Float) => x.map(|x| (x as i32 as f32).to_bits()),
        (ScalarKind::Uint, ScalarKind::Float) => x.map(|x| (x as f32).to_bits()),
        (ScalarKind::Bool, ScalarKind::Float) => x.map(|x| (x as f32).to_bits()),
        (_, ScalarKind::Bool) => x.map(|x| u32::from(x != 0)),
        (ScalarKind::Sint | ScalarKind::Uint | ScalarKind::Bool, ScalarKind::Sint | ScalarKind::Uint) => x.clone(),
        _ => return Err(format!("the interpreter does not convert {from:?} to {to:?}")),
    };
    Ok(rounded(to, words))
}
