//! Every shortcut is pressed and every menu entry clicked, and what it does is seen. One that is added fails here
//! until [`done`] knows it.

use std::collections::HashSet;

use egui::accesskit::Role;
use egui_kittest::kittest::By;

use super::super::command::{Command, Dialog, Theme};
use super::super::matrix_view::{Camera, Pointed};
use super::super::operations::{self, Group};
use super::super::session::{Session, Value};
use super::super::state::{AUTOMATIC, Settings, State};
use super::super::{examples, shortcuts, worker};
use super::*;
use crate::app::colors;

/// What there was before a key or a click.
struct Before {
    session: Session,
    settings: Settings,
    camera: Camera,
}

/// The same state for each: the second of four steps selected, an entry marked, zoomed in, something to undo and to redo.
fn prepare(window: &mut Window) -> Before {
    egui::Popup::close_all(&window.0.ctx);
    let state = &mut window.0.state_mut().state;
    (state.settings, state.dialog) = (Settings::default(), None);
    (state.device, state.compared) = ("cpu".into(), None);
    let set = |name: &str, value| Command::Set { step: 1, name: name.into(), value: Value::Integer(value) };
    for command in [
        Command::Example("Multiply thrice: A · A · A · A".into()),
        set("n", 18),
        set("lower", 3),
        Command::Undo,
        Command::Select(2),
        Command::Pin(Some(Pointed::Entry([2, 2]))),
        Command::Look(Camera { zoom: 2.0, ..Camera::default() }),
    ] {
        state.apply(command).expect("a command");
    }
    let before = Before { session: state.session.clone(), settings: state.settings.clone(), camera: state.camera };
    window.command(Command::RunAgain);
    window.0.state_mut().state.totals.clear();
    before
}

/// Whether what the entry or shortcut says has been done. `text` is also a colour scale, an example, an operation or a device.
fn done(text: &str, before: &Before, state: &State, closed: bool) -> bool {
    let steps = |session: &Session| session.steps.len();
    let entry = |at: [usize; 2]| state.pinned == Some(Pointed::Entry(at));
    let dialog = |dialog: Dialog| state.dialog == Some(dialog);
    let (now, then) = (&state.settings, &before.settings);
    let added = state.session.selected().and_then(|step| step.operation());
    match text {
        "Undo" => state.session.steps[0].parameters.is_empty(),
        "Redo" => state.session.steps[0].parameters.len() == 2,
        "Open" => dialog(Dialog::Open),
        "Save session" => dialog(Dialog::Save),
        "Export picture" => dialog(Dialog::ExportPicture),
        "Export matrix" => dialog(Dialog::ExportMatrix),
        "Export steps as Rust" => dialog(Dialog::ExportCode),
        "Keyboard shortcuts" => dialog(Dialog::Shortcuts),
        "Quit" => closed,
        "Duplicate step" => steps(&state.session) == steps(&before.session) + 1,
        "Remove step" => state.session.step(2).is_none() && steps(&state.session) + 1 == steps(&before.session),
        "Move step up" => state.session.place(2) == Some(0),
        "Move step down" => state.session.place(2) == Some(2),
        "Reset" => state.session == examples::first(),
        "Step before" => state.session.selected == Some(1),
        "Step after" => state.session.selected == Some(3),
        "Mark the entry above" => entry([1, 2]),
        "Mark the entry below" => entry([3, 2]),
        "Mark the entry to the left" => entry([2, 1]),
        "Mark the entry to the right" => entry([2, 3]),
        "Mark nothing" => state.pinned.is_none(),
        "Zoom in" => state.camera.zoom > before.camera.zoom,
        "Zoom out" => state.camera.zoom < before.camera.zoom,
        "Fit" => state.camera == Camera::default(),
        "Dense view" => now.dense != then.dense,
        "Storage view" => now.stored != then.stored,
        "Values in cells" => now.labels != then.labels,
        "All terms of formulas" => now.all_terms != then.all_terms,
        "Logarithmic colours" => now.logarithmic != then.logarithmic,
        "Devices and times" => now.devices != then.devices,
        "System theme" => now.theme == Theme::System,
        "Light" => now.theme == Theme::Light,
        "Dark" => now.theme == Theme::Dark,
        "Larger text" => now.text_scale > then.text_scale,
        "Smaller text" => now.text_scale < then.text_scale,
        "Usual text" => now.text_scale == 1.0,
        "Run again" => !state.totals.is_empty(),
        "Compare devices" => state.compared.is_some(),
        "CPU" => state.device == "cpu",
        name if name.ends_with(", the window's") => state.device == worker::WINDOW,
        name if name == AUTOMATIC || colors::names().any(|known| known == name) => now.colors == name,
        // An example and an operation may have the same title.
        name if examples::all().iter().any(|example| example.title == name) || operations::all().any(|known| known.title == name) => {
            examples::session(name).is_ok_and(|session| session == state.session)
                || (added.is_some_and(|known| known.title == name) && steps(&state.session) == steps(&before.session) + 1)
        }
        name if state.devices.iter().any(|info| name.ends_with(&format!(", {}", info.backend))) => {
            state.devices.iter().any(|info| info.id == state.device && name.ends_with(&format!(", {}", info.backend)))
        }
        _ => panic!("no test knows what {text:?} does: add it here"),
    }
}

/// Frames until it is done.
fn see(window: &mut Window, text: &str, before: &Before) {
    let mut closed = false;
    let start = Instant::now();
    loop {
        window.0.step();
        let sent = window.0.output().viewport_output.values();
        closed |= sent.flat_map(|output| &output.commands).any(|command| *command == egui::ViewportCommand::Close);
        if done(text, before, &window.viewer().state, closed) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{text:?} does nothing");
    }
}

#[test]
fn every_shortcut_does_what_it_says() {
    let Some(mut window) = open(Start::default()) else { return };
    for (modifiers, key, what) in shortcuts::all() {
        // Some are about what is there already.
        let before = prepare(&mut window);
        if what == "Usual text" {
            window.0.state_mut().state.settings.text_scale = 1.5;
        }
        assert!(!done(what, &before, &window.viewer().state, false), "{what:?} is done before its key is pressed");
        let event = |pressed| egui::Event::Key { key, modifiers, pressed, repeat: false, physical_key: None };
        window.0.event(event(true));
        see(&mut window, what, &before);
        window.0.event(event(false));
    }
}

/// What can be clicked, and is not among what was there before.
fn entries(window: &Window, before: &HashSet<String>) -> Vec<String> {
    let roles = [Role::Button, Role::CheckBox, Role::RadioButton];
    let nodes = window.0.query_all(By::new().predicate(move |node| roles.contains(&node.role())));
    let all = nodes.map(|node| format!("{:?}\n{}", node.accesskit_node().id(), name(&node)));
    all.filter(|entry| !before.contains(entry)).collect()
}

fn press(window: &mut Window, entry: &str) {
    let nodes = window.0.query_all(By::new().predicate(|node| node.label().is_some()));
    let mut found = nodes.filter(|node| format!("{:?}\n{}", node.accesskit_node().id(), name(node)) == entry);
    let Some(node) = found.next() else { panic!("{entry:?} is gone") };
    node.click_accesskit();
}

/// Without its keys and what says that a dialog comes.
fn title(entry: &str) -> String {
    let text = entry.split_once('\n').map_or(entry, |(_, text)| text);
    let plain = |text: &str| text.trim().trim_end_matches('…').to_owned();
    let own = |(keys, what): (String, &str)| text.strip_suffix(&keys).map(plain).filter(|text| text == what);
    shortcuts::list().find_map(own).unwrap_or_else(|| plain(text))
}

/// Clicks every entry below these; how many there are.
fn walk(window: &mut Window, path: &[String]) -> usize {
    let open = |window: &mut Window| {
        let before = prepare(window);
        let mut there = HashSet::new();
        for label in path {
            there = entries(window, &HashSet::new()).into_iter().collect();
            press(window, label);
            window.0.run_steps(3);
        }
        (before, entries(window, &there))
    };
    let all = open(window).1;
    assert!(!all.is_empty(), "nothing in the menu {path:?}");
    let mut count = 0;
    for entry in &all {
        let text = title(entry);
        if text == "Colours" || Group::ALL.iter().any(|group| group.name() == text) {
            count += walk(window, &[path, std::slice::from_ref(entry)].concat());
            continue;
        }
        // What is chosen already is chosen again from something else.
        let (mut before, _) = open(window);
        let State { settings, device, .. } = &mut window.0.state_mut().state;
        match text.as_str() {
            AUTOMATIC => settings.colors = "magma".into(),
            "System theme" => settings.theme = Theme::Dark,
            "Usual text" => settings.text_scale = 1.5,
            "CPU" => *device = worker::WINDOW.into(),
            _ => {}
        }
        before.settings = settings.clone();
        assert!(!done(&text, &before, &window.viewer().state, false), "{text:?} is done before it is clicked");
        press(window, entry);
        see(window, &text, &before);
        count += 1;
    }
    count
}

#[test]
fn every_menu_entry_does_what_it_says() {
    let Some(mut window) = open(Start::default()) else { return };
    prepare(&mut window);
    let bar: Vec<String> = entries(&window, &HashSet::new()).into_iter().take_while(|entry| title(entry) != "Add step").collect();
    let titles: Vec<String> = bar.iter().map(|entry| title(entry)).collect();
    assert_eq!(titles, ["File", "Edit", "Add", "Examples", "View", "Device", "Help"]);
    let mut count = 0;
    for menu in bar {
        count += walk(&mut window, &[menu]);
    }
    assert!(count > operations::all().count() + examples::all().len() + colors::names().count(), "{count}");
}
