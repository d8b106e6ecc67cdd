//! Servers that others wrote, on loopback: started, awaited, and ended whatever happens.

use std::{
    fs::{self, File},
    io::{self, Read},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How long a server may take to answer for the first time, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// No server outlives this many seconds, even if nobody is left to end it.
const LIFETIME: &str = "300";

/// A server in the foreground; ended when dropped.
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `command`; what it says goes to a log in `scratch`.
    pub(crate) fn start(name: &'static str, command: &[&str], scratch: &Path) -> io::Result<Self> {
        let log = scratch.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let child = Command::new("timeout")
            .args(["--kill-after=5", LIFETIME])
            .args(command)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        Ok(Self { name, child, log })
    }

    /// Waits until `answers` says so.
    pub(crate) fn await_answer(&mut self, mut answers: impl FnMut() -> bool) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        while !answers() {
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || Instant::now() > until {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let how = ended.map_or_else(|| format!("not ready within {PATIENCE:?}"), |status| status.to_string());
                return Err(format!("{}: {how}\n{log}", self.name));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // `timeout` hands the signal on, and ends after the server.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let until = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > until {
                let _ = self.child.kill();
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whether somebody listens.
pub(crate) fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Whether an SMTP server greets.
pub(crate) fn greets(port: u16) -> bool {
    let greeting = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut code = [0; 3];
        stream.read_exact(&mut code)?;
        io::Result::Ok(code)
    };
    greeting().is_ok_and(|code| &code == b"220")
}

/// A port of 127.0.0.1 that is free for TCP and UDP, below those that the kernel hands out by itself.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 22_000 + u16::try_from(std::process::id() % 5_000).unwrap_or_default();
    loop {
        let port = start + NEXT.fetch_add(1, Ordering::Relaxed) % 5_000;
        let address = (Ipv4Addr::UNSPECIFIED, port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
}

/// What a tool says when run to its end, in 30 seconds at most.
pub(crate) fn output(command: &mut Command) -> io::Result<Output> {
    let mut bounded = Command::new("timeout");
    bounded.arg("30").arg(command.get_program()).args(command.get_args());
    bounded.envs(command.get_envs().filter_map(|(name, value)| value.map(|value| (name, value))));
    command.get_current_dir().map(|directory| bounded.current_dir(directory));
    bounded.stdin(Stdio::null()).output()
}
