//! What receivers are asked to do with mail that only pretends to be from the domain.

use std::fmt::Write;

use futures_util::future::{join, join_all};
use hickory_resolver::proto::rr::RecordType;
use syntax::{
    Name,
    dmarc::{Fault, Policy, Whom, is_dmarc, is_meant, objection, text},
};

use self::{
    alignment::alignment,
    organization::organization,
    reports::reports,
    walk::{Applied, Place, Published, Walk},
};
use crate::{
    Abstain, Context, Evidence, Finding, Fix, Status, check::checks, message::dmarc as message, mx::receives,
    net::NoAnswer,
};

mod alignment;
mod fix;
mod organization;
mod reports;
pub(crate) mod walk;

checks! {
    /// One DMARC record applies to the domain.
    ///
    /// Receivers look for a TXT record that begins with `v=DMARC1` at `_dmarc` under the domain of the From: header,
    /// then at each name above it, at most eight in all (RFC 9989 section 4.10). Gmail, Yahoo and Microsoft reject or
    /// junk bulk mail of domains without one (`--per-day` 5000 and more). Several records at one name are all discarded.
    ///
    /// # Fix
    /// Publish one TXT record at `_dmarc` under the domain; `p=none` asks for reports alone and is safe to begin with.
    "dmarc.record" ("RFC 9989 section 4.10") => exactly_one,

    /// The DMARC record is spelled right.
    ///
    /// A text that does not begin with `v=DMARC1`, in capitals and with a semicolon behind it, is no record at all; a
    /// tag with a value that means nothing is ignored, or spoils the record with older receivers (RFC 9989 sections
    /// 4.7 and 4.8). `pct`, `rf`, `ri` and size limits were removed by RFC 9989.
    ///
    /// # Fix
    /// Correct the record at the position shown.
    "dmarc.syntax" ("RFC 9989 section 4.8") => syntax,

    /// The DMARC record stands where receivers look.
    ///
    /// That is `_dmarc` under the domain, and nowhere else (RFC 9989 section 4.5). A record at the domain itself is
    /// never read; nor is one at `_dmarc.DOMAIN.DOMAIN`, which comes of typing a whole name where a registrar's form
    /// adds the domain.
    ///
    /// # Fix
    /// Publish the record at `_dmarc` under the domain, and delete the other.
    "dmarc.location" ("RFC 9989 section 4.5") => location,

    /// The DMARC policy protects the domain.
    ///
    /// `p=none` only watches: receivers deliver forged mail as before. `quarantine` and `reject` ask them to put it
    /// aside or to refuse it; `t=y` lowers that by one level (RFC 9989 section 4.7). A record without a valid `p` counts
    /// as `p=none` if it asks for reports, else not at all (section 4.10.1).
    ///
    /// # Fix
    /// Read the reports until all of your own mail passes, then publish `p=quarantine`, and later `p=reject`.
    "dmarc.policy" ("RFC 9989 section 4.7") => policy,

    /// The subdomains are protected as well as the domain.
    ///
    /// `sp` is for subdomains that exist, `np` for those that do not; where they ask for less than `p`, forgers use a
    /// subdomain (RFC 9989 section 4.7). Both count only in the record of the organizational domain.
    ///
    /// # Fix
    /// Take `sp` and `np` out, so that `p` covers the subdomains too.
    "dmarc.subdomains" ("RFC 9989 section 4.7") => subdomains,

    /// The reports arrive.
    ///
    /// Aggregate reports show who sends in the domain's name, and what fails. Receivers send them to the `mailto:` URIs
    /// of `rua`; to another organization only where a record at `DOMAIN._report._dmarc.TARGET` says that it wants them
    /// (RFC 9990 section 4).
    ///
    /// # Fix
    /// Name an address that takes mail: `rua=mailto:postmaster@DOMAIN`; ask a service for its record if it lacks one.
    "dmarc.reports" ("RFC 9990 section 4") => reports,

    /// DMARC passes for the mail that will be sent.
    ///
    /// It passes if SPF passes for a MAIL FROM domain, or a DKIM signature verifies with a `d=` domain, that is aligned
    /// with the From: domain: the same, or of the same organization where alignment is relaxed (RFC 9989 section 4.4).
    /// Forwarding breaks SPF; a domain with `p=reject` must not rely on it alone (section 7.4).
    ///
    /// # Fix
    /// Sign with a key under the From: domain, and let MAIL FROM carry the same domain.
    "dmarc.alignment" ("RFC 9989 section 4.4") => alignment,

    /// Old and new receivers see the same organizational domain.
    ///
    /// RFC 9989 finds it by the tree walk (section 4.10.2), receivers that follow RFC 7489 by the public suffix list.
    /// Where the two differ, it depends on the receiver whether a subdomain is aligned and which policy applies.
    ///
    /// # Fix
    /// Publish a record at the domain that was registered; `psd=n` in a record makes its domain the organizational one.
    "dmarc.organization" ("RFC 9989 section 4.10.2") => organization,

    /// A sent message passes DMARC.
    ///
    /// With `--message FILE`: receivers look for a signature that verifies, or an SPF pass, of a domain aligned with the
    /// From domain; where there is neither, they do what its policy says (RFC 9989 section 5.3). Mail that passes by SPF
    /// alone fails as soon as somebody forwards it (section 7.4).
    ///
    /// # Fix
    /// Sign with a key of the From domain (`d=`), and let the envelope's domain be under the same one.
    "dmarc.message" ("RFC 9989 section 5.3") => message,
}

/// Judges every From domain.
async fn each<'a>(cx: &'a Context, judge: impl AsyncFn(&'a Name, &Walk) -> Result<Finding, Abstain>) -> Vec<Finding> {
    if cx.target.domains.is_empty() {
        return vec![Finding::skip("no domain given")];
    }
    let judged = cx.target.domains.iter().map(async |domain| {
        let walk = Walk::of(cx, domain).await;
        let finding = Finding::from(judge(domain, &walk).await).about(domain);
        if finding.evidence.is_empty() { finding.saw(walk.evidence()) } else { finding }
    });
    join_all(judged).await
}

/// The record that applies, or why there is none to speak about.
async fn applied(cx: &Context, walk: &Walk) -> Result<Applied, Abstain> {
    match walk::applied(cx, walk).await {
        Ok(Some(applied)) => Ok(applied),
        Ok(None) if walk.places.iter().any(|place| matches!(place.published, Published::Odd(_))) => {
            Err(Abstain::Needs("a record without mistakes".to_owned(), "dmarc.syntax"))
        }
        Ok(None) => Err(Abstain::Needs("a DMARC record".to_owned(), "dmarc.record")),
        Err(_) => Err(Abstain::Needs("the DMARC record".to_owned(), "dmarc.record")),
    }
}

/// Words for where a record stands, if it is not the domain's own.
fn whose(domain: &Name, at: &Name) -> String {
    if domain == at { String::new() } else { format!(" (record of {at})") }
}

async fn exactly_one(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain, walk| {
        let too_many = |at: &Name, texts: &[Vec<u8>]| {
            let fix = fix::merged(texts).map(|text| fix::published(walk, at, &text));
            let choose = Fix::Advice(format!("Delete all but one of the records at _dmarc.{at}"));
            Finding::fail(format!("{} records at _dmarc.{at}, 1 allowed: receivers discard them all", texts.len()))
                .fix(fix.unwrap_or(choose))
        };
        match walk.own() {
            Published::Several(texts) => return Ok(too_many(domain, texts)),
            Published::Odd(_) => return Err(Abstain::Needs("a record without mistakes".to_owned(), "dmarc.syntax")),
            Published::One(_) | Published::Nothing | Published::Silent(_) => {}
        }
        if let Some(Applied { at, record, tag, policy }) = walk::applied(cx, walk).await? {
            let shown = record.text.as_str();
            let finding = match (at == *domain, policy) {
                (true, _) => Finding::pass(shown),
                (false, Some(policy)) => {
                    Finding::pass(format!("inherited from {at}, {tag}={} applies: {shown}", policy.word()))
                }
                (false, None) => Finding::pass(format!("inherited from {at}: {shown}")),
            };
            let finding = finding.fact("record", record.text.clone()).fact("found_at", at.to_string());
            return Ok(match policy {
                Some(policy) => finding.fact("policy", policy.word()),
                None => finding,
            });
        }
        for place in &walk.places {
            match &place.published {
                Published::Several(texts) => return Ok(too_many(&place.domain, texts)),
                Published::Odd(_) => {
                    return Err(Abstain::Needs("a record without mistakes".to_owned(), "dmarc.syntax"));
                }
                Published::One(_) | Published::Nothing | Published::Silent(_) => {}
            }
        }
        let receives = async { receives(cx, domain).await.is_ok_and(|answer| answer.is_none()) };
        let (misplaced, receives) = join(elsewhere(cx, domain), receives).await;
        let found = misplaced.ok().flatten().and_then(|misplaced| fix::moved(&misplaced.text));
        let record = found.unwrap_or_else(|| fix::new_record(domain, receives));
        // Large receivers reject for want of it only what a bulk sender sends.
        let absent = format!("no DMARC record at _dmarc.{domain}, nor above it");
        let finding = if cx.target.is_bulk() { Finding::fail(absent) } else { Finding::warn(absent) };
        Ok(finding.fix(fix::published(walk, domain, &record)))
    })
    .await
}

async fn syntax(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain, walk| {
        let place = match walk.own() {
            Published::One(_) | Published::Odd(_) => walk.places.first(),
            Published::Silent(_) => return Err(Abstain::Needs("the DMARC record".to_owned(), "dmarc.record")),
            Published::Several(_) => return Err(Abstain::Needs("one DMARC record".to_owned(), "dmarc.record")),
            Published::Nothing => match walk.applied() {
                Ok(Some((at, _))) => walk.places.iter().find(|place| place.domain == *at),
                Ok(None) => walk.places.iter().find(|place| matches!(place.published, Published::Odd(_))),
                Err(_) => return Err(Abstain::Needs("the DMARC record".to_owned(), "dmarc.record")),
            },
        };
        let judged = place.and_then(|place| spelling(walk, domain, place));
        judged.ok_or_else(|| Abstain::Needs("a DMARC record".to_owned(), "dmarc.record"))
    })
    .await
}

/// What is to be said about the spelling at one place.
fn spelling(walk: &Walk, domain: &Name, place: &Place) -> Option<Finding> {
    let octets = fix::meant(place)?;
    let whose = whose(domain, &place.domain);
    let (faults, notes) = match &place.published {
        Published::One(record) => (record.faults.clone(), record.notes.clone()),
        _ => {
            let error = objection(&octets);
            (vec![Fault { position: error.position, reason: error.reason, is_harmless: false }], Vec::new())
        }
    };
    let Some(worst) = faults.iter().find(|fault| !fault.is_harmless).or(faults.first()) else {
        let notes = notes.iter().fold(String::new(), |mut all, note| {
            let _ = write!(all, "; {note}");
            all
        });
        return Some(Finding::pass(format!("every tag is spelled right{whose}{notes}")));
    };
    let others: Vec<String> = faults
        .iter()
        .filter(|fault| *fault != worst)
        .map(|fault| format!("; {}, at octet {}", fault.reason, fault.position))
        .collect();
    let ignored = if place.record().is_none() { ": receivers ignore the record" } else { "" };
    let status = if worst.is_harmless { Status::Warn } else { Status::Fail };
    let message = format!("{}, at octet {}{whose}{ignored}{}", worst.reason, worst.position, others.concat());
    let fix = match fix::corrected(&octets) {
        Some(record) => fix::published(walk, &place.domain, &record),
        None => Fix::Advice(format!("Correct the record at _dmarc.{}", place.domain)),
    };
    let evidence = place.evidence()?;
    let shown = text(&octets);
    let before = shown.get(..worst.position - 1).map_or(worst.position - 1, |before| before.chars().count());
    let output = format!("{shown}\n{:>width$}", "^", width = before + 1);
    Some(
        Finding::new(status, message)
            .fact("position", worst.position)
            .fact("domain", place.domain.to_string())
            .saw([Evidence { command: evidence.command, output }])
            .fix(fix),
    )
}

/// A record where no receiver looks.
struct Misplaced {
    name: Name,
    text: Vec<u8>,
    evidence: Evidence,
}

/// The first record at a name that was meant as `_dmarc` under the domain.
async fn elsewhere(cx: &Context, domain: &Name) -> Result<Option<Misplaced>, NoAnswer> {
    let doubled =
        [format!("_dmarc.{domain}._dmarc"), format!("_dmarc.{domain}"), "dmarc".to_owned(), "_dmarc._dmarc".to_owned()];
    let names = doubled.iter().filter_map(|label| domain.child(label).ok()).chain([domain.clone()]);
    let mut silence = None;
    for misplaced in join_all(names.map(async |name| misplaced(cx, &name).await)).await {
        match misplaced {
            Ok(Some(misplaced)) => return Ok(Some(misplaced)),
            Ok(None) => {}
            Err(why) => silence = Some(why),
        }
    }
    silence.map_or(Ok(None), Err)
}

async fn misplaced(cx: &Context, name: &Name) -> Result<Option<Misplaced>, NoAnswer> {
    let answer = cx.net.dns.ask(name, RecordType::TXT).await?;
    let is_record = |text: &Vec<u8>| is_dmarc(text) || is_meant(text);
    let found = answer.texts().into_iter().find(is_record);
    Ok(found.map(|text| Misplaced { name: name.clone(), text, evidence: answer.evidence() }))
}

async fn location(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain, walk| {
        let is_in_place = match walk.own() {
            Published::Silent(_) => return Err(Abstain::Needs("the DMARC record".to_owned(), "dmarc.record")),
            Published::Nothing => false,
            Published::One(_) | Published::Several(_) | Published::Odd(_) => true,
        };
        let found = if is_in_place { misplaced(cx, domain).await? } else { elsewhere(cx, domain).await? };
        let applied = walk.applied();
        let Some(Misplaced { name, text: octets, evidence }) = found else {
            return match applied {
                _ if is_in_place => Ok(Finding::pass(format!("at _dmarc.{domain}"))),
                Ok(Some((at, _))) => Ok(Finding::pass(format!("at _dmarc.{at}"))),
                Ok(None) => Err(Abstain::Needs("a DMARC record".to_owned(), "dmarc.record")),
                Err(_) => Err(Abstain::Needs("the DMARC record".to_owned(), "dmarc.record")),
            };
        };
        let shown = text(&octets);
        let finding = match applied {
            _ if is_in_place => {
                Finding::warn(format!("one at _dmarc.{domain}, and another at {name}, where no receiver looks"))
            }
            Ok(Some((at, _))) => {
                Finding::warn(format!("one stands at {name}, where no receiver looks; that of {at} applies instead"))
            }
            Ok(None) => {
                Finding::fail(format!("the record stands at {name}, where no receiver looks, not at _dmarc.{domain}"))
            }
            Err(_) => return Err(Abstain::Needs("the DMARC record".to_owned(), "dmarc.record")),
        };
        let fix = match fix::moved(&octets).filter(|_| !is_in_place && name != *domain) {
            Some(record) => fix::published(walk, domain, &record),
            None if is_in_place => Fix::Advice(format!("Delete the record at {name}")),
            None => Fix::Advice(format!("Publish {shown} at _dmarc.{domain}, and delete it at {name}")),
        };
        Ok(finding.fact("found_at", name.to_string()).saw([evidence]).saw(walk.evidence()).fix(fix))
    })
    .await
}

async fn policy(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain, walk| {
        let Applied { at, record, tag, policy } = applied(cx, walk).await?;
        let whose = whose(domain, &at);
        let enforce = || {
            Fix::Advice(format!(
                "When the reports show that all of the domain's own mail passes, publish {tag}=quarantine at _dmarc.{at}, later {tag}=reject"
            ))
        };
        let Some(policy) = policy else {
            return Ok(Finding::fail(format!("no valid policy and no rua={whose}: receivers do no DMARC processing"))
                .fix(Fix::Advice(format!("Publish p=none and rua= in the record at _dmarc.{at}"))));
        };
        let word = policy.word();
        let finding = match policy {
            _ if record.p.is_none() => Finding::warn(format!("no valid p={whose}, which counts as p=none: receivers only watch")),
            Policy::None if record.policy(Whom::Domain).1 == Some(Policy::None) && record.p != Some(Policy::None) => {
                Finding::warn(format!("sp= or np= has no valid value{whose}, which makes all of it p=none: receivers only watch"))
            }
            Policy::None => Finding::warn(format!("{tag}=none{whose}: receivers only watch, and deliver what fails")),
            _ if record.testing => {
                let lowered = policy.lowered().word();
                let test = Finding::warn(format!("{tag}={word}{whose}, lowered to {lowered} by t=y"));
                return Ok(test
                    .fact("policy", lowered)
                    .fact("tag", tag)
                    .fix(Fix::Advice(format!("Take t=y out of the record at _dmarc.{at} when the test is over"))));
            }
            Policy::Quarantine => Finding::pass(format!("{tag}=quarantine{whose}: receivers junk what fails")),
            Policy::Reject => Finding::pass(format!("{tag}=reject{whose}: receivers refuse what fails")),
        };
        Ok(finding.fact("policy", word).fact("tag", tag).fix(enforce()))
    })
    .await
}

async fn subdomains(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain, walk| {
        let Applied { at, record, .. } = applied(cx, walk).await?;
        let whose = whose(domain, &at);
        let without = |tags: &[&str]| fix::published(walk, &at, &fix::edited(&record, tags, &[]));
        let published: Vec<&str> = [("sp", record.sp), ("np", record.np)]
            .iter()
            .filter(|(_, policy)| policy.is_some())
            .map(|(tag, _)| *tag)
            .collect();
        // A public suffix's record is for organizations that have none of their own.
        let organization = if at == *domain { walk.organization()? } else { None };
        if let Some(organization) = organization.filter(|organization| *organization != at) {
            return match published.is_empty() {
                true => Ok(Finding::pass(format!("the record of {organization} is for the subdomains"))),
                false => Ok(Finding::warn(format!(
                    "{}= is ignored: {organization} is the organizational domain, and its record is for the subdomains",
                    published.join("= and ")
                ))
                .fix(without(&published))),
            };
        }
        let (Some(p), Some(sp), Some(np)) =
            (record.policy(Whom::Domain).1, record.policy(Whom::Subdomain).1, record.policy(Whom::Nonexistent).1)
        else {
            return Err(Abstain::Needs("a valid policy".to_owned(), "dmarc.policy"));
        };
        let mut weaker = Vec::new();
        if sp < p {
            weaker.push(format!("sp={} is weaker than p={}", sp.word(), p.word()));
        }
        if record.np.is_some() && np < p {
            weaker.push(format!("np={} is weaker than p={}", np.word(), p.word()));
        }
        let facts = |finding: Finding| finding.fact("p", p.word()).fact("sp", sp.word()).fact("np", np.word());
        Ok(facts(match weaker.is_empty() {
            true => {
                Finding::pass(format!("{} for subdomains, {} for those that do not exist{whose}", sp.word(), np.word()))
            }
            false => {
                Finding::warn(format!("{}{whose}: forgers use a subdomain", weaker.join(", "))).fix(without(&published))
            }
        }))
    })
    .await
}

/// What must hold of every TXT record at `_dmarc`.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(octets: &[u8]) {
    let inside = 1..=octets.len() + 1;
    match syntax::dmarc::Record::parse(octets) {
        Some(record) => {
            let outside = record.faults.iter().find(|fault| !inside.contains(&fault.position));
            assert!(outside.is_none(), "{outside:?}");
            assert!(is_dmarc(octets));
        }
        None => assert!(inside.contains(&objection(octets).position), "{:?}", objection(octets)),
    }
    let _ = is_meant(octets);
}
