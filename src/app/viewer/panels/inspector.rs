//! The entry under the pointer, or the marked one: where it is stored, and what made it.

use std::sync::Arc;

use eframe::egui::{self, RichText, Ui};

use super::Context;
use crate::app::viewer::evaluate::Evaluated;
use crate::app::viewer::matrix_view::{Marks, Pointed, Reader, small_view};
use crate::app::viewer::operations::{Operation, Origin};
use crate::app::viewer::origin::{Facts, Stretch, formula, stretches, terms};
use crate::app::viewer::session::Step;
use crate::app::viewer::state::State;

/// Points that an operand's picture takes.
const SIDE: f32 = 112.0;

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
    // What is not stored comes from nothing.
    let from = entry.filter(|_| slot.is_some()).map_or_else(Vec::new, |entry| stretches(operation.origin, &result.inputs, &facts, entry));
    let at = slot.map(|slot| index * storage.len() + slot);
    let numbers = numbers(x.entries.as_deref_mut(), state, step, result, at, &facts, &from);
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
    let text = numbers.filter(|_| entry.is_some()).and_then(|Numbers { entry, terms }| {
        let names: Vec<&str> = operation.inputs.iter().map(|input| input.name).collect();
        formula(operation.origin, &facts, &names, &from, &terms, entry?)
    });
    ui.add_space(2.0);
    let text = text.unwrap_or_else(|| if entry.is_some() { String::new() } else { "Point at an entry, or mark one with a click.".into() });
    ui.add(egui::Label::new(RichText::new(text).small()).wrap());
    operands(ui, x, step, operation, &facts, &from);
}

fn index_or_value(value: f32, dtype: bandsaw::Dtype) -> String {
    match (dtype, value) {
        (bandsaw::Dtype::U32, value) if value >= u32::MAX as f32 => "none".into(),
        (bandsaw::Dtype::U32, value) => format!("{value:.0}"),
        (_, value) => value.to_string().replace("inf", "∞"),
    }
}

/// What is written out: the entry's value if it is stored, and those of the formula's terms.
#[derive(Default)]
struct Numbers {
    entry: Option<f32>,
    terms: Vec<f32>,
}

/// `None` until they are read.
fn numbers(
    reader: Option<&mut Reader>,
    state: &State,
    step: &Step,
    result: &Arc<Evaluated>,
    at: Option<usize>,
    facts: &Facts,
    from: &[Stretch],
) -> Option<Numbers> {
    let mut wanted: Vec<_> = at.map(|at| (Arc::clone(result), at)).into_iter().collect();
    // A term that its operand does not store is that operand's fill.
    let mut terms_or_fills = Vec::new();
    for (input, [i, j]) in terms(from) {
        let reference = step.inputs.get(input)?;
        let operand = state.results.get(&reference.step)?.outcome.as_ref().ok()?;
        let drawn = operand.drawn.as_ref()?;
        let index = facts.batch_of(input).min(drawn.storage.batch - 1);
        let place = if reference.transposed { [j, i] } else { [i, j] };
        let slot = drawn.storage.slot(place);
        terms_or_fills.push(slot.map_or(Some(drawn.storage.fill), |_| None));
        wanted.extend(slot.map(|slot| (Arc::clone(operand), index * drawn.storage.len() + slot)));
    }
    let read = if wanted.is_empty() { &[] } else { reader?.values(wanted)? };
    let mut read = read.iter().copied();
    let entry = if at.is_some() { Some(read.next()?) } else { None };
    let terms = terms_or_fills.into_iter().map(|fill| fill.or_else(|| read.next())).collect::<Option<_>>()?;
    Some(Numbers { entry, terms })
}

/// Small views of the operands with what of them made the entry.
fn operands(ui: &mut Ui, x: &mut Context<'_>, step: &Step, operation: &Operation, facts: &Facts, from: &[Stretch]) {
    let (Some(gpu), false) = (x.gpu, operation.inputs.is_empty()) else { return };
    ui.add_space(6.0);
    if operation.origin != Origin::None {
        ui.label(RichText::new("Comes from").strong());
    } else {
        ui.label(RichText::new("Operands").strong());
    }
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
