//! One HTTPS GET, as RFC 8461 section 3.3 wants it: port 443, no redirects, a certificate that is trusted, and limits.

use std::{
    error::Error,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1,
    header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HOST, LOCATION, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use syntax::{Host, Name, NextHop, shell};
use tokio::{sync::OnceCell, task::JoinSet, time::timeout_at};

use super::{
    Deadline,
    aside::aside,
    memo::Memo,
    smtp::{Cause, Endpoint, Lost, connected, located},
    tls::{self, Anchors, Fault, Manner, Refusal, Session, Socket, Wanted},
};
use crate::{Context, Evidence};

/// The only port (RFC 8461 section 3.3).
const PORT: u16 = 443;

/// How many addresses are tried before the server counts as out of reach.
const MOST_ADDRESSES: usize = 20;

/// From the handshake to the last octet: "a suggested timeout is one minute" (RFC 8461 section 3.3).
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest body that senders take: "a suggested maximum policy size is 64 kilobytes" (RFC 8461 section 3.3).
pub(crate) const LARGEST_BODY: usize = 64 * 1024;

/// The longest head of an answer.
const LARGEST_HEAD: usize = 64 * 1024;

/// How much of a header field's value is kept.
const LONGEST_VALUE: usize = 200;

/// What is fetched from web servers, each thing once a run.
pub struct Https {
    deadline: Deadline,
    anchors: OnceCell<Anchors>,
    fetches: Memo<(Name, &'static str), Arc<Fetch>>,
}

/// What came of a GET.
#[derive(Debug)]
pub(crate) struct Fetch {
    /// What was to be fetched.
    pub(crate) url: String,
    /// The addresses before the one that took the connection.
    pub(crate) misses: Vec<(IpAddr, Cause)>,
    /// How many addresses more there are than are tried.
    pub(crate) untried: usize,
    /// The TLS session, where there was one.
    pub(crate) session: Option<Session>,
    /// The answer, or what there was instead.
    pub(crate) outcome: Result<Response, Obstacle>,
    /// The address that took the connection.
    endpoint: Option<Endpoint>,
}

/// A web server's answer.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The status with its usual phrase.
    pub(crate) status_line: String,
    pub(crate) content_type: Option<String>,
    /// A compression, which nobody has asked for.
    pub(crate) encoding: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Obstacle {
    /// No address is known.
    Nowhere(Lost),
    /// No address took the connection: see the misses.
    Unconnected,
    /// The TLS handshake failed.
    NoTls(Refusal),
    /// There is no trust anchor to judge a certificate by; nothing was asked.
    NoAnchors,
    /// The certificate has no path to a trust anchor; nothing was asked.
    Untrusted(Vec<Fault>),
    /// The certificate is for others; nothing was asked.
    Misnamed(Vec<String>),
    /// Nothing came in time.
    Silent(String),
    /// The body is longer than [`LARGEST_BODY`].
    TooLarge,
    /// What came is no HTTP, or was cut short.
    Broken(String),
}

impl Https {
    /// Nothing has been fetched.
    pub fn new(deadline: Deadline) -> Self {
        Self { deadline, anchors: OnceCell::new(), fetches: Memo::new() }
    }

    /// What `https://HOST/PATH` answers.
    pub(crate) async fn fetch(&self, cx: &Context, host: &Name, path: &'static str) -> Arc<Fetch> {
        self.fetches.answer((host.clone(), path), async || Arc::new(self.get(cx, host, path).await)).await
    }

    async fn get(&self, cx: &Context, host: &Name, path: &str) -> Fetch {
        let mut fetch = Fetch {
            url: format!("https://{host}{path}"),
            misses: Vec::new(),
            untried: 0,
            session: None,
            outcome: Err(Obstacle::Unconnected),
            endpoint: None,
        };
        let server = Host::Name(host.clone());
        let hop = NextHop { host: server.clone(), port: PORT, bracketed: true };
        let (endpoints, anchors) = join(located(cx, &hop, server), self.anchors(cx)).await;
        let endpoints = match endpoints {
            Ok(endpoints) => endpoints,
            Err(lost) => return Fetch { outcome: Err(Obstacle::Nowhere(lost)), ..fetch },
        };
        fetch.untried = endpoints.len().saturating_sub(MOST_ADDRESSES);
        for endpoint in endpoints.into_iter().take(MOST_ADDRESSES) {
            match connected(endpoint.socket, self.deadline).await {
                Err(cause) => fetch.misses.push((endpoint.address, cause)),
                Ok(socket) => {
                    fetch.endpoint = Some(endpoint);
                    let asking = asked(cx, host, path, socket, anchors, &mut fetch.session);
                    fetch.outcome = match timeout_at(self.deadline.within(PATIENCE), asking).await {
                        Ok(outcome) => outcome,
                        Err(_) if self.deadline.is_over() => Err(Obstacle::Silent(self.deadline.reason().to_string())),
                        Err(_) => {
                            let patience = humantime::format_duration(PATIENCE);
                            Err(Obstacle::Silent(format!("no answer within {patience}")))
                        }
                    };
                    break;
                }
            }
        }
        fetch
    }

    /// The system's trust anchors, and those that were typed; they are read while DNS is asked.
    async fn anchors(&self, cx: &Context) -> &Anchors {
        let typed = &cx.target.tls.anchors;
        let load = async || {
            let both = typed.clone();
            aside(move || both.with_system()).await.unwrap_or_else(|| typed.clone())
        };
        self.anchors.get_or_init(load).await
    }
}

impl Fetch {
    /// What was seen, and how to see it.
    pub(crate) fn evidence(&self) -> Vec<Evidence> {
        let missed =
            self.misses.iter().map(|(address, cause)| self.curl(Some(*address), format!("({})", words(cause))));
        let mut evidence: Vec<Evidence> = missed.collect();
        let openssl = |output: String| Evidence { command: self.openssl(), output };
        match (&self.outcome, &self.session) {
            (Ok(response), _) => evidence.push(self.curl(None, response.shown())),
            (Err(Obstacle::Nowhere(lost)), _) => evidence.extend(lost.evidence.clone()),
            (Err(Obstacle::NoAnchors | Obstacle::Untrusted(_) | Obstacle::Misnamed(_)), Some(session)) => {
                evidence.push(openssl(session.shown()));
            }
            (Err(Obstacle::NoTls(refusal)), _) => evidence.push(openssl(format!("({refusal})"))),
            (Err(Obstacle::Silent(why) | Obstacle::Broken(why)), _) => {
                evidence.push(self.curl(None, format!("({why})")));
            }
            (Err(Obstacle::TooLarge), _) => {
                evidence.push(self.curl(None, format!("(more than {LARGEST_BODY} octets)")));
            }
            (Err(Obstacle::Unconnected | Obstacle::NoAnchors | Obstacle::Untrusted(_) | Obstacle::Misnamed(_)), _) => {}
        }
        evidence
    }

    /// The lines of the answer that begin with `key`, and how to see them.
    pub(crate) fn lines(&self, key: &str) -> Evidence {
        let body = self.outcome.as_ref().map(|response| String::from_utf8_lossy(&response.body)).unwrap_or_default();
        let lines = shortened(body.lines().filter(|line| line.starts_with(key)));
        Evidence { command: format!("curl -sS {} | grep ^{key}", quoted_url(&self.url)), output: lines.join("\n") }
    }

    fn curl(&self, at: Option<IpAddr>, output: String) -> Evidence {
        let host = self.url.split('/').nth(2).unwrap_or_default();
        let at = match at {
            None => String::new(),
            Some(IpAddr::V4(address)) => format!(" --resolve {}", shell::word(&format!("{host}:{PORT}:{address}"))),
            Some(IpAddr::V6(address)) => format!(" --resolve {}", shell::word(&format!("{host}:{PORT}:[{address}]"))),
        };
        Evidence { command: format!("curl -sSi{at} {}", quoted_url(&self.url)), output }
    }

    fn openssl(&self) -> String {
        let Some(Endpoint { host, port, address, .. }) = &self.endpoint else { return "openssl s_client".to_owned() };
        let to = SocketAddr::new(*address, *port);
        format!("openssl s_client -connect {to} -servername {} -showcerts", shell::word(&host.to_string()))
    }
}

impl Response {
    /// The answer, shortened.
    fn shown(&self) -> String {
        let field = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name}: {value}"));
        let body = String::from_utf8_lossy(&self.body);
        let head = [
            Some(self.status_line.replacen("HTTP", "HTTP/1.1", 1)),
            field("Content-Type", &self.content_type),
            field("Content-Encoding", &self.encoding),
            field("Location", &self.location),
        ];
        let mut shown: Vec<String> = head.into_iter().flatten().chain([String::new()]).collect();
        shown.extend(shortened(body.lines()));
        shown.join("\n").trim_end().to_owned()
    }
}

/// The first few of many lines, and of each what fits.
fn shortened<'a>(mut lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    const MOST_LINES: usize = 30;
    const LONGEST_LINE: usize = 200;
    let mut shown: Vec<String> =
        lines.by_ref().take(MOST_LINES).map(|line| line.chars().take(LONGEST_LINE).collect()).collect();
    match lines.count() {
        0 => {}
        more => shown.push(format!("({more} more lines)")),
    }
    shown
}

/// Why there is no connection, in words.
pub(crate) fn words(cause: &Cause) -> String {
    match cause {
        Cause::NoRoute(why)
        | Cause::Unreachable(why)
        | Cause::Lost(why)
        | Cause::Silent(why)
        | Cause::Stalled(why)
        | Cause::NotSmtp(why) => why.clone(),
        Cause::Unwelcome(reply) => reply.to_string(),
        Cause::NoTls(refusal) => refusal.to_string(),
    }
}

/// A URL for a shell; its host comes from a name that DNS could hold, so anything may be in it.
fn quoted_url(url: &str) -> String {
    match url.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:/".contains(c)) {
        true => url.to_owned(),
        false => shell::word(url),
    }
}

/// The handshake, a look at the certificate, and only then the question.
async fn asked(
    cx: &Context,
    host: &Name,
    path: &str,
    socket: Socket,
    anchors: &Anchors,
    seen: &mut Option<Session>,
) -> Result<Response, Obstacle> {
    let manner = Manner::fresh().map_err(Obstacle::NoTls)?;
    let server = Host::Name(host.clone());
    let (stream, session) = tls::connect(socket, &server, &manner, anchors, cx.now).await.map_err(Obstacle::NoTls)?;
    let session = seen.insert(session);
    if let Some(doubt) = session.doubt() {
        return Err(Obstacle::Silent(doubt));
    }
    if anchors.are_none() {
        return Err(Obstacle::NoAnchors);
    }
    if !session.faults.is_empty() {
        return Err(Obstacle::Untrusted(session.faults.clone()));
    }
    // "Matching is performed only against the DNS-ID identifiers" (RFC 8461 section 3.3): no common name.
    let wanted = [Wanted::Host(host.to_string())];
    if session.names.are_common() || session.names.matching(&wanted).is_none() {
        return Err(Obstacle::Misnamed(session.names.all()));
    }
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(LARGEST_HEAD)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    // Ends with this function, whatever the server does.
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let request = Request::get(path)
        .header(HOST, host.to_string())
        .header(USER_AGENT, concat!("mail-preflight/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "text/plain")
        .body(Empty::new())
        .map_err(|error| Obstacle::Broken(error.to_string()))?;
    let (head, body) = sender.send_request(request).await.map_err(|error| broken(&error))?.into_parts();
    let field = |name| {
        let value = head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        value.map(|value| value.chars().take(LONGEST_VALUE).collect::<String>())
    };
    let mut response = Response {
        status: head.status.as_u16(),
        status_line: format!("HTTP {} {}", head.status.as_u16(), head.status.canonical_reason().unwrap_or_default())
            .trim_end()
            .to_owned(),
        content_type: field(CONTENT_TYPE),
        encoding: field(CONTENT_ENCODING),
        location: field(LOCATION),
        body: Vec::new(),
    };
    match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => response.body = body.to_bytes().to_vec(),
        // What an error page says does not matter.
        Err(_) if response.status != 200 => {}
        Err(error) if error.is::<LengthLimitError>() => return Err(Obstacle::TooLarge),
        Err(_) => return Err(Obstacle::Broken("connection closed in the middle of the answer".to_owned())),
    }
    Ok(response)
}

fn broken(error: &hyper::Error) -> Obstacle {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    Obstacle::Broken(if error.is_parse() {
        format!("the answer is no HTTP/1.1: {error}")
    } else if cause.is_some_and(|kind| kind != io::ErrorKind::UnexpectedEof) {
        "connection reset before the answer".to_owned()
    } else {
        "connection closed before the answer".to_owned()
    })
}
