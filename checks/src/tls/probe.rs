//! What `--tls-probe` is for: what the relay does with clients that are older, or ruder, than this tool.

use syntax::Host;

use super::{chain_shown, session, with_facts};
use crate::{
    Abstain, Context, Evidence, Finding, Fix,
    net::{
        smtp::{Cause, Dialogue, Injection, Probe, Proof},
        tls::{Refusal, Session, Trust},
    },
    relay::{broken, command, every},
};

/// One finding for each address that was probed.
async fn probed(
    cx: &Context,
    judge: impl Fn(&Dialogue, &Session, &Probe) -> Result<Finding, Abstain>,
) -> Result<Vec<Finding>, Abstain> {
    if !cx.target.tls.probe {
        return every(cx, |dialogue| {
            session(cx, dialogue)?;
            Err(Abstain::NotApplicable("one connection does not show it, --tls-probe makes more".to_owned()))
        })
        .await;
    }
    let relayed = cx.net.smtp.relayed(cx).await?;
    let probes = cx.net.smtp.probed(cx).await?;
    every(cx, |dialogue| {
        let session = session(cx, dialogue)?;
        let at = relayed.dialogues.iter().position(|other| std::ptr::eq(other, dialogue));
        match at.and_then(|at| probes.get(at)) {
            Some(Some(probe)) => judge(dialogue, session, probe),
            _ => Err(Abstain::Needs("a TLS session".to_owned(), "tls.version")),
        }
    })
    .await
}

/// What stopped the extra connection says nothing about the relay: it may have had enough of us.
fn undecided(cause: &Cause) -> Finding {
    Finding::unknown(format!("not found out: {}", broken(cause).message))
}

/// The command that a check's evidence is about.
fn by_hand(cx: &Context, dialogue: &Dialogue, more: &str, output: impl Into<String>) -> Evidence {
    Evidence { command: format!("{} {more}", command(cx, &dialogue.endpoint)), output: output.into() }
}

pub(super) async fn sni(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    probed(cx, |dialogue, session, probe| {
        if let Host::Address(_) = dialogue.endpoint.host {
            let why = "the relay is named by its address, and no name is sent";
            return Err(Abstain::NotApplicable(why.to_owned()));
        }
        if let Proof::Tlsa { .. } = dialogue.demand.proof {
            // RFC 7672 section 8.1.
            return Err(Abstain::NotApplicable(format!("at {} Postfix sends the server's name", dialogue.demand)));
        }
        let nameless = match &probe.nameless {
            Ok(nameless) => nameless,
            Err(Cause::NoTls(refusal)) => {
                let message = format!("no TLS handshake without a server name: {refusal}; Postfix sends none");
                let evidence = unnamed(cx, dialogue, format!("({refusal})"));
                return Ok(super::wrong(&dialogue.demand, message).saw([evidence]).fix(servername()));
            }
            Err(cause) => return Ok(undecided(cause).saw([unnamed(cx, dialogue, "(nothing)")])),
        };
        let finding = match nameless.has_certificate_of(session) {
            true => Finding::pass("the same certificate with and without the server's name"),
            false => another(cx, dialogue, nameless),
        };
        let evidence = [chain_shown(cx, dialogue, session), unnamed(cx, dialogue, nameless.shown())];
        Ok(with_facts(cx, dialogue, session, finding.saw(evidence)))
    })
    .await
}

/// The chain that Postfix sees, and its verdict.
fn another(cx: &Context, dialogue: &Dialogue, nameless: &Session) -> Finding {
    let demand = &dialogue.demand;
    let trust = demand.trust(nameless, cx.now);
    let names = nameless.names.all();
    let shown = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    let trust = trust.filter(|_| !nameless.is_undecided());
    let verdict = trust.map_or_else(|| "not judged".to_owned(), |trust| trust.to_string());
    let message = format!("another certificate without the server's name, for {shown} ({verdict}); Postfix sends none");
    let finding = match demand.is_matched() && trust == Some(Trust::Untrusted) {
        true => Finding::fail(format!("{message}, and at {demand} defers the mail")),
        false => Finding::warn(message),
    };
    let finding = finding.fact("names_without", names).fix(servername());
    match trust {
        Some(trust) => finding.fact("trust_without", trust.to_string()),
        None => finding,
    }
}

fn servername() -> Fix {
    Fix::Shell("postconf -e 'smtp_tls_servername = hostname'".to_owned())
}

fn unnamed(cx: &Context, dialogue: &Dialogue, output: impl Into<String>) -> Evidence {
    let command = command(cx, &dialogue.endpoint);
    let command = match command.split_once(" -servername ") {
        Some((before, _)) => format!("{before} -noservername -crlf"),
        None => command,
    };
    Evidence { command, output: output.into() }
}

pub(super) async fn legacy(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    probed(cx, |dialogue, _, probe| {
        let (finding, seen) = match &probe.old {
            Ok(version) => (
                Finding::warn(format!("still speaks {version} with a client that has nothing newer")).fix(Fix::Advice(
                    "Ask the relay's operator to switch TLS 1.0 and 1.1 off (Postfix: smtpd_tls_protocols = >=TLSv1.2)"
                        .to_owned(),
                )),
                (*version).to_owned(),
            ),
            Err(Cause::NoTls(refusal @ (Refusal::Alert(_) | Refusal::Lost(_)))) => {
                (Finding::pass("refuses a client that has nothing newer than TLS 1.1"), format!("({refusal})"))
            }
            Err(cause) => (undecided(cause), format!("({})", broken(cause).message)),
        };
        let finding = match &probe.old {
            Ok(version) => finding.fact("legacy_version", *version),
            Err(_) => finding,
        };
        Ok(finding.saw([by_hand(cx, dialogue, "-tls1_1 -cipher ALL:@SECLEVEL=0", seen)]))
    })
    .await
}

pub(super) async fn resumption(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    probed(cx, |dialogue, _, probe| {
        let (finding, seen) = match &probe.second {
            None => return Err(Abstain::Needs("a TLS session without the server's name".to_owned(), "tls.sni")),
            Some(Ok(second)) => {
                let (message, seen) = match second.is_resumed {
                    true => ("a second connection takes up the session of the first", "Reused"),
                    false => ("each connection has a handshake of its own, and works", "New"),
                };
                let finding = Finding::pass(format!("{message} ({})", second.version));
                (finding.fact("resumed", second.is_resumed), format!("{seen}, {}", second.version))
            }
            Some(Err(cause @ (Cause::NoTls(_) | Cause::Lost(_)))) => {
                let why = broken(cause).message;
                let finding =
                    Finding::warn(format!("the connection after a first one breaks: {why}; Postfix tries again"))
                        .fix(Fix::Advice(
                        "Ask the relay's operator to share the keys of session tickets among the machines behind this \
                         address; until then leave smtp_tls_session_cache_database empty"
                            .to_owned(),
                    ));
                (finding, format!("({why})"))
            }
            Some(Err(cause)) => (undecided(cause), format!("({})", broken(cause).message)),
        };
        let evidence = unnamed(cx, dialogue, seen);
        Ok(finding.saw([Evidence { command: format!("{} -reconnect", evidence.command), ..evidence }]))
    })
    .await
}

pub(super) async fn injection(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    probed(cx, |dialogue, _, probe| {
        let Some(injection) = &probe.injection else {
            return Err(Abstain::NotApplicable("TLS from the first byte: there is no STARTTLS".to_owned()));
        };
        let finding = match injection {
            Ok(Injection::Answered(reply)) => Finding::fail(format!(
                "a command sent in clear behind STARTTLS is answered under TLS: {reply}"
            ))
            .fix(Fix::Advice(
                "Ask the relay's operator to update the server (CVE-2011-0411), and use another relay until then: whoever \
                 is in between can put commands before yours"
                    .to_owned(),
            )),
            Ok(Injection::Discarded) => Finding::pass("a command sent in clear behind STARTTLS is thrown away"),
            Ok(Injection::Refused(reply)) => {
                Finding::pass(format!("STARTTLS with a command behind it is refused: {reply}"))
            }
            Ok(Injection::Spoilt(why)) => {
                Finding::pass(format!("a command sent in clear behind STARTTLS spoils the handshake: {why}"))
            }
            Err(cause) => undecided(cause),
        };
        let said = probe.injected.all();
        let output = if said.is_empty() { "(nothing)".to_owned() } else { said };
        Ok(finding.saw([Evidence { command: command(cx, &dialogue.endpoint), output }]))
    })
    .await
}
