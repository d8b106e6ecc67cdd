//! A TLSA record, and whether the chain that a server sent is the one it means.

use std::{collections::HashMap, fmt, time::SystemTime};

use hickory_resolver::proto::rr::rdata::TLSA;
use ring::digest::{SHA256, SHA512, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::{prelude::FromDer, x509::SubjectPublicKeyInfo};

use super::{Anchors, Fault, Session, Wanted, parsed, path};

/// A TLSA record (RFC 6698 section 2.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tlsa {
    pub(crate) usage: u8,
    pub(crate) selector: u8,
    pub(crate) matching: u8,
    pub(crate) data: Vec<u8>,
}

/// Why a usable record does not vouch for a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// It is about another certificate, or another key.
    Other,
    /// The trust anchor's certificate was not sent (RFC 7672 section 3.1.2).
    AnchorNotSent,
    /// The trust anchor was sent, and the way to it is broken.
    Path(Vec<Fault>),
    /// The trust anchor vouches, for other names.
    Names(Vec<String>),
    /// A bare public key as trust anchor, which we do not follow.
    Unclear,
}

impl Tlsa {
    pub(crate) const DANE_EE: u8 = 3;

    pub(crate) fn of(record: &TLSA) -> Self {
        Self {
            usage: record.cert_usage.into(),
            selector: record.selector.into(),
            matching: record.matching.into(),
            data: record.cert_data.clone(),
        }
    }

    /// `3 1 1` for the key of the server's certificate: what RFC 7672 section 3.1.1 recommends.
    pub(crate) fn recommended(session: &Session) -> Option<Self> {
        let leaf = session.chain.first()?;
        let (usage, selector, matching) = (Self::DANE_EE, 1, 1);
        Some(Self {
            usage,
            selector,
            matching,
            data: selected(leaf, selector).map(|octets| hashed(&octets, matching))??,
        })
    }

    /// Why no SMTP client can use it, if so (RFC 7672 section 3.1.3, RFC 6698 section 2.1).
    pub(crate) fn flaw(&self) -> Option<String> {
        let length = self.data.len();
        let is_readable = || match self.selector {
            0 => parsed(&CertificateDer::from(self.data.as_slice())).is_ok(),
            _ => SubjectPublicKeyInfo::from_der(&self.data).is_ok(),
        };
        match (self.usage, self.selector, self.matching) {
            (0, ..) => Some("PKIX-TA(0) is not for SMTP".to_owned()),
            (1, ..) => Some("PKIX-EE(1) is not for SMTP".to_owned()),
            (4.., ..) => Some(format!("the usage {} is unknown", self.usage)),
            (_, 2.., _) => Some(format!("the selector {} is unknown", self.selector)),
            (.., 3..) => Some(format!("the matching type {} is unknown", self.matching)),
            (.., 1) if length != 32 => Some(format!("{length} octets are no SHA2-256 digest, which has 32")),
            (.., 2) if length != 64 => Some(format!("{length} octets are no SHA2-512 digest, which has 64")),
            (.., 0) if !is_readable() => Some("its data is no certificate or public key".to_owned()),
            _ => None,
        }
    }

    /// `3 1 1`.
    pub(crate) fn kind(&self) -> String {
        format!("{} {} {}", self.usage, self.selector, self.matching)
    }

    fn is_of(&self, certificate: &CertificateDer<'_>) -> bool {
        let octets = selected(certificate, self.selector).and_then(|octets| hashed(&octets, self.matching));
        octets.is_some_and(|octets| octets == self.data)
    }
}

/// The usable ones of `records` that a client looks at: of those with the same usage and selector only the strongest
/// digests, and whole certificates and keys (RFC 7671 section 9).
pub(crate) fn considered(records: &[Tlsa]) -> Vec<Tlsa> {
    let usable: Vec<&Tlsa> = records.iter().filter(|record| record.flaw().is_none()).collect();
    let mut strongest: HashMap<(u8, u8), u8> = HashMap::new();
    for record in &usable {
        let best = strongest.entry((record.usage, record.selector)).or_default();
        *best = record.matching.max(*best);
    }
    usable
        .iter()
        .filter(|record| {
            record.matching == 0 || strongest.get(&(record.usage, record.selector)) == Some(&record.matching)
        })
        .map(|&record| record.clone())
        .collect()
}

impl Session {
    /// Whether the chain is the one that `record`, a usable one, means.
    ///
    /// # Errors
    /// Says why not.
    pub(crate) fn vouched(&self, record: &Tlsa, names: &[Wanted], now: SystemTime) -> Result<(), Mismatch> {
        let (leaf, others) = self.chain.split_first().ok_or(Mismatch::Other)?;
        if record.usage == Tlsa::DANE_EE {
            // Neither names nor dates matter (RFC 7672 section 3.1.1).
            return record.is_of(leaf).then_some(()).ok_or(Mismatch::Other);
        }
        let sent = others.iter().find(|certificate| record.is_of(certificate));
        let anchor = match (sent, record.selector, record.matching) {
            (Some(anchor), ..) => anchor.clone(),
            (None, 0, 0) => CertificateDer::from(record.data.clone()),
            (None, 1, 0) => return Err(Mismatch::Unclear),
            (None, ..) => return Err(Mismatch::AnchorNotSent),
        };
        let mut faults = path::faults(&self.chain, &Anchors::of(vec![anchor]), now);
        // An anchor needs no root above it, and OpenSSL does not look at the dates of one that is not its own issuer.
        let rootless = faults.iter().find_map(|fault| match fault {
            Fault::NoRoot { anchor, .. } => Some(anchor.clone()),
            _ => None,
        });
        faults.retain(|fault| match fault {
            Fault::NoRoot { .. } => false,
            Fault::Expired { ca, .. } | Fault::NotYetValid { ca, .. } => ca.is_none() || *ca != rootless,
            _ => true,
        });
        match (faults.is_empty(), self.names.matching(names)) {
            (true, Some(_)) => Ok(()),
            (true, None) => Err(Mismatch::Names(self.names.all())),
            (false, _) => Err(Mismatch::Path(faults)),
        }
    }
}

/// The certificate, or its SubjectPublicKeyInfo.
fn selected(certificate: &CertificateDer<'_>, selector: u8) -> Option<Vec<u8>> {
    match selector {
        0 => Some(certificate.to_vec()),
        1 => parsed(certificate).ok().map(|certificate| certificate.public_key().raw.to_vec()),
        _ => None,
    }
}

fn hashed(octets: &[u8], matching: u8) -> Option<Vec<u8>> {
    match matching {
        0 => Some(octets.to_vec()),
        1 => Some(digest(&SHA256, octets).as_ref().to_vec()),
        2 => Some(digest(&SHA512, octets).as_ref().to_vec()),
        _ => None,
    }
}

/// As a zone file has it.
impl fmt::Display for Tlsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind())?;
        self.data.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other => f.write_str("is about another certificate"),
            Self::AnchorNotSent => f.write_str("is about a trust anchor whose certificate the server does not send"),
            Self::Path(faults) => {
                let faults: Vec<String> = faults.iter().map(Fault::to_string).collect();
                write!(f, "is about a CA certificate that is sent, but: {}", faults.join("; "))
            }
            Self::Names(names) => {
                write!(f, "is about a CA certificate that is sent, but the server's is for {}", names.join(", "))
            }
            Self::Unclear => f.write_str("is a bare public key, which this tool does not follow"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlsa(usage: u8, selector: u8, matching: u8, length: usize) -> Tlsa {
        Tlsa { usage, selector, matching, data: vec![7; length] }
    }

    #[test]
    fn what_no_client_can_use() {
        for (record, flaw) in [
            (tlsa(3, 1, 1, 32), None),
            (tlsa(2, 0, 2, 64), None),
            (tlsa(0, 1, 1, 32), Some("PKIX-TA(0)")),
            (tlsa(1, 1, 1, 32), Some("PKIX-EE(1)")),
            (tlsa(4, 1, 1, 32), Some("usage 4")),
            (tlsa(3, 2, 1, 32), Some("selector 2")),
            (tlsa(3, 1, 3, 32), Some("matching type 3")),
            (tlsa(3, 1, 1, 20), Some("20 octets")),
            (tlsa(3, 1, 2, 32), Some("32 octets")),
            (tlsa(3, 1, 0, 32), Some("no certificate")),
            (tlsa(3, 0, 0, 0), Some("no certificate")),
        ] {
            let found = record.flaw();
            let fits = match flaw {
                None => found.is_none(),
                Some(flaw) => found.as_ref().is_some_and(|found| found.contains(flaw)),
            };
            assert!(fits, "{record}: {found:?}");
        }
    }

    #[test]
    fn the_stronger_digest_alone_counts() {
        let kinds = |records: &[Tlsa]| considered(records).iter().map(Tlsa::kind).collect::<Vec<_>>();
        assert_eq!(kinds(&[tlsa(3, 1, 1, 32), tlsa(3, 1, 2, 64)]), ["3 1 2"]);
        assert_eq!(kinds(&[tlsa(3, 1, 1, 32), tlsa(3, 0, 2, 64)]), ["3 1 1", "3 0 2"]);
        assert_eq!(kinds(&[tlsa(3, 1, 1, 32), tlsa(3, 1, 2, 32)]), ["3 1 1"]);
        assert_eq!(kinds(&[tlsa(3, 1, 1, 32), tlsa(3, 1, 1, 32), tlsa(1, 1, 1, 32)]).len(), 2);
    }
}
