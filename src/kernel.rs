//! A kernel: one computation in every language, and the one list of all of them.

use crate::Dtype;
use crate::device::cpu::{Args, Outputs};
use crate::ops::{banded_matvec, banded_move, banded_zip, cast, matmul, matmul_backward, matmul_double_backward, matmul_index};
use crate::ops::{banded_softmax, window_attention, window_attention_backward};
use crate::ops::{block_add, block_linear, block_matmul, block_move, block_norms, block_sddmm, block_sparse_matmul};

/// One computation in every language it exists in.
///
/// Binding 0 is `Params` (flat `u32`/`i32`/`f32`, at most 64 bytes), then the inputs, then the
/// outputs, in the same order for every backend.
pub struct Kernel {
    /// `stem` or `stem.variant`; the stem names the file in every layer.
    pub name: &'static str,
    /// The WGSL text: the operation's own file first, so that line numbers in messages stay true,
    /// then the shared files; a variant differs in which shared file it takes.
    pub wgsl: &'static [&'static str],
    /// The PTX text for GPUs of compute capability 8.0 and newer, then, where there is one, that for 9.0
    /// alone. Entries are called as `shaders/shared/kernel.cuh` says. Empty without the `cuda` feature.
    pub ptx: &'static [&'static str],
    /// The definition: a plain loop over the same arguments.
    pub cpu: fn(&Args<'_>, Outputs<'_, '_>),
    /// Name and byte offset of every member of `Params`.
    pub params: &'static [(&'static str, usize)],
    /// How many buffers are read; the rest are written.
    pub inputs: usize,
    /// How many buffers are written.
    pub outputs: usize,
}

impl Kernel {
    /// The part of the name that names its files.
    pub fn stem(&self) -> &'static str {
        self.name.split('.').next().unwrap_or(self.name)
    }

    /// Whether it runs on matrix units, or reads the halves that they take: its shader begins with what it
    /// enables, which other shaders do not. Only devices that have them get it.
    pub fn needs_matrix_units(&self) -> bool {
        self.wgsl[0].starts_with("enable ")
    }

    /// Whether only wgpu devices get it, so that it has no PTX: a variant that reads an operand in another way, has other
    /// tiles, or makes one ready for those. CUDA has kernels of its own for those cases, under the general name.
    pub fn is_for_wgpu_alone(&self) -> bool {
        [".f16", ".bf16", ".fours", ".turned", ".whole"].iter().any(|variant| self.name.ends_with(variant))
            || ["matmul.narrow.", "matmul.fours.", "matmul.cooperative.halves"].iter().any(|kernels| self.name.starts_with(kernels))
    }

    /// Whether drivers are told not to guard its access to buffers (`src/device/wgpu/hints/vulkan.rs`): those that were measured to gain.
    /// Others took up to 13% longer without; NVIDIA's compiler may then compute addresses in 64 bits.
    pub fn is_unguarded(&self) -> bool {
        let gain = ["matmul.fours.", "matmul.log", "matmul.prodmax", "matmul.cooperative.band", "matmul.cooperative.halves"];
        gain.iter().any(|kernels| self.name.starts_with(kernels))
    }

    /// Whether drivers are told not to unroll its loops (same file). NVIDIA's writes eight steps of this one's out, which its cache for
    /// instructions doesn't hold. Products of bands and dense ones that were tried besides take the same time either way, within 2%.
    pub fn keeps_loops(&self) -> bool {
        self.name.starts_with("matmul.cooperative.halves.tiles")
    }

    /// The whole WGSL text, with the function that an expression became, if the kernel takes one.
    pub fn source(&self, function: Option<&str>) -> String {
        let mut text = self.wgsl.join("\n");
        if let Some(function) = function {
            text.push('\n');
            text.push_str(function);
        }
        text
    }
}

/// The shared files through which kernels read operands of a storage type: f32, f16 and bf16.
pub(crate) const LOADS: [&str; 3] = [
    include_str!("../shaders/shared/load_f32.wgsl"),
    include_str!("../shaders/shared/load_f16.wgsl"),
    include_str!("../shaders/shared/load_bf16.wgsl"),
];

/// One computation for each storage type of its operands, in the order of [`LOADS`].
pub(crate) type Stored = [Kernel; 3];

/// That of these for a storage type.
pub(crate) fn for_dtype(kernels: &'static Stored, dtype: Dtype) -> &'static Kernel {
    &kernels[match dtype {
        Dtype::F32 | Dtype::U32 => 0,
        Dtype::F16 => 1,
        Dtype::Bf16 => 2,
    }]
}

/// The members of a [`Stored`]: the WGSL text takes one of [`LOADS`] in addition.
macro_rules! stored {
    ($name:literal, [$($file:expr),+ $(,)?], $ptx:expr, { $($rest:tt)* }) => {
        [
            Kernel { name: $name, wgsl: &[$($file,)+ crate::kernel::LOADS[0]], ptx: $ptx, $($rest)* },
            Kernel { name: concat!($name, ".f16"), wgsl: &[$($file,)+ crate::kernel::LOADS[1]], ptx: &[], $($rest)* },
            Kernel { name: concat!($name, ".bf16"), wgsl: &[$($file,)+ crate::kernel::LOADS[2]], ptx: &[], $($rest)* },
        ]
    };
}
pub(crate) use stored;

/// Every kernel there is; launching one that is missing here fails in debug builds.
pub static ALL: &[&Kernel] = &[
    &banded_matvec::KERNEL,
    &banded_move::KERNEL,
    &banded_softmax::KERNEL,
    &banded_softmax::BACKWARD,
    &banded_zip::KERNEL,
    &block_add::KERNEL,
    &block_linear::SLOPE,
    &block_linear::SUMS,
    &block_matmul::SCALAR,
    &block_matmul::VEC4,
    &block_matmul::WHOLE,
    &block_matmul::turned::KERNEL,
    &block_matmul::WALK,
    &block_matmul::cooperative::KERNEL,
    &block_move::FROM_DENSE,
    &block_move::TO_DENSE,
    &block_norms::KERNEL,
    &block_sddmm::SCALAR,
    &block_sddmm::VEC4,
    &block_sddmm::WHOLE,
    &block_sddmm::WALK,
    &block_sddmm::cooperative::KERNEL,
    &block_sddmm::cooperative::SUMS,
    &block_sparse_matmul::KERNEL,
    &cast::WIDEN,
    &cast::NARROW,
    &cast::COPY,
    &matmul::SUM[0],
    &matmul::SUM[1],
    &matmul::SUM[2],
    &matmul::LOG[0],
    &matmul::LOG[1],
    &matmul::LOG[2],
    &matmul::MAX[0],
    &matmul::MAX[1],
    &matmul::MAX[2],
    &matmul::PRODMAX[0],
    &matmul::PRODMAX[1],
    &matmul::PRODMAX[2],
    &matmul::SCALE[0],
    &matmul::SCALE[1],
    &matmul::SCALE[2],
    &matmul::cooperative::BAND,
    &matmul::cooperative::DENSE,
    &matmul::cooperative::DENSE_FOURS,
    &matmul::narrow::SUM,
    &matmul::fours::SUM,
    &matmul::narrow::LOG,
    &matmul::fours::LOG,
    &matmul::narrow::MAX,
    &matmul::fours::MAX,
    &matmul::narrow::PRODMAX,
    &matmul::fours::PRODMAX,
    &matmul::halves::KERNEL,
    &matmul::halves::TILES,
    &matmul::halves::TILES_SCALAR,
    &matmul_backward::LOG,
    &matmul_backward::WEIGHT,
    &matmul_backward::EXP,
    &matmul_backward::MAX,
    &matmul_backward::PRODMAX,
    &matmul_double_backward::KERNEL,
    &matmul_double_backward::MEAN,
    &matmul_index::MAX,
    &matmul_index::PRODMAX,
    &matmul_index::SAMPLE,
    &window_attention::cooperative::FORWARD,
    &window_attention::cooperative::STATS,
    &window_attention::cooperative::Q,
    &window_attention::cooperative::KV,
    &window_attention::KERNEL[0],
    &window_attention::KERNEL[1],
    &window_attention::KERNEL[2],
    &window_attention::KERNEL_LINE[0],
    &window_attention::KERNEL_LINE[1],
    &window_attention::KERNEL_LINE[2],
    &window_attention_backward::DELTA[0],
    &window_attention_backward::DELTA[1],
    &window_attention_backward::DELTA[2],
    &window_attention_backward::Q[0],
    &window_attention_backward::Q[1],
    &window_attention_backward::Q[2],
    &window_attention_backward::Q_LINE[0],
    &window_attention_backward::Q_LINE[1],
    &window_attention_backward::Q_LINE[2],
    &window_attention_backward::K[0],
    &window_attention_backward::K[1],
    &window_attention_backward::K[2],
    &window_attention_backward::K_LINE[0],
    &window_attention_backward::K_LINE[1],
    &window_attention_backward::K_LINE[2],
    &window_attention_backward::V[0],
    &window_attention_backward::V[1],
    &window_attention_backward::V[2],
    &window_attention_backward::V_LINE[0],
    &window_attention_backward::V_LINE[1],
    &window_attention_backward::V_LINE[2],
];

/// Every kernel, for the tests.
pub fn kernels() -> &'static [&'static Kernel] {
    ALL
}

/// The PTX that `scripts/ptx` made of these `shaders/<name>.cu`.
#[cfg(feature = "cuda")]
macro_rules! ptx {
    ($($file:literal),+) => { &[$(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/ptx/", $file, ".ptx"))),+] };
}
#[cfg(not(feature = "cuda"))]
macro_rules! ptx {
    ($($file:literal),+) => {
        &[]
    };
}
pub(crate) use ptx;

/// Declares a kernel's `Params` with the offsets that the tests hold against the shader's.
macro_rules! params {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
        #[allow(missing_docs)]
        pub struct $name { $(pub $field: $type),+ }
        impl $name {
            pub(crate) const FIELDS: &'static [(&'static str, usize)] =
                &[$((stringify!($field), std::mem::offset_of!($name, $field))),+];
        }
    };
}
pub(crate) use params;
