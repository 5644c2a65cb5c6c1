//! The selected step's operands and parameters.

use eframe::egui::{self, RichText, Ui};

use super::Context;
use crate::app::viewer::command::{Command, Dialog};
use crate::app::viewer::operations::{Control, Operation, Parameter, Tensors};
use crate::app::viewer::session::{Reference, Step, Value};

type TensorNames = egui::cache::FrameCache<Vec<String>, Tensors>;

pub fn show(ui: &mut Ui, x: &mut Context<'_>) {
    let state = x.state;
    let Some(step) = state.session.selected() else { return };
    let Some(operation) = step.operation() else { return };
    ui.label(RichText::new(operation.title).strong());
    ui.add(egui::Label::new(RichText::new(operation.formula).small().weak()).wrap());
    ui.add_space(4.0);
    egui::Grid::new(("parameters", step.id)).num_columns(2).spacing([8.0, 6.0]).min_col_width(56.0).show(ui, |ui| {
        for n in 0..operation.inputs.len() {
            operand(ui, x, step, operation, n);
            ui.end_row();
        }
        for parameter in operation.parameters {
            // A seed is for draws alone.
            let draws = operation.parameter("semiring").is_none() || value(step, "semiring") == Some(&Value::Text("sample".into()));
            if parameter.name == "seed" && !draws {
                continue;
            }
            if let Some(value) = control(ui, x, step, parameter) {
                x.out.push(Command::Set { step: step.id, name: parameter.name.into(), value });
            }
            ui.end_row();
        }
    });
}

fn value<'a>(step: &'a Step, name: &str) -> Option<&'a Value> {
    step.parameters.get(name)
}

/// Which earlier result, and whether its transpose.
fn operand(ui: &mut Ui, x: &mut Context<'_>, step: &Step, operation: &Operation, n: usize) {
    let (session, input) = (&x.state.session, &operation.inputs[n]);
    let Some(reference) = step.inputs.get(n).copied() else { return };
    let label = ui.label(input.name);
    ui.horizontal(|ui| {
        let place = session.place(step.id).unwrap_or(0);
        let mut chosen = reference;
        let none = format!("no {}", input.kind.name());
        let current = if session.place(reference.step).is_some() { session.title(reference.step) } else { none };
        egui::ComboBox::from_id_salt(("operand", step.id, n))
            .selected_text(current)
            .width(150.0)
            .truncate()
            .show_ui(ui, |ui| {
                for other in &session.steps[..place] {
                    if other.operation().is_some_and(|other| other.result == input.kind) {
                        ui.selectable_value(&mut chosen.step, other.id, session.title(other.id));
                    }
                }
            })
            .response
            .labelled_by(label.id);
        let name = format!("{} transposed", input.name);
        let response = ui.toggle_value(&mut chosen.transposed, "t()");
        response.widget_info(|| egui::WidgetInfo::selected(egui::Role::CheckBox, true, reference.transposed, &name));
        response.on_hover_text("Take the transpose; no value moves.");
        if chosen != reference {
            let Reference { step: of, transposed } = chosen;
            x.out.push(Command::Operand { step: step.id, input: n, reference: Reference { step: of, transposed } });
        }
    });
}

/// One parameter; its new value if it was changed.
fn control(ui: &mut Ui, x: &mut Context<'_>, step: &Step, parameter: &Parameter) -> Option<Value> {
    let name = ui.label(parameter.name).id;
    let current = value(step, parameter.name);
    match parameter.control {
        Control::Integer { start, low, high, large } => {
            let mut number = if let Some(Value::Integer(value)) = current { *value } else { start };
            let slider = egui::Slider::new(&mut number, low..=high).logarithmic(large).clamping(egui::SliderClamping::Never);
            ui.add(slider).labelled_by(name).changed().then_some(Value::Integer(number))
        }
        Control::Real { start, low, high } => {
            let mut number = match current {
                Some(Value::Real(value)) => *value,
                Some(Value::Integer(value)) => *value as f64,
                _ => start,
            };
            let slider = egui::Slider::new(&mut number, low..=high).max_decimals(3).clamping(egui::SliderClamping::Never);
            ui.add(slider).labelled_by(name).changed().then_some(Value::Real(number))
        }
        Control::Choice(of) => {
            let before = if let Some(Value::Text(text)) = current { text.as_str() } else { of.first().copied().unwrap_or_default() };
            let mut chosen = before;
            let combo = egui::ComboBox::from_id_salt(("choice", step.id, parameter.name)).selected_text(before);
            let shown = combo.show_ui(ui, |ui| {
                for one in of {
                    ui.selectable_value(&mut chosen, one, *one);
                }
            });
            shown.response.labelled_by(name);
            (chosen != before).then(|| Value::Text(chosen.into()))
        }
        Control::Text(start) => {
            let mut text = if let Some(Value::Text(text)) = current { text.clone() } else { start.into() };
            let edit = egui::TextEdit::singleline(&mut text).desired_width(180.0).font(egui::TextStyle::Monospace);
            ui.add(edit).labelled_by(name).changed().then_some(Value::Text(text))
        }
        Control::Tensor { sparse } => {
            let before = if let Some(Value::Text(text)) = current { text.as_str() } else { "" };
            let path = if let Some(Value::Text(path)) = value(step, "path") { path } else { "" };
            let mut chosen = before.to_owned();
            let shown = if before.is_empty() { "the first matrix" } else { before };
            let combo = egui::ComboBox::from_id_salt(("tensor", step.id)).selected_text(shown).width(190.0).truncate();
            let shown = combo.show_ui(ui, |ui| {
                // Read when the list opens, kept while it is open.
                let names = ui.memory_mut(|memory| memory.caches.cache::<TensorNames>().get((path, sparse)).clone());
                for name in names {
                    ui.selectable_value(&mut chosen, name.clone(), name);
                }
            });
            shown.response.labelled_by(name);
            (chosen != before).then_some(Value::Text(chosen))
        }
        Control::File => {
            let mut text = if let Some(Value::Text(text)) = current { text.clone() } else { String::new() };
            let changed = ui.horizontal(|ui| {
                let changed = ui.add(egui::TextEdit::singleline(&mut text).desired_width(130.0)).labelled_by(name).changed();
                if ui.button("Choose…").clicked() {
                    x.out.push(Command::Dialog(Some(Dialog::ChooseFile(step.id))));
                }
                changed
            });
            changed.inner.then_some(Value::Text(text))
        }
    }
}
