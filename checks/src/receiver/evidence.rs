//! What the findings of other checks say about one sender domain: what is so, what is not, and what nobody can tell.

use syntax::Name;

use super::rules::Cause;
use crate::{Context, Finding, Status};

/// Whether a cause is there, and which findings say so; what weighs more comes later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    No,
    /// Nobody said how to look: what is missing.
    Unasked(Vec<String>),
    /// It could not be found out.
    Open(Vec<String>),
    Yes(Vec<String>),
}

impl Seen {
    /// Whether one of two things is so.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes(one), Self::Yes(other)) => Self::Yes([one, other].concat()),
            (Self::Yes(causes), _) | (_, Self::Yes(causes)) => Self::Yes(causes),
            (Self::Open(one), Self::Open(other)) => Self::Open([one, other].concat()),
            (Self::Open(causes), _) | (_, Self::Open(causes)) => Self::Open(causes),
            (Self::Unasked(one), Self::Unasked(other)) => Self::Unasked([one, other].concat()),
            (Self::Unasked(what), _) | (_, Self::Unasked(what)) => Self::Unasked(what),
            (Self::No, Self::No) => Self::No,
        }
    }
}

/// The findings about one sender domain.
pub(super) struct Evidence<'a> {
    pub(super) cx: &'a Context,
    pub(super) findings: &'a [Finding],
    pub(super) domain: &'a Name,
}

impl Evidence<'_> {
    pub(super) fn of(&self, cause: Cause) -> Seen {
        match cause {
            Cause::Reverse => self.reverse(),
            Cause::Unauthenticated => neither(self.spf(), self.dkim()),
            Cause::Spf => self.spf(),
            Cause::Dkim => self.dkim(),
            Cause::NoDmarc => self.dmarc_record(),
            Cause::Unaligned => self.unaligned(),
            Cause::Rejected => match (self.policy().as_deref(), self.dmarc_record()) {
                (Some("reject"), _) => self.unaligned(),
                (None, Seen::Open(causes)) => Seen::Open(causes),
                _ => Seen::No,
            },
            Cause::Unreachable => {
                let mail_from = self.mail_from().to_string();
                self.any(self.about("bounce.mail-from", |subject| subject == mail_from), is_fail)
            }
        }
    }

    /// The domain in MAIL FROM.
    fn mail_from(&self) -> &Name {
        self.cx.target.mail_from.as_ref().unwrap_or(self.domain)
    }

    fn of_check(&self, check: &str) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.check == check)
    }

    fn about(&self, check: &str, is_meant: impl Fn(&str) -> bool) -> Vec<&Finding> {
        self.of_check(check).filter(|finding| finding.subject.as_deref().is_some_and(&is_meant)).collect()
    }

    fn about_domain(&self, check: &str) -> Vec<&Finding> {
        let domain = self.domain.to_string();
        self.about(check, |subject| subject == domain)
    }

    /// What findings say to a question that each of them may answer with yes.
    fn any(&self, findings: Vec<&Finding>, is_met: impl Fn(&Finding) -> bool) -> Seen {
        findings.into_iter().map(|finding| self.one(finding, &is_met)).fold(Seen::No, Seen::or)
    }

    /// A finding that was skipped because it needs something says what the owner of that says.
    fn one(&self, finding: &Finding, is_met: impl Fn(&Finding) -> bool) -> Seen {
        match (finding.status, finding.owner) {
            (Status::Fail | Status::Warn, _) if is_met(finding) => Seen::Yes(vec![key(finding)]),
            (Status::Skip, Some(owner)) => self.owned(finding, owner),
            _ if is_open(finding) => Seen::Open(vec![key(finding)]),
            _ => Seen::No,
        }
    }

    fn owned(&self, finding: &Finding, owner: &'static str) -> Seen {
        let subject = finding.subject.as_deref().unwrap_or_default();
        let is_of_it =
            |owner: &str| subject.strip_prefix(owner).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
        let mut owners = self.about(owner, is_of_it);
        if owners.is_empty() {
            owners = self.of_check(owner).collect();
        }
        let keys = |is_meant: fn(&Finding) -> bool| {
            owners.iter().filter(|owner| is_meant(owner)).map(|owner| key(owner)).collect::<Vec<_>>()
        };
        let (failed, open) = (keys(is_fail), keys(is_open));
        let is_of_family = family(owner) == family(finding.check);
        match (failed.is_empty(), open.is_empty()) {
            (false, _) if is_of_family => Seen::Yes(failed),
            (_, false) => Seen::Open(open),
            // What is missing has failed; what it was needed for has not been looked at.
            (false, true) => Seen::Open(failed),
            (true, true) => Seen::Open(vec![key(finding)]),
        }
    }

    /// Whether an outgoing address has no PTR that leads back. Behind a relay that is the relay's affair.
    fn reverse(&self) -> Seen {
        let found: Vec<&Finding> = self.of_check("hostname.ptr").collect();
        let nobody_looked = found.iter().all(|finding| finding.status == Status::Skip) && !self.cx.target.is_relayed();
        match (self.any(found.clone(), is_fail), found.first()) {
            (Seen::No, Some(skipped)) if nobody_looked => Seen::Unasked(vec![format!("PTR ({})", skipped.message)]),
            (seen, _) => seen,
        }
    }

    /// Whether SPF does not pass for some address that mail leaves from.
    fn spf(&self) -> Seen {
        let mail_from = self.mail_from().to_string();
        let (from, via) = (format!("{mail_from} from "), format!("{mail_from} via "));
        let is_meant = |subject: &str| subject == mail_from || subject.starts_with(&from) || subject.starts_with(&via);
        let target = &self.cx.target;
        let is_guess = |finding: &Finding| {
            let subject = finding.subject.as_deref().unwrap_or_default();
            target.is_relayed() && target.ips.is_empty() && subject.starts_with(&from)
        };
        let record = self.any(self.about("spf.record", |subject| subject == mail_from), is_fail);
        let senders = self.about("spf.sender", is_meant).into_iter().map(|finding| {
            let unasked = |why: &str| Seen::Unasked(vec![format!("SPF ({why})")]);
            match finding.status {
                // What the relay's own address may not do proves nothing.
                Status::Fail | Status::Warn if is_guess(finding) => {
                    unasked("outgoing addresses unknown, name them with --ip")
                }
                Status::Skip if finding.owner.is_none() && !is_open(finding) => unasked(&finding.message),
                _ => self.one(finding, |_| true),
            }
        });
        let senders = senders.fold(Seen::No, Seen::or);
        match record {
            Seen::Yes(_) => record,
            _ => senders,
        }
    }

    /// Whether no selector has a key that verifies. Without a selector nobody knows.
    fn dkim(&self) -> Seen {
        let suffix = format!("._domainkey.{}", self.domain);
        let records = self.about("dkim.record", |subject| subject.ends_with(&suffix)).into_iter();
        // A selector that was not said to stand under this domain stands under another.
        let keys = records.filter(|record| record.status != Status::Skip || is_open(record)).map(|record| {
            let is_of_key = |finding: &&Finding| family(finding.check) == "dkim" && finding.subject == record.subject;
            self.any(self.findings.iter().filter(is_of_key).collect(), is_fail)
        });
        keys.reduce(neither)
            .unwrap_or_else(|| Seen::Unasked(vec!["DKIM, as no selector was given (--selector S)".to_owned()]))
    }

    fn dmarc_record(&self) -> Seen {
        self.any(self.about_domain("dmarc.record"), |finding| !finding.facts.contains_key("policy"))
    }

    /// The policy that applies to the domain.
    fn policy(&self) -> Option<String> {
        let found = [self.about_domain("dmarc.record"), self.about_domain("dmarc.policy")].concat();
        found.iter().find_map(|finding| Some(finding.facts.get("policy")?.as_str()?.to_owned()))
    }

    fn unaligned(&self) -> Seen {
        let found = self.about_domain("dmarc.alignment");
        let is_by_nothing = |finding: &Finding| finding.facts.get("by").is_some_and(|by| by.as_str() == Some(""));
        match (self.any(found.clone(), is_by_nothing), found.first()) {
            (Seen::No, Some(skipped)) if skipped.status == Status::Skip => Seen::Unasked(vec![key(skipped)]),
            (seen, _) => seen,
        }
    }
}

/// Check and subject.
fn key(finding: &Finding) -> String {
    match &finding.subject {
        Some(subject) => format!("{} {subject}", finding.check),
        None => finding.check.to_owned(),
    }
}

fn family(check: &str) -> &str {
    check.split('.').next().unwrap_or(check)
}

fn is_fail(finding: &Finding) -> bool {
    finding.status == Status::Fail
}

/// Whether it could not be found out; where DNS is silent about all of a domain, the finding is a skip.
fn is_open(finding: &Finding) -> bool {
    finding.status == Status::Unknown || finding.silence.is_some()
}

/// Whether neither of two things that would do is there: `Yes` of each means that it is not.
fn neither(one: Seen, other: Seen) -> Seen {
    match (one, other) {
        (Seen::No, _) | (_, Seen::No) => Seen::No,
        (Seen::Yes(one), Seen::Yes(other)) => Seen::Yes([one, other].concat()),
        (Seen::Open(one), Seen::Open(other) | Seen::Unasked(other)) | (Seen::Unasked(one), Seen::Open(other)) => {
            Seen::Open([one, other].concat())
        }
        (Seen::Open(open), Seen::Yes(_)) | (Seen::Yes(_), Seen::Open(open)) => Seen::Open(open),
        // As far as is known the mail has nothing else to show.
        (Seen::Yes(causes), Seen::Unasked(_)) => Seen::Yes(causes),
        (Seen::Unasked(what), Seen::Yes(_)) => Seen::Unasked(what),
        (Seen::Unasked(one), Seen::Unasked(other)) => Seen::Unasked([one, other].concat()),
    }
}
