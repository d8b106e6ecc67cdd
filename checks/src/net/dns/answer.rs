//! What DNS said to one question.

use std::{
    any::Any,
    collections::HashSet,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use hickory_resolver::proto::rr::{RData, RecordType};
use syntax::{Name, zone::absolute};

use super::{
    Question, Validation,
    presentation::{mnemonic, presentation},
};
use crate::{Evidence, net::tls::Tlsa};

/// How many mail exchangers of a domain, and how many servers of a zone, are asked about: more than any has that means it.
pub(crate) const MOST_HOSTS: usize = 20;

/// What DNS said: records, an alias that leads to them or nowhere, or that there are none. Whoever asks gets the same:
/// a copy costs nothing, however large the answer is.
#[derive(Clone, Debug)]
pub struct Answer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    question: Question,
    aliases: Vec<Name>,
    records: Records,
    nxdomain: bool,
    size: usize,
    validation: Validation,
    evidence: Evidence,
    reading: OnceLock<Arc<dyn Any + Send + Sync>>,
}

/// The parts of an answer.
pub(super) struct Said {
    pub(super) question: Question,
    pub(super) command: String,
    pub(super) aliases: Vec<Name>,
    pub(super) records: Vec<RData>,
    pub(super) nxdomain: bool,
    pub(super) size: usize,
    pub(super) validation: Validation,
}

/// The records of one type, in order, as small as they can be kept.
#[derive(Debug)]
enum Records {
    Addresses(Vec<IpAddr>),
    /// With a preference, where the type has one.
    Hosts(Vec<(u16, Name)>),
    Texts(Vec<Text>),
    Certificates(Vec<Tlsa>),
    /// Of a type that is only counted.
    Others(usize),
}

/// A TXT record: its octets, and where each of its strings ends in them.
#[derive(Debug)]
struct Text {
    octets: Vec<u8>,
    ends: Vec<u16>,
}

impl Records {
    fn of(rtype: RecordType, records: &[RData]) -> Self {
        match rtype {
            RecordType::A | RecordType::AAAA => Self::Addresses(ordered(records, RData::ip_addr, true)),
            RecordType::MX => Self::Hosts(ordered(records, host, false)),
            RecordType::NS | RecordType::PTR => Self::Hosts(ordered(records, host, true)),
            RecordType::TLSA => Self::Certificates(ordered(records, certificate, true)),
            RecordType::TXT | super::TYPE_SPF => {
                let mut texts: Vec<Text> = records.iter().filter_map(Text::of).collect();
                texts.sort_by(|one, other| one.octets.cmp(&other.octets));
                Self::Texts(texts)
            }
            _ => Self::Others(records.len()),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Addresses(addresses) => addresses.is_empty(),
            Self::Hosts(hosts) => hosts.is_empty(),
            Self::Texts(texts) => texts.is_empty(),
            Self::Certificates(certificates) => certificates.is_empty(),
            Self::Others(count) => *count == 0,
        }
    }
}

/// The data of the records in order; each once, where two that are the same say no more than one.
fn ordered<T: Ord>(records: &[RData], data: impl Fn(&RData) -> Option<T>, is_set: bool) -> Vec<T> {
    let mut all: Vec<T> = records.iter().filter_map(data).collect();
    all.sort();
    all.dedup_by(|one, other| is_set && one == other);
    all.shrink_to_fit();
    all
}

fn host(record: &RData) -> Option<(u16, Name)> {
    match record {
        RData::MX(mx) => Some((mx.preference, mx.exchange.clone().into())),
        RData::NS(server) => Some((0, server.0.clone().into())),
        RData::PTR(ptr) => Some((0, ptr.0.clone().into())),
        _ => None,
    }
}

fn certificate(record: &RData) -> Option<Tlsa> {
    match record {
        RData::TLSA(tlsa) => Some(Tlsa::of(tlsa)),
        _ => None,
    }
}

impl Text {
    fn of(record: &RData) -> Option<Self> {
        let RData::TXT(txt) = record else { return None };
        let mut text = Self { octets: Vec::new(), ends: Vec::with_capacity(txt.txt_data.len()) };
        for string in &txt.txt_data {
            text.octets.extend_from_slice(string);
            // The data of a record has no more octets than that.
            text.ends.push(u16::try_from(text.octets.len()).unwrap_or(u16::MAX));
        }
        Some(text)
    }

    fn strings(&self) -> Vec<Vec<u8>> {
        let begins = [0].iter().chain(&self.ends);
        let string = |(from, to): (&u16, &u16)| self.octets.get(usize::from(*from)..usize::from(*to));
        begins.zip(&self.ends).filter_map(string).map(<[u8]>::to_vec).collect()
    }
}

impl Answer {
    pub(super) fn new(said: Said) -> Self {
        let evidence = said.evidence();
        let Said { question, aliases, records, nxdomain, size, validation, .. } = said;
        let records = Records::of(question.rtype, &records);
        let reading = OnceLock::new();
        Self(Arc::new(Shared { question, aliases, records, nxdomain, size, validation, evidence, reading }))
    }

    /// What the family that such answers are for makes of this one, made once. An answer has one such reader: what another
    /// type stands for is made again.
    pub(crate) fn reading<T: Any + Send + Sync>(&self, read: impl Fn(&Self) -> T) -> Arc<T> {
        let reading = self.0.reading.get_or_init(|| Arc::new(read(self)));
        Arc::clone(reading).downcast().unwrap_or_else(|_| Arc::new(read(self)))
    }

    /// A and AAAA records, in numeric order, each once.
    pub fn addresses(&self) -> Vec<IpAddr> {
        match &self.0.records {
            Records::Addresses(addresses) => addresses.clone(),
            _ => Vec::new(),
        }
    }

    fn text(&self) -> &[Text] {
        match &self.0.records {
            Records::Texts(texts) => texts,
            _ => &[],
        }
    }

    /// TXT records as their strings, in the order of [`Answer::texts`].
    pub fn strings(&self) -> Vec<Vec<Vec<u8>>> {
        self.text().iter().map(Text::strings).collect()
    }

    /// How many octets the message takes up to the end of the answer.
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// TXT records, each with its strings joined without a blank (RFC 7208 section 3.3, RFC 6376 section 3.6.2.2).
    pub fn texts(&self) -> Vec<Vec<u8>> {
        self.text().iter().map(|text| text.octets.clone()).collect()
    }

    /// MX records, the most preferred first.
    pub fn exchanges(&self) -> Vec<(u16, Name)> {
        self.named(RecordType::MX).to_vec()
    }

    fn named(&self, rtype: RecordType) -> &[(u16, Name)] {
        match &self.0.records {
            Records::Hosts(hosts) if self.0.question.rtype == rtype => hosts,
            _ => &[],
        }
    }

    /// The hosts that MX records name, each once, the most preferred first: as many as are asked about, and how many there are
    /// besides.
    pub(crate) fn hosts(&self) -> (Vec<(u16, Name)>, usize) {
        let mut known = HashSet::new();
        let mut hosts = self.exchanges();
        hosts.retain(|(_, host)| !host.is_root() && known.insert(host.clone()));
        let beyond = hosts.len().saturating_sub(MOST_HOSTS);
        hosts.truncate(MOST_HOSTS);
        (hosts, beyond)
    }

    /// NS records, in the order of names.
    pub(crate) fn name_servers(&self) -> Vec<Name> {
        self.named(RecordType::NS).iter().map(|(_, server)| server.clone()).collect()
    }

    /// TLSA records, each once.
    pub(crate) fn certificates(&self) -> Vec<Tlsa> {
        match &self.0.records {
            Records::Certificates(certificates) => certificates.clone(),
            _ => Vec::new(),
        }
    }

    /// PTR records, in the order of names.
    pub fn pointers(&self) -> Vec<Name> {
        self.named(RecordType::PTR).iter().map(|(_, pointer)| pointer.clone()).collect()
    }

    /// The CNAMEs that were followed: the targets, in order.
    pub fn aliases(&self) -> &[Name] {
        &self.0.aliases
    }

    /// What the resolver says of the signatures, of every CNAME on the way too.
    pub(crate) fn validation(&self) -> Validation {
        self.0.validation
    }

    /// Whether the name, or the end of its CNAME chain, does not exist at all.
    pub fn is_nxdomain(&self) -> bool {
        self.0.nxdomain
    }

    /// Whether there is no record of the type asked for.
    pub fn is_empty(&self) -> bool {
        self.0.records.is_empty()
    }

    /// Why there is no record, in words: the name does not exist, or it has none of the type.
    pub fn absence(&self) -> String {
        let Shared { question, aliases, nxdomain, .. } = &*self.0;
        match nxdomain {
            true => format!("{} does not exist (NXDOMAIN)", aliases.last().unwrap_or(&question.name)),
            false => format!("no {} record at {}", mnemonic(question.rtype), question.name),
        }
    }

    /// The answer as `dig +short` prints it, as much as one can read.
    pub fn evidence(&self) -> Evidence {
        self.0.evidence.clone()
    }
}

impl Said {
    fn evidence(&self) -> Evidence {
        let mut lines: Vec<String> = self.aliases.iter().map(absolute).collect();
        let mut records: Vec<String> = self.records.iter().map(presentation).collect();
        records.sort();
        match (records.is_empty(), self.nxdomain) {
            (true, true) => lines.push("(NXDOMAIN)".to_owned()),
            (true, false) => lines.push(format!("(no {} record)", mnemonic(self.question.rtype))),
            (false, _) => lines.append(&mut records),
        }
        Evidence { command: self.command.clone(), output: lines.join("\n") }.abridged()
    }
}
