//! Formulas with numbers, of gradients, norms and attention: they are worked out, and give the entry.

use super::super::command::Command;
use super::super::matrix_view::{Pointed, Storage};
use super::super::operations::{Control, Origin};
use super::super::session::Value;
use super::origins::{play, said, text, value};
use super::*;

/// Splits where nothing is open.
fn split<'a>(text: &'a str, at: &str) -> Vec<&'a str> {
    let (mut parts, mut depth, mut start, mut place) = (Vec::new(), 0, 0, 0);
    while place < text.len() {
        let rest = &text[place..];
        match rest.chars().next() {
            Some('(') => depth += 1,
            Some(')') => depth -= 1,
            _ => {}
        }
        if depth == 0 && rest.starts_with(at) {
            parts.push(&text[start..place]);
            place += at.len();
            start = place;
        } else {
            place += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    parts.push(&text[start..]);
    parts
}

/// What a formula makes, from the numbers it has.
fn work_out(text: &str) -> f64 {
    let inside = |name: &str| text.strip_prefix(name).and_then(|rest| rest.strip_prefix('(')?.strip_suffix(')'));
    let sums = split(text, " + ");
    let (differences, products) = (split(text, " − "), split(text, " · "));
    if sums.len() > 1 {
        sums.into_iter().map(work_out).sum()
    } else if let [a, b] = differences[..] {
        work_out(a) - work_out(b)
    } else if products.len() > 1 {
        products.into_iter().map(work_out).product()
    } else if let Some(x) = inside("exp") {
        work_out(x).exp()
    } else if let Some(x) = inside("relu′") {
        f64::from(u8::from(work_out(x) > 0.0))
    } else if let Some(x) = inside("√") {
        work_out(x).sqrt()
    } else if let Some(x) = inside("max") {
        split(x, ", ").into_iter().map(work_out).fold(f64::NEG_INFINITY, f64::max)
    } else if let Some(x) = text.strip_suffix('²') {
        work_out(x).powi(2)
    } else if let Some(x) = text.strip_prefix('|').and_then(|rest| rest.strip_suffix('|')) {
        work_out(x).abs()
    } else if let Some(x) = inside("") {
        work_out(x)
    } else if matches!(text, "no term" | "no key" | "no query" | "the block is not stored: 0") {
        0.0
    } else if let Some((name, _)) = text.split_once('[') {
        panic!("{name} is not a number: {text:?}")
    } else {
        text.replace('−', "-").parse().unwrap_or_else(|_| panic!("no number: {text:?}"))
    }
}

/// The formula that the window has for an entry, on one line.
fn formula(window: &Window) -> String {
    let field = window.0.query_by_role_and_label(egui::accesskit::Role::MultilineTextInput, "Formula");
    let found = field.and_then(|node| node.accesskit_node().value());
    let general = window.viewer().state.session.selected().and_then(Step::operation).map_or("", |operation| operation.formula);
    let labels = window.0.query_all_by_role(egui::accesskit::Role::Label);
    let mut texts = labels.filter_map(|node| node.accesskit_node().value());
    let text = found.or_else(|| texts.find(|text| text != general && [" = ", "not stored:"].iter().any(|part| text.contains(part))));
    text.unwrap_or_else(|| panic!("no formula")).replace("\n+", " +").replace(",\n", ", ")
}

/// All values that the parameters which choose a formula can have.
fn variants(operation: &operations::Operation) -> Vec<Vec<(&'static str, &'static str)>> {
    let mut all = vec![Vec::new()];
    for parameter in operation.parameters {
        let Control::Choice(of) = parameter.control else { continue };
        // The derivative of GELU is not worked out here.
        let of = of.iter().filter(|choice| **choice != "gelu");
        all = of.flat_map(|choice| all.iter().map(|with| [with.clone(), vec![(parameter.name, *choice)]].concat())).collect();
    }
    all
}

/// With all terms, for every operation of these kinds and everything that can be chosen of it.
#[test]
fn formulas_give_the_entry() {
    let Some(mut window) = open(Start::default()) else { return };
    let mut session = everything();
    // Cotangents that are not the operands again.
    for step in session.steps.iter_mut().filter(|step| step.operation.ends_with("double_backward")) {
        step.inputs[3..].iter_mut().for_each(|reference| reference.transposed = true);
    }
    window.0.state_mut().state.session = session;
    window.command(Command::AllTerms(true));
    window.command(Command::RunAgain);
    let steps = window.viewer().state.session.steps.clone();
    let mut seen = 0;
    for (place, step) in steps.iter().enumerate() {
        let operation = step.operation().expect("an operation");
        assert_eq!(operation.origin == Origin::None, operation.inputs.is_empty(), "{}", operation.name);
        if !matches!(operation.origin, Origin::Gradient { .. } | Origin::Norm | Origin::Attention) {
            continue;
        }
        for variant in variants(operation) {
            for (name, choice) in &variant {
                window.command(Command::Set { step: step.id, name: (*name).into(), value: Value::Text((*choice).into()) });
            }
            assert_eq!(window.error(place), "");
            window.command(Command::Select(step.id));
            let shown = std::sync::Arc::clone(window.viewer().state.shown().expect("a result"));
            let (storage, values) = (Storage::of(&shown.matrix), shown.matrix.read().expect("values"));
            let cells = (0..storage.rows).flat_map(|i| (0..storage.cols).map(move |j| [i, j]));
            let stored: Vec<_> = cells.filter_map(|at| Some((at, storage.slot(at)?))).collect();
            for (at, slot) in [stored[stored.len() / 3], stored[stored.len() / 2]] {
                window.command(Command::Pin(Some(Pointed::Entry(at))));
                let text = formula(&window);
                let what = format!("{} {variant:?} {at:?}: {text}", operation.name);
                let left = text.split(" = ").next().unwrap_or_default();
                // An entry of the gradient as it is, or a sum.
                let place = left.strip_prefix("G[").and_then(|rest| rest.strip_suffix(']')?.split_once(", "));
                let got = place.map_or_else(
                    || work_out(left),
                    |(i, j)| {
                        let at = [i, j].map(|number| number.parse().expect("a number"));
                        let g = operation.inputs.iter().position(|input| input.name == "G").expect("G");
                        f64::from(value(&window, step.inputs[g].step, 0, at))
                    },
                );
                assert!((got - f64::from(values[slot])).abs() < 0.01 * (1.0 + got.abs()), "{got} for {}: {what}", values[slot]);
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "{seen}");
}

/// The weights of a gradient over log and max, from the product and the index that steps compute.
#[test]
fn gradients_say_their_weights() -> Result<()> {
    let Some(mut window) = play(
        r#"{"version": 1, "selected": 1, "steps": [
            {"id": 1, "operation": "random", "parameters": {"rows": 9, "cols": 9, "lower": 1, "upper": 2, "seed": 1}},
            {"id": 2, "operation": "random", "parameters": {"rows": 9, "cols": 9, "lower": 2, "upper": 1, "seed": 2}},
            {"id": 3, "operation": "random", "parameters": {"rows": 9, "cols": 9, "lower": 3, "upper": 3, "seed": 3}},
            {"id": 4, "operation": "banded_matmul", "inputs": [{"step": 1}, {"step": 2}], "parameters": {"semiring": "log"}},
            {"id": 5, "operation": "banded_matmul_index", "inputs": [{"step": 1}, {"step": 2}]},
            {"id": 6, "operation": "banded_matmul_backward", "inputs": [{"step": 1}, {"step": 2}, {"step": 3}], "parameters": {"semiring": "sum"}},
            {"id": 7, "operation": "banded_matmul_backward", "inputs": [{"step": 1}, {"step": 2}, {"step": 3}], "parameters": {"semiring": "log"}},
            {"id": 8, "operation": "banded_matmul_backward", "inputs": [{"step": 1}, {"step": 2}, {"step": 3}], "parameters": {"semiring": "max", "by": "B"}},
            {"id": 9, "operation": "banded_matmul_backward", "inputs": [{"step": 2, "transposed": true}, {"step": 2}, {"step": 3}],
                "parameters": {"semiring": "sum", "by": "B"}}]}"#,
    )?
    else {
        return Ok(());
    };
    // Row 5 of B has columns 3 to 6, all of them in row 4 of G.
    let (own, cols) = (value(&window, 1, 0, [4, 5]), [3, 4, 5, 6]);
    let of = |window: &Window, step, at| value(window, step, 0, at);
    let parts = cols.map(|j| format!("{} · {}", text(of(&window, 3, [4, j])), text(of(&window, 2, [5, j]))));
    let want = format!("{} = {}", parts.join(" + "), text(of(&window, 6, [4, 5])));
    assert_eq!(said(&mut window, 6, [4, 5], " = "), want);
    let parts = cols.map(|j| {
        let [g, b, c] = [of(&window, 3, [4, j]), of(&window, 2, [5, j]), of(&window, 4, [4, j])].map(text);
        format!("{g} · exp({} + {b} − {c})", text(own))
    });
    let want = format!("{} = {}", parts.join(" + "), text(of(&window, 7, [4, 5])));
    assert_eq!(said(&mut window, 7, [4, 5], "exp("), want);
    // Column 4 of A has rows 2 to 5.
    let parts = [2, 3, 4, 5].map(|i| format!("{} · {}", text(of(&window, 3, [i, 3])), u8::from(of(&window, 5, [i, 3]) == 4.0)));
    let want = format!("{} = {}, 1 where p = 4 makes the maximum", parts.join(" + "), text(of(&window, 8, [4, 3])));
    assert_eq!(said(&mut window, 8, [4, 3], "makes the maximum"), want);
    // An operand that went in transposed is outlined and read as it lies there: column 4 of B.t() is row 4 of B.
    let parts = [2, 3, 4, 5].map(|i| format!("{} · {}", text(of(&window, 3, [i, 3])), text(of(&window, 2, [4, i]))));
    let want = format!("{} = {}", parts.join(" + "), text(of(&window, 9, [4, 3])));
    assert_eq!(said(&mut window, 9, [4, 3], " = "), want);
    Ok(())
}

/// More terms than are written out, until they are asked for: from the keyboard, where they are read too, or by a click.
#[test]
fn all_terms_are_listed_when_asked_for() -> Result<()> {
    let Some(mut window) = play(
        r#"{"version": 1, "selected": 3, "steps": [
            {"id": 1, "operation": "random_dense", "parameters": {"rows": 3, "cols": 200, "seed": 1}},
            {"id": 2, "operation": "random_dense", "parameters": {"rows": 200, "cols": 3, "seed": 2}},
            {"id": 3, "operation": "semiring_matmul", "inputs": [{"step": 1}, {"step": 2}]}]}"#,
    )?
    else {
        return Ok(());
    };
    assert!(said(&mut window, 3, [1, 2], "… (200 terms)").matches(" · ").count() == 4);
    // By the keyboard, which stays there.
    window.0.get_by_label("All terms").focus();
    window.settle();
    window.keys(Modifiers::NONE, Key::Space);
    assert!(window.0.get_by_label("All terms").is_focused());
    assert!(window.viewer().state.settings.all_terms);
    let products = (0..200).map(|p| format!("{} · {}", text(value(&window, 1, 0, [1, p])), text(value(&window, 2, 0, [p, 2]))));
    let want = format!("{} = {}", products.collect::<Vec<_>>().join("\n+ "), text(value(&window, 3, 0, [1, 2])));
    let field = |window: &Window| {
        let node = window.0.get_by_role_and_label(egui::accesskit::Role::MultilineTextInput, "Formula");
        (node.accesskit_node().value().unwrap_or_default(), node.rect())
    };
    let (found, place) = field(&window);
    assert_eq!(found, want);
    // The keyboard goes there, and to its end: the text moves, and nothing of it changes.
    window.0.get_by_role_and_label(egui::accesskit::Role::MultilineTextInput, "Formula").focus();
    window.settle();
    window.keys(Modifiers::COMMAND, Key::End);
    window.keys(Modifiers::NONE, Key::Delete);
    let (found, moved) = field(&window);
    assert_eq!(found, want);
    assert!(moved.top() < place.top() - 500.0, "{place:?} {moved:?}");
    // Escape leaves it, and the entry stays marked.
    window.keys(Modifiers::NONE, Key::Escape);
    assert!(!window.0.get_by_role_and_label(egui::accesskit::Role::MultilineTextInput, "Formula").is_focused());
    assert!(window.viewer().state.pinned.is_some());
    window.click("All terms");
    assert!(!window.viewer().state.settings.all_terms);
    assert!(said(&mut window, 3, [1, 2], "… (200 terms)").matches(" · ").count() == 4);
    Ok(())
}

/// Weights that would take too many values to compute have their name.
#[test]
fn weights_from_very_many_values_are_named() -> Result<()> {
    let Some(mut window) = play(
        r#"{"version": 1, "selected": 3, "steps": [
            {"id": 1, "operation": "random_dense", "parameters": {"rows": 4, "cols": 10000, "seed": 1}},
            {"id": 2, "operation": "random_dense", "parameters": {"rows": 4, "cols": 4, "seed": 2}},
            {"id": 3, "operation": "semiring_matmul_backward", "inputs": [{"step": 1}, {"step": 1, "transposed": true}, {"step": 2}],
                "parameters": {"semiring": "log"}}]}"#,
    )?
    else {
        return Ok(());
    };
    let (a, b, g) = (value(&window, 1, 0, [1, 2]), value(&window, 1, 0, [0, 2]), value(&window, 2, 0, [1, 0]));
    let want = format!("{} · exp({} + {} − C[1, 0])", text(g), text(a), text(b));
    let found = said(&mut window, 3, [1, 2], "exp(");
    assert!(found.starts_with(&want), "{found} for {want}");
    Ok(())
}

/// Until the result by another operand is there, the one on the screen is looked at with the new choice.
#[test]
fn another_choice_is_no_trouble_before_its_result() -> Result<()> {
    let Some(mut window) = play(
        r#"{"version": 1, "selected": 4, "steps": [
            {"id": 1, "operation": "random_blocks", "parameters":
                {"rows": 6, "cols": 40, "block rows": 2, "block cols": 2, "density": 1.0, "seed": 1}},
            {"id": 2, "operation": "random_blocks", "parameters":
                {"rows": 40, "cols": 4, "block rows": 2, "block cols": 2, "density": 1.0, "seed": 2}},
            {"id": 3, "operation": "block_sparse_matmul", "inputs": [{"step": 1}, {"step": 2}]},
            {"id": 4, "operation": "block_sparse_matmul_backward", "inputs": [{"step": 1}, {"step": 2}, {"step": 3}]}]}"#,
    )?
    else {
        return Ok(());
    };
    for (by, entry) in [("B", [5, 39]), ("A", [39, 3])] {
        window.command(Command::Pin(Some(Pointed::Entry(entry))));
        assert!(formula(&window).contains(" · "));
        window.command(Command::Set { step: 4, name: "by".into(), value: Value::Text(by.into()) });
        assert!(window.0.query_by_label("not stored").is_some(), "{by}");
    }
    Ok(())
}
