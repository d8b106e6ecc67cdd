//! Where senders report that TLS to the domain's exchanges failed.

use std::collections::HashSet;

use futures_util::future::join_all;
use hickory_resolver::proto::rr::RecordType;
use syntax::{Name, Protocols, fields};

use self::destination::Destination;
use crate::{
    Abstain, Context, Evidence, Finding, Fix, Status,
    check::checks,
    mx::receives,
    net::{NoAnswer, dns::Answer},
    versioned::{Published, publication, texts},
};

mod destination;

checks! {
    /// The TLS reporting record stands alone and is well formed.
    ///
    /// At `_smtp._tls.DOMAIN` stands where senders report TLS that failed (RFC 8460 section 3): without it nobody learns
    /// that a certificate has run out and mail waits at the senders. Senders discard what does not begin with
    /// `v=TLSRPTv1;`, and where they find two records they go on as if there were none. TLS reporting is optional.
    ///
    /// # Fix
    /// Publish one TXT record `v=TLSRPTv1; rua=mailto:…`.
    "tls-rpt.record" ("RFC 8460 section 3") => record,

    /// TLS reports can be delivered where the record says.
    ///
    /// Every `rua` is a `mailto:` or an `https:` URI, in which comma, semicolon and exclamation mark are
    /// percent-encoded (RFC 8460 section 3). Reports by mail may go to the very domain: they are delivered whatever TLS
    /// does (RFC 8460 section 3). A domain elsewhere need not agree, as it must for DMARC.
    ///
    /// # Fix
    /// Name an address whose domain receives mail, or an https URI whose host exists.
    "tls-rpt.reports" ("RFC 8460 section 3") => reports,
}

const LABEL: &str = "_smtp._tls";
const VERSION: &str = "TLSRPTv1";

/// More destinations than anybody has are not looked up.
const MOST_DESTINATIONS: usize = 20;

async fn record(cx: &Context) -> Vec<Finding> {
    cx.each_domain(async |domain| {
        let (name, answer) = texts(cx, LABEL, domain).await?;
        let publish = |texts: &[String]| correction(&name, &answer, domain, texts);
        let finding = match Published::of(&answer, VERSION) {
            Published::Nothing(why) => {
                let unwatched = match has_policy(cx, domain).await {
                    true => ", and nobody learns of it where MTA-STS keeps mail from being delivered",
                    false => "",
                };
                Finding::skip(format!("no TLS reporting record, which is optional: {why}{unwatched}"))
            }
            Published::Discarded(text) => {
                let why = "the record does not begin with v=TLSRPTv1; so that senders discard it";
                Finding::fail(why).fix(publish(&[text]))
            }
            Published::Several(texts) => {
                Finding::fail(format!("{} TLS reporting records, 1 allowed: senders use none", texts.len()))
                    .fix(publish(&texts))
            }
            Published::One(text) => match rua(&text) {
                Ok(rua) => Finding::pass(text).fact("rua", rua),
                Err(why) => Finding::fail(why).fix(publish(&[text])),
            },
        };
        Ok(finding.saw([answer.evidence()]))
    })
    .await
}

/// Whether the domain has MTA-STS, as far as DNS tells.
async fn has_policy(cx: &Context, domain: &Name) -> bool {
    match texts(cx, "_mta-sts", domain).await {
        Ok((_, answer)) => matches!(Published::of(&answer, "STSv1"), Published::One(_)),
        Err(_) => false,
    }
}

/// The URIs of a record that begins with `v=TLSRPTv1;`, or what is wrong and where.
fn rua(text: &str) -> Result<Vec<String>, String> {
    let fields = fields::fields(text).map_err(|error| format!("{}, at octet {}", error.reason, error.position))?;
    // What stands twice is not told of in RFC 8460: as in RFC 8461 section 3.2, the first counts.
    let rua = fields.iter().find(|field| field.name == "rua").ok_or("rua= is missing")?;
    match rua.value {
        "" => Err(format!("rua= is empty, at octet {}", rua.position)),
        uris => Ok(uris.split(',').take(MOST_DESTINATIONS).map(|uri| uri.trim().to_owned()).collect()),
    }
}

/// The record as it was meant, with whatever destinations of `texts` can be used.
fn correction(name: &Name, answer: &Answer, domain: &Name, texts: &[String]) -> Fix {
    let mut known = HashSet::new();
    let spotted = texts.iter().filter_map(|text| fields::spotted(text, "rua")).flat_map(|uris| uris.split(','));
    let corrected = spotted.filter_map(destination::corrected).filter(|uri| known.insert(uri.clone()));
    let uris: Vec<String> = corrected.take(MOST_DESTINATIONS).collect();
    match uris.is_empty() {
        true => Fix::Advice(format!(
            "Publish one TXT record at {name}: v=TLSRPTv1; rua=mailto: and an address at {domain} or elsewhere that \
             somebody reads"
        )),
        false => publication(name, answer, &format!("v={VERSION}; rua={}", uris.join(","))),
    }
}

/// What became of one destination.
enum Reach {
    Fine,
    Broken(String),
    Silent(NoAnswer),
}

async fn reports(cx: &Context) -> Vec<Finding> {
    cx.each_domain(async |domain| {
        let needs = |what: &str| Abstain::Needs(what.to_owned(), "tls-rpt.record");
        let (name, answer) = match texts(cx, LABEL, domain).await {
            Err(Abstain::Unknown(_)) => return Err(needs("the TLS reporting record")),
            other => other?,
        };
        let (text, uris) = match Published::of(&answer, VERSION) {
            Published::Nothing(_) => return Err(Abstain::NotApplicable("no TLS reporting record".to_owned())),
            Published::One(text) => match rua(&text) {
                Ok(uris) => (text, uris),
                Err(_) => return Err(needs("a valid TLS reporting record")),
            },
            Published::Several(_) | Published::Discarded(_) => return Err(needs("one valid TLS reporting record")),
        };
        let reached = join_all(uris.iter().map(|uri| reach(cx, uri))).await;
        let mut evidence = vec![answer.evidence()];
        let (mut broken, mut silent, mut fine) = (Vec::new(), Vec::new(), Vec::new());
        for (uri, (reach, mut seen)) in uris.iter().zip(reached) {
            evidence.append(&mut seen);
            match reach {
                Reach::Fine => fine.push(uri.clone()),
                Reach::Broken(why) => broken.push(why),
                Reach::Silent(silence) => silent.push(silence.to_string()),
            }
        }
        let finding = match (broken.is_empty(), silent.is_empty(), fine.is_empty()) {
            (true, true, _) => Finding::pass(fine.join(", ")),
            (true, false, _) | (false, false, true) => Finding::unknown([broken, silent].concat().join("; ")),
            (false, _, false) => Finding::warn([broken, silent].concat().join("; ")),
            (false, true, true) => Finding::fail(format!("{}; no report arrives", broken.join("; "))),
        };
        let is_misspelt = uris.iter().any(|uri| Destination::parse(uri).is_err());
        let fix = match (finding.status, is_misspelt) {
            (Status::Unknown, _) => None,
            (_, true) => Some(correction(&name, &answer, domain, &[text])),
            (_, false) => {
                Some(Fix::Advice(format!("Name in the TXT record at {name} only where reports can be delivered")))
            }
        };
        Ok(finding.fact("destinations", fine).saw(evidence).fix(fix))
    })
    .await
}

/// Whether a report can be delivered to `uri`, and what shows it.
async fn reach(cx: &Context, uri: &str) -> (Reach, Vec<Evidence>) {
    let broken = |why: String| Reach::Broken(format!("{uri}: {why}"));
    match Destination::parse(uri) {
        Err(why) => (broken(why), Vec::new()),
        Ok(Destination::Mail(domain)) => match receives(cx, &domain).await {
            Ok(None) => (Reach::Fine, seen(cx, &domain).await),
            Ok(Some((why, answer))) => (broken(why), vec![answer.evidence()]),
            Err(silence) => (Reach::Silent(silence.clone()), vec![silence.evidence()]),
        },
        Ok(Destination::Address) => (Reach::Fine, Vec::new()),
        Ok(Destination::Web(host)) => match located(cx, &host).await {
            (Reach::Broken(why), evidence) => (broken(why), evidence),
            other => other,
        },
    }
}

/// The MX records of a domain that was asked about.
async fn seen(cx: &Context, domain: &Name) -> Vec<Evidence> {
    cx.net.dns.known(domain, RecordType::MX).await.iter().map(Answer::evidence).collect()
}

async fn located(cx: &Context, host: &Name) -> (Reach, Vec<Evidence>) {
    match cx.net.dns.addresses(host, Protocols::All).await {
        Ok(addresses) if addresses.is_empty() => {
            let answer = cx.net.dns.known(host, RecordType::A).await;
            let evidence = answer.iter().map(Answer::evidence).collect();
            (Reach::Broken(format!("{host} has no address")), evidence)
        }
        Ok(_) => (Reach::Fine, Vec::new()),
        Err(silence) => (Reach::Silent(silence.clone()), vec![silence.evidence()]),
    }
}

/// What must hold of every TLS reporting record.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(text: &str) {
    let uris = rua(text).unwrap_or_default();
    if !uris.is_empty() {
        assert_eq!(rua(&format!("v={VERSION}; rua={}", uris.join(","))).as_ref(), Ok(&uris));
    }
    for uri in uris {
        let is_fine = Destination::parse(&uri).is_ok();
        let corrected = destination::corrected(&uri);
        assert!(corrected.as_ref().is_none_or(|uri| Destination::parse(uri).is_ok()), "{corrected:?}");
        // Two slashes may begin a local part, but nobody means that.
        assert!(!is_fine || uri.starts_with("mailto://") || corrected.as_ref() == Some(&uri), "{uri}: {corrected:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_as_rfc_8460_spells_them() {
        for (text, uris) in [
            ("v=TLSRPTv1; rua=mailto:a@b.test", vec!["mailto:a@b.test"]),
            (
                "v=TLSRPTv1;rua=https://b.test/v1?a=b ,  mailto:a@b.test;",
                vec!["https://b.test/v1?a=b", "mailto:a@b.test"],
            ),
            ("v=TLSRPTv1; x=y; rua=mailto:a@b.test; rua=z", vec!["mailto:a@b.test"]),
        ] {
            assert_eq!(rua(text).unwrap(), uris, "{text}");
        }
        for (text, why) in [
            ("v=TLSRPTv1;", "rua= is missing"),
            ("v=TLSRPTv1; ruf=mailto:a@b.test", "rua= is missing"),
            ("v=TLSRPTv1; rua=;", "rua= is empty, at octet 13"),
            ("v=TLSRPTv1; mailto:a@b.test", "\"mailto:a@b.test\" is no name=value, at octet 13"),
        ] {
            assert_eq!(rua(text).unwrap_err(), why, "{text}");
        }
    }
}
