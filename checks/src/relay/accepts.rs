//! Whether the relay takes mail from this sender for these recipients.

use std::net::SocketAddr;

use syntax::{Host, Mailbox, shell};

use super::{Abstain, Context, Evidence, Finding, Fix, Stage, broken, capabilities::counting, every, evidence};
use crate::{
    Status,
    net::smtp::{Asked, Cause, Dialogue, Envelope, Reply, Unasked},
    replies::{Row, explained},
};

pub(super) async fn accepts(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    if cx.target.relay.is_some() && cx.target.recipients.is_empty() {
        return Err(Abstain::NotApplicable("no recipient to ask about, name one with --rcpt".to_owned()));
    }
    let relayed = cx.net.smtp.relayed(cx).await?;
    let elsewhere = relayed.logged_in_at().map(|endpoint| endpoint.address.to_string()).unwrap_or_default();
    every(cx, |dialogue| match &dialogue.asked {
        Some(Asked::Envelope(envelope)) => Ok(judged(dialogue, envelope).saw([said(cx, dialogue, envelope)])),
        Some(Asked::Not(why)) => Err(unasked(*why, &elsewhere)),
        None => match (&dialogue.broke, counting(cx, dialogue)) {
            (Some((Stage::Login, _)), _) => Err(unasked(Unasked::NoLogin, &elsewhere)),
            (_, Err(why)) => Err(why),
            (_, Ok(_)) => Err(Abstain::Needs("STARTTLS".to_owned(), "relay.starttls")),
        },
    })
    .await
}

fn unasked(why: Unasked, elsewhere: &str) -> Abstain {
    match why {
        Unasked::NoRecipients => Abstain::NotApplicable("no recipient to ask about, name one with --rcpt".to_owned()),
        Unasked::Elsewhere => Abstain::NotApplicable(format!("asked at {elsewhere}, where the login was made")),
        Unasked::NoLogin => Abstain::Needs("a login".to_owned(), "sasl.login"),
        Unasked::Unverified => Abstain::Needs("a verified certificate".to_owned(), "tls.chain"),
    }
}

fn judged(dialogue: &Dialogue, envelope: &Envelope) -> Finding {
    let Envelope { sender, mail, recipients, unsendable } = envelope;
    let host = &dialogue.endpoint.host;
    let refused = mail.as_ref().filter(|reply| !reply.is_positive());
    let finding = match (refused, &dialogue.broke) {
        (Some(reply), _) => refusal(reply, host, &format!("MAIL FROM:<{sender}>"), ""),
        (None, _) if mail.is_none() && recipients.is_empty() && !unsendable.is_empty() => Finding::pass(""),
        (None, Some((Stage::Envelope, cause))) if is_undecided(cause, envelope) => {
            let finding = broken(cause);
            let message = format!("MAIL FROM:<{sender}> and RCPT TO were not decided: {}", finding.message);
            let advice = "Try again later; where it stays so, ask the relay's operator what happens after MAIL FROM";
            Finding { status: Status::Unknown, message, ..finding }.fix(Fix::Advice(advice.to_owned()))
        }
        (None, _) => of_recipients(sender, recipients, host),
    };
    let finding = with_unsendable(finding, unsendable);
    let replies: serde_json::Map<String, serde_json::Value> = recipients
        .iter()
        .filter_map(|(recipient, reply)| Some((recipient.to_string(), reply.as_ref()?.to_string().into())))
        .collect();
    let finding = finding.fact("sender", sender.as_str());
    let finding = match mail {
        Some(mail) => finding.fact("mail", mail.to_string()),
        None => finding,
    };
    if replies.is_empty() { finding } else { finding.fact("recipients", replies) }
}

/// What was cut short is not decided, except that a no is a no; and nobody knows whose the replies of a server are that
/// gives more of them than there are commands.
fn is_undecided(cause: &Cause, envelope: &Envelope) -> bool {
    let mut replies = envelope.recipients.iter().map(|(_, reply)| reply.as_ref());
    let is_refused = replies.clone().flatten().any(Reply::is_negative);
    let is_cut_short = envelope.mail.is_none() || replies.any(|reply| reply.is_none());
    matches!(cause, Cause::NotSmtp(_)) || (is_cut_short && !is_refused)
}

/// All that were taken, or the gravest of those that were not.
fn of_recipients(sender: &str, recipients: &[(Mailbox, Option<Reply>)], host: &Host) -> Finding {
    let from = format!("from <{sender}>");
    let refusals = recipients.iter().filter_map(|(recipient, reply)| {
        let reply = reply.as_ref().filter(|reply| !reply.is_positive())?;
        Some(refusal(reply, host, &format!("RCPT TO:<{recipient}>"), &format!(" {from}")))
    });
    let (mut worst, mut more): (Option<Finding>, usize) = (None, 0);
    for finding in refusals {
        match &worst {
            Some(known) if known.status >= finding.status => more += 1,
            known => {
                more += usize::from(known.is_some());
                worst = Some(finding);
            }
        }
    }
    match worst {
        None => {
            let taken: Vec<String> = recipients.iter().map(|(recipient, _)| format!("<{recipient}>")).collect();
            Finding::pass(format!("takes mail {from} for {}", taken.join(", ")))
        }
        Some(finding) if more == 0 => finding,
        Some(finding) => {
            let message = format!("{}; {more} more of {} recipients not taken", finding.message, recipients.len());
            Finding { message, ..finding }
        }
    }
}

/// A reply that is no yes, with what it means.
fn refusal(reply: &Reply, host: &Host, command: &str, from: &str) -> Finding {
    let row = explained(reply, host);
    let meaning = row.map(|row| format!(" ({})", row.meaning)).unwrap_or_default();
    let about_it =
        if is_about_the_recipient(reply, row) { "; that is about this recipient, not about relaying" } else { "" };
    let message = format!("{command}{from} is answered with {reply}{meaning}{about_it}");
    let finding = if reply.is_negative() { Finding::fail(message) } else { Finding::unknown(message) };
    finding.fix(row.map(|row| Fix::Advice(row.remedy.to_owned())))
}

/// RFC 3463 section 3.2 and 3.3: 5.1.x and 5.2.x are about an address and its mailbox; 5.1.7 and 5.1.8 the sender's.
fn is_about_the_recipient(reply: &Reply, row: Option<&Row>) -> bool {
    let is_it = |text: &str| text.starts_with("5.1.") && !text.starts_with("5.1.7") && !text.starts_with("5.1.8");
    let said = reply.lines.iter().any(|line| is_it(line) || line.starts_with("5.2."));
    said || row.is_some_and(|row| row.is_of_recipient)
}

/// RFC 6531 section 3.1: to a server without SMTPUTF8 such an address cannot be sent at all.
fn with_unsendable(finding: Finding, unsendable: &[Mailbox]) -> Finding {
    if unsendable.is_empty() || finding.status == Status::Fail {
        return finding;
    }
    let listed: Vec<String> = unsendable.iter().map(|recipient| format!("<{recipient}>")).collect();
    let also = if finding.message.is_empty() { String::new() } else { format!("; {}", finding.message) };
    let message = format!("offers no SMTPUTF8, which {} needs{also}", listed.join(", "));
    Finding { message, ..finding.with_status(Status::Fail) }
        .fix(Fix::Advice("Use a relay that offers SMTPUTF8, or an address in ASCII".to_owned()))
}

/// The conversation as it was, and how to hold it by hand.
fn said(cx: &Context, dialogue: &Dialogue, envelope: &Envelope) -> Evidence {
    let server = SocketAddr::new(dialogue.endpoint.address, dialogue.endpoint.port);
    let tls = match (&dialogue.session, cx.target.tls.wrappermode) {
        (None, _) => "",
        (Some(_), true) => " --tls-on-connect",
        (Some(_), false) => " --tls",
    };
    let login = cx.target.sasl.as_ref().map(|login| format!(" --auth {}", shell::option("--auth-user", &login.user)));
    let recipients: Vec<String> = cx.target.recipients.iter().map(ToString::to_string).collect();
    let command = format!(
        "swaks --server {server}{tls}{} {} {} --quit-after RCPT",
        login.unwrap_or_default(),
        shell::option("--from", if envelope.sender.is_empty() { "<>" } else { &envelope.sender }),
        shell::option("--to", &recipients.join(",")),
    );
    Evidence { command, ..evidence(cx, dialogue, &[Stage::Envelope]) }
}
