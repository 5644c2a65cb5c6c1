//! What the window shows, and what each command does to it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bandsaw::{Error, Info, Result};
use serde::{Deserialize, Serialize};

use super::command::{Command, Dialog, Theme};
use super::compare::Comparison;
use super::evaluate::{Evaluated, Outcome};
use super::examples;
use super::matrix_view::{Camera, Pointed};
use super::operations;
use super::session::{Reference, Session, StepId, Value};

/// What is remembered between runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    pub colors: String,
    pub logarithmic: bool,
    pub labels: bool,
    pub all_terms: bool,
    pub dense: bool,
    pub stored: bool,
    pub devices: bool,
    pub theme: Theme,
    pub text_scale: f32,
    pub device: Option<String>,
    pub folder: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            colors: AUTOMATIC.into(),
            logarithmic: false,
            labels: true,
            all_terms: false,
            dense: true,
            stored: true,
            devices: true,
            theme: Theme::System,
            text_scale: 1.0,
            device: None,
            folder: PathBuf::from("."),
        }
    }
}

/// The colour scale that follows the values' signs.
pub const AUTOMATIC: &str = "automatic";

/// How text may be scaled.
pub const TEXT_SCALES: std::ops::RangeInclusive<f32> = 0.6..=3.0;

/// Something to tell the user.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    pub text: String,
    pub error: bool,
}

/// What a command asks of the world outside the state.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Evaluate { again: bool },
    Compare,
    Export(PathBuf),
    Screenshot(PathBuf),
    LoseDevice,
    Quit,
}

/// What a step has, as far as it is known.
pub struct Shown {
    pub outcome: Outcome,
    /// The last result there was: it stays on the screen while the step says what is wrong.
    pub last: Option<Arc<Evaluated>>,
    /// What its last runs took.
    pub times: Vec<Duration>,
}

pub struct State {
    pub session: Session,
    undo: Vec<Session>,
    redo: Vec<Session>,
    /// What the last change was to: a slider that is dragged is one change.
    changing: Option<(StepId, String)>,
    pub settings: Settings,
    pub camera: Camera,
    pub batch: usize,
    pub pointed: Option<Pointed>,
    pub pinned: Option<Pointed>,
    pub device: String,
    pub dialog: Option<Dialog>,
    pub notice: Option<Notice>,
    /// Where the session was loaded from or saved to.
    pub path: Option<PathBuf>,

    pub results: HashMap<StepId, Shown>,
    /// Steps that the worker has not come to yet.
    pub pending: bool,
    /// What all steps took, the last runs.
    pub totals: Vec<Duration>,
    pub devices: Vec<Info>,
    /// Bytes a second that devices copy with.
    pub copies: HashMap<String, f64>,
    pub compared: Option<Vec<Comparison>>,
    pub comparing: bool,
}

/// Runs that are remembered for the plot.
const RUNS: usize = 120;

/// Changes that can be undone.
const HISTORY: usize = 200;

impl State {
    pub fn new(settings: Settings, device: String) -> Self {
        Self {
            session: examples::first(),
            undo: Vec::new(),
            redo: Vec::new(),
            changing: None,
            settings,
            camera: Camera::default(),
            batch: 0,
            pointed: None,
            pinned: None,
            device,
            dialog: None,
            notice: None,
            path: None,
            results: HashMap::new(),
            pending: true,
            totals: Vec::new(),
            devices: Vec::new(),
            copies: HashMap::new(),
            compared: None,
            comparing: false,
        }
    }

    pub fn can_undo(&self) -> bool {
        !self.undo.is_empty()
    }

    pub fn can_redo(&self) -> bool {
        !self.redo.is_empty()
    }

    /// The selected step's result.
    pub fn shown(&self) -> Option<&Arc<Evaluated>> {
        self.results.get(&self.session.selected?)?.last.as_ref()
    }

    /// Keeps what a step took for the plot.
    pub fn remember(times: &mut Vec<Duration>, time: Duration) {
        times.push(time);
        if times.len() > RUNS {
            times.remove(0);
        }
    }

    pub fn tell(&mut self, error: bool, text: impl Into<String>) {
        self.notice = Some(Notice { text: text.into(), error });
    }

    /// Changes the session so that it can be undone.
    fn change(&mut self, what: Option<(StepId, String)>, change: impl FnOnce(&mut Session)) -> Option<Effect> {
        let before = self.session.clone();
        change(&mut self.session);
        if self.session == before {
            return None;
        }
        if what.is_none() || what != self.changing {
            self.undo.push(before);
            if self.undo.len() > HISTORY {
                self.undo.remove(0);
            }
        }
        self.changing = what;
        self.redo.clear();
        Some(Effect::Evaluate { again: false })
    }

    /// Another session as a whole; what was selected may be gone.
    fn replace(&mut self, session: Session) -> Option<Effect> {
        self.camera = Camera::default();
        (self.pinned, self.pointed, self.batch) = (None, None, 0);
        self.change(None, |current| *current = session)
    }

    /// Does what the command says. An error leaves everything as it was.
    pub fn apply(&mut self, command: Command) -> Result<Option<Effect>> {
        if !matches!(command, Command::Set { .. } | Command::Point(_)) {
            self.changing = None;
        }
        Ok(match command {
            Command::Add(name) => {
                let operation = operations::find(&name).ok_or_else(|| Error::Argument {
                    op: "add",
                    argument: "operation",
                    got: format!("{name:?}"),
                    allowed: "a known operation".into(),
                })?;
                let effect = self.change(None, |session| {
                    session.add(operation);
                });
                self.looked_at_another();
                effect
            }
            Command::Remove(id) => self.change(None, |session| session.remove(id)),
            Command::Duplicate(id) => self.change(None, |session| session.duplicate(id)),
            Command::Move { step, by } => self.change(None, |session| session.shift(step, by)),
            Command::Select(id) => {
                self.select(id);
                None
            }
            Command::SelectNext(by) => {
                let place = self.session.selected.and_then(|id| self.session.place(id)).map_or(0, |place| place as i64 + by);
                let last = self.session.steps.len().saturating_sub(1) as i64;
                if let Some(step) = self.session.steps.get(place.clamp(0, last) as usize) {
                    self.select(step.id);
                }
                None
            }
            Command::Set { step, name, value } => self.set(step, name, value)?,
            Command::Operand { step, input, reference } => self.operand(step, input, reference)?,
            Command::Example(title) => self.replace(examples::session(&title)?),
            Command::Reset => self.replace(examples::first()),
            Command::Undo => self.step_back(true),
            Command::Redo => self.step_back(false),
            Command::Open(path) => self.open(&path)?,
            Command::Save(path) => {
                self.session.save(&path)?;
                self.tell(false, format!("Saved {}", path.display()));
                self.remember_folder(&path);
                self.path = Some(path);
                None
            }
            Command::Export(path) => {
                self.remember_folder(&path);
                Some(Effect::Export(path))
            }
            Command::Screenshot(path) => Some(Effect::Screenshot(path)),
            Command::Device(name) => {
                self.settings.device = Some(name.clone());
                self.device = name;
                Some(Effect::Evaluate { again: false })
            }
            Command::RunAgain => Some(Effect::Evaluate { again: true }),
            Command::Compare => {
                (self.comparing, self.settings.devices) = (true, true);
                Some(Effect::Compare)
            }
            Command::LoseDevice => Some(Effect::LoseDevice),
            Command::Quit => Some(Effect::Quit),
            view => {
                self.look(view);
                None
            }
        })
    }

    /// Commands that change how things look.
    fn look(&mut self, command: Command) {
        match command {
            Command::Batch(index) => self.batch = index,
            Command::Colors(name) => self.settings.colors = name,
            Command::Logarithmic(on) => self.settings.logarithmic = on,
            Command::Labels(on) => self.settings.labels = on,
            Command::AllTerms(on) => self.settings.all_terms = on,
            // One of the two views is always there.
            Command::ShowDense(on) => (self.settings.dense, self.settings.stored) = (on, self.settings.stored || !on),
            Command::ShowStored(on) => (self.settings.stored, self.settings.dense) = (on, self.settings.dense || !on),
            Command::ShowDevices(on) => self.settings.devices = on,
            Command::Fit => self.camera = Camera::default(),
            Command::Zoom(factor) => self.camera.zoom = (self.camera.zoom * factor).max(1.0),
            Command::Look(camera) => self.camera = camera,
            Command::Point(at) => self.pointed = at,
            Command::Pin(at) => self.pinned = at,
            Command::PinNext([rows, cols]) => self.pin_next(rows, cols),
            Command::Theme(theme) => self.settings.theme = theme,
            Command::TextScale(scale) => self.settings.text_scale = scale.clamp(*TEXT_SCALES.start(), *TEXT_SCALES.end()),
            Command::Dialog(dialog) => self.dialog = dialog,
            Command::DismissNotice => self.notice = None,
            _ => {}
        }
    }

    fn select(&mut self, id: StepId) {
        if self.session.step(id).is_some() && self.session.selected != Some(id) {
            self.session.selected = Some(id);
            self.looked_at_another();
        }
    }

    fn looked_at_another(&mut self) {
        (self.pinned, self.pointed) = (None, None);
        self.camera = Camera::default();
    }

    fn missing(op: &'static str, step: StepId) -> Error {
        Error::Argument { op, argument: "step", got: format!("id {step}"), allowed: "a step of the list".into() }
    }

    fn set(&mut self, step: StepId, name: String, value: Value) -> Result<Option<Effect>> {
        let found = self.session.step(step).ok_or_else(|| Self::missing("set", step))?;
        if found.operation().and_then(|operation| operation.parameter(&name)).is_none() {
            let got = format!("{name:?} of {}", found.operation);
            return Err(Error::Argument { op: "set", argument: "name", got, allowed: "a parameter of the step".into() });
        }
        Ok(self.change(Some((step, name.clone())), |session| {
            if let Some(step) = session.step_mut(step) {
                step.parameters.insert(name, value);
            }
        }))
    }

    fn operand(&mut self, step: StepId, input: usize, reference: Reference) -> Result<Option<Effect>> {
        let known = self.session.step(step).is_some_and(|step| input < step.inputs.len());
        if !known {
            return Err(Self::missing("operand", step));
        }
        Ok(self.change(None, |session| {
            if let Some(place) = session.step_mut(step).and_then(|step| step.inputs.get_mut(input)) {
                *place = reference;
            }
        }))
    }

    fn step_back(&mut self, undo: bool) -> Option<Effect> {
        let (from, to) = if undo { (&mut self.undo, &mut self.redo) } else { (&mut self.redo, &mut self.undo) };
        let session = from.pop()?;
        to.push(std::mem::replace(&mut self.session, session));
        Some(Effect::Evaluate { again: false })
    }

    fn open(&mut self, path: &Path) -> Result<Option<Effect>> {
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        let is = |wanted: &str| ending.as_ref().is_some_and(|ending| ending == wanted);
        let effect = if is("json") {
            let session = Session::load(path)?;
            self.path = Some(path.to_owned());
            self.replace(session)
        } else {
            let source = if is("safetensors") {
                operations::of_checkpoint(path)?
            } else {
                crate::app::matrix::readable(&[path.to_owned()])?;
                "file"
            };
            let operation = operations::find(source).ok_or_else(|| Self::missing("open", 0))?;
            let value = Value::Text(path.display().to_string());
            let effect = self.change(None, |session| {
                let id = session.add(operation);
                if let Some(step) = session.step_mut(id) {
                    step.parameters.insert("path".into(), value);
                }
            });
            self.looked_at_another();
            effect
        };
        self.remember_folder(path);
        Ok(effect)
    }

    fn remember_folder(&mut self, path: &Path) {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            self.settings.folder = folder.to_owned();
        }
    }

    fn pin_next(&mut self, rows: i64, cols: i64) {
        let Some(shown) = self.shown() else { return };
        let storage = super::matrix_view::Storage::of(&shown.matrix);
        let moved = |at: usize, by: i64, limit: usize| (at as i64 + by).min(limit as i64 - 1).max(0) as usize;
        self.pinned = Some(match self.pinned {
            Some(Pointed::Entry([i, j])) => Pointed::Entry([moved(i, rows, storage.rows), moved(j, cols, storage.cols)]),
            _ => Pointed::Entry([0, 0]),
        });
    }
}
