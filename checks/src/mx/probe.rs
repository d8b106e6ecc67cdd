//! The domains' own MX hosts, and with `--mx-probe` their STARTTLS.

use futures_util::future::join_all;
use hickory_resolver::proto::rr::RecordType;
use syntax::{Name, NextHop, text::grouped};

use crate::{
    Abstain, Context, Finding, Fix,
    net::{
        dns::Validation,
        smtp::{Cause, Dialogue, Loss, Stage},
        tls::Refusal,
    },
    relay::{broken, evidence},
};

/// More MX hosts than any domain of a small sender has.
const MOST: usize = 10;

/// A host that takes mail for some of the domains.
pub(crate) struct Exchange {
    pub(crate) host: Name,
    pub(crate) domains: Vec<Name>,
    /// What the resolver says of the MX records that name it, the worst word.
    pub(crate) validation: Validation,
}

/// The hosts that take mail for the domains, the first few, and a finding for each domain whose hosts are not known.
pub(crate) async fn exchanges(cx: &Context) -> (Vec<Exchange>, Vec<Finding>) {
    let domains = &cx.target.domains;
    let answers = join_all(domains.iter().map(|domain| cx.net.dns.ask(domain, RecordType::MX))).await;
    let (mut exchanges, mut lost): (Vec<Exchange>, Vec<Finding>) = (Vec::new(), Vec::new());
    for (domain, answer) in domains.iter().zip(answers) {
        let Ok(answer) = answer else {
            lost.push(Finding::from(Abstain::Needs("the MX records".to_owned(), "mx.record")).about(domain));
            continue;
        };
        let mut hosts: Vec<Name> = answer.hosts().0.into_iter().map(|(_, host)| host).collect();
        if answer.is_empty() && !answer.is_nxdomain() {
            hosts.push(domain.clone());
        }
        hosts.retain(|host| host.address_literal().is_none());
        if hosts.is_empty() {
            lost.push(Finding::skip("no MX host: the domain takes no mail").about(domain));
        }
        for host in hosts {
            match exchanges.iter_mut().find(|known| known.host == host) {
                Some(known) if known.domains.contains(domain) => {}
                Some(known) => {
                    known.domains.push(domain.clone());
                    known.validation = known.validation.max(answer.validation());
                }
                None => {
                    exchanges.push(Exchange { host, domains: vec![domain.clone()], validation: answer.validation() })
                }
            }
        }
    }
    exchanges.truncate(MOST);
    (exchanges, lost)
}

/// What `mx.starttls` says.
pub(super) async fn starttls(cx: &Context) -> Vec<Finding> {
    if cx.target.domains.is_empty() {
        return vec![Finding::skip("no domain given")];
    }
    if !cx.target.mx_probe {
        return vec![Finding::from(unprobed())];
    }
    let (exchanges, mut findings) = exchanges(cx).await;
    for found in join_all(exchanges.iter().map(|exchange| starttls_of(cx, &exchange.host))).await {
        findings.extend(found);
    }
    findings
}

/// Nobody is connected to unasked.
pub(crate) fn unprobed() -> Abstain {
    Abstain::NotApplicable("only --mx-probe connects to MX hosts".to_owned())
}

async fn starttls_of(cx: &Context, host: &Name) -> Vec<Finding> {
    let exchanged = cx.net.smtp.exchanged(cx, host).await;
    let judged = exchanged.dialogues.iter().map(|dialogue| {
        let stages = [Stage::Connect, Stage::Greeting, Stage::StartTls, Stage::Handshake];
        verdict(cx, dialogue).saw([evidence(cx, dialogue, &stages)]).about(&dialogue.endpoint)
    });
    let lost = exchanged.lost.iter().map(|lost| {
        let finding = match &lost.why {
            Loss::NoRoute(family) => Finding::skip(format!("this machine has no route to {} addresses", family.name())),
            Loss::Loop { why, .. } => Finding::skip(why.clone()),
            Loss::Beyond(more, what) => Finding::skip(format!("{} more {what} are not asked", grouped(*more))),
            Loss::Nowhere(_) | Loss::Silent(_) => Abstain::Needs("an address".to_owned(), "mx.address").into(),
        };
        finding.about(&lost.subject)
    });
    judged.chain(lost).collect()
}

fn verdict(cx: &Context, dialogue: &Dialogue) -> Finding {
    if let Some(session) = &dialogue.session {
        let finding = Finding::pass(format!("STARTTLS is offered, {}, {}", session.version, session.cipher))
            .fact("version", session.version)
            .fact("cipher", session.cipher)
            .fact("key_exchange", session.key_exchange);
        return match dialogue.demand.trust(session, cx.now) {
            Some(trust) => finding.fact("trust", trust.to_string()),
            None => finding,
        };
    }
    let host = &dialogue.endpoint.host;
    let port = NextHop::SMTP;
    let finding = match (&dialogue.broke, &dialogue.starttls) {
        (Some((Stage::Connect | Stage::Greeting, cause)), _) => unmet(cause),
        (Some((Stage::Handshake, cause)), _) => unsecured(cause),
        (Some((Stage::StartTls, cause)), None) => broken(cause),
        (_, Some(reply)) if reply.is_transient() => Finding::unknown(format!("STARTTLS is answered with {reply}")),
        (_, Some(reply)) => {
            Finding::warn(format!("STARTTLS is answered with {reply}: mail comes in clear, or not at all"))
        }
        (_, None) => Finding::warn("STARTTLS is not offered: mail comes in clear"),
    };
    finding.fix(Fix::Advice(match &dialogue.broke {
        Some((Stage::Connect | Stage::Greeting, _)) => {
            format!("Try again from a machine that may connect to port {port}, and let that port through to {host}")
        }
        _ => format!("Give {host} a certificate (smtpd_tls_chain_files), and set smtpd_tls_security_level = may"),
    }))
}

/// Port 25 outwards is closed in many networks, so that a silent or refusing host may be a good one.
fn unmet(cause: &Cause) -> Finding {
    match cause {
        Cause::NoRoute(why) | Cause::Unreachable(why) => Finding::skip(format!("this machine has no way there: {why}")),
        Cause::Silent(why) | Cause::Stalled(why) => {
            Finding::unknown(format!("{why}; many networks block port 25 outwards"))
        }
        Cause::Unwelcome(reply) => Finding::unknown(format!("turns this machine away: {reply}")),
        Cause::Lost(why) => Finding::warn(format!("{why}: nobody takes mail there, or port 25 is blocked on the way")),
        Cause::NotSmtp(_) | Cause::NoTls(_) => broken(cause),
    }
}

fn unsecured(cause: &Cause) -> Finding {
    match cause {
        Cause::Silent(why) | Cause::Stalled(why) => Finding::unknown(why.clone()),
        Cause::NoTls(Refusal::Ours(why)) => Finding::unknown(format!("no TLS handshake: {why}")),
        Cause::NoTls(refusal @ Refusal::Impostor) => Finding::fail(format!("no TLS handshake: {refusal}")),
        cause => {
            let why = broken(cause).message;
            Finding::warn(format!("no TLS handshake: {why}; some senders then send in clear, others not at all"))
        }
    }
}
