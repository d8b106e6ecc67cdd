//! Keeps a login that the relay has just refused from being tried again at once, by this run or by one beside it: accounts
//! get locked.
//!
//! What is kept tells nothing of who logs in where: a salted hash, and the time of the refusal.

use std::{
    env,
    fs::{self, File, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use checks::{Admission, Guard, Target, Ticket};
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};

/// How long a refused login is left alone.
const PAUSE: Duration = Duration::from_secs(60);

/// The file in the cache directory.
const FILE: &str = "refused-logins.json";

/// A file that is longer is not ours.
const LONGEST_FILE: u64 = 1024 * 1024;

/// How long a file that another run is writing is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where refused logins are remembered.
#[derive(Clone)]
pub(crate) struct Lockout {
    folder: Option<PathBuf>,
}

/// What is remembered.
struct Memory {
    salt: String,
    /// Who was refused, and when in seconds since 1970.
    refused: Vec<(String, u64)>,
}

/// One login, as it is told from others.
#[derive(Clone)]
struct Identity(Vec<String>);

impl Lockout {
    /// In the user's cache directory.
    pub(crate) fn of_user() -> Self {
        let absolute = |path: PathBuf| path.is_absolute().then_some(path);
        let variable = |name| env::var_os(name).map(PathBuf::from).and_then(absolute);
        let cache = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
        Self { folder: cache.map(|cache| cache.join("mail-preflight")) }
    }

    /// Until when the login of `target` is barred at `now`.
    pub(crate) fn barred_until(&self, target: &Target, now: SystemTime) -> Option<SystemTime> {
        let memory = Memory::read(self.folder.as_ref()?)?;
        memory.barred_until(&memory.hash(&Identity::of(target)?), now)
    }

    /// What lets the login of `target` be tried by one run at a time, and not within a minute of a refusal; a forced one
    /// always is. Where that cannot be kept, the login is tried all the same.
    pub(crate) fn guard(
        self,
        target: &Target,
        now: impl Fn() -> SystemTime + Send + Sync + 'static,
        is_forced: bool,
    ) -> Option<Guard> {
        let (identity, now) = (Identity::of(target)?, Arc::new(now));
        Some(Guard::new(move || {
            let claim = self.claim(&identity, now(), is_forced);
            let (lockout, identity, now) = (self.clone(), identity.clone(), Arc::clone(&now));
            let (lock, claimed) = match claim {
                Ok(Claim::Barred(until)) => return Admission::Barred(until),
                Ok(Claim::Taken) => return Admission::Taken,
                Ok(Claim::Ours(lock)) => (lock, Ok(())),
                Err(why) => (None, Err(why)),
            };
            Admission::Granted(Ticket::new(move |code| {
                let kept = lockout.remember(&identity, code, now());
                drop(lock);
                // What is not refused need not be remembered.
                if is_refusal(code) { claimed.and(kept) } else { Ok(()) }
            }))
        }))
    }

    fn claim(&self, identity: &Identity, now: SystemTime, is_forced: bool) -> Result<Claim, String> {
        let folder = self.folder()?;
        if is_forced {
            return Ok(Claim::Ours(None));
        }
        let hash = changed(folder, |memory| memory.hash(identity))?;
        let path = folder.join(format!(".login-{hash}"));
        let Some(lock) = Lock::taken(path).map_err(|error| wrong(folder, &error))? else { return Ok(Claim::Taken) };
        // The run that had it before us may have been refused.
        let barred = Memory::read(folder).and_then(|memory| memory.barred_until(&hash, now));
        Ok(barred.map_or(Claim::Ours(Some(lock)), Claim::Barred))
    }

    /// Remembers what the server has said of the login.
    fn remember(&self, identity: &Identity, code: Option<u16>, now: SystemTime) -> Result<(), String> {
        let Some(code) = code else { return Ok(()) };
        changed(self.folder()?, |memory| {
            let hash = memory.hash(identity);
            memory.refused.retain(|(other, at)| *other != hash && is_recent(time(*at), now));
            if is_refusal(Some(code)) {
                memory.refused.push((hash, seconds(now)));
            }
        })
    }

    fn folder(&self) -> Result<&Path, String> {
        self.folder.as_deref().ok_or_else(|| "neither $XDG_CACHE_HOME nor $HOME names a directory".to_owned())
    }
}

/// Servers say in many codes that the credentials are wrong (535, RFC 4954 section 6; 534, 550 and 554 are seen), and report
/// a lockout as a temporary failure (454, 421).
fn is_refusal(code: Option<u16>) -> bool {
    code.is_some_and(|code| (400..600).contains(&code))
}

/// Whether a login may be tried.
enum Claim {
    Ours(Option<Lock>),
    /// Another run has it.
    Taken,
    Barred(SystemTime),
}

/// A file that one run has locked, and which is gone when that run is done with it; the system unlocks it when a run is
/// killed.
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Nothing where another run has it.
    fn taken(path: PathBuf) -> io::Result<Option<Self>> {
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => {}
        }
        // The one that had it may have removed it since we opened it.
        let is_it = fs::metadata(&path).is_ok_and(|there| file.metadata().is_ok_and(|ours| there.ino() == ours.ino()));
        Ok(is_it.then_some(Self { path, _file: file }))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // One that stays does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

impl Identity {
    /// The relay and the user, if there is a login.
    fn of(target: &Target) -> Option<Self> {
        let (relay, credentials) = (target.relay.as_ref()?, target.sasl.as_ref()?);
        // With brackets or without: it may be the same server.
        let hops: Vec<String> = relay.next_hops().map(|hop| format!("{}:{}", hop.host, hop.port)).collect();
        let mut fields = vec![hops.join(" "), credentials.user.clone()];
        // Where its port is reached elsewhere, it is another relay.
        let redirects =
            target.connect_to.iter().filter(|redirect| relay.next_hops().any(|hop| hop.port == redirect.port));
        fields.extend(redirects.map(|redirect| format!("{}:{}:{}", redirect.host, redirect.port, redirect.to)));
        Some(Self(fields))
    }
}

impl Memory {
    fn hash(&self, identity: &Identity) -> String {
        let mut context = Context::new(&SHA256);
        for field in [&self.salt].into_iter().chain(&identity.0) {
            context.update(&(field.len() as u64).to_be_bytes());
            context.update(field.as_bytes());
        }
        hex(context.finish().as_ref())
    }

    fn barred_until(&self, hash: &str, now: SystemTime) -> Option<SystemTime> {
        let (_, at) = self.refused.iter().find(|(refused, _)| refused == hash)?;
        let at = time(*at);
        is_recent(at, now).then(|| at + PAUSE)
    }

    /// What the file in `folder` says, if it is whole.
    fn read(folder: &Path) -> Option<Self> {
        let (salt, refused) = kept(&folder.join(FILE))?;
        Some(Self { salt, refused })
    }

    fn written(&self, folder: &Path) -> io::Result<()> {
        let refused: Vec<Value> = self.refused.iter().map(|(hash, at)| json!({"login": hash, "at": at})).collect();
        let text = json!({"version": 1, "salt": self.salt, "refused": refused}).to_string();
        let draft = folder.join(format!(".refused-logins.{}", fresh_salt()));
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&draft)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| fs::rename(&draft, folder.join(FILE)));
        written.inspect_err(|_| drop(fs::remove_file(&draft)))
    }
}

/// What `change` makes of the memory in `folder`, which no other run changes meanwhile. An error says what is wrong with
/// which folder.
fn changed<T>(folder: &Path, change: impl FnOnce(&mut Memory) -> T) -> Result<T, String> {
    let changed = || {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let directory = File::open(folder)?;
        locked(&directory)?;
        let before = Memory::read(folder);
        let is_new = before.is_none();
        let mut memory = before.unwrap_or_else(|| Memory { salt: fresh_salt(), refused: Vec::new() });
        let refused = memory.refused.clone();
        let outcome = change(&mut memory);
        if is_new || memory.refused != refused {
            memory.written(folder)?;
        }
        Ok(outcome)
    };
    changed().map_err(|error| wrong(folder, &error))
}

fn wrong(folder: &Path, error: &io::Error) -> String {
    format!("{}: {error}", folder.display())
}

/// Locks a directory until it is closed. Some file systems lock none: what two runs write at once there, one loses.
fn locked(directory: &File) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match directory.try_lock() {
            Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(5)),
            Err(TryLockError::WouldBlock) => return Err(io::Error::other("locked by another program")),
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(()),
        }
    }
}

/// Salt and refusals of a file that is whole.
fn kept(file: &Path) -> Option<(String, Vec<(String, u64)>)> {
    let metadata = fs::metadata(file).ok().filter(|metadata| metadata.is_file() && metadata.len() <= LONGEST_FILE);
    let value: Value = serde_json::from_slice(&fs::read(metadata.map(|_| file)?).ok()?).ok()?;
    let salt = value.get("salt")?.as_str().filter(|salt| salt.len() == 32)?.to_owned();
    let refusal = |refusal: &Value| {
        // Later than the year 9999 is no time.
        let at = refusal.get("at")?.as_u64().filter(|at| *at <= 253_402_300_799)?;
        Some((refusal.get("login")?.as_str()?.to_owned(), at))
    };
    Some((salt, value.get("refused")?.as_array()?.iter().map(refusal).collect::<Option<_>>()?))
}

/// Whether less than the pause lies between, whichever came first: clocks are set back.
fn is_recent(at: SystemTime, now: SystemTime) -> bool {
    let distance = now.duration_since(at).or_else(|_| at.duration_since(now));
    distance.is_ok_and(|distance| distance < PAUSE)
}

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
}

fn fresh_salt() -> String {
    hex(&rand::random::<[u8; 16]>())
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
