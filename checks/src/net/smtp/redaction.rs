//! A server may echo what it was sent; nobody is shown a secret for that.

use std::iter::repeat_n;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use zeroize::Zeroizing;

use crate::{Credentials, Login, Secret};

/// What stands where a secret stood.
pub(super) const REDACTED: &str = "<redacted>";

/// What is shorter is found by chance, and tells little.
const SHORTEST: usize = 6;

/// As much of a secret as is a part of it that counts: of what is echoed in pieces, or cut off.
const PART: usize = 8;

/// The forms in which secrets could come back: in clear, as a part of base64, in hexadecimal digits.
#[derive(Default)]
pub(super) struct Redaction {
    clear: Zeroizing<Vec<String>>,
    encoded: Zeroizing<Vec<String>>,
    /// In lower case.
    hex: Zeroizing<Vec<String>>,
    /// All that is [`PART`] octets long in any of these, in order.
    parts: Zeroizing<Vec<[u8; PART]>>,
}

impl Redaction {
    /// Of the secret in `credentials`.
    pub(super) fn of(credentials: Option<&Credentials>) -> Self {
        let mut redaction = Self::default();
        if let Some(secret) = credentials.and_then(|credentials| secret(&credentials.login)) {
            redaction.hide(secret.expose().as_bytes());
        }
        redaction
    }

    /// Also of what was made of the secret; of base64, what it stands for too.
    pub(super) fn add(&mut self, derived: &[u8]) {
        if derived.len() >= SHORTEST {
            self.hide(derived);
            if let Ok(octets) = STANDARD.decode(derived) {
                self.hide(&octets);
            }
        }
    }

    fn hide(&mut self, octets: &[u8]) {
        if octets.is_empty() {
            return;
        }
        self.clear.extend(std::str::from_utf8(octets).ok().map(str::to_owned));
        for offset in 0..3 {
            self.encoded.extend(core(octets, offset));
        }
        if octets.len() > 1 {
            self.hex.push(octets.iter().map(|octet| format!("{octet:02x}")).collect());
        }
        let forms = [&self.clear, &self.encoded, &self.hex].into_iter().flat_map(|forms| forms.iter());
        let parts = forms.flat_map(|form| form.as_bytes().windows(PART)).filter_map(|part| part.try_into().ok());
        self.parts = Zeroizing::new(parts.collect());
        self.parts.sort_unstable();
    }

    /// `text` from a server that has been told the secret: without it, and without parts of it.
    pub(super) fn redacted_in_parts(&self, text: &str) -> String {
        let text = self.all_redacted(text, 1);
        let lower = text.to_ascii_lowercase();
        let is_part = |part: &[u8]| part.try_into().is_ok_and(|part| self.parts.binary_search(part).is_ok());
        let mut shown = String::with_capacity(text.len());
        // Up to where it is hidden: no word goes on behind a part of the secret.
        let mut hidden = 0;
        for (at, c) in text.char_indices() {
            let starts = |text: &str| text.as_bytes().get(at..at + PART).is_some_and(is_part);
            if starts(&text) || starts(&lower) {
                if hidden < at || at == 0 {
                    shown.truncate(shown.trim_end_matches(is_base64).len());
                    shown.push_str(REDACTED);
                }
                hidden = at + PART;
            } else if at >= hidden {
                match hidden > 0 && hidden == at && is_base64(c) {
                    true => hidden += 1,
                    false => shown.push(c),
                }
            }
        }
        shown
    }

    /// `text` from a server that has not been told: a secret that is an everyday word is not looked for.
    pub(super) fn redacted(&self, text: &str) -> String {
        self.all_redacted(text, SHORTEST)
    }

    /// `text` without the secrets of `shortest` characters and more, and without the whole of any base64 or hexadecimal
    /// number that contains one.
    fn all_redacted(&self, text: &str, shortest: usize) -> String {
        let clear = self.clear.iter().filter(|clear| clear.len() >= shortest);
        let mut text = clear.fold(text.to_owned(), |text, clear| text.replace(clear.as_str(), REDACTED));
        for hex in self.hex.iter().filter(|hex| hex.len() >= shortest) {
            text = without(&text, &text.to_ascii_lowercase(), hex, |c| c.is_ascii_hexdigit());
        }
        for core in self.encoded.iter().filter(|core| core.len() >= shortest) {
            text = without(&text, &text, core, is_base64);
        }
        text
    }
}

/// `text` without each word, of the characters that `is_part` says, that contains `form` where `searched` does; both
/// have the same octets but for the case of ASCII.
fn without(text: &str, searched: &str, form: &str, is_part: fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut from = 0;
    while let Some(at) = searched.get(from..).and_then(|rest| rest.find(form)) {
        let (before, after) = (text.get(from..from + at), text.get(from + at + form.len()..));
        let (Some(before), Some(after)) = (before, after) else { break };
        shown.push_str(before.trim_end_matches(is_part));
        shown.push_str(REDACTED);
        from = text.len() - after.trim_start_matches(is_part).len();
    }
    shown.push_str(text.get(from..).unwrap_or_default());
    shown
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+/=-_".contains(c)
}

pub(super) fn secret(login: &Login) -> Option<&Secret> {
    match login {
        Login::Password(secret) | Login::Token(secret) => Some(secret),
        Login::Session => None,
    }
}

/// The part of the base64 of a text with `secret` at `offset` (modulo 3) that is the same whatever stands around it, in
/// both alphabets.
fn core(secret: &[u8], offset: usize) -> Vec<String> {
    /// Shorter parts are found by chance, and tell little.
    const SHORTEST: usize = 4;
    let padded: Zeroizing<Vec<u8>> = Zeroizing::new(repeat_n(0, offset).chain(secret.iter().copied()).collect());
    // A character holds six bits: the first that holds none of what stands before, the last that holds none after.
    let (first, last) = ((offset * 8).div_ceil(6), padded.len() * 8 / 6);
    let mut cores = Vec::new();
    for alphabet in [STANDARD, URL_SAFE] {
        let encoded = Zeroizing::new(alphabet.encode(&*padded));
        let core = encoded.get(first..last).filter(|core| core.len() >= SHORTEST).map(str::to_owned);
        cores.extend(core.filter(|core| !cores.contains(core)));
    }
    cores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_the_secret_is_shown() {
        let password = "s3cr\u{e9}t pass??>";
        let login = Login::Password(Secret::new(password.to_owned()));
        let redaction = Redaction::of(Some(&Credentials::new("jira".to_owned(), login)));
        let hex = |text: &str| text.bytes().map(|octet| format!("{octet:02x}")).collect::<String>();
        let echoes = [
            password.to_owned(),
            STANDARD.encode(password),
            URL_SAFE.encode(password),
            STANDARD.encode(format!("\0jira\0{password}")),
            URL_SAFE.encode(format!("\0jira\0{password}")),
            STANDARD.encode(format!("user=a\x01auth=Bearer {password}\x01\x01")),
            STANDARD.encode(format!("x{password}y")),
            hex(password),
            hex(&format!("\0jira\0{password}")).to_ascii_uppercase(),
        ];
        for echo in echoes {
            let shown = redaction.redacted(&format!("501 bad AUTH {echo} sent"));
            assert!(shown.starts_with("501 bad AUTH ") && shown.ends_with(" sent"), "{shown}");
            assert!(shown.contains(REDACTED) && shown.len() < "501 bad AUTH <redacted> sent".len() + 3, "{shown}");
        }
        assert_eq!(Redaction::of(None).redacted("250 ok"), "250 ok");
    }

    #[test]
    fn no_part_of_the_secret_is_shown_to_whom_it_was_told() {
        let login = Login::Password(Secret::new("correct-horse-battery".to_owned()));
        let redaction = Redaction::of(Some(&Credentials::new("jira".to_owned(), login)));
        let base64 = STANDARD.encode("\0jira\0correct-horse-battery");
        for (said, shown) in [
            ("5.7.8 no correct-horse-batt…", "5.7.8 no <redacted>…"),
            ("horse-battery, no", "<redacted>, no"),
            ("5.7.8 no", "5.7.8 no"),
            ("batt", "batt"),
            ("x: 636F72726563742d68 (cut)", "x: <redacted> (cut)"),
            ("correct-h orse-bat ü correct-", "<redacted> <redacted> ü <redacted>"),
            (&format!("cannot decode {}...", &base64[..20]), "cannot decode <redacted>..."),
            (&format!("cannot decode {}", &base64[15..]), "cannot decode <redacted>"),
        ] {
            assert_eq!(redaction.redacted_in_parts(said), shown);
        }
        assert_eq!(redaction.redacted("at correct-h"), "at correct-h");
    }

    #[test]
    fn a_word_of_smtp_may_be_the_password() {
        let login = Login::Password(Secret::new("TLS".to_owned()));
        let redaction = Redaction::of(Some(&Credentials::new("jira".to_owned(), login)));
        assert_eq!(redaction.redacted("250 STARTTLS"), "250 STARTTLS");
        assert_eq!(redaction.redacted_in_parts("no TLS for jira"), "no <redacted> for jira");
    }

    #[test]
    fn what_was_made_of_the_secret_is_hidden_too() {
        let mut redaction = Redaction::of(None);
        redaction.add(b"4096");
        redaction.add(b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        for echo in [
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "747CDB65AA56224E2352137E52D7BDCAD6A0F738DF30782CAA69A2CFB0277554",
        ] {
            assert_eq!(redaction.redacted(&format!("535 4096 {echo} no")), "535 4096 <redacted> no");
        }
    }

    #[test]
    fn what_stands_for_a_secret_may_look_like_one() {
        assert_eq!(without("a reda b redareda", "a reda b redareda", "reda", is_base64), "a <redacted> b <redacted>");
    }
}
