//! The real window on a virtual screen: files opened, a slider dragged with the mouse, keys typed,
//! and the files that come out.
//!
//! Needs `Xvfb` and `xdotool`, which `scripts/test` installs on Debian. Where they are missing the
//! test fails, unless `BANDSAW_TEST_NO_DISPLAY=1` says that this is meant.
#![cfg(all(feature = "app", target_os = "linux"))]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bandsaw::{Device, Layout, Semiring, banded_matmul, io};

type Test = Result<(), Box<dyn std::error::Error>>;

/// Ends the program when the test does, however it does.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn present(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// A screen nobody looks at, and its name.
fn screen() -> Result<(Running, String), Box<dyn std::error::Error>> {
    let arguments = ["-displayfd", "1", "-screen", "0", "1280x800x24", "-nolisten", "tcp"];
    let mut server = Command::new("Xvfb").args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut number = String::new();
    BufReader::new(server.stdout.take().ok_or("no output")?).read_line(&mut number)?;
    Ok((Running(server), format!(":{}", number.trim())))
}

fn wait(what: &str, mut done: impl FnMut() -> bool) -> Test {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > Duration::from_secs(60) {
            return Err(format!("no {what} after a minute").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn input(display: &str, line: &str) -> Test {
    let status = Command::new("xdotool").args(line.split(' ')).env("DISPLAY", display).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("xdotool {line}").into()) }
}

/// The middle of the handle of the first step's slider "lower", in a window of 1280 × 800.
const HANDLE: [i32; 2] = [100, 343];

fn number(session: &Path, name: &str) -> Option<i64> {
    let session: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(session).ok()?).ok()?;
    session["steps"][0]["parameters"][name].as_i64()
}

#[test]
fn a_session_is_played_in_the_window() -> Test {
    let missing: Vec<_> = ["Xvfb", "xdotool"].into_iter().filter(|program| !present(program)).collect();
    if !missing.is_empty() {
        assert!(std::env::var_os("BANDSAW_TEST_NO_DISPLAY").is_some(), "missing: {}; scripts/test installs them", missing.join(", "));
        eprintln!("no {}, and BANDSAW_TEST_NO_DISPLAY says that is meant: not tested", missing.join(", "));
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    let lund = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/lund_a.mtx");
    // The chain of operations, by commands.
    let commands = serde_json::json!([
        {"select": 1}, {"open": lund}, {"add": "banded_matmul"},
        {"export": file("square.mtx")}, {"export": file("square.png")}, {"export": file("steps.rs")},
        {"select": 1}, {"screenshot": file("window.png")}
    ]);
    std::fs::write(file("play.json"), commands.to_string())?;
    let (_server, display) = screen()?;
    let mut view = Command::new(env!("CARGO_BIN_EXE_bandsaw"));
    view.args(["--device", "cpu", "view", "--size", "1280,800", "--play"]).arg(file("play.json"));
    view.env("DISPLAY", &display).env_remove("WAYLAND_DISPLAY").env_remove("WAYLAND_SOCKET");
    let mut view = Running(view.stderr(Stdio::inherit()).spawn()?);
    wait("picture of the window", || file("window.png").exists())?;

    // The slider, by mouse.
    let [x, y] = HANDLE;
    input(&display, "search --sync --name bandsaw windowfocus")?;
    input(&display, &format!("mousemove {x} {y} mousedown 1"))?;
    for step in 1..=10 {
        input(&display, &format!("mousemove {} {y}", x + 2 * step))?;
        std::thread::sleep(Duration::from_millis(30));
    }
    input(&display, "mouseup 1")?;
    std::thread::sleep(Duration::from_millis(300));
    // The session, by keys.
    input(&display, "mousemove 640 790")?;
    input(&display, "key ctrl+s")?;
    std::thread::sleep(Duration::from_millis(500));
    input(&display, "key ctrl+a")?;
    input(&display, &format!("type --delay 8 {}", file("session.json").display()))?;
    std::thread::sleep(Duration::from_millis(300));
    input(&display, "key Return")?;
    wait("saved session", || file("session.json").exists())?;
    input(&display, "key ctrl+q")?;
    wait("end of the program", || view.0.try_wait().is_ok_and(|status| status.is_some()))?;
    assert!(view.0.wait()?.success());

    // The slider moved; the rest of the matrix is as it was.
    let lower = number(&file("session.json"), "lower");
    assert!(lower.is_some_and(|lower| lower > 1), "the slider was not at {HANDLE:?}: lower is {lower:?}");
    assert_eq!(number(&file("session.json"), "n"), None);
    // The exported product is the library's.
    let a = io::read_matrix_market(lund)?.to_banded(&Device::cpu(), Layout::Rows)?;
    let want = io::Coordinates::from_banded(&banded_matmul(&a, &a, Semiring::Sum)?, 0)?;
    assert_eq!(io::read_matrix_market(file("square.mtx"))?.entries, want.entries);
    assert!(image_size(&file("square.png"))? > [600, 300] && image_size(&file("window.png"))? == [1280, 800]);
    assert!(std::fs::read_to_string(file("steps.rs"))?.contains("banded_matmul(&s2, &s2, Semiring::Sum)?"));
    Ok(())
}

/// A lost device ends the window; another one goes on with the session and with what is still to play.
#[test]
fn a_lost_device_is_not_the_end() -> Test {
    if !["Xvfb", "xdotool"].into_iter().all(present) {
        return Ok(()); // the test above says so
    }
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    let commands = serde_json::json!([
        {"example": "Band shift by 1"}, "lose_device", {"save": file("after.json")}, {"screenshot": file("after.png")}, "quit"
    ]);
    std::fs::write(file("play.json"), commands.to_string())?;
    let (_server, display) = screen()?;
    let mut view = Command::new(env!("CARGO_BIN_EXE_bandsaw"));
    view.args(["--device", "cpu", "view", "--play"]).arg(file("play.json"));
    let output = view.env("DISPLAY", &display).env_remove("WAYLAND_DISPLAY").env_remove("WAYLAND_SOCKET").output()?;
    let said = String::from_utf8(output.stderr)?;
    assert!(output.status.success() && said.contains("going on with another device"), "{said}");
    assert!(std::fs::read_to_string(file("after.json"))?.contains("banded_shift_band"));
    assert_eq!(image_size(&file("after.png"))?, [1280, 800]);
    Ok(())
}

/// Width and height by a PNG file's header.
fn image_size(path: &Path) -> Result<[u32; 2], Box<dyn std::error::Error>> {
    let bytes = std::fs::read(path)?;
    let at = |n: usize| bytes.get(n..n + 4).and_then(|word| word.try_into().ok()).map(u32::from_be_bytes);
    Ok([at(16).ok_or("no PNG")?, at(20).ok_or("no PNG")?])
}

/// Without a screen: one line, then the demonstration; and an error for `view`.
#[test]
fn without_a_screen_the_demonstration_runs() -> Test {
    let folder = tempfile::tempdir()?;
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bandsaw"));
        for name in ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"] {
            command.env_remove(name);
        }
        command.args(arguments).current_dir(folder.path()).env("BANDSAW_DEVICE", "cpu").output()
    };
    let output = run(&[])?;
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stderr)?.trim_end(),
        "bandsaw: no display: neither WAYLAND_DISPLAY nor DISPLAY is set; running the demonstration instead"
    );
    assert!(folder.path().join("out/overview.png").exists());
    let output = run(&["view"])?;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stderr)?.lines().count(), 1);
    Ok(())
}
