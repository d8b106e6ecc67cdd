//! A verifier that looks on: any certificate will do, but whoever shows it has its key, as far as we can check that.

use std::sync::{Arc, OnceLock};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
};
use x509_parser::{prelude::X509Certificate, public_key::PublicKey};

use super::{Key, certificate, parsed, path};

/// What OpenSSL checks and ring does not: offered last, so that only servers which have nothing else come with it.
const UNCHECKED: [(SignatureScheme, &str); 4] = [
    (SignatureScheme::ECDSA_NISTP521_SHA512, "ecdsa_secp521r1_sha512"),
    (SignatureScheme::ED448, "ed448"),
    (SignatureScheme::ECDSA_SHA1_Legacy, "ecdsa_sha1"),
    (SignatureScheme::RSA_PKCS1_SHA1, "rsa_pkcs1_sha1"),
];

/// Looks on, and notes the signature that it could not check.
#[derive(Debug)]
pub(super) struct Witness {
    algorithms: WebPkiSupportedAlgorithms,
    unproved: Arc<OnceLock<String>>,
}

impl Witness {
    pub(super) fn new(algorithms: WebPkiSupportedAlgorithms, unproved: Arc<OnceLock<String>>) -> Self {
        Self { algorithms, unproved }
    }

    /// A key or a signature that ring does not know is our limit, not the server's lie: the handshake goes on without
    /// proof. `error` is the verdict on everything else.
    fn pardoned(
        &self,
        certificate: &X509Certificate<'_>,
        signed: &DigitallySignedStruct,
        error: Error,
    ) -> Result<HandshakeSignatureValid, Error> {
        let why = match (certificate.public_key().parsed(), certificate::key(certificate)) {
            (Ok(PublicKey::RSA(rsa)), _) if !path::CHECKED_RSA.contains(&rsa.key_size()) => {
                let (least, most) = (path::CHECKED_RSA.start(), path::CHECKED_RSA.end());
                format!("an RSA key of {} bits, which this tool checks from {least} to {most}", rsa.key_size())
            }
            // TLS 1.2 names a hash and no curve (RFC 8422 section 5.1.1).
            (_, key @ Key::Ec(curve)) if !["prime256v1", "secp384r1"].contains(&curve) => {
                format!("a key of {key}, which this tool does not check")
            }
            (_, key @ Key::Other(_)) => format!("{key}, which this tool does not check"),
            _ => match UNCHECKED.iter().find(|(scheme, _)| *scheme == signed.scheme) {
                Some((_, name)) => format!("{name}, which this tool does not check"),
                None => return Err(error),
            },
        };
        let _ = self.unproved.set(why);
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    /// By the bare key, because webpki does not read certificates of version 1.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let certificate = parsed(certificate).map_err(Error::General)?;
        let key = certificate.public_key();
        let candidates = self.algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signed.scheme);
        let is_valid = candidates.flat_map(|(_, algorithms)| algorithms.iter()).any(|algorithm| {
            algorithm.verify_signature(&key.subject_public_key.data, message, signed.signature()).is_ok()
        });
        match is_valid {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => self.pardoned(&certificate, signed, CertificateError::BadSignature.into()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let certificate = parsed(certificate).map_err(Error::General)?;
        let key = SubjectPublicKeyInfoDer::from(certificate.public_key().raw);
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
            .or_else(|error| self.pardoned(&certificate, signed, error))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes().into_iter().chain(UNCHECKED.map(|(scheme, _)| scheme)).collect()
    }
}
