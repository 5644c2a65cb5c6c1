//! Values to colours.

use bandsaw::{Error, Result};
use colorous::Gradient;

use super::canvas::Color;

pub const NAN: Color = [230, 0, 200];
pub const PLUS_INFINITY: Color = [255, 140, 0];
pub const MINUS_INFINITY: Color = [40, 44, 52];
/// What the band does not store.
pub const UNSTORED: Color = [228, 232, 240];

const GRADIENTS: [(&str, Gradient); 24] = [
    ("viridis", colorous::VIRIDIS),
    ("cividis", colorous::CIVIDIS),
    ("inferno", colorous::INFERNO),
    ("magma", colorous::MAGMA),
    ("plasma", colorous::PLASMA),
    ("turbo", colorous::TURBO),
    ("warm", colorous::WARM),
    ("cool", colorous::COOL),
    ("cubehelix", colorous::CUBEHELIX),
    ("blues", colorous::BLUES),
    ("greens", colorous::GREENS),
    ("greys", colorous::GREYS),
    ("oranges", colorous::ORANGES),
    ("purples", colorous::PURPLES),
    ("reds", colorous::REDS),
    ("yellow-green-blue", colorous::YELLOW_GREEN_BLUE),
    ("yellow-orange-red", colorous::YELLOW_ORANGE_RED),
    ("red-blue", colorous::RED_BLUE),
    ("red-grey", colorous::RED_GREY),
    ("red-yellow-blue", colorous::RED_YELLOW_BLUE),
    ("brown-green", colorous::BROWN_GREEN),
    ("pink-green", colorous::PINK_GREEN),
    ("purple-green", colorous::PURPLE_GREEN),
    ("purple-orange", colorous::PURPLE_ORANGE),
];

/// The names that [`gradient`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    GRADIENTS.iter().map(|(name, _)| *name)
}

/// The gradient of this name.
pub fn gradient(name: &str) -> Result<Gradient> {
    let found = GRADIENTS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, gradient)| *gradient).ok_or_else(|| Error::Argument {
        op: "render",
        argument: "--colors",
        got: format!("{name:?}"),
        allowed: format!("one of {}", GRADIENTS.map(|(name, _)| name).join(", ")),
    })
}

/// How values of one picture become colours.
#[derive(Clone, Copy)]
pub struct Scale {
    pub low: f32,
    pub high: f32,
    gradient: Gradient,
    /// Diverging gradients run from red to blue; ours shows negative values in blue.
    reversed: bool,
    /// Values far smaller than the largest stay visible: asinh(value / knee) instead of value.
    knee: Option<f32>,
}

impl Scale {
    /// From the values of a picture: diverging about 0 if their signs differ, else from 0 or the
    /// least value to the greatest.
    pub fn of(values: impl Iterator<Item = f32>, colors: Option<Gradient>, wide: bool) -> Self {
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        values.filter(|value| value.is_finite()).for_each(|value| (low, high) = (low.min(value), high.max(value)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let signed = low < 0.0 && high > 0.0;
        if signed {
            high = high.max(-low);
            low = -high;
        } else if low > 0.0 && low < high / 2.0 {
            low = 0.0;
        } else if high < 0.0 && high > low / 2.0 {
            high = 0.0;
        }
        if low == high {
            high = if low == 0.0 { 1.0 } else { (low + low.abs()).min(f32::MAX) };
            low = low.min(high / 2.0); // the largest f32 has nothing above it
        }
        let gradient = colors.unwrap_or(if signed { colorous::RED_BLUE } else { colorous::VIRIDIS });
        let knee = wide.then(|| (low.abs().max(high.abs()) * 1e-4).max(f32::MIN_POSITIVE));
        Self { low, high, gradient, reversed: signed && colors.is_none(), knee }
    }

    /// The colour of a finite value.
    pub fn color(&self, value: f32) -> Color {
        let bend = |value: f32| self.knee.map_or(value, |knee| (value / knee).asinh());
        let (low, high, _) = self.bent();
        // What lies between the ends may be more than an f32 holds.
        let (value, low, high) = (f64::from(bend(value)), f64::from(low), f64::from(high));
        self.at(((value - low) / (high - low)) as f32)
    }

    /// The colour at a part of the way from low to high.
    pub fn at(&self, part: f32) -> Color {
        let part = f64::from(part.clamp(0.0, 1.0));
        let color = self.gradient.eval_continuous(if self.reversed { 1.0 - part } else { part });
        [color.r, color.g, color.b]
    }

    /// Both ends after bending, and the knee; 0 if there is none.
    pub fn bent(&self) -> (f32, f32, f32) {
        let bend = |value: f32| self.knee.map_or(value, |knee| (value / knee).asinh());
        (bend(self.low), bend(self.high), self.knee.unwrap_or(0.0))
    }

    /// Whether small values are spread out.
    pub fn wide(&self) -> bool {
        self.knee.is_some()
    }

    /// The value at the middle of the legend.
    pub fn middle(&self) -> f32 {
        let Some(knee) = self.knee else { return f32::midpoint(self.low, self.high) };
        let bend = |value: f32| (value / knee).asinh();
        f32::midpoint(bend(self.low), bend(self.high)).sinh() * knee
    }
}

/// A number in a few characters.
pub fn short(value: f32) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".into()
    } else if (0.01..10_000.0).contains(&size) {
        let digits = if size >= 100.0 { 1 } else { 3 };
        let text = format!("{value:.digits$}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.1e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_and_the_least_values_have_colours_of_their_own() {
        for values in [&[f32::MAX, -f32::MAX][..], &[f32::MAX], &[f32::MAX, f32::MAX / 2.0], &[1e-45, 3e-45], &[-1e-45], &[7.0]] {
            for wide in [false, true] {
                let scale = Scale::of(values.iter().copied(), None, wide);
                assert!(scale.low < scale.high && scale.high.is_finite() && scale.middle().is_finite(), "{values:?}");
                let colors: std::collections::HashSet<_> = values.iter().map(|value| scale.color(*value)).collect();
                assert_eq!(colors.len(), values.len(), "{values:?}, wide {wide}");
            }
        }
    }
}
