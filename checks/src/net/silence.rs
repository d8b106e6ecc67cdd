//! Why there is no answer from DNS: a cause each, and words only when it is shown.

use std::{fmt, io, time::Duration};

/// Why DNS gives no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Nothing came, or not in time.
    Timeout,
    /// No DNS server listens there.
    ClosedPort,
    /// The server cannot be reached: why, in the system's words.
    Unreachable(String),
    /// The server said why not: an RCODE, the extended ones included, and what it said besides (RFC 8914).
    Code(u16, Option<String>),
    /// What came cannot be read.
    Malformed,
    /// Whatever came, nothing of it was a reply to the question (RFC 5452 section 9.1).
    Mismatch,
    /// A reply to the question, with records that are no answer to it.
    Unfit,
    /// The server is not recursive, and the zone is not its own.
    Referral,
    /// TC is set over TCP too, where there is room for everything.
    Truncated,
    /// The answer did not fit into a datagram, and over TCP there was none.
    TruncatedTcp(Box<Silence>),
    /// The CNAMEs lead back to themselves.
    Circle,
    /// More CNAMEs follow each other than are followed: how many are.
    LongChain(usize),
    /// There is no server to ask.
    NoServer,
    /// The servers failed in different ways, in the order they were asked.
    Several(Vec<Silence>),
    /// More questions would have had to be asked than a run asks: how many it does.
    Unasked(usize),
    /// The time of the whole run was over before an answer came: how long it was.
    Overdue(Duration),
    /// The time of the whole run was over before the answers were judged: how long it was.
    Unfinished(Duration),
}

impl Silence {
    /// SERVFAIL (RFC 1035 section 4.1.1).
    pub(crate) const SERVER_FAILURE: u16 = 2;
    /// REFUSED (RFC 1035 section 4.1.1).
    pub(crate) const REFUSED: u16 = 5;
    /// NOTAUTH (RFC 2136 section 2.2).
    pub(crate) const NOT_AUTHORITATIVE: u16 = 9;

    /// Several failures as one.
    pub(super) fn of(failures: Vec<Self>) -> Self {
        match <[Self; 1]>::try_from(failures) {
            Ok([only]) => only,
            Err(none) if none.is_empty() => Self::NoServer,
            Err(several) => Self::Several(several),
        }
    }

    /// Whether the server that was asked first said SERVFAIL, which is also what a validating resolver makes of bogus
    /// signatures.
    pub(crate) fn is_server_failure(&self) -> bool {
        match self {
            Self::Several(failures) => failures.first().is_some_and(Self::is_server_failure),
            silence => matches!(silence, Self::Code(Self::SERVER_FAILURE, _)),
        }
    }

    /// Whether every server refused to answer.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Code(Self::REFUSED, _))
    }

    /// Whether the server may answer without EDNS: it does not know that (RFC 6891 section 7), or not this version, or says
    /// something else that only EDNS can carry.
    pub(super) fn is_about_edns(&self) -> bool {
        const FORMAT_ERROR: u16 = 1;
        const NOT_IMPLEMENTED: u16 = 4;
        matches!(self, Self::Code(FORMAT_ERROR | NOT_IMPLEMENTED | 16.., _))
    }

    /// Whether nothing came from the server.
    pub(super) fn is_mute(&self) -> bool {
        matches!(self, Self::Timeout | Self::ClosedPort | Self::Unreachable(_))
    }
}

impl From<io::ErrorKind> for Silence {
    fn from(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::ConnectionRefused => Self::ClosedPort,
            io::ErrorKind::TimedOut => Self::Timeout,
            other => Self::Unreachable(other.to_string()),
        }
    }
}

impl From<io::Error> for Silence {
    fn from(error: io::Error) -> Self {
        error.kind().into()
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timeout"),
            Self::ClosedPort => f.write_str("no DNS server listens there (closed port)"),
            Self::Unreachable(why) => write!(f, "the DNS server cannot be reached ({why})"),
            Self::Code(code, detail) => {
                f.write_str(&mnemonic(*code))?;
                detail.as_ref().map_or(Ok(()), |detail| write!(f, " ({detail})"))
            }
            Self::Malformed => f.write_str("malformed answer"),
            Self::Mismatch => f.write_str("no reply that fits the question"),
            Self::Unfit => f.write_str("records that are no answer to the question"),
            Self::Truncated => f.write_str("truncated again"),
            Self::Referral => f.write_str("a referral (the DNS server is not recursive, and the zone is not its own)"),
            Self::TruncatedTcp(failure) => write!(f, "truncated answer, and over TCP: {failure}"),
            Self::Circle => f.write_str("the CNAMEs lead back to themselves"),
            Self::LongChain(most) => write!(f, "more than {most} CNAMEs follow each other"),
            Self::NoServer => f.write_str("no DNS server to ask"),
            Self::Several(failures) => {
                let words: Vec<String> = failures.iter().map(Self::to_string).collect();
                f.write_str(&words.join(", then "))
            }
            Self::Unasked(most) => write!(f, "not asked: more than {most} DNS questions"),
            Self::Overdue(budget) => write!(f, "no answer within {}", humantime::format_duration(*budget)),
            Self::Unfinished(budget) => write!(f, "not finished within {}", humantime::format_duration(*budget)),
        }
    }
}

/// The RCODE as `dig` writes it (RFC 1035 section 4.1.1, RFC 2136 section 2.2, RFC 6891 section 9).
fn mnemonic(code: u16) -> String {
    match code {
        1 => "FORMERR".to_owned(),
        Silence::SERVER_FAILURE => "SERVFAIL".to_owned(),
        4 => "NOTIMP".to_owned(),
        Silence::REFUSED => "REFUSED".to_owned(),
        Silence::NOT_AUTHORITATIVE => "NOTAUTH".to_owned(),
        16 => "BADVERS".to_owned(),
        number => format!("RCODE {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_server_says_is_told_once_and_the_first_decides() {
        let (refused, failed) = (Silence::Code(5, None), Silence::Code(2, Some("bogus".to_owned())));
        assert_eq!(Silence::of(Vec::new()), Silence::NoServer);
        assert!(Silence::of(vec![refused.clone()]).is_refusal());
        let several = Silence::of(vec![failed, refused.clone()]);
        assert!(several.is_server_failure() && !several.is_refusal());
        assert_eq!(several.to_string(), "SERVFAIL (bogus), then REFUSED");
        assert!(!Silence::of(vec![refused, Silence::Timeout]).is_refusal());
        assert!(Silence::Code(16, None).is_about_edns() && !Silence::Code(2, None).is_about_edns());
    }
}
