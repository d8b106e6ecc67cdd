//! `dkim.signature`: whether receivers can verify the signatures of the message, and what they are worth.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hickory_resolver::proto::rr::RecordType;
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DkimResult, DnsError, Error,
    common::{
        crypto::{Algorithm, HashAlgorithm},
        headers::{Header, Writable},
    },
    dkim::{DkimError, Signature},
};

use super::{MOST_SIGNATURES, Message, given, is_named, signer, tags, verified};
use crate::{Abstain, Context, Evidence, Finding, Fix, Name, Status, finding::operand};

/// A signature that expires sooner may do so in a queue.
const SOON: Duration = Duration::from_secs(24 * 60 * 60);

/// How far clocks may differ.
const SKEW: Duration = Duration::from_secs(300);

/// The findings of `dkim.signature`, one for each key that signed.
pub(crate) async fn signatures(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    let message = given(cx)?;
    let author = message.author_domain();
    let Some(parsed) = prepared(message) else { return Ok(vec![Finding::fail("the message has no header")]) };
    let Some(outputs) = verified(cx, &parsed).await else {
        return Ok(vec![Finding::unknown("the message could not be judged on this machine: no socket on loopback")]);
    };
    let malformed = parsed.errors.iter().filter(|error| is_named(error.name, "DKIM-Signature"));
    let mut findings: Vec<Finding> = malformed
        .take(MOST_SIGNATURES)
        .map(|error| {
            let fix = Fix::Advice("Let the signer write a DKIM-Signature as RFC 6376 section 3.5 has it".to_owned());
            let finding = Finding::fail(format!("the DKIM-Signature field cannot be read: {}", error.header));
            finding.about(place(error.value)).saw([shown(message, error.value)]).fix(fix)
        })
        .collect();
    let outputs: Vec<_> = outputs.iter().filter(|output| output.signature().is_some()).collect();
    let is_aligned = |signature: &Signature| author.as_ref().is_some_and(|author| aligned(&signature.d, author));
    let any_aligned = parsed.dkim_headers.iter().any(|header| is_aligned(&header.header));
    for (header, output) in parsed.dkim_headers.iter().zip(outputs) {
        let signature = &header.header;
        let mut finding = match output.result() {
            DkimResult::TempError(_) => unanswered(cx, signature).await,
            _ => judged(cx, &parsed, header, output),
        };
        let unaligned = finding.status == Status::Pass && !any_aligned;
        if let Some(author) = author.as_ref().filter(|_| unaligned) {
            finding.status = Status::Warn;
            finding.message = format!("{}, but d={} is not aligned with From {author}", finding.message, signature.d);
            finding = finding.fix(Fix::Advice(format!("Sign with a key of {author} too: DMARC counts no other")));
        }
        findings.push(
            finding
                .fact("domain", signature.d.clone())
                .fact("selector", signature.s.clone())
                .fact("algorithm", algorithm(signature.a))
                .fact("result", if refusal(cx, header).is_some() { "permerror" } else { word(output.result()) })
                .fact("aligned", is_aligned(signature))
                .fact("signed", signature.h.clone())
                .fact(
                    "oversigned",
                    from_count(signature) > parsed.headers.iter().filter(|(name, _)| is_named(name, "From")).count(),
                )
                .saw([shown(message, header.value)])
                .about(place(header.value)),
        );
    }
    if findings.is_empty() {
        let fix =
            Fix::Advice("Let a milter of Postfix sign what is sent (smtpd_milters and non_smtpd_milters)".to_owned());
        let unsigned = Finding::fail("the message has no DKIM-Signature").fix(fix);
        return Ok(vec![match author {
            Some(author) => unsigned.about(author),
            None => unsigned,
        }]);
    }
    Ok(merged(findings))
}

/// The message as mail-auth is to see it: expiry is judged by our clock, and `l=` counts canonical octets.
pub(super) fn prepared(message: &Message) -> Option<AuthenticatedMessage<'_>> {
    let mut parsed = message.parsed()?;
    parsed.dkim_headers.truncate(MOST_SIGNATURES);
    let body = parsed.octets_of_body();
    for at in 0..parsed.dkim_headers.len() {
        let Some(header) = parsed.dkim_headers.get_mut(at) else { continue };
        header.header.x = 0;
        // Reports (RFC 6651) and third parties (RFC 6541) are no part of the verdict; they would only be asked about.
        (header.header.r, header.header.atps) = (false, None);
        let Some(length) = body_length(header) else { continue };
        // `l=0` is a length too; mail-auth takes it for none.
        header.header.l = if length == 0 { u64::MAX } else { length };
        let (canonical, hash) = (header.header.cb, HashAlgorithm::from(header.header.a));
        let mut text = Vec::new();
        canonical.canonical_body(body, 0).write(&mut text);
        text.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        let digest = hash.hash(text.as_slice()).as_ref().to_vec();
        let l = header.header.l;
        parsed.body_hashes.retain(|(c, h, known, _)| (c, h, *known) != (&canonical, &hash, l));
        parsed.body_hashes.push((canonical, hash, l, digest));
    }
    Some(parsed)
}

/// What counts for DMARC: what mail-auth verified, less what we refuse.
pub(super) fn accepted<'m>(
    cx: &Context,
    parsed: &'m AuthenticatedMessage<'m>,
    outputs: Vec<DkimOutput<'m>>,
) -> Vec<DkimOutput<'m>> {
    let signed = outputs.into_iter().filter(|output| output.signature().is_some());
    let headers = parsed.dkim_headers.iter();
    signed.zip(headers).filter(|(_, header)| refusal(cx, header).is_none()).map(|(output, _)| output).collect()
}

/// The body's raw octets.
trait Body<'x> {
    fn octets_of_body(&self) -> &'x [u8];
}

impl<'x> Body<'x> for AuthenticatedMessage<'x> {
    fn octets_of_body(&self) -> &'x [u8] {
        self.raw_message.get(self.body_offset as usize..).unwrap_or_default()
    }
}

/// What `bh=` is about, and `l=` counts.
fn canonical_body(parsed: &AuthenticatedMessage<'_>, signature: &Signature) -> Vec<u8> {
    let mut text = Vec::new();
    signature.cb.canonical_body(parsed.octets_of_body(), 0).write(&mut text);
    text
}

/// One signature: what we know better than mail-auth first, then what it says, then what a valid one is worth.
fn judged(
    cx: &Context,
    parsed: &AuthenticatedMessage<'_>,
    header: &Header<'_, Signature>,
    output: &DkimOutput<'_>,
) -> Finding {
    let signature = &header.header;
    if let Some((reason, advice)) = refusal(cx, header) {
        return Finding::fail(reason).fix(Fix::Advice(advice.to_owned()));
    }
    let needs = |what: &str, owner| Finding::from(Abstain::Needs(what.to_owned(), owner));
    let broken = match output.result() {
        DkimResult::Pass => return worth(cx, parsed, header),
        DkimResult::Neutral(error)
        | DkimResult::Fail(error)
        | DkimResult::PermError(error)
        | DkimResult::TempError(error) => error,
        DkimResult::None => return Finding::unknown("the signature was not judged"),
    };
    let (reason, advice) = match broken {
        Error::Dns(DnsError::RecordNotFound(_)) => return needs("the key record", "dkim.record"),
        Error::Dkim(DkimError::RevokedPublicKey) => return needs("a key that is not revoked", "dkim.revoked"),
        Error::Dns(DnsError::InvalidRecordType) => return needs("a record without mistakes", "dkim.syntax"),
        Error::Dkim(DkimError::FailedBodyHashMatch) => (
            "the body is not the one that was signed (bh=)".to_owned(),
            "Sign after whatever changes the body (footers, virus scanners, list software), and save the message unchanged",
        ),
        Error::Dkim(DkimError::FailedAuidMatch) => (
            format!("i={} is not at {} itself, which the key's t=s demands", signature.i, signature.d),
            "Take t=s out of the key record, or sign with d= of the address in i=",
        ),
        Error::Crypto(_) => (
            format!(
                "it does not verify with the key of {}: a signed field was changed, or the signer has another key",
                signature.s
            ),
            "Publish the key that the signer uses (--dkim-key compares them), and sign after whatever changes the header",
        ),
        other => (format!("the signature does not verify: {other}"), "Let the signer sign anew"),
    };
    Finding::fail(reason).fix(Fix::Advice(advice.to_owned()))
}

/// DNS did not answer: not in time for the verifier, or not at all.
async fn unanswered(cx: &Context, signature: &Signature) -> Finding {
    let name: Result<Name, _> = format!("{}._domainkey.{}", signature.s, signature.d).parse();
    if let Ok(name) = name
        && cx.net.dns.ask(&name, RecordType::TXT).await.is_ok()
    {
        return Finding::unknown("the key record came too late to verify with");
    }
    Abstain::Needs("the key record".to_owned(), "dkim.record").into()
}

/// Why verifiers refuse a signature whatever its octets are, and what to do.
fn refusal(cx: &Context, header: &Header<'_, Signature>) -> Option<(String, &'static str)> {
    let signature = &header.header;
    if signature.a == Algorithm::RsaSha1 {
        return Some(("a=rsa-sha1: verifiers take no SHA-1".to_owned(), "Let the signer use rsa-sha256"));
    }
    if from_count(signature) == 0 {
        let reason = format!("From is not signed (h={})", signature.h.join(":"));
        return Some((reason, "Let the signer sign From (RFC 6376 section 5.4): without it the signature is invalid"));
    }
    let expiry = expiry(header)?;
    if expiry <= time(signature.t) && signature.t != 0 {
        return Some(("x= is not later than t=".to_owned(), "Let signatures expire after some days, or never"));
    }
    let ago = cx.now.duration_since(expiry).ok()?;
    let ago = humantime::format_duration(Duration::from_secs(ago.as_secs()));
    Some((
        format!("the signature expired {ago} ago (x=)"),
        "Let signatures expire after some days, or never; send again",
    ))
}

/// A signature that verifies.
fn worth(cx: &Context, parsed: &AuthenticatedMessage<'_>, header: &Header<'_, Signature>) -> Finding {
    let signature = &header.header;
    let mut warnings = Vec::new();
    if let Some(length) = body_length(header) {
        let body = canonical_body(parsed, signature).len();
        warnings.push((
            format!("l={length} of a body of {body} octets: whoever adds to it keeps the signature valid"),
            "Let the signer leave l= out (RFC 6376 section 8.2)",
        ));
    }
    if let Some(left) = expiry(header).and_then(|expiry| expiry.duration_since(cx.now).ok()).filter(|left| *left < SOON)
    {
        let left = humantime::format_duration(Duration::from_secs(left.as_secs()));
        warnings.push((
            format!("it expires in {left} (x=), mail may stay in a queue for days"),
            "Let signatures expire after some days, or never",
        ));
    }
    if time(signature.t) > cx.now + SKEW {
        warnings.push(("it is dated in the future (t=)".to_owned(), "Set the signer's clock"));
    }
    let from = parsed.headers.iter().filter(|(name, _)| is_named(name, "From")).count();
    let oversigned = if from_count(signature) > from { "" } else { "; From is signed once, a second could be added" };
    let verified = format!("verifies with the published key ({}){oversigned}", algorithm(signature.a));
    match warnings.as_slice() {
        [] => Finding::pass(verified),
        [(_, advice), ..] => {
            let said: Vec<&str> = warnings.iter().map(|(said, _)| said.as_str()).collect();
            Finding::warn(format!("verifies, but {}", said.join("; "))).fix(Fix::Advice((*advice).to_owned()))
        }
    }
}

/// Several signatures with one key are one finding: its verdict is the worst.
fn merged(findings: Vec<Finding>) -> Vec<Finding> {
    let mut kept: Vec<Finding> = Vec::new();
    for finding in findings {
        match kept.iter_mut().find(|known| known.subject == finding.subject) {
            Some(known) => {
                let said = format!("{}; another signature: {}", known.message, finding.message);
                let evidence = [known.evidence.clone(), finding.evidence.clone()].concat();
                if finding.status > known.status {
                    *known = finding;
                }
                (known.message, known.evidence) = (said, evidence);
            }
            None => kept.push(finding),
        }
    }
    kept
}

/// Relaxed alignment by the public suffix list; `dmarc.message` walks the tree as RFC 9989 does.
fn aligned(domain: &str, author: &Name) -> bool {
    let organizational = |name: &Name| name.registrable().unwrap_or_else(|| name.clone());
    domain.parse().is_ok_and(|domain| organizational(&domain) == organizational(author))
}

/// The subject: where the key of a DKIM-Signature field is due.
fn place(value: &[u8]) -> String {
    signer(value)
        .map_or_else(|| "DKIM-Signature".to_owned(), |(selector, domain)| format!("{selector}._domainkey.{domain}"))
}

fn shown(message: &Message, value: &[u8]) -> Evidence {
    let value = String::from_utf8_lossy(value);
    let value: Vec<&str> = value.split_whitespace().collect();
    let command = format!("grep -i -A 9 '^dkim-signature:' {}", operand(&message.file));
    Evidence { command, output: format!("DKIM-Signature: {}", value.join(" ")) }
}

/// How often From is signed: once more than it is there, nobody can add another (RFC 6376 section 8.15).
fn from_count(signature: &Signature) -> usize {
    signature.h.iter().filter(|name| name.trim().eq_ignore_ascii_case("from")).count()
}

fn number(header: &Header<'_, Signature>, tag: &str) -> Option<u64> {
    tags(header.value)?.get(tag)?.parse().ok()
}

fn body_length(header: &Header<'_, Signature>) -> Option<u64> {
    number(header, "l")
}

fn expiry(header: &Header<'_, Signature>) -> Option<SystemTime> {
    number(header, "x").map(time)
}

/// Seconds since 1970; what no clock can carry is the far future.
fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.min(u64::from(u32::MAX)))
}

fn algorithm(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RsaSha1 => "rsa-sha1",
        Algorithm::RsaSha256 => "rsa-sha256",
        Algorithm::Ed25519Sha256 => "ed25519-sha256",
    }
}

/// The words of RFC 8601 section 2.7.1.
fn word(result: &DkimResult) -> &'static str {
    match result {
        DkimResult::Pass => "pass",
        DkimResult::Neutral(_) => "neutral",
        DkimResult::Fail(_) => "fail",
        DkimResult::PermError(_) => "permerror",
        DkimResult::TempError(_) => "temperror",
        DkimResult::None => "none",
    }
}
