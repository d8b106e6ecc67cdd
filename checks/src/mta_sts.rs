//! Whether senders that insist on TLS find a policy, and exchanges that fit it.

use std::sync::Arc;

use futures_util::future::join;
use hickory_resolver::proto::rr::RecordType;
use syntax::{
    Name, Protocols,
    mta_sts::{
        policy::{self, Mode, Policy, Remark},
        record,
    },
};

use crate::{
    Abstain, Context, Evidence, Finding, Fix,
    check::checks,
    net::https::Fetch,
    versioned::{Published, publication, texts},
};

mod fetched;

checks! {
    /// The MTA-STS record stands alone and is well formed.
    ///
    /// `_mta-sts.DOMAIN` says that there is a policy, and by its `id` which one (RFC 8461 section 3.1). Senders discard
    /// what does not begin with `v=STSv1;`, and where they find two records, or a malformed one, they go on as if there
    /// were none: mail may be delivered without TLS to whoever stands in between. MTA-STS is optional.
    ///
    /// # Fix
    /// Publish one TXT record `v=STSv1; id=…;`, with a new id of letters and digits at each change of the policy.
    "mta-sts.record" ("RFC 8461 section 3.1") => record,

    /// The MTA-STS policy can be fetched.
    ///
    /// Senders fetch `https://mta-sts.DOMAIN/.well-known/mta-sts.txt` (RFC 8461 section 3.3): on port 443, with a
    /// certificate of a public CA whose subjectAltName has `mta-sts.DOMAIN`. They follow no redirects, take nothing but
    /// status 200, expect `text/plain`, and stop at 64 KiB. A policy that they cannot fetch protects nobody.
    ///
    /// # Fix
    /// Let the web server of `mta-sts.DOMAIN` serve the file itself as `text/plain`, with a certificate for this name.
    "mta-sts.policy" ("RFC 8461 section 3.3") => policy_file,

    /// The MTA-STS policy is well formed.
    ///
    /// A policy has a line `version: STSv1`, a `mode`, a `max_age`, and an `mx` for each exchange (RFC 8461 section 3.2).
    /// Keys are in small letters; senders ignore keys they do not know, so that a slip of the finger goes unnoticed.
    ///
    /// # Fix
    /// Correct the line that is named, and give the TXT record a new `id`.
    "mta-sts.syntax" ("RFC 8461 section 3.2") => syntax,

    /// The MTA-STS policy is enforced.
    ///
    /// At `enforce` senders refuse to deliver to an exchange without TLS or with a wrong certificate; at `testing` they
    /// report it and deliver all the same; at `none` they forget the policy (RFC 8461 section 5).
    ///
    /// # Fix
    /// Set `mode: enforce` once the TLS reports show no failures, and give the TXT record a new `id`.
    "mta-sts.mode" ("RFC 8461 section 5") => mode,

    /// Senders remember the MTA-STS policy for a day or longer.
    ///
    /// `max_age` is how many seconds a policy is remembered: weeks or more are expected, 31557600 (a year) is the most
    /// (RFC 8461 section 3.2). While it is remembered, an attacker who hides the policy achieves nothing.
    ///
    /// # Fix
    /// Set `max_age: 604800` (a week) or more, and give the TXT record a new `id`.
    "mta-sts.max-age" ("RFC 8461 section 3.2") => max_age,

    /// The MTA-STS policy names every mail exchange.
    ///
    /// Senders that enforce the policy deliver to no exchange that fits none of its `mx` patterns; an asterisk stands for
    /// one label (RFC 8461 section 4.1).
    ///
    /// # Fix
    /// Add an `mx` line for the exchange to the policy, and give the TXT record a new `id`.
    "mta-sts.mx" ("RFC 8461 section 4.1") => exchanges,
}

const LABEL: &str = "_mta-sts";

/// The label before the domain, and the path (RFC 8461 section 3.3).
const HOST_LABEL: &str = "mta-sts";
const PATH: &str = "/.well-known/mta-sts.txt";

/// A day: below that a policy is hardly remembered.
const SHORT_MAX_AGE: u64 = 86_400;

/// RFC 8461 section 3.2.
const LONGEST_MAX_AGE: u64 = 31_557_600;

/// How many names a message lists.
const MOST_NAMED: usize = 10;

async fn record(cx: &Context) -> Vec<Finding> {
    cx.each_domain(async |domain| {
        let (name, answer) = texts(cx, LABEL, domain).await?;
        let publish = |text: &str| publication(&name, &answer, &record::corrected(text, cx.now));
        let finding = match Published::of(&answer, record::VERSION) {
            Published::Nothing(why) => Finding::skip(format!("no MTA-STS record, which is optional: {why}")),
            Published::Discarded(text) => {
                Finding::fail("the record does not begin with v=STSv1; so that senders discard it").fix(publish(&text))
            }
            Published::Several(texts) => {
                // Any of them will do; the last in order is the newest where ids are times.
                let newest = texts.iter().filter(|text| record::id(text).is_ok()).max().or(texts.last());
                Finding::fail(format!("{} MTA-STS records, 1 allowed: senders use none", texts.len()))
                    .fix(newest.map(|text| publish(text)))
            }
            Published::One(text) => match record::id(&text) {
                Ok(id) => Finding::pass(text).fact("id", id),
                Err(why) => Finding::fail(why).fix(publish(&text)),
            },
        };
        Ok(finding.saw([answer.evidence()]))
    })
    .await
}

/// Whether senders look for a policy of `domain`.
async fn announced(cx: &Context, domain: &Name) -> Result<(), Abstain> {
    let needs = |what: &str| Abstain::Needs(what.to_owned(), "mta-sts.record");
    let answer = match texts(cx, LABEL, domain).await {
        Ok((_, answer)) => answer,
        Err(Abstain::Unknown(_)) => return Err(needs("the MTA-STS record")),
        Err(abstain) => return Err(abstain),
    };
    match Published::of(&answer, record::VERSION) {
        Published::Nothing(_) => Err(Abstain::NotApplicable("no MTA-STS record".to_owned())),
        Published::One(text) if record::id(&text).is_ok() => Ok(()),
        Published::One(_) | Published::Several(_) | Published::Discarded(_) => Err(needs("one valid MTA-STS record")),
    }
}

/// What came of fetching the policy that is announced.
async fn fetched(cx: &Context, domain: &Name) -> Result<Arc<Fetch>, Abstain> {
    announced(cx, domain).await?;
    let host =
        domain.child(HOST_LABEL).map_err(|why| Abstain::NotApplicable(format!("{HOST_LABEL}.{domain} {why}")))?;
    Ok(cx.net.https.fetch(cx, &host, PATH).await)
}

/// The policy's text, read, if it could be fetched.
async fn read(cx: &Context, domain: &Name) -> Result<(Result<Policy, Vec<Remark>>, Arc<Fetch>), Abstain> {
    let fetch = fetched(cx, domain).await?;
    let policy = match fetched::response(cx, &fetch) {
        Ok(response) => Policy::parse(&response.body),
        Err(_) => return Err(Abstain::Needs("the policy".to_owned(), "mta-sts.policy")),
    };
    Ok((policy, fetch))
}

/// The policy, if senders can read it.
async fn published(cx: &Context, domain: &Name) -> Result<(Policy, Arc<Fetch>), Abstain> {
    let (policy, fetch) = read(cx, domain).await?;
    let needs = |_| Abstain::Needs("a policy without mistakes".to_owned(), "mta-sts.syntax");
    Ok((policy.map_err(needs)?, fetch))
}

async fn policy_file(cx: &Context) -> Vec<Finding> {
    cx.each_domain(async |domain| {
        let fetch = fetched(cx, domain).await?;
        Ok(fetched::judged(cx, &fetch).fact("url", fetch.url.clone()).saw(fetch.evidence()))
    })
    .await
}

async fn syntax(cx: &Context) -> Vec<Finding> {
    cx.each_domain(async |domain| {
        let (policy, fetch) = read(cx, domain).await?;
        let told = |remarks: &[Remark]| remarks.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let lines =
            |remarks: &[Remark]| remarks.iter().map(|remark| remark.line).filter(|line| *line > 0).collect::<Vec<_>>();
        let finding = match policy {
            Err(wrong) => Finding::fail(told(&wrong)).fact("lines", lines(&wrong)),
            Ok(policy) => {
                let finding = match policy.oddities.as_slice() {
                    [] => Finding::pass(summary(&policy)),
                    odd => Finding::warn(told(odd)).fact("lines", lines(odd)),
                };
                finding.fact("mode", policy.mode.word()).fact("max_age", policy.max_age).fact("mx", policy.patterns)
            }
        };
        Ok(finding.saw(fetch.evidence().pop()).fix(Fix::Advice(format!(
            "Correct the policy that https://{HOST_LABEL}.{domain}{PATH} serves, then change id= in the TXT record at \
             {LABEL}.{domain}"
        ))))
    })
    .await
}

fn summary(policy: &Policy) -> String {
    let patterns = match policy.patterns.len() {
        1 => "1 mx pattern".to_owned(),
        several => format!("{several} mx patterns"),
    };
    format!("version, mode {}, max_age {}, {patterns}", policy.mode.word(), policy.max_age)
}

async fn mode(cx: &Context) -> Vec<Finding> {
    cx.each_domain(async |domain| {
        let (policy, fetch) = published(cx, domain).await?;
        let finding = match policy.mode {
            Mode::Enforce => Finding::pass("enforce"),
            Mode::Testing => Finding::warn("testing: senders report failures, and deliver without TLS all the same"),
            Mode::None => Finding::warn("none: senders forget the policy, as before MTA-STS is withdrawn"),
        };
        let fix = match policy.mode {
            Mode::None => format!(
                "Set mode: enforce and change id= in the TXT record, or, once the last max_age has gone by, take \
                 {LABEL}.{domain} out of the zone"
            ),
            Mode::Enforce | Mode::Testing => {
                format!("Set mode: enforce in the policy, then change id= in the TXT record at {LABEL}.{domain}")
            }
        };
        Ok(finding.fact("mode", policy.mode.word()).saw([fetch.lines("mode")]).fix(Fix::Advice(fix)))
    })
    .await
}

async fn max_age(cx: &Context) -> Vec<Finding> {
    cx.each_domain(async |domain| {
        let (policy, fetch) = published(cx, domain).await?;
        let seconds = policy.max_age;
        let message = match seconds / SHORT_MAX_AGE {
            0 => format!("{seconds} s"),
            1 => format!("{seconds} s, 1 day"),
            days => format!("{seconds} s, {days} days"),
        };
        let finding = match seconds {
            // A policy that is being withdrawn need not be remembered (RFC 8461 section 8.3).
            _ if policy.mode == Mode::None && seconds <= LONGEST_MAX_AGE => Finding::pass(message),
            0..SHORT_MAX_AGE => Finding::warn(format!("{message}: less than a day, where weeks are expected")),
            SHORT_MAX_AGE..=LONGEST_MAX_AGE => Finding::pass(message),
            _ => Finding::fail(format!("{message}, {LONGEST_MAX_AGE} s allowed")),
        };
        Ok(finding.fact("max_age", seconds).saw([fetch.lines("max_age")]).fix(Fix::Advice(format!(
            "Set max_age: 604800 (a week) or more in the policy, at most {LONGEST_MAX_AGE}, then change id= in the TXT \
             record at {LABEL}.{domain}"
        ))))
    })
    .await
}

async fn exchanges(cx: &Context) -> Vec<Finding> {
    cx.each_domain(async |domain| {
        announced(cx, domain).await?;
        let (policy, mail) = join(published(cx, domain), receiving(cx, domain)).await;
        let (policy, fetch) = policy?;
        if policy.mode == Mode::None {
            return Err(Abstain::NotApplicable("mode none: senders compare nothing".to_owned()));
        }
        let (exchanges, mx) = mail?;
        let uncovered: Vec<String> =
            exchanges.iter().filter(|exchange| !policy.covers(exchange)).map(ToString::to_string).collect();
        let is_idle = |pattern: &&String| !exchanges.iter().any(|exchange| policy::matches(pattern, exchange));
        let idle: Vec<String> = policy.patterns.iter().filter(is_idle).cloned().collect();
        let bump = format!("then change id= in the TXT record at {LABEL}.{domain}");
        let finding = if !uncovered.is_empty() {
            let fits = if uncovered.len() == 1 { "fits" } else { "fit" };
            let message = format!("{} {fits} no mx pattern", listed(&uncovered));
            let lines: Vec<String> =
                uncovered.iter().take(MOST_NAMED).map(|exchange| format!("mx: {exchange}")).collect();
            match policy.mode {
                Mode::Enforce => {
                    Finding::fail(format!("{message}: senders that enforce the policy do not deliver there"))
                }
                _ => Finding::warn(format!("{message}: at mode enforce senders will not deliver there")),
            }
            .fix(Fix::Advice(format!("Add to the policy {}, {bump}", lines.join(" and "))))
        } else if !idle.is_empty() {
            let fits = if idle.len() == 1 { "fits" } else { "fit" };
            Finding::warn(format!("{} {fits} no mail exchange", listed(&idle))).fix(Fix::Advice(format!(
                "Take out of the policy what no exchange needs, unless a change of MX is at hand, {bump}"
            )))
        } else {
            let names: Vec<String> = exchanges.iter().map(ToString::to_string).collect();
            Finding::pass(names.join(", "))
        };
        Ok(finding.fact("uncovered", uncovered).fact("unused", idle).saw([mx, fetch.lines("mx")]))
    })
    .await
}

/// The first few of many.
fn listed(names: &[String]) -> String {
    match names.len().saturating_sub(MOST_NAMED) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ")),
    }
}

/// The exchanges that senders compare with the policy: without MX records, the domain itself.
async fn receiving(cx: &Context, domain: &Name) -> Result<(Vec<Name>, Evidence), Abstain> {
    let needs = |what: &str| Abstain::Needs(what.to_owned(), "mx.record");
    let answer = cx.net.dns.ask(domain, RecordType::MX).await.map_err(|_| needs("the MX records"))?;
    let mut exchanges: Vec<Name> = answer.hosts().0.into_iter().map(|(_, exchange)| exchange).collect();
    if answer.is_empty() && !answer.is_nxdomain() {
        let addresses = cx.net.dns.addresses(domain, Protocols::All).await.map_err(|_| needs("the MX records"))?;
        exchanges.extend((!addresses.is_empty()).then(|| domain.clone()));
    }
    match exchanges.is_empty() {
        true => Err(needs("an MX record")),
        false => Ok((exchanges, answer.evidence())),
    }
}

/// What must hold of every MTA-STS record.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_record(text: &str) {
    let begins = text.starts_with("v=STSv1;");
    if let Some(id) = record::id(text).ok().filter(|_| begins) {
        assert_eq!(record::id(&format!("v={}; id={id};", record::VERSION)), Ok(id));
    }
    let corrected = record::corrected(text, std::time::UNIX_EPOCH);
    assert!(record::id(&corrected).is_ok(), "{corrected}");
}

/// What must hold of every MTA-STS policy.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_policy(body: &[u8]) {
    let lines = body.split(|octet| *octet == b'\n').count();
    match policy::Policy::parse(body) {
        Ok(policy) => assert!(policy.mode == policy::Mode::None || !policy.patterns.is_empty(), "{policy:?}"),
        Err(remarks) => {
            assert!(!remarks.is_empty() && remarks.iter().all(|remark| remark.line <= lines), "{remarks:?}")
        }
    }
}
