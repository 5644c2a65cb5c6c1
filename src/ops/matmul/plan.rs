//! Which kernel runs a product, and how it is cut into workgroups.

use super::{LOG, MAX, PRODMAX, SUM, cropped, fours, narrow, warpgroups};
use crate::kernel::{Kernel, for_dtype};
use crate::operand::Operand;
use crate::{Dtype, Layout, Semiring};

/// What `override` constants are called, or parts of an entry's name, and their values.
pub(super) type Constants = Vec<(&'static str, f64)>;

/// The kernel, with the constants of `shaders/matmul.wgsl` or the entries of `shaders/matmul.*.cu`.
pub(super) struct Plan {
    /// Workgroups for one matrix.
    pub tiles: u32,
    pub kernel: &'static Kernel,
    pub constants: Constants,
    /// Whether the kernel is given the scales of `Log`, rather than finding them itself.
    pub takes_scales: bool,
}

/// Rows of a workgroup, and columns that its invocations stand side by side.
const ROWS: usize = 64;
const LANES: usize = 16;
/// Times 16 columns that a parallelogram's last rows begin after its first.
const SKEW: usize = ROWS / LANES - 1;
/// So many windows side by side have unequal shares of the work.
const MANY: usize = 6;
/// Columns that an invocation may have. Each is a kernel to compile, so they are few.
const COLUMNS: [usize; 5] = [9, 6, 4, 3, 2];

/// `IN_FOURS` of the kernels that take it: the bits of an index of a four, where bands have so few values that it has 27.
pub(super) fn bits_in_fours(bands: [&Operand; 2]) -> Option<(&'static str, f64)> {
    let few = bands.iter().all(|band| band.batch * band.len() <= 1 << 29);
    few.then_some(("IN_FOURS", f64::from((1 << 27) - 1)))
}

impl Plan {
    pub fn new(a: &Operand, b: &Operand, c: &Operand, ring: Semiring) -> Self {
        let device = a.device();
        let kernels = match ring {
            Semiring::Sum => &SUM,
            Semiring::Log | Semiring::Sample { .. } => &LOG,
            Semiring::Max => &MAX,
            Semiring::ProdMax => &PRODMAX,
        };
        let kernel = for_dtype(kernels, a.dtype);
        let scales = matches!(ring, Semiring::Log | Semiring::Sample { .. }) && !device.is_cpu();
        if device.is_cuda() {
            if matches!(ring, Semiring::Sum)
                && let Some((tiles, constants)) = warpgroups::plan(a, b, c)
            {
                return Self { tiles, kernel, constants, takes_scales: false };
            }
            let (tiles, constants, finds_scales) = Self::cuda(a, b, c, ring);
            return Self { tiles, kernel, constants, takes_scales: scales && !finds_scales };
        }
        // Operands of these are read four values at a time.
        let by_four = |operand: &&Operand| operand.dtype == Dtype::F32 && operand.len().is_multiple_of(4);
        if !device.is_cpu()
            && is_whole(a, b, c)
            && [a, b].iter().all(by_four)
            && let Some(plan) = fours::plan(a, b, c, ring).or_else(|| narrow::plan(a, b, c, ring))
        {
            return plan;
        }
        let (tiles, constants) = Self::windows(a, b, c);
        Self { tiles, kernel, constants, takes_scales: scales }
    }

    /// Through wgpu: windows of C that slide or stand still.
    fn windows(a: &Operand, b: &Operand, c: &Operand) -> (u32, Constants) {
        // A sliding window has to hold a row of B wherever it stands within 16 columns.
        let reach = (b.lower + b.upper) as usize + LANES;
        let slide = is_whole(a, b, c) && reach <= COLUMNS[0] * LANES;
        let row_tiles = c.rows.div_ceil(ROWS);
        let (columns, skew, tiles) = if slide {
            (COLUMNS.into_iter().rfind(|columns| reach <= columns * LANES).unwrap_or(COLUMNS[0]), 0, row_tiles)
        } else {
            // The rows of a workgroup see C's band shifted by up to 63, those of a part of a parallelogram by up to 15. As
            // many columns to an invocation as leave the least idle; reading A costs about as much as one of them,
            // staging one of B an eighth.
            let beyond = |skew| if skew > 0 { LANES } else { ROWS };
            let wide = |skew| if c.dense { c.cols } else { (c.lower + c.upper) as usize + beyond(skew) };
            let tiles = |(columns, skew): (usize, usize)| wide(skew).div_ceil(LANES * columns);
            let skews = if c.dense { &[0][..] } else { &[0, SKEW] };
            let plans = skews.iter().flat_map(|skew| COLUMNS.map(|columns| (columns, *skew)));
            let (columns, skew) = plans.min_by_key(|plan| (8 * plan.0 + 8 + plan.1) * tiles(*plan)).unwrap_or((COLUMNS[0], 0));
            (columns, skew, row_tiles * tiles((columns, skew)))
        };
        let mut constants = constants(columns, slide);
        constants.extend((skew > 0).then_some(("SKEW", skew as f64)));
        // Windows at the band's ends have next to nothing to sum, so they come last, where there are enough to fill gaps.
        constants.extend((!c.dense && tiles >= MANY * row_tiles).then_some(("MIDDLE", 1.0)));
        (tiles as u32, constants)
    }

    /// On CUDA a block multiplies 128 rows at once where both bands are narrow, and finds `Log`'s scales itself, as the last of
    /// these says. A product onto a narrow band that does not hold all of it has a kernel of the same kind. Else strips of 8 rows slide, 16 to a block, as far as a row of B is no wider than their window; tiles of 64
    /// rows and 16 columns for each of a thread's stand still.
    fn cuda(a: &Operand, b: &Operand, c: &Operand, ring: Semiring) -> (u32, Constants, bool) {
        let whole = is_whole(a, b, c);
        // A row of C that is an even number of values long would have a warp's threads meet in the same banks.
        let narrow = [5, 9].into_iter().find(|columns| whole && a.stride().max(b.stride()) < columns * 4 - 3 && c.stride() % 2 == 0);
        if let Some(columns) = narrow {
            let slide = if is_full(a, b, c, columns, ring) { 4.0 } else { 2.0 };
            return (c.rows.div_ceil(128) as u32, vec![("COLUMNS", f64::from(columns)), ("SLIDE", slide)], true);
        }
        if let Some(constants) = cropped::constants(a, b, c, ring) {
            return (cropped::tiles(c), constants, true);
        }
        let reach = (b.lower + b.upper) as usize + 8;
        let slide = [3, 5, 9, 17].into_iter().find(|columns| whole && reach <= columns * 8);
        let (columns, tiles) = match slide {
            Some(columns) => (columns, c.rows.div_ceil(128)),
            None => {
                let wide = if c.dense { c.cols } else { (c.lower + c.upper) as usize + ROWS };
                let tiles = |columns: usize| wide.div_ceil(LANES * columns);
                let columns = if 6 * tiles(4) < 10 * tiles(8) { 4 } else { 8 };
                (columns, c.rows.div_ceil(ROWS) * tiles(columns))
            }
        };
        (tiles as u32, constants(columns, slide.is_some()), false)
    }
}

fn constants(columns: usize, slide: bool) -> Constants {
    vec![("COLUMNS", columns as f64), ("SLIDE", f64::from(u8::from(slide)))]
}

/// Whether CUDA has a kernel with constant offsets for two narrow bands: both as wide as these columns allow, in rows layout.
/// That of `Log` for 17 diagonals moves four values at a time alone.
fn is_full(a: &Operand, b: &Operand, c: &Operand, columns: i32, ring: Semiring) -> bool {
    let full = |band: &Operand| band.stride() == columns * 4 - 4 && band.layout == Layout::Rows;
    let by_fours = columns == 5 && matches!(ring, Semiring::Log | Semiring::Sample { .. });
    let fours = |band: &Operand| band.rows.is_multiple_of(4) && band.buffer.offset.is_multiple_of(16);
    full(a) && full(b) && (!by_fours || [a, b, c].into_iter().all(fours))
}

/// Whether C is a band that holds the whole product of two bands.
pub(super) fn is_whole(a: &Operand, b: &Operand, c: &Operand) -> bool {
    !(a.dense || b.dense || c.dense) && c.lower == a.lower + b.lower && c.upper == a.upper + b.upper
}
