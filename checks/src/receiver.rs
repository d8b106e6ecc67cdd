//! What the large receivers will say, as far as the other findings tell.

use self::{
    evidence::{Evidence, Seen},
    rules::{GMAIL, MICROSOFT, Receiver, Rule, STANDARD, YAHOO},
};
use crate::{Context, Finding, Fix, Status, Target, check::summaries};

mod evidence;
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

/// The families whose findings are read here, be they left out of the report or not.
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
            Seen::Yes(causes) => Some((*rule, distinct(causes.iter().cloned()))),
            Seen::No | Seen::Open(_) | Seen::Unasked(_) => None,
        })
    };
    let now: Vec<_> = if is_bulk { met(false).chain(met(true)).collect() } else { met(false).collect() };
    let (mut open, mut unasked) = (Vec::new(), Vec::new());
    for (rule, seen) in &judged {
        match seen {
            Seen::Open(causes) => open.extend(causes.clone()),
            Seen::Unasked(what) if is_bulk || !rule.bulk_only => unasked.extend(what.clone()),
            Seen::No | Seen::Unasked(_) | Seen::Yes(_) => {}
        }
    }
    let later: Vec<_> = met(true).collect();
    let unjudged = distinct(open.iter().chain(&unasked).cloned()).join(", ");
    let nothing = "nothing found that it rejects";
    let finding = if !now.is_empty() {
        expected(Status::Fail, "expect", &now)
    } else if !open.is_empty() || (is_bulk && !unasked.is_empty()) {
        Finding::unknown(format!("{nothing}, but not everything could be found out: {unjudged}"))
    } else if !later.is_empty() {
        expected(Status::Warn, &format!("from {} messages a day on expect", Target::BULK), &later)
    } else if !unasked.is_empty() {
        Finding::skip(format!("{nothing}, but not everything was looked at: {unjudged}"))
    } else {
        Finding::pass(nothing)
    };
    let finding = finding.fact("source", receiver.source);
    match receiver.checked {
        Some(date) => finding.fact("checked", date),
        None => finding,
    }
}

fn expected(status: Status, lead: &str, met: &[(&Rule, Vec<String>)]) -> Finding {
    let told: Vec<String> = met
        .iter()
        .map(|(rule, causes)| format!("{} ({}: {})", rule.reply, rule.cause.words(), causes.join(", ")))
        .collect();
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
