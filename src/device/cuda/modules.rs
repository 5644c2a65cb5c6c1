//! Kernels loaded so far. A module is the PTX of one kernel, with the function that an expression became.

use std::collections::HashMap;
use std::ffi::CString;

use cudarc::driver::{result, sys};

use super::Context;
use crate::device::Launch;
use crate::expr::Expr;
use crate::kernel::Kernel;
use crate::{Error, Result};

/// What a launch needs of a kernel.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub function: sys::CUfunction,
    /// Threads of a block: the kernel's launch bounds.
    pub threads: u32,
    /// Bytes of dynamic shared memory.
    pub shared: u32,
}

/// A kernel with the constants and the expression it was asked for with.
struct Known {
    constants: Vec<(&'static str, f64)>,
    function: Option<Expr>,
    entry: Entry,
}

/// The modules of one context; the driver unloads them with it.
pub(crate) struct Modules {
    hopper: bool,
    /// By the address of the PTX's text, which several kernels may share.
    modules: HashMap<(*const u8, Option<String>), sys::CUmodule>,
    /// By the kernel's name.
    known: HashMap<&'static str, Vec<Known>>,
}

// SAFETY: handles that any thread may use once the context is bound to it, and pointers that are compared
// only.
unsafe impl Send for Modules {}

impl Modules {
    pub fn new(hopper: bool) -> Self {
        Self { hopper, modules: HashMap::new(), known: HashMap::new() }
    }

    /// The entry for this launch, loaded if it is new. The context is bound to this thread.
    pub fn entry(&mut self, context: &Context, launch: &Launch<'_>) -> Result<Entry> {
        let name = launch.kernel.name;
        let fits = |known: &&Known| known.constants == launch.constants && known.function.as_ref() == launch.function;
        if let Some(known) = self.known.get(name).and_then(|all| all.iter().find(fits)) {
            return Ok(known.entry);
        }
        let entry = self.load(context, launch)?;
        let (constants, function) = (launch.constants.to_vec(), launch.function.cloned());
        self.known.entry(name).or_default().push(Known { constants, function, entry });
        Ok(entry)
    }

    fn load(&mut self, context: &Context, launch: &Launch<'_>) -> Result<Entry> {
        let kernel = launch.kernel;
        let fail = |message: String| Error::Backend { device: context.name().into(), message: format!("{}: {message}", kernel.name) };
        let Some(ptx) = (if self.hopper { kernel.ptx.last() } else { kernel.ptx.first() }) else {
            return Err(fail("no PTX".into()));
        };
        let function = launch.function.map(Expr::to_ptx);
        let key = (ptx.as_ptr(), function);
        let module = match self.modules.get(&key) {
            Some(module) => *module,
            None => {
                let text = CString::new(with_function(ptx, key.1.as_deref())).map_err(|error| fail(error.to_string()))?;
                // SAFETY: the text ends with a zero.
                let module = unsafe { result::module::load_data(text.as_ptr().cast()) }.map_err(|error| context.translate(0, error))?;
                self.modules.insert(key, module);
                module
            }
        };
        for name in entry_names(kernel, launch.constants) {
            let symbol = |name: String| CString::new(name).map_err(|error| fail(error.to_string()));
            // SAFETY: the module is loaded and stays so.
            match unsafe { result::module::get_function(module, symbol(name.clone())?) } {
                Ok(function) => {
                    return describe(module, function, &symbol(format!("{name}_shared"))?).map_err(|error| context.translate(0, error));
                }
                Err(error) if error.0 == sys::cudaError_enum::CUDA_ERROR_NOT_FOUND => {}
                Err(error) => return Err(context.translate(0, error)),
            }
        }
        Err(fail(format!("the PTX has no entry {}", entry_names(kernel, launch.constants).next().unwrap_or_default())))
    }
}

/// What an entry is called: the kernel's name and the values of its constants, of which the last may be
/// left out by a kernel that finds them in its `Params`.
fn entry_names(kernel: &Kernel, constants: &[(&'static str, f64)]) -> impl Iterator<Item = String> {
    (0..=constants.len()).rev().map(|count| {
        let mut name = kernel.name.replace('.', "_");
        constants[..count].iter().for_each(|(_, value)| name.push_str(&format!("_{value}")));
        name
    })
}

/// The text with the definition of the function that it declares.
fn with_function(ptx: &str, function: Option<&str>) -> String {
    match function {
        // The declaration is no longer one of something elsewhere.
        Some(function) => format!(
            "{}\n{function}",
            ptx.replace(".extern .func  (.param .b32 func_retval0) f\n", ".visible .func  (.param .b32 func_retval0) f\n")
        ),
        None => ptx.into(),
    }
}

fn describe(
    module: sys::CUmodule,
    function: sys::CUfunction,
    shared_symbol: &std::ffi::CStr,
) -> std::result::Result<Entry, cudarc::driver::DriverError> {
    use sys::CUfunction_attribute as Attribute;
    let (mut address, mut bytes) = (0, 0);
    let mut shared = 0u32;
    // SAFETY: the function is one of the module's; a symbol that is found is a word.
    unsafe {
        let found = sys::cuModuleGetGlobal_v2(&mut address, &mut bytes, module, shared_symbol.as_ptr());
        if found.result().is_ok() {
            result::memcpy_dtoh_sync(std::slice::from_mut(&mut shared), address)?;
            result::function::set_function_attribute(function, Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared as i32)?;
        }
        let threads = result::function::get_function_attribute(function, Attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK)?;
        Ok(Entry { function, threads: threads as u32, shared })
    }
}
