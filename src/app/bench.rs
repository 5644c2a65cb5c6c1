//! `bandsaw bench`: how fast this device is.

mod blocks;
mod cases;
mod window;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bandsaw::io::write_file;
use bandsaw::{Banded, Device, Error, Result, Semiring, banded_map, banded_matmul, banded_zip};

use super::matrix::writable;
use super::progress::Progress;
use super::{Family, print, table};
use cases::Case;

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  bandsaw bench\n  bandsaw bench window --quick\n  bandsaw bench --only matmul -o speeds.csv\n  \
    bandsaw --device cpu bench --quick\n\n\
    Shapes are batch · n · diagonals on each side. ms is the median of many runs on warm, changing\n\
    operands, by the GPU's own clock where it has one; a GPU works for a second before each, so\n\
    that its clocks are up. GB/s counts every operand and result once; % of copy compares that with\n\
    the device's own copy of a large matrix. A case \"… backward\" is the product and its gradients.")]
pub struct Args {
    /// Which matrices; all without it
    #[arg(value_enum)]
    family: Option<Family>,
    /// Small shapes, for software devices and the CPU
    #[arg(long)]
    quick: bool,
    /// Only operations whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Also write the table as CSV
    #[arg(short, long, value_name = "CSV")]
    output: Option<PathBuf>,
}

struct Line {
    operation: String,
    shape: String,
    seconds: f64,
    gigabytes: f64,
    of_copy: f64,
    gigaflops: f64,
}

pub fn run(args: &Args, device: &Device) -> Result<()> {
    args.output.as_deref().map_or(Ok(()), writable)?;
    let copy = cases::copy(device, args.quick);
    let mut cases = cases::all(args.quick, args.family)?;
    if let Some(text) = &args.only {
        let mut names: Vec<&str> = vec![copy.operation];
        for case in &cases {
            if !names.contains(&case.operation) {
                names.push(case.operation);
            }
        }
        if !names.iter().any(|name| name.contains(text.as_str())) {
            let got = format!("{text:?}, which no operation's name contains");
            return Err(Error::Argument {
                op: "bench",
                argument: "--only",
                got,
                allowed: format!("a part of one of {}", names.join("; ")),
            });
        }
        cases.retain(|case| case.operation.contains(text.as_str()));
    }
    print(&format!("device: {device}\n\n"))?;
    let progress = Progress::new(1 + cases.len());
    let mut measured = Vec::new();
    for case in std::iter::once(&copy).chain(&cases) {
        progress.step(&format!("{} {}", case.operation, case.shape));
        measured.push((case, median(device, case, args.quick)?));
    }
    let speed = measured[0].0.bytes / measured[0].1;
    let lines: Vec<Line> = measured
        .iter()
        .map(|(case, seconds)| Line {
            operation: case.operation.into(),
            shape: case.shape.clone(),
            seconds: *seconds,
            gigabytes: case.bytes / seconds / 1e9,
            of_copy: case.bytes / seconds / speed,
            gigaflops: case.flops / seconds / 1e9,
        })
        .collect();
    drop(progress);
    print(&table(&text(&lines)))?;
    let chain = chain(device, args.quick)?;
    print(&format!("\n{chain}\n"))?;
    if let Some(path) = &args.output {
        write(path, device, &lines, &chain)?;
        print(&format!("written to {}\n", path.display()))?;
    }
    Ok(())
}

fn write(path: &Path, device: &Device, lines: &[Line], chain: &Chain) -> Result<()> {
    let info = device.info();
    let start = format!("\"{}\",{}", info.name.replace('"', " "), info.backend);
    write_file(path, |file| {
        writeln!(file, "device,backend,operation,shape,ms,gb_s,share_of_copy,gflop_s")?;
        for Line { operation, shape, seconds, gigabytes, of_copy, gigaflops } in lines {
            let ms = seconds * 1e3;
            writeln!(file, "{start},\"{operation}\",\"{shape}\",{ms:.6},{gigabytes:.3},{of_copy:.4},{gigaflops:.3}")?;
        }
        for (seconds, how) in [(chain.wall, "with launch and wait"), (chain.device, "on the device")] {
            writeln!(file, "{start},\"one of a chain of {OPERATIONS}, {how}\",\"{CHAIN_SHAPE}\",{:.6},,,", seconds * 1e3)?;
        }
        Ok(())
    })
}

fn text(lines: &[Line]) -> Vec<Vec<String>> {
    let mut all = vec![["operation", "shape", "ms", "GB/s", "% of copy", "GFLOP/s"].map(str::to_owned).to_vec()];
    all.extend(lines.iter().map(|line| {
        let flops = if line.gigaflops > 0.0 { format!("{:.1}", line.gigaflops) } else { String::new() };
        let ms = format!("{:.4}", line.seconds * 1e3);
        vec![
            line.operation.clone(),
            line.shape.clone(),
            ms,
            format!("{:.1}", line.gigabytes),
            format!("{:.0}", line.of_copy * 100.0),
            flops,
        ]
    }));
    all
}

/// Runs until the device's clocks are up: a GPU that was idle needs about a second of work.
fn warm_up(device: &Device, quick: bool, run: impl Fn(usize) -> Result<()>) -> Result<()> {
    let real = !matches!(device.info().kind.as_str(), "software" | "cpu");
    let least = Duration::from_millis(if !real {
        0
    } else if quick {
        200
    } else {
        1000
    });
    run(0)?; // compiles the kernels
    device.sync()?;
    let start = Instant::now();
    while start.elapsed() < least {
        (0..8).try_for_each(&run)?;
        device.sync()?;
    }
    Ok(())
}

/// Seconds of one run: the median of several measurements of up to 20 runs each.
fn median(device: &Device, case: &Case, quick: bool) -> Result<f64> {
    let run = (case.setup)(device)?;
    warm_up(device, quick, &run)?;
    let start = Instant::now();
    run(1)?;
    device.sync()?;
    let once = start.elapsed();
    let repeats = (Duration::from_millis(200).as_secs_f64() / once.as_secs_f64().max(1e-6)).clamp(1.0, 20.0) as usize;
    let samples = if once > Duration::from_millis(100) { 3 } else { 9 };
    let mut times = Vec::new();
    for _ in 0..samples {
        let (_, time) = device.time(|| (0..repeats).try_for_each(&run))?;
        times.push(time.as_secs_f64() / repeats as f64);
    }
    Ok(middle(times))
}

fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2].max(1e-9)
}

/// How many operations the chain has, and on what.
const OPERATIONS: usize = 20;
const CHAIN_SHAPE: &str = "1 · 64 · 2";

/// What a small operation costs when it is one of a chain.
struct Chain {
    /// Seconds on the device.
    device: f64,
    /// Seconds with launch and wait.
    wall: f64,
    /// Submissions of the whole chain.
    submissions: f64,
}

impl std::fmt::Display for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (wall, device) = (self.wall * 1e6, self.device * 1e6);
        write!(f, "a chain of {OPERATIONS} small operations ({CHAIN_SHAPE}): {wall:.1} µs each with launch and wait, ")?;
        write!(f, "{device:.1} µs each on the device")?;
        match self.submissions {
            0.0 => Ok(()),
            1.0 => write!(f, ", 1 submission for the chain"),
            more => write!(f, ", {more} submissions for the chain"),
        }
    }
}

/// Twenty operations on small matrices, one after the other: what a launch costs.
fn chain(device: &Device, quick: bool) -> Result<Chain> {
    const RUNS: usize = 31;
    let heat = cases::banded(device, 4, 1024, 16)?;
    warm_up(device, quick, |_| banded_matmul(&heat, &heat, Semiring::Sum).map(drop))?;
    let a = cases::banded(device, 1, 64, 2)?;
    let (half, mean) = (bandsaw::a() * 0.5, (bandsaw::a() + bandsaw::b()) / 2.0);
    let run = || -> Result<Banded> { (0..OPERATIONS / 2).try_fold(a.clone(), |x, _| banded_zip(&banded_map(&x, &half)?, &a, &mean)) };
    run()?;
    device.sync()?;
    let (mut walls, mut times) = (Vec::new(), Vec::new());
    let before = device.submissions();
    for _ in 0..RUNS {
        let start = Instant::now();
        run()?;
        device.sync()?;
        walls.push(start.elapsed().as_secs_f64());
    }
    let submissions = (device.submissions() - before) as f64 / RUNS as f64;
    for _ in 0..RUNS {
        times.push(device.time(run)?.1.as_secs_f64());
    }
    let each = |times| middle(times) / OPERATIONS as f64;
    Ok(Chain { device: each(times), wall: each(walls), submissions })
}
