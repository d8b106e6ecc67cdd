//! Who gets the password, and what counts as proof.
