//! What one check concluded about one subject, and what it is made of.

use std::fmt::Display;

use serde::{Serialize, ser::SerializeMap};
use syntax::{
    Name,
    text::{beginning, grouped},
    zone,
};

use crate::net::NoAnswer;

/// Names and numbers that a program may want from a finding.
pub type Facts = serde_json::Map<String, serde_json::Value>;

/// The verdict of a finding, in order of gravity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Does not apply here; the message says why.
    Skip,
    /// As it should be.
    Pass,
    /// A SHOULD is not met, or it will break soon.
    Warn,
    /// Could not be found out.
    Unknown,
    /// A large receiver will reject or junk the mail, a MUST is broken, or mail will not leave.
    Fail,
}

impl Status {
    /// The word of the report.
    pub fn word(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Unknown => "unknown",
            Self::Fail => "fail",
        }
    }
}

/// Something we saw, and how to see it without us.
#[derive(Clone, Debug, Serialize)]
pub struct Evidence {
    /// A command that shows the same.
    pub command: String,
    /// What there was to see.
    pub output: String,
}

/// How much of what there was to see one evidence shows: more than a good server says, and no more than one reads.
const MOST_LINES: usize = 200;
const MOST_OCTETS: usize = 12 * 1024;

/// How many things that were seen one finding shows.
const MOST_EVIDENCE: usize = 50;

/// How long a message is, in octets, and how many values a fact has.
const LONGEST_MESSAGE: usize = 2 * 1024;
const MOST_VALUES: usize = 1_000;

impl Evidence {
    /// As much as one can read, and how much more there was.
    pub(crate) fn abridged(self) -> Self {
        // A line more, and its octets: what has been abridged stays as it is.
        const NOTE: usize = 80;
        let count = self.output.lines().count();
        if count <= MOST_LINES + 1 && self.output.len() <= MOST_OCTETS + NOTE {
            return self;
        }
        let lines: Vec<&str> = self.output.lines().take(MOST_LINES).collect();
        let shown = lines.join("\n");
        let shown = beginning(&shown, MOST_OCTETS);
        // What was cut in the middle of a line counts as shown.
        let (left, octets) = (count - shown.lines().count(), self.output.len() - shown.len());
        let left = match left {
            0 => String::new(),
            1 => "1 line, ".to_owned(),
            many => format!("{} lines, ", grouped(many)),
        };
        let output = format!("{shown}\n(left out: {left}{} octets)", grouped(octets));
        Self { output, ..self }
    }
}

/// What to change, ready to paste.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fix {
    /// Lines for a zone file.
    Zone(String),
    /// Commands for a shell.
    Shell(String),
    /// A sentence for whoever can do it.
    Advice(String),
}

impl Fix {
    /// A TXT record as a zone line, its text in strings of at most 255 octets (RFC 1035 section 3.3.14).
    pub(crate) fn txt(owner: &Name, text: &str) -> Self {
        Self::Zone(format!("{} 3600 IN TXT {}", zone::absolute(owner), zone::strings(text)))
    }

    /// `zone`, `shell` or `advice`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Zone(_) => "zone",
            Self::Shell(_) => "shell",
            Self::Advice(_) => "advice",
        }
    }

    /// The lines, commands or sentence.
    pub fn text(&self) -> &str {
        match self {
            Self::Zone(text) | Self::Shell(text) | Self::Advice(text) => text,
        }
    }
}

impl Serialize for Fix {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("kind", self.kind())?;
        map.serialize_entry("text", self.text())?;
        map.end()
    }
}

/// What one check concluded about one subject.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The id of the check; the [`Plan`](crate::Plan) fills it in.
    pub check: &'static str,
    /// What was judged: with `check` the stable key of the finding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The verdict.
    pub status: Status,
    /// The fact, with its number.
    pub message: String,
    /// Names and numbers for programs.
    #[serde(skip_serializing_if = "Facts::is_empty")]
    pub facts: Facts,
    /// What was seen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// What to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
    /// The standard that says so; the [`Plan`](crate::Plan) fills it in.
    pub reference: &'static str,
    /// The check that owns the absence this finding stumbled on.
    #[serde(skip)]
    pub(crate) owner: Option<&'static str>,
    /// Whom DNS said nothing about, where that is why the finding is unknown.
    #[serde(skip)]
    pub(crate) silence: Option<Name>,
}

impl Finding {
    /// A finding with nothing but its verdict and its sentence.
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self {
            check: "",
            subject: None,
            status,
            message: message.into(),
            facts: Facts::new(),
            evidence: Vec::new(),
            fix: None,
            reference: "",
            owner: None,
            silence: None,
        }
    }

    /// As it should be.
    pub fn pass(message: impl Into<String>) -> Self {
        Self::new(Status::Pass, message)
    }

    /// A SHOULD is not met, or it will break soon.
    pub fn warn(message: impl Into<String>) -> Self {
        Self::new(Status::Warn, message)
    }

    /// Mail will be rejected, or will not leave.
    pub fn fail(message: impl Into<String>) -> Self {
        Self::new(Status::Fail, message)
    }

    /// Could not be found out.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::new(Status::Unknown, message)
    }

    /// Does not apply here.
    pub fn skip(message: impl Into<String>) -> Self {
        Self::new(Status::Skip, message)
    }

    /// Names what was judged.
    pub fn about(mut self, subject: impl Display) -> Self {
        self.subject = Some(subject.to_string());
        self
    }

    /// Adds a fact.
    pub fn fact(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Adds evidence, as much as one can read.
    pub fn saw(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence.into_iter().map(Evidence::abridged));
        self
    }

    /// The same in a length that one can read, whatever the network sent: a long message and evidence beyond number are cut,
    /// and say so; a fact keeps the first of its values. A fix stays whole: it is there to be pasted.
    pub(crate) fn abridged(mut self) -> Self {
        if self.message.len() > LONGEST_MESSAGE {
            let shown = beginning(&self.message, LONGEST_MESSAGE);
            let left = grouped(self.message.len() - shown.len());
            self.message = format!("{shown}… ({left} octets are left out)");
        }
        for value in self.facts.values_mut() {
            match value {
                serde_json::Value::Array(values) => values.truncate(MOST_VALUES),
                serde_json::Value::String(text) => text.truncate(text.floor_char_boundary(MOST_OCTETS)),
                _ => {}
            }
        }
        let count = self.evidence.len();
        if count > MOST_EVIDENCE {
            self.evidence.truncate(MOST_EVIDENCE);
            if let Some(last) = self.evidence.last_mut() {
                last.output.push_str(&format!("\n(left out: {} more answers)", grouped(count - MOST_EVIDENCE)));
            }
        }
        self
    }

    /// Names the silence that an unknown finding comes from.
    pub(crate) fn because_of(mut self, silence: &NoAnswer) -> Self {
        self.silence = Some((*silence.name).clone());
        self
    }

    /// Adds the fix, unless there is nothing to mend.
    pub fn fix(mut self, fix: impl Into<Option<Fix>>) -> Self {
        self.fix = fix.into().filter(|_| !matches!(self.status, Status::Pass | Status::Skip));
        self
    }

    /// The same with another verdict.
    pub(crate) fn with_status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// Lowers a verdict that is worse than `worst` to it; what could not be found out stays so.
    pub fn at_most(mut self, worst: Status) -> Self {
        if self.status == Status::Fail || (self.status > worst && self.status != Status::Unknown) {
            self.status = self.status.min(worst);
        }
        self
    }
}

/// Why a check gave no verdict.
#[derive(Clone, Debug)]
pub enum Abstain {
    /// It does not apply here, for this reason.
    NotApplicable(String),
    /// Something is absent that another check owns and reports: what, and the id of that check.
    Needs(String, &'static str),
    /// The world is silent.
    Unknown(NoAnswer),
}

impl From<NoAnswer> for Abstain {
    fn from(silence: NoAnswer) -> Self {
        Self::Unknown(silence)
    }
}

impl From<Abstain> for Finding {
    fn from(abstain: Abstain) -> Self {
        match abstain {
            Abstain::NotApplicable(reason) => Finding::skip(reason),
            Abstain::Needs(what, owner) => {
                let mut finding = Finding::skip(format!("needs {what}, see {owner}"));
                finding.owner = Some(owner);
                finding
            }
            Abstain::Unknown(silence) => {
                Finding::unknown(silence.to_string()).saw([silence.evidence()]).because_of(&silence)
            }
        }
    }
}

impl From<Result<Finding, Abstain>> for Finding {
    fn from(verdict: Result<Finding, Abstain>) -> Self {
        verdict.unwrap_or_else(Finding::from)
    }
}

/// What one check concluded, subject by subject.
pub struct Findings(pub Vec<Finding>);

impl From<Finding> for Findings {
    fn from(finding: Finding) -> Self {
        Self(vec![finding])
    }
}

impl From<Result<Finding, Abstain>> for Findings {
    fn from(verdict: Result<Finding, Abstain>) -> Self {
        Self(vec![verdict.into()])
    }
}

impl From<Vec<Finding>> for Findings {
    fn from(findings: Vec<Finding>) -> Self {
        Self(findings)
    }
}

impl From<Result<Vec<Finding>, Abstain>> for Findings {
    fn from(verdict: Result<Vec<Finding>, Abstain>) -> Self {
        Self(verdict.unwrap_or_else(|abstain| vec![abstain.into()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn abridged(output: &str) -> String {
        Evidence { command: String::new(), output: output.to_owned() }.abridged().output
    }

    #[test]
    fn what_is_long_is_cut_and_says_so() {
        assert_eq!(abridged("one\ntwo"), "one\ntwo");
        let lines = abridged(&"x\n".repeat(4_000));
        assert_eq!(lines.lines().last(), Some("(left out: 3,800 lines, 7,601 octets)"));
        assert_eq!(abridged(&lines), lines);
        let octets = abridged(&"ü".repeat(32_000));
        assert_eq!(octets.lines().last(), Some("(left out: 51,712 octets)"));
        assert_eq!(abridged(&octets), octets);
        let finding = Finding::pass("x".repeat(60_000)).fact("names", vec!["a"; 4_000]).abridged();
        assert!(finding.message.ends_with("… (57,952 octets are left out)"), "{}", finding.message);
        assert_eq!(finding.facts["names"].as_array().map(Vec::len), Some(MOST_VALUES));
    }

    #[test]
    fn thousands_are_grouped() {
        let shown = [0, 50, 999, 1_000, 4_000, 123_456, 1_234_567].map(grouped);
        assert_eq!(shown, ["0", "50", "999", "1,000", "4,000", "123,456", "1,234,567"]);
    }
}
