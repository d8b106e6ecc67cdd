//! What stands before a login so that accounts do not get locked: asked right before AUTH, told right after.

use std::{fmt, sync::Arc, time::SystemTime};

/// Asked whether a login may be tried now.
#[derive(Clone)]
pub struct Guard(Arc<dyn Fn() -> Admission + Send + Sync>);

/// Whether a login may be tried now.
pub enum Admission {
    /// It may, and nobody else tries it until the ticket is returned.
    Granted(Ticket),
    /// Another run is trying it: ask again.
    Taken,
    /// It was refused, and is left alone until then.
    Barred(SystemTime),
}

/// The leave to try a login once.
pub struct Ticket(Box<dyn FnOnce(Option<u16>) -> Result<(), String> + Send>);

impl Guard {
    /// A guard that answers so.
    pub fn new(admission: impl Fn() -> Admission + Send + Sync + 'static) -> Self {
        Self(Arc::new(admission))
    }

    pub(crate) fn admission(&self) -> Admission {
        (self.0)()
    }
}

impl Ticket {
    /// A ticket that is returned with the code of the reply to AUTH, if the server decided; an error says why the guard
    /// cannot be kept.
    pub fn new(returned: impl FnOnce(Option<u16>) -> Result<(), String> + Send + 'static) -> Self {
        Self(Box::new(returned))
    }

    pub(crate) fn returned(self, code: Option<u16>) -> Result<(), String> {
        (self.0)(code)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}
