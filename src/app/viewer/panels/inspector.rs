//! The entry under the pointer, or the marked one: where it is stored, and what made it.

use std::sync::{Arc, Weak};

use eframe::egui::{self, RichText, Ui};

use super::Context;
use crate::app::viewer::command::Command;
use crate::app::viewer::evaluate::Evaluated;
use crate::app::viewer::matrix_view::{Marks, Pointed, Reader, small_view};
use crate::app::viewer::operations::Operation;
use crate::app::viewer::origin::{ALL_TERMS, Cell, Entry, Facts, Stretch, TERMS, Values};
use crate::app::viewer::session::{Reference, Step};
use crate::app::viewer::state::State;

/// Points that an operand's picture takes.
const SIDE: f32 = 112.0;

/// Points that a long formula takes before it scrolls.
const FORMULA: f32 = 180.0;

const OPERAND: egui::Color32 = egui::Color32::from_rgb(255, 64, 64);

pub fn show(ui: &mut Ui, x: &mut Context<'_>) {
    ui.add_space(4.0);
    ui.heading("Entry");
    ui.add_space(4.0);
    let state = x.state;
    let (Some(step), Some(result)) = (state.session.selected(), state.shown()) else {
        ui.weak("No result.");
        return;
    };
    let (Some(operation), Some(drawn)) = (step.operation(), &result.drawn) else {
        ui.weak("No entry.");
        return;
    };
    let storage = drawn.storage.clone();
    let index = state.batch.min(storage.batch - 1);
    let pointed = state.pointed.or(state.pinned);
    let (entry, slot) = match pointed {
        None => (None, None),
        Some(Pointed::Entry(entry)) => (Some(entry), storage.slot(entry)),
        Some(Pointed::Slot(slot)) => (None, Some(slot)),
    };
    let facts = Facts::of(step, operation, index);
    let terms = if state.settings.all_terms { ALL_TERMS } else { TERMS };
    let of = entry.map(|at| Entry { origin: operation.origin, inputs: &result.inputs, facts: &facts, at, terms });
    // What is not stored comes from nothing.
    let of = of.filter(|_| slot.is_some());
    let from = of.as_ref().map_or_else(Vec::new, Entry::stretches);
    let written = Written::about(state, step, result, format!("{pointed:?} {terms} {facts:?}"));
    if !x.written.is_of(&written) {
        *x.written = written;
        let cells = of.as_ref().map_or_else(Vec::new, |of| of.cells(&from));
        let at = slot.map(|slot| index * storage.len() + slot);
        if let Some(Numbers { entry, values }) = numbers(x.entries.as_deref_mut(), state, step, result, at, &facts, &cells) {
            let names: Vec<&str> = operation.inputs.iter().map(|input| input.name).collect();
            x.written.formula = of.as_ref().and_then(|of| of.formula(&names, &from, &values, entry?));
            (x.written.value, x.written.read) = (entry, true);
        }
    }
    egui::Grid::new("entry").num_columns(2).spacing([12.0, 4.0]).min_col_width(72.0).show(ui, |ui| {
        let none = || "–".to_owned();
        let mut line = |name: &str, text: String| {
            ui.label(name);
            ui.label(RichText::new(text).monospace());
            ui.end_row();
        };
        line("Row, column", entry.map_or_else(none, |[i, j]| format!("({i}, {j})")));
        let held = slot.map(|slot| match storage.in_block(slot) {
            Some(found) => format!("{slot}: in slot {}, block ({}, {})", found.slot, found.block[0], found.block[1]),
            None => format!("{slot}: line {}, place {}", slot / storage.width(), slot % storage.width()),
        });
        let unheld = if entry.is_some() { "not stored".to_owned() } else { none() };
        line("Slot", held.unwrap_or(unheld));
        let value = match (pointed, slot, x.written.value) {
            (Some(Pointed::Slot(_)), ..) => "outside the matrix".into(),
            (Some(_), None, _) if storage.blocks.is_some() => "0".into(),
            (Some(_), None, _) => format!("{} (the fill)", storage.fill),
            (Some(_), Some(_), Some(value)) => index_or_value(value, storage.dtype),
            _ => none(),
        };
        line("Value", value);
    });
    ui.add_space(2.0);
    let none = || if entry.is_some() { String::new() } else { "Point at an entry, or mark one with a click.".into() };
    let text = x.written.formula.clone().unwrap_or_else(none);
    let count = of.as_ref().map_or(0, |of| of.count(&from));
    formula(ui, x, &text, count);
    operands(ui, x, step, operation, &facts, &from);
}

/// The formula: its first terms, or all of them as a text to scroll through.
fn formula(ui: &mut Ui, x: &mut Context<'_>, mut text: &str, count: usize) {
    let mut all = x.state.settings.all_terms;
    // Where there are no more, there is nothing to switch.
    let name = (count > TERMS).then(|| {
        ui.horizontal(|ui| {
            let name = ui.label("Formula");
            if ui.checkbox(&mut all, "All terms").changed() {
                x.out.push(Command::AllTerms(all));
            }
            name.id
        })
    });
    match name {
        Some(name) if text.contains('\n') => {
            egui::ScrollArea::vertical().id_salt("formula").max_height(FORMULA).show(ui, |ui| {
                let field = egui::TextEdit::multiline(&mut text).font(egui::TextStyle::Small).desired_rows(1).desired_width(f32::INFINITY);
                ui.add(field).labelled_by(name.inner);
            });
        }
        _ => {
            ui.add(egui::Label::new(RichText::new(text).small()).wrap());
        }
    }
}

fn index_or_value(value: f32, dtype: bandsaw::Dtype) -> String {
    match (dtype, value) {
        (bandsaw::Dtype::U32, value) if value >= u32::MAX as f32 => "none".into(),
        (bandsaw::Dtype::U32, value) => format!("{value:.0}"),
        (_, value) => value.to_string().replace("inf", "∞"),
    }
}

/// The last entry that was written out, and of what: while it is the same, nothing is read or worked out again.
#[derive(Default)]
pub struct Written {
    /// The result and the operands. Nothing is kept alive by this.
    of: Vec<Weak<Evaluated>>,
    /// Which entry, and how it is said to come about.
    what: String,
    /// Whether the values were there.
    read: bool,
    value: Option<f32>,
    formula: Option<String>,
}

impl Written {
    fn about(state: &State, step: &Step, result: &Arc<Evaluated>, what: String) -> Self {
        let operand = |reference: &Reference| state.results.get(&reference.step)?.outcome.as_ref().ok().map(Arc::downgrade);
        let operands = step.inputs.iter().map(|reference| operand(reference).unwrap_or_default());
        let of = [Arc::downgrade(result)].into_iter().chain(operands).collect();
        Self { of, what: format!("{what} {:?}", step.inputs), ..Self::default() }
    }

    fn is_of(&self, other: &Self) -> bool {
        let same = self.of.len() == other.of.len() && self.of.iter().zip(&other.of).all(|(one, other)| one.ptr_eq(other));
        self.read && same && self.what == other.what
    }
}

/// What is written out: the entry's value if it is stored, and what its formula needs.
#[derive(Default)]
struct Numbers {
    entry: Option<f32>,
    values: Values,
}

/// `None` until they are read.
fn numbers(
    reader: Option<&mut Reader>,
    state: &State,
    step: &Step,
    result: &Arc<Evaluated>,
    at: Option<usize>,
    facts: &Facts,
    cells: &[Cell],
) -> Option<Numbers> {
    let mut wanted: Vec<_> = at.map(|at| (Arc::clone(result), at)).into_iter().collect();
    // A term that its operand does not store is that operand's fill.
    let mut fills = Vec::new();
    for (input, [i, j]) in cells {
        let reference = step.inputs.get(*input)?;
        let operand = state.results.get(&reference.step)?.outcome.as_ref().ok()?;
        let drawn = operand.drawn.as_ref()?;
        let index = facts.batch_of(*input).min(drawn.storage.batch - 1);
        let place = if reference.transposed { [*j, *i] } else { [*i, *j] };
        let slot = drawn.storage.slot(place);
        fills.push(slot.map_or(Some(drawn.storage.fill), |_| None));
        wanted.extend(slot.map(|slot| (Arc::clone(operand), index * drawn.storage.len() + slot)));
    }
    let read = if wanted.is_empty() { &[] } else { reader?.values(wanted)? };
    let mut read = read.iter().copied();
    let entry = if at.is_some() { Some(read.next()?) } else { None };
    let all = cells.iter().zip(fills).map(|(cell, fill)| Some((*cell, fill.or_else(|| read.next())?)));
    Some(Numbers { entry, values: all.collect::<Option<_>>()? })
}

/// Small views of the operands with what of them made the entry.
fn operands(ui: &mut Ui, x: &mut Context<'_>, step: &Step, operation: &Operation, facts: &Facts, from: &[Stretch]) {
    let (Some(gpu), false) = (x.gpu, operation.inputs.is_empty()) else { return };
    ui.add_space(6.0);
    ui.label(RichText::new("Comes from").strong());
    egui::Grid::new("operands").num_columns(2).spacing([8.0, 6.0]).show(ui, |ui| {
        for (n, (input, reference)) in operation.inputs.iter().zip(&step.inputs).enumerate() {
            let Some(Ok(operand)) = x.state.results.get(&reference.step).map(|shown| &shown.outcome) else { continue };
            let Some(drawn) = &operand.drawn else { continue };
            let turn = |stretch: &Stretch| {
                let (rows, cols) = (stretch.rows.clone(), stretch.cols.clone());
                let (rows, cols) = if reference.transposed { (cols, rows) } else { (rows, cols) };
                Marks { color: OPERAND, rows, cols }
            };
            let marks: Vec<Marks> = from.iter().filter(|stretch| stretch.input == n).map(turn).collect();
            let place = x.state.session.place(reference.step).map_or(0, |place| place + 1);
            let name = format!("{} = step {place}{}", input.name, if reference.transposed { ".t()" } else { "" });
            let index = facts.batch_of(n).min(drawn.storage.batch - 1);
            ui.vertical(|ui| {
                ui.set_width(SIDE);
                ui.small(&name);
                small_view(ui, &format!("Operand {name}"), SIDE, &x.state.settings, gpu, (drawn, index), &marks);
            });
            if n % 2 == 1 {
                ui.end_row();
            }
        }
    });
}
