//! What the large receivers will say, as far as the other findings tell.

use self::rules::{Cause, GMAIL, MICROSOFT, Receiver, Rule, STANDARD, YAHOO};
use crate::{Context, Finding, Fix, Name, Status, Target, check::summaries};

mod rules;

summaries! {
    /// Gmail has no reason to reject the mail that this audit can see.
    ///
    /// Gmail wants of every sender a PTR that leads back to the address, and SPF or DKIM; of whoever sends 5000 messages a
    /// day or more both of them, a DMARC record and alignment. It answers with a code that names the rule: 5.7.25, 5.7.26,
    /// 5.7.27, 5.7.30. Content and reputation decide too: nothing here says that a message is accepted.
    ///
    /// # Fix
    /// Mend the findings that the message names. `--per-day` says how many messages are sent.
    "receiver.gmail" ("Gmail sender guidelines") => gmail,

    /// Yahoo has no reason to reject the mail that this audit can see.
    ///
    /// Yahoo, with AOL, has the rules of Gmail, and names no number for bulk senders. It answers 553 5.7.1 for the address
    /// and 554 5.7.9 for the domain.
    ///
    /// # Fix
    /// Mend the findings that the message names. `--per-day` says how many messages are sent.
    "receiver.yahoo" ("Yahoo sender requirements") => yahoo,

    /// Outlook.com has no reason to reject the mail that this audit can see.
    ///
    /// Outlook.com, Hotmail and Live reject mail that fails DMARC under a policy of reject (5.7.509); of whoever sends 5000
    /// messages a day or more they want SPF, DKIM, a DMARC record and alignment (5.7.515).
    ///
    /// # Fix
    /// Mend the findings that the message names. `--per-day` says how many messages are sent.
    "receiver.microsoft" ("Outlook.com sender requirements") => microsoft,

    /// A receiver that goes by the standards has no reason to reject the mail that this audit can see.
    ///
    /// Where neither SPF nor DKIM passes in the name of the From domain, a receiver does what the domain's DMARC record
    /// asks for (RFC 9989). Many also reject a sender that no bounce can be delivered to.
    ///
    /// # Fix
    /// Mend the findings that the message names.
    "receiver.standard" ("RFC 9989 section 5") => standard,
}

/// The families whose findings are read here.
pub(crate) const SOURCES: [&str; 5] = ["hostname", "spf", "dkim", "dmarc", "bounce"];

fn gmail(cx: &Context, findings: &[Finding]) -> Vec<Finding> {
    verdicts(cx, findings, &GMAIL)
}

fn yahoo(cx: &Context, findings: &[Finding]) -> Vec<Finding> {
    verdicts(cx, findings, &YAHOO)
}

fn microsoft(cx: &Context, findings: &[Finding]) -> Vec<Finding> {
    verdicts(cx, findings, &MICROSOFT)
}

fn standard(cx: &Context, findings: &[Finding]) -> Vec<Finding> {
    verdicts(cx, findings, &STANDARD)
}

/// Whether a cause is there, and which findings say so.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    No,
    /// It could not be found out.
    Open(Vec<String>),
    /// Nobody said how to look: what is missing.
    Unasked(String),
    Yes(Vec<String>),
}

fn verdicts(cx: &Context, findings: &[Finding], receiver: &Receiver) -> Vec<Finding> {
    let target = &cx.target;
    if target.domains.is_empty() {
        return vec![Finding::skip("no domain given")];
    }
    let verdict = |domain| verdict(&Evidence { cx, findings, domain }, receiver).about(domain);
    target.domains.iter().map(verdict).collect()
}

fn verdict(evidence: &Evidence<'_>, receiver: &Receiver) -> Finding {
    let is_bulk = evidence.cx.target.is_bulk();
    let judged: Vec<(&Rule, Seen)> = receiver.rules.iter().map(|rule| (rule, evidence.of(rule.cause))).collect();
    let met = |bulk_only| {
        let met = judged.iter().filter(move |(rule, _)| rule.bulk_only == bulk_only);
        met.filter_map(|(rule, seen)| match seen {
            Seen::Yes(causes) => Some((*rule, causes.clone())),
            Seen::No | Seen::Open(_) | Seen::Unasked(_) => None,
        })
    };
    let now: Vec<_> = if is_bulk { met(false).chain(met(true)).collect() } else { met(false).collect() };
    let open = judged.iter().filter_map(|(rule, seen)| match seen {
        Seen::Open(causes) => Some(causes.clone()),
        Seen::Unasked(what) if is_bulk || !rule.bulk_only => Some(vec![what.clone()]),
        Seen::No | Seen::Unasked(_) | Seen::Yes(_) => None,
    });
    let open = distinct(open.flatten());
    let finding = if !now.is_empty() {
        expected(Status::Fail, "expect", &now)
    } else if !open.is_empty() {
        Finding::unknown(format!("nothing found that it rejects, but not everything could be found out: {}", open.join(", ")))
    } else {
        let later: Vec<_> = met(true).collect();
        match later.is_empty() {
            true => Finding::pass("nothing found that it rejects"),
            false => expected(Status::Warn, &format!("from {} messages a day on expect", Target::BULK), &later),
        }
    };
    let finding = finding.fact("source", receiver.source);
    match receiver.checked {
        Some(date) => finding.fact("checked", date),
        None => finding,
    }
}

fn expected(status: Status, lead: &str, met: &[(&Rule, Vec<String>)]) -> Finding {
    let told: Vec<String> =
        met.iter().map(|(rule, causes)| format!("{} ({}: {})", rule.reply, rule.cause.words(), causes.join(", "))).collect();
    let causes = distinct(met.iter().flat_map(|(_, causes)| causes.clone()));
    let replies = distinct(met.iter().map(|(rule, _)| rule.reply.to_owned()));
    Finding::new(status, format!("{lead} {}", told.join("; ")))
        .fact("replies", replies)
        .fact("causes", causes.clone())
        .fix(Fix::Advice(format!("Mend {}", causes.join(", "))))
}

fn distinct(words: impl Iterator<Item = String>) -> Vec<String> {
    words.fold(Vec::new(), |mut known, word| {
        if !known.contains(&word) {
            known.push(word);
        }
        known
    })
}

/// The findings about one sender domain.
struct Evidence<'a> {
    cx: &'a Context,
    findings: &'a [Finding],
    domain: &'a Name,
}

impl Evidence<'_> {
    fn of(&self, cause: Cause) -> Seen {
        match cause {
            Cause::Reverse => self.failed("hostname.ptr", |_| true),
            Cause::Unauthenticated => both(self.spf(), self.dkim()),
            Cause::Spf => self.spf(),
            Cause::Dkim => self.dkim(),
            Cause::NoDmarc => self.dmarc_record(),
            Cause::Unaligned => self.unaligned(),
            Cause::Rejected => match self.policy().as_deref() {
                Some("reject") => self.unaligned(),
                _ => Seen::No,
            },
            Cause::Unreachable => {
                let mail_from = self.mail_from().to_string();
                self.failed("bounce.mail-from", |subject| subject == mail_from)
            }
        }
    }

    /// The domain in MAIL FROM.
    fn mail_from(&self) -> &Name {
        self.cx.target.mail_from.as_ref().unwrap_or(self.domain)
    }

    fn about(&self, check: &str, is_meant: impl Fn(&str) -> bool) -> Vec<&Finding> {
        let about = |finding: &&Finding| finding.check == check && finding.subject.as_deref().is_some_and(&is_meant);
        self.findings.iter().filter(about).collect()
    }

    /// Whether a check failed.
    fn failed(&self, check: &str, is_meant: impl Fn(&str) -> bool) -> Seen {
        judged(self.about(check, is_meant), |finding| finding.status == Status::Fail)
    }

    /// Whether SPF does not pass for some address that mail leaves from.
    fn spf(&self) -> Seen {
        let (from, via) = (format!("{} from ", self.mail_from()), format!("{} via ", self.mail_from()));
        let found = self.about("spf.sender", |subject| subject.starts_with(&from) || subject.starts_with(&via));
        let record = self.failed("spf.record", |subject| *subject == self.mail_from().to_string());
        match record {
            Seen::Yes(_) => record,
            _ => judged(found, |finding| matches!(finding.status, Status::Fail | Status::Warn)),
        }
    }

    /// Whether no selector has a key that verifies. Without a selector nobody knows.
    fn dkim(&self) -> Seen {
        let suffix = format!("._domainkey.{}", self.domain);
        let faults: Vec<&Finding> = self.findings.iter().filter(|finding| finding.check.starts_with("dkim.")).collect();
        let records = self.about("dkim.record", |subject| subject.ends_with(&suffix));
        let mut seen = Seen::Unasked("DKIM, as no selector was given (--selector S)".to_owned());
        for record in records {
            let same = faults.iter().copied().filter(|finding| finding.subject == record.subject).collect();
            match judged(same, |finding| finding.status == Status::Fail) {
                Seen::No if record.status != Status::Skip => return Seen::No,
                Seen::No => {}
                found => seen = found,
            }
        }
        seen
    }

    fn dmarc_record(&self) -> Seen {
        let domain = self.domain.to_string();
        judged(self.about("dmarc.record", |subject| subject == domain), |finding| {
            matches!(finding.status, Status::Fail | Status::Warn) && !finding.facts.contains_key("policy")
        })
    }

    /// The policy that applies to the domain.
    fn policy(&self) -> Option<String> {
        let domain = self.domain.to_string();
        let records = self.about("dmarc.record", |subject| subject == domain);
        records.first().and_then(|finding| Some(finding.facts.get("policy")?.as_str()?.to_owned()))
    }

    fn unaligned(&self) -> Seen {
        let domain = self.domain.to_string();
        judged(self.about("dmarc.alignment", |subject| subject == domain), |finding| {
            finding.facts.get("by").is_some_and(|by| by.as_str() == Some(""))
        })
    }
}

/// What findings say to a question that each of them may answer with yes.
fn judged(findings: Vec<&Finding>, is_met: impl Fn(&Finding) -> bool) -> Seen {
    let key = |finding: &&Finding| match &finding.subject {
        Some(subject) => format!("{} {subject}", finding.check),
        None => finding.check.to_owned(),
    };
    let met: Vec<String> = findings.iter().filter(|finding| is_met(finding)).map(key).collect();
    let open = |finding: &&&Finding| finding.status == Status::Unknown || finding.silence.is_some();
    let open: Vec<String> = findings.iter().filter(open).map(key).collect();
    match (met.is_empty(), open.is_empty()) {
        (false, _) => Seen::Yes(met),
        (true, false) => Seen::Open(open),
        (true, true) => Seen::No,
    }
}

/// Whether two things are both so.
fn both(one: Seen, other: Seen) -> Seen {
    match (one, other) {
        (Seen::No, _) | (_, Seen::No) => Seen::No,
        (Seen::Yes(one), Seen::Yes(other)) => Seen::Yes([one, other].concat()),
        // As far as is known the mail has nothing else to show.
        (Seen::Yes(causes), Seen::Unasked(_)) | (Seen::Unasked(_), Seen::Yes(causes)) => Seen::Yes(causes),
        (Seen::Unasked(what), _) | (_, Seen::Unasked(what)) => Seen::Unasked(what),
        (Seen::Open(one), Seen::Open(other)) => Seen::Open([one, other].concat()),
        (Seen::Open(open), Seen::Yes(_)) | (Seen::Yes(_), Seen::Open(open)) => Seen::Open(open),
    }
}
