//! The built binary, as a user runs it, on the CPU backend.
#![cfg(feature = "app")]

#[path = "cli/sparsify.rs"]
mod sparsify;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

type Test = Result<(), Box<dyn std::error::Error>>;

fn bandsaw(folder: &Path, arguments: &[&str]) -> std::io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_bandsaw")).args(arguments).current_dir(folder).env("BANDSAW_DEVICE", "cpu").output()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs and must succeed; what it printed.
fn fine(folder: &Path, arguments: &[&str]) -> Result<String, Box<dyn std::error::Error>> {
    let output = bandsaw(folder, arguments)?;
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(format!("{arguments:?}: {}", text(&output.stderr)).into()) }
}

/// Runs and must fail with exit code 1 and one line; that line.
fn fails(folder: &Path, arguments: &[&str]) -> Result<String, Box<dyn std::error::Error>> {
    let output = bandsaw(folder, arguments)?;
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stdout));
    let line = text(&output.stderr);
    assert_eq!(line.lines().count(), 1, "{line}");
    Ok(line.trim_end().to_owned())
}

fn asset(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets").join(name).display().to_string()
}

const SMALL: &str = "%%MatrixMarket matrix coordinate real general\n3 3 4\n1 1 1\n2 1 2\n2 2 3\n3 3 4\n";

fn folder() -> std::io::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("a.mtx"), SMALL)?;
    Ok(folder)
}

fn entries(path: &Path) -> bandsaw::Result<Vec<(usize, usize, f64)>> {
    Ok(bandsaw::io::read_matrix_market(path)?.entries)
}

#[test]
fn info_lists_the_cpu() -> Test {
    let folder = folder()?;
    let text = fine(folder.path(), &["info"])?;
    assert!(text.contains("* cpu ") && text.contains("kernels"), "{text}");
    Ok(())
}

#[test]
fn info_describes_matrix_files() -> Test {
    let folder = folder()?;
    assert_eq!(fine(folder.path(), &["info", "a.mtx"])?, "a.mtx: 3 × 3, 4 stored, entries in lower 1, upper 0\n");
    fine(folder.path(), &["op", "to-dense", "a.mtx", "-o", "a.npy"])?;
    assert_eq!(fine(folder.path(), &["info", "a.npy"])?, "a.npy: 3 × 3, dense, f32, entries in lower 1, upper 0\n");
    Ok(())
}

#[test]
fn every_operation_runs() -> Test {
    let folder = folder()?;
    let lines: [&[&str]; 29] = [
        &["matmul", "a.mtx", "a.mtx", "-o", "c.mtx"],
        &["matmul", "a.mtx", "a.mtx", "--transpose-b", "--semiring", "log", "-o", "c.npy"],
        &["semiring-matmul", "a.mtx", "a.mtx", "--semiring", "max", "-o", "c.mtx"],
        &["matmul", "a.mtx", "a.mtx", "--lower", "0", "--upper", "0", "-o", "diagonal.mtx"],
        &["relayout", "a.mtx", "--transpose-a", "-o", "turned.mtx"],
        &["matmul-index", "a.mtx", "a.mtx", "--semiring", "max", "-o", "p.npy"],
        &["semiring-matmul-index", "a.mtx", "a.mtx", "--semiring", "sample", "--seed", "3", "-o", "p.npy"],
        &["matmul-dense", "a.mtx", "a.mtx", "--dtype", "f16", "-o", "c.npy"],
        &["matmul-dense", "a.mtx", "a.mtx", "--dtype", "bf16", "-o", "c.npy"],
        &["window-matmul", "a.mtx", "a.mtx", "--lower", "1", "--upper", "-1", "-o", "c.mtx"],
        &[
            "window-attention",
            "a.mtx",
            "a.mtx",
            "a.mtx",
            "--lower",
            "1",
            "--upper",
            "0",
            "--global",
            "0,2",
            "--dilation",
            "2",
            "-o",
            "c.npy",
        ],
        &["softmax", "a.mtx", "--scale", "-0.5", "-o", "c.mtx"],
        &["zip", "a.mtx", "a.mtx", "--transpose-a", "--expr", "(a + b) / 2", "-o", "c.mtx"],
        &["map", "a.mtx", "--expr", "-a", "-o", "c.mtx"],
        &["resize", "a.mtx", "--lower", "0", "--upper", "2", "-o", "c.mtx"],
        &["shift-rows", "a.mtx", "--by", "1", "-o", "c.mtx"],
        &["shift-cols", "a.mtx", "--by", "-1", "-o", "c.mtx"],
        &["shift-band", "a.mtx", "--t", "1", "--layout", "columns", "-o", "c.mtx"],
        &["transpose", "a.mtx", "-o", "c.mtx"],
        &["to-dense", "a.mtx", "-o", "d.npy"],
        &["from-dense", "d.npy", "-o", "c.mtx"],
        &["from-dense", "d.npy", "--lower", "0", "--upper", "0", "-o", "c.mtx"],
        &["relayout", "a.mtx", "--layout", "columns", "-o", "b.npy"],
        &["to-dense", "b.npy", "--stored", "1,0", "--layout", "columns", "-o", "d2.npy"],
        &["matmul", "d.npy", "d.npy", "-o", "c.mtx"],
        &["matvec", "a.mtx", "x.mtx", "-o", "y.mtx"],
        &["to-dense", "x.mtx", "-o", "x.npy"],
        &["matvec", "b.npy", "x.npy", "--stored", "1,0", "--layout", "columns", "-o", "y2.mtx"],
        &["matmul-dense", "b.npy", "d.npy", "--stored", "1,0", "--layout", "columns", "--transpose-b", "-o", "c.npy"],
    ];
    std::fs::write(folder.path().join("x.mtx"), "%%MatrixMarket matrix array real general\n3 1\n1\n10\n100\n")?;
    for line in lines {
        let arguments: Vec<&str> = ["op"].iter().chain(line).copied().collect();
        let told = fine(folder.path(), &arguments)?;
        assert!(told.starts_with(line[line.len() - 1]) && told.contains(" on cpu, "), "{told}");
    }
    assert_eq!(entries(&folder.path().join("diagonal.mtx"))?, [(0, 0, 1.0), (1, 1, 9.0), (2, 2, 16.0)]);
    let turned = entries(&folder.path().join("turned.mtx"))?;
    assert!(turned.contains(&(0, 1, 2.0)) && turned.iter().all(|(i, j, _)| i <= j), "{turned:?}");
    for result in ["y.mtx", "y2.mtx"] {
        assert_eq!(entries(&folder.path().join(result))?, [(0, 0, 1.0), (1, 0, 32.0), (2, 0, 400.0)]);
    }
    assert_eq!(std::fs::read(folder.path().join("d.npy"))?, std::fs::read(folder.path().join("d2.npy"))?);
    Ok(())
}

#[test]
fn a_product_of_files_is_the_product() -> Test {
    let folder = folder()?;
    let told = fine(folder.path(), &["op", "matmul", "a.mtx", "a.mtx", "-o", "new/c.mtx"])?;
    assert!(told.starts_with("new/c.mtx: 3 × 3, lower 2, upper 0, rows layout, f32 (matmul on cpu, "), "{told}");
    let mut found = entries(&folder.path().join("new/c.mtx"))?;
    found.retain(|(_, _, value)| *value != 0.0);
    assert_eq!(found, [(0, 0, 1.0), (1, 0, 8.0), (1, 1, 9.0), (2, 2, 16.0)]);
    Ok(())
}

/// Also of what comes in another layout, as products of transposes and windows do.
#[test]
fn results_are_in_the_layout_asked_for() -> Test {
    let folder = folder()?;
    let lines: [&[&str]; 5] = [
        &["matmul", "a.mtx", "a.mtx", "--transpose-a"],
        &["matmul-index", "a.mtx", "a.mtx", "--transpose-a", "--semiring", "max"],
        &["window-matmul", "a.mtx", "a.mtx", "--lower", "0", "--upper", "1"],
        &["transpose", "a.mtx"],
        &["relayout", "a.mtx", "--transpose-a"],
    ];
    for line in lines {
        let mut found = Vec::new();
        for layout in ["rows", "columns"] {
            let result = format!("{layout}.mtx");
            let arguments = [&["op"], line, &["--layout", layout, "-o", &result]].concat();
            let told = fine(folder.path(), &arguments)?;
            assert!(told.contains(&format!("{layout} layout")), "{told}");
            found.push(entries(&folder.path().join(result))?);
        }
        assert!(found[0] == found[1] && !found[0].is_empty(), "{line:?}: {found:?}");
    }
    Ok(())
}

#[test]
fn halves_become_f32_if_asked() -> Test {
    let folder = folder()?;
    fine(folder.path(), &["op", "to-dense", "a.mtx", "--dtype", "f16", "-o", "h.npy"])?;
    for (dtype, told) in [(&[][..], "f16"), (&["--dtype", "f32"], "f32"), (&["--dtype", "bf16"], "bf16")] {
        let arguments = [&["op", "from-dense", "h.npy", "-o", "c.mtx"], dtype].concat();
        assert!(fine(folder.path(), &arguments)?.contains(&format!("layout, {told} ")), "{dtype:?}");
    }
    Ok(())
}

/// A signal that ends the program leaves no part of a file.
#[cfg(unix)]
#[test]
fn what_is_interrupted_leaves_nothing() -> Test {
    let folder = folder()?;
    let n = 2_000_000;
    let list = (1..=n).map(|i| format!("{i} {i} 0.1\n")).collect::<String>();
    std::fs::write(folder.path().join("long.mtx"), format!("%%MatrixMarket matrix coordinate real general\n{n} {n} {n}\n{list}"))?;
    let names = || -> std::io::Result<Vec<(String, u64)>> {
        let data =
            |entry: std::fs::DirEntry| (entry.file_name().to_string_lossy().into_owned(), entry.metadata().map_or(0, |data| data.len()));
        Ok(std::fs::read_dir(folder.path())?.flatten().map(data).collect())
    };
    let mut child = Command::new(env!("CARGO_BIN_EXE_bandsaw"))
        .args(["op", "resize", "long.mtx", "--lower", "20", "--upper", "20", "-o", "c.mtx"])
        .current_dir(folder.path())
        .env("BANDSAW_DEVICE", "cpu")
        .spawn()?;
    // Much is written, but not all.
    while !names()?.iter().any(|(name, bytes)| name.ends_with(".part") && *bytes > 1 << 20) {
        assert!(child.try_wait()?.is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status()?.success());
    assert_eq!(child.wait()?.code(), None, "it ended by itself");
    let mut left: Vec<String> = names()?.into_iter().map(|(name, _)| name).collect();
    left.sort();
    assert_eq!(left, ["a.mtx", "long.mtx"]);
    Ok(())
}

#[test]
fn mistakes_are_told_in_one_line() -> Test {
    let folder = folder()?;
    std::fs::write(folder.path().join("cut.mtx"), &SMALL[..SMALL.len() - 7])?;
    std::fs::write(folder.path().join("large.mtx"), SMALL.replace("3 3 4\n", "3 3 1e39\n").replacen("3 3 1e39", "3 3 4", 1))?;
    let cases: [(&[&str], &str); 28] = [
        (&["render", "a.mtx", "-o", "c.jpg"], "error: c.jpg: unknown kind of picture, must end in .png"),
        (&["info", "."], "error: .: is no file"),
        (&["info", "cut.mtx"], "error: cut.mtx:5: the file ends where entry 4 of 4 should be"),
        (&["op", "transpose", "none.mtx", "-o", "c.mtx"], "error: none.mtx: No such file or directory (os error 2)"),
        (&["op", "transpose", "cut.mtx", "-o", "c.mtx"], "error: cut.mtx:5: the file ends where entry 4 of 4 should be"),
        (&["op", "transpose", "a.mtx", "-o", "c.txt"], "error: c.txt: unknown kind of file, must end in .mtx or .npy"),
        (&["op", "matmul", "a.mtx", "-o", "c.mtx"], "error: op: FILE has 1 for matmul, must have two files"),
        (&["op", "map", "a.mtx", "a.mtx", "-o", "c.mtx"], "error: op: FILE has 2 for map, must have one file"),
        (&["op", "map", "a.mtx", "-o", "c.mtx"], "error: op: --expr has nothing for map, must have an expression like '(a + b) / 2'"),
        (&["op", "map", "a.mtx", "--expr", "a +", "-o", "c.mtx"], "error: expression \"a +\":1: column 4: unexpected end"),
        (&["op", "shift-rows", "a.mtx", "-o", "c.mtx"], "error: op: --by has nothing for shift-rows, must have a whole number"),
        (
            &["op", "resize", "a.mtx", "--lower", "1", "-o", "c.mtx"],
            "error: op: --upper has nothing for resize, must have a whole number beside the other",
        ),
        (&["op", "resize", "a.mtx", "-o", "c.mtx"], "error: op: --lower, --upper has nothing for resize, must have both"),
        (
            &["op", "matvec", "a.mtx", "a.mtx", "--semiring", "max", "-o", "c.mtx"],
            "error: op: --semiring has a value for matvec, must have no such option",
        ),
        (
            &["op", "matmul-index", "a.mtx", "a.mtx", "--lower", "0", "--upper", "0", "-o", "c.mtx"],
            "error: op: --lower has a value for matmul-index, must have no option but --semiring, --seed",
        ),
        (
            &["op", "map", "a.mtx", "--expr", "a", "--transpose-b", "-o", "c.mtx"],
            "error: op: --transpose-b has a value for map, must have no option but --expr",
        ),
        (&["op", "transpose", "a.mtx", "-o", "a.mtx/c.mtx"], "error: a.mtx/c.mtx: Not a directory (os error 20)"),
        (&["op", "transpose", "a.mtx", "-o", "folder.mtx"], "error: folder.mtx: is a directory"),
        (&["bench", "--quick", "-o", "folder.mtx"], "error: folder.mtx: is a directory"),
        (
            &["op", "transpose", "batch.npy", "--stored", "0,0", "-o", "c.mtx"],
            "error: c.mtx: a .mtx file holds one matrix, the result has 2; write .npy",
        ),
        (&["op", "from-dense", "none-at-all.npy", "-o", "c.mtx"], "error: none-at-all.npy: rows has 0, must have 1 to 268435456"),
        (
            &["op", "transpose", "large.mtx", "-o", "c.mtx"],
            "error: large.mtx: entries has 1e39, must have values that f32 holds, up to 3.4028235e38",
        ),
        (&["render", "large.npy"], "error: large.npy: value 1 is beyond f32, whose largest is 3.4028235e38"),
        (&["info", "later.npy"], "error: later.npy: version 9 of the format, must be 1 to 3"),
        (
            &["op", "resize", "a.mtx", "--lower", "-3", "--upper", "1", "-o", "c.mtx"],
            "error: Band::new: band has lower -3, upper 1 (width -1), must have width lower + upper + 1 of at least 1",
        ),
        (&["render", "a.mtx", "--index", "1"], "error: render: --index has 1, must have less than the batch, 1"),
        (&["render", "a.mtx", "-o", "a.mtx/b.png"], "error: a.mtx/b.png: Not a directory (os error 20)"),
        (&["render", "none.npy"], "error: none.npy: No such file or directory (os error 2)"),
    ];
    std::fs::create_dir(folder.path().join("folder.mtx"))?;
    let npy = |name: &str, version: u8, kind: &str, shape: &str, values: &[f64]| {
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut file = [&b"\x93NUMPY"[..], &[version, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat();
        values.iter().for_each(|value| file.extend(value.to_le_bytes()));
        std::fs::write(folder.path().join(name), file)
    };
    npy("batch.npy", 1, "<f8", "(2, 1, 1)", &[1.0, 2.0])?;
    npy("none-at-all.npy", 1, "<f8", "(0, 5)", &[])?;
    npy("large.npy", 1, "<f8", "(1, 2)", &[f64::INFINITY, 1e39])?;
    npy("later.npy", 9, "<f8", "(1, 1)", &[1.0])?;
    for (arguments, message) in cases {
        assert_eq!(fails(folder.path(), arguments)?, message);
    }
    assert!(!folder.path().join("c.mtx").exists());
    let only = fails(folder.path(), &["bench", "blocks", "--quick", "--only", "banded"])?;
    assert!(
        only.starts_with("error: bench: --only has \"banded\", which no operation's name contains, must have a part of one of copy; "),
        "{only}"
    );
    let colors = fails(folder.path(), &["render", "a.mtx", "--colors", "mud"])?;
    assert!(colors.starts_with("error: render: --colors has \"mud\", must have one of viridis, "), "{colors}");
    let device = fails(folder.path(), &["--device", "wgpu:none such", "info"])?;
    assert!(device.starts_with("error: no device \"wgpu:none such\"; present: cpu ("), "{device}");
    #[cfg(not(feature = "cuda"))]
    assert_eq!(fails(folder.path(), &["--device", "cuda", "info"])?, "error: cuda: this program was built without the feature cuda");
    let by_variable = Command::new(env!("CARGO_BIN_EXE_bandsaw")).arg("info").env("BANDSAW_DEVICE", "abacus").output()?;
    let line = text(&by_variable.stderr);
    assert!(by_variable.status.code() == Some(1) && line.lines().count() == 1, "{line}");
    assert_eq!(bandsaw(folder.path(), &["op", "fold", "a.mtx"])?.status.code(), Some(2));
    Ok(())
}

/// What cannot be written to stdout is an error, unless it is that nobody reads.
#[cfg(target_os = "linux")]
#[test]
fn output_that_is_lost_is_told() -> Test {
    let folder = folder()?;
    let told = |out: std::process::Stdio| {
        let mut info = Command::new(env!("CARGO_BIN_EXE_bandsaw"));
        info.args(["info", "a.mtx"]).current_dir(folder.path()).env("BANDSAW_DEVICE", "cpu");
        info.stdout(out).stderr(std::process::Stdio::piped()).spawn()?.wait_with_output()
    };
    let full = told(std::fs::File::options().write(true).open("/dev/full")?.into())?;
    assert_eq!(
        (full.status.code(), text(&full.stderr).as_str()),
        (Some(1), "error: standard output: No space left on device (os error 28)\n")
    );
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let gone = told(writer.into())?;
    assert_eq!((gone.status.code(), text(&gone.stderr).as_str()), (Some(0), ""));
    Ok(())
}

#[test]
fn every_command_has_help_with_examples() -> Test {
    let folder = folder()?;
    for command in [
        &["--help"][..],
        &["demo", "--help"],
        &["info", "--help"],
        &["op", "--help"],
        &["render", "--help"],
        &["bench", "--help"],
        &["sparsify", "--help"],
    ] {
        let help = fine(folder.path(), command)?;
        assert!(help.contains("Examples:"), "{help}");
    }
    Ok(())
}

#[test]
fn render_draws_what_it_is_asked_for() -> Test {
    let folder = folder()?;
    let size = |name: &str| image::image_dimensions(folder.path().join(name));
    fine(folder.path(), &["render", &asset("lund_a.mtx"), "-o", "both.png", "--wide"])?;
    fine(folder.path(), &["render", &asset("lund_a.mtx"), "-o", "dense.png", "--view", "dense", "--colors", "greys"])?;
    fine(folder.path(), &["render", "a.mtx"])?;
    assert!(size("both.png")?.0 > size("dense.png")?.0 && size("dense.png")?.0 > 588);
    assert!(folder.path().join("a.png").exists());
    // The band of a tall matrix is wider than can be held.
    let tall = bandsaw::Dense::from_fn(&bandsaw::Device::cpu(), bandsaw::DenseShape::new(60_000, 4), |_, i, j| (i + j) as f32)?;
    bandsaw::io::write_npy_dense(folder.path().join("tall.npy"), &tall)?;
    assert_eq!(fine(folder.path(), &["render", "tall.npy"])?, "tall.png: 60000 × 4, dense, f32\n");
    std::fs::write(folder.path().join("x.mtx"), "%%MatrixMarket matrix coordinate real general\n90000 1 2\n1 1 1\n90000 1 2\n")?;
    assert_eq!(fine(folder.path(), &["render", "x.mtx"])?, "x.png: 90000 × 1, dense, f32\n");
    let band = fails(folder.path(), &["render", "tall.npy", "--view", "band"])?;
    assert!(band.contains("the limit of 32-bit indices is 2147483647"), "{band}");
    Ok(())
}

#[test]
fn demo_checks_and_draws_everything() -> Test {
    let folder = folder()?;
    let told = fine(folder.path(), &["demo", "-o", "pictures"])?;
    assert!(told.starts_with("device: cpu") && !told.contains("WRONG"), "{told}");
    let pictures = std::fs::read_dir(folder.path().join("pictures"))?.count();
    assert!(pictures >= 32, "{pictures}");
    assert!(folder.path().join("pictures/overview.png").exists());
    Ok(())
}

#[test]
fn bench_measures_and_writes_csv() -> Test {
    let folder = folder()?;
    let told = fine(folder.path(), &["bench", "--quick", "--only", "banded_zip", "-o", "speeds.csv"])?;
    assert!(told.contains("banded_zip") && told.contains("a chain of 20 small operations"), "{told}");
    let csv = std::fs::read_to_string(folder.path().join("speeds.csv"))?;
    assert_eq!(csv.lines().count(), 5, "{csv}");
    assert!(csv.starts_with("device,backend,operation,shape,ms,gb_s,share_of_copy,gflop_s\n"));
    let told = fine(folder.path(), &["bench", "window", "--quick", "--only", "unwindow f16"])?;
    assert!(told.contains("2 · 512 · 32, d 32") && !told.contains("banded_"), "{told}");
    Ok(())
}

#[test]
fn demo_and_bench_take_block_sparse_matrices_alone() -> Test {
    let folder = folder()?;
    let told = fine(folder.path(), &["demo", "blocks", "-o", "pictures"])?;
    assert!(told.contains("dW = dYᵀ · X at W's blocks") && !told.contains("WRONG") && !told.contains("Lund"), "{told}");
    assert_eq!(std::fs::read_dir(folder.path().join("pictures"))?.count(), 17);
    let told = fine(folder.path(), &["bench", "blocks", "--quick", "--only", "block W·W"])?;
    assert!(told.contains("block W·W") && !told.contains("banded_matmul"), "{told}");
    Ok(())
}

/// Where there is an adapter but no screen; without an adapter, the error of a device that is not there.
#[test]
fn frame_times_need_no_screen() -> Test {
    let folder = folder()?;
    for size in ["5", "900", "nan,3", "1,1", "900,560,1"] {
        let output = Command::new(env!("CARGO_BIN_EXE_bandsaw")).args(["view", "--size", size]).output()?;
        assert!(text(&output.stderr).contains("must be two numbers from 100 to 16384"), "{size}: {}", text(&output.stderr));
        assert_eq!(output.status.code(), Some(2), "{size}");
    }
    let arguments = ["view", "--frame-times", "--size", "900,560"];
    let mut program = Command::new(env!("CARGO_BIN_EXE_bandsaw"));
    for name in ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"] {
        program.env_remove(name);
    }
    let output = program.args(arguments).current_dir(folder.path()).env("BANDSAW_DEVICE", "cpu").output()?;
    if bandsaw::Device::all().iter().all(|device| !device.id.starts_with("wgpu")) {
        assert!(std::env::var_os("BANDSAW_TEST_NO_GPU").is_some(), "no adapter: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("no device \"wgpu\""), "{}", text(&output.stderr));
        return Ok(());
    }
    let report = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines: Vec<&str> = report.lines().collect();
    assert!(lines.len() == 5 && lines[0].starts_with("drawn by ") && lines[0].ends_with("steps on cpu"), "{report}");
    let products =
        lines[1].split("240 frames, ").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|number| number.parse::<u32>().ok());
    assert!(products.is_some_and(|products| products > 0), "{report}");
    for (line, name) in lines[2..].iter().zip(["first frame after ", "between frames: median ", "work for a frame: median "]) {
        let number = line.strip_prefix(name).and_then(|rest| rest.split(' ').next()).and_then(|number| number.parse::<f64>().ok());
        assert!(number.is_some_and(|number| number > 0.0), "{report}");
    }
    let wrong = fails(folder.path(), &["--device", "wgpu:none such", "view", "--frame-times", "--offscreen"])?;
    assert!(wrong.contains("no device \"wgpu:none such\""), "{wrong}");
    Ok(())
}
