//! Whether the relay lets us log in.

use std::{net::SocketAddr, time::SystemTime};

use syntax::{shell, text::timestamp};

use crate::{
    Abstain, Context, Evidence, Finding, Fix, Status, TlsLevel,
    check::checks,
    net::smtp::{Attempt, Dialogue, Flaw, Means, Mechanism, Reply, Selection, Stage, Withheld},
    relay::{broken, every, evidence, unused},
    replies::{Row, explained},
};

mod choice;

/// Advice where somebody answers who is perhaps not the relay.
const STRANGER: &str = "Do not send this server mail or passwords before its operator has explained it: find out who answers at this address";

checks! {
    /// The relay offers a login under TLS, and only there.
    ///
    /// A relay that offers AUTH before STARTTLS takes passwords in clear from whoever sends them so, and a client that is
    /// cheated out of STARTTLS sends them (RFC 4954 section 4).
    ///
    /// # Fix
    /// Use the relay's submission port; a Postfix relay keeps AUTH for TLS with `smtpd_tls_auth_only = yes`.
    "sasl.mechanisms" ("RFC 4954 section 3") => mechanisms,

    /// The relay accepts the login.
    ///
    /// One AUTH a run (RFC 4954 section 4), at the first address that Postfix would use, and only over a connection whose
    /// certificate is trusted and has the right name, by the clock of this machine too. That is the host's name; where MX
    /// records that nobody has validated have named the host, it is the next-hop's, or one below it, because whoever forges
    /// them would name his own: put the host into relayhost in brackets, or ask a validating resolver on this machine.
    /// SHA-1 in the chain is not good enough at any level. Only `--rcpt` has anything sent after it. When the relay has
    /// answered the password with a 4xx or 5xx code, the same login is not tried again within a minute, because accounts get
    /// locked; `--force` tries it all the same.
    ///
    /// The mechanism is the one that Postfix would use with Cyrus SASL: the first of the relay's list that
    /// `smtp_sasl_mechanism_filter` keeps and that has every property of `smtp_sasl_tls_security_options`. Postfix's
    /// default there is `noplaintext, noanonymous`, which leaves nothing of a relay's PLAIN and LOGIN even under TLS;
    /// unless options are typed, this check assumes `noanonymous`. Where the relay offers it and TLS gives the channel
    /// binding, a -PLUS mechanism comes first (RFC 5802 section 6).
    ///
    /// A relay that lets anybody in by SCRAM without its own signature has not shown that it knows the password, and is
    /// perhaps not the relay (RFC 5802 section 5). One that says yes before it has asked for the password has let nobody in.
    /// With fewer than 4,096 iterations a SCRAM password is guessed too fast (RFC 7677 section 4).
    ///
    /// # Fix
    /// Correct the entry of the relay in `smtp_sasl_password_maps` and run `postmap` on it. Many providers want an
    /// application password in place of the account's.
    "sasl.login" ("RFC 4954 section 4") => login,
}

async fn mechanisms(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    every(cx, |dialogue| {
        let early = dialogue.greeting.as_ref().map(Reply::mechanisms).unwrap_or_default();
        let finding = match (&dialogue.secured, &dialogue.broke) {
            (Some(reply), _) => offer(cx, &reply.mechanisms(), &early),
            (None, Some((Stage::Secured, cause))) => {
                let finding = broken(cause);
                let message = format!("EHLO under TLS: {}", finding.message);
                Finding { message, ..finding }
            }
            (None, _) if early.is_empty() => return Err(without_tls(cx, dialogue)),
            (None, _) => Finding::warn(format!("offers {} before TLS, and there is no TLS", early.join(" "))),
        };
        let finding = if early.is_empty() { finding } else { finding.fact("before_tls", early) };
        // Where TLS came first, EHLO under TLS was the only one.
        let stage = if dialogue.greeting.is_some() { Stage::Secured } else { Stage::Greeting };
        Ok(finding.saw([evidence(cx, dialogue, &[stage])]))
    })
    .await
}

fn offer(cx: &Context, offered: &[String], early: &[String]) -> Finding {
    let list = offered.join(" ");
    let finding = match (offered.is_empty(), early.is_empty(), &cx.target.sasl) {
        (true, _, Some(_)) => {
            Finding::fail("no AUTH is offered under TLS, and there are credentials").fix(Fix::Advice(
                "Use the relay's submission port (587 or 465), or leave the login out (smtp_sasl_auth_enable = no)"
                    .to_owned(),
            ))
        }
        (true, _, None) => Finding::skip("no AUTH is offered, and there are no credentials"),
        (false, false, _) => Finding::warn(format!("offers {list}, and {} before TLS already", early.join(" "))).fix(
            Fix::Advice("Ask the relay's operator to offer AUTH under TLS only (smtpd_tls_auth_only = yes)".to_owned()),
        ),
        (false, true, _) => Finding::pass(format!("offers {list}")),
    };
    finding.fact("mechanisms", offered.to_vec())
}

/// Which check tells why there was no EHLO under TLS.
fn without_tls(cx: &Context, dialogue: &Dialogue) -> Abstain {
    match dialogue.broke {
        Some((Stage::Greeting, _)) => Abstain::Needs("an answer to EHLO".to_owned(), "relay.connect"),
        Some((Stage::Handshake, _)) => Abstain::Needs("a TLS session".to_owned(), "tls.version"),
        Some((Stage::Secured, _)) => Abstain::Needs("an answer to EHLO under TLS".to_owned(), "sasl.mechanisms"),
        _ if cx.target.tls.level == TlsLevel::None => unused(),
        _ => Abstain::Needs("STARTTLS".to_owned(), "relay.starttls"),
    }
}

async fn login(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    let relayed = cx.net.smtp.relayed(cx).await?;
    let elsewhere = relayed.logged_in_at().map(|endpoint| endpoint.address.to_string()).unwrap_or_default();
    every(cx, |dialogue| {
        let finding = match (&dialogue.login, &dialogue.broke) {
            (_, Some((Stage::Login, cause))) => {
                Finding::unknown(format!("the login was not decided: {}", broken(cause).message))
            }
            (Some(Attempt::Decided { mechanism, reply, status, flaw, iterations, unguarded }), _) => {
                let mut reservation = reservation(cx, dialogue, *mechanism);
                if let Some(why) = unguarded {
                    reservation.push_str(&format!("; the guard against lockouts could not be kept: {why}"));
                }
                let meant = explained(reply, &dialogue.endpoint.host);
                let finding = decided(reply, status.as_deref(), flaw.as_ref(), *mechanism, &reservation, meant)
                    .fact("mechanism", mechanism.word())
                    .fact("code", reply.code);
                iterated(finding, *mechanism, *iterations)
            }
            (Some(Attempt::Withheld(why)), _) => withheld(cx, dialogue, why, &elsewhere)?,
            (None, _) if cx.target.sasl.is_none() => return Err(no_credentials()),
            (None, _) => return Err(without_tls(cx, dialogue)),
        };
        let dropped: serde_json::Map<_, _> = selection(cx, dialogue)
            .map(|selection| selection.dropped)
            .unwrap_or_default()
            .into_iter()
            .map(|(mechanism, reason)| (mechanism, reason.to_string().into()))
            .collect();
        let finding = if dropped.is_empty() { finding } else { finding.fact("dropped", dropped) };
        Ok(if is_silent(dialogue) { finding } else { finding.saw([said(cx, dialogue)]) })
    })
    .await
}

/// Whether nothing was said that could be shown.
fn is_silent(dialogue: &Dialogue) -> bool {
    matches!(dialogue.login, Some(Attempt::Withheld(_)))
}

/// What the mechanisms offered under TLS are good for.
fn selection(cx: &Context, dialogue: &Dialogue) -> Option<Selection> {
    let offered = dialogue.secured.as_ref()?.mechanisms();
    Some(dialogue.selection(cx.target.sasl.as_ref()?, &offered))
}

fn decided(
    reply: &Reply,
    status: Option<&str>,
    flaw: Option<&Flaw>,
    mechanism: Mechanism,
    reservation: &str,
    meant: Option<&Row>,
) -> Finding {
    let status = status.map(|status| format!(" (status {status})")).unwrap_or_default();
    let said = match reply.code {
        334 => "the server asks on when all is said".to_owned(),
        _ => reply.to_string(),
    };
    let message = |verdict: &str| format!("{mechanism} login {verdict}: {said}{status}{reservation}");
    match flaw {
        Some(flaw @ (Flaw::Impostor | Flaw::Unproved)) => {
            return Finding::fail(format!("{mechanism} login: {flaw} (it said {reply}){reservation}"))
                .fix(Fix::Advice(STRANGER.to_owned()));
        }
        Some(Flaw::Unasked) => {
            return Finding::fail(format!("{mechanism} login: {} (it said {reply})", Flaw::Unasked))
                .fix(Fix::Advice(STRANGER.to_owned()));
        }
        Some(Flaw::Ours(why)) => return Finding::unknown(format!("{mechanism} login not decided: {why}")),
        Some(Flaw::Broken(why)) => {
            return Finding::fail(format!("{mechanism} login broken off: {why}")).fix(Fix::Advice(format!(
                "Report it to the relay's operator, and do without {mechanism} meanwhile: postconf -e \
                 'smtp_sasl_mechanism_filter = !{}, static:all'",
                mechanism.word().to_ascii_lowercase()
            )));
        }
        None => {}
    }
    if reply.code == 235 {
        return Finding::pass(message("accepted"));
    }
    // Postfix takes it for a yes. It may as well be the answer to something else.
    if reply.is_positive() {
        return Finding::unknown(format!("{}; only 235 accepts a login", message("not decided")));
    }
    // 454: a backend that is down, or too many attempts; 421: the service is not available (RFC 4954 section 6).
    if reply.is_transient() {
        return Finding::unknown(message("not decided"));
    }
    if mechanism.means() == Means::Session {
        return Finding::fail(format!("{}; no client certificate was shown, which EXTERNAL wants", message("refused")))
            .fix(Fix::Advice(
                "Log in with a password (--sasl-password-file) or a token (--sasl-token-file)".to_owned(),
            ));
    }
    let advice = match mechanism.means() {
        Means::Token => "Get a new token: this one has expired, or is not for SMTP",
        _ => {
            "Correct the relay's entry in smtp_sasl_password_maps and run postmap on it; many providers want an \
             application password, or have switched passwords off"
        }
    };
    // What the table says of a refused login is about passwords.
    let is_password = mechanism.means() == Means::Password;
    let advice = meant.filter(|row| !row.is_general() && is_password).map_or(advice, |row| row.remedy);
    Finding::fail(message("refused")).fix(Fix::Advice(advice.to_owned()))
}

/// What has to be said where a server has the password hashed less often than RFC 5802 section 5.1 and RFC 7677
/// section 4 ask for: whoever sees the exchange, or the server's file, guesses it so much faster.
fn iterated(finding: Finding, mechanism: Mechanism, iterations: Option<u32>) -> Finding {
    const LEAST: u32 = 4096;
    let Some(iterations) = iterations else { return finding };
    let finding = finding.fact("iterations", iterations);
    if finding.status != Status::Pass || iterations >= LEAST {
        return finding;
    }
    let message = format!(
        "{}; the password is hashed with {iterations} iterations, {LEAST} at least are expected",
        finding.message
    );
    let finding = Finding { status: Status::Warn, message, ..finding };
    finding.fix(Fix::Advice(format!(
        "Ask the relay's operator to store the password anew with at least {LEAST} iterations (Dovecot: doveadm pw -s \
         {} -r {LEAST})",
        mechanism.word().trim_end_matches("-PLUS")
    )))
}

/// What has to be said where the password went to somebody who has not proved to be the relay.
fn reservation(cx: &Context, dialogue: &Dialogue, mechanism: Mechanism) -> String {
    let level = cx.target.tls.level;
    let sent = match mechanism.derives() {
        true => "a proof of the password was sent",
        false => "the password was sent",
    };
    match &dialogue.session {
        Some(session) if dialogue.verified(session, cx).is_ok() => String::new(),
        _ => format!("; {sent} though the certificate is not verified, as --tls-level {level} allows"),
    }
}

fn withheld(cx: &Context, dialogue: &Dialogue, why: &Withheld, elsewhere: &str) -> Result<Finding, Abstain> {
    let not_sent = |why: String| Ok(Finding::skip(format!("{why}, password not sent")));
    let credentials = cx.target.sasl.as_ref().ok_or_else(no_credentials)?;
    match why {
        Withheld::NoCredentials => Err(no_credentials()),
        Withheld::NotOffered => Err(Abstain::Needs("AUTH".to_owned(), "sasl.mechanisms")),
        Withheld::NoMechanism => Ok(choice::nothing(dialogue, credentials)),
        Withheld::Untrusted => not_sent("certificate not trusted".to_owned()),
        // Where MX records that are not signed have led, the host's own name is worth nothing.
        Withheld::Misnamed if dialogue.demand.is_forgeable => {
            not_sent(format!("certificate does not match {}", dialogue.endpoint.next_hop.host))
        }
        Withheld::Misnamed => not_sent(format!("certificate does not match {}", dialogue.endpoint.host)),
        Withheld::Elsewhere => Ok(Finding::skip(format!("one login a run, done at {elsewhere}"))),
        Withheld::Barred => Ok(barred(credentials.barred_until)),
        Withheld::Contested(until) => Ok(barred(*until)),
    }
}

/// The same login was refused a moment ago, or another run is trying it.
fn barred(until: Option<SystemTime>) -> Finding {
    let Some(until) = until.map(timestamp) else {
        return Finding::unknown("not tried while another run tries the same login, --force");
    };
    let time = until.split_once('T').map_or(until.as_str(), |(_, time)| time.trim_end_matches('Z'));
    Finding::unknown(format!("not tried again before {time}, --force"))
}

fn no_credentials() -> Abstain {
    Abstain::NotApplicable("no credentials given".to_owned())
}

/// The login as it was, and how to try it by hand: swaks and gsasl ask for the password, curl is shown the file.
fn said(cx: &Context, dialogue: &Dialogue) -> Evidence {
    let name = cx.target.sasl.as_ref().map(|credentials| credentials.user.as_str()).unwrap_or_default();
    let user = shell::word(name);
    let wrapped = cx.target.tls.wrappermode;
    let server = SocketAddr::new(dialogue.endpoint.address, dialogue.endpoint.port);
    let mechanism = match &dialogue.login {
        Some(Attempt::Decided { mechanism, .. }) => Some(*mechanism),
        _ => selection(cx, dialogue).and_then(|selection| selection.chosen),
    };
    let command = match mechanism {
        Some(mechanism @ (Mechanism::Xoauth2 | Mechanism::OauthBearer)) => {
            let scheme = if wrapped { "smtps" } else { "smtp" };
            format!(
                "curl -v --ssl-reqd {scheme}://{server} --user {user}: --oauth2-bearer \"$(head -n 1 TOKEN-FILE)\" \
                 --login-options AUTH={mechanism}"
            )
        }
        // gsasl knows no TLS from the first octet.
        Some(mechanism) if (mechanism.means() == Means::Session || mechanism.is_scram()) && !wrapped => {
            format!("gsasl --smtp --connect={server} --mechanism={mechanism} --authentication-id={user}")
        }
        mechanism => {
            let tls = if wrapped { "--tls-on-connect" } else { "--tls" };
            let mechanism = mechanism.map(|mechanism| format!(" {mechanism}")).unwrap_or_default();
            format!(
                "swaks --server {server} {tls} --auth{mechanism} {} --quit-after AUTH",
                shell::option("--auth-user", name)
            )
        }
    };
    Evidence { command, ..evidence(cx, dialogue, &[Stage::Login]) }
}
