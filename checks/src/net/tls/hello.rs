//! A ClientHello of our own, for what rustls does not speak: TLS 1.0 to 1.2 with all the ciphers that OpenSSL has had.
//!
//! Up to TLS 1.2 the server answers with its version, its cipher and its certificates in clear (RFC 5246 section 7.3): that
//! is all there is to know, and the handshake ends there.

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Refusal, alert_named, starts_as_tls};

/// As the ClientHello writes them (RFC 5246 appendix E.1).
pub(crate) const TLS_1_1: u16 = 0x0302;
pub(crate) const TLS_1_2: u16 = 0x0303;

/// More than the longest chain that anybody sends.
const LONGEST_FLIGHT: usize = 128 * 1024;
const MOST_CERTIFICATES: usize = 32;

/// RFC 5246 section 7.4.
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const SERVER_KEY_EXCHANGE: u8 = 12;
const CERTIFICATE_REQUEST: u8 = 13;
const SERVER_HELLO_DONE: u8 = 14;

/// What is offered, best first, by OpenSSL's names. The last ones OpenSSL has no more, unless it is built to
/// (`enable-weak-ssl-ciphers`).
#[rustfmt::skip]
const CIPHERS: &[(u16, &str)] = &[
    (0xc02c, "ECDHE-ECDSA-AES256-GCM-SHA384"), (0xc030, "ECDHE-RSA-AES256-GCM-SHA384"), (0x009f, "DHE-RSA-AES256-GCM-SHA384"),
    (0xcca9, "ECDHE-ECDSA-CHACHA20-POLY1305"), (0xcca8, "ECDHE-RSA-CHACHA20-POLY1305"), (0xccaa, "DHE-RSA-CHACHA20-POLY1305"),
    (0xc0ad, "ECDHE-ECDSA-AES256-CCM"), (0xc09f, "DHE-RSA-AES256-CCM"),
    (0xc02b, "ECDHE-ECDSA-AES128-GCM-SHA256"), (0xc02f, "ECDHE-RSA-AES128-GCM-SHA256"), (0x009e, "DHE-RSA-AES128-GCM-SHA256"),
    (0xc0ac, "ECDHE-ECDSA-AES128-CCM"), (0xc09e, "DHE-RSA-AES128-CCM"),
    (0xc024, "ECDHE-ECDSA-AES256-SHA384"), (0xc028, "ECDHE-RSA-AES256-SHA384"), (0x006b, "DHE-RSA-AES256-SHA256"),
    (0xc023, "ECDHE-ECDSA-AES128-SHA256"), (0xc027, "ECDHE-RSA-AES128-SHA256"), (0x0067, "DHE-RSA-AES128-SHA256"),
    (0xc00a, "ECDHE-ECDSA-AES256-SHA"), (0xc014, "ECDHE-RSA-AES256-SHA"), (0x0039, "DHE-RSA-AES256-SHA"),
    (0xc009, "ECDHE-ECDSA-AES128-SHA"), (0xc013, "ECDHE-RSA-AES128-SHA"), (0x0033, "DHE-RSA-AES128-SHA"),
    (0x0088, "DHE-RSA-CAMELLIA256-SHA"), (0x0045, "DHE-RSA-CAMELLIA128-SHA"),
    (0x009d, "AES256-GCM-SHA384"), (0xc09d, "AES256-CCM"), (0x009c, "AES128-GCM-SHA256"), (0xc09c, "AES128-CCM"),
    (0x003d, "AES256-SHA256"), (0x003c, "AES128-SHA256"), (0x0035, "AES256-SHA"), (0x002f, "AES128-SHA"),
    (0x0084, "CAMELLIA256-SHA"), (0x0041, "CAMELLIA128-SHA"),
    (0xc008, "ECDHE-ECDSA-DES-CBC3-SHA"), (0xc012, "ECDHE-RSA-DES-CBC3-SHA"), (0x0016, "DHE-RSA-DES-CBC3-SHA"),
    (0x000a, "DES-CBC3-SHA"), (0xc007, "ECDHE-ECDSA-RC4-SHA"), (0xc011, "ECDHE-RSA-RC4-SHA"), (0x0005, "RC4-SHA"),
    (0x0004, "RC4-MD5"),
];

/// Groups (RFC 8422 section 5.1.1) by OpenSSL's names.
#[rustfmt::skip]
const GROUPS: &[(u16, &str)] =
    &[(29, "X25519"), (23, "prime256v1"), (30, "X448"), (25, "secp521r1"), (24, "secp384r1")];

/// Hash and signature in pairs (RFC 5246 section 7.4.1.4.1, RFC 8446 section 4.2.3), SHA-1 last.
#[rustfmt::skip]
const SIGNATURES: &[u16] = &[
    0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0303, 0x0301, 0x0203, 0x0201,
];

/// TLS_EMPTY_RENEGOTIATION_INFO_SCSV (RFC 5746 section 3.3): no OpenSSL is without it.
const RENEGOTIATION: u16 = 0x00ff;

/// What a server says in clear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flight {
    version: u16,
    cipher: u16,
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// Whether the server asks for the client's certificate.
    pub(super) asks: bool,
    /// The ServerKeyExchange, which a cipher without forward secrecy has none of.
    exchange: Vec<u8>,
}

impl Flight {
    /// OpenSSL's name of the version.
    pub(super) fn version(&self) -> &'static str {
        match self.version {
            0x0300 => "SSLv3",
            0x0301 => "TLSv1",
            TLS_1_1 => "TLSv1.1",
            TLS_1_2 => "TLSv1.2",
            _ => "unknown",
        }
    }

    /// OpenSSL's name of the cipher.
    pub(super) fn cipher(&self) -> &'static str {
        CIPHERS.iter().find(|(id, _)| *id == self.cipher).map_or("unknown", |(_, name)| name)
    }

    /// The group, by OpenSSL's name; `DHE`, or `RSA` where the client picks the secret (RFC 5246 section 7.4.7.1).
    pub(super) fn key_exchange(&self) -> &'static str {
        match self.cipher() {
            cipher if cipher.starts_with("DHE-") => "DHE",
            // ECCurveType named_curve, and which (RFC 8422 section 5.4).
            cipher if cipher.starts_with("ECDHE-") => match self.exchange.as_slice() {
                [3, high, low, ..] => {
                    let id = u16::from_be_bytes([*high, *low]);
                    GROUPS.iter().find(|(group, _)| *group == id).map_or("unknown", |(_, name)| name)
                }
                _ => "unknown",
            },
            _ => "RSA",
        }
    }

    /// How long the prime of DHE is (RFC 5246 section 7.4.3).
    pub(super) fn dh_bits(&self) -> Option<usize> {
        if self.key_exchange() != "DHE" {
            return None;
        }
        let prime = Octets(&self.exchange).vector(2)?;
        let significant = prime.iter().skip_while(|octet| **octet == 0).count();
        let first = prime.iter().find(|octet| **octet != 0)?;
        Some(significant * 8 - usize::try_from(first.leading_zeros()).unwrap_or(0))
    }
}

/// What the server says to a client that speaks nothing newer than `newest`.
pub(super) async fn flight<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    newest: u16,
    name: Option<&str>,
) -> Result<Flight, Refusal> {
    let hello = client_hello(newest, name, rand::random());
    stream.write_all(&hello).await.map_err(|_| Refusal::Lost("connection reset during the handshake"))?;
    let answer = heard(stream).await;
    // user_canceled and goodbye (RFC 5246 section 7.2.2): the server need not wait for the rest.
    let _ = stream.write_all(&[21, 3, 1, 0, 2, 1, 90]).await;
    let _ = stream.shutdown().await;
    answer
}

async fn heard<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Flight, Refusal> {
    let mut flight = Reader::default();
    let mut head = [0; 5];
    loop {
        stream.read_exact(&mut head).await.map_err(|_| Refusal::Lost("connection closed during the handshake"))?;
        let [kind, _, _, high, low] = head;
        if !starts_as_tls(&head) {
            return Err(Refusal::NotTls(super::sample(&head)));
        }
        let mut record = vec![0; usize::from(u16::from_be_bytes([high, low]))];
        let read = stream.read_exact(&mut record).await;
        read.map_err(|_| Refusal::Lost("connection closed during the handshake"))?;
        match (kind, record.as_slice()) {
            // A warning is no end (RFC 5246 section 7.2): unrecognized_name comes as one.
            (21, [1, ..]) => {}
            (21, [_, alert, ..]) => return Err(Refusal::Alert(alert_named(*alert))),
            (22, octets) => {
                if flight.takes(octets)? {
                    return Ok(flight.flight);
                }
            }
            _ => return Err(Refusal::Broken(format!("record type {kind} in the handshake"))),
        }
        flight.records += 1;
        if flight.records > LONGEST_FLIGHT / 256 {
            return Err(Refusal::Broken("the handshake does not end".to_owned()));
        }
    }
}

/// The messages of a handshake, put together from records.
#[derive(Default)]
struct Reader {
    unread: Vec<u8>,
    octets: usize,
    records: usize,
    flight: Flight,
}

impl Reader {
    /// Whether that was all.
    fn takes(&mut self, octets: &[u8]) -> Result<bool, Refusal> {
        self.octets += octets.len();
        if self.octets > LONGEST_FLIGHT {
            return Err(Refusal::Broken(format!("the handshake is longer than {LONGEST_FLIGHT} octets")));
        }
        self.unread.extend_from_slice(octets);
        loop {
            let mut rest = Octets(&self.unread);
            let message = rest.number(1).and_then(|kind| Some((kind, rest.vector(3)?.to_vec())));
            let Some((kind, body)) = message else { return Ok(false) };
            self.unread = rest.0.to_vec();
            let kind = u8::try_from(kind).unwrap_or_default();
            let broken = || Refusal::Broken(format!("handshake message {kind} is malformed"));
            match kind {
                SERVER_HELLO => (self.flight.version, self.flight.cipher) = chosen(&body).ok_or_else(broken)?,
                CERTIFICATE => self.flight.chain = certificates(&body).ok_or_else(broken)?,
                SERVER_KEY_EXCHANGE => self.flight.exchange = body,
                CERTIFICATE_REQUEST => self.flight.asks = true,
                _ => {}
            }
            if !(0x0300..=TLS_1_2).contains(&self.flight.version) {
                return Err(Refusal::Broken(format!("the server chose the version {:#06x}", self.flight.version)));
            }
            if self.flight.cipher() == "unknown" {
                return Err(Refusal::Broken(format!("the server chose the cipher {:#06x}", self.flight.cipher)));
            }
            if kind == SERVER_HELLO_DONE {
                return Ok(true);
            }
        }
    }
}

/// Version and cipher of a ServerHello (RFC 5246 section 7.4.1.3).
fn chosen(body: &[u8]) -> Option<(u16, u16)> {
    let mut rest = Octets(body);
    let version = rest.number(2)?;
    rest.octets(32)?;
    rest.vector(1)?;
    Some((u16::try_from(version).ok()?, u16::try_from(rest.number(2)?).ok()?))
}

/// A Certificate message (RFC 5246 section 7.4.2).
fn certificates(body: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let mut list = Octets(Octets(body).vector(3)?);
    let mut chain = Vec::new();
    while !list.0.is_empty() && chain.len() < MOST_CERTIFICATES {
        chain.push(CertificateDer::from(list.vector(3)?.to_vec()));
    }
    Some(chain)
}

/// What is left to read.
struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    fn octets(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of so many octets.
    fn number(&mut self, octets: usize) -> Option<usize> {
        Some(self.octets(octets)?.iter().fold(0, |number, octet| number << 8 | usize::from(*octet)))
    }

    /// What stands behind a length of so many octets.
    fn vector(&mut self, octets: usize) -> Option<&'a [u8]> {
        let length = self.number(octets)?;
        self.octets(length)
    }
}

/// In a record of its own (RFC 5246 section 7.4.1.2).
fn client_hello(newest: u16, name: Option<&str>, random: [u8; 32]) -> Vec<u8> {
    let numbers = |numbers: &mut dyn Iterator<Item = u16>| numbers.flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
    let ciphers = numbers(&mut CIPHERS.iter().map(|(id, _)| *id).chain([RENEGOTIATION]));
    let groups = numbers(&mut GROUPS.iter().map(|(id, _)| *id));
    let mut extensions = Vec::new();
    if let Some(name) = name {
        // RFC 6066 section 3: one name, of the type host_name.
        let entry = [&[0][..], &prefixed(2, name.as_bytes())].concat();
        extensions.extend(extension(0, &prefixed(2, &entry)));
    }
    extensions.extend(extension(10, &prefixed(2, &groups)));
    extensions.extend(extension(11, &[1, 0]));
    // RFC 5246 section 7.4.1.4.1: not before TLS 1.2.
    if newest >= TLS_1_2 {
        extensions.extend(extension(13, &prefixed(2, &numbers(&mut SIGNATURES.iter().copied()))));
    }
    // Extended master secret (RFC 7627 section 5.1).
    extensions.extend(extension(23, &[]));
    let body = [
        &newest.to_be_bytes()[..],
        &random,
        &[0],
        &prefixed(2, &ciphers),
        // No compression.
        &[1, 0],
        &prefixed(2, &extensions),
    ];
    let message = [&[1][..], &prefixed(3, &body.concat())].concat();
    // A record of TLS 1.0: the oldest servers look at that too (RFC 5246 appendix E.1).
    [&[22, 3, 1][..], &prefixed(2, &message)].concat()
}

fn extension(kind: u8, data: &[u8]) -> Vec<u8> {
    [&[0, kind][..], &prefixed(2, data)].concat()
}

/// `data` behind its length in so many octets.
fn prefixed(octets: usize, data: &[u8]) -> Vec<u8> {
    let length = data.len().to_be_bytes();
    let (_, length) = length.split_at(length.len().saturating_sub(octets));
    [length, data].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::duplex;

    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind][..], &prefixed(3, body)].concat()
    }

    fn record(kind: u8, octets: &[u8]) -> Vec<u8> {
        [&[kind, 3, 1][..], &prefixed(2, octets)].concat()
    }

    fn server_hello(version: u16, cipher: u16) -> Vec<u8> {
        let body = [&version.to_be_bytes()[..], &[7; 32], &[0], &cipher.to_be_bytes(), &[0]].concat();
        message(SERVER_HELLO, &body)
    }

    /// What we make of a server that sends `octets` and hangs up.
    async fn made_of(octets: &[u8]) -> Result<Flight, Refusal> {
        let (mut ours, mut theirs) = duplex(1024 * 1024);
        theirs.write_all(octets).await.unwrap();
        theirs.shutdown().await.unwrap();
        flight(&mut ours, TLS_1_2, Some("relay.test")).await
    }

    #[tokio::test]
    async fn a_flight_in_one_record_or_in_many() {
        let certificates = message(CERTIFICATE, &prefixed(3, &[prefixed(3, b"leaf"), prefixed(3, b"ca")].concat()));
        let exchange = message(SERVER_KEY_EXCHANGE, &[&[3, 0, 24, 97][..], &[4; 97]].concat());
        let whole = [server_hello(0x0301, 0xc014), certificates, exchange, message(SERVER_HELLO_DONE, &[])].concat();
        let pieces: Vec<u8> = whole.chunks(7).flat_map(|piece| record(22, piece)).collect();
        for octets in [record(22, &whole), pieces, [record(21, &[1, 112]), record(22, &whole)].concat()] {
            let flight = made_of(&octets).await.unwrap();
            assert_eq!(
                (flight.version(), flight.cipher(), flight.key_exchange()),
                ("TLSv1", "ECDHE-RSA-AES256-SHA", "secp384r1")
            );
            assert_eq!(flight.chain, [CertificateDer::from(&b"leaf"[..]), CertificateDer::from(&b"ca"[..])]);
            assert_eq!(flight.dh_bits(), None);
        }
        let short = message(SERVER_KEY_EXCHANGE, &prefixed(2, &[&[0, 0x0f][..], &[255; 127]].concat()));
        let whole = [server_hello(TLS_1_2, 0x0033), short, message(SERVER_HELLO_DONE, &[])].concat();
        let flight = made_of(&record(22, &whole)).await.unwrap();
        assert_eq!((flight.key_exchange(), flight.dh_bits()), ("DHE", Some(1020)));
    }

    #[tokio::test]
    async fn what_is_no_flight_is_told_in_words() {
        let endless = record(22, &server_hello(0x0301, 0x002f)).repeat(2000);
        for (octets, told) in [
            (b"".to_vec(), "connection closed during the handshake"),
            (b"500 what?\r\n".to_vec(), "the server answered in clear: 500 w"),
            (record(21, &[2, 40]), "the server refused it with the TLS alert handshake_failure"),
            (record(23, b"data"), "record type 23 in the handshake"),
            (record(22, &message(SERVER_HELLO, &[3, 1])), "handshake message 2 is malformed"),
            (record(22, &server_hello(0x0304, 0x1301)), "the server chose the version 0x0304"),
            (record(22, &server_hello(TLS_1_2, 0x0001)), "the server chose the cipher 0x0001"),
            (record(22, &message(SERVER_HELLO_DONE, &[])), "the server chose the version 0x0000"),
            (endless, "the handshake does not end"),
        ] {
            let error = made_of(&octets).await.unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}, not {told}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_is_too_strange(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut reader = Reader::default();
            let _ = reader.takes(&octets);
            let _ = chosen(&octets);
            let _ = certificates(&octets);
            let odd = Flight { version: TLS_1_2, cipher: 0x0033, exchange: octets, ..Flight::default() };
            let _ = (odd.dh_bits(), odd.key_exchange());
        }
    }
}
