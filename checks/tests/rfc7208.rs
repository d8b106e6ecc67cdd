//! The public test suite of RFC 7208, asked through the real DNS layer.
//!
//! It reads the file that `RFC7208_SUITE` names (CONTRIBUTING.md says where to find it) and says so where it is not set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use std::{
    env, fs,
    io::{self, Write},
    time::{Duration, SystemTime},
};

use mail_preflight_checks::{
    Evaluation, Sender, check_host,
    net::{Deadline, dns::Dns},
};
use yaml_rust2::{Yaml, YamlLoader};

/// The types that a suite's `TIMEOUT` is about.
const TYPES: [&str; 5] = ["TXT", "A", "AAAA", "MX", "PTR"];

#[tokio::test]
async fn every_case_gives_an_accepted_result() {
    let Some(path) = env::var_os("RFC7208_SUITE") else {
        return say("RFC 7208 SUITE: NOT RUN, RFC7208_SUITE does not name it (see CONTRIBUTING.md)");
    };
    let suite = fs::read_to_string(&path).expect("the suite can be read");
    let (mut passed, mut wrong) = (0, Vec::new());
    for group in YamlLoader::load_from_str(&suite).expect("the suite is YAML") {
        let zone = zone(&group["zonedata"]);
        let server = fixtures::dns::Server::open(&zone).unwrap_or_else(|error| panic!("{error:#}\n{zone}"));
        for (name, case) in group["tests"].as_hash().expect("tests") {
            let dns = Dns::new(vec![server.address()], Deadline::after(Duration::from_secs(60)));
            let evaluation = check_host(&dns, &sender(case)).await;
            match complaint(case, &evaluation) {
                None => passed += 1,
                Some(complaint) => wrong.push(format!("{}: {complaint}", text(name))),
            }
        }
    }
    say(&format!("RFC 7208 SUITE: {passed} of {} cases pass", passed + wrong.len()));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Tells whoever runs the tests, past the harness, which keeps what passing tests print to itself.
fn say(what: &str) {
    writeln!(io::stderr(), "{what}").expect("standard error can be written");
}

fn sender(case: &Yaml) -> Sender {
    let ip = text(&case["host"]).parse().expect("an address");
    Sender::new(ip, &text(&case["helo"]), &text(&case["mailfrom"]), SystemTime::now())
}

fn complaint(case: &Yaml, evaluation: &Evaluation) -> Option<String> {
    let accepted: Vec<String> = match &case["result"] {
        Yaml::Array(results) => results.iter().map(text).collect(),
        result => vec![text(result)],
    };
    let verdict = evaluation.verdict.to_string();
    if !accepted.contains(&verdict) {
        return Some(format!("{verdict} ({}), accepted: {accepted:?}", evaluation.because()));
    }
    let explanation = text(&case["explanation"]);
    let ours = evaluation.explanation.clone().unwrap_or_else(|| "DEFAULT".to_owned());
    (!explanation.is_empty() && verdict == "fail" && ours != explanation)
        .then(|| format!("explained with {ours:?}, expected {explanation:?}"))
}

/// The suite's zone data as a zone file. What it calls SPF stands for TXT where the name has no TXT of its own.
fn zone(data: &Yaml) -> String {
    let mut lines = Vec::new();
    for (name, entries) in data.as_hash().expect("zonedata") {
        let owner = owner(&text(name));
        let entries = entries.as_vec().cloned().unwrap_or_default();
        let has_txt = entries.iter().any(|entry| !entry["TXT"].is_badvalue());
        let mut answered: Vec<String> = Vec::new();
        for entry in &entries {
            let Some((rtype, value)) = entry.as_hash().and_then(|entry| entry.front()) else {
                let silent = TYPES.iter().filter(|rtype| !answered.contains(&(**rtype).to_owned()));
                lines.extend(silent.map(|rtype| format!(";! servfail {owner} {rtype}")));
                break;
            };
            let rtype = match text(rtype).as_str() {
                "SPF" if has_txt => continue,
                "SPF" => "TXT".to_owned(),
                other => other.to_owned(),
            };
            if value.as_str() != Some("NONE") {
                answered.push(rtype.clone());
            }
            match (rtype.as_str(), value) {
                ("TXT", Yaml::String(none)) if none == "NONE" => {}
                (rtype, Yaml::String(timeout)) if timeout == "TIMEOUT" => {
                    lines.push(format!(";! servfail {owner} {rtype}"));
                }
                ("TXT", Yaml::Array(strings)) if strings.is_empty() => {
                    lines.push(format!(";! empty-string {owner} TXT"));
                }
                ("TXT", Yaml::Array(strings)) => {
                    let strings: Vec<String> = strings.iter().map(|string| quoted(&text(string))).collect();
                    lines.push(format!("{owner} TXT {}", strings.join(" ")));
                }
                ("TXT", string) => lines.push(format!("{owner} TXT {}", split(&text(string)))),
                ("MX", Yaml::Array(fields)) => match fields.as_slice() {
                    [preference, exchange] => {
                        let exchange = Some(text(exchange)).filter(|exchange| !exchange.is_empty());
                        let exchange = exchange.map_or_else(|| ".".to_owned(), |exchange| self::owner(&exchange));
                        lines.push(format!("{owner} MX {} {exchange}", text(preference)));
                    }
                    other => panic!("MX {other:?}"),
                },
                ("PTR" | "CNAME", target) => lines.push(format!("{owner} {rtype} {}", self::owner(&text(target)))),
                (rtype, value) => lines.push(format!("{owner} {rtype} {}", text(value))),
            }
        }
    }
    lines.join("\n") + "\n"
}

fn text(value: &Yaml) -> String {
    match value {
        Yaml::String(text) | Yaml::Real(text) => text.clone(),
        Yaml::Integer(number) => number.to_string(),
        _ => String::new(),
    }
}

/// A name in the presentation format of RFC 1035 section 5.1.
fn owner(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.*".contains(c);
    name.chars().map(|c| if plain(c) { c.to_string() } else { format!("\\{:03}", u32::from(c)) }).collect::<String>()
        + "."
}

fn split(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    if characters.is_empty() {
        return "\"\"".to_owned();
    }
    characters.chunks(250).map(|chunk| quoted(&chunk.iter().collect::<String>())).collect::<Vec<_>>().join(" ")
}

fn quoted(text: &str) -> String {
    let plain = |c: char| matches!(c, ' '..='~') && c != '"' && c != '\\';
    let octets = text.chars().map(|c| if plain(c) { c.to_string() } else { format!("\\{:03}", u32::from(c)) });
    format!("\"{}\"", octets.collect::<String>())
}
