//! TLS as a client sees it: the handshake completes whatever the certificate, so that the chain can be shown and judged.

use std::{
    fmt, io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, NamedGroup, ProtocolVersion, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{WebPkiSupportedAlgorithms, ring, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use x509_parser::{
    prelude::{ASN1Time, FromDer, X509Certificate},
    public_key::PublicKey,
};

pub use self::anchors::Anchors;
pub(crate) use self::{
    fault::Fault,
    fingerprint::Of,
    names::{Names, Wanted},
    socket::Socket,
    tlsa::{Mismatch, Tlsa, considered},
};
use crate::{report::timestamp, target::Host};

mod anchors;
mod fault;
mod fingerprint;
mod names;
mod path;
mod socket;
mod tlsa;

/// What a handshake showed, and what OpenSSL would say to it.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// OpenSSL's names of what was negotiated.
    pub(crate) version: &'static str,
    pub(crate) cipher: &'static str,
    pub(crate) key_exchange: &'static str,
    /// Who the server's certificate says has issued it.
    pub(crate) issuer: String,
    /// The names in the server's certificate.
    pub(crate) names: Names,
    /// When the server's certificate is valid.
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    /// What stands between the server's certificate and trust.
    pub(crate) faults: Vec<Fault>,
    chain: Vec<CertificateDer<'static>>,
}

/// The word that Postfix logs before "TLS connection established".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// No path to a trust anchor, or not what the level asks for.
    Untrusted,
    /// A path to a trust anchor, at a level that looks at no names.
    Trusted,
    /// What the level asks for: a path and the name, the digest, or a TLSA record.
    Verified,
}

/// Why there was no TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The server sent an alert.
    Alert(String),
    /// The server sent something else: how it begins.
    NotTls(String),
    /// The connection was closed or reset.
    Lost(&'static str),
    /// The server broke the protocol.
    Broken(String),
    /// We cannot, OpenSSL might.
    Ours(String),
}

impl Session {
    /// Whether Postfix sees a path to a trust anchor. Where the certificate need not match, it leaves OpenSSL at security
    /// level 0, which forgives weak digests; else it sets 1.
    pub(crate) fn is_trusted(&self, is_matched: bool) -> bool {
        let forgiven = |fault: &Fault| !is_matched && matches!(fault, Fault::WeakDigest { .. });
        self.faults.iter().all(forgiven)
    }

    /// The chain as it was sent, one line a certificate.
    pub(crate) fn shown(&self) -> String {
        let line = |(height, certificate): (usize, &CertificateDer<'static>)| match parsed(certificate) {
            Ok(certificate) => format!(
                "{height} s:{} i:{} not after {}",
                path::shown(certificate.subject()),
                path::shown(certificate.issuer()),
                timestamp(moment(certificate.validity().not_after)),
            ),
            Err(why) => format!("{height} ({why})"),
        };
        self.chain.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
    }

    fn of(connection: &ClientConnection, anchors: &Anchors, now: SystemTime) -> Result<Self, Refusal> {
        let chain = connection.peer_certificates().unwrap_or_default().to_vec();
        let leaf = chain.first().ok_or_else(|| Refusal::Broken("no certificate was sent".to_owned()))?;
        let certificate = parsed(leaf).map_err(Refusal::Broken)?;
        let validity = certificate.validity();
        Ok(Self {
            version: version(connection.protocol_version()),
            cipher: cipher(connection.negotiated_cipher_suite().map(|suite| suite.suite())),
            key_exchange: group(connection.negotiated_key_exchange_group().map(|group| group.name())),
            issuer: path::shown(certificate.issuer()),
            names: Names::of(&certificate),
            not_before: moment(validity.not_before),
            not_after: moment(validity.not_after),
            faults: path::faults(&chain, anchors, now),
            chain,
        })
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untrusted => "Untrusted",
            Self::Trusted => "Trusted",
            Self::Verified => "Verified",
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert(alert) if alert == "protocol_version" => {
                f.write_str("the server speaks neither TLS 1.3 nor TLS 1.2 (TLS alert protocol_version)")
            }
            Self::Alert(alert) => write!(f, "the server refused it with the TLS alert {alert}"),
            Self::NotTls(sample) => write!(f, "the server answered in clear: {sample}"),
            Self::Lost(how) => f.write_str(how),
            Self::Broken(why) | Self::Ours(why) => f.write_str(why),
        }
    }
}

/// The handshake with `host`, whatever its certificate: look at [`Session::faults`] before you trust the stream.
pub(crate) async fn connect(
    mut socket: Socket,
    host: &Host,
    anchors: &Anchors,
    now: SystemTime,
) -> Result<(TlsStream<Socket>, Session), Refusal> {
    let config = config().map_err(|error| Refusal::Ours(error.to_string()))?;
    socket.begin();
    let connecting = TlsConnector::from(config).connect(server_name(host), socket).into_fallible();
    let stream = connecting.await.map_err(|(error, socket)| refusal(&error, socket.head()))?;
    let session = Session::of(stream.get_ref().1, anchors, now)?;
    Ok((stream, session))
}

/// ring alone, as everywhere in this program; no resumption, because a resumed session shows no certificate.
fn config() -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let witness = Witness { algorithms: provider.signature_verification_algorithms };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(witness))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A name that TLS cannot carry is not sent (RFC 6066 section 3).
fn server_name(host: &Host) -> ServerName<'static> {
    let unnamed = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
    match host {
        Host::Name(name) => ServerName::try_from(name.to_string()).unwrap_or(unnamed),
        Host::Address(address) => ServerName::IpAddress((*address).into()),
    }
}

fn refusal(error: &io::Error, head: &[u8]) -> Refusal {
    use rustls::Error;
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => alerted(&snake_case(&format!("{alert:?}"))),
        Some(Error::InvalidMessage(_)) if !starts_as_tls(head) => Refusal::NotTls(sample(head)),
        Some(Error::General(why)) => Refusal::Ours(why.clone()),
        Some(Error::InvalidCertificate(_)) => {
            Refusal::Broken("the server has not the key of its certificate".to_owned())
        }
        Some(other) => Refusal::Broken(other.to_string()),
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof => Refusal::Lost("connection closed during the handshake"),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                Refusal::Lost("connection reset during the handshake")
            }
            _ => Refusal::Broken(error.to_string()),
        },
    }
}

/// A server that finds nothing in common with us may find it with OpenSSL, which has far more ciphers.
fn alerted(alert: &str) -> Refusal {
    match alert {
        "handshake_failure" | "insufficient_security" => Refusal::Ours(format!(
            "TLS alert {alert}, perhaps because the server has none of the ciphers that this tool speaks (ECDHE with \
             AES-GCM or ChaCha20); Postfix has more"
        )),
        alert => Refusal::Alert(alert.to_owned()),
    }
}

/// The content types of RFC 8446 section 5.1: 20 to 24.
fn starts_as_tls(head: &[u8]) -> bool {
    head.first().is_some_and(|octet| (20..=24).contains(octet))
}

/// The first line of it.
fn sample(head: &[u8]) -> String {
    String::from_utf8_lossy(head).lines().next().unwrap_or_default().trim_end().to_owned()
}

/// The words of RFC 8446 section 6, which OpenSSL uses too: `HandshakeFailure` is `handshake_failure`.
fn snake_case(name: &str) -> String {
    name.chars().enumerate().fold(String::new(), |mut snake, (at, c)| {
        if c.is_ascii_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
        snake
    })
}

/// Looks on: any certificate will do, but whoever shows it has its key.
#[derive(Debug)]
struct Witness {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    /// By the bare key, because webpki does not read certificates of version 1.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let certificate = parsed(certificate).map_err(rustls::Error::General)?;
        let key = certificate.public_key();
        let candidates = self.algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signed.scheme);
        let is_valid = candidates.flat_map(|(_, algorithms)| algorithms.iter()).any(|algorithm| {
            algorithm.verify_signature(&key.subject_public_key.data, message, signed.signature()).is_ok()
        });
        match is_valid {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(unsigned(&certificate, rustls::CertificateError::BadSignature.into())),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let certificate = parsed(certificate).map_err(rustls::Error::General)?;
        let key = SubjectPublicKeyInfoDer::from(certificate.public_key().raw);
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
            .map_err(|error| unsigned(&certificate, error))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A short RSA key is our limit, not the server's lie.
fn unsigned(certificate: &X509Certificate<'_>, error: rustls::Error) -> rustls::Error {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(rsa)) if rsa.key_size() < path::SHORTEST_RSA => rustls::Error::General(format!(
            "the certificate has an RSA key of {} bits, this tool checks signatures from {} bits on",
            rsa.key_size(),
            path::SHORTEST_RSA
        )),
        _ => error,
    }
}

fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    match X509Certificate::from_der(certificate) {
        Ok((_, certificate)) => Ok(certificate),
        Err(error) => Err(format!("no X.509 certificate: {error}")),
    }
}

/// A certificate's time, as far as it can be written in four digits of a year.
fn moment(time: ASN1Time) -> SystemTime {
    /// The last second that RFC 3339, and RFC 5280 section 4.1.2.5.2, can write.
    const END_OF_TIME: Duration = Duration::from_secs(253_402_300_799);
    let since_epoch = Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0));
    UNIX_EPOCH + since_epoch.min(END_OF_TIME)
}

fn version(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "unknown",
    }
}

fn cipher(suite: Option<CipherSuite>) -> &'static str {
    match suite {
        Some(CipherSuite::TLS13_AES_256_GCM_SHA384) => "TLS_AES_256_GCM_SHA384",
        Some(CipherSuite::TLS13_AES_128_GCM_SHA256) => "TLS_AES_128_GCM_SHA256",
        Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256) => "TLS_CHACHA20_POLY1305_SHA256",
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384) => "ECDHE-ECDSA-AES256-GCM-SHA384",
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256) => "ECDHE-ECDSA-AES128-GCM-SHA256",
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256) => "ECDHE-ECDSA-CHACHA20-POLY1305",
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) => "ECDHE-RSA-AES256-GCM-SHA384",
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256) => "ECDHE-RSA-AES128-GCM-SHA256",
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256) => "ECDHE-RSA-CHACHA20-POLY1305",
        _ => "unknown",
    }
}

fn group(group: Option<NamedGroup>) -> &'static str {
    match group {
        Some(NamedGroup::X25519) => "X25519",
        Some(NamedGroup::secp256r1) => "prime256v1",
        Some(NamedGroup::secp384r1) => "secp384r1",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_our_ciphers_is_not_said_to_be_broken() {
        assert!(matches!(alerted("handshake_failure"), Refusal::Ours(why) if why.contains("handshake_failure")));
        assert_eq!(alerted("protocol_version"), Refusal::Alert("protocol_version".to_owned()));
    }
}
