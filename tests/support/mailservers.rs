//! Postfix with many doors, each an `smtpd` with a certificate and habits of its own, and Dovecot, which knows the
//! passwords and runs a submission service besides.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    digest::{SHA256, digest},
    hmac,
};

use crate::{
    pki::{Pki, RELAY},
    server::{Server, free_port, greets, listens, output},
};

/// Name, certificate, and what master.cf says besides.
type Door = (&'static str, &'static str, &'static [&'static str]);

/// Each certificate has a door of its name, besides these.
#[rustfmt::skip]
const DOORS: &[Door] = &[
    ("smtps",             "trusted",    &["smtpd_tls_wrappermode=yes"]),
    ("smtps-expired",     "expired",    &["smtpd_tls_wrappermode=yes"]),
    ("tls1.2",            "trusted",    &["smtpd_tls_protocols=TLSv1.2"]),
    ("tls1.2-rsa",        "rsa",        &["smtpd_tls_protocols=TLSv1.2"]),
    ("tls1.2-wrong-name", "wrong-name", &["smtpd_tls_protocols=TLSv1.2", "tls_preempt_cipherlist=yes"]),
    ("tls1.1",            "rsa",        &["smtpd_tls_protocols=TLSv1.1"]),
    ("tls1.0",            "rsa",        &["smtpd_tls_protocols=TLSv1"]),
    ("tls1.2-p521",       "p521",       &["smtpd_tls_protocols=TLSv1.2"]),
    ("rsa-exchange",      "rsa",        &["smtpd_tls_protocols=TLSv1.2", "tls_medium_cipherlist=AES128-SHA256"]),
    ("cbc",               "rsa",        &["smtpd_tls_protocols=TLSv1.2", "tls_medium_cipherlist=ECDHE-RSA-AES256-SHA384"]),
    ("dhe",               "rsa",        &["smtpd_tls_protocols=TLSv1.2", "tls_medium_cipherlist=DHE-RSA-AES128-GCM-SHA256"]),
    ("sni",               "wrong-name", &["tls_server_sni_maps=inline:{relay.example.test=TRUSTED}"]),
    ("clients-only",      "trusted",    &["smtpd_tls_security_level=encrypt", "smtpd_tls_req_ccert=yes"]),
    ("clear",             "trusted",    &["smtpd_tls_security_level=none"]),
    ("auth-in-clear",     "trusted",    &["smtpd_tls_auth_only=no"]),
    ("no-auth",           "trusted",    &["smtpd_sasl_auth_enable=no"]),
    ("plain-only",        "trusted",    &["smtpd_sasl_mechanism_filter=plain"]),
    ("login-only",        "trusted",    &["smtpd_sasl_mechanism_filter=login"]),
    ("xoauth2-only",      "trusted",    &["smtpd_sasl_mechanism_filter=xoauth2"]),
    ("digests-only",      "trusted",    &["smtpd_sasl_mechanism_filter=digest-md5"]),
    ("proofs-only",       "trusted",    &["smtpd_sasl_mechanism_filter=cram-md5,scram-sha-1,scram-sha-256"]),
    ("everything",        "trusted",    &["smtpd_sasl_mechanism_filter=static:rest"]),
    ("rejects",           "trusted",    &["smtpd_delay_reject=no", "smtpd_client_restrictions=reject"]),
    ("defers",            "trusted",    &["smtpd_delay_reject=no", "smtpd_client_restrictions=defer"]),
    ("rejects-ehlo",      "trusted",    &["smtpd_delay_reject=no", "smtpd_helo_restrictions=reject"]),
    ("backend",           "trusted",    &["smtpd_sasl_auth_enable=no", "smtpd_tls_security_level=none"]),
];

/// The certificates, each behind a door of its name.
pub(crate) const CERTIFICATES: &[&str] = &[
    "trusted",
    "rsa",
    "rsa-1024",
    "rsa-4096",
    "p384",
    "p521",
    "ecdsa-sha1",
    "ed25519",
    "directly",
    "with-root",
    "expired",
    "not-yet-valid",
    "self-signed",
    "wrong-name",
    "expired-wrong-name",
    "incomplete",
    "incomplete-expired",
    "expired-issuer",
    "unknown-root",
    "cn-only",
    "wildcard",
    "next-hop",
    "for-clients",
    "sha1",
];

/// Who logs in.
pub(crate) const USER: &str = "alice";

/// Who has a password that AUTH cannot carry in its first line (RFC 4954 section 4).
pub(crate) const LONG_USER: &str = "longwinded";

/// Postfix and Dovecot, by the ports of their doors.
pub(crate) struct MailServers {
    pub(crate) password: String,
    pub(crate) long_password: String,
    /// A token of alice's, and one that somebody else has signed.
    pub(crate) token: String,
    pub(crate) wrong_token: String,
    /// A folder for what is secret.
    pub(crate) secrets: PathBuf,
    /// The trust anchor.
    pub(crate) root: String,
    doors: BTreeMap<&'static str, u16>,
    _servers: [Server; 2],
}

impl MailServers {
    pub(crate) fn open(scratch: &Path, password: String) -> Result<Self, String> {
        let pki = Pki::made(scratch)?;
        let doors: BTreeMap<&str, u16> =
            names().chain(["submission", "submissions"]).map(|name| (name, free_port())).collect();
        let complaint = |error: io::Error| format!("Postfix and Dovecot: {error}");
        let long_password = password.repeat(20);
        let users = format!("{USER}:{{PLAIN}}{password}\n{LONG_USER}:{{PLAIN}}{long_password}\n");
        // Any key will do that is this run's alone.
        let key = digest(&SHA256, format!("key of {password}").as_bytes());
        configure(scratch, &pki, &doors, &users, key.as_ref()).map_err(complaint)?;
        let path = |file: &str| scratch.join(file).display().to_string();

        let mut dovecot =
            Server::start("dovecot", &["dovecot", "-F", "-c", &path("dovecot.conf")], scratch).map_err(complaint)?;
        let socket = scratch.join("dovecot/auth-for-postfix");
        dovecot.await_answer(|| socket.exists() && listens(port(&doors, "submission")))?;

        let conf = path("postfix");
        // Makes the folders of the queue, and finds what is wrong with the configuration.
        run(&["postfix", "-c", &conf, "check"])?;
        let master = run(&["postconf", "-c", &conf, "-hx", "daemon_directory"])? + "/master";
        let mut postfix = Server::start("postfix", &[&master, "-c", &conf, "-d"], scratch).map_err(complaint)?;
        let mut silent: Vec<u16> = names().map(|name| port(&doors, name)).collect();
        postfix.await_answer(|| {
            silent.retain(|port| !listens(*port));
            silent.is_empty() && greets(port(&doors, "trusted"))
        })?;
        Ok(Self {
            token: token(USER, key.as_ref()),
            wrong_token: token(USER, b"another key"),
            password,
            long_password,
            secrets: scratch.join("secrets"),
            root: pki.root(),
            doors,
            _servers: [postfix, dovecot],
        })
    }

    /// `text` with the port of each `{door}`.
    pub(crate) fn with_ports(&self, text: &str) -> String {
        let put = |text: String, (door, port): (&&str, &u16)| text.replace(&format!("{{{door}}}"), &port.to_string());
        self.doors.iter().fold(text.to_owned(), put)
    }

    pub(crate) fn port(&self, door: &str) -> u16 {
        port(&self.doors, door)
    }
}

/// What a command prints, without the line's end.
fn run(command: &[&str]) -> Result<String, String> {
    let (program, args) = command.split_first().unwrap();
    let ran = output(Command::new(program).args(args)).map_err(|error| format!("{program}: {error}"))?;
    let said = |octets: &[u8]| String::from_utf8_lossy(octets).trim_end().to_owned();
    match ran.status.success() {
        true => Ok(said(&ran.stdout)),
        false => Err(format!("{}: {}", command.join(" "), said(&ran.stderr))),
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    CERTIFICATES.iter().copied().chain(DOORS.iter().map(|(name, ..)| *name))
}

fn port(doors: &BTreeMap<&str, u16>, door: &str) -> u16 {
    *doors.get(door).unwrap_or_else(|| panic!("no door {door}"))
}

/// Tokens are JWT (RFC 7519) of a key that Dovecot finds in a file: `AZP/ALGORITHM/KEY`, base64 within.
fn oauth2(scratch: &Path, key: &[u8]) -> io::Result<()> {
    let keys = scratch.join("secrets/keys/default/HS256");
    fs::create_dir_all(&keys)?;
    fs::write(keys.join("default"), STANDARD.encode(key))?;
    let settings = format!(
        "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix={}/secrets/keys/\nusername_attribute = sub\n",
        scratch.display()
    );
    fs::write(scratch.join("secrets/oauth2.conf"), settings)
}

/// A token for `user`, signed with `key` (RFC 7519, HS256).
fn token(user: &str, key: &[u8]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let part = |json: String| URL_SAFE_NO_PAD.encode(json);
    let header = part(r#"{"alg":"HS256","typ":"JWT"}"#.to_owned());
    let claims = part(format!(r#"{{"sub":"{user}","iat":{},"exp":{}}}"#, now - 60, now + 3600));
    let signed = format!("{header}.{claims}");
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn configure(scratch: &Path, pki: &Pki, doors: &BTreeMap<&str, u16>, users: &str, token_key: &[u8]) -> io::Result<()> {
    // Postfix and Dovecot give up root and must still find what is theirs.
    fs::set_permissions(scratch, fs::Permissions::from_mode(0o711))?;
    for folder in ["postfix", "queue", "data", "dovecot", "home", "secrets"] {
        fs::create_dir(scratch.join(folder))?;
    }
    fs::write(scratch.join("postfix/main.cf"), main_cf(scratch, pki))?;
    fs::write(scratch.join("postfix/master.cf"), master_cf(pki, doors))?;
    fs::write(scratch.join("secrets/users"), users)?;
    oauth2(scratch, token_key)?;
    fs::set_permissions(scratch.join("secrets"), fs::Permissions::from_mode(0o700))?;
    fs::write(scratch.join("dovecot.conf"), dovecot_conf(scratch, pki, doors))?;
    run(&["chown", "postfix", &scratch.join("data").display().to_string()]).map(drop).map_err(io::Error::other)
}

/// Nothing waits: no lookups of names, no pauses after errors, no limits on clients.
fn main_cf(scratch: &Path, pki: &Pki) -> String {
    format!(
        "compatibility_level = 3.6
queue_directory = {scratch}/queue
data_directory = {scratch}/data
maillog_file = {scratch}/postfix.maillog
maillog_file_prefixes = {scratch}
myhostname = {RELAY}
mydestination =
alias_maps =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
default_transport = error
smtpd_peername_lookup = no
smtpd_error_sleep_time = 0
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_tls_chain_files = {}
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {scratch}/dovecot/auth-for-postfix
smtpd_sasl_mechanism_filter = plain, login
",
        pki.bundle_of("trusted"),
        scratch = scratch.display(),
    )
}

fn master_cf(pki: &Pki, doors: &BTreeMap<&str, u16>) -> String {
    let own = CERTIFICATES.iter().map(|certificate| (*certificate, *certificate, &[][..]));
    let smtpd = |(name, certificate, options): (&str, &str, &[&str])| {
        let options: String = options
            .iter()
            .map(|option| format!("\n  -o {option}").replace("TRUSTED", &pki.bundle_of("trusted")))
            .collect();
        let bundle = pki.bundle_of(certificate);
        let port = port(doors, name);
        format!("127.0.0.1:{port} inet n - n - - smtpd\n  -o smtpd_tls_chain_files={bundle}{options}\n")
    };
    let doors: String = own.chain(DOORS.iter().copied()).map(smtpd).collect();
    format!(
        "{doors}tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
rewrite unix - - n - - trivial-rewrite
cleanup unix n - n - 0 cleanup
postlog unix-dgram n - n - 1 postlogd
"
    )
}

fn dovecot_conf(scratch: &Path, pki: &Pki, doors: &BTreeMap<&str, u16>) -> String {
    let bundle = pki.bundle_of("trusted");
    format!(
        "base_dir = {scratch}/dovecot
state_dir = {scratch}/dovecot
log_path = {scratch}/dovecot.maillog
protocols = submission
listen = 127.0.0.1
hostname = {RELAY}
ssl = required
ssl_cert = <{bundle}
ssl_key = <{bundle}
auth_mechanisms = plain login digest-md5 cram-md5 scram-sha-1 scram-sha-256 xoauth2 oauthbearer
auth_failure_delay = 0
mail_location = maildir:{scratch}/home
first_valid_uid = 1
submission_relay_host = 127.0.0.1
submission_relay_port = {}
submission_relay_trusted = yes
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {scratch}/secrets/oauth2.conf
}}
passdb {{
  driver = passwd-file
  args = {scratch}/secrets/users
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={scratch}/home
}}
service auth {{
  user = root
  unix_listener {scratch}/dovecot/auth-for-postfix {{
    mode = 0666
  }}
}}
service anvil {{
  # No pauses for an address that many logins have failed from.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service submission-login {{
  inet_listener submission {{
    port = {}
  }}
  inet_listener submissions {{
    port = {}
    ssl = yes
  }}
}}
",
        port(doors, "backend"),
        port(doors, "submission"),
        port(doors, "submissions"),
        scratch = scratch.display(),
    )
}
