//! The window, driven by its labels on a software adapter.

mod blocks;
mod drawing;
mod every;
mod files;
mod formulas;
mod origins;
mod steps;
mod window;

use std::time::{Duration, Instant};

use bandsaw::{Device, Result};
use eframe::egui::{self, Key, Modifiers};
use egui_kittest::kittest::{NodeT, Queryable};
use egui_kittest::{Harness, Node};

use super::command::Command;
use super::session::{Session, Step};
use super::{Start, Viewer, operations};

/// The window without a screen. `None` where it is meant that there is no adapter.
struct Window(Harness<'static, Viewer>);

fn open(start: Start) -> Option<Window> {
    let adapters = Device::all().len() - 1;
    if adapters == 0 && std::env::var_os("BANDSAW_TEST_NO_GPU").is_some() {
        eprintln!("no adapter, and BANDSAW_TEST_NO_GPU says that is meant: not tested");
        return None;
    }
    let start = Start { device: start.device.or(Some("cpu".into())), ..start };
    let builder = Harness::builder().with_size(egui::vec2(1280.0, 800.0)).with_render_cursor(false).with_max_steps(64).wgpu();
    let mut window = Window(builder.build_eframe(|cc| Viewer::new(cc, start).expect("a window")));
    window.settle();
    Some(window)
}

impl Window {
    /// Frames until nothing is on its way any more.
    fn settle(&mut self) {
        let start = Instant::now();
        let mut quiet = 0;
        while quiet < 4 {
            assert!(start.elapsed() < Duration::from_secs(60), "the window does not come to rest");
            self.0.step();
            let viewer = self.0.state_mut();
            let reads = [&mut viewer.labels, &mut viewer.entries].into_iter().flatten().any(|reader| reader.waits());
            let busy = viewer.state.pending || viewer.state.comparing || viewer.exporting > 0 || reads;
            quiet = if busy { 0 } else { quiet + 1 };
            std::thread::sleep(Duration::from_millis(3));
        }
        self.0.check_accessibility();
    }

    fn viewer(&self) -> &Viewer {
        self.0.state()
    }

    fn command(&mut self, command: Command) {
        let ctx = self.0.ctx.clone();
        self.0.state_mut().apply(&ctx, command);
        self.settle();
    }

    fn click(&mut self, label: &str) {
        self.0.get_by_label(label).click();
        self.settle();
    }

    /// Through menus, by the labels on the way.
    fn menu(&mut self, labels: &[&str]) {
        for label in labels {
            // Shortcuts are part of a menu entry's name.
            let matches: Vec<_> = self.0.query_all_by_label_contains(label).collect();
            let exact = matches.iter().find(|node| name(node) == **label).or(matches.iter().find(|node| name(node).starts_with(label)));
            let Some(node) = exact else { panic!("no {label:?} in the menu {labels:?}") };
            node.click();
            drop(matches);
            self.settle();
        }
    }

    fn keys(&mut self, modifiers: Modifiers, key: Key) {
        self.0.key_press_modifiers(modifiers, key);
        self.settle();
    }

    /// What the selected step's result is.
    fn described(&self) -> String {
        self.viewer().state.shown().map_or("no result".into(), |result| result.matrix.describe())
    }

    fn notice(&self) -> String {
        self.viewer().state.notice.as_ref().map_or(String::new(), |notice| notice.text.clone())
    }

    /// The error of the step at a place of the list.
    fn error(&self, place: usize) -> String {
        let step = &self.viewer().state.session.steps[place];
        let outcome = self.viewer().state.results.get(&step.id).map(|shown| &shown.outcome);
        outcome.and_then(|outcome| outcome.as_ref().err()).map_or(String::new(), ToString::to_string)
    }

    fn picture(&mut self) -> image::RgbaImage {
        self.settle();
        self.0.render().expect("a picture")
    }
}

fn name(node: &Node<'_>) -> String {
    node.accesskit_node().label().unwrap_or_default()
}

fn session(text: &str) -> Result<Session> {
    Session::parse("test", text)
}

/// A session with every operation there is, each over operands that fit.
fn everything() -> Session {
    let mut session = Session::new();
    let set = |step: &mut Step, numbers: &[(&str, i64)]| {
        for (name, value) in numbers {
            step.parameters.insert((*name).into(), super::session::Value::Integer(*value));
        }
    };
    // Operands: 1 a band matrix, 2 its product's band, 3 and 4 dense ones, 5 to 7 of shifted bands, 10 of blocks, 11 a bias.
    let sources: [(&str, &[(&str, i64)]); 11] = [
        ("random", &[("rows", 6), ("cols", 6), ("lower", 1), ("upper", 1), ("seed", 1)]),
        ("random", &[("rows", 6), ("cols", 6), ("lower", 2), ("upper", 2), ("seed", 2)]),
        ("random_dense", &[("rows", 6), ("cols", 6), ("seed", 3)]),
        ("random_dense", &[("rows", 6), ("cols", 1), ("seed", 4)]),
        ("random", &[("rows", 6), ("cols", 6), ("lower", 1), ("upper", 2), ("seed", 5)]),
        ("random", &[("rows", 6), ("cols", 6), ("lower", 0), ("upper", 2), ("seed", 6)]),
        ("random", &[("rows", 6), ("cols", 6), ("lower", 2), ("upper", 0), ("seed", 7)]),
        ("notebook", &[("n", 6)]),
        ("laplacian", &[("k", 2), ("m", 3)]),
        ("random_blocks", &[("rows", 6), ("cols", 6), ("block rows", 2), ("block cols", 2), ("seed", 8)]),
        ("random_dense", &[("rows", 1), ("cols", 6), ("seed", 9)]),
    ];
    for (name, numbers) in sources {
        let id = session.add(operations::find(name).expect(name));
        set(session.step_mut(id).expect(name), numbers);
    }
    // Which sources an operation takes, where those that fit by kind do not fit by size.
    let chosen: &[(&str, &[u32])] = &[
        ("banded_matvec", &[1, 4]),
        ("banded_matmul_backward", &[1, 1, 2]),
        ("banded_matmul_double_backward", &[1, 1, 2, 1, 1]),
        ("banded_matmul_dense_backward_a", &[1, 3, 3]),
        ("banded_matmul_dense_backward_v", &[1, 3, 3]),
        ("banded_matvec_backward_a", &[1, 4, 4]),
        ("banded_matvec_backward_x", &[1, 4, 4]),
        ("window_matmul_backward", &[3, 3, 2]),
        ("semiring_matmul_backward", &[3, 3, 3]),
        ("semiring_matmul_double_backward", &[3, 3, 3, 3, 3]),
        ("banded_zip_backward", &[1, 2, 2]),
        ("banded_map_backward", &[1, 1]),
        ("banded_resize_backward", &[1, 2]),
        ("banded_shift_rows_backward", &[1, 6]),
        ("banded_shift_cols_backward", &[1, 7]),
        ("banded_shift_band_backward", &[1, 6]),
        ("banded_to_dense_backward", &[1, 3]),
        ("banded_from_dense_backward", &[3, 5]),
        ("block_linear_bias", &[3, 10, 11]),
        ("block_linear_bias_backward", &[3, 10, 11, 3]),
        ("block_linear_bias_backward_w", &[3, 10, 11, 3]),
    ];
    for operation in operations::all().filter(|operation| !operation.name.starts_with("file")) {
        if session.steps.iter().any(|step| step.operation == operation.name) {
            continue;
        }
        session.selected = session.steps.last().map(|step| step.id);
        let id = session.add(operation);
        let step = session.step_mut(id).expect(operation.name);
        let given = chosen.iter().find(|(name, _)| *name == operation.name).map(|(_, given)| given.to_vec());
        let usual = operation.inputs.iter().map(|input| match input.kind {
            operations::Kind::Banded => 1,
            operations::Kind::Dense => 3,
            operations::Kind::Blocks => 10,
        });
        for (reference, source) in step.inputs.iter_mut().zip(given.unwrap_or_else(|| usual.collect())) {
            reference.step = source;
        }
    }
    session
}
