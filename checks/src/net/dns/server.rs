//! One DNS server: a few connected UDP sockets that carry many questions each, and TCP after truncation.

use std::{
    collections::HashMap,
    io,
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
use crate::net::{Deadline, Silence};

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
    pub(super) async fn ask(&self, question: &Question, deadline: Deadline) -> Result<Reply, Silence> {
        let mut edns = true;
        let mut failure = Silence::Timeout;
        for _ in 0..TRIES {
            let reply = match self.over_udp(question, edns, deadline.within(PATIENCE)).await {
                Ok(reply) if reply.is_truncated() => {
                    let whole = self.over_tcp(question, edns, deadline.within(PATIENCE)).await;
                    whole.map_err(|failure| Silence::TruncatedTcp(Box::new(failure)))
                }
                udp => udp,
            };
            self.heard.fetch_or(!matches!(&reply, Err(failure) if failure.is_mute()), Ordering::Relaxed);
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

    async fn over_udp(&self, question: &Question, edns: bool, until: Instant) -> Result<Reply, Silence> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % SOCKETS;
        let cell = self.channels.get(turn).ok_or_else(|| Silence::Unreachable("no socket".to_owned()))?;
        let channel = cell.get_or_try_init(|| Channel::open(self.address)).await.map_err(Silence::from)?;
        channel.ask(question, edns, until).await
    }

    async fn over_tcp(&self, question: &Question, edns: bool, until: Instant) -> Result<Reply, Silence> {
        let id = rand::random();
        let query = wire::query(id, question, edns).map_err(|error| Silence::Unreachable(error.to_string()))?;
        let length = u16::try_from(query.len()).map_err(|_| Silence::Malformed)?;
        let mut failure = Silence::Timeout;
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
                    None => failure = stray(&message),
                }
            }
        };
        let exchanged = timeout_at(until, exchange).await;
        match (exchanged, failure) {
            (Ok(Ok(Ok(reply))), _) if reply.is_truncated() => Err(Silence::Truncated),
            (Ok(Ok(reply)), _) => reply.map_err(Silence::from),
            (Ok(Err(error)), Silence::Timeout) => Err(error.into()),
            (Ok(Err(_)) | Err(_), failure) => Err(failure),
        }
    }
}

/// The reply, unless it is one that leaves the question open.
fn usable(reply: Reply, question: &Question) -> Result<Reply, Silence> {
    match reply.code() {
        ResponseCode::NoError if reply.is_referral() => Err(Silence::Referral),
        ResponseCode::NoError | ResponseCode::NXDomain if !reply.fits(question) => Err(Silence::Unfit),
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(reply),
        code => Err(Silence::Code(code.into(), reply.extended_error())),
    }
}

/// What is wrong with a message that is no reply to the question, if nothing better follows.
fn stray(message: &[u8]) -> Silence {
    if wire::is_readable(message) { Silence::Mismatch } else { Silence::Malformed }
}

/// A connected UDP socket, and who waits for which answer on it.
struct Channel {
    socket: Arc<UdpSocket>,
    waiting: Waiting,
    reader: AbortHandle,
}

type Waiting = Arc<Mutex<HashMap<u16, mpsc::UnboundedSender<Result<Vec<u8>, Silence>>>>>;

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

    async fn ask(&self, question: &Question, edns: bool, until: Instant) -> Result<Reply, Silence> {
        let (place, mut answers) = self.place();
        let query = wire::query(place.id, question, edns).map_err(|error| Silence::Unreachable(error.to_string()))?;
        if let Err(error) = self.socket.send(&query).await {
            // What the system reports here is the fate of a datagram sent before: whoever waits shares it.
            fail(&self.waiting, error.kind());
            return Err(error.into());
        }
        let mut failure = Silence::Timeout;
        while let Ok(Some(answer)) = timeout_at(until, answers.recv()).await {
            let message = answer?;
            match Reply::to(question, &message) {
                Some(reply) => return reply.map_err(Silence::from),
                // It may be forged: the wait goes on.
                None => failure = stray(&message),
            }
        }
        Err(failure)
    }

    /// A place among those who wait, under an id that nobody else has.
    fn place(&self) -> (Place<'_>, mpsc::UnboundedReceiver<Result<Vec<u8>, Silence>>) {
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

impl From<Malformed> for Silence {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}
