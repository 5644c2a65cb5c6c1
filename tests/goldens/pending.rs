//! Fields whose operations do not exist yet. As soon as one does, the test here fails until its
//! fields are compared instead of left.

use crate::entry::Entry;

/// Gradients of banded products over `Log` and `Max` (`Sum` is compared by its own products).
pub const FIRST: &[&str] = &["grad_A", "grad_B"];

/// Second order of `Log`.
pub const SECOND: &[&str] = &["v_A", "v_B", "hvp_A", "hvp_B", "hvp_grad_out"];

/// The operations they wait for.
const OPERATIONS: &[&str] = &[
    "banded_matmul_backward",
    "banded_matmul_double_backward",
    "semiring_matmul_backward",
    "semiring_matmul_double_backward",
    "semiring_matmul_index",
];

/// Marks fields that must be there as left for later.
pub fn leave(entry: &Entry<'_>, fields: &[&[&'static str]]) {
    for name in fields.iter().copied().flatten() {
        entry.field(name);
    }
}

#[test]
fn no_operation_exists_whose_results_are_left() {
    let exports = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops.rs")).unwrap();
    let words: Vec<_> = exports.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
    let there: Vec<_> = OPERATIONS.iter().filter(|name| words.contains(name)).collect();
    assert!(there.is_empty(), "{there:?} exist now: compare their reference results where tests/goldens calls pending::leave");
}
