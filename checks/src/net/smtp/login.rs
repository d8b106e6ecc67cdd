//! SASL over SMTP (RFC 4954): the one attempt of a run.

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

use self::exchange::{Exchange, Refusal};
pub(crate) use self::{
    exchange::Flaw,
    mechanism::{Means, Mechanism},
    selection::{Reason, Selection},
};
use super::{
    redaction::REDACTED,
    reply::Reply,
    wire::{Cause, Wire},
};
use crate::{Credentials, net::tls::Binding};

mod exchange;
mod mechanism;
mod scram;
mod selection;

/// RFC 4954 section 4: an initial response goes with AUTH only while the command keeps to the limit of RFC 5321
/// section 4.5.3.1.4, 512 octets with its CRLF.
const LONGEST_COMMAND: usize = 512 - 2;

/// Why no login was tried at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Withheld {
    /// There is nothing to log in with.
    NoCredentials,
    /// The server offers no AUTH.
    NotOffered,
    /// None of the mechanisms offered will do: see [`Selection`].
    NoMechanism,
    /// The certificate has no path to a trust anchor.
    Untrusted,
    /// The certificate is for others.
    Misnamed,
    /// Another address comes first.
    Elsewhere,
    /// The relay has just refused this login.
    Barred,
}

/// What came of the login at an address.
#[derive(Clone, Debug)]
pub(crate) enum Attempt {
    /// It was not tried.
    Withheld(Withheld),
    /// It was tried, and the server decided.
    Decided {
        mechanism: Mechanism,
        reply: Reply,
        /// What the server said about a refusal within the exchange.
        status: Option<String>,
        /// What was wrong with the exchange, whatever the reply says.
        flaw: Option<Flaw>,
    },
}

/// The one attempt: no retry, no second mechanism.
pub(super) async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<'_, S>,
    mechanism: Mechanism,
    credentials: &Credentials,
    binding: Option<&Binding>,
) -> Result<Attempt, Cause> {
    if mechanism.derives() {
        wire.veil();
    }
    let mut exchange = Exchange::new(mechanism, credentials, binding);
    let mut reply = match exchange.opening() {
        Some(message) => {
            exchange.derived(&message).for_each(|derived| wire.learn(derived));
            begin(wire, mechanism, &message).await?
        }
        None => wire.command(&format!("AUTH {mechanism}")).await?,
    };
    let mut refusal = None;
    while reply.code == 334 && refusal.is_none() {
        let challenge = STANDARD.decode(reply.lines.first().map_or("", |line| line.trim()));
        if let Ok(challenge) = &challenge {
            exchange.derived(challenge).for_each(|derived| wire.learn(derived));
        }
        match exchange.response(challenge.ok()).await {
            Ok(response) => {
                exchange.derived(&response).for_each(|derived| wire.learn(derived));
                let shown = if response.is_empty() { "" } else { REDACTED };
                reply = wire.confide(&Zeroizing::new(STANDARD.encode(&*response)), shown).await?;
            }
            Err(why) => {
                refusal = Some(why);
                reply = wire.command("*").await?;
            }
        }
    }
    let flaw = match refusal {
        Some(Refusal::Surplus) => None,
        Some(Refusal::Flaw(flaw)) => Some(flaw),
        None => exchange.unproved(&reply),
    };
    if reply.code == 334 {
        reply.lines = vec![REDACTED.to_owned()];
    }
    Ok(Attempt::Decided { mechanism, reply, status: exchange.status(), flaw })
}

/// AUTH with an initial response, or with the same as an answer to the empty challenge where it would be too long.
async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<'_, S>,
    mechanism: Mechanism,
    message: &[u8],
) -> Result<Reply, Cause> {
    let response = Zeroizing::new(STANDARD.encode(message));
    let command = Zeroizing::new(format!("AUTH {mechanism} {}", *response));
    if command.len() <= LONGEST_COMMAND {
        return wire.confide(&command, &format!("AUTH {mechanism} {REDACTED}")).await;
    }
    match wire.command(&format!("AUTH {mechanism}")).await? {
        reply if reply.code == 334 => wire.confide(&response, REDACTED).await,
        reply => Ok(reply),
    }
}
