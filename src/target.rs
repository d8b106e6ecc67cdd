//! Options become one Target; what we cannot start with ends here.

use std::{env, io::ErrorKind, path::Path};

use anyhow::{Context, bail, ensure};
use checks::{
    Credentials, Login, Mailbox, Match, Message, Name, NextHop, Relayhost, Secret, SecurityOptions, Selector,
    SignerKey, Target, TlsLevel, TlsPolicy,
    file::{self, Extent},
    net::{Deadline, dns::Dns, tls::Anchors},
};
use syntax::text::line;

use crate::{
    cli, evidence, prompt,
    secret::{self, Kind},
};

const PASSWORD_VARIABLE: &str = "MAIL_PREFLIGHT_SASL_PASSWORD";

/// What was typed about the mail system, with everything left out filled in. Files are read before the deadline; it may
/// prompt for the password, and then the deadline is anew.
pub(crate) fn target(typed: cli::Subject, deadline: &mut Deadline) -> anyhow::Result<Target> {
    let cli::Subject { hostname, host, dkim, relay, login, blocklists } = typed;
    ensure!(
        hostname.is_some() || !host.domain.is_empty() || relay.relay.is_some() || dkim.message.is_some(),
        "nothing to audit: name a HOSTNAME, --domain or --relay, or try 'mail-preflight demo'"
    );
    let message = dkim.message.as_deref().map(|file| evidence::message(file, *deadline)).transpose()?;
    let dkim_keys = evidence::signer_keys(dkim.dkim_key, *deadline)?;
    let selectors = selectors(dkim.selector, &dkim_keys, message.as_ref());
    let domains = match (host.domain.is_empty(), &hostname, &message) {
        (false, _, _) => distinct(host.domain),
        (true, None, Some(message)) => message.author_domain().filter(Name::is_mailable).into_iter().collect(),
        (true, hostname, _) => default_domain(hostname.as_ref()),
    };
    let tls = tls_policy(&relay, *deadline)?;
    let sasl = credentials(login, relay.relay.as_ref(), deadline)?;
    Ok(Target {
        hostname,
        domains,
        mail_from: host.mail_from,
        ips: distinct(host.ip),
        protocols: host.protocols,
        selectors,
        dkim_keys,
        message,
        recipients: recipients(relay.rcpt, relay.relay.as_ref())?,
        message_size: relay.message_size,
        relay: relay.relay,
        tls,
        sasl,
        per_day: host.per_day,
        authoritative: host.authoritative,
        connect_to: relay.connect_to,
        dnsbl: live(blocklists.dnsbl)?,
        mx_probe: host.mx_probe,
    })
}

/// The DNS servers that were typed, or the system's.
pub(crate) fn dns(options: &cli::Options, deadline: Deadline) -> anyhow::Result<Dns> {
    let dns = match options.resolver.as_slice() {
        [] => Dns::system(deadline).context("the system names no DNS server: name one with --resolver")?,
        servers => Dns::new(distinct(servers.to_vec()), deadline),
    };
    Ok(if options.trust_ad { dns.trusting_ad() } else { dns })
}

/// The blocklists that were typed, none of which may be one that is gone: it would answer nothing, or list everybody.
fn live(typed: Vec<Name>) -> anyhow::Result<Vec<Name>> {
    for zone in &typed {
        if let Some(retired) = checks::retired(zone) {
            bail!("--dnsbl {zone}: this list ended on {retired}, leave the option out");
        }
    }
    Ok(distinct(typed))
}

/// HOSTNAME less its first label (Postfix's `mydomain`), unless nobody can send from what that leaves.
fn default_domain(hostname: Option<&Name>) -> Vec<Name> {
    let Some(hostname) = hostname.filter(|hostname| hostname.address_literal().is_none()) else {
        return Vec::new();
    };
    let parent = hostname.parent();
    let is_shared = parent.depth() < 2 || parent.is_public_suffix();
    let domain = if is_shared { hostname.clone() } else { parent };
    Some(domain).filter(Name::is_mailable).into_iter().collect()
}

/// The selectors that were typed, and those that the keys and the message imply.
fn selectors(typed: Vec<Selector>, keys: &[SignerKey], message: Option<&Message>) -> Vec<Selector> {
    let mut selectors = distinct(typed);
    let implied = keys.iter().map(|key| key.selector.clone()).chain(message.into_iter().flat_map(Message::selectors));
    for selector in implied {
        // A key for a selector under every domain belongs to the same selector under one.
        let is_known = |known: &Selector| {
            known.name == selector.name && (selector.domain.is_none() || known.domain == selector.domain)
        };
        if !selectors.iter().any(is_known) {
            selectors.push(selector);
        }
    }
    selectors
}

/// Recipients are asked about at a relay.
fn recipients(typed: Vec<Mailbox>, relay: Option<&Relayhost>) -> anyhow::Result<Vec<Mailbox>> {
    /// What every server takes in one transaction (RFC 5321 section 4.5.3.1.8).
    const MOST: usize = 100;
    let recipients = distinct(typed);
    ensure!(recipients.is_empty() || relay.is_some(), "--rcpt: there is no relay to ask: name it with --relay");
    ensure!(recipients.len() <= MOST, "--rcpt: {} recipients, {MOST} at most", recipients.len());
    Ok(recipients)
}

/// The values in the order they were typed, each once.
fn distinct<T: PartialEq>(values: Vec<T>) -> Vec<T> {
    values.into_iter().fold(Vec::new(), |mut kept, value| {
        if !kept.contains(&value) {
            kept.push(value);
        }
        kept
    })
}

fn tls_policy(typed: &cli::Relay, deadline: Deadline) -> anyhow::Result<TlsPolicy> {
    let assumed = if typed.relay.is_some() { TlsLevel::Encrypt } else { TlsLevel::May };
    let level = typed.tls_level.unwrap_or(assumed);
    let matches = typed
        .tls_match
        .iter()
        .map(|text| Match::list(level, text).map_err(|why| anyhow::anyhow!("--tls-match: {why}")));
    let matches = matches.collect::<Result<Vec<_>, _>>()?.concat();
    ensure!(
        level != TlsLevel::Fingerprint || !matches.is_empty(),
        "--tls-level fingerprint: which digests? name them with --tls-match"
    );
    Ok(TlsPolicy {
        level,
        matches,
        level_typed: typed.tls_level.is_some(),
        wrappermode: typed.tls_wrappermode
            || typed.relay.as_ref().is_some_and(|relay| relay.first.port == NextHop::SUBMISSIONS),
        probe: typed.tls_probe,
        anchors: Anchors::load(typed.ca_file.as_deref(), typed.ca_path.as_deref(), deadline)
            .map_err(anyhow::Error::msg)?,
    })
}

fn credentials(
    typed: cli::Login,
    relay: Option<&Relayhost>,
    deadline: &mut Deadline,
) -> anyhow::Result<Option<Credentials>> {
    let cli::Login { sasl_user, sasl_password_file, sasl_token_file, sasl_mechanism: mechanism, .. } = typed;
    let Some(user) = sasl_user else {
        ensure!(
            sasl_password_file.is_none(),
            "--sasl-password-file: whose password is it? name the user with --sasl-user"
        );
        ensure!(sasl_token_file.is_none(), "--sasl-token-file: whose token is it? name the user with --sasl-user");
        ensure!(mechanism.is_none(), "--sasl-mechanism: who logs in? name the user with --sasl-user");
        return Ok(None);
    };
    ensure!(!user.is_empty(), "--sasl-user: the user is empty: leave the option out to skip the login");
    ensure!(!user.contains('\0'), "--sasl-user: the user has a NUL octet, which SASL cannot carry");
    ensure!(relay.is_some(), "--sasl-user: there is no relay to log in to: name it with --relay");
    let login = match (sasl_token_file, mechanism.as_deref()) {
        (None, Some("EXTERNAL")) if sasl_password_file.is_none() => Login::Session,
        (_, Some("EXTERNAL")) => {
            bail!("--sasl-mechanism EXTERNAL sends no secret: leave --sasl-password-file and --sasl-token-file out")
        }
        (Some(file), None | Some("XOAUTH2" | "OAUTHBEARER")) => {
            Login::Token(of_file("--sasl-token-file", &file, &user, Kind::Token, *deadline)?)
        }
        (Some(_), Some(other)) => {
            bail!("--sasl-mechanism {other} takes a password, not a token: use --sasl-password-file");
        }
        (None, Some(bearer @ ("XOAUTH2" | "OAUTHBEARER"))) => {
            bail!("--sasl-mechanism {bearer} sends a token: name its file with --sasl-token-file")
        }
        (None, _) => Login::Password(password(&user, sasl_password_file.as_deref(), deadline)?),
    };
    // Postfix: smtp_sasl_tls_security_options = $smtp_sasl_security_options. Typed or not, no login goes without TLS.
    let options = typed.sasl_tls_security_options.or(typed.sasl_security_options);
    Ok(Some(Credentials {
        mechanism,
        filter: typed.sasl_mechanism_filter,
        options: options.unwrap_or(SecurityOptions::NOANONYMOUS),
        ..Credentials::new(user, login)
    }))
}

/// From the file, else the environment, else a prompt.
fn password(user: &str, file: Option<&Path>, deadline: &mut Deadline) -> anyhow::Result<Secret> {
    if let Some(file) = file {
        return of_file("--sasl-password-file", file, user, Kind::Password, *deadline);
    }
    match env::var(PASSWORD_VARIABLE) {
        Ok(text) => secret::typed(text, user, Kind::Password).with_context(|| format!("${PASSWORD_VARIABLE}")),
        Err(env::VarError::NotUnicode(_)) => bail!("${PASSWORD_VARIABLE}: is not UTF-8, set it anew"),
        Err(env::VarError::NotPresent) if prompt::is_possible() => {
            let typed = prompt::answer(&format!("SASL password of {}: ", line(user)));
            *deadline = deadline.anew();
            let typed = typed.context("cannot ask for the password: use --sasl-password-file")?;
            secret::typed(typed, user, Kind::Password).context("the password")
        }
        Err(env::VarError::NotPresent) => bail!(
            "--sasl-user: no password and no terminal to ask on: use --sasl-password-file or ${PASSWORD_VARIABLE}"
        ),
    }
}

/// The first line of a file.
fn of_file(option: &str, file: &Path, user: &str, kind: Kind, deadline: Deadline) -> anyhow::Result<Secret> {
    let place = || format!("{option} {}", file.display());
    let mut octets = match file::read(file, secret::LONGEST_FILE, Extent::FirstLine, deadline) {
        Err(error) if error.kind() == ErrorKind::FileTooLarge => return Err(secret::too_long()).with_context(place),
        read => read.with_context(|| format!("{}: expected a file with the secret on its first line", place()))?,
    };
    secret::first_line(std::mem::take(&mut *octets), user, kind).with_context(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn the_default_domain_is_one_that_can_send() {
        for (hostname, domain) in [
            ("mail.example.com", Some("example.com")),
            ("a.mail.example.com", Some("mail.example.com")),
            ("example.com", Some("example.com")),
            ("example.co.uk", Some("example.co.uk")),
            ("mail.example.co.uk", Some("example.co.uk")),
            ("mail.corp", Some("mail.corp")),
            ("mail", Some("mail")),
            ("mail.example.test", Some("example.test")),
            ("vm.github.io", Some("vm.github.io")),
            ("192.0.2.1", None),
            ("[192.0.2.1]", None),
            ("[IPv6:2001:db8::1]", None),
            ("2001:db8::1", None),
            ("mail.a>b.example", None),
            ("m;ail.b.example", Some("b.example")),
        ] {
            let domains = domain.map(name).into_iter().collect::<Vec<_>>();
            assert_eq!(default_domain(Some(&name(hostname))), domains, "{hostname}");
        }
        assert_eq!(default_domain(None), []);
    }

    #[test]
    fn a_blocklist_that_has_ended_is_refused() {
        for (zone, date) in checks::RETIRED_BLOCKLISTS {
            let complaint = live(vec![name("dnsbl.example"), name(zone)]).unwrap_err().to_string();
            assert!(complaint.contains(zone) && complaint.contains(date), "{complaint}");
        }
        assert_eq!(live(vec![name("dnsbl.example"), name("DNSBL.example.")]).unwrap(), [name("dnsbl.example")]);
    }

    #[test]
    fn what_is_typed_twice_is_audited_once() {
        assert_eq!(distinct(vec![name("b.example"), name("a.example"), name("B.example")]).len(), 2);
    }
}
