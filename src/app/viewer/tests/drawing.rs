//! What is on the screen: colours of cells, what the pointer is at.

use super::super::command::Command;
use super::super::matrix_view::{Pointed, Storage, scale};
use super::*;
use crate::app::colors;

/// The pixel in the middle of a cell of a view.
pub fn cell(picture: &image::RgbaImage, view: egui::Rect, grid: [usize; 2], [x, y]: [usize; 2]) -> [u8; 3] {
    let at = view.min + view.size() * egui::vec2((x as f32 + 0.5) / grid[0] as f32, (y as f32 + 0.4) / grid[1] as f32);
    let [r, g, b, _] = picture.get_pixel(at.x as u32, at.y as u32).0;
    [r, g, b]
}

pub fn near(got: [u8; 3], want: [u8; 3], what: &str) {
    let far = got.iter().zip(want).map(|(got, want)| got.abs_diff(want)).max().unwrap_or(0);
    assert!(far <= 4, "{what}: {got:?}, must be {want:?}");
}

/// Every cell of both views has its value's colour, for each layout, type and orientation.
#[test]
fn cells_have_their_values_colours() -> Result<()> {
    let Some(mut window) = open(Start::default()) else { return Ok(()) };
    window.command(Command::Labels(false));
    for (layout, dtype) in [("columns", "f32"), ("rows", "f32"), ("rows", "f16"), ("columns", "bf16")] {
        let text = format!(
            r#"{{"version": 1, "selected": 1, "steps": [{{"id": 1, "operation": "random", "parameters":
                {{"rows": 9, "cols": 11, "lower": 2, "upper": 1, "layout": "{layout}", "dtype": "{dtype}", "low": 0.25}}}}]}}"#
        );
        window.0.state_mut().state.session = session(&text)?;
        window.command(Command::RunAgain);
        let picture = window.picture();
        let result = std::sync::Arc::clone(window.viewer().state.shown().expect("a result"));
        let (values, storage) = (result.matrix.read()?, Storage::of(&result.matrix));
        let scale = scale(&window.viewer().state.settings, &result.drawn.as_ref().expect("drawn").values);
        for (stored, name) in [(false, "Dense view, 9 × 11"), (true, "Storage view, 9 × 11")] {
            let view = window.0.get_by_label(name).rect();
            let [width, height] = storage.grid(stored);
            for at in (0..width).flat_map(|x| (0..height).map(move |y| [x, y])) {
                if let Some(Pointed::Entry(entry)) = storage.at(stored, at)
                    && let Some(slot) = storage.slot(entry)
                {
                    let got = cell(&picture, view, [width, height], at);
                    near(got, scale.color(values[slot]), &format!("{name} {layout} {dtype} {at:?}"));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn special_values_and_indices_are_marked() -> Result<()> {
    let Some(mut window) = open(Start::default()) else { return Ok(()) };
    window.command(Command::Labels(false));
    let text = r#"{"version": 1, "selected": 2, "steps": [
        {"id": 1, "operation": "identity", "parameters": {"n": 4, "lower": 1, "upper": 1}},
        {"id": 2, "operation": "banded_map", "inputs": [{"step": 1}], "parameters": {"f": "nan"}},
        {"id": 3, "operation": "banded_map", "inputs": [{"step": 1}], "parameters": {"f": "inf"}},
        {"id": 4, "operation": "banded_map", "inputs": [{"step": 1}], "parameters": {"f": "-inf"}},
        {"id": 5, "operation": "banded_matmul_index", "inputs": [{"step": 1}, {"step": 1}]}]}"#;
    window.0.state_mut().state.session = session(text)?;
    window.command(Command::RunAgain);
    for (step, color) in [(2, colors::NAN), (3, colors::PLUS_INFINITY), (4, colors::MINUS_INFINITY)] {
        window.command(Command::Select(step));
        let picture = window.picture();
        let view = window.0.get_by_label("Dense view, 4 × 4").rect();
        // Beside the cross through the cell.
        let at = view.min + view.size() * egui::vec2(0.125, 0.04);
        let [r, g, b, _] = picture.get_pixel(at.x as u32, at.y as u32).0;
        near([r, g, b], color, &format!("step {step}"));
    }
    window.command(Command::Select(5));
    assert!(window.described().contains("u32"), "{}", window.described());
    window.command(Command::Pin(Some(Pointed::Entry([1, 1]))));
    Ok(())
}

#[test]
fn the_pointer_marks_an_entry_in_both_views() {
    let Some(mut window) = open(Start::default()) else { return };
    window.menu(&["Examples", "Multiply: A.t() · A"]);
    let view = window.0.get_by_label("Dense view, 20 × 20").rect();
    window.0.hover_at(view.min + view.size() * egui::vec2(6.5 / 20.0, 5.5 / 20.0));
    window.settle();
    assert_eq!(window.viewer().state.pointed, Some(Pointed::Entry([5, 6])));
    assert!(window.0.query_by_label("(5, 6)").is_some());
    // Both operands' stretches, and the sum with its numbers and result.
    assert!(window.0.query_by_label("Operand A = step 1.t()").is_some());
    let result = window.viewer().state.shown().expect("a result");
    let slot = Storage::of(&result.matrix).slot([5, 6]).expect("stored");
    let value = result.matrix.read().expect("values")[slot];
    let formula = format!("= {}", colors::short(value));
    assert!(window.0.query_by_label_contains(&formula).is_some(), "{formula}");
    // A slot outside the matrix says so.
    let storage = window.0.get_by_label("Storage view, 20 × 20").rect();
    window.0.hover_at(storage.min + egui::vec2(4.0, 4.0));
    window.settle();
    assert!(matches!(window.viewer().state.pointed, Some(Pointed::Slot(_))));
    // In the colour scale, and as the value.
    assert_eq!(window.0.query_all_by_label("outside the matrix").count(), 2);
    window.0.remove_cursor();
    window.settle();
    assert_eq!(window.viewer().state.pointed, None);
}

#[test]
fn entries_are_marked_by_keys() {
    let Some(mut window) = open(Start::default()) else { return };
    for key in [Key::ArrowDown, Key::ArrowDown, Key::ArrowRight, Key::ArrowRight, Key::ArrowUp, Key::ArrowLeft] {
        window.keys(Modifiers::NONE, key);
    }
    assert_eq!(window.viewer().state.pinned, Some(Pointed::Entry([0, 1])));
    assert!(window.0.query_by_label("(0, 1)").is_some());
    window.keys(Modifiers::NONE, Key::Escape);
    assert_eq!(window.viewer().state.pinned, None);
}

#[test]
fn views_are_zoomed_and_moved() {
    let Some(mut window) = open(Start::default()) else { return };
    window.keys(Modifiers::NONE, Key::Plus);
    window.keys(Modifiers::NONE, Key::Plus);
    assert!(window.viewer().state.camera.zoom > 2.0);
    let view = window.0.get_by_label("Dense view, 20 × 20").rect();
    window.0.drag_at(view.center());
    window.0.hover_at(view.center() - egui::vec2(60.0, 40.0));
    window.settle();
    window.0.drop_at(view.center() - egui::vec2(60.0, 40.0));
    window.settle();
    assert!(window.viewer().state.camera.middle.is_some_and(|[row, col]| row > 10.0 && col > 10.0));
    window.keys(Modifiers::NONE, Key::Minus);
    window.keys(Modifiers::NONE, Key::F);
    assert_eq!(window.viewer().state.camera.zoom, 1.0);
    // Zoomed in as far as it goes.
    for _ in 0..12 {
        window.keys(Modifiers::NONE, Key::Plus);
    }
    assert!(window.viewer().state.camera.zoom < 30.0);
    window.picture();
}
