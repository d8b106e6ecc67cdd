//! Each certificate at each level: Postfix's word for it, as `posttls-finger` prints it, and what the checks say.

use std::{process::Command, sync::Arc};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::{
    audit::{Audit, Verdict, audit},
    mailservers::MailServers,
    pki::RELAY,
    server::output,
};

const LEVELS: [&str; 4] = ["may", "encrypt", "verify", "secure"];

/// A door, and what the checks say of it at level `encrypt`: each a status and a part of the message.
type Case = (&'static str, [(&'static str, &'static str); 4]);

#[rustfmt::skip]
const CASES: &[Case] = &[
    //  door                  tls.version           tls.chain                              tls.name                         tls.expiry
    ("trusted",            [("pass", "TLSv1.3"), ("pass", "Trusted"),                   ("pass", "relay.example.test"),  ("pass", "valid until")]),
    ("smtps",              [("pass", "TLSv1.3"), ("pass", "Trusted"),                   ("pass", "relay.example.test"),  ("pass", "valid until")]),
    ("rsa",                [("pass", "TLSv1.3"), ("pass", "Trusted"),                   ("pass", ""),                    ("pass", "")]),
    ("p384",               [("pass", "TLSv1.3"), ("pass", "Trusted"),                   ("pass", ""),                    ("pass", "")]),
    ("ed25519",            [("pass", "TLSv1.3"), ("pass", "Trusted"),                   ("pass", ""),                    ("pass", "")]),
    ("directly",           [("pass", "TLSv1.3"), ("pass", "Trusted"),                   ("pass", ""),                    ("pass", "")]),
    ("with-root",          [("pass", "TLSv1.3"), ("pass", "Trusted"),                   ("pass", ""),                    ("pass", "")]),
    ("expired",            [("pass", ""),        ("fail", "expired since 2024-04-01"),  ("pass", ""),                    ("fail", "expired since 2024-04-01")]),
    ("smtps-expired",      [("pass", ""),        ("fail", "expired since 2024-04-01"),  ("pass", ""),                    ("fail", "expired since 2024-04-01")]),
    ("not-yet-valid",      [("pass", ""),        ("fail", "not valid before 2055"),     ("pass", ""),                    ("fail", "not valid before 2055")]),
    ("self-signed",        [("pass", ""),        ("fail", "self-signed certificate"),   ("pass", ""),                    ("pass", "")]),
    ("wrong-name",         [("pass", ""),        ("pass", "Trusted"),                   ("fail", "other.example.test"),  ("pass", "")]),
    ("expired-wrong-name", [("pass", ""),        ("fail", "expired since 2024-04-01"),  ("fail", "other.example.test"),  ("fail", "expired")]),
    ("incomplete",         [("pass", ""),        ("fail", "intermediate certificate is missing"), ("pass", ""),          ("pass", "")]),
    ("incomplete-expired", [("pass", ""),        ("fail", "intermediate certificate is missing"), ("pass", ""),          ("fail", "expired")]),
    ("expired-issuer",     [("pass", ""),        ("fail", "Test expired-intermediate expired"),   ("pass", ""),          ("pass", "")]),
    ("unknown-root",       [("pass", ""),        ("fail", "Stranger"),                  ("pass", ""),                    ("pass", "")]),
    ("cn-only",            [("pass", ""),        ("pass", "Trusted"),                   ("warn", "common name"),         ("pass", "")]),
    ("wildcard",           [("pass", ""),        ("pass", "Trusted"),                   ("pass", "*.example.test"),      ("pass", "")]),
    ("next-hop",           [("pass", ""),        ("pass", "Trusted"),                   ("fail", "mail.outgoing"),       ("pass", "")]),
    ("for-clients",        [("pass", ""),        ("fail", "not designated"),            ("pass", ""),                    ("pass", "")]),
    ("sha1",               [("pass", ""),        ("pass", "SHA-1"),                     ("pass", ""),                    ("pass", "")]),
    ("sni",                [("pass", ""),        ("pass", "Trusted"),                   ("pass", "relay.example.test"),  ("pass", "")]),
    ("tls1.2",             [("pass", "TLSv1.2"), ("pass", "Trusted"),                   ("pass", ""),                    ("pass", "")]),
    ("tls1.2-rsa",         [("pass", "TLSv1.2"), ("pass", "Trusted"),                   ("pass", ""),                    ("pass", "")]),
    ("tls1.2-wrong-name",  [("pass", "TLSv1.2"), ("pass", "Trusted"),                   ("fail", "other.example.test"),  ("pass", "")]),
    ("rsa-4096",           [("pass", "TLSv1.3"), ("pass", "Trusted"),                   ("pass", ""),                    ("pass", "")]),
    ("rsa-1024",           [("pass", "not proved"), ("unknown", "not proved"),          ("unknown", "not proved"),       ("pass", "")]),
    ("p521",               [("pass", "not proved"), ("unknown", "not proved"),          ("unknown", "not proved"),       ("pass", "")]),
    ("tls1.2-p521",        [("pass", "TLSv1.2"), ("unknown", "not proved"),             ("unknown", "not proved"),       ("pass", "")]),
    ("ecdsa-sha1",         [("pass", "TLSv1.3"), ("unknown", "unknown kind"),           ("pass", ""),                    ("pass", "")]),
    ("rsa-exchange",       [("pass", "TLSv1.2, AES128-SHA256, RSA, from the server's hello"), ("unknown", "not proved"), ("unknown", "not proved"), ("pass", "")]),
    ("cbc",                [("pass", "ECDHE-RSA-AES256-SHA384"), ("unknown", "not proved"), ("unknown", "not proved"), ("pass", "")]),
    ("dhe",                [("pass", "DHE-RSA-AES128-GCM-SHA256, DHE"), ("unknown", "not proved"), ("unknown", "not proved"), ("pass", "")]),
];

/// Doors of TLS that is forbidden, and that Postfix still uses where it does not look at the certificate.
const OLD: &[(&str, &str)] = &[("tls1.0", "TLSv1"), ("tls1.1", "TLSv1.1")];

/// What the other checks say of a door at level `encrypt`.
#[rustfmt::skip]
const MORE: &[(&str, &[Verdict<'static>])] = &[
    ("trusted", &[
        ("tls.cipher", "", "pass", ""), ("tls.key", "", "pass", "ECDSA prime256v1"), ("tls.purpose", "", "pass", "serverAuth"),
        ("tls.lifetime", "", "pass", ""), ("tls.self-signed", "", "pass", ""), ("tls.capabilities", "", "pass", "AUTH"),
        ("tls.sni", "", "pass", "same"), ("tls.legacy", "", "warn", "TLSv1.1"), ("tls.resumption", "", "pass", ""),
        ("tls.injection", "", "pass", "")]),
    ("smtps",        &[("tls.sni", "", "pass", "same"), ("tls.legacy", "", "warn", "TLSv1.1"), ("tls.injection", "", "skip", "")]),
    ("tls1.2",       &[("tls.legacy", "", "pass", ""), ("tls.resumption", "", "pass", "")]),
    ("sni",          &[("tls.sni", "", "warn", "other.example.test")]),
    ("sha1",         &[("tls.key", "", "fail", "signed with SHA-1")]),
    ("ecdsa-sha1",   &[("tls.key", "", "fail", "signed with SHA-1")]),
    ("rsa-1024",     &[("tls.key", "", "fail", "1024 bits")]),
    ("rsa-4096",     &[("tls.key", "", "pass", "RSA 4096")]),
    ("p521",         &[("tls.key", "", "pass", "secp521r1")]),
    ("ed25519",      &[("tls.key", "", "pass", "Ed25519")]),
    ("rsa-exchange", &[("tls.cipher", "", "warn", "no forward secrecy")]),
    ("cbc",          &[("tls.cipher", "", "warn", "no authenticated encryption")]),
    ("dhe",          &[("tls.cipher", "", "warn", "DHE")]),
    ("for-clients",  &[("tls.purpose", "", "fail", "clientAuth")]),
    ("self-signed",  &[("tls.self-signed", "", "skip", "tls.chain"), ("tls.purpose", "", "warn", "CA:TRUE"),
                       ("tls.lifetime", "", "skip", "private CA")]),
    ("submission",   &[("tls.injection", "", "pass", ""), ("tls.resumption", "", "pass", ""), ("tls.sni", "", "pass", "")]),
];

const CHECKS: [&str; 4] = ["tls.version", "tls.chain", "tls.name", "tls.expiry"];

pub(crate) fn trials(servers: &Arc<MailServers>, resolver: u16) -> Vec<Trial> {
    let pairs = CASES.iter().flat_map(|case| LEVELS.map(|level| (case, level)));
    let compared = pairs.map(|((door, expected), level)| {
        let servers = Arc::clone(servers);
        Trial::test(format!("tls/{door}/{level}"), move || {
            let told = CHECKS.iter().zip(expected).map(|(check, (status, part))| (*check, "", *status, *part));
            let verdicts: Vec<Verdict<'_>> = told.filter(|_| level == "encrypt").collect();
            compared(&servers, resolver, door, level, &verdicts)
        })
    });
    let old = OLD.iter().flat_map(|door| LEVELS.map(|level| (door, level))).map(|((door, version), level)| {
        let servers = Arc::clone(servers);
        Trial::test(format!("tls/{door}/{level}"), move || forbidden(&servers, resolver, door, version, level))
    });
    let more = MORE.iter().map(|(door, verdicts)| {
        let servers = Arc::clone(servers);
        Trial::test(format!("tls/{door}/more"), move || {
            let more = ["--tls-level", "encrypt", "--only", "tls", "--tls-probe"];
            let audit = audit(&arguments(&servers, resolver, door, &more), &[])?;
            audit.expect(audit.code, verdicts)
        })
    });
    compared.chain(old).chain(more).collect()
}

/// Postfix uses old TLS up to `encrypt`, and has none at `verify` and above.
fn forbidden(servers: &MailServers, resolver: u16, door: &str, version: &str, level: &str) -> Result<(), Failed> {
    let audit = audit(&arguments(servers, resolver, door, &["--tls-level", level, "--only", "tls"]), &[])?;
    let status = if level == "may" { "warn" } else { "fail" };
    let message = format!("nothing newer than {version},");
    audit.expect(
        audit.code,
        &[("tls.version", "", status, &message), ("tls.chain", "", "unknown", "issued by CN=Test intermediate")],
    )?;
    let facts = &audit.finding("tls.version", "")?["facts"];
    let seen = Finger::pointed(servers, door, level).ok().map(|finger| (finger.version, finger.cipher, "deliver"));
    let word = |key: &str| facts[key].as_str().unwrap_or_default().to_owned();
    match (seen, word("postfix").as_str()) {
        (None, "defer") => Ok(()),
        (Some((version, _, outcome)), told) if told == outcome && version == word("version") => Ok(()),
        (seen, _) => Err(format!("posttls-finger: {seen:?}, the report: {facts}").into()),
    }
}

fn compared(
    servers: &MailServers,
    resolver: u16,
    door: &str,
    level: &str,
    verdicts: &[Verdict<'_>],
) -> Result<(), Failed> {
    let audit = audit(&arguments(servers, resolver, door, &["--tls-level", level, "--only", "tls"]), &[])?;
    audit.expect(audit.code, verdicts)?;
    let finger = Finger::pointed(servers, door, level)?;
    let Finger { trust, version, cipher, key_exchange, said } = &finger;
    let facts = &audit.finding("tls.chain", "")?["facts"];
    let is_same = |key: &str, seen: &str| facts[key] == *seen;
    // At levels that ask for no certificate Postfix takes an anonymous cipher of TLS 1.2, and sees no certificate.
    let is_anonymous = trust == "Anonymous" && facts["version"] == "TLSv1.2" && ["may", "encrypt"].contains(&level);
    // What cannot be judged has no verdict, nor has a signature that cannot be checked.
    let is_open = audit.finding("tls.chain", "")?["status"] == "unknown" && facts["trust"].is_null();
    if !is_open && !is_same("trust", trust) && !is_anonymous {
        return Err(format!("trust is {}, posttls-finger says {trust}:\n{said}", facts["trust"]).into());
    }
    let negotiated = [("version", version), ("cipher", cipher), ("key_exchange", key_exchange)];
    // Of TLS 1.2 it prints no key exchange.
    for (key, seen) in negotiated.iter().filter(|(_, seen)| !is_anonymous && !seen.is_empty()) {
        if !is_same(key, seen) {
            return Err(format!("{key} is {}, posttls-finger says {seen}:\n{said}", facts[*key]).into());
        }
    }
    if is_open { Ok(()) } else { expect_outcome(&audit, facts, level, trust) }
}

/// What Postfix would do follows from its word for the certificate, and so does the exit code.
fn expect_outcome(audit: &Audit, facts: &Value, level: &str, trust: &str) -> Result<(), Failed> {
    let defers = ["verify", "secure"].contains(&level) && trust != "Verified";
    let outcome = if defers { "defer" } else { "deliver" };
    if facts["postfix"] != outcome {
        return Err(format!("Postfix would {outcome}, the report says {}", facts["postfix"]).into());
    }
    match defers && audit.code != 1 {
        true => Err(format!("exit code {} though Postfix defers", audit.code).into()),
        false => Ok(()),
    }
}

/// What is typed to audit the relay behind a door.
pub(crate) fn arguments(servers: &MailServers, resolver: u16, door: &str, more: &[&str]) -> Vec<String> {
    let mut args = vec![
        "mail.example.test".to_owned(),
        "--relay".to_owned(),
        format!("[{RELAY}]:{}", servers.port(door)),
        "--resolver".to_owned(),
        format!("127.0.0.1:{resolver}"),
        "--ca-file".to_owned(),
        servers.root.clone(),
    ];
    if is_wrapped(door) {
        args.push("--tls-wrappermode".to_owned());
    }
    args.extend(more.iter().map(|word| (*word).to_owned()));
    args
}

pub(crate) fn is_wrapped(door: &str) -> bool {
    door.starts_with("smtps") || door == "submissions"
}

/// What `posttls-finger` says.
struct Finger {
    trust: String,
    version: String,
    cipher: String,
    key_exchange: String,
    said: String,
}

impl Finger {
    /// The names to look for are those that Postfix derives from `[relay.example.test]:PORT`.
    fn pointed(servers: &MailServers, door: &str, level: &str) -> Result<Self, Failed> {
        let below = format!(".{RELAY}");
        let names = match level {
            "verify" => vec![RELAY],
            "secure" => vec![RELAY, &below],
            _ => Vec::new(),
        };
        let destination = format!("[127.0.0.1]:{}", servers.port(door));
        let mut finger = Command::new("posttls-finger");
        finger.args(["-c", "-o", "tls_random_source=dev:/dev/urandom", "-F", &servers.root, "-l", level]);
        if is_wrapped(door) {
            finger.arg("-w");
        }
        if door == "sni" {
            // smtp_tls_servername: Postfix sends no name unless told, this program always does.
            finger.args(["-s", RELAY]);
        }
        let ran = output(finger.arg(destination).args(names))?;
        let said = String::from_utf8([ran.stdout, ran.stderr].concat())?;
        let Some((before, after)) = said.split_once(" TLS connection established") else {
            return Err(format!("posttls-finger saw no TLS:\n{said}").into());
        };
        let word = |mark: &str| {
            let found = after.split_once(mark).and_then(|(_, rest)| rest.split_whitespace().next());
            found.unwrap_or_default().to_owned()
        };
        let version = after.split_once("]:").and_then(|(_, rest)| rest.split_whitespace().nth(1));
        Ok(Self {
            trust: before.rsplit(' ').next().unwrap_or_default().trim().to_owned(),
            version: version.unwrap_or_default().to_owned(),
            cipher: word(" with cipher "),
            key_exchange: word(" key-exchange "),
            said,
        })
    }
}
