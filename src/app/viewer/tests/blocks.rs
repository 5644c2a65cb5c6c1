//! Block-sparse matrices: as steps, on the screen, under the pointer, from checkpoints.

use super::super::command::Command;
use super::super::matrix_view::{Pointed, Storage, Tone, scale};
use super::super::session::{Reference, Value};
use super::drawing::{cell, near};
use super::*;
use bandsaw::io::{Checkpoint, write_file};
use bandsaw::{BlockPattern, block_to_dense};

type Test = std::result::Result<(), Box<dyn std::error::Error>>;

#[test]
fn block_steps_are_added_from_the_menu() {
    let Some(mut window) = open(Start::default()) else { return };
    window.menu(&["Add", "Sources", "Random blocks"]);
    // 42 blocks are 6 × 7, 40 % of them 17.
    assert_eq!(window.described(), "24 × 26, 17 blocks of 4 × 4, density 0.405, f32");
    window.0.get_by_role_and_label(egui::accesskit::Role::Slider, "density").set_value_accesskit(1.0);
    window.settle();
    assert_eq!(window.described(), "24 × 26, 42 blocks of 4 × 4, density 1.000, f32");
    window.menu(&["Add step", "Block-sparse", "Prune"]);
    assert_eq!(window.described(), "24 × 26, 13 blocks of 4 × 4, density 0.310, f32");
    window.menu(&["Add", "Block-sparse", "Norms of the blocks"]);
    assert_eq!(window.described(), "6 × 7, dense, f32");
    window.command(Command::Select(3));
    window.menu(&["Add", "Block-sparse", "Transpose of blocks"]);
    assert_eq!(window.described(), "26 × 24, 13 blocks of 4 × 4, density 0.310, f32");
    window.command(Command::Select(3));
    window.menu(&["Add", "Block-sparse", "A · B, both block-sparse"]);
    assert!(window.error(3).contains("block_sparse_matmul: b has"), "{}", window.error(3));
    window.click("B transposed");
    assert!(window.described().starts_with("24 × 24, "), "{}", window.described());
    // A step of the wrong kind is not offered, and says so where there is none.
    window.command(Command::Reset);
    window.menu(&["Add", "Block-sparse", "Blocks to dense"]);
    assert!(window.error(1).contains("an earlier step's result"), "{}", window.error(1));
    assert!(window.0.query_all_by_value("no block-sparse matrix").count() > 0);
}

/// Every cell of both views, with blocks that stick out on both sides, either way round.
#[test]
fn cells_of_blocks_have_their_colours() -> Result<()> {
    let Some(mut window) = open(Start::default()) else { return Ok(()) };
    window.command(Command::Labels(false));
    for (operation, dtype, transposed) in [("random_blocks", "f32", false), ("random_blocks", "f16", true), ("block_diagonal", "f32", true)]
    {
        let text = format!(
            r#"{{"version": 1, "selected": {}, "steps": [{{"id": 1, "operation": "{operation}", "parameters": {{"rows": 10, "cols": 11,
                "block rows": 3, "block cols": 4, "low": 0.25, "dtype": "{dtype}"}}}},
                {{"id": 2, "operation": "block_transpose", "inputs": [{{"step": 1}}]}}]}}"#,
            1 + u32::from(transposed)
        );
        window.0.state_mut().state.session = session(&text)?;
        window.command(Command::RunAgain);
        let picture = window.picture();
        let result = std::sync::Arc::clone(window.viewer().state.shown().expect("a result"));
        let (values, storage) = (result.matrix.read()?, Storage::of(&result.matrix));
        let found = &result.drawn.as_ref().expect("drawn").values;
        // What sticks out is 0 and takes no part in the scale.
        assert!(found.low >= 0.24, "{found:?}");
        let scale = scale(&window.viewer().state.settings, found);
        let sizes = if transposed { "11 × 10" } else { "10 × 11" };
        for stored in [false, true] {
            let name = format!("{} view, {sizes}", if stored { "Storage" } else { "Dense" });
            let view = window.0.get_by_label(&name).rect();
            let [width, height] = storage.grid(stored);
            let (mut outside, mut inside) = (0, 0);
            for at in (0..width).flat_map(|x| (0..height).map(move |y| [x, y])) {
                let got = cell(&picture, view, [width, height], at);
                let tone = Tone::of(window.0.ctx.theme() == egui::Theme::Dark);
                let grey = |tone: [f32; 4]| [0, 1, 2].map(|n| (tone[n] * 255.0).round() as u8);
                match storage.at(stored, at) {
                    Some(Pointed::Entry(entry)) => {
                        let want = storage.slot(entry).map_or(grey(tone.unstored), |slot| scale.color(values[slot]));
                        near(got, want, &format!("{name} {operation} {dtype} {at:?}"));
                        inside += 1;
                    }
                    Some(Pointed::Slot(_)) => {
                        outside += 1;
                        let far = |want: [u8; 3]| got.iter().zip(want).map(|(got, want)| got.abs_diff(want)).max();
                        assert!(far(grey(tone.outside)) <= Some(4) || far(grey(tone.hatch)) <= Some(4), "{name} {at:?} {got:?}");
                    }
                    None => near(got, grey(tone.gap), &format!("{name} {operation} nothing {at:?}")),
                }
            }
            assert!(inside > 0 && outside > 0, "{name}");
        }
    }
    Ok(())
}

#[test]
fn the_pointer_tells_block_slot_and_value() -> Result<()> {
    let Some(mut window) = open(Start::default()) else { return Ok(()) };
    let text = r#"{"version": 1, "selected": 1, "steps": [{"id": 1, "operation": "banded_blocks", "parameters":
        {"rows": 10, "cols": 11, "block rows": 3, "block cols": 4, "lower": 0, "upper": 0}},
        {"id": 2, "operation": "random_dense", "parameters": {"rows": 11, "cols": 5}},
        {"id": 3, "operation": "block_matmul_left", "inputs": [{"step": 1}, {"step": 2}]}]}"#;
    window.0.state_mut().state.session = session(text)?;
    window.command(Command::RunAgain);
    // Drawn with the blocks that stick out: 12 × 12.
    let view = window.0.get_by_label("Dense view, 10 × 11").rect();
    let point = |window: &mut Window, view: egui::Rect, grid: [f32; 2], [x, y]: [f32; 2]| {
        window.0.hover_at(view.min + view.size() * egui::vec2((x + 0.5) / grid[0], (y + 0.5) / grid[1]));
        window.settle();
    };
    point(&mut window, view, [12.0, 12.0], [5.0, 4.0]);
    assert_eq!(window.viewer().state.pointed, Some(Pointed::Entry([4, 5])));
    // Row 1 and column 1 of block (1, 1), the second of 12 values each.
    assert!(window.0.query_by_label("17: in slot 1, block (1, 1)").is_some());
    let result = std::sync::Arc::clone(window.viewer().state.shown().expect("a result"));
    let value = result.matrix.read()?[17].to_string();
    assert!(window.0.query_by_label(&value).is_some(), "{value}");
    point(&mut window, view, [12.0, 12.0], [9.0, 0.0]);
    assert!(window.0.query_by_label("not stored").is_some() && window.0.query_by_label("0").is_some());
    // Storage has one block in each line: block (2, 2) reaches beyond the last column.
    let storage = window.0.get_by_label("Storage view, 10 × 11").rect();
    point(&mut window, storage, [4.0, 12.0], [3.0, 8.0]);
    assert_eq!(window.viewer().state.pointed, Some(Pointed::Slot(2 * 12 + 2 * 4 + 3)));
    assert!(window.0.query_by_label("35: in slot 2, block (2, 2)").is_some());
    assert_eq!(window.0.query_all_by_label("outside the matrix").count(), 2);
    // A product's entry comes from the stored blocks of the row alone.
    window.command(Command::Select(3));
    let view = window.0.get_by_label("Dense view, 10 × 5").rect();
    point(&mut window, view, [5.0, 10.0], [2.0, 7.0]);
    let product = window.viewer().state.shown().expect("a result").matrix.read()?[7 * 5 + 2];
    let formula = format!("= {}", crate::app::colors::short(product));
    // Rows 6 to 8 have block (2, 2): columns 8 to 10 of the matrix.
    let terms =
        window.0.query_by_label_contains(&formula).map(|node| node.accesskit_node().value().map_or(0, |text| text.matches(" · ").count()));
    assert_eq!(terms, Some(3), "{formula}");
    Ok(())
}

#[test]
fn a_layer_takes_a_bias() -> Test {
    let text = r#"{"version": 1, "selected": 4, "steps": [
        {"id": 1, "operation": "random_dense", "parameters": {"rows": 5, "cols": 6}},
        {"id": 2, "operation": "random_blocks", "parameters": {"rows": 8, "cols": 6, "block rows": 2, "block cols": 3, "density": 1.0}},
        {"id": 3, "operation": "random_dense", "parameters": {"rows": 1, "cols": 8, "low": 40.0, "high": 50.0}},
        {"id": 4, "operation": "block_linear_bias", "inputs": [{"step": 1}, {"step": 2}, {"step": 3}]}]}"#;
    let Some(mut window) = open(Start::default()) else { return Ok(()) };
    window.0.state_mut().state.session = session(text)?;
    window.command(Command::RunAgain);
    assert_eq!(window.described(), "5 × 8, dense, f32");
    // Sums of 6 products of numbers up to 1 beside a bias of 40 and more.
    let result = window.viewer().state.shown().expect("a result").matrix.read()?;
    assert!(result.iter().all(|value| (34.0..=56.0).contains(value)), "{result:?}");
    window.command(Command::Operand { step: 4, input: 2, reference: Reference { step: 1, transposed: false } });
    assert!(window.error(3).contains("block_linear: bias has"), "{}", window.error(3));
    Ok(())
}

/// A checkpoint with dense tensors, and the same with the matrix of them block-sparse.
fn checkpoints(folder: &std::path::Path) -> Result<[std::path::PathBuf; 2]> {
    let paths = ["model.safetensors", "sparse.safetensors"].map(|name| folder.join(name));
    let header = format!(
        "{:<240}",
        r#"{"batch":{"dtype":"F32","shape":[2,2,3],"data_offsets":[112,160]},"bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
            "steps":{"dtype":"I64","shape":[],"data_offsets":[104,112]},"w":{"dtype":"F32","shape":[4,6],"data_offsets":[8,104]}}"#
    );
    write_file(&paths[0], |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        (0..40).try_for_each(|n| file.write_all(&(n as f32).to_le_bytes()))
    })?;
    let pattern = BlockPattern::new([4, 6], [2, 2], &[[0, 1], [1, 2]])?;
    Checkpoint::open(&paths[0])?.write_block_sparse(&paths[1], &[("w".into(), pattern)], |_| ())?;
    Ok(paths)
}

#[test]
fn checkpoints_are_opened() -> Test {
    let Some(mut window) = open(Start::default()) else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let [model, sparse] = checkpoints(folder.path())?;
    window.command(Command::Open(model));
    assert_eq!(window.described(), "4 × 6, dense, f32");
    let first = window.viewer().state.shown().expect("a result").matrix.read()?;
    assert_eq!(first[..3], [2.0, 3.0, 4.0]);
    window.command(Command::Set { step: 2, name: "tensor".into(), value: Value::Text("none".into()) });
    assert!(window.error(1).contains("tensor has \"none\", must have one of w, batch, bias"), "{}", window.error(1));
    // From the list, which has no tensor of whole numbers.
    let list = |window: &mut Window| {
        window.0.get_by_role_and_label(egui::accesskit::Role::ComboBox, "tensor").click();
        window.settle();
    };
    list(&mut window);
    assert!(window.0.query_by_label("steps").is_none());
    window.click("batch");
    assert_eq!(window.described(), "2 × 2 × 3, dense, f32");
    assert_eq!(window.viewer().state.shown().expect("a result").matrix.read()?[..4], [28.0, 29.0, 30.0, 31.0]);
    list(&mut window);
    window.click("bias");
    assert_eq!(window.described(), "1 × 2, dense, f32");
    window.command(Command::Open(sparse));
    assert_eq!(window.described(), "4 × 6, 2 blocks of 2 × 2, density 0.333, f32");
    let super::super::super::Matrix::Blocks(blocks) = window.viewer().state.shown().expect("a result").matrix.clone() else {
        panic!("no blocks")
    };
    assert_eq!(block_to_dense(&blocks)?.read()?[..6], [0.0, 0.0, 4.0, 5.0, 0.0, 0.0]);
    for name in ["w.png", "w.npy", "w.rs"] {
        window.command(Command::Export(folder.path().join(name)));
        assert!(folder.path().join(name).exists(), "{}", window.notice());
    }
    window.command(Command::Open(folder.path().join("missing.safetensors")));
    assert!(window.notice().contains("missing.safetensors"), "{}", window.notice());
    Ok(())
}
