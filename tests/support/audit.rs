//! One run of the program, and what a table of expected verdicts says of it.

use std::process::Command;

use libtest_mimic::Failed;
use serde_json::Value;

use crate::server::output;

/// Check, subject (a beginning will do), status, and a part of the message.
pub(crate) type Verdict<'a> = (&'a str, &'a str, &'a str, &'a str);

/// What one run said.
pub(crate) struct Audit {
    pub(crate) code: i32,
    pub(crate) report: Value,
    /// Everything it wrote, to stdout and stderr.
    pub(crate) said: String,
}

/// Runs `mail-preflight check` with a clean environment and JSON.
pub(crate) fn audit(args: &[String], environment: &[(&str, &str)]) -> Result<Audit, Failed> {
    let (code, stdout, stderr) = ran(args, &["--format", "json"], environment)?;
    let report = serde_json::from_str(&stdout).map_err(|error| format!("{error}: {stdout}{stderr}"))?;
    Ok(Audit { code, report, said: stdout + &stderr })
}

/// The same as a table with all evidence.
pub(crate) fn table(args: &[String], environment: &[(&str, &str)]) -> Result<String, Failed> {
    let (_, stdout, stderr) = ran(args, &["--verbose"], environment)?;
    Ok(stdout + &stderr)
}

fn ran(args: &[String], more: &[&str], environment: &[(&str, &str)]) -> Result<(i32, String, String), Failed> {
    let mut program = Command::new("env");
    program.arg("-i").args(environment.iter().map(|(name, value)| format!("{name}={value}")));
    program.arg(env!("CARGO_BIN_EXE_mail-preflight")).arg("check").args(args).args(more);
    let ran = output(&mut program)?;
    let code = ran.status.code().ok_or("ended by a signal")?;
    Ok((code, String::from_utf8(ran.stdout)?, String::from_utf8(ran.stderr)?))
}

impl Audit {
    /// The finding of `check` whose subject begins so.
    pub(crate) fn finding(&self, check: &str, subject: &str) -> Result<&Value, Failed> {
        let is_it = |finding: &&Value| {
            finding["check"] == check && finding["subject"].as_str().unwrap_or_default().starts_with(subject)
        };
        let found = self.findings().find(is_it);
        found.ok_or_else(|| format!("no finding {check} {subject:?} in\n{}", self.shown()).into())
    }

    pub(crate) fn findings(&self) -> impl Iterator<Item = &Value> {
        self.report["findings"].as_array().into_iter().flatten()
    }

    /// Compares with what a table says.
    pub(crate) fn expect(&self, code: i32, verdicts: &[Verdict<'_>]) -> Result<(), Failed> {
        for (check, subject, status, part) in verdicts {
            let finding = self.finding(check, subject)?;
            let is_so = finding["status"] == *status && finding["message"].as_str().unwrap_or_default().contains(part);
            if !is_so {
                return Err(format!("{check} {subject}: {status} with {part:?} expected in\n{}", self.shown()).into());
            }
        }
        match self.code == code {
            true => Ok(()),
            false => Err(format!("exit code {}, {code} expected\n{}", self.code, self.shown()).into()),
        }
    }

    /// One line a finding.
    fn shown(&self) -> String {
        let line = |finding: &Value| {
            let word = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
            format!("  {} {} {}: {}", word("status"), word("check"), word("subject"), word("message"))
        };
        self.findings().map(line).collect::<Vec<_>>().join("\n")
    }
}
