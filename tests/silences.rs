//! Each question of an audit that is answered well is left unanswered in turn: a timeout, SERVFAIL, REFUSED, and in rotation
//! all the other replies that are no answer. What could not be found out is then unknown; nothing is called wrong, or missing,
//! or right, that was not so before.

#![allow(clippy::indexing_slicing, reason = "a missing member of a JSON value is null")]
#![allow(clippy::panic, reason = "a world that cannot be opened ends the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use fixtures::World;
use libtest_mimic::{Arguments, Failed, Trial, run};
use serde_json::Value;

#[path = "support/worlds.rs"]
mod worlds;

/// More than there are cores: most of these audits wait.
const THREADS: usize = 12;

/// Audits of everything, of everything without a selector under `p=reject`, and of a message.
const WORLDS: [&str; 5] = [
    "demo/healthy",
    "hostname/sends-directly-and-all-is-well",
    "dkim/several-domains-audited-end-to-end",
    WITHOUT_SELECTOR,
    "dkim/message-that-verifies",
];

/// Here the mismatches have their turn; what is behind them is a timeout.
const WITHOUT_SELECTOR: &str = "receiver/audited-without-a-selector";

/// The ways of a DNS server to say nothing, as stage directions.
const SILENCES: [&str; 3] = ["timeout", "servfail", "refused"];

/// Replies that leave the question open, and are not waited behind: one of them for each question. Without the upper bits
/// of its code (RFC 6891 section 6.1.3) BADVERS is NOERROR, and 19 NXDOMAIN.
const REPLIES: [&str; 8] =
    ["badvers", "rcode 1", "rcode 4", "rcode 19", "truncate-tcp", "rcode 4080", "malformed", "rcode 9"];

/// Replies to something else, behind which the right one may come (RFC 5452 section 9.1).
const MISMATCHES: [&str; 9] = [
    "no-question",
    "empty",
    "wrong-class",
    "wrong-opcode",
    "wrong-type",
    "wrong-id",
    "not-a-response",
    "two-questions",
    "garbage",
];

/// What a server is known to say nothing by, in the words of a report.
const ABSENCES: [&str; 4] = ["does not exist", "NXDOMAIN", "record at", "no address"];

fn main() -> ExitCode {
    let full = worlds::all().into_iter().filter(|(world, _)| WORLDS.contains(&world.as_str()));
    let trials = full.flat_map(|(world, folder)| {
        let (before, questions) =
            audited(&folder).unwrap_or_else(|why| panic!("{world}: {}", why.message().unwrap_or_default()));
        let silenced = questions.into_iter().enumerate().flat_map(|(number, question)| {
            ways(&world, number).into_iter().map(move |silence| (question.clone(), silence))
        });
        let trials = silenced.map(|(question, silence)| {
            let (folder, before) = (folder.clone(), before.clone());
            let name = format!("{world} {silence} {question}");
            Trial::test(name, move || nothing_is_made_up(&folder, &before, silence, &question))
        });
        trials.collect::<Vec<_>>()
    });
    let trials = trials.collect();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    run(&arguments, trials).exit_code()
}

/// How the question of this number is left unanswered. What makes the program wait costs seconds, so here and there only.
fn ways(world: &str, number: usize) -> Vec<&'static str> {
    let reply = REPLIES[number % REPLIES.len()];
    match world {
        WITHOUT_SELECTOR => {
            let mismatches = MISMATCHES.iter().cycle().skip(2 * number).take(2);
            ["servfail", "refused", reply].into_iter().chain(mismatches.copied()).collect()
        }
        _ => SILENCES.into_iter().chain([reply]).collect(),
    }
}

/// A finding's verdict and sentence, by its key.
type Findings = BTreeMap<(String, String), (String, String)>;

fn nothing_is_made_up(folder: &Path, before: &Findings, silence: &str, question: &str) -> Result<(), Failed> {
    let world = tempfile::tempdir()?;
    for file in files(folder)? {
        fs::copy(&file, world.path().join(file.file_name().unwrap_or_default()))?;
    }
    let zone = fs::read_to_string(folder.join("zone"))?;
    fs::write(world.path().join("zone"), format!(";! {silence} {question}\n{zone}"))?;
    let (after, _) = audited(world.path())?;
    for (key, (status, message)) in &after {
        let (was, said) = before.get(key).map_or(("", ""), |(status, message)| (status, message));
        if status == was {
            continue;
        }
        // The one login of a run is tried elsewhere where an address is not known.
        let is_silent = status == "warn" && key.1.contains(" ipv");
        let is_open = matches!(status.as_str(), "unknown" | "skip") || is_silent || key.0 == "sasl.login";
        let claims = ABSENCES.iter().any(|absence| message.contains(absence) && !said.contains(absence));
        if !is_open || claims {
            return Err(format!("{key:?}: {status}: {message} (before: {was}: {said})").into());
        }
    }
    let count = |findings: &Findings, wanted: &str| findings.values().filter(|(status, _)| status == wanted).count();
    let has_silent_family = after.keys().any(|key| !before.contains_key(key) && key.1.contains(" ipv"));
    let is_told = count(&after, "unknown") > count(before, "unknown") || has_silent_family;
    match is_told || count(&after, "pass") >= count(before, "pass") {
        true => Ok(()),
        false => Err("something passes no more, and nothing is unknown".into()),
    }
}

/// What the program finds in a world, and the questions it asks there, `NAME TYPE`.
fn audited(folder: &Path) -> Result<(Findings, BTreeSet<String>), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let world = World::read(folder).map_err(|error| format!("{error:#}"))?;
        let theatre = world.open(worlds::now()).await.map_err(|error| format!("{error:#}"))?;
        let args: Vec<String> =
            theatre.args().into_iter().chain(["--format=json", "--timeout=3s"].map(str::to_owned)).collect();
        let mut program = worlds::program(&args, theatre.scratch());
        let output = tokio::task::spawn_blocking(move || program.output()).await??;
        let report: Value = serde_json::from_slice(&output.stdout)?;
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let findings = report["findings"].as_array().into_iter().flatten().map(|finding| {
            (
                (word(&finding["check"]), word(&finding["subject"])),
                (word(&finding["status"]), word(&finding["message"])),
            )
        });
        let questions = theatre.questions().into_iter().filter_map(|line| Some(line.split_once(' ')?.1.to_owned()));
        Ok((findings.collect(), questions.collect()))
    })
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    Ok(fs::read_dir(folder)?.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect())
}
