//! Every folder `fixtures/<family>/<what-happened>/` is a test: the world is served, the real binary audits it.
//!
//! `BLESS=1` rewrites the reports.

#![allow(clippy::indexing_slicing, reason = "a missing member of a JSON value is null")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    process::{ExitCode, Output},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use fixtures::{Theatre, World};
use libtest_mimic::{Arguments, Failed, Trial, run};
use serde_json::Value;

#[path = "support/leaks.rs"]
mod leaks;
#[path = "support/worlds.rs"]
mod worlds;

/// More than there are cores: the worlds that take long are those that wait.
const THREADS: usize = 8;

/// Stage directions after which the program has to ask again.
const PROVOCATIONS: [&str; 17] = [
    "timeout",
    "servfail",
    "refused",
    "truncate",
    "truncate-tcp",
    "rcode",
    "badvers",
    "malformed",
    "garbage",
    "bogus",
    "wrong-id",
    "wrong-opcode",
    "wrong-class",
    "wrong-type",
    "two-questions",
    "no-question",
    "empty",
];

fn main() -> ExitCode {
    let trials = worlds::all().into_iter().map(|(name, folder)| Trial::test(name, move || scenario(&folder)));
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    run(&arguments, trials.collect()).exit_code()
}

fn scenario(folder: &Path) -> Result<(), Failed> {
    let world = World::read(folder).map_err(|error| format!("{error:#}"))?;
    let table = play(&world, folder, &["--color", "never"])?;
    let json = play(&world, folder, &["--format", "json"])?;
    if is_login(folder)? {
        play(&world, folder, &["--color", "always", "--verbose"])?;
    }
    let report: Value = serde_json::from_str(&json.report)?;
    expect(expected_code(&report, &json.args) == json.code, &format!("exit code {} for this report", json.code))?;
    expect(table.code == json.code, &format!("exit code {} as a table, {} as JSON", table.code, json.code))?;
    expect_unique_keys(&report)?;
    expect_promises(folder, &report, json.code)?;
    compare(&folder.join("report.txt"), &table.report)?;
    compare(&folder.join("report.json"), &json.report)
}

/// Whether there is a secret that the table with all evidence could show.
fn is_login(folder: &Path) -> Result<bool, Failed> {
    Ok(fs::read_to_string(folder.join("args"))?.contains("--sasl-"))
}

/// What a user saw of one run.
struct Run {
    args: Vec<String>,
    report: String,
    code: i32,
}

/// Opens the world anew, runs the program in it, and looks at everything that no world allows.
fn play(world: &World, folder: &Path, format: &[&str]) -> Result<Run, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let theatre = world.open(worlds::now()).await.map_err(|error| format!("{error:#}"))?;
        let args: Vec<String> = theatre.args().into_iter().chain(format.iter().map(|arg| (*arg).to_owned())).collect();
        let mut program = worlds::program(&args, theatre.scratch());
        let output = tokio::task::spawn_blocking(move || program.output()).await??;
        theatre.settled().await;
        expect_discretion(&theatre, &output)?;
        let report = String::from_utf8(output.stdout)?;
        expect_manners(&theatre, folder, &args, &report)?;
        if !provokes(folder, &report)? {
            expect_no_question_twice(&theatre)?;
        }
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        expect(complaint.is_empty(), &format!("stderr: {complaint}"))?;
        let code = output.status.code().ok_or_else(|| format!("ended by {}", output.status))?;
        Ok(Run { report: settled(report, &theatre, &args), args, code })
    })
}

/// The report without what differs from run to run: where on loopback the world is served, the scratch directory, and
/// the digests of certificates.
fn settled(report: String, theatre: &Theatre, args: &[String]) -> String {
    let resolver = theatre.resolver();
    let mut settled = report
        .replace(&format!("@{} -p {}", resolver.ip(), resolver.port()), "@RESOLVER")
        .replace(&theatre.scratch().display().to_string(), "SCRATCH");
    for (record, placeholder) in theatre.digests() {
        settled = settled.replace(record, placeholder).replace(&as_dig_prints(record), placeholder);
    }
    // In a table the digits may stand on a line of their own.
    for (record, placeholder) in theatre.digests() {
        settled = settled.replace(record.rsplit(' ').next().unwrap_or_default(), placeholder);
    }
    let redirects = args.iter().zip(args.iter().skip(1)).filter(|(option, _)| *option == "--connect-to");
    for (_, redirect) in redirects {
        let mut fields = redirect.rsplitn(3, ':');
        if let (Some(port), Some(address), Some(nominal)) = (fields.next(), fields.next(), fields.next()) {
            settled = settled.replace(&format!("{address}:{port}"), nominal);
        }
    }
    settled
}

/// One connection an address and one AUTH a run; `--tls-probe` asks for more connections, and a handshake that failed
/// may be followed by one.
fn expect_manners(theatre: &Theatre, folder: &Path, args: &[String], report: &str) -> Result<(), Failed> {
    let logins = theatre.dialogues().iter().filter(|line| line.contains(": AUTH")).count();
    expect(logins <= 1, &format!("{logins} times AUTH"))?;
    if args.iter().any(|arg| arg == "--tls-probe") {
        return Ok(());
    }
    let mut connected = BTreeMap::new();
    for endpoint in theatre.connections() {
        *connected.entry(endpoint).or_insert(0) += 1;
    }
    let most = if is_handshake_faulted(report) || has_foreign_tls(folder)? { 2 } else { 1 };
    match connected.iter().find(|(_, times)| **times > most) {
        Some((endpoint, times)) => Err(format!("connected {times} times: {endpoint}").into()),
        None => Ok(()),
    }
}

/// Whether a relay of the world speaks a TLS that is not ours.
fn has_foreign_tls(folder: &Path) -> Result<bool, Failed> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "relay") && fs::read_to_string(&path)?.contains(" only=") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether `tls.version` is no plain pass somewhere in a report of either format.
fn is_handshake_faulted(report: &str) -> bool {
    let is_good = |status: &str| status == "pass" || status == "skip";
    match serde_json::from_str::<Value>(report) {
        Ok(json) => {
            let mut findings = json["findings"].as_array().into_iter().flatten();
            findings
                .any(|finding| finding["check"] == "tls.version" && !is_good(finding["status"].as_str().unwrap_or("")))
        }
        Err(_) => report.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next().is_some_and(|status| !is_good(status)) && words.next() == Some("tls.version")
        }),
    }
}

/// `3 1 1 8cb0…` with capitals and a blank after every 56 digits.
fn as_dig_prints(record: &str) -> String {
    let (kind, digits) = record.split_at(record.rfind(' ').map_or(0, |at| at + 1));
    let digits = digits.to_uppercase().into_bytes();
    let parts: Vec<_> = digits.chunks(56).map(String::from_utf8_lossy).collect();
    format!("{kind}{}", parts.join(" "))
}

/// No password, no token and no private key in any output, and nothing that was made of one.
fn expect_discretion(theatre: &Theatre, output: &Output) -> Result<(), Failed> {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said);
    for name in ["password-file", "wrong-password-file", "token-file"] {
        let secret = fs::read_to_string(theatre.scratch().join(name))?;
        if let Some(trace) = leaks::leak(secret.trim_end(), &said) {
            return Err(format!("the secret of {name} is in the output, as {trace}").into());
        }
    }
    // The seed of an Ed25519 key ends its PKCS #8 (RFC 8410 section 7).
    let key = fs::read_to_string(theatre.scratch().join("dkim-key"))?;
    let der = STANDARD.decode(key.lines().nth(1).unwrap_or_default())?;
    let seed = String::from_utf8(der[der.len() - 32..].to_vec())?;
    if let Some(trace) = leaks::leak(&seed, &said) {
        return Err(format!("the secret of dkim-key is in the output, as {trace}").into());
    }
    // What is shorter is found by chance.
    for derived in theatre.exchanged().iter().filter(|derived| derived.len() >= 8) {
        if let Some(trace) = leaks::leak(derived, &said) {
            return Err(format!("what was made of a secret is in the output, as {trace}").into());
        }
    }
    Ok(())
}

/// Whether the world makes the program ask again: a retransmission and a TCP retry are no second question.
fn provokes(folder: &Path, report: &str) -> Result<bool, Failed> {
    let zone = fs::read_to_string(folder.join("zone"))?;
    let mut directions = zone.lines().filter_map(|line| line.trim_start().strip_prefix(";!"));
    let is_provocation = |words: &str| words.split_whitespace().any(|word| PROVOCATIONS.contains(&word));
    Ok(directions.any(is_provocation) || report.contains("SERVFAIL"))
}

/// Each question once a run.
fn expect_no_question_twice(theatre: &Theatre) -> Result<(), Failed> {
    let mut asked = BTreeSet::new();
    match theatre.questions().into_iter().find(|question| !asked.insert(question.to_lowercase())) {
        Some(question) => Err(format!("asked twice: {question}").into()),
        None => Ok(()),
    }
}

/// What `args` says in its comments, written before the program was asked: `# expects: CHECK SUBJECT STATUS`, and
/// `# exits: CODE`. A warning, a failure or an unknown that nobody promised breaks the promise too.
fn expect_promises(folder: &Path, report: &Value, code: i32) -> Result<(), Failed> {
    let args = fs::read_to_string(folder.join("args"))?;
    let mut promised = BTreeSet::new();
    for promise in args.lines().filter_map(|line| line.strip_prefix("# expects:")) {
        let words: Vec<&str> = promise.split_whitespace().collect();
        let [check, subject @ .., status] = words.as_slice() else { return Err(format!("odd: {promise}").into()) };
        let subject = Some(subject.join(" ")).filter(|subject| !subject.is_empty());
        let is_meant =
            |finding: &&Value| finding["check"] == *check && finding["subject"].as_str() == subject.as_deref();
        let found = report["findings"].as_array().into_iter().flatten().find(is_meant);
        let seen = found.map_or("nothing", |finding| finding["status"].as_str().unwrap_or_default());
        expect(seen == *status, &format!("expected{promise}, seen: {seen}"))?;
        promised.insert((*check, subject));
    }
    for finding in report["findings"].as_array().into_iter().flatten() {
        let (check, status) = (finding["check"].as_str().unwrap_or_default(), &finding["status"]);
        let subject = finding["subject"].as_str().map(str::to_owned);
        let is_quiet = status == "pass" || status == "skip";
        let promise = format!("# expects: {check} {} {status}", subject.as_deref().unwrap_or_default());
        expect(is_quiet || promised.contains(&(check, subject)), &format!("nobody promised {promise}"))?;
    }
    for promised in args.lines().filter_map(|line| line.strip_prefix("# exits:")) {
        expect(promised.trim() == code.to_string(), &format!("expected exit {}, seen: {code}", promised.trim()))?;
    }
    Ok(())
}

/// Check and subject are the key of a finding.
fn expect_unique_keys(report: &Value) -> Result<(), Failed> {
    let mut keys = BTreeSet::new();
    for finding in report["findings"].as_array().into_iter().flatten() {
        let key = (finding["check"].as_str(), finding["subject"].as_str());
        expect(keys.insert(key), &format!("two findings of {key:?}"))?;
    }
    Ok(())
}

fn expected_code(report: &Value, args: &[String]) -> i32 {
    let count = |status: &str| report["counts"][status].as_u64().unwrap_or_default();
    let is_strict = args.iter().any(|arg| arg == "--strict");
    if count("fail") > 0 || (is_strict && count("warn") > 0) {
        1
    } else if count("unknown") > 0 {
        3
    } else {
        0
    }
}

fn compare(file: &Path, seen: &str) -> Result<(), Failed> {
    if env::var_os("BLESS").is_some() {
        return Ok(fs::write(file, seen)?);
    }
    let expected =
        fs::read_to_string(file).map_err(|error| format!("{}: {error}; 'just bless' writes it", file.display()))?;
    if expected == seen {
        return Ok(());
    }
    let diff = similar::TextDiff::from_lines(&expected, seen);
    Err(format!("{}\n{}", file.display(), diff.unified_diff().header("expected", "seen")).into())
}

fn expect(is_so: bool, otherwise: &str) -> Result<(), Failed> {
    if is_so { Ok(()) } else { Err(otherwise.to_owned().into()) }
}
