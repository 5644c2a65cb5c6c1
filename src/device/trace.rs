//! What a piece of work launches, written down so that tests can run each kernel alone, in other compilers too.

use std::cell::RefCell;

use super::cpu::Cpu;
use super::{Buffer, Device, Launch};
use crate::Result;
use crate::expr::Expr;
use crate::kernel::Kernel;

/// One launch: the kernel, what it was given, and what came out.
#[derive(Clone)]
pub struct Traced {
    /// Which kernel.
    pub kernel: &'static Kernel,
    /// Its WGSL with the expression, if it takes one.
    pub source: String,
    /// The `override` constants.
    pub constants: Vec<(&'static str, f64)>,
    /// Workgroups, counted along one line.
    pub groups: u64,
    /// The bytes of `Params`.
    pub params: Vec<u8>,
    /// The bytes of each input.
    pub inputs: Vec<Vec<u8>>,
    /// The bytes of each output before the launch.
    pub before: Vec<Vec<u8>>,
    /// What the definition makes of them.
    pub wanted: Vec<Vec<u8>>,
    /// What the device made of them.
    pub got: Vec<Vec<u8>>,
}

thread_local! {
    static TRACE: RefCell<Option<Vec<Traced>>> = const { RefCell::new(None) };
}

/// Runs `work` and returns what it launched from this thread, on any device.
pub fn trace<T>(work: impl FnOnce() -> T) -> (T, Vec<Traced>) {
    TRACE.set(Some(Vec::new()));
    let result = work();
    (result, TRACE.take().unwrap_or_default())
}

/// Runs a launch, written down if this thread traces.
pub(super) fn traced(device: &Device, launch: &Launch<'_>, run: impl FnOnce() -> Result<()>) -> Result<()> {
    let Some(mut trace) = TRACE.take() else { return run() };
    let done = note(device, launch, run);
    let result = done.map(|traced| trace.push(traced));
    TRACE.set(Some(trace));
    result
}

fn note(device: &Device, launch: &Launch<'_>, run: impl FnOnce() -> Result<()>) -> Result<Traced> {
    let bytes = |buffers: &[&Buffer]| buffers.iter().map(|buffer| device.read(buffer)).collect::<Result<Vec<_>>>();
    let (inputs, before) = (bytes(launch.inputs)?, bytes(launch.outputs)?);
    run()?;
    Ok(Traced {
        kernel: launch.kernel,
        source: launch.kernel.source(launch.function.map(Expr::to_wgsl).as_deref()),
        constants: launch.constants.to_vec(),
        groups: launch.groups,
        params: launch.params.to_vec(),
        wanted: defined(launch, &inputs, &before)?,
        inputs,
        before,
        got: bytes(launch.outputs)?,
    })
}

/// What the kernel's definition leaves in the outputs.
fn defined(launch: &Launch<'_>, inputs: &[Vec<u8>], before: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    let cpu = Device::cpu();
    let upload = |bytes: &Vec<u8>| -> Result<Buffer> {
        let buffer = cpu.alloc(bytes.len())?;
        cpu.write(&buffer, bytes)?;
        Ok(buffer)
    };
    let inputs = inputs.iter().map(upload).collect::<Result<Vec<_>>>()?;
    let outputs = before.iter().map(upload).collect::<Result<Vec<_>>>()?;
    let (inputs, views): (Vec<_>, Vec<_>) = (inputs.iter().collect(), outputs.iter().collect());
    Cpu::default().launch(&Launch { inputs: &inputs, outputs: &views, ..*launch })?;
    outputs.iter().map(|buffer| cpu.read(buffer)).collect()
}
