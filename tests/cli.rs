//! The promises of the command line: bad input, exit codes, where the report goes, and that no secret goes anywhere.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::{
    fs,
    io::{Read, Write},
    process::{Command, Output, Stdio},
    time::{Duration, UNIX_EPOCH},
};

use fixtures::{Theatre, World};
use serde_json::Value;
use tempfile::TempDir;

#[path = "support/leaks.rs"]
mod leaks;

/// 2026-11-20T15:00:00Z.
const NOW: u64 = 1_795_186_800;

/// No DNS server listens here; what is refused needs no answer.
const NOBODY: [&str; 4] = ["--resolver", "127.0.0.1:1", "--timeout", "5s"];

fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_mail-preflight"));
    program.env_clear().stdin(Stdio::null());
    program
}

fn ran(args: &[&str]) -> Output {
    program().args(args).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Exit code 2, nothing on stdout, and one line on stderr that names what was wrong.
fn assert_refused(output: &Output, culprit: &str, args: &[&str]) {
    let said = stderr(output);
    assert_eq!(code(output), 2, "{args:?}: {said}");
    assert_eq!(stdout(output), "", "{args:?}");
    assert!(said.starts_with("mail-preflight: ") && said.ends_with('\n'), "{args:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
    assert!(!said.trim_end().contains(char::is_control), "{args:?}: {said:?}");
    assert!(said.contains(culprit), "{args:?}: {said}");
}

#[test]
fn bad_input_is_one_line_and_exit_code_2() {
    let scratch = TempDir::new().unwrap();
    let file = |name: &str, text: &[u8]| {
        let path = scratch.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let empty = file("empty", b"");
    let blank = file("blank", b"\nsecret\n");
    let binary = file("binary", b"\xff\xfe\n");
    let no_certificate = file("no-certificate", b"-----BEGIN NOTHING-----\n");
    let token = file("token", b"opaque-token\n");
    let folder = scratch.path().display().to_string();
    let label = format!("{}.example.com", "a".repeat(64));
    let name = ["abcdefg"; 32].join(".");
    let relay = "[smtp.example.net]:587";
    let cases: &[(&[&str], &str)] = &[
        (&[], "subcommand"),
        (&["chek"], "'check'"),
        (&["check"], "HOSTNAME"),
        (&["check", "--foo", "mail.example.com"], "--foo"),
        (&["check", "--formt", "json"], "'--format'"),
        (&["check", "mail.example.com", "extra"], "extra"),
        (&["check", ""], "is empty"),
        (&["check", "a..example"], "a..example"),
        (&["check", &label], "64 octets"),
        (&["check", &name], "253"),
        (&["check", "mail .example"], "mail .example"),
        (&["check", "mail\n.example"], "HOSTNAME"),
        (&["check", "mail\u{1b}[2J.example"], "HOSTNAME"),
        (&["check", "m.example.com", "--domain", "a..b"], "a..b"),
        (&["check", "m.example.com", "--domain", "me@example.com"], "me@example.com"),
        (&["check", "m.example.com", "--mail-from", ""], "--mail-from"),
        (&["check", "m.example.com", "--ip", "192.0.2.256"], "192.0.2.256"),
        (&["check", "m.example.com", "--ip", "mail.example.com"], "--ip"),
        (&["check", "m.example.com", "--ip"], "--ip"),
        (&["check", "m.example.com", "--protocols", "ipv5"], "ipv5"),
        (&["check", "m.example.com", "--selector", "a b"], "a b"),
        (&["check", "m.example.com", "--selector", "s@a..b"], "a..b"),
        (&["check", "--relay", "[smtp.example.net"], "[smtp.example.net"),
        (&["check", "--relay", "smtp.example.net:99999"], "99999"),
        (&["check", "--relay", ""], "--relay"),
        (&["check", "--relay", relay, "--tls-level", "tls"], "tls"),
        (&["check", "--relay", relay, "--ca-file", "/nonexistent/ca.pem"], "/nonexistent/ca.pem"),
        (&["check", "--relay", relay, "--ca-file", &no_certificate], &no_certificate),
        (&["check", "--relay", relay, "--ca-file", &empty], &empty),
        (&["check", "--relay", relay, "--ca-file", &folder], &folder),
        (&["check", "--relay", relay, "--ca-path", "/nonexistent"], "/nonexistent"),
        (&["check", "--relay", relay, "--connect-to", "smtp.example.net:587"], "smtp.example.net:587"),
        (&["check", "--relay", relay, "--tls-level", "fingerprint"], "--tls-match"),
        (&["check", "--relay", relay, "--tls-match", "nexthop"], "level encrypt has no match list"),
        (&["check", "--relay", relay, "--tls-level", "fingerprint", "--tls-match", "0102"], "a digest of 2 octets"),
        (&["check", "m.example.com", "--sasl-user", "alice"], "--relay"),
        (&["check", "--relay", relay, "--sasl-user", "alice"], "--sasl-password-file"),
        (&["check", "--relay", relay, "--sasl-user", "alice", "--sasl-password-file", &empty], &empty),
        (&["check", "--relay", relay, "--sasl-user", "alice", "--sasl-password-file", &blank], &blank),
        (&["check", "--relay", relay, "--sasl-user", "alice", "--sasl-password-file", &binary], &binary),
        (&["check", "--relay", relay, "--sasl-user", "alice", "--sasl-password-file", "/nonexistent"], "/nonexistent"),
        (&["check", "--relay", relay, "--sasl-user", "alice", "--sasl-token-file", &empty], &empty),
        (&["check", "--relay", relay, "--sasl-user", "alice", "--sasl-mechanism", "CRAM-MD5"], "PLAIN, LOGIN, XOAUTH2"),
        (&["check", "--relay", relay, "--sasl-user", "alice", "--sasl-mechanism", "XOAUTH2"], "--sasl-token-file"),
        (
            &["check", "--relay", relay, "--sasl-user", "a", "--sasl-token-file", &token, "--sasl-mechanism", "PLAIN"],
            "--sasl-password-file",
        ),
        (&["check", "--relay", relay, "--sasl-password-file", &token], "--sasl-user"),
        (&["check", "--relay", relay, "--sasl-password", "hunter2"], "--sasl-password-file"),
        (&["check", "m.example.com", "--resolver", "dns.example"], "dns.example"),
        (&["check", "m.example.com", "--resolver", "192.0.2.53:0"], "192.0.2.53:0"),
        (&["check", "m.example.com", "--timeout", "soon"], "soon"),
        (&["check", "m.example.com", "--timeout", "9999999y"], "--timeout"),
        (&["check", "m.example.com", "--format", "xml"], "table, json"),
        (&["check", "m.example.com", "--color", "blue"], "blue"),
        (&["check", "m.example.com", "--output", "/nonexistent/report"], "/nonexistent/report"),
        (&["check", "m.example.com", "--output", &folder], &folder),
        (&["check", "m.example.com", "--only", "hostnam"], "did you mean hostname"),
        (&["check", "m.example.com", "--skip", "hostname.pt"], "hostname.ptr"),
        (&["check", "m.example.com", "--only", "hostname", "--skip", "hostname"], "nothing to check"),
        (&["demo", "nothing"], "healthy, broken"),
        (&["explain"], "CHECK"),
        (&["explain", "hostname.pt"], "hostname.ptr"),
    ];
    for (args, culprit) in cases {
        assert_refused(&ran(args), culprit, args);
    }
}

#[test]
fn a_typed_password_is_not_repeated() {
    for args in [
        &["check", "--relay", "[smtp.example.net]", "--sasl-password", "hunter2hunter2"][..],
        &["check", "--relay", "[smtp.example.net]", "--sasl-password=hunter2hunter2"][..],
    ] {
        assert_eq!(leaks::leak("hunter2hunter2", &stderr(&ran(args))), None);
    }
}

#[test]
fn a_bad_environment_is_refused() {
    for (variable, value) in [
        ("SOURCE_DATE_EPOCH", "yesterday"),
        ("SOURCE_DATE_EPOCH", ""),
        ("SOURCE_DATE_EPOCH", "-1"),
        ("SOURCE_DATE_EPOCH", "18446744073709551615"),
        ("MAIL_PREFLIGHT_SASL_PASSWORD", ""),
    ] {
        let args = ["check", "--relay", "[smtp.example.net]:587", "--sasl-user", "alice"];
        let output = program().args(args).args(NOBODY).env(variable, value).output().unwrap();
        assert_refused(&output, variable, &[variable, value]);
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [&["--help"][..], &["--version"], &["check", "--help"], &["demo", "-h"], &["help", "check"]] {
        let output = ran(args);
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{args:?}");
        assert!(stdout(&output).contains("mail-preflight"), "{args:?}");
    }
}

#[test]
fn every_check_is_listed_and_explained() {
    let output = ran(&["list"]);
    assert_eq!(code(&output), 0);
    let listed: Vec<String> =
        stdout(&output).lines().filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect();
    assert_eq!(listed, checks::all().map(|check| check.id).collect::<Vec<_>>());
    for check in checks::all() {
        let explained = stdout(&ran(&["explain", check.id]));
        for part in [check.id, check.title(), "\nFix\n", check.reference] {
            assert!(explained.contains(part), "{}: {part:?} is not in\n{explained}", check.id);
        }
    }
    let family = stdout(&ran(&["explain", "hostname"]));
    for check in checks::all() {
        assert_eq!(family.contains(check.title()), check.family() == "hostname", "{}", check.id);
    }
}

#[test]
fn the_demo_says_how_it_went() {
    for (world, expected, conclusion) in [("healthy", 0, ": ready"), ("broken", 1, ": not ready")] {
        let table = ran(&["demo", world]);
        assert_eq!((code(&table), stderr(&table).as_str()), (expected, ""), "{world}: {}", stdout(&table));
        assert!(stdout(&table).lines().last().unwrap().contains(conclusion), "{world}: {}", stdout(&table));
        let json = ran(&["demo", world, "--format", "json"]);
        let report: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!((code(&json), report["version"].as_u64()), (expected, Some(1)), "{world}");
    }
    assert_eq!(
        stdout(&ran(&["demo", "--only", "hostname.fqdn"])),
        stdout(&ran(&["demo", "healthy", "--only", "hostname.fqdn"]))
    );
}

#[test]
fn silence_is_exit_code_3_and_a_warning_fails_only_if_strict() {
    let silent = ran(&[&["check", "mail.example.com", "--only", "hostname.alias"], &NOBODY[..]].concat());
    assert_eq!(code(&silent), 3, "{}", stdout(&silent));
    assert!(stdout(&silent).contains("1 unknown: could not find out everything"), "{}", stdout(&silent));

    let named = ["check", "mail.lan", "--relay", "[192.0.2.25]", "--only", "hostname.fqdn"];
    let lenient = ran(&[&named[..], &NOBODY].concat());
    assert_eq!(code(&lenient), 0, "{}", stdout(&lenient));
    assert!(stdout(&lenient).contains("1 warn: ready, with warnings"), "{}", stdout(&lenient));
    assert_eq!(code(&ran(&[&named[..], &NOBODY, &["--strict"]].concat())), 1);

    let failing = ran(&[&["check", "localhost", "--only", "hostname.fqdn"], &NOBODY[..]].concat());
    assert_eq!(code(&failing), 1);
    assert!(stdout(&failing).contains("1 fail: not ready"), "{}", stdout(&failing));
}

#[test]
fn the_default_domain_and_what_is_typed_twice() {
    let target = |args: &[&str]| {
        let args = [&["check", "--only", "hostname.fqdn", "--format", "json"], args, &NOBODY].concat();
        let report: Value = serde_json::from_slice(&ran(&args).stdout).unwrap();
        report["target"].clone()
    };
    assert_eq!(target(&["Mail.Example.com."])["hostname"], "mail.example.com");
    assert_eq!(target(&["mail.example.com"])["domains"], serde_json::json!(["example.com"]));
    assert_eq!(target(&["mail.co.uk"])["domains"], serde_json::json!(["mail.co.uk"]));
    assert_eq!(target(&["192.0.2.1"])["domains"], serde_json::json!([]));
    let twice = target(&["m.example.com", "--domain", "b.example", "--domain", "a.example", "--domain", "B.example."]);
    assert_eq!(twice["domains"], serde_json::json!(["b.example", "a.example"]));
    let twice = target(&["m.example.com", "--ip", "2001:db8::1", "--ip", "2001:DB8:0::1", "--ip", "192.0.2.1"]);
    assert_eq!(twice["addresses"], serde_json::json!(["2001:db8::1", "192.0.2.1"]));
    let relay = target(&["--relay", "smtp.example.net:submission"]);
    assert_eq!((&relay["relay"], &relay["topology"]), (&"smtp.example.net:587".into(), &"relay".into()));
    assert_eq!(relay.get("hostname"), None);
}

#[test]
fn the_report_goes_into_a_file() {
    let scratch = TempDir::new().unwrap();
    let file = scratch.path().join("report");
    fs::write(&file, "what was there before, and longer than any report\n".repeat(1000)).unwrap();
    let args = ["demo", "broken", "--format", "json", "--output", file.to_str().unwrap()];
    let output = ran(&args);
    assert_eq!((code(&output), stdout(&output).as_str()), (1, ""));
    let report: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(report["status"], "fail");
}

#[test]
fn a_closed_pipe_is_no_error() {
    for args in [&["demo"][..], &["list"], &["explain", "hostname"], &["demo", "--format", "json"]] {
        let mut child = program().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{args:?}");
    }
}

#[test]
fn the_table_fits_its_width_and_is_coloured_on_demand() {
    for columns in ["60", "80", "100", "160"] {
        let output = program().args(["demo"]).env("COLUMNS", columns).output().unwrap();
        let widest = stdout(&output).lines().map(|line| line.chars().count()).max();
        assert_eq!(widest, columns.parse().ok(), "{}", stdout(&output));
    }
    let coloured = |args: &[&str], no_color: &str| {
        let mut program = program();
        program.args(["demo", "broken"]).args(args);
        if !no_color.is_empty() {
            program.env("NO_COLOR", no_color);
        }
        stdout(&program.output().unwrap()).contains('\u{1b}')
    };
    assert!(!coloured(&[], ""));
    assert!(!coloured(&["--color", "never"], ""));
    assert!(coloured(&["--color", "always"], ""));
    assert!(coloured(&["--color", "always"], "1"));
    assert!(!coloured(&["--color", "always", "--format", "json"], ""));
}

#[test]
fn a_fixed_clock_gives_the_same_bytes() {
    let report = || {
        let args = ["check", "mail.example.com", "--only", "hostname.alias", "--format", "json"];
        let output = program().args(args).args(NOBODY).env("SOURCE_DATE_EPOCH", NOW.to_string()).output().unwrap();
        stdout(&output)
    };
    assert!(report().contains("\"started\": \"2026-11-20T15:00:00Z\",\n  \"elapsed_ms\": 0,"), "{}", report());
    assert_eq!(report(), report());
}

/// The healthy demo, and its command line without the option that brings the password.
async fn theatre() -> (Theatre, Vec<String>) {
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let theatre = World::embedded("healthy").unwrap().open(now).await.unwrap();
    let mut args = theatre.args();
    let option = args.iter().position(|arg| arg == "--sasl-password-file").unwrap();
    args.drain(option..=option + 1);
    (theatre, args)
}

const VIEWS: [&[&str]; 3] = [&["--format", "table"], &["--format", "json"], &["-v", "--color", "always"]];

/// The login was made, and the password is nowhere in what was said.
fn assert_discreet(theatre: &Theatre, said: &str, way: &str) {
    assert_eq!(leaks::leak(theatre.password(), said), None, "{way}: {said}");
    let logins = theatre.dialogues().iter().filter(|line| line.contains("AUTH")).count();
    assert_eq!(logins, 1, "{way}: {said}");
}

#[tokio::test]
async fn the_password_is_nowhere_given_by_file_or_environment() {
    for view in VIEWS {
        for way in ["file", "environment"] {
            let (theatre, args) = theatre().await;
            let mut program = program();
            program.args(args).args(view).env("SOURCE_DATE_EPOCH", NOW.to_string());
            match way {
                "file" => program.arg("--sasl-password-file").arg(theatre.scratch().join("password-file")),
                _ => program.env("MAIL_PREFLIGHT_SASL_PASSWORD", theatre.password()),
            };
            let output = tokio::task::spawn_blocking(move || program.output()).await.unwrap().unwrap();
            assert_eq!(code(&output), 0, "{way}: {}{}", stdout(&output), stderr(&output));
            theatre.settled().await;
            assert_discreet(&theatre, &format!("{}{}", stdout(&output), stderr(&output)), way);
        }
    }
}

#[tokio::test]
async fn the_password_is_nowhere_given_at_the_prompt() {
    for view in VIEWS {
        let (theatre, args) = theatre().await;
        let password = theatre.password().to_owned();
        let typed = password.clone();
        let said = tokio::task::spawn_blocking(move || at_a_terminal(&args, view, &typed)).await.unwrap();
        theatre.settled().await;
        assert!(said.contains("SASL password of "), "{said}");
        assert_discreet(&theatre, &said, "prompt");
    }
}

/// Runs the program on a terminal, answers its prompt, and returns everything the terminal showed.
fn at_a_terminal(args: &[String], view: &[&str], answer: &str) -> String {
    let (mut terminal, child_side) = pty_process::blocking::open().unwrap();
    let program = pty_process::blocking::Command::new(env!("CARGO_BIN_EXE_mail-preflight"));
    let program = program.args(args).args(view).env_clear().env("SOURCE_DATE_EPOCH", NOW.to_string());
    let mut child = program.spawn(child_side).unwrap();
    let mut said = Vec::new();
    let mut octet = [0];
    while !said.ends_with(b": ") {
        terminal.read_exact(&mut octet).unwrap();
        said.extend(octet);
    }
    terminal.write_all(format!("{answer}\n").as_bytes()).unwrap();
    // Linux says EIO where the last program has left the terminal.
    while let Ok(1..) = terminal.read(&mut octet) {
        said.extend(octet);
    }
    assert_eq!(child.wait().unwrap().code(), Some(0), "{}", String::from_utf8_lossy(&said));
    String::from_utf8(said).unwrap()
}
