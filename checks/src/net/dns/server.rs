//! One DNS server: a few connected UDP sockets that carry many questions each, and TCP after truncation.

use std::{
    collections::HashMap,
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use hickory_resolver::proto::op::ResponseCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::{OnceCell, mpsc},
    task::AbortHandle,
    time::{Instant, timeout_at},
};

use super::{
    PATIENCE, Question, TRIES,
    wire::{self, Malformed, Reply},
};
use crate::net::Deadline;

/// How many sockets share the questions: ports and ids together are what a forger has to guess (RFC 5452 section 9).
const SOCKETS: usize = 4;

/// One DNS server.
pub(super) struct Server {
    address: SocketAddr,
    trusted: bool,
    /// Whether a message has come from it, be it an error.
    heard: AtomicBool,
    channels: [OnceCell<Channel>; SOCKETS],
    turn: AtomicUsize,
}

/// Why a server gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Timeout,
    ClosedPort,
    Unreachable(String),
    Code(ResponseCode, Option<String>),
    Malformed,
    /// Whatever came, nothing of it was a reply to the question.
    Mismatch,
    /// A reply to the question, with records that are no answer to it.
    Unfit,
    Referral,
    /// TC is set over TCP too, where there is room for everything.
    Truncated,
    TruncatedTcp(Box<Failure>),
}

impl Failure {
    /// What is wrong with a message that is no reply to the question, if nothing better follows.
    fn of_stray(message: &[u8]) -> Self {
        if wire::is_readable(message) { Self::Mismatch } else { Self::Malformed }
    }

    /// Whether the server may answer without EDNS: it does not know that (RFC 6891 section 7), or not this version, or says
    /// something else that only EDNS can carry.
    fn is_about_edns(&self) -> bool {
        match self {
            Self::Code(ResponseCode::FormErr | ResponseCode::NotImp, _) => true,
            Self::Code(code, _) => u16::from(*code) > 15,
            _ => false,
        }
    }

    /// Whether nothing came from the server.
    fn is_silence(&self) -> bool {
        matches!(self, Self::Timeout | Self::ClosedPort | Self::Unreachable(_))
    }
}

impl Server {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            trusted: address.ip().is_loopback(),
            heard: AtomicBool::new(false),
            channels: Default::default(),
            turn: AtomicUsize::new(0),
        }
    }

    /// Whether its AD bit is believed: between here and a server elsewhere anybody can set it (RFC 7672 section 2.2).
    pub(super) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Whether nothing has ever come from it.
    pub(super) fn is_deaf(&self) -> bool {
        !self.heard.load(Ordering::Relaxed)
    }

    pub(super) fn trust(&mut self) {
        self.trusted = true;
    }

    /// Asks over UDP, then over TCP where the answer was truncated. A failed try is followed by another.
    pub(super) async fn ask(&self, question: &Question, deadline: Deadline) -> Result<Reply, Failure> {
        let mut edns = true;
        let mut failure = Failure::Timeout;
        for _ in 0..TRIES {
            let reply = match self.over_udp(question, edns, deadline.within(PATIENCE)).await {
                Ok(reply) if reply.is_truncated() => {
                    let whole = self.over_tcp(question, edns, deadline.within(PATIENCE)).await;
                    whole.map_err(|failure| Failure::TruncatedTcp(Box::new(failure)))
                }
                udp => udp,
            };
            self.heard.fetch_or(!matches!(&reply, Err(failure) if failure.is_silence()), Ordering::Relaxed);
            match reply.and_then(|reply| usable(reply, question)) {
                Ok(reply) => return Ok(reply),
                Err(failed) => failure = failed,
            }
            if deadline.is_over() {
                break;
            }
            edns &= !failure.is_about_edns();
        }
        Err(failure)
    }

    async fn over_udp(&self, question: &Question, edns: bool, until: Instant) -> Result<Reply, Failure> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % SOCKETS;
        let cell = self.channels.get(turn).ok_or_else(|| Failure::Unreachable("no socket".to_owned()))?;
        let channel = cell.get_or_try_init(|| Channel::open(self.address)).await.map_err(Failure::from)?;
        channel.ask(question, edns, until).await
    }

    async fn over_tcp(&self, question: &Question, edns: bool, until: Instant) -> Result<Reply, Failure> {
        let id = rand::random();
        let query = wire::query(id, question, edns).map_err(|error| Failure::Unreachable(error.to_string()))?;
        let length = u16::try_from(query.len()).map_err(|_| Failure::Malformed)?;
        let mut failure = Failure::Timeout;
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            stream.write_all(&[&length.to_be_bytes(), query.as_slice()].concat()).await?;
            loop {
                let length = stream.read_u16().await?;
                let mut message = vec![0; usize::from(length)];
                stream.read_exact(&mut message).await?;
                match Reply::to(question, &message).filter(|_| wire::id(&message) == Some(id)) {
                    Some(reply) => return io::Result::Ok(reply),
                    None => failure = Failure::of_stray(&message),
                }
            }
        };
        let exchanged = timeout_at(until, exchange).await;
        match (exchanged, failure) {
            (Ok(Ok(Ok(reply))), _) if reply.is_truncated() => Err(Failure::Truncated),
            (Ok(Ok(reply)), _) => reply.map_err(Failure::from),
            (Ok(Err(error)), Failure::Timeout) => Err(error.into()),
            (Ok(Err(_)) | Err(_), failure) => Err(failure),
        }
    }
}

/// The reply, unless it is one that leaves the question open.
fn usable(reply: Reply, question: &Question) -> Result<Reply, Failure> {
    match reply.code() {
        ResponseCode::NoError if reply.is_referral() => Err(Failure::Referral),
        ResponseCode::NoError | ResponseCode::NXDomain if !reply.fits(question) => Err(Failure::Unfit),
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(reply),
        code => Err(Failure::Code(code, reply.extended_error())),
    }
}

/// A connected UDP socket, and who waits for which answer on it.
struct Channel {
    socket: Arc<UdpSocket>,
    waiting: Waiting,
    reader: AbortHandle,
}

type Waiting = Arc<Mutex<HashMap<u16, mpsc::UnboundedSender<Result<Vec<u8>, Failure>>>>>;

impl Channel {
    async fn open(server: SocketAddr) -> io::Result<Self> {
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        // Connected, so that a closed port is told from silence, and strangers cannot answer.
        socket.connect(server).await?;
        let (socket, waiting) = (Arc::new(socket), Waiting::default());
        let reader = tokio::spawn(read(Arc::clone(&socket), Arc::clone(&waiting))).abort_handle();
        Ok(Self { socket, waiting, reader })
    }

    async fn ask(&self, question: &Question, edns: bool, until: Instant) -> Result<Reply, Failure> {
        let (place, mut answers) = self.place();
        let query = wire::query(place.id, question, edns).map_err(|error| Failure::Unreachable(error.to_string()))?;
        if let Err(error) = self.socket.send(&query).await {
            // What the system reports here is the fate of a datagram sent before: whoever waits shares it.
            fail(&self.waiting, error.kind());
            return Err(error.into());
        }
        let mut failure = Failure::Timeout;
        while let Ok(Some(answer)) = timeout_at(until, answers.recv()).await {
            let message = answer?;
            match Reply::to(question, &message) {
                Some(reply) => return reply.map_err(Failure::from),
                // It may be forged: the wait goes on.
                None => failure = Failure::of_stray(&message),
            }
        }
        Err(failure)
    }

    /// A place among those who wait, under an id that nobody else has.
    fn place(&self) -> (Place<'_>, mpsc::UnboundedReceiver<Result<Vec<u8>, Failure>>) {
        let (sender, answers) = mpsc::unbounded_channel();
        let mut waiting = locked(&self.waiting);
        let mut id = rand::random();
        while waiting.contains_key(&id) {
            id = rand::random();
        }
        waiting.insert(id, sender);
        (Place { id, waiting: &self.waiting }, answers)
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// A place among those who wait; given up when dropped.
struct Place<'a> {
    id: u16,
    waiting: &'a Waiting,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        locked(self.waiting).remove(&self.id);
    }
}

/// Hands each message to whoever waits for its id, and each error to all who wait.
async fn read(socket: Arc<UdpSocket>, waiting: Waiting) {
    let mut buffer = vec![0; 4096];
    loop {
        match socket.recv(&mut buffer).await {
            Ok(length) => {
                let message = buffer.get(..length).unwrap_or_default();
                let id = wire::id(message);
                if let Some(waiter) = id.and_then(|id| locked(&waiting).get(&id).cloned()) {
                    let _ = waiter.send(Ok(message.to_vec()));
                }
            }
            Err(error) => fail(&waiting, error.kind()),
        }
    }
}

fn fail(waiting: &Waiting, kind: io::ErrorKind) {
    for waiter in locked(waiting).values() {
        // Who has stopped waiting does not care.
        let _ = waiter.send(Err(kind.into()));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<Malformed> for Failure {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl From<io::ErrorKind> for Failure {
    fn from(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::ConnectionRefused => Self::ClosedPort,
            io::ErrorKind::TimedOut => Self::Timeout,
            other => Self::Unreachable(other.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        error.kind().into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timeout"),
            Self::ClosedPort => f.write_str("no DNS server listens there (closed port)"),
            Self::Unreachable(why) => write!(f, "the DNS server cannot be reached ({why})"),
            Self::Code(code, detail) => {
                f.write_str(mnemonic(*code).as_str())?;
                detail.as_ref().map_or(Ok(()), |detail| write!(f, " ({detail})"))
            }
            Self::Malformed => f.write_str("malformed answer"),
            Self::Mismatch => f.write_str("no reply that fits the question"),
            Self::Unfit => f.write_str("records that are no answer to the question"),
            Self::Truncated => f.write_str("truncated again"),
            Self::Referral => f.write_str("a referral (the DNS server is not recursive, and the zone is not its own)"),
            Self::TruncatedTcp(failure) => write!(f, "truncated answer, and over TCP: {failure}"),
        }
    }
}

/// The RCODE as `dig` writes it (RFC 1035 section 4.1.1, RFC 2136 section 2.2, RFC 6891 section 9).
fn mnemonic(code: ResponseCode) -> String {
    match code {
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::NotAuth => "NOTAUTH".to_owned(),
        // hickory calls 16 by its other name, that of TSIG.
        other => match u16::from(other) {
            16 => "BADVERS".to_owned(),
            number => format!("RCODE {number}"),
        },
    }
}
