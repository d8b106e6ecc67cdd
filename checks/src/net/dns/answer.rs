//! What DNS said to one question.

use std::net::IpAddr;

use hickory_resolver::proto::rr::RData;

use super::{
    Question, Validation,
    presentation::{absolute, mnemonic, presentation},
};
use crate::{Evidence, Name, net::tls::Tlsa};

/// What DNS said: records, an alias that leads to them or nowhere, or that there are none.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) question: Question,
    pub(super) command: String,
    pub(super) aliases: Vec<Name>,
    pub(super) records: Vec<RData>,
    pub(super) nxdomain: bool,
    pub(super) size: usize,
    pub(super) validation: Validation,
}
impl Answer {
    /// A and AAAA records, in numeric order, each once.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let mut addresses: Vec<IpAddr> = self.records.iter().filter_map(RData::ip_addr).collect();
        addresses.sort();
        addresses.dedup();
        addresses
    }

    /// TXT records as their strings, in the order of [`Answer::texts`].
    pub fn strings(&self) -> Vec<Vec<Vec<u8>>> {
        let strings = |record: &RData| match record {
            RData::TXT(txt) => Some(txt.txt_data.iter().map(|string| string.to_vec()).collect()),
            _ => None,
        };
        let mut texts: Vec<Vec<Vec<u8>>> = self.records.iter().filter_map(strings).collect();
        texts.sort_by_key(|strings| strings.concat());
        texts
    }

    /// How many octets the message takes up to the end of the answer.
    pub fn size(&self) -> usize {
        self.size
    }

    /// TXT records, each with its strings joined without a blank (RFC 7208 section 3.3, RFC 6376 section 3.6.2.2).
    pub fn texts(&self) -> Vec<Vec<u8>> {
        self.strings().iter().map(|strings| strings.concat()).collect()
    }

    /// MX records, the most preferred first.
    pub fn exchanges(&self) -> Vec<(u16, Name)> {
        let exchange = |record: &RData| match record {
            RData::MX(mx) => Some((mx.preference, Name::from(mx.exchange.clone()))),
            _ => None,
        };
        let mut exchanges: Vec<(u16, Name)> = self.records.iter().filter_map(exchange).collect();
        exchanges.sort();
        exchanges
    }

    /// NS records, in the order of names.
    pub(crate) fn name_servers(&self) -> Vec<Name> {
        let server = |record: &RData| match record {
            RData::NS(server) => Some(Name::from(server.0.clone())),
            _ => None,
        };
        let mut servers: Vec<Name> = self.records.iter().filter_map(server).collect();
        servers.sort();
        servers.dedup();
        servers
    }

    /// TLSA records, each once.
    pub(crate) fn certificates(&self) -> Vec<Tlsa> {
        let certificate = |record: &RData| match record {
            RData::TLSA(tlsa) => Some(Tlsa::of(tlsa)),
            _ => None,
        };
        let mut certificates: Vec<Tlsa> = self.records.iter().filter_map(certificate).collect();
        certificates.sort();
        certificates.dedup();
        certificates
    }

    /// PTR records, in the order of names.
    pub fn pointers(&self) -> Vec<Name> {
        let pointer = |record: &RData| match record {
            RData::PTR(ptr) => Some(Name::from(ptr.0.clone())),
            _ => None,
        };
        let mut pointers: Vec<Name> = self.records.iter().filter_map(pointer).collect();
        pointers.sort();
        pointers.dedup();
        pointers
    }

    /// The CNAMEs that were followed: the targets, in order.
    pub fn aliases(&self) -> &[Name] {
        &self.aliases
    }

    /// What the resolver says of the signatures, of every CNAME on the way too.
    pub(crate) fn validation(&self) -> Validation {
        self.validation
    }

    /// Whether the name, or the end of its CNAME chain, does not exist at all.
    pub fn is_nxdomain(&self) -> bool {
        self.nxdomain
    }

    /// Whether there is no record of the type asked for.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Why there is no record, in words: the name does not exist, or it has none of the type.
    pub fn absence(&self) -> String {
        match self.nxdomain {
            true => format!("{} does not exist (NXDOMAIN)", self.aliases.last().unwrap_or(&self.question.name)),
            false => format!("no {} record at {}", mnemonic(self.question.rtype), self.question.name),
        }
    }

    /// The answer as `dig +short` prints it.
    pub fn evidence(&self) -> Evidence {
        let mut lines: Vec<String> = self.aliases.iter().map(absolute).collect();
        let mut records: Vec<String> = self.records.iter().map(presentation).collect();
        records.sort();
        match (records.is_empty(), self.nxdomain) {
            (true, true) => lines.push("(NXDOMAIN)".to_owned()),
            (true, false) => lines.push(format!("(no {} record)", mnemonic(self.question.rtype))),
            (false, _) => lines.append(&mut records),
        }
        Evidence { command: self.command.clone(), output: lines.join("\n") }
    }
}
