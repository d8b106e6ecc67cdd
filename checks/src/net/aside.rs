//! Work that takes a processor for a while, beside the audit where there is a thread to be had.

use std::{
    sync::{Arc, Mutex},
    thread,
};

use tokio::sync::oneshot;

/// What `work` came to; nothing if it panicked. Where the system gives no more threads, everything else waits for it.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let work = Arc::new(Mutex::new(Some(work)));
    let (done, outcome) = oneshot::channel();
    let theirs = Arc::clone(&work);
    let thread = thread::Builder::new().spawn(move || {
        if let Some(work) = taken(&theirs) {
            // Nobody waits for what took too long.
            let _ = done.send(work());
        }
    });
    match thread {
        Ok(_) => outcome.await.ok(),
        Err(_) => taken(&work).map(|work| work()),
    }
}

fn taken<W>(work: &Mutex<Option<W>>) -> Option<W> {
    work.lock().ok()?.take()
}
