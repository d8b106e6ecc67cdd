//! Whether the relay lets us log in.

use std::net::SocketAddr;

use crate::{
    Abstain, Context, Evidence, Finding, Fix, TlsLevel,
    check::checks,
    finding::quoted,
    net::smtp::{Attempt, Dialogue, Reply, Stage, Withheld},
    relay::{broken, every, evidence, unused},
};

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
    /// certificate is trusted and has the right name. Nothing is sent after it.
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
        (true, _, Some(_)) => Finding::fail("no AUTH is offered under TLS, and there are credentials").fix(Fix::Advice(
            "Use the relay's submission port (587 or 465), or leave the login out (smtp_sasl_auth_enable = no)".to_owned(),
        )),
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
            (Some(Attempt::Decided { mechanism, reply, status }), _) => {
                decided(reply, status.as_deref(), mechanism.word(), &reservation(cx, dialogue))
                    .fact("mechanism", mechanism.word())
            }
            (Some(Attempt::Withheld(why)), _) => return withheld(dialogue, why, &elsewhere),
            (None, _) if cx.target.sasl.is_none() => return Err(no_credentials()),
            (None, _) => return Err(without_tls(cx, dialogue)),
        };
        Ok(finding.saw([said(cx, dialogue)]))
    })
    .await
}

fn decided(reply: &Reply, status: Option<&str>, mechanism: &str, reservation: &str) -> Finding {
    let status = status.map(|status| format!(" (status {status})")).unwrap_or_default();
    let message = |verdict: &str| format!("{mechanism} login {verdict}: {reply}{status}{reservation}");
    if reply.is_positive() {
        return Finding::pass(message("accepted"));
    }
    // 454: a backend that is down, or too many attempts; 421: the service is not available (RFC 4954 section 6).
    if reply.is_transient() {
        return Finding::unknown(message("not decided"));
    }
    let advice = match mechanism {
        "XOAUTH2" => "Get a new token: this one has expired, or is not for SMTP",
        _ => {
            "Correct the relay's entry in smtp_sasl_password_maps and run postmap on it; many providers want an \
             application password, or have switched passwords off"
        }
    };
    Finding::fail(message("refused")).fix(Fix::Advice(advice.to_owned()))
}

/// What has to be said where the password went to somebody who has not proved to be the relay.
fn reservation(cx: &Context, dialogue: &Dialogue) -> String {
    let level = cx.target.tls.level;
    match (&dialogue.session, &cx.target.relay) {
        (Some(session), Some(hop)) if dialogue.verified(session, cx, hop).is_ok() => String::new(),
        _ => format!("; the password was sent though the certificate is not verified, as --tls-level {level} allows"),
    }
}

fn withheld(dialogue: &Dialogue, why: &Withheld, elsewhere: &str) -> Result<Finding, Abstain> {
    let not_sent = |why: String| Ok(Finding::skip(format!("{why}, password not sent")));
    match why {
        Withheld::NoCredentials => Err(no_credentials()),
        Withheld::NotOffered => Err(Abstain::Needs("AUTH".to_owned(), "sasl.mechanisms")),
        Withheld::Unspoken(mechanism) => Ok(Finding::unknown(format!("this version does not speak {mechanism}"))),
        Withheld::NoMechanism { wanted, offered } => Ok(no_mechanism(wanted, offered)),
        Withheld::Untrusted => not_sent("certificate not trusted".to_owned()),
        Withheld::Misnamed => not_sent(format!("certificate does not match {}", dialogue.endpoint.host)),
        Withheld::Elsewhere => Ok(Finding::skip(format!("one login a run, done at {elsewhere}"))),
    }
}

fn no_mechanism(wanted: &str, offered: &[String]) -> Finding {
    /// Mechanisms that need no password and no token, or a token: with a password they are of no use.
    const OTHER_PROOFS: [&str; 5] = ["XOAUTH2", "OAUTHBEARER", "EXTERNAL", "GSSAPI", "ANONYMOUS"];
    let list = offered.join(" ");
    let is_ours = |mechanism: &String| ["PLAIN", "LOGIN"].contains(&mechanism.as_str());
    let is_hopeless = |mechanism: &String| is_ours(mechanism) || OTHER_PROOFS.contains(&mechanism.as_str());
    match offered.iter().all(is_hopeless) && !offered.iter().any(|mechanism| mechanism == "OAUTHBEARER") {
        true => Finding::fail(format!("offers only {list}, not {wanted}")).fix(Fix::Advice(
            "Ask the relay's operator how to log in: with a password (--sasl-password-file) or a token \
             (--sasl-token-file)"
                .to_owned(),
        )),
        false => Finding::unknown(format!("offers only {list}, which this version does not speak")),
    }
}

fn no_credentials() -> Abstain {
    Abstain::NotApplicable("no credentials given".to_owned())
}

/// The login as it was, and how to try it by hand: swaks asks for the password.
fn said(cx: &Context, dialogue: &Dialogue) -> Evidence {
    let user = cx.target.sasl.as_ref().map(|credentials| quoted(&credentials.user)).unwrap_or_default();
    let tls = if cx.target.tls.wrappermode { "--tls-on-connect" } else { "--tls" };
    let server = SocketAddr::new(dialogue.endpoint.address, dialogue.endpoint.port);
    let mechanism = match &dialogue.login {
        Some(Attempt::Decided { mechanism, .. }) => format!(" {}", mechanism.word()),
        _ => String::new(),
    };
    let command = format!("swaks --server {server} {tls} --auth{mechanism} --auth-user {user} --quit-after AUTH");
    Evidence { command, ..evidence(cx, dialogue, &[Stage::Login]) }
}
