//! A server may echo what it was sent, in any form that a person could read back; nobody is shown a secret for that.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use syntax::Secret;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

pub(super) use self::censor::{Censor, WITHHELD};
use crate::{Credentials, Login};

mod censor;
mod opaque;
mod readings;

/// What stands where a secret stood.
pub(super) const REDACTED: &str = "<redacted>";

/// What is shorter is found by chance, and tells little.
const SHORTEST: usize = 6;

/// As much of a secret as is a part of it that counts: of what is echoed in pieces, or cut off.
const PART: usize = 8;

/// Pieces that are smaller count where there are many of them.
const PIECE: usize = 4;

/// So often is a secret encoded that is found.
const DEEPEST: usize = 3;

/// What texts are searched for: secrets, and what was made of them.
#[derive(Default)]
pub(super) struct Redaction {
    sought: Vec<Sought>,
    /// Whether a server has been told the secret: on another connection it may give it back.
    told: Arc<AtomicBool>,
}

/// One secret in one form.
struct Sought {
    /// Which of [`FORMS`].
    form: usize,
    /// Forwards and backwards.
    wholes: [Zeroizing<Vec<u8>>; 2],
    /// All that is [`PART`] octets long in it, in order.
    parts: Zeroizing<Vec<[u8; PART]>>,
    /// All that is [`PIECE`] octets long in one that is short enough to be spelled out.
    pieces: Zeroizing<Vec<[u8; PIECE]>>,
}

/// What is left of a text when what does not matter is taken away.
type Form = fn(&[u8]) -> Vec<u8>;

/// Every form, and how much of a secret has to be left in it: octets that are no text stay as they are.
const FORMS: [(Form, usize); 4] = [(dense, 1), (alphanumeric, 4), (alphabetic, SHORTEST), (<[u8]>::to_vec, 1)];
const OCTETS: usize = 3;

/// One reading of a text in each form.
type Formed = [Vec<u8>; FORMS.len()];

/// The readings of `text` that are compared with secrets, and whether that is all.
fn formed(text: &str, deepest: usize) -> (Vec<Formed>, bool) {
    let formed = |reading: &Vec<u8>| FORMS.map(|(formed, _)| formed(reading));
    let (readings, is_all) = readings::readings(text, deepest);
    (readings.iter().map(formed).collect(), is_all)
}

/// How much is known to whoever wrote a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knowledge {
    /// The secret has not been sent: one that is an everyday word is not looked for.
    Nothing,
    /// It has been sent to a server beside this one: parts of it count too.
    Elsewhere,
    /// It has been sent to this one: parts of it count, however short it is.
    Secret,
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

    /// The same, where others share what is known of whether the secret was told.
    pub(super) fn sharing(self, told: &Arc<AtomicBool>) -> Self {
        Self { told: Arc::clone(told), ..self }
    }

    fn is_told(&self) -> bool {
        self.told.load(Ordering::Relaxed)
    }

    /// Whether the secret, or a part of it, may be read out of what stands where no reply should.
    pub(super) fn is_betrayed_in(&self, text: &str) -> bool {
        self.is_told() && self.is_in(&formed(text, DEEPEST).0, Knowledge::Elsewhere)
    }

    /// Whether the whole secret may be read out of one of the texts of a certificate: names are parts of many a password.
    pub(super) fn is_certified_in(&self, texts: &[String]) -> bool {
        let is_in = |text: &String| self.is_in(&formed(text, DEEPEST).0, Knowledge::Nothing);
        self.is_told() && texts.iter().any(is_in)
    }

    /// Also of what was made of the secret, and of what its base64 or hexadecimal digits stand for.
    fn add(&mut self, derived: &[u8]) {
        // A host name in a challenge is no secret.
        let is_part = |octet: &u8| octet.is_ascii_alphanumeric() || b"+/=".contains(octet);
        let is_random = |part: &&[u8]| part.len() >= PART && part.iter().any(u8::is_ascii_digit);
        for part in derived.split(|octet| !is_part(octet)).filter(is_random) {
            self.hide(part);
            let hex = std::str::from_utf8(part).ok().and_then(octets_of_hex);
            STANDARD.decode(part).into_iter().chain(hex).for_each(|octets| self.hide(&octets));
        }
    }

    fn hide(&mut self, octets: &[u8]) {
        let is_text = std::str::from_utf8(octets).is_ok();
        for (form, (formed, shortest)) in FORMS.into_iter().enumerate().filter(|(form, _)| (*form < OCTETS) == is_text)
        {
            let whole = Zeroizing::new(formed(octets));
            if whole.len() >= shortest {
                self.sought.push(Sought::new(form, whole));
            }
        }
    }

    fn is_in(&self, readings: &[Formed], knowledge: Knowledge) -> bool {
        let formed = |form: usize| readings.iter().filter_map(move |reading| reading.get(form));
        self.sought.iter().any(|sought| formed(sought.form).any(|text| sought.is_in(text, knowledge)))
    }
}

impl Sought {
    fn new(form: usize, whole: Zeroizing<Vec<u8>>) -> Self {
        /// What is longer is no word to be spelled out.
        const LONGEST: usize = 64;
        let backwards = match std::str::from_utf8(&whole) {
            Ok(text) => text.chars().rev().collect::<String>().into_bytes(),
            Err(_) => whole.iter().rev().copied().collect(),
        };
        let wholes = [whole, Zeroizing::new(backwards)];
        let parts = Zeroizing::new(windows(&wholes));
        let is_short = wholes.iter().all(|whole| (SHORTEST..=LONGEST).contains(&whole.len()));
        let pieces = Zeroizing::new(if is_short { windows(&wholes) } else { Vec::new() });
        Self { form, wholes, parts, pieces }
    }

    fn is_in(&self, text: &[u8], knowledge: Knowledge) -> bool {
        let is_whole = |whole: &Zeroizing<Vec<u8>>| {
            (knowledge == Knowledge::Secret || whole.len() >= SHORTEST) && contains(text, whole)
        };
        let is_part = || text.array_windows().any(|part| self.parts.binary_search(part).is_ok());
        self.wholes.iter().any(is_whole) || (knowledge != Knowledge::Nothing && (is_part() || self.is_pieced(text)))
    }

    /// Whether more than half of the secret stands in the text, in pieces.
    fn is_pieced(&self, text: &[u8]) -> bool {
        let found: Vec<_> = text.array_windows().filter(|piece| self.pieces.binary_search(piece).is_ok()).collect();
        found.len() > 1
            && self.wholes.iter().any(|whole| {
                let mut covered = vec![false; whole.len()];
                for (at, piece) in whole.array_windows().enumerate() {
                    if found.contains(&piece) {
                        covered.iter_mut().skip(at).take(PIECE).for_each(|covered| *covered = true);
                    }
                }
                let count = covered.iter().filter(|covered| **covered).count();
                count > PIECE && count * 2 > whole.len()
            })
    }
}

fn windows<const LENGTH: usize>(wholes: &[Zeroizing<Vec<u8>>; 2]) -> Vec<[u8; LENGTH]> {
    let mut windows: Vec<[u8; LENGTH]> = wholes.iter().flat_map(|whole| whole.array_windows().copied()).collect();
    windows.sort_unstable();
    windows.dedup();
    windows
}

fn contains(text: &[u8], sought: &[u8]) -> bool {
    text.windows(sought.len()).any(|window| window == sought)
}

/// In lower case, without blanks and what is not shown, and without what makes letters look otherwise.
fn dense(octets: &[u8]) -> Vec<u8> {
    kept(octets, |c| !c.is_whitespace() && !c.is_control())
}

fn alphanumeric(octets: &[u8]) -> Vec<u8> {
    kept(octets, char::is_alphanumeric)
}

fn alphabetic(octets: &[u8]) -> Vec<u8> {
    kept(octets, char::is_alphabetic)
}

fn kept(octets: &[u8], is_kept: fn(char) -> bool) -> Vec<u8> {
    if octets.is_ascii() {
        let kept = octets.iter().filter(|octet| is_kept(char::from(**octet)));
        return kept.map(u8::to_ascii_lowercase).collect();
    }
    let text = String::from_utf8_lossy(octets);
    let decomposed = text.nfkd().filter(|c| is_kept(*c) && !unicode_normalization::char::is_combining_mark(*c));
    decomposed.flat_map(char::to_lowercase).collect::<String>().into_bytes()
}

fn octets_of_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    digits.as_chunks::<2>().0.iter().map(|[high, low]| u8::try_from(high * 16 + low).ok()).collect()
}

pub(super) fn secret(login: &Login) -> Option<&Secret> {
    match login {
        Login::Password(secret) | Login::Token(secret) => Some(secret),
        Login::Session => None,
    }
}
