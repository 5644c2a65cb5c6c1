//! Text to expression: `(a + b) / 2`, `max(exp(a), 0.5)`, `clamp(a, -1, 1)`.

use super::{Expr, Unary};
use crate::Error;

impl std::str::FromStr for Expr {
    type Err = Error;

    /// Parses numbers, `a`, `b`, `+ - * /`, brackets and the functions that [`Expr`] has by method
    /// (`exp ln abs sqrt tanh sin cos min max clamp select_ge`), `inf` and `nan`.
    ///
    /// # Errors
    /// [`Error::Parse`] with the column of what was not understood, or if the text is longer than
    /// 4096 bytes or nested deeper than 64.
    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > LENGTH {
            let message = format!("{} bytes, at most {LENGTH} are allowed", text.len());
            return Err(Error::Parse { source_name: "expression".into(), line: 1, message });
        }
        let mut parser = Parser { text, at: 0, depth: 0 };
        let expr = parser.sum()?;
        match parser.peek() {
            None => Ok(expr),
            Some(found) => Err(parser.error(&format!("unexpected {found:?}"))),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// Text beyond this is refused, so that its steps stay few enough for a kernel.
const LENGTH: usize = 4096;

/// Nesting beyond which text is refused, so that no input exhausts the stack.
const DEPTH: usize = 64;

impl Parser<'_> {
    fn error(&self, message: &str) -> Error {
        let column = self.text[..self.at].chars().count() + 1;
        Error::Parse { source_name: format!("expression {:?}", self.text), line: 1, message: format!("column {column}: {message}") }
    }

    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn need(&mut self, wanted: char) -> Result<(), Error> {
        if self.take(wanted) { Ok(()) } else { Err(self.error(&format!("expected {wanted:?}"))) }
    }

    fn sum(&mut self) -> Result<Expr, Error> {
        let mut left = self.product()?;
        loop {
            left = if self.take('+') {
                left + self.product()?
            } else if self.take('-') {
                left - self.product()?
            } else {
                return Ok(left);
            };
        }
    }

    fn product(&mut self) -> Result<Expr, Error> {
        let mut left = self.sign()?;
        loop {
            left = if self.take('*') {
                left * self.sign()?
            } else if self.take('/') {
                left / self.sign()?
            } else {
                return Ok(left);
            };
        }
    }

    fn sign(&mut self) -> Result<Expr, Error> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.error("nested too deeply"));
        }
        let result = if self.take('-') { self.sign().map(|x| -x) } else { self.atom() };
        self.depth -= 1;
        result
    }

    fn atom(&mut self) -> Result<Expr, Error> {
        match self.peek() {
            Some('(') => {
                self.take('(');
                let inner = self.sum()?;
                self.need(')')?;
                Ok(inner)
            }
            Some(digit) if digit.is_ascii_digit() || digit == '.' => self.number(),
            Some(letter) if letter.is_ascii_alphabetic() => self.name(),
            Some(other) => Err(self.error(&format!("unexpected {other:?}"))),
            None => Err(self.error("unexpected end")),
        }
    }

    fn number(&mut self) -> Result<Expr, Error> {
        let rest = &self.text.as_bytes()[self.at..];
        let mut len = 0;
        while len < rest.len() {
            let exponent_sign = matches!(rest[len], b'+' | b'-') && len > 0 && matches!(rest[len - 1], b'e' | b'E');
            if !(rest[len].is_ascii_digit() || matches!(rest[len], b'.' | b'e' | b'E') || exponent_sign) {
                break;
            }
            len += 1;
        }
        let value: f32 = self.text[self.at..self.at + len].parse().map_err(|_| self.error("not a number"))?;
        if value.is_infinite() {
            return Err(self.error("too large a number for f32"));
        }
        self.at += len;
        Ok(value.into())
    }

    fn name(&mut self) -> Result<Expr, Error> {
        let start = self.at;
        let rest = &self.text[start..];
        let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let name = &rest[..len];
        self.at += len;
        match name {
            "a" => return Ok(super::a()),
            "b" => return Ok(super::b()),
            "nan" => return Ok(f32::NAN.into()),
            "inf" => return Ok(f32::INFINITY.into()),
            _ => {}
        }
        let unary = Unary::NAMED.iter().find(|(_, text)| *text == name).map(|(unary, _)| *unary);
        let count = match (unary, name) {
            (Some(_), _) => 1,
            (None, "min" | "max") => 2,
            (None, "clamp") => 3,
            (None, "select_ge") => 4,
            _ => {
                self.at = start;
                return Err(self.error(&format!("unknown name {name:?}; known: a, b, inf, nan, {FUNCTIONS}")));
            }
        };
        self.need('(')?;
        let mut arguments = vec![self.sum()?];
        for _ in 1..count {
            self.need(',')?;
            arguments.push(self.sum()?);
        }
        self.need(')')?;
        let mut next = arguments.into_iter();
        let mut next = || next.next().unwrap_or_else(|| 0.0.into());
        let first = next();
        Ok(match (unary, name) {
            (Some(unary), _) => first.unary(unary),
            (None, "min") => first.min(next()),
            (None, "max") => first.max(next()),
            (None, "clamp") => first.max(next()).min(next()),
            (None, _) => first.select_ge(next(), next(), next()),
        })
    }
}

const FUNCTIONS: &str = "exp, ln, abs, sqrt, tanh, sin, cos, min, max, clamp, select_ge";
