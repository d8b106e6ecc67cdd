//! Whatever a zone says, an SPF evaluation ends, within the limits of RFC 7208 section 4.6.4.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use fixtures::dns::Server;
use mail_preflight_checks::{
    Context, Evaluation, Plan, Protocols, Sender, Target, TlsLevel, TlsPolicy, Verdict, check_host,
    net::{Deadline, Net, dns::Dns, smtp::Dialogues, tls::Anchors},
};
use proptest::prelude::*;

/// A name of the made-up zone.
fn name() -> impl Strategy<Value = String> {
    (0..6_u8).prop_map(|index| format!("n{index}.example"))
}

fn term() -> impl Strategy<Value = String> {
    let qualifier = prop_oneof![4 => Just(""), 1 => Just("-"), 1 => Just("~"), 1 => Just("?")];
    let mechanism = prop_oneof![
        4 => name().prop_map(|name| format!("include:{name}")),
        2 => name().prop_map(|name| format!("a:{name}")),
        2 => name().prop_map(|name| format!("mx:{name}/24//64")),
        1 => name().prop_map(|name| format!("exists:%{{ir}}.{name}")),
        1 => name().prop_map(|name| format!("exists:{name}")),
        1 => name().prop_map(|name| format!("ptr:{name}")),
        1 => Just("a:%{p}.example".to_owned()),
        1 => Just("ip4:192.0.2.0/25".to_owned()),
        1 => Just("ip6:2001:db8::/32".to_owned()),
        1 => Just("mx".to_owned()),
        1 => Just("all".to_owned()),
    ];
    let modifier =
        prop_oneof![name().prop_map(|name| format!("redirect={name}")), name().prop_map(|name| format!("exp={name}")),];
    prop_oneof![8 => (qualifier, mechanism).prop_map(|(qualifier, mechanism)| format!("{qualifier}{mechanism}")), 1 => modifier]
}

fn records() -> impl Strategy<Value = String> {
    let record = prop_oneof![
        6 => prop::collection::vec(term(), 0..8).prop_map(|terms| format!("TXT \"v=spf1 {}\"", terms.join(" "))),
        2 => (0..255_u8).prop_map(|host| format!("A 192.0.2.{host}")),
        1 => (0..255_u8).prop_map(|host| format!("AAAA 2001:db8::{host:x}")),
        2 => name().prop_map(|name| format!("MX 10 {name}")),
    ];
    prop::collection::vec(record, 0..4).prop_map(|records| records.join("\n@ "))
}

/// Records for each name, what goes wrong, and what the reverse tree says.
fn zone() -> impl Strategy<Value = String> {
    let trouble = prop_oneof![
        6 => Just(String::new()),
        1 => name().prop_map(|name| format!(";! servfail {name} *\n")),
        1 => name().prop_map(|name| format!(";! refused {name} TXT\n")),
    ];
    let pointers = prop::collection::vec(name(), 0..3);
    (prop::collection::vec(records(), 6), trouble, pointers).prop_map(|(names, trouble, pointers)| {
        let mut zone = trouble;
        for (index, records) in names.iter().enumerate().filter(|(_, records)| !records.is_empty()) {
            zone.push_str(&format!("n{index}.example {}\n", records.replace('@', &format!("n{index}.example"))));
        }
        for pointer in pointers {
            zone.push_str(&format!("5.2.0.192.in-addr.arpa PTR {pointer}\n"));
        }
        zone
    })
}

async fn evaluation(zone: &str, ip: IpAddr) -> (Evaluation, usize) {
    let server = Server::open(zone).unwrap_or_else(|error| panic!("{error:#}\n{zone}"));
    let dns = Dns::new(vec![server.address()], Deadline::after(Duration::from_secs(30)));
    let sender = Sender::new(ip, "n0.example", "someone@n0.example", SystemTime::UNIX_EPOCH);
    let evaluation = check_host(&dns, &sender).await;
    (evaluation, server.questions().len())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn an_evaluation_ends_within_the_limits(zone in zone(), six in any::<bool>()) {
        let ip = if six { "2001:db8::5" } else { "192.0.2.5" }.parse().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (evaluation, questions) = runtime.block_on(evaluation(&zone, ip));
        prop_assert!(evaluation.lookups <= 10, "{} lookups\n{zone}", evaluation.lookups);
        prop_assert!(evaluation.void_lookups <= 3, "{} void lookups\n{zone}", evaluation.void_lookups);
        // The record, ten terms of an MX with ten exchanges or a PTR with ten names, an explanation; each tried twice.
        prop_assert!(questions <= 2 * (2 + 10 * 11), "{questions} questions\n{zone}");
        let decided = matches!(evaluation.verdict, Verdict::Pass | Verdict::Fail | Verdict::Softfail);
        prop_assert!(!decided || evaluation.mechanism.is_some(), "nothing decided {}\n{zone}", evaluation.verdict);
        let faulty = matches!(evaluation.verdict, Verdict::Permerror | Verdict::Temperror);
        prop_assert_eq!(faulty, evaluation.reason.is_some());
    }
}

/// A record that includes two hundred names, under each of which a wildcard includes fifty more.
#[test]
fn the_linter_asks_a_hundred_questions_at_most() {
    let many = |count: usize, zone: &str| -> String {
        let includes: Vec<String> = (0..count).map(|index| format!("include:i{index}.{zone}")).collect();
        let strings = includes.chunks(8).map(|chunk| format!("\" {}\"", chunk.join(" ")));
        format!("\"v=spf1\" {}", strings.collect::<Vec<_>>().join(" "))
    };
    let zone = format!("n0.example TXT {}\n*.a.example TXT {}\n", many(200, "a.example"), many(50, "b.a.example"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (findings, asked) = runtime.block_on(linted(&zone));
    assert!(asked <= 100, "{asked} questions");
    assert_eq!(findings, ["more than 100 DNS lookups, 10 allowed"]);
}

/// What `spf.lookups` says about n0.example, and how many different questions it asked.
async fn linted(zone: &str) -> (Vec<String>, usize) {
    let server = Server::open(zone).unwrap_or_else(|error| panic!("{error:#}"));
    let deadline = Deadline::after(Duration::from_secs(30));
    let target = Target {
        hostname: None,
        domains: vec!["n0.example".parse().unwrap()],
        mail_from: None,
        ips: Vec::new(),
        protocols: Protocols::All,
        selectors: Vec::new(),
        relay: None,
        tls: TlsPolicy {
            level: TlsLevel::May,
            level_typed: false,
            matches: Vec::new(),
            wrappermode: false,
            anchors: Anchors::load(None, None).unwrap(),
        },
        sasl: None,
        connect_to: Vec::new(),
        mx_probe: false,
    };
    let net = Net { dns: Dns::new(vec![server.address()], deadline), smtp: Dialogues::new(deadline) };
    let cx = Context { target, net, now: SystemTime::UNIX_EPOCH };
    let plan = Plan::new(&["spf.lookups".to_owned()], &[]).unwrap();
    let findings = plan.run(&cx, |_| {}).await.into_iter().map(|finding| finding.message).collect();
    let mut questions: Vec<String> = server
        .questions()
        .iter()
        .map(|asked| asked.trim_start_matches("udp ").trim_start_matches("tcp ").to_owned())
        .collect();
    questions.sort();
    questions.dedup();
    (findings, questions.len())
}
