//! A session, judged: made from a handshake or from what was overheard, and what it says about itself.

use std::time::SystemTime;

use rustls::{CipherSuite, ClientConnection, HandshakeKind, NamedGroup, ProtocolVersion, pki_types::CertificateDer};

use super::{
    Anchors, Binding, Certificate, Fault, Key, Names, Refusal, Session, Unproved, hello::Flight, moment, parsed, path,
    public,
};

impl Session {
    /// Whether we cannot tell if the chain is trusted.
    pub(crate) fn is_undecided(&self) -> bool {
        !self.faults.is_empty() && self.faults.iter().all(|fault| matches!(fault, Fault::Beyond(_)))
    }

    /// Whether every certificate on the way is valid at that time.
    pub(crate) fn is_valid_at(&self, time: SystemTime) -> bool {
        let is_valid = |certificate: &CertificateDer<'_>| {
            parsed(certificate).is_ok_and(|certificate| {
                let validity = certificate.validity();
                (moment(validity.not_before)..=moment(validity.not_after)).contains(&time)
            })
        };
        self.path.iter().all(is_valid)
    }

    /// Whether a certificate below the trust anchor is signed with a hash that nobody may use any more. What the server's
    /// own says of itself does not count: nobody checks it.
    pub(crate) fn has_broken_hash(&self) -> bool {
        let is_signed_by_another = |height: usize| height > 0 || !self.is_self_signed();
        let judged = self.judged();
        let signed = judged.iter().enumerate().filter(|(height, _)| is_signed_by_another(*height));
        signed.map(|(_, certificate)| &certificate.signature).any(|signature| signature.broken_hash.is_some())
    }

    /// What keeps the certificate from being the server's word, in a sentence.
    pub(crate) fn doubt(&self) -> Option<String> {
        let why = match self.unproved.as_ref()? {
            Unproved::Unchecked(what) => format!("it signs with {what}"),
            Unproved::Unfinished => "this tool does not speak the TLS that it offers".to_owned(),
        };
        Some(format!("the server has not proved that it holds the key: {why}"))
    }

    /// Whether the handshake came to its end.
    pub(crate) fn is_whole(&self) -> bool {
        !matches!(self.unproved, Some(Unproved::Unfinished))
    }

    /// Whether Postfix gets through the handshake. OpenSSL 3 has TLS 1.0 and 1.1 at security level 0 only, which Postfix
    /// leaves it at unless the certificate has to match; 3DES and RC4 it does not have at all.
    pub(crate) fn is_spoken_at(&self, is_matched: bool) -> bool {
        !self.has_retired_cipher() && (!is_matched || !self.is_old())
    }

    /// Whether OpenSSL has had this cipher, and has it no more (since 1.1.0, unless built with enable-weak-ssl-ciphers).
    pub(crate) fn has_retired_cipher(&self) -> bool {
        ["DES-CBC3", "RC4"].iter().any(|cipher| self.cipher.contains(cipher))
    }

    /// Older than TLS 1.2 (RFC 8996).
    pub(crate) fn is_old(&self) -> bool {
        matches!(self.version, "TLSv1.1" | "TLSv1" | "SSLv3")
    }

    /// Whether this is the same certificate as the other's.
    pub(crate) fn has_certificate_of(&self, other: &Self) -> bool {
        self.chain.first() == other.chain.first()
    }

    /// The server's certificate.
    pub(crate) fn certificate(&self) -> Option<Certificate> {
        self.chain.first().and_then(Certificate::read)
    }

    /// The certificates on the way to the trust anchor, the server's own first, and no anchor: nobody checks its signature.
    pub(crate) fn judged(&self) -> Vec<Certificate> {
        let below = self.path.len().saturating_sub(self.anchored);
        self.path.iter().take(below).filter_map(Certificate::read).collect()
    }

    /// Whether the server has signed its certificate itself.
    pub(crate) fn is_self_signed(&self) -> bool {
        self.path.len() == 1 && self.chain.first().is_some_and(path::is_self_signed)
    }

    /// Whether the way ends at a trust anchor.
    pub(crate) fn is_anchored(&self) -> bool {
        self.anchored > 0
    }

    /// Whether a public CA has issued it.
    pub(crate) fn is_public(&self) -> bool {
        public::is_public(&self.path)
    }

    /// Whether the way leads to a root, be it trusted or not.
    pub(crate) fn reaches_a_root(&self) -> bool {
        self.path.last().is_some_and(path::is_self_signed)
    }

    pub(super) fn of(
        connection: &ClientConnection,
        unproved: Option<Unproved>,
        anchors: &Anchors,
        now: SystemTime,
    ) -> Result<Self, Refusal> {
        let chain = connection.peer_certificates().unwrap_or_default().to_vec();
        let binding = chain.first().and_then(|leaf| Binding::of(connection, &parsed(leaf).ok()?, leaf));
        let seen = Self::judged_from(chain, anchors, now)?;
        Ok(Self {
            binding,
            version: version(connection.protocol_version()),
            cipher: cipher(connection.negotiated_cipher_suite().map(|suite| suite.suite())),
            key_exchange: group(connection.negotiated_key_exchange_group().map(|group| group.name())),
            is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            unproved,
            ..seen
        })
    }

    /// What a server sent in clear, after `refusal` of a handshake.
    pub(super) fn overheard(
        flight: Flight,
        refusal: Refusal,
        anchors: &Anchors,
        now: SystemTime,
    ) -> Result<Self, Refusal> {
        let (version, cipher, key_exchange) = (flight.version(), flight.cipher(), flight.key_exchange());
        let (unproved, dh_bits) = (Some(Unproved::Unfinished), flight.dh_bits());
        let asks = flight.asks;
        let seen = Self::judged_from(flight.chain, anchors, now)?;
        let session = Self { version, cipher, key_exchange, dh_bits, unproved, ..seen };
        match session.explains(asks) {
            true => Ok(session),
            false => Err(refusal),
        }
    }

    /// Whether the handshake failed for what we lack and OpenSSL has. A server that wants a certificate of TLS 1.2 clients
    /// may have refused us for that, and would refuse Postfix too.
    fn explains(&self, asks: bool) -> bool {
        let has_our_key = match self.certificate().map(|certificate| certificate.key) {
            Some(Key::Rsa(bits)) => path::CHECKED_RSA.contains(&bits),
            Some(Key::Ec("prime256v1" | "secp384r1") | Key::Edwards("Ed25519")) => true,
            _ => false,
        };
        let has_our_cipher = OURS.iter().any(|(_, ours)| *ours == self.cipher);
        let is_ours = has_our_key && has_our_cipher;
        self.is_old() || !(asks || is_ours)
    }

    fn judged_from(chain: Vec<CertificateDer<'static>>, anchors: &Anchors, now: SystemTime) -> Result<Self, Refusal> {
        let leaf = chain.first().ok_or_else(|| Refusal::Broken("no certificate was sent".to_owned()))?;
        let certificate = parsed(leaf).map_err(Refusal::Broken)?;
        let validity = certificate.validity();
        let (path, anchored) = path::climbed(&chain, anchors, now);
        Ok(Self {
            version: "unknown",
            cipher: "unknown",
            key_exchange: "unknown",
            issuer: path::shown(certificate.issuer()),
            names: Names::of(&certificate),
            not_before: moment(validity.not_before),
            not_after: moment(validity.not_after),
            faults: path::faults(&chain, anchors, now),
            unproved: None,
            dh_bits: None,
            is_resumed: false,
            binding: None,
            path,
            anchored,
            chain,
        })
    }
}

fn version(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "unknown",
    }
}

/// The ciphers that rustls speaks, by OpenSSL's names.
#[rustfmt::skip]
const OURS: &[(CipherSuite, &str)] = &[
    (CipherSuite::TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384"),
    (CipherSuite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256"),
    (CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256"),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE-RSA-AES256-GCM-SHA384"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-RSA-CHACHA20-POLY1305"),
];

fn cipher(suite: Option<CipherSuite>) -> &'static str {
    OURS.iter().find(|(ours, _)| Some(*ours) == suite).map_or("unknown", |(_, name)| name)
}

fn group(group: Option<NamedGroup>) -> &'static str {
    match group {
        Some(NamedGroup::X25519) => "X25519",
        Some(NamedGroup::secp256r1) => "prime256v1",
        Some(NamedGroup::secp384r1) => "secp384r1",
        _ => "unknown",
    }
}
