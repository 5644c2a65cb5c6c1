//! Windowed attention and its parts: on every device, for every option, against a dense masked
//! attention in f64.

mod common;

#[path = "ops/banded_softmax.rs"]
mod banded_softmax;
#[path = "ops/window_attention.rs"]
mod window_attention;
#[path = "ops/window_attention_backward.rs"]
mod window_attention_backward;
