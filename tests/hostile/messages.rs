//! Signed messages and the keys that verify them.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use fixtures::World;
use tempfile::TempDir;

use crate::villain::{Run, finished, program};

/// The clock of the worlds: 2026-11-20T15:00:00Z.
const NOW: u64 = 1_795_186_800;

const KEY: &str = "v=DKIM1; k=ed25519; p=6SwsWtv3oHLxGtlrOzQU8UCM+giFdu3cltgBi/05c+A=";

/// What a good signature of the worlds' key says.
const TAGS: &str =
    "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.com; s=s2026; t=1795186740; h=from:from:to:subject:date";

const MESSAGE: &str = "From: Alice <alice@example.com>\nTo: bob@example.net\nSubject: Before go-live\n\
                       Date: Fri, 20 Nov 2026 14:59:00 +0000\n\nHello,\n\nthis is the message.\n";

/// Audits a message in a world whose one selector publishes `key` and whose policy rejects.
fn audited(key: &str, message: &str, options: &[&str]) -> Run {
    let folder = TempDir::new().unwrap();
    let zone = format!(
        "s2026._domainkey.example.com TXT {}\nexample.com TXT \"v=spf1 -all\"\n_dmarc.example.com TXT \"v=DMARC1; p=reject\"\n",
        key.as_bytes().chunks(200).fold(String::new(), |mut text, part| {
            write!(text, "\"{}\" ", String::from_utf8_lossy(part)).unwrap();
            text
        })
    );
    fs::write(folder.path().join("zone"), zone).unwrap();
    fs::write(folder.path().join("message"), message).unwrap();
    let args = "check --message {message} --ip 192.0.2.10 --only dkim.signature,dkim.record,dmarc.message\n";
    fs::write(folder.path().join("args"), args).unwrap();
    played(folder.path(), options)
}

fn played(folder: &Path, options: &[&str]) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let now = std::time::UNIX_EPOCH + Duration::from_secs(NOW);
        let theatre = World::read(folder).unwrap().open(now).await.unwrap();
        let mut program = program();
        program.env("SOURCE_DATE_EPOCH", NOW.to_string());
        program.args(theatre.args()).args(["--format", "json"]).args(options);
        tokio::task::spawn_blocking(move || finished(&mut program)).await.unwrap()
    })
}

/// The good signature with one tag changed, taken out (`-name`) or put behind it (`+name=value`).
fn changed(change: &str) -> String {
    let name = change.split('=').next().unwrap_or_default();
    let tags = TAGS.split("; ").filter_map(|tag| match tag.split('=').next() {
        Some(known) if name == format!("-{known}") => None,
        Some(known) if name == known => Some(change),
        _ => Some(tag),
    });
    let tags: Vec<&str> = tags.collect();
    match (change.strip_prefix('+'), TAGS.contains(&format!("{name}="))) {
        (Some(more), _) => format!("{}; {more}", tags.join("; ")),
        (None, false) if !change.starts_with('-') => format!("{}; {change}", tags.join("; ")),
        _ => tags.join("; "),
    }
}

/// The verdicts of `dkim.signature` and `dmarc.message`.
fn verdicts(run: &Run) -> [(String, String); 2] {
    [run.finding("dkim.signature", ""), run.finding("dmarc.message", "")]
}

/// What a run said otherwise than expected.
fn unexpected(run: &Run, case: &str, expected: (&str, &str), part: &str) -> Option<String> {
    let [signature, dmarc] = verdicts(run);
    let is_so = (signature.0.as_str(), dmarc.0.as_str()) == expected && signature.1.contains(part);
    (!is_so).then(|| format!("{case}: {signature:?} {dmarc:?}"))
}

#[test]
fn the_good_signature_passes() {
    let run = audited(KEY, &format!(";! sign {TAGS}\n{MESSAGE}"), &[]);
    let [signature, dmarc] = verdicts(&run);
    assert_eq!((run.code, signature.0.as_str(), dmarc.0.as_str()), (Some(0), "pass", "pass"), "{run:?}");
}

/// RFC 6376 section 3.5 and 6.1.1: what the field itself rules out, though hash and signature are right.
#[test]
fn a_field_that_the_standard_refuses_never_passes() {
    let mut wrong = Vec::new();
    for (change, part) in [
        ("-v", "v= is missing"),
        ("v=2", "v=2"),
        ("v=1x", "v=1x"),
        ("-a", "a= is missing"),
        ("-d", "d= is missing"),
        ("-s", "s= is missing"),
        ("d=example .com", "d=example .com"),
        ("s=s 2026", "s=s 2026"),
        ("c=relaxed/relaxed/simple", "c=relaxed/relaxed/simple"),
        ("c=relaxed/", "c=relaxed/"),
        ("q=dns/zone", "q=dns/zone"),
        ("q=https", "q=https"),
        ("h=to:subject", "From is not signed"),
        ("h=fr om:to", "h="),
        ("+d=example.com", "d= stands twice"),
        ("+a=ed25519-sha256", "a= stands twice"),
        ("+l=abc", "l=abc"),
        ("+l=-1", "l=-1"),
        ("t=yesterday", "t=yesterday"),
        ("+x=soon", "x=soon"),
        ("+x=1795186740", "x= is not later than t="),
        ("+x=1795186741", "expired"),
        ("+l=99", "l= counts more octets than the body has (32)"),
        ("+l=18446744073709551616", "l= counts more octets than the body has (32)"),
        ("+i=@example.net", "i=@example.net"),
        ("+i=@notexample.com", "i=@notexample.com"),
        ("+i=@example.com.evil.test", "i=@example.com.evil.test"),
        ("+i=@evil.test=40.example.com", "i="),
        ("+i=alice", "i=alice"),
        ("+i=", "i="),
        ("+junk", "junk"),
    ] {
        let run = audited(KEY, &format!(";! sign {}\n{MESSAGE}", changed(change)), &[]);
        wrong.extend(unexpected(&run, change, ("fail", "fail"), part));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// RFC 6376 sections 3.6.1 and 6.1.2: keys that a verifier does not use, whatever they verify.
#[test]
fn a_key_that_is_not_for_this_never_verifies() {
    let mut wrong = Vec::new();
    let p = KEY.rsplit("p=").next().unwrap_or_default();
    for (key, part) in [
        (format!("v=DKIM1; k=ed25519; s=tlsrpt; p={p}"), "s=tlsrpt leaves out email"),
        (format!("v=DKIM1; k=ed25519; s=emails; p={p}"), "s=emails leaves out email"),
        (format!("v=DKIM1; k=ed25519; s=; p={p}"), "s= leaves out email"),
        (format!("v=DKIM1; k=ed25519; h=sha1; p={p}"), "h=sha1 leaves out sha256"),
        (format!("v=DKIM1; k=ed25519; h=sha512:x; p={p}"), "leaves out sha256"),
        (format!("k=ed25519; v=DKIM1; p={p}"), "v=DKIM1 is not the first tag"),
        (format!("p={p}; k=ed25519; v=DKIM1"), "v=DKIM1 is not the first tag"),
        (format!("v=DKIM1; k=ed25519; p={p}; p={p}"), "p= stands twice"),
        (format!("v=DKIM1; k=ed25519; p={p}; junk"), "junk"),
        (format!("v=DKIM1; p={p}"), "32 octets"),
        (format!("v=DKIM1; k=ed448; p={p}"), "k=ed448"),
        // The neutral element, for which R = itself and S = 0 verifies every message.
        ("v=DKIM1; k=ed25519; p=AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned(), "anybody can sign"),
    ] {
        let direction = if key.contains("p=AQAA") { "forge" } else { "sign" };
        let run = audited(&key, &format!(";! {direction} {TAGS}\n{MESSAGE}"), &[]);
        wrong.extend(unexpected(&run, &key, ("fail", "fail"), part));
    }
    // With t=y the mail counts as unsigned, and a revoked key is none.
    for (key, status, part) in [
        (format!("v=DKIM1; k=ed25519; t=y; p={p}"), "warn", "t=y"),
        ("v=DKIM1; k=ed25519; p=".to_owned(), "unknown", "dkim.revoked"),
    ] {
        let run = audited(&key, &format!(";! sign {TAGS}\n{MESSAGE}"), &[]);
        wrong.extend(unexpected(&run, &key, (status, "fail"), part));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Strict identity (t=s) and a signature below it, and one outside of d=: each is told by its own rule.
#[test]
fn an_identity_is_explained_by_its_own_rule() {
    let strict = KEY.replace("k=", "t=s; k=");
    for (key, identity, part) in [
        (KEY, "+i=@example.net", "neither example.com nor below it"),
        (strict.as_str(), "+i=@example.net", "neither example.com nor below it"),
        (strict.as_str(), "+i=@news.example.com", "which the key's t=s demands"),
    ] {
        let run = audited(key, &format!(";! sign {}\n{MESSAGE}", changed(identity)), &[]);
        let [signature, _] = verdicts(&run);
        assert!(signature.0 == "fail" && signature.1.contains(part), "{identity}: {signature:?}");
    }
    let run = audited(KEY, &format!(";! sign {}\n{MESSAGE}", changed("+i=@News.Example.com")), &[]);
    assert_eq!(verdicts(&run)[0].0, "pass", "{run:?}");
}

/// A carriage return alone is ignored by one verifier and hashed by the next.
#[test]
fn lines_that_end_otherwise_than_in_crlf_verify_nothing() {
    let message = format!(";! sign {TAGS}\n;! replace Hello, => Hel\u{d}lo,\n{MESSAGE}");
    let run = audited(KEY, &message, &[]);
    let [signature, dmarc] = verdicts(&run);
    assert_eq!((signature.0.as_str(), dmarc.0.as_str()), ("fail", "fail"), "{signature:?} {dmarc:?}");
}

/// Two thousand fields, each of which wants a hash of its own of two megabytes.
#[test]
fn a_flood_of_signatures_is_cut_before_it_is_read() {
    let mut message = String::new();
    for number in 0..2_000 {
        writeln!(
            message,
            "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.com; s=s{number}; l={}; h=from; bh=AAAA; b=AAAA",
            1_000_000 + number
        )
        .unwrap();
    }
    let message = format!("{message}{MESSAGE}{}", "A line of a body that is long. \n".repeat(65_000));
    let run = audited(KEY, &message, &["--timeout", "20s"]);
    assert!(run.wall < Duration::from_secs(30), "{:?}", run.wall);
    assert!(run.peak < 400 << 20, "{} octets", run.peak);
    let said = run.finding("dkim.signature", "example.com");
    assert_eq!(said, ("warn".to_owned(), "2000 DKIM-Signature fields; the first 20 are judged".to_owned()));
    let dmarc = run.finding("dmarc.message", "example.com");
    assert_eq!(dmarc.0, "unknown", "{dmarc:?}");
}

/// Headers that nobody sends: each ends in a report or in one line, soon and without much memory.
#[test]
fn floods_in_the_header_are_borne_or_refused() {
    let signed = format!("DKIM-Signature: {TAGS}; bh=AAAA; b=AAAA\n");
    let many = "x-a:".repeat(50_000);
    let mut wrong = Vec::new();
    for (name, message, code) in [
        ("fields", format!("{}{MESSAGE}", "X-A: b\n".repeat(50_000)), 1),
        ("received", format!("{}{signed}{MESSAGE}", "Received: from a by b; now\n".repeat(5_000)), 1),
        ("folding", format!("X-A: b\n{}{signed}{MESSAGE}", " \n".repeat(50_000)), 1),
        ("a long field", format!("X-A: {}\n{MESSAGE}", "a".repeat(5 << 20)), 2),
        ("a long From", format!("From: {}\n\n", "a@example.com, ".repeat(50_000)), 1),
        ("a long Return-Path", format!("Return-Path: <a@{}>\n{MESSAGE}", "a.".repeat(500_000)), 2),
        ("a long h=", format!("{}{MESSAGE}", signed.replace("h=", &format!("h={many}"))), 3),
        (
            "ARC sets",
            format!("{}{MESSAGE}", "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=a.test; s=a; b=AAAA\n".repeat(10_000)),
            1,
        ),
        ("DKIM2", format!("{}{MESSAGE}", "Message-Instance: m=1; h=AAAA\nDKIM2-Signature: i=1\n".repeat(10_000)), 1),
        (
            "nesting",
            (0..5_000).fold(
                MESSAGE.trim_end().replacen("\n\n", "\nContent-Type: multipart/mixed; boundary=0\n\n", 1),
                |mut text, number| {
                    write!(text, "\n--{number}\nContent-Type: multipart/mixed; boundary={}\n", number + 1).unwrap();
                    text
                },
            ),
            1,
        ),
    ] {
        let run = audited(KEY, &message, &["--timeout", "20s"]);
        let is_small = run.stdout.len() < 100_000 && run.stderr.len() < 1_000;
        if run.code != Some(code) || run.wall > Duration::from_secs(30) || run.peak > 400 << 20 || !is_small {
            let said = run.stdout.get(..500).unwrap_or(&run.stdout);
            wrong.push(format!(
                "{name}: {:?}, {:?}, {} octets, {} in the report: {} {said}",
                run.code,
                run.wall,
                run.peak,
                run.stdout.len(),
                run.stderr
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
