//! The promises of the command line: bad input, exit codes, where the report goes, and that no secret goes anywhere.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::{
    fs,
    io::{Read, Write},
    path::Path,
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
    let public = file("public", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    let keys: Vec<String> = ["/nonexistent", &empty, &binary, &public].iter().map(|file| format!("s={file}")).collect();
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
        (&["check", "m.example.com", "--dkim-key", "s"], "SELECTOR=FILE"),
        (&["check", "m.example.com", "--dkim-key", "a b=f"], "a b"),
        (&["check", "m.example.com", "--dkim-key", &keys[0]], "/nonexistent"),
        (&["check", "m.example.com", "--dkim-key", &keys[1]], &empty),
        (&["check", "m.example.com", "--dkim-key", &keys[2]], &binary),
        (&["check", "m.example.com", "--dkim-key", &keys[3]], "PUBLIC KEY"),
        (&["check", "m.example.com", "--message", "/nonexistent"], "/nonexistent"),
        (&["check", "m.example.com", "--message", &empty], &empty),
        (&["check", "m.example.com", "--message", &folder], &folder),
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
        (&["check", "--relay", relay, "--sasl-user", "alice", "--sasl-mechanism", "NTLM"], "PLAIN, LOGIN, CRAM-MD5"),
        (&["check", "--relay", relay, "--sasl-user", "alice", "--sasl-mechanism", "XOAUTH2"], "--sasl-token-file"),
        (&["check", "--relay", relay, "--sasl-user", "alice", "--sasl-mechanism", "oauthbearer"], "--sasl-token-file"),
        (
            &[
                "check",
                "--relay",
                relay,
                "--sasl-user",
                "a",
                "--sasl-token-file",
                &token,
                "--sasl-mechanism",
                "cram-md5",
            ],
            "--sasl-password-file",
        ),
        (
            &[
                "check",
                "--relay",
                relay,
                "--sasl-user",
                "a",
                "--sasl-token-file",
                &token,
                "--sasl-mechanism",
                "EXTERNAL",
            ],
            "EXTERNAL sends no secret",
        ),
        (&["check", "--relay", relay, "--sasl-user", "alice", "--sasl-mechanism-filter", "/etc/mechs"], "/etc/mechs"),
        (&["check", "--relay", relay, "--sasl-user", "alice", "--sasl-mechanism-filter", "a b!"], "b!"),
        (&["check", "--relay", relay, "--sasl-user", "alice", "--sasl-security-options", "noplain"], "noplaintext"),
        (&["check", "--relay", relay, "--sasl-user", "alice", "--sasl-tls-security-options", "x"], "mutual_auth"),
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
        (&["explain", "192.0.2.1"], "no SMTP reply"),
        (&["check", "m.example.com", "--rcpt", "alice@example.org"], "--relay"),
        (&["check", "--relay", relay, "--rcpt", "alice"], "LOCAL@DOMAIN"),
        (&["check", "--relay", relay, "--rcpt", "alice@example.org\r\nDATA"], "LOCAL@DOMAIN"),
        (&["check", "--relay", relay, "--rcpt", "<alice@example.org>"], "LOCAL@DOMAIN"),
        (&["check", "--relay", relay, "--message-size", "25M"], "25M"),
        (&["check", "--relay", relay, "--per-day", "many"], "many"),
        (&["check", "--relay", "[a.example]:587, [b.example]:imap"], "imap"),
        (&["check", "--relay", "smtp:[a.example]:587"], "transport"),
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
fn a_message_comes_through_standard_input_too() {
    let mut child = program()
        .args(["check", "--message", "-", "--only", "dkim.signature"])
        .args(NOBODY)
        .args(["--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"From: a@example.com\r\n\r\nunsigned\r\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let finding = report.pointer("/findings/0").unwrap();
    let word = |name: &str| finding.get(name).and_then(Value::as_str).unwrap().to_owned();
    assert_eq!(
        (word("check"), word("subject"), word("status")),
        ("dkim.signature".into(), "example.com".into(), "fail".into())
    );
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
fn replies_are_explained() {
    for (reply, parts) in [
        (
            "550-5.7.0 Mail relay denied",
            &["550 5.7.0", "Google: the SMTP relay service", "relay.accepts", "https://"][..],
        ),
        (
            "dsn=4.7.1, status=deferred (host mx.test[192.0.2.1] said: 450 4.7.1 <a@b.example>: Greylisted)",
            &["greylists"],
        ),
        ("5.7.30", &["more than one meaning", "Google: DKIM", "Microsoft: a login with a password"]),
        ("599", &["599", "RFC 5321"]),
    ] {
        let output = ran(&["explain", reply]);
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{reply}");
        let said = stdout(&output).split_whitespace().collect::<Vec<_>>().join(" ");
        for part in parts {
            assert!(said.contains(part), "{reply}: {part:?} is not in\n{said}");
        }
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

/// What a world's servers heard of an audit, and its report.
async fn heard(world: &str, change: impl Fn(&mut Vec<String>, &mut Command)) -> (Vec<String>, Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(world);
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let theatre = World::read(&folder).unwrap().open(now).await.unwrap();
    let mut args = theatre.args();
    let mut program = program();
    change(&mut args, &mut program);
    program.args(args).arg("--format=json").env("SOURCE_DATE_EPOCH", NOW.to_string());
    let output = tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap();
    theatre.settled().await;
    (theatre.dialogues(), serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test]
async fn a_policy_is_fetched_once_and_from_whom_it_is_trusted_alone() {
    const HANDSHAKE: [&str; 2] = ["policy.https: connect", "policy.https: TLS mta-sts.example.com"];
    const REQUEST: &str = "policy.https: GET /.well-known/mta-sts.txt HTTP/1.1";
    let (said, _) = heard("mta-sts/all-is-well", |_, _| {}).await;
    assert_eq!(said, [HANDSHAKE[0], HANDSHAKE[1], REQUEST]);
    for world in ["private-ca-not-given", "certificate-expired", "certificate-for-the-domain-alone"] {
        let (said, _) = heard(&format!("mta-sts/{world}"), |_, _| {}).await;
        assert_eq!(said, HANDSHAKE, "{world}");
    }
}

#[tokio::test]
async fn nothing_is_known_of_a_certificate_without_trust_anchors() {
    let (_, report) = heard("mta-sts/all-is-well", |args, program| {
        let at = args.iter().position(|arg| arg == "--ca-file").unwrap();
        args.drain(at..at + 2);
        program.env("SSL_CERT_FILE", "/dev/null");
    })
    .await;
    let findings = report["findings"].as_array().unwrap();
    let policy = findings.iter().find(|finding| finding["check"] == "mta-sts.policy").unwrap();
    assert_eq!(policy["status"], "unknown", "{policy:#}");
    assert!(policy["message"].as_str().unwrap().contains("no trust anchors"), "{policy:#}");
}

/// A relay that refuses this password, and two users that try it; what the guard keeps lies in `cache`.
async fn refused(theatre: &Theatre, cache: &TempDir, user: &str, at: u64, more: &[&str]) -> Value {
    let mut program = program();
    program.args(theatre.args()).args(["--sasl-user", user, "--format", "json"]).args(more);
    program.env("SOURCE_DATE_EPOCH", at.to_string()).env("XDG_CACHE_HOME", cache.path());
    let output = tokio::task::spawn_blocking(move || program.output()).await.unwrap().unwrap();
    assert_eq!(stderr(&output), "");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let is_login = |finding: &&Value| finding["check"] == "sasl.login";
    let findings = report.get("findings").and_then(Value::as_array).unwrap();
    // Whatever becomes of the login, everything else is audited, and well.
    let others = findings.iter().filter(|finding| !is_login(finding)).map(|finding| finding["status"].as_str());
    let (passed, skipped): (Vec<_>, Vec<_>) = others.partition(|status| *status == Some("pass"));
    assert!(passed.len() > 10 && skipped.iter().all(|status| *status == Some("skip")), "{report}");
    findings.iter().find(is_login).unwrap().clone()
}

#[tokio::test]
async fn a_refused_login_is_not_tried_again_within_a_minute() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sasl/wrong-password");
    let theatre = World::read(&folder).unwrap().open(UNIX_EPOCH + Duration::from_secs(NOW)).await.unwrap();
    let cache = TempDir::new().unwrap();
    let logins = || theatre.dialogues().iter().filter(|line| line.contains(": AUTH")).count();
    let barred = |finding: &Value| {
        finding["status"] == "unknown" && finding["message"] == "not tried again before 15:01:00, --force"
    };

    let first = refused(&theatre, &cache, "alice", NOW, &[]).await;
    assert_eq!((first["status"].as_str(), first["facts"]["code"].as_u64()), (Some("fail"), Some(535)));
    for at in [NOW, NOW + 59, NOW - 59] {
        let again = refused(&theatre, &cache, "alice", at, &[]).await;
        assert!(barred(&again), "{again}");
    }
    assert_eq!(logins(), 1);

    // Another user is another login, and after a minute it may be tried again.
    assert_eq!(refused(&theatre, &cache, "bob", NOW + 1, &[]).await["status"], "fail");
    assert_eq!(refused(&theatre, &cache, "alice", NOW + 60, &[]).await["status"], "fail");
    assert_eq!(refused(&theatre, &cache, "alice", NOW + 61, &["--force"]).await["status"], "fail");
    assert_eq!(logins(), 4);

    let file = cache.path().join("mail-preflight/refused-logins.json");
    let kept = fs::read_to_string(&file).unwrap();
    for word in ["alice", "bob", "example", ":587", theatre.password()] {
        assert!(!kept.contains(word), "{kept}");
    }
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions()) & 0o777, 0o600);
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);

    // The right password clears what is kept, and a damaged file is written anew.
    let right = theatre.scratch().join("password-file").display().to_string();
    let cleared = refused(&theatre, &cache, "alice", NOW + 62, &["--force", "--sasl-password-file", &right]).await;
    assert_eq!(cleared["status"], "pass");
    assert_eq!(refused(&theatre, &cache, "alice", NOW + 63, &[]).await["status"], "fail");
    fs::write(&file, "{\"version\":").unwrap();
    assert_eq!(refused(&theatre, &cache, "alice", NOW + 64, &[]).await["status"], "fail");
    assert_eq!(refused(&theatre, &cache, "alice", NOW + 65, &[]).await["status"], "unknown");
}

#[tokio::test]
async fn a_second_opinion_on_spf_is_asked_for_where_it_is_wanted() {
    // Two records are a permanent error (RFC 7208 section 4.5); mail-auth takes the first that it can read.
    let zone = "example.com TXT \"v=spf1 ip4:192.0.2.1 -all\"\nexample.com TXT \"v=spf1 ip4:192.0.2.1 ~all\"\n";
    let server = fixtures::dns::Server::open(zone).unwrap();
    let resolver = server.address().to_string();
    let args = ["spf", "192.0.2.1", "--from", "jira@example.com", "--resolver", &resolver];
    let asked = async |more: &[&str]| {
        let mut program = program();
        program.args(args).args(more);
        tokio::task::spawn_blocking(move || stdout(&program.output().unwrap())).await.unwrap()
    };
    let evaluation: Value = serde_json::from_str(&asked(&["--format", "json"]).await).unwrap();
    assert_eq!((&evaluation["result"], &evaluation["second_opinion"]), (&"permerror".into(), &Value::Null));
    let evaluation: Value = serde_json::from_str(&asked(&["--format", "json", "--second-opinion"]).await).unwrap();
    assert_eq!((&evaluation["result"], &evaluation["second_opinion"]), (&"permerror".into(), &"pass".into()));
    assert!(asked(&["--second-opinion"]).await.contains("mail-auth differs: pass"));
}
