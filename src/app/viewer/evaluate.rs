//! Steps to results: each once, and again only if it or something before it has changed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bandsaw::{Device, Error, Result};

use super::matrix_view::{Drawn, Gpu, Storage};
use super::operations::{Arguments, Control};
use super::session::{Reference, Step, StepId, Value};
use crate::app::Matrix;

/// A step's result.
pub struct Evaluated {
    pub matrix: Matrix,
    /// The same on the window's GPU; `None` if it is empty or too large, or there is no such GPU.
    pub drawn: Option<Drawn>,
    /// The operands as they went in, transposed where asked for.
    pub inputs: Vec<Storage>,
    /// What the device took.
    pub time: Duration,
    /// Bytes of the operands and the result.
    pub bytes: u64,
}

pub type Outcome = std::result::Result<Arc<Evaluated>, Error>;

/// Results by step, with what they were computed from.
#[derive(Default)]
pub struct Cache(HashMap<StepId, (u64, Outcome)>);

impl Cache {
    /// Forgets what is not in the list any more.
    pub fn keep(&mut self, steps: &[Step]) {
        self.0.retain(|id, _| steps.iter().any(|step| step.id == *id));
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The results of a step's operands, or why there are none.
    fn inputs(&self, before: &[Step], step: &Step) -> Result<Vec<(u64, Arc<Evaluated>)>> {
        let operation = step.operation().ok_or_else(|| unknown(step))?;
        let mut all = Vec::new();
        for (input, reference) in operation.inputs.iter().zip(&step.inputs) {
            let wrong =
                |got: String, allowed: &str| Error::Argument { op: operation.name, argument: input.name, got, allowed: allowed.into() };
            let Some(place) = before.iter().position(|other| other.id == reference.step) else {
                return Err(wrong("no step".into(), "an earlier step's result"));
            };
            match self.0.get(&reference.step) {
                Some((key, Ok(result))) => all.push((*key, Arc::clone(result))),
                _ => return Err(wrong(format!("step {}, which has no result", place + 1), "a result")),
            }
        }
        Ok(all)
    }

    /// The result of `steps[n]`, those before it being there; and whether it had to be computed.
    pub fn evaluate(&mut self, steps: &[Step], n: usize, device: &Device, gpu: Option<&Gpu>) -> (Outcome, bool) {
        let step = &steps[n];
        let inputs = self.inputs(&steps[..n], step);
        let key = key(step, inputs.as_deref().unwrap_or_default(), device, inputs.is_err());
        if let Some((found, outcome)) = self.0.get(&step.id)
            && *found == key
            && inputs.is_ok()
        {
            return (outcome.clone(), false);
        }
        let outcome = inputs.and_then(|inputs| run(step, &inputs, device, gpu)).map(Arc::new);
        self.0.insert(step.id, (key, outcome.clone()));
        (outcome, true)
    }
}

fn unknown(step: &Step) -> Error {
    Error::Argument { op: "view", argument: "operation", got: format!("{:?}", step.operation), allowed: "a known operation".into() }
}

fn run(step: &Step, inputs: &[(u64, Arc<Evaluated>)], device: &Device, gpu: Option<&Gpu>) -> Result<Evaluated> {
    let operation = step.operation().ok_or_else(|| unknown(step))?;
    let turned = |(reference, (_, input)): (&Reference, &(u64, Arc<Evaluated>))| match (&input.matrix, reference.transposed) {
        (Matrix::Banded(banded), true) => Matrix::Banded(banded.t()),
        (Matrix::Dense(dense), true) => Matrix::Dense(dense.t()),
        (Matrix::Blocks(blocks), true) => Matrix::Blocks(blocks.t()),
        (same, false) => same.clone(),
    };
    let operands: Vec<Matrix> = step.inputs.iter().zip(inputs).map(turned).collect();
    let arguments = Arguments::new(device, operation, step, &operands);
    let (matrix, time) = device.time(|| (operation.run)(&arguments))?;
    let drawn = gpu.map(|gpu| gpu.take(&matrix)).transpose()?.flatten();
    let bytes = operands.iter().chain([&matrix]).map(bytes).sum();
    Ok(Evaluated { drawn, inputs: operands.iter().map(Storage::of).collect(), time, bytes, matrix })
}

fn bytes(matrix: &Matrix) -> u64 {
    let storage = Storage::of(matrix);
    (storage.batch * storage.len() * storage.dtype.bytes()) as u64
}

/// What a result depends on.
fn key(step: &Step, inputs: &[(u64, Arc<Evaluated>)], device: &Device, failed: bool) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&step.operation, device.to_string(), failed).hash(&mut hasher);
    for (name, value) in &step.parameters {
        name.hash(&mut hasher);
        match value {
            Value::Integer(value) => value.hash(&mut hasher),
            Value::Real(value) => value.to_bits().hash(&mut hasher),
            Value::Text(text) => text.hash(&mut hasher),
        }
        // A file that has been written since is another one.
        if let (Some(Control::File), Value::Text(path)) =
            (step.operation().and_then(|operation| operation.parameter(name)).map(|known| known.control), value)
        {
            std::fs::metadata(path).and_then(|about| about.modified()).ok().hash(&mut hasher);
        }
    }
    for (reference, (input, _)) in step.inputs.iter().zip(inputs) {
        (input, reference.transposed).hash(&mut hasher);
    }
    hasher.finish()
}
