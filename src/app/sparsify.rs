//! `bandsaw sparsify`: block-sparse weights into a real checkpoint.

use std::path::PathBuf;

use bandsaw::io::{Checkpoint, Tensor};
use bandsaw::{BlockPattern, Error, Result};

use super::progress::Progress;
use super::{print, table};

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    bandsaw sparsify a.safetensors --match 'mlp.*weight$' --density 0.5 --block 32x32 -o b.safetensors\n  \
    bandsaw sparsify a.safetensors --match . --density 0.1 --block 16x16 --by random -o b.safetensors\n\n\
    Every matched 2-D weight becomes three tensors, NAME.block_values, NAME.block_indices and\n\
    NAME.block_shape; all others are copied. Kept values are not changed. `bandsaw info` shows the\n\
    result, and bandsaw::io::Checkpoint loads it.")]
pub struct Args {
    /// The checkpoint: .safetensors with f32, f16 or bf16 weights
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Which tensors: a regular expression that matches anywhere in their names
    #[arg(long = "match", value_name = "REGEX")]
    matching: String,
    /// The part of the blocks to keep, 0 to 1
    #[arg(long)]
    density: f64,
    /// Rows and columns of a block, 1 to 128 each
    #[arg(long, value_name = "ROWSxCOLS", value_parser = block)]
    block: [usize; 2],
    /// Which blocks to keep
    #[arg(long, value_enum, default_value = "magnitude")]
    by: By,
    /// For random blocks
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to write; must not exist
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum By {
    /// Those with the largest 2-norm
    Magnitude,
    /// Any
    Random,
}

fn block(text: &str) -> std::result::Result<[usize; 2], String> {
    let sides = text.split_once('x').and_then(|(r, c)| Some([r.parse().ok()?, c.parse().ok()?]));
    sides.ok_or_else(|| "must be like 32x32".into())
}

pub fn run(args: &Args) -> Result<()> {
    if !(0.0..=1.0).contains(&args.density) {
        return Err(argument("--density", args.density.to_string(), "0 to 1"));
    }
    let regex = regex::Regex::new(&args.matching).map_err(|error| {
        let reason = error.to_string();
        argument(
            "--match",
            format!("{:?}", args.matching),
            &format!("a regular expression ({})", reason.lines().last().unwrap_or("").trim()),
        )
    })?;
    if args.output.exists() {
        return Err(Error::Io { path: args.output.display().to_string(), message: "exists already".into() });
    }
    let checkpoint = Checkpoint::open(&args.file)?;
    let tensors = checkpoint.tensors()?;
    let chosen: Vec<&Tensor> = tensors.iter().filter(|tensor| regex.is_match(&tensor.name)).collect();
    check(args, &tensors, &chosen)?;

    let mut lines = vec![["tensor", "type", "matrix", "blocks", "parameters", "kept", "energy kept"].map(str::to_owned).to_vec()];
    let mut replaced = Vec::new();
    let progress = Progress::new(chosen.len() + tensors.len() + 2 * chosen.len());
    let (mut all, mut kept_energy, mut kept) = (0.0, 0.0, 0);
    for (n, tensor) in chosen.iter().enumerate() {
        progress.step(&tensor.name);
        let energies = checkpoint.block_energies(&tensor.name, args.block)?;
        let pattern = choose(args, tensor, &energies, n as u64)?;
        let [_, cols] = pattern.grid();
        // A sum would be -0 of no blocks.
        let energy = pattern.blocks().fold(0.0, |sum, [row, col]| sum + energies[row * cols + col]);
        let total: f64 = energies.iter().sum();
        let stored = pattern.len() * args.block[0] * args.block[1];
        lines.push(vec![
            tensor.name.clone(),
            tensor.dtype.clone(),
            format!("{} × {}", tensor.shape[0], tensor.shape[1]),
            format!("{} of {}", pattern.len(), energies.len()),
            tensor.stored.to_string(),
            stored.to_string(),
            share(energy, total),
        ]);
        (all, kept_energy, kept) = (all + total, kept_energy + energy, kept + stored);
        replaced.push((tensor.name.clone(), pattern));
    }
    checkpoint.write_block_sparse(&args.output, &replaced, |name| progress.step(name))?;
    drop(progress);
    print(&table(&lines))?;
    let before: usize = tensors.iter().map(|tensor| tensor.stored).sum();
    let after = before - chosen.iter().map(|tensor| tensor.stored).sum::<usize>() + kept;
    print(&format!("\nparameters: {before} before, {after} after ({})\n", share(after as f64, before as f64)))?;
    print(&format!("energy kept in what was matched: {}\n", share(kept_energy, all)))?;
    print(&format!("written to {}\n", args.output.display()))?;
    Ok(())
}

fn argument(argument: &'static str, got: String, allowed: &str) -> Error {
    Error::Argument { op: "sparsify", argument, got, allowed: allowed.into() }
}

fn share(part: f64, of: f64) -> String {
    if of > 0.0 { format!("{:.1}%", 100.0 * part / of) } else { "none".into() }
}

/// Whether every chosen tensor can be made block-sparse.
fn check(args: &Args, tensors: &[Tensor], chosen: &[&Tensor]) -> Result<()> {
    let list = |tensors: &mut dyn Iterator<Item = &Tensor>| {
        let names: Vec<_> = tensors.map(|tensor| tensor.name.as_str()).collect();
        let more = if names.len() > 6 { format!(" and {} more", names.len() - 6) } else { String::new() };
        format!("{}{more}", names[..names.len().min(6)].join(", "))
    };
    if chosen.is_empty() {
        let flat = list(&mut tensors.iter().filter(|tensor| tensor.shape.len() == 2 && tensor.pattern.is_none()));
        let allowed = if flat.is_empty() { "a name; the file has no 2-D tensor".into() } else { format!("one that matches any of {flat}") };
        return Err(argument("--match", format!("{:?}, which nothing matches", args.matching), &allowed));
    }
    let refuse = |tensor: &Tensor, what: String| {
        Err(argument("--match", format!("{:?}, which matches {} {what}", args.matching, tensor.name), "2-D F32, F16 or BF16 tensors only"))
    };
    for tensor in chosen {
        if tensor.pattern.is_some() {
            return refuse(tensor, "that is block-sparse already".into());
        }
        if tensor.shape.len() != 2 || tensor.shape.contains(&0) {
            return refuse(tensor, format!("of shape {:?}", tensor.shape));
        }
        if !["F32", "F16", "BF16"].contains(&tensor.dtype.as_str()) {
            return refuse(tensor, format!("of type {}", tensor.dtype));
        }
    }
    Ok(())
}

/// The blocks of one tensor to keep.
fn choose(args: &Args, tensor: &Tensor, energies: &[f64], n: u64) -> Result<BlockPattern> {
    let shape = [tensor.shape[0], tensor.shape[1]];
    let count = (args.density * energies.len() as f64).round() as usize;
    match args.by {
        By::Random => BlockPattern::random(shape, args.block, count, args.seed.wrapping_add(n)),
        By::Magnitude => {
            let mut order: Vec<usize> = (0..energies.len()).collect();
            order.sort_by(|x, y| energies[*y].total_cmp(&energies[*x]).then(x.cmp(y)));
            let mut mask = vec![false; energies.len()];
            order.into_iter().take(count).for_each(|n| mask[n] = true);
            BlockPattern::from_mask(shape, args.block, &mask)
        }
    }
}
