//! How TLS to the relay is done and judged: Postfix's security levels, and what a certificate is matched against.

use std::fmt;

use syntax::Name;

use crate::net::tls::Anchors;

/// Postfix's `smtp_tls_security_level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsLevel {
    /// No TLS.
    None,
    /// TLS where the server offers it.
    #[default]
    May,
    /// TLS always, whatever the certificate.
    Encrypt,
    /// TLS with a certificate, or a key, whose digest is known.
    Fingerprint,
    /// TLS with a trusted certificate for the host.
    Verify,
    /// TLS with a trusted certificate for the next-hop as configured.
    Secure,
    /// What the host's TLSA records ask for (RFC 7672); without any, as `may`.
    Dane,
    /// What the host's TLSA records ask for; without any, no mail.
    DaneOnly,
}

impl TlsLevel {
    /// Every level, the word first.
    pub const WORDS: [(&'static str, Self); 8] = [
        ("none", Self::None),
        ("may", Self::May),
        ("encrypt", Self::Encrypt),
        ("fingerprint", Self::Fingerprint),
        ("verify", Self::Verify),
        ("secure", Self::Secure),
        ("dane", Self::Dane),
        ("dane-only", Self::DaneOnly),
    ];
}

impl fmt::Display for TlsLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.iter().find(|(_, level)| level == self);
        f.write_str(word.map_or("", |(word, _)| word))
    }
}

/// How TLS to the relay is done and judged; by default as Postfix does without any setting.
#[derive(Default)]
pub struct TlsPolicy {
    /// Postfix's `smtp_tls_security_level`.
    pub level: TlsLevel,
    /// Whether the level was typed rather than assumed: then `may` and `encrypt` may send the password unverified.
    pub level_typed: bool,
    /// The match list, as in Postfix's policy table; empty where the level's default is meant.
    pub matches: Vec<Match>,
    /// TLS from the first byte (`smtp_tls_wrappermode`).
    pub wrappermode: bool,
    /// Whether more connections may be made, for what one cannot show.
    pub probe: bool,
    /// Whom certificates are trusted from.
    pub anchors: Anchors,
}

/// One pattern of Postfix's match list: a name of the certificate, or a digest of it or of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// The next-hop as configured.
    NextHop,
    /// A name below it.
    DotNextHop,
    /// The host that mail is given to.
    Hostname,
    /// This name.
    Host(Name),
    /// A name below this one.
    Below(Name),
    /// This digest.
    Digest(Fingerprint),
}

/// A digest of a certificate or of its public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// The algorithm, told by the digest's length.
    pub algorithm: Algorithm,
    /// The digest.
    pub octets: Vec<u8>,
}

/// What Postfix's `smtp_tls_fingerprint_digest` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// The default before compatibility level 3.6.
    Md5,
    /// RFC 3174.
    Sha1,
    /// The default since.
    Sha256,
}

impl Match {
    /// The patterns of a match list of `level`: names are separated by colons, digests by `|`, because they may have
    /// colons inside; commas and blanks separate both.
    ///
    /// # Errors
    /// The level has no match list, or a pattern is none of this level.
    pub fn list(level: TlsLevel, text: &str) -> Result<Vec<Self>, String> {
        let read = match level {
            TlsLevel::Fingerprint => Self::digest,
            TlsLevel::Verify | TlsLevel::Secure => Self::name,
            _ => return Err(format!("level {level} has no match list; fingerprint, verify and secure have")),
        };
        let separator = if level == TlsLevel::Fingerprint { '|' } else { ':' };
        let words = text.split(|c: char| c == separator || c == ',' || c.is_whitespace());
        words.filter(|word| !word.is_empty()).map(read).collect()
    }

    fn name(word: &str) -> Result<Self, String> {
        match word.to_ascii_lowercase().as_str() {
            "nexthop" => return Ok(Self::NextHop),
            "dot-nexthop" => return Ok(Self::DotNextHop),
            "hostname" => return Ok(Self::Hostname),
            _ => {}
        }
        let (name, below) = word.strip_prefix('.').map_or((word, false), |domain| (domain, true));
        let name: Name = name.parse().map_err(|why| format!("the name {word:?} {why}"))?;
        Ok(if below { Self::Below(name) } else { Self::Host(name) })
    }

    fn digest(word: &str) -> Result<Self, String> {
        let digits: Vec<u8> = word.bytes().filter(|octet| *octet != b':').collect();
        let octets: Option<Vec<u8>> = digits.chunks(2).map(octet).collect();
        let octets = octets.ok_or_else(|| format!("{word:?} is no digest: expected pairs of hexadecimal digits"))?;
        let algorithm = match octets.len() {
            16 => Algorithm::Md5,
            20 => Algorithm::Sha1,
            32 => Algorithm::Sha256,
            other => return Err(format!("a digest of {other} octets: expected 32 (sha256), 20 (sha1) or 16 (md5)")),
        };
        Ok(Self::Digest(Fingerprint { algorithm, octets }))
    }
}

fn octet(pair: &[u8]) -> Option<u8> {
    let &[high, low] = pair else { return None };
    let digit = |c: u8| char::from(c).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

impl Fingerprint {
    /// The digits without colons, which Postfix takes as well.
    pub(crate) fn digits(&self) -> String {
        self.to_string().replace(':', "").to_lowercase()
    }
}

impl fmt::Display for Fingerprint {
    /// As Postfix writes it: pairs of digits with colons.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self.octets.iter().map(|octet| format!("{octet:02X}")).collect();
        f.write_str(&pairs.join(":"))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn match_lists_as_the_policy_table_has_them() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        assert_eq!(
            Match::list(TlsLevel::Secure, "nexthop:dot-nexthop, Hostname mail.example.net:.example.net").unwrap(),
            [
                Match::NextHop,
                Match::DotNextHop,
                Match::Hostname,
                Match::Host(name("mail.example.net")),
                Match::Below(name("example.net")),
            ]
        );
        let digest = "0123456789abcdef0123456789ABCDEF";
        let pairs = "01:23:45:67:89:AB:CD:EF:01:23:45:67:89:ab:cd:ef";
        for text in [digest, pairs] {
            let [Match::Digest(found)] = &Match::list(TlsLevel::Fingerprint, text).unwrap()[..] else {
                panic!("{text}")
            };
            assert_eq!((found.algorithm, found.octets.len()), (Algorithm::Md5, 16), "{text}");
            assert_eq!(found.to_string(), pairs.to_uppercase());
        }
        assert_eq!(Match::list(TlsLevel::Fingerprint, &format!("{digest}|{pairs} {digest}")).unwrap().len(), 3);
        for (level, text, why) in [
            (TlsLevel::Encrypt, "nexthop", "has no match list"),
            (TlsLevel::Fingerprint, "nexthop", "is no digest"),
            (TlsLevel::Fingerprint, "012", "is no digest"),
            (TlsLevel::Fingerprint, "0123", "a digest of 2 octets"),
            (TlsLevel::Verify, "a..b", "the name \"a..b\""),
        ] {
            let error = Match::list(level, text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
