//! `bandsaw sparsify` on a checkpoint of small whole numbers.

use super::*;

/// A checkpoint with f32, f16 and bf16 matrices whose values are small whole numbers, and what must be
/// left alone.
fn checkpoint(folder: &Path) -> Test {
    let value = |i: usize, j: usize| ((i * 7 + j * 3) % 11) as f32;
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    let mut tensor = |name: &str, dtype: &str, shape: &[usize], bytes: Vec<u8>| {
        let offsets = [data.len(), data.len() + bytes.len()];
        data.extend(bytes);
        header.insert(name.into(), serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets }));
    };
    let all = |rows: usize, cols: usize| (0..rows * cols).map(move |n| value(n / cols, n % cols));
    tensor("a.weight", "F32", &[9, 10], all(9, 10).flat_map(f32::to_le_bytes).collect());
    tensor("b.weight", "F16", &[8, 6], all(8, 6).flat_map(|x| half::f16::from_f32(x).to_le_bytes()).collect());
    tensor("c.weight", "BF16", &[4, 12], all(4, 12).flat_map(|x| half::bf16::from_f32(x).to_le_bytes()).collect());
    tensor("a.bias", "F32", &[9], all(1, 9).flat_map(f32::to_le_bytes).collect());
    tensor("steps", "I64", &[], 42i64.to_le_bytes().to_vec());
    header.insert("__metadata__".into(), serde_json::json!({ "format": "pt" }));
    let header = serde_json::to_string(&header)?;
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    Ok(std::fs::write(folder.join("model.safetensors"), bytes)?)
}

fn sparsify<'a>(more: &[&'a str]) -> Vec<&'a str> {
    ["sparsify", "model.safetensors"].iter().chain(more).copied().collect()
}

#[test]
fn sparsify_keeps_the_largest_blocks_bit_for_bit() -> Test {
    let folder = folder()?;
    checkpoint(folder.path())?;
    let line = ["--match", "weight$", "--density", "0.5", "--block", "4x3", "-o", "out.safetensors"];
    let told = fine(folder.path(), &sparsify(&line))?;
    assert!(told.contains("a.weight  F32   9 × 10  6 of 12") && told.contains("parameters: 196 before, "), "{told}");
    let shown = fine(folder.path(), &["info", "out.safetensors"])?;
    assert!(
        shown.contains("block-sparse: 6 of 12 blocks of 4 × 3, density 0.500") && shown.contains("5 tensors, 3 of them block-sparse"),
        "{shown}"
    );

    let cpu = bandsaw::Device::cpu();
    let model = bandsaw::io::Checkpoint::open(folder.path().join("model.safetensors"))?;
    let out = bandsaw::io::Checkpoint::open(folder.path().join("out.safetensors"))?;
    for (name, dtype) in [("a.weight", bandsaw::Dtype::F32), ("b.weight", bandsaw::Dtype::F16), ("c.weight", bandsaw::Dtype::Bf16)] {
        let dense = model.read_dense(&cpu, name)?;
        let wanted = bandsaw::block_from_dense_by_magnitude(&dense, [4, 3], 0.5)?;
        let found = out.read_block_sparse(&cpu, name)?;
        assert_eq!((found.pattern(), found.dtype()), (wanted.pattern(), dtype), "{name}");
        assert_eq!(found.read()?, wanted.read()?, "{name}");
    }
    assert_eq!(out.read_dense(&cpu, "a.bias")?.read()?, model.read_dense(&cpu, "a.bias")?.read()?);
    assert!(told.contains("energy kept"), "{told}");
    let random = ["--match", "^a.w", "--density", "0.25", "--block", "2x2", "--by", "random", "--seed", "3", "-o", "r.safetensors"];
    fine(folder.path(), &sparsify(&random))?;
    let found = bandsaw::io::Checkpoint::open(folder.path().join("r.safetensors"))?.read_block_sparse(&cpu, "a.weight")?;
    assert_eq!(found.pattern(), &bandsaw::BlockPattern::random([9, 10], [2, 2], 6, 3)?);
    let none = ["--match", "^a.w", "--density", "0", "--block", "2x2", "-o", "none.safetensors"];
    assert!(fine(folder.path(), &sparsify(&none))?.contains("energy kept in what was matched: 0.0%"));

    // Values of other blocks than the file says are told of, not only once they are loaded.
    let mut bytes = std::fs::read(folder.path().join("out.safetensors"))?;
    let at = bytes.windows(7).position(|part| part == b"[6,4,3]").ok_or("no shape of values")?;
    bytes[at..at + 7].copy_from_slice(b"[6,3,4]");
    std::fs::write(folder.path().join("turned.safetensors"), bytes)?;
    let told = fails(folder.path(), &["info", "turned.safetensors"])?;
    assert!(told.ends_with("tensor \"a.weight.block_values\" has shape [6, 3, 4], must have [6, 4, 3]"), "{told}");
    Ok(())
}

#[test]
fn sparsify_tells_mistakes_and_leaves_no_file() -> Test {
    let folder = folder()?;
    checkpoint(folder.path())?;
    std::fs::write(folder.path().join("cut.safetensors"), &std::fs::read(folder.path().join("model.safetensors"))?[..900])?;
    std::fs::write(folder.path().join("there.safetensors"), "mine")?;
    let run = |matching: &'static str, density: &'static str, block: &'static str, output: &'static str| {
        fails(folder.path(), &sparsify(&["--match", matching, "--density", density, "--block", block, "-o", output]))
    };
    let cases = [
        (
            run("none", "0.5", "2x2", "o.safetensors")?,
            "error: sparsify: --match has \"none\", which nothing matches, must have one that matches any of a.weight, b.weight, c.weight",
        ),
        (
            run("a", "0.5", "2x2", "o.safetensors")?,
            "error: sparsify: --match has \"a\", which matches a.bias of shape [9], must have 2-D F32, F16 or BF16 tensors only",
        ),
        (
            run("[", "0.5", "2x2", "o.safetensors")?,
            "error: sparsify: --match has \"[\", must have a regular expression (error: unclosed character class)",
        ),
        (run("weight", "1.5", "2x2", "o.safetensors")?, "error: sparsify: --density has 1.5, must have 0 to 1"),
        (run("weight", "0.5", "2x200", "o.safetensors")?, "error: BlockPattern::new: block has shape 2 × 200, must have sides of 1 to 128"),
        (run("weight", "0.5", "2x2", "there.safetensors")?, "error: there.safetensors: exists already"),
        (run("weight", "0.5", "2x2", "model.safetensors/o")?, "error: model.safetensors/o: File exists (os error 17)"),
        (
            fails(folder.path(), &["info", "cut.safetensors"])?,
            "error: cut.safetensors: no safetensors file: incomplete metadata, file not fully covered",
        ),
        (fails(folder.path(), &["info", "none.safetensors"])?, "error: none.safetensors: No such file or directory (os error 2)"),
    ];
    for (found, message) in cases {
        assert_eq!(found, message);
    }
    assert_eq!(std::fs::read(folder.path().join("there.safetensors"))?, b"mine");
    let left: Vec<_> = std::fs::read_dir(folder.path())?.map(|file| file.map(|file| file.file_name())).collect::<Result<_, _>>()?;
    assert_eq!(left.len(), 4, "{left:?}");
    assert_eq!(bandsaw(folder.path(), &sparsify(&["--match", "a", "--density", "1", "--block", "2", "-o", "o"]))?.status.code(), Some(2));
    Ok(())
}
