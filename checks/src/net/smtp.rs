//! The dialogues with the relay and with MX hosts: one an address, all at once, and once a run.

use std::{net::IpAddr, sync::Arc};

use futures_util::future::join_all;

pub(crate) use self::{
    demand::{Demand, Outcome, Proof, reference_names},
    dialogue::Dialogue,
    login::{Attempt, Withheld},
    reply::Reply,
    route::{Endpoint, Loss, Lost, hosts},
    wire::{Cause, Stage},
};
use self::{
    dialogue::{Script, Turn},
    redaction::Redaction,
};
use super::{Deadline, NoAnswer, memo::Memo};
use crate::{Abstain, Context, Name, NextHop, TlsLevel, target::Host};

mod demand;
mod dialogue;
mod login;
mod redaction;
mod reply;
mod route;
mod wire;

/// What was said to whom.
pub struct Dialogues {
    deadline: Deadline,
    held: Memo<(Errand, NextHop), Arc<Relayed>>,
}

/// What we come for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Errand {
    /// To hand over mail as Postfix is configured to, up to the login.
    Relay,
    /// To see the STARTTLS of an MX host, as any sender may.
    Exchange,
}

/// Every dialogue with a next-hop, in Postfix's order, and what of it there is none with.
#[derive(Debug)]
pub(crate) struct Relayed {
    pub(crate) dialogues: Vec<Dialogue>,
    pub(crate) lost: Vec<Lost>,
}

/// The addresses at which `hop` is reached.
///
/// # Errors
/// None is known, because DNS did not answer.
pub(crate) async fn addresses(cx: &Context, hop: &NextHop) -> Result<Vec<IpAddr>, NoAnswer> {
    let (endpoints, lost) = route::endpoints(cx, hop).await;
    let silence = lost.into_iter().find_map(|lost| match lost.why {
        Loss::Silent(silence) => Some(silence),
        Loss::Nowhere(_) | Loss::NoRoute(_) => None,
    });
    match (endpoints.is_empty(), silence) {
        (true, Some(silence)) => Err(silence),
        _ => Ok(endpoints.into_iter().map(|endpoint| endpoint.address).collect()),
    }
}

impl Dialogues {
    /// Nobody has been spoken to.
    pub fn new(deadline: Deadline) -> Self {
        Self { deadline, held: Memo::new() }
    }

    /// What came of the dialogues with the relay; the first to ask holds them.
    pub(crate) async fn relayed(&self, cx: &Context) -> Result<Arc<Relayed>, Abstain> {
        let hop = cx.target.relay.as_ref();
        let hop = hop.ok_or_else(|| Abstain::NotApplicable("no relay given: mail is sent directly".to_owned()))?;
        Ok(self.with(cx, Errand::Relay, hop.clone()).await)
    }

    /// What came of the dialogues with an MX host.
    pub(crate) async fn exchanged(&self, cx: &Context, host: &Name) -> Arc<Relayed> {
        let hop = NextHop { host: Host::Name(host.clone()), port: NextHop::SMTP, bracketed: true };
        self.with(cx, Errand::Exchange, hop).await
    }

    async fn with(&self, cx: &Context, errand: Errand, hop: NextHop) -> Arc<Relayed> {
        self.held.answer((errand, hop.clone()), async || Arc::new(self.talk(cx, errand, &hop).await)).await
    }

    async fn talk(&self, cx: &Context, errand: Errand, hop: &NextHop) -> Relayed {
        let policy = &cx.target.tls;
        if policy.wrappermode || policy.level > TlsLevel::None {
            let anchors = policy.anchors.clone();
            tokio::task::spawn_blocking(move || anchors.warm());
        }
        let (endpoints, lost) = route::endpoints(cx, hop).await;
        let credentials = cx.target.sasl.as_ref().filter(|_| errand == Errand::Relay);
        let script = Script { cx, hop, errand, deadline: self.deadline, redaction: Redaction::of(credentials) };
        let turns = Turn::line(endpoints.len(), self.deadline);
        let dialogues = endpoints.into_iter().zip(turns);
        let held = join_all(dialogues.map(|(endpoint, turn)| Dialogue::held(endpoint, &script, turn))).await;
        Relayed::new(held, lost)
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
