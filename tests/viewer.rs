//! What the viewer exports is a program: this one has every operation, and runs.
#![cfg(feature = "app")]

#[path = "../examples/viewer_steps.rs"]
#[allow(dead_code)]
mod steps;

#[test]
fn exported_steps_run() -> bandsaw::Result<()> {
    steps::run()
}
