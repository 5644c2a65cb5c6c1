//! Steps as a Rust program that needs nothing but the library.

use std::path::Path;

use bandsaw::io::write_file;
use bandsaw::{Error, Result};

use super::operations::{Call, Kind};
use super::session::Session;

/// The program; an error names the step that has no operand.
pub fn code(session: &Session) -> Result<String> {
    let mut body = String::new();
    for (n, step) in session.steps.iter().enumerate() {
        let Some(operation) = step.operation() else { continue };
        let mut inputs = Vec::new();
        for (input, reference) in operation.inputs.iter().zip(&step.inputs) {
            let place = session.place(reference.step).filter(|place| *place < n).ok_or_else(|| Error::Argument {
                op: "export",
                argument: input.name,
                got: format!("no step, in step {}", n + 1),
                allowed: "an earlier step's result".into(),
            })?;
            inputs.push(format!("{}{}", name(place), if reference.transposed { ".t()" } else { "" }));
        }
        let kind = operation.result.rust();
        let shape = if operation.result == Kind::Blocks { "pattern" } else { "shape" };
        let call = (operation.code)(&Call::new(operation, step, inputs));
        body += &format!("\n    // {}: {}\n    let {}: {kind} = {call};\n", operation.title, operation.formula, name(n));
        body += &format!("    println!(\"{}: {{:?}}, sum {{:?}}\", {0}.{shape}(), {0}.read()?.iter().sum::<f32>());\n", name(n));
    }
    let noise = if body.contains("noise(") { format!("\n{}", include_str!("noise.rs").replace("pub fn", "fn")) } else { String::new() };
    Ok(format!(
        "//! Steps exported from `bandsaw view`.\n\n#[allow(unused_imports)]\nuse bandsaw::*;\n\nfn main() -> Result<()> {{\n    run()\n}}\n\n\
         /// The steps, one after the other.\npub fn run() -> Result<()> {{\n    let device = Device::best();\n    println!(\"{{device}}\");\n{body}    Ok(())\n}}\n{noise}"
    ))
}

fn name(place: usize) -> String {
    format!("s{}", place + 1)
}

pub fn write(session: &Session, path: &Path) -> Result<()> {
    let text = code(session)?;
    write_file(path, |file| file.write_all(text.as_bytes()))
}
