//! Products of f16 tokens and f16 blocks on matrix units, on CUDA of bf16 too. Sums are f32, by the matrix unit's own order
//! and rounding: within 4 times the bound of a sum in f32.

use super::{Epilogue, Plan, SCALAR, SHARED, launch, turned};
use crate::kernel::{Kernel, ptx};
use crate::operand::Operand;
use crate::ops::common::{Output, on_matrix_units, parts};
use crate::ops::tokens::Tokens;
use crate::{BlockSparse, Dense, DenseShape, Dtype, Layout, Result};

pub(crate) static KERNEL: Kernel = Kernel {
    name: "block_matmul.cooperative",
    wgsl: &[include_str!("../../../shaders/block_matmul.cooperative.wgsl"), SHARED[0], SHARED[1], SHARED[2]],
    ptx: ptx!("block_matmul.cooperative.sm_80", "block_matmul.cooperative.sm_90a"),
    ..SCALAR
};

/// Whether these are halves and whole blocks of pieces that the kernel takes, contiguous along features.
pub(crate) fn suits(x: &Operand, v: &BlockSparse, layout: Layout) -> bool {
    let [depth, width] = v.pattern().block();
    let along = x.layout == Layout::Rows && layout == Layout::Rows;
    let pieces = depth.is_multiple_of(16) && width.is_multiple_of(32);
    let whole = v.pattern().rows().is_multiple_of(depth) && v.pattern().cols().is_multiple_of(width);
    on_matrix_units(x.device(), &[x.dtype, v.dtype()]) && along && pieces && whole && x.rows >= 64 && !v.is_empty()
}

pub(crate) fn run(op: &'static str, x: &Operand, v: &BlockSparse, epilogue: Epilogue<'_>) -> Result<Dense> {
    let outputs = v.pattern().cols();
    let (output, shape) = Output::stored(op, x.device(), DenseShape::new(x.rows, outputs).batch(x.batch).dtype(x.dtype))?;
    crate::ops::common::check_binding(op, "the block values' size in bytes", v.buffer())?;
    let v = &turned::for_tokens(x, v)?;
    for part in parts(op, &[x, &output.operand])? {
        let (x, y) = (Tokens::new(&x.slice(part.clone())), Tokens::new(&output.operand.slice(part)));
        let plan = if let Some(processors) = v.device().processors() { cuda_plan(&x, v, processors) } else { plan(&x, v) };
        launch(&x, &y, v, epilogue, plan)?;
    }
    Ok(Dense::from_buffer(shape, output.finish()?))
}

fn plan(x: &Tokens, v: &BlockSparse) -> Plan {
    let [depth, width] = v.pattern().block();
    // Tokens and outputs of a tile, and terms of a stage: 64 × 32 sums for each of four subgroups, 32 × 32 where workgroup
    // memory would hold fewer tiles otherwise.
    let [tokens, outputs, stage] = match (width.is_multiple_of(64), depth.is_multiple_of(32)) {
        (true, true) => [128, 64, 32],
        (true, false) => [128, 64, 16],
        (false, true) => [128, 32, 32],
        (false, false) => [256, 32, 16],
    };
    Plan {
        kernel: &KERNEL,
        token_tiles: x.tokens.div_ceil(tokens),
        output_tiles: v.pattern().cols() as u32 / outputs,
        most_tiles: u64::MAX,
        groups_each: 1,
        constants: [("TOKENS", tokens), ("OUTPUTS", outputs), ("DEPTH", stage)].map(|(name, n)| (name, f64::from(n))).to_vec(),
    }
}

/// 128 tokens × up to 256 outputs, in slices of blocks, fewer where there would not be a tile for each
/// multiprocessor. A block of threads on each goes from tile to tile. Where two can bring V into each other's memory, and
/// that takes no longer by the number of tiles, a pair has 256 tokens. (With slices of 64 pairs are slower than single ones.)
fn cuda_plan(x: &Tokens, v: &BlockSparse, processors: u32) -> Plan {
    let [depth, width] = v.pattern().block();
    let slice = [128, 64].into_iter().find(|slice| width.is_multiple_of(*slice)).unwrap_or(32);
    let slices = (v.pattern().cols() / slice) as u32;
    // Tiles of so many blocks of threads each, and how many slices one block after another has.
    let tiles = |blocks: u32| {
        let (token_tiles, at_once) = (x.tokens.div_ceil(128 * blocks), processors / blocks);
        let wanted = at_once.div_ceil(x.batch * token_tiles).min(slices);
        let output_tiles = slices.div_ceil(256 / slice as u32).max(wanted);
        let rounds = (x.batch * token_tiles * output_tiles).div_ceil(at_once);
        (token_tiles, output_tiles, rounds * slices.div_ceil(output_tiles))
    };
    let pairs = v.device().has_tensor_maps() && v.dtype() == Dtype::F16 && slice == 128 && depth.is_multiple_of(64);
    let blocks = if pairs && processors >= 2 && x.tokens > 128 && tiles(2).2 <= tiles(1).2 { 2 } else { 1 };
    let (token_tiles, output_tiles, _) = tiles(blocks);
    let mut constants = vec![
        ("SLICE", slice as f64),
        ("ALONG", f64::from(u8::from(v.layout() == Layout::Columns))),
        ("BRAIN", f64::from(u8::from(v.dtype() == Dtype::Bf16))),
    ];
    if blocks > 1 {
        constants.push(("BLOCKS", f64::from(blocks)));
    }
    let (most_tiles, groups_each) = (u64::from(processors / blocks), u64::from(blocks));
    Plan { kernel: &KERNEL, token_tiles, output_tiles, most_tiles, groups_each, constants }
}
