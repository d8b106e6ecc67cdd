//! An SPF record as RFC 7208 section 12 spells it, with the position of whatever is wrong.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use self::macros::MacroString;

pub mod macros;

/// A record that the grammar accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The record as published.
    pub text: String,
    /// The mechanisms with their qualifiers, in order.
    pub directives: Vec<Directive>,
    /// Where evaluation goes on when nothing matched.
    pub redirect: Option<Modifier>,
    /// Where the text stands that explains a fail.
    pub exp: Option<Modifier>,
}

/// `-include:example.net`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// As published, qualifier included.
    pub text: String,
    /// What a match means.
    pub qualifier: Qualifier,
    /// What is matched.
    pub mechanism: Mechanism,
}

/// `redirect=example.net`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modifier {
    /// As published.
    pub text: String,
    /// The domain, macros included.
    pub target: MacroString,
}

/// What a match means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qualifier {
    /// `+`, or none.
    Pass,
    /// `-`
    Fail,
    /// `~`
    Softfail,
    /// `?`
    Neutral,
}

/// What is matched. A domain that is not named is the one whose record this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// `all`: every address.
    All,
    /// `include`: where that domain's record passes.
    Include(MacroString),
    /// `a`: the addresses of a domain.
    A(Option<MacroString>, Prefixes),
    /// `mx`: the addresses of a domain's exchanges.
    Mx(Option<MacroString>, Prefixes),
    /// `ptr`: a validated name at or below a domain.
    Ptr(Option<MacroString>),
    /// `ip4` or `ip6`: a network.
    Ip(Network),
    /// `exists`: where the name has an A record.
    Exists(MacroString),
}

/// The prefix lengths of a `dual-cidr-length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefixes {
    /// For IPv4 addresses, 0 to 32 bits.
    pub v4: u8,
    /// For IPv6 addresses, 0 to 128 bits.
    pub v6: u8,
}

/// `192.0.2.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Any address of the network, as published.
    pub address: IpAddr,
    /// How many leading bits count.
    pub prefix: u8,
}

/// What the grammar does not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The octet of the record, counted from 1, at which the culprit begins.
    pub position: usize,
    /// The culprit.
    pub term: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Whether a TXT record is an SPF record at all: the version, then a blank or nothing (section 4.5).
pub fn is_spf(text: &[u8]) -> bool {
    match text.split_at_checked(6) {
        Some((version, rest)) => version.eq_ignore_ascii_case(b"v=spf1") && matches!(rest.first(), None | Some(b' ')),
        None => false,
    }
}

impl Record {
    /// Parses a record that begins with its version. What the grammar does not accept anywhere spoils the whole
    /// (section 4.6).
    ///
    /// # Errors
    /// The first term that is not accepted, where it stands and why.
    pub fn parse(text: &[u8]) -> Result<Self, SyntaxError> {
        let text = printable(text)?;
        let mut record = Self { text: text.to_owned(), directives: Vec::new(), redirect: None, exp: None };
        let mut offset = 0;
        for (index, word) in text.split(' ').enumerate() {
            if index > 0 && !word.is_empty() {
                record.take(word).map_err(|reason| SyntaxError {
                    position: offset + 1,
                    term: word.to_owned(),
                    reason,
                })?;
            }
            offset += word.len() + 1;
        }
        Ok(record)
    }

    fn take(&mut self, word: &str) -> Result<(), String> {
        let Some((name, value)) = modifier(word) else {
            self.directives.push(Directive::parse(word)?);
            return Ok(());
        };
        let slot = match name.to_ascii_lowercase().as_str() {
            "redirect" => &mut self.redirect,
            "exp" => &mut self.exp,
            // Unknown modifiers are ignored, whatever they say, but must be spelled right (section 6); the grammar
            // has every letter in them (section 7.1).
            _ => return MacroString::explanation(value).map(drop),
        };
        if slot.is_some() {
            return Err(format!("{name}= stands twice"));
        }
        *slot = Some(Modifier { text: word.to_owned(), target: MacroString::domain_spec(value)? });
        Ok(())
    }

    /// The directive that always matches, if there is one; nothing behind it is ever reached.
    pub fn all(&self) -> Option<&Directive> {
        self.directives.iter().find(|directive| directive.mechanism == Mechanism::All)
    }

    /// The directives that can be reached: up to and including `all`.
    pub fn reachable(&self) -> impl Iterator<Item = &Directive> {
        let mut ended = false;
        self.directives.iter().take_while(move |directive| {
            let reached = !ended;
            ended |= directive.mechanism == Mechanism::All;
            reached
        })
    }

    /// The redirect, where it can be reached: `all` ends the record before it (section 6.1).
    pub fn reachable_redirect(&self) -> Option<&Modifier> {
        self.redirect.as_ref().filter(|_| self.all().is_none())
    }
}

impl Directive {
    fn parse(word: &str) -> Result<Self, String> {
        let (qualifier, mechanism) = match word.split_at_checked(1) {
            Some(("+", rest)) => (Qualifier::Pass, rest),
            Some(("-", rest)) => (Qualifier::Fail, rest),
            Some(("~", rest)) => (Qualifier::Softfail, rest),
            Some(("?", rest)) => (Qualifier::Neutral, rest),
            _ => (Qualifier::Pass, word),
        };
        Ok(Self { text: word.to_owned(), qualifier, mechanism: Mechanism::parse(mechanism)? })
    }
}

impl Mechanism {
    /// Whether it asks DNS, and so counts as a lookup (section 4.6.4).
    pub fn asks(&self) -> bool {
        !matches!(self, Self::All | Self::Ip(_))
    }

    fn parse(word: &str) -> Result<Self, String> {
        let end = word.find([':', '/']).unwrap_or(word.len());
        let (name, rest) = word.split_at(end);
        let value = rest.strip_prefix(':');
        match name.to_ascii_lowercase().as_str() {
            "all" if rest.is_empty() => Ok(Self::All),
            "all" => Err("all takes no argument".to_owned()),
            "include" => Ok(Self::Include(MacroString::domain_spec(value.ok_or("include needs a domain")?)?)),
            "exists" => Ok(Self::Exists(MacroString::domain_spec(value.ok_or("exists needs a domain")?)?)),
            "a" => domain_and_prefixes(rest).map(|(domain, prefixes)| Self::A(domain, prefixes)),
            "mx" => domain_and_prefixes(rest).map(|(domain, prefixes)| Self::Mx(domain, prefixes)),
            "ptr" if rest.is_empty() => Ok(Self::Ptr(None)),
            "ptr" => Ok(Self::Ptr(Some(MacroString::domain_spec(value.ok_or("ptr takes no prefix length")?)?))),
            "ip4" => ip4(value.ok_or("ip4 needs an address")?),
            "ip6" => ip6(value.ok_or("ip6 needs an address")?),
            other => Err(match near_miss(other) {
                Some(right) => format!("no such mechanism; {right} is meant"),
                None => "no such mechanism".to_owned(),
            }),
        }
    }
}

/// What is often written for a mechanism.
fn near_miss(name: &str) -> Option<&'static str> {
    match name {
        "ipv4" | "ip" => Some("ip4:"),
        "ipv6" => Some("ip6:"),
        "includes" => Some("include:"),
        _ => None,
    }
}

/// The text, if it has nothing but blanks and visible ASCII characters.
fn printable(text: &[u8]) -> Result<&str, SyntaxError> {
    let odd = text.iter().position(|octet| !matches!(octet, b' '..=b'~'));
    match (odd, std::str::from_utf8(text)) {
        (None, Ok(text)) => Ok(text),
        (odd, _) => {
            let offset = odd.unwrap_or_default();
            let from = text.get(..offset).and_then(|before| before.iter().rposition(|octet| *octet == b' '));
            let start = from.map_or(0, |blank| blank + 1);
            let term = text.get(start..).unwrap_or_default().split(|octet| *octet == b' ').next().unwrap_or_default();
            let odd = match String::from_utf8_lossy(text.get(offset..).unwrap_or_default()).chars().next() {
                Some('\u{fffd}') | None => format!("the octet 0x{:02x}", text.get(offset).unwrap_or(&0)),
                Some(c @ ('\u{2010}'..='\u{2015}' | '\u{2212}')) => {
                    format!("a dash (U+{:04X}) where a hyphen is meant", u32::from(c))
                }
                Some(c) => format!("the character U+{:04X}", u32::from(c)),
            };
            Err(SyntaxError {
                position: offset + 1,
                term: String::from_utf8_lossy(term).into_owned(),
                reason: format!("has {odd}; only visible ASCII is allowed"),
            })
        }
    }
}

/// Splits `name=value`, where the name is one that a modifier can have.
fn modifier(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let well_formed = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    well_formed.then_some((name, value))
}

/// `[":" domain-spec] [dual-cidr-length]`.
fn domain_and_prefixes(rest: &str) -> Result<(Option<MacroString>, Prefixes), String> {
    let (before, v6) = trailing_prefix(rest, "//");
    let (before, v4) = trailing_prefix(before, "/");
    let prefixes = Prefixes { v4: length(v4, 32)?, v6: length(v6, 128)? };
    match before.strip_prefix(':') {
        Some(domain) => Ok((Some(MacroString::domain_spec(domain)?), prefixes)),
        None if before.is_empty() => Ok((None, prefixes)),
        None => Err(format!("{before:?} is no prefix length")),
    }
}

/// Splits a prefix length off the end, if what stands behind the last `slashes` could be one.
fn trailing_prefix<'a>(text: &'a str, slashes: &str) -> (&'a str, Option<&'a str>) {
    match text.rsplit_once(slashes) {
        Some((before, digits)) if digits.bytes().all(|digit| digit.is_ascii_digit()) => (before, Some(digits)),
        _ => (text, None),
    }
}

/// A prefix length without leading zeros, `most` where there is none.
fn length(digits: Option<&str>, most: u8) -> Result<u8, String> {
    let Some(digits) = digits else { return Ok(most) };
    let number = digits.parse::<u8>().ok().filter(|number| *number <= most && number.to_string() == digits);
    number.ok_or_else(|| format!("/{digits} is no prefix length from 0 to {most}"))
}

fn ip4(text: &str) -> Result<Mechanism, String> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: Ipv4Addr = address.parse().map_err(|_| no_address(address, "IPv4"))?;
    Ok(Mechanism::Ip(Network { address: address.into(), prefix: length(prefix, 32)? }))
}

fn ip6(text: &str) -> Result<Mechanism, String> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: Ipv6Addr = address.parse().map_err(|_| no_address(address, "IPv6"))?;
    Ok(Mechanism::Ip(Network { address: address.into(), prefix: length(prefix, 128)? }))
}

fn no_address(text: &str, family: &str) -> String {
    let joined = ["include:", "ip4:", "ip6:", "a:", "mx", "~all", "-all"].iter().any(|term| text.contains(term));
    let hint = if joined { " (strings of a TXT record are joined without a blank)" } else { "" };
    format!("{text:?} is no {family} address{hint}")
}

impl Prefixes {
    /// The network of this size around an address.
    pub fn around(self, address: IpAddr) -> Network {
        let prefix = if address.is_ipv4() { self.v4 } else { self.v6 };
        Network { address, prefix }
    }
}

impl Network {
    /// The first address of the network.
    pub fn base(&self) -> IpAddr {
        let prefix = u32::from(self.prefix);
        match self.address {
            IpAddr::V4(address) => {
                Ipv4Addr::from_bits(address.to_bits() & u32::MAX.checked_shl(32 - prefix).unwrap_or(0)).into()
            }
            IpAddr::V6(address) => {
                Ipv6Addr::from_bits(address.to_bits() & u128::MAX.checked_shl(128 - prefix).unwrap_or(0)).into()
            }
        }
    }

    /// Whether the address is of this family and in this network.
    pub fn contains(&self, address: IpAddr) -> bool {
        let prefix = u32::from(self.prefix);
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).checked_shr(32 - prefix).unwrap_or(0) == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).checked_shr(128 - prefix).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at octet {}: {}", self.term, self.position, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_needs_its_version_and_a_blank() {
        for (text, spf) in [
            ("v=spf1", true),
            ("V=SPF1 -all", true),
            ("v=spf1 ", true),
            ("v=spf10", false),
            ("v=spf1;-all", false),
            ("v=spf", false),
            (" v=spf1", false),
            ("\"v=spf1 -all\"", false),
        ] {
            assert_eq!(is_spf(text.as_bytes()), spf, "{text}");
        }
    }

    #[test]
    fn terms_that_the_grammar_accepts() {
        for term in [
            "all",
            "+ALL",
            "-all",
            "~all",
            "?all",
            "a",
            "A/24",
            "a//64",
            "a/24//64",
            "a:example.net",
            "a:example.net/24",
            "a:%{d}/0//0",
            "mx:example.net//128",
            "ptr",
            "ptr:example.net",
            "ip4:192.0.2.1",
            "ip4:192.0.2.0/24",
            "ip6:2001:db8::/32",
            "ip6:::1",
            "ip6:::ffff:192.0.2.1/128",
            "exists:%{ir}.%{v}._spf.%{d2}",
            "include:a.example.",
            "redirect=a.example",
            "exp=%{s}.example",
            "ra=postmaster",
            "rp=100",
            "rr=e:f",
            "moo.cow-far_out=man:dog/cat",
            "x=",
            "x=%{c}%{r}%{t}",
            "a:foo:bar/baz.example.com",
            "a:example.xn--zckzah",
            "a:a.b-c",
        ] {
            let record = Record::parse(format!("v=spf1 {term}").as_bytes());
            assert!(record.is_ok(), "{term}: {record:?}");
        }
    }

    #[test]
    fn terms_that_it_does_not() {
        for term in [
            "all:x",
            "-all/8",
            "a/33",
            "a//129",
            "a/024",
            "a/",
            "a//",
            "a:/24",
            "a:",
            "a:museum",
            "a:192.0.2.1",
            "a:example.-com",
            "a:example.com:8080",
            "a:example.com/x",
            "mx/x",
            "ptr/24",
            "ptr:",
            "ip4",
            "ip4:",
            "ip4:192.0.2",
            "ip4:192.0.2.999",
            "ip4:192.0.2.1/33",
            "ip4:192.0.2.1/032",
            "ip4:192.0.2.1/",
            "ip4:2001:db8::1",
            "ip6:192.0.2.1",
            "ip6:2001:db8::1//64",
            "ip6:2001:db8::/129",
            "include",
            "include:",
            "include:x",
            "exists",
            "exists:%{x}.example",
            "exists:%{d",
            "exists:%.example",
            "redirect=",
            "redirect=-all",
            "exp=-all",
            "ipv4:192.0.2.1",
            "+-all",
            "=all",
            "1up=foo",
            "foo",
            "x=%",
            "redirect:a.example",
            "exists:%{c}.example",
            "exists:%{d0}.example",
            "a=example.net,",
            "\tall",
            "caf\u{e9}",
        ] {
            let record = Record::parse(format!("v=spf1 {term}").as_bytes());
            // An unknown modifier may be called anything.
            assert_eq!(record.is_err(), term != "a=example.net,", "{term}: {record:?}");
        }
        for twice in ["v=spf1 redirect=a.example REDIRECT=b.example", "v=spf1 exp=a.example exp=a.example"] {
            assert!(Record::parse(twice.as_bytes()).is_err(), "{twice}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_octets_are_read_without_panic(octets in proptest::collection::vec(proptest::num::u8::ANY, 0..120)) {
            let text = [b"v=spf1 ".as_slice(), &octets].concat();
            if let Err(error) = Record::parse(&text) {
                proptest::prop_assert!((1..=text.len()).contains(&error.position), "{error}");
            }
        }

        #[test]
        fn what_looks_like_terms_is_read_without_panic(
            text in "([+?~-]?(all|a|mx|ptr|ip4|ip6|include|exists|redirect|exp|x)([:=/]([a-z0-9.:/]|%\\{[a-z][0-9]?r?[.-]?\\}|%%){0,12}){0,2} {0,2}){0,6}"
        ) {
            let text = format!("v=spf1 {text}");
            match Record::parse(text.as_bytes()) {
                Ok(record) => proptest::prop_assert!(record.reachable().count() <= record.directives.len()),
                Err(error) => proptest::prop_assert!(text[error.position - 1..].starts_with(&error.term), "{error}"),
            }
        }
    }

    #[test]
    fn the_position_is_that_of_the_culprit() {
        let error = Record::parse(b"v=spf1 a  ipv4:192.0.2.1 -all").unwrap_err();
        assert_eq!((error.position, error.term.as_str()), (11, "ipv4:192.0.2.1"));
        assert_eq!(error.reason, "no such mechanism; ip4: is meant");
        let error = Record::parse(b"v=spf1 a\tmx -all").unwrap_err();
        assert_eq!((error.position, error.term.as_str()), (9, "a\tmx"));
    }

    #[test]
    fn networks_contain_what_they_should() {
        let network = |text: &str| match Mechanism::parse(text) {
            Ok(Mechanism::Ip(network)) => network,
            other => panic!("{other:?}"),
        };
        for (term, address, contained) in [
            ("ip4:192.0.2.0/24", "192.0.2.255", true),
            ("ip4:192.0.2.0/24", "192.0.3.0", false),
            ("ip4:192.0.2.1", "192.0.2.1", true),
            ("ip4:0.0.0.0/0", "203.0.113.9", true),
            ("ip4:0.0.0.0/0", "2001:db8::1", false),
            ("ip6:2001:db8::/32", "2001:db8:ffff::1", true),
            ("ip6:2001:db8::/33", "2001:db8:ffff::1", false),
            ("ip6:::/0", "2001:db8::1", true),
        ] {
            assert_eq!(network(term).contains(address.parse().unwrap()), contained, "{term} {address}");
        }
    }
}
