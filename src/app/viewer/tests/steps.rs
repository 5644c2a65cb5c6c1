//! Steps: adding, changing, undoing, errors, results.

use super::super::command::Command;
use super::super::evaluate::Cache;
use super::super::session::{Reference, Value};
use super::super::{examples, export, operations};
use super::*;

#[test]
fn every_operation_runs_and_is_exported() -> Result<()> {
    let session = everything();
    let (mut cache, device) = (Cache::default(), Device::cpu());
    for n in 0..session.steps.len() {
        let (outcome, computed) = cache.evaluate(&session.steps, n, &device, None);
        let result = outcome.map_err(|error| panic!("{}: {error}", session.steps[n].operation));
        assert!(computed && result.is_ok());
    }
    // The program that cargo builds and tests/viewer.rs runs.
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/viewer_steps.rs");
    if std::env::var_os("BANDSAW_UPDATE").is_some() {
        export::write(&session, path.as_ref())?;
    }
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    let exported = export::code(&session)?;
    assert!(normal(&exported) == normal(&checked_in), "run with BANDSAW_UPDATE=1 to write examples/viewer_steps.rs, then cargo fmt");
    Ok(())
}

/// Without what rustfmt changes.
fn normal(code: &str) -> String {
    code.chars().filter(|letter| !letter.is_whitespace() && !matches!(letter, ',' | '{' | '}')).collect()
}

#[test]
fn every_example_has_results() {
    for example in examples::all() {
        let Ok(session) = examples::session(&example.title) else { panic!("{}", example.title) };
        let (mut cache, device) = (Cache::default(), Device::cpu());
        for n in 0..session.steps.len() {
            let outcome = cache.evaluate(&session.steps, n, &device, None).0;
            assert!(outcome.is_ok(), "{}: {}", example.title, outcome.err().map_or(String::new(), |error| error.to_string()));
        }
    }
}

#[test]
fn only_what_depends_on_a_change_is_computed_again() -> Result<()> {
    let mut session = session(
        r#"{"version": 1, "selected": 1, "steps": [{"id": 1, "operation": "random"}, {"id": 2, "operation": "identity"},
            {"id": 3, "operation": "banded_map", "inputs": [{"step": 1}]},
            {"id": 4, "operation": "banded_map", "inputs": [{"step": 2}]}]}"#,
    )?;
    let (mut cache, device) = (Cache::default(), Device::cpu());
    let mut computed =
        |session: &Session| -> Vec<bool> { (0..session.steps.len()).map(|n| cache.evaluate(&session.steps, n, &device, None).1).collect() };
    assert_eq!(computed(&session), [true; 4]);
    assert_eq!(computed(&session), [false; 4]);
    session.steps[1].parameters.insert("n".into(), Value::Integer(7));
    assert_eq!(computed(&session), [false, true, false, true]);
    Ok(())
}

#[test]
fn operations_are_added_from_the_menu() {
    let Some(mut window) = open(Start::default()) else { return };
    window.menu(&["Add", "Products", "A · B"]);
    assert_eq!(window.described(), "20 × 20, lower 2, upper 4, columns layout, f32");
    window.menu(&["Add step", "Bands and layouts", "Shift rows"]);
    assert_eq!(window.viewer().state.session.steps.len(), 3);
    assert_eq!(window.described(), "20 × 20, lower 1, upper 5, columns layout, f32");
    window.menu(&["Add", "Entry by entry", "f(A)"]);
    window.menu(&["Add", "Gradients", "Gradient of the resize"]);
    window.menu(&["Add", "Sources", "Identity"]);
    assert_eq!(window.described(), "20 × 20, lower 0, upper 0, rows layout, f32");
}

#[test]
fn every_example_is_in_the_menu() {
    let Some(mut window) = open(Start::default()) else { return };
    for example in examples::all() {
        window.menu(&["Examples", &example.title]);
        assert_ne!(window.described(), "no result", "{}", example.title);
    }
}

#[test]
fn sliders_change_the_result_and_can_be_undone() {
    let Some(mut window) = open(Start::default()) else { return };
    window.0.get_by_role_and_label(egui::accesskit::Role::Slider, "lower").set_value_accesskit(4.0);
    window.settle();
    assert_eq!(window.described(), "20 × 20, lower 4, upper 2, columns layout, f32");
    // One slider dragged through many values is one change.
    for value in [5.0, 6.0, 7.0] {
        window.0.get_by_role_and_label(egui::accesskit::Role::Slider, "lower").set_value_accesskit(value);
        window.settle();
    }
    window.keys(Modifiers::COMMAND, Key::Z);
    assert_eq!(window.described(), "20 × 20, lower 1, upper 2, columns layout, f32");
    assert!(!window.viewer().state.can_undo());
    window.keys(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    assert_eq!(window.described(), "20 × 20, lower 7, upper 2, columns layout, f32");
    window.menu(&["Edit", "Undo"]);
    window.menu(&["Edit", "Redo"]);
    window.menu(&["Edit", "Reset"]);
    assert_eq!(window.described(), "20 × 20, lower 1, upper 2, columns layout, f32");
}

#[test]
fn the_list_is_rearranged_and_says_what_broke() {
    let Some(mut window) = open(Start::default()) else { return };
    window.menu(&["Examples", "Multiply thrice: A · A · A · A"]);
    window.click("Duplicate step");
    assert_eq!(window.viewer().state.session.steps.len(), 5);
    window.click("Move up");
    window.click("Move down");
    window.click("Remove step");
    assert_eq!(window.viewer().state.session.steps.len(), 4);
    // The second step before the first, whose result it takes.
    window.command(Command::Select(2));
    window.keys(Modifiers::ALT, Key::ArrowUp);
    assert_eq!(window.error(0), "banded_matmul: A has no step, must have an earlier step's result");
    assert_eq!(window.error(2), "banded_matmul: B has step 1, which has no result, must have a result");
    window.keys(Modifiers::COMMAND, Key::Z);
    assert_eq!(window.error(0), "");
    window.keys(Modifiers::NONE, Key::Delete);
    assert_eq!(window.viewer().state.session.steps.len(), 3);
    window.keys(Modifiers::NONE, Key::PageUp);
    window.keys(Modifiers::NONE, Key::PageDown);
    window.keys(Modifiers::COMMAND, Key::D);
    assert_eq!(window.viewer().state.session.steps.len(), 4);
}

#[test]
fn errors_show_on_the_step_in_the_library_s_words() {
    let Some(mut window) = open(Start::default()) else { return };
    window.menu(&["Examples", "(a + b) / 2 of A and A"]);
    let set = |value: Value, name: &str, step| Command::Set { step, name: name.into(), value };
    window.command(set(Value::Text("(a + ".into()), "f", 2));
    assert!(window.error(1).contains("column 6: unexpected end"), "{}", window.error(1));
    assert!(window.0.query_by_label_contains("column 6: unexpected end").is_some());
    window.command(set(Value::Text("a * b".into()), "f", 2));
    assert_eq!(window.error(1), "");
    window.command(set(Value::Integer(-9), "lower", 1));
    assert!(window.error(0).contains("width"), "{}", window.error(0));
    window.command(Command::Undo);
    window.command(set(Value::Integer(i64::from(i32::MAX)), "n", 1));
    assert!(window.error(0).contains("the matrix's size in bytes") || window.error(0).contains("must have"), "{}", window.error(0));
    window.command(Command::Undo);
    // Refused at once, and the state kept.
    window.command(set(Value::Integer(1), "no such", 1));
    assert!(window.notice().contains("no such"));
    window.command(Command::Add("no such".into()));
    assert!(window.notice().contains("add: operation has"));
    assert_eq!(window.described(), "20 × 20, lower 1, upper 2, columns layout, f32");
    window.click("Dismiss message");
    assert_eq!(window.notice(), "");
}

#[test]
fn operands_are_chosen_and_transposed() {
    let Some(mut window) = open(Start::default()) else { return };
    window.menu(&["Add", "Products", "A · B"]);
    window.click("A transposed");
    assert_eq!(window.described(), "20 × 20, lower 3, upper 3, rows layout, f32");
    window.0.get_by_role_and_label(egui::accesskit::Role::ComboBox, "semiring").click();
    window.settle();
    window.click("max");
    assert!(window.described().ends_with("fill -inf"), "{}", window.described());
    let reference = Reference { step: 99, transposed: false };
    window.command(Command::Operand { step: 2, input: 0, reference });
    assert!(window.error(1).contains("an earlier step's result"));
}

#[test]
fn what_cannot_be_drawn_or_is_small_is_no_trouble() {
    let Some(mut window) = open(Start::default()) else { return };
    for (name, value) in [("n", 1), ("n", 100_000), ("batch", 0), ("batch", 3), ("n", 2)] {
        window.command(Command::Set { step: 1, name: name.into(), value: Value::Integer(value) });
        assert_eq!(window.error(0), "", "{name} {value}");
        window.picture();
    }
    // More than a software adapter binds at once; 16 bytes a row.
    let limit = window.viewer().gpu.as_ref().expect("a GPU").shared.info().max_binding;
    for (name, value, said) in
        [("batch", 0, "The batch is empty."), ("batch", 1, ""), ("n", 9_000_000, "Too large to be drawn: 144000000 bytes")]
    {
        window.command(Command::Set { step: 1, name: name.into(), value: Value::Integer(value) });
        assert_eq!(window.error(0), "", "{name} {value}");
        window.picture();
        if value < 10 || limit < 144_000_000 {
            let drawn = window.viewer().state.shown().expect("a result").drawn.is_some();
            assert_eq!(drawn, said.is_empty(), "{said}");
            assert!(drawn || window.0.query_by_label_contains(said).is_some(), "{said}");
        }
    }
    for (name, value) in [("n", 2), ("batch", 3)] {
        window.command(Command::Set { step: 1, name: name.into(), value: Value::Integer(value) });
    }
    window.0.get_by_role_and_label(egui::accesskit::Role::Slider, "Matrix of the batch").set_value_accesskit(2.0);
    window.settle();
    assert_eq!(window.viewer().state.batch, 2);
    window.command(Command::Remove(1));
    assert_eq!(window.described(), "no result");
    assert!(operations::find("nothing").is_none());
}

#[test]
fn attention_has_heads_and_lengths() -> Result<()> {
    let Some(mut window) = open(Start::default()) else { return Ok(()) };
    let slide = |window: &mut Window, name: &str, value: f64| {
        window.0.get_by_role_and_label(egui::accesskit::Role::Slider, name).set_value_accesskit(value);
        window.settle();
    };
    window.menu(&["Add", "Sources", "Random dense matrix"]);
    slide(&mut window, "batch", 4.0);
    window.menu(&["Add step", "Products", "Window attention"]);
    slide(&mut window, "heads", 2.0);
    assert!(window.error(2).contains("window_attention: k has batch 4"), "{}", window.error(2));
    slide(&mut window, "kv heads", 2.0);
    let set = |window: &mut Window, text: &str| {
        window.command(Command::Set { step: 3, name: "lengths".into(), value: Value::Text(text.into()) });
    };
    set(&mut window, "24");
    assert!(window.error(2).contains("1 lengths, must have 2 lengths"), "{}", window.error(2));
    set(&mut window, "24, -5");
    assert!(window.error(2).contains("lengths has \"24, -5\", must have whole numbers"), "{}", window.error(2));
    set(&mut window, "24, 5");
    assert_eq!(window.error(2), "");
    let q = super::super::evaluate::Cache::default().evaluate(&window.viewer().state.session.steps, 1, &Device::cpu(), None).0?;
    let super::super::super::Matrix::Dense(q) = &q.matrix else { panic!("not dense") };
    let options = bandsaw::WindowAttention::new(bandsaw::Band::new(1, 2)?).heads(2, 2).lengths([24, 5]);
    let want = bandsaw::window_attention(q, q, q, &options)?.0.read()?;
    assert_eq!(window.viewer().state.shown().expect("a result").matrix.read()?, want);
    let code = export::code(&window.viewer().state.session)?;
    assert!(code.contains("WindowAttention::new(Band::new(1, 2)?).heads(2, 2).lengths([24, 5])"), "{code}");
    Ok(())
}
