//! Little kernels with one fault each, which the interpreter must name.

use bandsaw::*;

use crate::common::Host;
use crate::common::interpreter::{self, interpret};

const HEAD: &str = "
enable f16;
enable wgpu_cooperative_matrix;
struct Params { count: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
var<workgroup> stage: array<f32, 64>;
var<workgroup> tile: array<f32, 512>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
";

/// Runs the body of a kernel of 64 invocations and three workgroups over 192 values, and gives the output.
fn run(body: &str) -> Vec<f32> {
    let input = (0..192).map(|n| (n as f32).to_bits()).collect();
    let mut output = vec![vec![f32::NAN.to_bits(); 192]];
    interpret("fault", &format!("{HEAD}{body}\n}}"), &[], &192u32.to_le_bytes(), &[input], &mut output, 3);
    output[0].iter().map(|word| f32::from_bits(*word)).collect()
}

/// What the panic says that must come.
fn fault(body: &str) -> String {
    let panic = std::panic::catch_unwind(|| run(body)).expect_err("the interpreter sees the fault");
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[track_caller]
fn assert_fault(body: &str, what: &str) {
    let message = fault(body);
    assert!(message.contains(what), "{message}");
    assert!(message.starts_with("kernel fault, workgroup ") && message.contains("\nline "), "{message}");
}

#[test]
fn a_kernel_without_faults_runs() {
    let at = "let i = group.x * 64u + local;";
    let sums = run(&format!("{at} stage[local] = x[i]; workgroupBarrier(); y[i] = stage[local ^ 1u] + stage[63u - local];"));
    let want = |i: usize| ((i ^ 1) + i / 64 * 64 + 63 - i % 64) as f32;
    assert!(sums.iter().enumerate().all(|(i, sum)| *sum == want(i)), "{sums:?}");
    // Branches, loops with break and continue, each for its own invocations.
    let counts = run(&format!(
        "{at} var sum = 0u; for (var n = 0u; n < 10u; n++) {{ if n == local {{ continue; }} if n > local % 7u {{ break; }} sum += n; }}
         switch local {{ case 1u, 2u: {{ sum = 100u; }} case 3u: {{ sum += 50u; }} default: {{ }} }} y[i] = f32(sum);"
    ));
    let want = |i: usize| match i % 64 {
        1 | 2 => 100.0,
        local => (0..10).filter(|n| *n != local && *n <= local % 7).sum::<usize>() as f32 + if local == 3 { 50.0 } else { 0.0 },
    };
    assert!(counts.iter().enumerate().all(|(i, count)| *count == want(i)), "{counts:?}");
}

#[test]
fn matrices_are_loaded_multiplied_and_stored() {
    let out = run("
        tile[local] = 0.0; for (var n = local; n < 512u; n += 64u) { tile[n] = f32(n % 256u % 17u); }
        workgroupBarrier();
        let place = local / 32u * 256u;
        let c = coopLoadT<coop_mat16x16<f32, C>>(&tile[place], 16u);
        let both = c + c * 0.5;
        subgroupBarrier();
        coopStore(both, &tile[place], 16u);
        workgroupBarrier();
        y[group.x * 64u + local] = tile[local];");
    // Stored column by column, it is the transpose.
    assert!(out.iter().enumerate().all(|(i, value)| *value == ((i % 16 * 16 + i % 64 / 16) % 17) as f32 * 1.5), "{out:?}");
    // Each subgroup at a turn of its own, at a place of its own.
    let turns = run("
        for (var n = local; n < 512u; n += 64u) { tile[n] = 0.0; }
        workgroupBarrier();
        for (var turn = 0u; turn < 2u; turn++) {
            if local / 32u == turn {
                let place = turn * 256u;
                coopStoreT(coop_mat16x16<f32, C>(), &tile[place], 16u);
            }
        }
        workgroupBarrier();
        y[group.x * 64u + local] = tile[local];");
    assert!(turns.iter().all(|value| *value == 0.0), "{turns:?}");
}

#[test]
fn access_outside() {
    assert_fault("y[group.x * 64u + local] = x[group.x * 64u + local + 1u];", "access outside of x");
    assert_fault("y[group.x * 64u + local + 1u] = 1.0;", "access outside of y");
    assert_fault("stage[local + 1u] = 1.0;", "invocation 63: access outside of stage");
    assert_fault("var own = array<f32, 4>(); own[local] = 1.0; y[local] = own[0];", "access outside");
    assert_fault("y[group.x * 64u + local] = f32(params.count / (local - local));", "divided by 0");
}

#[test]
fn workgroup_memory_that_nothing_wrote() {
    assert_fault("if local != 9u { stage[local] = 1.0; } workgroupBarrier(); y[group.x * 64u + local] = stage[local];", "nothing wrote");
}

#[test]
fn races_in_workgroup_memory() {
    let end = "y[group.x * 64u + local] = stage[local ^ 1u];";
    assert_fault(&format!("stage[local] = 1.0; {end}"), "with no barrier between");
    assert_fault("stage[local / 2u] = 1.0;", "writes workgroup memory that invocation 0 wrote, with no barrier between");
    let reads_first =
        "stage[local] = 1.0; workgroupBarrier(); let other = stage[local ^ 1u]; stage[local] = 2.0; y[group.x * 64u + local] = other;";
    assert_fault(reads_first, "read, with no barrier between");
    // A barrier of the subgroup is enough inside it, and not beyond.
    run(&format!("stage[local] = 1.0; subgroupBarrier(); {end}"));
    assert_fault("stage[local] = 1.0; subgroupBarrier(); y[group.x * 64u + local] = stage[local ^ 32u];", "with no barrier between");
    let whole = "for (var n = local; n < 512u; n += 64u) { tile[n] = 1.0; } workgroupBarrier();
        let c = coopLoadT<coop_mat16x16<f32, C>>(&tile[local / 32u * 256u], 16u);";
    assert_fault(&format!("{whole} tile[local] = 2.0;"), "with no barrier between");
}

#[test]
fn control_flow_that_is_not_uniform() {
    assert_fault("if local < 32u { workgroupBarrier(); } y[group.x * 64u + local] = 1.0;", "not uniform in the workgroup");
    assert_fault("if local == 5u { return; } workgroupBarrier();", "not uniform in the workgroup");
    assert_fault("if local < 40u { subgroupBarrier(); }", "not uniform in subgroup 1");
    run("if local < 32u { subgroupBarrier(); }");
    assert_fault("if local < 9u { y[group.x * 64u + local] = f32(subgroupAny(local == 1u)); }", "not uniform in subgroup 0");
    let load = "let c = coopLoadT<coop_mat16x16<f32, C>>(&tile[local], 16u); coopStoreT(c, &tile[0], 16u);";
    assert_fault(load, "not uniform in subgroup 0");
}

#[test]
fn outputs_of_two_invocations() {
    assert_fault("y[local] = 1.0;", "wrote too");
    assert_fault("y[group.x * 64u + local / 2u] = 1.0;", "wrote too");
    assert_fault("let i = group.x * 64u + local; y[i] = 1.0; y[i] = y[i ^ 1u];", "of an output that invocation");
    // A barrier for storage orders what one workgroup does, and nothing else does.
    let other = |barrier: &str| {
        format!("let i = group.x * 64u + local; y[i] = x[i]; {barrier}(); let other = y[i ^ 1u]; {barrier}(); y[i] = other;")
    };
    let swapped = run(&other("storageBarrier"));
    assert!(swapped.iter().enumerate().all(|(i, value)| *value == (i ^ 1) as f32), "{swapped:?}");
    assert_fault(&other("workgroupBarrier"), "of an output that invocation");
    assert_fault("y[local] = 1.0; storageBarrier(); y[local] = 2.0;", "wrote too");
}

#[test]
fn loops_end() {
    assert_fault("var n = 0u; while n < 2u { n = local % 2u; }", "a loop that does not end");
}

/// The checks hold for shipped kernels too: without the first of its barriers each is caught.
#[test]
fn kernels_need_their_barriers() {
    fn without(launch: Interpreted<'_>, barrier: &str) {
        assert!(launch.source.contains(barrier), "{} has no {barrier}", launch.kernel.name);
        interpreter::run(Interpreted { source: launch.source.replacen(barrier, "", 1), ..launch });
    }
    let devices = [
        Device::interpreted(|launch| without(launch, "workgroupBarrier();"), Options::default()),
        Device::interpreted(|launch| without(launch, "subgroupBarrier();"), Options::default()),
    ];
    for device in devices {
        let host = |seed| Host::random(1, 70, 32, None, seed, 1.0).dense(&device, Layout::Rows, Dtype::F16, false);
        let (q, k) = (host(1), host(2));
        let band = Band::new(20, 30).unwrap();
        let window = || window_matmul(&q, &k, band).map(|_| ());
        let attention = || window_attention(&q, &k, &k, &WindowAttention::new(band)).map(|_| ());
        let runs: [&dyn Fn() -> Result<()>; 2] = [&window, &attention];
        for run in runs {
            let panic =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).expect_err("the interpreter sees that a barrier is missing");
            let message = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            assert!(message.contains("with no barrier between"), "{message}");
        }
    }
}
