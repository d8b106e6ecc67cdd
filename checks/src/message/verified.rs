//! Every signature of the message, verified once: what receivers make of it, before anybody says what it is worth.
//!
//! mail-auth verifies. It is lenient with fields and keys that the standard refuses, so those are judged here first, and it is
//! given one signature at a time, with the fields that this one names and the key that was found usable.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::join_all;
use mail_auth::{
    AuthenticatedMessage, DkimResult, Error, MessageAuthenticator, Parameters, ResolverCache, Txt,
    common::{
        crypto::{Algorithm, HashAlgorithm},
        headers::Header,
        parse::TxtRecordParser,
        verify::DomainKey,
    },
    dkim::{Canonicalization, DkimError},
};
use syntax::tags::shortened;

use super::{Message, body::Body, field::Signature};
use crate::{
    Abstain, Context,
    dkim::{Unusable, Usable, fetched},
    net::dns::Bridge,
};

/// Nobody signs more fields; each is looked for.
pub(super) const MOST_NAMES: usize = 200;

/// Many times what a signature takes, in octets.
const LONGEST_FIELD: usize = 65_536;

/// A signature field, and what receivers make of it.
#[derive(Debug)]
pub(super) struct Verified {
    /// Which field of the message it is.
    pub(super) at: usize,
    /// What it says, as far as it can be read.
    pub(super) says: Option<Signature>,
    pub(super) outcome: Outcome,
    /// How long the body is that `l=` counts in.
    pub(super) body: u64,
}

/// What receivers make of a signature.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It verifies; with `t=y` of the key it counts for nothing all the same.
    Verifies { is_testing: bool },
    /// It does not: why, and what to do.
    Fails { why: String, advice: &'static str, word: &'static str },
    /// Its key is absent or withdrawn, which another check tells of.
    Keyless(Abstain),
    /// Nobody answered what its key is.
    Silent,
    /// It could not be judged: why.
    Unjudged(String),
}

impl Outcome {
    /// What the standard refuses whatever the octets are.
    fn refused(why: impl Into<String>, advice: &'static str) -> Self {
        Self::Fails { why: why.into(), advice, word: "permerror" }
    }

    /// The word of RFC 8601 section 2.7.1.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Verifies { .. } => "pass",
            Self::Fails { word, .. } => word,
            Self::Keyless(_) => "permerror",
            Self::Silent => "temperror",
            Self::Unjudged(_) => "none",
        }
    }
}

/// The signatures of the message, the first [`MOST_SIGNATURES`](super::MOST_SIGNATURES) of them.
pub(super) async fn verified<'m>(cx: &Context, message: &'m Message) -> &'m [Verified] {
    message.verified.get_or_init(|| all(cx, message)).await
}

async fn all(cx: &Context, message: &Message) -> Vec<Verified> {
    let read: Vec<_> = message.signatures.iter().map(|at| (*at, read(message.value(*at)))).collect();
    let readable: Vec<&Signature> = read.iter().filter_map(|(_, says)| says.as_ref().ok()).collect();
    let bodies = Bodies::of(cx, message, &readable).await;
    let keys: HashMap<_, _> = readable.iter().map(|says| (&says.key, ())).collect();
    // All questions at once; the answers are remembered.
    join_all(keys.keys().map(async |key| fetched(cx, key).await.is_ok())).await;
    let positions = positions(message, &readable);
    let mut verified = Vec::new();
    for (at, says) in read {
        let (says, outcome, body) = match says {
            Err(outcome) => (None, outcome, 0),
            Ok(says) => match &bodies {
                None => (
                    Some(says),
                    Outcome::Unjudged(format!("the body was not hashed: {}", cx.net.dns.deadline().reason())),
                    0,
                ),
                Some(bodies) => {
                    let outcome = match refusal(cx, message, &says, bodies.of_form(says.signature.cb)) {
                        Some(outcome) => outcome,
                        None => one(cx, message, at, &says, bodies, &positions).await,
                    };
                    let body = bodies.of_form(says.signature.cb).map_or(0, |body| body.length);
                    (Some(says), outcome, body)
                }
            },
        };
        verified.push(Verified { at, says, outcome, body });
        tokio::task::yield_now().await;
    }
    verified
}

fn read(value: &[u8]) -> Result<Signature, Outcome> {
    if value.len() > LONGEST_FIELD {
        return Err(Outcome::Unjudged(format!(
            "a DKIM-Signature field of {} octets, {LONGEST_FIELD} are read",
            value.len()
        )));
    }
    Signature::read(value).map_err(|why| {
        let advice = "Let the signer write a DKIM-Signature as RFC 6376 section 3.5 has it";
        Outcome::refused(format!("the DKIM-Signature field cannot be read: {why}"), advice)
    })
}

/// The body in the canonical forms that signatures have it in.
struct Bodies {
    simple: Option<Body>,
    relaxed: Option<Body>,
}

impl Bodies {
    async fn of(cx: &Context, message: &Message, signatures: &[&Signature]) -> Option<Self> {
        let form = async |form| {
            let of_form: Vec<_> = signatures.iter().filter(|says| says.signature.cb == form).collect();
            let lengths: BTreeSet<u64> = of_form.iter().filter_map(|says| says.length).collect();
            match of_form.is_empty() {
                true => Some(None),
                false => Body::hashed(message.body(), form, &lengths, cx.net.dns.deadline()).await.map(Some),
            }
        };
        Some(Self { simple: form(Canonicalization::Simple).await?, relaxed: form(Canonicalization::Relaxed).await? })
    }

    fn of_form(&self, form: Canonicalization) -> Option<&Body> {
        match form {
            Canonicalization::Simple => self.simple.as_ref(),
            Canonicalization::Relaxed => self.relaxed.as_ref(),
        }
    }
}

/// Where the fields are that signatures name, by their name in lower case.
fn positions(message: &Message, signatures: &[&Signature]) -> HashMap<Vec<u8>, Vec<usize>> {
    let names = signatures.iter().flat_map(|says| says.signature.h.iter().take(MOST_NAMES));
    let mut positions: HashMap<Vec<u8>, Vec<usize>> =
        names.map(|name| (name.to_ascii_lowercase().into_bytes(), Vec::new())).collect();
    let mut name = Vec::new();
    for at in 0..message.fields.len() {
        name.clear();
        name.extend(message.name(at).iter().map(u8::to_ascii_lowercase));
        if let Some(known) = positions.get_mut(&name) {
            known.push(at);
        }
    }
    positions
}

/// Why verifiers refuse a signature whatever its octets and its key are.
fn refusal(cx: &Context, message: &Message, says: &Signature, body: Option<&Body>) -> Option<Outcome> {
    let signature = &says.signature;
    if signature.h.len() > MOST_NAMES {
        return Some(Outcome::Unjudged(format!("h= lists {} fields, {MOST_NAMES} are looked for", signature.h.len())));
    }
    if signature.a == Algorithm::RsaSha1 {
        return Some(Outcome::refused("a=rsa-sha1: verifiers take no SHA-1", "Let the signer use rsa-sha256"));
    }
    if super::signature::from_count(signature) == 0 {
        return Some(Outcome::refused(
            format!("From is not signed (h={})", signature.h.join(":")),
            "Let the signer sign From (RFC 6376 section 5.4): without it the signature is invalid",
        ));
    }
    if !says.identity.is_within(&says.domain) {
        return Some(Outcome::refused(
            format!(
                "i={} is neither {} nor below it, so the signature is invalid",
                shortened(&signature.i),
                says.domain
            ),
            "Let the signer write i= with the domain of d= or one below it (RFC 6376 section 3.5), or leave it out",
        ));
    }
    if let (Some(length), Some(body)) = (says.length, body)
        && length > body.length
    {
        return Some(Outcome::refused(
            format!("l= counts more octets than the body has ({}), so the signature is invalid", body.length),
            "Sign after whatever cuts the body, and let the signer leave l= out (RFC 6376 section 8.2)",
        ));
    }
    if let Some(line) = message.bare_cr {
        return Some(Outcome::refused(
            format!("line {line} of the message holds a CR without LF, which each verifier hashes in its own way"),
            "Send lines that end in CRLF, and no other CR (RFC 5322 section 2.3)",
        ));
    }
    expired(cx, says)
}

fn expired(cx: &Context, says: &Signature) -> Option<Outcome> {
    let expires = says.expires?;
    if says.signed.is_some_and(|signed| expires <= signed) {
        return Some(Outcome::refused("x= is not later than t=", "Let signatures expire after some days, or never"));
    }
    let ago = cx.now.duration_since(time(expires)).ok()?;
    let ago = humantime::format_duration(Duration::from_secs(ago.as_secs()));
    let advice = "Let signatures expire after some days, or never; send again";
    Some(Outcome::refused(format!("the signature expired {ago} ago (x=)"), advice))
}

/// Seconds since 1970; what no clock can carry is the far future.
pub(super) fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.min(u64::from(u32::MAX)))
}

/// A signature that nothing rules out but perhaps its key.
async fn one(
    cx: &Context,
    message: &Message,
    at: usize,
    says: &Signature,
    bodies: &Bodies,
    positions: &HashMap<Vec<u8>, Vec<usize>>,
) -> Outcome {
    let key = match fetched(cx, &says.key).await {
        Ok(key) => key,
        Err(Unusable::Silent) => return Outcome::Silent,
        Err(Unusable::Absent(abstain)) => return Outcome::Keyless(abstain),
        Err(Unusable::Refused(why)) => {
            return Outcome::refused(
                format!("verifiers do not use the key of {}: {why}", says.signature.s),
                "Publish a key that verifiers use for mail, and sign with it",
            );
        }
    };
    if let Some(outcome) = mismatch(says, &key) {
        return outcome;
    }
    let hash = bodies.of_form(says.signature.cb).and_then(|body| body.hash(says.length)).unwrap_or_default();
    match result(cx, message, at, says, hash, &key, positions).await {
        None => {
            Outcome::Unjudged("the signature could not be verified on this machine: no socket on loopback".to_owned())
        }
        Some(DkimResult::Pass) => Outcome::Verifies { is_testing: key.is_testing },
        Some(DkimResult::Neutral(error) | DkimResult::Fail(error) | DkimResult::PermError(error)) => {
            broken(says, &error)
        }
        Some(DkimResult::TempError(_) | DkimResult::None) => {
            Outcome::Unjudged("the signature was not judged".to_owned())
        }
    }
}

/// A key that is not for this signature.
fn mismatch(says: &Signature, key: &Usable) -> Option<Outcome> {
    let algorithm = super::signature::algorithm(says.signature.a);
    if algorithm.split('-').next() != Some(key.algorithm) {
        return Some(Outcome::refused(
            format!("a={algorithm}, but the key of {} is k={}", says.signature.s, key.algorithm),
            "Publish the key that the signer uses (--dkim-key compares them)",
        ));
    }
    (key.is_strict && says.identity != says.domain).then(|| Outcome::Fails {
        why: format!("i={} is not at {} itself, which the key's t=s demands", says.signature.i, says.domain),
        advice: "Take t=s out of the key record, or sign with d= of the address in i=",
        word: "fail",
    })
}

fn broken(says: &Signature, error: &Error) -> Outcome {
    match error {
        Error::Dkim(DkimError::FailedBodyHashMatch) => Outcome::Fails {
            why: "the body is not the one that was signed (bh=)".to_owned(),
            advice: "Sign after whatever changes the body (footers, virus scanners, list software), and save the message unchanged",
            word: "neutral",
        },
        Error::Crypto(_) => Outcome::Fails {
            why: format!(
                "it does not verify with the key of {}: a signed field was changed, or the signer has another key",
                says.signature.s
            ),
            advice: "Publish the key that the signer uses (--dkim-key compares them), and sign after whatever changes the header",
            word: "fail",
        },
        other => Outcome::refused(format!("the signature does not verify: {other}"), "Let the signer sign anew"),
    }
}

/// The one key that mail-auth may find.
struct OneKey(Txt);

impl ResolverCache<Box<str>, Txt> for OneKey {
    fn get<Q: ?Sized>(&self, _: &Q) -> Option<Txt> {
        Some(self.0.clone())
    }

    fn remove<Q: ?Sized>(&self, _: &Q) -> Option<Txt> {
        None
    }

    fn insert(&self, _: Box<str>, _: Txt, _: std::time::Instant) {}
}

/// What mail-auth says of one signature, of which it sees the fields that are signed and no others.
async fn result(
    cx: &Context,
    message: &Message,
    at: usize,
    says: &Signature,
    hash: &[u8],
    key: &Usable,
    positions: &HashMap<Vec<u8>, Vec<usize>>,
) -> Option<DkimResult> {
    let mut signature = says.signature.clone();
    // Expiry was judged by our clock; reports (RFC 6651) and third parties (RFC 6541) are no part of the verdict.
    (signature.x, signature.r, signature.atps) = (0, false, None);
    let mut signed: Vec<usize> = Vec::new();
    for name in &signature.h {
        let known = positions.get(name.to_ascii_lowercase().as_bytes()).map(Vec::as_slice).unwrap_or_default();
        // From the bottom up (RFC 6376 section 5.4.2).
        signed.extend(known.iter().rev().find(|at| !signed.contains(at)));
    }
    signed.sort_unstable();
    let parsed = AuthenticatedMessage {
        headers: signed.iter().map(|at| (message.name(*at), message.value(*at))).collect(),
        raw_message: &message.octets,
        body_hashes: vec![(signature.cb, HashAlgorithm::from(signature.a), signature.l, hash.to_vec())],
        dkim_headers: vec![Header::new(message.name(at), message.value(at), signature)],
        ..AuthenticatedMessage::default()
    };
    let key = DomainKey::parse(key.record.as_bytes()).ok()?;
    let cache = OneKey(Txt::DomainKey(Arc::new(key)));
    let bridge = Bridge::open(&cx.net.dns).await.ok()?;
    let authenticator = MessageAuthenticator(bridge.resolver()?);
    let outputs = authenticator.verify_dkim(Parameters::new(&parsed).with_txt_cache(&cache)).await;
    outputs.first().map(|output| output.result().clone())
}
