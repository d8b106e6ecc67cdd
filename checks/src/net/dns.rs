//! The one way to DNS: every server is tried before an answer is unknown, and no question is asked twice.
//!
//! hickory encodes and decodes the messages; its `Resolver` is not used, because it hides header bits, has no
//! failover, cannot tell a closed port from a timeout, and answers some reverse names by itself. The hosts file and
//! search domains are never consulted.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join;
use hickory_resolver::{proto::rr::RecordType, system_conf::read_system_conf};
use syntax::{Name, Protocols, address::Family};

pub use self::answer::Answer;
use self::{
    allowance::{Allowance, MOST_QUESTIONS},
    answer::Said,
    presentation::mnemonic,
    server::Server,
    wire::Reply,
};
pub(crate) use self::{
    answer::MOST_HOSTS,
    authority::{Authority, Word},
    bridge::Bridge,
    wire::TYPE_SPF,
};
use super::{Deadline, NoAnswer, Silence, memo::Memo};

mod allowance;
mod answer;
mod authority;
mod bridge;
mod presentation;
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
    replies: Memo<Question, Result<Heard, Silence>>,
    /// What the replies come to, aliases followed.
    answers: Memo<Question, Result<Answer, NoAnswer>>,
    allowance: Allowance,
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

/// A reply as it came, and what its server is believed of its signatures. Decoded it takes many times the room.
#[derive(Clone, Debug)]
struct Heard {
    message: Arc<[u8]>,
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
            answers: Memo::new(),
            allowance: Allowance::default(),
            deadline,
        }
    }

    /// Asks so many questions more than a run over one domain needs, because more was typed than one of each.
    pub fn allowing(mut self, more: usize) -> Self {
        self.allowance = Allowance::of(MOST_QUESTIONS + more);
        self
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

    /// The answer to a question, made once: it may be large, and many ask for it.
    async fn answer(&self, question: Question) -> Result<Answer, NoAnswer> {
        self.answers.answer(question.clone(), || self.followed(question)).await
    }

    /// The answer at the end of the CNAMEs, of which no more are followed than anybody follows.
    async fn followed(&self, question: Question) -> Result<Answer, NoAnswer> {
        let Question { name, rtype, manner } = question.clone();
        let cd = if manner == Manner::Unchecked { " +cd" } else { "" };
        let command = format!("dig{}{cd} +short {question}", self.at);
        let silence = |reason: Silence| NoAnswer {
            name: Box::new(name.clone()),
            question: format!("{} of {name}", mnemonic(rtype)),
            command: command.clone(),
            reason,
        };
        let (mut aliases, mut worst) = (Vec::new(), Validation::Secure);
        let mut asked = name.clone();
        loop {
            let link = Question { name: asked.clone(), rtype, manner };
            let Heard { message, validation } = self.heard(link.clone()).await.map_err(&silence)?;
            let Some(Ok(reply)) = Reply::to(&link, &message) else {
                return Err(silence(Silence::Malformed));
            };
            worst = worst.max(validation);
            let mut found = reply.aliases(&asked, LONGEST_CHAIN + 1);
            let end = found.last().unwrap_or(&asked).clone();
            let known = [&asked].into_iter().chain(&aliases);
            let is_circular = known.chain(&found).filter(|alias| **alias == end).count() > 1;
            let is_delegated = !found.is_empty() && reply.leaves_open(&end, rtype);
            aliases.append(&mut found);
            if aliases.len() > LONGEST_CHAIN {
                return Err(silence(Silence::LongChain(LONGEST_CHAIN)));
            }
            if is_circular || reply.is_alias(&end) {
                return Err(silence(Silence::Circle));
            }
            if !is_delegated {
                let records = reply.records(&end, rtype);
                let nxdomain = records.is_empty() && reply.is_nxdomain();
                let said =
                    Said { question, command, aliases, records, nxdomain, size: reply.size(), validation: worst };
                return Ok(Answer::new(said));
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

    /// The message that answers a question, without the aliases' ends that are asked for besides.
    async fn message(&self, name: &Name, rtype: RecordType) -> Result<Arc<[u8]>, Silence> {
        Ok(self.heard(Question { name: name.clone(), rtype, manner: Manner::Recursive }).await?.message)
    }

    async fn heard(&self, question: Question) -> Result<Heard, Silence> {
        self.replies.answer(question.clone(), || self.exchange(question)).await
    }

    /// Asks one server after the other, whatever way the one before failed.
    async fn exchange(&self, question: Question) -> Result<Heard, Silence> {
        self.allowance.take()?;
        let mut failures: Vec<Silence> = Vec::new();
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
                    return Ok(Heard { message: reply.message().into(), validation });
                }
                Err(_) if self.deadline.is_over() => return Err(self.deadline.reason()),
                Err(failure) if failures.contains(&failure) => {}
                Err(failure) => failures.push(failure),
            }
        }
        Err(Silence::of(failures))
    }
}

/// What must hold of every message that a server sends, and of every record in it, whatever it is said to answer.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(message: &[u8]) {
    let Some(question) = wire::echoed(message) else { return };
    let Some(Ok(reply)) = Reply::to(&question, message) else { return };
    assert!(reply.size() <= message.len());
    let _ = (reply.extended_error(), reply.fits(&question));
    let chain = reply.aliases(&question.name, LONGEST_CHAIN + 1);
    assert!(chain.len() <= LONGEST_CHAIN + 1);
    let end = chain.last().unwrap_or(&question.name);
    for record in reply.records(end, question.rtype) {
        let shown = presentation::presentation(&record);
        assert!(!shown.contains(char::is_control), "{shown:?}");
    }
    let _ = reply.leaves_open(end, question.rtype);
}

/// The same of one TLSA record.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_tlsa(data: &[u8]) {
    let Ok(length) = u16::try_from(data.len()) else { return };
    let head = [0, 0, 0x80, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 52, 0, 1, 0, 0, 52, 0, 1, 0, 0, 0, 0];
    let message = [&head[..], &length.to_be_bytes(), data].concat();
    let Some(question) = wire::echoed(&message) else { return };
    let Some(Ok(reply)) = Reply::to(&question, &message) else { return };
    for record in reply.records(&question.name, RecordType::TLSA) {
        let hickory_resolver::proto::rr::RData::TLSA(tlsa) = &record else { continue };
        let tlsa = crate::net::tls::Tlsa::of(tlsa);
        let _ = (tlsa.flaw(), tlsa.kind(), presentation::presentation(&record));
        assert_eq!(data.get(3..), Some(tlsa.data.as_slice()));
    }
}
