//! Who may log in: one AUTH a run, whichever address answers first.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{sync::oneshot, time::timeout_at};

use crate::net::Deadline;

/// Who may log in: one dialogue a run, the first in Postfix's order that can.
pub(super) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    after: Option<oneshot::Sender<()>>,
    taken: Arc<AtomicBool>,
    deadline: Deadline,
}

impl Turn {
    /// One for each of `count` dialogues, in order.
    pub(super) fn line(count: usize, deadline: Deadline) -> Vec<Self> {
        let taken = Arc::new(AtomicBool::new(false));
        let mut before = None;
        let turn = |_| {
            let (after, next) = oneshot::channel();
            Self { before: before.replace(next), after: Some(after), taken: taken.clone(), deadline }
        };
        (0..count).map(turn).collect()
    }

    /// Whether the one login is ours.
    pub(super) async fn come(&mut self) -> bool {
        self.wait().await;
        let is_ours = !self.taken.swap(true, Ordering::Relaxed);
        self.tell();
        is_ours
    }

    /// Leaves what we did not take to those after us.
    pub(super) async fn leave(mut self) {
        self.wait().await;
        self.tell();
    }

    /// Those before us decide first, unless they take half of the time that is left: a silent address does not cost
    /// the others their login.
    async fn wait(&mut self) {
        if let Some(before) = self.before.take() {
            let _ = timeout_at(self.deadline.halfway(), before).await;
        }
    }

    /// The last in line has nobody to tell.
    fn tell(&mut self) {
        if let Some(after) = self.after.take() {
            let _ = after.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::join_all;

    use super::*;

    /// Who logs in where `able` says who could, whatever order they come in.
    async fn winners(able: &[bool]) -> Vec<usize> {
        let deadline = Deadline::after(Duration::from_secs(60));
        let mut coming = Vec::new();
        for (place, (mut turn, can)) in Turn::line(able.len(), deadline).into_iter().zip(able.to_vec()).enumerate() {
            coming.push(async move {
                let is_ours = can && turn.come().await;
                turn.leave().await;
                is_ours.then_some(place)
            });
        }
        coming.reverse();
        join_all(coming).await.into_iter().flatten().collect()
    }

    #[tokio::test]
    async fn the_first_that_can_logs_in() {
        assert_eq!(winners(&[true, true, true]).await, [0]);
        assert_eq!(winners(&[false, true, true]).await, [1]);
        assert_eq!(winners(&[false, false, true]).await, [2]);
        assert!(winners(&[false, false]).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_costs_half_of_the_time_and_no_second_login() {
        let mut line = Turn::line(2, Deadline::after(Duration::from_secs(60))).into_iter();
        let (mut silent, mut second) = (line.next().unwrap(), line.next().unwrap());
        let start = tokio::time::Instant::now();
        assert!(second.come().await);
        assert_eq!(start.elapsed().as_secs(), 30);
        assert!(!silent.come().await);
    }
}
