//! Where words go. A file is written as a draft beside it, and renamed into its place: nobody reads half a report, and
//! where a report cannot be written to its end the old one stays.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::Duration,
};

use checks::net::Deadline;
use rustix::fs::{OFlags, fcntl_setfl};
use signal_hook::consts::SIGXFSZ;
use tempfile::NamedTempFile;

/// As many links as Linux follows.
const MOST_LINKS: usize = 40;

/// Where words go.
pub(super) enum Place {
    /// Standard output.
    Standard,
    /// What has no contents to lose: a device, a pipe, a descriptor that is open already.
    Direct(File),
    /// A file; open already, where there is one.
    File(PathBuf, Option<File>),
}

/// Without this, whoever writes more than the limit on the size of files (RLIMIT_FSIZE) is ended by a signal, and the
/// draft stays; with it, writing fails.
pub(crate) fn endure_limits() {
    // Where no handler can be installed, the signal does what it always does.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
}

impl Place {
    /// What `path` leads to, if it can be written.
    pub(super) fn open(path: &Path, deadline: Deadline) -> io::Result<Self> {
        let Some(file) = file(path)? else { return direct(path, deadline).map(Self::Direct) };
        let existing = match OpenOptions::new().write(true).custom_flags(nonblocking()).open(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            opened => Some(opened?),
        };
        match draft(&file) {
            Err(error) if existing.is_none() || !is_about_the_folder(&error) => Err(error),
            _ => Ok(Self::File(file, existing)),
        }
    }

    /// Writes all of `text`.
    pub(super) fn write(self, text: &[u8]) -> io::Result<()> {
        match self {
            Self::Standard => poured(&mut io::stdout().lock(), text),
            Self::Direct(mut file) => poured(&mut file, text),
            Self::File(path, None) => replace(&path, text),
            Self::File(path, Some(mut existing)) => match replace(&path, text) {
                Err(error) if is_about_the_folder(&error) => {
                    existing.set_len(0)?;
                    poured(&mut existing, text)
                }
                replaced => replaced,
            },
        }
    }
}

fn poured(out: &mut impl Write, text: &[u8]) -> io::Result<()> {
    out.write_all(text)?;
    out.flush()
}

/// The file that `path` means, links followed; it need not exist. None where it means something else, or a descriptor of
/// a process (`/dev/stdout`), whose file others write to as well.
fn file(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Some(name) = path.file_name().filter(|_| !path.as_os_str().as_encoded_bytes().ends_with(b"/")) else {
            return Ok(None);
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = fs::canonicalize(folder)?;
        let place = folder.join(name);
        match fs::symlink_metadata(&place) {
            _ if folder.starts_with("/proc") || folder.starts_with("/dev/fd") => return Ok(None),
            Ok(metadata) if metadata.is_symlink() => path = folder.join(fs::read_link(&place)?),
            Ok(metadata) => return Ok(metadata.is_file().then_some(place)),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(place)),
            Err(error) => return Err(error),
        }
    }
    Err(rustix::io::Errno::LOOP.into())
}

/// Opened without waiting for whoever reads a pipe longer than there is time; what an open file holds already stays.
fn direct(path: &Path, deadline: Deadline) -> io::Result<File> {
    loop {
        match OpenOptions::new().append(true).custom_flags(nonblocking()).open(path) {
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) && !deadline.is_over() =>
            {
                thread::sleep(Duration::from_millis(20));
            }
            opened => {
                let file = opened?;
                fcntl_setfl(&file, OFlags::APPEND)?;
                return Ok(file);
            }
        }
    }
}

fn nonblocking() -> i32 {
    (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed()
}

/// An empty file beside `path`, gone when dropped, which anybody may read whom the umask lets.
fn draft(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let permissions = Permissions::from_mode(0o666);
    tempfile::Builder::new().prefix(".mail-preflight.").permissions(permissions).tempfile_in(folder)
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut draft = draft(path)?;
    if let Ok(old) = fs::metadata(path) {
        liken(draft.as_file(), &old)?;
    }
    poured(&mut draft, text)?;
    // Some file systems tell only now that they are full.
    draft.as_file().sync_all()?;
    draft.persist(path).map(drop).map_err(|kept| kept.error)
}

/// Owner and permissions as they were, as far as this user may.
fn liken(file: &File, old: &Metadata) -> io::Result<()> {
    let ours = file.metadata()?;
    if (ours.uid(), ours.gid()) != (old.uid(), old.gid()) {
        let _ = fchown(file, Some(old.uid()), Some(old.gid()));
    }
    file.set_permissions(old.permissions())
}

/// Whether no file can be renamed into this folder, or not onto this file: it may not be written, or something is mounted
/// there. The file itself can be written all the same.
fn is_about_the_folder(error: &io::Error) -> bool {
    use ErrorKind::{CrossesDevices, PermissionDenied, ReadOnlyFilesystem, ResourceBusy};
    matches!(error.kind(), CrossesDevices | PermissionDenied | ReadOnlyFilesystem | ResourceBusy)
}
