//! Who gets the password, and what counts as proof.

use std::{
    fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fixtures::World;
use tempfile::TempDir;

use crate::villain::{Run, finished, program};

const DAY: Duration = Duration::from_secs(86_400);

/// What DNS says, and how the relay is named; where there is an MX record, it names mx.other.test.
const ROUTES: [(&str, &str, &str); 10] = [
    ("bracketed", "[mx.other.test]:587", "mx.other.test A 192.0.2.66"),
    ("no MX", "example.test:587", "example.test A 192.0.2.66"),
    (
        "MX signed",
        "example.test:587",
        ";! secure example.test MX\nexample.test MX 10 mx.other.test\nmx.other.test A 192.0.2.66",
    ),
    ("MX unsigned", "example.test:587", "example.test MX 10 mx.other.test\nmx.other.test A 192.0.2.66"),
    (
        "MX unsigned, below the next-hop",
        "example.test:587",
        "example.test MX 10 mail.example.test\nmail.example.test A 192.0.2.66",
    ),
    ("MX unsigned of a registry", "test:587", "test MX 10 mx.other.test\nmx.other.test A 192.0.2.66"),
    (
        "MX signed, its target an unsigned alias",
        "example.test:587",
        ";! secure example.test MX\nexample.test MX 10 mx.other.test\nmx.other.test CNAME mx.evil.test\n\
         mx.evil.test A 192.0.2.66",
    ),
    (
        "next-hop a signed alias",
        "example.test:587",
        ";! secure example.test MX\n;! secure other.test MX\nexample.test CNAME other.test\n\
         other.test MX 10 mx.other.test\nmx.other.test A 192.0.2.66",
    ),
    (
        "next-hop an unsigned alias",
        "example.test:587",
        ";! secure other.test MX\nexample.test CNAME other.test\nother.test MX 10 mx.other.test\n\
         mx.other.test A 192.0.2.66",
    ),
    (
        "next-hop an unsigned alias without MX",
        "example.test:587",
        "example.test CNAME mx.evil.test\nmx.evil.test A 192.0.2.66",
    ),
];

/// The names of honest certificates.
const NAMES: [&str; 4] = ["example.test", "mail.example.test", "mx.other.test", "mx.evil.test"];

/// The password goes to a name that the user gave or that signed DNS gave, and to no other.
#[test]
fn who_gets_the_password() {
    #[rustfmt::skip]
    let table: [(&str, &str, &[&str]); 36] = [
        // level        route                                      the certificates that count
        ("",            "bracketed",                               &["mx.other.test"]),
        ("",            "no MX",                                   &["example.test"]),
        ("",            "MX signed",                               &["mx.other.test"]),
        ("",            "MX unsigned",                             &["example.test", "mail.example.test"]),
        ("",            "MX signed, its target an unsigned alias", &["mx.other.test"]),
        ("",            "next-hop a signed alias",                 &["mx.other.test"]),
        ("",            "next-hop an unsigned alias",              &["example.test", "mail.example.test"]),
        ("",            "next-hop an unsigned alias without MX",   &["example.test"]),
        ("",            "MX unsigned, below the next-hop",         &["example.test", "mail.example.test"]),
        ("",            "MX unsigned of a registry",               &[]),
        ("dane",        "bracketed",                               &["mx.other.test"]),
        ("dane",        "no MX",                                   &["example.test"]),
        ("dane",        "MX signed",                               &["mx.other.test"]),
        ("dane",        "MX unsigned",                             &["example.test", "mail.example.test"]),
        ("dane",        "next-hop an unsigned alias",              &["example.test", "mail.example.test"]),
        ("verify",      "bracketed",                               &["mx.other.test"]),
        ("verify",      "no MX",                                   &["example.test"]),
        ("verify",      "MX signed",                               &["mx.other.test"]),
        ("verify",      "MX unsigned",                             &[]),
        ("verify",      "MX signed, its target an unsigned alias", &["mx.other.test"]),
        ("verify",      "next-hop an unsigned alias",              &[]),
        ("verify",      "MX unsigned, below the next-hop",         &["mail.example.test"]),
        ("secure",      "bracketed",                               &["mx.other.test"]),
        ("secure",      "no MX",                                   &["example.test", "mail.example.test"]),
        ("secure",      "MX signed",                               &["example.test", "mail.example.test"]),
        ("secure",      "MX unsigned",                             &["example.test", "mail.example.test"]),
        ("dane-only",   "MX signed",                               &[]),
        ("dane-only",   "MX unsigned",                             &[]),
        ("verify --tls-match mx.other.test",   "MX unsigned",      &["mx.other.test"]),
        ("verify --tls-match .other.test",     "MX unsigned",      &["mx.other.test"]),
        ("verify --tls-match hostname",        "MX unsigned",      &[]),
        ("verify --tls-match nexthop:hostname", "MX unsigned",     &["example.test"]),
        ("none --tls-wrappermode",             "bracketed",        &["mx.other.test"]),
        ("fingerprint --tls-match {fingerprint:smtp.relay}", "MX unsigned", &NAMES),
        ("encrypt",     "MX unsigned",                             &NAMES),
        ("may",         "MX unsigned",                             &NAMES),
    ];
    let trials: Vec<_> = table.iter().flat_map(|row| NAMES.iter().map(move |name| (*row, *name))).collect();
    let wrong = in_parallel(&trials, |_, ((level, route, counting), name)| {
        let (_, relay, zone) = ROUTES.iter().find(|(named, ..)| named == route).unwrap();
        // What nobody leads to, nobody needs to try.
        if *name == "mx.evil.test" && !zone.contains(name) {
            return None;
        }
        let option = if level.is_empty() { "" } else { "--tls-level" };
        let args = format!("--relay {relay} {option} {level} --only sasl.login");
        let (tls, is_wrapped) = (format!("timeless {name}"), level.contains("wrappermode"));
        let (run, was_sent) =
            Login { zone, args: &args, tls: &tls, is_wrapped, ..Login::PLAIN }.tried(SystemTime::now());
        let (status, message) = run.finding("sasl.login", "");
        let is_told = !level.is_empty()
            || *route != "MX unsigned"
            || was_sent
            || (status == "skip" && message == "certificate does not match example.test, password not sent");
        (was_sent != counting.contains(name) || !is_told)
            .then(|| format!("level {level:?}, {route}, certificate of {name}: {status} {message}"))
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// No certificate that is wrong in any way gets a password, or what was made of one, by any mechanism.
#[test]
fn no_bad_certificate_gets_a_password() {
    let certificates = [
        "expired mx.other.test",
        "not-yet-valid mx.other.test",
        "self-signed mx.other.test",
        "self-signed-ca mx.other.test",
        "incomplete mx.other.test",
        "unknown-ca mx.other.test",
        "expired-intermediate mx.other.test",
        "for-clients mx.other.test",
        "sha1 mx.other.test",
        "timeless other.test",
        "timeless *.mx.other.test",
        "timeless mx.other.test forges=ecdsa_sha1",
        "timeless mx.other.test forges=ecdsa_secp256r1_sha256",
        "rsa-1024 mx.other.test only=tls1.2/009c",
        "timeless mx.other.test only=tls1.0/c00a",
    ];
    let digest = "fingerprint --tls-match 00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff";
    let levels = ["", "verify", "secure --tls-match mx.other.test", "dane", "dane-only", digest];
    let mechanisms = ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"];
    let (_, relay, zone) = ROUTES[0];
    let trials: Vec<_> = certificates.iter().flat_map(|tls| levels.iter().map(move |level| (*tls, *level))).collect();
    let sent = in_parallel(&trials, |number, (tls, level)| {
        // Each certificate meets half of the levels and of the mechanisms, and each of these the other half of those.
        let place = number + number / levels.len();
        if place.is_multiple_of(2) {
            return None;
        }
        let mechanism = mechanisms[place / 2 % mechanisms.len()];
        let option = if level.is_empty() { "" } else { "--tls-level" };
        let args = format!("--relay {relay} {option} {level} --only sasl.login,tls.version");
        let (run, was_sent) = Login { zone, args: &args, tls, mechanism, ..Login::PLAIN }.tried(SystemTime::now());
        (was_sent || run.finding("sasl.login", "").0 != "skip")
            .then(|| format!("{tls}, level {level:?}, {mechanism}: {:?}", run.finding("sasl.login", "")))
    });
    assert!(sent.is_empty(), "{}", sent.join("\n"));
}

/// SOURCE_DATE_EPOCH moves the clock of the checks, and makes no certificate of yesterday one of today.
#[test]
fn dates_hold_by_the_system_s_clock_too() {
    let now = SystemTime::now();
    for (moment, tls, level, sends) in [
        (now, "trusted", "", true),
        (now - 100 * DAY, "trusted", "", false),
        (now - 100 * DAY, "trusted", "--tls-level verify", false),
        (now - 100 * DAY, "trusted", "--tls-level secure", false),
        (now + 11 * DAY, "trusted", "", false),
        (now - 100 * DAY, "timeless", "", true),
        (now, "expired", "", false),
    ] {
        let args = format!("--relay [mx.other.test]:587 {level} --only sasl.login,tls.chain");
        let (_, _, zone) = ROUTES[0];
        let (run, was_sent) =
            Login { zone, args: &args, tls: &format!("{tls} mx.other.test"), ..Login::PLAIN }.tried(moment);
        assert_eq!(was_sent, sends, "{tls} {level}: {}", run.stdout);
        if !sends && tls == "trusted" {
            assert_eq!(run.finding("tls.chain", "").0, "pass", "{}", run.stdout);
            assert_eq!(run.finding("sasl.login", "").1, "certificate not trusted, password not sent");
        }
    }
}

/// A chain signed with SHA-1 may be anybody's, and Postfix forgives it up to `encrypt`.
#[test]
fn sha_1_is_not_trusted_with_a_password() {
    for (level, sends) in [
        ("", false),
        ("--tls-level verify", false),
        ("--tls-level secure", false),
        ("--tls-level dane", false),
        ("--tls-level fingerprint --tls-match {fingerprint:smtp.relay}", false),
        ("--tls-level encrypt", true),
    ] {
        let args = format!("--relay [mx.other.test]:587 {level} --only sasl.login,tls.chain");
        let (_, _, zone) = ROUTES[0];
        let (run, was_sent) =
            Login { zone, args: &args, tls: "sha1 mx.other.test", ..Login::PLAIN }.tried(SystemTime::now());
        assert_eq!(was_sent, sends, "{level}: {}", run.stdout);
        match sends {
            false => assert_eq!(run.finding("sasl.login", "").1, "certificate not trusted, password not sent"),
            true => assert!(run.finding("tls.chain", "").1.contains("SHA-1"), "{}", run.stdout),
        }
    }
}

/// Whoever has not the key has nothing: the certificate he shows is not known to be his, whatever the level.
#[test]
fn a_certificate_without_its_key_proves_nothing() {
    let unproved = "the server has not proved that it holds the key";
    let shown = ["forges=rsa_pkcs1_sha1", "forges=ecdsa_sha1", "forges=ecdsa_secp521r1_sha512", "only=tls1.2/c0ac"];
    for habit in shown {
        for level in [
            "",
            "--tls-level verify",
            "--tls-level secure",
            "--tls-level fingerprint --tls-match {fingerprint:smtp.relay}",
        ] {
            let args = format!("--relay [mx.other.test]:587 {level} --only sasl,tls");
            let (_, _, zone) = ROUTES[0];
            let tls = format!("timeless mx.other.test {habit}");
            let (run, was_sent) = Login { zone, args: &args, tls: &tls, ..Login::PLAIN }.tried(SystemTime::now());
            assert!(!was_sent, "{habit} {level}");
            assert_eq!(run.code, Some(3), "{habit} {level}: {}", run.stdout);
            for check in ["tls.chain", "tls.name"] {
                let (status, message) = run.finding(check, "");
                assert_eq!(status, "unknown", "{habit} {level} {check}: {message}");
                assert!(message.contains(unproved), "{habit} {level} {check}: {message}");
            }
            let report = run.report();
            for finding in report["findings"].as_array().unwrap() {
                let trust = finding["facts"]["trust"].as_str();
                assert!(!matches!(trust, Some("Verified" | "Trusted")), "{habit} {level}: {finding}");
            }
        }
    }
}

/// A signature that can be checked and is wrong ends it, whatever the server shows to a second hello.
#[test]
fn a_wrong_signature_fails() {
    for habit in [
        "forges=rsa_pkcs1_sha256",
        "forges=ecdsa_secp256r1_sha256",
        "forges=rsa_pkcs1_sha256 also=tls1.2/0033",
        "forges=ecdsa_secp256r1_sha256 also=tls1.2/c0ac",
    ] {
        let (_, _, zone) = ROUTES[0];
        let args = "--relay [mx.other.test]:587 --only sasl,tls";
        let tls = format!("timeless mx.other.test {habit}");
        let (run, was_sent) = Login { zone, args, tls: &tls, ..Login::PLAIN }.tried(SystemTime::now());
        assert!(!was_sent, "{habit}");
        assert_eq!((run.code, run.finding("tls.version", "").0.as_str()), (Some(1), "fail"), "{}", run.stdout);
        assert_eq!(run.finding("tls.chain", "").0, "skip", "{}", run.stdout);
    }
}

/// What comes of trying them four at a time, each with its number.
fn in_parallel<T: Sync>(trials: &[T], tried: impl Fn(usize, &T) -> Option<String> + Sync) -> Vec<String> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(trial) = trials.get(number) else { break };
                    let outcome = tried(number, trial);
                    found.lock().unwrap().extend(outcome);
                }
            });
        }
    });
    found.into_inner().unwrap()
}

/// A relay that takes alice's password, and what is typed to audit it.
struct Login<'a> {
    zone: &'a str,
    args: &'a str,
    /// What stands in the `TLS:` line.
    tls: &'a str,
    /// The one that is offered.
    mechanism: &'a str,
    /// Whether TLS comes first.
    is_wrapped: bool,
}

impl Login<'_> {
    const PLAIN: Self = Login { zone: "", args: "", tls: "", mechanism: "PLAIN", is_wrapped: false };

    /// The run with this clock of the checks, and whether a password, or what was made of it, was sent.
    fn tried(&self, moment: SystemTime) -> (Run, bool) {
        let folder = TempDir::new().unwrap();
        self.write(folder.path());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let theatre = runtime.block_on(World::read(folder.path()).unwrap().open(moment)).unwrap();
        let epoch = moment.duration_since(UNIX_EPOCH).unwrap().as_secs().to_string();
        let mut program = program();
        program.args(theatre.args()).args(["--format", "json"]).env("SOURCE_DATE_EPOCH", epoch);
        let run = finished(program.env("XDG_CACHE_HOME", folder.path()));
        runtime.block_on(theatre.settled());
        let was_sent = theatre.dialogues().iter().any(|line| line.contains(": AUTH"));
        (run, was_sent)
    }

    fn write(&self, folder: &Path) {
        let args =
            format!("check mail.example.com --sasl-user alice --sasl-password-file {{password-file}} {}\n", self.args);
        let starttls =
            "S: 220 mx.test ESMTP\nC: EHLO *\nS: 250-mx.test\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 Go ahead\n";
        let (before, after) = if self.is_wrapped { ("", "S: 220 mx.test ESMTP\n") } else { (starttls, "") };
        let relay = format!(
            "LISTEN: 192.0.2.66:587\n{before}TLS: {}\n{after}C: EHLO *\nS: 250-mx.test\nS: 250 AUTH {}\n\
             C: AUTH alice\nS: 235 2.7.0 Authentication successful\n",
            self.tls, self.mechanism
        );
        for (file, text) in [("zone", self.zone), ("args", &args), ("smtp.relay", &relay)] {
            fs::write(folder.join(file), text).unwrap();
        }
    }
}
