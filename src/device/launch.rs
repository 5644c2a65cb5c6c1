//! What a device is asked to run, and what it keeps of what it has run.

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use std::collections::HashMap;

use super::Buffer;
use crate::expr::Expr;
use crate::kernel::Kernel;

/// One run of a kernel.
pub(crate) struct Launch<'a> {
    pub kernel: &'static Kernel,
    /// The bytes of the kernel's `Params`.
    pub params: &'a [u8],
    pub inputs: &'a [&'a Buffer],
    pub outputs: &'a [&'a Buffer],
    /// Workgroups, counted along one line; launch folds them into the grid.
    pub groups: u64,
    /// `override` constants of the shader.
    #[cfg_attr(not(any(feature = "wgpu", feature = "cuda")), allow(dead_code))] // the CPU has no shader
    pub constants: &'a [(&'static str, f64)],
    /// The expression that becomes the kernel's function `f`.
    pub function: Option<&'a Expr>,
}

/// What a backend has made of kernels, by what makes one a different one: name, constants and expression.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
pub(super) struct Compiled<T>(HashMap<&'static str, Vec<Variant<T>>>);

#[cfg(any(feature = "cuda", feature = "wgpu"))]
struct Variant<T> {
    constants: Vec<(&'static str, f64)>,
    function: Option<Expr>,
    made: T,
}

#[cfg(any(feature = "cuda", feature = "wgpu"))]
impl<T: Clone> Compiled<T> {
    pub fn new() -> Self {
        Self(HashMap::new())
    }

    /// What was made for a launch like this one; a kernel has few variants.
    pub fn get(&self, launch: &Launch<'_>) -> Option<T> {
        let fits = |variant: &&Variant<T>| variant.constants == launch.constants && variant.function.as_ref() == launch.function;
        self.0.get(launch.kernel.name)?.iter().find(fits).map(|variant| variant.made.clone())
    }

    pub fn insert(&mut self, launch: &Launch<'_>, made: T) {
        let variant = Variant { constants: launch.constants.to_vec(), function: launch.function.cloned(), made };
        self.0.entry(launch.kernel.name).or_default().push(variant);
    }
}
