//! Where the two views stand, and which part of the matrix they show.

use eframe::egui::{Rect, Vec2, pos2, vec2};
use serde::{Deserialize, Serialize};

use super::place::Storage;

/// Which part of the matrix is shown.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Camera {
    /// 1 shows all of it.
    pub zoom: f64,
    /// Row and column in the middle; of all of it, if none is given.
    #[serde(default)]
    pub middle: Option<[f64; 2]>,
    /// The first place along the band.
    #[serde(default)]
    pub place: f64,
}

impl Default for Camera {
    fn default() -> Self {
        Self { zoom: 1.0, middle: None, place: 0.0 }
    }
}

/// One view on the screen: which cells, how large, where.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    pub rect: Rect,
    pub stored: bool,
    /// The cell at the top left corner, with the part that is cut off.
    pub left: f64,
    pub top: f64,
    /// Points to a cell.
    pub cell: [f64; 2],
}

/// Both views; they share the direction that runs along the lines of storage.
#[derive(Debug, Clone)]
pub struct Arrangement {
    pub windows: Vec<Window>,
    pub camera: Camera,
    largest_zoom: f64,
}

/// Points that a cell may have, and that a place along the band has where there is room.
const LARGEST: f64 = 96.0;
const PLACE: f64 = 24.0;

/// Room for the rulers, and for the captions above.
pub const RULER: Vec2 = vec2(40.0, 16.0);
pub const CAPTION: f32 = 20.0;
const GAP: f32 = 16.0;

impl Window {
    /// The cell at a point of the screen.
    pub fn cell_at(&self, at: eframe::egui::Pos2) -> Option<[usize; 2]> {
        let x = self.left + f64::from(at.x - self.rect.left()) / self.cell[0];
        let y = self.top + f64::from(at.y - self.rect.top()) / self.cell[1];
        (self.rect.contains(at) && x >= 0.0 && y >= 0.0).then_some([x as usize, y as usize])
    }

    /// Where cells are on the screen, from one corner to another.
    pub fn place(&self, [x0, y0]: [usize; 2], [x1, y1]: [usize; 2]) -> Rect {
        let x = |x: usize| self.rect.left() + ((x as f64 - self.left) * self.cell[0]) as f32;
        let y = |y: usize| self.rect.top() + ((y as f64 - self.top) * self.cell[1]) as f32;
        Rect::from_min_max(pos2(x(x0), y(y0)), pos2(x(x1), y(y1)))
    }

    /// The cells on the screen, at least in part, along x and along y.
    pub fn visible(&self, [columns, rows]: [usize; 2]) -> [std::ops::Range<usize>; 2] {
        let range = |from: f64, size: f32, cell: f64, limit: usize| {
            let first = from.floor().max(0.0) as usize;
            first.min(limit)..((from + f64::from(size) / cell).ceil().max(0.0) as usize).min(limit)
        };
        [range(self.left, self.rect.width(), self.cell[0], columns), range(self.top, self.rect.height(), self.cell[1], rows)]
    }
}

/// How large both views can be in an area: beside or above each other.
struct Fit {
    dense: Vec2,
    cell: f64,
    beside: bool,
}

impl Fit {
    fn new(storage: &Storage, area: Vec2, both: bool, beside: bool) -> Self {
        let room = |size: Vec2| size - RULER - vec2(0.0, CAPTION);
        let places = storage.width() as f64 * PLACE;
        let (dense, stored) = match (both, beside, storage.columns) {
            (false, ..) => (room(area), room(area)),
            // Storage as narrow as its places are, at most half.
            (true, true, false) => {
                let narrow = (places as f32 + RULER.x).max(200.0).min((area.x - GAP) / 2.0);
                (room(vec2(area.x - GAP - narrow, area.y)), room(vec2(narrow, area.y)))
            }
            (true, true, true) => {
                let half = room(vec2((area.x - GAP) / 2.0, area.y));
                (half, half)
            }
            (true, false, true) => {
                let low = (places as f32 + RULER.y + CAPTION).max(80.0).min((area.y - GAP) / 2.0);
                (room(vec2(area.x, area.y - GAP - low)), room(vec2(area.x, low)))
            }
            (true, false, false) => {
                let half = room(vec2(area.x, (area.y - GAP) / 2.0));
                (half, half)
            }
        };
        let [rows, cols] = storage.extent().map(|side| side as f64);
        let along = |size: Vec2| (f64::from(size.x) / cols).min(f64::from(size.y) / rows);
        // What both share must fit into both.
        let shared = if storage.columns { f64::from(stored.x) / cols } else { f64::from(stored.y) / rows };
        let cell = if both { along(dense).min(shared) } else { along(dense) };
        Self { dense, cell, beside }
    }
}

impl Arrangement {
    /// Both views or one in an area.
    pub fn new(storage: &Storage, area: Rect, dense: bool, stored: bool, camera: Camera) -> Self {
        // A dense matrix is stored as it is drawn.
        let (dense, stored) = (dense || storage.dense, stored && !storage.dense);
        let both = dense && stored;
        let size = area.size().max(RULER + vec2(24.0, CAPTION + 24.0));
        let (beside, above) = (Fit::new(storage, size, both, true), Fit::new(storage, size, both, false));
        let fit = if beside.cell >= above.cell { beside } else { above };
        let smallest = fit.cell.clamp(1e-6, LARGEST / 2.0);
        let largest_zoom = LARGEST / smallest;
        let zoom = camera.zoom.clamp(1.0, largest_zoom);
        let cell = smallest * zoom;
        let [rows, cols] = storage.extent();
        let middle = camera.middle.unwrap_or([rows as f64 / 2.0, cols as f64 / 2.0]);
        // From the middle to the corner, as far as the matrix goes.
        let corner = |middle: f64, room: f32, cells: usize| {
            let visible = f64::from(room) / cell;
            (middle - visible / 2.0).clamp(0.0, (cells as f64 - visible).max(0.0))
        };
        let (top, left) = (corner(middle[0], fit.dense.y, rows), corner(middle[1], fit.dense.x, cols));
        let start = area.min + RULER + vec2(0.0, CAPTION);
        let cut = |rect: Rect, [columns, rows]: [usize; 2], left: f64, top: f64, cell: [f64; 2]| {
            let end = vec2(((columns as f64 - left) * cell[0]) as f32, ((rows as f64 - top) * cell[1]) as f32);
            Rect::from_min_size(rect.min, rect.size().min(end))
        };
        let mut windows = Vec::new();
        if dense {
            let rect = Rect::from_min_size(start, fit.dense);
            let rect = cut(rect, storage.grid(false), left, top, [cell, cell]);
            windows.push(Window { rect, stored: false, left, top, cell: [cell, cell] });
        }
        let mut place = 0.0;
        if stored {
            let first = match (dense, windows.first()) {
                (true, Some(dense)) if fit.beside => start + vec2(dense.rect.width().max(120.0) + GAP + RULER.x, 0.0),
                (true, Some(dense)) => start + vec2(0.0, dense.rect.height() + GAP + RULER.y + CAPTION),
                _ => start,
            };
            // Where the dense view takes less than its share, storage has the rest.
            let room = Rect::from_min_max(first, area.max.max(first + vec2(24.0, 24.0)));
            let across = if storage.columns { room.height() } else { room.width() };
            let places = storage.width() as f64;
            // All places fit at first; zoomed in, they become as large as the cells.
            let wide = (f64::from(across) / places * zoom).min(cell.max(PLACE));
            place = camera.place.clamp(0.0, (places - f64::from(across) / wide).max(0.0));
            let (left, top, cells) = if storage.columns { (left, place, [cell, wide]) } else { (place, top, [wide, cell]) };
            let mut rect = cut(room, storage.grid(true), left, top, cells);
            if let (true, Some(dense)) = (dense, windows.first()) {
                if storage.columns { rect.set_width(dense.rect.width()) } else { rect.set_height(dense.rect.height()) }
            }
            windows.push(Window { rect, stored: true, left, top, cell: cells });
        }
        let camera = Camera { zoom, middle: camera.middle.filter(|_| zoom > 1.0), place };
        Self { windows, camera, largest_zoom }
    }

    /// Row and column in the middle of the dense view.
    fn middle(&self, storage: &Storage) -> [f64; 2] {
        self.camera.middle.unwrap_or(storage.extent().map(|side| side as f64 / 2.0))
    }

    /// The camera after zooming by a factor while a row and a column stay where they are.
    pub fn zoomed(&self, storage: &Storage, factor: f64, [row, col]: [f64; 2]) -> Camera {
        let zoom = (self.camera.zoom * factor).clamp(1.0, self.largest_zoom);
        let keep = self.camera.zoom / zoom;
        let [middle_row, middle_col] = self.middle(storage);
        let middle = Some([row + (middle_row - row) * keep, col + (middle_col - col) * keep]);
        Camera { zoom, middle, place: self.camera.place }
    }

    /// The camera after a view was dragged.
    pub fn dragged(&self, storage: &Storage, window: &Window, by: Vec2) -> Camera {
        let [x, y] = [f64::from(by.x) / window.cell[0], f64::from(by.y) / window.cell[1]];
        let [row, col] = self.middle(storage);
        let mut camera = self.camera;
        let (mut rows, mut cols) = (y, x);
        if window.stored {
            let along = if storage.columns { &mut rows } else { &mut cols };
            camera.place -= std::mem::take(along);
        }
        // No further than the matrix goes, so that dragging back moves at once.
        let limit = |middle: f64, cells: usize| middle.clamp(0.0, cells as f64);
        let [all_rows, all_cols] = storage.extent();
        camera.middle = Some([limit(row - rows, all_rows), limit(col - cols, all_cols)]);
        camera
    }
}
