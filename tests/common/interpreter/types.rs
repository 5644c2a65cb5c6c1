//! Where the scalars of a type are: as components of a value, and as units of a memory.

use naga::proc::IndexableLength;
use naga::{ArraySize, Handle, Module, Scalar, ScalarKind, Type, TypeInner};

/// The number of elements; `None` for an array that is as long as its buffer.
fn length(module: &Module, size: ArraySize) -> Option<u32> {
    match size.resolve(module.to_ctx()) {
        Ok(IndexableLength::Known(count)) => Some(count),
        Ok(IndexableLength::Dynamic) => None,
        Err(error) => unreachable!("overrides are resolved: {error}"),
    }
}

/// How many scalars a value of the type has.
pub fn components(module: &Module, ty: &TypeInner) -> usize {
    match *ty {
        TypeInner::Scalar(_) | TypeInner::Atomic(_) => 1,
        TypeInner::Vector { size, .. } => size as usize,
        TypeInner::Array { base, size, .. } => length(module, size).unwrap_or(0) as usize * components(module, &module.types[base].inner),
        TypeInner::Struct { ref members, .. } => members.iter().map(|member| components(module, &module.types[member.ty].inner)).sum(),
        ref other => panic!("the interpreter has no values of {other:?}"),
    }
}

/// The scalar that all of the type is made of.
pub fn scalar(module: &Module, ty: &TypeInner) -> Option<Scalar> {
    match *ty {
        TypeInner::Scalar(scalar) | TypeInner::Atomic(scalar) | TypeInner::Vector { scalar, .. } => Some(scalar),
        TypeInner::ValuePointer { scalar, .. } | TypeInner::CooperativeMatrix { scalar, .. } => Some(scalar),
        TypeInner::Array { base, .. } => scalar(module, &module.types[base].inner),
        TypeInner::Struct { ref members, .. } => scalar(module, &module.types[members.first()?.ty].inner),
        _ => None,
    }
}

/// The bytes of one scalar of a memory, which must be the same for all that it holds.
pub fn unit(module: &Module, ty: Handle<Type>) -> u32 {
    match &module.types[ty].inner {
        TypeInner::Array { base, .. } => unit(module, *base),
        TypeInner::Struct { members, .. } => {
            let units: Vec<_> = members.iter().map(|member| unit(module, member.ty)).collect();
            assert!(units.iter().all(|unit| *unit == units[0]), "the interpreter has no memory of mixed scalars");
            units[0]
        }
        other => scalar(module, other).map_or(4, |scalar| u32::from(scalar.width)),
    }
}

/// Whether the scalars are halves, which memory keeps as 16 bits.
pub fn is_half(scalar: Scalar) -> bool {
    (scalar.kind, scalar.width) == (ScalarKind::Float, 2)
}

/// Where the scalars of a value are in a memory of such units, in order.
pub fn places(module: &Module, ty: &TypeInner, unit: u32, from: u32, into: &mut Vec<u32>) {
    match *ty {
        TypeInner::Vector { size, .. } => into.extend((0..size as u32).map(|n| from + n)),
        TypeInner::Array { base, size, stride } => {
            for n in 0..length(module, size).unwrap_or(0) {
                places(module, &module.types[base].inner, unit, from + n * (stride / unit), into);
            }
        }
        TypeInner::Struct { ref members, .. } => {
            for member in members {
                places(module, &module.types[member.ty].inner, unit, from + member.offset / unit, into);
            }
        }
        _ => into.push(from),
    }
}

/// How far apart the elements are, in units of a memory or, without one, in components; and how many there are.
pub fn elements(module: &Module, ty: &TypeInner, unit: Option<u32>) -> (u32, Option<u32>) {
    match *ty {
        TypeInner::Vector { size, .. } => (1, Some(size as u32)),
        TypeInner::Array { base, size, stride } => {
            let apart = unit.map_or_else(|| components(module, &module.types[base].inner) as u32, |unit| stride / unit);
            (apart, length(module, size))
        }
        ref other => panic!("the interpreter does not index {other:?}"),
    }
}

/// Where element `index` of the type begins, and its length in components.
pub fn element(module: &Module, ty: &TypeInner, index: u32, unit: Option<u32>) -> (u32, usize) {
    match *ty {
        TypeInner::Struct { ref members, .. } => {
            let size = |n: usize| components(module, &module.types[members[n].ty].inner);
            let index = index as usize;
            let start = unit.map_or_else(|| (0..index).map(size).sum::<usize>() as u32, |unit| members[index].offset / unit);
            // A buffer's last member may be an array as long as the buffer.
            (start, if unit.is_some() { 0 } else { size(index) })
        }
        TypeInner::Array { base, .. } => {
            let size = if unit.is_some() { 0 } else { components(module, &module.types[base].inner) };
            (index * elements(module, ty, unit).0, size)
        }
        _ => (index * elements(module, ty, unit).0, 1),
    }
}

/// What a pointer of this type points to.
pub fn target(module: &Module, pointer: &TypeInner) -> TypeInner {
    match *pointer {
        TypeInner::Pointer { base, .. } => module.types[base].inner.clone(),
        TypeInner::ValuePointer { size: Some(size), scalar, .. } => TypeInner::Vector { size, scalar },
        TypeInner::ValuePointer { size: None, scalar, .. } => TypeInner::Scalar(scalar),
        ref other => unreachable!("naga's validation: {other:?} is no pointer"),
    }
}
