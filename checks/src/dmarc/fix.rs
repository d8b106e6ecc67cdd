//! Whole records to publish instead.

use syntax::{
    Name,
    dmarc::{Policy, REMOVED, Record, TAGS, is_dmarc, text},
};

use super::walk::{Place, Published, Walk};
use crate::Fix;

/// How alike two policies are spelled if one is meant as the other.
const ALIKE: f64 = 0.85;

/// The zone line of a record at `_dmarc` under `domain`; advice where an alias stands there, which allows no other
/// record beside it (RFC 1034 section 3.6.2).
pub(super) fn published(walk: &Walk, domain: &Name, text: &str) -> Fix {
    let place = walk.places.iter().find(|place| place.domain == *domain);
    let alias = place.and_then(|place| place.answer.as_ref()?.aliases().last().cloned());
    match (alias, domain.child("_dmarc")) {
        (Some(end), _) => {
            Fix::Advice(format!("Publish at {end}, where the CNAME leads, or in place of the CNAME: {text}"))
        }
        (None, Ok(owner)) => Fix::txt(&owner, text),
        (None, Err(why)) => Fix::Advice(format!("Use a shorter domain: _dmarc.{domain} {why}")),
    }
}

/// A record that only asks for reports, for a domain that has none.
pub(super) fn new_record(domain: &Name, receives: bool) -> String {
    match receives {
        true => format!("v=DMARC1; p=none; rua=mailto:postmaster@{domain}"),
        false => "v=DMARC1; p=none".to_owned(),
    }
}

/// The record with some tags left out and some added at its end.
pub(super) fn edited(record: &Record, without: &[&str], added: &[String]) -> String {
    let is_kept = |spec: &&str| {
        let name = spec.split('=').next().unwrap_or_default().trim();
        !name.is_empty() && !without.contains(&name)
    };
    let kept = record.text.split(';').map(str::trim).filter(is_kept).map(str::to_owned);
    kept.chain(added.iter().cloned()).collect::<Vec<_>>().join("; ")
}

/// The record that was plainly meant, if it is plain.
pub(super) fn corrected(octets: &[u8]) -> Option<String> {
    let plain = text(octets).replace('\u{a0}', " ");
    let plain: String =
        plain.chars().filter(|c| !"\"'\\\u{201c}\u{201d}\u{201e}\u{2018}\u{2019}".contains(*c)).collect();
    let mut tags: Vec<(&str, String)> = vec![("v", "DMARC1".to_owned())];
    for (name, value) in specs(&plain) {
        if REMOVED.iter().any(|(removed, _)| *removed == name) {
            continue;
        }
        let value = match name {
            "v" if value.eq_ignore_ascii_case("DMARC1") => continue,
            "p" | "sp" | "np" => policy(value)?.word().to_owned(),
            "rua" | "ruf" => addresses(value)?,
            "adkim" | "aspf" if value.eq_ignore_ascii_case("strict") => "s".to_owned(),
            "adkim" | "aspf" if value.eq_ignore_ascii_case("relaxed") => "r".to_owned(),
            _ => value.to_owned(),
        };
        match tags.iter().find(|(known, _)| *known == name) {
            Some((_, known)) if *known != value => return None,
            Some(_) => {}
            None => tags.push((name, value)),
        }
    }
    let record = tags.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
    let read = Record::parse(record.as_bytes())?;
    (read.faults.is_empty() && read.p.is_some()).then_some(record)
}

/// The tags that DMARC knows, whatever stands between them.
fn specs(text: &str) -> Vec<(&'static str, &str)> {
    let lower = text.to_ascii_lowercase();
    let known = || TAGS.into_iter().chain(REMOVED.map(|(name, _)| name));
    let is_gap = |c: char| c.is_whitespace() || ";,".contains(c);
    let begins = |index: usize| {
        let rest = lower.get(index..)?;
        let is_free = lower.get(..index)?.chars().next_back().is_none_or(is_gap);
        let name = known().find(|name| {
            rest.strip_prefix(name).is_some_and(|rest| rest.trim_start_matches([' ', '\t']).starts_with('='))
        })?;
        is_free.then_some((index, name))
    };
    let starts: Vec<(usize, &'static str)> = (0..lower.len()).filter_map(begins).collect();
    let ends = starts.iter().skip(1).map(|(index, _)| *index).chain([text.len()]);
    let spec = |((start, name), end): (&(usize, &'static str), usize)| {
        let (_, value) = text.get(*start..end)?.split_once('=')?;
        Some((*name, value.trim_matches(is_gap)))
    };
    starts.iter().zip(ends).filter_map(spec).collect()
}

fn policy(value: &str) -> Option<Policy> {
    let likeness = |policy: &Policy| strsim::jaro_winkler(policy.word(), &value.to_ascii_lowercase());
    let all = [Policy::None, Policy::Quarantine, Policy::Reject].into_iter();
    all.filter(|policy| likeness(policy) > ALIKE).max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

/// A list of URIs with `mailto:` before each address, without sizes.
fn addresses(value: &str) -> Option<String> {
    let uris = value.split([',', ';']).map(str::trim).filter(|uri| !uri.is_empty());
    let whole = uris.map(|uri| {
        let uri = uri.split('!').next().unwrap_or_default();
        match uri.split_once(':') {
            None if uri.contains('@') => Some(format!("mailto:{uri}")),
            None => None,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("mailto") => {
                Some(format!("mailto:{}", rest.trim_start_matches('/').trim_start()))
            }
            Some(_) => Some(uri.to_owned()),
        }
    });
    let whole: Option<Vec<String>> = whole.collect();
    whole.filter(|uris| !uris.is_empty()).map(|uris| uris.join(","))
}

/// One record of several, where they are the same but for blanks; else somebody has to choose.
pub(super) fn merged(texts: &[Vec<u8>]) -> Option<String> {
    let squeezed = |octets: &Vec<u8>| text(octets).replace([' ', '\t'], "").trim_end_matches(';').to_owned();
    let first = texts.first()?;
    texts.iter().all(|text| squeezed(text) == squeezed(first)).then(|| text(first))
}

/// The text of a misplaced record, in a form that receivers read.
pub(super) fn moved(octets: &[u8]) -> Option<String> {
    if is_dmarc(octets) && Record::parse(octets).is_some_and(|record| record.faults.is_empty()) {
        return Some(text(octets));
    }
    corrected(octets)
}

/// The text at a place that was meant as a record, whether it is one or not.
pub(super) fn meant(place: &Place) -> Option<Vec<u8>> {
    match &place.published {
        Published::One(record) => Some(record.text.clone().into_bytes()),
        Published::Odd(text) => Some(text.clone()),
        Published::Several(_) | Published::Nothing | Published::Silent(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_plainly_meant_is_spelled_right() {
        for (text, expected) in [
            ("v=dmarc1; p=none", Some("v=DMARC1; p=none")),
            ("v=DMARC1 p=reject rua=mailto:a@example.com", Some("v=DMARC1; p=reject; rua=mailto:a@example.com")),
            ("v=DMARC1,p=none,rua=a@example.com", Some("v=DMARC1; p=none; rua=mailto:a@example.com")),
            ("p=none; v=DMARC1", Some("v=DMARC1; p=none")),
            ("\u{201c}v=DMARC1; p=none\u{201d}", Some("v=DMARC1; p=none")),
            ("v=DMARC1\\; p=none\\;", Some("v=DMARC1; p=none")),
            ("v=DMARC1; p=quarentine; pct=50", Some("v=DMARC1; p=quarantine")),
            (
                "v=DMARC1; p=none; rua=mailto:a@x.example;mailto:b@x.example",
                Some("v=DMARC1; p=none; rua=mailto:a@x.example,mailto:b@x.example"),
            ),
            ("v=DMARC1; p=none; p=none", Some("v=DMARC1; p=none")),
            ("v=DMARC1; p=none; p=reject", None),
            ("v=DMARC1; p=monitor", None),
            ("v=DMARC2; p=none", None),
            ("v=DMARC1", None),
        ] {
            assert_eq!(corrected(text.as_bytes()).as_deref(), expected, "{text}");
        }
        let record = Record::parse(b"v=DMARC1; p=reject; sp=none; ;").unwrap();
        assert_eq!(edited(&record, &["sp"], &["psd=n".to_owned()]), "v=DMARC1; p=reject; psd=n");
    }
}
