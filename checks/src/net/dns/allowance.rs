//! How many questions one run asks: no answer, however large, sends it out to ask thousands more.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::net::Silence;

/// The most questions of a run over one domain and host, several times what a good one takes.
pub(super) const MOST_QUESTIONS: usize = 300;

/// The questions that may be asked, and how many have been.
pub(super) struct Allowance {
    most: usize,
    asked: AtomicUsize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self::of(MOST_QUESTIONS)
    }
}

impl Allowance {
    pub(super) fn of(most: usize) -> Self {
        Self { most, asked: AtomicUsize::new(0) }
    }

    /// Counts a question that is about to be asked.
    ///
    /// # Errors
    /// Why it is not: nothing is found out any more.
    pub(super) fn take(&self) -> Result<(), Silence> {
        match self.asked.fetch_add(1, Ordering::Relaxed) < self.most {
            true => Ok(()),
            false => Err(Silence::Unasked(self.most)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_is_not_asked() {
        let allowance = Allowance::of(2);
        let taken: Vec<_> = (0..4).map(|_| allowance.take().is_ok()).collect();
        assert_eq!(taken, [true, true, false, false]);
        assert_eq!(allowance.take(), Err(Silence::Unasked(2)));
    }
}
