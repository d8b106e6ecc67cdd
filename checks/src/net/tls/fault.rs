//! What keeps a certificate from being trusted, in words.

use std::{fmt, time::SystemTime};

use syntax::text::timestamp;

use super::path::LONGEST_PATH;

/// What keeps a certificate from being trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is no certificate.
    Unreadable(String),
    /// It has vouched for itself, and is no anchor.
    SelfSigned,
    /// The server sent the root, which is no anchor.
    UnknownRoot { root: String },
    /// The way ends at an issuer that nobody has.
    NoIssuer { issuer: String, of: String, alone: bool, offered: Option<String> },
    /// The anchor is an intermediate, and OpenSSL wants its root too (Postfix sets no X509_V_FLAG_PARTIAL_CHAIN).
    NoRoot { anchor: String, root: String },
    /// The issuer's name is known, with another key.
    OtherKey { issuer: String, of: String },
    /// The way is longer than Postfix goes.
    TooLong,
    /// One certificate has run out; a CA's is named.
    Expired { ca: Option<String>, since: SystemTime },
    /// One certificate is of the future; a CA's is named.
    NotYetValid { ca: Option<String>, until: SystemTime },
    /// Its extended key usage, or its key usage, is another.
    NotForServers,
    /// A certificate that may not, or not for servers, has issued another.
    NotAnIssuer { issuer: String },
    /// A critical extension that nobody understands.
    UnknownExtension { of: String, oid: String },
    /// SHA-1: OpenSSL's security level 1, which Postfix sets where the certificate must match.
    WeakDigest { of: String },
    /// A CA on the way may not issue for this name.
    NameConstraints,
    /// We cannot tell.
    Beyond(String),
}

impl Fault {
    /// One word for programs.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::SelfSigned => "self-signed",
            Self::UnknownRoot { .. } => "unknown-root",
            Self::NoIssuer { .. } | Self::OtherKey { .. } => "unknown-issuer",
            Self::NoRoot { .. } => "root-not-trusted",
            Self::TooLong => "too-long",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not-yet-valid",
            Self::NotForServers => "not-for-servers",
            Self::NotAnIssuer { .. } => "not-an-issuer",
            Self::UnknownExtension { .. } => "unknown-extension",
            Self::WeakDigest { .. } => "weak-digest",
            Self::NameConstraints => "name-constraints",
            Self::Beyond(_) => "not-judged",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = |ca: &Option<String>| ca.as_ref().map_or_else(String::new, |ca| format!("CA certificate {ca} "));
        match self {
            Self::Unreadable(why) => write!(f, "the certificate cannot be read: {why}"),
            Self::SelfSigned => f.write_str("self-signed certificate"),
            Self::UnknownRoot { root } => {
                write!(f, "unknown issuer, the self-signed root {root} was sent but is not among the trust anchors")
            }
            Self::NoIssuer { issuer, of, alone, offered } => {
                match alone {
                    true => write!(
                        f,
                        "unknown issuer, {issuer} was not sent and is not among the trust anchors: \
                         the intermediate certificate is missing, or its CA is not trusted"
                    )?,
                    false => write!(
                        f,
                        "unknown issuer, {issuer}, which issued {of}, was not sent and is not among the trust anchors"
                    )?,
                }
                offered.iter().try_for_each(|url| write!(f, " (its CA offers it at {url})"))
            }
            Self::NoRoot { anchor, root } => write!(f, "{anchor} is among the trust anchors, its root {root} is not"),
            Self::OtherKey { issuer, of } => write!(f, "unknown issuer, {of} was not signed by the {issuer} we know"),
            Self::TooLong => write!(f, "the chain is longer than {LONGEST_PATH} certificates"),
            Self::Expired { ca, since } => write!(f, "{}expired since {}", whose(ca), timestamp(*since)),
            Self::NotYetValid { ca, until } => write!(f, "{}not valid before {}", whose(ca), timestamp(*until)),
            Self::NotForServers => f.write_str("not designated for use as a server certificate"),
            Self::NotAnIssuer { issuer } => write!(f, "{issuer} may not issue server certificates"),
            Self::UnknownExtension { of, oid } => write!(f, "{of} has the unknown critical extension {oid}"),
            Self::WeakDigest { of } => write!(f, "{of} is signed with SHA-1"),
            Self::NameConstraints => f.write_str("the name constraints of its CA exclude its names"),
            Self::Beyond(why) => write!(f, "could not be judged: {why}"),
        }
    }
}
