//! Signed messages and the keys that verify them.
