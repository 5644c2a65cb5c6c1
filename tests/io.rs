//! Files in and out: every variant that is read, every way a file can be wrong, round trips.

use bandsaw::io::{self, Coordinates};
use bandsaw::{Band, Banded, BandedShape, Dense, DenseShape, Device, Dtype, Layout, Semiring};

type Test = Result<(), Box<dyn std::error::Error>>;

/// What reading `text` gives, the error's path cut to the file's name.
fn mtx(text: &str) -> Result<Coordinates, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().join("a.mtx");
    std::fs::write(&path, text).map_err(|error| error.to_string())?;
    io::read_matrix_market(&path).map_err(|error| error.to_string().replace(&path.display().to_string(), "a.mtx"))
}

fn entries(text: &str) -> Result<Vec<(usize, usize, f64)>, String> {
    mtx(text).map(|file| file.entries)
}

#[test]
fn every_kind_of_matrix_market_file() -> Test {
    let real = "%%MatrixMarket matrix coordinate real general\n% a comment\n\n3 4 2\n1 2 1.5\n3 1 -2e3\n";
    let file = mtx(real)?;
    assert_eq!((file.rows, file.cols), (3, 4));
    assert_eq!(file.entries, [(0, 1, 1.5), (2, 0, -2000.0)]);
    assert_eq!(file.band()?, Band::new(2, 1)?);
    assert_eq!(entries(&real.replace('\n', "\r\n"))?, file.entries);
    assert_eq!(entries(&format!("\u{feff}{real}"))?, file.entries);
    assert_eq!(entries(&real.to_uppercase().replace("-2E3", "-2D+03"))?, file.entries);
    assert_eq!(entries("%%MatrixMarket matrix coordinate integer general\n2 2 1\n2 2 -7")?, [(1, 1, -7.0)]);
    assert_eq!(entries("%%MatrixMarket matrix coordinate pattern general\n2 2 1\n2 1\n")?, [(1, 0, 1.0)]);
    let symmetric = "%%MatrixMarket matrix coordinate real symmetric\n2 2 2\n1 1 4\n2 1 5\n";
    assert_eq!(entries(symmetric)?, [(0, 0, 4.0), (1, 0, 5.0), (0, 1, 5.0)]);
    let skew = "%%MatrixMarket matrix coordinate real skew-symmetric\n2 2 1\n2 1 5\n";
    assert_eq!(entries(skew)?, [(1, 0, 5.0), (0, 1, -5.0)]);
    let array = "%%MatrixMarket matrix array real general\n2 2\n1\n0\n3\n4\n";
    assert_eq!(entries(array)?, [(0, 0, 1.0), (0, 1, 3.0), (1, 1, 4.0)]);
    let symmetric = "%%MatrixMarket matrix array integer symmetric\n2 2\n1\n2\n3\n";
    assert_eq!(entries(symmetric)?, [(0, 0, 1.0), (1, 0, 2.0), (1, 1, 3.0), (0, 1, 2.0)]);
    let skew = "%%MatrixMarket matrix array real skew-symmetric\n2 2\n9\n";
    assert_eq!(entries(skew)?, [(1, 0, 9.0), (0, 1, -9.0)]);
    let nan = entries("%%MatrixMarket matrix coordinate real general\n1 1 2\n1 1 nan\n1 1 -inf\n")?;
    assert!(nan[0].2.is_nan() && nan[1].2 == f64::NEG_INFINITY);
    Ok(())
}

#[test]
fn an_entry_listed_twice_counts_as_the_sum() -> Test {
    let file = mtx("%%MatrixMarket matrix coordinate real general\n2 2 2\n2 1 1\n2 1 10\n")?;
    let cpu = Device::cpu();
    assert_eq!(file.to_banded(&cpu, Layout::Columns)?.get(0, 1, 0)?, 11.0);
    assert_eq!(file.to_dense(&cpu)?.read()?, [0.0, 0.0, 11.0, 0.0]);
    Ok(())
}

#[test]
fn malformed_matrix_market_files_name_line_and_remedy() {
    const REAL: &str = "%%MatrixMarket matrix coordinate real general\n";
    let form = "expected \"%%MatrixMarket matrix coordinate|array real|integer|pattern general|symmetric|skew-symmetric\"";
    let cases = [
        (String::new(), format!("a.mtx:1: {form}, found an empty file")),
        ("3 3 1\n".into(), format!("a.mtx:1: {form}, found \"3 3 1\"")),
        (
            "%%MatrixMarket matrix coordinate complex general\n".into(),
            "a.mtx:1: field \"complex\" is not supported, must be real, integer or pattern".into(),
        ),
        (
            "%%MatrixMarket matrix coordinate real hermitian\n".into(),
            "a.mtx:1: symmetry \"hermitian\" is not supported, must be general, symmetric or skew-symmetric".into(),
        ),
        (
            "%%MatrixMarket matrix tensor real general\n".into(),
            "a.mtx:1: format \"tensor\" is not supported, must be coordinate or array".into(),
        ),
        (
            "%%MatrixMarket matrix array pattern general\n".into(),
            "a.mtx:1: field \"pattern\" is not supported, must be real or integer in an array file".into(),
        ),
        (REAL.into(), "a.mtx:1: the file ends where the sizes (rows columns entries) should be".into()),
        (format!("{REAL}%\n3 3\n"), "a.mtx:3: expected the sizes (rows columns entries), found \"3 3\"".into()),
        (format!("{REAL}3 x 1\n"), "a.mtx:2: expected a whole number in the sizes (rows columns entries), found \"x\"".into()),
        (format!("{REAL}3 -3 1\n"), "a.mtx:2: expected a whole number in the sizes (rows columns entries), found \"-3\"".into()),
        (
            format!("{REAL}3 99999999999999999999 1\n"),
            "a.mtx:2: expected a whole number in the sizes (rows columns entries), found \"99999999999999999999\"".into(),
        ),
        (format!("{REAL}0 3 0\n"), "a.mtx:2: rows 0, must be 1 to 268435456".into()),
        (format!("{REAL}3 999999999 1\n"), "a.mtx:2: columns 999999999, must be 1 to 268435456".into()),
        (format!("{REAL}3 3 2\n1 1 1\n"), "a.mtx:3: the file ends where entry 2 of 2 should be".into()),
        // No memory is taken for what a header promises.
        (format!("{REAL}3 3 18446744073709551615\n"), "a.mtx:2: the file ends where entry 1 of 18446744073709551615 should be".into()),
        (format!("{REAL}3 3 1\n1 1 1\n2 2 1\n"), "a.mtx:4: expected the end of the file after the last entry, found \"2 2 1\"".into()),
        (format!("{REAL}3 3 1\n1 1\n"), "a.mtx:3: expected \"row column value\", found \"1 1\"".into()),
        (format!("{REAL}3 3 1\n1 1 one\n"), "a.mtx:3: expected a number, found \"one\"".into()),
        (format!("{REAL}3 3 1\n0 1 1\n"), "a.mtx:3: row \"0\", must be 1 to 3".into()),
        (format!("{REAL}3 3 1\n1 4 1\n"), "a.mtx:3: column \"4\", must be 1 to 3".into()),
        (format!("{REAL}3 3 1\n1 1.5 1\n"), "a.mtx:3: column \"1.5\", must be 1 to 3".into()),
        (
            "%%MatrixMarket matrix coordinate integer general\n1 1 1\n1 1 2.5\n".into(),
            "a.mtx:3: expected a whole number, found \"2.5\"".into(),
        ),
        (
            "%%MatrixMarket matrix coordinate pattern general\n1 1 1\n1 1 2.5\n".into(),
            "a.mtx:3: expected \"row column\", found \"1 1 2.5\"".into(),
        ),
        ("%%MatrixMarket matrix coordinate real symmetric\n2 3 0\n".into(), "a.mtx:2: 2 × 3 cannot be symmetric, must be square".into()),
        (
            "%%MatrixMarket matrix coordinate real symmetric\n2 2 1\n1 2 1\n".into(),
            "a.mtx:3: entry (1, 2) lies above the diagonal; a symmetric file holds the lower triangle".into(),
        ),
        (
            "%%MatrixMarket matrix coordinate real skew-symmetric\n2 2 1\n1 1 3\n".into(),
            "a.mtx:3: entry (1, 1) is 3; the diagonal of a skew-symmetric matrix is 0".into(),
        ),
        (
            "%%MatrixMarket matrix array real general\n2 2\n1\n2\n3\n".into(),
            "a.mtx:5: the file ends where the value of row 2, column 2 should be".into(),
        ),
        ("%%MatrixMarket matrix array real general\n1 1\n1 2\n".into(), "a.mtx:3: expected a number, found \"1 2\"".into()),
    ];
    for (text, message) in cases {
        assert_eq!(mtx(&text).err(), Some(message), "{text}");
    }
    let packed = io::parse_matrix_market("a.mtx", &b"\x1f\x8b\x08\x00\x01\n"[..]).err().map(|error| error.to_string());
    assert_eq!(packed.as_deref(), Some("a.mtx:1: the file is compressed by gzip, must be unpacked (gunzip)"));
}

#[test]
fn what_is_no_text_is_refused_too() -> Test {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("noise.mtx");
    std::fs::write(&path, (0..=255u8).cycle().take(4096).collect::<Vec<_>>())?;
    assert!(io::read_matrix_market(&path).is_err());
    // A line without an end is not read to it.
    let endless = std::io::BufReader::new(std::io::repeat(b'%'));
    let error = io::parse_matrix_market("endless", endless).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.starts_with("endless:1: a line of more than 1048576 bytes, it begins with \"%%%"), "{error}");
    let missing = io::read_matrix_market(folder.path().join("none.mtx")).err().map(|error| error.to_string());
    assert!(missing.is_some_and(|text| text.contains("none.mtx: No such file")));
    Ok(())
}

#[test]
fn a_band_too_wide_to_hold_is_a_limit() -> Test {
    let wide = Coordinates { rows: 1 << 28, cols: 1 << 28, entries: vec![(0, (1 << 28) - 1, 1.0), ((1 << 28) - 1, 0, 1.0)] };
    let error = wide.to_banded(&Device::cpu(), Layout::Rows).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.ends_with("the limit of 32-bit indices is 2147483647"), "{error}");
    Ok(())
}

#[test]
fn matrix_market_round_trip() -> Test {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("new/folder/a.mtx");
    let shape = BandedShape::new(7, 5, Band::new(2, -1)?).layout(Layout::Columns);
    let a = Banded::from_fn(&Device::cpu(), shape, |_, i, j| 0.1 + (i * 5 + j) as f32 / 3.0)?;
    io::write_matrix_market(&path, &Coordinates::from_banded(&a, 0)?, "two\nlines")?;
    assert!(std::fs::read_to_string(&path)?.starts_with("%%MatrixMarket matrix coordinate real general\n% two\n% lines\n7 5 "));
    let back = io::read_matrix_market(&path)?.to_banded(&Device::cpu(), Layout::Columns)?;
    assert_eq!(back.shape(), a.shape());
    assert_eq!(back.read()?, a.read()?);
    // The temporary file is gone.
    assert_eq!(std::fs::read_dir(folder.path().join("new/folder"))?.count(), 1);
    Ok(())
}

#[test]
fn a_failed_write_leaves_the_old_file() -> Test {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("a.txt");
    std::fs::write(&path, "old")?;
    let error = io::write_file(&path, |file| {
        file.write_all(b"new")?;
        Err(std::io::Error::other("disk full"))
    });
    assert_eq!(error.err().map(|error| error.to_string()), Some(format!("{}: disk full", path.display())));
    assert_eq!(std::fs::read_to_string(&path)?, "old");
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 1);
    Ok(())
}

/// What a name leads to is written, not the name: a link stays one, a file keeps its permissions, and a device is not replaced.
#[cfg(unix)]
#[test]
fn links_permissions_and_devices_stay() -> Test {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    let folder = tempfile::tempdir()?;
    let (file, link) = (folder.path().join("a.txt"), folder.path().join("link.txt"));
    std::fs::write(&file, "old")?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
    symlink("a.txt", &link)?;
    io::write_file(&link, |file| file.write_all(b"new"))?;
    assert!(std::fs::symlink_metadata(&link)?.is_symlink());
    assert_eq!(std::fs::read_to_string(&file)?, "new");
    assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    let (null, full) = (folder.path().join("null"), folder.path().join("full"));
    symlink("/dev/null", &null)?;
    io::write_file(&null, |file| file.write_all(b"new"))?;
    assert!(std::fs::metadata(&null)?.file_type().is_char_device());
    if std::path::Path::new("/dev/full").exists() {
        symlink("/dev/full", &full)?;
        let error = io::write_file(&full, |file| file.write_all(b"new")).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.ends_with("full: No space left on device (os error 28)"), "{error}");
    }
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 3 + usize::from(std::path::Path::new("/dev/full").exists()));
    Ok(())
}

/// Threads that write one file leave one of theirs.
#[test]
fn threads_may_write_one_file() -> Test {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("a.txt");
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8u8)
            .map(|thread| {
                let path = &path;
                scope.spawn(move || (0..20).try_for_each(|_| io::write_file(path, |file| file.write_all(&vec![thread; 100_000]))))
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    assert_eq!(results, vec![Ok(()); 8]);
    let left = std::fs::read(&path)?;
    assert!(left.len() == 100_000 && left.iter().all(|byte| *byte == left[0]));
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 1);
    Ok(())
}

#[test]
fn npy_round_trips() -> Test {
    let folder = tempfile::tempdir()?;
    let (path, cpu) = (folder.path().join("a.npy"), Device::cpu());
    // NumPy has no bf16: it is written as f32.
    for (dtype, read) in [(Dtype::F32, Dtype::F32), (Dtype::F16, Dtype::F16), (Dtype::Bf16, Dtype::F32)] {
        for layout in [Layout::Rows, Layout::Columns] {
            for batch in [0, 1, 3] {
                let shape = DenseShape::new(3, 5).batch(batch).layout(layout).dtype(dtype);
                let a = Dense::from_fn(&cpu, shape, |b, i, j| (b * 100 + i * 10 + j) as f32)?;
                io::write_npy_dense(&path, &a)?;
                let back = io::read_npy_dense(&cpu, &path)?;
                assert_eq!(back.shape(), shape.layout(Layout::Rows).dtype(read));
                let rows: Vec<f32> = (0..batch).flat_map(|b| (0..15).map(move |n| (b * 100 + n / 5 * 10 + n % 5) as f32)).collect();
                assert_eq!(back.read()?, rows);

                let shape = BandedShape::new(6, 4, Band::new(2, 1)?).batch(batch).layout(layout).dtype(dtype);
                let a = Banded::from_fn(&cpu, shape, |b, i, j| (b * 100 + i * 10 + j) as f32)?;
                io::write_npy_banded(&path, &a)?;
                let other = if layout == Layout::Rows { 4 } else { 6 };
                let back = io::read_npy_banded(&cpu, &path, shape.band, layout, Some(other))?;
                assert_eq!(back.shape(), shape.dtype(read));
                assert_eq!(back.read()?, a.read()?);
            }
        }
    }
    Ok(())
}

/// A version 1 `.npy` file.
fn npy(header: &str, values: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let header = format!("{header}\n");
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values);
    bytes
}

#[test]
fn npy_of_f64_is_rounded() -> Test {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("a.npy");
    let read = |values: [f64; 2]| {
        let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(&path, npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2), }", &values)).ok();
        io::read_npy_dense(&Device::cpu(), &path)?.read()
    };
    assert_eq!(read([0.1, f64::NEG_INFINITY])?, [0.1, f32::NEG_INFINITY]);
    assert!(read([f64::NAN, 3e38])?[0].is_nan());
    let error = read([0.1, -1e300]).unwrap_err().to_string();
    assert!(error.ends_with("value 1 is beyond f32, whose largest is 3.4028235e38"), "{error}");
    Ok(())
}

fn header(kind: &str, order: &str, shape: &str) -> String {
    format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}")
}

#[test]
fn npy_files_of_integers() -> Test {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("a.npy");
    let files: [(&str, Vec<u8>, [f32; 2]); 9] = [
        ("|b1", vec![1, 0], [1.0, 0.0]),
        ("|u1", vec![255, 0], [255.0, 0.0]),
        ("|i1", vec![0xff, 127], [-1.0, 127.0]),
        ("<u2", vec![0, 1, 0xff, 0xff], [256.0, 65535.0]),
        ("<i2", vec![0, 1, 0xff, 0xff], [256.0, -1.0]),
        ("<u4", [[3, 0, 0, 0], [0xfe, 0xff, 0xff, 0xff]].concat(), [3.0, 4294967294.0]),
        ("<i4", [7i32.to_le_bytes(), i32::MIN.to_le_bytes()].concat(), [7.0, -2147483648.0]),
        ("<u8", [7u64.to_le_bytes(), u64::MAX.to_le_bytes()].concat(), [7.0, 18446744073709551615.0]),
        ("<i8", [(1i64 << 40).to_le_bytes(), (-9i64).to_le_bytes()].concat(), [1099511627776.0, -9.0]),
    ];
    for (kind, bytes, values) in files {
        std::fs::write(&path, npy(&header(kind, "False", "(1, 2)"), &bytes))?;
        let read = io::read_npy_dense(&Device::cpu(), &path)?;
        assert_eq!((read.shape().dtype, read.read()?), (Dtype::F32, values.to_vec()), "{kind}");
    }
    // The file of an index, where no term makes an entry.
    let device = Device::cpu();
    let a = Banded::from_fn(&device, BandedShape::new(2, 2, Band::new(0, 0)?), |_, _, _| f32::NEG_INFINITY)?;
    let index = bandsaw::banded_matmul_index(&a, &a, Semiring::Sample { seed: 1 })?;
    io::write_npy_banded(&path, &index)?;
    let read = io::read_npy_banded(&device, &path, Band::new(0, 0)?, Layout::Rows, None)?.read()?;
    assert!(read.iter().all(|value| value.is_nan()), "{read:?}");
    Ok(())
}

#[test]
fn malformed_npy_files() -> Test {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("a.npy");
    let cases = [
        (b"hello".to_vec(), "no .npy file: it does not start with \\x93NUMPY"),
        (npy(&header("<f4", "True", "(1, 1)"), &[0; 4]), "Fortran order, must be C order (numpy.ascontiguousarray)"),
        (npy(&header("<c8", "False", "(1, 1)"), &[0; 8]), "type <c8, must be little-endian numbers such as <f4, <f2, <f8, <i8"),
        (npy(&header(">f4", "False", "(1, 1)"), &[0; 4]), "type >f4, must be little-endian numbers such as <f4, <f2, <f8, <i8"),
        (npy(&header("<f4", "False", "(4,)"), &[0; 16]), "shape [4], must be 2-D (rows, columns) or 3-D (batch, rows, columns)"),
        (npy(&header("<f4", "False", "(2, 2)"), &[0; 12]), "truncated: 12 bytes of values, shape [2, 2] of <f4 needs 16"),
        (npy(&header("<f4", "False", "(2, 2)"), &[0; 20]), "too long: 20 bytes of values, shape [2, 2] of <f4 needs 16"),
        (
            npy(&header("<f4", "False", "(4294967296, 4294967296)"), &[0; 4]),
            "truncated: 4 bytes of values, shape [4294967296, 4294967296] of <f4 needs more than can be addressed",
        ),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{".to_vec(), "truncated in the header"),
        (b"\x93NUMPY\x01\x00\xff\x00{".to_vec(), "truncated in the header"),
        // Each level would take several times as long as the one in it.
        (npy(&"{".repeat(24), &[]), "bad .npy header: more brackets than that of an array of numbers has"),
        (npy("{'descr': '<f4'", &[]), "bad .npy header: error parsing header: error parsing metadata dict: syntax error:  --> 1:15"),
        (npy("{'descr': '<f4'}", &[]), "bad .npy header: error parsing header: missing key: fortran_order"),
    ];
    for (bytes, message) in cases {
        std::fs::write(&path, bytes)?;
        let error = io::read_npy_dense(&Device::cpu(), &path).err().map(|error| error.to_string());
        assert_eq!(error, Some(format!("{}: {message}", path.display())));
    }
    std::fs::write(&path, npy(&header("<f4", "False", "(2, 3)"), &[0; 24]))?;
    let error = io::read_npy_banded(&Device::cpu(), &path, Band::new(1, 2)?, Layout::Rows, None).err().map(|error| error.to_string());
    assert_eq!(error, Some(format!("{}: band storage of width 3, must be 4 for lower 1, upper 2", path.display())));
    for len in 0..60 {
        std::fs::write(&path, &npy(&header("<f4", "False", "(1, 1)"), &[0; 4])[..len])?;
        assert!(io::read_npy_dense(&Device::cpu(), &path).is_err(), "cut to {len} bytes");
    }
    Ok(())
}

#[test]
fn the_shipped_matrices_are_read() -> Test {
    let assets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    for (name, n, lower, upper, count) in [("lund_a.mtx", 147, 23, 23, 2449), ("pores_1.mtx", 30, 11, 10, 180)] {
        let file = io::read_matrix_market(assets.join(name))?;
        assert_eq!((file.rows, file.cols, file.entries.len()), (n, n, count), "{name}");
        assert_eq!(file.band()?, Band::new(lower, upper)?, "{name}");
    }
    Ok(())
}
