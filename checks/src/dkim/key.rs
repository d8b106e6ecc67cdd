//! A DKIM key record (RFC 6376 section 3.6.1).

use base64::{DecodeError, Engine, engine::general_purpose::STANDARD};
use x509_parser::{
    oid_registry::{OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519},
    prelude::FromDer,
    public_key::{PublicKey, RSAPublicKey},
    x509::SubjectPublicKeyInfo,
};

use crate::{Status, tags::Tags};

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
    /// Whether the domain says that it is only testing (`t=y`).
    pub(super) testing: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// Its length in bits, and whether it comes without the SubjectPublicKeyInfo that verifiers expect around it.
    Rsa { bits: usize, bare: bool },
    Ed25519,
}

/// Whether the record withdraws the key: its `p=` is empty.
pub(super) fn is_revoked(text: &[u8]) -> bool {
    let tags = std::str::from_utf8(text).ok().and_then(|text| Tags::parse(text).ok());
    tags.is_some_and(|tags| tags.get("p") == Some(""))
}

impl Key {
    /// Reads a record.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "the record is not text".to_owned())?;
        let tags = Tags::parse(text).map_err(|error| format!("{}, at octet {}", error.reason, error.position))?;
        match tags.get("v") {
            None | Some("DKIM1") => {}
            Some(other) => return Err(format!("v={other} is no DKIM key, which has v=DKIM1 (a wildcard answers?)")),
        }
        if tags.get("v").is_some() && tags.first() != Some("v") {
            return Err("v=DKIM1 is not the first tag".to_owned());
        }
        let encoded: String = tags.get("p").ok_or("p=, the key, is missing")?.split_ascii_whitespace().collect();
        let octets = STANDARD.decode(&encoded).map_err(|error| not_base64(&encoded, &error))?;
        // Verifiers do not use a key whose hashes or services leave mail out (RFC 6376 section 3.6.1, RFC 8301).
        if let Some(hashes) = tags.get("h").filter(|hashes| !listed(hashes, &["sha256"])) {
            return Err(format!("h={hashes} leaves out sha256, the only hash that verifiers accept"));
        }
        if let Some(services) = tags.get("s").filter(|services| !listed(services, &["*", "email"])) {
            return Err(format!("s={services} leaves out email"));
        }
        let kind = match tags.get("k").unwrap_or("rsa") {
            "rsa" => rsa(&octets)?,
            "ed25519" => ed25519(&octets)?,
            other => return Err(format!("k={other} is no key type that verifiers know")),
        };
        let testing = tags.get("t").is_some_and(|flags| listed(flags, &["y"]));
        Ok(Self { kind, testing })
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

/// Whether a list with colons has one of these words.
fn listed(list: &str, words: &[&str]) -> bool {
    list.split(':').any(|word| words.contains(&word.trim()))
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
fn rsa(octets: &[u8]) -> Result<Kind, String> {
    if let Ok((rest, key)) = RSAPublicKey::from_der(octets) {
        return if rest.is_empty() { Ok(Kind::Rsa { bits: bits(&key), bare: true }) } else { Err(trailing(rest)) };
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
        Ok(PublicKey::RSA(key)) => Ok(Kind::Rsa { bits: bits(&key), bare: false }),
        _ => Err("p= holds no RSA key".to_owned()),
    }
}

fn ed25519(octets: &[u8]) -> Result<Kind, String> {
    let wrapped = || SubjectPublicKeyInfo::from_der(octets).is_ok_and(|(_, info)| info.algorithm.algorithm == OID_SIG_ED25519);
    match octets.len() {
        ED25519_OCTETS => Ok(Kind::Ed25519),
        length if wrapped() => Err(format!("p= holds {length} octets of SubjectPublicKeyInfo, the bare {ED25519_OCTETS} are due")),
        length => Err(format!("p= holds {length} octets, an Ed25519 key has {ED25519_OCTETS}")),
    }
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
