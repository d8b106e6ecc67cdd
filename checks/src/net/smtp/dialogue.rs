//! One dialogue with one address of the relay: as far as it goes, nothing that was seen is lost.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
    time::timeout_at,
};

use super::{
    envelope::{self, Asked, Unasked},
    login::{Attempt, Mechanism, Selection, Withheld, log_in},
    probe,
    redaction::Redaction,
    reply::Reply,
    route::Endpoint,
    wire::{Cause, Stage, Transcript, Wire, silence},
};
use crate::{
    Context, Credentials, TlsLevel,
    address::Family,
    net::{
        Deadline,
        tls::{self, Manner, Session, Socket, Wanted},
    },
    target::Host,
};

/// How long a TCP connection may take.
const PATIENCE_TO_CONNECT: Duration = Duration::from_secs(10);

/// How long a TLS handshake may take.
pub(super) const PATIENCE_FOR_TLS: Duration = Duration::from_secs(30);

/// One dialogue with one address of the relay.
#[derive(Debug)]
pub(crate) struct Dialogue {
    pub(crate) endpoint: Endpoint,
    pub(crate) banner: Option<Reply>,
    /// The reply to EHLO, or HELO, before TLS.
    pub(crate) greeting: Option<Reply>,
    /// The reply to STARTTLS.
    pub(crate) starttls: Option<Reply>,
    /// How many octets came in clear after the reply to STARTTLS.
    pub(crate) injected: usize,
    pub(crate) session: Option<Session>,
    /// The reply to EHLO under TLS.
    pub(crate) secured: Option<Reply>,
    pub(crate) login: Option<Attempt>,
    /// What was asked about the envelope.
    pub(crate) asked: Option<Asked>,
    /// The reply to EHLO, where HELO had to do.
    pub(crate) no_ehlo: Option<Reply>,
    /// What ended it early, and where.
    pub(crate) broke: Option<(Stage, Cause)>,
    pub(crate) transcript: Transcript,
}

/// What all dialogues of a run have in common.
pub(super) struct Script<'a> {
    pub(super) cx: &'a Context,
    pub(super) deadline: Deadline,
    pub(super) redaction: Redaction,
}

/// Who may log in: one dialogue a run, the first in Postfix's order that can.
pub(super) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    after: Option<oneshot::Sender<()>>,
    taken: Arc<AtomicBool>,
    deadline: Deadline,
}

impl Turn {
    /// One for each of `count` dialogues, in order.
    pub(super) fn line(count: usize, deadline: Deadline) -> Vec<Self> {
        let taken = Arc::new(AtomicBool::new(false));
        let mut before = None;
        let turn = |_| {
            let (after, next) = oneshot::channel();
            Self { before: before.replace(next), after: Some(after), taken: taken.clone(), deadline }
        };
        (0..count).map(turn).collect()
    }

    /// Whether the one login is ours.
    async fn come(&mut self) -> bool {
        self.wait().await;
        let is_ours = !self.taken.swap(true, Ordering::Relaxed);
        self.tell();
        is_ours
    }

    /// Leaves what we did not take to those after us.
    async fn leave(mut self) {
        self.wait().await;
        self.tell();
    }

    /// Those before us decide first, unless they take half of the time that is left: a silent address does not cost
    /// the others their login.
    async fn wait(&mut self) {
        if let Some(before) = self.before.take() {
            let _ = timeout_at(self.deadline.halfway(), before).await;
        }
    }

    /// The last in line has nobody to tell.
    fn tell(&mut self) {
        if let Some(after) = self.after.take() {
            let _ = after.send(());
        }
    }
}

impl Dialogue {
    /// Nothing has been said.
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            banner: None,
            greeting: None,
            starttls: None,
            injected: 0,
            session: None,
            secured: None,
            login: None,
            asked: None,
            no_ehlo: None,
            broke: None,
            transcript: Transcript::default(),
        }
    }

    /// The dialogue with `endpoint`, to its end.
    pub(super) async fn held(endpoint: Endpoint, script: &Script<'_>, mut turn: Turn) -> Self {
        let mut dialogue = Self::new(endpoint);
        let mut transcript = Transcript::default();
        if let Err(cause) = dialogue.talk(script, &mut transcript, &mut turn).await {
            dialogue.broke = Some((transcript.stage, cause));
        }
        turn.leave().await;
        dialogue.transcript = transcript;
        if let Some((Stage::Handshake, Cause::NoTls(refusal))) = &dialogue.broke {
            dialogue.session = probe::overheard(&dialogue.endpoint, script, refusal).await;
        }
        dialogue
    }

    /// Whether the server answered EHLO: the address is one that mail can be given to.
    pub(crate) fn is_answered(&self) -> bool {
        self.greeting.is_some() || self.secured.is_some()
    }

    /// The family this machine has no way to, if that is why there is no dialogue.
    pub(super) fn unrouted(&self) -> Option<Family> {
        match self.broke {
            Some((_, Cause::NoRoute(_) | Cause::Unreachable(_))) => Some(Family::of(self.endpoint.address)),
            _ => None,
        }
    }

    async fn talk(&mut self, script: &Script<'_>, transcript: &mut Transcript, turn: &mut Turn) -> Result<(), Cause> {
        let Some((socket, me)) = self.opened(script, transcript, true).await? else { return Ok(()) };
        transcript.stage = Stage::Handshake;
        let stream = self.shake_hands(script, socket).await?;
        let mut wire = Wire::new(stream, transcript, &script.redaction, script.deadline);
        let outcome = self.talk_in_private(&mut wire, &me, script.cx, turn).await;
        wire.quit().await;
        outcome
    }

    /// The connection on which TLS comes next, and who we are on it; none where there is no STARTTLS. What Postfix would
    /// say in clear then is said if `goes_on`.
    pub(super) async fn opened(
        &mut self,
        script: &Script<'_>,
        transcript: &mut Transcript,
        goes_on: bool,
    ) -> Result<Option<(Socket, String)>, Cause> {
        let policy = &script.cx.target.tls;
        let socket = connected(self.endpoint.socket, script.deadline).await?;
        let me = introduction(script.cx, &socket);
        if policy.wrappermode {
            return Ok(Some((socket, me)));
        }
        let mut wire = Wire::new(socket, transcript, &script.redaction, script.deadline);
        let mut outcome = self.talk_in_clear(&mut wire, &me, policy.level).await;
        // Postfix gives the mail to a server without TLS at these levels.
        if goes_on && matches!(outcome, Ok(false)) && policy.level <= TlsLevel::May {
            outcome = self.offer_envelope(&mut wire, script.cx).await.map(|()| false);
        }
        if !matches!(outcome, Ok(true)) {
            wire.quit().await;
            return outcome.map(|_| None);
        }
        let (socket, unread) = wire.into_parts();
        self.injected = unread + socket.drained();
        Ok(Some((socket, me)))
    }

    /// Banner, EHLO and STARTTLS; whether TLS comes next.
    async fn talk_in_clear<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<'_, S>,
        me: &str,
        level: TlsLevel,
    ) -> Result<bool, Cause> {
        wire.enter(Stage::Greeting);
        self.banner = Some(welcome(wire.banner().await?)?);
        let greeting = greeted(wire, me, &mut self.no_ehlo).await?;
        let greeting = self.greeting.insert(greeting);
        if level == TlsLevel::None || !greeting.offers("STARTTLS") {
            return Ok(false);
        }
        wire.enter(Stage::StartTls);
        let reply = wire.command("STARTTLS").await?;
        // RFC 3207 section 4: 220 and nothing else.
        let accepted = reply.code == 220;
        self.starttls = Some(reply);
        Ok(accepted)
    }

    async fn shake_hands(
        &mut self,
        script: &Script<'_>,
        socket: Socket,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + use<>, Cause> {
        let patience = script.deadline.within(PATIENCE_FOR_TLS);
        let (host, anchors) = (&self.endpoint.host, &script.cx.target.tls.anchors);
        let manner = Manner::fresh().map_err(Cause::NoTls)?;
        let (stream, session) = timeout_at(patience, tls::connect(socket, host, &manner, anchors, script.cx.now))
            .await
            .map_err(|_| silence(script.deadline, "end of the TLS handshake", PATIENCE_FOR_TLS))?
            .map_err(Cause::NoTls)?;
        self.session = Some(session);
        Ok(stream)
    }

    /// The banner, where TLS came first; EHLO, and AUTH where it is this dialogue's turn.
    async fn talk_in_private<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<'_, S>,
        me: &str,
        cx: &Context,
        turn: &mut Turn,
    ) -> Result<(), Cause> {
        wire.enter(if self.banner.is_none() { Stage::Greeting } else { Stage::Secured });
        if self.banner.is_none() {
            self.banner = Some(welcome(wire.banner().await?)?);
        }
        let greeting = greeted(wire, me, &mut self.no_ehlo).await?;
        let offered = self.secured.insert(greeting).mechanisms();
        self.login = Some(match self.permitted(cx, &offered) {
            Err(why) => Attempt::Withheld(why),
            Ok(_) if !turn.come().await => Attempt::Withheld(Withheld::Elsewhere),
            Ok((mechanism, credentials)) => {
                wire.enter(Stage::Login);
                // What is here already is no answer to AUTH.
                wire.in_step()?;
                let binding = self.session.as_ref().and_then(|session| session.binding.as_ref());
                log_in(wire, mechanism, credentials, binding).await?
            }
        });
        self.offer_envelope(wire, cx).await
    }

    /// MAIL FROM and RCPT TO, where Postfix would send mail.
    async fn offer_envelope<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<'_, S>,
        cx: &Context,
    ) -> Result<(), Cause> {
        let greeting = match (self.unasked(cx), self.secured.as_ref().or(self.greeting.as_ref())) {
            (None, Some(greeting)) => greeting,
            (why, _) => {
                self.asked = why.map(Asked::Not);
                return Ok(());
            }
        };
        wire.enter(Stage::Envelope);
        envelope::asked(wire, cx, greeting, &mut self.asked).await
    }

    /// Why nothing is asked about the envelope here.
    fn unasked(&self, cx: &Context) -> Option<Unasked> {
        if cx.target.recipients.is_empty() {
            return Some(Unasked::NoRecipients);
        }
        match &self.login {
            Some(Attempt::Decided { reply, .. }) if reply.is_positive() => return None,
            Some(Attempt::Withheld(Withheld::Elsewhere)) => return Some(Unasked::Elsewhere),
            _ if cx.target.sasl.is_some() => return Some(Unasked::NoLogin),
            _ => {}
        }
        let level = cx.target.tls.level;
        let is_verified = |session: &Session| {
            session.is_trusted(level) && session.names.matching(&wanted(cx, &self.endpoint)).is_some()
        };
        let is_wanted = level >= TlsLevel::Verify && !self.session.as_ref().is_some_and(is_verified);
        is_wanted.then_some(Unasked::Unverified)
    }

    /// What to log in with, if nothing speaks against a login here.
    fn permitted<'a>(&self, cx: &'a Context, offered: &[String]) -> Result<(Mechanism, &'a Credentials), Withheld> {
        let credentials = cx.target.sasl.as_ref().ok_or(Withheld::NoCredentials)?;
        if offered.is_empty() {
            return Err(Withheld::NotOffered);
        }
        let mechanism = self.selection(credentials, offered).chosen.ok_or(Withheld::NoMechanism)?;
        let policy = &cx.target.tls;
        // Whoever typed `may` or `encrypt` has asked for what Postfix does: the password goes to anybody.
        if !policy.level_typed || policy.level >= TlsLevel::Verify {
            let session = self.session.as_ref().ok_or(Withheld::Untrusted)?;
            if !session.is_proved(policy.level) {
                return Err(Withheld::Untrusted);
            }
            session.names.matching(&wanted(cx, &self.endpoint)).ok_or(Withheld::Misnamed)?;
        }
        match credentials.barred_until {
            Some(_) => Err(Withheld::Barred),
            None => Ok((mechanism, credentials)),
        }
    }

    /// Which of the mechanisms `offered` here would log `credentials` in.
    pub(crate) fn selection(&self, credentials: &Credentials, offered: &[String]) -> Selection {
        let is_bound = self.session.as_ref().is_some_and(|session| session.binding.is_some());
        Selection::of(credentials, offered, is_bound)
    }
}

/// The names that Postfix looks for in the certificate of `endpoint`: at `secure` those of the next-hop, else the host's.
pub(crate) fn wanted(cx: &Context, endpoint: &Endpoint) -> Vec<Wanted> {
    let next_hop = Some(&endpoint.next_hop.host).filter(|_| cx.target.tls.level == TlsLevel::Secure);
    match (next_hop, &endpoint.host) {
        (Some(next_hop), _) => vec![Wanted::Host(bare(next_hop)), Wanted::Below(bare(next_hop))],
        (None, Host::Name(name)) => vec![Wanted::Host(name.to_string())],
        (None, Host::Address(address)) => vec![Wanted::Address(*address)],
    }
}

fn bare(host: &Host) -> String {
    match host {
        Host::Name(name) => name.to_string(),
        Host::Address(address) => address.to_string(),
    }
}

/// The TCP connection to `to`.
pub(in crate::net) async fn connected(to: SocketAddr, deadline: Deadline) -> Result<Socket, Cause> {
    match timeout_at(deadline.within(PATIENCE_TO_CONNECT), Socket::connected(to)).await {
        Err(_) => Err(silence(deadline, "TCP connection", PATIENCE_TO_CONNECT)),
        Ok(connected) => connected.map_err(|error| unconnected(&error)),
    }
}

fn unconnected(error: &io::Error) -> Cause {
    /// EAFNOSUPPORT of Linux, which has no `ErrorKind`: a kernel without IPv6.
    const FAMILY_NOT_SUPPORTED: i32 = 97;
    match error.kind() {
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => Cause::NoRoute(error.to_string()),
        _ if error.raw_os_error() == Some(FAMILY_NOT_SUPPORTED) => Cause::NoRoute(error.to_string()),
        io::ErrorKind::HostUnreachable => Cause::Unreachable("no route to the host".to_owned()),
        io::ErrorKind::ConnectionRefused => Cause::Lost("connection refused".to_owned()),
        io::ErrorKind::ConnectionReset => Cause::Lost("connection reset".to_owned()),
        io::ErrorKind::TimedOut => Cause::Silent("no TCP connection: timed out".to_owned()),
        _ => Cause::Lost(format!("no connection: {error}")),
    }
}

/// HOSTNAME, or the connection's own address as a literal (RFC 5321 section 4.1.3).
pub(super) fn introduction(cx: &Context, socket: &Socket) -> String {
    match (&cx.target.hostname, socket.local_address()) {
        (Some(hostname), _) => hostname.to_string(),
        (None, Ok(IpAddr::V4(address))) => format!("[{address}]"),
        (None, Ok(IpAddr::V6(address))) => format!("[IPv6:{address}]"),
        (None, Err(_)) => "[127.0.0.1]".to_owned(),
    }
}

/// EHLO; HELO for the server that does not know it (RFC 5321 section 3.2).
pub(super) async fn greeted<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<'_, S>,
    me: &str,
    no_ehlo: &mut Option<Reply>,
) -> Result<Reply, Cause> {
    wire.in_step()?;
    let mut reply = wire.command(&format!("EHLO {me}")).await?;
    wire.in_step()?;
    if reply.is_negative() {
        *no_ehlo = Some(reply);
        reply = wire.command(&format!("HELO {me}")).await?;
        wire.in_step()?;
    }
    welcome(reply)
}

pub(super) fn welcome(reply: Reply) -> Result<Reply, Cause> {
    if reply.is_positive() { Ok(reply) } else { Err(Cause::Unwelcome(reply)) }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    /// Who logs in where `able` says who could, whatever order they come in.
    async fn winners(able: &[bool]) -> Vec<usize> {
        let deadline = Deadline::after(Duration::from_secs(60));
        let mut coming = Vec::new();
        for (place, (mut turn, can)) in Turn::line(able.len(), deadline).into_iter().zip(able.to_vec()).enumerate() {
            coming.push(async move {
                let is_ours = can && turn.come().await;
                turn.leave().await;
                is_ours.then_some(place)
            });
        }
        coming.reverse();
        join_all(coming).await.into_iter().flatten().collect()
    }

    #[tokio::test]
    async fn the_first_that_can_logs_in() {
        assert_eq!(winners(&[true, true, true]).await, [0]);
        assert_eq!(winners(&[false, true, true]).await, [1]);
        assert_eq!(winners(&[false, false, true]).await, [2]);
        assert!(winners(&[false, false]).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_costs_half_of_the_time_and_no_second_login() {
        let mut line = Turn::line(2, Deadline::after(Duration::from_secs(60))).into_iter();
        let (mut silent, mut second) = (line.next().unwrap(), line.next().unwrap());
        let start = tokio::time::Instant::now();
        assert!(second.come().await);
        assert_eq!(start.elapsed().as_secs(), 30);
        assert!(!silent.come().await);
    }
}
