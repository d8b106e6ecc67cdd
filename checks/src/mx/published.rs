//! What the MX records say, before anybody looks up the hosts that they name.

use std::collections::HashMap;

use futures_util::future::join_all;
use hickory_resolver::proto::rr::RecordType;
use syntax::{Name, Protocols, zone::absolute};

use crate::{Abstain, Context, Evidence, Finding, Fix, net::dns::MOST_HOSTS};

/// The MX records of one domain, the most preferred first.
struct Published<'a> {
    domain: &'a Name,
    exchanges: Vec<(u16, Name)>,
    evidence: Evidence,
}

impl Published<'_> {
    fn nulls(&self) -> usize {
        self.exchanges.iter().filter(|(_, exchange)| exchange.is_root()).count()
    }

    /// The exchanges that are hosts.
    fn hosts(&self) -> Result<Vec<&(u16, Name)>, Abstain> {
        let hosts: Vec<_> = self.exchanges.iter().filter(|(_, exchange)| !exchange.is_root()).collect();
        match hosts.is_empty() {
            true => Err(Abstain::NotApplicable("a null MX names no exchange".to_owned())),
            false => Ok(hosts),
        }
    }
}

/// MX records as a zone file has them.
pub(super) fn lines<'a>(domain: &Name, exchanges: impl IntoIterator<Item = &'a (u16, Name)>) -> String {
    let line = |(preference, exchange): &(u16, Name)| {
        format!("{} 3600 IN MX {preference} {}", absolute(domain), absolute(exchange))
    };
    exchanges.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A verdict on each domain's records; where there are none, `mx.record` has said why.
async fn each<'a>(
    cx: &'a Context,
    judge: impl AsyncFn(&Published<'a>) -> Result<Finding, Abstain>,
) -> Result<Vec<Finding>, Abstain> {
    if cx.target.domains.is_empty() {
        return Err(Abstain::NotApplicable("no domain given".to_owned()));
    }
    let judged = cx.target.domains.iter().map(async |domain| {
        let needs = |what: &str| Finding::from(Abstain::Needs(what.to_owned(), "mx.record"));
        let finding = match cx.net.dns.ask(domain, RecordType::MX).await {
            Ok(answer) if answer.exchanges().is_empty() => needs("an MX record").saw([answer.evidence()]),
            Ok(answer) => {
                let published = Published { domain, exchanges: answer.exchanges(), evidence: answer.evidence() };
                let evidence = published.evidence.clone();
                Finding::from(judge(&published).await).saw([evidence])
            }
            Err(silence) => needs("the MX records").saw([silence.evidence()]),
        };
        finding.about(domain)
    });
    Ok(join_all(judged).await)
}

pub(super) async fn null(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    let judge = async |published: &Published<'_>| match published.nulls() == published.exchanges.len() {
        true => {
            let finding = Finding::warn("a null MX, for a domain that mail is sent from");
            let advice = "Publish an MX record for replies and bounces, or send from a domain that has one";
            Ok(finding.fix(Fix::Advice(advice.to_owned())))
        }
        false => Ok(Finding::pass("the MX records name a host")),
    };
    each(cx, judge).await
}

pub(super) async fn mixed(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    let judge = async |published: &Published<'_>| {
        let others = published.exchanges.len() - published.nulls();
        Ok(match (published.nulls(), others) {
            (0, _) => Finding::pass("no null MX"),
            (_, 0) => Finding::pass("a null MX alone"),
            (_, 1) => Finding::fail("a null MX beside 1 other record, none allowed").fix(without_null(published)),
            _ => Finding::fail(format!("a null MX beside {others} other records, none allowed"))
                .fix(without_null(published)),
        })
    };
    each(cx, judge).await
}

fn without_null(published: &Published<'_>) -> Option<Fix> {
    Some(Fix::Zone(lines(published.domain, published.hosts().ok()?)))
}

pub(super) async fn duplicates(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    let judge = async |published: &Published<'_>| {
        let hosts = published.hosts()?;
        // The most preferred comes first: it is the one that stays.
        let mut kept: Vec<&(u16, Name)> = Vec::new();
        let mut places: HashMap<&Name, u16> = HashMap::new();
        let mut again: Vec<String> = Vec::new();
        for host @ (place, name) in hosts.iter().copied() {
            match places.insert(name, *place) {
                Some(first) => {
                    again.push(format!("{name} stands at {first} and again at {place}"));
                    places.insert(name, first);
                }
                None => kept.push(host),
            }
        }
        Ok(match again.is_empty() {
            true if hosts.len() == 1 => Finding::pass("1 exchange"),
            true => Finding::pass(format!("{} exchanges, each once", hosts.len())),
            false => Finding::warn(again.join("; ")).fix(Fix::Zone(lines(published.domain, kept))),
        })
    };
    each(cx, judge).await
}

pub(super) async fn names(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    let judge = async |published: &Published<'_>| {
        let hosts = published.hosts()?;
        if hosts.iter().all(|(_, name)| name.address_literal().is_some()) {
            return Err(Abstain::Needs("an exchange that is a name".to_owned(), "mx.address"));
        }
        let flawed = hosts.iter().filter_map(|(_, name)| Some(format!("{name} {}", flaw(name, published.domain)?.0)));
        let mut flawed: Vec<String> = flawed.collect();
        flawed.dedup();
        Ok(match flawed.is_empty() {
            true => Finding::pass("letters, digits and hyphens"),
            false => Finding::warn(flawed.join("; ")).fix(respelt(cx, published).await),
        })
    };
    each(cx, judge).await
}

/// The records with every name as it was probably meant, if the hosts so named exist.
async fn respelt(cx: &Context, published: &Published<'_>) -> Option<Fix> {
    let meant = |(preference, name): &(u16, Name)| match flaw(name, published.domain) {
        Some((_, meant)) => Some((*preference, meant?, true)),
        None => Some((*preference, name.clone(), false)),
    };
    let hosts = published.hosts().ok()?;
    let records: Option<Vec<_>> = if hosts.len() > MOST_HOSTS { None } else { hosts.into_iter().map(meant).collect() };
    let exist = match &records {
        Some(records) => {
            let asked = records.iter().map(async |(_, name, is_guess)| {
                !is_guess || cx.net.dns.addresses(name, Protocols::All).await.is_ok_and(|found| !found.is_empty())
            });
            join_all(asked).await.into_iter().all(|exists| exists)
        }
        None => false,
    };
    match records.filter(|_| exist) {
        Some(records) => {
            let mut records: Vec<(u16, Name)> = records.into_iter().map(|(at, name, _)| (at, name)).collect();
            records.dedup();
            Some(Fix::Zone(lines(published.domain, &records)))
        }
        None => Some(Fix::Advice(format!(
            "Name the host in the MX records of {} by letters, digits and hyphens alone; in a zone file, with the final dot",
            published.domain
        ))),
    }
}

/// What is wrong with an exchange's spelling, and the name that was probably meant. An address is `mx.address`'s.
fn flaw(name: &Name, domain: &Name) -> Option<(String, Option<Name>)> {
    if name.address_literal().is_some() {
        return None;
    }
    if let Some(meant) = undoubled(name, domain) {
        return Some((format!("has {domain} twice: a final dot is missing in the zone file"), Some(meant)));
    }
    for (position, label) in name.labels().enumerate() {
        if let Some(odd) = label.iter().find(|octet| !octet.is_ascii_alphanumeric() && **octet != b'-') {
            let what = match odd {
                b':' => "has ':' in it: an MX record names no port".to_owned(),
                b' ' => "has a blank in it".to_owned(),
                b'!'..=b'~' => format!("has {:?} in it", char::from(*odd)),
                octet => format!("has the octet {octet} in it"),
            };
            return Some((what, without_junk(name, position)));
        }
        if label.starts_with(b"-") || label.ends_with(b"-") {
            return Some(("has a label that begins or ends with a hyphen".to_owned(), None));
        }
    }
    let is_number = |label: &[u8]| label.iter().all(u8::is_ascii_digit);
    match name.labels().next_back().filter(|label| is_number(label)) {
        Some(_) => Some(("ends in a number".to_owned(), None)),
        None if name.depth() < 2 => Some(("is a single label".to_owned(), None)),
        None => None,
    }
}

/// The name without the zone's name behind it, where that stands there twice, or behind a name of another domain.
fn undoubled(name: &Name, domain: &Name) -> Option<Name> {
    let own = name.depth().checked_sub(domain.depth()).filter(|own| *own > 0 && name.is_within(domain))?;
    let written = Name::from_labels(name.labels().take(own)).ok()?;
    written.is_within(domain).then_some(written)
}

/// The name up to the junk in the label at `position`, such as `mx1.example.com` of `mx1.example.com,` and of
/// `mx1.example.com:25`.
fn without_junk(name: &Name, position: usize) -> Option<Name> {
    let is_plain = |octet: &u8| octet.is_ascii_alphanumeric() || *octet == b'-';
    let label = name.labels().nth(position)?;
    let clean: Vec<u8> = label.iter().copied().take_while(is_plain).collect();
    let rest = label.get(clean.len()..)?;
    // In the middle of a label, letters behind the junk are part of the name: nobody knows what was meant.
    let is_trailing = rest.iter().all(|octet| !octet.is_ascii_alphabetic());
    let labels = name.labels().take(position).chain([clean.as_slice()]);
    (is_trailing && !clean.is_empty()).then(|| Name::from_labels(labels).ok()).flatten().filter(|name| name.depth() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_slips_into_exchange_names() {
        let domain: Name = "example.com".parse().unwrap();
        for (labels, meant) in [
            (&["mx1", "example", "com", "example", "com"][..], Some("mx1.example.com")),
            (&["example", "com", "example", "com"], Some("example.com")),
            (&["mx1", "example", "com,"], Some("mx1.example.com")),
            (&["mx1", "example", "com:25"], Some("mx1.example.com")),
            (&["mx1", "example", "com "], Some("mx1.example.com")),
            (&["mx1", "example", "com;"], Some("mx1.example.com")),
            (&["mx1", "example", "com ", "example", "com"], Some("mx1.example.com")),
            (&["mx1", "example", "com,", "example", "com"], Some("mx1.example.com")),
            (&["10 mx1", "example", "com"], None),
            (&["mx_1", "example", "com"], None),
            (&["m\u{fc}x", "example", "com"], None),
            (&["-mx", "example", "com"], None),
            (&["mx", "42"], None),
            (&["mx1"], None),
        ] {
            let name = Name::from_labels(labels.iter().map(|label| label.as_bytes())).unwrap();
            let (_, found) = flaw(&name, &domain).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(found.map(|name| name.to_string()).as_deref(), meant, "{name}");
        }
        for name in ["mx1.example.com", "example.com", "mx-1.example.net", "192.0.2.1", "mx.example.com.example.net"] {
            assert_eq!(flaw(&name.parse().unwrap(), &domain), None, "{name}");
        }
    }
}
