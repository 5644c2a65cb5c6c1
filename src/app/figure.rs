//! Matrices as pictures: a dense view, a view of the band storage, a legend.

use bandsaw::{BandedShape, BlockSparse, Layout};

use super::Matrix;
use super::canvas::{BLACK, Canvas, Color, GLYPH, GREY, LINE, text_width};
use super::colors::{self, MINUS_INFINITY, NAN, PLUS_INFINITY, Scale, UNSTORED};

/// What a place of a picture shows.
#[derive(Clone, Copy, PartialEq)]
enum Cell {
    Value(f32),
    /// The band does not store it.
    Unstored,
    /// A slot of band storage without a partner in the matrix.
    Outside,
}

/// Rectangular cells with a caption.
struct Grid {
    caption: String,
    rows: usize,
    cols: usize,
    cells: Vec<Cell>,
    /// The least and the greatest finite value of the entries, which are more than the cells where these are shrunk.
    range: Option<[f32; 2]>,
}

/// Which views of a matrix a picture has.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum View {
    /// Every entry at its row and column
    Dense,
    /// The slots as they are stored
    Band,
    /// One beside the other
    Both,
}

/// How a picture is made.
#[derive(Clone, Copy)]
pub struct Style {
    pub view: View,
    /// Pixels that the longer side of a view may take.
    pub pixels: u32,
    pub colors: Option<colorous::Gradient>,
    /// Keep small values visible beside large ones.
    pub wide: bool,
}

/// A picture's parts before they are placed.
pub struct Figure {
    title: String,
    grids: Vec<Grid>,
    scale: Scale,
    fill: f32,
    pixels: u32,
}

impl Figure {
    /// Matrix `index` of the batch that `values` holds in storage order.
    pub fn new(title: &str, matrix: &Matrix, values: &[f32], index: usize, style: Style) -> Self {
        let limit = style.pixels as usize;
        let (grids, fill) = match matrix {
            Matrix::Dense(dense) => {
                let shape = dense.shape();
                let mut grid = Shrunk::new(shape.rows, shape.cols, limit);
                for i in 0..shape.rows {
                    (0..shape.cols).for_each(|j| grid.put(i, j, Cell::Value(values[shape.index(index, i, j)])));
                }
                (vec![grid.finish(format!("dense, {} × {}", shape.rows, shape.cols))], 0.0)
            }
            Matrix::Blocks(blocks) => {
                let mut grids = Vec::new();
                if style.view != View::Band {
                    grids.push(blocks_view(blocks, values, limit));
                }
                if style.view != View::Dense {
                    grids.push(slots_view(blocks, values, limit));
                }
                (grids, 0.0)
            }
            Matrix::Banded(banded) => {
                let shape = banded.shape();
                let mut grids = Vec::new();
                if style.view != View::Band {
                    grids.push(dense_view(&shape, values, index, limit));
                }
                if style.view != View::Dense {
                    grids.push(band_view(&shape, values, index, limit));
                }
                (grids, shape.fill)
            }
        };
        let scale = Scale::of(grids.iter().filter_map(|grid| grid.range).flatten(), style.colors, style.wide);
        Self { title: title.to_owned(), grids, scale, fill, pixels: style.pixels }
    }

    /// Pixels of one cell; the same in all views of the figure.
    fn cell(&self) -> u32 {
        let longest = self.grids.iter().map(|grid| grid.rows.max(grid.cols)).max().unwrap_or(1);
        (self.pixels / longest as u32).clamp(1, 32)
    }

    /// Title, views side by side, legend.
    pub fn draw(&self) -> Canvas {
        const EDGE: u32 = 24;
        let cell = self.cell();
        let large = self.pixels >= 300;
        let (title, small) = if large { (3, 2) } else { (2, 1) };
        let widths: Vec<u32> = self.grids.iter().map(|grid| (grid.cols as u32 * cell).max(text_width(small, &grid.caption))).collect();
        let keys = self.keys();
        let keys_width = keys.iter().map(|(_, text)| text_width(small, text) + GLYPH * small * 4).sum::<u32>();
        let content = widths.iter().sum::<u32>() + EDGE * 2 * (widths.len().max(1) as u32 - 1);
        let bar = (GLYPH * small * 24).max(content.min(400 * small / 2));
        let width = content.max(text_width(title, &self.title)).max(bar + text_width(small, " asinh")).max(keys_width) + 2 * EDGE;
        let height = self.grids.iter().map(|grid| grid.rows as u32 * cell).max().unwrap_or(0);
        let top = EDGE + GLYPH * title + EDGE;
        let views = top + GLYPH * small + 8;
        let legend = views + height + EDGE;
        let total = legend + GLYPH * small * 2 + 8 + if keys.is_empty() { 0 } else { GLYPH * small + EDGE / 2 } + EDGE;
        let mut canvas = Canvas::new(width, total);
        canvas.text(EDGE, EDGE, title, BLACK, &self.title);
        let mut x = EDGE;
        for (grid, width) in self.grids.iter().zip(&widths) {
            canvas.text(x, top, small, GREY, &grid.caption);
            self.grid(&mut canvas, grid, x, views, cell);
            x += width + 2 * EDGE;
        }
        self.legend(&mut canvas, [EDGE, legend, bar, GLYPH * small], small);
        let mut x = EDGE;
        let y = legend + GLYPH * small * 2 + 8 + EDGE / 2;
        for (cell, text) in keys {
            let side = GLYPH * small;
            self.one(&mut canvas, cell, [x, y, side, side]);
            canvas.frame([x, y, side, side], LINE);
            canvas.text(x + side * 3 / 2, y, small, GREY, &text);
            x += text_width(small, &text) + side * 4;
        }
        canvas
    }

    /// The views alone under a small title, in a square of `side` pixels: for the overview.
    pub fn thumbnail(&self, canvas: &mut Canvas, x: u32, y: u32) {
        canvas.text(x, y, 2, BLACK, &self.title);
        let (cell, mut x) = (self.cell(), x);
        for grid in &self.grids {
            self.grid(canvas, grid, x, y + 28, cell);
            x += grid.cols as u32 * cell + 16;
        }
    }

    /// Width and height of the thumbnail.
    pub fn thumbnail_size(&self) -> [u32; 2] {
        let cell = self.cell();
        let views = self.grids.iter().map(|grid| grid.cols as u32 * cell + 16).sum::<u32>();
        let height = self.grids.iter().map(|grid| grid.rows as u32 * cell).max().unwrap_or(0);
        [views.max(text_width(2, &self.title)), height + 28]
    }

    fn grid(&self, canvas: &mut Canvas, grid: &Grid, x: u32, y: u32, cell: u32) {
        let gap = u32::from(cell >= 8);
        canvas.fill([x, y, grid.cols as u32 * cell, grid.rows as u32 * cell], [208, 213, 222]);
        for (n, value) in grid.cells.iter().enumerate() {
            let (row, column) = ((n / grid.cols) as u32, (n % grid.cols) as u32);
            self.one(canvas, *value, [x + column * cell, y + row * cell, cell - gap, cell - gap]);
        }
        canvas.frame([x, y, grid.cols as u32 * cell - gap, grid.rows as u32 * cell - gap], LINE);
    }

    fn one(&self, canvas: &mut Canvas, cell: Cell, place: [u32; 4]) {
        let marked = |canvas: &mut Canvas, color: Color| {
            canvas.fill(place, color);
            if place[2] >= 5 {
                canvas.cross(place, super::canvas::WHITE);
            }
        };
        match cell {
            Cell::Unstored => canvas.fill(place, UNSTORED),
            Cell::Outside => canvas.hatch(place),
            Cell::Value(value) if value.is_nan() => marked(canvas, NAN),
            Cell::Value(f32::INFINITY) => marked(canvas, PLUS_INFINITY),
            Cell::Value(f32::NEG_INFINITY) => marked(canvas, MINUS_INFINITY),
            Cell::Value(value) => canvas.fill(place, self.scale.color(value)),
        }
    }

    /// The gradient with the values at its ends and middle.
    fn legend(&self, canvas: &mut Canvas, [x, y, width, height]: [u32; 4], text: u32) {
        for n in 0..width {
            canvas.fill([x + n, y, 1, height], self.scale.at(n as f32 / (width - 1).max(1) as f32));
        }
        canvas.frame([x, y, width, height], LINE);
        let (low, middle, high) = (colors::short(self.scale.low), colors::short(self.scale.middle()), colors::short(self.scale.high));
        let below = y + height + 6;
        canvas.text(x, below, text, GREY, &low);
        canvas.text(x + (width - text_width(text, &middle)) / 2, below, text, GREY, &middle);
        canvas.text(x + width - text_width(text, &high), below, text, GREY, &high);
        if self.scale.wide() {
            canvas.text(x + width + GLYPH * text, y, text, GREY, "asinh");
        }
    }

    /// What else the picture shows, in words.
    fn keys(&self) -> Vec<(Cell, String)> {
        let has = |wanted: fn(&Cell) -> bool| self.grids.iter().flat_map(|grid| &grid.cells).any(wanted);
        let all: [(bool, Cell, String); 5] = [
            (has(|cell| *cell == Cell::Unstored), Cell::Unstored, format!("not stored: {}", fill(self.fill))),
            (has(|cell| *cell == Cell::Outside), Cell::Outside, "outside the matrix".into()),
            (has(|cell| matches!(cell, Cell::Value(value) if value.is_nan())), Cell::Value(f32::NAN), "NaN".into()),
            (has(|cell| *cell == Cell::Value(f32::INFINITY)), Cell::Value(f32::INFINITY), "∞".into()),
            (has(|cell| *cell == Cell::Value(f32::NEG_INFINITY)), Cell::Value(f32::NEG_INFINITY), "-∞".into()),
        ];
        all.into_iter().filter(|(present, ..)| *present).map(|(_, cell, text)| (cell, text)).collect()
    }
}

fn fill(value: f32) -> String {
    if value == u32::MAX as f32 {
        return "none".into(); // of an index
    }
    if value.is_infinite() { if value > 0.0 { "∞" } else { "-∞" }.into() } else { colors::short(value) }
}

/// A grid of at most `limit` cells a side; where several places share one, that which stands out.
struct Shrunk {
    rows: usize,
    cols: usize,
    step: usize,
    cells: Vec<Cell>,
    range: Option<[f32; 2]>,
}

impl Shrunk {
    fn new(rows: usize, cols: usize, limit: usize) -> Self {
        let step = rows.max(cols).div_ceil(limit.max(1)).max(1);
        let (rows, cols) = (rows.div_ceil(step), cols.div_ceil(step));
        Self { rows, cols, step, cells: vec![Cell::Unstored; rows * cols], range: None }
    }

    fn put(&mut self, i: usize, j: usize, cell: Cell) {
        if let Cell::Value(value) = cell
            && value.is_finite()
        {
            let [low, high] = self.range.unwrap_or([value; 2]);
            self.range = Some([low.min(value), high.max(value)]);
        }
        let here = &mut self.cells[i / self.step * self.cols + j / self.step];
        let rank = |cell: Cell| match cell {
            Cell::Unstored => -2.0,
            Cell::Outside => -1.0,
            Cell::Value(value) if value.is_nan() => f32::INFINITY,
            Cell::Value(value) => value.abs(),
        };
        if rank(cell) > rank(*here) {
            *here = cell;
        }
    }

    fn finish(self, caption: String) -> Grid {
        let caption = if self.step > 1 { format!("{caption}, 1 : {}", self.step) } else { caption };
        Grid { caption, rows: self.rows, cols: self.cols, cells: self.cells, range: self.range }
    }
}

fn dense_view(shape: &BandedShape, values: &[f32], index: usize, limit: usize) -> Grid {
    let mut grid = Shrunk::new(shape.rows, shape.cols, limit);
    for i in 0..shape.rows {
        for j in shape.band.cols_of_row(i, shape.cols) {
            if let Some(slot) = shape.slot(index, i, j) {
                grid.put(i, j, Cell::Value(values[slot]));
            }
        }
    }
    grid.finish(format!("dense view, {} × {}", shape.rows, shape.cols))
}

/// Every stored entry at its row and column.
fn blocks_view(blocks: &BlockSparse, values: &[f32], limit: usize) -> Grid {
    let (rows, cols) = (blocks.pattern().rows(), blocks.pattern().cols());
    let mut grid = Shrunk::new(rows, cols, limit);
    for (i, j) in (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j))) {
        if let Some(index) = blocks.index(i, j) {
            grid.put(i, j, Cell::Value(values[index]));
        }
    }
    let [r, c] = blocks.pattern().block();
    grid.finish(format!("dense view, {rows} × {cols}, blocks of {r} × {c}"))
}

/// The blocks as they are stored, slot after slot in lines of about equal sides.
fn slots_view(blocks: &BlockSparse, values: &[f32], limit: usize) -> Grid {
    let pattern = blocks.pattern();
    let ([r, c], slots) = (pattern.block(), pattern.len());
    let across = ((slots * r) as f64 / c as f64).sqrt().ceil().max(1.0) as usize;
    let mut grid = Shrunk::new(slots.div_ceil(across).max(1) * r, across * c, limit);
    for (slot, [row, col]) in pattern.blocks().enumerate() {
        for (i, j) in (0..r).flat_map(|i| (0..c).map(move |j| (i, j))) {
            let inside = row * r + i < pattern.rows() && col * c + j < pattern.cols();
            let n = if blocks.layout() == Layout::Rows { i * c + j } else { j * r + i };
            let cell = if inside { Cell::Value(values[slot * r * c + n]) } else { Cell::Outside };
            grid.put(slot / across * r + i, slot % across * c + j, cell);
        }
    }
    grid.finish(format!("{slots} slots"))
}

/// Rows layout: a line per row, as wide as the band. Columns layout: a column per column, so that
/// both stand beside the dense view as their lines do.
fn band_view(shape: &BandedShape, values: &[f32], index: usize, limit: usize) -> Grid {
    let width = shape.band.width();
    let per_matrix = shape.len() / shape.batch.max(1);
    let lines = per_matrix / width;
    let across = shape.layout == Layout::Columns;
    let mut grid = if across { Shrunk::new(width, lines, limit) } else { Shrunk::new(lines, width, limit) };
    for (n, value) in values.iter().skip(index * per_matrix).take(per_matrix).enumerate() {
        let cell = if shape.entry(n).is_some() { Cell::Value(*value) } else { Cell::Outside };
        let (line, k) = (n / width, n % width);
        if across { grid.put(k, line, cell) } else { grid.put(line, k, cell) }
    }
    let layout = if across { "columns" } else { "rows" };
    grid.finish(format!("band storage, {layout} layout, width {width}"))
}

#[cfg(test)]
mod tests {
    use bandsaw::{Band, Banded, Device, Result};

    use super::*;

    /// A cell shows the largest of its entries, but colours are of them all.
    #[test]
    fn the_legend_is_of_all_entries() -> Result<()> {
        let shape = BandedShape::new(300, 300, Band::new(1, 1)?);
        let matrix = Matrix::Banded(Banded::from_fn(&Device::cpu(), shape, |_, i, j| if i == j { 20.0 } else { -0.5 })?);
        for view in [View::Dense, View::Band, View::Both] {
            let style = Style { view, pixels: 64, colors: None, wide: false };
            let figure = Figure::new("", &matrix, &matrix.read()?, 0, style);
            assert_eq!((figure.scale.low, figure.scale.high), (-20.0, 20.0));
        }
        Ok(())
    }
}
