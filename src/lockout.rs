//! Keeps a login that the relay has just refused from being tried again at once: accounts get locked.
//!
//! What is kept tells nothing of who logs in where: a salted hash, and the time of the refusal.

use std::{
    env, fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use checks::{Report, Target};
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};

/// How long a refused login is left alone.
const PAUSE: Duration = Duration::from_secs(60);

/// A file that is longer is not ours.
const LONGEST_FILE: u64 = 1024 * 1024;

/// The memory of refused logins.
pub(crate) struct Lockout {
    file: PathBuf,
    salt: String,
    /// Who was refused, and when in seconds since 1970.
    refused: Vec<(String, u64)>,
}

/// One login as it is remembered.
pub(crate) struct Entry {
    hash: String,
}

impl Lockout {
    /// What is remembered in the user's cache directory; nothing without one.
    pub(crate) fn of_user() -> Option<Self> {
        let absolute = |path: PathBuf| path.is_absolute().then_some(path);
        let variable = |name| env::var_os(name).map(PathBuf::from).and_then(absolute);
        let cache = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))?;
        let file = cache.join("mail-preflight").join("refused-logins.json");
        let (salt, refused) = kept(&file).unwrap_or_else(|| (fresh_salt(), Vec::new()));
        Some(Self { file, salt, refused })
    }

    /// How the login of `target` is remembered, if there is one.
    pub(crate) fn entry(&self, target: &Target) -> Option<Entry> {
        let (relay, credentials) = (target.relay.as_ref()?, target.sasl.as_ref()?);
        let mut fields = vec![self.salt.clone(), relay.to_string(), credentials.user.clone()];
        // Where its port is reached elsewhere, it is another relay.
        let redirects =
            target.connect_to.iter().filter(|redirect| relay.next_hops().any(|hop| hop.port == redirect.port));
        fields.extend(redirects.map(|redirect| format!("{}:{}:{}", redirect.host, redirect.port, redirect.to)));
        let mut context = Context::new(&SHA256);
        for field in fields {
            context.update(&(field.len() as u64).to_be_bytes());
            context.update(field.as_bytes());
        }
        Some(Entry { hash: hex(context.finish().as_ref()) })
    }

    /// Until when the login is barred at `now`.
    pub(crate) fn barred_until(&self, entry: &Entry, now: SystemTime) -> Option<SystemTime> {
        let (_, at) = self.refused.iter().find(|(hash, _)| *hash == entry.hash)?;
        let at = UNIX_EPOCH.checked_add(Duration::from_secs(*at))?;
        is_recent(at, now).then(|| at + PAUSE)
    }

    /// Remembers what `report` says of the login, made until `now`. That it cannot be kept is no error of the audit.
    pub(crate) fn remember(mut self, entry: &Entry, report: &Report, now: SystemTime) {
        let codes = report.findings.iter().filter(|finding| finding.check == "sasl.login");
        let Some(code) = codes.filter_map(|finding| finding.facts.get("code")).find_map(Value::as_u64) else { return };
        let is_known = self.refused.iter().any(|(hash, _)| *hash == entry.hash);
        self.refused.retain(|(hash, at)| *hash != entry.hash && is_recent(UNIX_EPOCH + Duration::from_secs(*at), now));
        match code {
            // RFC 4954 section 6: the credentials are wrong, or a temporary failure, as which some report a lockout.
            535 | 454 => self.refused.push((entry.hash.clone(), seconds(now))),
            _ if !is_known => return,
            _ => {}
        }
        let _ = self.written();
    }

    fn written(&self) -> std::io::Result<()> {
        let folder = self.file.parent().ok_or(std::io::ErrorKind::NotFound)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let refused: Vec<Value> = self.refused.iter().map(|(hash, at)| json!({"login": hash, "at": at})).collect();
        let text = json!({"version": 1, "salt": self.salt, "refused": refused}).to_string();
        let draft = folder.join(format!(".refused-logins.{}", fresh_salt()));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| fs::rename(&draft, &self.file));
        written.inspect_err(|_| drop(fs::remove_file(&draft)))
    }
}

/// Salt and refusals of a file that is whole.
fn kept(file: &PathBuf) -> Option<(String, Vec<(String, u64)>)> {
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

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
}

fn fresh_salt() -> String {
    hex(&rand::random::<[u8; 16]>())
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
