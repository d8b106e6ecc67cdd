//! The macros of RFC 7208 section 7.

use std::{
    net::IpAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::Name;

/// The longest name that DNS carries, in octets of its text.
const LONGEST_NAME: usize = 253;

/// A `macro-string`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MacroString {
    /// As published.
    pub text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// `%%`, `%_` and `%-`.
    Escape(&'static str),
    Expand(Expand),
}

/// `%{l2r-}`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expand {
    /// In lower case.
    letter: u8,
    /// Whether the letter was in upper case: then the value is URL-escaped.
    escape: bool,
    /// How many parts are kept, from the right.
    keep: Option<usize>,
    reverse: bool,
    delimiters: String,
}

/// What the letters stand for. `validated` is what `%{p}` stands for: the caller finds it out if it is needed.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// `%{l}`
    pub local_part: &'a [u8],
    /// `%{o}`
    pub sender_domain: &'a [u8],
    /// `%{d}`
    pub domain: &'a Name,
    /// `%{i}`
    pub ip: IpAddr,
    /// `%{h}`
    pub helo: &'a [u8],
    /// `%{p}`
    pub validated: &'a str,
    /// `%{t}`
    pub now: SystemTime,
}

impl MacroString {
    /// Any `macro-string`.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::of_letters(text, b"slodiphv")
    }

    /// An `explain-string`, in which blanks and three more letters are allowed.
    pub fn explanation(text: &str) -> Result<Self, String> {
        Self::of_letters(text, b"slodiphvcrt")
    }

    /// A `domain-spec`: it ends in a macro or in a top-level label.
    pub fn domain_spec(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the domain is missing (a blank before it?)".to_owned());
        }
        let parsed = Self::parse(text)?;
        match parsed.parts.last() {
            Some(Part::Literal(end)) => top_label(end)?,
            Some(Part::Expand(_) | Part::Escape(_)) | None => {}
        }
        Ok(parsed)
    }

    fn of_letters(text: &str, letters: &[u8]) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            let (literal, from) = rest.split_at(at);
            push_literal(&mut parts, literal);
            rest = match from.as_bytes().get(1) {
                Some(b'%') => push_escape(&mut parts, from, "%"),
                Some(b'_') => push_escape(&mut parts, from, " "),
                Some(b'-') => push_escape(&mut parts, from, "%20"),
                Some(b'{') => {
                    let (body, behind) = from
                        .get(2..)
                        .and_then(|body| body.split_once('}'))
                        .ok_or_else(|| "a macro is not closed by }".to_owned())?;
                    parts.push(Part::Expand(Expand::parse(body, letters)?));
                    behind
                }
                _ => return Err("% stands alone; %% is a percent sign".to_owned()),
            };
        }
        push_literal(&mut parts, rest);
        Ok(Self { text: text.to_owned(), parts })
    }

    /// Whether the value depends on a letter among `letters`.
    pub fn uses(&self, letters: &[u8]) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Expand(expand) if letters.contains(&expand.letter)))
    }

    /// The text with every macro replaced by its value, up to so many octets: a record has room for thousands of macros, and
    /// each value may be as long as a name.
    pub fn start(&self, values: &Values<'_>, octets: usize) -> Vec<u8> {
        let mut text = Vec::new();
        for part in &self.parts {
            if text.len() >= octets {
                break;
            }
            text.append(&mut part.value(values));
        }
        text.truncate(octets);
        text
    }

    /// The name that it means as a `domain-spec`, or `None` where DNS cannot carry it. What stands on the left of the last
    /// 253 octets is dropped in any case, and not even expanded.
    pub fn target(&self, values: &Values<'_>) -> Option<Name> {
        let (mut kept, mut length) = (Vec::new(), 0);
        for part in self.parts.iter().rev() {
            // With the dot at the end, and one octet that shows that there is more.
            if length > LONGEST_NAME + 1 {
                break;
            }
            let value = part.value(values);
            length += value.len();
            kept.push(value);
        }
        kept.reverse();
        target(&kept.concat())
    }
}

impl Part {
    fn value(&self, values: &Values<'_>) -> Vec<u8> {
        match self {
            Self::Literal(literal) => literal.as_bytes().to_vec(),
            Self::Escape(meaning) => meaning.as_bytes().to_vec(),
            Self::Expand(expand) => expand.value(values),
        }
    }
}

fn push_literal(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Literal(text.to_owned()));
    }
}

/// Takes the two characters of an escape off `from`.
fn push_escape<'a>(parts: &mut Vec<Part>, from: &'a str, meaning: &'static str) -> &'a str {
    parts.push(Part::Escape(meaning));
    from.get(2..).unwrap_or_default()
}

/// `"." toplabel ["."]`: letters, digits and inner hyphens, not all digits.
fn top_label(end: &str) -> Result<(), String> {
    let end = end.strip_suffix('.').unwrap_or(end);
    let wrong = || format!("{end:?} does not end in a top-level domain");
    let (_, label) = end.rsplit_once('.').ok_or_else(wrong)?;
    let well_formed = label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().any(|octet| !octet.is_ascii_digit());
    if well_formed && !label.is_empty() { Ok(()) } else { Err(wrong()) }
}

impl Expand {
    fn parse(body: &str, letters: &[u8]) -> Result<Self, String> {
        let wrong = |why: &str| format!("%{{{body}}}: {why}");
        let letter = body.bytes().next().ok_or_else(|| wrong("the letter is missing"))?;
        if !letters.contains(&letter.to_ascii_lowercase()) {
            return Err(wrong("no such macro here"));
        }
        let rest = body.get(1..).unwrap_or_default();
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (digits, rest) = rest.split_at(digits);
        let keep = match digits {
            "" => None,
            digits => match digits.parse().unwrap_or(usize::MAX) {
                0 => return Err(wrong("zero parts are kept")),
                keep => Some(keep),
            },
        };
        let (reverse, delimiters) = match rest.strip_prefix(['r', 'R']) {
            Some(delimiters) => (true, delimiters),
            None => (false, rest),
        };
        if let Some(odd) = delimiters.chars().find(|c| !".-+,/_=".contains(*c)) {
            return Err(wrong(&format!("{odd:?} is no delimiter")));
        }
        Ok(Self {
            letter: letter.to_ascii_lowercase(),
            escape: letter.is_ascii_uppercase(),
            keep,
            reverse,
            delimiters: if delimiters.is_empty() { ".".to_owned() } else { delimiters.to_owned() },
        })
    }

    fn value(&self, values: &Values<'_>) -> Vec<u8> {
        let value = self.raw(values);
        let mut parts: Vec<&[u8]> = value.split(|octet| self.delimiters.as_bytes().contains(octet)).collect();
        if self.reverse {
            parts.reverse();
        }
        let dropped = self.keep.map_or(0, |keep| parts.len().saturating_sub(keep));
        let kept = parts.get(dropped..).unwrap_or_default().join(&b'.');
        if self.escape { escaped(&kept) } else { kept }
    }

    fn raw(&self, values: &Values<'_>) -> Vec<u8> {
        match self.letter {
            b's' => [values.local_part, b"@", values.sender_domain].concat(),
            b'l' => values.local_part.to_vec(),
            b'o' => values.sender_domain.to_vec(),
            b'd' => values.domain.to_string().into_bytes(),
            b'i' => nibbles(values.ip).into_bytes(),
            b'p' => values.validated.as_bytes().to_vec(),
            b'v' => {
                if values.ip.is_ipv4() {
                    b"in-addr".to_vec()
                } else {
                    b"ip6".to_vec()
                }
            }
            b'h' => values.helo.to_vec(),
            b'c' => values.ip.to_string().into_bytes(),
            b't' => values.now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().to_string().into_bytes(),
            // `r`, the receiver: we are none (section 7.3 gives the word).
            _ => b"unknown".to_vec(),
        }
    }
}

/// The address as `%{i}` writes it: an IPv6 address is nibbles with dots.
fn nibbles(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let digits = format!("{:032X}", ip.to_bits());
            digits.chars().map(String::from).collect::<Vec<_>>().join(".")
        }
    }
}

/// Everything but the unreserved characters of RFC 3986 section 2.3 becomes `%XX`.
fn escaped(text: &[u8]) -> Vec<u8> {
    let escape = |octet: &u8| match octet {
        b'-' | b'.' | b'_' | b'~' => vec![*octet],
        octet if octet.is_ascii_alphanumeric() => vec![*octet],
        octet => format!("%{octet:02X}").into_bytes(),
    };
    text.iter().flat_map(escape).collect()
}

/// The name that an expanded `domain-spec` means; labels are taken off the left until it is short enough
/// (section 7.3). `None` where DNS cannot carry it.
fn target(expanded: &[u8]) -> Option<Name> {
    let mut text = expanded.strip_suffix(b".").unwrap_or(expanded);
    while text.len() > LONGEST_NAME {
        let dot = text.iter().position(|octet| *octet == b'.')?;
        text = text.get(dot + 1..)?;
    }
    Name::from_labels(text.split(|octet| *octet == b'.')).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7208 section 7.4.
    #[test]
    fn the_examples_of_the_standard() {
        let domain = "email.example.com".parse().unwrap();
        let v4 = Values {
            local_part: b"strong-bad",
            sender_domain: b"email.example.com",
            domain: &domain,
            ip: "192.0.2.3".parse().unwrap(),
            helo: b"mx.example.com",
            validated: "mx.example.org",
            now: UNIX_EPOCH,
        };
        let v6 = Values { ip: "2001:db8::cb01".parse().unwrap(), ..v4 };
        for (text, values, expanded) in [
            ("%{s}", v4, "strong-bad@email.example.com"),
            ("%{o}", v4, "email.example.com"),
            ("%{d4}", v4, "email.example.com"),
            ("%{d2}", v4, "example.com"),
            ("%{d1}", v4, "com"),
            ("%{dr}", v4, "com.example.email"),
            ("%{d2r}", v4, "example.email"),
            ("%{l}", v4, "strong-bad"),
            ("%{l-}", v4, "strong.bad"),
            ("%{lr}", v4, "strong-bad"),
            ("%{lr-}", v4, "bad.strong"),
            ("%{l1r-}", v4, "strong"),
            ("%{ir}.%{v}._spf.%{d2}", v4, "3.2.0.192.in-addr._spf.example.com"),
            ("%{lr-}.lp._spf.%{d2}", v4, "bad.strong.lp._spf.example.com"),
            ("%{d2}.trusted-domains.example.net", v4, "example.com.trusted-domains.example.net"),
            (
                "%{ir}.%{v}._spf.%{d2}",
                v6,
                "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com",
            ),
            ("%%%_%-%{S}", v4, "% %20strong-bad%40email.example.com"),
        ] {
            let parsed = MacroString::parse(text).unwrap();
            let value = String::from_utf8(parsed.start(&values, 1000)).unwrap();
            assert!(value.eq_ignore_ascii_case(expanded), "{text}: {value}");
        }
    }

    #[test]
    fn what_is_dropped_is_not_made() {
        let domain = ["abcdefghi"; 25].join(".").parse().unwrap();
        let values = Values {
            local_part: b"postmaster",
            sender_domain: b"example.com",
            domain: &domain,
            ip: "192.0.2.3".parse().unwrap(),
            helo: b"example.com",
            validated: "unknown",
            now: UNIX_EPOCH,
        };
        for text in
            ["%{d}.%{d}.", "%{d1}.%{d}", "%{i}.%{d}.%{s}.%{d}.%{l}", "x%{d}y%{d}", "%{d}.a.example", "a.%%.%_.b"]
        {
            let parsed = MacroString::parse(text).unwrap();
            assert_eq!(parsed.target(&values), target(&parsed.start(&values, usize::MAX)), "{text}");
        }
        assert_eq!(MacroString::parse(&"%{s}".repeat(16_000)).unwrap().start(&values, 2000).len(), 2000);
    }

    #[test]
    fn a_target_that_is_too_long_loses_labels_on_the_left() {
        let long = format!("{}.example.com", ["abcdefghi"; 30].join("."));
        let name = target(long.as_bytes()).unwrap();
        assert!(name.to_string().len() <= 253 && name.to_string().ends_with("abcdefghi.example.com"));
        assert_eq!(target(b"a..example.com"), None);
        assert_eq!(target(&[b"a".repeat(64).as_slice(), b".example.com"].concat()), None);
    }
}
