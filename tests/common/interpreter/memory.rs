//! The memories of a launch, which watch what is done to them.

use std::sync::atomic::{AtomicU32, Ordering};

use half::f16;

/// A buffer, in units of the scalar that it holds. Halves are read and written as the `f32` they equal.
pub enum Buffer<'a> {
    Read { words: &'a [u32], unit: u32 },
    Write(Output),
}

/// What workgroups write at the same time.
pub struct Output {
    /// A word for each unit.
    cells: Vec<AtomicU32>,
    /// Who has written it: 1 + the number of the invocation in the launch.
    writers: Vec<AtomicU32>,
    unit: u32,
}

fn unpack(words: &[u32], unit: u32, at: usize) -> Option<u32> {
    match unit {
        2 => words.get(at / 2).map(|word| f16::from_bits((word >> (at % 2 * 16)) as u16).to_f32().to_bits()),
        _ => words.get(at).copied(),
    }
}

impl Output {
    pub fn new(words: &[u32], unit: u32) -> Self {
        let count = words.len() * 4 / unit as usize;
        let cells = (0..count).map(|n| AtomicU32::new(unpack(words, unit, n).unwrap_or(0))).collect();
        Self { cells, writers: (0..count).map(|_| AtomicU32::new(0)).collect(), unit }
    }

    pub fn into_words(self, words: &mut [u32]) {
        let cells = self.cells.iter().zip(&self.writers).enumerate();
        // What nobody wrote keeps its bits, those of a NaN too.
        for (n, (cell, _)) in cells.filter(|(_, (_, writer))| writer.load(Ordering::Relaxed) != 0) {
            let value = cell.load(Ordering::Relaxed);
            if self.unit == 2 {
                let bits = u32::from(f16::from_f32(f32::from_bits(value)).to_bits());
                let shift = n % 2 * 16;
                words[n / 2] = words[n / 2] & !(0xffff << shift) | bits << shift;
            } else {
                words[n] = value;
            }
        }
    }
}

impl Buffer<'_> {
    /// Length in units.
    pub fn len(&self) -> usize {
        match self {
            Self::Read { words, unit } => words.len() * 4 / *unit as usize,
            Self::Write(output) => output.cells.len(),
        }
    }

    fn outside(&self, at: usize) -> String {
        format!("access outside a buffer: scalar {at} of {}", self.len())
    }

    pub fn read(&self, at: usize, who: u32, atomic: bool) -> Result<u32, String> {
        match self {
            Self::Read { words, unit } => unpack(words, *unit, at).ok_or_else(|| self.outside(at)),
            Self::Write(output) => {
                let cell = output.cells.get(at).ok_or_else(|| self.outside(at))?;
                let writer = output.writers[at].load(Ordering::Relaxed);
                if !atomic && ![0, who + 1].contains(&writer) {
                    return Err(format!("reads scalar {at} of an output that invocation {} of the launch wrote", writer - 1));
                }
                Ok(cell.load(Ordering::Relaxed))
            }
        }
    }

    pub fn write(&self, at: usize, value: u32, who: u32, atomic: bool) -> Result<(), String> {
        let Self::Write(output) = self else { unreachable!("naga's validation: inputs are not written") };
        let cell = output.cells.get(at).ok_or_else(|| self.outside(at))?;
        let before = output.writers[at].swap(who + 1, Ordering::Relaxed);
        if !atomic && ![0, who + 1].contains(&before) {
            return Err(format!("writes scalar {at} of an output that invocation {} of the launch wrote too", before - 1));
        }
        cell.store(value, Ordering::Relaxed);
        Ok(())
    }

    /// Changes a word at once, and returns what it was.
    pub fn update(&self, at: usize, change: impl Fn(u32) -> u32, who: u32) -> Result<u32, String> {
        let Self::Write(output) = self else { unreachable!("naga's validation: inputs are not written") };
        let cell = output.cells.get(at).ok_or_else(|| self.outside(at))?;
        output.writers[at].store(who + 1, Ordering::Relaxed);
        // The closure always gives a value.
        Ok(cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |value| Some(change(value))).unwrap_or(0))
    }
}

/// Who touches workgroup memory, and between which barriers.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Touch {
    /// Barriers of the workgroup so far; 0 is never.
    pub round: u32,
    /// Barriers of the subgroup so far.
    pub subround: u32,
    pub who: Who,
}

/// An invocation's number, or 256 + a subgroup's for several of its invocations or all together, or several subgroups.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Who(u16);

impl Who {
    const SEVERAL: Self = Self(u16::MAX);

    pub fn lane(lane: usize) -> Self {
        Self(lane as u16)
    }

    pub fn subgroup(number: usize) -> Self {
        Self(256 + number as u16)
    }

    fn is_lane(self) -> bool {
        self.0 < 256
    }

    fn number(self) -> u16 {
        if self.is_lane() { self.0 / 32 } else { self.0 - 256 }
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::SEVERAL => write!(f, "several subgroups"),
            who if who.is_lane() => write!(f, "invocation {}", who.0),
            who => write!(f, "subgroup {}", who.number()),
        }
    }
}

impl Touch {
    /// Whether what `self` did is sure to have happened when `now` comes.
    fn is_before(&self, now: &Self) -> bool {
        if self.round < now.round {
            return true;
        }
        let alike = self.who != Who::SEVERAL && self.who.number() == now.who.number();
        alike && (self.subround < now.subround || self.who == now.who && self.who.is_lane())
    }
}

/// A scalar of workgroup memory, and who touched it last.
#[derive(Clone, Copy, Default)]
pub struct Cell {
    value: u32,
    write: Touch,
    read: Touch,
}

impl Cell {
    pub fn read(&mut self, now: Touch, atomic: bool) -> Result<u32, String> {
        if self.write.round == 0 {
            return Err("reads workgroup memory that nothing wrote".into());
        }
        if atomic {
            return Ok(self.value);
        }
        if !self.write.is_before(&now) {
            return Err(format!("{} reads workgroup memory that {} wrote, with no barrier between", now.who, self.write.who));
        }
        let before = &mut self.read;
        let alike = before.who != Who::SEVERAL && before.who.number() == now.who.number();
        if before.round < now.round || alike && before.subround < now.subround {
            *before = now;
        } else if !alike {
            before.who = Who::SEVERAL;
        } else if before.who != now.who {
            before.who = Who::subgroup(now.who.number() as usize);
        }
        Ok(self.value)
    }

    pub fn write(&mut self, value: u32, now: Touch, atomic: bool) -> Result<(), String> {
        if !atomic {
            for (touch, what) in [(&self.write, "wrote"), (&self.read, "read")] {
                if touch.round != 0 && !touch.is_before(&now) {
                    return Err(format!("{} writes workgroup memory that {} {what}, with no barrier between", now.who, touch.who));
                }
            }
        }
        self.value = value;
        self.write = now;
        Ok(())
    }
}
