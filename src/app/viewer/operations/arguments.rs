//! What a step's operation gets: operands and parameters, to run it or to write it as Rust.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bandsaw::{Activation, Band, Banded, BlockSparse, Dense, Device, Dtype, Error, Expr, Layout, Result, Semiring};

use super::{Control, Kind, Operation};
use crate::app::Matrix;
use crate::app::viewer::session::{Step, Value};

/// A step's parameters over its operation's defaults.
#[derive(Clone, Copy)]
struct Parameters<'a> {
    operation: &'static Operation,
    set: &'a BTreeMap<String, Value>,
}

impl Parameters<'_> {
    fn wrong(&self, name: &'static str, got: String, allowed: &str) -> Error {
        Error::Argument { op: self.operation.name, argument: name, got, allowed: allowed.into() }
    }

    fn integer(&self, name: &'static str) -> Result<i64> {
        match (self.set.get(name), self.operation.parameter(name).map(|known| known.control)) {
            (Some(Value::Integer(value)), _) => Ok(*value),
            (None, Some(Control::Integer { start, .. })) => Ok(start),
            (got, _) => Err(self.wrong(name, format!("{got:?}"), "a whole number")),
        }
    }

    fn real(&self, name: &'static str) -> Result<f32> {
        match (self.set.get(name), self.operation.parameter(name).map(|known| known.control)) {
            (Some(Value::Real(value)), _) => Ok(*value as f32),
            (Some(Value::Integer(value)), _) => Ok(*value as f32),
            (None, Some(Control::Real { start, .. })) => Ok(start as f32),
            (got, _) => Err(self.wrong(name, format!("{got:?}"), "a number")),
        }
    }

    fn text(&self, name: &'static str) -> Result<&str> {
        match (self.set.get(name), self.operation.parameter(name).map(|known| known.control)) {
            (Some(Value::Text(text)), Some(Control::Choice(of))) if !of.contains(&text.as_str()) => {
                Err(self.wrong(name, format!("{text:?}"), &format!("one of {}", of.join(", "))))
            }
            (Some(Value::Text(text)), _) => Ok(text),
            (None, Some(Control::Choice(of))) => Ok(of.first().copied().unwrap_or_default()),
            (None, Some(Control::Text(start))) => Ok(start),
            (None, Some(Control::File | Control::Tensor { .. })) => Ok(""),
            (got, _) => Err(self.wrong(name, format!("{got:?}"), "a text")),
        }
    }
}

/// To run an operation.
pub struct Arguments<'a> {
    pub device: &'a Device,
    operation: &'static Operation,
    inputs: &'a [Matrix],
    parameters: Parameters<'a>,
}

impl<'a> Arguments<'a> {
    pub fn new(device: &'a Device, operation: &'static Operation, step: &'a Step, inputs: &'a [Matrix]) -> Self {
        Self { device, operation, inputs, parameters: Parameters { operation, set: &step.parameters } }
    }

    fn missing(&self, n: usize, got: &str, allowed: &str) -> Error {
        let argument = self.operation.inputs.get(n).map_or("operand", |input| input.name);
        Error::Argument { op: self.operation.name, argument, got: got.into(), allowed: allowed.into() }
    }

    /// Operand n, and the words for what it must be.
    fn operand<T>(&self, n: usize, kind: Kind, of: impl Fn(&'a Matrix) -> Option<&'a T>) -> Result<&'a T> {
        let allowed = || format!("a {}", kind.name());
        let matrix = self.inputs.get(n).ok_or_else(|| self.missing(n, "nothing", &allowed()))?;
        of(matrix).ok_or_else(|| self.missing(n, "another kind of matrix", &allowed()))
    }

    pub fn banded(&self, n: usize) -> Result<&'a Banded> {
        self.operand(n, Kind::Banded, |matrix| if let Matrix::Banded(banded) = matrix { Some(banded) } else { None })
    }

    pub fn dense(&self, n: usize) -> Result<&'a Dense> {
        self.operand(n, Kind::Dense, |matrix| if let Matrix::Dense(dense) = matrix { Some(dense) } else { None })
    }

    pub fn blocks(&self, n: usize) -> Result<&'a BlockSparse> {
        self.operand(n, Kind::Blocks, |matrix| if let Matrix::Blocks(blocks) = matrix { Some(blocks) } else { None })
    }

    /// Rows and columns of the blocks.
    pub fn block(&self) -> Result<[usize; 2]> {
        Ok([self.size("block rows")?, self.size("block cols")?])
    }

    pub fn activation(&self) -> Result<Activation> {
        Ok(match self.text("activation")? {
            "relu" => Activation::Relu,
            "gelu" => Activation::Gelu,
            _ => Activation::None,
        })
    }

    pub fn integer(&self, name: &'static str) -> Result<i64> {
        self.parameters.integer(name)
    }

    pub fn size(&self, name: &'static str) -> Result<usize> {
        let value = self.integer(name)?;
        usize::try_from(value).map_err(|_| self.parameters.wrong(name, value.to_string(), "0 or more"))
    }

    pub fn real(&self, name: &'static str) -> Result<f32> {
        self.parameters.real(name)
    }

    pub fn text(&self, name: &'static str) -> Result<&str> {
        self.parameters.text(name)
    }

    pub fn band(&self) -> Result<Band> {
        Band::new(self.integer("lower")?, self.integer("upper")?)
    }

    pub fn layout(&self) -> Result<Layout> {
        Ok(if self.text("layout")? == "columns" { Layout::Columns } else { Layout::Rows })
    }

    pub fn dtype(&self) -> Result<Dtype> {
        Ok(match self.text("dtype")? {
            "f16" => Dtype::F16,
            "bf16" => Dtype::Bf16,
            _ => Dtype::F32,
        })
    }

    pub fn fill(&self) -> Result<f32> {
        Ok(if self.text("fill")? == "-inf" { f32::NEG_INFINITY } else { 0.0 })
    }

    pub fn ring(&self) -> Result<Semiring> {
        Ok(match self.text("semiring")? {
            "log" => Semiring::Log,
            "max" => Semiring::Max,
            "prodmax" => Semiring::ProdMax,
            "sample" => Semiring::Sample { seed: self.integer("seed")? as u32 },
            _ => Semiring::Sum,
        })
    }

    pub fn expression(&self) -> Result<Expr> {
        self.text("f")?.parse()
    }

    /// The numbers that a text of numbers, separated by commas or spaces, holds.
    pub fn numbers(&self, name: &'static str) -> Result<Vec<f32>> {
        let text = self.text(name)?;
        let words = text.split([',', ' ']).filter(|word| !word.is_empty());
        let numbers: std::result::Result<Vec<f32>, _> = words.map(str::parse).collect();
        numbers.map_err(|_| self.parameters.wrong(name, format!("{text:?}"), "numbers separated by commas"))
    }

    /// The same for whole numbers from 0 on.
    pub fn places(&self, name: &'static str) -> Result<Vec<usize>> {
        let text = self.text(name)?;
        let words = text.split([',', ' ']).filter(|word| !word.is_empty());
        let places: std::result::Result<Vec<usize>, _> = words.map(str::parse).collect();
        places.map_err(|_| self.parameters.wrong(name, format!("{text:?}"), "whole numbers from 0 on, separated by commas"))
    }

    pub fn path(&self) -> Result<PathBuf> {
        match self.text("path")? {
            "" => Err(self.parameters.wrong("path", "no file".into(), "the path of a matrix file")),
            path => Ok(path.into()),
        }
    }
}

/// To write an operation as Rust: its operands are expressions already.
pub struct Call<'a> {
    operation: &'static Operation,
    inputs: Vec<String>,
    parameters: Parameters<'a>,
}

impl<'a> Call<'a> {
    pub fn new(operation: &'static Operation, step: &'a Step, inputs: Vec<String>) -> Self {
        Self { operation, inputs, parameters: Parameters { operation, set: &step.parameters } }
    }

    /// `name(&first, &second, …)?` with what else the function takes.
    pub fn function(&self, name: &str, more: &[String]) -> String {
        let operands = self.inputs.iter().map(|input| format!("&{input}"));
        let all: Vec<String> = operands.chain(more.iter().cloned()).collect();
        format!("{name}({})?", all.join(", "))
    }

    /// The same for the function that the operation is called after.
    pub fn own(&self, more: &[String]) -> String {
        self.function(self.operation.name, more)
    }

    pub fn input(&self, n: usize) -> &str {
        self.inputs.get(n).map_or("missing", String::as_str)
    }

    pub fn integer(&self, name: &'static str) -> String {
        self.parameters.integer(name).unwrap_or_default().to_string()
    }

    pub fn real(&self, name: &'static str) -> String {
        format!("{:?}", self.parameters.real(name).unwrap_or_default())
    }

    pub fn text(&self, name: &'static str) -> &str {
        self.parameters.text(name).unwrap_or_default()
    }

    /// A text as a Rust literal.
    pub fn literal(&self, name: &'static str) -> String {
        format!("{:?}", self.text(name))
    }

    pub fn band(&self) -> String {
        format!("Band::new({}, {})?", self.integer("lower"), self.integer("upper"))
    }

    pub fn layout(&self) -> String {
        if self.text("layout") == "columns" { "Layout::Columns" } else { "Layout::Rows" }.into()
    }

    pub fn fill(&self) -> String {
        if self.text("fill") == "-inf" { "f32::NEG_INFINITY" } else { "0.0" }.into()
    }

    pub fn ring(&self) -> String {
        match self.text("semiring") {
            "log" => "Semiring::Log".into(),
            "max" => "Semiring::Max".into(),
            "prodmax" => "Semiring::ProdMax".into(),
            "sample" => format!("Semiring::Sample {{ seed: {} }}", self.integer("seed")),
            _ => "Semiring::Sum".into(),
        }
    }

    pub fn block(&self) -> String {
        format!("[{}, {}]", self.integer("block rows"), self.integer("block cols"))
    }

    pub fn activation(&self) -> String {
        match self.text("activation") {
            "relu" => "Activation::Relu",
            "gelu" => "Activation::Gelu",
            _ => "Activation::None",
        }
        .into()
    }

    /// The storage type, if it is not f32.
    pub fn half(&self) -> Option<&'static str> {
        self.operation.parameter("dtype")?;
        match self.text("dtype") {
            "f16" => Some("Dtype::F16"),
            "bf16" => Some("Dtype::Bf16"),
            _ => None,
        }
    }

    pub fn expression(&self) -> String {
        format!("&{}.parse::<Expr>()?", self.literal("f"))
    }

    /// `.batch(…).layout(…).fill(…).dtype(…)` of a shape, where they differ from its defaults.
    pub fn shape(&self) -> String {
        let mut text = String::new();
        let has = |name| self.operation.parameter(name).is_some();
        if has("batch") && self.integer("batch") != "1" {
            text += &format!(".batch({})", self.integer("batch"));
        }
        if has("layout") && self.text("layout") == "columns" {
            text += ".layout(Layout::Columns)";
        }
        if has("fill") && self.text("fill") == "-inf" {
            text += ".fill(f32::NEG_INFINITY)";
        }
        if let Some(dtype) = self.half() {
            text += &format!(".dtype({dtype})");
        }
        text
    }
}
