//! Steps exported from `bandsaw view`.

#[allow(unused_imports)]
use bandsaw::*;

fn main() -> Result<()> {
    run()
}

/// The steps, one after the other.
pub fn run() -> Result<()> {
    let device = Device::best();
    println!("{device}");

    // Random band matrix: A[i,j] uniform between low and high
    let s1: Banded = Banded::from_fn(&device, BandedShape::new(6, 6, Band::new(1, 1)?), |b, i, j| -1.0 + (1.0 - -1.0) * noise(1, b, i, j))?;
    println!("s1: {:?}, sum {:?}", s1.shape(), s1.read()?.iter().sum::<f32>());

    // Random band matrix: A[i,j] uniform between low and high
    let s2: Banded = Banded::from_fn(&device, BandedShape::new(6, 6, Band::new(2, 2)?), |b, i, j| -1.0 + (1.0 - -1.0) * noise(2, b, i, j))?;
    println!("s2: {:?}, sum {:?}", s2.shape(), s2.read()?.iter().sum::<f32>());

    // Random dense matrix: A[i,j] uniform between low and high
    let s3: Dense = Dense::from_fn(&device, DenseShape::new(6, 6), |b, i, j| -1.0 + (1.0 - -1.0) * noise(3, b, i, j))?;
    println!("s3: {:?}, sum {:?}", s3.shape(), s3.read()?.iter().sum::<f32>());

    // Random dense matrix: A[i,j] uniform between low and high
    let s4: Dense = Dense::from_fn(&device, DenseShape::new(6, 1), |b, i, j| -1.0 + (1.0 - -1.0) * noise(4, b, i, j))?;
    println!("s4: {:?}, sum {:?}", s4.shape(), s4.read()?.iter().sum::<f32>());

    // Random band matrix: A[i,j] uniform between low and high
    let s5: Banded = Banded::from_fn(&device, BandedShape::new(6, 6, Band::new(1, 2)?), |b, i, j| -1.0 + (1.0 - -1.0) * noise(5, b, i, j))?;
    println!("s5: {:?}, sum {:?}", s5.shape(), s5.read()?.iter().sum::<f32>());

    // Random band matrix: A[i,j] uniform between low and high
    let s6: Banded = Banded::from_fn(&device, BandedShape::new(6, 6, Band::new(0, 2)?), |b, i, j| -1.0 + (1.0 - -1.0) * noise(6, b, i, j))?;
    println!("s6: {:?}, sum {:?}", s6.shape(), s6.read()?.iter().sum::<f32>());

    // Random band matrix: A[i,j] uniform between low and high
    let s7: Banded = Banded::from_fn(&device, BandedShape::new(6, 6, Band::new(2, 0)?), |b, i, j| -1.0 + (1.0 - -1.0) * noise(7, b, i, j))?;
    println!("s7: {:?}, sum {:?}", s7.shape(), s7.read()?.iter().sum::<f32>());

    // Notebook matrix: A[i,j] = (j + 1) / (n + 1)
    let s8: Banded =
        Banded::from_fn(&device, BandedShape::new(6, 6, Band::new(1, 2)?).layout(Layout::Columns), |_, _, j| (j + 1) as f32 / 7.0)?;
    println!("s8: {:?}, sum {:?}", s8.shape(), s8.read()?.iter().sum::<f32>());

    // Laplacian of a grid: 4 on the diagonal, −1 for each neighbour on a k × m grid
    let s9: Banded = Banded::from_fn(&device, BandedShape::new(2 * 3, 2 * 3, Band::window(2)?), |_, i, j| match i.abs_diff(j) {
        0 => 4.0,
        distance if distance == 2 || (distance == 1 && i / 2 == j / 2) => -1.0,
        _ => 0.0,
    })?;
    println!("s9: {:?}, sum {:?}", s9.shape(), s9.read()?.iter().sum::<f32>());

    // Random blocks: density of the blocks, A[i,j] uniform between low and high in them
    let s10: BlockSparse =
        BlockSparse::from_fn(&device, &BlockPattern::random([6, 6], [2, 2], 4, 8)?, |i, j| -1.0 + (1.0 - -1.0) * noise(8, 0, i, j))?;
    println!("s10: {:?}, sum {:?}", s10.pattern(), s10.read()?.iter().sum::<f32>());

    // Random dense matrix: A[i,j] uniform between low and high
    let s11: Dense = Dense::from_fn(&device, DenseShape::new(1, 6), |b, i, j| -1.0 + (1.0 - -1.0) * noise(9, b, i, j))?;
    println!("s11: {:?}, sum {:?}", s11.shape(), s11.read()?.iter().sum::<f32>());

    // Identity: A[i,i] = 1
    let s12: Banded = Banded::identity(&device, BandedShape::new(20, 20, Band::new(0, 0)?))?;
    println!("s12: {:?}, sum {:?}", s12.shape(), s12.read()?.iter().sum::<f32>());

    // Toeplitz matrix: A[i,j] = c[j − i + lower]: the diagonals from the lowest on
    let s13: Banded = Banded::from_fn(&device, BandedShape::new(24, 24, Band::new(2, 2)?), |_, i, j| {
        [-0.5f32, 1f32, 4f32, 1f32, -0.5f32][(j as i64 - i as i64 + 2) as usize]
    })?;
    println!("s13: {:?}, sum {:?}", s13.shape(), s13.read()?.iter().sum::<f32>());

    // Band of blocks: the blocks (I, J) with −lower ≤ J − I ≤ upper
    let s14: BlockSparse = BlockSparse::from_fn(&device, &BlockPattern::banded([24, 26], [4, 4], Band::new(1, 1)?)?, |i, j| {
        -1.0 + (1.0 - -1.0) * noise(0, 0, i, j)
    })?;
    println!("s14: {:?}, sum {:?}", s14.pattern(), s14.read()?.iter().sum::<f32>());

    // BigBird pattern: a window of blocks, whole first rows and columns, random blocks in each row
    let s15: BlockSparse = BlockSparse::from_fn(
        &device,
        &BlockPattern::big_bird([24, 26], [4, 4], BigBird { window: 1, global: 1, random: 1 }, 0)?,
        |i, j| -1.0 + (1.0 - -1.0) * noise(0, 0, i, j),
    )?;
    println!("s15: {:?}, sum {:?}", s15.pattern(), s15.read()?.iter().sum::<f32>());

    // Block-diagonal matrix: the blocks on the diagonal of the grid
    let s16: BlockSparse =
        BlockSparse::from_fn(&device, &BlockPattern::block_diagonal([24, 26], [4, 4])?, |i, j| -1.0 + (1.0 - -1.0) * noise(0, 0, i, j))?;
    println!("s16: {:?}, sum {:?}", s16.pattern(), s16.read()?.iter().sum::<f32>());

    // A · B: C[i,j] = ⊕ A[i,p] ⊗ B[p,j] over p
    let s17: Banded = banded_matmul(&s1, &s1, Semiring::Sum)?;
    println!("s17: {:?}, sum {:?}", s17.shape(), s17.read()?.iter().sum::<f32>());

    // A · B in a band: C[i,j] = ⊕ A[i,p] ⊗ B[p,j] over p, only in the band given
    let s18: Banded = banded_matmul_band(&s1, &s1, Semiring::Sum, Band::new(1, 2)?)?;
    println!("s18: {:?}, sum {:?}", s18.shape(), s18.read()?.iter().sum::<f32>());

    // Index of A · B: the p that makes C[i,j]
    let s19: Banded = banded_matmul_index(&s1, &s1, Semiring::Max)?;
    println!("s19: {:?}, sum {:?}", s19.shape(), s19.read()?.iter().sum::<f32>());

    // A · V, V dense: O[i,d] = ⊕ A[i,j] ⊗ V[j,d] over j
    let s20: Dense = banded_matmul_dense(&s1, &s3, Semiring::Sum)?;
    println!("s20: {:?}, sum {:?}", s20.shape(), s20.read()?.iter().sum::<f32>());

    // A · x: y[i] = Σ A[i,j] · x[j] over j; x has one column
    let s21: Dense = banded_matvec(&s1, &s4)?;
    println!("s21: {:?}, sum {:?}", s21.shape(), s21.read()?.iter().sum::<f32>());

    // Q · K.t() in a window: A[i,j] = Σ Q[i,d] · K[j,d] over d, in the band given
    let s22: Banded = window_matmul(&s3, &s3, Band::new(1, 2)?)?;
    println!("s22: {:?}, sum {:?}", s22.shape(), s22.read()?.iter().sum::<f32>());

    // Window attention: O = softmax(Q · K.t() / √d) · V over the keys in the window
    let s23: Dense = window_attention(&s3, &s3, &s3, &WindowAttention::new(Band::new(1, 2)?))?.0;
    println!("s23: {:?}, sum {:?}", s23.shape(), s23.read()?.iter().sum::<f32>());

    // A · B, both dense: C[i,j] = ⊕ A[i,p] ⊗ B[p,j] over p
    let s24: Dense = semiring_matmul(&s3, &s3, Semiring::Sum)?;
    println!("s24: {:?}, sum {:?}", s24.shape(), s24.read()?.iter().sum::<f32>());

    // Index of A · B, both dense: the p that makes C[i,j]
    let s25: Dense = semiring_matmul_index(&s3, &s3, Semiring::Max)?;
    println!("s25: {:?}, sum {:?}", s25.shape(), s25.read()?.iter().sum::<f32>());

    // f(A, B): C[i,j] = f(A[i,j], B[i,j]) on the union of the bands
    let s26: Banded = banded_zip(&s1, &s1, &"(a + b) / 2".parse::<Expr>()?)?;
    println!("s26: {:?}, sum {:?}", s26.shape(), s26.read()?.iter().sum::<f32>());

    // f(A): C[i,j] = f(A[i,j])
    let s27: Banded = banded_map(&s1, &"exp(-3 * a) - 0.5".parse::<Expr>()?)?;
    println!("s27: {:?}, sum {:?}", s27.shape(), s27.read()?.iter().sum::<f32>());

    // Softmax: softmax(scale · A) over the stored entries of each row
    let s28: Banded = banded_softmax(&s1, 1.0)?;
    println!("s28: {:?}, sum {:?}", s28.shape(), s28.read()?.iter().sum::<f32>());

    // Transpose: C[i,j] = A[j,i], a change of labels
    let s29: Banded = s1.t();
    println!("s29: {:?}, sum {:?}", s29.shape(), s29.read()?.iter().sum::<f32>());

    // Resize the band: the same matrix in another band
    let s30: Banded = banded_resize(&s1, Band::new(1, 2)?)?;
    println!("s30: {:?}, sum {:?}", s30.shape(), s30.read()?.iter().sum::<f32>());

    // Shift rows: C[i,j] = A[i + t, j]
    let s31: Banded = banded_shift_rows(&s1, 1)?;
    println!("s31: {:?}, sum {:?}", s31.shape(), s31.read()?.iter().sum::<f32>());

    // Shift columns: C[i,j] = A[i, j + t]
    let s32: Banded = banded_shift_cols(&s1, 1)?;
    println!("s32: {:?}, sum {:?}", s32.shape(), s32.read()?.iter().sum::<f32>());

    // Shift the band: slots of the storage move by t
    let s33: Banded = banded_shift_band(&s1, 1)?;
    println!("s33: {:?}, sum {:?}", s33.shape(), s33.read()?.iter().sum::<f32>());

    // Other layout: the same matrix, rows or columns contiguous
    let s34: Banded = banded_relayout(&s1, Layout::Rows)?;
    println!("s34: {:?}, sum {:?}", s34.shape(), s34.read()?.iter().sum::<f32>());

    // To dense: all entries
    let s35: Dense = banded_to_dense(&s1)?;
    println!("s35: {:?}, sum {:?}", s35.shape(), s35.read()?.iter().sum::<f32>());

    // From dense: the entries of a band
    let s36: Banded = banded_from_dense(&s3, Band::new(1, 2)?, Layout::Rows, 0.0)?;
    println!("s36: {:?}, sum {:?}", s36.shape(), s36.read()?.iter().sum::<f32>());

    // From dense, band found: the smallest band with all non-zero entries
    let s37: Banded = banded_from_dense(&s3, find_band(&s3)?.unwrap_or(Band::new(0, 0)?), Layout::Rows, 0.0)?;
    println!("s37: {:?}, sum {:?}", s37.shape(), s37.read()?.iter().sum::<f32>());

    // X · W, W block-sparse: Y[t,j] = Σ X[t,k] · W[k,j] over k
    let s38: Dense = block_matmul(&s3, &s10)?;
    println!("s38: {:?}, sum {:?}", s38.shape(), s38.read()?.iter().sum::<f32>());

    // W · X, W block-sparse: Y[i,t] = Σ W[i,k] · X[k,t] over k
    let s39: Dense = block_matmul_left(&s10, &s3)?;
    println!("s39: {:?}, sum {:?}", s39.shape(), s39.read()?.iter().sum::<f32>());

    // Layer: act(X · W.t()): Y = act(X · W.t()), act none, ReLU or GELU
    let s40: Dense = block_linear(&s3, &s10, None, Activation::None)?;
    println!("s40: {:?}, sum {:?}", s40.shape(), s40.read()?.iter().sum::<f32>());

    // Layer with bias: act(X · W.t() + b): Y = act(X · W.t() + b), b one row, act none, ReLU or GELU
    let s41: Dense = block_linear(&s3, &s10, Some(&s11), Activation::None)?;
    println!("s41: {:?}, sum {:?}", s41.shape(), s41.read()?.iter().sum::<f32>());

    // A · B, both block-sparse: C[i,j] = Σ A[i,p] · B[p,j] over p, at every block that is reached
    let s42: BlockSparse = block_sparse_matmul(&s10, &s10)?;
    println!("s42: {:?}, sum {:?}", s42.pattern(), s42.read()?.iter().sum::<f32>());

    // A.t() · B at blocks: C[i,j] = Σ A[t,i] · B[t,j] over t, at the blocks of P
    let s43: BlockSparse = block_sddmm(&s3, &s3, s10.pattern())?;
    println!("s43: {:?}, sum {:?}", s43.pattern(), s43.read()?.iter().sum::<f32>());

    // A + B, both block-sparse: C[i,j] = A[i,j] + B[i,j] on the union of the blocks
    let s44: BlockSparse = block_add(&s10, &s10)?;
    println!("s44: {:?}, sum {:?}", s44.pattern(), s44.read()?.iter().sum::<f32>());

    // Transpose of blocks: C[i,j] = A[j,i], a change of labels
    let s45: BlockSparse = s10.t();
    println!("s45: {:?}, sum {:?}", s45.pattern(), s45.read()?.iter().sum::<f32>());

    // On other blocks: A at the blocks of P, 0 where A has none
    let s46: BlockSparse = block_select(&s10, s10.pattern())?;
    println!("s46: {:?}, sum {:?}", s46.pattern(), s46.read()?.iter().sum::<f32>());

    // Prune: the blocks of largest norm, density of all that the grid has
    let s47: BlockSparse = block_prune(&s10, 0.3)?;
    println!("s47: {:?}, sum {:?}", s47.pattern(), s47.read()?.iter().sum::<f32>());

    // Norms of the blocks: N[I,J] = the p-norm of block (I, J), 0 where none is stored
    let s48: Dense = {
        let (norms, pattern) = (block_norms(&s10, 2.0)?, s10.pattern().clone());
        let [rows, cols] = pattern.grid();
        Dense::from_fn(&device, DenseShape::new(rows, cols), |_, i, j| pattern.slot(i, j).map_or(0.0, |slot| norms[slot]))?
    };
    println!("s48: {:?}, sum {:?}", s48.shape(), s48.read()?.iter().sum::<f32>());

    // Blocks to dense: all entries
    let s49: Dense = block_to_dense(&s10)?;
    println!("s49: {:?}, sum {:?}", s49.shape(), s49.read()?.iter().sum::<f32>());

    // Dense at blocks: the entries of D at the blocks of P
    let s50: BlockSparse = block_from_dense(&s3, s10.pattern())?;
    println!("s50: {:?}, sum {:?}", s50.pattern(), s50.read()?.iter().sum::<f32>());

    // Dense to blocks, by magnitude: the blocks of D of largest norm, density of all
    let s51: BlockSparse = block_from_dense_by_magnitude(&s3, [4, 4], 0.3)?;
    println!("s51: {:?}, sum {:?}", s51.pattern(), s51.read()?.iter().sum::<f32>());

    // Gradient of A · B: by A or B, G the gradient of A · B
    let s52: Banded = banded_matmul_backward(&s1, &s1, &banded_matmul(&s1, &s1, Semiring::Sum)?, &s2, Semiring::Sum)?.0;
    println!("s52: {:?}, sum {:?}", s52.shape(), s52.read()?.iter().sum::<f32>());

    // Second derivative of A · B over log: by A, B or G, with cotangents VA and VB of the gradients
    let s53: Banded = banded_matmul_double_backward(&s1, &s1, &banded_matmul(&s1, &s1, Semiring::Log)?, &s2, &s1, &s1)?.0;
    println!("s53: {:?}, sum {:?}", s53.shape(), s53.read()?.iter().sum::<f32>());

    // Gradient of A · V by A: G the gradient of A · V
    let s54: Banded = banded_matmul_dense_backward(&s1, &s3, &banded_matmul_dense(&s1, &s3, Semiring::Sum)?, &s3, Semiring::Sum)?.0;
    println!("s54: {:?}, sum {:?}", s54.shape(), s54.read()?.iter().sum::<f32>());

    // Gradient of A · V by V: G the gradient of A · V
    let s55: Dense = banded_matmul_dense_backward(&s1, &s3, &banded_matmul_dense(&s1, &s3, Semiring::Sum)?, &s3, Semiring::Sum)?.1;
    println!("s55: {:?}, sum {:?}", s55.shape(), s55.read()?.iter().sum::<f32>());

    // Gradient of A · x by A: G the gradient of A · x, one column
    let s56: Banded = banded_matvec_backward(&s1, &s4, &s4)?.0;
    println!("s56: {:?}, sum {:?}", s56.shape(), s56.read()?.iter().sum::<f32>());

    // Gradient of A · x by x: G the gradient of A · x, one column
    let s57: Dense = banded_matvec_backward(&s1, &s4, &s4)?.1;
    println!("s57: {:?}, sum {:?}", s57.shape(), s57.read()?.iter().sum::<f32>());

    // Gradient of Q · K.t(): by Q or K, G the gradient of the window
    let s58: Dense = window_matmul_backward(&s3, &s3, &s2)?.0;
    println!("s58: {:?}, sum {:?}", s58.shape(), s58.read()?.iter().sum::<f32>());

    // Gradient of window attention: by Q, K or V, G the gradient of the result
    let s59: Dense = {
        let (out, lse) = window_attention(&s3, &s3, &s3, &WindowAttention::new(Band::new(1, 2)?))?;
        window_attention_backward(&s3, &s3, &s3, &out, &lse, &s3, &WindowAttention::new(Band::new(1, 2)?))?.0
    };
    println!("s59: {:?}, sum {:?}", s59.shape(), s59.read()?.iter().sum::<f32>());

    // Gradient of A · B, both dense: by A or B, G the gradient of A · B
    let s60: Dense = semiring_matmul_backward(&s3, &s3, &semiring_matmul(&s3, &s3, Semiring::Sum)?, &s3, Semiring::Sum)?.0;
    println!("s60: {:?}, sum {:?}", s60.shape(), s60.read()?.iter().sum::<f32>());

    // Second derivative of A · B over log, both dense: by A, B or G, with cotangents VA and VB of the gradients
    let s61: Dense = semiring_matmul_double_backward(&s3, &s3, &semiring_matmul(&s3, &s3, Semiring::Log)?, &s3, &s3, &s3)?.0;
    println!("s61: {:?}, sum {:?}", s61.shape(), s61.read()?.iter().sum::<f32>());

    // Gradient of f(A, B): by A or B, G the gradient of f(A, B)
    let s62: Banded = banded_zip_backward(&s1, &s2, &"a * b".parse::<Expr>()?, &s2)?.0;
    println!("s62: {:?}, sum {:?}", s62.shape(), s62.read()?.iter().sum::<f32>());

    // Gradient of f(A): G the gradient of f(A)
    let s63: Banded = banded_map_backward(&s1, &"exp(a)".parse::<Expr>()?, &s1)?;
    println!("s63: {:?}, sum {:?}", s63.shape(), s63.read()?.iter().sum::<f32>());

    // Gradient of the softmax: P the softmax, G its gradient
    let s64: Banded = banded_softmax_backward(&s1, &s1, 1.0)?;
    println!("s64: {:?}, sum {:?}", s64.shape(), s64.read()?.iter().sum::<f32>());

    // Gradient of the resize: G the gradient of the resized matrix
    let s65: Banded = banded_resize_backward(&s1, &s2)?;
    println!("s65: {:?}, sum {:?}", s65.shape(), s65.read()?.iter().sum::<f32>());

    // Gradient of the row shift: G the gradient of the shifted matrix
    let s66: Banded = banded_shift_rows_backward(&s1, 1, &s6)?;
    println!("s66: {:?}, sum {:?}", s66.shape(), s66.read()?.iter().sum::<f32>());

    // Gradient of the column shift: G the gradient of the shifted matrix
    let s67: Banded = banded_shift_cols_backward(&s1, 1, &s7)?;
    println!("s67: {:?}, sum {:?}", s67.shape(), s67.read()?.iter().sum::<f32>());

    // Gradient of the band shift: G the gradient of the shifted matrix
    let s68: Banded = banded_shift_band_backward(&s1, 1, &s6)?;
    println!("s68: {:?}, sum {:?}", s68.shape(), s68.read()?.iter().sum::<f32>());

    // Gradient of to dense: G the gradient of the dense matrix
    let s69: Banded = banded_to_dense_backward(&s1, &s3)?;
    println!("s69: {:?}, sum {:?}", s69.shape(), s69.read()?.iter().sum::<f32>());

    // Gradient of from dense: G the gradient of the band matrix
    let s70: Dense = banded_from_dense_backward(&s3, &s5)?;
    println!("s70: {:?}, sum {:?}", s70.shape(), s70.read()?.iter().sum::<f32>());

    // Gradient of X · W by X: G · W.t(), G the gradient of X · W
    let s71: Dense = block_matmul_backward(&s3, &s10, &s3)?.0;
    println!("s71: {:?}, sum {:?}", s71.shape(), s71.read()?.iter().sum::<f32>());

    // Gradient of X · W by W: X.t() · G at the blocks of W, G the gradient of X · W
    let s72: BlockSparse = block_matmul_backward(&s3, &s10, &s3)?.1;
    println!("s72: {:?}, sum {:?}", s72.pattern(), s72.read()?.iter().sum::<f32>());

    // Gradient of W · X by W: G · X.t() at the blocks of W, G the gradient of W · X
    let s73: BlockSparse = block_matmul_left_backward(&s10, &s3, &s3)?.0;
    println!("s73: {:?}, sum {:?}", s73.pattern(), s73.read()?.iter().sum::<f32>());

    // Gradient of W · X by X: W.t() · G, G the gradient of W · X
    let s74: Dense = block_matmul_left_backward(&s10, &s3, &s3)?.1;
    println!("s74: {:?}, sum {:?}", s74.shape(), s74.read()?.iter().sum::<f32>());

    // Gradient of the layer by X: (G ∘ act′) · W, G the gradient of the layer
    let s75: Dense = block_linear_backward(&s3, &s10, None, Activation::None, &block_linear(&s3, &s10, None, Activation::None)?, &s3)?.x;
    println!("s75: {:?}, sum {:?}", s75.shape(), s75.read()?.iter().sum::<f32>());

    // Gradient of the layer by W: (G ∘ act′).t() · X at the blocks of W, G the gradient of the layer
    let s76: BlockSparse =
        block_linear_backward(&s3, &s10, None, Activation::None, &block_linear(&s3, &s10, None, Activation::None)?, &s3)?.w;
    println!("s76: {:?}, sum {:?}", s76.pattern(), s76.read()?.iter().sum::<f32>());

    // Gradient of the layer with bias by X or b: (G ∘ act′) · W, or G ∘ act′ summed over rows
    let s77: Dense =
        block_linear_backward(&s3, &s10, Some(&s11), Activation::None, &block_linear(&s3, &s10, Some(&s11), Activation::None)?, &s3)?.x;
    println!("s77: {:?}, sum {:?}", s77.shape(), s77.read()?.iter().sum::<f32>());

    // Gradient of the layer with bias by W: (G ∘ act′).t() · X at the blocks of W
    let s78: BlockSparse =
        block_linear_backward(&s3, &s10, Some(&s11), Activation::None, &block_linear(&s3, &s10, Some(&s11), Activation::None)?, &s3)?.w;
    println!("s78: {:?}, sum {:?}", s78.pattern(), s78.read()?.iter().sum::<f32>());

    // Gradient of A · B, both block-sparse: by A or B, at its blocks; G the gradient of A · B
    let s79: BlockSparse = block_sparse_matmul_backward(&s10, &s10, &s10)?.0;
    println!("s79: {:?}, sum {:?}", s79.pattern(), s79.read()?.iter().sum::<f32>());

    // Gradient of A.t() · B at blocks: by A or B, G the gradient at the blocks
    let s80: Dense = block_sddmm_backward(&s3, &s3, &s10)?.0;
    println!("s80: {:?}, sum {:?}", s80.shape(), s80.read()?.iter().sum::<f32>());

    // Gradient of A + B: G at the blocks of A or B, G the gradient of A + B
    let s81: BlockSparse = block_add_backward(&s10, &s10, &s10)?.0;
    println!("s81: {:?}, sum {:?}", s81.pattern(), s81.read()?.iter().sum::<f32>());
    Ok(())
}

/// A number in 0..1 that depends on the seed and the entry alone.
fn noise(seed: u64, batch: usize, i: usize, j: usize) -> f32 {
    let mut x = seed ^ (batch as u64) << 56 ^ (i as u64) << 28 ^ j as u64;
    for _ in 0..2 {
        x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
    }
    (x >> 40) as f32 / (1u64 << 24) as f32
}
