//! Logging in: what Dovecot says to us through Postfix and by itself, what it says to `swaks`, and that no password is
//! seen anywhere.

use std::{fs, process::Command, sync::Arc};

use libtest_mimic::{Failed, Trial};

use self::{Secret::*, Source::*};
use crate::{
    audit::{audit, table},
    leaks::leak,
    mailservers::{LONG_USER, MailServers, USER},
    server::output,
    tls::{arguments, is_wrapped},
};

/// What is given as a proof.
#[derive(Clone, Copy)]
enum Secret {
    Right,
    Wrong,
    /// Of another user: AUTH with it does not fit into one line.
    Long,
    /// A JWT that Dovecot validates.
    Token,
    /// The same, signed by another.
    WrongToken,
}

/// From where.
#[derive(Clone, Copy, PartialEq)]
enum Source {
    File,
    Environment,
    /// The file's is given, the environment's is not one.
    FileFirst,
}

/// A door, options, what is given and from where; the status of sasl.login and a part of its message.
type Case = (&'static str, &'static str, Secret, Source, &'static str, &'static str);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("trusted",       "",                          Right,      File,        "pass",    "PLAIN login accepted: 235 2.7.0"),
    ("trusted",       "",                          Right,      Environment, "pass",    "PLAIN login accepted: 235 2.7.0"),
    ("trusted",       "",                          Right,      FileFirst,   "pass",    "PLAIN login accepted: 235 2.7.0"),
    ("trusted",       "",                          Wrong,      File,        "fail",    "PLAIN login refused: 535 5.7.8"),
    ("trusted",       "",                          Wrong,      Environment, "fail",    "PLAIN login refused: 535 5.7.8"),
    ("trusted",       "",                          Long,       File,        "pass",    "PLAIN login accepted"),
    ("trusted",       "--sasl-mechanism LOGIN",    Right,      File,        "pass",    "LOGIN login accepted: 235 2.7.0"),
    ("trusted",       "--sasl-mechanism LOGIN",    Long,       File,        "pass",    "LOGIN login accepted: 235 2.7.0"),
    ("trusted",       "--sasl-mechanism login",    Wrong,      Environment, "fail",    "LOGIN login refused: 535 5.7.8"),
    ("trusted",       "--tls-level verify",        Right,      File,        "pass",    "accepted"),
    ("trusted",       "--tls-level secure",        Right,      File,        "pass",    "accepted"),
    ("smtps",         "",                          Right,      File,        "pass",    "PLAIN login accepted"),
    ("smtps",         "",                          Wrong,      File,        "fail",    "PLAIN login refused: 535 5.7.8"),
    ("smtps",         "--sasl-mechanism LOGIN",    Right,      Environment, "pass",    "LOGIN login accepted"),
    ("tls1.2",        "",                          Right,      File,        "pass",    "accepted"),
    ("cn-only",       "",                          Right,      File,        "pass",    "accepted"),
    ("plain-only",    "",                          Right,      File,        "pass",    "PLAIN login accepted"),
    ("plain-only",    "--sasl-mechanism LOGIN",    Right,      File,        "fail",    "offers only PLAIN, not LOGIN"),
    ("login-only",    "",                          Right,      File,        "pass",    "LOGIN login accepted"),
    ("login-only",    "",                          Wrong,      File,        "fail",    "LOGIN login refused: 535 5.7.8"),
    ("everything",    "",                          Right,      File,        "pass",    "PLAIN login accepted"),
    ("everything",    "",                          Token,      File,        "pass",    "XOAUTH2 login accepted"),
    ("xoauth2-only",  "",                          Token,      File,        "pass",    "XOAUTH2 login accepted"),
    ("xoauth2-only",  "",                          WrongToken, File,        "fail",    "XOAUTH2 login refused: 535 5.7.8"),
    ("xoauth2-only",  "",                          Right,      File,        "fail",    "offers only XOAUTH2, not one that takes a password"),
    ("digests-only",  "",                          Right,      File,        "unknown", "DIGEST-MD5"),
    ("proofs-only",   "",                          Right,      File,        "pass",    "login accepted: 235 2.7.0"),
    ("proofs-only",   "",                          Wrong,      File,        "fail",    "login refused: 535 5.7.8"),
    ("everything",    "--sasl-mechanism CRAM-MD5", Right,      File,        "pass",    "CRAM-MD5 login accepted: 235 2.7.0"),
    ("everything",    "--sasl-mechanism CRAM-MD5", Wrong,      File,        "fail",    "CRAM-MD5 login refused: 535 5.7.8"),
    ("everything",    "--sasl-mechanism CRAM-MD5", Long,       File,        "pass",    "CRAM-MD5 login accepted: 235 2.7.0"),
    ("everything",    "--sasl-mechanism scram-sha-1", Right,   File,        "pass",    "SCRAM-SHA-1 login accepted: 235 2.7.0"),
    ("everything",    "--sasl-mechanism scram-sha-1", Wrong,   File,        "fail",    "SCRAM-SHA-1 login refused: 535 5.7.8"),
    ("everything",    "--sasl-mechanism scram-sha-256", Right, File,        "pass",    "SCRAM-SHA-256 login accepted: 235 2.7.0"),
    ("everything",    "--sasl-mechanism scram-sha-256", Wrong, File,        "fail",    "SCRAM-SHA-256 login refused: 535 5.7.8"),
    ("everything",    "--sasl-mechanism scram-sha-256", Long,  File,        "pass",    "SCRAM-SHA-256 login accepted: 235 2.7.0"),
    ("everything",    "--sasl-mechanism OAUTHBEARER", Token,   File,        "pass",    "OAUTHBEARER login accepted: 235 2.7.0"),
    ("everything",    "--sasl-mechanism OAUTHBEARER", WrongToken, File,     "fail",    "OAUTHBEARER login refused: 535 5.7.8"),
    ("everything",    "--sasl-security-options mutual_auth", Right, File,   "pass",    "SCRAM-SHA-"),
    ("plain-only",    "--sasl-security-options noplaintext", Right, File,   "fail",    "noplaintext leaves nothing of PLAIN: Postfix logs"),
    ("submission",    "--sasl-mechanism scram-sha-1", Right,   File,        "pass",    "SCRAM-SHA-1 login accepted: 235"),
    ("submission",    "--sasl-mechanism scram-sha-256", Wrong, File,        "fail",    "SCRAM-SHA-256 login refused: 535 5.7.8"),
    ("submission",    "--sasl-mechanism OAUTHBEARER", Token,   File,        "pass",    "OAUTHBEARER login accepted: 235"),
    ("auth-in-clear", "",                          Right,      File,        "pass",    "accepted"),
    ("no-auth",       "",                          Right,      File,        "skip",    "sasl.mechanisms"),
    ("clear",         "",                          Right,      File,        "skip",    "relay.starttls"),
    ("expired",       "",                          Right,      File,        "skip",    "certificate not trusted, password not sent"),
    ("expired",       "--tls-level verify",        Right,      File,        "skip",    "certificate not trusted, password not sent"),
    ("expired",       "--tls-level encrypt",       Right,      File,        "pass",    "though the certificate is not verified"),
    ("self-signed",   "",                          Right,      Environment, "skip",    "certificate not trusted, password not sent"),
    ("incomplete",    "",                          Right,      File,        "skip",    "certificate not trusted, password not sent"),
    ("wrong-name",    "",                          Right,      File,        "skip",    "certificate does not match relay.example.test"),
    ("wrong-name",    "--tls-level may",           Wrong,      File,        "fail",    "535"),
    ("sha1",          "",                          Right,      File,        "skip",    "certificate not trusted, password not sent"),
    ("sha1",          "--tls-level encrypt",       Right,      File,        "pass",    "though the certificate is not verified"),
    ("p521",          "",                          Right,      File,        "skip",    "certificate not trusted, password not sent"),
    ("submission",    "",                          Right,      File,        "pass",    "PLAIN login accepted: 235"),
    ("submission",    "",                          Wrong,      File,        "fail",    "535 5.7.8"),
    ("submission",    "--sasl-mechanism LOGIN",    Right,      Environment, "pass",    "LOGIN login accepted"),
    ("submission",    "",                          Token,      File,        "pass",    "XOAUTH2 login accepted"),
    ("submission",    "",                          WrongToken, File,        "fail",    "XOAUTH2 login refused"),
    ("submissions",   "",                          Right,      File,        "pass",    "PLAIN login accepted: 235"),
    ("submissions",   "",                          Wrong,      File,        "fail",    "535 5.7.8"),
];

/// A door, and what is said of its mechanisms.
#[rustfmt::skip]
const OFFERS: &[(&str, &str, &str)] = &[
    ("trusted",       "pass", "offers PLAIN LOGIN"),
    ("digests-only",  "pass", "offers DIGEST-MD5"),
    ("proofs-only",   "pass", "CRAM-MD5"),
    ("auth-in-clear", "warn", "before TLS already"),
    ("no-auth",       "fail", "no AUTH is offered under TLS"),
    ("clear",         "skip", "relay.starttls"),
    ("submission",    "warn", "XOAUTH2"),
];

pub(crate) fn trials(servers: &Arc<MailServers>, resolver: u16) -> Vec<Trial> {
    let logins = CASES.iter().enumerate().map(|(number, case)| {
        let servers = Arc::clone(servers);
        let (door, options, _, _, status, _) = case;
        let name = format!("sasl/{number:02} {door} {options} {status}").replace("  ", " ");
        Trial::test(name, move || login(&servers, resolver, case))
    });
    let offers = OFFERS.iter().map(|(door, status, part)| {
        let servers = Arc::clone(servers);
        Trial::test(format!("sasl/offer of {door}"), move || {
            let password = servers.file_of(&servers.password)?;
            let more = ["--only", "relay,tls,sasl", "--sasl-user", USER, "--sasl-password-file", &password];
            let audit = audit(&arguments(&servers, resolver, door, &more), &[])?;
            audit.expect(audit.code, &[("sasl.mechanisms", "", status, part)])
        })
    });
    logins.chain(offers).collect()
}

fn login(servers: &MailServers, resolver: u16, case: &Case) -> Result<(), Failed> {
    let (door, options, given, source, status, part) = *case;
    let (user, secret) = match given {
        Right => (USER, servers.password.clone()),
        Wrong => (USER, format!("not-{}", servers.password)),
        Token => (USER, servers.token.clone()),
        WrongToken => (USER, servers.wrong_token.clone()),
        Long => (LONG_USER, servers.long_password.clone()),
    };
    let file = servers.file_of(&secret)?;
    let option = if matches!(given, Token | WrongToken) { "--sasl-token-file" } else { "--sasl-password-file" };
    let mut more = vec!["--only", "relay,tls,sasl", "--sasl-user", user];
    more.extend(options.split_whitespace());
    if source != Environment {
        more.extend([option, &file]);
    }
    let environment = match source {
        File => None,
        Environment => Some(("MAIL_PREFLIGHT_SASL_PASSWORD", secret.as_str())),
        FileFirst => Some(("MAIL_PREFLIGHT_SASL_PASSWORD", "another")),
    };
    let environment: Vec<_> = environment.into_iter().collect();
    let args = arguments(servers, resolver, door, &more);

    let audit = audit(&args, &environment)?;
    audit.expect(audit.code, &[("sasl.login", "", status, part)])?;
    for said in [&audit.said, &table(&args, &environment)?] {
        if let Some(trace) = leak(&secret, said) {
            return Err(format!("the password is in the output, as {trace}").into());
        }
    }
    match audit.finding("sasl.login", "")?["facts"]["mechanism"].as_str() {
        Some(mechanism @ ("PLAIN" | "LOGIN" | "CRAM-MD5")) => {
            second_opinion(servers, door, mechanism, user, &secret, status)
        }
        _ => Ok(()),
    }
}

/// What `swaks` says to the same login.
fn second_opinion(
    servers: &MailServers,
    door: &str,
    mechanism: &str,
    user: &str,
    secret: &str,
    status: &str,
) -> Result<(), Failed> {
    /// swaks: the server refused the authentication.
    const REFUSED: i32 = 28;
    let port = servers.port(door).to_string();
    let tls = if is_wrapped(door) { "--tls-on-connect" } else { "--tls" };
    let mut swaks = Command::new("swaks");
    swaks.args(["--server", "127.0.0.1", "--port", &port, tls, "--helo", "mail.example.test", "--quit-after", "AUTH"]);
    swaks.args(["--auth", mechanism, "--auth-user", user, "--auth-password", secret]);
    let ran = output(&mut swaks)?;
    let says = match ran.status.code() {
        Some(0) => "pass",
        Some(REFUSED) => "fail",
        _ => "neither",
    };
    match says == status {
        true => Ok(()),
        false => Err(format!("{status}, swaks: {}\n{}", ran.status, String::from_utf8_lossy(&ran.stdout)).into()),
    }
}

impl MailServers {
    /// A file that only its owner reads, with `secret` on its first line.
    fn file_of(&self, secret: &str) -> Result<String, Failed> {
        let file = tempfile::Builder::new().prefix("secret").tempfile_in(&self.secrets)?;
        fs::write(&file, format!("{secret}\n"))?;
        let (_, path) = file.keep()?;
        Ok(path.display().to_string())
    }
}
