//! Loads and stores, each checked.

use std::sync::Arc;

use naga::{AddressSpace, AtomicFunction, Expression, GlobalVariable, Handle, TypeInner};

use super::machine::{Frame, Machine};
use super::mask::Mask;
use super::memory::{Buffer, Who, Writer};
use super::types::{components, element, elements, places, scalar};
use super::value::{OUTSIDE, Pointer, Value, Variable, Words};

impl<'a> Machine<'a> {
    /// The bytes of a memory's scalars; `None` for private and local variables, which have components.
    fn unit_of(&self, variable: Variable) -> Option<u32> {
        let Variable::Global(global) = variable else { return None };
        let private = self.program.module.global_variables[global].space == AddressSpace::Private;
        (!private).then(|| self.program.units[global.index()])
    }

    /// How many elements of `apart` units a variable as long as its buffer has.
    fn length_of(&self, variable: Variable, apart: u32) -> u32 {
        let Variable::Global(global) = variable else { return 0 };
        self.launch.buffers[global.index()].as_ref().map_or(0, |buffer| buffer.len() as u32 / apart)
    }

    pub fn array_length(&mut self, frame: &mut Frame<'a>, pointer: Handle<Expression>, mask: Mask) -> u32 {
        let target = self.target(frame, pointer);
        let variable = self.value(frame, pointer, mask).pointer().variable;
        let (apart, _) = elements(&self.program.module, &target, self.unit_of(variable));
        self.length_of(variable, apart)
    }

    /// `base[index]`, of a pointer or a value.
    pub fn access(&mut self, frame: &mut Frame<'a>, base: Handle<Expression>, index: Handle<Expression>, mask: Mask) -> Value {
        let value = self.value(frame, base, mask);
        let index = self.value(frame, index, mask);
        let index = index.words();
        match &*value {
            Value::Pointer(Pointer { variable, offset }) => {
                let target = self.target(frame, base);
                let (apart, length) = elements(&self.program.module, &target, self.unit_of(*variable));
                let length = length.unwrap_or_else(|| self.length_of(*variable, apart));
                // A negative index is a large one too.
                let step = |from: u32, n: u32| if from == OUTSIDE || n >= length { OUTSIDE } else { from + n * apart };
                Value::Pointer(Pointer { variable: *variable, offset: offset.zip(index, step) })
            }
            Value::Words(words) => {
                let target = self.program.inner(frame.routine.info, base);
                let (apart, length) = elements(&self.program.module, target, None);
                let (apart, length) = (apart as usize, length.unwrap_or(0));
                let wrong = mask.lanes().find(|lane| index.at(0, *lane) >= length);
                if let Some(lane) = wrong {
                    self.fail(lane, &format!("element {} of {length}", index.at(0, lane) as i32));
                }
                let lanes = if words.is_same() && index.is_same() { 1 } else { self.lanes };
                let lane_of =
                    |component: usize, lane: usize| words.at(index.at(0, lane).min(length - 1) as usize * apart + component, lane);
                let data = (0..apart).flat_map(|component| (0..lanes).map(move |lane| lane_of(component, lane))).collect();
                Value::Words(Words::each(data, lanes))
            }
            Value::Tiles(_) => self.fail(0, "a cooperative matrix has no elements"),
        }
    }

    /// `base[index]` or `base.member` with a known index.
    pub fn access_known(&mut self, frame: &mut Frame<'a>, base: Handle<Expression>, index: u32, mask: Mask) -> Value {
        let value = self.value(frame, base, mask);
        match &*value {
            Value::Pointer(Pointer { variable, offset }) => {
                let target = self.target(frame, base);
                let unit = self.unit_of(*variable);
                let (start, _) = element(&self.program.module, &target, index, unit);
                let outside = match &target {
                    TypeInner::Struct { .. } => false,
                    other => {
                        let (apart, length) = elements(&self.program.module, other, unit);
                        index >= length.unwrap_or_else(|| self.length_of(*variable, apart))
                    }
                };
                let step = |from: u32| if from == OUTSIDE || outside { OUTSIDE } else { from + start };
                Value::Pointer(Pointer { variable: *variable, offset: offset.map(step) })
            }
            Value::Words(words) => {
                let target = self.program.inner(frame.routine.info, base);
                let (start, count) = element(&self.program.module, target, index, None);
                Value::Words(words.pick(start as usize..start as usize + count))
            }
            Value::Tiles(_) => self.fail(0, "a cooperative matrix has no elements"),
        }
    }

    pub fn load(&mut self, frame: &mut Frame<'a>, pointer: Handle<Expression>, mask: Mask) -> Arc<Value> {
        let target = self.target(frame, pointer);
        let value = self.value(frame, pointer, mask);
        let Pointer { variable, offset } = value.pointer();
        let Some(unit) = self.unit_of(*variable) else { return self.load_component(frame, *variable, offset, &target, mask) };
        let Variable::Global(global) = *variable else { unreachable!("locals have no unit") };
        let mut at = Vec::new();
        places(&self.program.module, &target, unit, 0, &mut at);
        let atomic = matches!(target, TypeInner::Atomic(_));
        let shared = !self.shared[global.index()].is_empty();
        let lanes = if offset.is_same() { 1 } else { self.lanes };
        let mut data = vec![0; at.len() * lanes];
        for lane in mask.lanes() {
            let from = offset.at(0, lane);
            if from == OUTSIDE {
                self.fail_outside(global, lane);
            }
            let slot = if lanes == 1 { 0 } else { lane };
            for (n, place) in at.iter().enumerate() {
                let word = self.read(global, shared, (from + place) as usize, lane, Who::lane(lane), atomic);
                data[n * lanes + slot] = word;
            }
            // Others would read the same, and who does matters in workgroup memory only.
            if lanes == 1 && !shared {
                break;
            }
        }
        Arc::new(Value::Words(Words::each(data, lanes)))
    }

    fn load_component(&mut self, frame: &Frame<'a>, variable: Variable, offset: &Words, target: &TypeInner, mask: Mask) -> Arc<Value> {
        let stored = match variable {
            Variable::Local(local) => &frame.locals[local.index()],
            Variable::Global(global) => {
                self.private[global.index()].as_ref().unwrap_or_else(|| unreachable!("private variables have values"))
            }
        };
        let Value::Words(words) = &**stored else { return Arc::clone(stored) };
        let count = components(&self.program.module, target);
        if offset.data == [0] && count == words.components() {
            return Arc::clone(stored);
        }
        if let Some(lane) = mask.lanes().find(|lane| offset.at(0, *lane) == OUTSIDE) {
            self.fail(lane, "access outside a variable");
        }
        if let [start] = offset.data[..] {
            return Arc::new(Value::Words(words.pick(start as usize..start as usize + count)));
        }
        let last = words.components() - count;
        let word = |n: usize, lane: usize| words.at((offset.at(0, lane) as usize).min(last) + n, lane);
        let data = (0..count).flat_map(|n| (0..self.lanes).map(move |lane| word(n, lane))).collect();
        Arc::new(Value::Words(Words::each(data, self.lanes)))
    }

    pub fn store(&mut self, frame: &mut Frame<'a>, pointer: Handle<Expression>, new: &Arc<Value>, mask: Mask) {
        let target = self.target(frame, pointer);
        let value = self.value(frame, pointer, mask);
        let Pointer { variable, offset } = value.pointer();
        let Some(unit) = self.unit_of(*variable) else { return self.store_component(frame, *variable, offset, new, mask) };
        let Variable::Global(global) = *variable else { unreachable!("locals have no unit") };
        let mut at = Vec::new();
        places(&self.program.module, &target, unit, 0, &mut at);
        let atomic = matches!(target, TypeInner::Atomic(_));
        for lane in mask.lanes() {
            let from = offset.at(0, lane);
            if from == OUTSIDE {
                self.fail_outside(global, lane);
            }
            for (n, place) in at.iter().enumerate() {
                self.write(global, (from + place) as usize, new.words().at(n, lane), lane, Who::lane(lane), atomic);
            }
        }
    }

    fn store_component(&mut self, frame: &mut Frame<'a>, variable: Variable, offset: &Words, new: &Arc<Value>, mask: Mask) {
        let (lanes, all) = (self.lanes, self.all);
        if let Some(lane) = mask.lanes().find(|lane| offset.at(0, *lane) == OUTSIDE) {
            self.fail(lane, "access outside a variable");
        }
        let stored = match variable {
            Variable::Local(local) => &mut frame.locals[local.index()],
            Variable::Global(global) => {
                self.private[global.index()].as_mut().unwrap_or_else(|| unreachable!("private variables have values"))
            }
        };
        let part = match (&**stored, &**new) {
            (Value::Words(old), Value::Words(new)) => offset.data != [0] || old.components() != new.components(),
            _ => false,
        };
        if !part {
            return Value::blend(stored, new, mask, all, lanes);
        }
        let Value::Words(words) = Arc::make_mut(stored) else { unreachable!("matrices are stored whole") };
        *words = words.spread(lanes);
        let new = new.words();
        for lane in mask.lanes() {
            for n in 0..new.components() {
                words.data[(offset.at(0, lane) as usize + n) * lanes + lane] = new.at(n, lane);
            }
        }
    }

    pub fn fail_outside(&self, global: Handle<GlobalVariable>, lane: usize) -> ! {
        let name = self.program.module.global_variables[global].name.clone().unwrap_or_default();
        self.fail(lane, &format!("access outside of {name}"))
    }

    fn writer(&self, lane: usize) -> Writer {
        let lanes = self.lanes as u32;
        Writer { number: self.group * lanes + lane as u32, lanes, round: self.storage_round }
    }

    /// A scalar of a buffer or of workgroup memory.
    pub fn read(&mut self, global: Handle<GlobalVariable>, shared: bool, at: usize, lane: usize, who: Who, atomic: bool) -> u32 {
        let word = if shared {
            let now = self.touch(who, lane / 32);
            self.shared[global.index()].get_mut(at).map_or_else(outside, |cell| cell.read(now, atomic))
        } else {
            let buffer = self.launch.buffers[global.index()].as_ref();
            buffer.map_or_else(|| Err("nothing is bound".into()), |buffer| buffer.read(at, self.writer(lane), atomic))
        };
        word.unwrap_or_else(|error| self.fail_at(global, lane, &error))
    }

    pub fn write(&mut self, global: Handle<GlobalVariable>, at: usize, word: u32, lane: usize, who: Who, atomic: bool) {
        let done = if self.shared[global.index()].is_empty() {
            let buffer = self.launch.buffers[global.index()].as_ref();
            buffer.map_or_else(|| Err("nothing is bound".into()), |buffer| buffer.write(at, word, self.writer(lane), atomic))
        } else {
            let now = self.touch(who, lane / 32);
            self.shared[global.index()].get_mut(at).map_or_else(outside, |cell| cell.write(word, now, atomic))
        };
        done.unwrap_or_else(|error| self.fail_at(global, lane, &error))
    }

    fn fail_at(&self, global: Handle<GlobalVariable>, lane: usize, what: &str) -> ! {
        let name = self.program.module.global_variables[global].name.as_deref().unwrap_or_default();
        self.fail(lane, &format!("{name}: {what}"))
    }

    /// An atomic change; returns what was there before.
    pub fn atomic(&mut self, frame: &mut Frame<'a>, pointer: Handle<Expression>, fun: &AtomicFunction, new: &Words, mask: Mask) -> Words {
        let target = self.target(frame, pointer);
        let signed = scalar(&self.program.module, &target).is_some_and(|scalar| scalar.kind == naga::ScalarKind::Sint);
        let value = self.value(frame, pointer, mask);
        let Pointer { variable: Variable::Global(global), offset } = value.pointer() else { unreachable!("atomics are global") };
        let Some(change) = changing(fun, signed) else { self.fail(0, &format!("the interpreter has no {fun:?}")) };
        let mut before = vec![0; self.lanes];
        for lane in mask.lanes() {
            let operand = new.at(0, lane);
            let at = offset.at(0, lane);
            if at == OUTSIDE {
                self.fail_outside(*global, lane);
            }
            before[lane] = if self.shared[global.index()].is_empty() {
                let (buffer, number) = (self.launch.buffers[global.index()].as_ref(), self.writer(lane));
                let update = |buffer: &Buffer<'_>| buffer.update(at as usize, |old| change(old, operand), number);
                buffer.map_or_else(|| Err("nothing is bound".into()), update).unwrap_or_else(|error| self.fail_at(*global, lane, &error))
            } else {
                let old = self.read(*global, true, at as usize, lane, Who::lane(lane), true);
                self.write(*global, at as usize, change(old, operand), lane, Who::lane(lane), true);
                old
            };
        }
        Words::each(before, self.lanes)
    }
}

/// What an atomic function makes of a word and its operand.
fn changing(fun: &AtomicFunction, signed: bool) -> Option<fn(u32, u32) -> u32> {
    Some(match fun {
        AtomicFunction::Add => u32::wrapping_add,
        AtomicFunction::Subtract => u32::wrapping_sub,
        AtomicFunction::And => |old, operand| old & operand,
        AtomicFunction::InclusiveOr => |old, operand| old | operand,
        AtomicFunction::ExclusiveOr => |old, operand| old ^ operand,
        AtomicFunction::Min if signed => |old, operand| (old as i32).min(operand as i32) as u32,
        AtomicFunction::Max if signed => |old, operand| (old as i32).max(operand as i32) as u32,
        AtomicFunction::Min => |old, operand| old.min(operand),
        AtomicFunction::Max => |old, operand| old.max(operand),
        AtomicFunction::Exchange { compare: None } => |_, operand| operand,
        _ => return None,
    })
}

fn outside<T>() -> Result<T, String> {
    Err("access outside workgroup memory".into())
}
