//! `bandsaw render`.

use std::path::PathBuf;

use bandsaw::{Device, Error, Result};

use super::figure::{Figure, Style, View};
use super::matrix::{readable, writable};
use super::progress::Progress;
use super::{Files, Matrix, colors};

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    bandsaw render assets/lund_a.mtx -o lund.png --wide\n  \
    bandsaw render a.npy --stored 1,2 --layout columns --view band\n  \
    bandsaw render weights.npy --view dense --colors red-blue --index 3\n\n\
    Of a matrix whose band would take several times as many values there is the dense view alone.\n\
    Data of both signs takes a diverging scale about 0, blue below it and red above (red-blue the other way round),\n\
    other data viridis. Where a picture has fewer cells than the matrix entries, as \"1 : 4\" says, each shows the\n\
    largest of its entries, without regard to sign.\n\
    Slots of band storage outside the matrix are hatched; NaN and infinities are marked.")]
pub struct Args {
    /// A .mtx or .npy file
    file: PathBuf,
    /// The picture [default: the file's name with .png]
    #[arg(short, long, value_name = "PNG")]
    output: Option<PathBuf>,
    /// What to show
    #[arg(long, value_enum, default_value = "both")]
    view: View,
    /// Colour scale: viridis, red-blue, greys, … (a wrong name lists them)
    #[arg(long, value_name = "NAME")]
    colors: Option<String>,
    /// Keep values visible that are far smaller than the largest
    #[arg(long)]
    wide: bool,
    /// Which matrix of a batch
    #[arg(long, default_value_t = 0)]
    index: usize,
    /// Pixels of a view's longer side
    #[arg(long, default_value_t = 640, value_parser = clap::value_parser!(u32).range(64..=8192))]
    pixels: u32,
    /// [default: the file's name]
    #[arg(long)]
    title: Option<String>,
    #[command(flatten)]
    files: Files,
}

pub fn run(args: &Args) -> Result<()> {
    readable(std::slice::from_ref(&args.file))?;
    let output = args.output.clone().unwrap_or_else(|| args.file.with_extension("png"));
    if output.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("png")) {
        return Err(Error::Io { path: output.display().to_string(), message: "unknown kind of picture, must end in .png".into() });
    }
    let colors = args.colors.as_deref().map(colors::gradient).transpose()?;
    writable(&output)?;
    let progress = Progress::new(3);
    progress.step("reading");
    // Nothing to compute: a GPU would only be in the way.
    let cpu = Device::cpu();
    let matrix = match args.view {
        View::Band => Matrix::Banded(args.files.banded(&cpu, &args.file)?),
        View::Dense | View::Both => args.files.either(&cpu, &args.file)?,
    };
    if args.index >= matrix.batch() {
        return Err(Error::Argument {
            op: "render",
            argument: "--index",
            got: args.index.to_string(),
            allowed: format!("less than the batch, {}", matrix.batch()),
        });
    }
    let name = || args.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let title = args.title.clone().unwrap_or_else(name);
    let style = Style { view: args.view, pixels: args.pixels, colors, wide: args.wide };
    progress.step("drawing");
    let canvas = Figure::new(&title, &matrix, &matrix.read()?, args.index, style).draw();
    progress.step("writing");
    canvas.save(&output)?;
    drop(progress);
    super::print(&format!("{}: {}\n", output.display(), matrix.describe()))?;
    Ok(())
}
