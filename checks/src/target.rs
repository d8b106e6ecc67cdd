//! What we were told about the mail system: the one value that options, file and Postfix end up in.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::SystemTime,
};

use serde::Serialize;

pub use self::{
    relayhost::Relayhost,
    sasl::{MechanismFilter, SecurityOptions},
    tls::{Algorithm, Fingerprint, Match, TlsLevel, TlsPolicy},
};
use crate::{Guard, Mailbox, Message, Name, Secret, SignerKey, address::Family};

mod tls;

mod relayhost;
mod sasl;

/// What we were told about the mail system; by default nothing.
#[derive(Default)]
pub struct Target {
    /// Postfix's `myhostname`, the EHLO name.
    pub hostname: Option<Name>,
    /// The domains of the From: header, and of MAIL FROM unless `mail_from` says otherwise.
    pub domains: Vec<Name>,
    /// The domain of MAIL FROM where it differs.
    pub mail_from: Option<Name>,
    /// The addresses mail leaves from, where they were named.
    pub ips: Vec<IpAddr>,
    /// Postfix's `inet_protocols`.
    pub protocols: Protocols,
    /// DKIM selectors.
    pub selectors: Vec<Selector>,
    /// The public halves of the keys that the signer uses.
    pub dkim_keys: Vec<SignerKey>,
    /// A message that was sent.
    pub message: Option<Message>,
    /// Postfix's `relayhost`.
    pub relay: Option<Relayhost>,
    /// How TLS to the relay is judged.
    pub tls: TlsPolicy,
    /// How to log in to the relay.
    pub sasl: Option<Credentials>,
    /// The recipients that the relay is asked about.
    pub recipients: Vec<Mailbox>,
    /// Postfix's `message_size_limit`, where it was named; 0 is no limit.
    pub message_size: Option<u64>,
    /// How many messages leave on a day.
    pub per_day: Option<u64>,
    /// Whether each authoritative server is asked by itself (`--authoritative`).
    pub authoritative: bool,
    /// Where to reach an endpoint instead of where DNS says it is.
    pub connect_to: Vec<Redirect>,
    /// Blocklists to ask besides the built-in ones.
    pub dnsbl: Vec<Name>,
    /// Whether the domains' own MX hosts are connected to.
    pub mx_probe: bool,
}

impl Target {
    /// From so many messages a day on, to one receiver, a sender is a bulk sender.
    pub(crate) const BULK: u64 = 5000;

    /// Whether the host sends directly or through a relay.
    pub fn topology(&self) -> Topology {
        match self.relay {
            Some(_) => Topology::Relay,
            None => Topology::Direct,
        }
    }

    /// Whether the rules for bulk senders apply: to Gmail and to Outlook.com from 5000 messages a day on.
    pub(crate) fn is_bulk(&self) -> bool {
        self.per_day.is_some_and(|messages| messages >= Self::BULK)
    }

    /// Whether receivers see the relay, not this host.
    pub(crate) fn is_relayed(&self) -> bool {
        self.relay.is_some()
    }

    /// The domains that MAIL FROM will carry.
    pub(crate) fn mail_from_domains(&self) -> &[Name] {
        match &self.mail_from {
            Some(domain) => std::slice::from_ref(domain),
            None => &self.domains,
        }
    }

    /// How many DNS questions a run may ask besides those of a run over one domain, from one host: what was typed is asked
    /// about, however much it is.
    pub fn further_questions(&self) -> usize {
        let beyond = |count: usize| count.saturating_sub(1);
        let (domains, addresses, lists) = (self.domains.len(), self.ips.len(), self.dnsbl.len());
        let next_hops = self.relay.iter().flat_map(Relayhost::next_hops).count();
        100 * beyond(domains)
            + 10 * beyond(addresses)
            + 2 * beyond(self.selectors.len()) * domains
            + lists * (10 + 2 * (domains + addresses))
            + 50 * beyond(next_hops)
    }

    /// Where to connect to reach `port` of `host` (a name or an address), if not where DNS says.
    pub(crate) fn redirect(&self, host: &str, port: u16) -> Option<SocketAddr> {
        self.connect_to
            .iter()
            .find(|redirect| redirect.port == port && redirect.host.eq_ignore_ascii_case(host))
            .map(|redirect| redirect.to)
    }
}

/// How mail leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Topology {
    /// To the recipients' MX.
    Direct,
    /// Through a relay.
    Relay,
}

/// Postfix's `inet_protocols`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocols {
    /// Both.
    #[default]
    All,
    /// IPv4 alone.
    Ipv4,
    /// IPv6 alone.
    Ipv6,
}

impl Protocols {
    /// Whether addresses of this family are used.
    pub(crate) fn include(self, family: Family) -> bool {
        match self {
            Self::All => true,
            Self::Ipv4 => family == Family::Ipv4,
            Self::Ipv6 => family == Family::Ipv6,
        }
    }
}

impl fmt::Display for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        })
    }
}

/// A DKIM selector: under every domain, or under one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// What stands before `._domainkey`.
    pub name: String,
    /// The one domain it stands under.
    pub domain: Option<Name>,
}

/// `S` or `S@D`.
impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, domain) = match text.split_once('@') {
            Some((name, domain)) => (name, Some(domain.parse().map_err(|why| format!("the domain {domain:?} {why}"))?)),
            None => (text, None),
        };
        name.parse::<Name>().map_err(|why| format!("the selector {name:?} {why}"))?;
        Ok(Self { name: name.to_ascii_lowercase(), domain })
    }
}

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

/// How to log in to the relay.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user name.
    pub user: String,
    /// The password or the token.
    pub login: Login,
    /// The mechanism insisted on, in upper case.
    pub mechanism: Option<String>,
    /// Postfix's `smtp_sasl_mechanism_filter`.
    pub filter: MechanismFilter,
    /// Postfix's `smtp_sasl_tls_security_options`: no login is made without TLS.
    pub options: SecurityOptions,
    /// The relay has just refused this login: it is not tried again before.
    pub barred_until: Option<SystemTime>,
    /// What is asked before AUTH, and told of the reply.
    pub guard: Option<Guard>,
}

impl Credentials {
    /// A login with whatever mechanism proves who we are.
    pub fn new(user: String, login: Login) -> Self {
        Self {
            user,
            login,
            mechanism: None,
            filter: MechanismFilter::default(),
            options: SecurityOptions::NOANONYMOUS,
            barred_until: None,
            guard: None,
        }
    }
}

/// What proves who we are.
#[derive(Clone, Debug)]
pub enum Login {
    /// For PLAIN, LOGIN, CRAM-MD5 and SCRAM.
    Password(Secret),
    /// For XOAUTH2 and OAUTHBEARER.
    Token(Secret),
    /// For EXTERNAL: the server knows by other means.
    Session,
}

/// curl's `--connect-to`: reach `host:port` at `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// A name without its root dot, or an address, as it stands in the relay or comes from DNS.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Where it is reached.
    pub to: SocketAddr,
}

/// `HOST:PORT:ADDR:PORT`, IPv6 addresses in brackets.
impl FromStr for Redirect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("{text:?} is not HOST:PORT:ADDR:PORT, IPv6 addresses in brackets");
        let (host, rest) = endpoint(text).ok_or_else(form)?;
        let (port, rest) = rest.split_once(':').ok_or_else(form)?;
        let (address, to_port) = endpoint(rest).ok_or_else(form)?;
        let address: IpAddr = address.parse().map_err(|_| format!("{address:?} in {text:?} is not an IP address"))?;
        Ok(Self {
            host: host.trim_end_matches('.').to_owned(),
            port: port.parse().map_err(|_| form())?,
            to: SocketAddr::new(address, to_port.parse().map_err(|_| form())?),
        })
    }
}

/// Splits `host:rest` or `[host]:rest`.
fn endpoint(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]:"),
        None => text.split_once(':'),
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

    #[test]
    fn redirects_as_curl_writes_them() {
        let redirect: Redirect = "smtp.example.net.:587:127.0.0.1:2525".parse().unwrap();
        assert_eq!((redirect.host.as_str(), redirect.port), ("smtp.example.net", 587));
        let redirect: Redirect = "[2001:db8::25]:587:[::1]:2525".parse().unwrap();
        assert_eq!((redirect.host.as_str(), redirect.to), ("2001:db8::25", "[::1]:2525".parse().unwrap()));
        for text in ["", "a:1", "a:1:b:2", "a:x:127.0.0.1:2", "a:1:127.0.0.1"] {
            assert!(text.parse::<Redirect>().is_err(), "{text}");
        }
    }
}
