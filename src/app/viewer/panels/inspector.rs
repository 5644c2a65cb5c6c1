//! The entry under the pointer, or the marked one: where it is stored, and what made it.

use std::sync::Arc;

use eframe::egui::{self, RichText, Ui};

use super::Context;
use crate::app::viewer::command::Command;
use crate::app::viewer::evaluate::Evaluated;
use crate::app::viewer::matrix_view::{Marks, Pointed, Reader, small_view};
use crate::app::viewer::operations::Operation;
use crate::app::viewer::origin::{ALL_TERMS, Cell, Entry, Facts, Stretch, TERMS, Values};
use crate::app::viewer::session::Step;
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
    let cells = of.as_ref().map_or_else(Vec::new, |of| of.cells(&from));
    let at = slot.map(|slot| index * storage.len() + slot);
    let numbers = numbers(x.entries.as_deref_mut(), state, step, result, at, &facts, &cells);
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
        let value = match (pointed, slot, numbers.as_ref().and_then(|numbers| numbers.entry)) {
            (Some(Pointed::Slot(_)), ..) => "outside the matrix".into(),
            (Some(_), None, _) if storage.blocks.is_some() => "0".into(),
            (Some(_), None, _) => format!("{} (the fill)", storage.fill),
            (Some(_), Some(_), Some(value)) => index_or_value(value, storage.dtype),
            _ => none(),
        };
        line("Value", value);
    });
    let text = of.as_ref().zip(numbers).and_then(|(of, Numbers { entry, values })| {
        let names: Vec<&str> = operation.inputs.iter().map(|input| input.name).collect();
        of.formula(&names, &from, &values, entry?)
    });
    ui.add_space(2.0);
    let text = text.unwrap_or_else(|| if entry.is_some() { String::new() } else { "Point at an entry, or mark one with a click.".into() });
    formula(ui, x, &text);
    operands(ui, x, step, operation, &facts, &from);
}

/// The formula: its first terms, or all of them as a text to scroll through.
fn formula(ui: &mut Ui, x: &mut Context<'_>, mut text: &str) {
    let mut all = x.state.settings.all_terms;
    let listed = all && text.contains('\n');
    let more = listed || text.contains("… (");
    if listed {
        let name = ui.label(RichText::new("Formula").small());
        egui::ScrollArea::vertical().id_salt("formula").max_height(FORMULA).show(ui, |ui| {
            let field = egui::TextEdit::multiline(&mut text).font(egui::TextStyle::Small).desired_rows(1).desired_width(f32::INFINITY);
            ui.add(field).labelled_by(name.id);
        });
    } else {
        ui.add(egui::Label::new(RichText::new(text).small()).wrap());
    }
    // Where there is no more, there is nothing to switch.
    if more && ui.checkbox(&mut all, "All terms").changed() {
        x.out.push(Command::AllTerms(all));
    }
}

fn index_or_value(value: f32, dtype: bandsaw::Dtype) -> String {
    match (dtype, value) {
        (bandsaw::Dtype::U32, value) if value >= u32::MAX as f32 => "none".into(),
        (bandsaw::Dtype::U32, value) => format!("{value:.0}"),
        (_, value) => value.to_string().replace("inf", "∞"),
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
