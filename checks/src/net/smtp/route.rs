//! From the next-hop to the addresses, as Postfix finds them.

use std::{
    collections::HashSet,
    fmt,
    net::{IpAddr, SocketAddr},
};

use futures_util::future::{join, join_all};
use hickory_resolver::proto::rr::RecordType;
use syntax::{Host, Name, NextHop, Relayhost, address::Family};

use crate::{Context, Evidence, net::NoAnswer};

/// Postfix tries smtp_mx_address_limit = 5 addresses, two sessions of them; we want to see all, but not any number.
const MOST: usize = 20;

/// What there is more of than is asked.
const ADDRESSES: &str = "addresses";
const HOSTS: &str = "MX hosts";

/// Postfix looks for loops at this port alone (SMTP_MISC_FLAG_LOOP_DETECT of its smtp_connect.c).
const SMTP: u16 = 25;

/// One address of one host of the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) address: IpAddr,
    /// Where the connection really goes: elsewhere with `--connect-to`.
    pub(in crate::net) socket: SocketAddr,
    /// The destination of relayhost that it belongs to.
    pub(crate) next_hop: NextHop,
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
    /// Postfix does not go there, because it would come back to this host: whether nothing else is left.
    Loop { is_end: bool, why: String },
    /// There are more addresses, or MX hosts, than are asked: how many of what.
    Beyond(usize, &'static str),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {}", self.host, self.port, self.address)
    }
}

/// Every endpoint of `relay`, in Postfix's order, and what of it leads nowhere.
pub(super) async fn endpoints(cx: &Context, relay: &Relayhost) -> (Vec<Endpoint>, Vec<Lost>) {
    let (mut endpoints, mut lost): (Vec<Endpoint>, Vec<Lost>) = Default::default();
    let (mut known, mut beyond) = (HashSet::new(), 0);
    for (found, missing) in join_all(relay.next_hops().map(|hop| endpoints_of(cx, hop))).await {
        // Two next-hops may lead to one host.
        endpoints.extend(found.into_iter().filter(|endpoint| known.insert(endpoint.to_string())));
        for nothing in missing {
            if let Loss::Beyond(more, ADDRESSES) = nothing.why {
                beyond += more;
            } else if !lost.iter().any(|known| known.subject == nothing.subject) {
                lost.push(nothing);
            }
        }
    }
    beyond += endpoints.len().saturating_sub(MOST);
    endpoints.truncate(MOST);
    if beyond > 0 {
        let why = Loss::Beyond(beyond, ADDRESSES);
        lost.push(Lost { subject: format!("{relay} beyond"), why, evidence: Vec::new() });
    }
    (endpoints, lost)
}

async fn endpoints_of(cx: &Context, hop: &NextHop) -> (Vec<Endpoint>, Vec<Lost>) {
    let (hosts, own) = join(hosts(cx, hop), own_addresses(cx, hop.port)).await;
    let (hosts, more) = match hosts {
        Ok(hosts) => hosts,
        Err(lost) => return (Vec::new(), vec![lost]),
    };
    let found = join_all(hosts.iter().map(|(_, host)| located(cx, hop, host.clone()))).await;
    let is_own = |endpoint: &Endpoint| own.contains(&endpoint.address);
    let beyond =
        |subject: String, more: usize, what| Lost { subject, why: Loss::Beyond(more, what), evidence: Vec::new() };
    // Postfix uses no exchanger that is as good as this host, or worse: mail would go in circles.
    let placed = hosts.iter().zip(&found);
    let cut = placed.filter(|(_, found)| found.iter().flatten().any(is_own)).map(|((place, _), _)| *place).min();
    let (mut endpoints, mut lost) = (Vec::new(), Vec::new());
    if more > 0 {
        lost.push(beyond(format!("{}:{} hosts beyond", hop.host, hop.port), more, HOSTS));
    }
    for ((place, host), found) in hosts.iter().zip(found) {
        match found {
            Ok(found) if cut.is_some_and(|cut| *place >= cut) => {
                let is_best = hosts.first().is_some_and(|(best, _)| cut == Some(*best));
                let is_end = is_best && found.iter().any(is_own);
                let why = format!("mail for {} loops back to this host", hop.host);
                let why = if is_end { why } else { format!("{host} is no better an exchanger than this host itself") };
                let subject = format!("{host}:{}", hop.port);
                lost.push(Lost { subject, why: Loss::Loop { is_end, why }, evidence: Vec::new() });
            }
            Ok(found) => {
                // Each of them is tried on its own connection: of one host no more than of all.
                let more = found.len().saturating_sub(MOST);
                endpoints.extend(found.into_iter().take(MOST));
                lost.extend((more > 0).then(|| beyond(format!("{host}:{} beyond", hop.port), more, ADDRESSES)));
                lost.extend(silent_families(cx, hop, host).await);
            }
            Err(nothing) => lost.push(nothing),
        }
    }
    (endpoints, lost)
}

/// The families of addresses of `host` that could not be found out, where another is known. DNS has been asked already.
async fn silent_families(cx: &Context, hop: &NextHop, host: &Host) -> Vec<Lost> {
    let Host::Name(name) = host else { return Vec::new() };
    let mut lost = Vec::new();
    for family in cx.families().filter(|_| !is_redirected(cx, host, hop.port)) {
        if let Err(silence) = cx.net.dns.ask(name, family.record_type()).await {
            let subject = format!("{host}:{} {}", hop.port, family.word());
            lost.push(Lost { subject, evidence: vec![silence.evidence()], why: Loss::Silent(silence) });
        }
    }
    lost
}

/// The addresses of this host where Postfix looks for loops, as far as DNS knows them; `--ip` may name those of the relay.
async fn own_addresses(cx: &Context, port: u16) -> HashSet<IpAddr> {
    let Some(hostname) = cx.target.hostname.as_ref().filter(|_| port == SMTP) else { return HashSet::new() };
    let answers = join_all(cx.families().map(|family| cx.forward(hostname, family))).await;
    answers.into_iter().flatten().flatten().collect()
}

/// The host itself in brackets; otherwise its mail exchangers (RFC 5321 section 5.1), each with its preference.
/// There may be more of them than are asked: how many.
pub(crate) async fn hosts(cx: &Context, hop: &NextHop) -> Result<(Vec<(u16, Host)>, usize), Lost> {
    let domain = match &hop.host {
        Host::Name(domain) if !hop.bracketed && !is_redirected(cx, &hop.host, hop.port) => domain,
        host => return Ok((vec![(0, host.clone())], 0)),
    };
    let lost = |why, evidence| Lost { subject: format!("{domain}:{}", hop.port), why, evidence };
    let answer = match cx.net.dns.ask(domain, RecordType::MX).await {
        Ok(answer) => answer,
        Err(silence) => return Err(lost(Loss::Silent(silence.clone()), vec![silence.evidence()])),
    };
    if answer.is_nxdomain() {
        return Err(lost(Loss::Nowhere(answer.absence()), vec![answer.evidence()]));
    }
    let (hosts, beyond) = answer.hosts();
    match (answer.is_empty(), hosts.is_empty()) {
        (true, _) => Ok((vec![(0, Host::Name(domain.clone()))], 0)),
        (false, true) => {
            let why = format!("{domain} has a null MX: it takes no mail (RFC 7505)");
            Err(lost(Loss::Nowhere(why), vec![answer.evidence()]))
        }
        (false, false) => Ok((hosts.into_iter().map(|(place, host)| (place, Host::Name(host))).collect(), beyond)),
    }
}

/// Every endpoint of `host`, a host of `hop`.
pub(in crate::net) async fn located(cx: &Context, hop: &NextHop, host: Host) -> Result<Vec<Endpoint>, Lost> {
    let (port, next_hop) = (hop.port, hop.clone());
    if let Some(socket) = redirected(cx, &host, port) {
        return Ok(vec![Endpoint { host, port, address: socket.ip(), socket, next_hop }]);
    }
    let addresses = addresses(cx, &host, hop).await?;
    let endpoint = |address: IpAddr| {
        let socket = cx.target.redirect(&address.to_string(), port).unwrap_or(SocketAddr::new(address, port));
        Endpoint { host: host.clone(), port, address, socket, next_hop: next_hop.clone() }
    };
    Ok(addresses.into_iter().map(endpoint).collect())
}

async fn addresses(cx: &Context, host: &Host, hop: &NextHop) -> Result<Vec<IpAddr>, Lost> {
    let protocols = cx.target.protocols;
    let lost = |why, evidence| Lost { subject: format!("{host}:{}", hop.port), why, evidence };
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
            let (mut why, mut evidence) = absence(cx, name).await;
            // Brackets around a domain that has only exchangers are an easy slip.
            if hop.bracketed
                && let Ok(answer) = cx.net.dns.ask(name, RecordType::MX).await
            {
                let exchanges = answer.exchanges();
                if let Some((_, exchange)) = exchanges.iter().find(|(_, exchange)| !exchange.is_root()) {
                    why = format!("{why}, but MX {exchange}: with brackets Postfix does not look for that");
                    evidence.push(answer.evidence());
                }
            }
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

pub(super) fn is_redirected(cx: &Context, host: &Host, port: u16) -> bool {
    redirected(cx, host, port).is_some()
}

/// Where `--connect-to` leads `host`. An address in it is written without brackets.
fn redirected(cx: &Context, host: &Host, port: u16) -> Option<SocketAddr> {
    match host {
        Host::Name(name) => cx.target.redirect(&name.to_string(), port),
        Host::Address(_) => None,
    }
}
