//! What of a server's text nobody can judge: it may be a secret in a writing that is not known here.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::REDACTED;

/// As many letters of a number to the base of 58 or 62 hold eight octets.
const LONGEST: usize = 11;

/// As many in short words hold a secret too.
const MOST: usize = 16;

/// Signs that stand in no sentence; of some a URL is made.
const SIGNS: &str = "!#$%&*+;<=>?@\\^_`{|}~";
const MOST_SIGNS: usize = 8;

/// Signs of other kinds: braille, emoji, invisible ones.
const MOST_FOREIGN: usize = 5;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// `text` without the words that may be anything, but for those `known` from before; nothing where that is all of it.
///
/// Queue and session numbers of one case stay: they are what a postmaster is asked for.
pub(super) fn without_opaque(text: &str, known: &str) -> Option<String> {
    if is_strange(text) {
        return None;
    }
    let (mut shown, mut doubtful) = (String::with_capacity(text.len()), 0);
    for token in text.split_inclusive(|c| !is_base64(c)) {
        let end = token.trim_end_matches(|c| !is_base64(c)).len();
        let (token, separator) = token.split_at(end);
        let is_judged = known.contains(token) || is_legible(token);
        for word in token.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
            match word.len() {
                _ if is_judged || !is_random(word) => shown.push_str(word),
                LONGEST.. => shown.push_str(REDACTED),
                length => {
                    doubtful += length;
                    shown.push_str(word);
                }
            }
        }
        shown.push_str(separator);
    }
    (doubtful < MOST).then_some(shown)
}

/// Whether signs stand for letters, or letters of one alphabet among those of another.
fn is_strange(text: &str) -> bool {
    let is_foreign = |c: &char| !c.is_ascii() && !c.is_alphanumeric() && !matches!(c, '\u{a0}'..='\u{bf}' | '‐'..='…');
    let is_mixed = |word: &str| word.contains(|c: char| c.is_ascii_alphabetic()) && word.contains(is_other_script);
    SIGNS.chars().filter(|sign| text.contains(*sign)).count() >= MOST_SIGNS
        || text.chars().filter(is_foreign).count() > MOST_FOREIGN
        || text.split(|c: char| !c.is_alphanumeric()).any(is_mixed)
}

/// No letter of the Latin alphabets.
fn is_other_script(c: char) -> bool {
    c.is_alphabetic() && c > '\u{24f}'
}

/// Whether it is base64 of a text, which is among the readings.
fn is_legible(token: &str) -> bool {
    let octets = LENIENT.decode(token.trim_end_matches('='));
    octets.is_ok_and(|octets| octets.iter().all(|octet| matches!(octet, b' '..=b'~' | b'\t' | b'\r' | b'\n')))
}

/// Whether small and capital letters change too often for words: there are as many as three to a change in `AUTHs`,
/// `WebLoginRequired` and `TLSv1`.
fn is_random(word: &str) -> bool {
    let kinds = || word.chars().filter(char::is_ascii_alphanumeric).map(kind);
    let changes = kinds().zip(kinds().skip(1)).filter(|(one, next)| one != next && (*one, *next) != ('A', 'a')).count();
    let has_both = kinds().any(|kind| kind == 'A') && kinds().any(|kind| kind == 'a');
    has_both && (changes + 1) * 3 > word.len()
}

fn kind(c: char) -> char {
    match c {
        'a'..='z' => 'a',
        'A'..='Z' => 'A',
        _ => '0',
    }
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+/=-_".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_say_stays() {
        for said in [
            "5.7.8 Username and Password not accepted. For more information, go to",
            "5.7.8 https://support.google.com/mail/?p=BadCredentials d9443c01a7336-2a1b2c3d4e5f6sm1234567wrb.12 - gsmtp",
            "5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit \
             https://aka.ms/smtp_auth_disabled for more information. \
             [AM0PR01CA0001.eurprd01.prod.outlook.com 2026-11-25T08:00:00.000Z 08DD000000000000]",
            "5.7.14 <https://accounts.google.com/signin/continue?sarp=1&scc=1> Please log in via your web browser",
            "5.7.0 (#AUTH005) Too many bad auth attempts.",
            "Error: authentication failed: UGFzc3dvcmQ6",
            "eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIn0=",
            "Benutzername oder Passwort ungültig – bitte prüfen",
            "登录失败，请检查用户名和密码",
            "Пользователь не найден",
            "id 1rABcd-0000Xy-2B",
        ] {
            assert_eq!(without_opaque(said, "").as_deref(), Some(said));
        }
    }

    #[test]
    fn what_may_be_anything_does_not() {
        let known = "mx.test ESMTP 4Bx2Yz3Nw1z9sT ready";
        for (said, shown) in [
            ("go to 4Bx2Yz3Nw1z9sT - x", Some("go to 4Bx2Yz3Nw1z9sT - x")),
            ("no 3mJr7AoUXx2Wqd1 today", Some("no <redacted> today")),
            ("no 3mJr7 AoU6Vk LpX2x qZ9aB today", None),
            ("no ⠓⠥⠝⠞⠑⠗", None),
            ("no раsswоrd", None),
            ("(aAzoEaN{ K~4=Lu5@ g<b#8!x^", None),
        ] {
            assert_eq!(without_opaque(said, known).as_deref(), shown, "{said}");
        }
    }
}
