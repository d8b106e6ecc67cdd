//! What is wrong with a DMARC record.

/// A mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The octet of the record, counted from 1.
    pub position: usize,
    /// What is wrong, in words.
    pub reason: String,
    /// Whether receivers pass over it without harm.
    pub is_harmless: bool,
}
