//! The operations. Each checks its operands, allocates the result, and launches a kernel.

pub(crate) mod banded_matvec;
pub(crate) mod banded_move;
pub(crate) mod banded_softmax;
pub(crate) mod banded_zip;
pub(crate) mod block_add;
pub(crate) mod block_linear;
pub(crate) mod block_matmul;
pub(crate) mod block_move;
pub(crate) mod block_norms;
pub(crate) mod block_sddmm;
pub(crate) mod block_sparse_matmul;
pub(crate) mod cast;
pub(crate) mod common;
pub mod matmul;
pub(crate) mod matmul_backward;
pub(crate) mod matmul_double_backward;
pub(crate) mod matmul_index;
pub(crate) mod tokens;
pub(crate) mod window_attention;
pub(crate) mod window_attention_backward;

pub use banded_matvec::{banded_matvec, banded_matvec_backward};
pub use banded_move::{
    banded_from_dense, banded_from_dense_backward, banded_relayout, banded_resize, banded_resize_backward, banded_shift_band,
    banded_shift_band_backward, banded_shift_cols, banded_shift_cols_backward, banded_shift_rows, banded_shift_rows_backward,
    banded_to_dense, banded_to_dense_backward, find_band,
};
pub use banded_softmax::{banded_softmax, banded_softmax_backward};
pub use banded_zip::{banded_map, banded_map_backward, banded_zip, banded_zip_backward};
pub use block_add::{block_add, block_add_backward, block_select};
pub use block_linear::{LinearGradients, block_linear, block_linear_backward};
pub use block_matmul::{Activation, block_matmul, block_matmul_backward, block_matmul_left, block_matmul_left_backward};
pub use block_move::{block_from_dense, block_from_dense_backward, block_to_dense, block_to_dense_backward};
pub use block_norms::{block_from_dense_by_magnitude, block_norms, block_prune};
pub use block_sddmm::{block_sddmm, block_sddmm_backward};
pub use block_sparse_matmul::{block_sparse_matmul, block_sparse_matmul_backward};
pub use matmul::{banded_matmul, banded_matmul_band, banded_matmul_dense, semiring_matmul, window_matmul};
pub use matmul_backward::{banded_matmul_backward, banded_matmul_dense_backward, semiring_matmul_backward, window_matmul_backward};
pub use matmul_double_backward::{banded_matmul_double_backward, semiring_matmul_double_backward};
pub use matmul_index::{banded_matmul_index, semiring_matmul_index};
pub use window_attention::window_attention;
pub use window_attention_backward::window_attention_backward;
