//! Lines out, replies in: under limits, with patience, and with a transcript.

use std::{io, time::Duration};

use futures_util::FutureExt;
use syntax::reply::{Line, Reply, line};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout_at},
};

use super::redaction::{Censor, Redaction};
use crate::net::{Deadline, tls::Refusal};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// RFC 5321 section 4.5.3.1.5 allows 512 octets a line; servers are forgiven more, not everything. In the exchange of
/// AUTH 12,288 octets have to do (RFC 4954 section 4).
const LONGEST_LINE: usize = 12 * 1024;

/// The whole reply, which may have many lines.
const LONGEST_REPLY: usize = 64 * 1024;
const MOST_LINES: usize = 512;

/// How far a dialogue has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The TCP connection.
    #[default]
    Connect,
    /// The server's greeting, and EHLO.
    Greeting,
    /// STARTTLS.
    StartTls,
    /// The TLS handshake.
    Handshake,
    /// EHLO after STARTTLS.
    Secured,
    /// AUTH.
    Login,
    /// MAIL FROM, RCPT TO, RSET.
    Envelope,
    /// QUIT.
    Quit,
}

/// Why a dialogue ended before its end.
#[derive(Clone, Debug)]
pub(crate) enum Cause {
    /// This machine has no way to such addresses.
    NoRoute(String),
    /// Nobody can be reached at this address.
    Unreachable(String),
    /// The connection was refused, reset or closed.
    Lost(String),
    /// Nothing came in time.
    Silent(String),
    /// A reply began, and did not end in time.
    Stalled(String),
    /// Something came that is no SMTP reply.
    NotSmtp(String),
    /// The server said no, or not now.
    Unwelcome(Reply),
    /// The TLS handshake failed.
    NoTls(Refusal),
}

/// Who said what, and when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transcript {
    pub(super) stage: Stage,
    lines: Vec<(Stage, String)>,
}

impl Transcript {
    /// What was said at `stages`, shortened.
    pub(crate) fn excerpt(&self, stages: &[Stage]) -> String {
        const MOST: usize = 40;
        const LONGEST: usize = 300;
        let mut said = self.lines.iter().filter(|(stage, _)| stages.contains(stage)).map(|(_, line)| line);
        let mut shown: Vec<String> =
            said.by_ref().take(MOST).map(|line| line.chars().take(LONGEST).collect()).collect();
        match said.count() {
            0 => {}
            more => shown.push(format!("({more} more lines)")),
        }
        shown.join("\n")
    }

    /// All that was said, shortened.
    pub(crate) fn all(&self) -> String {
        self.excerpt(&[Stage::Connect, Stage::Greeting, Stage::StartTls, Stage::Handshake, Stage::Secured, Stage::Quit])
    }

    fn note(&mut self, who: char, line: &str) {
        self.lines.push((self.stage, format!("{who}: {line}")));
    }
}

/// Our end of an SMTP dialogue.
pub(super) struct Wire<'a, S> {
    stream: S,
    unread: Vec<u8>,
    /// The lines of a reply that has not ended, as they came.
    received: Vec<String>,
    transcript: &'a mut Transcript,
    censor: Censor<'a>,
    /// What a look at the stream came upon.
    failure: Option<io::Error>,
    /// Whether a line with something of a secret in it was sent.
    has_confided: bool,
    deadline: Deadline,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Wire<'a, S> {
    pub(super) fn new(stream: S, transcript: &'a mut Transcript, redaction: &'a Redaction, deadline: Deadline) -> Self {
        Self {
            stream,
            unread: Vec::new(),
            received: Vec::new(),
            transcript,
            censor: Censor::new(redaction),
            failure: None,
            has_confided: false,
            deadline,
        }
    }

    /// The stream, and how many octets were received that nobody has read: more than none after STARTTLS is an attack,
    /// or a server that is open to one (RFC 3207 section 6).
    pub(super) fn into_parts(self) -> (S, usize) {
        (self.stream, self.unread.len())
    }

    /// What is done from here on.
    pub(super) fn enter(&mut self, stage: Stage) {
        self.transcript.stage = stage;
        if stage == Stage::Login {
            self.censor.confide();
        }
    }

    /// The reply that comes unasked.
    pub(super) async fn banner(&mut self) -> Result<Reply, Cause> {
        self.awaited("banner", "").await
    }

    /// The reply to `command`.
    pub(super) async fn command(&mut self, command: &str) -> Result<Reply, Cause> {
        self.transcript.note('C', command);
        let verb = command.split(' ').next().unwrap_or_default();
        self.awaited(&format!("reply to {verb}"), &format!("{command}\r\n")).await
    }

    /// The replies to `commands`, as far as they came: all commands go at once, which takes one round trip
    /// (RFC 2920 section 3.1).
    pub(super) async fn commands(&mut self, commands: &[String]) -> (Vec<Reply>, Result<(), Cause>) {
        let mut lines = String::new();
        for command in commands {
            self.transcript.note('C', command);
            lines.push_str(command);
            lines.push_str("\r\n");
        }
        let mut replies = Vec::new();
        for command in commands {
            let verb = command.split(' ').next().unwrap_or_default();
            match self.awaited(&format!("reply to {verb}"), &std::mem::take(&mut lines)).await {
                Ok(reply) => replies.push(reply),
                Err(cause) => return (replies, Err(cause)),
            }
        }
        (replies, Ok(()))
    }

    /// One reply a command (RFC 5321 section 4.1): with more, nobody knows which is whose. 421 may come at any time
    /// (section 3.8).
    pub(super) async fn in_step(&mut self) -> Result<(), Cause> {
        // What has come since, without waiting for it; the second look is after the runtime has asked the system.
        for _ in 0..2 {
            if self.unread.is_empty() && self.failure.is_none() {
                self.unread.reserve(LONGEST_LINE);
                self.failure = self.stream.read_buf(&mut self.unread).now_or_never().and_then(Result::err);
                tokio::task::yield_now().await;
            }
        }
        match self.unread.is_empty() || self.unread.starts_with(b"421") {
            true => Ok(()),
            false => Err(Cause::NotSmtp("more replies came than there were commands".to_owned())),
        }
    }

    /// When our own answer has to be ready.
    pub(super) fn due(&self) -> Instant {
        self.deadline.within(PATIENCE)
    }

    /// It was not: SCRAM hashes as often as the server wants.
    pub(super) fn overworked(&self) -> Cause {
        let why = waited(self.deadline, "answer of ours", PATIENCE);
        Cause::Silent(format!("{why}: the server asks for more hashing of the password than can be done in that time"))
    }

    /// The reply to the first of two commands that are sent in one piece.
    pub(super) async fn pipelined(&mut self, first: &str, second: &str) -> Result<Reply, Cause> {
        self.transcript.note('C', first);
        self.transcript.note('C', second);
        self.awaited(&format!("reply to {first}"), &format!("{first}\r\n{second}\r\n")).await
    }

    /// The reply to `line`, which holds a secret: the transcript has `shown` in its place.
    pub(super) async fn confide(&mut self, line: &str, shown: &str) -> Result<Reply, Cause> {
        self.transcript.note('C', shown);
        self.has_confided = true;
        let line = zeroize::Zeroizing::new(format!("{line}\r\n"));
        self.awaited("reply to AUTH", &line).await
    }

    /// Whether that has happened.
    pub(super) fn has_confided(&self) -> bool {
        self.has_confided
    }

    /// From here on challenges are not shown: of them and of their answers a password can be guessed.
    pub(super) fn veil(&mut self) {
        self.censor.veil();
    }

    /// Shows these octets no more, in whatever form they come back.
    pub(super) fn learn(&mut self, derived: &[u8]) {
        self.censor.learn(derived);
    }

    /// The lines that have come, as they may be shown, which is how the transcript has them.
    fn settled(&mut self) -> Vec<String> {
        let shown = self.censor.shown(&std::mem::take(&mut self.received));
        shown.iter().for_each(|line| self.transcript.note('S', line));
        shown
    }

    /// The beginning of something odd that the server said.
    fn sample(&mut self, said: &[u8]) -> String {
        let shown = self.censor.shown(&[String::from_utf8_lossy(said).into_owned()]);
        sample(&shown.concat())
    }

    /// Says goodbye, and does not wait for the answer (it would cost a round trip).
    pub(super) async fn quit(mut self) {
        self.transcript.lines.push((Stage::Quit, "C: QUIT".to_owned()));
        let patience = self.deadline.within(Duration::from_secs(1));
        let farewell = async {
            self.stream.write_all(b"QUIT\r\n").await?;
            self.stream.shutdown().await
        };
        // Whoever does not listen any more need not be told.
        let _ = timeout_at(patience, farewell).await;
    }

    async fn awaited(&mut self, what: &str, line: &str) -> Result<Reply, Cause> {
        let deadline = self.deadline;
        if deadline.is_over() {
            return Err(silence(deadline, what, PATIENCE));
        }
        let exchange = async {
            // A server that has hung up may have said why: what fails to be written is told by what cannot be read.
            let _ = self.stream.write_all(line.as_bytes()).await;
            let _ = self.stream.flush().await;
            self.reply(what).await
        };
        let outcome = match timeout_at(deadline.within(PATIENCE), exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.cut_short(what)),
        };
        // What came before it failed is shown too.
        outcome.inspect_err(|_| drop(self.settled()))
    }

    /// The reply as it may be shown; a challenge, which is answered, as it came.
    async fn reply(&mut self, what: &str) -> Result<Reply, Cause> {
        let code = self.lines(what).await?;
        let received = self.received.clone();
        let shown = self.settled();
        let lines = if code == 334 { received } else { shown };
        let text = |text: &String| line(text).map(|line| line.text.to_owned()).unwrap_or_default();
        Ok(Reply { code, lines: lines.iter().map(text).collect() })
    }

    /// Receives the lines of a reply, and returns their code.
    async fn lines(&mut self, what: &str) -> Result<u16, Cause> {
        let mut first = None;
        let mut octets = 0;
        loop {
            let text = self.line(what).await?;
            octets += text.len();
            let Some(Line { code, is_last, .. }) = line(&text) else {
                let sample = self.sample(text.as_bytes());
                self.received.push(text);
                return Err(Cause::NotSmtp(format!("the {what} is not SMTP: {sample}")));
            };
            self.received.push(text);
            let first = *first.get_or_insert(code);
            if first != code {
                return Err(Cause::NotSmtp(format!(
                    "the lines of the {what} have different codes, {first} and {code}"
                )));
            }
            let count = self.received.len();
            if octets > LONGEST_REPLY || count > MOST_LINES {
                return Err(Cause::NotSmtp(format!("the {what} does not end: {octets} octets in {count} lines")));
            }
            if is_last {
                return Ok(code);
            }
        }
    }

    /// One line without its end.
    async fn line(&mut self, what: &str) -> Result<String, Cause> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.unread.iter().skip(searched).position(|octet| *octet == b'\n') {
                let octets: Vec<u8> = self.unread.drain(..=searched + at).collect();
                return Ok(String::from_utf8_lossy(&octets).trim_end_matches(['\r', '\n']).to_owned());
            }
            searched = self.unread.len();
            if searched > LONGEST_LINE {
                let start = self.beginning_shown();
                return Err(Cause::NotSmtp(format!("the {what} has a line of over {LONGEST_LINE} octets: {start}")));
            }
            // All that has come, so that nothing sent in clear behind the reply to STARTTLS is taken for TLS.
            self.unread.reserve(LONGEST_LINE);
            let read = match self.failure.take() {
                Some(error) => Err(error),
                None => self.stream.read_buf(&mut self.unread).await,
            };
            match read {
                Ok(0) => return Err(self.hung_up(what, "closed")),
                Ok(_) => {}
                Err(error) => return Err(self.failed(what, &error)),
            }
        }
    }

    /// Our patience, or the audit, has ended; something may have come all the same.
    fn cut_short(&mut self, what: &str) -> Cause {
        let why = waited(self.deadline, what, PATIENCE);
        if self.unread.is_empty() {
            return Cause::Silent(why);
        }
        Cause::Stalled(format!("{why}, only the beginning of the {what}{}", self.beginning()))
    }

    /// What there is of a line, behind a colon: nothing where it may be a part of the secret.
    fn beginning(&mut self) -> String {
        match self.censor.is_confided() {
            true => String::new(),
            false => format!(": {}", self.beginning_shown()),
        }
    }

    fn beginning_shown(&mut self) -> String {
        let unread = std::mem::take(&mut self.unread);
        let sample = self.sample(&unread);
        self.unread = unread;
        sample
    }

    fn failed(&mut self, what: &str, error: &io::Error) -> Cause {
        match error.kind() {
            // rustls calls it so when a peer closes without close_notify.
            io::ErrorKind::UnexpectedEof => self.hung_up(what, "closed"),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => self.hung_up(what, "reset"),
            io::ErrorKind::TimedOut => Cause::Silent(format!("no {what}: {error}")),
            _ => Cause::Lost(format!("connection lost before the {what}: {error}")),
        }
    }

    fn hung_up(&mut self, what: &str, how: &str) -> Cause {
        match self.unread.is_empty() {
            true => Cause::Lost(format!("connection {how} before the {what}")),
            false => Cause::Lost(format!("connection {how} in the middle of the {what}{}", self.beginning())),
        }
    }
}

/// Why nothing came: the whole audit was over, or our patience.
pub(super) fn silence(deadline: Deadline, what: &str, patience: Duration) -> Cause {
    Cause::Silent(waited(deadline, what, patience))
}

fn waited(deadline: Deadline, what: &str, patience: Duration) -> String {
    match deadline.is_over() {
        true => deadline.reason().to_string(),
        false => format!("no {what} within {}", humantime::format_duration(patience)),
    }
}

/// The beginning of something odd.
fn sample(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", text.split_at(end).0),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;
    use crate::{Credentials, Login, Secret};

    /// What we make of a server that sends `octets` and hangs up.
    async fn heard(octets: &[u8]) -> Result<Reply, String> {
        let (ours, mut theirs) = duplex(4 * LONGEST_REPLY);
        theirs.write_all(octets).await.unwrap();
        drop(theirs);
        let (mut transcript, redaction) = (Transcript::default(), Redaction::of(None));
        let deadline = Deadline::after(Duration::from_secs(60));
        let mut wire = Wire::new(ours, &mut transcript, &redaction, deadline);
        wire.banner().await.map_err(|cause| match cause {
            Cause::NotSmtp(why) | Cause::Lost(why) | Cause::Silent(why) | Cause::Stalled(why) => why,
            other => format!("{other:?}"),
        })
    }

    #[tokio::test]
    async fn replies_as_servers_send_them() {
        for (octets, code, lines) in [
            (&b"220 mx.test ESMTP\r\n"[..], 220, vec!["mx.test ESMTP"]),
            (b"220-one\r\n220-\r\n220 three\r\n", 220, vec!["one", "", "three"]),
            (b"220\n", 220, vec![""]),
            (b"220 a\0b\x1b[2J\xff\r\n250 later\r\n", 220, vec!["a\0b\x1b[2J\u{fffd}"]),
            (b"220 bare\rreturn\r\n", 220, vec!["bare\rreturn"]),
        ] {
            let reply = heard(octets).await.unwrap();
            assert_eq!((reply.code, reply.lines), (code, lines.into_iter().map(str::to_owned).collect()));
        }
    }

    #[tokio::test]
    async fn what_is_no_reply_is_told_in_words() {
        let endless = b"220-again\r\n".repeat(600);
        let heavy = [b"220-".to_vec(), b"x".repeat(8000), b"\r\n".to_vec()].concat().repeat(9);
        let long = [b"220 ".to_vec(), b"x".repeat(100_000)].concat();
        for (octets, why) in [
            (&b""[..], "connection closed before the banner"),
            (b"220 ha", "connection closed in the middle of the banner: \"220 ha\""),
            (b"220-one\r\n", "connection closed before the banner"),
            (b"220-one\r\n250 two\r\n", "the lines of the banner have different codes, 220 and 250"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "the banner is not SMTP: \"SSH-2.0-OpenSSH_9.2\""),
            (b"\r\n", "the banner is not SMTP: \"\""),
            (b"\x16\x03\x01\0\n", "the banner is not SMTP: \"\\u{16}\\u{3}\\u{1}\\0\""),
            (&endless, "the banner does not end: 4617 octets in 513 lines"),
            (&heavy, "the banner does not end: 72036 octets in 9 lines"),
            (&long, "the banner has a line of over 12288 octets: \"220 xxx"),
        ] {
            let error = heard(octets).await.unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_and_so_does_the_audit() {
        for (budget, why) in [(60, "no banner within 30s"), (20, "no answer within 20s")] {
            let (ours, _theirs) = duplex(64);
            let (mut transcript, redaction) = (Transcript::default(), Redaction::of(None));
            let deadline = Deadline::after(Duration::from_secs(budget));
            let mut wire = Wire::new(ours, &mut transcript, &redaction, deadline);
            assert!(matches!(wire.banner().await, Err(Cause::Silent(said)) if said == why));
        }
    }

    #[tokio::test]
    async fn an_echo_does_not_cost_the_code() {
        let (ours, mut theirs) = duplex(1024);
        theirs.write_all(b"535-AGppcmEAaHVudGVyMg==\r\n535 no\r\n").await.unwrap();
        let login = Login::Password(Secret::new("hunter2".to_owned()));
        let redaction = Redaction::of(Some(&Credentials::new("jira".to_owned(), login)));
        let mut transcript = Transcript::default();
        let mut wire = Wire::new(ours, &mut transcript, &redaction, Deadline::after(Duration::from_secs(60)));
        wire.enter(Stage::Login);
        let reply = wire.confide("AUTH PLAIN AGppcmEAaHVudGVyMg==", "AUTH PLAIN <redacted>").await.unwrap();
        assert_eq!(reply.to_string(), "535 (withheld: it may hold the password)");
    }

    #[tokio::test]
    async fn the_transcript_holds_no_secret() {
        let (ours, mut theirs) = duplex(1024);
        theirs.write_all(b"535 no such password hunter2\r\n").await.unwrap();
        let login = Login::Password(Secret::new("hunter2".to_owned()));
        let redaction = Redaction::of(Some(&Credentials::new("jira".to_owned(), login)));
        let mut transcript = Transcript::default();
        let mut wire = Wire::new(ours, &mut transcript, &redaction, Deadline::after(Duration::from_secs(60)));
        wire.enter(Stage::Login);
        let reply = wire.confide("AUTH PLAIN AGppcmEAaHVudGVyMg==", "AUTH PLAIN <redacted>").await.unwrap();
        wire.quit().await;
        assert_eq!(reply.to_string(), "535 (withheld: it may hold the password)");
        assert_eq!(
            transcript.excerpt(&[Stage::Login, Stage::Quit]),
            "C: AUTH PLAIN <redacted>\nS: 535 (withheld: it may hold the password)\nC: QUIT"
        );
    }
}
