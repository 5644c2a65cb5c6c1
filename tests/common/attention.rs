//! Windowed attention written out: every score of a dense matrix in f64, the mask spelt out, and for
//! each result how far f32 arithmetic may be from it.

use bandsaw::*;

use super::full::Full;
use super::{EPSILON, Host, check_value};

/// Operands and options of one run.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    /// Batch entries; heads are in the options.
    pub entries: usize,
    pub rows: usize,
    pub keys: usize,
    pub depth: usize,
    pub value_depth: usize,
    pub dtype: Dtype,
    pub seed: u64,
    /// Largest entry of q and k.
    pub size: f32,
    /// K is stored depth × keys.
    pub transposed: bool,
    pub options: WindowAttention,
}

impl Case {
    pub fn new(name: &str, [rows, keys, depth, value_depth]: [usize; 4], options: WindowAttention) -> Self {
        let seed = name.bytes().fold(rows as u64, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
        Self {
            name: name.into(),
            entries: 1,
            rows,
            keys,
            depth,
            value_depth,
            dtype: Dtype::F32,
            seed,
            size: 2.0,
            transposed: false,
            options,
        }
    }

    pub fn entries(self, entries: usize) -> Self {
        Self { entries, ..self }
    }

    pub fn dtype(self, dtype: Dtype) -> Self {
        Self { dtype, ..self }
    }

    pub fn size(self, size: f32) -> Self {
        Self { size, ..self }
    }

    pub fn transposed(self) -> Self {
        Self { transposed: true, ..self }
    }

    fn host(&self, nth: u64, heads: usize, rows: usize, cols: usize, size: f32) -> Host {
        Host::random(self.entries * heads, rows, cols, None, self.seed + nth, size).rounded(self.dtype)
    }

    pub fn operands(&self) -> Operands {
        let WindowAttention { heads, kv_heads, .. } = self.options;
        Operands {
            q: self.host(0, heads, self.rows, self.depth, self.size),
            k: self.host(1, kv_heads, self.keys, self.depth, self.size),
            v: self.host(2, kv_heads, self.keys, self.value_depth, 2.0),
            grad: self.host(3, heads, self.rows, self.value_depth, 2.0),
        }
    }

    /// The bits of every result.
    pub fn run(&self, device: &Device) -> Vec<Vec<u32>> {
        let operands = self.operands();
        let [q, k, v, grad] =
            [&operands.q, &operands.k, &operands.v, &operands.grad].map(|host| host.dense(device, Layout::Rows, self.dtype, false));
        let (out, lse) = window_attention(&q, &k, &v, &self.options).unwrap();
        let (dq, dk, dv) = window_attention_backward(&q, &k, &v, &out, &lse, &grad, &self.options).unwrap();
        [out, lse, dq, dk, dv].iter().map(|result| result.read().unwrap().into_iter().map(f32::to_bits).collect()).collect()
    }

    /// Forward and backward on a device, against the oracle.
    #[track_caller]
    pub fn check(&self, device: &Device, label: &str) {
        self.check_with(device, label, &self.operands());
    }

    #[track_caller]
    pub fn check_with(&self, device: &Device, label: &str, operands: &Operands) {
        let what = format!("{label}: {}", self.name);
        let upload = |host: &Host, transposed| host.dense(device, Layout::Rows, self.dtype, transposed);
        let (q, k) = (upload(&operands.q, false), upload(&operands.k, self.transposed));
        let (v, grad) = (upload(&operands.v, false), upload(&operands.grad, false));
        let info = device.info();
        let units = self.dtype == Dtype::F16 && !device.options().portable && info.features.iter().any(|f| f == "matrix units");
        let want = Want::new(self, &operands.values(), units);
        let (out, lse) = window_attention(&q, &k, &v, &self.options).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((out.shape().dtype, lse.shape().dtype), (self.dtype, Dtype::F32), "{what}");
        want.out.check(&format!("{what}: out"), &out, self.dtype);
        want.lse.check(&format!("{what}: lse"), &lse, Dtype::F32);
        let (dq, dk, dv) = window_attention_backward(&q, &k, &v, &out, &lse, &grad, &self.options).unwrap();
        assert_eq!((dq.shape(), dk.shape(), dv.shape()), (q.shape(), k.shape(), v.shape()), "{what}");
        want.dq.check(&format!("{what}: dq"), &dq, self.dtype);
        want.dk.check(&format!("{what}: dk"), &dk, self.dtype);
        want.dv.check(&format!("{what}: dv"), &dv, self.dtype);
    }
}

#[derive(Clone)]
pub struct Operands {
    pub q: Host,
    pub k: Host,
    pub v: Host,
    pub grad: Host,
}

impl Operands {
    pub fn values(&self) -> Values {
        let full = |host: &Host| Full::new(host.batch, host.rows, host.cols, |b, i, j| host.entry(b, i, j).unwrap());
        Values { q: full(&self.q), k: full(&self.k), v: full(&self.v), grad: full(&self.grad) }
    }
}

/// Operands written out.
#[derive(Clone)]
pub struct Values {
    pub q: Full,
    pub k: Full,
    pub v: Full,
    pub grad: Full,
}

/// Values and bounds of a batch, row-major.
pub struct Bounded {
    rows: usize,
    cols: usize,
    pub values: Vec<(f64, f64)>,
}

impl Bounded {
    fn new(batch: usize, rows: usize, cols: usize) -> Self {
        Self { rows, cols, values: vec![(0.0, 0.0); batch * rows * cols] }
    }

    fn row(&mut self, b: usize, i: usize) -> &mut [(f64, f64)] {
        &mut self.values[(b * self.rows + i) * self.cols..][..self.cols]
    }

    #[track_caller]
    fn check(&self, what: &str, got: &Dense, dtype: Dtype) {
        let (shape, data) = (got.shape(), got.read().unwrap());
        assert_eq!((shape.batch * shape.rows * shape.cols, shape.rows, shape.cols), (self.values.len(), self.rows, self.cols), "{what}");
        for (n, (want, bound)) in self.values.iter().enumerate() {
            let (b, i, j) = (n / self.cols / self.rows, n / self.cols % self.rows, n % self.cols);
            let narrowing = super::rounding(dtype) * (want.abs() + bound) + if dtype == Dtype::F16 { 6e-8 } else { 0.0 };
            // What underflows may be lost.
            check_value(data[shape.index(b, i, j)], *want, bound + narrowing + 1e-30, || format!("{what} [{b}][{i}, {j}]"));
        }
    }
}

/// Every result of a case.
pub struct Want {
    pub out: Bounded,
    pub lse: Bounded,
    pub dq: Bounded,
    pub dk: Bounded,
    pub dv: Bounded,
}

/// Whether query i attends to key j, as the documentation has it.
pub fn attends(options: &WindowAttention, entry: usize, i: usize, j: usize) -> bool {
    if options.lengths.as_ref().is_some_and(|lengths| j >= lengths[entry]) {
        return false;
    }
    let position = i as i64 + options.offset;
    let global = |at: i64| options.global.iter().any(|global| *global as i64 == at);
    let (away, dilation) = (j as i64 - position, options.dilation as i64);
    let steps = away.div_euclid(dilation);
    let stepped = away.rem_euclid(dilation) == 0 && steps >= -options.band.lower() && steps <= options.band.upper();
    stepped || global(position) || global(j as i64)
}

/// One query row: (key, probability, its relative error), and the logsumexp.
struct Row {
    keys: Vec<(usize, f64, f64)>,
    lse: f64,
    lse_bound: f64,
}

/// Relative error of a sum of n products, doubled for what is of second order.
fn sum_error(n: usize) -> f64 {
    2.0 * (n as f64 + 2.0) * EPSILON
}

/// How much more a sum may be off on matrix units, which round by cutting off.
const UNITS: f64 = 4.0;

fn scores(case: &Case, operands: &Values, head: usize, i: usize, units: bool) -> Row {
    let options = &case.options;
    let kv = head / (options.heads / options.kv_heads);
    let scale = f64::from(options.scale.unwrap_or(1.0 / (case.depth as f32).sqrt()));
    let mut keys = Vec::new();
    let mut error: f64 = 0.0;
    for j in (0..case.keys).filter(|j| attends(options, head / options.heads, i, *j)) {
        let terms = (0..case.depth).map(|p| operands.q.at(head, i, p) * operands.k.at(kv, j, p));
        let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), x: f64| (sum + x, size + x.abs()));
        keys.push((j, sum * scale, 0.0));
        // The product's error, and those of scaling it and of taking differences.
        // What is infinite has none.
        let size = if size.is_finite() { size } else { 0.0 };
        let sum_error = if units { UNITS } else { 1.0 } * sum_error(case.depth);
        error = error.max(scale.abs() * size * (sum_error + 12.0 * EPSILON));
    }
    let largest = keys.iter().map(|key| key.1).fold(f64::NEG_INFINITY, |a, b| if a.is_nan() || a > b { a } else { b });
    if largest == f64::NEG_INFINITY {
        keys.iter_mut().for_each(|key| key.1 = 0.0);
        return Row { keys, lse: largest, lse_bound: 0.0 };
    }
    let total: f64 = keys.iter().map(|key| (key.1 - largest).exp()).sum();
    let lse = largest + total.ln();
    let lse_bound = error + sum_error(keys.len()) + 8.0 * EPSILON * (lse.abs() + 1.0);
    for key in &mut keys {
        // Of an exponent's size, WGSL lets exp2 be off by 3 + 2|x| units.
        let away = (key.1 - lse).abs();
        key.2 = error + lse_bound + 4.0 * EPSILON * (8.0 + if away.is_finite() { away } else { 0.0 });
        key.1 = (key.1 - lse).exp();
    }
    Row { keys, lse, lse_bound }
}

impl Want {
    pub fn new(case: &Case, operands: &Values, units: bool) -> Self {
        let Case { entries, rows, keys, depth, value_depth, ref options, .. } = *case;
        let (heads, kv_heads) = (options.heads, options.kv_heads);
        let mut want = Self {
            out: Bounded::new(entries * heads, rows, value_depth),
            lse: Bounded::new(entries * heads, rows, 1),
            dq: Bounded::new(entries * heads, rows, depth),
            dk: Bounded::new(entries * kv_heads, keys, depth),
            dv: Bounded::new(entries * kv_heads, keys, value_depth),
        };
        let scale = f64::from(options.scale.unwrap_or(1.0 / (depth as f32).sqrt()));
        let half = super::rounding(case.dtype);
        // Matrix units take probabilities and slopes rounded to f16, the latter relative to the largest
        // gradient: a relative error, and an absolute one where f16 is subnormal.
        let (rounding, tiny) = if units { (1.0 / 2048.0, 1.0 / f64::from(1 << 24)) } else { (0.0, 0.0) };
        let of_sums = |n| if units { UNITS } else { 1.0 } * sum_error(n);
        let most = operands.grad.values.iter().fold(0.0, |most: f64, g| if g.is_finite() { most.max(g.abs()) } else { most });
        for (head, i) in (0..entries * heads).flat_map(|head| (0..rows).map(move |i| (head, i))) {
            let kv = head / (heads / kv_heads);
            let row = scores(case, operands, head, i, units);
            want.lse.row(head, i)[0] = (row.lse, row.lse_bound);
            let length = of_sums(row.keys.len());
            for (c, (value, bound)) in want.out.row(head, i).iter_mut().enumerate() {
                for (j, p, error) in &row.keys {
                    let v = operands.v.at(kv, *j, c);
                    *value += p * v;
                    *bound += (p * v).abs() * (error + length + rounding) + v.abs() * tiny;
                }
            }

            // Σ grad · out, and what its own error and that of out make of it.
            let grad: Vec<f64> = (0..value_depth).map(|c| operands.grad.at(head, i, c)).collect();
            let (mut delta, mut delta_bound) = (0.0, 0.0);
            for (g, (value, bound)) in grad.iter().zip(want.out.row(head, i)) {
                delta += g * *value;
                delta_bound += g.abs() * (*bound + value.abs() * (of_sums(value_depth) + half));
            }
            // Sums over a key's queries may be as long as all rows of a group.
            let long = of_sums(rows * heads / kv_heads);
            for (j, p, error) in &row.keys {
                let products = grad.iter().enumerate().map(|(c, g)| g * operands.v.at(kv, *j, c));
                let (sum, size) = products.fold((0.0, 0.0), |(sum, size), x: f64| (sum + x, size + x.abs()));
                let slope = p * (sum - delta) * scale;
                let slope_bound = scale.abs() * p * ((sum - delta).abs() * error + size * of_sums(value_depth) + delta_bound)
                    + 4.0 * EPSILON * scale.abs() * p * (sum.abs() + delta.abs());
                for c in 0..depth {
                    let (q, k) = (operands.q.at(head, i, c), operands.k.at(kv, *j, c));
                    add(&mut want.dq.row(head, i)[c], slope * k, k.abs() * (slope_bound + slope.abs() * (length + rounding) + tiny * most));
                    add(&mut want.dk.row(kv, *j)[c], slope * q, q.abs() * (slope_bound + slope.abs() * (long + rounding) + tiny * most));
                }
                for (c, g) in grad.iter().enumerate() {
                    add(&mut want.dv.row(kv, *j)[c], p * g, (p * g).abs() * (error + long + rounding) + g.abs() * tiny);
                }
            }
        }
        want
    }
}

fn add((value, bound): &mut (f64, f64), by: f64, error: f64) {
    *value += by;
    *bound += error;
}
