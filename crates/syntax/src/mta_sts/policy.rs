//! A policy: lines of `key: value` (RFC 8461 section 3.2), with the number of the line that is wrong.

use std::{fmt, ops::ControlFlow};

use crate::{Name, text::shortened};

/// How much of a line is shown, in characters.
const LONGEST_SHOWN: usize = 40;

/// A policy that senders can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What senders do with it.
    pub mode: Mode,
    /// How long senders may keep it, in seconds.
    pub max_age: u64,
    /// The exchanges it allows: names, or `*.` and a name.
    pub patterns: Vec<String>,
    /// What senders overlook.
    pub oddities: Vec<Remark>,
}

/// What senders do where an exchange does not fit the policy (RFC 8461 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They do not deliver.
    Enforce,
    /// They deliver, and report.
    Testing,
    /// They deliver.
    None,
}

/// Something about a line; 0 is the policy as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The number of the line, counted from 1.
    pub line: usize,
    /// The remark, in words.
    pub what: String,
}

/// What the lines have told so far.
#[derive(Default)]
struct Reader {
    version: Option<String>,
    mode: Option<String>,
    max_age: Option<String>,
    patterns: Vec<String>,
    wrong: Vec<Remark>,
    odd: Vec<Remark>,
}

impl Mode {
    /// The value of `mode`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Enforce, Self::Testing, Self::None].into_iter().find(|mode| mode.word() == word)
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.what),
            line => write!(f, "line {line}: {}", self.what),
        }
    }
}

impl Policy {
    /// Reads a policy; an error is everything that is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Self, Vec<Remark>> {
        let text = std::str::from_utf8(body).map_err(|error| {
            let line = body.iter().take(error.valid_up_to()).filter(|octet| **octet == b'\n').count() + 1;
            vec![Remark { line, what: "not UTF-8".to_owned() }]
        })?;
        if text.trim().is_empty() {
            return Err(vec![Remark { line: 0, what: "the policy is empty".to_owned() }]);
        }
        let mut reader = Reader::default();
        // The last line may have no end (RFC 8461 section 3.2).
        let text = text.strip_suffix('\n').unwrap_or(text);
        for (number, line) in (1..).zip(text.split('\n')) {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if reader.read(number, line).is_break() {
                break;
            }
        }
        reader.policy()
    }

    /// Whether `exchange` fits one of the patterns.
    pub fn covers(&self, exchange: &Name) -> bool {
        self.patterns.iter().any(|pattern| matches(pattern, exchange))
    }
}

/// Whether `exchange` fits `pattern`; an asterisk stands for the whole first label and for no more (RFC 8461 section
/// 4.1, RFC 6125 section 6.4).
pub fn matches(pattern: &str, exchange: &Name) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => exchange.depth() > 1 && exchange.parent().to_string().eq_ignore_ascii_case(parent),
        None => exchange.to_string().eq_ignore_ascii_case(pattern),
    }
}

/// More is not told of one policy; it is not read on behind that many mistakes.
const MOST_REMARKS: usize = 5;

impl Reader {
    fn read(&mut self, line: usize, text: &str) -> ControlFlow<()> {
        if let Err(what) = self.field(line, text) {
            self.wrong.push(Remark { line, what });
        }
        if self.wrong.len() < MOST_REMARKS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn field(&mut self, line: usize, text: &str) -> Result<(), String> {
        let blank = [' ', '\t'];
        if line == 1 && text.starts_with('\u{feff}') {
            return Err("a byte order mark stands before the first key".to_owned());
        }
        if text.contains('\r') {
            return Err("lines end with CR alone".to_owned());
        }
        if text.trim_matches(blank).is_empty() {
            self.odd.push(Remark { line, what: "empty, where RFC 8461 has no empty lines".to_owned() });
            return Ok(());
        }
        let (key, value) =
            text.split_once(':').ok_or_else(|| format!("{:?} is no key: value", shortened(text, LONGEST_SHOWN)))?;
        let value = value.trim_matches(blank);
        if !is_key(key) {
            return Err(format!("{:?} is no key", shortened(key, LONGEST_SHOWN)));
        }
        if value.is_empty() {
            return Err(format!("{key} has no value"));
        }
        if let Some(odd) = value.chars().find(|c| c.is_control()) {
            return Err(format!("{key} holds the character {odd:?}"));
        }
        let known = match key {
            "version" => &mut self.version,
            "mode" => &mut self.mode,
            "max_age" => &mut self.max_age,
            "mx" => {
                is_pattern(value).map_err(|why| format!("mx: {:?} {why}", shortened(value, LONGEST_SHOWN)))?;
                self.patterns.push(value.to_ascii_lowercase());
                return Ok(());
            }
            other => {
                if let Some(meant) = meant(other) {
                    self.odd.push(Remark { line, what: format!("unknown key {other}, {meant} is meant?") });
                }
                return Ok(());
            }
        };
        if let Some(first) = known {
            self.odd.push(Remark { line, what: format!("{key} stands twice, the first counts: {first}") });
            return Ok(());
        }
        *known = Some(value.to_owned());
        match key {
            "version" if value != "STSv1" => {
                Err(format!("version is {:?}, not STSv1", shortened(value, LONGEST_SHOWN)))
            }
            "mode" if Mode::from_word(value).is_none() => {
                Err(format!("mode is {:?}, not enforce, testing or none", shortened(value, LONGEST_SHOWN)))
            }
            "max_age" if !is_max_age(value) => {
                Err(format!("max_age is {:?}, not a number of seconds", shortened(value, LONGEST_SHOWN)))
            }
            _ => Ok(()),
        }
    }

    fn policy(mut self) -> Result<Policy, Vec<Remark>> {
        /// version, mode, max_age, mx
        const MOST_MISSING: usize = 4;
        let mode = self.mode.as_deref().and_then(Mode::from_word);
        let max_age =
            self.max_age.as_deref().filter(|digits| is_max_age(digits)).and_then(|digits| digits.parse().ok());
        let mut missing: Vec<&str> = [("version", &self.version), ("mode", &self.mode), ("max_age", &self.max_age)]
            .into_iter()
            .filter_map(|(key, value)| value.is_none().then_some(key))
            .collect();
        let named_none = self.patterns.is_empty() && !self.wrong.iter().any(|remark| remark.what.starts_with("mx: "));
        if named_none && mode != Some(Mode::None) {
            missing.push("mx");
        }
        self.odd.truncate(MOST_REMARKS);
        // What was meant for a key that is missing is why it is missing.
        if !missing.is_empty() {
            // Where no key is known this is something else altogether: its first line tells what.
            if missing.len() == MOST_MISSING {
                self.wrong.truncate(1);
            }
            let are = if missing.len() == 1 { "is" } else { "are" };
            self.wrong.push(Remark { line: 0, what: format!("{} {are} missing", missing.join(", ")) });
            self.wrong.append(&mut self.odd);
        }
        match (mode, max_age) {
            (Some(mode), Some(max_age)) if self.wrong.is_empty() => {
                Ok(Policy { mode, max_age, patterns: self.patterns, oddities: self.odd })
            }
            _ => Err(self.wrong),
        }
    }
}

/// 1*10(DIGIT)
fn is_max_age(value: &str) -> bool {
    (1..=10).contains(&value.len()) && value.bytes().all(|octet| octet.is_ascii_digit())
}

fn is_key(key: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (1..=32).contains(&key.len()) && key.starts_with(|c: char| c.is_ascii_alphanumeric()) && key.chars().all(is_inner)
}

/// The key that an unknown one looks like.
fn meant(key: &str) -> Option<&'static str> {
    const LIKENESS: f64 = 0.85;
    let bare = key.to_ascii_lowercase().replace(['-', '.'], "_");
    ["version", "mode", "mx", "max_age"].into_iter().find(|known| strsim::jaro_winkler(&bare, known) >= LIKENESS)
}

/// `["*."] Domain` of RFC 5321 section 4.1.2.
fn is_pattern(value: &str) -> Result<(), String> {
    let domain = value.strip_prefix("*.").unwrap_or(value);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if domain.contains('*') {
        Err("has an asterisk that is not its whole first label".to_owned())
    } else if domain.ends_with('.') {
        Err("ends with a dot".to_owned())
    } else if domain.contains([',', ' ', '\t']) {
        Err("is more than one name: each stands on a line of its own".to_owned())
    } else if domain.parse::<std::net::IpAddr>().is_ok() {
        Err("is an address, where a host name is due".to_owned())
    } else if domain.len() > 253 || !domain.split('.').all(is_label) {
        Err("is no host name".to_owned())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wrong(body: &str) -> String {
        let remarks = Policy::parse(body.as_bytes()).unwrap_err();
        remarks.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn policies_as_rfc_8461_spells_them() {
        let policy = Policy {
            mode: Mode::Enforce,
            max_age: 604_800,
            patterns: vec!["mail.example.com".to_owned(), "*.example.net".to_owned()],
            oddities: Vec::new(),
        };
        for body in [
            "version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmax_age: 604800\n",
            "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n",
            "version: STSv1\nmode: enforce\r\nmx: Mail.Example.COM\nmx: *.example.net\nmax_age: 604800",
            "mx:mail.example.com\nmode:\t enforce \t\nmx:*.example.net\nx.y: z\nmax_age: 604800\nversion: STSv1\n",
        ] {
            assert_eq!(Policy::parse(body.as_bytes()).unwrap(), policy, "{body}");
        }
        let none = Policy::parse(b"version: STSv1\nmode: none\nmax_age: 0\n").unwrap();
        assert_eq!((none.mode, none.max_age, none.patterns.len()), (Mode::None, 0, 0));
    }

    #[test]
    fn what_senders_overlook_is_told() {
        let body = "version: STSv1\nmode: enforce\nmode: none\n\nmx: a.test\nmaxage: 5\nfoo: bar\nmax_age: 86400\n";
        let policy = Policy::parse(body.as_bytes()).unwrap();
        let told: Vec<String> = policy.oddities.iter().map(ToString::to_string).collect();
        assert_eq!(policy.mode, Mode::Enforce);
        assert_eq!(
            told,
            [
                "line 3: mode stands twice, the first counts: enforce",
                "line 4: empty, where RFC 8461 has no empty lines",
                "line 6: unknown key maxage, max_age is meant?",
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (body, told) in [
            ("", "the policy is empty"),
            (
                "<!DOCTYPE html>\n<p>Hi</p>\n",
                "line 1: \"<!DOCTYPE html>\" is no key: value; version, mode, max_age, mx are missing",
            ),
            ("version: STSv1\nmode: enforce\nmx: a.test\n", "max_age is missing"),
            ("version: STSv1\nmode: enforce\nmax_age: 86400\n", "mx is missing"),
            ("version: STSv2\nmode: none\nmax_age: 1", "line 1: version is \"STSv2\", not STSv1"),
            (
                "version: STSv1\nmode: Enforce\nmx: a.test\nmax_age: 1",
                "line 2: mode is \"Enforce\", not enforce, testing or none",
            ),
            (
                "version: STSv1\nMode: none\nmax_age: 1",
                "mode, mx are missing; line 2: unknown key Mode, mode is meant?",
            ),
            ("version: STSv1\nmode: none\nmax_age: 1 week", "line 3: max_age is \"1 week\", not a number of seconds"),
            (
                "version: STSv1\nmode: none\nmax_age: 12345678901",
                "line 3: max_age is \"12345678901\", not a number of seconds",
            ),
            ("version: STSv1\nmode: none\nmax_age: -1", "line 3: max_age is \"-1\", not a number of seconds"),
            ("version: STSv1\nmode none\nmode: none\nmax_age: 1", "line 2: \"mode none\" is no key: value"),
            ("version: STSv1\n mode: none\nmode: none\nmax_age: 1", "line 2: \" mode\" is no key"),
            ("version: STSv1\nmode : none\nmode: none\nmax_age: 1", "line 2: \"mode \" is no key"),
            (
                "\u{feff}version: STSv1\nversion: STSv1\nmode: none\nmax_age: 1",
                "line 1: a byte order mark stands before the first key",
            ),
            (
                "version: STSv1\rmode: none\rmax_age: 1\r",
                "line 1: lines end with CR alone; version, mode, max_age, mx are missing",
            ),
        ] {
            assert_eq!(wrong(body), told, "{body}");
        }
        assert_eq!(Policy::parse(b"version: STSv1\n\xff").unwrap_err()[0].line, 2);
        for (pattern, why) in [
            ("mail.example.com.", "ends with a dot"),
            ("mail.*.example.com", "has an asterisk that is not its whole first label"),
            ("*", "has an asterisk that is not its whole first label"),
            ("m*.example.com", "has an asterisk that is not its whole first label"),
            ("a.test, b.test", "is more than one name: each stands on a line of its own"),
            ("192.0.2.1", "is an address, where a host name is due"),
            ("b\u{fc}cher.example", "is no host name"),
            ("a_b.test", "is no host name"),
            ("a..test", "is no host name"),
        ] {
            let body = format!("version: STSv1\nmode: enforce\nmx: {pattern}\nmax_age: 86400\n");
            assert_eq!(wrong(&body), format!("line 3: mx: {pattern:?} {why}"));
        }
    }

    #[test]
    fn an_asterisk_is_one_label() {
        for (pattern, exchange, fits) in [
            ("mail.example.com", "MAIL.example.com", true),
            ("mail.example.com", "mail2.example.com", false),
            ("*.example.com", "mail.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.mail.example.com", false),
            ("*.com", "com", false),
        ] {
            assert_eq!(matches(pattern, &exchange.parse().unwrap()), fits, "{pattern} {exchange}");
        }
    }

    proptest! {
        #[test]
        fn no_policy_is_too_strange(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Policy::parse(&body);
        }

        #[test]
        fn no_text_is_too_strange(body in "([a-z_: \\r\\n\\t*.-]|version: STSv1\n|mode: none\n|max_age: 9\n){0,40}") {
            let _ = Policy::parse(body.as_bytes());
        }
    }
}
