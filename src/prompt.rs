//! Asks for a secret on the terminal, which stops showing what is typed before it shows the prompt.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal, Read, Write},
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// A terminal hands over no longer line (N_TTY_BUF_SIZE of Linux).
const LONGEST_LINE: usize = 4096;

/// Whether there is somebody to ask.
pub(crate) fn is_possible() -> bool {
    io::stdin().is_terminal()
}

/// The line that is typed behind `question`, without its end.
pub(crate) fn answer(question: &str) -> io::Result<String> {
    let mut terminal = Silent::open()?;
    terminal.file.write_all(question.as_bytes())?;
    // One read takes the whole line, and what it fills becomes the secret: there is no second copy to wipe.
    let mut line = vec![0; LONGEST_LINE];
    let length = terminal.file.read(&mut line)?;
    line.truncate(length);
    terminal.file.write_all(b"\n")?;
    // It hands over no more of a longer one.
    if length == LONGEST_LINE {
        line.fill(0);
        return Err(io::Error::other("the line is longer than a terminal takes"));
    }
    line.pop_if(|last| *last == b'\n');
    String::from_utf8(line).map_err(|_| io::Error::other("what was typed is not UTF-8"))
}

/// A terminal that does not show what is typed, until it is dropped.
struct Silent {
    file: File,
    before: Termios,
}

impl Silent {
    fn open() -> io::Result<Self> {
        // Without a controlling terminal there is no /dev/tty; standard input is a terminal all the same.
        let open = |path| OpenOptions::new().read(true).write(true).open(path);
        let file = open("/dev/tty").or_else(|_| open("/dev/stdin"))?;
        let before = tcgetattr(&file)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&file, OptionalActions::Now, &silent)?;
        Ok(Self { file, before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // A terminal that is gone needs no echo.
        let _ = tcsetattr(&self.file, OptionalActions::Now, &self.before);
    }
}
