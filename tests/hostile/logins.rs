//! A login that was none, and a secret that wants out.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use fixtures::{Theatre, World};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    leaks::{base32, leak, rot13},
    villain::{Run, finished, program, run},
};

const PASSWORD: &str = "Zq7-kLw2/vTx9+Rb4_nHd";

/// A relay that goes on like this after EHLO, and offers this AUTH.
async fn relay(auth: &str, dialogue: &str) -> Theatre {
    let folder = TempDir::new().unwrap();
    let hello = "LISTEN: 198.51.100.25:587\nS: 220 smtp.example.net ESMTP\nC: EHLO *\nS: 250-smtp.example.net\n\
                 S: 250 STARTTLS\nC: STARTTLS\nS: 220 2.0.0 Ready to start TLS\nTLS: timeless smtp.example.net\n\
                 C: EHLO *\nS: 250-smtp.example.net\n";
    fs::write(folder.path().join("smtp.relay"), format!("{hello}S: 250 AUTH {auth}\n{dialogue}")).unwrap();
    fs::write(folder.path().join("zone"), "smtp.example.net A 198.51.100.25\n").unwrap();
    let args = "check mail.example.com --relay [smtp.example.net]:587 --only relay.accepts,sasl --sasl-user alice";
    fs::write(folder.path().join("args"), args).unwrap();
    World::read(folder.path()).unwrap().open(SystemTime::now()).await.unwrap()
}

/// The program on its way to that relay, with this password.
fn client(theatre: &Theatre, password: &str, more: &[&str]) -> Command {
    let file = theatre.scratch().join("given");
    fs::write(&file, password).unwrap();
    let mut program = program();
    program.args(theatre.args()).arg("--sasl-password-file").arg(file).args(more);
    program.env("XDG_CACHE_HOME", theatre.scratch());
    program
}

async fn ran(mut program: Command) -> Run {
    tokio::task::spawn_blocking(move || finished(&mut program)).await.unwrap()
}

/// `text` in writings that a person can read back.
fn writings(text: &str) -> Vec<String> {
    let each = |written: fn(u8) -> String| text.bytes().map(written).collect::<String>();
    let listed = |written: fn(u8) -> String| text.bytes().map(written).collect::<Vec<_>>();
    let base64 = STANDARD.encode(text);
    vec![
        text.to_owned(),
        text.to_uppercase(),
        text.chars().map(|c| format!("{c} ")).collect(),
        text.chars().map(|c| format!("{c}.")).collect(),
        text.chars().map(|c| format!("{c}x")).collect(),
        text.chars().rev().collect(),
        base64.clone(),
        URL_SAFE_NO_PAD.encode(text),
        STANDARD.encode(format!("\0alice\0{text}")),
        STANDARD.encode(&base64),
        STANDARD.encode(STANDARD.encode(&base64)),
        base64.chars().rev().collect(),
        base64.chars().map(|c| format!("{c} ")).collect(),
        each(|octet| format!("{octet:02x}")),
        listed(|octet| format!("{octet:02X}")).join(":"),
        listed(|octet| format!("{octet:02x}")).join(" "),
        listed(|octet| format!("0x{octet:02x}")).join(", "),
        each(|octet| format!("\\\\x{octet:02x}")),
        each(|octet| format!("\\\\u{octet:04x}")),
        each(|octet| format!("={octet:02X}")),
        each(|octet| format!("%{octet:02x}")),
        each(|octet| format!("&#{octet};")),
        each(|octet| format!("&#x{octet:x};")),
        listed(|octet| format!("{octet}")).join(" "),
        listed(|octet| format!("{octet:03o}")).join(" "),
        listed(|octet| format!("{octet:08b}")).join(" "),
        base32(text.as_bytes()),
        base32(text.as_bytes()).to_lowercase(),
        text.chars().map(rot13).collect(),
        text.chars().map(|c| char::from_u32(c as u32 + 0xfee0).unwrap()).collect(),
        STANDARD.encode(text.chars().rev().collect::<String>()),
        text.get(..12).unwrap().to_owned(),
        text.get(8..).unwrap().to_owned(),
    ]
}

#[tokio::test]
async fn an_echo_is_withheld_in_whatever_writing_it_comes() {
    let echoes = writings(PASSWORD);
    let mut dialogue = "C: AUTH *\nS: 235 2.7.0 ok\nC: MAIL *\nS: 250 2.1.0 ok\n".to_owned();
    let mut recipients = Vec::new();
    for (number, echo) in echoes.iter().enumerate() {
        dialogue.push_str(&format!("C: RCPT *\nS: 550 5.7.1 no such {echo} here\n"));
        recipients.extend(["--rcpt".to_owned(), format!("r{number}@example.org")]);
    }
    let theatre = relay("PLAIN", &dialogue).await;
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    for view in [&["--format", "json"][..], &["-v", "--color", "never"]] {
        let run = ran(client(&theatre, PASSWORD, &[&recipients, view].concat())).await;
        assert_eq!(run.code, Some(1), "{run:?}");
        assert_eq!(leak(PASSWORD, &run.stdout), None, "{}", run.stdout);
        if view.contains(&"json") {
            let report = run.report();
            let accepts =
                report["findings"].as_array().unwrap().iter().find(|f| f["check"] == "relay.accepts").unwrap();
            let replies = accepts["facts"]["recipients"].as_object().unwrap();
            assert_eq!(replies.len(), echoes.len());
            for (number, echo) in echoes.iter().enumerate() {
                let reply = replies[&format!("r{number}@example.org")].as_str().unwrap();
                assert_eq!(reply, "550 5.7.1 (withheld: it may hold the password)", "{echo}");
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_that_echoes_in_instalments_keeps_its_codes() {
    let (first, second) = PASSWORD.split_at(10);
    let dialogue = format!("C: AUTH *\nS: 535-5.7.8 {first}\nS: 535 5.7.8 {second}\n");
    let theatre = relay("PLAIN", &dialogue).await;
    let run = ran(client(&theatre, PASSWORD, &["--format", "json", "--force"])).await;
    assert_eq!(run.code, Some(1));
    let (status, message) = run.finding("sasl.login", "");
    assert_eq!(status, "fail");
    assert_eq!(message, "PLAIN login refused: 535 5.7.8 (withheld: it may hold the password)");
    assert!(!run.stdout.contains(first) && !run.stdout.contains(second), "{}", run.stdout);
}

#[tokio::test]
async fn what_real_servers_say_of_a_refusal_stays_readable() {
    for lines in [
        &[
            "535-5.7.8 Username and Password not accepted. For more information, go to",
            "535 5.7.8  https://support.google.com/mail/?p=BadCredentials d9443c01a7336-2a1b2c3d4e5f6sm1234567wrb.12 - gsmtp",
        ][..],
        &["535 5.7.139 Authentication unsuccessful, the user credentials were incorrect. \
           [AM0PR01CA0001.eurprd01.prod.outlook.com 2026-11-25T08:00:00.000Z 08DD000000000000]"],
        &["535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6"],
        &["535 Incorrect authentication data"],
        &["535 5.7.0 Mailgun is not loving your login or password"],
        &["535 5.7.0 (#AUTH005) Too many bad auth attempts."],
        &["535 Authentication Credentials Invalid"],
    ] {
        let dialogue: String = lines.iter().map(|line| format!("S: {line}\n")).collect();
        let theatre = relay("PLAIN", &format!("C: AUTH *\n{dialogue}")).await;
        let run = ran(client(&theatre, PASSWORD, &["--format", "json"])).await;
        let texts: Vec<&str> = lines.iter().map(|line| line.get(4..).unwrap()).collect();
        let (_, message) = run.finding("sasl.login", "");
        assert_eq!(message, format!("PLAIN login refused: 535 {}", texts.join(" ")));
    }
}

/// What became of the login in each of four runs at once.
async fn at_once(theatre: &Theatre) -> Vec<(String, String)> {
    let runs = (0..4).map(|_| ran(client(theatre, PASSWORD, &["--format", "json"])));
    let runs: Vec<_> = runs.map(tokio::spawn).collect();
    let mut outcomes = Vec::new();
    for run in runs {
        outcomes.push(run.await.unwrap().finding("sasl.login", ""));
    }
    outcomes.sort();
    outcomes
}

fn logins(theatre: &Theatre) -> usize {
    theatre.dialogues().iter().filter(|line| line.contains(": AUTH")).count()
}

#[tokio::test]
async fn of_runs_at_once_one_sends_a_password_that_is_refused() {
    let theatre = relay("PLAIN", "C: AUTH *\nS: 535 5.7.8 Authentication failed\n").await;
    let outcomes = at_once(&theatre).await;
    let statuses: Vec<&str> = outcomes.iter().map(|(status, _)| status.as_str()).collect();
    assert_eq!(statuses, ["fail", "unknown", "unknown", "unknown"], "{outcomes:?}");
    assert!(outcomes[1..].iter().all(|(_, message)| message.starts_with("not tried again before ")), "{outcomes:?}");
    assert_eq!(logins(&theatre), 1);
    let kept: Vec<_> = fs::read_dir(theatre.scratch().join("mail-preflight")).unwrap().flatten().collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
}

/// Not every server that refuses a password says 535, and the next run may spell the relay otherwise.
#[tokio::test]
async fn whatever_refuses_a_password_bars_the_next_run() {
    for refusal in
        ["535 5.7.8", "534 5.7.9", "530 5.7.0", "550 5.7.1", "554 5.7.8", "501 5.5.2", "454 4.7.0", "421 4.7.0"]
    {
        let theatre = relay("PLAIN", &format!("C: AUTH *\nS: {refusal} no\n")).await;
        ran(client(&theatre, PASSWORD, &["--format", "json"])).await;
        let again = ran(client(&theatre, PASSWORD, &["--format", "json", "--relay", "smtp.example.net:587"])).await;
        let (status, message) = again.finding("sasl.login", "");
        assert_eq!(status, "unknown", "{refusal}: {message}");
        assert!(message.starts_with("not tried again before "), "{refusal}: {message}");
        assert_eq!(logins(&theatre), 1, "{refusal}");
    }
    // Who refuses the mechanism has not seen the password.
    let theatre = relay("LOGIN", "C: AUTH LOGIN\nS: 504 5.5.4 no\n").await;
    for _ in 0..2 {
        let run = ran(client(&theatre, PASSWORD, &["--format", "json"])).await;
        assert_eq!(run.finding("sasl.login", "").0, "fail");
    }
    assert_eq!(logins(&theatre), 2);
}

/// The second address of a relay that knows the password from the first gives it back where no reply stands.
#[tokio::test]
async fn an_echo_at_another_address_is_withheld_too() {
    const SECRET: &str = "zq7-klw2-vtx9-rb4-nhd";
    let base64 = STANDARD.encode(SECRET);
    let hello = "C: EHLO *\nS: 250-smtp.example.net\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 Go ahead\n";
    for echo in [
        format!("S: 220 {}\n{hello}TLS: timeless smtp.example.net\n", &SECRET[..12]),
        format!("S: 554 {}\n", &SECRET[8..]),
        format!("S: 220 ESMTP\n{hello}TLS: self-signed {SECRET}\n"),
        format!("S: 220 ESMTP\n{hello}TLS: timeless {SECRET}.example.net\n"),
        format!("S: 220 ESMTP\n{hello}TLS: timeless {base64}\n"),
        format!("S: 220 ESMTP\n{hello}DRIP: 1ms you said {SECRET}\n"),
        format!("S: 220 ESMTP\n{hello}DRIP: 1ms you said {base64}\n"),
    ] {
        let told = "S: 220 ESMTP\n".to_owned()
            + hello
            + "TLS: timeless smtp.example.net\nC: EHLO *\nS: 250-smtp.example.net\n\
                    S: 250 AUTH PLAIN\nC: AUTH *\nS: 235 2.7.0 ok\n";
        let folder = TempDir::new().unwrap();
        let zone = "smtp.example.net A 198.51.100.25\nsmtp.example.net A 198.51.100.26\n";
        let args = "check mail.example.com --relay [smtp.example.net]:587 --only relay,tls,sasl --sasl-user alice";
        for (file, text) in [
            ("first.relay", format!("LISTEN: 198.51.100.25:587\n{told}")),
            ("second.relay", format!("LISTEN: 198.51.100.26:587\nDELAY: 300ms\n{echo}")),
            ("zone", zone.to_owned()),
            ("args", args.to_owned()),
        ] {
            fs::write(folder.path().join(file), text).unwrap();
        }
        let theatre = World::read(folder.path()).unwrap().open(SystemTime::now()).await.unwrap();
        for view in [&["--format", "json"][..], &["-v", "--color", "never"]] {
            let run = ran(client(&theatre, SECRET, view)).await;
            let said = run.stdout.clone() + &run.stderr;
            assert!(run.stdout.contains("198.51.100.26") && said.contains("login accepted"), "{echo}{run:?}");
            assert_eq!(leak(SECRET, &said), None, "{echo}{said}");
            assert!(!said.contains(&SECRET[..12]) && !said.contains(&SECRET[8..]), "{echo}{said}");
        }
    }
}

#[tokio::test]
async fn runs_at_once_with_the_right_password_all_log_in() {
    let theatre = relay("PLAIN", "C: AUTH *\nS: 235 2.7.0 Authentication successful\n").await;
    let outcomes = at_once(&theatre).await;
    assert!(outcomes.iter().all(|(status, _)| status == "pass"), "{outcomes:?}");
    assert_eq!(logins(&theatre), 4);
}

#[tokio::test]
async fn a_run_that_is_killed_bars_nobody() {
    let theatre = relay("PLAIN", "C: AUTH *\nSILENCE\n").await;
    let mut killed = client(&theatre, PASSWORD, &[]).stdout(Stdio::null()).spawn().unwrap();
    while logins(&theatre) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Beside the living one nobody logs in.
    let beside = ran(client(&theatre, PASSWORD, &["--format", "json", "--timeout", "1s"])).await;
    let (status, message) = beside.finding("sasl.login", "");
    assert_eq!((beside.code, status.as_str()), (Some(3), "unknown"));
    assert!(message.starts_with("not tried while another run tries the same login"), "{message}");
    assert_eq!(logins(&theatre), 1);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let after = ran(client(&theatre, PASSWORD, &["--format", "json", "--timeout", "1s"])).await;
    assert_eq!(after.finding("sasl.login", "").1, "the login was not decided: no answer within 1s");
    assert_eq!(logins(&theatre), 2);
}

#[tokio::test]
async fn a_guard_that_cannot_be_kept_says_so_and_stops_nothing() {
    let theatre = relay("PLAIN", "C: AUTH *\nS: 535 5.7.8 Authentication failed\n").await;
    let occupied = TempDir::new().unwrap();
    fs::create_dir_all(occupied.path().join("mail-preflight/refused-logins.json")).unwrap();
    let said = "PLAIN login refused: 535 5.7.8 Authentication failed; the guard against lockouts could not be kept: ";
    for (cache, why) in [
        (Path::new("/dev/null"), "Not a directory"),
        (Path::new("not/absolute"), "neither $XDG_CACHE_HOME nor $HOME names a directory"),
        (occupied.path(), "Is a directory"),
    ] {
        let mut client = client(&theatre, PASSWORD, &["--format", "json"]);
        client.env("XDG_CACHE_HOME", cache);
        let run = ran(client).await;
        let (status, message) = run.finding("sasl.login", "");
        assert_eq!((run.code, status.as_str(), run.stderr.as_str()), (Some(1), "fail", ""));
        assert!(message.starts_with(said) && message.contains(why), "{message}");
    }
    assert_eq!(logins(&theatre), 3);
}

/// What is no password, and a part of the complaint.
fn no_passwords() -> Vec<(Vec<u8>, &'static str)> {
    let utf16 = |mark: [u8; 2], order: fn(u16) -> [u8; 2]| {
        mark.into_iter().chain("hunter2hunter2\n".encode_utf16().flat_map(order)).collect()
    };
    vec![
        ("x".repeat(65_537).into_bytes(), "longer than 65536 octets"),
        (b"\xef\xbb\xbfhunter2hunter2\n".to_vec(), "byte order mark"),
        (utf16([0xff, 0xfe], u16::to_le_bytes), "byte order mark"),
        (utf16([0xfe, 0xff], u16::to_be_bytes), "byte order mark"),
        (b"hunter2\0hunter2".to_vec(), "NUL"),
        (b"hunter2\rhunter2".to_vec(), "carriage return"),
        (b"[smtp.example.net]:587 alice:hunter2hunter2\n".to_vec(), "sasl_passwd"),
        (b"smtp.example.net\tbob:hunter2hunter2\n".to_vec(), "sasl_passwd"),
        (b"alice:hunter2hunter2\n".to_vec(), "colon"),
    ]
}

/// One line that says what, and nothing of the secret.
fn assert_refused(run: &Run, part: &str) {
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{run:?}");
    assert!(run.stderr.contains(part) && run.stderr.trim_end().lines().count() == 1, "{}", run.stderr);
    assert!(!run.stderr.contains("hunter2") && run.stderr.len() < 300, "{}", run.stderr);
}

const LOGIN: [&str; 5] = ["check", "--relay", "[smtp.example.net]:587", "--sasl-user", "alice"];

#[test]
fn what_is_no_password_is_refused_wherever_it_comes_from() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("secret");
    for (text, part) in no_passwords() {
        fs::write(&file, &text).unwrap();
        for option in ["--sasl-password-file", "--sasl-token-file"] {
            let run = run(&[&LOGIN[..], &[option, file.to_str().unwrap()]].concat());
            assert_refused(&run, part);
            assert!(run.stderr.contains(option), "{}", run.stderr);
        }
        if let Ok(text) = String::from_utf8(text)
            && !text.contains('\0')
        {
            let mut program = program();
            program.args(LOGIN).env("MAIL_PREFLIGHT_SASL_PASSWORD", text.trim_end_matches('\n'));
            let run = finished(&mut program);
            assert_refused(&run, part);
            assert!(run.stderr.contains("$MAIL_PREFLIGHT_SASL_PASSWORD"), "{}", run.stderr);
        }
    }
}

/// What the program says on a terminal where this is typed at its prompt, and its exit code.
fn at_a_terminal(typed: &str) -> (String, Option<i32>) {
    let (mut terminal, child_side) = pty_process::blocking::open().unwrap();
    let program = pty_process::blocking::Command::new(env!("CARGO_BIN_EXE_mail-preflight"));
    let mut child = program.args(LOGIN).env_clear().spawn(child_side).unwrap();
    let (mut said, mut octet) = (Vec::new(), [0]);
    while !said.ends_with(b": ") {
        terminal.read_exact(&mut octet).unwrap();
        said.extend(octet);
    }
    terminal.write_all(format!("{typed}\n").as_bytes()).unwrap();
    while let Ok(1..) = terminal.read(&mut octet) {
        said.extend(octet);
    }
    (String::from_utf8(said).unwrap(), child.wait().unwrap().code())
}

#[test]
fn what_is_no_password_is_refused_at_the_prompt() {
    for (typed, part) in [
        ("x".repeat(5000), "longer than a terminal takes"),
        ("\u{feff}hunter2hunter2".to_owned(), "byte order mark"),
        ("[smtp.example.net]:587 alice:hunter2hunter2".to_owned(), "sasl_passwd"),
        ("hunter2\u{1b}[Dhunter2".to_owned(), "control character"),
    ] {
        let (said, code) = at_a_terminal(&typed);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(part) && !said.contains("hunter2") && !said.contains("xxx"), "{said}");
    }
}

#[tokio::test]
async fn a_yes_that_nobody_asked_for_is_never_a_pass() {
    let user = "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\n";
    let yes = "S: 235 2.7.0 Authentication successful\n";
    for (auth, dialogue) in [
        ("PLAIN", format!("{yes}C: AUTH PLAIN *\nS: 535 no\n")),
        ("LOGIN", format!("C: AUTH LOGIN\n{yes}")),
        ("LOGIN", format!("{user}C: *\n{yes}")),
        ("LOGIN", format!("{user}{yes}")),
        ("CRAM-MD5", format!("C: AUTH CRAM-MD5\n{yes}")),
        ("CRAM-MD5", format!("C: AUTH CRAM-MD5\nS: 334 PDFAYT4=\n{yes}")),
        ("SCRAM-SHA-1", format!("C: AUTH SCRAM-SHA-1 *\n{yes}")),
        ("SCRAM-SHA-256", format!("C: AUTH SCRAM-SHA-256 *\nS: 334 \n{yes}")),
        ("PLAIN", "C: AUTH PLAIN *\nS: 220 2.7.0 ok\n".to_owned()),
        ("PLAIN", format!("C: AUTH PLAIN *\nS: 503-5.5.1 no\n{yes}")),
    ] {
        let theatre = relay(auth, &dialogue).await;
        let run = ran(client(&theatre, PASSWORD, &["--format", "json", "--rcpt", "bob@example.org"])).await;
        assert!(matches!(run.code, Some(1 | 3)), "{dialogue}{run:?}");
        for check in ["sasl.login", "relay.accepts"] {
            let found: Value = run.report();
            let findings = found["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == check);
            assert!(findings.into_iter().all(|finding| finding["status"] != "pass"), "{dialogue}{found}");
        }
    }
}
