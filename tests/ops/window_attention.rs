//! `window_attention`: every option and their combinations, forward and gradients.

use bandsaw::*;

use crate::common::attention::Case;
use crate::common::*;

fn window(lower: i64, upper: i64) -> WindowAttention {
    WindowAttention::new(Band::new(lower, upper).unwrap())
}

/// Sizes [n, m, d, e] at which kernels go wrong: tiles have 64 rows, 32 keys, 64 columns of the
/// result and 16 of a product's depth.
fn table() -> Vec<Case> {
    vec![
        Case::new("one token", [1, 1, 1, 1], window(0, 0)),
        Case::new("one token, wide window", [1, 1, 3, 2], window(5, 7)),
        Case::new("each itself", [70, 70, 5, 3], window(0, 0)),
        Case::new("symmetric", [150, 150, 16, 16], window(9, 9)).entries(2),
        Case::new("causal", [130, 130, 20, 12], window(40, 0)),
        Case::new("ahead only", [65, 65, 17, 9], window(0, 33)),
        Case::new("asymmetric", [64, 64, 8, 8], window(3, 20)),
        Case::new("beside the diagonal", [40, 40, 4, 4], window(-3, 9)),
        Case::new("below the diagonal", [90, 90, 4, 4], window(70, -40)),
        Case::new("wider than n", [50, 50, 8, 8], window(60, 80)),
        Case::new("everything", [97, 97, 8, 8], window(1 << 28, 1 << 28)),
        Case::new("nothing to attend", [40, 40, 4, 4], window(-50, 60)),
        Case::new("more keys", [33, 95, 8, 8], window(12, 12).offset(31)),
        Case::new("more queries", [95, 33, 8, 8], window(12, 12).offset(-31)),
        Case::new("far beside", [20, 20, 4, 4], window(3, 3).offset(100)),
        Case::new("the last queries", [3, 200, 8, 8], window(64, 0).offset(197)),
        Case::new("deep", [66, 66, 129, 65], window(20, 20)),
        Case::new("deeper", [40, 40, 64, 130], window(8, 8)),
        Case::new("transposed keys", [70, 60, 24, 8], window(9, 4)).transposed(),
        Case::new("scaled", [70, 60, 24, 8], window(9, 4).scale(0.7)),
        Case::new("scaled below 0", [40, 40, 8, 8], window(9, 4).scale(-0.25)),
        Case::new("halves", [80, 80, 16, 24], window(15, 15)).entries(3).half(),
        Case::new("halves, odd", [33, 31, 7, 5], window(15, 3)).entries(3).half(),
        Case::new("heads", [66, 66, 8, 8], window(20, 0).heads(4, 4)).entries(2),
        Case::new("groups", [66, 70, 8, 6], window(20, 5).heads(6, 2)).entries(2),
        Case::new("one head of keys", [40, 40, 8, 8], window(7, 7).heads(5, 1)).entries(2),
        Case::new("lengths", [100, 100, 8, 8], window(20, 20).lengths([100, 70, 1, 0])).entries(4),
        Case::new("lengths and groups", [70, 70, 8, 8], window(20, 20).heads(4, 2).lengths([64, 33])).entries(2),
        Case::new("dilation", [150, 150, 8, 8], window(9, 9).dilation(2)),
        Case::new("dilation, causal", [150, 140, 8, 8], window(20, 0).dilation(5).offset(3)),
        Case::new("dilation beyond n", [20, 20, 8, 8], window(3, 3).dilation(33)),
        Case::new("largest dilation", [20, 20, 8, 8], window(1 << 28, 1 << 28).dilation(1 << 28)),
        Case::new("dilation, negative offset", [80, 70, 8, 8], window(3, 6).dilation(3).offset(-7)),
        Case::new("global", [100, 100, 8, 8], window(5, 5).global([0])),
        Case::new("globals", [140, 140, 8, 140], window(12, 3).global([0, 139, 70, 71, 70])),
        Case::new("globals and lengths", [100, 100, 8, 8], window(5, 5).global([3, 80]).lengths([90, 50, 2])).entries(3),
        Case::new("many globals", [60, 60, 8, 8], window(0, 0).global((0..40).collect::<Vec<_>>())),
        Case::new("globals and offset", [60, 90, 8, 8], window(4, 4).offset(20).global([5, 20, 79, 89])),
        Case::new("global, groups", [70, 70, 8, 8], window(4, 4).heads(4, 2).global([9, 33])).entries(2),
        Case::new(
            "all at once",
            [75, 100, 20, 70],
            window(6, 4).heads(4, 2).dilation(3).offset(20).global([0, 33, 99]).lengths([100, 61]).scale(0.5),
        )
        .entries(2)
        .transposed(),
        Case::new("all at once, halves", [75, 100, 20, 30], window(6, 4).heads(2, 1).dilation(2).offset(-9).global([50]).lengths([77]))
            .half(),
        Case::new("no batch", [10, 10, 4, 4], window(2, 2)).entries(0),
    ]
}

#[test]
fn every_option_is_the_definition() {
    for tested in devices() {
        for case in table() {
            case.check(&tested.device, &tested.label);
        }
    }
}
