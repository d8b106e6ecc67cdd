//! What Postfix asks of the TLS of one host: the security level, once DNS has had its say.

use std::{fmt, time::SystemTime};

use hickory_resolver::proto::rr::RecordType;
use syntax::{Host, Name, NextHop};

use super::{Endpoint, route::is_redirected};
use crate::{
    Context, Fingerprint, Match, TlsLevel,
    net::{
        dane::{Published, published},
        dns::Validation,
        tls::{Session, Tlsa, Trust, Wanted, considered},
    },
};

/// What Postfix asks of the TLS of one host.
#[derive(Clone, Debug)]
pub(crate) struct Demand {
    pub(crate) level: TlsLevel,
    pub(crate) proof: Proof,
    /// Whether the host is one that MX records name whose signatures nobody has validated: whoever forges DNS chooses it.
    pub(crate) is_forgeable: bool,
}

/// What has to be shown.
#[derive(Clone, Debug)]
pub(crate) enum Proof {
    /// No TLS.
    Cleartext,
    /// TLS if it is offered.
    Optional,
    /// TLS, with any certificate.
    Encrypted,
    /// A path to a trust anchor, and one of these names.
    Names(Vec<Wanted>),
    /// A certificate or key with one of these digests.
    Digests(Vec<Fingerprint>),
    /// A chain that one of these TLSA records vouches for. Where the host's name may be forged, the connection is called
    /// "Trusted" (smtp_tls_dane_insecure_mx_policy).
    Tlsa { records: Vec<Tlsa>, names: Vec<Wanted> },
    /// TLSA records that are not there, or could not be found out: what Postfix does then, where that is known.
    Unmet(Option<Outcome>),
}

/// What Postfix does with the mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Deliver,
    Defer,
    /// Delivers in clear.
    Fallback,
}

impl Demand {
    /// TLS if it is offered, as every host on the Internet asks of an MX.
    pub(crate) const OPPORTUNISTIC: Self = Self { level: TlsLevel::May, proof: Proof::Optional, is_forgeable: false };

    /// Whether mail goes in clear where there is no TLS.
    pub(crate) fn is_optional(&self) -> bool {
        matches!(self.proof, Proof::Cleartext | Proof::Optional)
    }

    /// Whether a certificate has to be the right one.
    pub(crate) fn is_matched(&self) -> bool {
        matches!(self.proof, Proof::Names(_) | Proof::Digests(_) | Proof::Tlsa { .. })
    }

    /// The word that Postfix logs, if that can be told: where the server has not proved that it holds the key, Postfix may
    /// end the handshake, and what the certificate says is nobody's word.
    pub(crate) fn trust(&self, session: &Session, now: SystemTime) -> Option<Trust> {
        let trust = self.trust_if_proved(session, now);
        (session.unproved.is_none() || trust == Trust::Untrusted).then_some(trust)
    }

    /// That a trusted chain with another name is "Untrusted" at `verify` and `secure` is so from Postfix 3.6 on; from 3.11
    /// on it is "Trusted", and deferred all the same.
    fn trust_if_proved(&self, session: &Session, now: SystemTime) -> Trust {
        let is_trusted = session.is_trusted(self.is_matched());
        match &self.proof {
            Proof::Names(names) if is_trusted && session.names.matching(names).is_some() => Trust::Verified,
            Proof::Digests(digests) if session.fingerprint(digests).is_some() => Trust::Verified,
            Proof::Tlsa { records, names } => {
                match (records.iter().any(|record| session.vouched(record, names, now).is_ok()), self.is_forgeable) {
                    (false, _) => Trust::Untrusted,
                    (true, true) => Trust::Trusted,
                    (true, false) => Trust::Verified,
                }
            }
            Proof::Names(_) | Proof::Digests(_) => Trust::Untrusted,
            _ if is_trusted => Trust::Trusted,
            _ => Trust::Untrusted,
        }
    }

    /// Whether the certificate has a name by which a password may be sent to `endpoint`: what the level looks for, and
    /// where forged DNS may have chosen the host, one that the user gave. A stranger's own host has an honest certificate.
    pub(super) fn is_named(&self, session: &Session, cx: &Context, endpoint: &Endpoint) -> bool {
        let has = |names: &[Wanted]| session.names.matching(names).is_some();
        match &self.proof {
            Proof::Digests(_) | Proof::Tlsa { .. } => true,
            Proof::Names(names) => has(names) && (!self.is_forgeable || has(&typed(cx, endpoint))),
            _ if self.is_forgeable => has(&typed(cx, endpoint)),
            _ => has(&wanted(cx, endpoint)),
        }
    }

    /// What Postfix does over this session, where that is known.
    pub(crate) fn outcome(&self, session: &Session, now: SystemTime) -> Option<Outcome> {
        match &self.proof {
            Proof::Unmet(outcome) => *outcome,
            _ if self.is_matched() => self.trust(session, now).map(|trust| match trust {
                Trust::Untrusted => Outcome::Defer,
                Trust::Trusted | Trust::Verified => Outcome::Deliver,
            }),
            _ => Some(Outcome::Deliver),
        }
    }
}

impl Outcome {
    /// One word for programs.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::Defer => "defer",
            Self::Fallback => "fallback",
        }
    }
}

/// The level, and which one it has come down to.
impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "level {}", self.level)?;
        match (self.level, &self.proof) {
            (TlsLevel::Dane, Proof::Optional) => f.write_str(" without TLSA records"),
            (TlsLevel::Dane, Proof::Encrypted) => f.write_str(" without usable TLSA records"),
            _ => Ok(()),
        }
    }
}

/// What Postfix asks of `endpoint`.
pub(super) async fn demanded(cx: &Context, endpoint: &Endpoint) -> Demand {
    let level = cx.target.tls.level;
    let domain = exchanger(cx, &endpoint.next_hop).await;
    let is_forgeable = domain.as_ref().is_some_and(|(_, validation)| *validation != Validation::Secure);
    let proof = match level {
        TlsLevel::None => Proof::Cleartext,
        TlsLevel::May => Proof::Optional,
        TlsLevel::Encrypt => Proof::Encrypted,
        TlsLevel::Fingerprint => Proof::Digests(cx.target.tls.matches.iter().filter_map(digest).collect()),
        TlsLevel::Verify | TlsLevel::Secure => Proof::Names(wanted(cx, endpoint)),
        TlsLevel::Dane | TlsLevel::DaneOnly => {
            by_tlsa(cx, endpoint, domain.map(|(domain, _)| domain), is_forgeable).await
        }
    };
    Demand { level, proof, is_forgeable }
}

/// The names by one of which the user knows `endpoint`, whatever DNS says: the next-hop's, those below it unless anybody
/// may register them, and those of `--tls-match`.
fn typed(cx: &Context, endpoint: &Endpoint) -> Vec<Wanted> {
    let typed = cx.target.tls.matches.iter().filter(|pattern| **pattern != Match::Hostname);
    let is_registry = matches!(&endpoint.next_hop.host, Host::Name(domain) if domain.is_public_suffix());
    let below = (!is_registry).then_some(Match::DotNextHop);
    let patterns = [Match::NextHop].into_iter().chain(below).chain(typed.cloned());
    patterns.filter_map(|pattern| name(&pattern, &endpoint.next_hop, &endpoint.host)).collect()
}

/// The names to look for in the certificate of `endpoint`: those of `--tls-match`, or the level's default. Where names are
/// not looked at, the host's.
fn wanted(cx: &Context, endpoint: &Endpoint) -> Vec<Wanted> {
    let policy = &cx.target.tls;
    let default: &[Match] = match policy.level {
        TlsLevel::Secure => &[Match::NextHop, Match::DotNextHop],
        _ => &[Match::Hostname],
    };
    let is_default = policy.matches.is_empty() || policy.level == TlsLevel::Fingerprint;
    let matches = if is_default { default } else { policy.matches.as_slice() };
    matches.iter().filter_map(|pattern| name(pattern, &endpoint.next_hop, &endpoint.host)).collect()
}

fn name(pattern: &Match, hop: &NextHop, host: &Host) -> Option<Wanted> {
    Some(match (pattern, host) {
        (Match::NextHop, _) => Wanted::Host(bare(&hop.host)),
        (Match::DotNextHop, _) => Wanted::Below(bare(&hop.host)),
        // OpenSSL takes a lone address for one.
        (Match::Hostname, Host::Address(address)) => Wanted::Address(*address),
        (Match::Hostname, Host::Name(name)) | (Match::Host(name), _) => Wanted::Host(name.to_string()),
        (Match::Below(name), _) => Wanted::Below(name.to_string()),
        (Match::Digest(_), _) => return None,
    })
}

fn digest(pattern: &Match) -> Option<Fingerprint> {
    match pattern {
        Match::Digest(digest) => Some(digest.clone()),
        _ => None,
    }
}

fn bare(host: &Host) -> String {
    match host {
        Host::Name(name) => name.to_string(),
        Host::Address(address) => address.to_string(),
    }
}

/// As Postfix's `dane_init` in smtp_tls_policy.c goes.
async fn by_tlsa(cx: &Context, endpoint: &Endpoint, domain: Option<Name>, is_forgeable: bool) -> Proof {
    let Endpoint { host, port, .. } = endpoint;
    let is_mandatory = cx.target.tls.level == TlsLevel::DaneOnly;
    let otherwise = |proof| if is_mandatory { Proof::Unmet(Some(Outcome::Defer)) } else { proof };
    let Host::Name(name) = host else { return otherwise(Proof::Optional) };
    let Some(published) = published(cx, name, *port).await else { return otherwise(Proof::Optional) };
    match (published.validation(), published.addresses) {
        (Some(_), _) if published.records.is_empty() => otherwise(Proof::Optional),
        // Postfix believes whatever its resolver says; what it would say there, we do not know.
        (Some(Validation::Untrusted), _) | (None, Validation::Untrusted) => Proof::Unmet(None),
        (Some(Validation::Insecure), _) | (None, Validation::Insecure) => otherwise(Proof::Optional),
        _ if is_forgeable && is_mandatory => Proof::Unmet(Some(Outcome::Defer)),
        (None, Validation::Secure) => Proof::Unmet(Some(Outcome::Defer)),
        (Some(Validation::Secure), _) => match considered(&published.records) {
            unusable if unusable.is_empty() => otherwise(Proof::Encrypted),
            records => {
                let names = reference_names(&published, domain.iter());
                Proof::Tlsa { records, names }
            }
        },
    }
}

/// The domain whose MX records led here, and what the resolver says of their signatures.
async fn exchanger(cx: &Context, hop: &NextHop) -> Option<(Name, Validation)> {
    let Host::Name(domain) = &hop.host else { return None };
    if hop.bracketed || is_redirected(cx, &hop.host, hop.port) {
        return None;
    }
    let answer = cx.net.dns.known(domain, RecordType::MX).await?;
    let validation = answer.validation();
    (!answer.is_empty()).then(|| (domain.clone(), validation))
}

/// The names that a certificate below a trust anchor may have (RFC 7672 section 3.2.2).
pub(crate) fn reference_names<'a>(published: &'a Published, domains: impl Iterator<Item = &'a Name>) -> Vec<Wanted> {
    [&published.base].into_iter().chain(domains).map(|name| Wanted::Host(name.to_string())).collect()
}
