//! Every zone line that a report prints as a fix is published in its world, and the world is audited again: it passes.

#![allow(clippy::indexing_slicing, reason = "a missing member of a JSON value is null")]

use std::{fs, path::Path, process::ExitCode};

use fixtures::World;
use libtest_mimic::{Arguments, Failed, Trial, run};
use serde_json::Value;

#[path = "support/worlds.rs"]
mod worlds;

/// More than there are cores: the worlds that take long are those that wait.
const THREADS: usize = 8;

fn main() -> ExitCode {
    let fixed = worlds::all().into_iter().flat_map(|(name, folder)| {
        let report = fs::read_to_string(folder.join("report.json")).unwrap_or_default();
        let report: Value = serde_json::from_str(&report).unwrap_or_default();
        let findings = report["findings"].as_array().cloned().unwrap_or_default();
        let with_fix = findings.into_iter().filter(|finding| finding["fix"]["kind"] == "zone");
        let trial = move |finding: Value| {
            let folder = folder.clone();
            let named = format!("{name} {} {}", word(&finding["check"]), word(&finding["subject"]));
            Trial::test(named, move || passes_with_its_fix(&folder, &finding))
        };
        with_fix.map(trial).collect::<Vec<_>>()
    });
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    run(&arguments, fixed.collect()).exit_code()
}

fn passes_with_its_fix(folder: &Path, finding: &Value) -> Result<(), Failed> {
    let copy = tempfile::tempdir()?;
    for entry in fs::read_dir(folder)?.flatten().filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
    }
    let fix = word(&finding["fix"]["text"]);
    let zone = fs::read_to_string(folder.join("zone"))?;
    fs::write(copy.path().join("zone"), published(&zone, &fix))?;
    let report = audited(copy.path())?;
    let is_same = |other: &&Value| other["check"] == finding["check"] && other["subject"] == finding["subject"];
    match report["findings"].as_array().into_iter().flatten().find(is_same) {
        Some(again) if again["status"] == "pass" => Ok(()),
        other => Err(format!("with the fix\n{fix}\nthe finding is {other:#?}").into()),
    }
}

fn audited(folder: &Path) -> Result<Value, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let world = World::read(folder).map_err(|error| format!("{error:#}"))?;
        let theatre = world.open(worlds::now()).await.map_err(|error| format!("{error:#}"))?;
        let args: Vec<String> = theatre.args().into_iter().chain(["--format=json".to_owned()]).collect();
        let mut program = worlds::program(&args, theatre.scratch());
        let output = tokio::task::spawn_blocking(move || program.output()).await??;
        Ok(serde_json::from_slice(&output.stdout)?)
    })
}

/// The zone with the fix's lines in place of what they replace: SPF records, PTR and MX records of the same owner,
/// TXT records below a label with an underscore. What provokes a fault stays.
fn published(zone: &str, fix: &str) -> String {
    let replaced: Vec<(String, String)> = fix.lines().filter_map(|line| owner_and_type(line, "", ".")).collect();
    let (mut origin, mut owner, mut is_inside, mut is_dropped) = (".".to_owned(), String::new(), false, false);
    let mut lines = Vec::new();
    for line in zone.lines() {
        if let Some(named) = line.strip_prefix("$ORIGIN") {
            named.trim().clone_into(&mut origin);
        }
        let found = owner_and_type(line, &owner, &origin).filter(|_| !is_inside);
        let was_inside = is_inside;
        is_inside = (is_inside || line.contains('(')) && !line.contains(')');
        let Some(found) = found else {
            if !(was_inside && is_dropped) {
                lines.push(line.to_owned());
            }
            continue;
        };
        owner.clone_from(&found.0);
        let is_other_text =
            found.1 == "TXT" && !found.0.contains('_') && !is_inside && !line.to_ascii_lowercase().contains("v=spf1");
        is_dropped = replaced.contains(&found) && !is_other_text && !matches!(found.1.as_str(), "A" | "AAAA");
        if !is_dropped {
            let data = line.trim_start_matches(|c: char| !c.is_whitespace());
            lines.push(format!("{owner}. {data}"));
        }
    }
    format!("{}\n$ORIGIN .\n{fix}\n", lines.join("\n"))
}

/// The owner, absolute and in lower case, and the type of a record's first line; `last` is the owner of the line before.
fn owner_and_type(line: &str, last: &str, origin: &str) -> Option<(String, String)> {
    let line = line.split(';').next().filter(|line| !line.trim().is_empty() && !line.starts_with('$'))?;
    let mut words = line.split_whitespace();
    let owner = if line.starts_with(char::is_whitespace) { format!("{last}.") } else { words.next()?.to_owned() };
    let owner = match owner.as_str() {
        "@" => origin.to_owned(),
        relative if !relative.ends_with('.') => format!("{relative}.{}", origin.trim_start_matches('.')),
        absolute => absolute.to_owned(),
    };
    let rtype = words.find(|word| !word.eq_ignore_ascii_case("IN") && word.parse::<u32>().is_err())?;
    Some((owner.trim_end_matches('.').to_ascii_lowercase(), rtype.to_ascii_uppercase()))
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
