//! What we were told about the mail system: the one value that options, file and Postfix end up in.

use std::{
    net::{IpAddr, SocketAddr},
    time::SystemTime,
};

use serde::Serialize;
use syntax::{Mailbox, Name, Protocols, Redirect, Relayhost, Secret, Selector};

pub use self::{
    sasl::{MechanismFilter, SecurityOptions},
    tls::{Algorithm, Fingerprint, Match, TlsLevel, TlsPolicy},
};
use crate::{Guard, Message, SignerKey};

mod sasl;
mod tls;

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
