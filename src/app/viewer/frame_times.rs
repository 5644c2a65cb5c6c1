//! `bandsaw view --frame-times`: drags a slider by itself and prints how long frames take.

use std::collections::BTreeMap;
use std::time::Instant;

use super::command::Command;
use super::session::{Reference, Session, Step, StepId, Value};

/// Frames before counting starts, and frames that count.
const WARM_UP: usize = 30;
const FRAMES: usize = 240;

/// The step that is looked at.
const PRODUCT: StepId = 2;

pub struct FrameTimes {
    started: Instant,
    first: Option<f64>,
    last: Instant,
    frames: usize,
    /// Seconds between frames, and seconds that the window's thread worked for each.
    between: Vec<f64>,
    work: Vec<f64>,
    results: usize,
    n: i64,
    side: i64,
    /// Where it runs and is drawn.
    place: String,
}

impl FrameTimes {
    pub fn new(started: Instant, software: bool, place: String) -> Self {
        let (n, side) = if software { (512, 16) } else { (4096, 64) };
        let none = Vec::new;
        Self { started, first: None, last: started, frames: 0, between: none(), work: none(), results: 0, n, side, place }
    }

    /// A matrix, and its product with itself, which is looked at.
    pub fn session(&self) -> Session {
        let step =
            |id, operation: &str, inputs, parameters: BTreeMap<String, Value>| Step { id, operation: operation.into(), inputs, parameters };
        let numbers = [("n", self.n), ("lower", self.side), ("upper", self.side)];
        let numbers = numbers.map(|(name, value)| (name.to_owned(), Value::Integer(value)));
        let factor = Reference { step: 1, transposed: false };
        let steps = vec![
            step(1, "notebook", Vec::new(), numbers.into_iter().collect()),
            step(PRODUCT, "banded_matmul", vec![factor; 2], BTreeMap::new()),
        ];
        Session { steps, selected: Some(PRODUCT), ..Session::new() }
    }

    /// A step's result has come in.
    pub fn result(&mut self, step: StepId) {
        self.results += usize::from(step == PRODUCT);
    }

    /// Once a frame: what moves the slider, and at last the report and the end.
    pub fn frame(&mut self, work: Option<f32>) -> Command {
        let now = Instant::now();
        self.first.get_or_insert((now - self.started).as_secs_f64());
        if self.frames > WARM_UP {
            self.between.push((now - self.last).as_secs_f64());
            self.work.extend(work.map(f64::from));
        }
        (self.last, self.frames) = (now, self.frames + 1);
        if self.between.len() == FRAMES {
            if let Err(error) = crate::app::print(&self.report()) {
                eprintln!("error: {error}");
            }
            return Command::Quit;
        }
        // To and fro over a few diagonals, as a hand would.
        let phase = (self.frames % 32) as i64;
        let value = Value::Integer(self.side - (phase - 16).abs() / 2);
        Command::Set { step: 1, name: "upper".into(), value }
    }

    fn report(&mut self) -> String {
        let mut text = format!(
            "{}\nn = {}, {} diagonals, times itself; a slider dragged for {FRAMES} frames, {} products drawn\nfirst frame after {:.2} s\n",
            self.place,
            self.n,
            2 * self.side + 1,
            self.results,
            self.first.unwrap_or_default()
        );
        for (name, times) in [("between frames", &mut self.between), ("work for a frame", &mut self.work)] {
            times.sort_by(f64::total_cmp);
            let at = |part: f64| times.get((times.len() as f64 * part) as usize).or(times.last()).copied().unwrap_or_default() * 1e3;
            text += &format!("{name}: median {:.2} ms, 95 % {:.2} ms, longest {:.2} ms\n", at(0.5), at(0.95), at(1.0));
        }
        text
    }
}
