//! Every question once a run, whoever asks first; others who ask meanwhile wait for the same answer.

use std::{collections::HashMap, future::Future, hash::Hash, sync::Arc};

use tokio::sync::{Mutex, OnceCell};

/// Remembers the answer to each question, failures included.
pub(crate) struct Memo<Q, A> {
    cells: Mutex<HashMap<Q, Arc<OnceCell<A>>>>,
}

impl<Q: Eq + Hash, A: Clone> Memo<Q, A> {
    /// Remembers nothing yet.
    pub(crate) fn new() -> Self {
        Self { cells: Mutex::new(HashMap::new()) }
    }

    /// The answer to `question`, found by `ask` the first time.
    pub(crate) async fn answer<F>(&self, question: Q, ask: impl FnOnce() -> F) -> A
    where
        F: Future<Output = A>,
    {
        let cell = self.cells.lock().await.entry(question).or_default().clone();
        cell.get_or_init(ask).await.clone()
    }

    /// The answer to `question`, if somebody has asked it and it has come.
    pub(crate) async fn known(&self, question: &Q) -> Option<A> {
        self.cells.lock().await.get(question)?.get().cloned()
    }
}
