//! A layer with block-sparse weights, and learning which blocks it has.

use crate::blocks::Random;
use crate::operand::reserve;
use crate::ops::block_add::select;
use crate::ops::{block_linear, block_linear_backward, block_norms};
use crate::{Activation, BlockPattern, BlockSparse, Dense, DenseShape, Device, Error, LinearGradients, Result};

/// A layer Y = act(X · Wᵀ + bias) whose weights are block-sparse.
///
/// It holds no gradient and no state: `backward` takes what `forward` was given and gave.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let pattern = BlockPattern::random([128, 64], [16, 16], 16, 1)?; // 64 inputs, 128 outputs, half of the blocks
/// let layer = BlockSparseLinear::new(&device, &pattern, Activation::Relu, 7)?;
/// let x = Dense::from_fn(&device, DenseShape::new(10, 64), |_, t, k| ((t + k) as f32).sin())?;
/// let y = layer.forward(&x)?;
/// let g = Dense::from_fn(&device, y.shape(), |_, _, _| 1.0)?; // the gradient of the sum of y
/// let gradients = layer.backward(&x, &y, &g)?;
/// assert_eq!(gradients.w.pattern(), &pattern);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BlockSparseLinear {
    /// Outputs × inputs.
    pub weight: BlockSparse,
    /// 1 × outputs.
    pub bias: Option<Dense>,
    /// What is done to the sums.
    pub activation: Activation,
}

impl BlockSparseLinear {
    /// Fresh weights on the given blocks, bias 0. The weights are uniform in ±√(3 · gain / inputs), where
    /// inputs are those that an output's stored blocks reach and gain is 1, or 2 with an activation, so
    /// that sums keep the size of the inputs whatever the density (He et al., 2015). The same for a seed
    /// on every device.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] or [`Error::Limit`].
    pub fn new(device: &Device, pattern: &BlockPattern, activation: Activation, seed: u64) -> Result<Self> {
        let ([r, c], cols) = (pattern.block(), pattern.cols());
        let mut inputs = vec![0; pattern.grid()[0]];
        pattern.blocks().for_each(|[row, col]| inputs[row] += c.min(cols - col * c));
        let gain = if activation == Activation::None { 1.0 } else { 2.0 };
        let mut random = Random::new(seed);
        let weight = BlockSparse::from_fn(device, pattern, |i, _| (3.0 * gain / inputs[i / r] as f32).sqrt() * random.signed())?;
        let bias = Dense::from_fn(device, DenseShape::new(1, pattern.rows()), |_, _, _| 0.0)?;
        Ok(Self { weight, bias: Some(bias), activation })
    }

    /// The given blocks of dense weights (outputs × inputs), and a bias.
    ///
    /// ```
    /// # use bandsaw::*;
    /// let weight = Dense::from_fn(&Device::cpu(), DenseShape::new(4, 4), |_, i, j| (i + j) as f32)?;
    /// let layer = BlockSparseLinear::from_dense(&weight, None, &BlockPattern::block_diagonal([4, 4], [2, 2])?, Activation::None)?;
    /// assert_eq!(layer.weight.get(3, 2)?, 5.0);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`block_from_dense`](crate::block_from_dense).
    pub fn from_dense(weight: &Dense, bias: Option<&Dense>, pattern: &BlockPattern, activation: Activation) -> Result<Self> {
        Ok(Self { weight: crate::block_from_dense(weight, pattern)?, bias: bias.cloned(), activation })
    }

    /// act(X · Wᵀ + bias).
    ///
    /// # Errors
    /// As [`block_linear`](crate::block_linear).
    pub fn forward(&self, x: &Dense) -> Result<Dense> {
        block_linear(x, &self.weight, self.bias.as_ref(), self.activation)
    }

    /// The gradients from forward's input and result and the gradient of that.
    ///
    /// # Errors
    /// As [`block_linear_backward`](crate::block_linear_backward).
    pub fn backward(&self, x: &Dense, y: &Dense, g: &Dense) -> Result<LinearGradients> {
        block_linear_backward(x, &self.weight, self.bias.as_ref(), self.activation, y, g)
    }
}

/// Which blocks go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DropBy {
    /// Those with the smallest weights, by 2-norm.
    #[default]
    Weight,
    /// Those with the smallest gradients, by 2-norm.
    Gradient,
}

/// Which blocks come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GrowBy {
    /// Any, drawn by the seed.
    #[default]
    Random,
    /// Those with the largest gradients, by 2-norm.
    Gradient,
}

/// One step of learning which blocks a matrix has: some go, as many come elsewhere, with values 0.
///
/// Nothing depends on the device or on chance but the seed. From Mocanu et al.: Scalable training of
/// artificial neural networks with adaptive sparse connectivity, 2018 (random), and Evci et al.: Rigging
/// the lottery, 2020 (by gradient).
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let pattern = BlockPattern::random([64, 64], [8, 8], 32, 1)?;
/// let w = BlockSparse::from_fn(&device, &pattern, |i, j| (i * j) as f32)?;
/// let update = PatternUpdate { fraction: 0.25, seed: 3, ..PatternUpdate::default() };
/// let PatternChange { weight, slots } = update.apply(&w, None)?;
/// assert_eq!((weight.pattern().len(), slots.len()), (32, 8)); // reset the optimiser's moments of these 8
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PatternUpdate {
    /// How many of the stored blocks go, 0 to 1; fewer where there is no room elsewhere.
    pub fraction: f64,
    /// Which ones.
    pub drop: DropBy,
    /// What comes instead.
    pub grow: GrowBy,
    /// For random growth.
    pub seed: u64,
}

/// What a [`PatternUpdate`] did.
#[derive(Debug, Clone)]
pub struct PatternChange {
    /// The weights on their new blocks; slots that stayed keep their values.
    pub weight: BlockSparse,
    /// The slots that moved, rising. Their values are 0, and what an optimiser knows of them is void.
    pub slots: Vec<usize>,
}

impl PatternUpdate {
    /// Drops and grows. The gradient is needed where something goes by it: at the weights' own blocks
    /// to drop, and at all blocks that may come to grow, which
    /// [`block_sddmm`](crate::block_sddmm) gives on [`BlockPattern::full`].
    ///
    /// # Errors
    /// [`Error::Argument`] if the fraction is outside 0 to 1, or the gradient is missing or lacks blocks;
    /// the errors of [`block_norms`](crate::block_norms).
    pub fn apply(&self, w: &BlockSparse, gradient: Option<&BlockSparse>) -> Result<PatternChange> {
        const OP: &str = "PatternUpdate::apply";
        if !(0.0..=1.0).contains(&self.fraction) {
            return Err(Error::argument(OP, "fraction", self.fraction.to_string(), "0 to 1"));
        }
        let pattern = w.pattern();
        let [rows, cols] = pattern.grid();
        let mut free: Vec<[usize; 2]> = Vec::new();
        reserve(&mut free, rows * cols - pattern.len())?;
        free.extend((0..rows * cols).map(|n| [n / cols, n % cols]).filter(|[row, col]| pattern.slot(*row, *col).is_none()));
        let count = ((self.fraction * pattern.len() as f64).round() as usize).min(free.len());

        let by_gradient = self.drop == DropBy::Gradient || self.grow == GrowBy::Gradient;
        let gradients = match gradient {
            Some(gradient) if by_gradient => Some(Norms::new(OP, gradient, pattern)?),
            None if by_gradient => return Err(Error::argument(OP, "gradient", "nothing", "the gradient that blocks go or come by")),
            _ => None,
        };
        let norm = |block: &[usize; 2]| match &gradients {
            Some(gradients) => gradients.get(OP, *block),
            None => Ok(0.0),
        };

        // The smallest slots, then free places.
        let norms = match self.drop {
            DropBy::Weight => block_norms(w, 2.0)?,
            DropBy::Gradient => pattern.blocks().map(|block| norm(&block)).collect::<Result<_>>()?,
        };
        let blocks: Vec<_> = pattern.blocks().collect();
        let mut slots: Vec<usize> = (0..blocks.len()).collect();
        slots.sort_by(|x, y| norms[*x].total_cmp(&norms[*y]).then(blocks[*x].cmp(&blocks[*y])));
        slots.truncate(count);
        slots.sort_unstable();
        let mut places: Vec<[usize; 2]> = match self.grow {
            GrowBy::Random => Random::new(self.seed).choose(count, free.len()).into_iter().map(|n| free[n]).collect(),
            GrowBy::Gradient => {
                let mut sized = free.iter().map(|block| Ok((norm(block)?, *block))).collect::<Result<Vec<_>>>()?;
                sized.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)));
                sized.into_iter().take(count).map(|(_, block)| block).collect()
            }
        };
        places.sort_unstable();
        let moves: Vec<_> = places.iter().zip(&slots).map(|([row, col], slot)| [*row, *col, *slot]).collect();
        Ok(PatternChange { weight: select(w, &pattern.replace(&moves)?)?, slots })
    }
}

/// The norms of a gradient's blocks.
struct Norms<'a> {
    pattern: &'a BlockPattern,
    norms: Vec<f32>,
}

impl<'a> Norms<'a> {
    fn new(op: &'static str, gradient: &'a BlockSparse, like: &BlockPattern) -> Result<Self> {
        let sizes = |pattern: &BlockPattern| ([pattern.rows(), pattern.cols()], pattern.block());
        if sizes(gradient.pattern()) != sizes(like) {
            return Err(Error::argument(op, "gradient", gradient.pattern().to_string(), format!("size and block shape of {like}")));
        }
        Ok(Self { pattern: gradient.pattern(), norms: block_norms(gradient, 2.0)? })
    }

    fn get(&self, op: &'static str, [row, col]: [usize; 2]) -> Result<f32> {
        let missing = || Error::argument(op, "gradient", format!("no block ({row}, {col})"), "every block that may go or come");
        self.pattern.slot(row, col).map(|slot| self.norms[slot]).ok_or_else(missing)
    }
}
