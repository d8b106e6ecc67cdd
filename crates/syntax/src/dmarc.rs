//! A DMARC record (RFC 9989 section 4.7), and every mistake in it with its position.

pub use self::fault::Fault;
use self::uri::Uri;
use crate::tags::{Tag, TagError, Tags, shortened};

mod fault;
pub mod uri;

/// How many mistakes are told of.
const MOST_FAULTS: usize = 50;

/// What a domain owner asks for where DMARC does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// `none`: deliver as if there were no record.
    None,
    /// `quarantine`: treat as suspicious.
    Quarantine,
    /// `reject`: refuse in the SMTP dialogue.
    Reject,
}

/// Whether identifiers must be the same as the From domain, or of the same organization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alignment {
    /// `r`: the same organizational domain.
    #[default]
    Relaxed,
    /// `s`: the same domain.
    Strict,
}

/// Whether the domain is a public suffix; where it does not say (`u`), the tree walk decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Psd {
    /// `y`: it is a public suffix.
    Yes,
    /// `n`: it is an organizational domain.
    No,
    /// `u`, or no tag.
    #[default]
    Unsaid,
}

/// Whom a policy is for (RFC 9989 section 4.10.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The domain at which the record stands: `p`.
    Domain,
    /// A domain below it: `sp`.
    Subdomain,
    /// A domain below it that does not exist: `np`.
    Nonexistent,
}

/// A record that receivers read, whatever they make of its tags.
#[derive(Clone, Debug)]
pub struct Record {
    /// As published, what is no UTF-8 as question marks.
    pub text: String,
    /// How DKIM has to align.
    pub adkim: Alignment,
    /// How SPF has to align.
    pub aspf: Alignment,
    /// Whether the domain calls itself a public suffix.
    pub psd: Psd,
    /// `t=y`: receivers are asked to go one level lower.
    pub testing: bool,
    /// The policy for the domain itself.
    pub p: Option<Policy>,
    /// The policy for the domains below it.
    pub sp: Option<Policy>,
    /// The policy for names below it that do not exist.
    pub np: Option<Policy>,
    /// Where aggregate reports are asked for.
    pub rua: Vec<Uri>,
    /// Where failure reports are asked for.
    pub ruf: Vec<Uri>,
    /// The mistakes, in the order of the record.
    pub faults: Vec<Fault>,
    /// What is no mistake but worth a word.
    pub notes: Vec<String>,
    /// Whether `sp` or `np` has a value that means nothing.
    is_spoiled: bool,
}

/// The tags of RFC 9989 section 4.7.
pub const TAGS: [&str; 11] = ["v", "p", "sp", "np", "adkim", "aspf", "fo", "rua", "ruf", "psd", "t"];

/// The tags that RFC 9989 removed (appendix C.5.2), with their old defaults (RFC 7489 section 6.3).
pub const REMOVED: [(&str, &str); 3] = [("pct", "100"), ("rf", "afrf"), ("ri", "86400")];

impl Policy {
    /// The policy of a tag's value, read without case.
    pub fn parse(value: &str) -> Option<Self> {
        [Self::None, Self::Quarantine, Self::Reject]
            .into_iter()
            .find(|policy| policy.word().eq_ignore_ascii_case(value))
    }

    /// The value as the tag has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }

    /// One level below, as `t=y` asks for.
    pub fn lowered(self) -> Self {
        match self {
            Self::None | Self::Quarantine => Self::None,
            Self::Reject => Self::Quarantine,
        }
    }
}

/// The text of a record, octet for octet in place.
pub fn text(octets: &[u8]) -> String {
    let as_ascii = |octet: &u8| if octet.is_ascii() { char::from(*octet) } else { '?' };
    String::from_utf8(octets.to_vec()).unwrap_or_else(|_| octets.iter().map(as_ascii).collect())
}

/// What stands behind `v=DMARC1` where a record begins with it, case and all (RFC 9989 section 4.7).
fn behind_version(text: &str) -> Option<&str> {
    let is_blank = |c: char| c == ' ' || c == '\t';
    let value = text.strip_prefix('v')?.trim_start_matches(is_blank).strip_prefix('=')?;
    let rest = value.trim_start_matches(is_blank).strip_prefix("DMARC1")?;
    let rest = rest.trim_start_matches(is_blank);
    (rest.is_empty() || rest.starts_with(';')).then_some(rest)
}

/// Whether a text is a DMARC record to receivers: all others are discarded (RFC 9989 section 4.10).
pub fn is_dmarc(octets: &[u8]) -> bool {
    behind_version(&text(octets)).is_some()
}

/// Whether a text that is no DMARC record was plainly meant as one.
pub fn is_meant(octets: &[u8]) -> bool {
    let lower = text(octets).to_ascii_lowercase();
    let squeezed: String = lower.chars().filter(|c| !c.is_whitespace()).collect();
    let is_other = squeezed.starts_with("v=") && !squeezed.starts_with("v=dmarc");
    let has_policy = ["p=none", "p=quarantine", "p=reject"].iter().any(|policy| squeezed.starts_with(policy));
    !is_other && (squeezed.contains("dmarc1") || squeezed.starts_with("v=dmarc") || has_policy)
}

/// Why a text that was meant as a DMARC record is none.
pub fn objection(octets: &[u8]) -> TagError {
    let text = text(octets);
    let wrong = |position: usize, reason: &str| TagError { position: position + 1, reason: reason.to_owned() };
    let Some(version) = text.strip_prefix('v') else {
        return match text.chars().next() {
            Some('V') => wrong(0, "the tag v is due in lower case"),
            Some(' ' | '\t') => wrong(0, "a blank stands before v=DMARC1"),
            Some('"' | '\'' | '\u{201c}' | '\u{201d}' | '\u{201e}') => {
                wrong(0, "a quotation mark belongs to the record, and stands before v=DMARC1")
            }
            _ if text.to_ascii_lowercase().contains("dmarc1") => wrong(0, "v=DMARC1 does not come first"),
            _ => wrong(0, "v=DMARC1 is missing: it comes first"),
        };
    };
    let at = |rest: &str| text.len().saturating_sub(rest.len());
    let version = version.trim_start();
    let Some(value) = version.strip_prefix('=') else { return wrong(at(version), "an equals sign is due behind v") };
    let value = value.trim_start();
    if let Some(rest) = value.strip_prefix("DMARC1") {
        let rest = rest.trim_start();
        return match rest.chars().next() {
            Some('\\') => wrong(at(rest), "a backslash stands before the semicolon"),
            Some(other) => wrong(at(rest), &format!("a semicolon is due behind v=DMARC1, not {other:?}")),
            None => wrong(at(rest), "a semicolon is due behind v=DMARC1"),
        };
    }
    let word = value.split([';', ',', ' ']).next().unwrap_or_default();
    match word.eq_ignore_ascii_case("DMARC1") {
        true => wrong(at(value), "the version is DMARC1, in capitals"),
        false => wrong(at(value), &format!("{:?} is no version: DMARC1 is", shortened(word))),
    }
}

impl Record {
    /// The value of a tag that RFC 9989 removed, for those who still go by it.
    pub fn removed(&self, name: &str) -> Option<String> {
        Tags::tolerant(&self.text).0.get(name).map(str::to_owned)
    }

    /// Reads a text, if it is a DMARC record at all.
    pub fn parse(octets: &[u8]) -> Option<Self> {
        let text = text(octets);
        behind_version(&text)?;
        let (tags, errors) = Tags::tolerant(&text);
        let mut record = Self {
            text,
            adkim: Alignment::default(),
            aspf: Alignment::default(),
            psd: Psd::default(),
            testing: false,
            p: None,
            sp: None,
            np: None,
            rua: Vec::new(),
            ruf: Vec::new(),
            faults: Vec::new(),
            notes: Vec::new(),
            is_spoiled: false,
        };
        record.faults.extend(odd_character(octets));
        for error in errors {
            let is_empty = matches!(record.text.as_bytes().get(error.position - 1), None | Some(b';'));
            let reason = match error.reason {
                _ if is_empty => "nothing stands between two semicolons".to_owned(),
                reason if reason.starts_with("\"mailto:") => format!("{reason}: URIs have commas between them"),
                reason => reason,
            };
            record.faults.push(Fault { position: error.position, reason, is_harmless: is_empty });
        }
        for tag in tags.iter() {
            record.take(tag);
        }
        if tags.get("fo").is_some() && record.ruf.is_empty() {
            record.notes.push("fo= does nothing without ruf=".to_owned());
        }
        // The graver ones are kept, where there are more than anybody reads.
        record.faults.sort_by_key(|fault| (fault.is_harmless, fault.position));
        record.faults.truncate(MOST_FAULTS);
        record.faults.sort_by_key(|fault| fault.position);
        Some(record)
    }

    fn take(&mut self, tag: &Tag) {
        let value = tag.value.as_str();
        let is_understood = match tag.name.as_str() {
            "v" => true,
            "p" => Policy::parse(value).inspect(|policy| self.p = Some(*policy)).is_some(),
            "sp" => Policy::parse(value).inspect(|policy| self.sp = Some(*policy)).is_some(),
            "np" => Policy::parse(value).inspect(|policy| self.np = Some(*policy)).is_some(),
            "adkim" => alignment(value).inspect(|mode| self.adkim = *mode).is_some(),
            "aspf" => alignment(value).inspect(|mode| self.aspf = *mode).is_some(),
            "psd" => psd(value).inspect(|psd| self.psd = *psd).is_some(),
            "t" => yes_or_no(value).inspect(|testing| self.testing = *testing).is_some(),
            "fo" => is_failure_options(value),
            "rua" => return self.rua = self.uris(tag),
            "ruf" => return self.ruf = self.uris(tag),
            _ => return self.pass_over(tag),
        };
        if !is_understood {
            self.is_spoiled |= matches!(tag.name.as_str(), "sp" | "np");
            let reason = format!("{}={} is not one of {}", tag.name, shortened(value), words(&tag.name));
            self.faults.push(Fault { position: tag.value_position, reason, is_harmless: false });
        }
    }

    /// A tag that receivers ignore.
    fn pass_over(&mut self, tag: &Tag) {
        let removed = REMOVED.iter().find(|(name, _)| *name == tag.name);
        let reason = match removed {
            Some((name, default)) if tag.value.eq_ignore_ascii_case(default) => {
                return self.notes.push(format!("{name}= was removed by RFC 9989"));
            }
            Some(("pct", _)) => {
                format!("pct={} was removed by RFC 9989; older receivers still apply it", shortened(&tag.value))
            }
            Some((name, _)) => format!("{name}= was removed by RFC 9989, and is ignored"),
            None => {
                let alike = |known: &&&str| strsim::jaro_winkler(known, &tag.name.to_ascii_lowercase()) > 0.75;
                let nearest = TAGS.iter().filter(alike).max_by(|a, b| {
                    let likeness = |known: &str| strsim::jaro_winkler(known, &tag.name.to_ascii_lowercase());
                    likeness(a).total_cmp(&likeness(b))
                });
                let hint = nearest.map(|name| format!("; {name}= is")).unwrap_or_default();
                format!("{}= is no tag of DMARC, and is ignored{hint}", shortened(&tag.name))
            }
        };
        self.faults.push(Fault { position: tag.position, reason, is_harmless: true });
    }

    fn uris(&mut self, tag: &Tag) -> Vec<Uri> {
        let (uris, faults) = uri::list(tag);
        self.faults.extend(faults);
        uris
    }

    /// The policy for `whom` and the tag that says so; `None` where receivers do no DMARC processing at all (RFC 9989
    /// section 4.10.1).
    pub fn policy(&self, whom: Whom) -> (&'static str, Option<Policy>) {
        let Some(p) = self.p.filter(|_| !self.is_spoiled) else {
            let is_reported = self.rua.iter().any(|uri| uri.target.is_ok());
            return ("p", is_reported.then_some(Policy::None));
        };
        let sp = self.sp.map(|policy| ("sp", policy));
        let np = self.np.map(|policy| ("np", policy));
        let (tag, policy) = match whom {
            Whom::Domain => None,
            Whom::Subdomain => sp,
            Whom::Nonexistent => np.or(sp),
        }
        .unwrap_or(("p", p));
        (tag, Some(policy))
    }
}

/// The first octet that no DMARC record has: what word processors make of quotes and blanks, most of the time.
fn odd_character(octets: &[u8]) -> Option<Fault> {
    let is_odd = |octet: &u8| !matches!(octet, b' '..=b'~' | b'\t');
    let index = octets.iter().position(is_odd)?;
    let rest = octets.get(index..).unwrap_or_default();
    let shown = match String::from_utf8_lossy(rest).chars().next() {
        Some(c) if c != char::REPLACEMENT_CHARACTER => format!("{c:?}"),
        _ => format!("the octet {:#04x}", rest.first().copied().unwrap_or_default()),
    };
    Some(Fault { position: index + 1, reason: format!("{shown} is no printable ASCII"), is_harmless: false })
}

fn alignment(value: &str) -> Option<Alignment> {
    match value {
        "r" | "R" => Some(Alignment::Relaxed),
        "s" | "S" => Some(Alignment::Strict),
        _ => None,
    }
}

fn psd(value: &str) -> Option<Psd> {
    match value {
        "y" | "Y" => Some(Psd::Yes),
        "n" | "N" => Some(Psd::No),
        "u" | "U" => Some(Psd::Unsaid),
        _ => None,
    }
}

fn yes_or_no(value: &str) -> Option<bool> {
    match value {
        "y" | "Y" => Some(true),
        "n" | "N" => Some(false),
        _ => None,
    }
}

/// `dmarc-fo` of RFC 9989 section 4.8: each option once, 0 and 1 not together.
fn is_failure_options(value: &str) -> bool {
    let options: Vec<String> = value.split(':').map(|option| option.trim().to_ascii_lowercase()).collect();
    let count = |wanted: &str| options.iter().filter(|option| *option == wanted).count();
    let is_known = options.iter().all(|option| matches!(option.as_str(), "0" | "1" | "d" | "s"));
    is_known && count("0") + count("1") <= 1 && count("d") <= 1 && count("s") <= 1
}

/// What a tag may say.
fn words(tag: &str) -> &'static str {
    match tag {
        "adkim" | "aspf" => "r, s",
        "psd" => "y, n, u",
        "t" => "y, n",
        "fo" => "0, 1, d, s, with colons between",
        _ => "none, quarantine, reject",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn faults(text: &str) -> Vec<(usize, bool)> {
        let record = Record::parse(text.as_bytes()).unwrap();
        record.faults.iter().map(|fault| (fault.position, fault.is_harmless)).collect()
    }

    #[test]
    fn mistakes_are_found_where_they_stand() {
        for (text, expected) in [
            ("v=DMARC1; p=none", vec![]),
            ("v = DMARC1 ;p = NONE ; sp=reject;np=quarantine;adkim=s;aspf=R;fo=1:d:s;psd=n;t=y;", vec![]),
            ("v=DMARC1", vec![]),
            ("v=DMARC1; p=quarentine", vec![(13, false)]),
            ("v=DMARC1; p=none; p=none", vec![(19, false)]),
            ("v=DMARC1; p none", vec![(11, false)]),
            ("v=DMARC1; p=none; pct=50; rf=afrf", vec![(19, true)]),
            ("v=DMARC1; p=none; pct=100; ri=86400", vec![]),
            ("v=DMARC1; p=none; x=1", vec![(19, true)]),
            ("v=DMARC1;; p=none", vec![(10, true)]),
            ("v=DMARC1; p=none; adkim=x; fo=0:1", vec![(25, false), (31, false)]),
            ("v=DMARC1; p=none; rua=a@example.com", vec![(23, false)]),
            ("v=DMARC1; p=none; rua=mailto:a@example.com;mailto:b@example.com", vec![(44, false)]),
            ("v=DMARC1; p=none; rua=mailto:a@example.com!10m", vec![(43, true)]),
            ("v=DMARC1; p=none; rua=", vec![(23, false)]),
            ("v=DMARC1; p=\u{a0}none", vec![(13, false)]),
        ] {
            assert_eq!(faults(text), expected, "{text}");
        }
    }

    #[test]
    fn what_does_not_begin_with_the_version_is_no_record() {
        for (text, position) in [
            ("v=dmarc1; p=none", 3),
            ("V=DMARC1; p=none", 1),
            (" v=DMARC1; p=none", 1),
            ("p=none; v=DMARC1", 1),
            ("p=none; rua=mailto:a@example.com", 1),
            ("v=DMARC1 p=none", 10),
            ("v=DMARC1, p=none", 9),
            ("v=DMARC1p=none", 9),
            ("v=DMARC1\\; p=none", 9),
            ("v=DMARC2; p=none", 3),
            ("v DMARC1; p=none", 3),
            ("\"v=DMARC1; p=none\"", 1),
            ("\u{201c}v=DMARC1; p=none\u{201d}", 1),
        ] {
            assert!(!is_dmarc(text.as_bytes()) && is_meant(text.as_bytes()), "{text}");
            assert_eq!(objection(text.as_bytes()).position, position, "{text}");
        }
        for other in ["v=spf1 -all", "verification=abc", "", "v=STSv1; id=1"] {
            assert!(!is_dmarc(other.as_bytes()) && !is_meant(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn the_policy_is_what_rfc_9989_section_4_10_1_makes_of_it() {
        let policy = |text: &str, whom: Whom| {
            let (tag, policy) = Record::parse(text.as_bytes()).unwrap().policy(whom);
            (tag, policy.map(Policy::word))
        };
        let all = "v=DMARC1; p=reject; sp=quarantine; np=none";
        assert_eq!(policy(all, Whom::Domain), ("p", Some("reject")));
        assert_eq!(policy(all, Whom::Subdomain), ("sp", Some("quarantine")));
        assert_eq!(policy(all, Whom::Nonexistent), ("np", Some("none")));
        assert_eq!(policy("v=DMARC1; p=reject; sp=none", Whom::Nonexistent), ("sp", Some("none")));
        assert_eq!(policy("v=DMARC1; p=reject", Whom::Subdomain), ("p", Some("reject")));
        assert_eq!(policy("v=DMARC1; p=rejekt", Whom::Domain), ("p", None));
        assert_eq!(policy("v=DMARC1; p=reject; sp=x", Whom::Domain), ("p", None));
        assert_eq!(policy("v=DMARC1; rua=mailto:a@example.com", Whom::Domain), ("p", Some("none")));
        assert_eq!(policy("v=DMARC1; rua=a@example.com", Whom::Domain), ("p", None));
        assert_eq!(policy("v=DMARC1", Whom::Domain), ("p", None));
    }

    proptest! {
        #[test]
        fn whatever_dns_sends_is_read_and_faulted_within_bounds(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            bounded(&octets)?;
        }

        #[test]
        fn whatever_resembles_a_record_is_read_and_faulted_within_bounds(
            tail in "[ ;]*((p|sp|np|rua|ruf|pct|fo|t|x)? ?=? ?(none|reject|mailto:a@b[.]example|!10m|%4|,|\u{201c}|é|\\\\)*[;, ]?){0,6}"
        ) {
            bounded(format!("v=DMARC1{tail}").as_bytes())?;
        }
    }

    fn bounded(octets: &[u8]) -> Result<(), TestCaseError> {
        let positions = match Record::parse(octets) {
            Some(record) => record.faults.iter().map(|fault| fault.position).collect(),
            None => vec![objection(octets).position],
        };
        for position in positions {
            prop_assert!((1..=octets.len() + 1).contains(&position), "{position} of {}", octets.len());
        }
        Ok(())
    }
}
