//! One reference result: an object whose fields are counted as they are used.

use std::cell::RefCell;
use std::collections::BTreeSet;

use bandsaw::{Band, Banded, BandedShape, Dense, DenseShape, Device, Layout};
use serde_json::Value;

use crate::common::check_value;

/// genbmm's constant for -∞.
const MINUS_INFINITY: f64 = -1e9;

/// What the files promise for f32.
const TOLERANCE: f64 = 1e-5;

/// A file of reference results.
pub fn load(name: &str) -> Value {
    // Where the test runs, which may be another machine than where it was built.
    let checkout = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let path = std::path::Path::new(&checkout).join("tests/data").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub struct Entry<'a> {
    pub name: String,
    value: &'a Value,
    used: RefCell<BTreeSet<&'a str>>,
}

impl<'a> Entry<'a> {
    pub fn new(name: String, value: &'a Value) -> Self {
        // Words for the reader.
        Self { name, value, used: RefCell::new(["name", "note"].into()) }
    }

    /// A field that must be there.
    pub fn field(&self, name: &'a str) -> &'a Value {
        self.maybe(name).unwrap_or_else(|| panic!("{}: no {name}", self.name))
    }

    pub fn maybe(&self, name: &'a str) -> Option<&'a Value> {
        self.used.borrow_mut().insert(name);
        self.value.get(name)
    }

    pub fn text(&self, name: &'a str) -> &'a str {
        self.field(name).as_str().unwrap()
    }

    /// Fails if a field was not looked at.
    pub fn finish(&self) {
        let used = self.used.borrow();
        let left: Vec<_> = self.value.as_object().unwrap().keys().filter(|key| !used.contains(key.as_str())).collect();
        assert!(left.is_empty(), "{}: fields that no test knows: {left:?}", self.name);
    }
}

/// Numbers nested to any depth, in order.
pub fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

/// The sizes of three nested arrays.
pub fn sizes(value: &Value) -> [usize; 3] {
    [value, &value[0], &value[0][0]].map(|level| level.as_array().unwrap().len())
}

fn infinite(value: f64) -> f64 {
    if value == MINUS_INFINITY { f64::NEG_INFINITY } else { value }
}

/// A `BandedMatrix` of the file.
#[derive(Clone)]
pub struct Matrix {
    pub shape: BandedShape,
    pub data: Vec<f64>,
}

impl Matrix {
    pub fn new(value: &Value) -> Self {
        let size = |name: &str| value[name].as_i64().unwrap();
        let band = Band::new(size("ld"), size("lu")).unwrap();
        let n = size("n") as usize;
        let fill = infinite(value["fill"].as_f64().unwrap()) as f32;
        let shape = BandedShape::new(n, n, band).batch(size("batch") as usize).layout(Layout::Columns).fill(fill);
        Self::with(shape, &value["data"])
    }

    /// The same structure over other data, as gradients are given.
    pub fn with(shape: BandedShape, data: &Value) -> Self {
        let data: Vec<_> = numbers(data).into_iter().map(infinite).collect();
        assert_eq!(data.len(), shape.len());
        Self { shape, data }
    }

    /// Entry (i, j) of matrix b, if it is stored.
    pub fn get(&self, b: usize, i: usize, j: usize) -> Option<f64> {
        let band = self.shape.band;
        let k = i as i64 - j as i64 + band.upper();
        let stored = 0 <= k && k < band.width() as i64;
        stored.then(|| self.data[(b * self.shape.cols + j) * band.width() + k as usize])
    }

    pub fn upload(&self, device: &Device) -> Banded {
        let data: Vec<_> = self.data.iter().map(|value| *value as f32).collect();
        Banded::from_slice(device, self.shape, &data).unwrap()
    }

    /// Compares every entry inside the matrix; `change` replaces what is wanted at (b, i, j).
    #[track_caller]
    pub fn check(&self, what: &str, got: &Banded, change: impl Fn([usize; 3], f64) -> f64) {
        let shape = got.shape();
        assert_eq!((shape.batch, shape.rows, shape.cols), (self.shape.batch, self.shape.rows, self.shape.cols), "{what}");
        assert_eq!(shape.band, self.shape.band, "{what}");
        let cpu = Banded::from_slice(&Device::cpu(), shape, &got.read().unwrap()).unwrap();
        for b in 0..shape.batch {
            for (i, j) in (0..shape.rows).flat_map(|i| (0..shape.cols).map(move |j| (i, j))) {
                let Some(want) = self.get(b, i, j) else { continue };
                let want = change([b, i, j], want);
                close(what, [b, i, j], cpu.get(b, i, j).unwrap(), want);
            }
        }
    }

    #[track_caller]
    pub fn same(&self, what: &str, got: &Banded) {
        self.check(what, got, |_, want| want);
    }
}

/// A dense batch of the file.
pub fn upload(device: &Device, value: &Value) -> Dense {
    let [batch, rows, cols] = sizes(value);
    let data: Vec<_> = numbers(value).into_iter().map(|value| infinite(value) as f32).collect();
    Dense::from_slice(device, DenseShape::new(rows, cols).batch(batch), &data).unwrap()
}

/// Compares a row-major dense batch.
#[track_caller]
pub fn same(what: &str, got: &Dense, want: &Value) {
    let [batch, rows, cols] = sizes(want);
    let shape = got.shape();
    assert_eq!((shape.batch, shape.rows, shape.cols, shape.layout), (batch, rows, cols, Layout::Rows), "{what}");
    for (n, (got, want)) in got.read().unwrap().into_iter().zip(numbers(want)).enumerate() {
        close(what, [n / cols / rows, n / cols % rows, n % cols], got, infinite(want));
    }
}

#[track_caller]
fn close(what: &str, place: [usize; 3], got: f32, want: f64) {
    // An alignment's fill of -1e5, like -1e9, only says that nothing is there.
    if want <= -9e4 && got <= -9e4 {
        return;
    }
    check_value(got, want, TOLERANCE * want.abs().max(1.0), || format!("{what}: {place:?}"));
}
