//! What a list is asked, its own test first, and what its answer means (RFC 5782).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use futures_util::future::join;
use hickory_resolver::proto::rr::RecordType;
use syntax::{Name, address::Family};

use super::lists::{self, Kind, List, TestPoints};
use crate::{
    Abstain, Context, Evidence,
    net::{NoAnswer, dns::Answer},
};

/// How much of a list's reason is shown.
const LONGEST_REASON: usize = 200;

/// What a list has entries of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Ipv4,
    Ipv6,
    Names,
}

impl Sort {
    pub(super) const ALL: [Self; 3] = [Self::Ipv4, Self::Ipv6, Self::Names];

    pub(super) fn of_family(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::Ipv4,
            Family::Ipv6 => Self::Ipv6,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPv4 addresses",
            Self::Ipv6 => "IPv6 addresses",
            Self::Names => "names",
        }
    }
}

/// What a list is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Address(IpAddr),
    Name(Name),
}

impl Entry {
    pub(super) fn sort(&self) -> Sort {
        match self {
            Self::Address(address) => Sort::of_family(Family::of(*address)),
            Self::Name(_) => Sort::Names,
        }
    }

    /// A test point of the table.
    pub(super) fn point(text: &str) -> Option<Self> {
        text.parse().map(Self::Address).ok().or_else(|| text.parse().map(Self::Name).ok())
    }

    /// The name that is asked for: octets or nibbles in reverse order (RFC 5782 sections 2.1 and 2.4), or the name itself
    /// (section 3), below the list's zone.
    pub(super) fn below(&self, zone: &Name) -> Result<Name, String> {
        let name = match self {
            Self::Address(address) => Name::reverse(*address),
            Self::Name(name) => name.clone(),
        };
        // in-addr.arpa and ip6.arpa stay behind.
        let own = if self.sort() == Sort::Names { name.depth() } else { name.depth().saturating_sub(2) };
        Name::from_labels(name.labels().take(own).chain(zone.labels()))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// How a list fares in its own test (RFC 5782 section 5).
pub(super) enum Health {
    Sound,
    /// Neither test point is listed: no such list here, or none of such entries.
    Absent(Vec<Evidence>),
    /// It answers with an error code: it does not want to be asked from here.
    Refused(String, Vec<Evidence>),
    /// Whatever it answers, it is not to be believed.
    Broken(String, Vec<Evidence>),
    Silent(NoAnswer),
}

/// What a list says of an entry.
pub(super) enum Listing {
    None(Evidence),
    /// An answer that is no listing, and why.
    Error(String, Evidence),
    Listed(Listed),
}

/// That an entry is listed, and why.
pub(super) struct Listed {
    pub(super) codes: Vec<String>,
    /// The kind of each code, as far as it is known.
    pub(super) kinds: Vec<Option<Kind>>,
    pub(super) sentence: String,
    pub(super) reason: String,
    pub(super) evidence: Vec<Evidence>,
}

/// The test: both questions at once.
pub(super) async fn health(cx: &Context, zone: &Name, list: &List, points: TestPoints) -> Health {
    let (listed, unlisted) = join(point(cx, zone, points.listed), point(cx, zone, points.unlisted)).await;
    let (listed, unlisted) = match (listed, unlisted) {
        (Ok(listed), Ok(unlisted)) => (listed, unlisted),
        (Err(Abstain::Unknown(silence)), _) | (_, Err(Abstain::Unknown(silence))) => return Health::Silent(silence),
        _ => return Health::Broken("the zone's name is too long to be asked".to_owned(), Vec::new()),
    };
    let seen = || vec![listed.evidence(), unlisted.evidence()];
    if let Some(why) = refusal(list, &listed).or_else(|| refusal(list, &unlisted)) {
        let is_code = codes(&listed).iter().chain(&codes(&unlisted)).all(Ipv4Addr::is_loopback);
        return if is_code { Health::Refused(why, seen()) } else { Health::Broken(why, seen()) };
    }
    let failure = "fails its own test (RFC 5782 section 5), not asked";
    match (codes(&listed).is_empty(), codes(&unlisted).is_empty()) {
        (false, true) => Health::Sound,
        (true, true) => Health::Absent(seen()),
        (false, false) => Health::Broken(format!("{failure}: it lists {} too", points.unlisted), seen()),
        (true, false) => {
            Health::Broken(format!("{failure}: it lists {}, not {}", points.unlisted, points.listed), seen())
        }
    }
}

async fn point(cx: &Context, zone: &Name, text: &str) -> Result<Answer, Abstain> {
    let entry = Entry::point(text).ok_or_else(|| Abstain::NotApplicable(format!("{text} is no test point")))?;
    answer(cx, zone, &entry).await
}

async fn answer(cx: &Context, zone: &Name, entry: &Entry) -> Result<Answer, Abstain> {
    let name = entry.below(zone).map_err(|why| Abstain::NotApplicable(format!("{entry}.{zone} {why}")))?;
    Ok(cx.net.dns.ask(&name, RecordType::A).await?)
}

/// The answers, lowest first.
fn codes(answer: &Answer) -> Vec<Ipv4Addr> {
    let v4 = |address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    };
    answer.addresses().into_iter().filter_map(v4).collect()
}

/// Why an answer says nothing about the entry, if it does not.
fn refusal(list: &List, answer: &Answer) -> Option<String> {
    codes(answer).into_iter().find_map(|code| lists::error(list, code).map(|why| format!("answers {code}: {why}")))
}

/// The question itself; the reason is asked for only where there is one.
pub(super) async fn listing(cx: &Context, zone: &Name, list: &'static List, entry: &Entry) -> Result<Listing, Abstain> {
    let answer = answer(cx, zone, entry).await?;
    let codes = codes(&answer);
    if codes.is_empty() {
        return Ok(Listing::None(answer.evidence()));
    }
    if let Some(why) = refusal(list, &answer) {
        return Ok(Listing::Error(why, answer.evidence()));
    }
    let mut kinds = Vec::new();
    let mut shown = Vec::new();
    for code in &codes {
        let known: Vec<_> = lists::meanings(list, *code).collect();
        let meanings = known.iter().map(|code| code.meaning).collect::<Vec<_>>().join(", ");
        shown.push(if meanings.is_empty() { code.to_string() } else { format!("{code} ({meanings})") });
        match known.is_empty() {
            true => kinds.push(None),
            false => kinds.extend(known.iter().map(|code| Some(code.kind))),
        }
    }
    let mut evidence = vec![answer.evidence()];
    let reason = reason(cx, zone, entry, &mut evidence).await;
    let mut sentence = shown.join(" and ");
    if !reason.is_empty() {
        sentence.push_str(&format!(": {reason}"));
    }
    let codes = codes.iter().map(ToString::to_string).collect();
    Ok(Listing::Listed(Listed { codes, kinds, sentence, reason, evidence }))
}

/// What the list's TXT record says, as a line of print. Without it the entry is listed all the same.
async fn reason(cx: &Context, zone: &Name, entry: &Entry, evidence: &mut Vec<Evidence>) -> String {
    let Ok(name) = entry.below(zone) else { return String::new() };
    match cx.net.dns.ask(&name, RecordType::TXT).await {
        Ok(answer) => {
            evidence.push(answer.evidence());
            let texts = answer.texts();
            let text = texts.first().map(|text| String::from_utf8_lossy(text)).unwrap_or_default();
            let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
            line.take(LONGEST_REASON).collect::<String>().trim().to_owned()
        }
        Err(silence) => {
            evidence.push(silence.evidence());
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_reversed_addresses_or_names() {
        let zone: Name = "dnsbl.example".parse().unwrap();
        for (entry, asked) in [
            ("192.0.2.99", "99.2.0.192.dnsbl.example"),
            (
                "2001:db8:1:2:3:4:567:89ab",
                "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.dnsbl.example",
            ),
            ("::ffff:127.0.0.2", "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.dnsbl.example"),
            ("test", "test.dnsbl.example"),
            ("example.com", "example.com.dnsbl.example"),
        ] {
            assert_eq!(Entry::point(entry).unwrap().below(&zone).unwrap().to_string(), asked, "{entry}");
        }
        let long: Name = ["abcdefg"; 30].join(".").parse().unwrap();
        assert!(Entry::Name(long).below(&["abcdefg"; 4].join(".").parse().unwrap()).is_err());
    }
}
