//! Public keys as DNS carries them, and the one that belongs to the signer's private key.

use base64::{Engine, engine::general_purpose::STANDARD};
use syntax::{Selector, shell};
use x509_parser::{prelude::FromDer, public_key::RSAPublicKey};

use super::record::Record;
use crate::Evidence;

/// `SEQUENCE { OID rsaEncryption, NULL }` (RFC 8017 appendix A.1).
const RSA_ENCRYPTION: [u8; 15] = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];

/// A key to verify signatures with.
#[derive(Clone, Debug)]
pub enum PublicKey {
    /// The DER of an RSAPublicKey (RFC 8017 appendix A.1.1).
    Rsa(Vec<u8>),
    /// The bare key (RFC 8032 section 5.1.5).
    Ed25519([u8; 32]),
}

/// What the file of a private key says that anybody may know.
#[derive(Clone, Debug)]
pub struct SignerKey {
    /// Where its public half is due.
    pub selector: Selector,
    /// The file, as typed.
    pub file: String,
    /// Its public half.
    pub public: PublicKey,
}

impl SignerKey {
    /// Its public half, and how to see it.
    pub(super) fn evidence(&self) -> Evidence {
        let command = match self.public {
            PublicKey::Rsa(_) => {
                format!("openssl pkey -in {} -pubout -outform DER | base64 -w0", shell::word(&self.file))
            }
            PublicKey::Ed25519(_) => {
                format!("openssl pkey -in {} -pubout -outform DER | tail -c 32 | base64", shell::word(&self.file))
            }
        };
        Evidence { command, output: STANDARD.encode(self.public.published()) }
    }
}

impl PublicKey {
    /// An RSA key, its numbers as the contents of DER integers.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        Self::Rsa(der(0x30, &[der(0x02, modulus), der(0x02, exponent)].concat()))
    }

    /// The octets of `p=`: RSA keys in a SubjectPublicKeyInfo, as all verifiers read them; Ed25519 keys bare
    /// (RFC 8463 section 4).
    pub(super) fn published(&self) -> Vec<u8> {
        match self {
            Self::Rsa(key) => {
                let bits = der(0x03, &[&[0], key.as_slice()].concat());
                der(0x30, &[&RSA_ENCRYPTION[..], &bits].concat())
            }
            Self::Ed25519(key) => key.to_vec(),
        }
    }

    /// The word of `k=`.
    pub(super) fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "rsa",
            Self::Ed25519(_) => "ed25519",
        }
    }
}

/// The numbers count, not how many zeros stand before them.
impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ed25519(one), Self::Ed25519(other)) => one == other,
            (Self::Rsa(one), Self::Rsa(other)) => match (RSAPublicKey::from_der(one), RSAPublicKey::from_der(other)) {
                (Ok((_, one)), Ok((_, other))) => {
                    significant(one.modulus) == significant(other.modulus)
                        && significant(one.exponent) == significant(other.exponent)
                }
                _ => false,
            },
            _ => false,
        }
    }
}

impl Eq for PublicKey {}

pub(super) fn significant(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|octet| *octet != 0).unwrap_or(number.len());
    number.get(start..).unwrap_or_default()
}

/// One DER element with its length (X.690 section 8.1.3).
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut element = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short @ ..=127) => element.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let length = significant(&length);
            element.push(0x80 | u8::try_from(length.len()).unwrap_or_default());
            element.extend(length);
        }
    }
    element.extend(content);
    element
}

/// The record with what is wrong in it put right, as far as it is plain what was meant. It is a proposal: whether it is
/// any better, the caller finds out by reading it.
pub(super) fn repaired(record: &Record) -> Option<String> {
    if record.get("v").is_some_and(|version| !version.eq_ignore_ascii_case("DKIM1") && version != "DKIM1.") {
        return None;
    }
    let plain = |name: &str| record.is_plain(name).then(|| record.get(name));
    let kind = plain("k")?.unwrap_or("rsa");
    let key: String = plain("p")??.split_whitespace().collect();
    let octets = STANDARD.decode(key.replace('-', "+").replace('_', "/")).ok()?;
    let octets = match kind {
        "ed25519" => super::key::wrapped_ed25519(&octets).map_or(octets, |bare| bare.to_vec()),
        "rsa" if RSAPublicKey::from_der(&octets).is_ok() => PublicKey::Rsa(octets).published(),
        _ => octets,
    };
    let mut text = format!("v=DKIM1; k={kind}; ");
    if record.words("t").is_some_and(|flags| flags.contains(&"s")) {
        text.push_str("t=s; ");
    }
    Some(format!("{text}p={}", STANDARD.encode(octets)))
}

/// The record that publishes a key.
pub(super) fn record_of(key: &PublicKey) -> String {
    format!("v=DKIM1; k={}; p={}", key.algorithm(), STANDARD.encode(key.published()))
}
