//! Where an entry comes from, as the window says it.

use super::super::command::Command;
use super::super::matrix_view::Pointed;
use super::*;

/// What the window says of an entry of the selected step's result.
fn said(window: &mut Window, step: u32, entry: [usize; 2], part: &str) -> String {
    window.command(Command::Select(step));
    window.command(Command::Pin(Some(Pointed::Entry(entry))));
    // Until its values are read.
    for _ in 0..200 {
        if let Some(node) = window.0.query_by_label_contains(part) {
            return node.accesskit_node().value().unwrap_or_else(|| name(&node));
        }
        window.settle();
    }
    panic!("nothing says {part:?} of {entry:?}")
}

/// An operand that does not store the entry goes in with its fill, under its own name.
#[test]
fn what_an_operand_does_not_store_is_its_fill() -> Result<()> {
    let Some(mut window) = open(Start::default()) else { return Ok(()) };
    window.0.state_mut().state.session = session(
        r#"{"version": 1, "selected": 3, "steps": [
            {"id": 1, "operation": "identity", "parameters": {"n": 4}},
            {"id": 2, "operation": "notebook", "parameters": {"n": 4}},
            {"id": 3, "operation": "banded_zip", "inputs": [{"step": 1}, {"step": 2}], "parameters": {"f": "a - b"}},
            {"id": 4, "operation": "banded_matmul", "inputs": [{"step": 1}, {"step": 1}], "parameters": {"semiring": "max"}},
            {"id": 5, "operation": "banded_zip", "inputs": [{"step": 4}, {"step": 2}], "parameters": {"f": "max(a, b)"}},
            {"id": 6, "operation": "block_diagonal", "parameters": {"rows": 4, "cols": 4, "block rows": 2, "block cols": 2}},
            {"id": 7, "operation": "random_blocks", "parameters": {"density": 1.0, "low": 0.25, "rows": 4, "cols": 4, "block rows": 2, "block cols": 2}},
            {"id": 8, "operation": "block_add", "inputs": [{"step": 6}, {"step": 7}]}]}"#,
    )?;
    window.command(Command::RunAgain);
    for step in [3u32, 5, 8] {
        assert_eq!(window.error(step as usize - 1), "");
    }
    let entry = |window: &Window, step: u32, [i, j]: [usize; 2]| {
        let shown = window.viewer().state.results.get(&step).and_then(|shown| shown.last.clone()).expect("a result");
        let slot = super::super::matrix_view::Storage::of(&shown.matrix).slot([i, j]).expect("stored");
        crate::app::colors::short(shown.matrix.read().expect("values")[slot])
    };
    let b = entry(&window, 2, [0, 2]);
    assert_eq!(said(&mut window, 3, [0, 2], "gives"), format!("a = 0, b = {b} gives (−{b})"));
    assert_eq!(said(&mut window, 5, [0, 2], "gives"), format!("a = (−∞), b = {b} gives {b}"));
    let b = entry(&window, 7, [1, 2]);
    assert_eq!(said(&mut window, 8, [1, 2], "gives"), format!("a = 0, b = {b} gives {b}"));
    Ok(())
}
