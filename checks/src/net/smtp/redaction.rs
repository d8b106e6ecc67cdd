//! A server may echo what it was sent; nobody is shown a secret for that.

use std::iter::repeat_n;

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::{Credentials, Login, Secret};

/// What stands where a secret stood.
pub(super) const REDACTED: &str = "<redacted>";

/// The forms in which a secret could come back.
pub(super) struct Redaction {
    forms: Zeroizing<Vec<String>>,
}

impl Redaction {
    /// Of the secret in `credentials`, in clear and in the base64 of any text that contains it.
    pub(super) fn of(credentials: Option<&Credentials>) -> Self {
        let secret = credentials.map(|credentials| secret(&credentials.login));
        let mut forms: Vec<String> = secret.map(forms).unwrap_or_default();
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        Self { forms: Zeroizing::new(forms) }
    }

    /// `text` without the secret.
    pub(super) fn redacted(&self, text: &str) -> String {
        self.forms.iter().fold(text.to_owned(), |text, form| match text.contains(form.as_str()) {
            true => Zeroizing::new(text).replace(form.as_str(), REDACTED),
            false => text,
        })
    }
}

pub(super) fn secret(login: &Login) -> &Secret {
    match login {
        Login::Password(secret) | Login::Token(secret) => secret,
    }
}

fn forms(secret: &Secret) -> Vec<String> {
    let clear = secret.expose();
    let encoded = (0..3).filter_map(|offset| core(clear.as_bytes(), offset));
    std::iter::once(clear.to_owned()).chain(encoded).filter(|form| !form.is_empty()).collect()
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
            assert!(shown.starts_with("501 bad AUTH ") && shown.contains(REDACTED), "{shown}");
            assert!(!shown.contains("s3cr") && !shown.contains("czNjc"), "{shown}");
        }
        assert_eq!(Redaction::of(None).redacted("250 ok"), "250 ok");
    }
}
