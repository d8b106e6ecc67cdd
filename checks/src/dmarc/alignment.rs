//! `dmarc.alignment`: whether DMARC will pass for the mail that is to be sent, and by what.

use futures_util::future::{join, join_all};
use syntax::{
    Name,
    dmarc::{Alignment, Policy},
};

use super::{
    each,
    walk::{self, Applied, is_aligned},
};
use crate::{
    Abstain, Context, Finding, Fix, Status,
    dkim::{self, Signer},
    net::NoAnswer,
    spf::{self, Outlook},
};

/// How one of the two mechanisms will come out, with the reason.
enum Side {
    Pass(String),
    Fail(String),
    Unaligned(String),
    Unknown(String),
    Unjudged(String),
}

impl Side {
    /// The word of the facts.
    fn word(&self) -> &'static str {
        match self {
            Self::Pass(_) => "pass",
            Self::Fail(_) => "fail",
            Self::Unaligned(_) => "unaligned",
            Self::Unknown(_) => "unknown",
            Self::Unjudged(_) => "unjudged",
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Pass(why) | Self::Fail(why) | Self::Unaligned(why) | Self::Unknown(why) | Self::Unjudged(why) => why,
        }
    }

    fn is_pass(&self) -> bool {
        matches!(self, Self::Pass(_))
    }

    fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    fn is_unjudged(&self) -> bool {
        matches!(self, Self::Unjudged(_))
    }
}

/// What alignment is judged by.
struct Rules<'a> {
    author: &'a Name,
    /// What applies; nothing where there is no record.
    applied: Option<Applied>,
}

pub(super) async fn alignment(cx: &Context) -> Vec<Finding> {
    each(cx, async |author, walk| {
        let applied = match walk::applied(cx, walk).await {
            Ok(applied) => applied,
            Err(_) => return Err(Abstain::Needs("the DMARC record".to_owned(), "dmarc.record")),
        };
        let rules = Rules { author, applied };
        let (spf, dkim) = join(spf(cx, &rules), dkim(cx, &rules)).await;
        let finding = verdict(&rules, &spf, &dkim);
        let by: Vec<&str> =
            [("spf", &spf), ("dkim", &dkim)].iter().filter(|(_, side)| side.is_pass()).map(|(word, _)| *word).collect();
        let finding = finding.fact("spf", spf.word()).fact("dkim", dkim.word()).fact("by", by.join(", "));
        Ok(finding.saw(walk.evidence()))
    })
    .await
}

fn verdict(rules: &Rules<'_>, spf: &Side, dkim: &Side) -> Finding {
    let author = rules.author;
    let policy = rules.applied.as_ref().and_then(|applied| applied.policy);
    let demands = policy.is_some_and(|policy| policy > Policy::None);
    let tag = rules.applied.as_ref().map_or("p", |applied| applied.tag);
    let word = policy.map(|policy| format!("{tag}={}", policy.word())).unwrap_or_default();
    let sides = format!("{}; {}", spf.reason(), dkim.reason());
    let sign = match dkim {
        Side::Unjudged(_) => Fix::Advice(format!(
            "Sign with a key under {author}, and name its selector (--selector S) so that it can be judged"
        )),
        _ => Fix::Advice(format!(
            "Sign all mail with d={author}, and publish the selector's key under _domainkey.{author}"
        )),
    };
    let both = Fix::Advice(format!(
        "Sign all mail with d={author} and publish the key, or let MAIL FROM carry {author} and name the outgoing addresses in its SPF record"
    ));
    let known = if dkim.is_unjudged() { " as far as known" } else { "" };
    let finding = match (spf, dkim) {
        (Side::Pass(_), Side::Pass(_)) => Finding::pass(format!("by SPF and by DKIM: {sides}")),
        (_, Side::Pass(_)) => Finding::pass(format!("by DKIM: {sides}")),
        (Side::Pass(_), Side::Unknown(_)) if policy == Some(Policy::Reject) => {
            Finding::unknown(format!("by SPF: {sides}"))
        }
        (Side::Pass(_), Side::Unknown(_)) => Finding::pass(format!("by SPF: {sides}")),
        (Side::Pass(_), _) if policy == Some(Policy::Reject) => {
            Finding::warn(format!("by SPF alone{known}, which {word} must not rely on: {sides}")).fix(sign)
        }
        (Side::Pass(_), _) => Finding::pass(format!("by SPF alone{known}, which forwarding breaks: {sides}")),
        _ if spf.is_unknown() || dkim.is_unknown() => Finding::unknown(format!("could not be found out: {sides}")),
        _ if spf.is_unjudged() => Finding::skip(sides),
        _ if demands => Finding::fail(format!("by neither{known}, and {word} applies: {sides}")).fix(both),
        _ => Finding::warn(format!("by neither{known}: {sides}")).fix(both),
    };
    match &rules.applied {
        None if finding.status != Status::Skip => {
            let message = format!(
                "without a record DMARC does not apply; with one at _dmarc.{author} it would pass {}",
                finding.message
            );
            Finding { message, ..finding }
        }
        _ => finding,
    }
}

impl Rules<'_> {
    /// Whether an authenticated domain is aligned. Without a record, as if there were one at the From domain.
    async fn allow(&self, cx: &Context, domain: &Name, mode: impl Fn(&Applied) -> Alignment) -> Result<bool, NoAnswer> {
        match &self.applied {
            Some(applied) => is_aligned(cx, self.author, domain, mode(applied)).await,
            None => Ok(domain.is_within(self.author)),
        }
    }

    fn is_strict(&self, mode: impl Fn(&Applied) -> Alignment) -> bool {
        self.applied.as_ref().is_some_and(|applied| mode(applied) == Alignment::Strict)
    }
}

/// SPF at the MAIL FROM domain.
async fn spf(cx: &Context, rules: &Rules<'_>) -> Side {
    let author = rules.author;
    let domain = cx.target.mail_from.as_ref().unwrap_or(author);
    let assumed = if cx.target.mail_from.is_none() { "assuming MAIL FROM at" } else { "MAIL FROM at" };
    let said = |what: &str| format!("{assumed} {domain}: {what}");
    let mode = |applied: &Applied| applied.record.aspf;
    let (aligned, outlook) = join(rules.allow(cx, domain, mode), spf::outlook(cx, domain)).await;
    match aligned {
        Ok(true) => {}
        Ok(false) => {
            let strictly = if rules.is_strict(mode) { " (aspf=s)" } else { "" };
            return Side::Unaligned(said(&format!("not aligned with {author}{strictly}")));
        }
        Err(silence) => return Side::Unknown(said(&silence.to_string())),
    }
    match outlook {
        Outlook::Pass(what) => Side::Pass(said(&format!("SPF {what}"))),
        Outlook::Fail(what) => Side::Fail(said(&format!("SPF {what}"))),
        Outlook::Unknown(what) => Side::Unknown(said(&format!("SPF {what}"))),
        Outlook::Unjudged(what) => Side::Unjudged(said(&format!("SPF not judged, {what}"))),
    }
}

/// DKIM by the keys that were named.
async fn dkim(cx: &Context, rules: &Rules<'_>) -> Side {
    let signers = dkim::signers(cx).await;
    if signers.is_empty() {
        return Side::Unjudged("DKIM not judged, no selector given (--selector S)".to_owned());
    }
    let author = rules.author;
    let mode = |applied: &Applied| applied.record.adkim;
    let aligned = join_all(signers.iter().map(|signer| rules.allow(cx, &signer.domain, mode))).await;
    let mut worst = Side::Fail(format!("DKIM: no usable key under {author}"));
    for (Signer { domain, name, key }, aligned) in signers.iter().zip(aligned) {
        match (key, &aligned) {
            (Ok(true), Ok(true)) => return Side::Pass(format!("DKIM with d={domain} ({name})")),
            (Err(silence), Ok(true)) | (_, Err(silence)) => {
                worst = Side::Unknown(format!("DKIM with d={domain}: {silence}"));
            }
            (Ok(true), Ok(false)) if !worst.is_unknown() => {
                let strictly = if rules.is_strict(mode) { " (adkim=s)" } else { "" };
                worst = Side::Unaligned(format!("DKIM with d={domain} is not aligned with {author}{strictly}"));
            }
            _ => {}
        }
    }
    worst
}
