//! Which SASL mechanisms Postfix would consider: its filter, and its security options.

use std::{fmt, str::FromStr};

/// Postfix's `smtp_sasl_mechanism_filter`: without patterns it keeps everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MechanismFilter(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    keeps: bool,
    /// A name in upper case; none for a table that finds everything.
    name: Option<String>,
}

impl MechanismFilter {
    /// Whether Postfix hands `mechanism` on to the SASL library: the first pattern that matches decides, and what none
    /// matches is dropped.
    pub(crate) fn keeps(&self, mechanism: &str) -> bool {
        let matches = |name: &String| name.eq_ignore_ascii_case(mechanism);
        let found = self.0.iter().find(|pattern| pattern.name.as_ref().is_none_or(matches));
        found.map_or(self.0.is_empty(), |pattern| pattern.keeps)
    }
}

/// Names, separated by commas or blanks; `!` excludes; `static:` and anything stands for the rest.
impl FromStr for MechanismFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split([',', ' ', '\t', '\r', '\n'])
            .filter(|word| !word.is_empty())
            .map(pattern)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn pattern(word: &str) -> Result<Pattern, String> {
    let name = word.trim_start_matches('!');
    let keeps = (word.len() - name.len()).is_multiple_of(2);
    if name.starts_with("static:") {
        return Ok(Pattern { keeps, name: None });
    }
    if name.starts_with(['/', '.']) || name.contains(':') {
        return Err(format!("{name:?} is a file or a table, which is not read here: name the mechanisms"));
    }
    // RFC 4422 section 3.1.
    let is_name = (1..=20).contains(&name.len())
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet));
    match is_name {
        true => Ok(Pattern { keeps, name: Some(name.to_ascii_uppercase()) }),
        false => Err(format!("{word:?} names no mechanism: expected as in plain, !login")),
    }
}

/// Postfix's `smtp_sasl_security_options`: properties that a mechanism must have, Cyrus SASL's `SASL_SEC_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecurityOptions(u8);

impl SecurityOptions {
    /// `noanonymous`: what nearly everybody sets for TLS, because Postfix's default refuses PLAIN and LOGIN.
    pub const NOANONYMOUS: Self = Self(8);
    pub(crate) const NOPLAINTEXT: Self = Self(1);
    pub(crate) const NOACTIVE: Self = Self(2);
    pub(crate) const NODICTIONARY: Self = Self(4);
    pub(crate) const MUTUAL_AUTH: Self = Self(16);
    const FORWARD_SECRECY: Self = Self(32);

    const WORDS: [(&'static str, Self); 6] = [
        ("noplaintext", Self::NOPLAINTEXT),
        ("noactive", Self::NOACTIVE),
        ("nodictionary", Self::NODICTIONARY),
        ("noanonymous", Self::NOANONYMOUS),
        ("mutual_auth", Self::MUTUAL_AUTH),
        ("forward_secrecy", Self::FORWARD_SECRECY),
    ];

    /// Both.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The first of these that a mechanism with `properties` does not meet.
    pub(crate) fn unmet(self, properties: Self) -> Option<&'static str> {
        let lacks = |(_, bit): &&(&str, Self)| self.0 & bit.0 != 0 && properties.0 & bit.0 == 0;
        Self::WORDS.iter().find(lacks).map(|(word, _)| *word)
    }
}

/// Words, separated by commas or blanks; none at all asks for nothing.
impl FromStr for SecurityOptions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = text.split([',', ' ', '\t', '\r', '\n']).filter(|word| !word.is_empty());
        words.map(option).try_fold(Self::default(), |options, option| Ok(options.and(option?)))
    }
}

fn option(word: &str) -> Result<SecurityOptions, String> {
    let known = SecurityOptions::WORDS;
    known.iter().find(|(known, _)| *known == word).map(|(_, bit)| *bit).ok_or_else(|| {
        let words = known.map(|(word, _)| word).join(", ");
        format!("no such security option: {word:?}, there are {words}")
    })
}

impl fmt::Display for SecurityOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = Self::WORDS.iter().filter(|(_, bit)| self.0 & bit.0 != 0).map(|(word, _)| *word);
        f.write_str(&words.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pattern_that_matches_decides() {
        for (filter, kept, dropped) in [
            ("", "PLAIN XOAUTH2", ""),
            ("plain, login", "PLAIN LOGIN", "CRAM-MD5"),
            ("!gssapi, !login, static:rest", "PLAIN", "GSSAPI LOGIN"),
            ("!login", "", "LOGIN PLAIN"),
            ("!!plain !plain static:all", "PLAIN LOGIN", ""),
            ("!plain,plain", "", "PLAIN"),
            ("!static:all, plain", "", "PLAIN"),
        ] {
            let parsed: MechanismFilter = filter.parse().unwrap();
            assert!(kept.split_whitespace().all(|word| parsed.keeps(word)), "{filter}");
            assert!(!dropped.split_whitespace().any(|word| parsed.keeps(word)), "{filter}");
        }
        for wrong in ["/etc/postfix/mechs", "hash:/etc/mechs", "!inline:{a}", "plain login!", "!", "üben", "p.l"] {
            assert!(wrong.parse::<MechanismFilter>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn options_as_postfix_writes_them() {
        let options: SecurityOptions = "noplaintext, noanonymous".parse().unwrap();
        assert_eq!(options.to_string(), "noplaintext, noanonymous");
        assert_eq!(options.unmet(SecurityOptions::NOANONYMOUS), Some("noplaintext"));
        assert_eq!(options.unmet(options), None);
        assert_eq!("".parse::<SecurityOptions>().unwrap().unmet(SecurityOptions::default()), None);
        for wrong in ["noplain", "NOPLAINTEXT", "noanonymous;noactive"] {
            assert!(wrong.parse::<SecurityOptions>().is_err(), "{wrong}");
        }
    }
}
