//! Whoever sits in the middle (DNS, a relay, a file) gets nothing, proves nothing and stops nothing.
//!
//! One minimal attack for each promise, on loopback, against the real binary. What a world can say is a world in
//! `fixtures/`; here are the servers that no world can play: raw datagrams, floods, files that never end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "support/leaks.rs"]
mod leaks;
#[path = "support/villain.rs"]
mod villain;

#[path = "hostile/bounds.rs"]
mod bounds;
#[path = "hostile/dialogue.rs"]
mod dialogue;
#[path = "hostile/files.rs"]
mod files;
#[path = "hostile/logins.rs"]
mod logins;
#[path = "hostile/messages.rs"]
mod messages;
#[path = "hostile/silence.rs"]
mod silence;
#[path = "hostile/text.rs"]
mod text;
#[path = "hostile/trust.rs"]
mod trust;
