//! Whether mail is taken: MAIL FROM and RCPT TO, then RSET; never DATA.

use syntax::{Mailbox, reply::Reply};
use tokio::io::{AsyncRead, AsyncWrite};

use super::wire::{Cause, Wire};
use crate::Context;

/// What an address of the relay was asked about the envelope.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// Nothing.
    Not(Unasked),
    /// Whether it takes this one.
    Envelope(Envelope),
}

/// Why nothing was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unasked {
    /// There are no recipients to ask about.
    NoRecipients,
    /// The one login of this run was made at another address.
    Elsewhere,
    /// There was no login, and there are credentials.
    NoLogin,
    /// Postfix would not give mail to whoever this is.
    Unverified,
}

/// MAIL FROM and RCPT TO, and what came of them as far as they went.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    /// The reverse-path, without its angle brackets.
    pub(crate) sender: String,
    /// The reply to MAIL FROM.
    pub(crate) mail: Option<Reply>,
    /// Each recipient with the reply to its RCPT TO; those that were not sent have none.
    pub(crate) recipients: Vec<(Mailbox, Option<Reply>)>,
    /// The recipients that need SMTPUTF8, which is not offered.
    pub(crate) unsendable: Vec<Mailbox>,
}

/// Asks about the recipients of the target, one transaction that is given up before any mail is sent.
pub(super) async fn asked<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<'_, S>,
    cx: &Context,
    greeting: &Reply,
    asked: &mut Option<Asked>,
) -> Result<(), Cause> {
    let takes_utf8 = greeting.offers("SMTPUTF8");
    let (sent, unsendable): (Vec<Mailbox>, Vec<Mailbox>) =
        cx.target.recipients.iter().cloned().partition(|recipient| takes_utf8 || !recipient.needs_utf8());
    let sender = sender(cx, takes_utf8);
    let mail = mail_command(cx, greeting, &sender, sent.iter().any(Mailbox::needs_utf8));
    let mut envelope = Envelope { sender, mail: None, recipients: Vec::new(), unsendable };
    let outcome = match (sent.is_empty(), greeting.offers("PIPELINING")) {
        (true, _) => Ok(()),
        (false, true) => at_once(wire, mail, sent, &mut envelope).await,
        (false, false) => in_turn(wire, mail, sent, &mut envelope).await,
    };
    *asked = Some(Asked::Envelope(envelope));
    outcome
}

/// RFC 2920 section 3.1: MAIL FROM, RCPT TO and RSET may go together.
async fn at_once<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<'_, S>,
    mail: String,
    recipients: Vec<Mailbox>,
    envelope: &mut Envelope,
) -> Result<(), Cause> {
    let rcpts = recipients.iter().map(rcpt_command);
    let commands: Vec<String> = std::iter::once(mail).chain(rcpts).chain(["RSET".to_owned()]).collect();
    let (replies, outcome) = wire.commands(&commands).await;
    let mut replies = replies.into_iter();
    envelope.mail = replies.next();
    envelope.recipients = recipients.into_iter().map(|recipient| (recipient, replies.next())).collect();
    outcome?;
    wire.in_step().await
}

async fn in_turn<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<'_, S>,
    mail: String,
    recipients: Vec<Mailbox>,
    envelope: &mut Envelope,
) -> Result<(), Cause> {
    let reply = wire.command(&mail).await?;
    let is_refused = !reply.is_positive();
    envelope.mail = Some(reply);
    wire.in_step().await?;
    if is_refused {
        return Ok(());
    }
    for recipient in recipients {
        let command = rcpt_command(&recipient);
        envelope.recipients.push((recipient, None));
        let reply = wire.command(&command).await?;
        if let Some((_, answer)) = envelope.recipients.last_mut() {
            *answer = Some(reply);
        }
        wire.in_step().await?;
    }
    wire.command("RSET").await.map(drop)
}

/// The login where it is an address of the MAIL FROM domain, else that domain's postmaster, who always exists
/// (RFC 5321 section 4.5.1); without a domain the null reverse-path, which is for notifications.
fn sender(cx: &Context, takes_utf8: bool) -> String {
    let Some(domain) = cx.target.mail_from_domains().first() else {
        return String::new();
    };
    let user = cx.target.sasl.as_ref().and_then(|credentials| credentials.user.parse::<Mailbox>().ok());
    let own = user.filter(|user| user.domain() == domain && (takes_utf8 || !user.needs_utf8()));
    own.unwrap_or_else(|| Mailbox::new("postmaster", domain)).to_string()
}

/// RFC 1870 section 3 for SIZE, RFC 6531 section 3.4 for SMTPUTF8. A size beyond what EHLO says is not asked about: the
/// answer is known, and would hide what there is to be found out about sender and recipients.
fn mail_command(cx: &Context, greeting: &Reply, sender: &str, has_utf8: bool) -> String {
    let limit = greeting.parameter("SIZE").map(|text| text.trim().parse().unwrap_or(0));
    let fits = |size: &u64| *size > 0 && limit.is_some_and(|limit| limit == 0 || *size <= limit);
    let size = cx.target.message_size.filter(fits);
    let size = size.map(|size| format!(" SIZE={size}")).unwrap_or_default();
    let utf8 = if has_utf8 || !sender.is_ascii() { " SMTPUTF8" } else { "" };
    format!("MAIL FROM:<{sender}>{size}{utf8}")
}

fn rcpt_command(recipient: &Mailbox) -> String {
    format!("RCPT TO:<{recipient}>")
}
