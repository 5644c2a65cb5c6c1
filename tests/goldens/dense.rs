//! genbmm's dense products.

use bandsaw::*;

use crate::common::devices;
use crate::entry::{Entry, load, same, upload};

#[test]
fn every_dense_product() {
    let file = load("genbmm.json");
    let entries = file["dense_semiring"].as_array().unwrap();
    assert_eq!(entries.len(), 4);
    for tested in devices() {
        for value in entries {
            let entry = Entry::new(format!("{}: {}", tested.label, value["op"].as_str().unwrap()), value);
            let ring = match entry.text("op") {
                "logbmm" => Semiring::Log,
                "maxbmm" => Semiring::Max,
                "prodmaxbmm" => Semiring::ProdMax,
                "samplebmm" => Semiring::Sample { seed: 1 },
                other => panic!("no test knows the operation {other}"),
            };
            let (a, b) = (upload(&tested.device, entry.field("a")), upload(&tested.device, entry.field("b")));
            same(&entry.name, &semiring_matmul(&a, &b, ring).unwrap(), entry.field("out"));
            pending(&entry);
            entry.finish();
        }
    }
}

/// Fields that wait for operations which do not exist yet: indices and gradients.
fn pending(entry: &Entry<'_>) {
    for name in ["argmax", "uniform", "index", "grad_out", "grad_a", "grad_b", "v_a", "v_b", "hvp_a", "hvp_b", "hvp_grad_out"] {
        let _ = entry.maybe(name);
    }
}
