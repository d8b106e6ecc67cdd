//! The dialogues with the relay and with MX hosts: one an address, all at once, and once a run.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::AtomicBool},
};

use futures_util::future::join_all;
pub(crate) use syntax::reply::Reply;
use syntax::{Host, Name, NextHop, Relayhost};
use tokio::sync::OnceCell;

pub(crate) use self::{
    demand::{Demand, Outcome, Proof, reference_names},
    dialogue::Dialogue,
    envelope::{Asked, Envelope, Unasked},
    login::{Attempt, Flaw, Means, Mechanism, Reason, Selection, Withheld},
    probe::{Injection, Probe},
    route::{Endpoint, Loss, Lost, hosts},
    wire::{Cause, Stage},
};
use self::{dialogue::Script, redaction::Redaction, turn::Turn};
pub(super) use self::{dialogue::connected, route::located};
use super::{Deadline, NoAnswer, memo::Memo};
use crate::{Abstain, Context, TlsLevel};

mod demand;
mod dialogue;
mod envelope;
mod login;
mod probe;
mod redaction;
mod route;
mod turn;
mod wire;

/// What was said to whom.
pub struct Dialogues {
    deadline: Deadline,
    held: Memo<(Errand, Relayhost), Arc<Relayed>>,
    probes: OnceCell<Result<Vec<Option<Probe>>, Abstain>>,
    /// Whether somebody has been told the password.
    told: Arc<AtomicBool>,
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

impl Dialogues {
    /// Nobody has been spoken to.
    pub fn new(deadline: Deadline) -> Self {
        Self { deadline, held: Memo::new(), probes: OnceCell::new(), told: Arc::default() }
    }

    /// What came of the dialogues with the relay; the first to ask holds them.
    pub(crate) async fn relayed(&self, cx: &Context) -> Result<Arc<Relayed>, Abstain> {
        let relay = cx.target.relay.as_ref();
        let relay = relay.ok_or_else(|| Abstain::NotApplicable("no relay given: mail is sent directly".to_owned()))?;
        Ok(self.with(cx, Errand::Relay, relay.clone()).await)
    }

    /// What more connections showed, for each dialogue with a TLS session; the first to ask makes them.
    pub(crate) async fn probed(&self, cx: &Context) -> Result<&[Option<Probe>], Abstain> {
        let probes = self.probes.get_or_init(|| self.probe(cx)).await;
        probes.as_ref().map(Vec::as_slice).map_err(Clone::clone)
    }

    /// After the dialogues, so that nothing that a server holds against them costs the login.
    async fn probe(&self, cx: &Context) -> Result<Vec<Option<Probe>>, Abstain> {
        let relayed = self.relayed(cx).await?;
        let script = self.script(cx, Errand::Relay);
        let probed = relayed.dialogues.iter().map(async |dialogue| match &dialogue.session {
            Some(session) if session.is_whole() => Some(Probe::made(dialogue, &script).await),
            _ => None,
        });
        Ok(join_all(probed).await)
    }

    fn script<'a>(&self, cx: &'a Context, errand: Errand) -> Script<'a> {
        // A mail exchanger may be the relay's, which knows the password.
        let redaction = Redaction::of(cx.target.sasl.as_ref()).sharing(&self.told);
        Script { cx, errand, deadline: self.deadline, redaction }
    }

    /// What came of the dialogues with an MX host.
    pub(crate) async fn exchanged(&self, cx: &Context, host: &Name) -> Arc<Relayed> {
        let first = NextHop { host: Host::Name(host.clone()), port: NextHop::SMTP, bracketed: true };
        self.with(cx, Errand::Exchange, Relayhost { first, rest: Vec::new() }).await
    }

    async fn with(&self, cx: &Context, errand: Errand, relay: Relayhost) -> Arc<Relayed> {
        self.held.answer((errand, relay.clone()), async || Arc::new(self.talk(cx, errand, &relay).await)).await
    }

    async fn talk(&self, cx: &Context, errand: Errand, relay: &Relayhost) -> Relayed {
        let policy = &cx.target.tls;
        if policy.wrappermode || policy.level > TlsLevel::None {
            let anchors = policy.anchors.clone();
            // Where there is no thread to be had, the first handshake waits for them.
            let _ = std::thread::Builder::new().spawn(move || anchors.warm());
        }
        let (endpoints, lost) = route::endpoints(cx, relay).await;
        let script = self.script(cx, errand);
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
            let attempt = dialogue.login.as_ref();
            broke || matches!(attempt, Some(Attempt::Decided { .. } | Attempt::Withheld(Withheld::Contested(_))))
        };
        self.dialogues.iter().find(tried).map(|dialogue| &dialogue.endpoint)
    }
}

/// What must hold of everything that a server sends for a reply.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) async fn fuzz(octets: &[u8]) {
    let (mut transcript, redaction) = (wire::Transcript::default(), redaction::Redaction::of(None));
    let stream = tokio::io::join(octets, tokio::io::sink());
    let deadline = Deadline::after(std::time::Duration::from_secs(60));
    let mut wire = wire::Wire::new(stream, &mut transcript, &redaction, deadline);
    if let Ok(reply) = wire.banner().await {
        assert!((200..600).contains(&reply.code) && !reply.lines.is_empty(), "{reply:?}");
        assert!(reply.lines.iter().all(|line| !line.contains('\n')), "{reply:?}");
        let _ = (reply.mechanisms(), reply.parameter("SIZE"), reply.to_string());
        let _ = wire.in_step().await;
    }
}
