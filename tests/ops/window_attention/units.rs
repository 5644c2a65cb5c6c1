//! f16 operands whose rows are whole pieces of 16 columns: what kernels on matrix units take, where a
//! device has them. Everywhere else these are sizes like any other.

use super::*;

fn table() -> Vec<Case> {
    let case = |name: &str, rows: usize, keys: usize, depth: usize, options: WindowAttention| {
        Case::new(name, [rows, keys, depth, depth], options).dtype(Dtype::F16)
    };
    vec![
        case("one piece", 16, 16, 16, window(3, 3)),
        case("a row more", 17, 17, 16, window(16, 16)),
        case("a workgroup and some", 150, 150, 64, window(20, 20)).entries(2),
        case("causal", 133, 133, 32, window(40, 0)),
        case("ahead only", 70, 70, 48, window(0, 33)),
        case("each itself", 65, 65, 16, window(0, 0)),
        case("beside the diagonal", 80, 80, 16, window(-3, 19)),
        case("everything", 97, 97, 64, window(1 << 28, 1 << 28)),
        case("nothing to attend", 40, 40, 16, window(-50, 60)),
        case("more keys", 33, 95, 32, window(12, 12).offset(31)),
        case("more queries", 95, 33, 32, window(12, 12).offset(-31)),
        case("deep", 40, 40, 80, window(9, 9)),
        case("deepest", 50, 50, 128, window(20, 9)),
        case("deeper than registers hold", 30, 30, 144, window(9, 9)),
        case("groups", 70, 50, 32, window(20, 5).heads(4, 2)).entries(2),
        case("lengths", 90, 100, 16, window(20, 20).lengths([100, 70, 16, 1, 0])).entries(5),
        case("lengths and groups", 70, 70, 16, window(20, 20).heads(3, 1).lengths([64, 33])).entries(2),
        case("scaled below 0", 60, 60, 16, window(9, 40).scale(-0.5)),
        // The maximum grows along the window, so that the sums so far have to shrink.
        case("large scores", 80, 80, 16, window(40, 40).scale(1.0)).size(30.0),
        case("huge scores", 80, 80, 16, window(40, 40).scale(1.0)).size(60.0),
    ]
}

#[test]
fn pieces_of_16_are_the_definition() {
    for tested in with_interpreter() {
        for case in table() {
            case.check(&tested.device, &tested.label);
        }
    }
}

/// Values that are no numbers stay with those who attend to them.
#[test]
fn no_numbers_in_pieces_of_16() {
    let case = Case::new("no numbers", [90, 90, 16, 16], window(6, 3).lengths([80])).dtype(Dtype::F16);
    let plain = case.operands();
    let at = |row: usize, value: f32| move |_: usize, i: usize, p: usize| (i == row && p == 3).then_some(value);
    let odd = [
        Operands { q: plain.q.with(at(40, f32::NAN)), ..plain.clone() },
        Operands { k: plain.k.with(at(40, f32::NAN)), ..plain.clone() },
        Operands { k: plain.k.with(at(85, f32::NAN)), v: plain.v.with(at(86, f32::INFINITY)), ..plain.clone() },
        Operands { v: plain.v.with(at(10, f32::NAN)), ..plain.clone() },
        Operands { v: plain.v.with(at(40, f32::INFINITY)), ..plain.clone() },
        Operands { grad: plain.grad.with(at(30, f32::NAN)), ..plain.clone() },
    ];
    for tested in with_interpreter() {
        for (n, operands) in odd.iter().enumerate() {
            case.check_with(&tested.device, &format!("{} {n}", tested.label), operands);
        }
    }
}

/// Gradients far below what f16 holds beside 1, and far above.
#[test]
fn gradients_of_any_size() {
    let case = Case::new("gradients", [60, 60, 16, 16], window(20, 20)).dtype(Dtype::F16);
    let plain = case.operands();
    for tested in with_interpreter() {
        for size in [1e-4, 3e4] {
            let before = plain.grad.clone();
            let grad = plain.grad.with(move |b, i, p| before.entry(b, i, p).map(|g| g as f32 * 0.5 * size));
            let operands = Operands { grad: grad.rounded(Dtype::F16), ..plain.clone() };
            case.check_with(&tested.device, &format!("{} of size {size}", tested.label), &operands);
        }
    }
}
