//! Whether mailboxes may show the domain's logo: the record, and the DMARC policy it rests on.

use syntax::{Name, dmarc::Policy, fields, tags::Tags};

use crate::{
    Abstain, Context, Evidence, Finding, Fix,
    check::checks,
    dmarc::walk::{self, Applied, Walk},
    net::dns::Answer,
    versioned::{Published, publication, texts},
};

checks! {
    /// The BIMI record stands alone and names a logo.
    ///
    /// Mailboxes that show logos look for `default._bimi.DOMAIN`, then for that of the organizational domain
    /// (draft-brand-indicators-for-message-identification section 4.3). `l=` is the https URI of an SVG, `a=` that of the
    /// certificate (VMC or CMC), without which the largest show none; with both empty the domain declines. BIMI is
    /// optional, and no mail is lost for want of it.
    ///
    /// # Fix
    /// Publish one TXT record `v=BIMI1; l=https://…svg; a=https://…pem;`.
    "bimi.record" ("draft-brand-indicators-for-message-identification section 4.3") => record,

    /// The DMARC policy is strict enough for BIMI.
    ///
    /// No logo is shown unless DMARC says `p=quarantine` or `p=reject` for all of the mail, and no `sp=none` lets
    /// subdomains out (draft-brand-indicators-for-message-identification section 7.1). `t=y` asks receivers to go one
    /// level lower, which makes nothing of `quarantine` (RFC 9989 section 4.7).
    ///
    /// # Fix
    /// Raise the DMARC policy to `p=quarantine` or `p=reject`, without `pct=` below 100, `sp=none` or `t=y`.
    "bimi.dmarc" ("draft-brand-indicators-for-message-identification section 7.1") => dmarc,
}

/// The selector that is looked for unless a message names another.
const LABEL: &str = "default._bimi";
const VERSION: &str = "BIMI1";
const DECLINED: &str = "the domain declines to show a logo (l= is empty)";

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Assertion {
    Declined,
    Logo { location: String, authority: Option<String> },
}

impl Assertion {
    fn parse(text: &str) -> Result<Self, String> {
        if declines(text) {
            return Ok(Self::Declined);
        }
        let fields = fields::fields(text).map_err(|error| format!("{}, at octet {}", error.reason, error.position))?;
        let value =
            |name: &str| fields.iter().find(|field| field.name == name).map(|field| (field.value, field.position));
        let (location, position) = value("l").ok_or("l=, the logo's URI, is missing")?;
        let authority = value("a").filter(|(uri, _)| !uri.is_empty());
        if location.is_empty() {
            return Err("l= is empty, but a= is not".to_owned());
        }
        let path = https(location).map_err(|why| format!("l= {why}, at octet {position}"))?;
        if ![".svg", ".svgz"].iter().any(|end| path.to_ascii_lowercase().ends_with(end)) {
            return Err(format!("l= names no .svg, the only format there is, at octet {position}"));
        }
        if let Some((uri, position)) = authority {
            https(uri).map_err(|why| format!("a= {why}, at octet {position}"))?;
        }
        Ok(Self::Logo { location: location.to_owned(), authority: authority.map(|(uri, _)| uri.to_owned()) })
    }
}

/// Whether a record says that there is to be no logo: `l=` and `a=` are empty, whatever blanks stand beside them
/// (draft-brand-indicators-for-message-identification section 4.3).
fn declines(text: &str) -> bool {
    let Ok(tags) = Tags::parse(text) else { return false };
    let begins = tags.iter().next().is_some_and(|first| first.name == "v" && first.value == VERSION);
    begins && tags.get("l") == Some("") && tags.get("a").is_none_or(str::is_empty)
}

/// The path of an https URI.
fn https(uri: &str) -> Result<&str, String> {
    let scheme = uri.get(..8).filter(|scheme| scheme.eq_ignore_ascii_case("https://"));
    let rest = scheme.and(uri.get(8..)).ok_or("is no https:// URI")?;
    if rest.contains([' ', '\t', ',']) {
        return Err("is more than one URI".to_owned());
    }
    let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = host.split(':').next().unwrap_or(host);
    host.parse::<Name>().map_err(|why| format!("has a host that {why}"))?;
    Ok(path.split(['?', '#']).next().unwrap_or(path))
}

/// The domain that a registry knows, where it is another.
fn organizational(domain: &Name) -> Option<Name> {
    domain.registrable().filter(|organizational| organizational != domain)
}

/// The records at `label` below the domain, or, where there is none of the kind, below the organizational domain.
async fn discovered(
    cx: &Context,
    label: &str,
    version: &str,
    domain: &Name,
) -> Result<(Name, Answer, Published, Vec<Evidence>), Abstain> {
    let (name, answer) = texts(cx, label, domain).await?;
    let found = Published::of(&answer, version);
    let mut evidence = vec![answer.evidence()];
    if let (Published::Nothing(_), Some(parent)) = (&found, organizational(domain)) {
        let (name, answer) = texts(cx, label, &parent).await?;
        evidence.push(answer.evidence());
        return Ok((name, answer.clone(), Published::of(&answer, version), evidence));
    }
    Ok((name, answer, found, evidence))
}

async fn record(cx: &Context) -> Vec<Finding> {
    cx.each_domain(async |domain| {
        let (name, answer, found, evidence) = discovered(cx, LABEL, VERSION, domain).await?;
        let advice =
            || Fix::Advice(format!("Publish one TXT record at {name}: v=BIMI1; l=https://…svg; a=https://…pem;"));
        let finding = match found {
            Published::Nothing(why) => Finding::skip(format!("no BIMI record, which is optional: {why}")),
            Published::Discarded(text) if declines(&text) => Finding::skip(DECLINED),
            Published::Discarded(text) => {
                let fix = corrected(&text).map_or_else(advice, |text| publication(&name, &answer, &text));
                Finding::fail("the record does not begin with v=BIMI1; so that it is discarded").fix(fix)
            }
            Published::Several(texts) => {
                Finding::fail(format!("{} BIMI records, 1 allowed: none counts", texts.len())).fix(advice())
            }
            Published::One(text) => match Assertion::parse(&text) {
                Err(why) => Finding::fail(why).fix(advice()),
                Ok(Assertion::Declined) => Finding::skip(DECLINED),
                Ok(Assertion::Logo { location, authority: Some(authority) }) => {
                    Finding::pass(text).fact("l", location).fact("a", authority)
                }
                Ok(Assertion::Logo { location, authority: None }) => Finding::warn(
                    "no a=: without a certificate (VMC or CMC) the largest mailbox providers show no logo",
                )
                .fact("l", location)
                .fix(Fix::Advice(format!("Get a VMC or CMC for the logo and name it as a= in the record at {name}"))),
            },
        };
        Ok(finding.saw(evidence))
    })
    .await
}

/// The record beginning as it has to, if that is all that is wrong with it.
fn corrected(text: &str) -> Option<String> {
    let rest: Vec<&str> = text.split(';').map(str::trim).filter(|field| field.contains('=')).collect();
    let fields = rest.into_iter().filter(|field| !field.to_ascii_lowercase().starts_with("v="));
    let text = format!("v={VERSION}; {};", fields.collect::<Vec<_>>().join("; "));
    matches!(Assertion::parse(&text), Ok(Assertion::Logo { authority: Some(_), .. })).then_some(text)
}

async fn dmarc(cx: &Context) -> Vec<Finding> {
    cx.each_domain(async |domain| {
        let needs = |what: &str| Abstain::Needs(what.to_owned(), "bimi.record");
        match discovered(cx, LABEL, VERSION, domain).await {
            Err(Abstain::Unknown(_)) => return Err(needs("the BIMI record")),
            Err(abstain) => return Err(abstain),
            Ok((_, _, Published::Nothing(_), _)) => return Err(Abstain::NotApplicable("no BIMI record".to_owned())),
            Ok((_, _, Published::Discarded(text), _)) if declines(&text) => {
                return Err(Abstain::NotApplicable(DECLINED.to_owned()));
            }
            Ok((_, _, Published::One(text), _)) => match Assertion::parse(&text) {
                Ok(Assertion::Declined) => return Err(Abstain::NotApplicable(DECLINED.to_owned())),
                Ok(Assertion::Logo { .. }) => {}
                Err(_) => return Err(needs("a valid BIMI record")),
            },
            Ok(_) => return Err(needs("one valid BIMI record")),
        }
        let (why, evidence) = laxity(cx, domain).await?;
        let finding = match why {
            Ok(policy) => Finding::pass(policy),
            Err(why) => Finding::fail(format!("{why}: no logo is shown")),
        };
        Ok(finding.saw(evidence).fix(Fix::Advice(format!(
            "Raise the DMARC policy of {domain} to p=quarantine or p=reject, without pct= below 100, sp=none or t=y"
        ))))
    })
    .await
}

/// The policy that covers all mail of `domain`, or why it does not cover it all.
async fn laxity(cx: &Context, domain: &Name) -> Result<(Result<String, String>, Vec<Evidence>), Abstain> {
    let walk = Walk::of(cx, domain).await;
    let verdict = match walk::applied(cx, &walk).await? {
        None => Err(format!("no DMARC record at _dmarc.{domain}, nor above it")),
        Some(Applied { policy: None, .. }) => Err("DMARC record without a policy".to_owned()),
        Some(Applied { policy: Some(Policy::None), tag, .. }) => Err(format!("DMARC policy {tag}=none")),
        Some(Applied { record, .. }) if record.sp == Some(Policy::None) => Err("DMARC policy with sp=none".to_owned()),
        Some(Applied { policy: Some(Policy::Quarantine), record, tag, .. }) if record.testing => {
            Err(format!("DMARC policy {tag}=quarantine, lowered to none by t=y"))
        }
        Some(Applied { record, .. }) if record.testing && record.sp == Some(Policy::Quarantine) => {
            Err("DMARC policy with sp=quarantine, lowered to none by t=y".to_owned())
        }
        Some(Applied { policy: Some(policy), at, record, tag }) => {
            let share = record.removed("pct").and_then(|percent| percent.parse().ok()).unwrap_or(100_u32);
            match policy == Policy::Quarantine && share < 100 {
                true => Err(format!("DMARC policy p=quarantine with pct={share}, 100 is due")),
                false => Ok(format!("{tag}={} at _dmarc.{at}", policy.word())),
            }
        }
    };
    Ok((verdict, walk.evidence()))
}

/// What must hold of every BIMI record.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(text: &str) {
    if let Ok(Assertion::Logo { location, authority }) = Assertion::parse(text) {
        let text = format!("v={VERSION}; l={location}; a={};", authority.clone().unwrap_or_default());
        assert_eq!(Assertion::parse(&text), Ok(Assertion::Logo { location, authority }));
    }
    if let Some(text) = corrected(text) {
        assert!(Assertion::parse(&text).is_ok(), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_as_the_draft_spells_them() {
        let logo = |authority: Option<&str>| Assertion::Logo {
            location: "https://example.com/logo.svg".to_owned(),
            authority: authority.map(str::to_owned),
        };
        for (text, assertion) in [
            ("v=BIMI1; l=; a=;", Assertion::Declined),
            ("v=BIMI1; l=", Assertion::Declined),
            ("v=BIMI1; l=; a=", Assertion::Declined),
            ("v=BIMI1 ; l = ;\ta = ; ", Assertion::Declined),
            ("v=BIMI1; a=; l=; avp=brand", Assertion::Declined),
            ("v=BIMI1; l=https://example.com/logo.svg; a=;", logo(None)),
            (
                "v=BIMI1;l=https://example.com/logo.svg;a=https://example.com/a.pem",
                logo(Some("https://example.com/a.pem")),
            ),
        ] {
            assert_eq!(Assertion::parse(text), Ok(assertion), "{text}");
        }
        for (text, why) in [
            ("v=BIMI1;", "l=, the logo's URI, is missing"),
            ("v=BIMI1; l=; a=https://example.com/a.pem", "l= is empty, but a= is not"),
            ("v=BIMI1; l=http://example.com/logo.svg", "l= is no https:// URI, at octet 10"),
            ("v=BIMI1; l=https:///logo.svg", "l= has a host that is empty, at octet 10"),
            ("v=BIMI1; l=https://example.com/logo.png", "l= names no .svg, the only format there is, at octet 10"),
            ("v=BIMI1; l=https://a.test/a.svg,https://b.test/b.svg", "l= is more than one URI, at octet 10"),
            ("v=BIMI1; l=https://a.test/a.svg; a=self", "a= is no https:// URI, at octet 34"),
        ] {
            assert_eq!(Assertion::parse(text).unwrap_err(), why, "{text}");
        }
    }
}
