//! What is no answer is not "there is none".

use std::net::SocketAddr;

use crate::villain::{Resolver, Run, run};

/// Flags of a good answer: a response, recursion desired and available, NOERROR.
const GOOD: u16 = 0x8180;
const NXDOMAIN: u16 = 0x8183;
const TRUNCATED: u16 = 0x0200;

const A: u16 = 1;
const CNAME: u16 = 5;
const TXT: u16 = 16;
const OPT: u16 = 41;
const IN: u16 = 1;
const CHAOS: u16 = 3;

/// The text that whoever sits in the middle would like to have believed.
const POISON: &str = "v=spf1 +all";
const HONEST: &str = "v=spf1 ip4:192.0.2.10 -all";

/// Where the honest record stands.
const DOMAIN: &str = "example.com";

fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let octets = labels.flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat());
    octets.chain([0]).collect()
}

fn record(owner: &str, rtype: u16, class: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [&wire(owner)[..], &rtype.to_be_bytes(), &class.to_be_bytes(), &[0, 0, 14, 16], &length, data].concat()
}

fn txt(owner: &str, text: &str) -> Vec<u8> {
    record(owner, TXT, IN, &[&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat())
}

/// An OPT record with the upper eight bits of a response code.
fn opt(owner: &str, upper: u8) -> Vec<u8> {
    [&wire(owner)[..], &OPT.to_be_bytes(), &1232_u16.to_be_bytes(), &[upper, 0, 0, 0, 0, 0]].concat()
}

/// The question of a query: name, type and class as they stand there, and the name in words.
struct Asked<'a> {
    id: [u8; 2],
    octets: &'a [u8],
    name: String,
    rtype: u16,
    has_edns: bool,
}

fn asked(query: &[u8]) -> Asked<'_> {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_ascii_lowercase());
        at = end;
    }
    let rtype = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    Asked {
        id: [query[0], query[1]],
        octets: &query[12..at + 5],
        name: labels.join("."),
        rtype,
        has_edns: query[11] > 0,
    }
}

/// A message with these questions and these three sections.
fn message(id: [u8; 2], flags: u16, questions: &[&[u8]], sections: [&[Vec<u8>]; 3]) -> Vec<u8> {
    let count = |many: usize| u16::try_from(many).unwrap().to_be_bytes();
    let counts = [count(questions.len()), count(sections[0].len()), count(sections[1].len()), count(sections[2].len())];
    let records = sections.iter().flat_map(|section| section.concat());
    [&id[..], &flags.to_be_bytes(), &counts.concat(), &questions.concat()].concat().into_iter().chain(records).collect()
}

/// The same to one question.
fn reply(asked: &Asked<'_>, flags: u16, sections: [&[Vec<u8>]; 3]) -> Vec<u8> {
    message(asked.id, flags, &[asked.octets], sections)
}

fn honest(asked: &Asked<'_>) -> Vec<u8> {
    match (asked.name.as_str(), asked.rtype) {
        (DOMAIN, TXT) => reply(asked, GOOD, [&[txt(DOMAIN, HONEST)], &[], &[]]),
        (DOMAIN, A) => reply(asked, GOOD, [&[record(DOMAIN, A, IN, &[192, 0, 2, 10])], &[], &[]]),
        _ => reply(asked, NXDOMAIN, [&[], &[], &[]]),
    }
}

/// What the program says of the SPF record where the question for it, and no other, is answered by `trick`; and what the
/// server heard.
fn audited(trick: impl Fn(&Asked<'_>, bool) -> Vec<Vec<u8>> + Send + Sync + 'static) -> (Run, Resolver) {
    let resolver = Resolver::open(move |query, over_tcp| {
        let asked = asked(query);
        match (asked.name.as_str(), asked.rtype) {
            (DOMAIN, TXT) => trick(&asked, over_tcp),
            _ => vec![honest(&asked)],
        }
    });
    let run = audit(resolver.address);
    (run, resolver)
}

fn audit(resolver: SocketAddr) -> Run {
    let at = resolver.to_string();
    let names = ["check", "--domain", DOMAIN, "--ip", "192.0.2.10", "--resolver", &at];
    run(&[&names[..], &["--only", "spf.record,spf.sender", "--timeout", "20s", "--format", "json"]].concat())
}

/// Everything about it is unknown, and nothing of it is called missing or right.
fn is_unknown(what: &str, run: &Run) {
    for check in ["spf.record", "spf.sender"] {
        let (status, message) = run.finding(check, "");
        assert_eq!(status, "unknown", "{what}: {check}: {message}");
        assert!(!message.contains("no TXT") && !message.contains("does not exist"), "{what}: {message}");
    }
    assert_eq!(run.code, Some(3), "{what}: {run:?}");
}

/// The honest record was found.
fn is_found(what: &str, run: &Run) {
    let (status, message) = run.finding("spf.record", "");
    assert_eq!((status.as_str(), message.as_str()), ("pass", HONEST), "{what}");
    assert_eq!(run.finding("spf.sender", "").0, "pass", "{what}");
    assert_eq!(run.code, Some(0), "{what}");
}

#[test]
fn an_extended_code_is_no_answer() {
    for upper in [1, 2, 0x10, 0xff] {
        for flags in [GOOD, NXDOMAIN] {
            let (run, _) = audited(move |asked, _| vec![reply(asked, flags, [&[], &[], &[opt("", upper)]])]);
            is_unknown(&format!("upper bits {upper}, flags {flags:x}"), &run);
        }
        // Records beside it prove nothing either.
        let beside = move |asked: &Asked<'_>, _: bool| {
            vec![reply(asked, GOOD, [&[txt(DOMAIN, POISON)], &[], &[opt("", upper)]])]
        };
        is_unknown(&format!("upper bits {upper} with an answer"), &audited(beside).0);
    }
}

#[test]
fn a_server_that_does_not_know_this_edns_is_asked_without() {
    let badvers = |asked: &Asked<'_>| reply(asked, GOOD, [&[], &[], &[opt("", 1)]]);
    let (run, _) = audited(move |asked, _| vec![if asked.has_edns { badvers(asked) } else { honest(asked) }]);
    is_found("BADVERS", &run);
    let formerr = |asked: &Asked<'_>| message(asked.id, 0x8181, &[], [&[], &[], &[]]);
    let (run, _) = audited(move |asked, _| vec![if asked.has_edns { formerr(asked) } else { honest(asked) }]);
    is_found("FORMERR without the question", &run);
}

#[test]
fn opt_stands_once_and_where_it_belongs() {
    let good = || txt(DOMAIN, POISON);
    let twice = move |asked: &Asked<'_>, _: bool| vec![reply(asked, GOOD, [&[good()], &[], &[opt("", 0), opt("", 1)]])];
    is_unknown("OPT twice", &audited(twice).0);
    let owned = move |asked: &Asked<'_>, _: bool| vec![reply(asked, GOOD, [&[good()], &[], &[opt(DOMAIN, 1)]])];
    is_unknown("OPT of a name", &audited(owned).0);
    let misplaced = move |asked: &Asked<'_>, _: bool| vec![reply(asked, GOOD, [&[good(), opt("", 1)], &[], &[]])];
    is_unknown("OPT in the answer", &audited(misplaced).0);
}

/// RFC 5452 section 9.1: what does not match is not for us, be it NXDOMAIN or poison; the real answer behind it is.
#[test]
fn the_wait_goes_on_after_a_reply_to_another_question() {
    type Forgery = fn(&Asked<'_>, u16, &[Vec<u8>]) -> Vec<u8>;
    let class: Forgery = |asked, flags, answer| {
        let other = [&asked.octets[..asked.octets.len() - 2], &CHAOS.to_be_bytes()].concat();
        message(asked.id, flags, &[&other], [answer, &[], &[]])
    };
    let rtype: Forgery = |asked, flags, answer| {
        let other = [&wire(DOMAIN)[..], &A.to_be_bytes(), &IN.to_be_bytes()].concat();
        message(asked.id, flags, &[&other], [answer, &[], &[]])
    };
    let name: Forgery = |asked, flags, answer| {
        let other = [&wire("example.net")[..], &TXT.to_be_bytes(), &IN.to_be_bytes()].concat();
        message(asked.id, flags, &[&other], [answer, &[], &[]])
    };
    let twice: Forgery =
        |asked, flags, answer| message(asked.id, flags, &[asked.octets, asked.octets], [answer, &[], &[]]);
    let without: Forgery = |asked, flags, answer| message(asked.id, flags, &[], [answer, &[], &[]]);
    let opcode: Forgery = |asked, flags, answer| reply(asked, flags | 0x1000, [answer, &[], &[]]);
    let query: Forgery = |asked, flags, answer| reply(asked, flags & 0x7fff, [answer, &[], &[]]);
    let id: Forgery =
        |asked, flags, answer| message([asked.id[0], asked.id[1] ^ 1], flags, &[asked.octets], [answer, &[], &[]]);
    let garbage: Forgery = |asked, flags, _| message(asked.id, flags, &[b"this is no DNS message"], [&[], &[], &[]]);
    for (what, forgery) in [
        ("class", class),
        ("type", rtype),
        ("name", name),
        ("two questions", twice),
        ("no question", without),
        ("opcode", opcode),
        ("a query", query),
        ("id", id),
        ("garbage", garbage),
    ] {
        for (flags, answer) in [(NXDOMAIN, vec![]), (GOOD, vec![]), (GOOD, vec![txt(DOMAIN, POISON)])] {
            let forged = move |asked: &Asked<'_>| forgery(asked, flags, &answer);
            let (over_udp, over_tcp) = (forged.clone(), forged);
            let (run, server) = audited(move |asked, _| vec![over_udp(asked), honest(asked)]);
            is_found(what, &run);
            let asked_once = server.asked();
            let truncated = move |asked: &Asked<'_>| reply(asked, GOOD | TRUNCATED, [&[], &[], &[]]);
            let (run, server) = audited(move |asked, tcp| match tcp {
                true => vec![over_tcp(asked), honest(asked)],
                false => vec![truncated(asked)],
            });
            is_found(&format!("{what} over TCP"), &run);
            assert_eq!(server.asked(), asked_once + 1, "{what}: a mismatch is not asked about again");
        }
    }
}

/// The same with nothing behind it: a server that answers only so has not answered. One wait for all of them.
#[test]
fn nothing_but_replies_to_other_questions_is_no_answer() {
    let (run, _) = audited(|asked, _| {
        let class = [&asked.octets[..asked.octets.len() - 2], &CHAOS.to_be_bytes()].concat();
        vec![
            message(asked.id, NXDOMAIN, &[], [&[], &[], &[]]),
            message(asked.id, GOOD, &[], [&[], &[], &[]]),
            message(asked.id, NXDOMAIN, &[&class], [&[], &[], &[]]),
            reply(asked, NXDOMAIN | 0x1000, [&[], &[], &[]]),
            reply(asked, NXDOMAIN & 0x7fff, [&[], &[], &[]]),
        ]
    });
    is_unknown("only forgeries", &run);
    let (_, message) = run.finding("spf.record", "");
    assert!(message.contains("no reply that fits the question"), "{message}");
}

#[test]
fn an_error_may_come_without_its_question_and_says_which() {
    for (code, word) in
        [(1, "FORMERR"), (2, "SERVFAIL"), (4, "NOTIMP"), (5, "REFUSED"), (9, "NOTAUTH"), (11, "RCODE 11")]
    {
        let (run, server) = audited(move |asked, _| vec![message(asked.id, 0x8180 | code, &[], [&[], &[], &[]])]);
        is_unknown(word, &run);
        assert!(run.finding("spf.record", "").1.contains(word), "{word}: {run:?}");
        assert!(server.asked() < 8, "{word}: no endless asking");
    }
}

#[test]
fn a_truncated_answer_is_not_used() {
    let part = || [txt(DOMAIN, POISON)];
    let cut = move |asked: &Asked<'_>| {
        let mut whole = reply(asked, GOOD | TRUNCATED, [&part(), &[], &[]]);
        whole.truncate(whole.len() - 3);
        whole
    };
    let partial = move |asked: &Asked<'_>| reply(asked, GOOD | TRUNCATED, [&part(), &[], &[]]);
    let (run, _) = audited(move |asked, tcp| vec![if tcp { honest(asked) } else { partial(asked) }]);
    is_found("a part over UDP", &run);
    let (run, _) = audited(move |asked, tcp| vec![if tcp { honest(asked) } else { cut(asked) }]);
    is_found("cut in the middle of a record", &run);
    let (run, _) = audited(move |asked, _| vec![partial(asked)]);
    is_unknown("a part over TCP", &run);
    let (run, _) = audited(move |asked, _| vec![reply(asked, NXDOMAIN | TRUNCATED, [&[], &[], &[]])]);
    is_unknown("NXDOMAIN, truncated over TCP", &run);
}

#[test]
fn records_that_do_not_fit_are_neither_taken_nor_taken_for_none() {
    let poison = || txt(DOMAIN, POISON);
    let chaos = || record(DOMAIN, TXT, CHAOS, &[3, b'a', b'b', b'c']);
    let ns = || record("com", 2, IN, &wire("ns.example.net"));
    let alias = || record(DOMAIN, CNAME, IN, &wire("elsewhere.example.net"));
    type Sections = [Vec<Vec<u8>>; 3];
    let tricks: Vec<(&str, u16, Sections)> = vec![
        ("of another owner", GOOD, [vec![txt("example.net", POISON)], vec![], vec![]]),
        ("of another class", GOOD, [vec![chaos()], vec![], vec![]]),
        ("of another type", GOOD, [vec![record(DOMAIN, A, IN, &[192, 0, 2, 10])], vec![], vec![]]),
        ("NXDOMAIN beside records", NXDOMAIN, [vec![poison()], vec![], vec![]]),
        ("NXDOMAIN beside records of another", NXDOMAIN, [vec![txt("example.net", POISON)], vec![], vec![]]),
        ("a referral", GOOD, [vec![], vec![ns()], vec![]]),
        ("a referral with poison", GOOD, [vec![], vec![ns(), poison()], vec![poison()]]),
        ("a referral of another class", GOOD, [vec![], vec![ns(), record(DOMAIN, 6, CHAOS, &[0; 22])], vec![]]),
        ("a CNAME that nobody follows up", GOOD, [vec![alias()], vec![], vec![]]),
    ];
    for (what, flags, [answer, authority, additional]) in tricks {
        let trick = move |asked: &Asked<'_>| reply(asked, flags, [&answer, &authority, &additional]);
        let resolver = Resolver::open(move |query, _| {
            let asked = asked(query);
            match (asked.name.as_str(), asked.rtype) {
                (DOMAIN, TXT) => vec![trick(&asked)],
                ("elsewhere.example.net", _) => vec![message(asked.id, 0x8182, &[asked.octets], [&[], &[], &[]])],
                _ => vec![honest(&asked)],
            }
        });
        is_unknown(what, &audit(resolver.address));
    }
}

/// What stands in the authority and additional sections answers nothing.
#[test]
fn poison_beside_an_answer_is_not_read() {
    let poison = || vec![txt(DOMAIN, POISON), txt("_dmarc.example.com", "v=DMARC1; p=none")];
    let (run, _) = audited(move |asked, _| {
        vec![reply(asked, GOOD, [&[txt(DOMAIN, HONEST), txt("example.net", POISON)], &poison(), &poison()])]
    });
    is_found("beside the answer", &run);
    let soa = || record("com", 6, IN, &[&wire("a.")[..], &wire("b."), &[0; 20]].concat());
    let (run, _) =
        audited(move |asked, _| vec![reply(asked, GOOD, [&[], &[soa(), txt(DOMAIN, HONEST)], &[txt(DOMAIN, HONEST)]])]);
    let (status, message) = run.finding("spf.record", "");
    assert_eq!((status.as_str(), message.as_str()), ("fail", "no TXT record that begins with v=spf1"));
}

/// The name may come back in other letters (RFC 4343): it is the same name.
#[test]
fn the_echoed_name_is_compared_without_case() {
    let (run, _) = audited(|asked, _| {
        let shouted = asked.octets.to_ascii_uppercase();
        vec![message(asked.id, GOOD, &[&shouted], [&[txt("EXAMPLE.com", HONEST)], &[], &[]])]
    });
    is_found("EXAMPLE.COM", &run);
}

/// A record that was not answered may be the one that includes the provider's.
#[test]
fn a_provider_is_not_missed_where_an_include_is_silent() {
    let include = |asked: &Asked<'_>| match (asked.name.as_str(), asked.rtype) {
        (DOMAIN, TXT) => reply(asked, GOOD, [&[txt(DOMAIN, "v=spf1 include:_spf.example.net -all")], &[], &[]]),
        ("_spf.example.net", TXT) => reply(asked, GOOD, [&[], &[], &[opt("", 1)]]),
        _ => reply(asked, NXDOMAIN, [&[], &[], &[]]),
    };
    let resolver = Resolver::open(move |query, _| vec![include(&asked(query))]);
    let relay = checks::services().find(|service| service.name == "SendGrid").unwrap().example();
    let (at, relay) = (resolver.address.to_string(), format!("[{relay}]:587"));
    let target = ["check", "--domain", DOMAIN, "--relay", &relay, "--resolver", &at];
    let run = run(&[&target[..], &["--only", "spf.record,spf.sender", "--format", "json"]].concat());
    let (status, message) = run.finding("spf.sender", "example.com via");
    assert_eq!(status, "unknown", "{message}");
    assert!(message.contains("BADVERS"), "{message}");
    assert_eq!(run.code, Some(3));
}

/// The program asks a server of the zone itself in the same way.
#[test]
fn a_zone_s_own_server_that_says_nothing_is_not_called_wrong() {
    let ns = [&wire("ns1.example.com")[..]].concat();
    let soa = [&wire("ns1.example.com")[..], &wire("hostmaster.example.com"), &[0; 20]].concat();
    let honest = move |asked: &Asked<'_>| match (asked.name.as_str(), asked.rtype) {
        (DOMAIN, 2) => reply(asked, GOOD, [&[record(DOMAIN, 2, IN, &ns)], &[], &[]]),
        ("ns1.example.com", A) => reply(asked, GOOD, [&[record("ns1.example.com", A, IN, &[192, 0, 2, 53])], &[], &[]]),
        _ => reply(asked, NXDOMAIN, [&[], &[], &[]]),
    };
    let resolver = Resolver::open(move |query, _| vec![honest(&asked(query))]);
    let at = resolver.address.to_string();
    let authority = |trick: fn(&Asked<'_>, &[u8]) -> Vec<u8>| {
        let soa = soa.clone();
        let server = Resolver::open(move |query, _| vec![trick(&asked(query), &soa)]);
        let redirect = format!("192.0.2.53:53:{}", server.address);
        let target = ["check", "--domain", DOMAIN, "--resolver", &at, "--connect-to", &redirect, "--protocols", "ipv4"];
        run(&[&target[..], &["--authoritative", "--only", "dns.servers", "--timeout", "6s", "--format", "json"]]
            .concat())
        .finding("dns.servers", "example.com ns1.example.com")
    };
    let well = authority(|asked, soa| match asked.rtype {
        6 => reply(asked, 0x8400, [&[record(DOMAIN, 6, IN, soa)], &[], &[]]),
        _ => reply(asked, 0x8400, [&[], &[record(DOMAIN, 6, IN, soa)], &[]]),
    });
    assert_eq!(well.0, "pass", "{well:?}");
    for (what, trick) in [
        ("BADVERS", (|asked, _| reply(asked, 0x8400, [&[], &[], &[opt("", 1)]])) as fn(&Asked<'_>, &[u8]) -> Vec<u8>),
        ("no question", |asked, _| message(asked.id, 0x8403, &[], [&[], &[], &[]])),
        ("of another class", |asked, _| {
            let other = [&asked.octets[..asked.octets.len() - 2], &CHAOS.to_be_bytes()].concat();
            message(asked.id, 0x8403, &[&other], [&[], &[], &[]])
        }),
        ("another's records", |asked, soa| reply(asked, 0x8400, [&[record("example.net", 6, IN, soa)], &[], &[]])),
        ("truncated over TCP", |asked, _| reply(asked, 0x8600, [&[], &[], &[]])),
    ] {
        let (status, message) = authority(trick);
        assert_eq!(status, "unknown", "{what}: {message}");
    }
}
