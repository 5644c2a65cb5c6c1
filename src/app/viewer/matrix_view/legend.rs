//! The colour scale: from values to colours, and drawn below the views.

use eframe::egui::{Align2, Color32, FontId, Mesh, Painter, Pos2, Rect, Sense, Shape, Stroke, StrokeKind, Ui, vec2};

use super::gpu::Values;
use super::place::Storage;
use crate::app::canvas::Color;
use crate::app::colors::{self, Scale};
use crate::app::viewer::state::{AUTOMATIC, Settings};

/// The colours around the values, light or dark.
#[derive(Clone, Copy)]
pub struct Tone {
    pub unstored: [f32; 4],
    pub outside: [f32; 4],
    pub hatch: [f32; 4],
    pub gap: [f32; 4],
}

const fn grey(r: u8, g: u8, b: u8) -> [f32; 4] {
    [r as f32 / 255.0, g as f32 / 255.0, b as f32 / 255.0, 1.0]
}

impl Tone {
    pub fn of(dark: bool) -> Self {
        if dark {
            Self { unstored: grey(44, 48, 56), outside: grey(34, 37, 43), hatch: grey(74, 79, 89), gap: grey(27, 29, 33) }
        } else {
            Self { unstored: grey(228, 232, 240), outside: grey(240, 242, 245), hatch: grey(176, 180, 186), gap: grey(248, 249, 251) }
        }
    }
}

pub fn color32([r, g, b]: Color) -> Color32 {
    Color32::from_rgb(r, g, b)
}

fn of_tone([r, g, b, _]: [f32; 4]) -> Color32 {
    Color32::from_rgb((r * 255.0) as u8, (g * 255.0) as u8, (b * 255.0) as u8)
}

/// The scale that the settings give these values.
pub fn scale(settings: &Settings, values: &Values) -> Scale {
    let chosen = (settings.colors != AUTOMATIC).then(|| colors::gradient(&settings.colors).ok()).flatten();
    Scale::of([values.low, values.high].into_iter(), chosen, settings.logarithmic)
}

/// The scale as the shader takes it.
pub fn table(scale: &Scale) -> [[f32; 4]; 256] {
    std::array::from_fn(|n| {
        let [r, g, b] = scale.at(n as f32 / 255.0);
        grey(r, g, b)
    })
}

/// The scale with its ends and middle, and what else the views show.
pub fn legend(ui: &mut Ui, scale: &Scale, values: &Values, storage: &Storage, tone: &Tone) {
    let text = ui.visuals().text_color();
    let font = FontId::proportional(12.0);
    ui.horizontal_wrapped(|ui| {
        let (rect, response) = ui.allocate_exact_size(vec2(240.0, 30.0), Sense::hover());
        response.widget_info(|| {
            let (low, high) = (colors::short(scale.low), colors::short(scale.high));
            eframe::egui::WidgetInfo::labeled(eframe::egui::Role::Image, true, format!("Colour scale from {low} to {high}"))
        });
        let bar = Rect::from_min_size(rect.min, vec2(rect.width(), 12.0));
        ui.painter().add(gradient(bar, scale));
        ui.painter().rect_stroke(bar, 0.0, Stroke::new(1.0, ui.visuals().weak_text_color()), StrokeKind::Outside);
        let below = bar.bottom() + 4.0;
        let marks = [(bar.left(), Align2::LEFT_TOP, scale.low), (bar.center().x, Align2::CENTER_TOP, scale.middle())];
        for (x, align, value) in marks.into_iter().chain([(bar.right(), Align2::RIGHT_TOP, scale.high)]) {
            ui.painter().text(Pos2::new(x, below), align, colors::short(value), font.clone(), text);
        }
        let mut keys = Vec::new();
        if !storage.dense {
            let fill = if storage.fill == f32::NEG_INFINITY { "−∞".to_owned() } else { colors::short(storage.fill) };
            let fill = if storage.dtype == bandsaw::Dtype::U32 { "none".to_owned() } else { fill };
            keys.push((of_tone(tone.unstored), None, format!("not stored: {fill}")));
            keys.push((of_tone(tone.outside), Some(of_tone(tone.hatch)), "outside the matrix".into()));
        }
        let marks = [
            (values.nan, colors::NAN, "NaN"),
            (values.infinite, colors::PLUS_INFINITY, "∞"),
            (values.minus_infinite, colors::MINUS_INFINITY, "−∞"),
        ];
        keys.extend(marks.into_iter().filter(|mark| mark.0).map(|(_, color, name)| (color32(color), None, name.into())));
        if scale.wide() {
            ui.label(eframe::egui::RichText::new("logarithmic").small());
        }
        for (color, hatch, name) in keys {
            ui.add_space(6.0);
            let (rect, _) = ui.allocate_exact_size(vec2(12.0, 12.0), Sense::hover());
            ui.painter().rect_filled(rect, 2.0, color);
            if let Some(hatch) = hatch {
                hatched(&ui.painter().with_clip_rect(rect), rect, hatch);
            }
            ui.painter().rect_stroke(rect, 2.0, Stroke::new(1.0, ui.visuals().weak_text_color()), StrokeKind::Inside);
            ui.label(eframe::egui::RichText::new(name).small());
        }
    });
}

/// Lines like those of the views.
fn hatched(painter: &Painter, rect: Rect, color: Color32) {
    for n in 1..4 {
        let reach = 6.0 * n as f32;
        painter.line_segment([rect.min + vec2(0.0, reach), rect.min + vec2(reach, 0.0)], Stroke::new(1.0, color));
    }
}

fn gradient(rect: Rect, scale: &Scale) -> Shape {
    const PARTS: u32 = 48;
    let mut mesh = Mesh::default();
    for n in 0..=PARTS {
        let part = n as f32 / PARTS as f32;
        let x = rect.left() + rect.width() * part;
        let color = color32(scale.at(part));
        mesh.colored_vertex(Pos2::new(x, rect.top()), color);
        mesh.colored_vertex(Pos2::new(x, rect.bottom()), color);
        if n > 0 {
            let last = 2 * n + 1;
            mesh.add_triangle(last - 3, last - 2, last - 1);
            mesh.add_triangle(last - 2, last - 1, last);
        }
    }
    Shape::mesh(mesh)
}
