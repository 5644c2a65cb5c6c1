//! `bandsaw demo`: every operation on sample matrices, checked and drawn.

mod blocks;
mod cases;
mod oracle;
mod window;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bandsaw::{Device, Result};

use super::canvas::{Canvas, GREY};
use super::figure::{Figure, Style, View};
use super::progress::Progress;
use super::{Family, Matrix, print, table};
use cases::Case;
pub use cases::laplacian;

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  bandsaw demo\n  bandsaw demo window\n  bandsaw demo -o pictures\n  bandsaw --device cpu demo\n\n\
    Exits with 1 if any result is further from the f64 reference than its bound allows.")]
pub struct Args {
    /// Which matrices; all without it
    #[arg(value_enum)]
    family: Option<Family>,
    /// Folder for the pictures
    #[arg(short, long, value_name = "DIR", default_value = "out")]
    output: PathBuf,
}

impl Default for Args {
    fn default() -> Self {
        Self { family: None, output: "out".into() }
    }
}

/// Pixels of the longer side of a picture's view, and of one in the overview.
const LARGE: u32 = 640;
const SMALL: u32 = 200;

pub fn run(args: &Args, device: &Device) -> Result<ExitCode> {
    let note = if device.info().backend == "cpu" { " (no GPU found, or the CPU asked for)" } else { "" };
    print(&format!("device: {device}{note}\n\n"))?;
    let cases = cases::all(device, args.family)?;
    let progress = Progress::new(cases.len());
    let mut lines = vec![["operation", "result", "device time", "error / bound", ""].map(str::to_owned).to_vec()];
    let mut thumbnails = Vec::new();
    let mut wrong = 0;
    for (n, case) in cases.iter().enumerate() {
        progress.step(&case.title);
        // The first run compiles the kernels.
        let result = (case.run)()?;
        device.sync()?;
        let (_, time) = device.time(|| (case.run)())?;
        let error = (case.want)().error(&result)?;
        // Written so that NaN is wrong.
        let fine = error <= 1.0;
        wrong += usize::from(!fine);
        let time = if case.free { "none".into() } else { format!("{:.3} ms", time.as_secs_f64() * 1e3) };
        lines.push(vec![case.title.clone(), band(&result), time, format!("{error:.2}"), if fine { "ok" } else { "WRONG" }.into()]);
        thumbnails.push(draw(case, n + 1, &result, &args.output)?);
    }
    drop(progress);
    let overview = args.output.join("overview.png");
    sheet(&format!("bandsaw demo on {device}"), &thumbnails).save(&overview)?;
    print(&table(&lines))?;
    print(&format!("\n{} pictures in {}, all on one sheet in {}\n", cases.len(), args.output.display(), overview.display()))?;
    if wrong > 0 {
        eprintln!("error: {wrong} of {} results are beyond their bound", cases.len());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn band(result: &Matrix) -> String {
    match result {
        Matrix::Banded(banded) => banded.shape().band.to_string(),
        Matrix::Blocks(blocks) => format!("{} blocks", blocks.pattern().len()),
        Matrix::Dense(dense) => format!("dense {} × {}", dense.shape().rows, dense.shape().cols),
    }
}

/// Writes one case's picture; its thumbnail comes back.
fn draw(case: &Case, number: usize, result: &Matrix, folder: &Path) -> Result<Figure> {
    let values = result.read()?;
    let style = Style { view: View::Both, pixels: LARGE, colors: None, wide: case.wide };
    let path = folder.join(format!("{number:02}-{}.png", case.file));
    Figure::new(&case.title, result, &values, 0, style).draw().save(&path)?;
    Ok(Figure::new(&case.title, result, &values, 0, Style { pixels: SMALL, ..style }))
}

/// All thumbnails in rows of four under a title.
fn sheet(title: &str, figures: &[Figure]) -> Canvas {
    const EDGE: u32 = 32;
    const COLUMNS: usize = 4;
    let sizes: Vec<[u32; 2]> = figures.iter().map(Figure::thumbnail_size).collect();
    let width = |column: usize| sizes.iter().skip(column).step_by(COLUMNS).map(|size| size[0]).max().unwrap_or(0);
    let widths: Vec<u32> = (0..COLUMNS).map(width).collect();
    let heights: Vec<u32> = sizes.chunks(COLUMNS).map(|row| row.iter().map(|size| size[1]).max().unwrap_or(0)).collect();
    let top = EDGE + 24 + EDGE;
    let total = |sides: &[u32]| sides.iter().map(|side| side + EDGE).sum::<u32>();
    let mut canvas = Canvas::new(total(&widths) + EDGE, top + total(&heights));
    canvas.text(EDGE, EDGE, 3, GREY, title);
    let mut y = top;
    for (row, height) in figures.chunks(COLUMNS).zip(&heights) {
        let mut x = EDGE;
        for (figure, width) in row.iter().zip(&widths) {
            figure.thumbnail(&mut canvas, x, y);
            x += width + EDGE;
        }
        y += height + EDGE;
    }
    canvas
}
