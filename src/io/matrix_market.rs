//! Matrix Market exchange files, <https://math.nist.gov/MatrixMarket/formats.html>.
//!
//! Our own reader: those published stop at "invalid format", where a user needs the line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::{Coordinates, failed, write_file};
use crate::operand::{MAX_SIDE, reserve};
use crate::{Error, Result};

/// How the file mirrors its entries.
#[derive(Clone, Copy, PartialEq)]
enum Symmetry {
    General,
    Symmetric,
    Skew,
}

/// What a value looks like.
#[derive(Clone, Copy, PartialEq)]
enum Field {
    Real,
    Integer,
    Pattern,
}

struct Header {
    coordinate: bool,
    field: Field,
    symmetry: Symmetry,
}

/// Reads a Matrix Market file: coordinate or array; real, integer or pattern (ones); general,
/// symmetric or skew-symmetric.
///
/// Symmetric files come back with both triangles. An entry listed twice counts as the sum, as
/// everywhere. Explicit zeros of a coordinate file are entries and widen the band; zeros of an
/// array file are not. Complex files are refused. See the [module](crate::io) for an example.
///
/// # Errors
/// [`Error::Io`], or [`Error::Parse`] with file, line, what was found and what is expected.
pub fn read_matrix_market(path: impl AsRef<Path>) -> Result<Coordinates> {
    let path = path.as_ref();
    let file = File::open(path).map_err(|error| failed(path, &error))?;
    parse_matrix_market(&path.display().to_string(), BufReader::new(file))
}

/// The same from text that is already here; `name` stands for the file in messages.
///
/// ```
/// let text = "%%MatrixMarket matrix coordinate real general\n2 2 1\n1 3 5\n";
/// let error = bandsaw::io::parse_matrix_market("mine", text.as_bytes()).unwrap_err();
/// assert_eq!(error.to_string(), "mine:3: column \"3\", must be 1 to 2");
/// ```
///
/// # Errors
/// As [`read_matrix_market`].
pub fn parse_matrix_market(name: &str, text: impl BufRead) -> Result<Coordinates> {
    let mut lines = Lines { name, reader: text, line: 0 };
    let header = lines.header()?;
    let mut found = if header.coordinate { coordinate(&mut lines, &header)? } else { array(&mut lines, &header)? };
    if let Some(text) = lines.next()? {
        return Err(lines.error(format!("expected the end of the file after the last entry, found {:?}", short(&text))));
    }
    mirror(&mut found, header.symmetry)?;
    Ok(found)
}

/// Writes a matrix as `coordinate real general`, each line of `comment` as a comment.
///
/// Values are written with as many digits as they need to come back the same.
///
/// ```
/// use bandsaw::io::{Coordinates, read_matrix_market, write_matrix_market};
/// # let folder = tempfile::tempdir().map_err(|error| bandsaw::Error::Io { path: String::new(), message: error.to_string() })?;
/// # let path = folder.path().join("a.mtx");
/// let list = Coordinates { rows: 2, cols: 2, entries: vec![(1, 0, 0.1)] };
/// write_matrix_market(&path, &list, "one entry")?;
/// assert_eq!(read_matrix_market(&path)?, list);
/// # Ok::<(), bandsaw::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`].
pub fn write_matrix_market(path: impl AsRef<Path>, matrix: &Coordinates, comment: &str) -> Result<()> {
    write_file(path, |file| {
        writeln!(file, "%%MatrixMarket matrix coordinate real general")?;
        for line in comment.lines() {
            writeln!(file, "% {line}")?;
        }
        writeln!(file, "{} {} {}", matrix.rows, matrix.cols, matrix.entries.len())?;
        for (i, j, value) in &matrix.entries {
            writeln!(file, "{} {} {value:e}", i + 1, j + 1)?;
        }
        Ok(())
    })
}

/// Bytes of a line. The format allows 1024; what has no ends of lines is not read whole.
const LONGEST: u64 = 1 << 20;

/// The file's lines, counted.
struct Lines<'a, R> {
    name: &'a str,
    reader: R,
    line: usize,
}

impl<R: BufRead> Lines<'_, R> {
    fn error(&self, message: impl Into<String>) -> Error {
        Error::Parse { source_name: self.name.to_owned(), line: self.line.max(1), message: message.into() }
    }

    /// The next line, without its end.
    fn raw(&mut self) -> Result<Option<String>> {
        let mut bytes = Vec::new();
        let mut line = self.reader.by_ref().take(LONGEST + 1);
        let read = line.read_until(b'\n', &mut bytes).map_err(|error| failed(Path::new(self.name), &error))?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        // Comments may be in any encoding; what matters is ASCII.
        let text = String::from_utf8_lossy(&bytes);
        if read as u64 > LONGEST {
            return Err(self.error(format!("a line of more than {LONGEST} bytes, it begins with {:?}", short(&text))));
        }
        // Some editors mark UTF-8 by a first character of no width.
        Ok(Some(text.trim_start_matches('\u{feff}').trim().to_owned()))
    }

    /// The next line that is neither empty nor a comment.
    fn next(&mut self) -> Result<Option<String>> {
        while let Some(text) = self.raw()? {
            if !text.is_empty() && !text.starts_with('%') {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// The same where the file must not end yet.
    fn need(&mut self, what: impl FnOnce() -> String) -> Result<String> {
        match self.next()? {
            Some(text) => Ok(text),
            None => Err(self.error(format!("the file ends where {} should be", what()))),
        }
    }

    fn header(&mut self) -> Result<Header> {
        const FORM: &str = "expected \"%%MatrixMarket matrix coordinate|array real|integer|pattern general|symmetric|skew-symmetric\"";
        let text = self.raw()?.ok_or_else(|| self.error(format!("{FORM}, found an empty file")))?;
        if text.starts_with("\u{1f}\u{fffd}\u{8}") {
            return Err(self.error("the file is compressed by gzip, must be unpacked (gunzip)"));
        }
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ["%%matrixmarket", "matrix", format, field, symmetry] = words[..] else {
            return Err(self.error(format!("{FORM}, found {:?}", short(&text))));
        };
        let wrong = |what: &str, got: &str, allowed: &str| self.error(format!("{what} {got:?} is not supported, must be {allowed}"));
        let coordinate = match format {
            "coordinate" => true,
            "array" => false,
            _ => return Err(wrong("format", format, "coordinate or array")),
        };
        let field = match field {
            "real" | "double" => Field::Real,
            "integer" => Field::Integer,
            "pattern" if coordinate => Field::Pattern,
            "pattern" => return Err(wrong("field", field, "real or integer in an array file")),
            _ => return Err(wrong("field", field, "real, integer or pattern")),
        };
        let symmetry = match symmetry {
            "general" => Symmetry::General,
            "symmetric" => Symmetry::Symmetric,
            "skew-symmetric" => Symmetry::Skew,
            _ => return Err(wrong("symmetry", symmetry, "general, symmetric or skew-symmetric")),
        };
        Ok(Header { coordinate, field, symmetry })
    }

    /// The line with the sizes: `COUNT` whole numbers, the first two of them rows and columns.
    fn sizes<const COUNT: usize>(&mut self, names: &str, symmetry: Symmetry) -> Result<[usize; COUNT]> {
        let text = self.need(|| format!("the sizes ({names})"))?;
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.len() != COUNT {
            return Err(self.error(format!("expected the sizes ({names}), found {:?}", short(&text))));
        }
        let mut sizes = [0; COUNT];
        for (size, word) in sizes.iter_mut().zip(words) {
            *size = word.parse().map_err(|_| self.error(format!("expected a whole number in the sizes ({names}), found {word:?}")))?;
        }
        for (size, name) in sizes.iter().zip(["rows", "columns"]) {
            if *size == 0 || *size > MAX_SIDE {
                return Err(self.error(format!("{name} {size}, must be 1 to {MAX_SIDE}")));
            }
        }
        if symmetry != Symmetry::General && sizes[0] != sizes[1] {
            return Err(self.error(format!("{} × {} cannot be symmetric, must be square", sizes[0], sizes[1])));
        }
        Ok(sizes)
    }

    fn value(&self, word: &str, field: Field) -> Result<f64> {
        match field {
            Field::Integer => word.parse::<i64>().map(|value| value as f64).ok(),
            // Fortran programs write 1.0D+02.
            _ => word.parse().or_else(|_| word.replace(['d', 'D'], "e").parse()).ok(),
        }
        .ok_or_else(|| {
            self.error(format!("expected {}, found {word:?}", if field == Field::Integer { "a whole number" } else { "a number" }))
        })
    }

    fn index(&self, word: &str, name: &str, size: usize) -> Result<usize> {
        let wrong = || self.error(format!("{name} {word:?}, must be 1 to {size}"));
        let index: usize = word.parse().map_err(|_| wrong())?;
        if index == 0 || index > size { Err(wrong()) } else { Ok(index - 1) }
    }
}

/// Entries that memory is set aside for before they are seen; a header may promise anything.
const PROMISED: usize = 1 << 16;

fn coordinate(lines: &mut Lines<'_, impl BufRead>, header: &Header) -> Result<Coordinates> {
    let [rows, cols, count] = lines.sizes("rows columns entries", header.symmetry)?;
    let form = if header.field == Field::Pattern { "row column" } else { "row column value" };
    let mut entries = Vec::with_capacity(count.min(PROMISED));
    for n in 0..count {
        let text = lines.need(|| format!("entry {} of {count}", n + 1))?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let (row, col, value) = match (header.field, &words[..]) {
            (Field::Pattern, [row, col]) => (row, col, 1.0),
            (Field::Real | Field::Integer, [row, col, value]) => (row, col, lines.value(value, header.field)?),
            _ => return Err(lines.error(format!("expected \"{form}\", found {:?}", short(&text)))),
        };
        let (i, j) = (lines.index(row, "row", rows)?, lines.index(col, "column", cols)?);
        if header.symmetry != Symmetry::General && i < j {
            return Err(lines.error(format!("entry ({row}, {col}) lies above the diagonal; a symmetric file holds the lower triangle")));
        }
        if header.symmetry == Symmetry::Skew && i == j && value != 0.0 {
            return Err(lines.error(format!("entry ({row}, {col}) is {value}; the diagonal of a skew-symmetric matrix is 0")));
        }
        push(&mut entries, (i, j, value))?;
    }
    Ok(Coordinates { rows, cols, entries })
}

/// Lists grow by half, but not from nothing.
fn push<T>(list: &mut Vec<T>, entry: T) -> Result<()> {
    if list.len() == list.capacity() {
        reserve(list, (list.len() / 2).max(PROMISED))?;
    }
    list.push(entry);
    Ok(())
}

/// One value a line, column after column; of a symmetric matrix from the diagonal down, of a
/// skew-symmetric one from below it.
fn array(lines: &mut Lines<'_, impl BufRead>, header: &Header) -> Result<Coordinates> {
    let [rows, cols] = lines.sizes("rows columns", header.symmetry)?;
    let mut entries = Vec::new();
    for j in 0..cols {
        let first = match header.symmetry {
            Symmetry::General => 0,
            Symmetry::Symmetric => j,
            Symmetry::Skew => j + 1,
        };
        for i in first..rows {
            let text = lines.need(|| format!("the value of row {}, column {}", i + 1, j + 1))?;
            let value = lines.value(&text, header.field)?;
            if value != 0.0 {
                push(&mut entries, (i, j, value))?;
            }
        }
    }
    Ok(Coordinates { rows, cols, entries })
}

/// Adds the other triangle.
fn mirror(matrix: &mut Coordinates, symmetry: Symmetry) -> Result<()> {
    let sign = match symmetry {
        Symmetry::General => return Ok(()),
        Symmetry::Symmetric => 1.0,
        Symmetry::Skew => -1.0,
    };
    let listed = matrix.entries.len();
    reserve(&mut matrix.entries, listed)?;
    for n in 0..listed {
        let (i, j, value) = matrix.entries[n];
        if i != j {
            matrix.entries.push((j, i, sign * value));
        }
    }
    Ok(())
}

/// The start of a line, for messages.
fn short(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_owned() } else { text.chars().take(57).collect::<String>() + "..." }
}
