//! Reads the few values that are written out on the screen, without holding up a frame.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::gpu::Gpu;
use crate::app::viewer::evaluate::Evaluated;

/// Single values: of a result, and the slot counted over the batch.
pub type Wanted = Vec<(Arc<Evaluated>, usize)>;

pub struct Reader {
    /// `None` once the thread shall end.
    ask: Option<Sender<(u64, Wanted)>>,
    thread: Option<JoinHandle<()>>,
    answers: Receiver<(u64, Vec<f32>)>,
    asked: u64,
    latest: Option<(u64, Vec<f32>)>,
}

impl Reader {
    pub fn start(gpu: Arc<Gpu>, wake: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let (ask, receive) = channel::<(u64, Wanted)>();
        let (send, answers) = channel();
        let thread = std::thread::Builder::new().name("values".into()).spawn(move || {
            while let Ok(mut request) = receive.recv() {
                // Only the newest counts.
                while let Ok(newer) = receive.try_recv() {
                    request = newer;
                }
                let (key, wanted) = request;
                let drawn: Vec<_> = wanted.iter().filter_map(|(result, slot)| Some((result.drawn.as_ref()?, *slot))).collect();
                // A lost device is told by the thread that computes.
                let values = gpu.gather(&drawn).unwrap_or_default();
                if send.send((key, values)).is_err() {
                    return;
                }
                wake();
            }
        })?;
        Ok(Self { ask: Some(ask), thread: Some(thread), answers, asked: 0, latest: None })
    }

    /// Whether an answer is on its way.
    #[cfg(test)]
    pub fn waits(&mut self) -> bool {
        while let Ok(answer) = self.answers.try_recv() {
            self.latest = Some(answer);
        }
        self.asked != self.latest.as_ref().map_or(0, |(key, _)| *key)
    }

    /// The values, as soon as they are here; those asked for before are forgotten.
    pub fn values(&mut self, wanted: Wanted) -> Option<&[f32]> {
        let mut hasher = DefaultHasher::new();
        for (result, slot) in &wanted {
            (Arc::as_ptr(result) as usize, slot).hash(&mut hasher);
        }
        let key = hasher.finish().max(1);
        while let Ok(answer) = self.answers.try_recv() {
            self.latest = Some(answer);
        }
        let count = wanted.len();
        if key != self.asked {
            self.asked = key;
            // If the thread is gone, no value is shown.
            let _ = self.ask.as_ref().map(|ask| ask.send((key, wanted)));
        }
        let (found, values) = self.latest.as_ref()?;
        (*found == key && values.len() == count).then_some(values.as_slice())
    }
}

/// A driver must not be in use when the program ends, so the thread is waited for.
impl Drop for Reader {
    fn drop(&mut self) {
        self.ask = None;
        // A panic there has been told by then.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
