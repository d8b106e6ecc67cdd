//! What the large receivers reject, and with which reply: as they have published it.

/// A receiver, and what it holds against a sender.
pub(super) struct Receiver {
    pub(super) rules: &'static [Rule],
    /// Where the rules stand.
    pub(super) source: &'static str,
    /// When they were last compared with what stands there; nothing where they were not.
    pub(super) checked: Option<&'static str>,
}

/// One reason to reject.
pub(super) struct Rule {
    pub(super) cause: Cause,
    /// Code and enhanced code.
    pub(super) reply: &'static str,
    pub(super) bulk_only: bool,
}

/// What is wrong, as far as the findings tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// An outgoing address has no PTR that leads back to it.
    Reverse,
    /// Neither SPF nor DKIM passes.
    Unauthenticated,
    /// SPF does not pass.
    Spf,
    /// DKIM does not pass.
    Dkim,
    /// No DMARC record applies.
    NoDmarc,
    /// Neither SPF nor DKIM is aligned with the From domain.
    Unaligned,
    /// The same, and the domain's own policy is reject.
    Rejected,
    /// Bounces cannot be delivered to the MAIL FROM domain.
    Unreachable,
}

impl Cause {
    /// What is wrong, in words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Reverse => "no PTR that leads back to the address",
            Self::Unauthenticated => "neither SPF nor DKIM passes",
            Self::Spf => "SPF does not pass",
            Self::Dkim => "no DKIM key that verifies",
            Self::NoDmarc => "no DMARC record",
            Self::Unaligned => "neither SPF nor DKIM is aligned",
            Self::Rejected => "DMARC fails, and the domain's policy is reject",
            Self::Unreachable => "the MAIL FROM domain cannot receive bounces",
        }
    }
}

const fn all(cause: Cause, reply: &'static str) -> Rule {
    Rule { cause, reply, bulk_only: false }
}

const fn bulk(cause: Cause, reply: &'static str) -> Rule {
    Rule { cause, reply, bulk_only: true }
}

pub(super) const GMAIL: Receiver = Receiver {
    rules: &[
        all(Cause::Reverse, "550 5.7.25"),
        all(Cause::Unauthenticated, "550 5.7.26"),
        all(Cause::Rejected, "550 5.7.26"),
        bulk(Cause::Spf, "550 5.7.27"),
        bulk(Cause::Dkim, "550 5.7.30"),
        bulk(Cause::NoDmarc, "550 5.7.40"),
        bulk(Cause::Unaligned, "550 5.7.32"),
    ],
    source: "support.google.com/a/answer/81126, support.google.com/a/answer/3726730",
    checked: Some("2026-11-21"),
};

/// Yahoo names no number of messages: its bulk rules are taken to begin where those of the others do.
pub(super) const YAHOO: Receiver = Receiver {
    rules: &[
        all(Cause::Reverse, "553 5.7.1"),
        all(Cause::Unauthenticated, "554 5.7.9"),
        all(Cause::Rejected, "554 5.7.9"),
        bulk(Cause::Spf, "554 5.7.9"),
        bulk(Cause::Dkim, "554 5.7.9"),
        bulk(Cause::NoDmarc, "554 5.7.9"),
        bulk(Cause::Unaligned, "554 5.7.9"),
    ],
    source: "senders.yahooinc.com/best-practices, senders.yahooinc.com/smtp-error-codes",
    checked: None,
};

pub(super) const MICROSOFT: Receiver = Receiver {
    rules: &[
        all(Cause::Rejected, "550 5.7.509"),
        bulk(Cause::Spf, "550 5.7.515"),
        bulk(Cause::Dkim, "550 5.7.515"),
        bulk(Cause::NoDmarc, "550 5.7.515"),
        bulk(Cause::Unaligned, "550 5.7.515"),
    ],
    source: "support.microsoft.com: Fix NDR error 550 5.7.515 in Outlook.com",
    checked: Some("2026-11-21"),
};

/// RFC 7372 section 3 has the codes: X.7.25 for the reverse name, X.7.26 for authentication that fails; RFC 3463 section
/// 3.2 has X.1.8 for a sender's address that leads nowhere.
pub(super) const STANDARD: Receiver = Receiver {
    rules: &[all(Cause::Rejected, "550 5.7.26"), all(Cause::Unreachable, "550 5.1.8")],
    source: "RFC 9989, RFC 7372 section 3",
    checked: None,
};
