//! `dkim.signature`: whether receivers can verify the signatures of the message, and what they are worth.

use std::time::Duration;

use mail_auth::{common::crypto::Algorithm, dkim};
use syntax::{Name, shell, tags::shortened};

use super::{
    MOST_SIGNATURES, Message,
    field::Signature,
    given, signer,
    verified::{MOST_NAMES, Outcome, Verified, time, verified},
};
use crate::{Abstain, Context, Evidence, Finding, Fix, Status};

/// A signature that expires sooner may do so in a queue.
const SOON: Duration = Duration::from_secs(24 * 60 * 60);

/// How far clocks may differ.
const SKEW: Duration = Duration::from_secs(300);

/// As much of a field as evidence shows.
const MOST_SHOWN: usize = 4096;

/// The findings of `dkim.signature`, one for each key that signed.
pub(crate) async fn signatures(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    let message = given(cx)?;
    let author = message.author_domain();
    let verified = verified(cx, message).await;
    if verified.is_empty() {
        let fix =
            Fix::Advice("Let a milter of Postfix sign what is sent (smtpd_milters and non_smtpd_milters)".to_owned());
        let unsigned = Finding::fail("the message has no DKIM-Signature").fix(fix);
        return Ok(vec![match author {
            Some(author) => unsigned.about(author),
            None => unsigned,
        }]);
    }
    let of_author = |says: &Signature| author.as_ref().is_some_and(|author| aligned(&says.domain, author));
    let any_aligned = verified.iter().filter_map(|verified| verified.says.as_ref()).any(of_author);
    let judged = verified.iter().map(|verified| {
        let mut finding = judged(cx, message, verified);
        let unaligned = author.as_ref().filter(|_| finding.status == Status::Pass && !any_aligned);
        if let (Some(author), Some(says)) = (unaligned, &verified.says) {
            finding.status = Status::Warn;
            finding.message = format!("{}, but d={} is not aligned with From {author}", finding.message, says.domain);
            finding = finding.fix(Fix::Advice(format!("Sign with a key of {author} too: DMARC counts no other")));
        }
        let finding = match &verified.says {
            Some(says) => facts(finding, message, says, verified.outcome.word(), of_author(says)),
            None => finding,
        };
        let value = message.value(verified.at);
        finding.saw([shown(message, value)]).about(place(value))
    });
    Ok(merged(surplus(message, author.as_ref()).into_iter().chain(judged).collect()))
}

/// More signatures than anybody looks at.
fn surplus(message: &Message, author: Option<&Name>) -> Option<Finding> {
    let said = format!("{} DKIM-Signature fields; the first {MOST_SIGNATURES} are judged", message.signed);
    let advice = "Let one signer sign the message, once with each of its keys";
    let finding = Finding::warn(said).fix(Fix::Advice(advice.to_owned()));
    let subject = author.map_or_else(|| "DKIM-Signature".to_owned(), Name::to_string);
    (message.signed > MOST_SIGNATURES).then(|| finding.about(subject))
}

fn facts(finding: Finding, message: &Message, says: &Signature, word: &str, aligned: bool) -> Finding {
    finding
        .fact("domain", says.signature.d.clone())
        .fact("selector", says.signature.s.clone())
        .fact("algorithm", algorithm(says.signature.a))
        .fact("result", word)
        .fact("aligned", aligned)
        .fact("signed", says.signature.h.iter().take(MOST_NAMES).cloned().collect::<Vec<_>>())
        .fact("oversigned", is_oversigned(message, &says.signature))
}

/// One signature: what receivers make of it, and what a valid one is worth.
fn judged(cx: &Context, message: &Message, verified: &Verified) -> Finding {
    match (&verified.outcome, &verified.says) {
        (Outcome::Fails { why, advice, .. }, _) => Finding::fail(why.clone()).fix(Fix::Advice((*advice).to_owned())),
        (Outcome::Keyless(abstain), _) => abstain.clone().into(),
        (Outcome::Silent, _) => Abstain::Needs("the key record".to_owned(), "dkim.record").into(),
        (Outcome::Verifies { is_testing }, Some(says)) => worth(cx, message, says, verified.body, *is_testing),
        (Outcome::Unjudged(why), _) => Finding::unknown(why.clone()),
        (Outcome::Verifies { .. }, None) => Finding::unknown("the signature was not judged"),
    }
}

/// A signature that verifies.
fn worth(cx: &Context, message: &Message, says: &Signature, body: u64, is_testing: bool) -> Finding {
    let mut warnings = Vec::new();
    if is_testing {
        warnings.push((
            "the key says t=y: receivers treat the message as unsigned".to_owned(),
            "Take t=y out of the key record",
        ));
    }
    if let Some(length) = says.length {
        warnings.push((
            format!("l={length} of a body of {body} octets: whoever adds to it keeps the signature valid"),
            "Let the signer leave l= out (RFC 6376 section 8.2)",
        ));
    }
    let left = says.expires.and_then(|expiry| time(expiry).duration_since(cx.now).ok());
    if let Some(left) = left.filter(|left| *left < SOON) {
        let left = humantime::format_duration(Duration::from_secs(left.as_secs()));
        warnings.push((
            format!("it expires in {left} (x=), mail may stay in a queue for days"),
            "Let signatures expire after some days, or never",
        ));
    }
    if says.signed.is_some_and(|signed| time(signed) > cx.now + SKEW) {
        warnings.push(("it is dated in the future (t=)".to_owned(), "Set the signer's clock"));
    }
    let oversigned = match is_oversigned(message, &says.signature) {
        true => "",
        false => "; From is signed once, a second could be added",
    };
    let verified = format!("verifies with the published key ({}){oversigned}", algorithm(says.signature.a));
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
fn aligned(domain: &Name, author: &Name) -> bool {
    let organizational = |name: &Name| name.registrable().unwrap_or_else(|| name.clone());
    organizational(domain) == organizational(author)
}

/// The subject: where the key of a DKIM-Signature field is due.
fn place(value: &[u8]) -> String {
    match signer(value) {
        Some((selector, domain)) => format!("{}._domainkey.{}", shortened(&selector), shortened(&domain)),
        None => "DKIM-Signature".to_owned(),
    }
}

fn shown(message: &Message, value: &[u8]) -> Evidence {
    let text = String::from_utf8_lossy(value.get(..MOST_SHOWN).unwrap_or(value));
    let words: Vec<&str> = text.split_whitespace().collect();
    let more = if value.len() > MOST_SHOWN { "…" } else { "" };
    let command = format!("grep -i -A 9 '^dkim-signature:' {}", shell::operand(&message.file));
    Evidence { command, output: format!("DKIM-Signature: {}{more}", words.join(" ")) }
}

/// How often From is signed.
pub(super) fn from_count(signature: &dkim::Signature) -> usize {
    signature.h.iter().filter(|name| name.trim().eq_ignore_ascii_case("from")).count()
}

/// Whether From is signed once more than it is there: nobody can add another (RFC 6376 section 8.15).
fn is_oversigned(message: &Message, signature: &dkim::Signature) -> bool {
    from_count(signature) > message.named("From").count()
}

pub(super) fn algorithm(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RsaSha1 => "rsa-sha1",
        Algorithm::RsaSha256 => "rsa-sha256",
        Algorithm::Ed25519Sha256 => "ed25519-sha256",
    }
}
