//! What stands in a certificate besides its names: how strong its key and its signature are, and what it is for.

use rustls::pki_types::CertificateDer;
use x509_parser::{prelude::X509Certificate, public_key::PublicKey};

use super::{parsed, path};

/// What a certificate says of its key, its signature and its purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Whom it is for, as the chain shows it.
    pub(crate) subject: String,
    pub(crate) key: Key,
    pub(crate) signature: Signature,
    /// CA:TRUE.
    pub(crate) is_authority: bool,
    /// Whether key usage and extended key usage allow a TLS server.
    pub(crate) is_for_servers: bool,
    /// The purposes of its extended key usage, if it has that.
    pub(crate) purposes: Vec<&'static str>,
}

/// A public key, as people speak of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Rsa(usize),
    /// The curve by OpenSSL's name.
    Ec(&'static str),
    Edwards(&'static str),
    Other(String),
}

/// How a certificate is signed: `RSA with SHA-256`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) name: String,
    /// The hash, where it is one that nobody may use any more (RFC 9155, RFC 9325 section 4.5).
    pub(crate) broken_hash: Option<&'static str>,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
            Self::Ec(curve) => write!(f, "ECDSA {curve}"),
            Self::Edwards(name) => f.write_str(name),
            Self::Other(oid) => write!(f, "an unknown key ({oid})"),
        }
    }
}

impl Certificate {
    pub(super) fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let certificate = parsed(der).ok()?;
        Some(Self {
            subject: path::shown(certificate.subject()),
            key: key(&certificate),
            signature: signature(&certificate.signature_algorithm.algorithm.to_id_string()),
            is_authority: certificate.is_ca(),
            is_for_servers: path::is_for_servers(&certificate),
            purposes: purposes(&certificate),
        })
    }
}

pub(super) fn key(certificate: &X509Certificate<'_>) -> Key {
    let info = certificate.public_key();
    if let Ok(PublicKey::RSA(rsa)) = info.parsed() {
        // key_size counts whole octets: the first may be small.
        let octets = rsa.modulus.iter().skip_while(|octet| **octet == 0).collect::<Vec<_>>();
        let idle = octets.first().map_or(0, |first| first.leading_zeros());
        return Key::Rsa((octets.len() * 8).saturating_sub(usize::try_from(idle).unwrap_or(0)));
    }
    let algorithm = info.algorithm.algorithm.to_id_string();
    let curve = info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    match (algorithm.as_str(), curve.map(|curve| curve.to_id_string()).as_deref()) {
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => Key::Ec("prime256v1"),
        ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => Key::Ec("secp384r1"),
        ("1.2.840.10045.2.1", Some("1.3.132.0.35")) => Key::Ec("secp521r1"),
        ("1.2.840.10045.2.1", Some("1.3.132.0.33")) => Key::Ec("secp224r1"),
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.1")) => Key::Ec("prime192v1"),
        ("1.2.840.10045.2.1", Some("1.3.132.0.10")) => Key::Ec("secp256k1"),
        ("1.3.101.112", _) => Key::Edwards("Ed25519"),
        ("1.3.101.113", _) => Key::Edwards("Ed448"),
        (_, Some(curve)) => Key::Other(format!("curve {curve}")),
        (oid, None) => Key::Other(oid.to_owned()),
    }
}

/// By object identifier (RFC 3279 section 2.2, RFC 5758 section 3, RFC 8410 section 3).
fn signature(oid: &str) -> Signature {
    let (name, broken_hash) = match oid {
        "1.2.840.113549.1.1.2" => ("RSA with MD2", Some("MD2")),
        "1.2.840.113549.1.1.4" => ("RSA with MD5", Some("MD5")),
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => ("RSA with SHA-1", Some("SHA-1")),
        "1.2.840.10040.4.3" => ("DSA with SHA-1", Some("SHA-1")),
        "1.2.840.10045.4.1" => ("ECDSA with SHA-1", Some("SHA-1")),
        "1.2.840.113549.1.1.10" => ("RSA-PSS", None),
        "1.2.840.113549.1.1.11" => ("RSA with SHA-256", None),
        "1.2.840.113549.1.1.12" => ("RSA with SHA-384", None),
        "1.2.840.113549.1.1.13" => ("RSA with SHA-512", None),
        "1.2.840.113549.1.1.14" => ("RSA with SHA-224", None),
        "1.2.840.10045.4.3.1" => ("ECDSA with SHA-224", None),
        "1.2.840.10045.4.3.2" => ("ECDSA with SHA-256", None),
        "1.2.840.10045.4.3.3" => ("ECDSA with SHA-384", None),
        "1.2.840.10045.4.3.4" => ("ECDSA with SHA-512", None),
        "1.3.101.112" => ("Ed25519", None),
        "1.3.101.113" => ("Ed448", None),
        other => (other, None),
    };
    Signature { name: name.to_owned(), broken_hash }
}

fn purposes(certificate: &X509Certificate<'_>) -> Vec<&'static str> {
    let Ok(Some(usage)) = certificate.extended_key_usage() else { return Vec::new() };
    let usage = usage.value;
    let words = [
        (usage.any, "any"),
        (usage.server_auth, "serverAuth"),
        (usage.client_auth, "clientAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
        (!usage.other.is_empty(), "others"),
    ];
    words.into_iter().filter_map(|(is_so, word)| is_so.then_some(word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_by_their_hash() {
        for (oid, name, broken) in [
            ("1.2.840.113549.1.1.5", "RSA with SHA-1", Some("SHA-1")),
            ("1.2.840.10045.4.1", "ECDSA with SHA-1", Some("SHA-1")),
            ("1.2.840.113549.1.1.4", "RSA with MD5", Some("MD5")),
            ("1.2.840.10045.4.3.2", "ECDSA with SHA-256", None),
            ("1.2.3", "1.2.3", None),
        ] {
            assert_eq!(signature(oid), Signature { name: name.to_owned(), broken_hash: broken });
        }
    }

    #[test]
    fn keys_and_purposes_as_they_are_written() {
        for (algorithm, key) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Key::Ec("prime256v1")),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Key::Ec("secp384r1")),
            (&rcgen::PKCS_ED25519, Key::Edwards("Ed25519")),
        ] {
            let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let mut params = rcgen::CertificateParams::new(["mx.test".to_owned()]).unwrap();
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
            let read = Certificate::read(params.self_signed(&pair).unwrap().der()).unwrap();
            assert_eq!((read.key, read.purposes, read.is_for_servers), (key, vec!["clientAuth"], false));
        }
    }
}
