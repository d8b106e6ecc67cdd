//! The key that a signature names, as verifiers take it (RFC 6376 section 6.1.2).

use hickory_resolver::proto::rr::RecordType;
use syntax::Name;

use super::{
    key::{Key, is_strict},
    public::record_of,
    record::Record,
};
use crate::{Abstain, Context, Status};

/// A key that verifiers use.
pub(crate) struct Usable {
    /// The word of `k=`.
    pub(crate) algorithm: &'static str,
    /// `t=s`: it signs for no subdomain.
    pub(crate) is_strict: bool,
    /// `t=y`: what it signs counts as unsigned.
    pub(crate) is_testing: bool,
    /// A record with this key and nothing else.
    pub(crate) record: String,
}

/// Why there is none.
pub(crate) enum Unusable {
    /// Nobody answered.
    Silent,
    /// It is absent or withdrawn, which another check tells of.
    Absent(Abstain),
    /// It is there, and verifiers do not use it: why.
    Refused(String),
}

/// The key at `SELECTOR._domainkey.DOMAIN`.
pub(crate) async fn fetched(cx: &Context, name: &Name) -> Result<Usable, Unusable> {
    let answer = cx.net.dns.ask(name, RecordType::TXT).await.map_err(|_| Unusable::Silent)?;
    let absent = |what: &str, owner| Unusable::Absent(Abstain::Needs(what.to_owned(), owner));
    let record = match answer.texts().as_slice() {
        [text] => Record::read(text),
        [] => return Err(absent("the key record", "dkim.record")),
        _ => return Err(absent("one key record", "dkim.record")),
    };
    if record.is_revoked() {
        return Err(absent("a key that is not revoked", "dkim.revoked"));
    }
    if let Some(fault) = record.fault() {
        return Err(Unusable::Refused(format!("{fault}, see dkim.syntax")));
    }
    let key = Key::parse(&record).map_err(Unusable::Refused)?;
    match key.status() {
        Status::Fail => Err(Unusable::Refused(key.sentence())),
        _ => Ok(Usable {
            algorithm: key.algorithm(),
            is_strict: is_strict(&record),
            is_testing: key.testing,
            record: record_of(key.public()),
        }),
    }
}
