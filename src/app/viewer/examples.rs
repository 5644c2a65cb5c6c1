//! Sessions to begin with: genbmm's notebook, cell by cell, and a few more.

use bandsaw::{Error, Result};
use serde::Deserialize;

use super::session::{Session, Step};

#[derive(Deserialize)]
pub struct Example {
    pub title: String,
    /// Of the notebook.
    #[serde(default)]
    pub cell: bool,
    steps: Vec<Step>,
}

/// In menu order.
pub fn all() -> &'static [Example] {
    static ALL: std::sync::LazyLock<Vec<Example>> =
        std::sync::LazyLock::new(|| serde_json::from_str(include_str!("examples.json")).unwrap_or_default());
    &ALL
}

pub fn session(title: &str) -> Result<Session> {
    let example = all().iter().find(|example| example.title == title).ok_or_else(|| Error::Argument {
        op: "example",
        argument: "title",
        got: format!("{title:?}"),
        allowed: "an example of the menu".into(),
    })?;
    let selected = example.steps.last().map(|step| step.id);
    Ok(Session { steps: example.steps.clone(), selected, ..Session::new() })
}

/// What the window opens with.
pub fn first() -> Session {
    session("A, the matrix").unwrap_or_else(|_| Session::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file parses, has the notebook's eleven cells, and every example is a session that loads.
    #[test]
    fn examples_are_sessions() -> Result<()> {
        assert_eq!(all().iter().filter(|example| example.cell).count(), 11);
        for example in all() {
            let session = session(&example.title)?;
            assert_eq!(Session::parse(&example.title, &session.text()?)?, session);
        }
        assert!(session("none").is_err());
        Ok(())
    }
}
