//! Every change there is. Panels, shortcuts, scripts and tests all come through here.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::matrix_view::{Camera, Pointed};
use super::session::{Reference, StepId, Value};

/// One change. As JSON: `{"add": "banded_matmul"}`, `"undo"`, `{"set": {"step": 1, "name": "n", "value": 40}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// A step of this operation, after the selected one.
    Add(String),
    Remove(StepId),
    Duplicate(StepId),
    /// Up for negative numbers.
    Move {
        step: StepId,
        by: i64,
    },
    Select(StepId),
    /// The step that many places further.
    SelectNext(i64),
    Set {
        step: StepId,
        name: String,
        value: Value,
    },
    Operand {
        step: StepId,
        input: usize,
        reference: Reference,
    },
    /// The example of this title.
    Example(String),
    Reset,
    Undo,
    Redo,
    /// A session or matrix file.
    Open(PathBuf),
    Save(PathBuf),
    /// The selected result as .png, .mtx or .npy, or all steps as .rs.
    Export(PathBuf),
    /// The window as it is, as .png.
    Screenshot(PathBuf),

    /// Which matrix of the batch is shown.
    Batch(usize),
    /// A colour scale's name, or "automatic".
    Colors(String),
    Logarithmic(bool),
    Labels(bool),
    /// Whether a formula has all its terms, not the first few.
    AllTerms(bool),
    ShowDense(bool),
    ShowStored(bool),
    ShowDevices(bool),
    /// All of the matrix.
    Fit,
    /// Larger about the middle by this factor.
    Zoom(f64),
    /// This part of the matrix.
    Look(Camera),
    /// The entry under the pointer.
    Point(Option<Pointed>),
    /// The entry that stays marked.
    Pin(Option<Pointed>),
    /// The marked entry's neighbour, by rows and columns.
    PinNext([i64; 2]),
    Theme(Theme),
    /// Of all text and controls, 1 as usual.
    TextScale(f32),

    /// Where the steps run: "window", "cpu", "wgpu:0", …
    Device(String),
    /// All steps anew, for their times.
    RunAgain,
    Compare,
    Dialog(Option<Dialog>),
    DismissNotice,
    /// Gives the window's device up, as a driver does after a fault: to try what happens then.
    LoseDevice,
    Quit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    #[default]
    System,
    Light,
    Dark,
}

/// A window over the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialog {
    Open,
    Save,
    ExportPicture,
    ExportMatrix,
    ExportCode,
    Shortcuts,
    /// For a file step's path.
    ChooseFile(StepId),
}
