//! What is said of the providers in the table. Their hosts are taken from it, and nobody is connected to: the checks of
//! the family ask nothing.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that panics has failed")]

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;

/// 2026-11-20 and 2027-02-01.
const BEFORE: u64 = 1_795_186_800;
const AFTER: u64 = 1_801_440_000;

/// The host of the service called `name`.
fn host(name: &str) -> String {
    checks::services().find(|service| service.name == name).unwrap_or_else(|| panic!("no service {name}")).example()
}

/// The findings of the family for a relay at `host`.
fn findings(host: &str, now: u64, more: &[&str]) -> Vec<Value> {
    let relay = format!("[{host}]:587");
    let mut program = Command::new(env!("CARGO_BIN_EXE_mail-preflight"));
    program.args(["check", "mail.example.com", "--only", "provider", "--format", "json", "--relay", &relay]);
    // Whoever asks DNS all the same asks nobody.
    program.args(["--resolver", "127.0.0.1:9", "--timeout", "2s"]).args(more);
    program.env_clear().env("SOURCE_DATE_EPOCH", now.to_string()).env("MAIL_PREFLIGHT_SASL_PASSWORD", "not-a-secret");
    let output = program.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    report["findings"].as_array().unwrap().clone()
}

/// The statuses of the family's checks in their order.
fn statuses(findings: &[Value]) -> Vec<&str> {
    findings.iter().map(|finding| finding["status"].as_str().unwrap()).collect()
}

const USER: [&str; 2] = ["--sasl-user", "alice"];

#[test]
fn every_service_is_recognised() {
    for service in checks::services() {
        let found = findings(&service.example(), BEFORE, &[]);
        assert_eq!(found[0]["status"], "pass", "{}", service.name);
        assert_eq!(found[0]["facts"]["service"], service.name);
        assert_eq!(found[0]["subject"], service.example());
    }
}

#[test]
fn the_day_of_basic_authentication_is_told_ahead() {
    let host = host("Exchange Online client submission");
    let before = findings(&host, BEFORE, &USER);
    assert_eq!(before[2]["status"], "warn");
    assert_eq!(before[2]["facts"]["days_left"], 41);
    assert!(before[2]["message"].as_str().unwrap().contains("end of December 2026: 41 days left"), "{}", before[2]);
    let after = findings(&host, AFTER, &USER);
    assert_eq!(after[2]["status"], "fail");
    assert!(after[2]["message"].as_str().unwrap().contains("off by default"), "{}", after[2]);
    assert_eq!(statuses(&findings(&host, AFTER, &[]))[2], "skip");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "not-a-token\n").unwrap();
    let token = ["--sasl-user", "alice", "--sasl-token-file", file.path().to_str().unwrap()];
    assert_eq!(statuses(&findings(&host, AFTER, &token))[2], "pass");
}

#[test]
fn what_leaves_on_a_day_is_held_against_the_limit() {
    for (name, per_day, status) in [
        ("Gmail", "1000", "pass"),
        ("Gmail", "1001", "warn"),
        ("Gmail", "2000", "warn"),
        ("Gmail", "2001", "fail"),
        ("Google Workspace SMTP relay", "2001", "pass"),
        ("Exchange Online client submission", "10001", "fail"),
        ("Amazon SES", "1000000", "skip"),
    ] {
        let found = findings(&host(name), BEFORE, &["--per-day", per_day]);
        assert_eq!(found[1]["status"], status, "{name} {per_day}");
    }
    assert_eq!(statuses(&findings(&host("Gmail"), BEFORE, &[]))[1], "skip");
}

#[test]
fn each_of_several_relays_is_judged() {
    let two = format!("{}]:587 [{}", host("Gmail"), host("SendGrid"));
    let found = findings(&two, BEFORE, &["--per-day", "5000"]);
    assert_eq!(statuses(&found), ["pass", "pass", "fail", "skip", "skip", "skip"]);
    let via = findings(&two, BEFORE, &["--only", "spf.sender", "--domain", "example.com"]);
    let senders = via.iter().filter(|finding| finding["check"] == "spf.sender");
    let subjects: Vec<&str> = senders.map(|finding| finding["subject"].as_str().unwrap()).collect();
    assert_eq!(subjects.len(), 2, "{subjects:?}");
}

/// Two hosts of one provider have one record.
#[test]
fn a_provider_with_two_hosts_is_asked_for_once() {
    let two =
        format!("{}]:587 [tenant.{}", host("Exchange Online client submission"), host("Exchange Online connector"));
    let via = findings(&two, BEFORE, &["--only", "spf.sender", "--domain", "example.com"]);
    assert_eq!(via.iter().filter(|finding| finding["check"] == "spf.sender").count(), 1);
}

/// What `tests/catalogue.rs` demands of the worlds of other families. That a relay is nobody's is no fault.
#[test]
fn every_check_passes_somewhere_and_does_not_elsewhere() {
    let runs = checks::services().flat_map(|service| {
        let more = |per_day| ["--sasl-user", "alice", "--per-day", per_day];
        [findings(&service.example(), BEFORE, &more("1")), findings(&service.example(), AFTER, &more("1000000000"))]
    });
    let mut seen = BTreeSet::new();
    for finding in runs.flatten() {
        seen.insert((finding["check"].as_str().unwrap().to_owned(), finding["status"].as_str().unwrap().to_owned()));
    }
    for check in checks::all().filter(|check| check.family() == "provider") {
        assert!(seen.contains(&(check.id.to_owned(), "pass".to_owned())), "{} never passes", check.id);
        let is_informative = check.id == "provider.known";
        let is_bad = ["warn", "fail"].iter().any(|status| seen.contains(&(check.id.to_owned(), (*status).to_owned())));
        assert!(is_bad || is_informative, "{} always passes", check.id);
    }
}
