//! The one way to DNS: every server is tried before an answer is unknown, and no question is asked twice.
//!
//! hickory encodes and decodes the messages; its `Resolver` is not used, because it hides header bits, has no
//! failover, cannot tell a closed port from a timeout, and answers some reverse names by itself. The hosts file and
//! search domains are never consulted.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::future::join;
use hickory_resolver::{
    proto::rr::{RData, RecordType},
    system_conf::read_system_conf,
};

pub(crate) use self::{
    authority::{Authority, Word},
    bridge::Bridge,
    wire::TYPE_SPF,
};
use self::{server::Server, wire::Reply};
use super::{Deadline, NoAnswer, memo::Memo, tls::Tlsa};
use crate::{Evidence, Name, Protocols, address::Family, finding};

mod authority;
mod bridge;
mod server;
mod wire;

/// How long a server may take to answer one try.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often each server is asked before the next one.
const TRIES: usize = 2;

/// How many CNAMEs are followed; BIND and Unbound give up at about as many.
const LONGEST_CHAIN: usize = 16;

/// The one way to DNS.
pub struct Dns {
    servers: Vec<Server>,
    /// The server that answered last: asked first, so that a dead one is waited for once, not every time.
    preferred: AtomicUsize,
    /// What evidence says to call: ` @192.0.2.53 -p 5353` where a server was typed.
    at: String,
    replies: Memo<Question, Result<Heard, String>>,
    deadline: Deadline,
}

/// A name and a type, and how they are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    name: Name,
    rtype: RecordType,
    manner: Manner,
}

/// How a question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Manner {
    /// Of a resolver (RD), which checks signatures if it can.
    Recursive,
    /// Of a resolver that is to leave signatures unchecked (CD, RFC 4035 section 3.2.2).
    Unchecked,
    /// Of a zone's own server, which is to say what it knows itself.
    Direct,
}

/// A reply, and what its server is believed of its signatures.
#[derive(Clone, Debug)]
struct Heard {
    reply: Reply,
    validation: Validation,
}

/// What the resolver says of the signatures of an answer (RFC 4035 section 3.2.3), the best word first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Validation {
    /// They are valid, all the way down from a trust anchor (AD).
    Secure,
    /// There are none, or the resolver does not look at them (no AD).
    Insecure,
    /// Whatever it says, it is neither on this machine nor trusted with `--trust-ad`.
    Untrusted,
}

/// What DNS said: records, an alias that leads to them or nowhere, or that there are none.
#[derive(Clone, Debug)]
pub struct Answer {
    question: Question,
    command: String,
    aliases: Vec<Name>,
    records: Vec<RData>,
    nxdomain: bool,
    size: usize,
    validation: Validation,
}

impl Dns {
    /// Asks `servers`, which the user typed, in this order.
    pub fn new(servers: Vec<SocketAddr>, deadline: Deadline) -> Self {
        let at = servers.first().map(|server| match server.port() {
            53 => format!(" @{}", server.ip()),
            port => format!(" @{} -p {port}", server.ip()),
        });
        Self::over(servers, at.unwrap_or_default(), deadline)
    }

    /// Asks the system's servers.
    ///
    /// # Errors
    /// The system's configuration cannot be read, or names no server.
    pub fn system(deadline: Deadline) -> std::io::Result<Self> {
        let (config, _) = read_system_conf().map_err(std::io::Error::other)?;
        let servers = config.name_servers().iter().map(|server| SocketAddr::new(server.ip, 53)).collect();
        Ok(Self::over(servers, String::new(), deadline))
    }

    fn over(servers: Vec<SocketAddr>, at: String, deadline: Deadline) -> Self {
        Self {
            servers: servers.into_iter().map(Server::new).collect(),
            preferred: AtomicUsize::new(0),
            at,
            replies: Memo::new(),
            deadline,
        }
    }

    /// Believes the AD bit of servers that are not on this machine too (`--trust-ad`).
    pub fn trusting_ad(mut self) -> Self {
        for server in &mut self.servers {
            server.trust();
        }
        self
    }

    /// The records of type `rtype` at `name`, or at the end of the CNAME chain that starts there.
    ///
    /// # Errors
    /// No server gave an answer: timeout, SERVFAIL, REFUSED, closed port, malformed. That a name or a record does not
    /// exist is an [`Answer`].
    pub async fn ask(&self, name: &Name, rtype: RecordType) -> Result<Answer, NoAnswer> {
        self.answer(Question { name: name.clone(), rtype, manner: Manner::Recursive }).await
    }

    /// The same with signatures left unchecked (CD): what a validating resolver keeps back because it is bogus.
    ///
    /// # Errors
    /// As [`Dns::ask`].
    pub(crate) async fn ask_unchecked(&self, name: &Name, rtype: RecordType) -> Result<Answer, NoAnswer> {
        self.answer(Question { name: name.clone(), rtype, manner: Manner::Unchecked }).await
    }

    async fn answer(&self, question: Question) -> Result<Answer, NoAnswer> {
        let Question { name, rtype, manner } = question.clone();
        let cd = if manner == Manner::Unchecked { " +cd" } else { "" };
        let mut answer = Answer {
            command: format!("dig{}{cd} +short {question}", self.at),
            question,
            aliases: Vec::new(),
            records: Vec::new(),
            nxdomain: false,
            size: 0,
            validation: Validation::Secure,
        };
        let silence = |reason: String| NoAnswer {
            name: Box::new(name.clone()),
            question: format!("{} of {name}", mnemonic(rtype)),
            command: answer.command.clone(),
            reason,
        };
        let mut asked = name.clone();
        loop {
            let link = Question { name: asked.clone(), rtype, manner };
            let Heard { reply, validation } = self.heard(link).await.map_err(&silence)?;
            answer.validation = answer.validation.max(validation);
            let mut aliases = reply.aliases(&asked);
            let end = aliases.last().unwrap_or(&asked).clone();
            let known = [&asked].into_iter().chain(&answer.aliases);
            let circular = known.chain(&aliases).filter(|alias| **alias == end).count() > 1 || reply.is_alias(&end);
            let delegated = !aliases.is_empty() && reply.leaves_open(&end, rtype);
            answer.aliases.append(&mut aliases);
            if circular {
                return Err(silence("the CNAMEs lead back to themselves".to_owned()));
            }
            if answer.aliases.len() > LONGEST_CHAIN {
                return Err(silence(format!("more than {LONGEST_CHAIN} CNAMEs follow each other")));
            }
            if !delegated {
                answer.records = reply.records(&end, rtype);
                answer.size = reply.size();
                answer.nxdomain = answer.records.is_empty() && reply.is_nxdomain();
                return Ok(answer);
            }
            asked = end;
        }
    }

    /// Every address of `name` that `protocols` include, IPv4 first, in numeric order.
    ///
    /// # Errors
    /// One kind of address could not be found out and the other gave none.
    pub async fn addresses(&self, name: &Name, protocols: Protocols) -> Result<Vec<IpAddr>, NoAnswer> {
        let family = async |rtype, wanted| match wanted {
            true => self.ask(name, rtype).await.map(|answer| answer.addresses()),
            false => Ok(Vec::new()),
        };
        let (v4, v6) = join(
            family(RecordType::A, protocols.include(Family::Ipv4)),
            family(RecordType::AAAA, protocols.include(Family::Ipv6)),
        )
        .await;
        match (v4, v6) {
            (Ok(v4), Ok(v6)) => Ok([v4, v6].concat()),
            (Ok(known), Err(silence)) | (Err(silence), Ok(known)) if known.is_empty() => Err(silence),
            (Ok(known), Err(_)) | (Err(_), Ok(known)) => Ok(known),
            (Err(silence), Err(_)) => Err(silence),
        }
    }

    /// How long all of this may take.
    pub(crate) fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Whether nothing at all has come back from any server, though something was asked.
    pub(crate) fn is_deaf(&self) -> bool {
        self.servers.iter().all(|server| server.is_deaf())
    }

    /// Whether a question has been asked, and nobody knew the answer.
    pub(crate) async fn is_silent(&self, name: &Name, rtype: RecordType) -> bool {
        let question = Question { name: name.clone(), rtype, manner: Manner::Recursive };
        self.replies.known(&question).await.is_some_and(|reply| reply.is_err())
    }

    /// The answer to a question that has been asked already.
    pub(crate) async fn known(&self, name: &Name, rtype: RecordType) -> Option<Answer> {
        let question = Question { name: name.clone(), rtype, manner: Manner::Recursive };
        self.replies.known(&question).await?.ok()?;
        self.ask(name, rtype).await.ok()
    }

    async fn reply(&self, name: &Name, rtype: RecordType) -> Result<Reply, String> {
        Ok(self.heard(Question { name: name.clone(), rtype, manner: Manner::Recursive }).await?.reply)
    }

    async fn heard(&self, question: Question) -> Result<Heard, String> {
        self.replies.answer(question.clone(), || self.exchange(question)).await
    }

    /// Asks one server after the other, whatever way the one before failed.
    async fn exchange(&self, question: Question) -> Result<Heard, String> {
        let mut reasons: Vec<String> = Vec::new();
        let first = self.preferred.load(Ordering::Relaxed);
        for index in (first..self.servers.len()).chain(0..first) {
            let Some(server) = self.servers.get(index) else { continue };
            match server.ask(&question, self.deadline).await {
                Ok(reply) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    let validation = match (server.is_trusted(), reply.is_authentic()) {
                        (false, _) => Validation::Untrusted,
                        (true, true) => Validation::Secure,
                        (true, false) => Validation::Insecure,
                    };
                    return Ok(Heard { reply, validation });
                }
                Err(_) if self.deadline.is_over() => return Err(self.deadline.reason()),
                Err(failure) => {
                    let reason = failure.to_string();
                    if !reasons.contains(&reason) {
                        reasons.push(reason);
                    }
                }
            }
        }
        Err(if reasons.is_empty() { "no DNS server to ask".to_owned() } else { reasons.join(", then ") })
    }
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

/// The words of `dig` that ask this question.
impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.reverse_address() {
            Some(address) if self.rtype == RecordType::PTR => write!(f, "-x {address}"),
            _ => write!(f, "{} {}", finding::quoted(&self.name.to_string()), mnemonic(self.rtype)),
        }
    }
}

/// A type as `dig` takes it: one without a name by its number (RFC 3597 section 5).
fn mnemonic(rtype: RecordType) -> String {
    match rtype {
        RecordType::Unknown(number) => format!("TYPE{number}"),
        named => named.to_string(),
    }
}

/// A record's data in the presentation format of RFC 1035 section 5.1.
fn presentation(record: &RData) -> String {
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

/// A name with its root dot, what means something in a zone file behind a backslash, as `dig` prints it.
pub(crate) fn absolute(name: &Name) -> String {
    let escaped = name.to_string().chars().fold(String::new(), |mut escaped, c| {
        if "\"$();@".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
        escaped
    });
    if name.is_root() { ".".to_owned() } else { format!("{escaped}.") }
}

/// A character-string in quotes, octets that do not print as `\DDD`.
pub(crate) fn quoted(string: &[u8]) -> String {
    let mut shown = String::with_capacity(string.len() + 2);
    shown.push('"');
    for octet in string {
        match octet {
            b'"' | b'\\' => shown.extend(['\\', char::from(*octet)]),
            b' '..=b'~' => shown.push(char::from(*octet)),
            _ => shown.push_str(&format!("\\{octet:03}")),
        }
    }
    shown.push('"');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_in_a_zone_file() {
        assert_eq!(quoted(b"a \"b\"\\\x07\xff"), r#""a \"b\"\\\007\255""#);
    }

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
        assert_eq!(hostile("a'b;c.example.com"), r"'a'\''b;c.example.com' A");
    }
}
