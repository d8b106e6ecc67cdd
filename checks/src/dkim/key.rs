//! A DKIM key record (RFC 6376 section 3.6.1).

use base64::{DecodeError, Engine, engine::general_purpose::STANDARD};
use x509_parser::{
    oid_registry::{OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519},
    prelude::FromDer,
    public_key::{PublicKey as PublicKeyInfo, RSAPublicKey},
    x509::SubjectPublicKeyInfo,
};

use super::{public::PublicKey, record::Record};
use crate::Status;

/// Verifiers refuse RSA keys that are shorter (RFC 8301 section 3.2).
const SHORTEST_RSA: usize = 1024;

/// Signers should use RSA keys of this length at least (RFC 8301 section 3.2).
const STRONG_RSA: usize = 2048;

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
    Rsa { bits: usize, bare: bool },
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
        (Kind::Rsa { bits: bits(key), bare }, PublicKey::Rsa(der.to_vec()))
    };
    if let Ok((rest, key)) = RSAPublicKey::from_der(octets) {
        return if rest.is_empty() { Ok(found(&key, true, octets)) } else { Err(trailing(rest)) };
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
        Ok(PublicKeyInfo::RSA(key)) => Ok(found(&key, false, &info.subject_public_key.data)),
        _ => Err("p= holds no RSA key".to_owned()),
    }
}

fn ed25519(octets: &[u8]) -> Result<(Kind, PublicKey), String> {
    match (<[u8; ED25519_OCTETS]>::try_from(octets), wrapped_ed25519(octets)) {
        (Ok(key), _) => Ok((Kind::Ed25519, PublicKey::Ed25519(key))),
        (Err(_), Some(_)) => Err(format!(
            "p= holds {} octets of SubjectPublicKeyInfo, the bare {ED25519_OCTETS} are due",
            octets.len()
        )),
        (Err(_), None) => {
            Err(format!("p= holds {} octets, an Ed25519 key has {ED25519_OCTETS}", octets.len()))
        }
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
    modulus.map_or(0, |octets| {
        octets.len() * 8 - octets.first().map_or(0, |octet| octet.leading_zeros() as usize)
    })
}

fn trailing(rest: &[u8]) -> String {
    format!("{} octets follow the key in p=", rest.len())
}
