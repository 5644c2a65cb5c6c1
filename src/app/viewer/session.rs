//! What a session file holds: the steps, and which one is looked at.

use std::collections::BTreeMap;
use std::path::Path;

use bandsaw::io::write_file;
use bandsaw::{Error, Result};
use serde::{Deserialize, Serialize};

use super::operations::{self, Operation};

/// Names a step for as long as it exists, wherever it stands in the list.
pub type StepId = u32;

/// A parameter's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    Integer(i64),
    Real(f64),
    Text(String),
}

/// The result of an earlier step as an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reference {
    pub step: StepId,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transposed: bool,
}

/// One source or operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub id: StepId,
    /// The name of an [`Operation`].
    pub operation: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Reference>,
    /// What differs from the operation's defaults.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Value>,
}

/// A list of steps, each over earlier ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Session {
    /// Of the file format.
    pub version: u32,
    pub steps: Vec<Step>,
    pub selected: Option<StepId>,
}

const VERSION: u32 = 1;

impl Step {
    pub fn operation(&self) -> Option<&'static Operation> {
        operations::find(&self.operation)
    }
}

impl Session {
    pub fn new() -> Self {
        Self { version: VERSION, ..Self::default() }
    }

    pub fn step(&self, id: StepId) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == id)
    }

    pub fn step_mut(&mut self, id: StepId) -> Option<&mut Step> {
        self.steps.iter_mut().find(|step| step.id == id)
    }

    /// Its place in the list, from 0.
    pub fn place(&self, id: StepId) -> Option<usize> {
        self.steps.iter().position(|step| step.id == id)
    }

    pub fn selected(&self) -> Option<&Step> {
        self.step(self.selected?)
    }

    /// "3 · A · B": how lists and messages call a step.
    pub fn title(&self, id: StepId) -> String {
        match (self.place(id), self.step(id).and_then(Step::operation)) {
            (Some(place), Some(operation)) => format!("{} · {}", place + 1, operation.title),
            _ => "(gone)".into(),
        }
    }

    /// Adds a step after the selected one; its operands are the selected result and those before it
    /// that fit.
    pub fn add(&mut self, operation: &'static Operation) -> StepId {
        let at = self.selected.and_then(|id| self.place(id)).map_or(self.steps.len(), |place| place + 1);
        let mut inputs = Vec::new();
        for input in operation.inputs {
            let fitting = self.steps[..at].iter().rev().filter(|step| step.operation().is_some_and(|found| found.result == input.kind));
            // A step given twice is right for one operand of two only if there is no other.
            let unused = fitting.clone().find(|step| inputs.iter().all(|used: &Reference| used.step != step.id));
            let step = unused.or_else(|| fitting.clone().next()).map_or(StepId::MAX, |step| step.id);
            inputs.push(Reference { step, transposed: false });
        }
        // The first operand is the result that is looked at: a product of it with itself comes first.
        if let (Some(first), true) = (inputs.first().copied(), operation.square) {
            inputs.fill(first);
        }
        let id = self.steps.iter().map(|step| step.id + 1).max().unwrap_or(1);
        self.steps.insert(at, Step { id, operation: operation.name.into(), inputs, parameters: BTreeMap::new() });
        self.selected = Some(id);
        id
    }

    pub fn remove(&mut self, id: StepId) {
        let Some(place) = self.place(id) else { return };
        self.steps.remove(place);
        if self.selected == Some(id) {
            self.selected = self.steps.get(place.min(self.steps.len().saturating_sub(1))).map(|step| step.id);
        }
    }

    pub fn duplicate(&mut self, id: StepId) {
        let Some(place) = self.place(id) else { return };
        let mut copy = self.steps[place].clone();
        copy.id = self.steps.iter().map(|step| step.id + 1).max().unwrap_or(1);
        self.selected = Some(copy.id);
        self.steps.insert(place + 1, copy);
    }

    /// Moves a step by so many places, as far as the list goes.
    pub fn shift(&mut self, id: StepId, by: i64) {
        let Some(place) = self.place(id) else { return };
        let to = (place as i64 + by).clamp(0, self.steps.len() as i64 - 1) as usize;
        let step = self.steps.remove(place);
        self.steps.insert(to, step);
    }

    pub fn load(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| Error::Io { path: name.clone(), message: error.to_string() })?;
        Self::parse(&name, &text)
    }

    /// A session from text; `name` stands for the file in messages.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let wrong = |line: usize, message: String| Error::Parse { source_name: name.into(), line, message };
        let session: Self = serde_json::from_str(text).map_err(|error| wrong(error.line(), error.to_string()))?;
        if session.version != VERSION {
            return Err(wrong(1, format!("version {}, must be {VERSION}", session.version)));
        }
        for (n, step) in session.steps.iter().enumerate() {
            let Some(operation) = step.operation() else {
                return Err(wrong(1, format!("step {}: unknown operation {:?}", n + 1, step.operation)));
            };
            if step.inputs.len() != operation.inputs.len() {
                let (got, want) = (step.inputs.len(), operation.inputs.len());
                return Err(wrong(1, format!("step {}: {} takes {want} operands, has {got}", n + 1, step.operation)));
            }
            if session.steps[..n].iter().any(|other| other.id == step.id) {
                return Err(wrong(1, format!("step {}: id {} is taken", n + 1, step.id)));
            }
            if let Some(name) = step.parameters.keys().find(|name| operation.parameter(name).is_none()) {
                return Err(wrong(1, format!("step {}: {} has no parameter {name:?}", n + 1, step.operation)));
            }
        }
        Ok(session)
    }

    pub fn text(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|error| Error::Io { path: "session".into(), message: error.to_string() })
    }

    pub fn save(&self, path: &Path) -> Result<()> {
        let text = self.text()?;
        write_file(path, |file| writeln!(file, "{text}"))
    }
}
