//! Servers that no world can play, and one run of the program against them.

use std::{
    collections::HashSet,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// The messages that answer a query: its octets, and whether it came over TCP.
type Answering = dyn Fn(&[u8], bool) -> Vec<Vec<u8>>;

/// The queries that have come.
type Questions = Mutex<Vec<Vec<u8>>>;

/// A DNS server whose answer to each query is whatever a closure makes of it: no message, one, or several (over TCP each
/// with its length before it).
pub(crate) struct Resolver {
    pub(crate) address: SocketAddr,
    questions: Arc<Questions>,
}

impl Resolver {
    /// `answer` takes the query's octets and whether it came over TCP.
    pub(crate) fn open(answer: impl Fn(&[u8], bool) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        let (udp, tcp) = ports();
        let address = udp.local_addr().unwrap();
        let (answer, questions) = (Arc::new(answer), Arc::new(Mutex::new(Vec::new())));
        let (answers, asked) = (Arc::clone(&answer), Arc::clone(&questions));
        thread::spawn(move || {
            let mut buffer = vec![0; 65_535];
            while let Ok((length, client)) = udp.recv_from(&mut buffer) {
                asked.lock().unwrap().push(buffer[..length].to_vec());
                for message in answers(&buffer[..length], false) {
                    let _ = udp.send_to(&message, client);
                }
            }
        });
        let asked = Arc::clone(&questions);
        thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
                thread::spawn(move || over_tcp(stream, &*answer, &asked));
            }
        });
        Self { address, questions }
    }

    /// How many queries have come, retransmissions and TCP included.
    pub(crate) fn asked(&self) -> usize {
        self.questions.lock().unwrap().len()
    }

    /// How many different questions have come.
    pub(crate) fn distinct(&self) -> usize {
        // What is not the id and the flags.
        self.questions.lock().unwrap().iter().map(|query| query[12..].to_vec()).collect::<HashSet<_>>().len()
    }
}

fn ports() -> (UdpSocket, TcpListener) {
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}

fn over_tcp(mut stream: TcpStream, answer: &Answering, asked: &Questions) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut query).is_err() {
            return;
        }
        asked.lock().unwrap().push(query.clone());
        for message in answer(&query, true) {
            let length = u16::try_from(message.len()).unwrap().to_be_bytes();
            let _ = stream.write_all(&[&length, message.as_slice()].concat());
        }
    }
}

/// The address of a TCP server that plays `part` for everybody who connects; the number counts connections from 0.
pub(crate) fn server(part: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let part = Arc::new(part);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let part = Arc::clone(&part);
            thread::spawn(move || part(stream, number));
        }
    });
    address
}

/// What one run said, and what it cost.
#[derive(Debug)]
pub(crate) struct Run {
    /// None where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// How long it took: no promise, but a run that hangs is found.
    pub(crate) wall: Duration,
    /// The largest resident set that was seen, in octets.
    pub(crate) peak: u64,
}

/// Runs the program with these arguments, no environment and no input.
pub(crate) fn run(args: &[&str]) -> Run {
    finished(program().args(args))
}

/// The program without an environment.
pub(crate) fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_mail-preflight"));
    program.env_clear().stdin(Stdio::null());
    program
}

/// Runs `program` to its end.
pub(crate) fn finished(program: &mut Command) -> Run {
    let begun = Instant::now();
    let mut child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (status, peak) = (format!("/proc/{}/status", child.id()), Arc::new(AtomicU64::new(0)));
    let (seen, (mut stdout, mut stderr)) = (Arc::clone(&peak), (Vec::new(), Vec::new()));
    // What the system adds up for a parent counts what the parent itself had when it forked.
    let watch = thread::spawn(move || {
        while let Some(octets) = fs::read_to_string(&status).ok().as_deref().and_then(resident) {
            seen.fetch_max(octets, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(2));
        }
    });
    let reader = thread::spawn(move || out.read_to_end(&mut stdout).map(|_| stdout).unwrap());
    err.read_to_end(&mut stderr).unwrap();
    let stdout = reader.join().unwrap();
    watch.join().unwrap();
    Run {
        code: child.wait().unwrap().code(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
        wall: begun.elapsed(),
        peak: peak.load(Ordering::Relaxed),
    }
}

/// The most that was resident, in octets; nothing of a process that has ended.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

impl Run {
    /// The report of a run with `--format json`.
    pub(crate) fn report(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and message of the finding of `check` whose subject begins so.
    pub(crate) fn finding(&self, check: &str, subject: &str) -> (String, String) {
        let report = self.report();
        let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let is_it = |finding: &&Value| finding["check"] == check && word(finding, "subject").starts_with(subject);
        let found = report["findings"].as_array().into_iter().flatten().find(is_it);
        let found = found.unwrap_or_else(|| panic!("no {check} {subject:?} in {}", self.stdout));
        (word(found, "status"), word(found, "message"))
    }
}
