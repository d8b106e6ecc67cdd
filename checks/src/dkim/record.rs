//! The tags of a DKIM key record (RFC 6376 section 3.6.1), and every mistake in them with its position.

use syntax::text::shortened;

use std::fmt;

use crate::Status;

/// What a key record may say. `n=` is a note for people.
const KNOWN: [&str; 7] = ["v", "h", "k", "n", "p", "s", "t"];

/// How much of a tag is shown, in characters.
const LONGEST_SHOWN: usize = 40;

/// Nobody means more; what strangers publish can be long.
const MOST_TAGS: usize = 64;

/// A key record as far as it can be made out: what is spelled wrong is among the mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    tags: Vec<Tag>,
    /// The gravest first, then by position.
    pub(super) mistakes: Vec<Mistake>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tag {
    name: String,
    value: String,
    position: usize,
}

/// What the grammar does not accept, or what verifiers ignore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// The octet of the record, counted from 1.
    pub(super) position: usize,
    pub(super) reason: String,
    pub(super) status: Status,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at octet {}", self.reason, self.position)
    }
}

impl Record {
    /// Reads the strings of a TXT record, joined.
    pub(super) fn read(octets: &[u8]) -> Self {
        let text = String::from_utf8_lossy(octets);
        let mut record = Self { tags: Vec::new(), mistakes: Vec::new() };
        let odd = |c: &char| !c.is_ascii() || (c.is_ascii_control() && !c.is_ascii_whitespace());
        if let Some((offset, odd)) = text.char_indices().find(|(_, c)| odd(c)) {
            record.wrong(offset + 1, format!("{odd:?} is no character of a tag list"));
        }
        let (mut position, mut specs) = (1, text.split(';').peekable());
        while let Some(spec) = specs.next() {
            let is_last = specs.peek().is_none();
            if !(is_last && spec.trim().is_empty() && !record.tags.is_empty()) {
                record.take(spec, position);
            }
            position += spec.len() + 1;
        }
        record.judge_version();
        record.judge_tags(text.len());
        record.mistakes.sort_by_key(|mistake| (std::cmp::Reverse(mistake.status), mistake.position));
        record
    }

    /// The value of a tag.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|tag| tag.name == name).map(|tag| tag.value.as_str())
    }

    /// The words of a tag whose value is a list with colons.
    pub(super) fn words(&self, name: &str) -> Option<Vec<&str>> {
        self.get(name).map(|list| list.split(':').map(str::trim).collect())
    }

    /// Why verifiers do not use the record, if it is for its spelling.
    pub(super) fn fault(&self) -> Option<&Mistake> {
        self.mistakes.iter().find(|mistake| mistake.status == Status::Fail)
    }

    /// Whether the record withdraws the key: it is well written, and its `p=` is empty.
    pub(super) fn is_revoked(&self) -> bool {
        self.fault().is_none() && self.get("p") == Some("")
    }

    /// Whether the tag has one value alone.
    pub(super) fn is_plain(&self, name: &str) -> bool {
        self.tags.iter().filter(|tag| tag.name == name).all(|tag| Some(tag.value.as_str()) == self.get(name))
    }

    fn wrong(&mut self, position: usize, reason: String) {
        if self.mistakes.len() < MOST_TAGS {
            self.mistakes.push(Mistake { position, reason, status: Status::Fail });
        }
    }

    fn odd(&mut self, position: usize, reason: String) {
        self.mistakes.push(Mistake { position, reason, status: Status::Warn });
    }

    /// Takes what stands between two semicolons, from `position` on: one tag, or several where semicolons are missing.
    fn take(&mut self, spec: &str, position: usize) {
        let start = position + (spec.len() - spec.trim_start().len());
        let (mut spec, mut start) = (spec.trim(), start);
        if spec.is_empty() {
            let is_all = self.tags.is_empty() && position == 1;
            let what = if is_all { "the record is empty" } else { "there is no tag between two semicolons" };
            return self.wrong(start, what.to_owned());
        }
        while let Some(next) = self.take_one(spec, start) {
            let rest = spec.get(next..).unwrap_or_default();
            start += next;
            spec = rest;
            self.wrong(start, format!("a semicolon is missing before {}=", rest.split('=').next().unwrap_or_default()));
        }
    }

    /// Takes the tag that `spec` begins with; where the next one begins, if no semicolon separates it.
    fn take_one(&mut self, spec: &str, start: usize) -> Option<usize> {
        if self.tags.len() >= MOST_TAGS {
            if self.tags.len() == MOST_TAGS {
                self.wrong(start, format!("there are more than {MOST_TAGS} tags"));
                self.tags.push(Tag { name: String::new(), value: String::new(), position: start });
            }
            return None;
        }
        let Some((name, value)) = spec.split_once('=') else {
            let is_quote = spec.trim_matches('"').is_empty();
            let what = match is_quote {
                true => "a quote: the record was pasted with its quotes".to_owned(),
                false => format!("{:?} is no tag=value", shortened(spec, LONGEST_SHOWN)),
            };
            self.wrong(start, what);
            return None;
        };
        let value_at = name.len() + 1 + (value.len() - value.trim_start().len());
        let (mut name, value) = (name.trim(), value.trim());
        if let Some(quoted) = name.strip_prefix('"') {
            self.wrong(start, "a quote: the record was pasted with its quotes".to_owned());
            name = quoted.trim_start();
        }
        if !is_tag_name(name) {
            self.wrong(start, format!("{:?} is no tag name", shortened(name, LONGEST_SHOWN)));
            return None;
        }
        let end = merged(name, value);
        let (mine, rest) = value.split_at_checked(end.unwrap_or(value.len())).unwrap_or((value, ""));
        let mine = self.cleaned(name, mine.trim_end(), start + value_at);
        if self.tags.iter().any(|known| known.name == name) {
            self.wrong(start, format!("{name}= stands twice"));
        }
        self.tags.push(Tag { name: name.to_owned(), value: mine, position: start });
        end.map(|end| value_at + end + (rest.len() - rest.trim_start().len()))
    }

    /// The value without what a paste left in it.
    fn cleaned(&mut self, name: &str, value: &str, position: usize) -> String {
        if name == "n" {
            return value.to_owned();
        }
        let is_escape = value.ends_with('\\');
        if let Some(offset) = value.find(['"', '\\', '(', ')']) {
            let culprit = match value.get(offset..).unwrap_or_default() {
                "\\" if is_escape => format!("a backslash stands before the semicolon after {name}="),
                rest if rest.starts_with('"') => {
                    format!("a quote inside {name}=: the record was pasted with its quotes")
                }
                rest if rest.starts_with('\\') => format!("a backslash inside {name}="),
                _ => format!("a parenthesis inside {name}=: the record was pasted with the zone file's"),
            };
            self.wrong(position + offset, culprit);
        }
        value.replace(['"', '\\', '(', ')'], "").trim().to_owned()
    }

    fn judge_version(&mut self) {
        let Some(version) = self.tags.iter().find(|tag| tag.name == "v").cloned() else {
            if !self.tags.is_empty() {
                self.odd(1, "v=DKIM1 is missing, which is recommended".to_owned());
            }
            return;
        };
        let shown = shortened(&version.value, LONGEST_SHOWN);
        if version.value != "DKIM1" && version.value.eq_ignore_ascii_case("DKIM1") {
            self.wrong(version.position, format!("v={shown} is not v=DKIM1: capitals matter"));
        } else if version.value != "DKIM1" {
            self.wrong(version.position, format!("v={shown} is no DKIM key, which has v=DKIM1 (a wildcard answers?)"));
        } else if self.tags.first().is_some_and(|first| first.name != "v") {
            self.wrong(version.position, "v=DKIM1 is not the first tag".to_owned());
        }
    }

    fn judge_tags(&mut self, length: usize) {
        let is_other = self.get("v").is_some_and(|version| !version.eq_ignore_ascii_case("DKIM1"));
        if is_other || self.tags.is_empty() {
            return;
        }
        if self.get("p").is_none() {
            self.wrong(length + 1, "p=, the key, is missing".to_owned());
        }
        for Tag { name, position, .. } in self.tags.clone() {
            match name.as_str() {
                "g" => self.odd(position, "g= is obsolete, verifiers ignore it".to_owned()),
                known if KNOWN.contains(&known) || known.is_empty() => {}
                other => {
                    let lower = other.to_ascii_lowercase();
                    let meant = KNOWN.iter().find(|known| **known == lower);
                    let hint = meant.map(|known| format!(": {known}= is meant, capitals matter")).unwrap_or_default();
                    self.odd(
                        position,
                        format!(
                            "{}= is no tag of a key record, verifiers ignore it{hint}",
                            shortened(other, LONGEST_SHOWN)
                        ),
                    );
                }
            }
        }
    }
}

/// Where in the value of `name` the next tag begins that no semicolon separates from it.
fn merged(name: &str, value: &str) -> Option<usize> {
    if name == "n" {
        return None;
    }
    let is_blank = |octet: Option<&u8>| octet.is_some_and(u8::is_ascii_whitespace);
    let blanks = value.match_indices([' ', '\t', '\r', '\n']).map(|(blank, _)| blank);
    // Once for a run of blanks, however long.
    let mut runs =
        blanks.filter(|blank| !is_blank(blank.checked_sub(1).and_then(|before| value.as_bytes().get(before))));
    runs.find(|blank| {
        let next = value.get(*blank..).unwrap_or_default().trim_start();
        let tag = KNOWN.iter().find_map(|known| next.strip_prefix(known)?.trim_start().strip_prefix('='));
        // The last group of a key in groups may look like one: "s=", "p==".
        tag.is_some_and(|behind| !matches!(behind, "" | "="))
    })
}

fn is_tag_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        Record::read(text.as_bytes())
            .mistakes
            .iter()
            .map(|mistake| format!("{} {mistake}", mistake.status.word()))
            .collect()
    }

    #[test]
    fn what_rfc_6376_accepts() {
        for text in [
            "v=DKIM1; k=rsa; p=AAAA",
            "v=DKIM1;p=AAAA;",
            " v = DKIM1 ; p = AA AA == ; n=a note \"with\" k=quotes ; t=y:s; ",
            "v=DKIM1; p=",
            "v=DKIM1; p=AAA s=",
            "v=DKIM1; h=sha256; s=email:*; p=AAAA",
        ] {
            assert_eq!(mistakes(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn every_mistake_has_its_octet() {
        for (text, seen) in [
            ("", "fail the record is empty, at octet 1"),
            ("v=DKIM1\\; p=AA", "fail a backslash stands before the semicolon after v=, at octet 8"),
            ("\"v=DKIM1; p=AA", "fail a quote: the record was pasted with its quotes, at octet 1"),
            ("v=DKIM1; p=AA\" \"BB", "fail a quote inside p=: the record was pasted with its quotes, at octet 14"),
            ("v=DKIM1; p=AA\\ BB", "fail a backslash inside p=, at octet 14"),
            ("v=DKIM1; ( p=AA )", "fail \"( p\" is no tag name, at octet 10"),
            (
                "v=DKIM1; p=AA )",
                "fail a parenthesis inside p=: the record was pasted with the zone file's, at octet 15",
            ),
            ("p=AA; v=DKIM1", "fail v=DKIM1 is not the first tag, at octet 7"),
            ("v=DKIM1.; p=AA", "fail v=DKIM1. is no DKIM key, which has v=DKIM1 (a wildcard answers?), at octet 1"),
            ("v=dkim1; p=AA", "fail v=dkim1 is not v=DKIM1: capitals matter, at octet 1"),
            ("v=spf1 -all", "fail v=spf1 -all is no DKIM key, which has v=DKIM1 (a wildcard answers?), at octet 1"),
            ("v=DKIM1 k=rsa; p=AA", "fail a semicolon is missing before k=, at octet 9"),
            ("v=DKIM1; k=rsa p=AA", "fail a semicolon is missing before p=, at octet 16"),
            ("v=DKIM1;; p=AA", "fail there is no tag between two semicolons, at octet 9"),
            ("v=DKIM1; p=AA; p=BB", "fail p= stands twice, at octet 16"),
            ("v=DKIM1; k=rsa", "fail p=, the key, is missing, at octet 15"),
            ("v=DKIM1; p=AA; junk", "fail \"junk\" is no tag=value, at octet 16"),
            ("v=DKIM1; p=AA\u{201d}", "fail '”' is no character of a tag list, at octet 14"),
            ("k=rsa; p=AA", "warn v=DKIM1 is missing, which is recommended, at octet 1"),
            ("v=DKIM1; g=*; p=AA", "warn g= is obsolete, verifiers ignore it, at octet 10"),
            ("v=DKIM1; x=1; p=AA", "warn x= is no tag of a key record, verifiers ignore it, at octet 10"),
        ] {
            assert_eq!(mistakes(text).first().map(String::as_str), Some(seen), "{text}");
        }
        let hint = mistakes("v=DKIM1; T=y; p=AA");
        assert_eq!(
            hint,
            ["warn T= is no tag of a key record, verifiers ignore it: t= is meant, capitals matter, at octet 10"]
        );
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_dns_carries_is_too_odd(octets in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
                                               text in "[vpkhstn=;\\\\\" \t():.DKIM1A-]{0,200}") {
            for octets in [octets.as_slice(), text.as_bytes()] {
                let record = Record::read(octets);
                assert!(record.mistakes.iter().all(|mistake| (1..=octets.len() * 3 + 1).contains(&mistake.position)));
                let _ = crate::dkim::public::repaired(&record);
            }
        }
    }

    #[test]
    fn long_records_are_read_in_no_time() {
        for text in
            ["k=a ".repeat(16_000), format!("p=a{}b", " ".repeat(60_000)), "a=;b=;".repeat(10_000), ";".repeat(60_000)]
        {
            let started = std::time::Instant::now();
            assert!(Record::read(text.as_bytes()).mistakes.len() <= 2 * MOST_TAGS);
            assert!(started.elapsed() < std::time::Duration::from_secs(2));
        }
    }

    #[test]
    fn what_was_meant_is_made_out() {
        let record = Record::read(b"\"v=DKIM1\\; k=rsa p=AA\" \"BB\"");
        assert_eq!((record.get("v"), record.get("k"), record.get("p")), (Some("DKIM1"), Some("rsa"), Some("AA BB")));
    }
}
