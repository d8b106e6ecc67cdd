//! The dialogues with the relay: one an address, all at once, and once a run.

use std::net::IpAddr;

use futures_util::future::join_all;
use tokio::sync::OnceCell;

pub(super) use self::{dialogue::connected, route::located};
pub(crate) use self::{
    dialogue::{Dialogue, wanted},
    envelope::{Asked, Envelope, Unasked},
    login::{Attempt, Flaw, Mechanism, Proof, Reason, Selection, Withheld},
    probe::{Injection, Probe},
    reply::Reply,
    route::{Endpoint, Loss, Lost},
    wire::{Cause, Stage},
};
use self::{
    dialogue::{Script, Turn},
    redaction::Redaction,
};
use super::{Deadline, NoAnswer};
use crate::{Abstain, Context, Relayhost, TlsLevel};

mod dialogue;
mod envelope;
mod login;
mod probe;
mod redaction;
mod reply;
mod route;
mod wire;

/// The relay, and what was said to it.
pub struct Relay {
    deadline: Deadline,
    once: OnceCell<Result<Relayed, Abstain>>,
    probes: OnceCell<Result<Vec<Option<Probe>>, Abstain>>,
}

/// Every dialogue with the relay, in Postfix's order, and what of it there is none with.
#[derive(Debug)]
pub(crate) struct Relayed {
    pub(crate) dialogues: Vec<Dialogue>,
    pub(crate) lost: Vec<Lost>,
}

/// The addresses at which `relay` is reached.
///
/// # Errors
/// None is known, because DNS did not answer.
pub(crate) async fn addresses(cx: &Context, relay: &Relayhost) -> Result<Vec<IpAddr>, NoAnswer> {
    let (endpoints, lost) = route::endpoints(cx, relay).await;
    let silence = lost.into_iter().find_map(|lost| match lost.why {
        Loss::Silent(silence) => Some(silence),
        _ => None,
    });
    match (endpoints.is_empty(), silence) {
        (true, Some(silence)) => Err(silence),
        _ => Ok(endpoints.into_iter().map(|endpoint| endpoint.address).collect()),
    }
}

impl Relay {
    /// Nobody has been spoken to.
    pub fn new(deadline: Deadline) -> Self {
        Self { deadline, once: OnceCell::new(), probes: OnceCell::new() }
    }

    /// What came of the dialogues; the first to ask holds them.
    pub(crate) async fn relayed(&self, cx: &Context) -> Result<&Relayed, Abstain> {
        self.once.get_or_init(|| self.talk(cx)).await.as_ref().map_err(Clone::clone)
    }

    /// What more connections showed, for each dialogue with a TLS session; the first to ask makes them.
    pub(crate) async fn probed(&self, cx: &Context) -> Result<&[Option<Probe>], Abstain> {
        let probes = self.probes.get_or_init(|| self.probe(cx)).await;
        probes.as_ref().map(Vec::as_slice).map_err(Clone::clone)
    }

    /// After the dialogues, so that nothing that a server holds against them costs the login.
    async fn probe(&self, cx: &Context) -> Result<Vec<Option<Probe>>, Abstain> {
        let relayed = self.relayed(cx).await?;
        let script = self.script(cx);
        let probed = relayed.dialogues.iter().map(async |dialogue| match &dialogue.session {
            Some(session) if session.is_whole() => Some(Probe::made(&dialogue.endpoint, &script).await),
            _ => None,
        });
        Ok(join_all(probed).await)
    }

    fn script<'a>(&self, cx: &'a Context) -> Script<'a> {
        Script { cx, deadline: self.deadline, redaction: Redaction::of(cx.target.sasl.as_ref()) }
    }

    async fn talk(&self, cx: &Context) -> Result<Relayed, Abstain> {
        let Some(relay) = &cx.target.relay else {
            return Err(Abstain::NotApplicable("no relay given: mail is sent directly".to_owned()));
        };
        let policy = &cx.target.tls;
        if policy.wrappermode || policy.level > TlsLevel::None {
            let anchors = policy.anchors.clone();
            tokio::task::spawn_blocking(move || anchors.warm());
        }
        let (endpoints, lost) = route::endpoints(cx, relay).await;
        let script = self.script(cx);
        let turns = Turn::line(endpoints.len(), self.deadline);
        let dialogues = endpoints.into_iter().zip(turns);
        let held = join_all(dialogues.map(|(endpoint, turn)| Dialogue::held(endpoint, &script, turn))).await;
        Ok(Relayed::new(held, lost))
    }
}

impl Relayed {
    /// A family of addresses of a host to none of which this machine has a route is lost as a whole.
    fn new(held: Vec<Dialogue>, mut lost: Vec<Lost>) -> Self {
        let key = |dialogue: &Dialogue| (dialogue.endpoint.host.clone(), dialogue.endpoint.address.is_ipv4());
        let routed: Vec<_> = held.iter().filter(|dialogue| dialogue.unrouted().is_none()).map(key).collect();
        let mut dialogues = Vec::new();
        for dialogue in held {
            match dialogue.unrouted().filter(|_| !routed.contains(&key(&dialogue))) {
                None => dialogues.push(dialogue),
                Some(family) => {
                    let Endpoint { host, port, .. } = &dialogue.endpoint;
                    let subject = format!("{host}:{port} {}", family.word());
                    if !lost.iter().any(|lost| lost.subject == subject) {
                        lost.push(Lost { subject, why: Loss::NoRoute(family), evidence: Vec::new() });
                    }
                }
            }
        }
        Self { dialogues, lost }
    }

    /// Whether an address of the relay answers.
    pub(crate) fn is_answered(&self) -> bool {
        self.dialogues.iter().any(Dialogue::is_answered)
    }

    /// The address that the one login of this run was tried at.
    pub(crate) fn logged_in_at(&self) -> Option<&Endpoint> {
        let tried = |dialogue: &&Dialogue| {
            let broke = matches!(dialogue.broke, Some((Stage::Login, _)));
            broke || matches!(dialogue.login, Some(Attempt::Decided { .. }))
        };
        self.dialogues.iter().find(tried).map(|dialogue| &dialogue.endpoint)
    }
}
