//! What the audit concluded, as every renderer and every program sees it.

use std::{net::IpAddr, time::Duration};

use serde::Serialize;
use syntax::text::{line, lines, timestamp};

use crate::{Context, Evidence, Finding, Fix, Status, Topology, text};

/// What the audit concluded. Its strings hold no control characters, whatever the network sent.
#[derive(Debug, Serialize)]
pub struct Report {
    version: u32,
    tool: String,
    started: String,
    elapsed_ms: u64,
    target: Summary,
    /// The worst verdict.
    pub status: Status,
    /// How many findings of each verdict there are.
    pub counts: Counts,
    /// In report order.
    pub findings: Vec<Finding>,
}

/// What was audited.
#[derive(Debug, Serialize)]
struct Summary {
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    domains: Vec<String>,
    addresses: Vec<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<String>,
    topology: Topology,
}

/// How many findings of each verdict there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are the words of `Status`")]
pub struct Counts {
    pub pass: usize,
    pub warn: usize,
    pub fail: usize,
    pub unknown: usize,
    pub skip: usize,
}

impl Report {
    /// The report of an audit that took `elapsed`, started at `cx.now`.
    pub async fn new(cx: &Context, elapsed: Duration, findings: Vec<Finding>) -> Self {
        let target = &cx.target;
        Self {
            version: 1,
            tool: concat!("mail-preflight ", env!("CARGO_PKG_VERSION")).to_owned(),
            started: timestamp(cx.now),
            elapsed_ms: elapsed.as_millis().try_into().unwrap_or(u64::MAX),
            target: Summary {
                hostname: target.hostname.as_ref().map(shown),
                domains: target.domains.iter().map(shown).collect(),
                addresses: cx.known_addresses().await,
                relay: target.relay.as_ref().map(shown),
                topology: target.topology(),
            },
            status: findings.iter().map(|finding| finding.status).max().unwrap_or(Status::Skip),
            counts: Counts::of(&findings),
            findings: findings.into_iter().map(printable).collect(),
        }
    }

    /// The name the audit goes by: HOSTNAME, else the first domain, else the relay.
    pub fn subject(&self) -> &str {
        let target = &self.target;
        let named = target.hostname.as_ref().or(target.domains.first()).or(target.relay.as_ref());
        named.map_or("", String::as_str)
    }
}

impl Counts {
    fn of(findings: &[Finding]) -> Self {
        let count = |status| findings.iter().filter(|finding| finding.status == status).count();
        Self {
            pass: count(Status::Pass),
            warn: count(Status::Warn),
            fail: count(Status::Fail),
            unknown: count(Status::Unknown),
            skip: count(Status::Skip),
        }
    }

    /// The counts, gravest first.
    pub fn gravest_first(&self) -> [(usize, Status); 5] {
        [
            (self.fail, Status::Fail),
            (self.unknown, Status::Unknown),
            (self.warn, Status::Warn),
            (self.pass, Status::Pass),
            (self.skip, Status::Skip),
        ]
    }
}

fn shown(name: &impl ToString) -> String {
    line(&name.to_string())
}

/// Whatever DNS, SMTP or a certificate contained, a terminal is shown no control characters.
fn printable(finding: Finding) -> Finding {
    Finding {
        subject: finding.subject.map(|subject| line(&subject)),
        message: line(&finding.message),
        facts: text::members(finding.facts),
        evidence: finding
            .evidence
            .into_iter()
            .map(|seen| Evidence { command: line(&seen.command), output: lines(&seen.output) })
            .collect(),
        fix: finding.fix.map(|fix| match fix {
            Fix::Zone(text) => Fix::Zone(lines(&text)),
            Fix::Shell(text) => Fix::Shell(lines(&text)),
            Fix::Advice(text) => Fix::Advice(lines(&text)),
        }),
        ..finding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_the_network_says_controls_a_terminal() {
        let hostile = Finding::fail("a\u{1b}[2J\u{9b}b\nc")
            .fact("banner\u{9b}", vec!["x\u{7}\u{202e}"])
            .saw([Evidence { command: "dig".to_owned(), output: "one\r\ntwo\u{8}".to_owned() }]);
        let shown = printable(hostile);
        assert_eq!(shown.message, "a\\u{1b}[2J\\u{9b}b\\u{a}c");
        assert_eq!(shown.facts["banner\\u{9b}"][0], "x\\u{7}\\u{202e}");
        assert_eq!(shown.evidence[0].output, "one\ntwo\\u{8}");
    }
}
