//! The list of next-hops that relayhost is.

use std::{fmt, str::FromStr};

use super::{FORM, NextHop};

/// Postfix's `relayhost`: one next-hop, or since Postfix 3.5 several that are tried in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Relayhost {
    /// The one that is tried first.
    pub first: NextHop,
    /// What is tried where those before are of no use.
    pub rest: Vec<NextHop>,
}

impl Relayhost {
    /// The next-hops, in the order they are tried.
    pub fn next_hops(&self) -> impl Iterator<Item = &NextHop> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

/// `[a]:587, [b]:587`: with commas or blanks between (postconf(5), relayhost).
impl FromStr for Relayhost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
        let mut hops: Vec<NextHop> = Vec::new();
        for word in words {
            let hop: NextHop = word.parse()?;
            if !hops.contains(&hop) {
                hops.push(hop);
            }
        }
        let mut hops = hops.into_iter();
        let first = hops.next().ok_or_else(|| format!("is empty; {FORM}"))?;
        Ok(Self { first, rest: hops.collect() })
    }
}

impl fmt::Display for Relayhost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        self.rest.iter().try_for_each(|hop| write!(f, ", {hop}"))
    }
}
