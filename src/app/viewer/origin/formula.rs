//! An entry's formula, written out with numbers.

use super::attention::Attention;
use super::gradient::Gradient;
use super::second::Second;
use super::{Entry, Stretch, TERMS, Values, first_cells};
use crate::app::colors::short;
use crate::app::viewer::operations::Origin;

/// How terms are put together: on one line, or one to a line where there are many.
pub struct Text {
    lines: bool,
}

impl Text {
    /// With a word on those that are not written out.
    fn rest(mut parts: Vec<String>, count: usize) -> Vec<String> {
        if count > parts.len() {
            parts.push(format!("… ({count} terms)"));
        }
        parts
    }

    pub fn sum(&self, parts: Vec<String>, count: usize) -> String {
        self.join(&Self::rest(parts, count), " + ")
    }

    fn list(&self, parts: Vec<String>, count: usize) -> String {
        self.join(&Self::rest(parts, count), ", ")
    }

    fn join(&self, parts: &[String], between: &str) -> String {
        match (self.lines && parts.len() > TERMS, between) {
            (true, " + ") => parts.join("\n+ "),
            (true, _) => parts.join(",\n"),
            (false, _) => parts.join(between),
        }
    }
}

/// An operand's part of a formula: how many entries, and the place and value of those written out.
struct Part {
    count: usize,
    shown: Vec<([usize; 2], f32)>,
}

impl Part {
    fn texts(&self) -> Vec<String> {
        self.shown.iter().map(|(_, value)| number(*value)).collect()
    }
}

impl Entry<'_> {
    fn part(&self, input: usize, stretches: &[Stretch], values: &Values) -> Part {
        let of_it = stretches.iter().filter(|stretch| stretch.input == input);
        let cells = first_cells(input, stretches, self.terms);
        let shown = cells.into_iter().filter_map(|cell| Some((cell, *values.get(&(input, cell))?))).collect();
        Part { count: of_it.map(|stretch| stretch.rows.len() * stretch.cols.len()).sum(), shown }
    }

    /// The formula with numbers, of the operands' names and the values of [`Entry::cells`].
    pub fn formula(&self, names: &[&str], stretches: &[Stretch], values: &Values, result: f32) -> Option<String> {
        let facts = self.facts;
        let (ring, made) = (facts.ring.as_str(), number(result));
        let text = Text { lines: self.terms > TERMS };
        let part = |input| self.part(input, stretches, values);
        let times = if matches!(ring, "log" | "max" | "sample") { "+" } else { "·" };
        let [left, right] = [part(0), part(1)];
        let count = left.count;
        let products: Vec<String> = left.texts().iter().zip(right.texts()).map(|(a, b)| format!("{a} {times} {b}")).collect();
        match (self.origin, stretches) {
            (Origin::None, _) => None,
            (Origin::Index, _) if result >= u32::MAX as f32 => Some("no p: no term is above −∞".into()),
            (Origin::Index, _) => {
                let places = products.iter().zip(&left.shown).map(|(product, ([_, p], _))| format!("{product} (p = {p})"));
                let chosen = if ring == "sample" { "drawn from" } else { "the largest of" };
                Some(format!("p = {result:.0}, {chosen} {}", text.list(places.collect(), count)))
            }
            (Origin::Product | Origin::Rows | Origin::Columns | Origin::Layer, _) => {
                let bias = part(2).texts().into_iter().filter(|_| self.origin == Origin::Layer);
                let parts: Vec<String> = Text::rest(products, count).into_iter().chain(bias).collect();
                Some(match (ring, facts.activation.as_str()) {
                    _ if parts.is_empty() => format!("no term = {made}"),
                    ("log" | "sample", _) => format!("logsumexp({}) = {made}", text.join(&parts, ", ")),
                    ("max" | "prodmax", _) => format!("max({}) = {made}", text.join(&parts, ", ")),
                    (_, act @ ("relu" | "gelu")) => format!("{act}({}) = {made}", text.join(&parts, " + ")),
                    _ => format!("{} = {made}", text.join(&parts, " + ")),
                })
            }
            (Origin::Softmax, _) => {
                let scale = if facts.scale == 1.0 { String::new() } else { format!("{} · ", number(facts.scale)) };
                let parts: Vec<String> = left.texts().iter().map(|a| format!("exp({scale}{a})")).collect();
                Some(format!("{} / ({}) = {made}", parts.first()?, text.sum(parts.clone(), count)))
            }
            (Origin::Gradient { of: Origin::Softmax, .. }, _) => {
                let g = part(facts.upstream).texts();
                let scale = if facts.scale == 1.0 { String::new() } else { format!("{} · ", number(facts.scale)) };
                let p = left.texts();
                let parts = p.iter().zip(&g).map(|(p, g)| format!("{p} · {g}")).collect();
                Some(format!("{scale}{} · ({} − ({})) = {made}", p.first()?, g.first()?, text.sum(parts, count)))
            }
            (Origin::Norm, []) => Some(format!("the block is not stored: {made}")),
            (Origin::Norm, _) => {
                let size = |value: &([usize; 2], f32)| short(value.1.abs());
                let sizes = |end: &str| left.shown.iter().map(|value| format!("|{}|{end}", size(value))).collect::<Vec<_>>();
                Some(match facts.power.as_str() {
                    "1" => format!("{} = {made}", text.sum(sizes(""), count)),
                    "inf" => format!("max({}) = {made}", text.list(sizes(""), count)),
                    _ => format!("√({}) = {made}", text.sum(left.texts().iter().map(|value| format!("{value}²")).collect(), count)),
                })
            }
            (Origin::Attention | Origin::Gradient { of: Origin::Attention, .. }, _) => Attention::of(self)?.formula(&text, values, &made),
            (Origin::Gradient { of: Origin::Product | Origin::Rows | Origin::Columns | Origin::Layer, .. }, _) => {
                Gradient::of(self)?.formula(&text, values, &made)
            }
            (Origin::Gradient { of: Origin::Gradient { .. }, .. }, _) => Second::of(self)?.formula(&text, values, &made),
            (Origin::Gradient { .. }, []) => Some(format!("no term = {made}")),
            (_, []) => None,
            (Origin::Same | Origin::First, _) => {
                let given = stretches.iter().map(|stretch| {
                    let name = names.get(stretch.input).map_or(String::new(), |name| name.to_lowercase());
                    let value = values.get(&(stretch.input, [stretch.rows.start, stretch.cols.start]))?;
                    Some(format!("{name} = {}", number(*value)))
                });
                Some(format!("{} gives {made}", given.collect::<Option<Vec<_>>>()?.join(", ")))
            }
            (_, [one, ..]) => {
                let name = names.get(one.input).copied().unwrap_or_default();
                Some(format!("{name}[{}, {}] = {made}", one.rows.start, one.cols.start))
            }
        }
    }
}

/// A number in a few characters, in brackets where its sign would be read as an operator.
pub fn number(value: f32) -> String {
    let text = match value {
        f32::INFINITY => "∞".to_owned(),
        f32::NEG_INFINITY => "−∞".to_owned(),
        value if value.is_nan() => "NaN".to_owned(),
        value => short(value),
    };
    if value < 0.0 { format!("({})", text.replace('-', "−")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::super::{Facts, TERMS};
    use super::*;

    #[test]
    fn formulas_read_well() {
        let stretches = [Stretch { input: 0, rows: 0..1, cols: 0..6 }, Stretch { input: 1, rows: 0..6, cols: 0..1 }];
        let values = (0..6).flat_map(|p| [((0, [0, p]), 1.0 - 2.0 * p as f32), ((1, [p, 0]), 3.0)]).collect();
        let text = |ring: &str, terms| {
            let facts = Facts { ring: ring.into(), ..Facts::default() };
            let entry = Entry { origin: Origin::Product, inputs: &[], facts: &facts, at: [0, 0], terms };
            entry.formula(&["A", "B"], &stretches, &values, -5.0)
        };
        assert_eq!(text("sum", TERMS).as_deref(), Some("1 · 3 + (−1) · 3 + (−3) · 3 + (−5) · 3 + … (6 terms) = (−5)"));
        assert_eq!(text("max", 2).as_deref(), Some("max(1 + 3, (−1) + 3, … (6 terms)) = (−5)"));
        let all = "1 · 3\n+ (−1) · 3\n+ (−3) · 3\n+ (−5) · 3\n+ (−7) · 3\n+ (−9) · 3 = (−5)";
        assert_eq!(text("sum", 256).as_deref(), Some(all));
    }
}
