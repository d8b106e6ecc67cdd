//! What an answer can cost: time, memory, questions.
//!
//! Every answer here is about as large as a DNS message can be (64 KB); what it would take to do with all of it what one does
//! with a record or two is told in the finding, and not done.

use std::{
    io::{BufRead, BufReader, Write},
    iter,
    time::Duration,
};

use serde_json::Value;

use crate::villain::{Resolver, Run, run, server};

const A: u16 = 1;
const NS: u16 = 2;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const PTR: u16 = 12;
const MX: u16 = 15;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const TLSA: u16 = 52;

/// The most that a run may ask, and the most memory that it may take, in octets.
const MOST_QUESTIONS: usize = 300;
const MOST_MEMORY: u64 = 64 << 20;

const HOST: &str = "mail.example.test";
const DOMAIN: &str = "example.test";

/// A record: its owner (the name that was asked about, unless it is another), type and data on the wire.
type Record = (Option<Vec<u8>>, u16, Vec<u8>);

/// Records of the name that was asked about.
fn records(rtype: u16, data: impl IntoIterator<Item = Vec<u8>>) -> Vec<Record> {
    data.into_iter().map(|data| (None, rtype, data)).collect()
}

/// A name on the wire.
fn wire(name: &str) -> Vec<u8> {
    name.split('.').flat_map(label_of).chain([0]).collect()
}

fn label_of(label: &str) -> Vec<u8> {
    [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat()
}

/// A name right below the one that was asked about: its label, and a pointer to the question (RFC 1035 section 4.1.4).
fn below(label: &str) -> Vec<u8> {
    [label_of(label), vec![0xc0, 12]].concat()
}

fn exchange(preference: u16, host: Vec<u8>) -> Vec<u8> {
    [preference.to_be_bytes().to_vec(), host].concat()
}

/// The data of a TXT record, in strings as long as they may be.
fn text(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(255)
        .flat_map(|chunk| iter::once(u8::try_from(chunk.len()).unwrap()).chain(chunk.iter().copied()))
        .collect()
}

fn octets(number: u16) -> [u8; 2] {
    number.to_be_bytes()
}

/// Public addresses, in numeric order.
fn addresses(count: u16) -> Vec<Record> {
    records(A, (0..count).map(|number| [&[100, 2][..], &octets(number)].concat()))
}

/// What a good host and its domain have.
fn good(name: &str, rtype: u16) -> Vec<Record> {
    match (name, rtype) {
        (HOST, A) => records(A, [vec![192, 0, 2, 10]]),
        ("10.2.0.192.in-addr.arpa", PTR) => records(PTR, [wire(HOST)]),
        (DOMAIN, MX) => records(MX, [exchange(10, wire(HOST))]),
        (DOMAIN, TXT) => records(TXT, [text("v=spf1 ip4:192.0.2.10 -all")]),
        ("_dmarc.example.test", TXT) => records(TXT, [text("v=DMARC1; p=reject; rua=mailto:dmarc@example.test")]),
        _ => Vec::new(),
    }
}

fn question(query: &[u8]) -> (String, u16, usize) {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] > 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_ascii_lowercase());
        at = end;
    }
    (labels.join("."), u16::from_be_bytes([query[at + 1], query[at + 2]]), at + 5)
}

/// The reply, with as many of the records as there is room for; over UDP truncated where it is long.
fn reply(query: &[u8], over_tcp: bool, end: usize, records: &[Record]) -> Vec<u8> {
    let (mut answers, mut count) = (Vec::new(), 0_u16);
    for (owner, rtype, data) in records {
        let owner = owner.clone().unwrap_or_else(|| vec![0xc0, 12]);
        let length = octets(u16::try_from(data.len()).unwrap());
        let record =
            [owner, octets(*rtype).to_vec(), vec![0, 1, 0, 0, 1, 0x2c], length.to_vec(), data.clone()].concat();
        if end + answers.len() + record.len() > 65_500 {
            break;
        }
        answers.extend(record);
        count += 1;
    }
    let is_cut = !over_tcp && end + answers.len() > 1_232;
    let (authority, has_authority) = match records.is_empty() {
        true => ([vec![0], octets(SOA).to_vec(), vec![0, 1, 0, 0, 1, 0x2c, 0, 22], vec![0; 22]].concat(), 1),
        false => (Vec::new(), 0),
    };
    let flags = if is_cut { [0x87, 0x80] } else { [0x85, 0x80] };
    let head =
        [&query[..2], &flags, &[0, 1], &octets(if is_cut { 0 } else { count }), &[0, has_authority, 0, 0]].concat();
    let body = if is_cut { Vec::new() } else { [answers, authority].concat() };
    [head, query[12..end].to_vec(), body].concat()
}

/// A resolver that knows `zone`, and what a good host has where that says nothing.
fn resolver(zone: impl Fn(&str, u16) -> Option<Vec<Record>> + Send + Sync + 'static) -> Resolver {
    Resolver::open(move |query, over_tcp| {
        let (name, rtype, end) = question(query);
        let records = zone(&name, rtype).unwrap_or_else(|| good(&name, rtype));
        vec![reply(query, over_tcp, end, &records)]
    })
}

/// A run over [`HOST`] that keeps to its bounds, whatever `zone` answers.
fn bounded(more: &[&str], zone: impl Fn(&str, u16) -> Option<Vec<Record>> + Send + Sync + 'static) -> Run {
    let resolver = resolver(zone);
    let at = resolver.address.to_string();
    let elsewhere = format!("127.0.0.1:53:{at}");
    let common = [
        "check",
        HOST,
        "--domain",
        DOMAIN,
        "--selector",
        "s1",
        "--resolver",
        &at,
        "--connect-to",
        &elsewhere,
        "--format",
        "json",
    ];
    let run = run(&[&common, more].concat());
    assert!(matches!(run.code, Some(0 | 1 | 3)), "{:?}: {}", run.code, run.stderr);
    assert!(resolver.distinct() <= MOST_QUESTIONS, "{} questions", resolver.distinct());
    assert!(run.peak < MOST_MEMORY, "{} octets", run.peak);
    readable(&run.report());
    run
}

/// Nothing in the report is longer than one reads; only a fix is as long as what is to be pasted.
fn readable(report: &Value) {
    for finding in report["findings"].as_array().unwrap() {
        let message = finding["message"].as_str().unwrap();
        assert!(message.len() < 2_200, "{message}");
        let evidence = finding["evidence"].as_array().into_iter().flatten();
        let shown: Vec<&str> = evidence.map(|seen| seen["output"].as_str().unwrap()).collect();
        assert!(shown.len() <= 50, "{finding}");
        assert!(shown.iter().all(|output| output.len() < 12_500 && output.lines().count() <= 201), "{finding}");
    }
}

/// The status of the finding, whose message has to say so.
fn told(run: &Run, check: &str, subject: &str, words: &str) -> String {
    let (status, message) = run.finding(check, subject);
    assert!(message.contains(words), "{check} {subject}: {message}");
    status
}

#[test]
fn of_thousands_of_addresses_the_first_fifty_are_judged() {
    let run = bounded(&[], |name, rtype| (name == HOST && rtype == A).then(|| addresses(4_000)));
    assert_eq!(told(&run, "hostname.address", "ipv4", "4,000 A records; the first 50 are judged"), "warn");
    let report = run.report();
    assert_eq!(report["target"]["addresses"].as_array().map(Vec::len), Some(50));
    let judged = |check: &str| report["findings"].as_array().unwrap().iter().filter(|f| f["check"] == check).count();
    assert_eq!((judged("hostname.ptr"), judged("spf.sender")), (51, 50));
}

#[test]
fn the_same_of_ipv6() {
    let address = |number| [&[0x20, 1, 0xd, 0xb8][..], &[0; 10], &octets(number)].concat();
    let run = bounded(&[], move |name, rtype| {
        (name == HOST && rtype == AAAA).then(|| records(AAAA, (0..2_300).map(address)))
    });
    assert_eq!(told(&run, "hostname.address", "ipv6", "2,300 AAAA records; the first 50 are judged"), "warn");
}

#[test]
fn private_addresses_do_not_hide_that_there_are_thousands() {
    let private = |number| [&[10, 0][..], &octets(number)].concat();
    let run = bounded(&[], move |name, rtype| (name == HOST && rtype == A).then(|| records(A, (0..600).map(private))));
    assert_eq!(
        told(&run, "hostname.address", "ipv4", "600 A records; the first 50 are judged: 10.0.0.0 is private"),
        "fail"
    );
}

#[test]
fn aliases_are_counted_while_they_are_followed() {
    let alias = |number: usize| below(&format!("c{number:04}"));
    let chain: Vec<Record> = iter::once((None, CNAME, alias(0)))
        .chain((0..2_500).map(|number| (Some(alias(number)), CNAME, alias(number + 1))))
        .collect();
    let run = bounded(&[], move |name, _| (name == HOST).then(|| chain.clone()));
    assert_eq!(told(&run, "hostname.address", "ipv4", "more than 16 CNAMEs follow each other"), "unknown");
}

#[test]
fn spf_asks_no_further_where_an_mx_names_too_many() {
    let terms: Vec<String> = (0..10).map(|number| format!("mx:m{number}.example.test")).collect();
    let record = format!("v=spf1 {} -all", terms.join(" "));
    let run = bounded(&["--only", "spf"], move |name, rtype| match (name, rtype) {
        (DOMAIN, TXT) => Some(records(TXT, [text(&record)])),
        (name, MX) if name.starts_with('m') => {
            Some(records(MX, (0..2_000).map(|number| exchange(number, below(&format!("h{number:04}"))))))
        }
        (name, A) if name.starts_with('h') => Some(records(A, [vec![192, 0, 2, 99]])),
        _ => None,
    });
    assert_eq!(told(&run, "spf.mx", DOMAIN, "mx:m0.example.test: 2000 exchanges, 10 allowed"), "fail");
    assert_eq!(told(&run, "spf.sender", DOMAIN, "permerror (m0.example.test has 2000 MX, 10 allowed)"), "fail");
}

#[test]
fn a_relay_of_thousands_of_addresses_is_tried_at_twenty() {
    let local = |number| [&[127, 1][..], &octets(number)].concat();
    let run = bounded(&["--relay", "[relay.example.test]:1"], move |name, rtype| {
        (name == "relay.example.test" && rtype == A).then(|| records(A, (0..4_000).map(local)))
    });
    assert_eq!(
        told(&run, "relay.connect", "[relay.example.test]:1 beyond", "3,980 more addresses, not tried: 20"),
        "skip"
    );
}

#[test]
fn a_relay_of_thousands_of_exchangers_is_looked_for_at_twenty() {
    let run = bounded(&["--relay", "relay.example.test:1"], |name, rtype| match (name, rtype) {
        ("relay.example.test", MX) => {
            Some(records(MX, (0..2_900).map(|number| exchange(number, below(&format!("h{number:04}"))))))
        }
        (name, A) if name.starts_with('h') => Some(records(A, [vec![127, 0, 0, 1]])),
        _ => None,
    });
    assert_eq!(
        told(&run, "relay.connect", "relay.example.test:1 hosts beyond", "2,880 more MX hosts, not tried"),
        "skip"
    );
}

#[test]
fn of_thousands_of_exchangers_the_first_twenty_are_judged() {
    let run = bounded(&[], |name, rtype| match (name, rtype) {
        (DOMAIN, MX) => Some(records(MX, (0..2_900).map(|number| exchange(number, below(&format!("h_{number:04}")))))),
        (name, A) if name.starts_with('h') => Some(records(A, [vec![192, 0, 2, 99]])),
        _ => None,
    });
    assert_eq!(
        told(&run, "mx.record", DOMAIN, "MX records; the first 20 hosts are judged: h_0000.example.test, "),
        "warn"
    );
    assert_eq!(told(&run, "mx.address", "example.test beyond", "more MX hosts, not asked about"), "skip");
    assert_eq!(told(&run, "mx.name", DOMAIN, "octets are left out"), "warn");
}

#[test]
fn of_thousands_of_name_servers_the_first_twenty_are_asked() {
    let run = bounded(&["--authoritative"], |name, rtype| match (name, rtype) {
        (DOMAIN, NS) => Some(records(NS, (0..3_000).map(|number| below(&format!("n{number:04}"))))),
        (name, A) if name.starts_with('n') => Some(records(A, [vec![127, 0, 0, 1]])),
        _ => None,
    });
    assert_eq!(told(&run, "dns.servers", "example.test beyond", "3,000 NS records; the first 20 are asked"), "warn");
}

#[test]
fn a_name_server_at_thousands_of_addresses_is_asked_at_twenty() {
    let local = |number| [&[127, 1][..], &octets(number)].concat();
    let run = bounded(&["--authoritative", "--timeout", "5s"], move |name, rtype| match (name, rtype) {
        (DOMAIN, NS) => Some(records(NS, [wire("ns.example.test")])),
        ("ns.example.test", A) => Some(records(A, (0..4_000).map(local))),
        _ => None,
    });
    let told =
        told(&run, "dns.servers", "example.test beyond", "4,000 addresses of name servers; the first 20 are asked");
    assert_eq!(told, "warn");
}

#[test]
fn a_record_of_thousands_of_strings_is_read() {
    let strings: Vec<u8> = [text("v=spf1 ip4:192.0.2.10 -all"), vec![0; 60_000]].concat();
    let run =
        bounded(&[], move |name, rtype| (name == DOMAIN && rtype == TXT).then(|| records(TXT, [strings.clone()])));
    assert_eq!(told(&run, "spf.record", DOMAIN, "v=spf1 ip4:192.0.2.10 -all"), "pass");
    assert_eq!(told(&run, "spf.sender", DOMAIN, "pass"), "pass");
}

#[test]
fn a_thousand_records_are_too_many_by_far() {
    let record = |number| text(&format!("v=spf1 a:x{number:04}.example -all"));
    let run =
        bounded(&[], move |name, rtype| (name == DOMAIN && rtype == TXT).then(|| records(TXT, (0..1_000).map(record))));
    assert_eq!(told(&run, "spf.record", DOMAIN, "1000 SPF records, 1 allowed"), "fail");
}

#[test]
fn a_record_of_thousands_of_terms_is_followed_a_little_way() {
    for (term, count) in
        [("a:x{}.example", 4_000), ("include:x{}.example", 2_500), ("exists:%{i}.x{}.example", 2_000), ("a", 30_000)]
    {
        let terms = (0..count).map(|number| term.replace("{}", &number.to_string())).collect::<Vec<_>>().join(" ");
        let run = bounded(&["--only", "spf"], move |name, rtype| {
            (name == DOMAIN && rtype == TXT).then(|| records(TXT, [text(&format!("v=spf1 {terms} -all"))]))
        });
        let (status, _) = run.finding("spf.lookups", DOMAIN);
        assert_eq!(status, "fail", "{term}");
        assert_eq!(told(&run, "spf.sender", DOMAIN, "permerror"), "fail", "{term}");
    }
}

/// Thousands of macros, each of which stands for two thousand octets: in the target of a term, and in what explains a fail.
#[test]
fn a_flood_of_macros_is_not_made() {
    let resolver = resolver(|name, rtype| match (name, rtype) {
        (DOMAIN, TXT) => {
            let record = format!("v=spf1 exists:{}.{DOMAIN} exp=why.{DOMAIN} -all", "%{l}".repeat(15_000));
            Some(records(TXT, [text(&record)]))
        }
        (_, TXT) => Some(records(TXT, [text(&"%{L}%{S}".repeat(7_500))])),
        _ => Some(Vec::new()),
    });
    let (server, from) = (resolver.address.to_string(), format!("{}@{DOMAIN}", "a.".repeat(1_000)));
    let seen =
        run(&["spf", "192.0.2.1", "--from", &from, "--resolver", &server, "--format", "json", "--timeout", "20s"]);
    assert_eq!(seen.code, Some(1), "{seen:?}");
    let cost = (seen.wall, seen.peak, seen.stdout.len());
    assert!(seen.wall < Duration::from_secs(30) && seen.peak < MOST_MEMORY && cost.2 < 1_000_000, "{cost:?}");
    let explanation = seen.report()["explanation"].as_str().unwrap().len();
    assert!((1..=2_048).contains(&explanation), "{explanation} octets");
}

/// Every address fails, and each fail is explained with all that the record has room for.
#[test]
fn fifty_fails_are_explained_by_thousands_of_macros() {
    let run = bounded(&["--only", "spf.sender"], |name, rtype| match (name, rtype) {
        (HOST, A) => Some(addresses(50)),
        (DOMAIN, TXT) => Some(records(TXT, [text("v=spf1 exp=why.example.test -all")])),
        ("why.example.test", TXT) => Some(records(TXT, [text(&"%{S}".repeat(15_000))])),
        _ => None,
    });
    assert!(run.wall < Duration::from_secs(30), "{:?}", run.wall);
    assert_eq!(told(&run, "spf.sender", DOMAIN, "fail (-all)"), "fail");
}

/// Every address is evaluated, and for the fix all of them again, once.
#[test]
fn fifty_addresses_are_held_against_thousands_of_networks() {
    let networks: Vec<String> = (0..4_000).map(|number| format!("ip4:10.{}.{}.1", number >> 8, number & 255)).collect();
    let record = format!("v=spf1 {} -all", networks.join(" "));
    let run = bounded(&["--only", "spf.sender"], move |name, rtype| match (name, rtype) {
        (HOST, A) => Some(addresses(60)),
        (DOMAIN, TXT) => Some(records(TXT, [text(&record)])),
        _ => None,
    });
    let report = run.report();
    let shown = report["findings"][0]["evidence"][0]["output"].as_str().unwrap();
    assert!(shown.contains("(left out: "), "{shown}");
    assert_eq!(told(&run, "spf.sender", DOMAIN, "fail (-all)"), "fail");
}

#[test]
fn of_thousands_of_pointers_ten_are_looked_up() {
    let run = bounded(&[], |_, rtype| {
        (rtype == PTR).then(|| records(PTR, (0..3_200).map(|number| below(&format!("p{number:04}")))))
    });
    assert_eq!(told(&run, "hostname.ptr", "192.0.2.10", "and 3190 more, not mail.example.test"), "fail");
}

#[test]
fn thousands_of_tlsa_records_are_read() {
    let record = |number: u16| [&[3, 1, 1][..], &octets(number).repeat(16)].concat();
    let run = bounded(&[], move |_, rtype| (rtype == TLSA).then(|| records(TLSA, (0..1_300).map(record))));
    assert_eq!(told(&run, "dane.record", HOST, "1300 TLSA records"), "warn");
}

#[test]
fn a_policy_of_thousands_of_tags_is_read() {
    let tags: String = (0..8_000).map(|number| format!("t{number:04}=;")).collect();
    let uris: String = (0..2_500).map(|number| format!("mailto:a@x{number:04}.example,")).collect();
    for record in [
        format!("v=DMARC1; p=none; {tags}"),
        format!("v=DMARC1; p=none; rua={uris}"),
        format!("v=DMARC1; p=none; rua={}", ",".repeat(60_000)),
    ] {
        let run = bounded(&["--only", "dmarc"], move |name, rtype| {
            (name == "_dmarc.example.test" && rtype == TXT).then(|| records(TXT, [text(&record)]))
        });
        let (status, message) = run.finding("dmarc.syntax", DOMAIN);
        assert_ne!(status, "pass", "{message}");
    }
}

#[test]
fn a_web_server_at_thousands_of_addresses_is_tried_at_twenty() {
    let local = |number| [&[127, 1][..], &octets(number)].concat();
    let run = bounded(&["--only", "mta-sts"], move |name, rtype| match (name, rtype) {
        ("_mta-sts.example.test", TXT) => Some(records(TXT, [text("v=STSv1; id=1")])),
        ("mta-sts.example.test", A) => Some(records(A, (0..4_000).map(local))),
        _ => None,
    });
    assert_eq!(told(&run, "mta-sts.policy", DOMAIN, "3,980 more addresses, not tried; 127.1.0.0: "), "fail");
}

#[test]
fn a_relay_that_offers_thousands_of_mechanisms_is_heard() {
    let words: Vec<String> = (0..12_000_u32).map(|number| format!("{number:x}")).collect();
    let lines: Vec<String> = words.chunks(2_000).map(|words| format!("250-AUTH {}\r\n", words.join(" "))).collect();
    let relay = server(move |mut stream, _| {
        let _ = stream.write_all(b"220 relay.example.test ESMTP\r\n");
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|octets| octets > 0) {
            let reply = match line.starts_with("EHLO") {
                true => format!("250-relay.example.test\r\n{}250 SIZE\r\n", lines.concat()),
                false => "250 2.0.0 Ok\r\n".to_owned(),
            };
            let _ = stream.write_all(reply.as_bytes());
            line.clear();
        }
    });
    let run = bounded(&["--relay", &format!("[127.0.0.1]:{}", relay.port())], |_, _| None);
    assert_eq!(told(&run, "relay.connect", "127.0.0.1", "7 capabilities"), "pass");
}

/// Fifty addresses with ten names each, that all have to be looked up.
#[test]
fn beyond_three_hundred_questions_nothing_is_asked_and_it_is_told() {
    let run = bounded(&[], |name, rtype| match rtype {
        A if name == HOST => Some(addresses(4_000)),
        PTR => Some(records(PTR, (0..3_000).map(|number| below(&format!("p{number:04}"))))),
        _ => None,
    });
    let report = run.report();
    let unasked =
        |finding: &&Value| finding["message"].as_str().unwrap().contains("not asked: more than 300 DNS questions");
    let unasked: Vec<&Value> = report["findings"].as_array().unwrap().iter().filter(unasked).collect();
    assert!(!unasked.is_empty() && unasked.iter().all(|finding| finding["status"] == "unknown"), "{unasked:?}");
}

/// The same answer to every question of a type, whatever the name.
#[test]
fn a_zone_of_nothing_but_large_answers_keeps_to_the_bounds() {
    let long = text(&format!("v=spf1 {}-all", "ip4:10.1.1.1 ".repeat(4_900)));
    for large in [A, MX, TXT] {
        let long = long.clone();
        bounded(&[], move |_, rtype| match rtype {
            _ if rtype != large => None,
            A => Some(addresses(4_000)),
            MX => Some(records(MX, (0..2_900).map(|number| exchange(number, below(&format!("h{number:04}")))))),
            _ => Some(records(TXT, [long.clone()])),
        });
    }
}
