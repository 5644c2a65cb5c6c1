//! How the window looks: theme, size and shape of its text.

use eframe::egui::{self, ThemePreference};

use super::Viewer;
use super::command::Theme;

impl Viewer {
    /// What the settings say, where that has changed.
    pub(super) fn looks(&mut self, ctx: &egui::Context) {
        let now = (self.state.settings.theme, self.state.settings.text_scale);
        if self.applied != Some(now) {
            ctx.set_theme(match now.0 {
                Theme::System => ThemePreference::System,
                Theme::Light => ThemePreference::Light,
                Theme::Dark => ThemePreference::Dark,
            });
            ctx.set_zoom_factor(now.1);
            self.applied = Some(now);
        }
    }
}

/// What the window is cleared with: panels leave it as it is, since a renderer in software takes longer for
/// egui's filled rectangles than for all else.
pub fn background(dark: bool) -> egui::Color32 {
    if dark { egui::Visuals::dark() } else { egui::Visuals::light() }.panel_fill
}

/// Text that is easy to read, and the signs of formulas. Panels fill the window where it is not `cleared`.
pub fn style(ctx: &egui::Context, cleared: bool) {
    ctx.options_mut(|options| options.zoom_with_keyboard = false);
    let mut fonts = egui::FontDefinitions::default();
    if let Some(family) = fonts.families.get_mut(&egui::FontFamily::Proportional) {
        family.push("Hack".into());
    }
    ctx.set_fonts(fonts);
    ctx.all_styles_mut(|style| {
        let red = if style.visuals.dark_mode { egui::Color32::from_rgb(255, 125, 115) } else { egui::Color32::from_rgb(176, 24, 24) };
        style.visuals.error_fg_color = red;
        for (kind, size) in [(egui::TextStyle::Small, 11.5), (egui::TextStyle::Body, 13.5), (egui::TextStyle::Heading, 17.0)] {
            style.text_styles.insert(kind, egui::FontId::proportional(size));
        }
        let dark = style.visuals.dark_mode;
        style.visuals.panel_fill = if cleared { egui::Color32::TRANSPARENT } else { background(dark) };
        style.visuals.override_text_color = Some(egui::Color32::from_gray(if dark { 215 } else { 40 }));
        style.visuals.weak_text_color = Some(egui::Color32::from_gray(if dark { 160 } else { 95 }));
        style.spacing.slider_width = 120.0;
        style.spacing.item_spacing = egui::vec2(8.0, 4.0);
    });
}
