//! One dialogue with one address of a host: as far as it goes, nothing that was seen is lost.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime},
};

use futures_util::future::join;
use rustix::io::Errno;
use syntax::{address::Family, reply::Reply};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout_at,
};

use super::{
    Errand,
    demand::{Demand, Outcome, Proof, demanded},
    envelope::{self, Asked, Unasked},
    login::{Attempt, Mechanism, Selection, Withheld, log_in},
    probe,
    redaction::{Redaction, WITHHELD},
    route::Endpoint,
    turn::Turn,
    wire::{Cause, Stage, Transcript, Wire, silence},
};
use crate::{
    Context, Credentials, TlsLevel,
    net::{
        Deadline,
        tls::{self, Manner, Refusal, Session, Socket, Trust},
    },
};

/// How long a TCP connection may take.
const PATIENCE_TO_CONNECT: Duration = Duration::from_secs(10);

/// How long a TLS handshake may take.
pub(super) const PATIENCE_FOR_TLS: Duration = Duration::from_secs(30);

/// One dialogue with one address of a host.
#[derive(Debug)]
pub(crate) struct Dialogue {
    pub(crate) endpoint: Endpoint,
    /// What Postfix asks of TLS here.
    pub(crate) demand: Demand,
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
    pub(super) errand: Errand,
    pub(super) deadline: Deadline,
    pub(super) redaction: Redaction,
}

impl Dialogue {
    /// Nothing has been said.
    pub(super) fn new(endpoint: Endpoint, demand: Demand) -> Self {
        Self {
            endpoint,
            demand,
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
        let (socket, demand) = join(connected(endpoint.socket, script.deadline), script.demand(&endpoint)).await;
        let mut dialogue = Self::new(endpoint, demand);
        let mut transcript = Transcript::default();
        let talked = match socket {
            Ok(socket) => dialogue.talk(script, socket, &mut transcript, &mut turn).await,
            Err(cause) => Err(cause),
        };
        if let Err(cause) = talked {
            dialogue.broke = Some((transcript.stage, cause));
        }
        turn.leave().await;
        dialogue.transcript = transcript;
        if let (Some((Stage::Handshake, Cause::NoTls(refusal))), Errand::Relay) = (&dialogue.broke, script.errand) {
            dialogue.session = probe::overheard(&dialogue, script, refusal).await;
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

    async fn talk(
        &mut self,
        script: &Script<'_>,
        socket: Socket,
        transcript: &mut Transcript,
        turn: &mut Turn,
    ) -> Result<(), Cause> {
        let Some((socket, me)) = self.opened(script, socket, transcript, true).await? else { return Ok(()) };
        transcript.stage = Stage::Handshake;
        let stream = self.shake_hands(script, socket).await?;
        let mut wire = Wire::new(stream, transcript, &script.redaction, script.deadline);
        let outcome = self.talk_in_private(&mut wire, &me, script, turn).await;
        wire.quit().await;
        outcome
    }

    /// The connection on which TLS comes next, and who we are on it; none where there is no STARTTLS. What Postfix would
    /// say in clear then is said if `goes_on`.
    pub(super) async fn opened(
        &mut self,
        script: &Script<'_>,
        socket: Socket,
        transcript: &mut Transcript,
        goes_on: bool,
    ) -> Result<Option<(Socket, String)>, Cause> {
        let me = introduction(script.cx, &socket);
        if script.is_wrapped() {
            return Ok(Some((socket, me)));
        }
        let mut wire = Wire::new(socket, transcript, &script.redaction, script.deadline);
        let mut outcome = self.talk_in_clear(&mut wire, &me).await;
        // Postfix gives the mail to a server without TLS where it may do without.
        if goes_on && matches!(outcome, Ok(false)) && self.demand.is_optional() {
            outcome = self.offer_envelope(&mut wire, script).await.map(|()| false);
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
    ) -> Result<bool, Cause> {
        wire.enter(Stage::Greeting);
        self.banner = Some(welcome(wire.banner().await?)?);
        let greeting = greeted(wire, me, &mut self.no_ehlo).await?;
        let greeting = self.greeting.insert(greeting);
        if matches!(self.demand.proof, Proof::Cleartext) || !greeting.offers("STARTTLS") {
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
            .map_err(|refusal| script.refused(refusal))?;
        self.session = Some(script.presentable(session)?);
        Ok(stream)
    }

    /// The banner, where TLS came first; EHLO, and AUTH where it is this dialogue's turn.
    async fn talk_in_private<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<'_, S>,
        me: &str,
        script: &Script<'_>,
        turn: &mut Turn,
    ) -> Result<(), Cause> {
        wire.enter(if self.banner.is_none() { Stage::Greeting } else { Stage::Secured });
        if self.banner.is_none() {
            self.banner = Some(welcome(wire.banner().await?)?);
        }
        let greeting = greeted(wire, me, &mut self.no_ehlo).await?;
        let offered = self.secured.insert(greeting).mechanisms();
        self.login = Some(match self.permitted(script, &offered) {
            Err(why) => Attempt::Withheld(why),
            Ok(_) if !turn.come().await => Attempt::Withheld(Withheld::Elsewhere),
            Ok((mechanism, credentials)) => {
                wire.enter(Stage::Login);
                let binding = self.session.as_ref().and_then(|session| session.binding.as_ref());
                log_in(wire, mechanism, credentials, binding).await?
            }
        });
        self.offer_envelope(wire, script).await
    }

    /// MAIL FROM and RCPT TO, where Postfix would send mail.
    async fn offer_envelope<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<'_, S>,
        script: &Script<'_>,
    ) -> Result<(), Cause> {
        let greeting = match (self.unasked(script), self.secured.as_ref().or(self.greeting.as_ref())) {
            (None, Some(greeting)) => greeting,
            (why, _) => {
                self.asked = why.map(Asked::Not);
                return Ok(());
            }
        };
        wire.enter(Stage::Envelope);
        envelope::asked(wire, script.cx, greeting, &mut self.asked).await
    }

    /// Why nothing is asked about the envelope here.
    fn unasked(&self, script: &Script<'_>) -> Option<Unasked> {
        let cx = script.cx;
        if cx.target.recipients.is_empty() || script.errand != Errand::Relay {
            return Some(Unasked::NoRecipients);
        }
        match &self.login {
            Some(attempt) if attempt.is_accepted() => return None,
            Some(Attempt::Withheld(Withheld::Elsewhere)) => return Some(Unasked::Elsewhere),
            _ if cx.target.sasl.is_some() => return Some(Unasked::NoLogin),
            _ => {}
        }
        let is_delivered = match &self.session {
            Some(session) => self.demand.outcome(session, cx.now) == Some(Outcome::Deliver),
            None => self.demand.is_optional(),
        };
        (!is_delivered).then_some(Unasked::Unverified)
    }

    /// What to log in with, if nothing speaks against a login here.
    fn permitted<'a>(&self, script: &Script<'a>, offered: &[String]) -> Result<(Mechanism, &'a Credentials), Withheld> {
        let Script { cx, errand, .. } = *script;
        let credentials = cx.target.sasl.as_ref().filter(|_| errand == Errand::Relay);
        let credentials = credentials.ok_or(Withheld::NoCredentials)?;
        if offered.is_empty() {
            return Err(Withheld::NotOffered);
        }
        let mechanism = self.selection(credentials, offered).chosen.ok_or(Withheld::NoMechanism)?;
        let policy = &cx.target.tls;
        // Whoever typed `may` or `encrypt` has asked for what Postfix does: the password goes to anybody.
        if !(policy.level_typed && matches!(policy.level, TlsLevel::May | TlsLevel::Encrypt)) {
            self.verified(self.session.as_ref().ok_or(Withheld::Untrusted)?, cx)?;
        }
        match credentials.barred_until {
            Some(_) => Err(Withheld::Barred),
            None => Ok((mechanism, credentials)),
        }
    }

    /// Whether the certificate is trusted and the right one, and the server has its key: by what the level asks for, or
    /// where it asks for nothing, by its issuer and its name.
    pub(crate) fn verified(&self, session: &Session, cx: &Context) -> Result<(), Withheld> {
        // SOURCE_DATE_EPOCH moves the clock of the checks; a certificate that has run out has run out all the same.
        let today = SystemTime::now();
        let is_trusted = match self.demand.proof {
            _ if session.unproved.is_some() || session.has_broken_hash() => false,
            // MX records that are not signed may lead to a stranger with TLSA records of his own: "Trusted".
            Proof::Digests(_) | Proof::Tlsa { .. } => {
                [cx.now, today].iter().all(|now| self.demand.trust(session, *now) == Some(Trust::Verified))
            }
            Proof::Unmet(_) => false,
            _ => session.is_trusted(true) && session.is_valid_at(today),
        };
        match is_trusted {
            false => Err(Withheld::Untrusted),
            true if self.demand.is_named(session, cx, &self.endpoint) => Ok(()),
            true => Err(Withheld::Misnamed),
        }
    }

    /// Which of the mechanisms `offered` here would log `credentials` in.
    pub(crate) fn selection(&self, credentials: &Credentials, offered: &[String]) -> Selection {
        let is_bound = self.session.as_ref().is_some_and(|session| session.binding.is_some());
        Selection::of(credentials, offered, is_bound)
    }
}

impl Script<'_> {
    /// Whether TLS comes first.
    pub(super) fn is_wrapped(&self) -> bool {
        self.errand == Errand::Relay && self.cx.target.tls.wrappermode
    }

    /// Why there is no TLS, without what a server that knows the password may have put there.
    pub(super) fn refused(&self, refusal: Refusal) -> Cause {
        Cause::NoTls(match refusal {
            Refusal::NotTls(sample) if self.redaction.is_betrayed_in(&sample) => Refusal::NotTls(WITHHELD.to_owned()),
            other => other,
        })
    }

    /// The session, unless the password may be read out of its certificates.
    pub(super) fn presentable(&self, session: Session) -> Result<Session, Cause> {
        match self.redaction.is_certified_in(&session.texts()) {
            true => Err(Cause::NoTls(Refusal::Broken(format!("the server's certificate is not shown {WITHHELD}")))),
            false => Ok(session),
        }
    }

    async fn demand(&self, endpoint: &Endpoint) -> Demand {
        match self.errand {
            Errand::Relay => demanded(self.cx, endpoint).await,
            Errand::Exchange => Demand::OPPORTUNISTIC,
        }
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
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    match error.kind() {
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => Cause::NoRoute(error.to_string()),
        _ if error.raw_os_error() == Some(FAMILY_NOT_SUPPORTED) => Cause::NoRoute(error.to_string()),
        io::ErrorKind::HostUnreachable => Cause::Unreachable("no route to the host".to_owned()),
        io::ErrorKind::ConnectionRefused => Cause::Lost("connection refused".to_owned()),
        io::ErrorKind::ConnectionReset => Cause::Lost("connection reset".to_owned()),
        io::ErrorKind::TimedOut => Cause::Silent("no TCP connection: timed out".to_owned()),
        // What this machine is short of says nothing about the other.
        _ if shortages.iter().any(|short| Some(short.raw_os_error()) == error.raw_os_error()) => {
            Cause::Silent(format!("no connection: {error}"))
        }
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
    wire.in_step().await?;
    let mut reply = wire.command(&format!("EHLO {me}")).await?;
    wire.in_step().await?;
    if reply.is_negative() {
        *no_ehlo = Some(reply);
        reply = wire.command(&format!("HELO {me}")).await?;
        wire.in_step().await?;
    }
    welcome(reply)
}

pub(super) fn welcome(reply: Reply) -> Result<Reply, Cause> {
    if reply.is_positive() { Ok(reply) } else { Err(Cause::Unwelcome(reply)) }
}
