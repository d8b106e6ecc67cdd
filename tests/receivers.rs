//! `receiver.*` sums up what others have found: in every world about names it passes only where all that it rests on was
//! found out, and fails only for what somebody has found wrong.

#![allow(clippy::indexing_slicing, reason = "a missing member of a JSON value is null")]

use std::{path::Path, process::ExitCode};

use fixtures::World;
use libtest_mimic::{Arguments, Failed, Trial, run};
use serde_json::Value;

#[path = "support/worlds.rs"]
mod worlds;

/// More than there are cores: some worlds wait.
const THREADS: usize = 8;

/// The families whose worlds are audited, and one more whose world says nothing at all.
const FAMILIES: [&str; 5] = ["receiver", "spf", "dmarc", "bounce", "dns"];

/// What is judged in them, whatever the world asks for itself.
const ONLY: &str = "receiver,hostname,spf,dkim,dmarc,bounce";

fn main() -> ExitCode {
    let is_meant = |name: &str| FAMILIES.contains(&name.split('/').next().unwrap_or_default());
    let worlds = worlds::all().into_iter().filter(|(name, _)| is_meant(name));
    let trials = worlds.map(|(name, folder)| Trial::test(name, move || sums_up(&audited(&folder)?)));
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    run(&arguments, trials.collect()).exit_code()
}

/// The findings of those families; none where the world is of another command.
fn audited(folder: &Path) -> Result<Vec<Value>, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let world = World::read(folder).map_err(|error| format!("{error:#}"))?;
        let theatre = world.open(worlds::now()).await.map_err(|error| format!("{error:#}"))?;
        let mut args = theatre.args();
        if args.first().is_none_or(|command| command != "check") {
            return Ok(Vec::new());
        }
        for option in ["--only", "--skip", "--timeout", "--format"] {
            if let Some(at) = args.iter().position(|arg| arg == option) {
                args.drain(at..at + 2);
            }
        }
        args.extend(["--only", ONLY, "--timeout", "5s", "--format", "json"].map(str::to_owned));
        let mut program = worlds::program(&args, theatre.scratch());
        let output = tokio::task::spawn_blocking(move || program.output()).await??;
        let report: Value = serde_json::from_slice(&output.stdout)?;
        Ok(report["findings"].as_array().cloned().unwrap_or_default())
    })
}

fn sums_up(findings: &[Value]) -> Result<(), Failed> {
    let summaries = findings.iter().filter(|finding| word(finding, "check").starts_with("receiver."));
    for summary in summaries.filter(|summary| !word(summary, "subject").is_empty()) {
        match word(summary, "status") {
            "pass" => passes(findings, summary)?,
            "fail" | "warn" => fails(findings, summary)?,
            _ => {}
        }
    }
    Ok(())
}

/// Nothing that it rests on is open.
fn passes(findings: &[Value], summary: &Value) -> Result<(), Failed> {
    let (receiver, domain) = (word(summary, "check"), word(summary, "subject"));
    let about = |check: &'static str| {
        findings.iter().filter(move |finding| word(finding, "check") == check && is_about(finding, domain))
    };
    let of_address = |check: &'static str| findings.iter().filter(move |finding| word(finding, "check") == check);
    let is_reject = about("dmarc.record").any(|record| record["facts"]["policy"] == "reject");
    let keys = findings.iter().filter(|finding| {
        word(finding, "check") == "dkim.key" && word(finding, "subject").ends_with(&format!("._domainkey.{domain}"))
    });
    let has_key = keys.into_iter().any(|key| matches!(word(key, "status"), "pass" | "warn"));
    let mut rests_on: Vec<&Value> = about("dmarc.record").collect();
    rests_on.extend(about("dmarc.alignment").filter(|_| is_reject));
    match receiver {
        "receiver.standard" => rests_on.extend(of_address("bounce.mail-from").filter(|found| is_about(found, domain))),
        "receiver.microsoft" => {}
        _ => {
            rests_on.extend(of_address("hostname.ptr"));
            rests_on.extend(of_address("spf.sender").filter(|found| !has_key && is_about(found, domain)));
        }
    }
    let is_open =
        |finding: &&&Value| word(finding, "status") == "unknown" || word(finding, "message").contains("needs DNS");
    match rests_on.iter().find(is_open) {
        Some(open) => Err(format!("{receiver} {domain} passes, and is open: {open}").into()),
        None => Ok(()),
    }
}

/// Each of its causes is a finding that is not as it should be.
fn fails(findings: &[Value], summary: &Value) -> Result<(), Failed> {
    let causes = summary["facts"]["causes"].as_array().cloned().unwrap_or_default();
    if causes.is_empty() {
        return Err(format!("no cause: {summary}").into());
    }
    for cause in causes.iter().filter_map(Value::as_str) {
        let found =
            findings.iter().find(|finding| format!("{} {}", word(finding, "check"), word(finding, "subject")) == cause);
        let status = found.map_or("nothing", |finding| word(finding, "status"));
        if !matches!(status, "fail" | "warn") {
            return Err(format!("{cause} is {status}: {summary}").into());
        }
    }
    Ok(())
}

/// Whether the subject is the domain, or the domain and something behind a blank.
fn is_about(finding: &Value, domain: &str) -> bool {
    word(finding, "subject").split(' ').next() == Some(domain)
}

fn word<'a>(finding: &'a Value, key: &str) -> &'a str {
    finding[key].as_str().unwrap_or_default()
}
