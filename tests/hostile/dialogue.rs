//! A dialogue with a relay that cheats: STARTTLS taken away or talked over, drips and floods, SCRAM with a nonce that is not ours
//! (counts and proofs are the worlds `sasl/scram-*`).

use std::{
    fs,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use fixtures::World;
use tempfile::TempDir;

use crate::villain::{Run, finished, program};

const GREETING: &str = "S: 220 smtp.example.net ESMTP\nC: EHLO *\nS: 250-smtp.example.net\n";

/// What a run with a password made of a relay that talks like this, and what the relay was told.
async fn told(script: &str, more: &str) -> (Run, Vec<String>) {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("zone", "smtp.example.net A 198.51.100.25\n");
    write("smtp.relay", &format!("LISTEN: 198.51.100.25:587\n{script}"));
    write(
        "args",
        &format!(
            "check mail.example.com --relay [smtp.example.net]:587 --only relay,tls,sasl --format json \
             --sasl-user alice --sasl-password-file {{password-file}} {more}"
        ),
    );
    let theatre = World::read(folder.path()).unwrap().open(SystemTime::now()).await.unwrap();
    let mut program = program();
    program.args(theatre.args()).env("XDG_CACHE_HOME", theatre.scratch());
    let run = tokio::task::spawn_blocking(move || finished(&mut program)).await.unwrap();
    theatre.settled().await;
    (run, theatre.dialogues())
}

fn is_login(line: &str) -> bool {
    line.contains(": AUTH")
}

#[tokio::test]
async fn a_relay_without_starttls_gets_no_password() {
    let stripped = format!("{GREETING}S: 250 AUTH PLAIN LOGIN\nC: AUTH *\nS: 235 2.7.0 yes\n");
    let refused = format!("{GREETING}S: 250-AUTH PLAIN LOGIN\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 4.7.0 not now\n");
    for script in [&stripped, &refused] {
        for level in ["", "encrypt", "may", "verify", "secure"] {
            let more = if level.is_empty() { String::new() } else { format!("--tls-level {level}") };
            let (run, said) = told(script, &more).await;
            assert!(!said.iter().any(|line| is_login(line)), "{level}: {said:?}");
            assert_ne!(run.finding("sasl.login", "").0, "pass", "{level}");
        }
    }
}

#[tokio::test]
async fn what_comes_unencrypted_after_starttls_is_not_heard_under_tls() {
    let injected = format!(
        "{GREETING}S: 250 STARTTLS\nC: STARTTLS\nS: 220 2.0.0 Ready to start TLS\nS: 250-smtp.example.net\nS: 250 AUTH PLAIN\n\
         TLS: timeless smtp.example.net\nC: EHLO *\nS: 250-smtp.example.net\nS: 250 8BITMIME\n"
    );
    let (run, said) = told(&injected, "").await;
    assert_ne!(run.finding("relay.starttls", "").0, "pass");
    assert!(!said.iter().any(|line| is_login(line)), "{said:?}");
    assert_ne!(run.finding("sasl.mechanisms", "").0, "pass", "the mechanisms were offered unencrypted");
}

#[tokio::test]
async fn drips_and_floods_end_with_a_report() {
    let drip = format!("DRIP: 200ms 220 {}\n", "smtp.example.net ".repeat(20));
    let (run, _) = told(&drip, "--timeout 2s").await;
    assert_eq!((run.code, run.finding("relay.connect", "").0.as_str()), (Some(3), "unknown"));
    assert!(run.wall < Duration::from_secs(30), "{:?}", run.wall);
    for flood in ["REPEAT: 200000 250-X\n", "REPEAT-RAW: 4000000 x\n", "REPEAT: 200000 220-x\n"] {
        let (run, said) = told(&format!("S: 220 smtp.example.net ESMTP\nC: EHLO *\n{flood}"), "--timeout 10s").await;
        assert!(matches!(run.code, Some(1 | 3)) && run.peak < 64 << 20, "{flood}: {:?}, {} octets", run.code, run.peak);
        assert!(!said.iter().any(|line| is_login(line)), "{flood}: {said:?}");
    }
}

#[tokio::test]
async fn a_scram_server_with_a_nonce_of_its_own_gets_no_proof() {
    const SALT: &str = "s=QSXCR+Q6sek8bf92";
    // None begins with the nonce that the client made up: whoever computes a proof over it proves something else.
    for (challenge, what) in [
        (format!("r=not-the-client-s,{SALT},i=4096"), "a nonce of its own"),
        (format!("r=,{SALT},i=4096"), "an empty nonce"),
        (format!("{SALT},i=4096"), "no nonce"),
        ("e=other-error".to_owned(), "an error before the proof"),
        (String::new(), "nothing"),
    ] {
        let script = format!(
            "{GREETING}S: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS: timeless smtp.example.net\nC: EHLO *\n\
             S: 250-smtp.example.net\nS: 250 AUTH SCRAM-SHA-256\nC: AUTH SCRAM-SHA-256 *\nS: 334 {}\nC: *\nS: 235 2.7.0 yes\n",
            STANDARD.encode(&challenge)
        );
        let (run, _) = told(&script, "").await;
        let (status, message) = run.finding("sasl.login", "");
        assert_ne!(status, "pass", "{what}: {message}");
        assert!(run.stdout.contains(r"S: 334 <redacted>\nC: *\n"), "{what}: not broken off at once: {}", run.stdout);
    }
}
