//! The same steps on every device.

use std::time::Duration;

use bandsaw::{Device, Options};

use super::evaluate::Cache;
use super::session::{Step, StepId};

/// What the steps gave on one device.
pub struct Comparison {
    /// Its name, and the hardware's.
    pub device: String,
    pub name: String,
    /// Of each step that has a result here.
    pub times: Vec<(StepId, Duration)>,
    /// The largest difference from the CPU's values, over the largest of those; and what went wrong.
    pub difference: Option<f64>,
    pub error: Option<String>,
}

/// The CPU first, which the others are compared with.
pub fn all(steps: &[Step]) -> Vec<Comparison> {
    let mut reference: Vec<Option<Vec<f32>>> = Vec::new();
    let devices = Device::all();
    devices.iter().map(|info| one(steps, &info.id, &info.name, &mut reference)).collect()
}

fn one(steps: &[Step], id: &str, name: &str, reference: &mut Vec<Option<Vec<f32>>>) -> Comparison {
    let mut found = Comparison { device: id.into(), name: name.into(), times: Vec::new(), difference: None, error: None };
    let device = match Device::open(id, Options::default()) {
        Ok(device) => device,
        Err(error) => return Comparison { error: Some(error.to_string()), ..found },
    };
    let mut cache = Cache::default();
    // The first round compiles the kernels.
    for round in 0..2 {
        cache.clear();
        for n in 0..steps.len() {
            match cache.evaluate(steps, n, &device, None).0 {
                Err(error) => {
                    found.error.get_or_insert_with(|| format!("step {}: {error}", n + 1));
                    if round == 1 && id == "cpu" {
                        reference.push(None);
                    }
                }
                Ok(_) if round == 0 => {}
                Ok(result) => {
                    found.times.push((steps[n].id, result.time));
                    let values = result.matrix.read();
                    if id == "cpu" {
                        reference.push(values.ok());
                    } else if let (Ok(values), Some(Some(want))) = (values, reference.get(n)) {
                        found.difference = Some(found.difference.unwrap_or(0.0).max(difference(&values, want)));
                    }
                }
            }
        }
    }
    found
}

/// The largest |a − b| over the largest |b|; infinite where only one is NaN or infinite.
fn difference(a: &[f32], b: &[f32]) -> f64 {
    let largest = b.iter().filter(|value| value.is_finite()).fold(0.0f64, |most, value| most.max(f64::from(value.abs())));
    let one = |(a, b): (&f32, &f32)| match (a.is_finite(), b.is_finite()) {
        (true, true) => (f64::from(*a) - f64::from(*b)).abs() / largest.max(f64::from(f32::MIN_POSITIVE)),
        _ if a == b || (a.is_nan() && b.is_nan()) => 0.0,
        _ => f64::INFINITY,
    };
    a.iter().zip(b).map(one).fold(0.0, f64::max)
}
