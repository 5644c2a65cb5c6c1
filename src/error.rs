//! What can go wrong, in the words a user can act on.

/// Every error this library returns.
///
/// Each names the operation or the file, what was got and what is allowed.
///
/// ```
/// use bandsaw::{Band, BandedShape, Banded, Device};
/// let cpu = Device::cpu();
/// let shape = BandedShape::new(4, 4, Band::new(1, 1)?);
/// let error = Banded::from_slice(&cpu, shape, &[0.0; 7]).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "Banded::from_slice: data has 7 values, must have 12 (1 batch × 4 rows × width 3)"
/// );
/// # Ok::<(), bandsaw::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument that the operation cannot take.
    #[error("{op}: {argument} has {got}, must have {allowed}")]
    Argument {
        /// The operation.
        op: &'static str,
        /// Which of its arguments.
        argument: &'static str,
        /// What was given.
        got: String,
        /// What would have been right.
        allowed: String,
    },
    /// An operand that lives on another device than the first one.
    #[error("{op}: {argument} is on {got}, must be on {allowed} like the first operand")]
    WrongDevice {
        /// The operation.
        op: &'static str,
        /// Which of its arguments.
        argument: &'static str,
        /// The device it is on.
        got: String,
        /// The device of the first operand.
        allowed: String,
    },
    /// More of something than the device or the index type can hold.
    #[error("{op}: {what} is {got}, the limit of {of} is {limit}")]
    Limit {
        /// The operation.
        op: &'static str,
        /// What is too large, with its unit.
        what: String,
        /// How much was asked for.
        got: u64,
        /// How much there may be.
        limit: u64,
        /// Whose limit it is.
        of: String,
    },
    /// The device has no memory left for this buffer. The operands are untouched.
    #[error("{device}: out of memory, {bytes} bytes asked for")]
    OutOfMemory {
        /// The device.
        device: String,
        /// The size that could not be had.
        bytes: u64,
    },
    /// The driver gave the device up; make a new one and upload again.
    #[error("{device}: device lost: {reason}")]
    DeviceLost {
        /// The device.
        device: String,
        /// What the driver said.
        reason: String,
    },
    /// No device answers to this name.
    #[error("no device {name:?}; present: {}", present.join(", "))]
    NoDevice {
        /// The name asked for.
        name: String,
        /// The names that would have worked.
        present: Vec<String>,
    },
    /// The driver or the shader compiler refused something it should have taken.
    #[error("{device}: {message}")]
    Backend {
        /// The device.
        device: String,
        /// What it said.
        message: String,
    },
    /// Text that does not parse: a file (`line` counts from 1) or an expression.
    #[error("{source_name}:{line}: {message}")]
    Parse {
        /// The file, or the expression's name.
        source_name: String,
        /// Line, from 1.
        line: usize,
        /// What was wrong.
        message: String,
    },
    /// A file that cannot be opened, read or written.
    #[error("{path}: {message}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        message: String,
    },
}

/// `Result` with this library's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An [`Error::Argument`] with its parts turned into text.
    pub(crate) fn argument(op: &'static str, argument: &'static str, got: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self::Argument { op, argument, got: got.into(), allowed: allowed.into() }
    }

    /// What an operation said of an argument or of a limit, as an [`Error::Io`] of the file that the argument came from; any
    /// other error as it is.
    ///
    /// ```
    /// use bandsaw::{Dense, DenseShape, Device};
    /// let error = Dense::from_slice(&Device::cpu(), DenseShape::new(0, 5), &[]).unwrap_err().in_file("a.npy");
    /// assert_eq!(error.to_string(), "a.npy: rows has 0, must have 1 to 268435456");
    /// ```
    pub fn in_file(self, path: impl AsRef<std::path::Path>) -> Self {
        let message = match self {
            Self::Argument { argument, got, allowed, .. } => format!("{argument} has {got}, must have {allowed}"),
            Self::Limit { what, got, limit, of, .. } => format!("{what} is {got}, the limit of {of} is {limit}"),
            other => return other,
        };
        Self::Io { path: path.as_ref().display().to_string(), message }
    }

    /// The same of the operation that a buffer was for.
    pub(crate) fn of(self, op: &'static str) -> Self {
        match self {
            Self::Limit { op: "alloc", what, got, limit, of } => Self::Limit { op, what, got, limit, of },
            other => other,
        }
    }
}
