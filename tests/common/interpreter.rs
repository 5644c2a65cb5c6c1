//! An interpreter of the kernels' WGSL, as naga reads it: a device of the tests, on which every kernel
//! runs anywhere, those for matrix units too.
//!
//! The invocations of a workgroup go in step, each statement for all that come to it; 32 in a row are a
//! subgroup. What a GPU would leave undefined ends the test, with the kernel, the invocation and the line:
//!
//! - access outside of a buffer or an array, and integers divided by 0;
//! - workgroup memory read before anything wrote it;
//! - workgroup memory touched by two invocations, one of them writing, with no barrier between (that of
//!   the subgroup is enough inside one; a cooperative matrix is touched by its whole subgroup);
//! - barriers, subgroup operations and cooperative matrices where not all that must come do;
//! - a scalar of an output written by two invocations, or read by another than wrote it.
//!
//! It has what the kernels use; more is added where a kernel needs it, and named until then.

mod access;
mod arithmetic;
mod expressions;
mod machine;
mod mask;
mod memory;
mod program;
mod subgroup;
mod types;
mod value;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use bandsaw::{Device, Interpreted, Options};
use naga::{AddressSpace, ScalarKind, StorageAccess, TypeInner};
use rayon::prelude::*;

use machine::{Launch, Machine};
use memory::{Buffer, Output};
use program::Program;

/// The names of the kernels that have run.
static LAUNCHED: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

/// Workgroups along the grid's first dimension: few, so that the kernels' way of counting them is used.
const GRID: u32 = 13;

/// A device whose kernels are interpreted.
pub fn device(options: Options) -> Device {
    Device::interpreted(run, options)
}

/// The names of the kernels that have run in this process so far.
pub fn launched() -> BTreeSet<&'static str> {
    LAUNCHED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Runs what a device of the library launches.
pub fn run(launch: Interpreted<'_>) {
    LAUNCHED.lock().unwrap_or_else(PoisonError::into_inner).insert(launch.kernel.name);
    let Interpreted { kernel, source, constants, params, inputs, outputs, groups } = launch;
    interpret(kernel.name, &source, constants, params, inputs, outputs, groups);
}

/// Of each output of a text, in their order, whether it holds f32; else words.
pub fn outputs_of_f32(name: &str, source: &str, constants: &[(&str, f64)]) -> Vec<bool> {
    let module = &Program::get(name, source, constants).module;
    let written = |space| matches!(space, AddressSpace::Storage { access } if access.contains(StorageAccess::STORE));
    let mut outputs: Vec<_> = module.global_variables.iter().filter(|(_, variable)| written(variable.space)).collect();
    outputs.sort_by_key(|(_, variable)| variable.binding.map(|at| at.binding));
    let is_float = |ty| module.types[ty].inner.scalar().is_some_and(|scalar| scalar.kind == ScalarKind::Float);
    let item = |ty| if let TypeInner::Array { base, .. } = module.types[ty].inner { base } else { ty };
    outputs.into_iter().map(|(_, variable)| is_float(item(variable.ty))).collect()
}

/// Runs the entry point `main` of a text.
pub fn interpret(
    name: &str,
    source: &str,
    constants: &[(&str, f64)],
    params: &[u8],
    inputs: &[Vec<u32>],
    outputs: &mut [Vec<u32>],
    groups: u64,
) {
    let program = Program::get(name, source, constants);
    let params: Vec<u32> = bytemuck::pod_collect_to_vec(params);
    let rows = groups.div_ceil(u64::from(GRID));
    let grid = [groups.div_ceil(rows) as u32, rows as u32];
    let bound = program.module.global_variables.iter().map(|(handle, variable)| {
        let binding = variable.binding.map(|at| at.binding as usize)?;
        let unit = program.units[handle.index()];
        Some(match variable.space {
            AddressSpace::Uniform => Buffer::Read { words: &params, unit },
            AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => {
                Buffer::Write(Output::new(&outputs[binding - 1 - inputs.len()], unit))
            }
            _ => Buffer::Read { words: &inputs[binding - 1], unit },
        })
    });
    let launch = Launch { program: &program, buffers: bound.collect(), grid };
    (0..grid[0] * grid[1]).into_par_iter().for_each(|group| Machine::new(&launch, group).run());
    let written = launch.buffers.into_iter().zip(program.module.global_variables.iter());
    for (buffer, (_, variable)) in written {
        if let (Some(Buffer::Write(output)), Some(at)) = (buffer, variable.binding) {
            output.into_words(&mut outputs[at.binding as usize - 1 - inputs.len()]);
        }
    }
}
