//! Whether the relay can be reached, and takes mail over TLS.

use std::net::SocketAddr;

use syntax::{Host, shell, text::grouped};

use self::{
    accepts::accepts,
    capabilities::{capabilities, size},
    greeting::{banner, ehlo},
};
use crate::{
    Abstain, Context, Evidence, Finding, Fix, Status, TlsLevel,
    check::checks,
    net::smtp::{Cause, Demand, Dialogue, Endpoint, Loss, Lost, Relayed, Reply, Stage},
    replies::explained,
};

mod accepts;
mod capabilities;
mod greeting;

checks! {
    /// Every address of the relay answers.
    ///
    /// Postfix takes any address of the relay, IPv4 or IPv6, and waits where one does not answer (RFC 5321 section 5.1).
    /// An address answers when it accepts the connection, greets with 220 (RFC 5321 section 3.1) and takes EHLO.
    ///
    /// # Fix
    /// Allow the port outwards in the firewall, or ask the relay's operator which of its addresses and ports are for you.
    "relay.connect" ("RFC 5321 section 3.1") => connect,

    /// The relay greets with its full host name.
    ///
    /// The greeting begins with a domain or an address literal (RFC 5321 section 4.2). One without is the mark of a
    /// firewall that rewrites the dialogue, and takes more out of it than the name.
    ///
    /// # Fix
    /// Look for a firewall that inspects SMTP, and switch that off for the relay.
    "relay.banner" ("RFC 5321 section 4.2") => banner,

    /// The relay takes EHLO, and is not this host itself.
    ///
    /// EHLO carries `smtp_helo_name`, which is `myhostname` unless it is set. A server that takes HELO alone (RFC 5321
    /// section 3.2) offers neither TLS nor a login. One at port 25 that answers with this host's own name is taken for a
    /// mail loop by Postfix.
    ///
    /// # Fix
    /// Let `myhostname` be this machine's own full name, and `relayhost` another machine.
    "relay.ehlo" ("RFC 5321 section 3.2") => ehlo,

    /// The relay offers STARTTLS and accepts it.
    ///
    /// Without STARTTLS (RFC 3207 section 4) Postfix defers all mail where TLS is required
    /// (`smtp_tls_security_level = encrypt` and above), and sends it in clear at `may`. On port 465 TLS comes first
    /// (RFC 8314 section 3.3), which Postfix needs `smtp_tls_wrappermode = yes` for.
    ///
    /// # Fix
    /// Use the relay's submission port (587, or 465 with `smtp_tls_wrappermode = yes`), and look for a firewall that
    /// inspects SMTP and takes STARTTLS out of it.
    "relay.starttls" ("RFC 3207 section 4") => starttls,

    /// The relay takes messages as large as Postfix does.
    ///
    /// What Postfix takes from an application and the relay then refuses comes back as a bounce, with 552 (RFC 1870 section 6),
    /// hours after the application believed it sent. `--message-size` says what `message_size_limit` is.
    ///
    /// # Fix
    /// Let `message_size_limit` be no more than what the relay offers as SIZE.
    "relay.size" ("RFC 1870 section 6") => size,

    /// What the relay offers is what an SMTP server offers.
    ///
    /// PIPELINING saves round trips (RFC 2920); 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531) and REQUIRETLS (RFC 8689) decide
    /// which messages can be sent. They count as offered under TLS (RFC 3207 section 4.2).
    ///
    /// # Fix
    /// Ask the relay's operator what answers there, where it offers what no SMTP server does.
    "relay.capabilities" ("RFC 5321 section 4.1.1.1") => capabilities,

    /// The relay takes mail from this sender for these recipients.
    ///
    /// `--rcpt` asks for it: MAIL FROM, RCPT TO and RSET (RFC 5321 section 3.3), after the login where there is one; never
    /// DATA, so that nothing is sent. A relay that does not know its client says so here at the latest, with "Relay access
    /// denied".
    ///
    /// # Fix
    /// See what the reply means with `mail-preflight explain "REPLY"`.
    "relay.accepts" ("RFC 5321 section 3.3") => accepts,
}

async fn connect(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    let relayed = cx.net.smtp.relayed(cx).await?;
    let found = relayed.dialogues.iter().map(|dialogue| connection(cx, dialogue, &relayed));
    let missing = relayed.lost.iter().map(|lost| loss(lost, &relayed));
    Ok(found.chain(missing).collect())
}

fn connection(cx: &Context, dialogue: &Dialogue, relayed: &Relayed) -> Finding {
    let mut stages = vec![Stage::Connect, Stage::Greeting];
    let finding = match (&dialogue.broke, dialogue.greeting.as_ref().or(dialogue.secured.as_ref())) {
        (_, Some(greeting)) => answer(dialogue, greeting),
        // TLS from the first byte.
        (Some((Stage::Handshake, _)), None) => {
            stages.push(Stage::Handshake);
            Abstain::Needs("a TLS session".to_owned(), "tls.version").into()
        }
        (Some((stage, cause)), None) => lowered(refused(dialogue, *stage, cause), relayed),
        (None, None) => Finding::unknown("nothing was seen"),
    };
    finding.saw([evidence(cx, dialogue, &stages)]).about(&dialogue.endpoint)
}

fn answer(dialogue: &Dialogue, greeting: &Reply) -> Finding {
    let capabilities = greeting.capabilities();
    let banner = dialogue.banner.as_ref().map(Reply::to_string).unwrap_or_default();
    let message = match capabilities.len() {
        0 => format!("answers {banner}; no capabilities"),
        1 => format!("answers {banner}, 1 capability"),
        many => format!("answers {banner}, {many} capabilities"),
    };
    Finding::pass(message).fact("banner", banner).fact("capabilities", capabilities.to_vec())
}

fn refused(dialogue: &Dialogue, stage: Stage, cause: &Cause) -> Finding {
    let finding = match (cause, &dialogue.banner) {
        (Cause::Unwelcome(reply), None) => reply_status(reply, format!("greets with {reply}")),
        (Cause::Unwelcome(reply), Some(_)) => reply_status(reply, format!("EHLO is answered with {reply}")),
        (Cause::Silent(why), None) if stage == Stage::Greeting => {
            Finding::unknown(format!("{why}; the port may want TLS from the first byte (smtp_tls_wrappermode)"))
        }
        _ => broken(cause),
    };
    let Endpoint { host, port, .. } = &dialogue.endpoint;
    let meant = match cause {
        Cause::Unwelcome(reply) => explained(reply, host),
        _ => None,
    };
    finding.fix(Fix::Advice(match cause {
        // Who has more to say about a reply than its code says it here.
        Cause::Unwelcome(_) if meant.is_some_and(|row| !row.is_general()) => {
            meant.map(|row| row.remedy).unwrap_or_default().to_owned()
        }
        Cause::Unwelcome(reply) if dialogue.banner.is_some() && reply.is_negative() => {
            format!("Let myhostname (smtp_helo_name) be this machine's full public name, or ask the operator of {host} why it is refused")
        }
        Cause::Unwelcome(reply) if reply.is_transient() => "Try again later: the relay turns clients away".to_owned(),
        Cause::Unwelcome(_) => format!("Ask the operator of {host} why it turns this machine away"),
        Cause::Stalled(_) => format!("Ask the operator of {host} why the answers come so slowly"),
        Cause::NotSmtp(_) if dialogue.banner.is_some() => {
            format!("Ask the operator of {host} what answers there; look for a firewall that changes what it says")
        }
        Cause::NotSmtp(_) | Cause::NoTls(_) => format!("Ask the operator of {host} which port speaks SMTP"),
        Cause::NoRoute(_) | Cause::Unreachable(_) | Cause::Lost(_) | Cause::Silent(_) => {
            format!("Let this machine reach port {port} of {host} (firewall), or use the port that its operator names")
        }
    }))
}

fn loss(lost: &Lost, relayed: &Relayed) -> Finding {
    let finding = match &lost.why {
        Loss::Nowhere(why) => lowered(Finding::fail(why.clone()), relayed),
        Loss::Silent(silence) => lowered(Finding::unknown(silence.to_string()), relayed),
        Loss::NoRoute(family) => {
            let message = format!("this machine has no route to {} addresses", family.name());
            let elsewhere = !relayed.dialogues.is_empty();
            Finding::new(if elsewhere { Status::Skip } else { Status::Fail }, message)
        }
        Loss::Loop { is_end: true, why } => lowered(Finding::fail(why.clone()), relayed),
        Loss::Loop { is_end: false, why } => Finding::skip(format!("{why}: Postfix does not use it")),
        Loss::Beyond(count, what) => {
            let (count, tried) = (grouped(*count), relayed.dialogues.len());
            Finding::skip(format!("{count} more {what}, not tried: {tried} are enough, and Postfix tries 5 itself"))
        }
    };
    let fix = match lost.why {
        Loss::Nowhere(_) => Some(Fix::Advice("Correct relayhost, or publish the addresses of the relay".to_owned())),
        Loss::Loop { .. } => Some(Fix::Advice("Let relayhost lead to another machine than this one".to_owned())),
        Loss::Silent(_) | Loss::NoRoute(_) | Loss::Beyond(..) => None,
    };
    finding.fix(fix).saw(lost.evidence.clone()).about(&lost.subject)
}

/// What one address lacks is no more than a warning where another answers: Postfix goes on to that one.
fn lowered(finding: Finding, relayed: &Relayed) -> Finding {
    if !relayed.is_answered() {
        return finding;
    }
    let message = format!("{} (another address of the relay answers)", finding.message);
    Finding { status: Status::Warn, message, ..finding }
}

async fn starttls(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    every(cx, |dialogue| {
        let policy = &cx.target.tls;
        if policy.wrappermode && dialogue.session.is_none() && !dialogue.demand.is_optional() {
            return Err(Abstain::Needs("a TLS session".to_owned(), "tls.version"));
        }
        if policy.wrappermode {
            return Ok(wrapped(&dialogue.demand));
        }
        if policy.level == TlsLevel::None {
            return Err(unused());
        }
        let finding = match (&dialogue.broke, &dialogue.starttls) {
            (_, Some(reply)) if reply.code == 220 => accepted(dialogue),
            (_, Some(reply)) => match reply.is_transient() {
                true => Finding::unknown(format!("STARTTLS is answered with {reply}")),
                false => in_clear(&dialogue.demand, &format!("STARTTLS is answered with {reply}")),
            },
            (Some((Stage::StartTls, cause)), None) => broken(cause),
            (_, None) => in_clear(&dialogue.demand, "STARTTLS is not offered"),
        };
        Ok(finding.saw([evidence(cx, dialogue, &[Stage::Greeting, Stage::StartTls])]))
    })
    .await
}

fn wrapped(demand: &Demand) -> Finding {
    if !demand.is_optional() {
        return Finding::pass("TLS from the first byte");
    }
    // Postfix's smtp_connect.c skips every address then.
    Finding::fail(format!(
        "smtp_tls_wrappermode needs smtp_tls_security_level encrypt or above, it is {}",
        demand.level
    ))
    .fix(Fix::Shell("postconf -e 'smtp_tls_security_level = encrypt'".to_owned()))
}

fn accepted(dialogue: &Dialogue) -> Finding {
    match dialogue.injected {
        0 => Finding::pass("STARTTLS is offered and accepted"),
        octets => Finding::warn(format!(
            "{octets} octets in clear followed the reply to STARTTLS: a server open to injection, or somebody in between"
        ))
        .fix(Fix::Advice("Ask the relay's operator to update the server (RFC 3207 section 6)".to_owned())),
    }
}

fn in_clear(demand: &Demand, what: &str) -> Finding {
    let finding = match demand.is_optional() {
        true => Finding::warn(format!("{what}; Postfix sends mail in clear at {demand}")),
        false => Finding::fail(format!("{what}; Postfix defers the mail at {demand}")),
    };
    finding.fix(Fix::Advice(
        "Use a port of the relay that offers STARTTLS (587), or TLS from the first byte (465 with \
         smtp_tls_wrappermode = yes); look for a firewall that inspects SMTP"
            .to_owned(),
    ))
}

/// What is the same for every check on the relay: one finding an address, and one for what there is no address of.
pub(crate) async fn every(
    cx: &Context,
    judge: impl Fn(&Dialogue) -> Result<Finding, Abstain>,
) -> Result<Vec<Finding>, Abstain> {
    let relayed = cx.net.smtp.relayed(cx).await?;
    let unconnected = || Abstain::Needs("a connection".to_owned(), "relay.connect");
    let judged = relayed.dialogues.iter().map(|dialogue| {
        let verdict = match dialogue.broke {
            Some((Stage::Connect | Stage::Greeting, _)) if dialogue.session.is_none() => Err(unconnected()),
            _ => judge(dialogue),
        };
        Finding::from(verdict).about(&dialogue.endpoint)
    });
    let lost = relayed.lost.iter().map(|lost| Finding::from(unconnected()).about(&lost.subject));
    Ok(judged.chain(lost).collect())
}

/// At level `none` nothing about TLS matters.
pub(crate) fn unused() -> Abstain {
    Abstain::NotApplicable("smtp_tls_security_level is none: TLS is not used".to_owned())
}

/// What the end of a dialogue means for the mail.
pub(crate) fn broken(cause: &Cause) -> Finding {
    match cause {
        Cause::NoRoute(why) | Cause::Unreachable(why) | Cause::Lost(why) | Cause::NotSmtp(why) => {
            Finding::fail(why.clone())
        }
        Cause::Silent(why) | Cause::Stalled(why) => Finding::unknown(why.clone()),
        Cause::Unwelcome(reply) => reply_status(reply, reply.to_string()),
        Cause::NoTls(refusal) => Finding::fail(refusal.to_string()),
    }
}

/// 421 and the other 4yz say nothing about tomorrow.
fn reply_status(reply: &Reply, message: String) -> Finding {
    if reply.is_transient() { Finding::unknown(message) } else { Finding::fail(message) }
}

/// What was said at `stages`, and how to say it by hand.
pub(crate) fn evidence(cx: &Context, dialogue: &Dialogue, stages: &[Stage]) -> Evidence {
    let said = dialogue.transcript.excerpt(stages);
    let output = match (&dialogue.broke, said.is_empty()) {
        (Some((stage, cause)), _) if stages.contains(stage) && !matches!(cause, Cause::Unwelcome(_)) => {
            let separator = if said.is_empty() { "" } else { "\n" };
            format!("{said}{separator}({})", broken(cause).message)
        }
        (_, true) => "(nothing)".to_owned(),
        (_, false) => said,
    };
    Evidence { command: command(cx, &dialogue.endpoint), output }
}

/// How to see it without us.
pub(crate) fn command(cx: &Context, endpoint: &Endpoint) -> String {
    let Endpoint { host, port, address, .. } = endpoint;
    let is_relay = cx.target.relay.as_ref().is_some_and(|relay| relay.next_hops().any(|hop| hop.port == *port));
    let starttls = if cx.target.tls.wrappermode && is_relay { "" } else { " -starttls smtp" };
    let name = match host {
        Host::Name(name) => format!(" -servername {}", shell::word(&name.to_string())),
        Host::Address(_) => String::new(),
    };
    format!("openssl s_client{starttls} -connect {}{name} -crlf", SocketAddr::new(*address, *port))
}
