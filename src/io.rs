//! Files in and out: Matrix Market (`.mtx`), NumPy (`.npy`), and checkpoints (`.safetensors`).
//!
//! ```
//! use bandsaw::{Device, Layout, io};
//! # let folder = tempfile::tempdir().map_err(|error| bandsaw::Error::Io { path: String::new(), message: error.to_string() })?;
//! # let path = folder.path().join("small.mtx");
//! # std::fs::write(&path, "%%MatrixMarket matrix coordinate real general\n2 2 2\n1 1 3\n2 1 4\n").ok();
//! let file = io::read_matrix_market(&path)?;
//! let a = file.to_banded(&Device::cpu(), Layout::Rows)?;
//! println!("{} × {}, {}", file.rows, file.cols, a.shape().band); // 2 × 2, lower 1, upper 0
//! # Ok::<(), bandsaw::Error>(())
//! ```

mod coordinates;
mod matrix_market;
mod npy;
mod safetensors;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use coordinates::Coordinates;
pub use matrix_market::{parse_matrix_market, read_matrix_market, write_matrix_market};
pub use npy::{read_npy_banded, read_npy_dense, write_npy_banded, write_npy_dense};
pub use safetensors::{Checkpoint, Tensor};

use crate::{Error, Result};

/// Writes a file whole or not at all: `write` fills a temporary one beside it, which then takes
/// its name, and the permissions of what was there. Folders on the way are made. A link is followed;
/// what is no file, such as `/dev/stdout` or a pipe, is written as it is. What a program leaves that ends
/// before is for [`remove_unfinished`].
///
/// ```
/// # let folder = tempfile::tempdir().map_err(|error| bandsaw::Error::Io { path: String::new(), message: error.to_string() })?;
/// # let path = folder.path().join("a/b.txt");
/// bandsaw::io::write_file(&path, |file| file.write_all(b"all of it"))?;
/// assert_eq!(std::fs::read(&path).ok().as_deref(), Some(&b"all of it"[..]));
/// # Ok::<(), bandsaw::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`] with the path; the file that was there before is then still there.
pub fn write_file(path: impl AsRef<Path>, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let path = path.as_ref();
    let failed = |error: std::io::Error| failed(path, &error);
    let fill = |file: File| {
        let mut writer = BufWriter::new(file);
        write(&mut writer)?;
        writer.flush()
    };
    let before = fs::metadata(path).ok();
    if before.as_ref().is_some_and(|before| !before.is_file() && !before.is_dir()) {
        return File::options().write(true).open(path).and_then(fill).map_err(failed);
    }
    let link = fs::symlink_metadata(path).is_ok_and(|there| there.is_symlink());
    let led_to = || fs::canonicalize(path).or_else(|_| fs::read_link(path).map(|to| path.with_file_name("").join(to)));
    let target = if link { led_to().map_err(failed)? } else { path.to_owned() };
    let Some(name) = target.file_name() else {
        return Err(Error::Io { path: path.display().to_string(), message: "no file name".into() });
    };
    if let Some(folder) = target.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.{}.part", std::process::id(), WRITTEN.fetch_add(1, Ordering::Relaxed)));
    let temporary = target.with_file_name(hidden);
    let _unfinished = Unfinished::new(&temporary);
    let written = File::create(&temporary).and_then(|file| {
        if let Some(before) = &before {
            file.set_permissions(before.permissions())?;
        }
        fill(file)
    });
    written.and_then(|()| fs::rename(&temporary, &target)).map_err(|error| {
        // The first error is the one to tell; what cannot be removed was never made.
        let _ = fs::remove_file(&temporary);
        failed(error)
    })
}

/// Removes what [`write_file`] has not finished, in any thread: for a program that a signal is about to end.
///
/// ```
/// // In whatever handles signals:
/// bandsaw::io::remove_unfinished();
/// ```
pub fn remove_unfinished() {
    for path in unfinished().drain(..) {
        // What cannot be removed stays, as it would have.
        let _ = fs::remove_file(path);
    }
}

/// A temporary file while it is written.
struct Unfinished<'a>(&'a Path);

impl<'a> Unfinished<'a> {
    fn new(path: &'a Path) -> Self {
        unfinished().push(path.to_owned());
        Self(path)
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        unfinished().retain(|path| path != self.0);
    }
}

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Files that were begun, so that threads have temporary ones of their own.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::Io { path: path.display().to_string(), message: error.to_string() }
}
