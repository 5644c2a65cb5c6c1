//! Kernels loaded so far. A module is one entry of the PTX, with the function that an expression became.

use std::ffi::{CString, c_void};

use cudarc::driver::{DriverError, result, sys};

use super::Context;
use super::maps::{self, MAPS, Map};
use crate::device::launch::{Compiled, Launch};
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
    /// The maps of inputs that it takes behind the pointers.
    pub maps: [Option<Map>; MAPS],
    /// Whether it waits itself for the kernel before, so that it may start before that has ended.
    pub early: bool,
}

impl Entry {
    /// Runs blocks of it on the stream.
    ///
    /// # Safety
    /// As for [`result::launch_kernel`].
    pub unsafe fn launch(&self, groups: u32, stream: sys::CUstream, arguments: &mut [*mut c_void]) -> std::result::Result<(), DriverError> {
        if !self.early {
            // SAFETY: what the caller says.
            return unsafe { result::launch_kernel(self.function, (groups, 1, 1), (self.threads, 1, 1), self.shared, stream, arguments) };
        }
        let mut early = sys::CUlaunchAttribute {
            id: sys::CUlaunchAttributeID_enum::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
            pad: [0; 4],
            value: sys::CUlaunchAttributeValue { programmaticStreamSerializationAllowed: 1 },
        };
        let config = sys::CUlaunchConfig {
            gridDimX: groups,
            gridDimY: 1,
            gridDimZ: 1,
            blockDimX: self.threads,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: self.shared,
            hStream: stream,
            attrs: &raw mut early,
            numAttrs: 1,
        };
        // SAFETY: what the caller says; the attribute outlives the call.
        unsafe { sys::cuLaunchKernelEx(&raw const config, self.function, arguments.as_mut_ptr(), std::ptr::null_mut()).result() }
    }
}

/// The entries loaded by one device.
pub(crate) struct Modules {
    hopper: bool,
    /// Whether kernels may start before the one before has ended.
    early: bool,
    loaded: Vec<sys::CUmodule>,
    entries: Compiled<Entry>,
}

// SAFETY: handles that any thread may use once the context is bound to it.
unsafe impl Send for Modules {}

impl Modules {
    pub fn new(hopper: bool, early: bool) -> Self {
        Self { hopper, early, loaded: Vec::new(), entries: Compiled::new() }
    }

    /// The entry for this launch, loaded if it is new. The context is bound to this thread.
    pub fn entry(&mut self, context: &Context, launch: &Launch<'_>) -> Result<Entry> {
        if let Some(entry) = self.entries.get(launch) {
            return Ok(entry);
        }
        let entry = self.load(context, launch)?;
        self.entries.insert(launch, entry);
        Ok(entry)
    }

    /// Gives all modules back, with the context bound to this thread and no kernel running.
    pub fn unload(&mut self) {
        self.entries = Compiled::new();
        for module in self.loaded.drain(..) {
            // SAFETY: loaded by `load`. If the driver refuses, the context is lost and its modules with it.
            let _ = unsafe { result::module::unload(module) };
        }
    }

    fn load(&mut self, context: &Context, launch: &Launch<'_>) -> Result<Entry> {
        let kernel = launch.kernel;
        let fail = |message: &str| Error::Backend { device: context.name().into(), message: format!("{}: {message}", kernel.name) };
        let (ptx, name) = found(kernel, launch.constants, self.hopper).ok_or_else(|| fail("the PTX has no such entry"))?;
        let shared = format!("{name}_shared");
        let shared = ptx.contains(&format!(" {shared} =")).then_some(shared);
        let maps = format!("{name}_maps");
        let maps = ptx.contains(&format!(" {maps}[")).then_some(maps);
        let text = module_text(ptx, &name, launch.function.map(Expr::to_ptx).as_deref());
        let waiting = if self.early { waiting_text(&text) } else { None };
        let (early, text) = (waiting.is_some(), waiting.unwrap_or(text));
        let zero_terminated = |text: String| CString::new(text).map_err(|_| fail("a zero in the PTX"));
        let (text, name) = (zero_terminated(text)?, zero_terminated(name)?);
        let (shared, maps) = (shared.map(zero_terminated).transpose()?, maps.map(zero_terminated).transpose()?);
        let load = || -> std::result::Result<Entry, DriverError> {
            // SAFETY: the text ends with a zero; the module stays loaded as long as its device.
            unsafe {
                let module = result::module::load_data(text.as_ptr().cast())?;
                self.loaded.push(module);
                let entry = describe(module, result::module::get_function(module, name)?, shared.as_deref())?;
                let maps = if let Some(symbol) = maps { maps::described(module, &symbol)? } else { [None; MAPS] };
                Ok(Entry { early, maps, ..entry })
            }
        };
        load().map_err(|error| context.translate(0, error))
    }
}

/// The text that has the entry, and its name. Not all entries have code of their own for Hopper.
fn found(kernel: &Kernel, constants: &[(&'static str, f64)], hopper: bool) -> Option<(&'static str, String)> {
    let texts = if hopper { kernel.ptx } else { kernel.ptx.get(..1)? };
    entry_names(kernel, constants).find_map(|name| {
        let text = texts.iter().rev().find(|ptx| ptx.contains(&format!(".entry {name}(")))?;
        Some((*text, name))
    })
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

/// The text with one of its entries alone, so that the driver compiles no others, and the definition of the
/// function that it declares.
fn module_text(ptx: &str, entry: &str, function: Option<&str>) -> String {
    let wanted = format!(".visible .entry {entry}(");
    let mut text = String::with_capacity(1 << 17);
    // While another entry is left out, how many of its braces are open.
    let (mut skipping, mut open) = (false, 0i32);
    for line in ptx.lines() {
        skipping |= line.starts_with(".visible .entry ") && !line.starts_with(&wanted);
        // The declaration is no longer one of something elsewhere.
        let line = if function.is_some() && line.ends_with(" f") { line.replacen(".extern", ".visible", 1) } else { line.to_owned() };
        if !skipping {
            text.push_str(&line);
            text.push('\n');
        }
        if skipping {
            let change = line.matches('{').count() as i32 - line.matches('}').count() as i32;
            open += change;
            skipping = open > 0 || change == 0;
        }
    }
    text.push_str(function.unwrap_or_default());
    text
}

/// The text of a kernel that waits for the one before where it says so (`shaders/shared/early.cuh`), for Hopper and later; none where
/// it says nothing.
fn waiting_text(text: &str) -> Option<String> {
    const HERE: &str = "// after the kernel before";
    let waits = "griddepcontrol.wait;\n\tgriddepcontrol.launch_dependents;";
    text.contains(HERE).then(|| text.replacen(".target sm_80", ".target sm_90", 1).replace(HERE, waits))
}

fn describe(
    module: sys::CUmodule,
    function: sys::CUfunction,
    shared_symbol: Option<&std::ffi::CStr>,
) -> std::result::Result<Entry, DriverError> {
    use sys::CUfunction_attribute as Attribute;
    let (mut address, mut bytes) = (0, 0);
    let mut shared = 0u32;
    // SAFETY: the function is one of the module's; the symbol is a word.
    unsafe {
        if let Some(symbol) = shared_symbol {
            sys::cuModuleGetGlobal_v2(&mut address, &mut bytes, module, symbol.as_ptr()).result()?;
            result::memcpy_dtoh_sync(std::slice::from_mut(&mut shared), address)?;
            result::function::set_function_attribute(function, Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared as i32)?;
        }
        let threads = result::function::get_function_attribute(function, Attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK)?;
        Ok(Entry { function, threads: threads as u32, shared, maps: [None; MAPS], early: false })
    }
}

#[cfg(test)]
mod tests {
    use super::{found, module_text, waiting_text};
    use crate::ops::block_matmul::cooperative::KERNEL;

    /// The instructions are in the one text that has a place for them, which is then for the oldest GPU that has them.
    #[test]
    fn a_kernel_that_waits_is_text_for_newer_gpus() {
        let constants = [("COLUMNS", 5.0), ("SLIDE", 4.0)];
        let (ptx, name) = found(&crate::ops::matmul::SUM[0], &constants, false).unwrap();
        let text = module_text(ptx, &name, None);
        assert!(text.contains("\n.target sm_80\n") && !text.contains("griddepcontrol"));
        let waiting = waiting_text(&text).unwrap();
        assert!(waiting.contains("\n.target sm_90\n"));
        assert_eq!(waiting.matches("\tgriddepcontrol.wait;\n\tgriddepcontrol.launch_dependents;\n").count(), 1);
        assert_eq!(waiting_text(KERNEL.ptx[0]), None);
    }

    /// Pairs of blocks of threads have entries of their own on Hopper, each with the maps that it takes beside it.
    #[test]
    fn entries_for_pairs_say_which_maps_they_take() {
        for along in [0.0, 1.0] {
            let constants = [("SLICE", 128.0), ("ALONG", along), ("BRAIN", 0.0), ("BLOCKS", 2.0), ("FLAGS", 5.0)];
            let (ptx, name) = found(&KERNEL, &constants, true).unwrap();
            assert_eq!((ptx, name.clone()), (KERNEL.ptx[1], format!("block_matmul_cooperative_128_{along}_0_2")));
            // Three words each: the input, the word of `Params` with the length of its lines, and the lines of a box.
            let length = if along == 0.0 { "width" } else { "depth" };
            let word = |field| KERNEL.params.iter().find(|(name, _)| *name == field).unwrap().1 / 4;
            let maps = [[0, word("x_stride"), 128], [1, word(length), 64]];
            let bytes: Vec<_> = maps.iter().flatten().flat_map(|word| [word.to_string(), "0".into(), "0".into(), "0".into()]).collect();
            let symbol = format!(".b8 {name}_maps[24] = {{{}", bytes[..21].join(", "));
            assert!(module_text(ptx, &name, None).contains(&symbol), "{symbol}");
        }
    }

    /// bf16 has no code of its own for Hopper, and must not get that of f16.
    #[test]
    fn entries_without_code_for_hopper_take_that_for_all() {
        let constants = |brain| [("SLICE", 64.0), ("ALONG", 1.0), ("BRAIN", brain), ("FLAGS", 5.0)];
        let [all, hopper] = KERNEL.ptx else { panic!("two texts") };
        for (brain, on_hopper, text) in [(0.0, false, all), (0.0, true, hopper), (1.0, false, all), (1.0, true, all)] {
            let (ptx, name) = found(&KERNEL, &constants(brain), on_hopper).unwrap();
            assert_eq!((ptx == *text, name), (true, format!("block_matmul_cooperative_64_1_{brain}")));
        }
    }
}
