//! The TLSA records against what the servers show.

use std::sync::Arc;

use syntax::{Host, shell, zone::absolute};

use super::{Party, consequence, lowered, with_records};
use crate::{
    Abstain, Context, Evidence, Finding, Fix,
    mx::unprobed,
    net::{
        dane::Published,
        dns::{Answer, Validation},
        smtp::{Dialogue, Relayed, Stage, reference_names},
        tls::{Mismatch, Session, Tlsa, considered},
    },
    relay::{evidence, unused},
    tls::proved,
};

/// What `dane.match` says.
pub(super) async fn matched(cx: &Context) -> Vec<Finding> {
    each(cx, as_openssl_asks, |party, published, dialogue| {
        let session = session(party, dialogue)?;
        let records = considered(&published.records);
        if records.is_empty() {
            return Err(Abstain::Needs("a usable TLSA record".to_owned(), "dane.usage"));
        }
        Ok(match_of(cx, party, published, session, &records))
    })
    .await
}

fn match_of(cx: &Context, party: &Party, published: &Published, session: &Session, records: &[Tlsa]) -> Finding {
    let names = reference_names(published, party.domains.iter());
    let judged: Vec<_> = records.iter().map(|record| (record, session.vouched(record, &names, cx.now))).collect();
    let fits: Vec<&Tlsa> = judged.iter().filter(|(_, verdict)| verdict.is_ok()).map(|(record, _)| *record).collect();
    let misfits: Vec<(&Tlsa, &Mismatch)> =
        judged.iter().filter_map(|(record, verdict)| verdict.as_ref().err().map(|why| (*record, why))).collect();
    let why = |(record, why): &(&Tlsa, &Mismatch)| format!("{} {why}", record.kind());
    let reasons: Vec<String> = misfits.iter().map(why).collect();
    let reasons = reasons.join("; ");
    if let Some(fit) = fits.first() {
        let kind = fit.kind();
        let is_alone = judged.len() == 1 && fit.usage == Tlsa::DANE_EE;
        let message = match misfits.len() {
            0 if is_alone => format!("{kind} matches; publish the next one beside it before the key changes"),
            0 if judged.len() == 1 => format!("{kind} matches"),
            0 => format!("{kind} matches, and so do the others"),
            1 => format!("{kind} matches; {reasons}: the next one, or one to take away"),
            many => format!("{kind} matches; {many} others are for the next certificate, or to take away: {reasons}"),
        };
        let finding = Finding::pass(message).fact("matches", fits.iter().map(ToString::to_string).collect::<Vec<_>>());
        return proved(session, finding);
    }
    if misfits.iter().any(|(_, why)| **why == Mismatch::Unclear) {
        return Finding::unknown(reasons);
    }
    let message = format!("no TLSA record matches: {reasons}; {}", consequence(cx, party));
    lowered(cx, party, Finding::fail(message)).fix(Tlsa::recommended(session).map(|record| {
        let line = format!("{} 3600 IN TLSA {record}", absolute(&published.owner));
        match cx.target.domains.iter().any(|domain| published.owner.is_within(domain)) {
            true => Fix::Zone(line),
            false => Fix::Advice(format!("Ask the operator of {} to publish {line}", party.host)),
        }
    }))
}

/// What `dane.starttls` says.
pub(super) async fn starttls(cx: &Context) -> Vec<Finding> {
    each(
        cx,
        |_| String::new(),
        |party, _, dialogue| {
            let greeting = dialogue.greeting.as_ref();
            Ok(match (&dialogue.session, greeting, &dialogue.starttls) {
                (Some(_), None, _) => Finding::pass("TLS from the first byte"),
                (Some(_), Some(_), _) => Finding::pass("STARTTLS is offered and accepted"),
                (None, Some(greeting), None) if greeting.offers("STARTTLS") && dialogue.broke.is_none() => {
                    Finding::pass("STARTTLS is offered")
                }
                (None, Some(greeting), None) if !greeting.offers("STARTTLS") => {
                    broken_promise(cx, party, "it is not offered")
                }
                (None, Some(_), Some(reply)) if reply.code != 220 && !reply.is_transient() => {
                    broken_promise(cx, party, &format!("it is answered with {reply}"))
                }
                (None, Some(_), Some(reply)) if reply.code != 220 => {
                    Finding::unknown(format!("STARTTLS is answered with {reply}"))
                }
                _ => return Err(unseen(party, dialogue)),
            })
        },
    )
    .await
}

fn broken_promise(cx: &Context, party: &Party, how: &str) -> Finding {
    let message = format!("TLSA records promise STARTTLS, and {how}; {}", consequence(cx, party));
    lowered(cx, party, Finding::fail(message))
        .fix(Fix::Advice(format!("Switch STARTTLS on at {}, or take its TLSA records away", party.host)))
}

/// One finding for each address of each party with TLSA records that senders look at.
async fn each(
    cx: &Context,
    more: impl Fn(&Published) -> String,
    judge: impl Fn(&Party, &Published, &Dialogue) -> Result<Finding, Abstain>,
) -> Vec<Finding> {
    with_records(cx, async |party, published| {
        let validation = published.validation();
        let met = match party.is_relay || cx.target.mx_probe {
            _ if validation == Some(Validation::Insecure) => {
                Err(Abstain::Needs("signed TLSA records".to_owned(), "dane.record"))
            }
            true => met(cx, party).await,
            false => Err(unprobed()),
        };
        let met = match met {
            Ok(met) => met,
            Err(abstain) => return vec![Finding::from(abstain).about(party)],
        };
        let is_here = |dialogue: &&Dialogue| matches!(&dialogue.endpoint.host, Host::Name(host) if *host == party.host);
        let stages = [Stage::Connect, Stage::Greeting, Stage::StartTls, Stage::Handshake];
        let judged = met.dialogues.iter().filter(is_here).map(|dialogue| {
            let mut seen = evidence(cx, dialogue, &stages);
            if let Some(session) = &dialogue.session {
                seen = Evidence { command: seen.command + &more(&published), output: session.shown() };
            }
            let records = published.answer.iter().map(Answer::evidence);
            Finding::from(judge(party, &published, dialogue)).saw(records.chain([seen])).about(&dialogue.endpoint)
        });
        let findings: Vec<Finding> = judged.collect();
        if !findings.is_empty() {
            return findings;
        }
        vec![Finding::from(Abstain::Needs("a connection".to_owned(), owner(party))).about(party)]
    })
    .await
}

/// How `openssl s_client` is told of the records, as Postfix tells OpenSSL.
fn as_openssl_asks(published: &Published) -> String {
    let words = considered(&published.records).into_iter().map(|record| format!(" -dane_tlsa_rrdata '{record}'"));
    let domain = shell::word(&published.base.to_string());
    format!(" -dane_ee_no_namechecks -dane_tlsa_domain {domain}{}", words.collect::<String>())
}

async fn met(cx: &Context, party: &Party) -> Result<Arc<Relayed>, Abstain> {
    match party.is_relay {
        true => cx.net.smtp.relayed(cx).await,
        false => Ok(cx.net.smtp.exchanged(cx, &party.host).await),
    }
}

fn session<'a>(party: &Party, dialogue: &'a Dialogue) -> Result<&'a Session, Abstain> {
    dialogue.session.as_ref().ok_or_else(|| match &dialogue.greeting {
        Some(greeting) if dialogue.broke.is_none() && !greeting.offers("STARTTLS") => {
            Abstain::Needs("STARTTLS".to_owned(), "dane.starttls")
        }
        _ => unseen(party, dialogue),
    })
}

/// Why there is no TLS to look at.
fn unseen(party: &Party, dialogue: &Dialogue) -> Abstain {
    match (&dialogue.broke, party.is_relay) {
        (Some((Stage::Handshake, _)), true) => Abstain::Needs("a TLS session".to_owned(), "tls.version"),
        (Some((Stage::StartTls, _)), true) => Abstain::Needs("STARTTLS".to_owned(), "relay.starttls"),
        (None, true) if dialogue.starttls.is_none() => unused(),
        (None, _) => Abstain::Needs("STARTTLS".to_owned(), "dane.starttls"),
        (Some(_), _) => Abstain::Needs("a connection".to_owned(), owner(party)),
    }
}

fn owner(party: &Party) -> &'static str {
    if party.is_relay { "relay.connect" } else { "mx.starttls" }
}
