//! genbmm's dense products.

use bandsaw::*;

use crate::common::devices;
use crate::entry::{Entry, load, same, upload};
use crate::pending;

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
            // The draws and their gradients belong to genbmm's own uniform numbers.
            if ring == (Semiring::Sample { seed: 1 }) {
                pending::leave(&entry, &[&["uniform", "index"]]);
            }
            if ring == Semiring::Max || ring == Semiring::ProdMax {
                pending::leave(&entry, &[&["argmax"]]);
            }
            pending::leave(&entry, &[&["grad_out", "grad_a", "grad_b"]]);
            if ring == Semiring::Log {
                pending::leave(&entry, &[&["v_a", "v_b", "hvp_a", "hvp_b", "hvp_grad_out"]]);
            }
            entry.finish();
        }
    }
}
