//! The command line.

mod bench;
mod canvas;
mod colors;
mod demo;
mod figure;
mod info;
mod matrix;
mod op;
mod progress;
mod render;
mod sparsify;
mod viewer;

use std::process::ExitCode;

use bandsaw::{Device, Options, Result};
use clap::{Parser, Subcommand};

pub use matrix::{Files, LayoutName, Matrix};

/// Band and block-sparse matrices on any GPU.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  \
        bandsaw                       the window\n  \
        bandsaw demo                  every operation on sample matrices, pictures in out/\n  \
        bandsaw info                  which devices there are\n  \
        bandsaw op matmul a.mtx b.mtx -o c.mtx\n  \
        bandsaw render c.mtx -o c.png\n  \
        bandsaw sparsify model.safetensors --match weight --density 0.5 --block 32x32 -o s.safetensors\n  \
        bandsaw --device cpu bench --quick\n\n\
        Without a command: view, or demo where there is no display."
)]
struct Cli {
    /// Where to run: cpu, cuda or cuda:NUMBER (an NVIDIA GPU), wgpu (the best adapter), wgpu:NUMBER or wgpu:PART-OF-NAME.
    /// render, sparsify and info FILE need no device
    #[arg(long, global = true, env = "BANDSAW_DEVICE", value_name = "DEVICE")]
    device: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Which kind of matrices `demo` and `bench` are about.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Family {
    /// Band matrices
    Banded,
    /// Windowed attention
    Window,
    /// Block-sparse matrices
    Blocks,
}

#[derive(Subcommand)]
enum Command {
    /// Explore matrices and operations in a window
    View(viewer::Args),
    /// Run every operation on sample matrices, check it, draw it
    Demo(demo::Args),
    /// List devices and what they can do, or what a file holds
    Info(info::Args),
    /// Apply an operation to files
    Op(Box<op::Args>),
    /// Draw a matrix file as PNG
    Render(render::Args),
    /// Replace weights of a checkpoint by block-sparse ones
    Sparsify(sparsify::Args),
    /// Measure the operations on a device
    Bench(bench::Args),
}

/// Runs the program; an error is one line on stderr and exit code 1.
pub fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("BANDSAW_LOG").unwrap_or_else(|_| "error".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let cli = Cli::parse();
    leave_nothing_unfinished();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A signal that ends the program has half-written files removed first.
fn leave_nothing_unfinished() {
    #[cfg(unix)]
    if let Ok(mut signals) = signal_hook::iterator::Signals::new(signal_hook::consts::TERM_SIGNALS) {
        std::thread::spawn(move || {
            for signal in signals.forever() {
                bandsaw::io::remove_unfinished();
                // It can't fail for signals that there are.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        });
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let started = std::time::Instant::now();
    let open = || match cli.device.as_deref() {
        None | Some("") => Device::from_env(),
        Some(name) => Device::open(name, Options::default()),
    };
    match cli.command {
        None => {
            match viewer::display().map(|()| viewer::run(&viewer::Args::default(), cli.device.as_deref(), started)) {
                Ok(Ok(code)) => return Ok(code),
                Ok(Err(error)) => eprintln!("bandsaw: {error}; running the demonstration instead"),
                Err(why) => eprintln!("bandsaw: {why}; running the demonstration instead"),
            }
            return demo::run(&demo::Args::default(), &open()?);
        }
        Some(Command::View(args)) => return viewer::run(&args, cli.device.as_deref(), started),
        Some(Command::Demo(args)) => return demo::run(&args, &open()?),
        Some(Command::Info(args)) => info::run(&args, cli.device.as_deref()),
        Some(Command::Op(args)) => op::run(&args, &open()?),
        Some(Command::Render(args)) => render::run(&args),
        Some(Command::Sparsify(args)) => sparsify::run(&args),
        Some(Command::Bench(args)) => bench::run(&args, &open()?),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Lines of cells, the first line a heading; numbers are told by their first character and go right.
fn table(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let mut row = String::new();
        for (n, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let number = |cell: &String| cell.starts_with(|first: char| first.is_ascii_digit() || first == '-' || first == '<');
            let right = n > 0 && lines.iter().skip(1).filter_map(|line| line.get(n)).all(|cell| cell.is_empty() || number(cell));
            let pad = " ".repeat(width - cell.chars().count());
            let (before, after) = if right { (pad.as_str(), "") } else { ("", pad.as_str()) };
            row.push_str(&format!("{before}{cell}{after}  "));
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

/// Text on stdout. A reader that went away (`| head`) is no error.
fn print(text: &str) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(bandsaw::Error::Io { path: "standard output".into(), message: error.to_string() })
        }
        _ => Ok(()),
    }
}
