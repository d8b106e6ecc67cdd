//! What ties a login to its TLS session: somebody in the middle has another one.

use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use rustls::{ClientConnection, ProtocolVersion};
use x509_parser::prelude::X509Certificate;

/// A channel binding (RFC 5056).
#[derive(Clone)]
pub(crate) struct Binding {
    /// Its name in the IANA registry.
    pub(crate) name: &'static str,
    pub(crate) data: Vec<u8>,
}

impl std::fmt::Debug for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Binding {
    /// `tls-exporter` with TLS 1.3 (RFC 9266 section 2), before it `tls-server-end-point` (RFC 5929 section 4).
    pub(super) fn of(connection: &ClientConnection, certificate: &X509Certificate<'_>, der: &[u8]) -> Option<Self> {
        if connection.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
            let exported = connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok()?;
            return Some(Self { name: "tls-exporter", data: exported.to_vec() });
        }
        let algorithm = end_point_hash(&certificate.signature_algorithm.algorithm.to_id_string())?;
        Some(Self { name: "tls-server-end-point", data: digest(algorithm, der).as_ref().to_vec() })
    }
}

/// RFC 5929 section 4.1: the hash of the certificate's signature, SHA-256 in place of MD5 and SHA-1; nothing is said of
/// signatures without one.
fn end_point_hash(signature: &str) -> Option<&'static Algorithm> {
    match signature {
        // md5, sha1 and sha256 WithRSAEncryption, ecdsa-with-SHA1 and -SHA256
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.113549.1.1.11" => Some(&SHA256),
        "1.2.840.10045.4.1" | "1.2.840.10045.4.3.2" => Some(&SHA256),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(&SHA384),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(&SHA512),
        _ => None,
    }
}
