//! Asks for a secret on the terminal, which stops showing what is typed before it shows the prompt. Whatever signal ends
//! or stops the program meanwhile, the terminal shows again what is typed.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal, Read, Write},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr},
};
use signal_hook::{
    consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP},
    flag,
    low_level::{emulate_default_handler, pipe},
};

/// A terminal hands over no longer line (N_TTY_BUF_SIZE of Linux).
const LONGEST_LINE: usize = 4096;

/// Whether there is somebody to ask.
pub(crate) fn is_possible() -> bool {
    io::stdin().is_terminal()
}

/// The line that is typed behind `question`, without its end.
pub(crate) fn answer(question: &str) -> io::Result<String> {
    let mut signals = Signals::caught()?;
    let mut terminal = Silent::open()?;
    loop {
        if let Some(signal) = signals.taken() {
            terminal.show();
            // Only from a stop there is a way back.
            emulate_default_handler(signal)?;
            continue;
        }
        terminal.hide()?;
        terminal.file.write_all(question.as_bytes())?;
        if signals.spare(&terminal.file)? {
            break;
        }
    }
    // One read takes the whole line, and what it fills becomes the secret: there is no second copy to wipe.
    let mut line = vec![0; LONGEST_LINE];
    let length = terminal.file.read(&mut line)?;
    line.truncate(length);
    // It hands over no more of a longer one.
    if length == LONGEST_LINE {
        line.fill(0);
        return Err(io::Error::other("the line is longer than a terminal takes"));
    }
    line.pop_if(|last| *last == b'\n');
    String::from_utf8(line).map_err(|_| io::Error::other("what was typed is not UTF-8"))
}

/// A terminal that can be kept from showing what is typed, until this is dropped.
struct Silent {
    file: File,
    before: Termios,
    is_hidden: bool,
}

impl Silent {
    fn open() -> io::Result<Self> {
        // Without a controlling terminal there is no /dev/tty; standard input is a terminal all the same.
        let open = |path| OpenOptions::new().read(true).write(true).open(path);
        let file = open("/dev/tty").or_else(|_| open("/dev/stdin"))?;
        let before = tcgetattr(&file)?;
        Ok(Self { file, before, is_hidden: false })
    }

    /// Whoever has stopped the program meanwhile may have switched the echo on again.
    fn hide(&mut self) -> io::Result<()> {
        let mut silent = self.before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        self.is_hidden = true;
        Ok(tcsetattr(&self.file, OptionalActions::Now, &silent)?)
    }

    /// A terminal that is gone needs neither echo nor line end.
    fn show(&mut self) {
        if std::mem::take(&mut self.is_hidden) {
            let _ = tcsetattr(&self.file, OptionalActions::Now, &self.before);
            let _ = self.file.write_all(b"\n");
        }
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.show();
    }
}

/// The signals that end, stop or resume the program from its terminal, kept from doing so until this is dropped.
struct Signals {
    /// The number of one that ends it, 0 if none came.
    ending: Arc<AtomicUsize>,
    is_stopping: Arc<AtomicBool>,
    woken: UnixStream,
    is_over: Arc<AtomicBool>,
}

impl Signals {
    fn caught() -> io::Result<Self> {
        let (woken, waker) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        let signals = Self { ending: Arc::default(), is_stopping: Arc::default(), woken, is_over: Arc::default() };
        for signal in [SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGTSTP] {
            flag::register_conditional_default(signal, Arc::clone(&signals.is_over))?;
        }
        for signal in [SIGINT, SIGQUIT, SIGTERM, SIGHUP] {
            flag::register_usize(signal, Arc::clone(&signals.ending), usize::try_from(signal).unwrap_or_default())?;
        }
        flag::register(SIGTSTP, Arc::clone(&signals.is_stopping))?;
        for signal in [SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGTSTP, SIGCONT] {
            pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(signals)
    }

    /// Waits for `terminal` or for a signal: whether the terminal has something to read, and no signal has come.
    fn spare(&self, terminal: &File) -> io::Result<bool> {
        let mut awaited = [PollFd::new(terminal, PollFlags::IN), PollFd::new(&self.woken, PollFlags::IN)];
        match poll(&mut awaited, None) {
            Ok(_) => Ok(awaited.map(|one| one.revents().is_empty()) == [false, true]),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The signal that has come and is to do what it does.
    fn taken(&mut self) -> Option<i32> {
        // Before the flags are looked at: who comes later wakes again.
        while matches!(self.woken.read(&mut [0; 64]), Ok(1..)) {}
        match i32::try_from(self.ending.swap(0, Ordering::SeqCst)) {
            Ok(signal @ 1..) => Some(signal),
            _ => self.is_stopping.swap(false, Ordering::SeqCst).then_some(SIGTSTP),
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
    }
}
