//! Every kernel there is, at small sizes through the operations, with the CPU's results.

use std::collections::BTreeSet;
use std::sync::Mutex;

use bandsaw::*;

use crate::common::{Host, interpreter};
use crate::work::everything;

/// Holds what a device gave against the CPU.
fn check(device: &Device) {
    let (got, want) = (everything(device).unwrap(), everything(&Device::cpu()).unwrap());
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert_eq!((&got.what, got.values.len()), (&want.what, want.values.len()));
        // Sums of at most some thousand terms; halves are rounded by both, and on matrix units once more within.
        let allowed = match want.dtype {
            Dtype::F32 => 2e-5,
            Dtype::F16 => 4e-3,
            Dtype::Bf16 => 2e-2,
            Dtype::U32 => 0.0,
        };
        let largest = want.values.iter().filter(|value| value.is_finite()).fold(0f32, |largest, value| largest.max(value.abs()));
        for (n, (got_value, want_value)) in got.values.iter().zip(&want.values).enumerate() {
            let near = (got_value - want_value).abs() <= allowed * largest || got_value == want_value;
            assert!(near, "{device:?}, {}, value {n}: got {got_value}, must be {want_value}", got.what);
        }
    }
}

/// `BANDSAW_LAUNCHES=FOLDER` writes some launches of each kernel of core WGSL and set of constants there, as JSON,
/// for `scripts/tint`, which runs them through another compiler.
#[test]
fn every_kernel_runs_and_gives_what_its_definition_gives() {
    check(&interpreter::device(Options { poison: true, ..Options::default() }));
    LAUNCHES.lock().unwrap().clear();
    check(&Device::interpreted(noted, Options { poison: true, portable: true, ..Options::default() }));
    let all: BTreeSet<_> = kernels().iter().map(|kernel| kernel.name).collect();
    let missing: Vec<_> = all.difference(&interpreter::launched()).copied().collect();
    assert!(missing.is_empty(), "tests/interpreter/work.rs launches no {}", missing.join(", "));
    if let Ok(folder) = std::env::var("BANDSAW_LAUNCHES") {
        write(&folder, &LAUNCHES.lock().unwrap());
    }
}

/// Some launches of one kernel with its constants.
struct Variant {
    kernel: &'static str,
    source: String,
    constants: Vec<(&'static str, f64)>,
    launches: Vec<serde_json::Value>,
}

static LAUNCHES: Mutex<Vec<Variant>> = Mutex::new(Vec::new());

/// Runs a launch, and notes it if there are few like it yet.
fn noted(launch: Interpreted<'_>) {
    const EACH: usize = 3;
    let Interpreted { kernel, constants, params, inputs, groups, .. } = launch;
    let (source, before) = (launch.source.clone(), launch.outputs.to_vec());
    interpreter::run(Interpreted { outputs: &mut *launch.outputs, source: source.clone(), ..launch });
    let mut variants = LAUNCHES.lock().unwrap();
    let same = |variant: &Variant| variant.source == source && variant.constants == constants;
    let at = variants.iter().position(same).unwrap_or_else(|| {
        variants.push(Variant { kernel: kernel.name, source: source.clone(), constants: constants.to_vec(), launches: Vec::new() });
        variants.len() - 1
    });
    if variants[at].launches.len() < EACH {
        let words: &[u32] = &bytemuck::pod_collect_to_vec(params);
        variants[at].launches.push(serde_json::json!({
            "groups": groups, "params": words, "inputs": inputs, "before": before, "wanted": &*launch.outputs,
        }));
    }
}

fn write(folder: &str, variants: &[Variant]) {
    std::fs::create_dir_all(folder).unwrap();
    for (n, Variant { kernel, source, constants, launches }) in variants.iter().enumerate() {
        let named: serde_json::Map<_, _> = constants.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        // WGSL lets sine and cosine be off by 2⁻¹¹.
        let calls = |function| source.contains(&format!("expr_keep({function}("));
        let tolerance = if calls("expr_sin") || calls("expr_cos") { 1.0 / 1024.0 } else { 2e-5 };
        let floats = interpreter::outputs_of_f32(kernel, source, constants);
        let json = serde_json::json!({
            "kernel": kernel, "source": source, "constants": named, "floats": floats, "tolerance": tolerance, "launches": launches,
        });
        std::fs::write(format!("{folder}/{n:03}-{kernel}.json"), json.to_string()).unwrap();
    }
}

/// Nothing is widened on the way: both gradients of a window product of halves, and of a band times dense rows.
#[test]
fn gradients_of_halves_stay_on_matrix_units() {
    fn only_units(launch: Interpreted<'_>) {
        assert!(launch.kernel.needs_matrix_units(), "{} ran", launch.kernel.name);
        interpreter::run(launch);
    }
    let device = Device::interpreted(only_units, Options::default());
    let halves = |band, seed| Host::random(1, 70, if band { 70 } else { 32 }, band.then(|| Band::new(9, 20).unwrap()), seed, 1.0);
    let dense = |seed| halves(false, seed).dense(&device, Layout::Rows, Dtype::F16, false);
    let (q, k, g) = (dense(1), dense(2), halves(true, 3).banded(&device, Layout::Rows, Dtype::F16, false));
    window_matmul_backward(&q, &k, &g).unwrap();
    let out = banded_matmul_dense(&g, &k, Semiring::Sum).unwrap();
    banded_matmul_dense_backward(&g, &k, &out, &q, Semiring::Sum).unwrap();
}

/// Products and gradients by W of whole blocks and tokens take the kernels of whole tiles; what is just not whole does not.
#[test]
fn whole_blocks_take_whole_tiles() {
    static RAN: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    fn noted(launch: Interpreted<'_>) {
        RAN.lock().unwrap().insert(launch.kernel.name);
        interpreter::run(launch);
    }
    let device = Device::interpreted(noted, Options::default());
    for (block, tokens, product, gradient) in [
        ([32, 32], 64, true, true),
        ([32, 32], 56, false, true),
        ([32, 32], 68, true, false),
        ([32, 96], 72, true, true),
        ([8, 32], 64, true, false),
        ([12, 32], 64, false, false),
        ([64, 64], 64, false, true),
    ] {
        RAN.lock().unwrap().clear();
        let [rows, cols] = block.map(|side: usize| side * 2);
        let w = BlockSparse::from_fn(&device, &BlockPattern::full([rows, cols], block).unwrap(), |_, _| 1.0).unwrap();
        let x = Host::random(1, tokens, rows, None, 1, 1.0).dense(&device, Layout::Rows, Dtype::F32, false);
        let y = block_matmul(&x, &w).unwrap();
        block_sddmm(&x, &y, w.pattern()).unwrap();
        let ran = RAN.lock().unwrap();
        let got = ["block_matmul.whole", "block_sddmm.whole"].map(|kernel| ran.contains(kernel));
        assert_eq!(got, [product, gradient], "{block:?}, {tokens} tokens: {ran:?}");
    }
}
