//! Files that were named by hand. Whatever they turn out to be (a pipe nobody writes to, a device without end), they are
//! opened and read without blocking, up to a cap, before the deadline.

use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    os::fd::AsFd,
    path::Path,
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags},
};
use zeroize::Zeroizing;

use crate::net::Deadline;

/// What is read at once. A file of which no more is wanted moves into no second place: a secret has no copies to wipe.
const CHUNK: usize = 65_536;

/// How much of a file is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// What comes with its first line at least: a pipe may stay open behind it.
    FirstLine,
}

/// What the file at `path` holds, of at most `most` octets; wiped when dropped.
///
/// # Errors
/// It cannot be opened or read, is longer, or has not ended before the deadline.
pub fn read(path: &Path, most: usize, extent: Extent, deadline: Deadline) -> io::Result<Zeroizing<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    taken(File::from(rustix::fs::open(path, flags, Mode::empty())?), most, extent, deadline)
}

/// The same of standard input.
///
/// # Errors
/// As [`read`].
pub fn standard_input(most: usize, deadline: Deadline) -> io::Result<Zeroizing<Vec<u8>>> {
    // Others may share it: it stays as blocking as it is, and is read when there is something to read.
    taken(File::from(io::stdin().as_fd().try_clone_to_owned()?), most, Extent::Whole, deadline)
}

fn taken(mut file: File, most: usize, extent: Extent, deadline: Deadline) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut octets = Zeroizing::new(Vec::with_capacity(CHUNK.min(most) + 1));
    loop {
        wait(&file, deadline)?;
        let before = octets.len();
        octets.resize(before + CHUNK.min(most - before) + 1, 0);
        let read = file.read(octets.get_mut(before..).unwrap_or_default());
        octets.truncate(before + read.as_ref().copied().unwrap_or(0));
        let is_ended = |line: &[u8]| extent == Extent::FirstLine && line.contains(&b'\n');
        match read {
            Ok(0) => return Ok(octets),
            Ok(_) if octets.get(before..).is_some_and(is_ended) => return Ok(octets),
            Ok(_) if octets.len() > most => return Err(too_long(most)),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && !deadline.is_over() => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(overdue(deadline)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Until there is something to read, or the end. A pipe that nobody has opened for writing yet has no end.
fn wait(file: &File, deadline: Deadline) -> io::Result<()> {
    loop {
        let left = Timespec::try_from(deadline.left()).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(overdue(deadline)),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn too_long(most: usize) -> io::Error {
    const MIB: usize = 1024 * 1024;
    let most = match (most / MIB, most % MIB) {
        (mib @ 1.., 0) => format!("{mib} MiB"),
        _ => format!("{most} octets"),
    };
    io::Error::new(ErrorKind::FileTooLarge, format!("is longer than {most}"))
}

fn overdue(deadline: Deadline) -> io::Error {
    io::Error::new(ErrorKind::TimedOut, format!("has not ended within {}", deadline.budget()))
}
