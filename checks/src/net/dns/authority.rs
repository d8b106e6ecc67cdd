//! One of a zone's own servers, asked without a resolver in between.

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::proto::rr::{RData, RecordType};
use syntax::{Name, zone::absolute};

use super::{Dns, Manner, Question, presentation::presentation, server::Server, wire::Reply};
use crate::{
    Evidence,
    net::{Deadline, Silence},
};

/// One of a zone's own servers.
pub(crate) struct Authority<'a> {
    address: IpAddr,
    server: Server,
    /// Whose allowance of questions this one's count against.
    dns: &'a Dns,
}

/// What such a server says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// The records, sorted, as in a zone file: none, a CNAME, or those asked for; and the serial of a SOA.
    Said(Vec<String>, Option<u32>),
    /// The name is in a zone below, of other servers.
    Delegated,
    /// It does not speak for the zone: how that shows.
    Lame(String),
    /// This machine has no way to it.
    NoRoute(String),
    /// It could not be found out.
    Silent(Silence),
}

impl<'a> Authority<'a> {
    /// The server that DNS says is at `address`, reached at `socket`.
    pub(crate) fn new(address: IpAddr, socket: SocketAddr, dns: &'a Dns) -> Self {
        Self { address, server: Server::new(socket), dns }
    }

    /// What it says about the records of type `rtype` at `name`.
    pub(crate) async fn ask(&self, name: &Name, rtype: RecordType) -> (Word, Evidence) {
        let question = Question { name: name.clone(), rtype, manner: Manner::Direct };
        let word = match self.dns.allowance.take() {
            Ok(()) => self.word(&question).await,
            Err(why) => Word::Silent(why),
        };
        let output = match &word {
            Word::Said(records, _) if records.is_empty() => "(nothing)".to_owned(),
            Word::Said(records, _) => records.join("\n"),
            Word::Delegated => "(a referral)".to_owned(),
            Word::Lame(why) | Word::NoRoute(why) => format!("({why})"),
            Word::Silent(why) => format!("({why})"),
        };
        (word, Evidence { command: format!("dig @{} +norecurse +short {question}", self.address), output }.abridged())
    }

    async fn word(&self, question: &Question) -> Word {
        let deadline = self.dns.deadline;
        match self.server.ask(question, deadline).await {
            Ok(reply) if reply.is_authoritative() => said(&reply, &question.name, question.rtype),
            Ok(_) => Word::Lame("answers without authority (no AA bit)".to_owned()),
            Err(failure) => failed(&failure, deadline),
        }
    }
}

fn said(reply: &Reply, name: &Name, rtype: RecordType) -> Word {
    let found = reply.records(name, rtype);
    let serial = found.iter().find_map(|record| match record {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    });
    let mut records: Vec<String> = match reply.aliases(name, 1).first() {
        Some(target) if found.is_empty() => vec![format!("CNAME {}", absolute(target))],
        _ => found.iter().map(presentation).collect(),
    };
    records.sort();
    Word::Said(records, serial)
}

fn failed(failure: &Silence, deadline: Deadline) -> Word {
    match failure {
        Silence::Referral => Word::Delegated,
        Silence::Code(Silence::REFUSED | Silence::NOT_AUTHORITATIVE, _) => Word::Lame(format!("answers {failure}")),
        Silence::Unreachable(_) => Word::NoRoute(failure.to_string()),
        _ if deadline.is_over() => Word::Silent(deadline.reason()),
        _ => Word::Silent(failure.clone()),
    }
}
