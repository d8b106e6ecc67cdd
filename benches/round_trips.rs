//! What an audit costs in round trips: the time of the real binary against worlds whose servers answer late.
//!
//! `cargo bench --bench round_trips` prints, for each world and delay, the median of a few runs, the chain of questions
//! that wait for each other, and the ratio of the two. Nothing is asserted: a busy machine is slower.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a benchmark may fail")]

use std::{fmt::Write, fs, process::Command, time::Instant};

use fixtures::World;

const RUNS: usize = 9;

/// TXT of the domain, then nine includes, each inside the one before.
const DNS_CHAIN: u32 = 10;

/// TCP, banner, EHLO, STARTTLS, TLS handshake, EHLO, AUTH; TCP on loopback and the handshake's network part take none
/// of the delay, so the replies that are waited for count: banner, EHLO, STARTTLS, EHLO, AUTH.
const SMTP_CHAIN: u32 = 5;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    println!("{:<8} {:>6} {:>6} {:>8} {:>6} {:>10}", "world", "delay", "chain", "median", "ratio", "questions");
    for delay in [20, 50] {
        runtime.block_on(measured("dns", delay, DNS_CHAIN, &dns_zone(delay), None));
        // The relay's address is one question before its dialogue.
        let relay = Some(relay_script(delay));
        runtime.block_on(measured("relay", delay, 1 + SMTP_CHAIN, &relay_zone(delay), relay));
    }
}

async fn measured(name: &str, delay: u32, chain: u32, zone: &str, relay: Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("zone"), zone).unwrap();
    let login =
        " --only relay,tls,sasl --relay [smtp.example.net]:587 --sasl-user alice --sasl-password-file {password-file}";
    let selectors = " --selector s1 --selector s2 --selector s3";
    let args = if relay.is_some() { login } else { selectors };
    fs::write(folder.path().join("args"), format!("check mail.example.com{args}")).unwrap();
    if let Some(relay) = relay {
        fs::write(folder.path().join("smtp.relay"), relay).unwrap();
    }
    let theatre = World::read(folder.path()).unwrap().open(std::time::SystemTime::now()).await.unwrap();
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let started = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mail-preflight"));
        command.args(theatre.args()).arg("--format=json");
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        times.push(started.elapsed().as_secs_f64() * 1000.0);
        assert!(output.status.code() != Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    }
    times.sort_by(f64::total_cmp);
    let (median, due) = (times[RUNS / 2], f64::from(chain * delay));
    let questions = theatre.questions().len() / RUNS;
    println!("{name:<8} {delay:>4}ms {chain:>6} {median:>6.0}ms {:>6.2} {questions:>10}", median / due);
}

/// A host with two addresses of each family, nine nested includes and three selectors.
fn dns_zone(delay: u32) -> String {
    let mut zone = format!(";! delay {delay}ms\n");
    for host in 10..12 {
        let _ = writeln!(zone, "mail.example.com A 192.0.2.{host}\nmail.example.com AAAA 2001:db8::{host}");
        let _ = writeln!(zone, "{host}.2.0.192.in-addr.arpa PTR mail.example.com");
        let nibbles = format!("{}.{}", host % 10, host / 10);
        let zeros = "0.".repeat(22);
        let _ = writeln!(zone, "{nibbles}.{zeros}8.b.d.0.1.0.0.2.ip6.arpa PTR mail.example.com");
    }
    let _ = writeln!(zone, "example.com TXT \"v=spf1 include:n1.example.com -all\"\nexample.com MX 10 mx.example.com");
    for level in 1..9 {
        let _ = writeln!(zone, "n{level}.example.com TXT \"v=spf1 include:n{}.example.com -all\"", level + 1);
    }
    let _ = writeln!(zone, "n9.example.com TXT \"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all\"");
    for selector in 1..4 {
        let _ = writeln!(zone, "s{selector}._domainkey.example.com TXT \"v=DKIM1; k=ed25519; p={}\"", ED25519);
    }
    zone + "mx.example.com A 192.0.2.20\nmail.example.com TXT \"v=spf1 a -all\"\n"
}

const ED25519: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

fn relay_zone(delay: u32) -> String {
    format!(";! delay {delay}ms\nsmtp.example.net A 198.51.100.25\n")
}

fn relay_script(delay: u32) -> String {
    format!(
        "LISTEN: 198.51.100.25:587\nDELAY: {delay}ms\nS: 220 smtp.example.net ESMTP\nC: EHLO *\nS: 250-smtp.example.net\n\
         S: 250 STARTTLS\nC: STARTTLS\nS: 220 2.0.0 Ready\nTLS: trusted smtp.example.net\nC: EHLO *\n\
         S: 250-smtp.example.net\nS: 250 AUTH PLAIN LOGIN\nC: AUTH alice\nS: 235 2.7.0 Authentication successful\n"
    )
}
