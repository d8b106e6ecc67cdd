//! The built-in lists, each as its table says: their names come from there.

use std::time::{Duration, SystemTime};

use fixtures::dns::Server;

use super::*;
use crate::{
    Plan, Target,
    net::{Deadline, Net, dns::Dns},
};

const HOST: &str = "mail.example.com A 192.0.2.10\nmail.example.com AAAA 2001:db8::10\n";

/// How mail leaves in a test.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Relay,
    RelayWithIp,
}

/// What the whole family says in a zone, and what it asked.
async fn audited(zone: &str, way: Way, dnsbl: &[&str]) -> (Vec<Finding>, Vec<String>) {
    let zone = format!("{HOST}{zone}");
    let server = Server::open(&zone).unwrap_or_else(|error| panic!("{error:#}\n{zone}"));
    let deadline = Deadline::after(Duration::from_secs(30));
    let named = ["192.0.2.10", "2001:db8::10"].map(|address| address.parse().unwrap());
    let target = Target {
        hostname: Some("mail.example.com".parse().unwrap()),
        domains: vec!["example.com".parse().unwrap()],
        ips: if way == Way::RelayWithIp { named.to_vec() } else { Vec::new() },
        relay: (way != Way::Direct).then(|| "[smtp.example.net]:587".parse().unwrap()),
        dnsbl: dnsbl.iter().map(|zone| zone.parse().unwrap()).collect(),
        ..Target::default()
    };
    let net = Net::new(Dns::new(vec![server.address()], deadline), deadline);
    let cx = Context { target, net, now: SystemTime::UNIX_EPOCH };
    let findings = Plan::new(&["dnsbl".to_owned()], &[]).unwrap().run(&cx, |_| {}).await;
    (findings, server.questions())
}

/// The test point of one sort, the entry of that sort, and the subject of what is said about it.
fn sorts(list: &'static List) -> impl Iterator<Item = (TestPoints, &'static str)> {
    let entries = ["192.0.2.10", "2001:db8::10", "example.com"];
    [list.ipv4, list.ipv6, list.names].into_iter().zip(entries).filter_map(|(points, entry)| Some((points?, entry)))
}

fn below(entry: &str, zone: &str) -> String {
    Entry::point(entry).unwrap().below(&zone.parse().unwrap()).unwrap().to_string()
}

/// The list's own test entries.
fn test_entries(list: &'static List, zone: &str) -> String {
    let answer = list.codes[0].answer;
    sorts(list).map(|(points, _)| format!("{} A {answer}\n", below(points.listed, zone))).collect()
}

fn about<'a>(findings: &'a [Finding], entry: &str, zone: &str) -> &'a Finding {
    let subject = format!("{entry} {zone}");
    let found = findings.iter().find(|finding| finding.subject.as_deref() == Some(&subject));
    found.unwrap_or_else(|| panic!("nothing about {subject}: {findings:#?}"))
}

#[tokio::test]
async fn every_code_means_what_the_table_says() {
    for list in LISTS {
        for code in list.codes {
            for way in [Way::Direct, Way::Relay, Way::RelayWithIp] {
                let listed = sorts(list).map(|(_, entry)| format!("{} A {}\n", below(entry, list.zone), code.answer));
                let zone = test_entries(list, list.zone) + &listed.collect::<String>();
                let (findings, _) = audited(&zone, way, &[]).await;
                for (_, entry) in sorts(list) {
                    let finding = about(&findings, entry, list.zone);
                    let due = match (way, code.kind) {
                        _ if entry == "example.com" => Status::Fail,
                        (Way::Direct, _) => Status::Fail,
                        (Way::Relay, Kind::Policy) => Status::Skip,
                        _ => Status::Warn,
                    };
                    assert_eq!(finding.status, due, "{entry} {} {}", list.zone, code.answer);
                    assert!(finding.message.contains(code.meaning), "{}", finding.message);
                    assert_eq!(finding.facts["codes"][0], code.answer.to_string());
                    assert_eq!(finding.fix.is_some(), due != Status::Skip);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_code_that_the_table_does_not_know_is_warned_of() {
    for list in LISTS {
        let listed = sorts(list).map(|(_, entry)| format!("{} A 127.9.9.2\n", below(entry, list.zone)));
        let zone = test_entries(list, list.zone) + &listed.collect::<String>();
        let (findings, _) = audited(&zone, Way::Direct, &[]).await;
        for (_, entry) in sorts(list) {
            assert_eq!(about(&findings, entry, list.zone).status, Status::Warn, "{entry} {}", list.zone);
        }
    }
}

#[tokio::test]
async fn error_codes_are_never_listings() {
    for list in LISTS {
        let own = list.errors.iter().map(|(answer, _)| answer.to_string());
        let everywhere = ["127.255.255.252", "127.255.255.254", "127.255.255.255", "127.0.0.1", "203.0.113.80"];
        for answer in own.chain(everywhere.map(str::to_owned)) {
            // Instead of any answer, and after a sound test.
            let listed = sorts(list).map(|(_, entry)| format!("{} A {answer}\n", below(entry, list.zone)));
            let late = test_entries(list, list.zone) + &listed.collect::<String>();
            for zone in [format!("*.{} A {answer}\n", list.zone), late] {
                let (findings, _) = audited(&zone, Way::Direct, &[]).await;
                for (_, entry) in sorts(list) {
                    let finding = about(&findings, entry, list.zone);
                    assert_eq!(finding.status, Status::Unknown, "{entry} {} {answer}", list.zone);
                    assert!(finding.message.contains(&answer), "{}", finding.message);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_list_is_asked_only_after_its_test_and_only_what_it_has_points_for() {
    for list in LISTS {
        let is_below = |question: &&String| question.to_lowercase().contains(list.zone);
        let entries = ["192.0.2.10", "2001:db8::10", "example.com"].map(|entry| below(entry, list.zone));
        let asked =
            |questions: &[String], entry: &str| questions.iter().filter(is_below).any(|asked| asked.contains(entry));

        let (_, questions) = audited("", Way::Direct, &[]).await;
        assert!(questions.iter().any(|question| is_below(&question)), "{} was not tested", list.zone);
        assert!(!entries.iter().any(|entry| asked(&questions, entry)), "{} was asked all the same", list.zone);

        let (findings, questions) = audited(&test_entries(list, list.zone), Way::Direct, &[]).await;
        let due: Vec<String> = sorts(list).map(|(_, entry)| below(entry, list.zone)).collect();
        for entry in &entries {
            assert_eq!(asked(&questions, entry), due.contains(entry), "{entry}");
        }
        for (_, entry) in sorts(list) {
            assert_eq!(about(&findings, entry, list.zone).status, Status::Pass);
        }
    }
}

#[tokio::test]
async fn subscribers_ask_the_same_list_below_a_label_of_their_own() {
    for list in LISTS {
        let Some(subscribers) = list.subscribers else { continue };
        let keyed = format!("key.{subscribers}");
        let Some(code) = list.codes.last() else { panic!("{} has no codes", list.zone) };
        let listed = sorts(list).map(|(_, entry)| format!("{} A {}\n", below(entry, &keyed), code.answer));
        let zone = test_entries(list, &keyed) + &listed.collect::<String>();
        let (findings, _) = audited(&zone, Way::Direct, &[&keyed]).await;
        for (_, entry) in sorts(list) {
            assert!(about(&findings, entry, &keyed).message.contains(code.meaning));
        }
    }
}

#[tokio::test]
async fn a_list_that_was_named_is_missed_where_it_cannot_be_seen() {
    for list in LISTS {
        let (findings, _) = audited("", Way::Direct, &[list.zone]).await;
        for (_, entry) in sorts(list) {
            assert_eq!(about(&findings, entry, list.zone).status, Status::Unknown);
        }
    }
}
