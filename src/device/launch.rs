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

#[cfg(feature = "wgpu")]
impl Launch<'_> {
    /// Whether its results are exponentials, or these times something, which are far apart in size more often than not.
    pub fn yields_exponentials(&self) -> bool {
        let kernels = ["banded_softmax", "matmul_backward.weight", "matmul_backward.exp"];
        kernels.contains(&self.kernel.name) || self.function.is_some_and(Expr::has_exponentials)
    }
}

/// What a backend has made of kernels, by what makes one a different one: name, constants and expression.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
pub(super) struct Compiled<T>(HashMap<&'static str, Vec<Variant<T>>>);

/// How many expressions' kernels are kept: lavapipe takes some 0.4 MiB for each, and 20 ms to make it.
#[cfg(feature = "wgpu")]
const EXPRESSIONS: usize = 256;

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

    /// Makes room for one with an expression, of which a program may make ever new ones: the oldest goes where there are many. Not for
    /// CUDA, whose modules stay loaded as long as their device.
    #[cfg(feature = "wgpu")]
    pub fn make_room(&mut self, launch: &Launch<'_>) {
        if let Some(variants) = self.0.get_mut(launch.kernel.name)
            && launch.function.is_some()
            && variants.len() >= EXPRESSIONS
        {
            variants.remove(0);
        }
    }
}

#[cfg(all(test, feature = "wgpu"))]
mod tests {
    use super::*;
    use crate::ops::{banded_softmax, banded_zip, matmul, matmul_backward};
    use crate::{a, b};

    #[test]
    fn the_last_expressions_are_kept() {
        let mut kept = Compiled::new();
        let all: Vec<Expr> = (0..EXPRESSIONS + 10).map(|n| a() * n as f32).collect();
        let launch = |function| Launch {
            kernel: &banded_zip::KERNEL,
            params: &[],
            inputs: &[],
            outputs: &[],
            groups: 0,
            constants: &[],
            function: Some(function),
        };
        for (n, function) in all.iter().enumerate() {
            kept.make_room(&launch(function));
            kept.insert(&launch(function), n);
        }
        let found = |n: usize| kept.get(&launch(&all[n]));
        assert_eq!([0, 9, 10, all.len() - 1].map(found), [None, None, Some(10), Some(all.len() - 1)]);
    }

    #[test]
    fn exponentials_are_known() {
        fn of(kernel: &'static Kernel, function: Option<&Expr>) -> bool {
            Launch { kernel, params: &[], inputs: &[], outputs: &[], groups: 0, constants: &[], function }.yields_exponentials()
        }
        assert!(of(&banded_zip::KERNEL, Some(&(1.0 - (a() * 2.0).exp() * b()))));
        assert!(!of(&banded_zip::KERNEL, Some(&(a().abs().ln() + b().tanh()))));
        assert!(of(&banded_softmax::KERNEL, None) && of(&matmul_backward::WEIGHT, None) && of(&matmul_backward::EXP, None));
        assert!(!of(&banded_softmax::BACKWARD, None) && !of(&matmul_backward::LOG, None) && !of(&matmul::SUM[0], None));
    }
}
