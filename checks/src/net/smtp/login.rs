//! SASL over SMTP (RFC 4954): the one attempt of a run.

use std::time::{Duration, SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use syntax::reply::Reply;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep, timeout_at},
};
use zeroize::Zeroizing;

use self::exchange::{Exchange, Refusal};
pub(crate) use self::{
    exchange::Flaw,
    mechanism::{Means, Mechanism},
    selection::{Reason, Selection},
};
use super::{
    redaction::REDACTED,
    wire::{Cause, Wire},
};
use crate::{Admission, Credentials, Ticket, net::tls::Binding};

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
    /// Another run was trying this login: it has been refused, and is left alone until then, or is not decided.
    Contested(Option<SystemTime>),
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
        /// How often a SCRAM server has the password hashed.
        iterations: Option<u32>,
        /// Why the next run will not know of a refusal.
        unguarded: Option<String>,
    },
}

impl Attempt {
    /// Whether we are logged in: 235 is the one yes (RFC 4954 section 6).
    pub(crate) fn is_accepted(&self) -> bool {
        matches!(self, Self::Decided { reply: Reply { code: 235, .. }, flaw: None, .. })
    }
}

/// How often a guard is asked again.
const PAUSE: Duration = Duration::from_millis(20);

/// The one attempt, if the guard lets it happen: no retry, no second mechanism.
pub(super) async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<'_, S>,
    mechanism: Mechanism,
    credentials: &Credentials,
    binding: Option<&Binding>,
) -> Result<Attempt, Cause> {
    let ticket = match admitted(credentials, wire.due()).await {
        Ok(ticket) => ticket,
        Err(withheld) => return Ok(Attempt::Withheld(withheld)),
    };
    let mut outcome = exchanged(wire, mechanism, credentials, binding).await;
    let code = match &outcome {
        // A yes that is none proves nothing of the password, nor does a no to somebody who has not said it.
        Ok(Attempt::Decided { reply, flaw: None, .. }) if wire.has_confided() => Some(reply.code),
        _ => None,
    };
    let kept = ticket.map_or(Ok(()), |ticket| ticket.returned(code));
    if let (Ok(Attempt::Decided { unguarded, .. }), Err(why)) = (&mut outcome, kept) {
        *unguarded = Some(why);
    }
    outcome
}

/// The guard's leave, waited for until `due` where another run is trying the same login.
async fn admitted(credentials: &Credentials, due: Instant) -> Result<Option<Ticket>, Withheld> {
    let Some(guard) = &credentials.guard else { return Ok(None) };
    loop {
        match guard.admission() {
            Admission::Granted(ticket) => return Ok(Some(ticket)),
            Admission::Barred(until) => return Err(Withheld::Contested(Some(until))),
            Admission::Taken if Instant::now() + PAUSE >= due => return Err(Withheld::Contested(None)),
            Admission::Taken => sleep(PAUSE).await,
        }
    }
}

async fn exchanged<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<'_, S>,
    mechanism: Mechanism,
    credentials: &Credentials,
    binding: Option<&Binding>,
) -> Result<Attempt, Cause> {
    if mechanism.derives() {
        wire.veil();
    }
    let mut exchange = Exchange::new(mechanism, credentials, binding);
    let mut reply = begin(wire, mechanism, &mut exchange).await?;
    let mut refusal = None;
    while reply.code == 334 && refusal.is_none() {
        // What is here already is no answer to what comes now.
        wire.in_step().await?;
        match response(wire, &mut exchange, &reply).await? {
            Ok(response) => {
                let shown = if response.is_empty() { "" } else { REDACTED };
                reply = wire.confide(&Zeroizing::new(STANDARD.encode(&*response)), shown).await?;
            }
            Err(why) => {
                refusal = Some(why);
                reply = wire.confide("*", "*").await?;
            }
        }
    }
    // A yes with something behind it may be the answer to anything.
    if reply.is_positive() {
        wire.in_step().await?;
    }
    let flaw = match refusal {
        Some(Refusal::Flaw(flaw)) => Some(flaw),
        Some(Refusal::Surplus) => reply.is_positive().then(Flaw::resurrected),
        None => exchange.unfounded(&reply),
    };
    if reply.code == 334 {
        reply.lines = vec![REDACTED.to_owned()];
    }
    let (status, iterations) = (exchange.status(), exchange.iterations());
    Ok(Attempt::Decided { mechanism, reply, status, flaw, iterations, unguarded: None })
}

/// Our answer to a challenge, if there is one.
async fn response<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<'_, S>,
    exchange: &mut Exchange<'_>,
    challenge: &Reply,
) -> Result<Result<Zeroizing<Vec<u8>>, Refusal>, Cause> {
    let challenge = STANDARD.decode(challenge.lines.first().map_or("", |line| line.trim()));
    if let Ok(challenge) = &challenge {
        exchange.derived(challenge).for_each(|derived| wire.learn(derived));
    }
    let response = timeout_at(wire.due(), exchange.response(challenge.ok())).await.map_err(|_| wire.overworked())?;
    if let Ok(response) = &response {
        exchange.derived(response).for_each(|derived| wire.learn(derived));
    }
    Ok(response)
}

/// AUTH, with an initial response where the client begins, or with the same as an answer to the empty challenge where it
/// would be too long.
async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<'_, S>,
    mechanism: Mechanism,
    exchange: &mut Exchange<'_>,
) -> Result<Reply, Cause> {
    // What is here already is no answer to AUTH.
    wire.in_step().await?;
    let bare = format!("AUTH {mechanism}");
    let Some(message) = exchange.opening() else { return wire.command(&bare).await };
    exchange.derived(&message).for_each(|derived| wire.learn(derived));
    let response = Zeroizing::new(STANDARD.encode(&*message));
    let command = Zeroizing::new(format!("{bare} {}", *response));
    if command.len() <= LONGEST_COMMAND {
        exchange.told();
        return wire.confide(&command, &format!("{bare} {REDACTED}")).await;
    }
    match wire.command(&bare).await? {
        reply if reply.code == 334 => {
            wire.in_step().await?;
            exchange.told();
            wire.confide(&response, REDACTED).await
        }
        reply => Ok(reply),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, duplex};

    use super::{
        super::{redaction::Redaction, wire::Transcript},
        *,
    };
    use crate::{Login, Secret, net::Deadline};

    #[tokio::test]
    async fn hashing_ends_with_the_audit() {
        let (ours, theirs) = duplex(1024);
        let server = async {
            let mut theirs = BufReader::new(theirs);
            let mut auth = String::new();
            theirs.read_line(&mut auth).await.unwrap();
            let opening = STANDARD.decode(auth.trim().rsplit_once(' ').unwrap().1).unwrap();
            let nonce = String::from_utf8(opening).unwrap().rsplit_once(",r=").unwrap().1.to_owned();
            let first = STANDARD.encode(format!("r={nonce}abc,s=QSXCR+Q6sek8bf92,i=100000"));
            theirs.write_all(format!("334 {first}\r\n").as_bytes()).await.unwrap();
            auth.clear();
            theirs.read_line(&mut auth).await.unwrap();
            auth
        };
        let credentials = Credentials::new("jira".to_owned(), Login::Password(Secret::new("hunter2".to_owned())));
        let redaction = Redaction::of(Some(&credentials));
        let mut transcript = Transcript::default();
        let client = async {
            let mut wire = Wire::new(ours, &mut transcript, &redaction, Deadline::after(Duration::from_millis(5)));
            log_in(&mut wire, Mechanism::ScramSha256, &credentials, None).await
        };
        let (attempt, answer) = tokio::join!(client, server);
        let told = "no answer within 5ms: the server asks for more hashing of the password";
        assert!(matches!(&attempt, Err(Cause::Silent(why)) if why.starts_with(told)), "{attempt:?}");
        assert_eq!(answer, "");
    }
}
