//! The way from a certificate to a trust anchor as OpenSSL, and so Postfix, walks it, and what stands in it.
//!
//! webpki gives the second opinion: it knows name constraints, but refuses what OpenSSL takes (a CA's certificate as
//! the server's own, version 1) and says too little about why.

use std::{
    ops::RangeInclusive,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    client::verify_server_cert_signed_by_trust_anchor,
    crypto::ring,
    pki_types::{CertificateDer, UnixTime},
    server::ParsedCertificate,
};
use syntax::text::{line, shortened};
use x509_parser::{
    error::X509Error,
    extensions::{GeneralSubtree, ParsedExtension},
    oid_registry::{OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA},
    prelude::{GeneralName, X509Certificate, X509Name, X509Version},
    public_key::PublicKey,
};

use super::{Anchors, Fault, Names, moment, parsed};

/// How much of a name is shown, in characters: names are as long as their owners like.
const LONGEST_SHOWN: usize = 200;

/// Postfix's `smtp_tls_scert_verifydepth`, 9, and the server's own certificate.
pub(super) const LONGEST_PATH: usize = 10;

/// More certificates than any server needs to send; a bomb of them is not worth the signatures.
const MOST_CERTIFICATES: usize = 32;

/// The RSA keys that ring checks signatures of, and so those that this tool can judge.
pub(super) const CHECKED_RSA: RangeInclusive<usize> = 2048..=8192;

/// Everything that stands between the first certificate of `chain` and trust at the time `now`.
pub(super) fn faults(chain: &[CertificateDer<'static>], anchors: &Anchors, now: SystemTime) -> Vec<Fault> {
    let mut sent = chain.iter().take(MOST_CERTIFICATES);
    let leaf = match sent.next().map(|leaf| (leaf, parsed(leaf))) {
        Some((leaf, Ok(certificate))) => Link { certificate, der: leaf, anchored: false },
        Some((_, Err(why))) => return vec![Fault::Unreadable(why)],
        None => return vec![Fault::Unreadable("none was sent".to_owned())],
    };
    let others = sent.filter_map(|der| Link::new(der, false)).collect();
    let path = Path::climbed(leaf, others, anchors, now);
    let mut faults = path.faults(now);
    if faults.iter().all(|fault| matches!(fault, Fault::WeakDigest { .. })) {
        faults.extend(path.second_opinion(chain, anchors, now));
    }
    faults
}

/// The certificates from the first of `chain` up, as far as there is a way, and how many of them are trust anchors.
pub(super) fn climbed(
    chain: &[CertificateDer<'static>],
    anchors: &Anchors,
    now: SystemTime,
) -> (Vec<CertificateDer<'static>>, usize) {
    let mut sent = chain.iter().take(MOST_CERTIFICATES);
    let Some(leaf) = sent.next().and_then(|leaf| Link::new(leaf, false)) else { return (Vec::new(), 0) };
    let path = Path::climbed(leaf, sent.filter_map(|der| Link::new(der, false)).collect(), anchors, now);
    let anchored = path.links.iter().filter(|link| link.anchored).count();
    (path.links.into_iter().map(|link| link.der.clone()).collect(), anchored)
}

/// Whether nobody stands above it.
pub(super) fn is_self_signed(der: &CertificateDer<'static>) -> bool {
    Link::new(der, false).is_some_and(|link| link.is_self_signed())
}

/// A certificate on the way, or one that may come to stand there.
#[derive(Clone)]
struct Link<'a> {
    certificate: X509Certificate<'a>,
    der: &'a CertificateDer<'static>,
    anchored: bool,
}

/// What a signature says about two certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Bond {
    Signed,
    /// For a reason that is ours.
    Unsure(String),
    Broken,
}

/// From the server's certificate up, as far as it goes, and what ended it there.
struct Path<'a> {
    links: Vec<Link<'a>>,
    end: Option<Fault>,
}

impl<'a> Link<'a> {
    fn new(der: &'a CertificateDer<'static>, anchored: bool) -> Option<Self> {
        parsed(der).ok().map(|certificate| Self { certificate, der, anchored })
    }

    fn subject(&self) -> String {
        shown(self.certificate.subject())
    }

    fn issuer(&self) -> String {
        shown(self.certificate.issuer())
    }

    fn bond(&self, issuer: &Self) -> Bond {
        let key = issuer.certificate.public_key();
        match self.certificate.verify_signature(Some(key)) {
            Ok(()) => Bond::Signed,
            Err(X509Error::SignatureUnsupportedAlgorithm) => {
                Bond::Unsure(format!("{} has a signature of an unknown kind", self.subject()))
            }
            Err(_) => match key.parsed() {
                Ok(PublicKey::RSA(rsa)) if !CHECKED_RSA.contains(&rsa.key_size()) => {
                    Bond::Unsure(format!("{} has an RSA key of {} bits", issuer.subject(), rsa.key_size()))
                }
                _ => Bond::Broken,
            },
        }
    }

    fn is_self_signed(&self) -> bool {
        self.certificate.subject().as_raw() == self.certificate.issuer().as_raw() && self.bond(self) != Bond::Broken
    }

    fn is_valid_at(&self, now: SystemTime) -> bool {
        let validity = self.certificate.validity();
        (moment(validity.not_before)..=moment(validity.not_after)).contains(&now)
    }

    /// OpenSSL's `X509_check_ca`: basic constraints, or, without any, key usage, or a root of version 1.
    fn may_issue(&self) -> bool {
        let certificate = &self.certificate;
        let signs = certificate.key_usage().ok().flatten().map(|usage| usage.value.key_cert_sign());
        match certificate.basic_constraints() {
            Ok(Some(constraints)) => constraints.value.ca && signs != Some(false),
            Ok(None) => signs.unwrap_or_else(|| certificate.version() == X509Version::V1 && self.is_self_signed()),
            Err(_) => false,
        }
    }

    fn is_constrained(&self) -> bool {
        !matches!(self.certificate.name_constraints(), Ok(None))
    }

    /// Whether its name constraints let it issue for this host name (RFC 5280 section 4.2.1.10).
    fn allows_host(&self, name: &str) -> bool {
        let Ok(Some(constraints)) = self.certificate.name_constraints() else { return !self.is_constrained() };
        let permitted = hosts(constraints.value.permitted_subtrees.as_deref());
        let excluded = hosts(constraints.value.excluded_subtrees.as_deref());
        (permitted.is_empty() || permitted.iter().any(|host| is_within(name, host)))
            && !excluded.iter().any(|host| is_within(name, host))
    }

    /// Where the CA says that its own certificate is to be had (RFC 5280 section 4.2.2.1).
    fn issuer_url(&self) -> Option<String> {
        const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";
        self.certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityInfoAccess(access) => {
                access.accessdescs.iter().find_map(|description| match &description.access_location {
                    GeneralName::URI(url) if description.access_method.to_id_string() == CA_ISSUERS => {
                        Some(shortened(url, LONGEST_SHOWN))
                    }
                    _ => None,
                })
            }
            _ => None,
        })
    }
}

impl<'a> Path<'a> {
    /// OpenSSL's order: an anchor before what was sent, and from the first anchor on anchors only.
    fn climbed(leaf: Link<'a>, others: Vec<Link<'a>>, anchors: &'a Anchors, now: SystemTime) -> Self {
        let alone = others.is_empty();
        let mut links = Vec::new();
        let mut top = leaf;
        loop {
            let name = top.certificate.issuer().as_raw();
            if top.is_self_signed() {
                let anchored = top.anchored || anchors.named(name).any(|anchor| anchor == top.der);
                let end = match anchored {
                    true => None,
                    false if links.is_empty() => Some(Fault::SelfSigned),
                    false => Some(Fault::UnknownRoot { root: top.subject() }),
                };
                links.push(Link { anchored, ..top });
                return Self { links, end };
            }
            if links.len() + 1 == LONGEST_PATH {
                links.push(top);
                return Self { links, end: Some(Fault::TooLong) };
            }
            let known = best(&top, anchors.named(name).filter_map(|der| Link::new(der, true)), now);
            let named = others.iter().filter(|other| other.certificate.subject().as_raw() == name).cloned();
            let found = match known {
                Some((Bond::Signed | Bond::Unsure(_), _)) => known,
                _ if top.anchored => known,
                _ => best(&top, named, now).or(known),
            };
            let end = match found {
                Some((Bond::Signed, issuer)) => {
                    links.push(std::mem::replace(&mut top, issuer));
                    continue;
                }
                Some((Bond::Unsure(why), _)) => Fault::Beyond(why),
                Some((Bond::Broken, issuer)) => Fault::OtherKey { issuer: issuer.subject(), of: top.subject() },
                None if top.anchored => Fault::NoRoot { anchor: top.subject(), root: top.issuer() },
                None => Fault::NoIssuer { issuer: top.issuer(), of: top.subject(), alone, offered: top.issuer_url() },
            };
            links.push(top);
            return Self { links, end: Some(end) };
        }
    }

    fn faults(&self, now: SystemTime) -> Vec<Fault> {
        let mut faults: Vec<Fault> = self.end.iter().cloned().collect();
        for (height, link) in self.links.iter().enumerate() {
            let ca = (height > 0).then(|| link.subject());
            let validity = link.certificate.validity();
            if moment(validity.not_after) < now {
                faults.push(Fault::Expired { ca: ca.clone(), since: moment(validity.not_after) });
            }
            if moment(validity.not_before) > now {
                faults.push(Fault::NotYetValid { ca, until: moment(validity.not_before) });
            }
            if height == 0 && !is_for_servers(&link.certificate) {
                faults.push(Fault::NotForServers);
            }
            if height > 0
                && !(link.may_issue() && is_extended_to_servers(&link.certificate) && allows_below(link, height - 1))
            {
                faults.push(Fault::NotAnIssuer { issuer: link.subject() });
            }
            if !link.anchored && has_weak_digest(link) {
                faults.push(Fault::WeakDigest { of: link.subject() });
            }
            faults.extend(unknown_extension(link));
        }
        faults.extend(self.excludes_common_names().then_some(Fault::NameConstraints));
        faults
    }

    /// Whether a CA on the way may not issue for the common names by which hosts are known: webpki does not look at those,
    /// OpenSSL does (its NAME_CONSTRAINTS_check_CN).
    fn excludes_common_names(&self) -> bool {
        let Some((leaf, issuers)) = self.links.split_first() else { return false };
        let names = Names::of(&leaf.certificate);
        names.are_common() && issuers.iter().any(|issuer| names.all().iter().any(|name| !issuer.allows_host(name)))
    }

    /// Where we found nothing, webpki may. What it refuses on principle does not count.
    fn second_opinion(&self, chain: &[CertificateDer<'static>], anchors: &Anchors, now: SystemTime) -> Option<Fault> {
        let (leaf, intermediates) = chain.split_first()?;
        let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        let algorithms = ring::default_provider().signature_verification_algorithms.all;
        let error = ParsedCertificate::try_from(leaf)
            .and_then(|leaf| {
                verify_server_cert_signed_by_trust_anchor(&leaf, anchors.roots(), intermediates, now, algorithms)
            })
            .err()?;
        if self.links.iter().any(Link::is_constrained) {
            return Some(Fault::NameConstraints);
        }
        (!self.is_refused_on_principle()).then(|| Fault::Beyond(error.to_string()))
    }

    fn is_refused_on_principle(&self) -> bool {
        let alone = self.links.len() == 1;
        let leaf_is_ca = self.links.first().is_some_and(|leaf| leaf.certificate.is_ca());
        let odd = |link: &Link| link.certificate.version() != X509Version::V3 || has_weak_digest(link);
        alone || leaf_is_ca || self.links.iter().any(odd)
    }
}

/// The host names among the subtrees.
fn hosts<'c>(subtrees: Option<&[GeneralSubtree<'c>]>) -> Vec<&'c str> {
    let hosts = subtrees.unwrap_or_default().iter().filter_map(|subtree| match subtree.base {
        GeneralName::DNSName(host) => Some(host),
        _ => None,
    });
    hosts.collect()
}

/// Whether a host name is `domain` or below it; every name is below nothing.
fn is_within(name: &str, domain: &str) -> bool {
    let domain = domain.strip_prefix('.').unwrap_or(domain);
    let split = name.len().checked_sub(domain.len()).and_then(|at| name.split_at_checked(at));
    split.is_some_and(|(below, end)| {
        end.eq_ignore_ascii_case(domain) && (domain.is_empty() || below.is_empty() || below.ends_with('.'))
    })
}

/// The best of the certificates that bear the issuer's name: one that signed, and is valid now.
fn best<'a>(
    issued: &Link<'a>,
    candidates: impl Iterator<Item = Link<'a>>,
    now: SystemTime,
) -> Option<(Bond, Link<'a>)> {
    candidates.map(|candidate| (issued.bond(&candidate), candidate)).min_by_key(|(bond, candidate)| {
        (matches!(bond, Bond::Broken), bond != &Bond::Signed, !candidate.is_valid_at(now))
    })
}

/// Whether extended key usage allows servers; with none, everything is allowed (RFC 5280 section 4.2.1.12).
fn is_extended_to_servers(certificate: &X509Certificate<'_>) -> bool {
    match certificate.extended_key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.server_auth),
        Err(_) => false,
    }
}

/// OpenSSL's X509_PURPOSE_SSL_SERVER.
pub(super) fn is_for_servers(certificate: &X509Certificate<'_>) -> bool {
    let usage = match certificate.key_usage() {
        Ok(usage) => usage.map(|usage| usage.value),
        Err(_) => return false,
    };
    let fits = usage.is_none_or(|usage| usage.digital_signature() || usage.key_encipherment() || usage.key_agreement());
    fits && is_extended_to_servers(certificate)
}

/// pathLenConstraint counts the CA certificates below (RFC 5280 section 4.2.1.9).
fn allows_below(link: &Link<'_>, below: usize) -> bool {
    let limit = link.certificate.basic_constraints().ok().flatten().and_then(|found| found.value.path_len_constraint);
    limit.is_none_or(|limit| usize::try_from(limit).is_ok_and(|limit| below <= limit))
}

fn has_weak_digest(link: &Link<'_>) -> bool {
    let algorithm = &link.certificate.signature_algorithm.algorithm;
    *algorithm == OID_PKCS1_SHA1WITHRSA || *algorithm == OID_SHA1_WITH_RSA
}

fn unknown_extension(link: &Link<'_>) -> Option<Fault> {
    let unknown = |extension: &&x509_parser::prelude::X509Extension<'_>| {
        extension.critical && extension.parsed_extension().unsupported()
    };
    link.certificate
        .extensions()
        .iter()
        .find(unknown)
        .map(|extension| Fault::UnknownExtension { of: link.subject(), oid: extension.oid.to_id_string() })
}

/// A distinguished name in a sentence.
pub(super) fn shown(name: &X509Name<'_>) -> String {
    let text = line(&name.to_string());
    if text.is_empty() { "(no name)".to_owned() } else { shortened(&text, LONGEST_SHOWN) }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair,
        KeyUsagePurpose, NameConstraints, date_time_ymd,
    };

    use super::*;
    use crate::net::Deadline;

    const NOW: Duration = Duration::from_secs(1_795_000_000);

    /// A certificate, and what it needs to issue others.
    struct Made {
        der: CertificateDer<'static>,
        pem: String,
        params: CertificateParams,
        key: KeyPair,
    }

    /// Valid from 2026 to 2028, unless `change` says otherwise; by itself where no issuer is given.
    fn made(name: &str, issuer: Option<&Made>, change: impl Fn(&mut CertificateParams)) -> Made {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([format!("{name}.test")]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2028, 1, 1);
        change(&mut params);
        let certificate = match issuer {
            None => params.self_signed(&key).unwrap(),
            Some(issuer) => params.signed_by(&key, &Issuer::from_params(&issuer.params, &issuer.key)).unwrap(),
        };
        Made { der: certificate.der().clone(), pem: certificate.pem(), params, key }
    }

    fn authority(params: &mut CertificateParams) {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    }

    fn found(chain: &[&Made], anchors: &[&Made]) -> String {
        let file = std::env::temp_dir().join(format!(
            "mail-preflight-path-{}-{:?}.pem",
            std::process::id(),
            std::thread::current().id()
        ));
        fs::write(&file, anchors.iter().map(|anchor| anchor.pem.as_str()).collect::<String>()).unwrap();
        let anchors = Anchors::load(Some(&file), None, Deadline::after(Duration::from_secs(60))).unwrap();
        fs::remove_file(&file).unwrap();
        let chain: Vec<_> = chain.iter().map(|made| made.der.clone()).collect();
        let words = |fault: &Fault| format!("{}: {fault}", fault.word());
        faults(&chain, &anchors, UNIX_EPOCH + NOW).iter().map(words).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn what_openssl_trusts() {
        let root = made("root", None, authority);
        let between = made("between", Some(&root), authority);
        let stranger = made("stranger", None, authority);
        let leaf = made("leaf", Some(&between), |_| ());
        let direct = made("direct", Some(&root), |_| ());
        let authority_leaf = made("ca-leaf", Some(&root), |params| params.is_ca = authority_of_any());
        let own = made("own", None, |_| ());
        let own_authority = made("own-ca", None, |params| params.is_ca = authority_of_any());
        for (chain, anchor) in [
            (vec![&direct], &root),
            (vec![&leaf, &between], &root),
            (vec![&leaf, &between, &root], &root),
            (vec![&leaf, &stranger, &between], &root),
            (vec![&authority_leaf], &root),
            (vec![&own], &own),
            (vec![&own_authority], &own_authority),
        ] {
            assert_eq!(found(&chain, &[anchor]), "", "{}", chain[0].pem);
        }
    }

    fn authority_of_any() -> IsCa {
        IsCa::Ca(BasicConstraints::Unconstrained)
    }

    #[test]
    fn why_openssl_does_not_trust() {
        let root = made("root", None, authority);
        let stranger = made("stranger", None, authority);
        let impostor = made("root", None, authority);
        let between = made("between", Some(&root), authority);
        let old = made("old", Some(&root), |params| {
            authority(params);
            params.not_after = date_time_ymd(2026, 2, 1);
        });
        let layman = made("layman", Some(&root), |_| ());
        let last = made("last", Some(&root), |params| {
            authority(params);
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        });
        let below = made("below", Some(&last), authority);
        let leaf = |issuer| made("leaf", Some(issuer), |_| ());
        let own = made("own", None, |params| params.not_after = date_time_ymd(2026, 2, 1));
        let early = made("early", Some(&root), |params| params.not_before = date_time_ymd(2027, 6, 1));
        let client = made("client", Some(&root), |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        });
        for (chain, anchor, words) in [
            (vec![&own], &root, "self-signed: self-signed certificate; expired: expired since 2026-02-01T00:00:00Z"),
            (
                vec![&leaf(&between)],
                &root,
                "unknown-issuer: unknown issuer, CN=between was not sent and is not among the trust anchors: \
                 the intermediate certificate is missing, or its CA is not trusted",
            ),
            (
                vec![&leaf(&between), &between],
                &stranger,
                "unknown-issuer: unknown issuer, CN=root, which issued CN=between, was not sent and is not among the \
                 trust anchors",
            ),
            (
                vec![&leaf(&stranger), &stranger],
                &root,
                "unknown-root: unknown issuer, the self-signed root CN=stranger was sent but is not among the trust \
                 anchors",
            ),
            (
                vec![&leaf(&impostor)],
                &root,
                "unknown-issuer: unknown issuer, CN=leaf was not signed by the CN=root we know",
            ),
            (
                vec![&leaf(&between)],
                &between,
                "root-not-trusted: CN=between is among the trust anchors, its root CN=root is not",
            ),
            (vec![&leaf(&old), &old], &root, "expired: CA certificate CN=old expired since 2026-02-01T00:00:00Z"),
            (vec![&early], &root, "not-yet-valid: not valid before 2027-06-01T00:00:00Z"),
            (vec![&client], &root, "not-for-servers: not designated for use as a server certificate"),
            (vec![&leaf(&layman), &layman], &root, "not-an-issuer: CN=layman may not issue server certificates"),
            (vec![&leaf(&below), &below, &last], &root, "not-an-issuer: CN=last may not issue server certificates"),
            (vec![], &root, "unreadable: the certificate cannot be read: none was sent"),
        ] {
            assert_eq!(found(&chain, &[anchor]), words);
        }
    }

    #[test]
    fn name_constraints_hold_for_common_names_too() {
        let subtrees = |host: &str| vec![GeneralSubtree::DnsName(host.to_owned())];
        let nameless = |issuer: &Made| made("mx.example.test", Some(issuer), |params| params.subject_alt_names.clear());
        for (permitted, excluded, is_allowed) in [
            ("example.test", "other.test", true),
            ("mx.example.test", "y.mx.example.test", true),
            ("EXAMPLE.test", "xample.test", true),
            ("other.test", "third.test", false),
            ("xample.test", "third.test", false),
            ("example.test", "mx.example.test", false),
            ("test", "example.test", false),
        ] {
            let constrained = |params: &mut CertificateParams| {
                authority(params);
                let (permitted_subtrees, excluded_subtrees) = (subtrees(permitted), subtrees(excluded));
                params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees });
            };
            let (root, own) = (made("root", None, authority), made("own", None, constrained));
            let between = made("between", Some(&root), constrained);
            let words =
                if is_allowed { "" } else { "name-constraints: the name constraints of its CA exclude its names" };
            assert_eq!(found(&[&nameless(&between), &between], &[&root]), words, "{permitted}, not {excluded}");
            assert_eq!(found(&[&nameless(&own)], &[&own]), words, "{permitted}, not {excluded}");
        }
    }

    #[test]
    fn no_certificate_is_too_strange() {
        let garbage = CertificateDer::from(vec![0x30, 0x82, 0xff]);
        let anchors = Anchors::load(None, None, Deadline::after(Duration::from_secs(60))).unwrap();
        let words = faults(&[garbage], &anchors, UNIX_EPOCH + NOW);
        assert!(matches!(words.as_slice(), [Fault::Unreadable(_)]), "{words:?}");
        let old = made("old", None, |params| params.not_before = date_time_ymd(1955, 1, 1));
        assert_eq!(found(&[&old], &[&old]), "");
        let eternal = made("eternal", None, |params| params.not_before = date_time_ymd(9999, 12, 31));
        assert!(found(&[&eternal], &[&eternal]).starts_with("not-yet-valid: not valid before 9999-12-31"));
    }
}
