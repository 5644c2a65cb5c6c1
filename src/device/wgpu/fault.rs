//! Faults that wgpu tells of by callbacks.

use std::sync::{Arc, Mutex};

use super::lock;
use crate::{Error, Result};

/// The first thing that went wrong on the device, told by callbacks, returned by the next verb.
#[derive(Clone, Default)]
pub struct Fault(Arc<Mutex<Option<Error>>>);

impl Fault {
    /// Keeps the first, but a loss goes before whatever it made fail.
    pub fn set(&self, error: Error) {
        let mut fault = lock(&self.0);
        if fault.as_ref().is_none_or(|before| error.is_loss() && !before.is_loss()) {
            *fault = Some(error);
        }
    }

    /// A lost device stays lost; any other fault is told once.
    pub fn check(&self) -> Result<()> {
        let mut fault = lock(&self.0);
        match &*fault {
            None => Ok(()),
            Some(lost) if lost.is_loss() => Err(lost.clone()),
            Some(_) => fault.take().map_or(Ok(()), Err),
        }
    }
}

impl Error {
    fn is_loss(&self) -> bool {
        matches!(self, Self::DeviceLost { .. })
    }
}
