//! Questions and records as `dig` and a zone file write them.

use std::fmt;

use hickory_resolver::proto::rr::{RData, RecordType};

use syntax::{
    shell,
    zone::{absolute, quoted},
};

use super::Question;
use crate::net::tls::Tlsa;

/// The words of `dig` that ask this question.
impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.reverse_address() {
            Some(address) if self.rtype == RecordType::PTR => write!(f, "-x {address}"),
            _ => write!(f, "{} {}", shell::dug(&self.name.to_string()), mnemonic(self.rtype)),
        }
    }
}

/// A type as `dig` takes it: one without a name by its number (RFC 3597 section 5).
pub(super) fn mnemonic(rtype: RecordType) -> String {
    match rtype {
        RecordType::Unknown(number) => format!("TYPE{number}"),
        named => named.to_string(),
    }
}

/// A record's data in the presentation format of RFC 1035 section 5.1.
pub(super) fn presentation(record: &RData) -> String {
    match record {
        RData::TXT(txt) => txt.txt_data.iter().map(|string| quoted(string)).collect::<Vec<_>>().join(" "),
        RData::MX(mx) => format!("{} {}", mx.preference, absolute(&mx.exchange.clone().into())),
        RData::PTR(ptr) => absolute(&ptr.0.clone().into()),
        RData::TLSA(tlsa) => certificate(&Tlsa::of(tlsa)),
        other => other.to_string(),
    }
}

/// `dig` breaks the digits after every 56.
fn certificate(record: &Tlsa) -> String {
    let lines = record.data.chunks(28).map(|octets| octets.iter().map(|octet| format!("{octet:02X}")).collect());
    [vec![record.kind()], lines.collect::<Vec<String>>()].concat().join(" ")
}

#[cfg(test)]
mod tests {
    use syntax::Name;

    use super::*;
    use crate::net::dns::Manner;

    #[test]
    fn reverse_questions_are_shown_as_dig_takes_them() {
        let question = |name, rtype| Question { name, rtype, manner: Manner::Recursive };
        let reverse = |address: &str| question(Name::reverse(address.parse().unwrap()), RecordType::PTR);
        assert_eq!(reverse("192.0.2.10").to_string(), "-x 192.0.2.10");
        assert_eq!(reverse("2001:db8::10").to_string(), "-x 2001:db8::10");
        let forward = question("mail.example.com".parse().unwrap(), RecordType::A);
        assert_eq!(forward.to_string(), "mail.example.com A");
        let hostile = |name: &str| question(name.parse().unwrap(), RecordType::A).to_string();
        assert_eq!(hostile("$(id).example.com"), "'$(id).example.com' A");
        assert_eq!(hostile("-f.example.com"), "-q -f.example.com A");
        assert_eq!(hostile("a'b;c.example.com"), r"'a'\''b;c.example.com' A");
    }
}
