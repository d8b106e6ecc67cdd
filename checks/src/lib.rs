//! Asks DNS and the relay the questions that receivers will ask, and judges the answers.
//!
//! A family of checks is one file; `families!` below lists them in report order.

mod check;
mod context;
pub mod file;
mod finding;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod message;
mod plan;
pub mod replies;
mod report;
mod target;
pub mod text;
mod versioned;

pub mod net;

pub use check::{Check, all};
pub use context::Context;
pub use dkim::{PublicKey, SignerKey};
pub use dnsbl::{RETIRED_BLOCKLISTS, retired};
pub use finding::{Abstain, Evidence, Facts, Finding, Findings, Fix, Status};
pub use guard::{Admission, Guard, Ticket};
pub use message::{Message, second_opinion};
pub use plan::{Plan, UnknownId};
pub use provider::services;
pub use report::{Counts, Report};
pub use spf::{Evaluation, Sender, Step, Verdict, check_host};
pub use syntax::{Mailbox, Name, NextHop, Protocols, Redirect, Relayhost, Secret, Selector};
pub use target::{
    Algorithm, Credentials, Fingerprint, Login, Match, MechanismFilter, SecurityOptions, Target, TlsLevel, TlsPolicy,
    Topology,
};

/// Declares the families' modules and lists their checks in report order.
macro_rules! families {
    ($($family:ident),+ $(,)?) => {
        $(mod $family;)+
        static FAMILIES: &[&[Check]] = &[$($family::CHECKS),+];
    };
}

families! {
    dns, hostname, spf, dkim, dmarc, mx, bounce, mta_sts, tls_rpt, bimi, dnssec, dnsbl, relay, tls, dane, sasl, provider, receiver,
}
