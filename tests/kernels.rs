//! Every kernel's shader: valid, in agreement with its Rust side, and translatable to every
//! language that wgpu's backends take.

use std::collections::BTreeSet;
use std::path::Path;

use bandsaw::{Kernel, kernels};
use naga::back::{glsl, hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage, StorageAccess, TypeInner};

/// What an expression becomes, for the kernels that take one.
const FUNCTION: &str = "fn f(a: f32, b: f32, c: f32) -> f32 { return exp(a) + b * c; }";

fn parse(kernel: &Kernel) -> Module {
    let takes_function = |source: &str| source.contains("f(a, b, c)") || source.contains(" f(") && !source.contains("fn f(");
    let plain = kernel.source(None);
    let source = if takes_function(&plain) { kernel.source(Some(FUNCTION)) } else { plain };
    naga::front::wgsl::parse_str(&source).unwrap_or_else(|error| panic!("{}: {}", kernel.name, error.emit_to_string(&source)))
}

/// The kernels of core WGSL. The others run on matrix units, which no device that takes HLSL or GLSL
/// announces.
fn core_kernels() -> impl Iterator<Item = &'static Kernel> {
    kernels().iter().copied().filter(|kernel| !kernel.needs_matrix_units())
}

/// What the shader may use beyond core WGSL: matrix units and what comes with them, or nothing.
fn capabilities(kernel: &Kernel) -> Capabilities {
    if !kernel.needs_matrix_units() {
        return Capabilities::empty();
    }
    Capabilities::COOPERATIVE_MATRIX | Capabilities::SHADER_FLOAT16 | Capabilities::SUBGROUP | Capabilities::SUBGROUP_BARRIER
}

fn validate(kernel: &Kernel, module: &Module) -> ModuleInfo {
    let mut validator = Validator::new(ValidationFlags::all(), capabilities(kernel));
    validator.validate(module).unwrap_or_else(|error| panic!("{}: {}", kernel.name, error.emit_to_string(&kernel.source(None))))
}

/// The module with its `override` constants at their defaults.
fn resolved(kernel: &Kernel) -> (Module, ModuleInfo) {
    let module = parse(kernel);
    let info = validate(kernel, &module);
    let entry = module.entry_points[0].name.clone();
    let constants = Default::default();
    let resolved = naga::back::pipeline_constants::process_overrides(&module, &info, Some((ShaderStage::Compute, &entry)), &constants);
    let (module, info) = resolved.unwrap_or_else(|error| panic!("{}: {error}", kernel.name));
    (module.into_owned(), info.into_owned())
}

#[test]
fn names_are_unique() {
    let names: BTreeSet<_> = kernels().iter().map(|kernel| kernel.name).collect();
    assert_eq!(names.len(), kernels().len());
}

#[test]
fn every_shader_is_valid() {
    for kernel in kernels() {
        let module = parse(kernel);
        validate(kernel, &module);
        let entries: Vec<_> = module.entry_points.iter().map(|entry| (entry.name.as_str(), entry.stage)).collect();
        assert_eq!(entries, [("main", ShaderStage::Compute)], "{}", kernel.name);
    }
}

#[test]
fn params_have_the_offsets_of_their_rust_struct() {
    for kernel in kernels() {
        let module = parse(kernel);
        let params = module.global_variables.iter().map(|(_, variable)| variable);
        let params = params.filter(|variable| variable.space == AddressSpace::Uniform).collect::<Vec<_>>();
        assert_eq!(params.len(), 1, "{}: one uniform", kernel.name);
        let TypeInner::Struct { members, span } = &module.types[params[0].ty].inner else {
            panic!("{}: Params is no struct", kernel.name);
        };
        let members: Vec<_> = members.iter().map(|member| (member.name.as_deref().unwrap_or(""), member.offset as usize)).collect();
        assert_eq!(members, kernel.params, "{}", kernel.name);
        assert!(*span <= 64, "{}: Params has {span} bytes", kernel.name);
    }
}

#[test]
fn bindings_are_params_then_inputs_then_outputs() {
    for kernel in kernels() {
        let module = parse(kernel);
        let mut bindings: Vec<_> =
            module.global_variables.iter().filter_map(|(_, v)| v.binding.map(|at| (at.group, at.binding, v.space))).collect();
        bindings.sort_by_key(|(group, binding, _)| (*group, *binding));
        let read = AddressSpace::Storage { access: StorageAccess::LOAD };
        let write = AddressSpace::Storage { access: StorageAccess::LOAD | StorageAccess::STORE };
        let storage = |n| if n < kernel.inputs { read } else { write };
        let mut wanted = vec![(0, 0, AddressSpace::Uniform)];
        wanted.extend((0..kernel.inputs + kernel.outputs).map(|n| (0, n as u32 + 1, storage(n))));
        assert_eq!(bindings, wanted, "{}", kernel.name);
    }
}

#[test]
fn every_shader_translates_to_spir_v() {
    for kernel in kernels() {
        let (module, info) = resolved(kernel);
        let pipeline = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".into() };
        let words = spv::write_vec(&module, &info, &spv::Options::default(), Some(&pipeline));
        let words = words.unwrap_or_else(|error| panic!("{}: {error}", kernel.name));
        assert_eq!(words[0], 0x0723_0203, "{}: the magic number", kernel.name);
    }
}

#[test]
fn every_shader_translates_to_msl() {
    for kernel in kernels() {
        let (module, info) = resolved(kernel);
        let options = msl::Options { lang_version: (2, 4), fake_missing_bindings: true, ..msl::Options::default() };
        let text = msl::write_string(&module, &info, &options, &msl::PipelineOptions::default());
        let (text, _) = text.unwrap_or_else(|error| panic!("{}: {error}", kernel.name));
        assert!(text.contains("kernel void"), "{}", kernel.name);
    }
}

#[test]
fn core_shaders_translate_to_hlsl() {
    for kernel in core_kernels() {
        let (module, info) = resolved(kernel);
        let options = hlsl::Options { fake_missing_bindings: true, shader_model: hlsl::ShaderModel::V6_0, ..hlsl::Options::default() };
        let pipeline = hlsl::PipelineOptions::default();
        let mut text = String::new();
        let written = hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None);
        written.unwrap_or_else(|error| panic!("{}: {error}", kernel.name));
        assert!(text.contains("[numthreads("), "{}", kernel.name);
    }
}

#[test]
fn core_shaders_translate_to_glsl() {
    for kernel in core_kernels() {
        let (module, info) = resolved(kernel);
        // OpenGL ES 3.1, the least that computes.
        let options = glsl::Options { version: glsl::Version::new_gles(310), ..glsl::Options::default() };
        let pipeline = glsl::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".into(), multiview: None };
        let mut text = String::new();
        let writer = glsl::Writer::new(&mut text, &module, &info, &options, &pipeline, naga::proc::BoundsCheckPolicies::default());
        writer.and_then(|mut writer| writer.write()).unwrap_or_else(|error| panic!("{}: {error}", kernel.name));
        assert!(text.contains("local_size_x"), "{}", kernel.name);
    }
}

#[test]
fn every_shader_file_is_used() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let mut texts = BTreeSet::new();
    for kernel in kernels() {
        texts.extend(kernel.wgsl.iter().copied());
    }
    let mut files = 0;
    for folder in [folder.clone(), folder.join("shared")] {
        let files_of = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        for file in files_of(&folder).filter(|path| path.extension().is_some_and(|extension| extension == "wgsl")) {
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(texts.contains(text.as_str()), "no kernel uses {}", file.display());
            files += 1;
        }
    }
    assert_eq!(files, texts.len(), "every text a kernel uses is a file in shaders/");
}

/// The kernel's entries in the PTX: its name, and the values of constants.
#[cfg(feature = "cuda")]
fn entries<'a>(kernel: &Kernel, ptx: &'a str) -> Vec<&'a str> {
    let name = kernel.name.replace('.', "_");
    let is_its = |entry: &&str| entry.strip_prefix(&name).is_some_and(|rest| rest.chars().all(|c| c == '_' || c.is_ascii_digit()));
    ptx.lines().filter_map(|line| line.strip_prefix(".visible .entry ")?.strip_suffix('(')).filter(is_its).collect()
}

#[cfg(feature = "cuda")]
#[test]
fn every_kernel_has_ptx() {
    let mut missing = Vec::new();
    for kernel in kernels() {
        let none = kernel.is_for_wgpu_alone();
        if kernel.ptx.is_empty() != none || kernel.ptx.iter().any(|ptx| entries(kernel, ptx).is_empty()) {
            missing.push(kernel.name);
        }
    }
    assert!(missing.is_empty(), "no PTX for: {}", missing.join(", "));
}

#[cfg(feature = "cuda")]
#[test]
fn every_ptx_file_is_used() {
    let used: BTreeSet<_> = kernels().iter().flat_map(|kernel| kernel.ptx.iter().copied()).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders/ptx");
    for file in std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()) {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(used.contains(text.as_str()), "no kernel uses {}", file.display());
    }
}

/// Binding for binding as in WGSL: the bytes of `Params`, then a pointer for each buffer.
#[cfg(feature = "cuda")]
#[test]
fn ptx_entries_take_params_and_every_buffer() {
    for kernel in kernels() {
        let params = kernel.params.len() * 4;
        for ptx in kernel.ptx {
            for entry in entries(kernel, ptx) {
                let start = ptx.find(&format!(".entry {entry}(")).unwrap();
                let head = &ptx[start..start + ptx[start..].find(')').unwrap()];
                assert!(head.contains(&format!("_param_0[{params}]")), "{entry}: {head}");
                assert_eq!(head.matches(".param .u64").count(), kernel.inputs + kernel.outputs, "{entry}: {head}");
            }
        }
    }
}

/// An entry that waits for the kernel before (`shaders/shared/early.cuh`) does nothing before that a kernel still running could see
/// or change, and no thread of it ends before.
#[cfg(feature = "cuda")]
#[test]
fn ptx_entries_that_wait_do_it_first() {
    let mut waiting = Vec::new();
    for kernel in kernels() {
        for ptx in kernel.ptx {
            for entry in entries(kernel, ptx) {
                let text = ptx.split_once(&format!(".entry {entry}(")).unwrap().1;
                let body = text.split(".visible .entry ").next().unwrap();
                let Some((before, after)) = body.split_once("// after the kernel before") else { continue };
                let early = ["ld.global", "st.global", "ret;", "bra", "call", "cp.async", "atom", "red."]
                    .iter()
                    .find(|word| before.contains(**word));
                assert_eq!(early, None, "{entry} waits after that");
                assert!(!after.contains("// after the kernel before"), "{entry} waits twice");
                waiting.push(entry);
            }
        }
    }
    for entry in ["matmul_sum_5_4", "matmul_log_9_2", "matmul_max_9_1", "matmul_prodmax_8_0", "matmul_scale_8", "banded_zip", "cast"] {
        assert!(waiting.contains(&entry), "{entry} does not wait: {waiting:?}");
    }
}

/// The head of each file in `shaders/ptx` has the digest of what it was made from.
#[cfg(feature = "cuda")]
#[test]
fn ptx_is_what_the_sources_give() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/ptx");
    let output = std::process::Command::new(script).arg("--stale").output().unwrap();
    assert!(output.status.success(), "run scripts/ptx:\n{}", String::from_utf8_lossy(&output.stdout));
}
