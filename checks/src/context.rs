//! What every check sees: what we were told, how to ask, and what time it is.

use std::{net::IpAddr, time::SystemTime};

use futures_util::future::join_all;
use syntax::{Name, address::Family};

use crate::{
    Abstain, Finding, Target,
    net::{Net, NoAnswer},
};

/// How many addresses of one family that HOSTNAME resolves to are judged: each asks questions of its own, and no host has as
/// many.
pub(crate) const MOST_ADDRESSES: usize = 50;

/// What every check sees.
pub struct Context {
    /// What we were told about the mail system.
    pub target: Target,
    /// How to ask the world.
    pub net: Net,
    /// The clock of every check.
    pub now: SystemTime,
}

/// The addresses mail leaves from, family by family, and what could not be found out about them.
pub(crate) struct Outgoing {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) silences: Vec<(Family, NoAnswer)>,
}

impl Context {
    /// HOSTNAME, where one was given.
    pub(crate) fn hostname(&self) -> Result<&Name, Abstain> {
        self.target.hostname.as_ref().ok_or_else(|| Abstain::NotApplicable("no HOSTNAME given".to_owned()))
    }

    /// The judgement on each domain, about that domain.
    pub(crate) async fn each_domain<'a>(
        &'a self,
        judge: impl AsyncFn(&'a Name) -> Result<Finding, Abstain>,
    ) -> Vec<Finding> {
        if self.target.domains.is_empty() {
            return vec![Finding::skip("no domain given")];
        }
        join_all(self.target.domains.iter().map(async |domain| Finding::from(judge(domain).await).about(domain))).await
    }

    /// The families of addresses that `--protocols` includes.
    pub(crate) fn families(&self) -> impl Iterator<Item = Family> {
        Family::BOTH.into_iter().filter(|family| self.target.protocols.include(*family))
    }

    /// The addresses of `--ip` that `--protocols` includes.
    pub(crate) fn named_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.target.ips.iter().copied().filter(|address| self.target.protocols.include(Family::of(*address)))
    }

    /// The addresses that HOSTNAME resolves to in one family, unless HOSTNAME is an address itself.
    pub(crate) async fn forward(&self, hostname: &Name, family: Family) -> Result<Vec<IpAddr>, NoAnswer> {
        if hostname.address_literal().is_some() {
            return Ok(Vec::new());
        }
        Ok(self.net.dns.ask(hostname, family.record_type()).await?.addresses())
    }

    /// The addresses mail leaves from: those of `--ip`, else those that HOSTNAME resolves to, the first few.
    pub(crate) async fn outgoing(&self) -> Outgoing {
        let mut outgoing = Outgoing { addresses: self.named_addresses().collect(), silences: Vec::new() };
        let Some(hostname) = self.target.hostname.as_ref().filter(|_| self.target.ips.is_empty()) else {
            return outgoing;
        };
        let asked = self.families().map(async |family| (family, self.forward(hostname, family).await));
        for (family, answer) in join_all(asked).await {
            match answer {
                Ok(addresses) => outgoing.addresses.extend(addresses.into_iter().take(MOST_ADDRESSES)),
                Err(silence) => outgoing.silences.push((family, silence)),
            }
        }
        outgoing
    }

    /// The outgoing addresses, as far as the checks have found them out.
    pub(crate) async fn known_addresses(&self) -> Vec<IpAddr> {
        let Some(hostname) = self.target.hostname.as_ref().filter(|_| self.target.ips.is_empty()) else {
            return self.named_addresses().collect();
        };
        let mut addresses = Vec::new();
        for family in self.families() {
            let answer = self.net.dns.known(hostname, family.record_type()).await;
            addresses.extend(answer.iter().flat_map(|answer| answer.addresses()).take(MOST_ADDRESSES));
        }
        addresses
    }
}
