//! A server may echo what it was sent; nobody is shown a secret for that.

use std::iter::repeat_n;

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::{Credentials, Login, Secret};

/// What stands where a secret stood.
pub(super) const REDACTED: &str = "<redacted>";

/// The forms in which a secret could come back: in clear, and as a part of base64.
pub(super) struct Redaction {
    clear: Zeroizing<String>,
    encoded: Zeroizing<Vec<String>>,
}

impl Redaction {
    /// Of the secret in `credentials`.
    pub(super) fn of(credentials: Option<&Credentials>) -> Self {
        let clear = credentials.map(|credentials| secret(&credentials.login).expose()).unwrap_or_default();
        let encoded = (0..3).filter_map(|offset| core(clear.as_bytes(), offset)).collect();
        Self { clear: Zeroizing::new(clear.to_owned()), encoded: Zeroizing::new(encoded) }
    }

    /// `text` without the secret, and without the whole of any base64 that contains it.
    pub(super) fn redacted(&self, text: &str) -> String {
        let mut text = match self.clear.is_empty() {
            true => text.to_owned(),
            false => text.replace(self.clear.as_str(), REDACTED),
        };
        for core in self.encoded.iter() {
            text = without(&text, core);
        }
        text
    }
}

/// `text` without each word of base64 that contains `core`.
fn without(text: &str, core: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(core) {
        shown.push_str(before.trim_end_matches(is_base64));
        shown.push_str(REDACTED);
        rest = after.trim_start_matches(is_base64);
    }
    shown.push_str(rest);
    shown
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+/=".contains(c)
}

pub(super) fn secret(login: &Login) -> &Secret {
    match login {
        Login::Password(secret) | Login::Token(secret) => secret,
    }
}

/// The part of the base64 of a text with `secret` at `offset` (modulo 3) that is the same whatever stands around it.
fn core(secret: &[u8], offset: usize) -> Option<String> {
    /// Shorter parts are found by chance, and tell little.
    const SHORTEST: usize = 4;
    let padded: Zeroizing<Vec<u8>> = Zeroizing::new(repeat_n(0, offset).chain(secret.iter().copied()).collect());
    let encoded = Zeroizing::new(STANDARD.encode(&*padded));
    // A character holds six bits: the first that holds none of what stands before, the last that holds none after.
    let (first, last) = ((offset * 8).div_ceil(6), padded.len() * 8 / 6);
    encoded.get(first..last).filter(|core| core.len() >= SHORTEST).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_the_secret_is_shown() {
        let password = "s3cr\u{e9}t pass";
        let credentials = Credentials {
            user: "jira".to_owned(),
            login: Login::Password(Secret::new(password.to_owned())),
            mechanism: None,
        };
        let redaction = Redaction::of(Some(&credentials));
        let echoes = [
            password.to_owned(),
            STANDARD.encode(password),
            STANDARD.encode(format!("\0jira\0{password}")),
            STANDARD.encode(format!("user=a\x01auth=Bearer {password}\x01\x01")),
            STANDARD.encode(format!("x{password}y")),
        ];
        for echo in echoes {
            let shown = redaction.redacted(&format!("501 bad AUTH {echo} sent"));
            assert!(shown.starts_with("501 bad AUTH ") && shown.ends_with(" sent"), "{shown}");
            assert!(shown.contains(REDACTED) && shown.len() < "501 bad AUTH <redacted> sent".len() + 3, "{shown}");
        }
        assert_eq!(Redaction::of(None).redacted("250 ok"), "250 ok");
    }

    #[test]
    fn what_stands_for_a_secret_may_look_like_one() {
        assert_eq!(without("a reda b redareda", "reda"), "a <redacted> b <redacted>");
    }
}
