//! Where mail-auth, the second opinion, is known to differ from RFC 7208: a small record of each kind.
//!
//! Whatever is not in this list is to be agreed upon: what differs is an error of ours until RFC 7208 says otherwise.
//! A row that fails after an update of mail-auth is good news; take it out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may fail"
)]

use std::time::{Duration, SystemTime};

use mail_preflight_checks::{
    Sender, check_host,
    net::{Deadline, dns::Dns},
    second_opinion,
};
use proptest::prelude::*;

const V4: &str = "192.0.2.1";
const V6: &str = "2001:db8::1";

/// A kind of record: `@` is `example.com`, the sender `postmaster@example.com`, in EHLO too.
struct Difference {
    kind: &'static str,
    zone: &'static str,
    ip: &'static str,
    /// By RFC 7208.
    ours: &'static str,
    theirs: &'static str,
}

const DIFFERENCES: &[Difference] = &[
    // It counts no void lookups (section 4.6.4 lets a receiver count them, and most do).
    Difference {
        kind: "three void lookups",
        zone: r#"@ TXT "v=spf1 a:a.@ mx:b.@ exists:c.@ ip4:192.0.2.1 -all""#,
        ip: V4,
        ours: "permerror",
        theirs: "pass",
    },
    // The same with hosts that have no AAAA: only the IPv6 sender runs into it.
    Difference {
        kind: "three exchanges without an IPv6 address",
        zone: "@ TXT \"v=spf1 mx ip6:2001:db8::/32 -all\"\n@ MX 1 a.@\n@ MX 2 b.@\n@ MX 3 c.@\na.@ A 192.0.2.2\nb.@ A 192.0.2.3\n\
               c.@ A 192.0.2.4",
        ip: V6,
        ours: "permerror",
        theirs: "pass",
    },
    // It takes the first record that it can read (section 4.5: two are a permanent error).
    Difference {
        kind: "two records",
        zone: "@ TXT \"v=spf1 ip4:192.0.2.1 -all\"\n@ TXT \"v=spf1 ip4:192.0.2.1 ~all\"",
        ip: V4,
        ours: "permerror",
        theirs: "pass",
    },
    // As above, one level down (section 5.2).
    Difference {
        kind: "an included domain with two records",
        zone: "@ TXT \"v=spf1 include:i.@ -all\"\ni.@ TXT \"v=spf1 ip4:192.0.2.1 -all\"\ni.@ TXT \"v=spf1 ip4:192.0.2.1 ~all\"",
        ip: V4,
        ours: "permerror",
        theirs: "pass",
    },
    // What a record fails on is forgotten if another TXT record stands behind it: none for permerror (section 4.6).
    Difference {
        kind: "a spoiled record before another TXT record",
        zone: "@ TXT \"v=spf1 ip4:192.0.2 -all\"\n@ TXT \"x-verification=1\"",
        ip: V4,
        ours: "permerror",
        theirs: "none",
    },
    // A match inside is given the qualifier of the innermost include alone (section 5.2: of each include in turn).
    Difference {
        kind: "the qualifier of an outer include",
        zone: "@ TXT \"v=spf1 -include:i.@ +all\"\ni.@ TXT \"v=spf1 include:j.@ -all\"\nj.@ TXT \"v=spf1 ip4:192.0.2.1 -all\"",
        ip: V4,
        ours: "fail",
        theirs: "pass",
    },
    // The other side of it: a fail inside ends everything (section 5.2: it is no match, and the next term's turn).
    Difference {
        kind: "a failing include inside an include",
        zone: "@ TXT \"v=spf1 include:i.@ ?all\"\ni.@ TXT \"v=spf1 -include:j.@ -all\"\nj.@ TXT \"v=spf1 ip4:192.0.2.1 -all\"",
        ip: V4,
        ours: "neutral",
        theirs: "fail",
    },
    // An unknown mechanism is passed over, as if it were a modifier (section 4.6.1: a permanent error).
    Difference {
        kind: "a mechanism that does not exist",
        zone: r#"@ TXT "v=spf1 ipv4:192.0.2.9 ip4:192.0.2.1 -all""#,
        ip: V4,
        ours: "permerror",
        theirs: "pass",
    },
    // It reads any number of qualifiers, and none behind them (section 4.6.1: one at most).
    Difference {
        kind: "two qualifiers",
        zone: r#"@ TXT "v=spf1 ip4:192.0.2.1 --all""#,
        ip: V4,
        ours: "permerror",
        theirs: "pass",
    },
    // The name of a modifier may begin with anything (section 12: with a letter).
    Difference {
        kind: "a modifier that begins with a digit",
        zone: r#"@ TXT "v=spf1 1st=x ip4:192.0.2.1 -all""#,
        ip: V4,
        ours: "permerror",
        theirs: "pass",
    },
    // An empty value is refused (section 12: a macro-string may be empty).
    Difference {
        kind: "an unknown modifier without a value",
        zone: r#"@ TXT "v=spf1 ip4:192.0.2.1 x= -all""#,
        ip: V4,
        ours: "pass",
        theirs: "permerror",
    },
    // The letters of explanations are refused in it (section 7.1 has them in the grammar, and nobody expands it).
    Difference {
        kind: "an unknown modifier with %{c}",
        zone: r#"@ TXT "v=spf1 ip4:192.0.2.1 x=%{c} -all""#,
        ip: V4,
        ours: "pass",
        theirs: "permerror",
    },
    // `include=` is taken for the mechanism (section 4.6.1: an equals sign makes it an unknown modifier).
    Difference {
        kind: "an equals sign for a colon",
        zone: r#"@ TXT "v=spf1 include=i.@ ip4:192.0.2.1 -all""#,
        ip: V4,
        ours: "pass",
        theirs: "permerror",
    },
    // Blanks of every kind separate terms (section 12: SP alone).
    Difference {
        kind: "a tab between terms",
        zone: r#"@ TXT "v=spf1 ip4:192.0.2.1\009-all""#,
        ip: V4,
        ours: "permerror",
        theirs: "pass",
    },
    // ... and stand before and behind the version (section 4.5: the record begins with it, then SP or nothing).
    Difference {
        kind: "a blank before the version",
        zone: r#"@ TXT " v=spf1 ip4:192.0.2.1 -all""#,
        ip: V4,
        ours: "none",
        theirs: "pass",
    },
    // What it passes over may hold any octet (section 12: visible ASCII alone).
    Difference {
        kind: "octets that are not ASCII",
        zone: r#"@ TXT "v=spf1 ip4:192.0.2.1 x=caf\195\169 -all""#,
        ip: V4,
        ours: "permerror",
        theirs: "pass",
    },
    // Prefix lengths are read leniently, and capped (section 12: 0 to 32, without leading zeros).
    Difference {
        kind: "a prefix length that is too long",
        zone: r#"@ TXT "v=spf1 ip4:192.0.2.1/33 -all""#,
        ip: V4,
        ours: "permerror",
        theirs: "pass",
    },
    // As are addresses (section 12: no leading zeros).
    Difference {
        kind: "an address with leading zeros",
        zone: r#"@ TXT "v=spf1 ip4:192.000.002.001 -all""#,
        ip: V4,
        ours: "permerror",
        theirs: "pass",
    },
    // ... and no octet over 255.
    Difference {
        kind: "an octet over 255",
        zone: r#"@ TXT "v=spf1 ip4:192.0.2.300 -all""#,
        ip: V4,
        ours: "permerror",
        theirs: "fail",
    },
    // An IPv4 address behind ip6 is read (section 12: an IPv6 address).
    Difference {
        kind: "an IPv4 address behind ip6",
        zone: r#"@ TXT "v=spf1 ip6:192.0.2.9 -all""#,
        ip: V4,
        ours: "permerror",
        theirs: "fail",
    },
    // An IPv4 sender is mapped into IPv6 for ip6 (section 5.6 compares within a family).
    Difference {
        kind: "an ip6 network around ::ffff:0:0/96",
        zone: r#"@ TXT "v=spf1 ip6:::/0 -all""#,
        ip: V4,
        ours: "fail",
        theirs: "pass",
    },
    // A domain needs no top-level label (section 7.1: `toplabel`, not all digits).
    Difference {
        kind: "an address behind a",
        zone: r#"@ TXT "v=spf1 a:192.0.2.1 -all""#,
        ip: V4,
        ours: "permerror",
        theirs: "fail",
    },
    // A slash ends the domain (section 7.1: only digits behind it make it a prefix length).
    Difference {
        kind: "a slash in a domain",
        zone: r#"@ TXT "v=spf1 a:a/b.@ ip4:192.0.2.1 -all""#,
        ip: V4,
        ours: "pass",
        theirs: "permerror",
    },
    // Zero parts may be kept (section 7.3: one at least).
    Difference {
        kind: "%{d0}",
        zone: r#"@ TXT "v=spf1 ip4:192.0.2.1 exists:%{d0}.@ -all""#,
        ip: V4,
        ours: "permerror",
        theirs: "pass",
    },
    // A name that DNS cannot carry is an error of DNS (section 4.8: no match).
    Difference {
        kind: "an empty label",
        zone: r#"@ TXT "v=spf1 a:a..@ ip4:192.0.2.1 -all""#,
        ip: V4,
        ours: "pass",
        theirs: "temperror",
    },
    // Where there is no name to validate, `%{p}` is empty (section 7.3: `unknown`).
    Difference {
        kind: "%{p} without a PTR record",
        zone: "@ TXT \"v=spf1 exists:%{p}.@ -all\"\nunknown.@ A 127.0.0.2",
        ip: V4,
        ours: "pass",
        theirs: "temperror",
    },
    // `exists` is content with an AAAA record (section 5.7: an A record, whatever the sender's family).
    Difference {
        kind: "exists with AAAA alone",
        zone: "@ TXT \"v=spf1 exists:a.@ -all\"\na.@ AAAA 2001:db8::9",
        ip: V6,
        ours: "fail",
        theirs: "pass",
    },
    // It asks for AAAA where A could not be answered (section 5.7 with 4.4: a temporary error).
    Difference {
        kind: "exists that is not answered",
        zone: "@ TXT \"v=spf1 exists:a.@ ip4:192.0.2.1 -all\"\n;! servfail a.@ A",
        ip: V4,
        ours: "temperror",
        theirs: "pass",
    },
    // The PTR's final dot is kept in one of two comparisons (section 5.5: the name itself matches as those below it do).
    Difference {
        kind: "ptr of the very name",
        zone: "@ TXT \"v=spf1 ptr:mail.@ -all\"\n1.2.0.192.in-addr.arpa PTR mail.@\nmail.@ A 192.0.2.1",
        ip: V4,
        ours: "pass",
        theirs: "fail",
    },
    // Each name of a ptr counts against the ten lookups (section 4.6.4: they have a limit of their own).
    Difference {
        kind: "ptr before nine lookups",
        zone: "@ TXT \"v=spf1 ptr a:h.@ a:h.@ a:h.@ a:h.@ a:h.@ a:h.@ a:h.@ a:h.@ a:h.@ ip4:192.0.2.1 -all\"\n\
               h.@ A 192.0.2.9\n1.2.0.192.in-addr.arpa PTR h.isp.example\nh.isp.example A 192.0.2.1",
        ip: V4,
        ours: "pass",
        theirs: "permerror",
    },
];

#[tokio::test]
async fn the_second_opinion_differs_where_it_is_known_to() {
    let mut wrong = Vec::new();
    for Difference { kind, zone, ip, ours, theirs } in DIFFERENCES {
        let verdicts = verdicts(&zone.replace('@', "example.com"), ip).await;
        if verdicts != (ours.to_string(), theirs.to_string()) {
            wrong.push(format!("{kind}: {verdicts:?}, known: {:?}", (ours, theirs)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What RFC 7208 and the library say about `postmaster@example.com`.
async fn verdicts(zone: &str, ip: &str) -> (String, String) {
    let server = fixtures::dns::Server::open(zone).unwrap_or_else(|error| panic!("{error:#}\n{zone}"));
    let dns = Dns::new(vec![server.address()], Deadline::after(Duration::from_secs(30)));
    let sender = Sender::new(ip.parse().unwrap(), "example.com", "postmaster@example.com", SystemTime::UNIX_EPOCH);
    let (ours, theirs) = (check_host(&dns, &sender).await, second_opinion(&dns, &sender).await);
    (ours.verdict.to_string(), theirs.unwrap().to_string())
}

/// Terms that no row above is about. Includes lead only onwards, one deep and with `+`: nothing is void, nothing loops.
fn term() -> impl Strategy<Value = String> {
    let qualifier = prop_oneof![4 => Just(""), 1 => Just("+"), 1 => Just("-"), 1 => Just("~"), 1 => Just("?")];
    let host = prop::sample::select(vec![
        "example.com",
        "a.example.com",
        "b.example.com",
        "alias.example.com",
        "%{d}",
        "b.%{d2}",
    ]);
    let prefixes = prop::sample::select(vec!["", "/24", "//64", "/28//126", "/0", "//0"]);
    let named = (prop::sample::select(vec!["a:", "mx:", "A:", "Mx:"]), host, prefixes)
        .prop_map(|(a, b, c)| format!("{a}{b}{c}"));
    let plain = prop::sample::select(vec![
        "a",
        "mx",
        "a/24",
        "mx//64",
        "ip4:192.0.2.0/30",
        "ip4:192.0.2.1",
        "IP4:198.51.100.0/24",
        "ip6:2001:db8::/64",
        "ip6:2001:DB8::1",
        "exists:a.example.com",
        "exists:%{ir}.%{v}.e.example.com",
        "exists:%{l}.e.example.com",
        "ptr:isp.example",
        "all",
    ]);
    (qualifier, prop_oneof![2 => named, 3 => plain.prop_map(str::to_owned)])
        .prop_map(|(qualifier, term)| format!("{qualifier}{term}"))
}

/// A record whose terms include `onwards` now and then.
fn record(onwards: Option<&'static str>) -> impl Strategy<Value = String> {
    let include = onwards.map_or_else(|| "ip4:203.0.113.7".to_owned(), |name| format!("include:{name}"));
    let terms = prop::collection::vec(prop_oneof![4 => term(), 1 => Just(include)], 0..6);
    let end = onwards.map_or_else(|| "-all".to_owned(), |name| format!("redirect={name}"));
    let end = prop::sample::select(vec!["-all".to_owned(), "~all".to_owned(), String::new(), end]);
    (terms, end).prop_map(|(terms, end)| format!("TXT \"v=spf1 {} {end}\"", terms.join(" ")))
}

const HOSTS: &str = "
example.com A 192.0.2.2
example.com AAAA 2001:db8::2
example.com MX 10 a.example.com
example.com MX 20 b.example.com
a.example.com A 192.0.2.1
a.example.com AAAA 2001:db8:0:1::1
a.example.com MX 10 b.example.com
b.example.com A 198.51.100.1
b.example.com AAAA 2001:db8::1
b.example.com MX 10 example.com
alias.example.com CNAME b.example.com
*.e.example.com A 127.0.0.2
1.2.0.192.in-addr.arpa PTR host.isp.example
host.isp.example A 192.0.2.1
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR host6.isp.example
host6.isp.example AAAA 2001:db8::1
";

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn it_agrees_about_everything_else(top in record(Some("a.example.com")), below in record(None), six in any::<bool>()) {
        let zone = format!("example.com {top}\na.example.com {below}\n{HOSTS}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (ours, theirs) = runtime.block_on(verdicts(&zone, if six { V6 } else { V4 }));
        prop_assert_eq!(ours, theirs, "{}", zone);
    }
}
