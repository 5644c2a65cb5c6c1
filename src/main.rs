//! The bandsaw command line.

mod app;

fn main() -> std::process::ExitCode {
    app::main()
}
