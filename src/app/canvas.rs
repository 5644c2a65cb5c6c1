//! A picture to draw on: rectangles, lines and text of a bitmap font.

use std::io::Cursor;
use std::path::Path;

use bandsaw::{Error, Result, io::write_file};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{Rgb, RgbImage};

pub type Color = [u8; 3];

pub const WHITE: Color = [255, 255, 255];
pub const BLACK: Color = [20, 22, 26];
pub const GREY: Color = [110, 116, 124];
pub const LINE: Color = [170, 175, 182];

/// Pixels of the font's square at scale 1.
pub const GLYPH: u32 = 8;

pub struct Canvas(RgbImage);

impl Canvas {
    pub fn new(width: u32, height: u32) -> Self {
        Self(RgbImage::from_pixel(width.max(1), height.max(1), Rgb(WHITE)))
    }

    pub fn set(&mut self, x: u32, y: u32, color: Color) {
        if x < self.0.width() && y < self.0.height() {
            self.0.put_pixel(x, y, Rgb(color));
        }
    }

    pub fn fill(&mut self, [x, y, width, height]: [u32; 4], color: Color) {
        for y in y..y + height {
            for x in x..x + width {
                self.set(x, y, color);
            }
        }
    }

    /// A one-pixel frame around the rectangle.
    pub fn frame(&mut self, [x, y, width, height]: [u32; 4], color: Color) {
        let (left, top) = (x.saturating_sub(1), y.saturating_sub(1));
        self.fill([left, top, width + 2, 1], color);
        self.fill([left, y + height, width + 2, 1], color);
        self.fill([left, top, 1, height + 2], color);
        self.fill([x + width, top, 1, height + 2], color);
    }

    /// Slanted lines: what lies outside.
    pub fn hatch(&mut self, [x, y, width, height]: [u32; 4]) {
        for y in y..y + height {
            for x in x..x + width {
                self.set(x, y, if (x + y) % 5 == 0 { [176, 180, 186] } else { [236, 238, 240] });
            }
        }
    }

    /// A cross from corner to corner.
    pub fn cross(&mut self, [x, y, width, height]: [u32; 4], color: Color) {
        for n in 0..width {
            let down = n * height.saturating_sub(1) / width.saturating_sub(1).max(1);
            self.set(x + n, y + down, color);
            self.set(x + n, y + height - 1 - down, color);
        }
    }

    /// Draws text with its top left corner at (x, y); characters without a glyph show as `?`.
    pub fn text(&mut self, x: u32, y: u32, scale: u32, color: Color, text: &str) {
        for (n, letter) in text.chars().enumerate() {
            let left = x + n as u32 * GLYPH * scale;
            for (row, bits) in glyph(letter).iter().enumerate() {
                for column in (0..GLYPH).filter(|column| bits >> column & 1 == 1) {
                    self.fill([left + column * scale, y + row as u32 * scale, scale, scale], color);
                }
            }
        }
    }

    pub fn save(&self, path: &Path) -> Result<()> {
        let mut bytes = Cursor::new(Vec::new());
        // Flat colours: small without a filter.
        let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Best, FilterType::NoFilter);
        self.0.write_with_encoder(encoder).map_err(|error| Error::Io { path: path.display().to_string(), message: error.to_string() })?;
        write_file(path, |file| file.write_all(bytes.get_ref()))
    }
}

/// The width of a text in pixels.
pub fn text_width(scale: u32, text: &str) -> u32 {
    text.chars().count() as u32 * GLYPH * scale
}

/// Rows of the glyph, the leftmost pixel in bit 0.
fn glyph(letter: char) -> [u8; 8] {
    use font8x8::legacy::{BASIC_LEGACY, LATIN_LEGACY};
    let code = match letter {
        '−' | '–' => '-' as usize,
        '∞' => return [0, 0, 0x66, 0x99, 0x99, 0x66, 0, 0],
        'ᵀ' => return [0x7c, 0x10, 0x10, 0x10, 0, 0, 0, 0],
        letter => letter as usize,
    };
    let latin = code.checked_sub(0xa0).and_then(|code| LATIN_LEGACY.get(code));
    *BASIC_LEGACY.get(code).or(latin).unwrap_or(&BASIC_LEGACY['?' as usize])
}
