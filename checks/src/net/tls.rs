//! TLS as a client sees it: the handshake completes whatever the certificate, so that the chain can be shown and judged.

use std::{
    fmt, io,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    AlertDescription, ClientConfig,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};
use syntax::{Host, text::timestamp};
use tokio_rustls::{TlsConnector, client::TlsStream};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

pub use self::anchors::Anchors;
use self::witness::Witness;
pub(crate) use self::{
    binding::Binding,
    certificate::{Certificate, Key},
    fault::Fault,
    fingerprint::Of,
    names::{Names, Wanted},
    socket::Socket,
    tlsa::{Mismatch, Tlsa, considered},
};

mod anchors;
mod binding;
mod certificate;
mod fault;
mod fingerprint;
pub(crate) mod hello;
mod names;
mod path;
mod public;
mod session;
mod socket;
mod tlsa;
mod witness;

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
    /// What a login can be tied to.
    pub(crate) binding: Option<Binding>,
    /// What is not proved: whoever shows a certificate has its key only if its signature says so.
    pub(crate) unproved: Option<Unproved>,
    /// How long the prime of DHE is.
    pub(crate) dh_bits: Option<usize>,
    /// Whether the handshake took up an earlier session.
    pub(crate) is_resumed: bool,
    /// What was sent.
    chain: Vec<CertificateDer<'static>>,
    /// From the server's certificate to the trust anchor, as far as it goes.
    path: Vec<CertificateDer<'static>>,
    /// How many of the path's last certificates are trust anchors.
    anchored: usize,
}

/// Why nothing proves that the server has its certificate's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unproved {
    /// A signature of a kind that we cannot check, OpenSSL can: with what.
    Unchecked(String),
    /// The handshake ended with what a server sends in clear, see [`hello`].
    Unfinished,
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
    /// The server signed with another key than its certificate's.
    Impostor,
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

    /// Everything in the certificates that is shown as somebody wrote it, a few lines together.
    pub(crate) fn texts(&self) -> Vec<String> {
        let faults = self.faults.iter().map(Fault::to_string);
        let lines: Vec<String> =
            self.shown().lines().map(str::to_owned).chain(self.names.all()).chain(faults).collect();
        lines.chunks(64).map(|lines| lines.join("\n")).collect()
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
            Self::NotTls(sample) if sample.trim().is_empty() => {
                f.write_str("the server answered with neither TLS nor text")
            }
            Self::NotTls(sample) => write!(f, "the server answered in clear: {sample}"),
            Self::Lost(how) => f.write_str(how),
            Self::Impostor => {
                f.write_str("the server's signature is wrong, it does not hold the key of its certificate")
            }
            Self::Broken(why) | Self::Ours(why) => f.write_str(why),
        }
    }
}

/// How a client shakes hands: as any connection of its kind does.
#[derive(Clone)]
pub(crate) struct Manner {
    config: Arc<ClientConfig>,
    unproved: Arc<OnceLock<String>>,
}

impl Manner {
    /// With the name of the server (RFC 6066 section 3), and never a session of before: it shows no certificate.
    pub(crate) fn fresh() -> Result<Self, Refusal> {
        Self::new(true, Resumption::disabled())
    }

    /// As Postfix does unless told otherwise: without the name of the server, and with the session of last time.
    pub(crate) fn nameless() -> Result<Self, Refusal> {
        Self::new(false, Resumption::in_memory_sessions(4))
    }

    /// ring alone, as everywhere in this program.
    fn new(is_named: bool, resumption: Resumption) -> Result<Self, Refusal> {
        let provider = Arc::new(ring::default_provider());
        let unproved = Arc::new(OnceLock::new());
        let witness = Witness::new(provider.signature_verification_algorithms, Arc::clone(&unproved));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Refusal::Ours(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(witness))
            .with_no_client_auth();
        config.resumption = resumption;
        config.enable_sni = is_named;
        Ok(Self { config: Arc::new(config), unproved })
    }
}

/// The handshake with `host`, whatever its certificate: look at [`Session::faults`] and [`Session::unproved`] before you
/// trust the stream.
pub(crate) async fn connect(
    mut socket: Socket,
    host: &Host,
    manner: &Manner,
    anchors: &Anchors,
    now: SystemTime,
) -> Result<(TlsStream<Socket>, Session), Refusal> {
    socket.begin();
    let connecting = TlsConnector::from(Arc::clone(&manner.config)).connect(server_name(host), socket).into_fallible();
    let stream = connecting.await.map_err(|(error, socket)| refusal(&error, socket.head()))?;
    let unproved = manner.unproved.get().cloned().map(Unproved::Unchecked);
    let session = Session::of(stream.get_ref().1, unproved, anchors, now)?;
    Ok((stream, session))
}

/// What the server shows to a client of TLS 1.2 at most, with all the ciphers of OpenSSL, after `refusal` of ours.
pub(crate) async fn overhear(
    mut socket: Socket,
    host: &Host,
    refusal: Refusal,
    anchors: &Anchors,
    now: SystemTime,
) -> Result<Session, Refusal> {
    let flight = hello::flight(&mut socket, hello::TLS_1_2, sent_name(host).as_deref()).await?;
    Session::overheard(flight, refusal, anchors, now)
}

/// The version that the server speaks with a client of TLS 1.1 at most, by OpenSSL's name.
pub(crate) async fn old_version(mut socket: Socket, host: &Host) -> Result<&'static str, Refusal> {
    let flight = hello::flight(&mut socket, hello::TLS_1_1, sent_name(host).as_deref()).await?;
    Ok(flight.version())
}

/// The name that a ClientHello carries, if it can.
fn sent_name(host: &Host) -> Option<String> {
    match server_name(host) {
        ServerName::DnsName(name) => Some(name.as_ref().to_owned()),
        _ => None,
    }
}

/// A name that TLS cannot carry is not sent (RFC 6066 section 3).
fn server_name(host: &Host) -> ServerName<'static> {
    let unnamed = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
    match host {
        Host::Name(name) => ServerName::try_from(name.to_string()).unwrap_or(unnamed),
        Host::Address(address) => ServerName::IpAddress((*address).into()),
    }
}

/// The words of RFC 8446 section 6.
fn alert_named(code: u8) -> String {
    snake_case(&format!("{:?}", AlertDescription::from(code)))
}

fn refusal(error: &io::Error, head: &[u8]) -> Refusal {
    use rustls::{Error, InvalidMessage};
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => alerted(&snake_case(&format!("{alert:?}"))),
        Some(Error::InvalidMessage(_)) if !starts_as_tls(head) => Refusal::NotTls(sample(head)),
        // OpenSSL reads certificates of up to 100 KiB together (SSL_CTX_set_max_cert_list).
        Some(Error::InvalidMessage(
            InvalidMessage::HandshakePayloadTooLarge | InvalidMessage::CertificatePayloadTooLarge,
        )) => Refusal::Ours("the server's certificates are of over 64 KiB, more than this tool reads".to_owned()),
        // It answered with something that rustls does not speak, TLS 1.0 for one.
        Some(Error::PeerIncompatible(why)) => Refusal::Ours(format!("{why:?}")),
        // The witness finds nothing else wrong with a certificate.
        Some(Error::InvalidCertificate(_)) => Refusal::Impostor,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_our_ciphers_is_not_said_to_be_broken() {
        assert!(matches!(alerted("handshake_failure"), Refusal::Ours(why) if why.contains("handshake_failure")));
        assert_eq!(alerted("protocol_version"), Refusal::Alert("protocol_version".to_owned()));
    }
}
