//! Match lists at the levels that have one: Postfix's word for it, as `posttls-finger` prints it, and ours.

use std::{process::Command, sync::Arc};

use libtest_mimic::{Failed, Trial};

use crate::{audit::audit, mailservers::MailServers, pki::RELAY, server::output, tls::arguments};

/// Door, level, and the match list; `CERTIFICATE` and `KEY` stand for the digests of the server's, `MD5` and `SHA1` for
/// older ones of its key, with `smtp_tls_fingerprint_digest` set accordingly.
#[rustfmt::skip]
const CASES: &[(&str, &str, &[&str])] = &[
    ("trusted",            "verify",      &["hostname"]),
    ("trusted",            "verify",      &["other.example.test"]),
    ("trusted",            "verify",      &["other.example.test", RELAY]),
    ("wrong-name",         "verify",      &["another.example.test"]),
    ("wrong-name",         "secure",      &[".example.test"]),
    ("wrong-name",         "secure",      &[".other.example.test"]),
    ("wildcard",           "secure",      &[".example.test"]),
    ("wildcard",           "secure",      &["mail.example.test"]),
    ("wildcard",           "verify",      &["example.test"]),
    ("cn-only",            "secure",      &["nexthop"]),
    ("next-hop",           "secure",      &[".outgoing.example.test"]),
    ("expired",            "verify",      &["hostname"]),
    ("trusted",            "fingerprint", &["CERTIFICATE"]),
    ("trusted",            "fingerprint", &["KEY"]),
    ("trusted",            "fingerprint", &["MD5"]),
    ("trusted",            "fingerprint", &["SHA1"]),
    ("expired-wrong-name", "fingerprint", &["KEY"]),
    ("self-signed",        "fingerprint", &["CERTIFICATE"]),
    ("self-signed",        "fingerprint", &["00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10:11:12:13:14:15:16:17:18:19:1a:1b:1c:1d:1e:1f", "KEY"]),
    ("trusted",            "fingerprint", &["00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10:11:12:13:14:15:16:17:18:19:1a:1b:1c:1d:1e:1f"]),
];

pub(crate) fn trials(servers: &Arc<MailServers>, resolver: u16) -> Vec<Trial> {
    let trial = |(door, level, patterns): &(&'static str, &'static str, &'static [&'static str])| {
        let (servers, door, level, patterns) = (Arc::clone(servers), *door, *level, *patterns);
        let list: Vec<String> = patterns.iter().map(|pattern| pattern.chars().take(24).collect()).collect();
        Trial::test(format!("levels/{door}/{level}/{}", list.join(",")), move || {
            compared(&servers, resolver, door, level, patterns)
        })
    };
    CASES.iter().map(trial).collect()
}

fn compared(servers: &MailServers, resolver: u16, door: &str, level: &str, patterns: &[&str]) -> Result<(), Failed> {
    // The names that stand for others are this relay's: the other program is told an address.
    let algorithm = match patterns {
        ["MD5"] => "md5",
        ["SHA1"] => "sha1",
        _ => "sha256",
    };
    let (certificate, key) = digests(servers, door, algorithm)?;
    let literal = |pattern: &&str| match *pattern {
        "CERTIFICATE" => certificate.clone(),
        "KEY" | "MD5" | "SHA1" => key.clone(),
        "hostname" | "nexthop" => RELAY.to_owned(),
        other => other.to_owned(),
    };
    let said = pointed(servers, door, level, algorithm, &patterns.iter().map(literal).collect::<Vec<_>>())?;
    let Some((before, _)) = said.split_once(" TLS connection established") else {
        return Err(format!("posttls-finger saw no TLS:\n{said}").into());
    };
    let trust = before.rsplit(' ').next().unwrap_or_default().trim();

    let mut more = vec!["--tls-level", level, "--only", "tls"];
    let typed: Vec<String> = patterns
        .iter()
        .map(|pattern| match *pattern {
            "hostname" | "nexthop" => (*pattern).to_owned(),
            _ => literal(pattern),
        })
        .collect();
    more.extend(typed.iter().flat_map(|pattern| ["--tls-match", pattern]));
    let audit = audit(&arguments(servers, resolver, door, &more), &[])?;
    let facts = &audit.finding("tls.version", "")?["facts"];
    if facts["trust"] != *trust {
        return Err(format!("trust is {}, posttls-finger says {trust}:\n{said}", facts["trust"]).into());
    }
    if algorithm != "sha256" {
        audit.expect(audit.code, &[("tls.name", "", "warn", algorithm)])?;
    }
    let outcome = if trust == "Verified" { "deliver" } else { "defer" };
    match facts["postfix"] == outcome && (outcome == "deliver" || audit.code == 1) {
        true => Ok(()),
        false => Err(format!("Postfix would {outcome}, the report says {} ({})", facts["postfix"], audit.code).into()),
    }
}

/// The digests as `posttls-finger` prints them.
fn digests(servers: &MailServers, door: &str, algorithm: &str) -> Result<(String, String), Failed> {
    let said = pointed(servers, door, "encrypt", algorithm, &[])?;
    let word = |mark: &str| {
        let found = said.split_once(mark).and_then(|(_, rest)| rest.split([',', '\n']).next());
        found.map(|word| word.trim().to_owned()).ok_or_else(|| format!("no {mark} in:\n{said}"))
    };
    Ok((word(" fingerprint=")?, word(" pkey_fingerprint=")?))
}

fn pointed(
    servers: &MailServers,
    door: &str,
    level: &str,
    algorithm: &str,
    patterns: &[String],
) -> Result<String, Failed> {
    let mut finger = Command::new("posttls-finger");
    finger.args(["-c", "-L", "summary,certmatch", "-o", "tls_random_source=dev:/dev/urandom"]);
    finger.args(["-F", &servers.root, "-d", algorithm, "-l", level]);
    let ran = output(finger.arg(format!("[127.0.0.1]:{}", servers.port(door))).args(patterns))?;
    Ok(String::from_utf8([ran.stdout, ran.stderr].concat())?)
}
