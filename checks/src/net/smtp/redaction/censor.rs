//! What of a server's words is shown: a text out of which the secret may be read is withheld.

use std::sync::atomic::Ordering;

use syntax::reply::{self, Line};

use super::{DEEPEST, Knowledge, REDACTED, Redaction, formed, opaque::without_opaque};

/// What stands where a text stood that a secret may be read out of.
pub(in crate::net::smtp) const WITHHELD: &str = "(withheld: it may hold the password)";

/// A longer text is not judged.
const LONGEST_TEXT: usize = 2048;

/// So much of the replies before may belong to a reply.
const LONGEST_MEMORY: usize = 512;

/// Decides for one connection what of the server's words is shown.
pub(in crate::net::smtp) struct Censor<'a> {
    redaction: &'a Redaction,
    /// What this login's exchange has made of the secret.
    learned: Redaction,
    knowledge: Knowledge,
    is_veiled: bool,
    /// What was said before the secret was sent.
    known: String,
    /// The end of what was said since.
    heard: String,
}

impl<'a> Censor<'a> {
    pub(in crate::net::smtp) fn new(redaction: &'a Redaction) -> Self {
        Self {
            redaction,
            learned: Redaction::default(),
            knowledge: Knowledge::Nothing,
            is_veiled: false,
            known: String::new(),
            heard: String::new(),
        }
    }

    /// From here on the server is told the secret, or something made of it.
    pub(in crate::net::smtp) fn confide(&mut self) {
        self.knowledge = Knowledge::Secret;
        self.redaction.told.store(true, Ordering::Relaxed);
    }

    /// Whether it is told.
    pub(in crate::net::smtp) fn is_confided(&self) -> bool {
        self.knowledge == Knowledge::Secret
    }

    /// From here on challenges are not shown: of them and of their answers a password can be guessed.
    pub(in crate::net::smtp) fn veil(&mut self) {
        self.is_veiled = true;
    }

    /// Shows these octets no more, in whatever form they come back.
    pub(in crate::net::smtp) fn learn(&mut self, derived: &[u8]) {
        self.learned.add(derived);
    }

    /// The lines of one reply as they may be shown: code and enhanced code stay, whatever the secret is.
    pub(in crate::net::smtp) fn shown(&mut self, lines: &[String]) -> Vec<String> {
        if self.is_veiled && lines.first().is_some_and(|line| line.starts_with("334")) {
            return vec![format!("334 {REDACTED}")];
        }
        let texts: Vec<&str> = lines.iter().map(|line| text(line)).collect();
        let said = texts.join("\n");
        match self.knowledge {
            _ if self.is_idle() => lines.to_vec(),
            Knowledge::Nothing | Knowledge::Elsewhere => {
                self.known.push_str(&said);
                self.without_told(lines)
            }
            Knowledge::Secret => {
                let heard = format!("{}{said}", self.heard);
                let shown = if self.is_told_in(&heard) { None } else { self.judged(lines) };
                let kept = heard.char_indices().rev().take(LONGEST_MEMORY).last().map_or(0, |(at, _)| at);
                self.heard = shown.as_ref().and_then(|_| heard.get(kept..)).unwrap_or_default().to_owned();
                shown.unwrap_or_else(|| lines.last().map(|line| withheld(line)).into_iter().collect())
            }
        }
    }

    /// Whether there is nothing to hide.
    fn is_idle(&self) -> bool {
        self.redaction.sought.is_empty() && self.learned.sought.is_empty()
    }

    /// Each line that tells the secret is withheld; all, where they tell it together. What is left is the protocol's.
    fn without_told(&self, lines: &[String]) -> Vec<String> {
        let mut shown = Vec::new();
        for lines in groups(lines) {
            let texts: Vec<&str> = lines.iter().map(|line| text(line)).collect();
            let together = self.is_told_in(&texts.join("\n"));
            let told: Vec<bool> = texts.iter().map(|text| together && self.is_told_in(text)).collect();
            let all = together && !told.contains(&true);
            let line = |(line, told): (&String, &bool)| match all || *told {
                true => withheld(line),
                false => line.clone(),
            };
            shown.extend(lines.iter().zip(&told).map(line));
        }
        shown
    }

    fn judged(&self, lines: &[String]) -> Option<Vec<String>> {
        let judged = |line: &String| {
            let text = text(line);
            let (before, _) = line.split_at(line.len() - text.len());
            Some(format!("{before}{}", without_opaque(text, &self.known)?))
        };
        lines.iter().map(judged).collect()
    }

    /// What the server knows, as far as this connection and those beside it tell.
    fn suspected(&self) -> Knowledge {
        match self.knowledge {
            Knowledge::Nothing if self.redaction.is_told() => Knowledge::Elsewhere,
            knowledge => knowledge,
        }
    }

    /// Nobody reads far into the long list of what a server can do.
    fn depth(&self, text: &str) -> usize {
        match self.suspected() {
            Knowledge::Nothing if text.len() > LONGEST_MEMORY => 1,
            _ => DEEPEST,
        }
    }

    fn is_told_in(&self, text: &str) -> bool {
        if text.len() > LONGEST_TEXT {
            return true;
        }
        let (readings, is_all) = formed(text, self.depth(text));
        let is_in = |redaction: &Redaction| redaction.is_in(&readings, self.suspected());
        is_in(self.redaction) || is_in(&self.learned) || (!is_all && self.is_confided())
    }
}

/// Lines that are judged together.
fn groups(lines: &[String]) -> Vec<&[String]> {
    let (mut groups, mut rest) = (Vec::new(), lines);
    while !rest.is_empty() {
        let mut length = 0;
        let fits = |line: &&String| {
            length += line.len();
            length <= LONGEST_TEXT
        };
        let (group, others) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        groups.push(group);
        rest = others;
    }
    groups
}

/// What a line says after code and enhanced code, which are no place for a secret; all of what is no line of a reply.
fn text(line: &str) -> &str {
    let text = reply::line(line).map_or(line, |line| line.text);
    enhanced(text).map_or(text, |(_, text)| text)
}

/// The enhanced code a text begins with (RFC 3463 section 2), and what comes after it.
fn enhanced(text: &str) -> Option<(&str, &str)> {
    let (code, rest) = text.split_at(text.find(' ').unwrap_or(text.len()));
    let fields: Vec<&str> = code.split('.').collect();
    let [class, subject, detail] = fields.as_slice() else { return None };
    let is_number = |field: &str, most| (1..=most).contains(&field.len()) && field.bytes().all(|c| c.is_ascii_digit());
    (is_number(class, 1) && is_number(subject, 1) && is_number(detail, 3)).then_some((code, rest))
}

/// A line without its text.
fn withheld(line: &str) -> String {
    match reply::line(line) {
        None => WITHHELD.to_owned(),
        Some(Line { text, .. }) => {
            let before = line.strip_suffix(text).unwrap_or_default();
            let enhanced = enhanced(text).map(|(code, _)| format!("{code} ")).unwrap_or_default();
            format!("{before}{enhanced}{WITHHELD}")
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::{
        Engine,
        engine::general_purpose::{STANDARD, URL_SAFE},
    };

    use super::*;
    use crate::{Credentials, Login, Secret};

    fn redaction(secret: &str) -> Redaction {
        let login = Login::Password(Secret::new(secret.to_owned()));
        Redaction::of(Some(&Credentials::new("jira".to_owned(), login)))
    }

    /// The lines as they are shown before and after the secret was sent.
    fn shown(secret: &str, lines: &[&str]) -> [Vec<String>; 2] {
        let redaction = redaction(secret);
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let before = Censor::new(&redaction).shown(&lines);
        let mut after = Censor::new(&redaction);
        after.confide();
        [before, after.shown(&lines)]
    }

    #[test]
    fn no_form_of_the_secret_is_shown() {
        let password = "s3cr\u{e9}t pass??>";
        let hex = |text: &str| text.bytes().map(|octet| format!("{octet:02x}")).collect::<String>();
        for echo in [
            password.to_owned(),
            password.to_uppercase(),
            password.chars().rev().collect(),
            password.chars().map(|c| format!("{c} ")).collect(),
            STANDARD.encode(password),
            URL_SAFE.encode(password),
            STANDARD.encode(format!("\0jira\0{password}")),
            URL_SAFE.encode(format!("\0jira\0{password}")),
            STANDARD.encode(format!("user=a\x01auth=Bearer {password}\x01\x01")),
            STANDARD.encode(STANDARD.encode(password)),
            hex(password),
            hex(&format!("\0jira\0{password}")).to_ascii_uppercase(),
        ] {
            let line = format!("501 5.5.2 bad AUTH {echo} sent");
            for shown in shown(password, &[&line]) {
                assert_eq!(shown, [format!("501 5.5.2 {WITHHELD}")], "{echo}");
            }
        }
    }

    #[test]
    fn no_part_of_the_secret_is_shown_to_whom_it_was_told() {
        let base64 = STANDARD.encode("\0jira\0correct-horse-battery");
        for said in [
            "no correct-horse-batt…",
            "horse-battery, no",
            "x: 636F72726563742d68 (cut)",
            "corr x ect- x hors x e-ba x tter",
            &format!("cannot decode {}...", &base64[..20]),
            &format!("cannot decode {}", &base64[15..]),
        ] {
            let line = format!("535 5.7.8 {said}");
            let shown = shown("correct-horse-battery", &[&line]);
            assert_eq!(shown, [[line.clone()], [format!("535 5.7.8 {WITHHELD}")]], "{said}");
        }
        for line in ["535 5.7.8 no", "535 batt", "535"] {
            assert_eq!(shown("correct-horse-battery", &[line]), [[line], [line]]);
        }
    }

    #[test]
    fn a_secret_is_not_shown_in_instalments() {
        let lines = ["535-5.7.8 correct-", "535-5.7.8 horse", "535 5.7.8 -battery"];
        let [before, after] = shown("correct-horse-battery", &lines);
        assert_eq!(after, [format!("535 5.7.8 {WITHHELD}")]);
        assert_eq!(before.first(), Some(&format!("535-5.7.8 {WITHHELD}")));
        assert!(before.iter().all(|line| line.ends_with(WITHHELD)), "{before:?}");

        let redaction = redaction("correct-horse-battery");
        let mut censor = Censor::new(&redaction);
        censor.confide();
        assert_eq!(censor.shown(&["535 no corre".to_owned()]), ["535 no corre"]);
        assert_eq!(censor.shown(&["503 ct-horse, first".to_owned()]), [format!("503 {WITHHELD}")]);
        assert_eq!(censor.shown(&["221 Bye".to_owned()]), ["221 Bye"]);
    }

    #[test]
    fn what_the_protocol_needs_stays() {
        let lines = ["250-mx.test", "250-x-echo hunter2hunter2", "250-AUTH PLAIN", "250 STARTTLS"];
        let [before, _] = shown("hunter2hunter2", &lines);
        assert_eq!(before, ["250-mx.test", &format!("250-{WITHHELD}"), "250-AUTH PLAIN", "250 STARTTLS"]);
        let many: Vec<String> = (0..500).map(|n| format!("250-X{n} of a keyword that nobody knows")).collect();
        assert_eq!(Censor::new(&redaction("hunter2hunter2")).shown(&many), many);
    }

    #[test]
    fn a_word_of_smtp_may_be_the_password() {
        let [before, after] = shown("TLS", &["250 STARTTLS"]);
        assert_eq!((before, after), (vec!["250 STARTTLS".to_owned()], vec![format!("250 {WITHHELD}")]));
        let nothing = Redaction::of(None);
        let mut censor = Censor::new(&nothing);
        censor.confide();
        assert_eq!(censor.shown(&["250 3mJr7AoUXx2Wqd1".to_owned()]), ["250 3mJr7AoUXx2Wqd1"]);
    }

    #[test]
    fn the_server_beside_the_one_that_was_told_may_know_it() {
        let (long, short) = (redaction("correct-horse-battery"), redaction("TLS"));
        let (mut told, mut beside) = (Censor::new(&long), Censor::new(&long));
        let part = "250-x-echo correct-horse".to_owned();
        assert_eq!(beside.shown(std::slice::from_ref(&part)), [part.as_str()]);
        told.confide();
        assert_eq!(beside.shown(&[part, "250 STARTTLS".to_owned()]), [&format!("250-{WITHHELD}"), "250 STARTTLS"]);
        // What is opaque there is no answer to the secret.
        assert_eq!(beside.shown(&["250 3mJr7AoUXx2Wqd1".to_owned()]), ["250 3mJr7AoUXx2Wqd1"]);
        let (mut told, mut beside) = (Censor::new(&short), Censor::new(&short));
        told.confide();
        assert_eq!(beside.shown(&["250 STARTTLS".to_owned()]), ["250 STARTTLS"]);
    }

    #[test]
    fn what_was_made_of_the_secret_is_hidden_too() {
        let nothing = Redaction::of(None);
        for echo in [
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "747CDB65AA56224E2352137E52D7BDCAD6A0F738DF30782CAA69A2CFB0277554",
            "74:7C:DB:65:AA:56:22:4E:23:52:13:7E",
        ] {
            let mut censor = Censor::new(&nothing);
            censor.confide();
            censor.learn(b"4096");
            censor.learn(b"<1.2@smtp.example.net>");
            censor.learn(b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
            assert_eq!(censor.shown(&[format!("535 4096 {echo} no")]), [format!("535 {WITHHELD}")]);
            let harmless = "535 4096 at smtp.example.net".to_owned();
            assert_eq!(censor.shown(std::slice::from_ref(&harmless)), [harmless]);
        }
    }
}
