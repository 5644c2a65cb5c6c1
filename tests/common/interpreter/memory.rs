//! The memories of a launch, which watch what is done to them.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use half::f16;

use super::mask::Mask;

/// A buffer, in units of the scalar that it holds. Halves are read and written as the `f32` they equal.
pub enum Buffer<'a> {
    Read { words: &'a [u32], unit: u32 },
    Write(Output),
}

/// What workgroups write at the same time.
pub struct Output {
    /// A word for each unit.
    cells: Vec<AtomicU32>,
    /// Who has written it: 0, or the bits of a [`Writer`].
    writers: Vec<AtomicU64>,
    unit: u32,
}

/// An invocation at work on an output.
#[derive(Clone, Copy)]
pub struct Writer {
    /// Its number in the launch.
    pub number: u32,
    /// Invocations of its workgroup.
    pub lanes: u32,
    /// Barriers of the workgroup so far that order what is written to storage.
    pub round: u32,
}

impl Writer {
    fn bits(self) -> u64 {
        u64::from(self.round) << 32 | u64::from(self.number + 1)
    }

    /// The number of an invocation whose doing isn't ordered with this one's, if it did what these bits say.
    fn races(self, before: u64) -> Option<u32> {
        let (number, round) = (before as u32, (before >> 32) as u32);
        let (number, own) = (number.checked_sub(1)?, self.number);
        let ordered = number == own || number / self.lanes == own / self.lanes && round < self.round;
        (!ordered).then_some(number)
    }
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
        Self { cells, writers: (0..count).map(|_| AtomicU64::new(0)).collect(), unit }
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

    pub fn read(&self, at: usize, who: Writer, atomic: bool) -> Result<u32, String> {
        match self {
            Self::Read { words, unit } => unpack(words, *unit, at).ok_or_else(|| self.outside(at)),
            Self::Write(output) => {
                let cell = output.cells.get(at).ok_or_else(|| self.outside(at))?;
                let before = output.writers[at].load(Ordering::Relaxed);
                if let Some(other) = who.races(before).filter(|_| !atomic) {
                    return Err(format!("reads scalar {at} of an output that invocation {other} of the launch wrote"));
                }
                Ok(cell.load(Ordering::Relaxed))
            }
        }
    }

    pub fn write(&self, at: usize, value: u32, who: Writer, atomic: bool) -> Result<(), String> {
        let Self::Write(output) = self else { unreachable!("naga's validation: inputs are not written") };
        let cell = output.cells.get(at).ok_or_else(|| self.outside(at))?;
        let before = output.writers[at].swap(who.bits(), Ordering::Relaxed);
        if let Some(other) = who.races(before).filter(|_| !atomic) {
            return Err(format!("writes scalar {at} of an output that invocation {other} of the launch wrote too"));
        }
        cell.store(value, Ordering::Relaxed);
        Ok(())
    }

    /// Changes a word at once, and returns what it was.
    pub fn update(&self, at: usize, change: impl Fn(u32) -> u32, who: Writer) -> Result<u32, String> {
        let Self::Write(output) = self else { unreachable!("naga's validation: inputs are not written") };
        let cell = output.cells.get(at).ok_or_else(|| self.outside(at))?;
        output.writers[at].store(who.bits(), Ordering::Relaxed);
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

/// An invocation's number, or [`Mask::MOST`] + a subgroup's for several of its invocations or all together, or several subgroups.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Who(u16);

impl Who {
    const SEVERAL: Self = Self(u16::MAX);

    pub fn lane(lane: usize) -> Self {
        Self(lane as u16)
    }

    pub fn subgroup(number: usize) -> Self {
        Self((Mask::MOST + number) as u16)
    }

    fn is_lane(self) -> bool {
        usize::from(self.0) < Mask::MOST
    }

    fn number(self) -> u16 {
        if self.is_lane() { self.0 / 32 } else { self.0 - Mask::MOST as u16 }
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
