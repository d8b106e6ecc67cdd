//! What an SPF evaluation came to, and how it is told.

use std::fmt;

use serde::Serialize;
use syntax::{
    spf::Qualifier,
    text::{grouped, line},
};

use crate::{Facts, net::NoAnswer};

/// The result of an evaluation (section 2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the words of RFC 7208 section 2.6")]
pub enum Verdict {
    None,
    Neutral,
    Pass,
    Fail,
    Softfail,
    Temperror,
    Permerror,
}

/// What an evaluation came to, and how.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// The result.
    #[serde(rename = "result")]
    pub verdict: Verdict,
    /// What a fail is explained with (section 6.2), control characters escaped.
    pub explanation: Option<String>,
    /// The innermost term that matched, as published.
    pub mechanism: Option<String>,
    /// The domains from the sender's to the one whose record decided.
    pub path: Vec<String>,
    /// How many terms asked DNS.
    pub lookups: usize,
    /// How many answers were empty.
    pub void_lookups: usize,
    /// Why the verdict is an error, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The terms, in the order of evaluation: the first few hundred, and the last.
    pub trace: Vec<Step>,
    /// How many terms before the last the trace leaves out, because there are more than one reads.
    #[serde(skip_serializing_if = "is_none")]
    pub left_out: usize,
    /// What a `ptr` was not told, and would have ended otherwise: to a receiver that is "no match" (section 5.5), to us it is
    /// not found out.
    #[serde(skip)]
    pub(super) unanswered: Option<NoAnswer>,
}

/// One term that was evaluated.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// The domains from the sender's to the one that holds the term.
    pub path: Vec<String>,
    /// As published.
    pub term: String,
    /// How many lookups of the ten it cost by itself.
    pub lookups: usize,
    /// What DNS said.
    pub answer: String,
    /// Whether it matched.
    pub matched: bool,
}

impl Evaluation {
    /// The verdict, unless it hangs on what DNS did not answer.
    pub(crate) fn settled(&self) -> Verdict {
        if self.unanswered.is_some() { Verdict::Temperror } else { self.verdict }
    }

    /// The verdict and why it is so.
    pub(crate) fn sentence(&self) -> String {
        format!("{} ({}){}", self.verdict, self.because(), self.caveat())
    }

    /// What the verdict hangs on, behind a sentence about it.
    pub(crate) fn caveat(&self) -> String {
        let caveat = |silence| format!(", but what was not answered may match: {silence}");
        self.unanswered.as_ref().map(caveat).unwrap_or_default()
    }

    /// The facts of a finding.
    pub fn facts(&self) -> Facts {
        let mut facts = Facts::new();
        facts.insert("result".to_owned(), self.verdict.to_string().into());
        facts.insert("mechanism".to_owned(), self.mechanism.clone().into());
        facts.insert("path".to_owned(), self.path.clone().into());
        facts.insert("lookups".to_owned(), self.lookups.into());
        facts.insert("void_lookups".to_owned(), self.void_lookups.into());
        facts
    }

    /// Why it is so: what matched and where, or what went wrong.
    pub fn because(&self) -> String {
        match (&self.reason, &self.mechanism) {
            (Some(reason), _) => reason.clone(),
            (None, Some(mechanism)) if self.path.len() > 1 => format!("{mechanism} in {}", self.path.join(" → ")),
            (None, Some(mechanism)) => mechanism.clone(),
            (None, None) if self.verdict == Verdict::None => "no SPF record".to_owned(),
            (None, None) => "nothing matches".to_owned(),
        }
    }

    /// The steps, a line each, indented by depth.
    pub fn transcript(&self) -> String {
        let line = |(number, step): (usize, &Step)| {
            let indent = "  ".repeat(step.path.len().saturating_sub(1));
            let ended_here = number + 1 == self.trace.len() && self.reason.is_some();
            let verdict = match (ended_here, step.matched) {
                (true, _) => self.verdict.to_string(),
                (false, true) => "match".to_owned(),
                (false, false) => "no match".to_owned(),
            };
            let answer = if step.answer.is_empty() { String::new() } else { format!(" ({})", step.answer) };
            line(&format!("{indent}{}: {verdict}{answer}", step.term))
        };
        let mut lines: Vec<String> = self.trace.iter().enumerate().map(line).collect();
        if self.left_out > 0 {
            let more = format!("({} more terms are left out)", grouped(self.left_out));
            lines.insert(lines.len().saturating_sub(1), more);
        }
        lines.join("\n")
    }
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

impl From<Qualifier> for Verdict {
    fn from(qualifier: Qualifier) -> Self {
        match qualifier {
            Qualifier::Pass => Self::Pass,
            Qualifier::Fail => Self::Fail,
            Qualifier::Softfail => Self::Softfail,
            Qualifier::Neutral => Self::Neutral,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Softfail => "softfail",
            Self::Temperror => "temperror",
            Self::Permerror => "permerror",
        })
    }
}
