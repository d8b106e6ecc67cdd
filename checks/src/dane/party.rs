//! The hosts that TLSA records are looked for: the relay's, and the MX hosts of the domains.

use std::fmt;

use futures_util::future::join_all;
use hickory_resolver::proto::rr::RecordType;
use syntax::{Host, Name, NextHop};

use crate::{
    Abstain, Context, Finding,
    mx::{Exchange, exchanges},
    net::{dns::Validation, smtp::hosts},
};

/// A host and port, and who leads there.
pub(super) struct Party {
    pub(super) host: Name,
    pub(super) port: u16,
    pub(super) is_relay: bool,
    /// The domains whose MX records name it.
    pub(super) domains: Vec<Name>,
    /// What the resolver says of those MX records; secure where there are none.
    pub(super) validation: Validation,
}

/// `HOST:PORT`.
impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Everyone whose TLSA records count, each once, and findings about those who are not known.
pub(super) async fn parties(cx: &Context) -> (Vec<Party>, Vec<Finding>) {
    let (mut parties, mut lost) = relay(cx).await;
    let (exchanges, unknown) = exchanges(cx).await;
    for Exchange { host, domains, validation } in exchanges {
        match parties.iter_mut().find(|party| party.host == host && party.port == NextHop::SMTP) {
            Some(party) => {
                party.domains.extend(domains);
                party.validation = party.validation.max(validation);
            }
            None => parties.push(Party { host, port: NextHop::SMTP, is_relay: false, domains, validation }),
        }
    }
    lost.extend(unknown);
    (parties, lost)
}

async fn relay(cx: &Context) -> (Vec<Party>, Vec<Finding>) {
    let hops = cx.target.relay.iter().flat_map(|relay| relay.next_hops());
    let (mut parties, mut lost): (Vec<Party>, Vec<Finding>) = Default::default();
    for (found, missing) in join_all(hops.map(|hop| parties_of(cx, hop))).await {
        for party in found {
            if !parties.iter().any(|known| known.host == party.host && known.port == party.port) {
                parties.push(party);
            }
        }
        lost.extend(missing);
    }
    (parties, lost)
}

async fn parties_of(cx: &Context, hop: &NextHop) -> (Vec<Party>, Vec<Finding>) {
    let hosts = match hosts(cx, hop).await {
        Ok((hosts, _)) => hosts,
        Err(lost) => {
            let needs = Finding::from(Abstain::Needs("the relay's hosts".to_owned(), "relay.connect"));
            return (Vec::new(), vec![needs.about(lost.subject)]);
        }
    };
    let (domains, validation) = match &hop.host {
        Host::Name(domain) if !hop.bracketed => match cx.net.dns.known(domain, RecordType::MX).await {
            Some(answer) if !answer.is_empty() => (vec![domain.clone()], answer.validation()),
            _ => (Vec::new(), Validation::Secure),
        },
        _ => (Vec::new(), Validation::Secure),
    };
    let (mut parties, mut lost) = (Vec::new(), Vec::new());
    for (_, host) in hosts {
        match host {
            Host::Name(host) => {
                parties.push(Party { host, port: hop.port, is_relay: true, domains: domains.clone(), validation });
            }
            Host::Address(_) => lost.push(
                Finding::skip("an address has no TLSA record: DANE is for names").about(format!("{host}:{}", hop.port)),
            ),
        }
    }
    (parties, lost)
}
