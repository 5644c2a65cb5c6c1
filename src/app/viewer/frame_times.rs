//! `bandsaw view --frame-times`: drags a slider by itself and prints how long frames take.

use std::collections::BTreeMap;
use std::time::Instant;

use super::command::Command;
use super::session::{Session, Step, Value};

/// Frames before counting starts, and frames that count.
const WARM_UP: usize = 30;
const FRAMES: usize = 240;

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
}

impl FrameTimes {
    pub fn new(started: Instant, software: bool) -> Self {
        let (n, side) = if software { (512, 16) } else { (4096, 64) };
        let none = Vec::new;
        Self { started, first: None, last: started, frames: 0, between: none(), work: none(), results: 0, n, side }
    }

    /// A random matrix, and its product with itself.
    pub fn session(&self) -> Session {
        let step = |id, operation: &str, parameters: BTreeMap<String, Value>| Step {
            id,
            operation: operation.into(),
            inputs: Vec::new(),
            parameters,
        };
        let numbers = [("n", self.n), ("lower", self.side), ("upper", self.side)];
        let numbers = numbers.map(|(name, value)| (name.to_owned(), Value::Integer(value)));
        let steps = vec![step(1, "notebook", numbers.into_iter().collect())];
        Session { steps, selected: Some(1), ..Session::new() }
    }

    /// A result has come in.
    pub fn result(&mut self) {
        self.results += 1;
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
            crate::app::print(&self.report());
            return Command::Quit;
        }
        // To and fro over a few diagonals, as a hand would.
        let phase = (self.frames % 32) as i64;
        let value = Value::Integer(self.side - (phase - 16).abs() / 2);
        Command::Set { step: 1, name: "upper".into(), value }
    }

    fn report(&mut self) -> String {
        let mut text = format!(
            "n = {}, {} diagonals, a slider dragged for {FRAMES} frames, {} results drawn\nfirst frame after {:.2} s\n",
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
