//! Every kernel of core WGSL, launch by launch: what the device makes of what it was given is what the
//! kernel's definition makes of it.
//!
//! `BANDSAW_LAUNCHES=FOLDER` writes the launches there, a JSON file for each kernel and set of constants, for
//! `scripts/tint`, which runs them through another compiler.

mod common;

#[path = "launches/work.rs"]
mod work;

use std::collections::BTreeSet;

use bandsaw::{Traced, kernels, trace};
use common::{Variant, devices};
use naga::{AddressSpace, Scalar, ScalarKind, StorageAccess, TypeInner};

/// For each output whether it holds f32; else words.
fn floats(launch: &Traced) -> Vec<bool> {
    let module = naga::front::wgsl::parse_str(&launch.source).unwrap();
    let written = |space| matches!(space, AddressSpace::Storage { access } if access.contains(StorageAccess::STORE));
    let mut outputs: Vec<_> = module.global_variables.iter().filter(|(_, variable)| written(variable.space)).collect();
    outputs.sort_by_key(|(_, variable)| variable.binding.map(|at| at.binding));
    let scalar = |kind| matches!(kind, Scalar { kind: ScalarKind::Float, .. });
    let is_float = |variable: &naga::GlobalVariable| match module.types[variable.ty].inner {
        TypeInner::Array { base, .. } => match module.types[base].inner {
            TypeInner::Scalar(kind) | TypeInner::Vector { scalar: kind, .. } => scalar(kind),
            _ => panic!("{}: an array of neither numbers nor vectors", launch.kernel.name),
        },
        _ => panic!("{}: an output that is no array", launch.kernel.name),
    };
    outputs.into_iter().map(|(_, variable)| is_float(variable)).collect()
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect()
}

/// How far an f32 may be from its definition, relative to the largest that the launch writes. Sums here have at
/// most some hundred terms; WGSL lets sine and cosine be off by 2⁻¹¹.
fn tolerance(launch: &Traced) -> f32 {
    let calls = |function| launch.source.contains(&format!("expr_keep({function}("));
    if calls("expr_sin") || calls("expr_cos") { 1.0 / 1024.0 } else { 2e-5 }
}

/// The first words that differ, if any do.
fn difference(got: &[u8], wanted: &[u8], float: bool, tolerance: f32) -> Option<String> {
    let (got, wanted) = (words(got), words(wanted));
    let values = || wanted.iter().map(|word| f32::from_bits(*word).abs()).filter(|value| value.is_finite());
    let largest = values().fold(0.0, f32::max);
    let same = |(got, wanted): (u32, u32)| {
        let (x, y) = (f32::from_bits(got), f32::from_bits(wanted));
        got == wanted || float && (x == y || x.is_nan() && y.is_nan() || (x - y).abs() <= tolerance * largest)
    };
    let n = got.iter().zip(&wanted).position(|(got, wanted)| !same((*got, *wanted)))?;
    let show = |word: u32| if float { f32::from_bits(word).to_string() } else { word.to_string() };
    Some(format!("word {n} is {} and should be {}", show(got[n]), show(wanted[n])))
}

/// Whether the next launch computes some lines anew: those of global positions, for which the definition has
/// what both leave.
fn is_first_of_two(launch: &Traced, next: Option<&Traced>) -> bool {
    next.is_some_and(|next| next.kernel.name == format!("{}.line", launch.kernel.name))
}

/// Launches by kernel and constants, some of each.
fn variants(launches: &[Traced]) -> Vec<Vec<&Traced>> {
    const EACH: usize = 3;
    let mut all: Vec<Vec<&Traced>> = Vec::new();
    let whole = launches.iter().enumerate().filter(|(n, launch)| !is_first_of_two(launch, launches.get(n + 1)));
    for (_, launch) in whole {
        let same = |other: &&Traced| other.source == launch.source && other.constants == launch.constants;
        match all.iter_mut().find(|variant| variant.iter().any(same)) {
            Some(variant) if variant.len() < EACH => variant.push(launch),
            Some(_) => {}
            None => all.push(vec![launch]),
        }
    }
    all
}

#[test]
fn every_core_kernel_does_what_its_definition_says() {
    let folder = std::env::var("BANDSAW_LAUNCHES").ok();
    let portable = |tested: &&common::Tested| tested.variant == Variant::Portable && tested.info.id.starts_with("wgpu");
    let vulkan_first = |tested: &&common::Tested| tested.info.backend == "gl";
    let Some(tested) = devices().iter().filter(portable).min_by_key(vulkan_first) else {
        assert!(folder.is_none(), "BANDSAW_LAUNCHES needs a wgpu adapter");
        return;
    };
    let (result, launches) = trace(|| work::everything(&tested.device));
    result.unwrap();

    let launched: BTreeSet<_> = launches.iter().map(|launch| launch.kernel.name).collect();
    let core = kernels().iter().filter(|kernel| !kernel.needs_matrix_units());
    let missing: Vec<_> = core.map(|kernel| kernel.name).filter(|name| !launched.contains(name)).collect();
    assert!(missing.is_empty(), "tests/launches/work.rs launches no {}", missing.join(", "));

    let mut wrong = Vec::new();
    for (at, launch) in launches.iter().enumerate() {
        let next = launches.get(at + 1).filter(|next| is_first_of_two(launch, Some(next)));
        let got = next.map_or(&launch.got, |next| &next.got);
        for (n, float) in floats(launch).into_iter().enumerate() {
            if let Some(difference) = difference(&got[n], &launch.wanted[n], float, tolerance(launch)) {
                wrong.push(format!("{} {:?}, output {n}: {difference}", launch.kernel.name, launch.constants));
            }
        }
    }
    assert!(wrong.is_empty(), "on {}:\n{}", tested.label, wrong.join("\n"));
    if let Some(folder) = folder {
        write(&folder, &variants(&launches));
    }
}

fn write(folder: &str, variants: &[Vec<&Traced>]) {
    std::fs::create_dir_all(folder).unwrap();
    let all = |buffers: &[Vec<u8>]| buffers.iter().map(|bytes| words(bytes)).collect::<Vec<_>>();
    let run = |launch: &&Traced| {
        assert!(launch.groups < 1 << 16, "{}: a grid of one dimension", launch.kernel.name);
        serde_json::json!({
            "groups": launch.groups,
            "params": words(&launch.params),
            "inputs": all(&launch.inputs),
            "before": all(&launch.before),
            "wanted": all(&launch.wanted),
        })
    };
    for (n, launches) in variants.iter().enumerate() {
        let first = launches[0];
        let constants: serde_json::Map<_, _> =
            first.constants.iter().map(|(name, value)| ((*name).to_owned(), serde_json::json!(value))).collect();
        let json = serde_json::json!({
            "kernel": first.kernel.name,
            "source": first.source,
            "constants": constants,
            "floats": floats(first),
            "tolerance": tolerance(first),
            "launches": launches.iter().map(run).collect::<Vec<_>>(),
        });
        std::fs::write(format!("{folder}/{n:03}-{}.json", first.kernel.name), json.to_string()).unwrap();
    }
}
