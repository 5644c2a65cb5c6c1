//! Where an entry comes from, as the window says it.

use super::super::command::Command;
use super::super::matrix_view::{Pointed, Storage};
use super::*;
use crate::app::colors::short;

/// What the window says of an entry of the selected step's result.
pub fn said(window: &mut Window, step: u32, entry: [usize; 2], part: &str) -> String {
    window.command(Command::Select(step));
    window.command(Command::Pin(Some(Pointed::Entry(entry))));
    let mut found = window.0.query_all_by_label_contains(part);
    let Some(node) = found.next() else { panic!("nothing says {part:?} of {entry:?}") };
    node.accesskit_node().value().unwrap_or_else(|| name(&node))
}

pub fn stores(window: &Window, step: u32, entry: [usize; 2]) -> Option<usize> {
    let shown = window.viewer().state.results.get(&step).and_then(|shown| shown.last.clone()).expect("a result");
    Storage::of(&shown.matrix).slot(entry)
}

/// An entry that a step's result stores, in a matrix of the batch.
pub fn value(window: &Window, step: u32, batch: usize, entry: [usize; 2]) -> f32 {
    let shown = window.viewer().state.results.get(&step).and_then(|shown| shown.last.clone()).expect("a result");
    let storage = Storage::of(&shown.matrix);
    shown.matrix.read().expect("values")[batch * storage.len() + storage.slot(entry).expect("stored")]
}

/// As formulas have it.
pub fn text(value: f32) -> String {
    if value < 0.0 { format!("({})", short(value).replace('-', "−")) } else { short(value) }
}

/// Products of the first terms, and how many there are if that is not all.
pub fn sum(products: &[(f32, f32)]) -> Vec<String> {
    let mut parts: Vec<String> = products.iter().take(4).map(|(a, b)| format!("{} · {}", text(*a), text(*b))).collect();
    if products.len() > 4 {
        parts.push(format!("… ({} terms)", products.len()));
    }
    parts
}

pub fn play(text: &str) -> Result<Option<Window>> {
    let Some(mut window) = open(Start::default()) else { return Ok(None) };
    window.0.state_mut().state.session = session(text)?;
    window.command(Command::RunAgain);
    for place in 0..window.viewer().state.session.steps.len() {
        assert_eq!(window.error(place), "", "step {}", place + 1);
    }
    Ok(Some(window))
}

/// An operand that does not store the entry goes in with its fill, under its own name.
#[test]
fn what_an_operand_does_not_store_is_its_fill() -> Result<()> {
    let Some(mut window) = play(
        r#"{"version": 1, "selected": 3, "steps": [
            {"id": 1, "operation": "identity", "parameters": {"n": 4}},
            {"id": 2, "operation": "notebook", "parameters": {"n": 4}},
            {"id": 3, "operation": "banded_zip", "inputs": [{"step": 1}, {"step": 2}], "parameters": {"f": "a - b"}},
            {"id": 4, "operation": "banded_matmul", "inputs": [{"step": 1}, {"step": 1}], "parameters": {"semiring": "max"}},
            {"id": 5, "operation": "banded_zip", "inputs": [{"step": 4}, {"step": 2}], "parameters": {"f": "max(a, b)"}},
            {"id": 6, "operation": "block_diagonal", "parameters": {"rows": 4, "cols": 4, "block rows": 2, "block cols": 2}},
            {"id": 7, "operation": "random_blocks", "parameters": {"density": 1.0, "low": 0.25, "rows": 4, "cols": 4, "block rows": 2, "block cols": 2}},
            {"id": 8, "operation": "block_add", "inputs": [{"step": 6}, {"step": 7}]}]}"#,
    )?
    else {
        return Ok(());
    };
    let b = short(value(&window, 2, 0, [0, 2]));
    assert_eq!(said(&mut window, 3, [0, 2], "gives"), format!("a = 0, b = {b} gives (−{b})"));
    assert_eq!(said(&mut window, 5, [0, 2], "gives"), format!("a = (−∞), b = {b} gives {b}"));
    let b = short(value(&window, 7, 0, [1, 2]));
    assert_eq!(said(&mut window, 8, [1, 2], "gives"), format!("a = 0, b = {b} gives {b}"));
    Ok(())
}

/// The row of a softmax, and the p that a product's index is.
#[test]
fn softmaxes_and_indices_say_their_terms() -> Result<()> {
    let Some(mut window) = play(
        r#"{"version": 1, "selected": 1, "steps": [
            {"id": 1, "operation": "random", "parameters": {"rows": 9, "cols": 9, "lower": 1, "upper": 2}},
            {"id": 2, "operation": "banded_softmax", "inputs": [{"step": 1}], "parameters": {"scale": 2.0}},
            {"id": 3, "operation": "banded_matmul_index", "inputs": [{"step": 1}, {"step": 1, "transposed": true}]},
            {"id": 4, "operation": "banded_to_dense", "inputs": [{"step": 1}]},
            {"id": 5, "operation": "semiring_matmul_index", "inputs": [{"step": 4}, {"step": 4}], "parameters": {"semiring": "sample"}}]}"#,
    )?
    else {
        return Ok(());
    };
    let exp = [5, 3, 4, 6].map(|j| format!("exp(2 · {})", text(value(&window, 1, 0, [4, j]))));
    let want = format!("{} / ({}) = {}", exp[0], exp.join(" + "), text(value(&window, 2, 0, [4, 5])));
    assert_eq!(said(&mut window, 2, [4, 5], "exp("), want);
    // Rows 4 and 5 of the band have columns 4 to 6 in common.
    let [row, col] = [4, 5].map(|i| [4, 5, 6].map(|p| value(&window, 1, 0, [i, p])));
    let terms: Vec<String> = (0..3).map(|n| format!("{} + {} (p = {})", text(row[n]), text(col[n]), n + 4)).collect();
    let best = (0..3).max_by(|a, b| (row[*a] + col[*a]).total_cmp(&(row[*b] + col[*b]))).expect("a term") + 4;
    assert_eq!(said(&mut window, 3, [4, 5], "the largest of"), format!("p = {best}, the largest of {}", terms.join(", ")));
    let p = value(&window, 5, 0, [4, 5]);
    let found = said(&mut window, 5, [4, 5], "drawn from");
    assert!(found.starts_with(&format!("p = {p}, drawn from ")) && found.ends_with("… (9 terms)"), "{found}");
    Ok(())
}

/// Layers, products at blocks, and what is taken at other blocks.
#[test]
fn block_operations_say_their_terms() -> Result<()> {
    let Some(mut window) = play(
        r#"{"version": 1, "selected": 1, "steps": [
            {"id": 1, "operation": "random_dense", "parameters": {"rows": 5, "cols": 9, "seed": 1}},
            {"id": 2, "operation": "random_blocks", "parameters": {"rows": 6, "cols": 9, "block rows": 2, "block cols": 3, "density": 0.5}},
            {"id": 3, "operation": "random_dense", "parameters": {"rows": 1, "cols": 6, "seed": 2}},
            {"id": 4, "operation": "block_linear", "inputs": [{"step": 1}, {"step": 2}], "parameters": {"activation": "gelu"}},
            {"id": 5, "operation": "block_linear_bias", "inputs": [{"step": 1}, {"step": 2}, {"step": 3}]},
            {"id": 6, "operation": "random_dense", "parameters": {"rows": 5, "cols": 6, "seed": 3}},
            {"id": 7, "operation": "block_sddmm", "inputs": [{"step": 6}, {"step": 1}, {"step": 2}]},
            {"id": 8, "operation": "banded_blocks", "parameters":
                {"rows": 6, "cols": 9, "block rows": 2, "block cols": 3, "lower": 0, "upper": 0, "seed": 4}},
            {"id": 9, "operation": "block_select", "inputs": [{"step": 8}, {"step": 2}]},
            {"id": 10, "operation": "random_dense", "parameters": {"rows": 6, "cols": 9, "seed": 5}},
            {"id": 11, "operation": "block_from_dense", "inputs": [{"step": 10}, {"step": 2}]}]}"#,
    )?
    else {
        return Ok(());
    };
    for j in [0, 3, 5] {
        let kept: Vec<usize> = (0..9).filter(|k| stores(&window, 2, [j, *k]).is_some()).collect();
        let products: Vec<_> = kept.iter().map(|k| (value(&window, 1, 0, [3, *k]), value(&window, 2, 0, [j, *k]))).collect();
        let made = text(value(&window, 4, 0, [3, j]));
        let parts = sum(&products);
        if !parts.is_empty() {
            assert_eq!(said(&mut window, 4, [3, j], "gelu("), format!("gelu({}) = {made}", parts.join(" + ")));
        }
        let bias = text(value(&window, 3, 0, [0, j]));
        let made = text(value(&window, 5, 0, [3, j]));
        let parts = [parts, vec![bias.clone()]].concat().join(" + ");
        assert_eq!(said(&mut window, 5, [3, j], &format!("{bias} = {made}")), format!("{parts} = {made}"));
    }
    let place = (0..6).flat_map(|i| (0..9).map(move |j| [i, j]));
    let stored: Vec<_> = place.filter(|at| stores(&window, 2, *at).is_some()).collect();
    for [i, j] in [stored[0], stored[stored.len() - 1]] {
        let products: Vec<_> = (0..5).map(|t| (value(&window, 6, 0, [t, i]), value(&window, 1, 0, [t, j]))).collect();
        let want = format!("{} = {}", sum(&products).join(" + "), text(value(&window, 7, 0, [i, j])));
        assert_eq!(said(&mut window, 7, [i, j], "… (5 terms) ="), want);
        let d = text(value(&window, 10, 0, [i, j]));
        assert_eq!(said(&mut window, 11, [i, j], "gives"), format!("d = {d} gives {d}"));
    }
    // Taken where A has the block, 0 where it has not.
    let [both, new] = [true, false].map(|has| *stored.iter().find(|at| stores(&window, 8, **at).is_some() == has).expect("a block"));
    let a = text(value(&window, 8, 0, both));
    assert_eq!(said(&mut window, 9, both, "gives"), format!("a = {a} gives {a}"));
    assert_eq!(said(&mut window, 9, new, "gives"), "a = 0 gives 0");
    Ok(())
}

/// The keys of the window alone, of the head that the queries' head shares.
#[test]
fn attention_says_its_keys() -> Result<()> {
    let Some(mut window) = play(
        r#"{"version": 1, "selected": 1, "steps": [
            {"id": 1, "operation": "random_dense", "parameters": {"rows": 8, "cols": 3, "batch": 4, "seed": 1}},
            {"id": 2, "operation": "random_dense", "parameters": {"rows": 8, "cols": 3, "batch": 2, "seed": 2}},
            {"id": 3, "operation": "random_dense", "parameters": {"rows": 8, "cols": 5, "batch": 2, "seed": 3}},
            {"id": 4, "operation": "window_attention", "inputs": [{"step": 1}, {"step": 2}, {"step": 3}], "parameters":
                {"lower": 1, "upper": 1, "dilation": 2, "heads": 2, "kv heads": 1, "lengths": "8, 6"}},
            {"id": 5, "operation": "random_dense", "parameters": {"rows": 8, "cols": 5, "batch": 4, "seed": 4}},
            {"id": 6, "operation": "window_attention_backward", "inputs": [{"step": 1}, {"step": 2}, {"step": 3}, {"step": 5}], "parameters":
                {"by": "V", "lower": 1, "upper": 1, "dilation": 2, "heads": 2, "kv heads": 1, "lengths": "8, 6"}}]}"#,
    )?
    else {
        return Ok(());
    };
    // What the softmax gives keys, from the window's scores; those of keys beyond the lengths are left out.
    let weights = |window: &Window, batch: usize, i: usize, keys: &[usize]| -> Vec<String> {
        let product = |key, d| f64::from(value(window, 1, batch, [i, d])) * f64::from(value(window, 2, batch / 2, [key, d]));
        let exp: Vec<f64> = keys.iter().map(|key| ((0..3).map(|d| product(*key, d)).sum::<f64>() / 3f64.sqrt()).exp()).collect();
        exp.iter().map(|one| text((one / exp.iter().sum::<f64>()) as f32)).collect()
    };
    for (batch, i, keys) in [(0, 4, &[2, 4, 6][..]), (3, 4, &[2, 4])] {
        window.command(Command::Batch(batch));
        let weights = weights(&window, batch, i, keys);
        let parts = keys.iter().zip(weights).map(|(key, p)| format!("{p} · {}", text(value(&window, 3, batch / 2, [*key, 1]))));
        let want = format!("{} = {}", parts.collect::<Vec<_>>().join(" + "), text(value(&window, 4, batch, [i, 1])));
        let found = said(&mut window, 4, [i, 1], "softmax of");
        assert_eq!(found, format!("{want}, weights: softmax of the row's scores with {} keys", keys.len()));
    }
    // Values are shared by two heads: what the first gives, and that there is another.
    window.command(Command::Batch(1));
    let of = |i, place: usize, keys: &[usize]| format!("{} · {}", weights(&window, 2, i, keys)[place], text(value(&window, 5, 2, [i, 1])));
    let parts = [of(2, 2, &[0, 2, 4]), of(4, 1, &[2, 4]), of(6, 0, &[4])].join(" + ");
    let made = text(value(&window, 6, 1, [4, 1]));
    let want = format!("{parts} + the same of 1 head more = {made}, weights: what 3 queries give the key");
    assert_eq!(said(&mut window, 6, [4, 1], "give the key"), want);
    Ok(())
}
