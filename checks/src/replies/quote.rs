//! A reply as somebody quotes it: typed, or copied from a log.

use std::fmt;

/// A reply as somebody quotes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The reply code.
    pub code: Option<u16>,
    /// The enhanced code (RFC 3463).
    pub enhanced: Option<Enhanced>,
    /// What is said, in lower case and without the codes.
    pub(super) text: String,
    /// Whose reply it is, where that can be seen.
    pub(super) speaker: Option<&'static str>,
}

/// Class, subject and detail of an enhanced code (RFC 3463 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enhanced {
    pub(super) class: u16,
    pub(super) subject: u16,
    pub(super) detail: u16,
}

/// Words in a reply, or in the line of a log that quotes it, and whom they give away.
static SPEAKERS: &[(&str, &[&str])] = &[
    ("Google", &["gsmtp", "gmail", "google"]),
    ("Microsoft", &["outlook.com", "office365.com", "microsoft", "hotmail", "storedrv"]),
    ("Yahoo", &["yahoo"]),
    ("Amazon SES", &["amazonaws.com", "amazonses", "amazon ses"]),
    ("SendGrid", &["sendgrid"]),
];

impl Quote {
    /// The reply in `text`, if there is one: a reply code, an enhanced code, or both.
    pub fn parse(text: &str) -> Option<Self> {
        // Postfix quotes what a host said, after a status of its own that is the same or less.
        let said = text.rsplit_once("said: ").map_or(text, |(_, said)| said);
        let quote = Self::read(said);
        let found = if quote.code.is_some() || quote.enhanced.is_some() { quote } else { Self::read(text) };
        // The host that said it tells whose reply it is.
        let speaker = speaker(&text.to_lowercase());
        (found.code.is_some() || found.enhanced.is_some()).then_some(Self { speaker, ..found })
    }

    /// The reply of a server.
    pub(crate) fn of(code: u16, lines: &[String]) -> Self {
        Self { code: Some(code), ..Self::read(&lines.join(" ")) }
    }

    fn read(text: &str) -> Self {
        let mut quote = Self { code: None, enhanced: None, text: String::new(), speaker: None };
        for word in text.split_whitespace() {
            // `dsn=5.7.1,`, `#5.1.1`, `smtp;550`, `(550`
            let bare = word.trim_matches(|c: char| "(),;\"".contains(c));
            let bare = bare.rsplit(';').next().unwrap_or(bare).trim_start_matches("dsn=").trim_start_matches('#');
            let (code, rest) = code(bare).unwrap_or((0, bare));
            let enhanced = Enhanced::parse(rest.trim_end_matches([':', '.', ']']).trim_start_matches('['));
            match (code, enhanced) {
                (0, None) => {
                    quote.text.push_str(word);
                    quote.text.push(' ');
                }
                (code, enhanced) => {
                    quote.code = quote.code.or(Some(code).filter(|code| *code > 0));
                    quote.enhanced = quote.enhanced.or(enhanced);
                    // A line that goes on: `550-The rest`.
                    if enhanced.is_none() && !rest.is_empty() {
                        quote.text.push_str(rest);
                        quote.text.push(' ');
                    }
                }
            }
        }
        quote.text = quote.text.trim().to_lowercase();
        quote.speaker = speaker(&quote.text);
        quote
    }

    /// Whether nothing is said beside the codes.
    pub fn is_bare(&self) -> bool {
        self.text.is_empty()
    }
}

/// The codes.
impl fmt::Display for Quote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.enhanced) {
            (Some(code), Some(enhanced)) => write!(f, "{code} {enhanced}"),
            (Some(code), None) => write!(f, "{code}"),
            (None, Some(enhanced)) => write!(f, "{enhanced}"),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

fn speaker(text: &str) -> Option<&'static str> {
    let is_given_away = |words: &[&str]| words.iter().any(|word| text.contains(word));
    SPEAKERS.iter().find(|(_, words)| is_given_away(words)).map(|(name, _)| *name)
}

/// A reply code at the beginning of a word, and what follows it: three digits, then nothing, a hyphen or a colon.
fn code(word: &str) -> Option<(u16, &str)> {
    let (digits, rest) = word.split_at_checked(3)?;
    let is_code = digits.bytes().all(|octet| octet.is_ascii_digit()) && digits.starts_with(['2', '3', '4', '5']);
    let rest = match rest.chars().next() {
        None => rest,
        Some('-' | ':') => rest.get(1..)?,
        Some(_) => return None,
    };
    Some((digits.parse().ok().filter(|_| is_code)?, rest))
}

impl Enhanced {
    /// `class.subject.detail` (RFC 3463 section 2).
    fn parse(word: &str) -> Option<Self> {
        let mut parts = word.split('.');
        let mut number = || {
            let digits = parts.next().filter(|digits| (1..=3).contains(&digits.len()))?;
            let is_number = digits.bytes().all(|octet| octet.is_ascii_digit());
            if is_number { digits.parse::<u16>().ok() } else { None }
        };
        let code = Self { class: number()?, subject: number()?, detail: number()? };
        (parts.next().is_none() && matches!(code.class, 2 | 4 | 5)).then_some(code)
    }

    /// Whether it is the code or one of the codes that `pattern` stands for.
    pub(super) fn is_one_of(self, pattern: &str) -> bool {
        let mut parts = pattern.splitn(3, '.');
        let (class, subject, detail) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
        let class_fits = class == Some("*") || class == Some(self.class.to_string().as_str());
        let (first, last) = detail.split_once('-').unwrap_or((detail, detail));
        let is_within =
            matches!((first.parse(), last.parse()), (Ok(first), Ok(last)) if (first..=last).contains(&self.detail));
        class_fits && subject == Some(self.subject.to_string().as_str()) && is_within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts = (Option<u16>, Option<(u16, u16, u16)>, String);

    fn read(text: &str) -> Option<Parts> {
        let quote = Quote::parse(text)?;
        Some((quote.code, quote.enhanced.map(|code| (code.class, code.subject, code.detail)), quote.text))
    }

    #[test]
    fn quotes_as_people_make_them() {
        for (text, code, enhanced, said) in [
            ("550 5.7.1 No", Some(550), Some((5, 7, 1)), "no"),
            ("550-5.7.1 No,\n550 5.7.1 never", Some(550), Some((5, 7, 1)), "no, never"),
            ("550-No\r\n550 never", Some(550), None, "no never"),
            ("5.7.26", None, Some((5, 7, 26)), ""),
            ("421", Some(421), None, ""),
            ("dsn=4.7.0, status=deferred", None, Some((4, 7, 0)), "status=deferred"),
            ("smtp;550 5.1.1 no", Some(550), Some((5, 1, 1)), "no"),
            ("#5.1.1 (550) no", Some(550), Some((5, 1, 1)), "no"),
            ("535: 5.7.8 Error", Some(535), Some((5, 7, 8)), "error"),
        ] {
            assert_eq!(read(text), Some((code, enhanced, said.to_owned())), "{text}");
        }
        for text in
            ["", "spf.record", "relay", "hello there", "192.0.2.1", "999", "12345", "6.1.1", "1.2.3.4", "5.1", "é50"]
        {
            assert_eq!(read(text), None, "{text}");
        }
        let logged =
            "delay=0.5, dsn=5.0.0, status=bounced (host mx.test[192.0.2.25] said: 554 5.7.1 No (in reply to RCPT))";
        assert_eq!(read(logged).unwrap().1, Some((5, 7, 1)));
    }

    #[test]
    fn patterns_of_enhanced_codes() {
        let fits = |code, pattern| Enhanced::parse(code).unwrap().is_one_of(pattern);
        assert!(fits("5.7.26", "*.7.26") && fits("4.7.26", "*.7.26") && !fits("5.7.27", "*.7.26"));
        assert!(fits("5.7.606", "5.7.606-649") && fits("5.7.649", "5.7.606-649") && !fits("5.7.650", "5.7.606-649"));
        assert!(!fits("4.7.26", "5.7.26") && !fits("5.1.26", "5.7.26"));
    }
}
