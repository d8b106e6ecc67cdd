//! The mechanisms that we speak, and what Cyrus SASL thinks of each.

use std::fmt;

use crate::{Login, target::SecurityOptions};

/// A mechanism this version speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// RFC 4616.
    Plain,
    /// draft-murchison-sasl-login: what PLAIN was before it was written down.
    Login,
    /// RFC 2195.
    CramMd5,
    /// RFC 5802.
    ScramSha1,
    /// The same, bound to the TLS session.
    ScramSha1Plus,
    /// RFC 7677.
    ScramSha256,
    /// The same, bound to the TLS session.
    ScramSha256Plus,
    /// Google's and Microsoft's, before RFC 7628.
    Xoauth2,
    /// RFC 7628.
    OauthBearer,
    /// RFC 4422 appendix A.
    External,
}

/// What a mechanism proves the identity with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    Password,
    Token,
    /// Something below SASL: a client certificate.
    Session,
}

impl Means {
    /// What `login` is.
    pub(super) fn of(login: &Login) -> Self {
        match login {
            Login::Password(_) => Self::Password,
            Login::Token(_) => Self::Token,
            Login::Session => Self::Session,
        }
    }

    /// What the mechanisms want that we do not speak, as far as is known.
    pub(super) fn of_unspoken(word: &str) -> Option<Self> {
        ["GSSAPI", "GSS-SPNEGO", "ANONYMOUS", "KERBEROS_V4"].contains(&word).then_some(Self::Session)
    }
}

impl Mechanism {
    const ALL: [Self; 10] = [
        Self::Plain,
        Self::Login,
        Self::CramMd5,
        Self::ScramSha1,
        Self::ScramSha1Plus,
        Self::ScramSha256,
        Self::ScramSha256Plus,
        Self::Xoauth2,
        Self::OauthBearer,
        Self::External,
    ];

    /// The mechanism of this name.
    pub(super) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.word() == word)
    }

    /// Its name in the IANA registry.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::CramMd5 => "CRAM-MD5",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::Xoauth2 => "XOAUTH2",
            Self::OauthBearer => "OAUTHBEARER",
            Self::External => "EXTERNAL",
        }
    }

    /// What it proves the identity with.
    pub(crate) fn means(self) -> Means {
        match self {
            Self::Xoauth2 | Self::OauthBearer => Means::Token,
            Self::External => Means::Session,
            _ => Means::Password,
        }
    }

    /// Whether not the secret is sent, but what was made of it: a proof that it is known.
    pub(crate) fn derives(self) -> bool {
        self == Self::CramMd5 || self.is_scram()
    }

    /// Whether it needs a channel binding (RFC 5802 section 6).
    pub(super) fn is_bound(self) -> bool {
        matches!(self, Self::ScramSha1Plus | Self::ScramSha256Plus)
    }

    /// Whether both sides prove that they know the password.
    pub(crate) fn is_scram(self) -> bool {
        self.is_bound() || matches!(self, Self::ScramSha1 | Self::ScramSha256)
    }

    /// The `SASL_SEC_*` of Cyrus's plugins; XOAUTH2's are those of the plugins in use (sasl-xoauth2,
    /// cyrus-sasl-xoauth2), and OAUTHBEARER, for which there is none, is taken for its like.
    pub(super) fn properties(self) -> SecurityOptions {
        const DIGEST: SecurityOptions = SecurityOptions::NOANONYMOUS.and(SecurityOptions::NOPLAINTEXT);
        match self {
            Self::Plain | Self::Login | Self::Xoauth2 | Self::OauthBearer => SecurityOptions::NOANONYMOUS,
            Self::CramMd5 => DIGEST,
            Self::External => DIGEST.and(SecurityOptions::NODICTIONARY),
            Self::ScramSha1 | Self::ScramSha1Plus | Self::ScramSha256 | Self::ScramSha256Plus => {
                DIGEST.and(SecurityOptions::NOACTIVE).and(SecurityOptions::MUTUAL_AUTH)
            }
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
