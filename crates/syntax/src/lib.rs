//! What is written: names, records, replies and options of mail, parsed with the position of whatever is wrong, and
//! printed back. No I/O, no verdict.

pub mod address;
pub mod dmarc;
pub mod fields;
mod mailbox;
pub mod mta_sts;
mod name;
mod next_hop;
mod redirect;
pub mod reply;
mod secret;
mod selector;
pub mod shell;
pub mod spf;
pub mod tags;
pub mod text;
pub mod zone;

pub use address::{Family, Protocols};
pub use mailbox::Mailbox;
pub use name::Name;
pub use next_hop::{Host, NextHop, Relayhost};
pub use redirect::Redirect;
pub use secret::Secret;
pub use selector::Selector;
