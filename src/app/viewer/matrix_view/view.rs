//! The two views as widgets.

use std::sync::Arc;

use eframe::egui::{
    Align2, Color32, FontId, Label, Painter, Pos2, Rect, Response, Role, Sense, Stroke, StrokeKind, Ui, Vec2, WidgetInfo, pos2, vec2,
};
use eframe::egui_wgpu::Callback;

use super::arrange::{Arrangement, CAPTION, Window};
use super::gpu::{Drawn, Gpu};
use super::legend::{Tone, scale, table};
use super::place::{Pointed, Storage};
use super::reader::Reader;
use crate::app::colors::{Scale, short};
use crate::app::viewer::command::Command;
use crate::app::viewer::evaluate::Evaluated;
use crate::app::viewer::state::{Settings, State};

/// Points from which on values are written into the cells.
const LABEL: Vec2 = vec2(36.0, 15.0);

/// Values written out at once, at most.
const LABELS: usize = 2000;

/// Cells to outline: rows and columns of the matrix.
pub struct Marks {
    pub color: Color32,
    pub rows: std::ops::Range<usize>,
    pub cols: std::ops::Range<usize>,
}

pub const POINTED: Color32 = Color32::from_rgb(255, 64, 64);
pub const PINNED: Color32 = Color32::from_rgb(255, 170, 0);

/// Both views of a result in an area; how far down they reach comes back.
pub fn matrix_view(
    ui: &mut Ui,
    area: Rect,
    state: &State,
    gpu: &Gpu,
    result: &Arc<Evaluated>,
    labels: &mut Reader,
    out: &mut Vec<Command>,
) -> f32 {
    let Some(drawn) = &result.drawn else {
        let why = gpu.why_not(&Storage::of(&result.matrix)).unwrap_or_default();
        ui.put(Rect::from_center_size(area.center(), vec2(area.width(), 24.0)), Label::new(why));
        return area.top();
    };
    let storage = drawn.storage.clone();
    let index = state.batch.min(storage.batch - 1);
    let arrangement = Arrangement::new(&storage, area, state.settings.dense, state.settings.stored, state.camera);
    if arrangement.camera.zoom != state.camera.zoom {
        out.push(Command::Look(arrangement.camera));
    }
    let scale = scale(&state.settings, &drawn.values);
    let mut pointed = None;
    let mut wanted = Vec::new();
    let mut texts = Vec::new();
    for window in &arrangement.windows {
        caption(ui, window, &storage);
        rulers(ui, window, &storage);
        let response = sensed(ui, window, &storage);
        paint(ui, gpu, drawn, index, &scale, window);
        blocks(ui, window, &storage, state.settings.labels);
        pointed = pointed.or(react(ui, &response, window, &arrangement, &storage, out));
        for (color, at) in [(PINNED, state.pinned), (POINTED, state.pointed)] {
            if let Some([x, y]) = at.and_then(|at| storage.cell(window.stored, at)) {
                outline(&ui.painter_at(window.rect.expand(3.0)), window, [x, y], [x + 1, y + 1], color);
            }
        }
        if state.settings.labels && window.cell[0] >= f64::from(LABEL.x) && window.cell[1] >= f64::from(LABEL.y) {
            for (cell, slot) in visible_slots(window, &storage) {
                wanted.push((Arc::clone(result), index * storage.len() + slot));
                texts.push((window, cell));
            }
        }
    }
    if pointed != state.pointed {
        out.push(Command::Point(pointed));
    }
    if let Some(values) = (!wanted.is_empty()).then(|| labels.values(wanted)).flatten() {
        for ((window, [x, y]), value) in texts.into_iter().zip(values) {
            label(&ui.painter_at(window.rect), window.place([x, y], [x + 1, y + 1]), *value, &scale);
        }
    }
    arrangement.windows.iter().map(|window| window.rect.bottom()).fold(area.top(), f32::max)
}

/// One matrix of an operand, small, with what of it made the entry.
pub fn small_view(ui: &mut Ui, name: &str, side: f32, settings: &Settings, gpu: &Gpu, (drawn, index): (&Drawn, usize), marks: &[Marks]) {
    let storage = &drawn.storage;
    let [rows, cols] = storage.extent();
    let cell = f64::from(side / rows.max(cols) as f32).min(16.0);
    let size = vec2((cols as f64 * cell) as f32, (rows as f64 * cell) as f32).max(vec2(2.0, 2.0));
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, name));
    let window = Window { rect, stored: false, left: 0.0, top: 0.0, cell: [cell, cell] };
    let scale = scale(settings, &drawn.values);
    paint(ui, gpu, drawn, index, &scale, &window);
    for mark in marks.iter().filter(|mark| !mark.rows.is_empty() && !mark.cols.is_empty()) {
        let painter = ui.painter_at(rect.expand(3.0));
        outline(&painter, &window, [mark.cols.start, mark.rows.start], [mark.cols.end, mark.rows.end], mark.color);
    }
}

fn sensed(ui: &mut Ui, window: &Window, storage: &Storage) -> Response {
    let name = if window.stored { "Storage view" } else { "Dense view" };
    let response = ui.interact(window.rect, ui.scope_id().with(name), Sense::click_and_drag());
    let Storage { rows, cols, .. } = storage;
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, format!("{name}, {rows} × {cols}")));
    response
}

/// What the pointer does in a view; what it is at comes back.
fn react(
    ui: &Ui,
    response: &Response,
    window: &Window,
    arrangement: &Arrangement,
    storage: &Storage,
    out: &mut Vec<Command>,
) -> Option<Pointed> {
    if response.dragged() && response.drag_delta() != Vec2::ZERO {
        out.push(Command::Look(arrangement.dragged(storage, window, response.drag_delta())));
    }
    if response.double_clicked() {
        out.push(Command::Fit);
    }
    let at = response.hover_pos()?;
    let pointed = window.cell_at(at).and_then(|cell| storage.at(window.stored, cell));
    if response.clicked() {
        out.push(Command::Pin(pointed));
    }
    let (scroll, pinch) = ui.input(|input| (input.smooth_scroll_delta(), input.zoom_delta()));
    let factor = f64::from(pinch) * f64::from(scroll.y / 240.0).exp();
    if factor != 1.0 {
        // What the pointer is at stays below it; along the band there is nothing to keep.
        let [x, y] = [at.x - window.rect.left(), at.y - window.rect.top()];
        let place = [window.top + f64::from(y) / window.cell[1], window.left + f64::from(x) / window.cell[0]];
        let middle = arrangement.camera.middle.unwrap_or(storage.extent().map(|side| side as f64 / 2.0));
        let keep = match (window.stored, storage.columns) {
            (false, _) => place,
            (true, true) => [middle[0], place[1]],
            (true, false) => [place[0], middle[1]],
        };
        out.push(Command::Look(arrangement.zoomed(storage, factor, keep)));
    }
    pointed
}

fn paint(ui: &Ui, gpu: &Gpu, drawn: &Drawn, index: usize, colors: &Scale, window: &Window) {
    let (scale, tone) = (f64::from(ui.pixels_per_point()), Tone::of(ui.visuals().dark_mode));
    // On whole pixels, as egui sets its viewport.
    let rect = Rect::from_min_max(snap(window.rect.min, scale), snap(window.rect.max, scale));
    if rect.width() < 1.0 || rect.height() < 1.0 {
        return;
    }
    let draw = gpu.draw(drawn, index, &table(colors), |view| {
        (view.low, view.high, view.knee) = colors.bent();
        view.flags |= u32::from(window.stored) << 2;
        (view.left, view.top) = (window.left.floor() as i32, window.top.floor() as i32);
        (view.left_part, view.top_part) = (window.left.fract() as f32, window.top.fract() as f32);
        view.cells_x = (1.0 / (window.cell[0] * scale)) as f32;
        view.cells_y = (1.0 / (window.cell[1] * scale)) as f32;
        (view.pixels_x, view.pixels_y) = ((f64::from(rect.width()) * scale) as f32, (f64::from(rect.height()) * scale) as f32);
        (view.unstored, view.outside, view.hatch, view.gap) = (tone.unstored, tone.outside, tone.hatch, tone.gap);
    });
    ui.painter().add(Callback::new_paint_callback(rect, draw));
    ui.painter().rect_stroke(window.rect, 0.0, Stroke::new(1.0, ui.visuals().weak_text_color()), StrokeKind::Outside);
}

/// Frames around the blocks, and in storage, where values are written, which slot each one has and its
/// block row and column.
fn blocks(ui: &Ui, window: &Window, storage: &Storage, written: bool) {
    let Some(pattern) = &storage.blocks else { return };
    let [r, c] = pattern.block();
    let size = vec2((c as f64 * window.cell[0]) as f32, (r as f64 * window.cell[1]) as f32);
    if size.x < 6.0 || size.y < 6.0 {
        return;
    }
    let (painter, line) = (ui.painter_at(window.rect), Stroke::new(1.0, ui.visuals().weak_text_color()));
    // Values stand in the middle of their cells: the name goes above the first, if there is room.
    let free = if window.cell[0] >= f64::from(LABEL.x) && window.cell[1] >= f64::from(LABEL.y) {
        ((window.cell[1] - 14.0) / 2.0) as f32
    } else {
        size.y
    };
    for (slot, [row, col], [x, y]) in storage.blocks_of(window.stored, window.visible(storage.grid(window.stored))) {
        let rect = window.place([x, y], [x + c, y + r]);
        painter.rect_stroke(rect, 0.0, line, StrokeKind::Inside);
        if window.stored && written {
            let text = painter.layout_no_wrap(format!("{slot} ({row}, {col})"), FontId::proportional(10.0), Color32::WHITE);
            if text.size().x + 4.0 <= size.x && text.size().y <= free {
                let place = Rect::from_min_size(rect.min, text.size() + vec2(4.0, 0.0));
                painter.rect_filled(place, 0.0, Color32::from_black_alpha(150));
                painter.galley(rect.min + vec2(2.0, 0.0), text, Color32::WHITE);
            }
        }
    }
}

fn snap(at: Pos2, scale: f64) -> Pos2 {
    let one = |x: f32| ((f64::from(x) * scale).round() / scale) as f32;
    pos2(one(at.x), one(at.y))
}

/// A frame around cells, never too small to be seen.
fn outline(painter: &Painter, window: &Window, from: [usize; 2], to: [usize; 2], color: Color32) {
    let rect = window.place(from, to);
    let rect = Rect::from_center_size(rect.center(), rect.size().max(vec2(6.0, 6.0)));
    painter.rect_stroke(rect, 1.0, Stroke::new(4.0, Color32::from_black_alpha(110)), StrokeKind::Middle);
    painter.rect_stroke(rect, 1.0, Stroke::new(2.0, color), StrokeKind::Middle);
}

fn caption(ui: &Ui, window: &Window, storage: &Storage) {
    let blocks = storage.blocks.as_ref().filter(|_| window.stored);
    let text = match (window.stored, storage.dense, storage.columns) {
        _ if blocks.is_some() => blocks.map_or_else(String::new, |pattern| {
            let [r, c] = pattern.block();
            let along = if storage.columns { "columns" } else { "rows" };
            format!("Storage, {} blocks of {r} × {c} along {along}", pattern.len())
        }),
        (false, true, false) => "Dense, row-major".into(),
        (false, true, true) => "Dense, column-major".into(),
        (false, false, _) => "Dense view".into(),
        (true, _, columns) => format!("Storage, {} layout, width {}", if columns { "columns" } else { "rows" }, storage.width()),
    };
    let at = window.rect.left_top() - super::arrange::RULER - vec2(0.0, CAPTION - 2.0);
    ui.painter().text(at, Align2::LEFT_TOP, text, FontId::proportional(13.0), ui.visuals().strong_text_color());
}

/// Numbers along the left and the upper edge, as many as there is room for.
fn rulers(ui: &Ui, window: &Window, storage: &Storage) {
    let font = FontId::proportional(10.0);
    let color = ui.visuals().weak_text_color();
    let painter = ui.painter();
    let [columns, rows] = window.visible(storage.grid(window.stored));
    for x in columns.clone().step_by(step(window.cell[0], 34.0)) {
        let at = window.place([x, 0], [x + 1, 1]).center().x;
        if at >= window.rect.left() && at <= window.rect.right() {
            painter.text(pos2(at, window.rect.top() - 3.0), Align2::CENTER_BOTTOM, x, font.clone(), color);
        }
    }
    for y in rows.clone().step_by(step(window.cell[1], 16.0)) {
        let at = window.place([0, y], [1, y + 1]).center().y;
        if at >= window.rect.top() && at <= window.rect.bottom() {
            painter.text(pos2(window.rect.left() - 4.0, at), Align2::RIGHT_CENTER, y, font.clone(), color);
        }
    }
}

/// 1, 2, 5, 10, … cells, so that numbers are that far apart.
fn step(cell: f64, apart: f64) -> usize {
    let mut power = 1usize;
    loop {
        for factor in [1, 2, 5] {
            if (factor * power) as f64 * cell >= apart || power > 1 << 28 {
                return factor * power;
            }
        }
        power *= 10;
    }
}

/// The cells on the screen that hold a value, and where.
fn visible_slots(window: &Window, storage: &Storage) -> Vec<([usize; 2], usize)> {
    let [columns, rows] = window.visible(storage.grid(window.stored));
    let cells = rows.flat_map(|y| columns.clone().map(move |x| [x, y]));
    let slots = cells.filter_map(|cell| match storage.at(window.stored, cell)? {
        Pointed::Entry(entry) => Some((cell, storage.slot(entry)?)),
        Pointed::Slot(_) => None,
    });
    slots.take(LABELS).collect()
}

fn label(painter: &Painter, rect: Rect, value: f32, scale: &Scale) {
    let [r, g, b] = scale.color(value).map(f32::from);
    let dark = value.is_finite() && 0.3 * r + 0.59 * g + 0.11 * b > 140.0;
    let color = if dark { Color32::from_gray(20) } else { Color32::WHITE };
    let text = match value {
        value if value.is_nan() => "NaN".to_owned(),
        f32::INFINITY => "∞".to_owned(),
        f32::NEG_INFINITY => "−∞".to_owned(),
        value => short(value),
    };
    painter.text(rect.center(), Align2::CENTER_CENTER, text, FontId::proportional((rect.width() / 4.2).clamp(9.0, 14.0)), color);
}
