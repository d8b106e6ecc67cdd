//! Asks DNS and the relay the questions that receivers will ask, and judges the answers.
//!
//! A family of checks is one file; `families!` below lists them in report order.

mod address;
mod check;
mod context;
mod finding;
mod name;
mod plan;
mod report;
mod secret;
mod tags;
mod target;

pub mod net;

pub use check::{Check, all};
pub use context::Context;
pub use finding::{Abstain, Evidence, Facts, Finding, Findings, Fix, Status};
pub use name::Name;
pub use plan::{Plan, UnknownId};
pub use report::{Counts, Report};
pub use secret::Secret;
pub use spf::{Evaluation, Record as SpfRecord, Sender, Step, SyntaxError as SpfSyntaxError, Verdict, check_host};
pub use target::{
    Algorithm, Credentials, Fingerprint, Login, Match, NextHop, Protocols, Redirect, Selector, Target, TlsLevel,
    TlsPolicy, Topology,
};

/// Declares the families' modules and lists their checks in report order.
macro_rules! families {
    ($($family:ident),+ $(,)?) => {
        $(mod $family;)+
        static FAMILIES: &[&[Check]] = &[$($family::CHECKS),+];
    };
}

families! { hostname, spf, dkim, mx, dnssec, relay, tls, dane, sasl }
