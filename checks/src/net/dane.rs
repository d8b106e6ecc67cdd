//! The TLSA records of a host and port, as an SMTP client looks for them (RFC 7672 section 2.2).

use futures_util::future::{join, join_all};
use hickory_resolver::proto::rr::RecordType;
use syntax::Name;

use super::{
    NoAnswer,
    dns::{Answer, Validation},
    tls::Tlsa,
};
use crate::Context;

/// What DNS says of DANE at one host and port.
pub(crate) struct Published {
    /// The TLSA base domain: the host, or where its secure CNAME leads (RFC 7672 section 2.2.3).
    pub(crate) base: Name,
    /// Where the records are, `_25._tcp.mail.example.com`.
    pub(crate) owner: Name,
    /// What the resolver says of the signatures of the host's addresses: clients look no further unless they are secure.
    pub(crate) addresses: Validation,
    /// The TLSA records.
    pub(crate) answer: Result<Answer, NoAnswer>,
    pub(crate) records: Vec<Tlsa>,
}

impl Published {
    /// What the resolver says of the signatures on the whole way; nothing where there is no answer.
    pub(crate) fn validation(&self) -> Option<Validation> {
        self.answer.as_ref().ok().map(|answer| answer.validation().max(self.addresses))
    }
}

/// The TLSA records of `port` at `host`; none where the host has no known address, which is not DANE's business.
pub(crate) async fn published(cx: &Context, host: &Name, port: u16) -> Option<Published> {
    let owner = |base: &Name| base.child(&format!("_{port}._tcp")).ok();
    let owner_of_host = owner(host)?;
    let addresses = join_all(cx.families().map(|family| cx.net.dns.ask(host, family.record_type())));
    let (answers, at_host) = join(addresses, cx.net.dns.ask(&owner_of_host, RecordType::TLSA)).await;
    let answers: Vec<Answer> = answers.into_iter().flatten().filter(|answer| !answer.is_empty()).collect();
    let addresses = answers.iter().map(Answer::validation).max()?;
    // The end of a secure alias comes first (RFC 7672 section 2.2.3).
    let end = answers.iter().find_map(|answer| answer.aliases().last()).filter(|_| addresses == Validation::Secure);
    let (mut base, mut place, mut answer) = (host, owner_of_host, at_host);
    if let Some((end, owner)) = end.and_then(|end| Some((end, owner(end)?))) {
        let at_end = cx.net.dns.ask(&owner, RecordType::TLSA).await;
        if !at_end.as_ref().is_ok_and(Answer::is_empty) {
            (base, place, answer) = (end, owner, at_end);
        }
    }
    let records = answer.as_ref().map(Answer::certificates).unwrap_or_default();
    Some(Published { base: base.clone(), owner: place, addresses, answer, records })
}
