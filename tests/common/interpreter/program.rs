//! A kernel's text with the values of its constants, ready to run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use naga::valid::{Capabilities, FunctionInfo, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Expression, Function, GlobalVariable, Handle, Literal, Module, ShaderStage, Span, TypeInner};

use super::types::{components, unit};
use super::value::{Pointer, Value, Variable, Words};

/// What one launch differs in from another of the same kernel.
type Key = (String, Vec<(String, u64)>);

pub struct Program {
    pub name: String,
    pub source: String,
    pub module: Module,
    info: ModuleInfo,
    /// Invocations of a workgroup.
    pub lanes: usize,
    /// The values of expressions that never change, of each function, and of the entry point.
    constants: Vec<Vec<Option<Arc<Value>>>>,
    /// Bytes of a scalar of each global variable.
    pub units: Vec<u32>,
}

/// A function with what is known of it.
#[derive(Clone, Copy)]
pub struct Routine<'a> {
    pub function: &'a Function,
    pub info: &'a FunctionInfo,
    pub constants: &'a [Option<Arc<Value>>],
}

impl Program {
    /// The program of a launch; kept, since tests launch the same many times.
    pub fn get(name: &str, source: &str, constants: &[(&str, f64)]) -> Arc<Self> {
        static PROGRAMS: OnceLock<Mutex<HashMap<Key, Arc<Program>>>> = OnceLock::new();
        let key = (source.to_owned(), constants.iter().map(|(name, value)| (name.to_string(), value.to_bits())).collect());
        let programs = PROGRAMS.get_or_init(Mutex::default);
        let known = programs.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        known.unwrap_or_else(|| {
            let new = Arc::new(Self::new(name, source, constants));
            programs.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&new));
            new
        })
    }

    fn new(name: &str, source: &str, constants: &[(&str, f64)]) -> Self {
        let module = naga::front::wgsl::parse_str(source).unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(source)));
        let units =
            Capabilities::COOPERATIVE_MATRIX | Capabilities::SHADER_FLOAT16 | Capabilities::SUBGROUP | Capabilities::SUBGROUP_BARRIER;
        let info = Validator::new(ValidationFlags::all(), units).validate(&module);
        let info = info.unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(source)));
        let values = constants.iter().map(|(name, value)| (name.to_string(), *value)).collect();
        let entry = Some((ShaderStage::Compute, "main"));
        let resolved = naga::back::pipeline_constants::process_overrides(&module, &info, entry, &values);
        let (module, info) =
            resolved.map(|(module, info)| (module.into_owned(), info.into_owned())).unwrap_or_else(|error| panic!("{name}: {error}"));
        let units = module.global_variables.iter().map(|(_, variable)| match variable.space {
            AddressSpace::Private => 4,
            _ => unit(&module, variable.ty),
        });
        let units = units.collect();
        let functions = module.functions.iter().map(|(_, function)| function).chain([&module.entry_points[0].function]);
        let constants = functions.map(|function| constants_of(&module, function)).collect();
        let lanes = module.entry_points[0].workgroup_size.iter().product::<u32>() as usize;
        assert!(lanes <= super::mask::Mask::MOST, "{name}: {lanes} invocations in a workgroup");
        Self { name: name.into(), source: source.into(), module, info, lanes, constants, units }
    }

    pub fn entry(&self) -> Routine<'_> {
        let constants = &self.constants[self.constants.len() - 1];
        Routine { function: &self.module.entry_points[0].function, info: self.info.get_entry_point(0), constants }
    }

    pub fn function(&self, handle: Handle<Function>) -> Routine<'_> {
        Routine { function: &self.module.functions[handle], info: &self.info[handle], constants: &self.constants[handle.index()] }
    }

    pub fn inner<'a>(&'a self, info: &'a FunctionInfo, expression: Handle<Expression>) -> &'a TypeInner {
        info[expression].ty.inner_with(&self.module.types)
    }

    /// What a private variable starts with.
    pub fn initial(&self, variable: &GlobalVariable) -> Arc<Value> {
        let zero = || zero(&self.module, &self.module.types[variable.ty].inner);
        Arc::new(variable.init.map_or_else(zero, |init| global(&self.module, init)))
    }

    /// The line of a place in the text, and what is written there.
    pub fn line(&self, span: Span) -> String {
        let Some(range) = span.to_range() else { return "a line unknown".into() };
        let line = self.source[..range.start].matches('\n').count();
        format!("line {}: {}", line + 1, self.source.lines().nth(line).unwrap_or("").trim())
    }
}

fn literal(literal: Literal) -> Words {
    Words::same(vec![match literal {
        Literal::F32(value) => value.to_bits(),
        Literal::F16(value) => value.to_f32().to_bits(),
        Literal::U32(value) => value,
        Literal::I32(value) => value as u32,
        Literal::Bool(value) => u32::from(value),
        other => panic!("the interpreter has no literal like {other:?}"),
    }])
}

/// The zero value of a type.
pub fn zero(module: &Module, ty: &TypeInner) -> Value {
    match ty {
        TypeInner::CooperativeMatrix { .. } => Value::Tiles(vec![[0.0; 256]; super::mask::Mask::MOST / 32]),
        other => Value::Words(Words::same(vec![0; components(module, other)])),
    }
}

/// A constant expression of the module.
fn global(module: &Module, handle: Handle<Expression>) -> Value {
    let part = |handle: &Handle<Expression>| match global(module, *handle) {
        Value::Words(words) => words,
        _ => unreachable!("constants are words"),
    };
    match &module.global_expressions[handle] {
        Expression::Literal(value) => Value::Words(literal(*value)),
        Expression::Constant(constant) => global(module, module.constants[*constant].init),
        Expression::ZeroValue(ty) => zero(module, &module.types[*ty].inner),
        Expression::Compose { components, .. } => {
            let parts: Vec<_> = components.iter().map(part).collect();
            Value::Words(Words::join(&parts.iter().collect::<Vec<_>>(), 1))
        }
        Expression::Splat { size, value } => Value::Words(part(value).pick(std::iter::repeat_n(0, *size as usize))),
        other => panic!("the interpreter has no constant like {other:?}"),
    }
}

/// The values of a function's expressions that are known without running it.
fn constants_of(module: &Module, function: &Function) -> Vec<Option<Arc<Value>>> {
    let pointer = |variable| Value::Pointer(Pointer { variable, offset: Words::same(vec![0]) });
    let value = |expression: &Expression| match *expression {
        Expression::Literal(value) => Some(Value::Words(literal(value))),
        Expression::Constant(constant) => Some(global(module, module.constants[constant].init)),
        Expression::ZeroValue(ty) => Some(zero(module, &module.types[ty].inner)),
        Expression::GlobalVariable(variable) => Some(pointer(Variable::Global(variable))),
        Expression::LocalVariable(variable) => Some(pointer(Variable::Local(variable))),
        _ => None,
    };
    function.expressions.iter().map(|(_, expression)| value(expression).map(Arc::new)).collect()
}
