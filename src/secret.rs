//! Whether what was given as a password or token can be one: what cannot is refused before a server sees it.

use anyhow::{bail, ensure};
use checks::Secret;
use zeroize::Zeroizing;

/// Far more than any password or token has.
const LONGEST: usize = 65_536;

/// As much of a file as has to be read: the longest secret and its line end.
pub(crate) const LONGEST_FILE: usize = LONGEST + 2;

/// What a secret should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Password,
    Token,
}

/// The first line of a file, without its line end.
pub(crate) fn first_line(mut octets: Vec<u8>, user: &str, kind: Kind) -> anyhow::Result<Secret> {
    let is_map = is_map(&octets, user);
    // Shortened where it stands: no copy of the secret is left behind.
    let end = octets.iter().position(|octet| *octet == b'\n').unwrap_or(octets.len());
    let end = octets.get(..end).map_or(end, |line| line.strip_suffix(b"\r").unwrap_or(line).len());
    let is_utf16 = octets.starts_with(&[0xff, 0xfe]) || octets.starts_with(&[0xfe, 0xff]);
    octets.truncate(end);
    let secret = match String::from_utf8(octets) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => Err(Zeroizing::new(error.into_bytes())),
    };
    ensure!(!is_utf16, "is UTF-16, with a byte order mark: save it as UTF-8 without one");
    ensure!(!is_map, MAP);
    match secret {
        Ok(mut text) => typed(std::mem::take(&mut *text), user, kind),
        Err(_) => bail!("is not UTF-8, expected a file with the secret on its first line"),
    }
}

/// What is said of a secret that is longer than any.
pub(crate) fn too_long() -> anyhow::Error {
    anyhow::anyhow!("is longer than {LONGEST} octets: no password or token is")
}

/// A password or token that the protocols can carry.
pub(crate) fn typed(text: String, user: &str, kind: Kind) -> anyhow::Result<Secret> {
    let flaw = flaw(&text, user, kind);
    let secret = Secret::new(text);
    flaw.map_or(Ok(secret), |flaw| Err(anyhow::Error::msg(flaw)))
}

const MAP: &str = "is a whole line of sasl_passwd, expected the password alone: what comes after \"user:\"";

fn flaw(text: &str, user: &str, kind: Kind) -> Option<String> {
    let is_blank_or_foreign = |c: char| c.is_whitespace() || !c.is_ascii();
    let flaw = match text {
        "" => "is empty, expected a password or token",
        text if text.len() > LONGEST => {
            return Some(too_long().to_string());
        }
        text if text.starts_with('\u{feff}') => "starts with a byte order mark: save it without one",
        // RFC 4616 section 2.
        text if text.contains('\0') => "has a NUL octet, which SASL cannot carry",
        text if text.contains('\r') => "has a carriage return: write it anew, without one",
        text if text.contains('\n') => "has more than one line, expected the password or token alone",
        text if text.contains(|c: char| c.is_control() && c != '\t') => {
            "has a control character: write it anew, without one"
        }
        text if is_entry(text, user) => MAP,
        text if text.strip_prefix(user).is_some_and(|rest| rest.starts_with(':')) => {
            "starts with the user's name and a colon, expected the password alone"
        }
        text if kind == Kind::Token && text.starts_with('{') => "is JSON, expected the access token alone",
        // RFC 6750 section 2.1.
        text if kind == Kind::Token && text.contains(is_blank_or_foreign) => {
            "has blanks or letters beyond ASCII, expected the access token alone"
        }
        _ => return None,
    };
    Some(flaw.to_owned())
}

/// Whether it is a file of Postfix's: a comment before its first entry makes no password.
fn is_map(octets: &[u8], user: &str) -> bool {
    let mut lines = octets.split(|octet| *octet == b'\n').map(<[u8]>::trim_ascii);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with(b"#"));
    line.and_then(|line| std::str::from_utf8(line).ok()).is_some_and(|line| is_entry(line, user))
}

/// `[smtp.example.net]:587 user:password`, as postconf(5) shows it for `smtp_sasl_password_maps`.
fn is_entry(line: &str, user: &str) -> bool {
    let Some((key, value)) = line.trim().split_once([' ', '\t']) else { return false };
    let Some((login, _)) = value.trim_start().split_once(':') else { return false };
    let is_of_key = |c: char| c.is_ascii_alphanumeric() || ".-_:[]@+=".contains(c);
    // A relay, or a sender: smtp_sender_dependent_authentication.
    let is_key = key.chars().all(is_of_key) && (key.contains(['[', '@', '.', ':']) || key == "localhost");
    login == user || (is_key && !login.is_empty() && !login.contains(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &[u8], kind: Kind) -> Option<String> {
        first_line(text.to_vec(), "alice", kind).err().map(|error| error.to_string())
    }

    #[test]
    fn passwords_as_people_have_them() {
        for text in [
            "hunter2",
            "hunter2\n",
            "hunter2\r\n",
            " correct horse: battery staple ",
            "p\u{e4}ss\tw\u{f6}rd",
            "#1Pass!\nand a note",
            "a.b:c",
            "[x] y",
            "alice",
        ] {
            assert_eq!(refusal(text.as_bytes(), Kind::Password), None, "{text:?}");
        }
        for length in [LONGEST - 1, LONGEST] {
            for end in ["", "\n", "\r\n", "\nmore"] {
                let text = "x".repeat(length) + end;
                assert_eq!(refusal(text.as_bytes(), Kind::Password), None);
            }
        }
    }

    #[test]
    fn what_is_no_password_is_refused_in_words() {
        let long = "x".repeat(LONGEST + 1);
        let map = "is a whole line of sasl_passwd";
        for (text, why) in [
            (&b""[..], "is empty"),
            (b"\nhunter2", "is empty"),
            (long.as_bytes(), "is longer than 65536 octets"),
            (b"\xef\xbb\xbfhunter2\n", "starts with a byte order mark"),
            (b"\xff\xfeh\0u\0n\0t\0e\0r\x002\0\n\0", "is UTF-16"),
            (b"\xfe\xff\0h\0u\0n\0t\0e\0r\x002\0\n", "is UTF-16"),
            (b"\0h\0u\0n\0t\0e\0r\x002", "has a NUL octet"),
            (b"hunter2\rmore", "has a carriage return"),
            (b"hunter2\x1b[D", "has a control character"),
            (b"hunter\xe4\n", "is not UTF-8"),
            (b"[smtp.example.net]:587 bob:hunter2\n", map),
            (b"[smtp.example.net]:587\tbob:hunter2", map),
            (b"  smtp.example.net   bob@example.net:hunter2", map),
            (b"smtp:587 bob:hunter2", map),
            (b"me@example.org bob:hunter2", map),
            (b"mailhub alice:hunter2", map),
            (b"# the relay\n\n[smtp.example.net]:587 bob:hunter2\n", map),
            (b"alice:hunter2", "starts with the user's name"),
        ] {
            for kind in [Kind::Password, Kind::Token] {
                let refusal = refusal(text, kind).unwrap();
                assert!(refusal.starts_with(why), "{refusal}");
                assert!(!refusal.contains("hunter") && !refusal.contains("bob"), "{refusal}");
            }
        }
        for (text, why) in [(&b"{\"access_token\":\"t\"}"[..], "is JSON"), (b"Bearer ya29.x", "has blanks")] {
            assert!(refusal(text, Kind::Token).unwrap().starts_with(why));
            assert_eq!(refusal(text, Kind::Password), None);
        }
    }
}
