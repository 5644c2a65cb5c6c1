//! A matrix as it is and as it is stored, drawn from the buffer it lies in.

mod arrange;
mod gpu;
mod legend;
mod place;
mod reader;
mod view;

pub use arrange::Camera;
pub use gpu::{Drawn, Gpu};
pub use legend::{Tone, legend, scale};
pub use place::{Pointed, Storage};
pub use reader::Reader;
pub use view::{Marks, matrix_view, small_view};
