//! A DKIM selector, `S` or `S@D`.

use std::str::FromStr;

use crate::Name;

/// A DKIM selector: under every domain, or under one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// What stands before `._domainkey`.
    pub name: String,
    /// The one domain it stands under.
    pub domain: Option<Name>,
}

/// `S` or `S@D`.
impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, domain) = match text.split_once('@') {
            Some((name, domain)) => (name, Some(domain.parse().map_err(|why| format!("the domain {domain:?} {why}"))?)),
            None => (text, None),
        };
        name.parse::<Name>().map_err(|why| format!("the selector {name:?} {why}"))?;
        Ok(Self { name: name.to_ascii_lowercase(), domain })
    }
}
