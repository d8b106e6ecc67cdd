//! What a key record says beside the key: its spelling, flags, hashes and services.

use futures_util::future::join_all;

use super::{
    Place, ask, instead,
    key::{hashes, is_strict, is_testing, serves_mail},
    one_record, own_record, places,
    record::Record,
};
use crate::{
    Abstain, Context, Finding, Fix, Status,
    net::{NoAnswer, dns::Answer},
};

/// Judges the one record of every place.
async fn each(
    cx: &Context,
    judge: impl AsyncFn(&[Place<'_>], &Place<'_>, &(Answer, Record)) -> Finding,
) -> Result<Vec<Finding>, Abstain> {
    let places = places(cx)?;
    let judged = places.iter().map(async |place| {
        let finding = match one_record(cx, place).await {
            Ok(found) => judge(&places, place, &found).await.saw([found.0.evidence()]),
            Err(finding) => finding,
        };
        finding.about(&place.name)
    });
    Ok(join_all(judged).await)
}

/// The same for what only a key in use can have: of a record that is spelled wrong or revoked, others speak.
async fn each_key(
    cx: &Context,
    judge: impl AsyncFn(&[Place<'_>], &Place<'_>, &(Answer, Record)) -> Finding,
) -> Result<Vec<Finding>, Abstain> {
    each(cx, async |places, place, found| match &found.1 {
        record if record.fault().is_some() => needs_spelling(),
        record if record.is_revoked() => Abstain::Needs("a key that is not revoked".to_owned(), "dkim.revoked").into(),
        _ => judge(places, place, found).await,
    })
    .await
}

fn needs_spelling() -> Finding {
    Abstain::Needs("a record without mistakes".to_owned(), "dkim.syntax").into()
}

/// The record put right, or the advice to do so.
fn better(cx: &Context, place: &Place<'_>, found: &(Answer, Record), advice: &str) -> Fix {
    let advice = match found.0.aliases() {
        [.., end] => format!("{advice} (it is kept at {end})"),
        [] => advice.to_owned(),
    };
    instead(cx, place, found, |_| true).unwrap_or(Fix::Advice(advice))
}

pub(super) async fn syntax(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    each(cx, async |_, place, found| {
        let mistakes = &found.1.mistakes;
        let Some(first) = mistakes.first() else { return Finding::pass("every tag is spelled right") };
        let others = match mistakes.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let all: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        Finding::new(first.status, format!("{first}{others}"))
            .fact("position", first.position)
            .fact("mistakes", all)
            .fix(better(
                cx,
                place,
                found,
                "Publish the record again as the signer printed it, without what a paste added",
            ))
    })
    .await
}

pub(super) async fn revoked(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    each(cx, async |_, place, (answer, record)| {
        if record.fault().is_some() {
            return needs_spelling();
        }
        let advice = Fix::Advice("Publish the key that the signer uses, or sign with another selector".to_owned());
        match record.is_revoked() {
            true => Finding::fail("p= is empty: the key is revoked, no signature with it verifies")
                .fix(own_record(cx, place, answer).unwrap_or(advice)),
            false => Finding::pass("p= holds a key"),
        }
    })
    .await
}

pub(super) async fn algorithm(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    each_key(cx, async |places, place, found| {
        let record = &found.1;
        let kind = record.get("k").unwrap_or("rsa");
        let (hashes, listed) = (hashes(record), record.get("h").unwrap_or_default());
        let finding = if !matches!(kind, "rsa" | "ed25519") {
            Finding::fail(format!("k={kind} is no key type that verifiers know"))
        } else if !hashes.accepted {
            Finding::fail(format!("h={listed} leaves out sha256, the only hash that verifiers accept"))
        } else if hashes.sha1 {
            Finding::warn(format!("h={listed} still allows sha1, which must not be used"))
        } else if kind == "ed25519" {
            match is_without_twin(cx, places, place).await {
                Ok(false) => return Finding::pass(format!("{kind}-sha256")).fact("algorithm", kind),
                Ok(true) => {}
                Err(silence) => return Abstain::Unknown(silence).into(),
            }
            let advice = "Sign with an RSA key too, under a selector of its own: each message gets two signatures";
            return Finding::warn(format!(
                "no selector named of {} has an RSA key: not all verifiers know Ed25519",
                place.domain
            ))
            .fact("algorithm", kind)
            .fix(Fix::Advice(advice.to_owned()));
        } else {
            Finding::pass(format!("{kind}-sha256"))
        };
        finding.fact("algorithm", kind).fix(better(cx, place, found, "Publish an RSA key, without h="))
    })
    .await
}

/// Whether every selector of the domain that was named has an Ed25519 key.
async fn is_without_twin(cx: &Context, places: &[Place<'_>], place: &Place<'_>) -> Result<bool, NoAnswer> {
    let siblings: Vec<_> = places.iter().filter(|other| other.domain == place.domain).collect();
    let records = join_all(siblings.iter().map(async |sibling| one_record(cx, sibling).await)).await;
    let is_ed25519 = |record: &Record| record.get("k") == Some("ed25519");
    if records.iter().flatten().any(|(_, record)| !record.is_revoked() && !is_ed25519(record)) {
        return Ok(false);
    }
    for answer in join_all(siblings.iter().map(async |sibling| ask(cx, sibling).await)).await {
        answer?;
    }
    Ok(records.iter().all(Result::is_ok))
}

pub(super) async fn flags(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    each_key(cx, async |_, place, found| {
        let record = &found.1;
        let flags = record.words("t").unwrap_or_default();
        let is_strict = is_strict(record);
        let unknown: Vec<&str> = flags.iter().copied().filter(|flag| !matches!(*flag, "y" | "s")).collect();
        let mut said = Vec::new();
        if is_testing(record) {
            said.push("t=y: receivers treat signed mail as unsigned".to_owned());
        }
        if is_strict {
            said.push(format!("t=s: signatures speak for {} alone, for no subdomain", place.domain));
        }
        if !unknown.is_empty() {
            said.push(format!("t={} is ignored", unknown.join(":")));
        }
        let status = if is_testing(record) { Status::Warn } else { Status::Pass };
        let said = if said.is_empty() { "no flags".to_owned() } else { said.join("; ") };
        Finding::new(status, said).fact("testing", is_testing(record)).fact("strict", is_strict).fix(better(
            cx,
            place,
            found,
            "Take t=y out of the record",
        ))
    })
    .await
}

pub(super) async fn service(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    each_key(cx, async |_, place, found| {
        let services = found.1.get("s").unwrap_or("*");
        match serves_mail(&found.1) {
            true => Finding::pass(format!("s={services}")),
            false => Finding::fail(format!("s={services} leaves out email: verifiers do not use the key for mail"))
                .fix(better(cx, place, found, "Take s= out of the record")),
        }
    })
    .await
}
