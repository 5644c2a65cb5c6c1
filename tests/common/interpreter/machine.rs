//! Statements: all invocations of a workgroup in step, those in a mask at work.

use std::sync::Arc;

use naga::{AddressSpace, Barrier, Binding, Block, BuiltIn, Expression, Function, Handle, LocalVariable, Span, Statement, SwitchValue};

use super::mask::Mask;
use super::memory::{Buffer, Cell, Touch, Who};
use super::program::{Program, Routine, zero};
use super::types::{places, target};
use super::value::{Value, Words};

/// What all workgroups of a launch share.
pub struct Launch<'a> {
    pub program: &'a Program,
    /// By global variable: what is bound to it.
    pub buffers: Vec<Option<Buffer<'a>>>,
    /// The grid that the line of workgroups is folded into.
    pub grid: [u32; 2],
}

/// One workgroup.
pub struct Machine<'a> {
    pub launch: &'a Launch<'a>,
    pub program: &'a Program,
    pub group: u32,
    pub lanes: usize,
    pub all: Mask,
    /// Workgroup memory, by global variable.
    pub shared: Vec<Vec<Cell>>,
    /// Private variables, by global variable.
    pub private: Vec<Option<Arc<Value>>>,
    /// Barriers so far: of the workgroup, and of each subgroup.
    round: u32,
    subrounds: [u32; Mask::MOST / 32],
    /// Those of the workgroup that order what is written to storage.
    pub storage_round: u32,
    /// What is being done, for messages.
    pub at: Span,
}

/// One call of a function.
pub struct Frame<'a> {
    pub routine: Routine<'a>,
    pub values: Vec<Option<Arc<Value>>>,
    pub locals: Vec<Arc<Value>>,
    pub arguments: Vec<Arc<Value>>,
    returned: Option<Arc<Value>>,
}

/// Invocations that have left a block for the end of a loop or switch, or for a loop's next turn.
#[derive(Default)]
struct Left {
    broken: Mask,
    continued: Mask,
}

/// A loop that turns more often than this never ends.
const MOST_TURNS: usize = 1 << 18;

impl<'a> Machine<'a> {
    pub fn new(launch: &'a Launch<'a>, group: u32) -> Self {
        let program = launch.program;
        let globals = &program.module.global_variables;
        let cells = |(handle, variable): (Handle<naga::GlobalVariable>, &naga::GlobalVariable)| {
            let mut all = Vec::new();
            if variable.space == AddressSpace::WorkGroup {
                places(&program.module, &program.module.types[variable.ty].inner, program.units[handle.index()], 0, &mut all);
            }
            vec![Cell::default(); all.last().map_or(0, |last| *last as usize + 1)]
        };
        let private = globals.iter().map(|(_, variable)| (variable.space == AddressSpace::Private).then(|| program.initial(variable)));
        Self {
            launch,
            program,
            group,
            lanes: program.lanes,
            all: Mask::first(program.lanes),
            shared: globals.iter().map(cells).collect(),
            private: private.collect(),
            round: 1,
            subrounds: [0; Mask::MOST / 32],
            storage_round: 0,
            at: Span::UNDEFINED,
        }
    }

    pub fn run(&mut self) {
        let entry = self.program.entry();
        let arguments = entry.function.arguments.iter().map(|argument| match argument.binding {
            Some(Binding::BuiltIn(built_in)) => Arc::new(Value::Words(self.built_in(built_in))),
            _ => panic!("{}: an argument of main that is no built-in value", self.program.name),
        });
        let arguments = arguments.collect();
        self.call(entry, arguments, self.all);
    }

    fn built_in(&self, built_in: BuiltIn) -> Words {
        let [x, y] = self.launch.grid;
        let lanes = |first: u32| (0..self.lanes as u32).map(move |lane| first + lane);
        let [size, rest @ ..] = self.program.module.entry_points[0].workgroup_size;
        assert!(rest == [1, 1], "{}: workgroups are lines", self.program.name);
        let line =
            |first: u32, y: u32| Words::each(lanes(first).chain(lanes(0).map(|_| y)).chain(lanes(0).map(|_| 0)).collect(), self.lanes);
        match built_in {
            BuiltIn::WorkGroupId => Words::same(vec![self.group % x, self.group / x, 0]),
            BuiltIn::NumWorkGroups => Words::same(vec![x, y, 1]),
            BuiltIn::LocalInvocationIndex => Words::each(lanes(0).collect(), self.lanes),
            BuiltIn::LocalInvocationId => line(0, 0),
            BuiltIn::GlobalInvocationId => line(self.group % x * size, self.group / x),
            other => panic!("{}: the interpreter has no {other:?}", self.program.name),
        }
    }

    /// Ends the test with what went wrong and where.
    pub fn fail(&self, lane: usize, what: &str) -> ! {
        let (program, at) = (self.program, self.program.line(self.at));
        panic!("kernel {}, workgroup {}, invocation {lane}: {what}\n{at}", program.name, self.group)
    }

    /// What an invocation does now.
    pub fn touch(&self, who: Who, subgroup: usize) -> Touch {
        Touch { round: self.round, subround: self.subrounds[subgroup], who }
    }

    /// Checks that of every subgroup all or no invocations do `what`.
    pub fn whole_subgroups(&self, mask: Mask, what: &str) {
        for n in 0..self.lanes.div_ceil(32) {
            let bits = mask.subgroup(n);
            if bits != 0 && bits != self.all.subgroup(n) {
                let lane = n * 32 + bits.trailing_zeros() as usize;
                self.fail(lane, &format!("{what} in control flow that is not uniform in subgroup {n}"));
            }
        }
    }

    fn barrier(&mut self, barrier: Barrier, mask: Mask) {
        if barrier.contains(Barrier::SUB_GROUP) {
            self.whole_subgroups(mask, "a barrier");
            (0..self.lanes.div_ceil(32)).filter(|n| mask.subgroup(*n) != 0).for_each(|n| self.subrounds[n] += 1);
            return;
        }
        if mask != self.all {
            let lane = mask.lanes().next().unwrap_or(0);
            self.fail(lane, "a barrier in control flow that is not uniform in the workgroup");
        }
        self.round += 1;
        self.storage_round += u32::from(barrier.contains(Barrier::STORAGE));
    }

    /// Runs a function for the invocations in `mask`.
    pub fn call(&mut self, routine: Routine<'a>, arguments: Vec<Arc<Value>>, mask: Mask) -> Option<Arc<Value>> {
        let mut frame = Frame { routine, values: routine.constants.to_vec(), locals: Vec::new(), arguments, returned: None };
        for (_, variable) in routine.function.local_variables.iter() {
            let initial = self.initial(&mut frame, variable, mask);
            frame.locals.push(initial);
        }
        self.block(&mut frame, &routine.function.body, mask, &mut Left::default());
        frame.returned
    }

    fn initial(&mut self, frame: &mut Frame<'a>, variable: &LocalVariable, mask: Mask) -> Arc<Value> {
        match variable.init {
            Some(init) => self.value(frame, init, mask),
            None => Arc::new(zero(&self.program.module, &self.program.module.types[variable.ty].inner)),
        }
    }

    /// Runs a block and returns those that come to its end.
    fn block(&mut self, frame: &mut Frame<'a>, block: &'a Block, mut mask: Mask, left: &mut Left) -> Mask {
        for (statement, span) in block.span_iter() {
            if mask.is_empty() {
                break;
            }
            self.at = *span;
            mask = self.statement(frame, statement, mask, left);
        }
        mask
    }

    fn statement(&mut self, frame: &mut Frame<'a>, statement: &'a Statement, mask: Mask, left: &mut Left) -> Mask {
        match statement {
            Statement::Emit(range) => range.clone().for_each(|handle| {
                let value = self.compute(frame, handle, mask);
                frame.values[handle.index()] = Some(value);
            }),
            Statement::Block(block) => return self.block(frame, block, mask, left),
            Statement::If { condition, accept, reject } => {
                let accepted = self.value(frame, *condition, mask).words().mask(mask);
                let rejected = mask.without(accepted);
                let first = self.block(frame, accept, accepted, left);
                return first.or(self.block(frame, reject, rejected, left));
            }
            Statement::Switch { selector, cases } => {
                let selector = self.value(frame, *selector, mask);
                let (mut rest, mut falling, mut inner) = (mask, Mask::default(), Left::default());
                let chosen = |value: u32| selector.words().map(|word| u32::from(word == value)).mask(mask);
                let named = cases.iter().map(|case| match case.value {
                    SwitchValue::I32(value) => chosen(value as u32),
                    SwitchValue::U32(value) => chosen(value),
                    SwitchValue::Default => Mask::default(),
                });
                let named: Vec<_> = named.collect();
                let default = named.iter().fold(mask, |mask, named| mask.without(*named));
                for (case, named) in cases.iter().zip(named) {
                    let own = if case.value == SwitchValue::Default { default } else { named };
                    falling = self.block(frame, &case.body, falling.or(own.and(rest)), &mut inner);
                    rest = rest.without(own);
                    if !case.fall_through {
                        inner.broken = inner.broken.or(falling);
                        falling = Mask::default();
                    }
                }
                left.continued = left.continued.or(inner.continued);
                return inner.broken.or(falling);
            }
            Statement::Loop { body, continuing, break_if } => return self.turns(frame, body, continuing, *break_if, mask),
            Statement::Break => {
                left.broken = left.broken.or(mask);
                return Mask::default();
            }
            Statement::Continue => {
                left.continued = left.continued.or(mask);
                return Mask::default();
            }
            Statement::Return { value } => {
                if let Some(value) = value {
                    let value = self.value(frame, *value, mask);
                    match &mut frame.returned {
                        Some(returned) => Value::blend(returned, &value, mask, self.all, self.lanes),
                        none => *none = Some(value),
                    }
                }
                return Mask::default();
            }
            Statement::ControlBarrier(barrier) => self.barrier(*barrier, mask),
            Statement::Store { pointer, value } => {
                let value = self.value(frame, *value, mask);
                self.store(frame, *pointer, &value, mask);
            }
            Statement::Atomic { pointer, fun, value, result } => {
                let value = self.value(frame, *value, mask);
                let before = self.atomic(frame, *pointer, fun, value.words(), mask);
                if let Some(result) = result {
                    frame.values[result.index()] = Some(Arc::new(Value::Words(before)));
                }
            }
            Statement::WorkGroupUniformLoad { pointer, result } => {
                self.barrier(Barrier::WORK_GROUP, mask);
                let value = self.load(frame, *pointer, mask);
                self.barrier(Barrier::WORK_GROUP, mask);
                frame.values[result.index()] = Some(value);
            }
            Statement::Call { function, arguments, result } => {
                let value = self.call_by(frame, *function, arguments, mask);
                if let Some(result) = result {
                    frame.values[result.index()] = value;
                }
            }
            Statement::SubgroupGather { mode, argument, result } => {
                let value = self.gather(frame, *mode, *argument, mask);
                frame.values[result.index()] = Some(Arc::new(Value::Words(value)));
            }
            Statement::SubgroupCollectiveOperation { op, collective_op, argument, result } => {
                let value = self.collect(frame, *op, *collective_op, *argument, mask);
                frame.values[result.index()] = Some(Arc::new(Value::Words(value)));
            }
            Statement::CooperativeStore { target, data } => self.store_tiles(frame, *target, data, mask),
            other => self.fail(0, &format!("the interpreter has no {other:?}")),
        }
        mask
    }

    fn turns(
        &mut self,
        frame: &mut Frame<'a>,
        body: &'a Block,
        continuing: &'a Block,
        break_if: Option<Handle<Expression>>,
        mask: Mask,
    ) -> Mask {
        let (mut running, mut done) = (mask, Mask::default());
        let at = self.at;
        for _ in 0..MOST_TURNS {
            let mut left = Left::default();
            let through = self.block(frame, body, running, &mut left);
            done = done.or(left.broken);
            running = self.block(frame, continuing, through.or(left.continued), &mut Left::default());
            if running.is_empty() {
                return done;
            }
            if let Some(condition) = break_if {
                let over = self.value(frame, condition, running).words().mask(running);
                (running, done) = (running.without(over), done.or(over));
            }
            if running.is_empty() {
                return done;
            }
        }
        self.at = at;
        self.fail(running.lanes().next().unwrap_or(0), "a loop that does not end")
    }

    fn call_by(
        &mut self,
        frame: &mut Frame<'a>,
        function: Handle<Function>,
        arguments: &[Handle<Expression>],
        mask: Mask,
    ) -> Option<Arc<Value>> {
        let arguments = arguments.iter().map(|argument| self.value(frame, *argument, mask)).collect();
        let at = self.at;
        let value = self.call(self.program.function(function), arguments, mask);
        self.at = at;
        value
    }

    /// The value of an expression, computed before or now.
    pub fn value(&mut self, frame: &mut Frame<'a>, handle: Handle<Expression>, mask: Mask) -> Arc<Value> {
        if let Some(value) = &frame.values[handle.index()] {
            return Arc::clone(value);
        }
        // What naga does not emit is constant, or an argument.
        let value = self.compute(frame, handle, mask);
        frame.values[handle.index()] = Some(Arc::clone(&value));
        value
    }

    /// What an expression points to.
    pub fn target(&self, frame: &Frame<'a>, pointer: Handle<Expression>) -> naga::TypeInner {
        target(&self.program.module, self.program.inner(frame.routine.info, pointer))
    }
}
