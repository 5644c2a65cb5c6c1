//! Keys and the commands they give. One table: for input, menus and the list of keys.

use eframe::egui::{Context, Id, Key, KeyboardShortcut, Modifiers};

use super::command::{Command, Dialog};
use super::state::State;

/// How much one press zooms.
pub const ZOOM: f64 = 1.5;

pub fn larger(scale: f32) -> f32 {
    (scale * 10.0).round() / 10.0 + 0.1
}

pub fn smaller(scale: f32) -> f32 {
    (scale * 10.0).round() / 10.0 - 0.1
}

struct Shortcut {
    modifiers: Modifiers,
    key: Key,
    what: &'static str,
    command: fn(&State) -> Option<Command>,
}

const PLAIN: Modifiers = Modifiers::NONE;
const CTRL: Modifiers = Modifiers::COMMAND;
const CTRL_SHIFT: Modifiers = Modifiers::COMMAND.plus(Modifiers::SHIFT);
const ALT: Modifiers = Modifiers::ALT;

/// With more modifiers first: Ctrl+Shift+Z must not be taken for Ctrl+Z.
const ALL: &[Shortcut] = &[
    Shortcut { modifiers: CTRL_SHIFT, key: Key::Z, what: "Redo", command: |_| Some(Command::Redo) },
    Shortcut { modifiers: CTRL_SHIFT, key: Key::E, what: "Export matrix", command: |_| dialog(Dialog::ExportMatrix) },
    Shortcut { modifiers: CTRL, key: Key::Z, what: "Undo", command: |_| Some(Command::Undo) },
    Shortcut { modifiers: CTRL, key: Key::O, what: "Open", command: |_| dialog(Dialog::Open) },
    Shortcut { modifiers: CTRL, key: Key::S, what: "Save session", command: |_| dialog(Dialog::Save) },
    Shortcut { modifiers: CTRL, key: Key::E, what: "Export picture", command: |_| dialog(Dialog::ExportPicture) },
    Shortcut { modifiers: CTRL, key: Key::R, what: "Export steps as Rust", command: |_| dialog(Dialog::ExportCode) },
    Shortcut { modifiers: CTRL, key: Key::D, what: "Duplicate step", command: |state| state.session.selected.map(Command::Duplicate) },
    Shortcut { modifiers: CTRL, key: Key::Q, what: "Quit", command: |_| Some(Command::Quit) },
    Shortcut {
        modifiers: CTRL,
        key: Key::Plus,
        what: "Larger text",
        command: |state| Some(Command::TextScale(larger(state.settings.text_scale))),
    },
    Shortcut {
        modifiers: CTRL,
        key: Key::Minus,
        what: "Smaller text",
        command: |state| Some(Command::TextScale(smaller(state.settings.text_scale))),
    },
    Shortcut { modifiers: CTRL, key: Key::Num0, what: "Usual text", command: |_| Some(Command::TextScale(1.0)) },
    Shortcut { modifiers: ALT, key: Key::ArrowUp, what: "Move step up", command: |state| shift(state, -1) },
    Shortcut { modifiers: ALT, key: Key::ArrowDown, what: "Move step down", command: |state| shift(state, 1) },
    Shortcut { modifiers: PLAIN, key: Key::Delete, what: "Remove step", command: |state| state.session.selected.map(Command::Remove) },
    Shortcut { modifiers: PLAIN, key: Key::PageUp, what: "Step before", command: |_| Some(Command::SelectNext(-1)) },
    Shortcut { modifiers: PLAIN, key: Key::PageDown, what: "Step after", command: |_| Some(Command::SelectNext(1)) },
    Shortcut { modifiers: PLAIN, key: Key::ArrowUp, what: "Mark the entry above", command: |_| Some(Command::PinNext([-1, 0])) },
    Shortcut { modifiers: PLAIN, key: Key::ArrowDown, what: "Mark the entry below", command: |_| Some(Command::PinNext([1, 0])) },
    Shortcut { modifiers: PLAIN, key: Key::ArrowLeft, what: "Mark the entry to the left", command: |_| Some(Command::PinNext([0, -1])) },
    Shortcut { modifiers: PLAIN, key: Key::ArrowRight, what: "Mark the entry to the right", command: |_| Some(Command::PinNext([0, 1])) },
    Shortcut { modifiers: PLAIN, key: Key::Escape, what: "Mark nothing", command: |_| Some(Command::Pin(None)) },
    Shortcut { modifiers: PLAIN, key: Key::Plus, what: "Zoom in", command: |_| Some(Command::Zoom(ZOOM)) },
    Shortcut { modifiers: PLAIN, key: Key::Minus, what: "Zoom out", command: |_| Some(Command::Zoom(1.0 / ZOOM)) },
    Shortcut { modifiers: PLAIN, key: Key::F, what: "Fit", command: |_| Some(Command::Fit) },
    Shortcut {
        modifiers: PLAIN,
        key: Key::L,
        what: "Logarithmic colours",
        command: |state| Some(Command::Logarithmic(!state.settings.logarithmic)),
    },
    Shortcut { modifiers: PLAIN, key: Key::V, what: "Values in cells", command: |state| Some(Command::Labels(!state.settings.labels)) },
    Shortcut {
        modifiers: PLAIN,
        key: Key::T,
        what: "All terms of formulas",
        command: |state| Some(Command::AllTerms(!state.settings.all_terms)),
    },
    Shortcut { modifiers: PLAIN, key: Key::Num1, what: "Dense view", command: |state| Some(Command::ShowDense(!state.settings.dense)) },
    Shortcut { modifiers: PLAIN, key: Key::Num2, what: "Storage view", command: |state| Some(Command::ShowStored(!state.settings.stored)) },
    Shortcut { modifiers: PLAIN, key: Key::F5, what: "Run again", command: |_| Some(Command::RunAgain) },
    Shortcut { modifiers: PLAIN, key: Key::F1, what: "Keyboard shortcuts", command: |_| dialog(Dialog::Shortcuts) },
];

fn dialog(dialog: Dialog) -> Option<Command> {
    Some(Command::Dialog(Some(dialog)))
}

fn shift(state: &State, by: i64) -> Option<Command> {
    state.session.selected.map(|step| Command::Move { step, by })
}

/// What was pressed since the last frame. A text field has its keys to itself, and so has a dialog.
pub fn pressed(ctx: &Context, state: &State, out: &mut Vec<Command>) {
    let busy = ctx.egui_wants_keyboard_input() || state.dialog.is_some();
    let had_focus = had_focus(ctx);
    for shortcut in ALL {
        let plain = shortcut.modifiers == PLAIN;
        let leaves = had_focus && shortcut.key == Key::Escape;
        if (busy && (plain || state.dialog.is_some())) || (plain && egui_navigates(ctx, shortcut.key)) || leaves {
            continue;
        }
        if ctx.input_mut(|input| input.consume_shortcut(&KeyboardShortcut::new(shortcut.modifiers, shortcut.key))) {
            out.extend((shortcut.command)(state));
        }
    }
}

/// Whether a control had the focus when the last frame began. Escape takes it away before keys are looked at here, and
/// means no more than that.
fn had_focus(ctx: &Context) -> bool {
    let (id, focused) = (Id::unique("had focus"), ctx.memory(|memory| memory.focused().is_some()));
    ctx.data_mut(|data| std::mem::replace(data.get_temp_mut_or_default(id), focused))
}

/// Arrow keys belong to a slider that has the focus.
fn egui_navigates(ctx: &Context, key: Key) -> bool {
    matches!(key, Key::ArrowUp | Key::ArrowDown | Key::ArrowLeft | Key::ArrowRight) && ctx.memory(|memory| memory.focused().is_some())
}

/// The keys of a menu entry's command.
pub fn keys_of(command: &Command) -> Option<String> {
    let what = match command {
        Command::Undo => "Undo",
        Command::Redo => "Redo",
        Command::Fit => "Fit",
        Command::Quit => "Quit",
        Command::RunAgain => "Run again",
        Command::Duplicate(_) => "Duplicate step",
        Command::Remove(_) => "Remove step",
        Command::Move { by, .. } if *by < 0 => "Move step up",
        Command::Move { .. } => "Move step down",
        Command::Zoom(factor) if *factor > 1.0 => "Zoom in",
        Command::Zoom(_) => "Zoom out",
        Command::Dialog(Some(Dialog::Open)) => "Open",
        Command::Dialog(Some(Dialog::Save)) => "Save session",
        Command::Dialog(Some(Dialog::ExportPicture)) => "Export picture",
        Command::Dialog(Some(Dialog::ExportMatrix)) => "Export matrix",
        Command::Dialog(Some(Dialog::ExportCode)) => "Export steps as Rust",
        Command::Dialog(Some(Dialog::Shortcuts)) => "Keyboard shortcuts",
        _ => return None,
    };
    ALL.iter().find(|shortcut| shortcut.what == what).map(Shortcut::keys)
}

/// Keys and what they do.
pub fn list() -> impl Iterator<Item = (String, &'static str)> {
    ALL.iter().map(|shortcut| (shortcut.keys(), shortcut.what))
}

/// What there is to press.
#[cfg(test)]
pub fn all() -> impl Iterator<Item = (Modifiers, Key, &'static str)> {
    ALL.iter().map(|shortcut| (shortcut.modifiers, shortcut.key, shortcut.what))
}

impl Shortcut {
    fn keys(&self) -> String {
        let mut text = String::new();
        for (modifier, name) in [(CTRL, "Ctrl+"), (ALT, "Alt+"), (Modifiers::SHIFT, "Shift+")] {
            if self.modifiers.contains(modifier) {
                text += name;
            }
        }
        text + match self.key {
            Key::ArrowUp => "Up",
            Key::ArrowDown => "Down",
            Key::ArrowLeft => "Left",
            Key::ArrowRight => "Right",
            Key::Plus => "+",
            Key::Minus => "-",
            key => key.name(),
        }
    }
}
