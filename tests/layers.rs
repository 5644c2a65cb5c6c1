//! One stem per operation, found in every layer: a missing sibling is named.

use std::collections::BTreeSet;
use std::path::Path;

/// Files in src/ops that are no operation.
const HELPERS: &[&str] = &["common", "tokens"];

/// Stems that other operations use and users never see; they are tested through those.
const INTERNAL: &[&str] = &[
    "cast", // f16 operands and results of every operation
];

/// Kernels that belong to an operation with another stem.
const PARTS: &[(&str, &str)] = &[
    ("matmul_scale", "matmul"), // the scales of (logsumexp, +)
];

/// The stems of the files in a folder: what comes before the first dot.
fn stems(folder: &str, extension: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(extension)).map(|name| name.split('.').next().unwrap().to_owned()).collect()
}

/// One line per file that should be there.
fn missing(stems: &BTreeSet<String>, there: &BTreeSet<String>, file: impl Fn(&str) -> String) -> Vec<String> {
    stems.difference(there).map(|stem| file(stem)).collect()
}

#[test]
fn every_operation_is_in_every_layer() {
    let mut operations = stems("src/ops", ".rs");
    operations.retain(|stem| !HELPERS.contains(&stem.as_str()));
    let mut tested = stems("tests/ops", ".rs");
    tested.extend(INTERNAL.iter().map(|stem| (*stem).to_owned()));
    let mut all = missing(&operations, &stems("src/cpu", ".rs"), |stem| format!("src/cpu/{stem}.rs"));
    all.extend(missing(&operations, &stems("shaders", ".wgsl"), |stem| format!("shaders/{stem}.wgsl")));
    all.extend(missing(&operations, &stems("shaders", ".cu"), |stem| format!("shaders/{stem}.cu")));
    all.extend(missing(&operations, &tested, |stem| format!("tests/ops/{stem}.rs")));
    assert!(all.is_empty(), "missing: {}", all.join(", "));
}

#[test]
fn every_kernel_has_an_operation_and_a_definition() {
    let (operations, shaders, definitions) = (stems("src/ops", ".rs"), stems("shaders", ".wgsl"), stems("src/cpu", ".rs"));
    assert_eq!(shaders, definitions, "shaders/<stem>.wgsl and src/cpu/<stem>.rs go together");
    for stem in &shaders {
        let owner = PARTS.iter().find(|(part, _)| part == stem).map_or(stem.as_str(), |(_, owner)| owner);
        assert!(operations.contains(owner), "missing: src/ops/{owner}.rs for shaders/{stem}.wgsl");
    }
    for kernel in bandsaw::kernels() {
        assert!(shaders.contains(kernel.stem()), "missing: shaders/{}.wgsl for the kernel {}", kernel.stem(), kernel.name);
    }
}

#[test]
fn every_test_file_runs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let roots = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file());
    let roots: String = roots.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for stem in stems("tests/ops", ".rs") {
        assert!(roots.contains(&format!("\"ops/{stem}.rs\"")), "no file in tests/ names ops/{stem}.rs");
    }
}
