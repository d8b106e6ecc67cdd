//! From the next-hop to the addresses, as Postfix finds them.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use futures_util::future::join_all;
use hickory_resolver::proto::rr::RecordType;

use crate::{Context, Evidence, Name, NextHop, address::Family, net::NoAnswer, target::Host};

/// One address of one host of the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) address: IpAddr,
    /// Where the connection really goes: elsewhere with `--connect-to`.
    pub(super) socket: SocketAddr,
}

/// A part of the relay that there is no dialogue with.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    /// `HOST:PORT`, or `HOST:PORT ipv6`.
    pub(crate) subject: String,
    pub(crate) why: Loss,
    pub(crate) evidence: Vec<Evidence>,
}

/// Why there is no dialogue.
#[derive(Clone, Debug)]
pub(crate) enum Loss {
    /// There is no address: why, in words.
    Nowhere(String),
    /// The address could not be found out.
    Silent(NoAnswer),
    /// This machine has no way to such addresses.
    NoRoute(Family),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {}", self.host, self.port, self.address)
    }
}

/// Every endpoint of `hop`, in Postfix's order, and what of it leads nowhere.
pub(super) async fn endpoints(cx: &Context, hop: &NextHop) -> (Vec<Endpoint>, Vec<Lost>) {
    let hosts = match hosts(cx, hop).await {
        Ok(hosts) => hosts,
        Err(lost) => return (Vec::new(), vec![lost]),
    };
    let (mut endpoints, mut lost) = (Vec::new(), Vec::new());
    for found in join_all(hosts.into_iter().map(|host| located(cx, host, hop.port))).await {
        match found {
            Ok(found) => endpoints.extend(found),
            Err(nothing) => lost.push(nothing),
        }
    }
    (endpoints, lost)
}

/// The host itself in brackets; otherwise its mail exchangers (RFC 5321 section 5.1).
pub(crate) async fn hosts(cx: &Context, hop: &NextHop) -> Result<Vec<Host>, Lost> {
    let domain = match &hop.host {
        Host::Name(domain) if !hop.bracketed && !is_redirected(cx, &hop.host, hop.port) => domain,
        host => return Ok(vec![host.clone()]),
    };
    let lost = |why, evidence| Lost { subject: format!("{domain}:{}", hop.port), why, evidence };
    let answer = match cx.net.dns.ask(domain, RecordType::MX).await {
        Ok(answer) => answer,
        Err(silence) => return Err(lost(Loss::Silent(silence.clone()), vec![silence.evidence()])),
    };
    if answer.is_nxdomain() {
        return Err(lost(Loss::Nowhere(answer.absence()), vec![answer.evidence()]));
    }
    let exchanges = answer.exchanges();
    let mut hosts: Vec<Name> = Vec::new();
    for (_, exchange) in &exchanges {
        if !exchange.is_root() && !hosts.contains(exchange) {
            hosts.push(exchange.clone());
        }
    }
    match (exchanges.is_empty(), hosts.is_empty()) {
        (true, _) => Ok(vec![Host::Name(domain.clone())]),
        (false, true) => {
            let why = format!("{domain} has a null MX: it takes no mail (RFC 7505)");
            Err(lost(Loss::Nowhere(why), vec![answer.evidence()]))
        }
        (false, false) => Ok(hosts.into_iter().map(Host::Name).collect()),
    }
}

async fn located(cx: &Context, host: Host, port: u16) -> Result<Vec<Endpoint>, Lost> {
    if let Some(socket) = redirected(cx, &host, port) {
        return Ok(vec![Endpoint { host, port, address: socket.ip(), socket }]);
    }
    let addresses = addresses(cx, &host, port).await?;
    let endpoint = |address: IpAddr| {
        let socket = cx.target.redirect(&address.to_string(), port).unwrap_or(SocketAddr::new(address, port));
        Endpoint { host: host.clone(), port, address, socket }
    };
    Ok(addresses.into_iter().map(endpoint).collect())
}

async fn addresses(cx: &Context, host: &Host, port: u16) -> Result<Vec<IpAddr>, Lost> {
    let protocols = cx.target.protocols;
    let lost = |why, evidence| Lost { subject: format!("{host}:{port}"), why, evidence };
    let name = match host {
        Host::Name(name) => name,
        Host::Address(address) if protocols.include(Family::of(*address)) => return Ok(vec![*address]),
        Host::Address(address) => {
            let why = format!("{address} is of no use while inet_protocols is {protocols}");
            return Err(lost(Loss::Nowhere(why), Vec::new()));
        }
    };
    match cx.net.dns.addresses(name, protocols).await {
        Err(silence) => Err(lost(Loss::Silent(silence.clone()), vec![silence.evidence()])),
        Ok(addresses) if addresses.is_empty() => {
            let (why, evidence) = absence(cx, name).await;
            Err(lost(Loss::Nowhere(why), evidence))
        }
        Ok(addresses) => Ok(addresses),
    }
}

/// What DNS said instead of an address. It has been asked already.
async fn absence(cx: &Context, name: &Name) -> (String, Vec<Evidence>) {
    let mut absences = Vec::new();
    let mut evidence = Vec::new();
    for family in cx.families() {
        if let Ok(answer) = cx.net.dns.ask(name, family.record_type()).await {
            let absence = answer.absence();
            if !absences.contains(&absence) {
                absences.push(absence);
            }
            evidence.push(answer.evidence());
        }
    }
    (absences.join(", "), evidence)
}

fn is_redirected(cx: &Context, host: &Host, port: u16) -> bool {
    redirected(cx, host, port).is_some()
}

/// Where `--connect-to` leads `host`. An address in it is written without brackets.
fn redirected(cx: &Context, host: &Host, port: u16) -> Option<SocketAddr> {
    match host {
        Host::Name(name) => cx.target.redirect(&name.to_string(), port),
        Host::Address(_) => None,
    }
}
