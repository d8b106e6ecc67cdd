//! How the checks ask the world: DNS, SMTP and HTTPS, each thing once a run.

use std::{fmt, time::Duration};

use syntax::Name;
use tokio::time::Instant;

use crate::Evidence;

mod aside;
pub(crate) mod dane;
pub mod dns;
pub mod https;
mod memo;
mod silence;
pub mod smtp;
pub mod tls;

pub use self::silence::Silence;

/// How long what was heard before the deadline may still be computed with after it, before one part of a judgement is given up;
/// after as long again the whole of it is.
const GRACE: Duration = Duration::from_millis(500);

/// The time that is left for the whole audit. Whatever waits, waits no longer than this.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Instant,
    budget: Duration,
}

impl Deadline {
    /// `budget` from now.
    pub fn after(budget: Duration) -> Self {
        Self { at: Instant::now() + budget, budget }
    }

    /// The same time, from now on: what a person took to type is not the audit's.
    pub fn anew(self) -> Self {
        Self::after(self.budget)
    }

    /// Whether there is no time left.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.at
    }

    /// When no part of a judgement is computed any more.
    pub(crate) fn overdue(&self) -> Instant {
        self.at + GRACE
    }

    /// When nothing is judged any more.
    pub(crate) fn end(&self) -> Instant {
        self.overdue() + GRACE
    }

    /// The earlier of the deadline and `patience` from now.
    pub(crate) fn within(&self, patience: Duration) -> Instant {
        self.at.min(Instant::now() + patience)
    }

    /// When half of the time that is left from now on will have gone.
    pub(crate) fn halfway(&self) -> Instant {
        Instant::now() + self.at.saturating_duration_since(Instant::now()) / 2
    }

    /// What is left.
    pub(crate) fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// `60s`: all there was.
    pub(crate) fn budget(&self) -> impl fmt::Display {
        humantime::format_duration(self.budget)
    }

    /// `not finished within 60s`, for what takes more computing than there is time for.
    pub(crate) fn shortage(&self) -> Silence {
        Silence::Unfinished(self.budget)
    }

    /// `no answer within 60s`, for what the deadline cut short.
    pub(crate) fn reason(&self) -> Silence {
        Silence::Overdue(self.budget)
    }
}

/// How the checks ask the world.
pub struct Net {
    /// The one way to DNS.
    pub dns: dns::Dns,
    /// The dialogues with the relay, and with MX hosts.
    pub smtp: smtp::Dialogues,
    /// What is fetched from web servers.
    pub https: https::Https,
}

impl Net {
    /// Nobody has been asked; what is asked from here on is asked before `deadline`.
    pub fn new(dns: dns::Dns, deadline: Deadline) -> Self {
        Self { dns, smtp: smtp::Dialogues::new(deadline), https: https::Https::new(deadline) }
    }
}

/// The world is silent: what was asked, and why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAnswer {
    /// Whom it was about.
    pub name: Box<Name>,
    /// What was asked, in words: `TXT of example.com`.
    pub question: String,
    /// How to ask it without us.
    pub command: String,
    /// Why there is no answer.
    pub reason: Silence,
}

impl NoAnswer {
    /// The silence as evidence.
    pub(crate) fn evidence(&self) -> Evidence {
        Evidence { command: self.command.clone(), output: format!("({})", self.reason) }
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.question, self.reason)
    }
}
