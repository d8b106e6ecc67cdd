//! The blocklists that are asked, few and well kept, as data; and those that are gone.

use std::net::Ipv4Addr;

use syntax::Name;

/// What a blocklist lists, and what its answers mean.
pub(super) struct List {
    /// The zone that anybody may ask.
    pub(super) zone: &'static str,
    /// Where subscribers ask, below a label of their own.
    pub(super) subscribers: Option<&'static str>,
    /// What is always listed and what never is, for each sort of entry; a sort without is not asked.
    pub(super) ipv4: Option<TestPoints>,
    pub(super) ipv6: Option<TestPoints>,
    pub(super) names: Option<TestPoints>,
    /// What each answer means; none: any answer is a listing.
    pub(super) codes: &'static [Code],
    /// Whether the last octet of an answer is the sum of several codes' last octets.
    pub(super) sums: bool,
    /// Answers that are no listing, beyond those that every list may give.
    pub(super) errors: &'static [(Ipv4Addr, &'static str)],
    /// Where to ask for removal.
    pub(super) delisting: Option<&'static str>,
}

/// What a list is tested with before it is asked (RFC 5782 section 5).
#[derive(Clone, Copy)]
pub(super) struct TestPoints {
    pub(super) listed: &'static str,
    pub(super) unlisted: &'static str,
}

/// One answer of a list.
pub(super) struct Code {
    pub(super) answer: Ipv4Addr,
    pub(super) kind: Kind,
    pub(super) meaning: &'static str,
}

/// Why something is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Spam or other abuse was seen from it.
    Abuse,
    /// Somebody has broken into it.
    Exploit,
    /// It is not meant to send mail directly, whatever it does.
    Policy,
}

const IPV4: Option<TestPoints> = Some(TestPoints { listed: "127.0.0.2", unlisted: "127.0.0.1" });
const IPV6: Option<TestPoints> = Some(TestPoints { listed: "::ffff:127.0.0.2", unlisted: "::ffff:127.0.0.1" });
const NAMES: Option<TestPoints> = Some(TestPoints { listed: "test", unlisted: "invalid" });

const fn code(c: u8, d: u8, kind: Kind, meaning: &'static str) -> Code {
    Code { answer: Ipv4Addr::new(127, 0, c, d), kind, meaning }
}

/// A list of which nothing is known but its zone: RFC 5782's test points, and every code is a listing.
pub(super) static ANY: List = List {
    zone: "",
    subscribers: None,
    ipv4: IPV4,
    ipv6: IPV6,
    names: NAMES,
    codes: &[],
    sums: false,
    errors: &[],
    delisting: None,
};

/// The lists that are asked without being named. Left out: lists that answer registered users alone, that list whole
/// networks for their neighbours' sake, or that take money for removal.
pub(super) static LISTS: &[List] = &[
    List {
        zone: "zen.spamhaus.org",
        subscribers: Some("zen.dq.spamhaus.net"),
        ipv4: IPV4,
        ipv6: IPV6,
        names: None,
        codes: &[
            code(0, 2, Kind::Abuse, "SBL: spam source"),
            code(0, 3, Kind::Abuse, "CSS: low-reputation sender"),
            code(0, 4, Kind::Exploit, "XBL: infected or exploited host"),
            code(0, 5, Kind::Exploit, "XBL: infected or exploited host"),
            code(0, 6, Kind::Exploit, "XBL: infected or exploited host"),
            code(0, 7, Kind::Exploit, "XBL: infected or exploited host"),
            code(0, 9, Kind::Abuse, "DROP: hijacked or criminal network"),
            code(0, 10, Kind::Policy, "PBL: the provider says that it sends no mail directly"),
            code(0, 11, Kind::Policy, "PBL: not meant to send mail directly"),
            code(0, 30, Kind::Exploit, "BCL: botnet controller"),
        ],
        sums: false,
        errors: &[],
        delisting: Some("https://check.spamhaus.org/"),
    },
    List {
        zone: "bl.spamcop.net",
        subscribers: None,
        ipv4: IPV4,
        ipv6: None,
        names: None,
        codes: &[code(0, 2, Kind::Abuse, "spam reported by users or seen by traps")],
        sums: false,
        errors: &[],
        delisting: Some("https://www.spamcop.net/bl.shtml"),
    },
    List {
        zone: "dbl.spamhaus.org",
        subscribers: Some("dbl.dq.spamhaus.net"),
        ipv4: None,
        ipv6: None,
        names: Some(TestPoints { listed: "dbltest.com", unlisted: "invalid" }),
        codes: &[
            code(1, 2, Kind::Abuse, "low-reputation domain"),
            code(1, 4, Kind::Abuse, "phishing domain"),
            code(1, 5, Kind::Abuse, "malware domain"),
            code(1, 6, Kind::Abuse, "botnet controller's domain"),
            code(1, 102, Kind::Exploit, "abused legitimate domain"),
            code(1, 103, Kind::Exploit, "abused redirector"),
            code(1, 104, Kind::Exploit, "legitimate domain abused for phishing"),
            code(1, 105, Kind::Exploit, "legitimate domain abused for malware"),
            code(1, 106, Kind::Exploit, "legitimate domain abused by a botnet controller"),
        ],
        sums: false,
        errors: &[(Ipv4Addr::new(127, 0, 1, 255), "an address was asked for, where names are listed")],
        delisting: Some("https://check.spamhaus.org/"),
    },
    List {
        zone: "multi.surbl.org",
        subscribers: None,
        ipv4: None,
        ipv6: None,
        names: Some(TestPoints { listed: "surbl-org-permanent-test-point.com", unlisted: "invalid" }),
        codes: &[
            code(0, 8, Kind::Abuse, "PH: phishing"),
            code(0, 16, Kind::Abuse, "MW: malware"),
            code(0, 64, Kind::Abuse, "ABUSE: in the links of spam"),
            code(0, 128, Kind::Exploit, "CR: cracked site"),
        ],
        sums: true,
        errors: &[],
        delisting: Some("https://surbl.org/surbl-analysis"),
    },
];

/// Lists that are gone, and since when: some answer nothing, some list everybody.
pub static RETIRED_BLOCKLISTS: &[(&str, &str)] = &[
    ("sorbs.net", "2024-06-05"),
    ("ix.dnsbl.manitu.net", "2025-01-16"),
    ("ahbl.org", "2015-01-01"),
    ("dsbl.org", "2009-03-09"),
    ("megarbl.net", "2019-11-25"),
    ("dul.ru", "2015-05-19"),
];

/// The day on which the blocklist `zone` ended, as far as is known.
pub fn retired(zone: &Name) -> Option<&'static str> {
    let is_below = |ended: &str| ended.parse::<Name>().is_ok_and(|ended| zone.is_within(&ended));
    RETIRED_BLOCKLISTS.iter().find(|(ended, _)| is_below(ended)).map(|(_, date)| *date)
}

/// The list that is asked at `zone`: one of those known, or any other.
pub(super) fn at(zone: &Name) -> &'static List {
    let is_at = |list: &&List| {
        let is = |known: &str| known.parse::<Name>();
        is(list.zone).is_ok_and(|known| known == *zone)
            || list.subscribers.is_some_and(|known| is(known).is_ok_and(|known| known == zone.parent()))
    };
    LISTS.iter().find(is_at).unwrap_or(&ANY)
}

/// Why an answer is no listing, if it is none: the list's own errors, Spamhaus's range of them, which others have taken
/// over, 127.0.0.1, with which several lists refuse a resolver, and whatever is outside 127.0.0.0/8.
pub(super) fn error(list: &List, answer: Ipv4Addr) -> Option<&'static str> {
    if let Some((_, reason)) = list.errors.iter().find(|(code, _)| *code == answer) {
        return Some(reason);
    }
    match answer.octets() {
        [127, 255, 255, 252] => Some("the zone's name is misspelt"),
        [127, 255, 255, 254] => Some("the list refuses public resolvers"),
        [127, 255, 255, 255] => Some("the list has had too many questions from this resolver"),
        [127, 255, 255, _] => Some("an error code"),
        [127, 0, 0, 1] => Some("the list refuses this resolver"),
        [127, ..] => None,
        _ => Some("no DNSBL code, which are in 127.0.0.0/8"),
    }
}

/// What an answer that is a listing means: the codes it is made of; none is known here.
pub(super) fn meanings(list: &'static List, answer: Ipv4Addr) -> impl Iterator<Item = &'static Code> {
    list.codes.iter().filter(move |code| match list.sums {
        true => answer.octets()[3] & code.answer.octets()[3] != 0,
        false => answer == code.answer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        for list in LISTS {
            let zone: Name = list.zone.parse().unwrap();
            assert!(std::ptr::eq(at(&zone), list), "{} is in the table twice", list.zone);
            assert_eq!(retired(&zone), None, "{} is retired", list.zone);
            assert!(list.delisting.is_some_and(|page| page.starts_with("https://")), "{}", list.zone);
            assert!(list.ipv4.is_some() || list.ipv6.is_some() || list.names.is_some(), "{}", list.zone);
            for code in list.codes {
                assert_eq!(error(list, code.answer), None, "{} {}", list.zone, code.answer);
                assert!(meanings(list, code.answer).any(|known| known.meaning == code.meaning));
            }
            for (answer, reason) in list.errors {
                assert_eq!(error(list, *answer), Some(*reason));
            }
            if let Some(subscribers) = list.subscribers {
                let keyed = subscribers.parse::<Name>().unwrap().child("key").unwrap();
                assert!(std::ptr::eq(at(&keyed), list), "{keyed}");
            }
        }
    }

    #[test]
    fn test_points_are_what_they_are_for() {
        for list in LISTS.iter().chain([&ANY]) {
            for point in list.ipv4.iter().flat_map(|points| [points.listed, points.unlisted]) {
                assert!(point.parse::<Ipv4Addr>().is_ok(), "{point}");
            }
            for point in list.ipv6.iter().flat_map(|points| [points.listed, points.unlisted]) {
                assert!(point.parse::<std::net::Ipv6Addr>().is_ok(), "{point}");
            }
            for point in list.names.iter().flat_map(|points| [points.listed, points.unlisted]) {
                assert!(point.parse::<std::net::IpAddr>().is_err() && point.parse::<Name>().is_ok(), "{point}");
            }
        }
    }

    #[test]
    fn what_has_ended_is_known_with_all_below_it() {
        for (zone, date) in RETIRED_BLOCKLISTS {
            let zone: Name = zone.parse().unwrap();
            assert_eq!(retired(&zone), Some(*date));
            assert_eq!(retired(&zone.child("spam").unwrap()), Some(*date));
        }
        assert_eq!(retired(&"dnsbl.example".parse().unwrap()), None);
    }

    #[test]
    fn answers_are_listings_or_errors() {
        for (answer, is_error) in [
            ("127.0.0.2", false),
            ("127.0.0.11", false),
            ("127.1.2.3", false),
            ("127.0.0.1", true),
            ("127.255.255.250", true),
            ("127.255.255.254", true),
            ("192.0.2.1", true),
            ("0.0.0.0", true),
        ] {
            assert_eq!(error(&ANY, answer.parse().unwrap()).is_some(), is_error, "{answer}");
        }
        let summed = LISTS.iter().find(|list| list.sums).unwrap();
        let [.., last] = summed.codes else { panic!("no codes") };
        let all: u8 = summed.codes.iter().map(|code| code.answer.octets()[3]).sum();
        assert_eq!(meanings(summed, Ipv4Addr::new(127, 0, 0, all)).count(), summed.codes.len());
        assert_eq!(meanings(summed, last.answer).count(), 1);
    }
}
