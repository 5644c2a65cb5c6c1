//! Whether values are graded: of sizes that differ from place to place, as those of a Gaussian kernel do, so that sums of some
//! places are small beside their neighbours', or from value to value by more than halves hold. It decides between kernels of one
//! result, never what is right.

use super::record::View;
use crate::device::Launch;

/// Bytes below which it's not worth asking.
const LEAST: usize = 1 << 20;
/// Values that are looked at together, and how many of such groups make a region.
const GROUP: usize = 8;
const GROUPS: usize = 64;
/// The regions that are looked at, evenly apart.
const REGIONS: usize = 16;
/// A group is small if its largest value has an exponent this much below that of its region.
const BELOW: u32 = 9;
/// And a value is tiny so far below: a workgroup that meets one looks at its results again.
const FAR: u32 = 24;

/// Of data of f32, or of any other words, of which the answer means nothing. It looks at 8192 words at most.
pub(super) fn is_graded(data: &[u8]) -> bool {
    if data.len() < LEAST {
        return false;
    }
    let starts = data.len() / 4 - place(GROUPS - 1) - GROUP;
    let graded = (0..REGIONS).filter(|n| is_graded_from(data, starts * n / (REGIONS - 1))).count();
    graded * 4 >= REGIONS
}

/// What a launch computes from graded values is taken for graded, and so is what it makes by exponentials.
pub(super) fn inherit(launch: &Launch<'_>, views: &[View]) {
    let (inputs, outputs) = views.split_at(launch.inputs.len());
    let graded = launch.yields_exponentials() || inputs.iter().any(|input| input.memory.is_graded());
    outputs.iter().for_each(|output| output.memory.note_graded(graded));
}

/// Where a region's groups begin: ever farther apart, so that they meet other diagonals whatever the band's width.
fn place(group: usize) -> usize {
    group * 67 + group * group
}

/// Whether a value of a region is tiny, or a thirty-second of its groups small. Zeros are neither, nor are groups of them.
fn is_graded_from(data: &[u8], start: usize) -> bool {
    let exponents = |group| {
        let words = data[4 * (start + place(group))..].chunks_exact(4).take(GROUP);
        words.map(|word| exponent(word.try_into().unwrap_or_default())).filter(|exponent| *exponent > 0)
    };
    let groups: Vec<[u32; 2]> = (0..GROUPS).filter_map(|group| Some([exponents(group).min()?, exponents(group).max()?])).collect();
    let most = groups.iter().map(|[_, most]| *most).max().unwrap_or(0);
    let tiny = groups.iter().any(|[least, _]| least + FAR < most);
    let small = groups.iter().filter(|[_, largest]| largest + BELOW < most).count();
    tiny || small > 0 && small * 32 >= groups.len()
}

/// That of a finite number, biased; 0 of 0 and of what isn't finite.
fn exponent(word: [u8; 4]) -> u32 {
    match f32::from_ne_bytes(word).to_bits() >> 23 & 255 {
        255 => 0,
        exponent => exponent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of a band, of numbers in −1 … 1 times what `size` gives for row and diagonal.
    fn band(width: usize, size: impl Fn(usize, i32) -> f32) -> Vec<u8> {
        let mut state = 12345u32;
        let mut next = || {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let place = |n| (n / width, (n % width) as i32 - width as i32 / 2);
        (0..LEAST / 4 + width).flat_map(|n| (next() * size(place(n).0, place(n).1)).to_ne_bytes()).collect()
    }

    fn gaussian(sigma: f32) -> impl Fn(usize, i32) -> f32 {
        move |_, diagonal| (-(diagonal as f32 / sigma).powi(2)).exp()
    }

    #[test]
    fn kernels_that_fall_off_are_graded() {
        for width in [97, 113, 129, 137, 257, 513] {
            let half = (width / 2) as f32;
            assert!(is_graded(&band(width, gaussian(half / 4.0))), "{width}");
            assert!(is_graded(&band(width, gaussian(half / 6.0))), "{width}");
            assert!(is_graded(&band(width, |row, _| 2f32.powi(-(row as i32 % 100) / 2))), "{width}");
        }
    }

    #[test]
    fn values_far_apart_are_graded() {
        for (width, sizes) in [(97, 20), (129, 20), (129, 59), (513, 40)] {
            let size = |row: usize, diagonal: i32| 2f32.powi(-((row as i32 * 7919 + diagonal * 104729).rem_euclid(sizes)));
            assert!(is_graded(&band(width, size)), "{width}");
        }
    }

    #[test]
    fn others_are_not() {
        for width in [97, 129, 137, 513] {
            assert!(!is_graded(&band(width, |_, _| 1.0)), "{width}");
            assert!(!is_graded(&band(width, gaussian(width as f32))), "{width}");
            assert!(!is_graded(&band(width, |_, _| 0.0)), "{width}");
            // Few values, one far larger, and one that is none.
            assert!(!is_graded(&band(width, |row, diagonal| if (row as i32 + diagonal) % 9 == 0 { 1.0 } else { 0.0 })), "{width}");
            assert!(!is_graded(&band(width, |row, diagonal| if (row, diagonal) == (7, 3) { 1e12 } else { 1.0 })), "{width}");
            assert!(!is_graded(&band(width, |row, diagonal| if (row, diagonal) == (7, 3) { f32::NAN } else { 1.0 })), "{width}");
        }
    }

    #[test]
    fn little_data_is_not() {
        for len in (0..40).chain([LEAST - 1]) {
            assert!(!is_graded(&vec![1; len]));
        }
        assert!(!is_graded(&vec![1; LEAST + 3]));
    }
}
