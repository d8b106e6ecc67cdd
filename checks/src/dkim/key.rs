//! A DKIM key record (RFC 6376 section 3.6.1).

use base64::{DecodeError, Engine, engine::general_purpose::STANDARD};
use curve25519_dalek::edwards::CompressedEdwardsY;
use x509_parser::{
    oid_registry::{OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519},
    prelude::FromDer,
    public_key::{PublicKey as PublicKeyInfo, RSAPublicKey},
    x509::SubjectPublicKeyInfo,
};

use super::{
    public::{PublicKey, significant},
    record::Record,
};
use crate::Status;

/// Verifiers refuse RSA keys that are shorter (RFC 8301 section 3.2).
const SHORTEST_RSA: usize = 1024;

/// Signers should use RSA keys of this length at least (RFC 8301 section 3.2).
const STRONG_RSA: usize = 2048;

/// What is said of a key that keeps nothing secret.
pub(super) const OPEN: &str = "anybody can sign with it";

/// The length of an Ed25519 public key (RFC 8032 section 5.1.5), in octets.
const ED25519_OCTETS: usize = 32;

/// A key that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    kind: Kind,
    public: PublicKey,
    /// Whether the domain says that it is only testing (`t=y`).
    pub(super) testing: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// Its length in bits, and whether it comes without the SubjectPublicKeyInfo that verifiers expect around it.
    Rsa {
        bits: usize,
        bare: bool,
    },
    Ed25519,
}

impl Key {
    /// Reads the key of a record.
    pub(super) fn parse(record: &Record) -> Result<Self, String> {
        if record.fault().is_some() {
            return Err("the record is spelled wrong, see dkim.syntax".to_owned());
        }
        let encoded: String = record.get("p").unwrap_or_default().split_ascii_whitespace().collect();
        let octets = STANDARD.decode(&encoded).map_err(|error| not_base64(&encoded, &error))?;
        // Verifiers do not use a key whose hashes or services leave mail out (RFC 6376 section 3.6.1, RFC 8301).
        if !hashes(record).accepted {
            let hashes = record.get("h").unwrap_or_default();
            return Err(format!("h={hashes} leaves out sha256, see dkim.algorithm"));
        }
        if !serves_mail(record) {
            return Err(format!("s={} leaves out email, see dkim.service", record.get("s").unwrap_or_default()));
        }
        let (kind, public) = match record.get("k").unwrap_or("rsa") {
            "rsa" => rsa(&octets)?,
            "ed25519" => ed25519(&octets)?,
            other => return Err(format!("k={other} is no key type that verifiers know, see dkim.algorithm")),
        };
        Ok(Self { kind, public, testing: is_testing(record) })
    }

    /// The key itself.
    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn algorithm(&self) -> &'static str {
        match self.kind {
            Kind::Rsa { .. } => "rsa",
            Kind::Ed25519 => "ed25519",
        }
    }

    pub(super) fn bits(&self) -> usize {
        match self.kind {
            Kind::Rsa { bits, .. } => bits,
            Kind::Ed25519 => ED25519_OCTETS * 8,
        }
    }

    pub(super) fn status(&self) -> Status {
        match self.kind {
            Kind::Rsa { bits: ..SHORTEST_RSA, .. } => Status::Fail,
            Kind::Rsa { bits: ..STRONG_RSA, .. } | Kind::Rsa { bare: true, .. } => Status::Warn,
            _ if self.testing => Status::Warn,
            Kind::Rsa { .. } | Kind::Ed25519 => Status::Pass,
        }
    }

    /// What to do where it is not as it should be.
    pub(super) fn remedy(&self) -> &'static str {
        match self.kind {
            Kind::Rsa { bits: ..STRONG_RSA, .. } => {
                "Make a key of 2048 bits under a new selector, publish it, and let the signer use it"
            }
            Kind::Rsa { bare: true, .. } => "Publish the same key as a SubjectPublicKeyInfo (openssl rsa -pubout)",
            Kind::Rsa { .. } | Kind::Ed25519 => "Take t=y out of the record",
        }
    }

    pub(super) fn sentence(&self) -> String {
        let kind = match self.kind {
            Kind::Rsa { bits: bits @ ..SHORTEST_RSA, .. } => format!("RSA {bits} bits, {SHORTEST_RSA} is the least"),
            Kind::Rsa { bits: bits @ ..STRONG_RSA, .. } => format!("RSA {bits} bits, {STRONG_RSA} advised"),
            Kind::Rsa { bits, .. } => format!("RSA {bits} bits"),
            Kind::Ed25519 => "Ed25519".to_owned(),
        };
        let bare = matches!(self.kind, Kind::Rsa { bare: true, .. });
        let bare = if bare { ", in PKCS #1 form, which many verifiers do not read" } else { "" };
        let testing = if self.testing { ", t=y: receivers may treat signed mail as unsigned" } else { "" };
        format!("{kind}{bare}{testing}")
    }
}

/// What the record says about hashes.
pub(super) struct Hashes {
    /// SHA-256, the only one that verifiers take (RFC 8301 section 3.1).
    pub(super) accepted: bool,
    /// SHA-1, which nobody may use.
    pub(super) sha1: bool,
}

/// The hashes that `h=` allows; without it, all.
pub(super) fn hashes(record: &Record) -> Hashes {
    let listed = |word: &str| record.words("h").map(|words| words.contains(&word));
    Hashes { accepted: listed("sha256").unwrap_or(true), sha1: listed("sha1").unwrap_or(false) }
}

/// Whether `s=` lets the key serve mail; without it, it serves all.
pub(super) fn serves_mail(record: &Record) -> bool {
    record.words("s").is_none_or(|words| words.contains(&"*") || words.contains(&"email"))
}

/// Whether the domain says that it is only testing (`t=y`).
pub(super) fn is_testing(record: &Record) -> bool {
    record.words("t").is_some_and(|flags| flags.contains(&"y"))
}

/// Whether the key signs for no subdomain (`t=s`).
pub(super) fn is_strict(record: &Record) -> bool {
    record.words("t").is_some_and(|flags| flags.contains(&"s"))
}

fn not_base64(encoded: &str, error: &DecodeError) -> String {
    match error {
        DecodeError::InvalidByte(offset, octet) => {
            format!("p= is no base64: {:?} at character {}", char::from(*octet), offset + 1)
        }
        _ => format!("p= is no base64: its {} characters are no whole number of octets (cut short?)", encoded.len()),
    }
}

/// An RSA key: a SubjectPublicKeyInfo as everybody publishes it, or the bare RSAPublicKey of RFC 6376.
fn rsa(octets: &[u8]) -> Result<(Kind, PublicKey), String> {
    let found = |key: &RSAPublicKey<'_>, bare, der: &[u8]| {
        let kind = (Kind::Rsa { bits: bits(key), bare }, PublicKey::Rsa(der.to_vec()));
        exponent_flaw(significant(key.exponent)).map_or(Ok(kind), Err)
    };
    if let Ok((rest, key)) = RSAPublicKey::from_der(octets) {
        return if rest.is_empty() { found(&key, true, octets) } else { Err(trailing(rest)) };
    }
    let (rest, info) = SubjectPublicKeyInfo::from_der(octets)
        .map_err(|_| format!("p= holds {} octets that are no RSA key (cut short?)", octets.len()))?;
    if !rest.is_empty() {
        return Err(trailing(rest));
    }
    if info.algorithm.algorithm != OID_PKCS1_RSAENCRYPTION {
        return Err("p= holds a key of another type than k=rsa".to_owned());
    }
    match info.parsed() {
        Ok(PublicKeyInfo::RSA(key)) => found(&key, false, &info.subject_public_key.data),
        _ => Err("p= holds no RSA key".to_owned()),
    }
}

/// With an exponent of 1 the signature is the padded hash itself; no RSA key has an even one.
fn exponent_flaw(exponent: &[u8]) -> Option<String> {
    match exponent {
        [1] => Some(format!("p= holds an RSA key whose exponent is 1: {OPEN}")),
        [.., last] if last % 2 == 1 => None,
        _ => Some("p= holds no RSA key: its exponent is even".to_owned()),
    }
}

/// A point of order 1, 2, 4 or 8 verifies signatures that nobody made (RFC 8032 section 8.4), however it is written.
fn point_flaw(key: [u8; ED25519_OCTETS]) -> Option<String> {
    match CompressedEdwardsY(key).decompress() {
        None => {
            Some(format!("p= holds {ED25519_OCTETS} octets that are no Ed25519 key: they are no point of the curve"))
        }
        Some(point) if point.is_small_order() => Some(format!("p= holds an Ed25519 key of small order: {OPEN}")),
        Some(_) => None,
    }
}

fn ed25519(octets: &[u8]) -> Result<(Kind, PublicKey), String> {
    match (<[u8; ED25519_OCTETS]>::try_from(octets), wrapped_ed25519(octets)) {
        (Ok(key), _) => point_flaw(key).map_or(Ok((Kind::Ed25519, PublicKey::Ed25519(key))), Err),
        (Err(_), Some(_)) => {
            Err(format!("p= holds {} octets of SubjectPublicKeyInfo, the bare {ED25519_OCTETS} are due", octets.len()))
        }
        (Err(_), None) => Err(format!("p= holds {} octets, an Ed25519 key has {ED25519_OCTETS}", octets.len())),
    }
}

/// The key in the SubjectPublicKeyInfo that `openssl pkey -pubout` prints around it.
pub(super) fn wrapped_ed25519(octets: &[u8]) -> Option<[u8; ED25519_OCTETS]> {
    let (_, info) = SubjectPublicKeyInfo::from_der(octets).ok()?;
    (info.algorithm.algorithm == OID_SIG_ED25519).then_some(())?;
    info.subject_public_key.data.as_ref().try_into().ok()
}

/// The length of the modulus.
fn bits(key: &RSAPublicKey<'_>) -> usize {
    let modulus = key.modulus.iter().position(|octet| *octet != 0).and_then(|start| key.modulus.get(start..));
    modulus.map_or(0, |octets| octets.len() * 8 - octets.first().map_or(0, |octet| octet.leading_zeros() as usize))
}

fn trailing(rest: &[u8]) -> String {
    format!("{} octets follow the key in p=", rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(kind: &str, octets: &[u8]) -> Result<Key, String> {
        Key::parse(&Record::read(format!("v=DKIM1; k={kind}; p={}", STANDARD.encode(octets)).as_bytes()))
    }

    /// All points of order 1, 2, 4 and 8, each with every way to write it: y reduced or not, either sign.
    #[test]
    fn no_point_of_small_order_is_a_key() {
        let mut ys: Vec<[u8; 32]> = Vec::new();
        let mut p = [0xff; 32];
        (p[0], p[31]) = (0xed, 0x7f);
        let small = |number: u8| {
            let mut y = [0; 32];
            y[0] = number;
            y
        };
        let above = |number: u8| {
            let mut y = p;
            y[0] += number;
            y
        };
        let minus_one = {
            let mut y = p;
            y[0] -= 1;
            y
        };
        ys.extend([small(0), small(1), minus_one, above(0), above(1)]);
        for eight in [
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        ] {
            let octets: Vec<u8> =
                (0..64).step_by(2).map(|at| u8::from_str_radix(&eight[at..at + 2], 16).unwrap()).collect();
            ys.push(octets.try_into().unwrap());
        }
        for mut y in ys {
            for sign in [0, 0x80] {
                y[31] = y[31] & 0x7f | sign;
                let error = parsed("ed25519", &y).unwrap_err();
                assert!(error.contains("small order"), "{y:02x?}: {error}");
            }
        }
        assert_eq!(
            parsed("ed25519", &small(2)).unwrap_err(),
            "p= holds 32 octets that are no Ed25519 key: they are no point of the curve"
        );
        assert!(parsed("ed25519", &small(3)).is_ok());
    }

    #[test]
    fn no_exponent_makes_a_key_of_anything() {
        for (exponent, why) in [(&[1][..], "anybody can sign"), (&[2], "even"), (&[0], "even")] {
            let PublicKey::Rsa(der) = PublicKey::rsa(&[&[0][..], &[0xa5; 256]].concat(), exponent) else {
                panic!("RSA")
            };
            let error = parsed("rsa", &der).unwrap_err();
            assert!(error.contains(why), "{exponent:?}: {error}");
        }
        let PublicKey::Rsa(der) = PublicKey::rsa(&[&[0][..], &[0xa5; 256]].concat(), &[3]) else { panic!("RSA") };
        assert!(parsed("rsa", &der).is_ok());
    }
}
