//! Postfix's `relayhost`: a next-hop, or several that are tried in order.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::Name;

/// The host of a next-hop or exchange: a name, or an address literal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name for DNS.
    Name(Name),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

const FORM: &str = "expected [HOST]:PORT, or DOMAIN:PORT for its MX";

/// One destination of `relayhost`: `[host]:port`, `host:port`, `[address]:port`; without brackets the host's MX are meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// The host, or the domain whose MX are meant.
    pub host: Host,
    /// The TCP port.
    pub port: u16,
    /// Whether brackets turn the MX lookup off.
    pub bracketed: bool,
}

impl NextHop {
    /// The port of mail between servers (RFC 5321 section 4.5.4.2).
    pub const SMTP: u16 = 25;
    /// The port of submission over implicit TLS (RFC 8314 section 3.3).
    pub const SUBMISSIONS: u16 = 465;
}

impl FromStr for NextHop {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port, bracketed) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(|| format!("the bracket is not closed; {FORM}"))?;
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port), true),
                None if rest.is_empty() => (host, None, true),
                None => return Err(format!("{rest:?} after the bracket; {FORM}")),
            }
        } else {
            match text.rsplit_once(':') {
                Some((host, _)) if host.contains('[') => {
                    return Err(format!("{text:?} names a transport, which relayhost does not have; {FORM}"));
                }
                Some((host, _)) if host.contains(':') => {
                    return Err(format!("an IPv6 address needs brackets; {FORM}"));
                }
                Some((host, port)) => (host, Some(port), false),
                None => (text, None, false),
            }
        };
        let port = port.map_or(Ok(Self::SMTP), |port| {
            service(port).ok_or_else(|| format!("no such port: {port:?}, {PORTS}; {FORM}"))
        })?;
        let literal = host.get(..5).filter(|tag| tag.eq_ignore_ascii_case("ipv6:")).and_then(|_| host.get(5..));
        let host = match literal.unwrap_or(host).parse() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(named(host).map_err(|why| format!("the host {host:?} {why}; {FORM}"))?),
        };
        Ok(Self { host, port, bracketed })
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.bracketed) {
            (Host::Name(name), true) => write!(f, "[{name}]:{}", self.port),
            (Host::Address(address), true) => write!(f, "[{address}]:{}", self.port),
            (host, false) => write!(f, "{host}:{}", self.port),
        }
    }
}

/// A host name; what ends in a number was meant as an address (RFC 1123 section 2.1).
fn named(host: &str) -> Result<Name, String> {
    let name: Name = host.parse()?;
    let is_number = |label: &[u8]| label.iter().all(u8::is_ascii_digit);
    if name.labels().next_back().is_some_and(is_number) {
        return Err("is no address".to_owned());
    }
    Ok(name)
}

const PORTS: &str = "expected a number, smtp, submission or submissions";

/// A port by number or by the names that `/etc/services` gives mail's.
fn service(text: &str) -> Option<u16> {
    match text {
        "smtp" => Some(NextHop::SMTP),
        "smtps" | "submissions" => Some(NextHop::SUBMISSIONS),
        "submission" => Some(587),
        number => number.parse().ok().filter(|port| *port != 0),
    }
}

/// Postfix's `relayhost`: one next-hop, or since Postfix 3.5 several that are tried in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Relayhost {
    /// The one that is tried first.
    pub first: NextHop,
    /// What is tried where those before are of no use.
    pub rest: Vec<NextHop>,
}

impl Relayhost {
    /// The next-hops, in the order they are tried.
    pub fn next_hops(&self) -> impl Iterator<Item = &NextHop> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

/// `[a]:587, [b]:587`: with commas or blanks between (postconf(5), relayhost).
impl FromStr for Relayhost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
        let mut hops: Vec<NextHop> = Vec::new();
        for word in words {
            let hop: NextHop = word.parse()?;
            if !hops.contains(&hop) {
                hops.push(hop);
            }
        }
        let mut hops = hops.into_iter();
        let first = hops.next().ok_or_else(|| format!("is empty; {FORM}"))?;
        Ok(Self { first, rest: hops.collect() })
    }
}

impl fmt::Display for Relayhost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        self.rest.iter().try_for_each(|hop| write!(f, ", {hop}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_hops_as_postfix_writes_them() {
        for (text, shown) in [
            ("[smtp.example.net]:587", "[smtp.example.net]:587"),
            ("[smtp.example.net]", "[smtp.example.net]:25"),
            ("[smtp.example.net]:submission", "[smtp.example.net]:587"),
            ("example.net:smtps", "example.net:465"),
            ("Example.NET", "example.net:25"),
            ("[192.0.2.25]:587", "[192.0.2.25]:587"),
            ("[2001:db8::25]:587", "[2001:db8::25]:587"),
            ("[ipv6:2001:db8::25]", "[2001:db8::25]:25"),
            ("[a.example]:587, [b.example]:587", "[a.example]:587, [b.example]:587"),
            (" a.example,[b.example]:smtps\tA.example ", "a.example:25, [b.example]:465"),
        ] {
            assert_eq!(text.parse::<Relayhost>().unwrap().to_string(), shown, "{text}");
        }
        for (text, why) in [
            ("[smtp.example.net:587", "the bracket is not closed"),
            ("[smtp.example.net]587", "after the bracket"),
            ("smtp.example.net:0", "no such port"),
            ("smtp.example.net:", "no such port"),
            ("2001:db8::25", "needs brackets"),
            ("[]:587", "is empty"),
            ("[192.0.2.300]:587", "is no address"),
            ("[a\u{7}b]:587", "has the character '\\u{7}'"),
            ("[a b]:587", "the bracket is not closed"),
            ("[smtp.example.net]:imap", "expected a number, smtp, submission or submissions"),
            ("smtp:[smtp.example.net]:587", "names a transport"),
            ("", "is empty"),
            (" , ", "is empty"),
            ("[a.example]:587, [b.example]:no", "no such port"),
        ] {
            let error = text.parse::<Relayhost>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
