//! A reply of an SMTP server (RFC 5321 section 4.2), and what EHLO makes of it.

use std::{collections::HashSet, fmt};

/// A reply of an SMTP server: its code, and the text of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// The text of each line, without its code.
    pub lines: Vec<String>,
}

/// One line of a reply.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The three digits.
    pub code: u16,
    /// Whether no further line follows.
    pub is_last: bool,
    /// What follows the code.
    pub text: &'a str,
}

impl Reply {
    /// 2yz: done.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 4yz: ask again later (421 among them: the service is not available).
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5yz: no.
    pub fn is_negative(&self) -> bool {
        self.code / 100 == 5
    }

    /// The keywords of EHLO with their parameters, one a line (RFC 5321 section 4.1.1.1).
    pub fn capabilities(&self) -> &[String] {
        self.lines.split_first().map_or(&[], |(_greeting, capabilities)| capabilities)
    }

    /// Whether EHLO offers `keyword`.
    pub fn offers(&self, keyword: &str) -> bool {
        self.parameters(keyword).next().is_some()
    }

    /// What EHLO says behind `keyword`, if it offers that.
    pub fn parameter<'a>(&'a self, keyword: &'a str) -> Option<&'a str> {
        self.parameters(keyword).next()
    }

    /// The mechanisms of AUTH, in upper case (RFC 4954 section 3); some servers still write `AUTH=` before them.
    pub fn mechanisms(&self) -> Vec<String> {
        let mut known = HashSet::new();
        let words = self.parameters("AUTH").flat_map(str::split_whitespace).map(str::to_ascii_uppercase);
        words.filter(|word| known.insert(word.clone())).collect()
    }

    fn parameters<'a>(&'a self, keyword: &'a str) -> impl Iterator<Item = &'a str> {
        self.capabilities().iter().filter_map(move |line| {
            let (word, rest) = line.split_once([' ', '=']).unwrap_or((line, ""));
            word.eq_ignore_ascii_case(keyword).then_some(rest)
        })
    }
}

/// The reply in one line of a sentence, shortened.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 300;
        let text = self.lines.join(" ");
        write!(f, "{}", self.code)?;
        match text.trim() {
            "" => Ok(()),
            text => match text.char_indices().nth(LONGEST) {
                Some((end, _)) => write!(f, " {}…", text.split_at(end).0),
                None => write!(f, " {text}"),
            },
        }
    }
}

/// Three digits, the first from 2 to 5, then a hyphen on all lines but the last (RFC 5321 section 4.2).
pub fn line(text: &str) -> Option<Line<'_>> {
    let (digits, rest) = text.split_at_checked(3)?;
    if !digits.bytes().all(|octet| octet.is_ascii_digit()) || !digits.starts_with(['2', '3', '4', '5']) {
        return None;
    }
    let code = digits.parse().ok()?;
    match rest.split_at_checked(1) {
        None => Some(Line { code, is_last: true, text: "" }),
        Some((" ", text)) => Some(Line { code, is_last: true, text }),
        Some(("-", text)) => Some(Line { code, is_last: false, text }),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_servers_write_them() {
        for (text, parsed) in [
            ("220 mx.test ESMTP", Some((220, true, "mx.test ESMTP"))),
            ("250-SIZE 1000", Some((250, false, "SIZE 1000"))),
            ("250", Some((250, true, ""))),
            ("250-", Some((250, false, ""))),
            ("334 ", Some((334, true, ""))),
            ("535 5.7.8 ü", Some((535, true, "5.7.8 ü"))),
            ("", None),
            ("25", None),
            ("25x hello", None),
            ("120 early", None),
            ("999 late", None),
            ("250_x", None),
            ("2500 x", None),
            ("SSH-2.0-OpenSSH_9.2", None),
            ("+OK Dovecot ready.", None),
            ("22é", None),
            ("é20", None),
        ] {
            let found = line(text).map(|line| (line.code, line.is_last, line.text));
            assert_eq!(found, parsed, "{text:?}");
        }
    }

    #[test]
    fn mechanisms_are_collected_whatever_the_spelling() {
        let lines = ["mx.test", "SIZE 1000", "auth PLAIN login", "AUTH=LOGIN XOAUTH2", "STARTTLS", "AUTHX NO"];
        let reply = Reply { code: 250, lines: lines.map(str::to_owned).to_vec() };
        assert_eq!(reply.mechanisms(), ["PLAIN", "LOGIN", "XOAUTH2"]);
        assert!(reply.offers("starttls") && !reply.offers("mx.test"));
        assert_eq!(reply.capabilities().len(), 5);
        assert!(!Reply { code: 250, lines: vec!["STARTTLS".to_owned()] }.offers("STARTTLS"));
    }

    #[test]
    fn long_replies_are_shortened() {
        let reply = Reply { code: 550, lines: vec!["ü".repeat(1000), "end".to_owned()] };
        assert_eq!(reply.to_string(), format!("550 {}…", "ü".repeat(300)));
        assert_eq!(Reply { code: 250, lines: vec![String::new()] }.to_string(), "250");
    }
}
