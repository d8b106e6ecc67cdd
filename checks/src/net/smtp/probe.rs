//! More connections to an address of the relay, one after another, for what the one dialogue cannot show.

use syntax::reply::Reply;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout_at,
};

use super::{
    dialogue::{Dialogue, PATIENCE_FOR_TLS, Script, connected, greeted, introduction, welcome},
    wire::{Cause, Stage, Transcript, Wire, silence},
};
use crate::net::tls::{self, Manner, Refusal, Session, Socket};

/// What four more connections to one address showed, each or why it did not.
#[derive(Debug)]
pub(crate) struct Probe {
    /// The version that a client without TLS 1.2 gets.
    pub(crate) old: Result<&'static str, Cause>,
    /// The session of a client that names no server.
    pub(crate) nameless: Result<Session, Cause>,
    /// The session after that one; none where that one failed.
    pub(crate) second: Option<Result<Session, Cause>>,
    /// What became of a command that stood behind STARTTLS; none where TLS comes first.
    pub(crate) injection: Option<Result<Injection, Cause>>,
    /// What was said where the command was injected.
    pub(crate) injected: Transcript,
}

/// What became of a command that was sent in clear, behind STARTTLS.
#[derive(Debug)]
pub(crate) enum Injection {
    /// STARTTLS was refused because of it.
    Refused(Reply),
    /// There was no TLS after it.
    Spoilt(String),
    /// It was thrown away.
    Discarded,
    /// It was taken for one that came under TLS.
    Answered(Reply),
}

impl Probe {
    /// The probe of the address of `met`: four connections at most.
    pub(super) async fn made(met: &Dialogue, script: &Script<'_>) -> Self {
        let old = old_version(met, script).await;
        let manner = Manner::nameless().map_err(Cause::NoTls);
        let nameless = match &manner {
            Ok(manner) => secured(met, script, manner).await,
            Err(cause) => Err(cause.clone()),
        };
        let second = match (&manner, &nameless) {
            (Ok(manner), Ok(_)) => Some(secured(met, script, manner).await),
            _ => None,
        };
        let mut injected = Transcript::default();
        let injection = match script.is_wrapped() {
            true => None,
            false => Some(injection(met, script, &mut injected).await),
        };
        Self { old, nameless, second, injection, injected }
    }
}

/// What the server says in clear to a client of TLS 1.2 with all of OpenSSL's ciphers, after it has refused ours for a
/// reason that may be ours: nothing, where the reason is another.
pub(super) async fn overheard(met: &Dialogue, script: &Script<'_>, refusal: &Refusal) -> Option<Session> {
    // Whoever signs with another key than his certificate's gets no second chance.
    if matches!(refusal, Refusal::NotTls(_) | Refusal::Impostor) {
        return None;
    }
    let (socket, _) = opened(met, script).await.ok()?;
    let (host, anchors) = (&met.endpoint.host, &script.cx.target.tls.anchors);
    let overheard = tls::overhear(socket, host, refusal.clone(), anchors, script.cx.now);
    let session = timeout_at(script.deadline.within(PATIENCE_FOR_TLS), overheard).await.ok()?.ok()?;
    script.presentable(session).ok()
}

async fn old_version(met: &Dialogue, script: &Script<'_>) -> Result<&'static str, Cause> {
    let (socket, _) = opened(met, script).await?;
    in_time(script, tls::old_version(socket, &met.endpoint.host)).await
}

/// TLS, EHLO and QUIT; with EHLO's reply come the tickets of TLS 1.3 (RFC 8446 section 4.6.1).
async fn secured(met: &Dialogue, script: &Script<'_>, manner: &Manner) -> Result<Session, Cause> {
    let (socket, me) = opened(met, script).await?;
    let (host, anchors) = (&met.endpoint.host, &script.cx.target.tls.anchors);
    let (stream, session) = in_time(script, tls::connect(socket, host, manner, anchors, script.cx.now)).await?;
    let session = script.presentable(session)?;
    let mut transcript = Transcript::default();
    let mut wire = Wire::new(stream, &mut transcript, &script.redaction, script.deadline);
    if script.is_wrapped() {
        welcome(wire.banner().await?)?;
    }
    let greeted = greeted(&mut wire, &me, &mut None).await;
    wire.quit().await;
    greeted.map(|_| session)
}

/// NOOP in one piece with STARTTLS: a server that answers it under TLS would take a stranger's command for ours.
async fn injection(met: &Dialogue, script: &Script<'_>, transcript: &mut Transcript) -> Result<Injection, Cause> {
    let socket = connected(met.endpoint.socket, script.deadline).await?;
    let me = introduction(script.cx, &socket);
    let mut wire = Wire::new(socket, transcript, &script.redaction, script.deadline);
    wire.enter(Stage::Greeting);
    welcome(wire.banner().await?)?;
    greeted(&mut wire, &me, &mut None).await?;
    wire.enter(Stage::StartTls);
    let reply = match wire.pipelined("STARTTLS", "NOOP").await {
        Ok(reply) => reply,
        Err(Cause::Lost(why)) => return Ok(Injection::Spoilt(why)),
        Err(cause) => return Err(cause),
    };
    if reply.code != 220 {
        wire.quit().await;
        return Ok(Injection::Refused(reply));
    }
    let (socket, _) = wire.into_parts();
    let (host, anchors) = (&met.endpoint.host, &script.cx.target.tls.anchors);
    let manner = Manner::fresh().map_err(Cause::NoTls)?;
    let shaken = in_time(script, tls::connect(socket, host, &manner, anchors, script.cx.now)).await;
    let (stream, _) = match shaken {
        Ok(shaken) => shaken,
        Err(Cause::NoTls(refusal)) => return Ok(Injection::Spoilt(refusal.to_string())),
        Err(cause) => return Err(cause),
    };
    let mut wire = Wire::new(stream, transcript, &script.redaction, script.deadline);
    wire.enter(Stage::Secured);
    answered(&mut wire, &me).await
}

/// Whose reply comes first: with 221 for QUIT as the second, NOOP had none.
async fn answered<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<'_, S>, me: &str) -> Result<Injection, Cause> {
    let first = wire.command(&format!("EHLO {me}")).await?;
    let second = wire.command("QUIT").await?;
    Ok(match second.code {
        221 => Injection::Discarded,
        _ => Injection::Answered(first),
    })
}

/// The connection on which TLS comes next.
async fn opened(met: &Dialogue, script: &Script<'_>) -> Result<(Socket, String), Cause> {
    let socket = connected(met.endpoint.socket, script.deadline).await?;
    let mut dialogue = Dialogue::new(met.endpoint.clone(), met.demand.clone());
    let opened = dialogue.opened(script, socket, &mut Transcript::default(), false).await?;
    opened.ok_or_else(|| match dialogue.starttls {
        Some(reply) => Cause::Unwelcome(reply),
        None => Cause::Lost("STARTTLS is not offered this time".to_owned()),
    })
}

async fn in_time<T>(script: &Script<'_>, handshake: impl Future<Output = Result<T, Refusal>>) -> Result<T, Cause> {
    timeout_at(script.deadline.within(PATIENCE_FOR_TLS), handshake)
        .await
        .map_err(|_| silence(script.deadline, "end of the TLS handshake", PATIENCE_FOR_TLS))?
        .map_err(|refusal| script.refused(refusal))
}
