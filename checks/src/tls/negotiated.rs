//! The version and the cipher that the relay chose.

use super::{session, with_facts, without_tls, wrong};
use crate::{
    Abstain, Context, Evidence, Finding, Fix, Status,
    net::{
        smtp::{Cause, Demand, Dialogue, Outcome, Stage},
        tls::{Refusal, Session, Unproved},
    },
    relay::{broken, command, every, evidence},
};

const STAGES: [Stage; 2] = [Stage::StartTls, Stage::Handshake];

pub(super) async fn version(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    every(cx, |dialogue| {
        if let (Some((Stage::Handshake, cause)), None) = (&dialogue.broke, &dialogue.session) {
            return Ok(no_tls(cx, &dialogue.demand, cause).saw([evidence(cx, dialogue, &STAGES)]));
        }
        let session = session(cx, dialogue)?;
        let seen = seen(session);
        let finding = match &session.unproved {
            _ if session.is_old() => old(cx, &dialogue.demand, session),
            None => Finding::pass(seen.clone()),
            Some(Unproved::Unchecked(_)) => {
                let doubt = session.doubt().unwrap_or_default();
                Finding::pass(format!("{seen}; {doubt}"))
            }
            Some(Unproved::Unfinished) if session.has_retired_cipher() => Finding::pass(seen.clone()),
            Some(Unproved::Unfinished) => {
                Finding::pass(format!("{seen}, from the server's hello; Postfix speaks that, this tool does not"))
            }
        };
        Ok(with_facts(cx, dialogue, session, finding.saw(shown(cx, dialogue, session))))
    })
    .await
}

fn seen(session: &Session) -> String {
    match session.key_exchange {
        "unknown" => format!("{}, {}", session.version, session.cipher),
        known => format!("{}, {}, {known}", session.version, session.cipher),
    }
}

/// What was negotiated; before it, how our own handshake ended where it did not come so far.
fn shown(cx: &Context, dialogue: &Dialogue, session: &Session) -> Vec<Evidence> {
    if session.is_whole() {
        return vec![Evidence { command: command(cx, &dialogue.endpoint), output: seen(session) }];
    }
    // OpenSSL has these at security level 0 alone; `-tls1_2` asks for no more than TLS 1.2.
    let version = match session.version {
        "TLSv1.1" => "-tls1_1",
        "TLSv1" => "-tls1",
        _ => "-tls1_2",
    };
    let command = format!("{} {version} -cipher ALL:@SECLEVEL=0", command(cx, &dialogue.endpoint));
    vec![evidence(cx, dialogue, &STAGES), Evidence { command, output: seen(session) }]
}

/// RFC 8996 forbids it, Postfix may do it all the same: `smtp_tls_mandatory_protocols` is `>=TLSv1`.
fn old(cx: &Context, demand: &Demand, session: &Session) -> Finding {
    let then = match session.is_spoken_at(demand.is_matched()) {
        true => format!("at {demand} Postfix still uses it where its OpenSSL does"),
        false => format!("{}: OpenSSL 3 refuses it at {demand}", without_tls(cx, demand).1),
    };
    wrong(demand, format!("nothing newer than {}; {then}", seen(session))).fix(operator())
}

fn operator() -> Fix {
    Fix::Advice(
        "Ask the relay's operator which port speaks TLS 1.2 or newer: 587 with STARTTLS, or 465 from the first byte \
         (smtp_tls_wrappermode = yes)"
            .to_owned(),
    )
}

/// A failed handshake stops the mail, unless Postfix may send it in clear.
fn no_tls(cx: &Context, demand: &Demand, cause: &Cause) -> Finding {
    let (outcome, then) = without_tls(cx, demand);
    let finding = match cause {
        Cause::Silent(why) | Cause::Stalled(why) => Finding::unknown(why.clone()),
        Cause::NoTls(Refusal::Ours(why)) => {
            // What Postfix would do is not known either.
            let advice = "Let Postfix's own posttls-finger show what it negotiates with the relay".to_owned();
            return Finding::unknown(format!("no TLS handshake: {why}")).fix(Fix::Advice(advice));
        }
        Cause::NoTls(Refusal::NotTls(_)) if cx.target.tls.wrappermode => Finding::fail(format!(
            "no TLS handshake: {}; {then}; the port may want STARTTLS (smtp_tls_wrappermode = no)",
            broken(cause).message
        )),
        // No server does that by mistake.
        Cause::NoTls(refusal @ Refusal::Impostor) => {
            let advice = "Find out who answers at this address before you send it mail or passwords";
            return Finding::fail(format!("no TLS handshake: {refusal}; {then}"))
                .fact("postfix", outcome.word())
                .fix(Fix::Advice(advice.to_owned()));
        }
        cause => {
            let message = format!("no TLS handshake: {}; {then}", broken(cause).message);
            Finding::new(if outcome == Outcome::Fallback { Status::Warn } else { Status::Fail }, message)
        }
    };
    finding.fact("postfix", outcome.word()).fix(operator())
}

pub(super) async fn cipher(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    every(cx, |dialogue| {
        let session = session(cx, dialogue)?;
        if session.is_old() {
            return Err(Abstain::Needs("TLS 1.2 or newer".to_owned(), "tls.version"));
        }
        Ok(with_facts(cx, dialogue, session, strength(cx, &dialogue.demand, session).saw(shown(cx, dialogue, session))))
    })
    .await
}

fn strength(cx: &Context, demand: &Demand, session: &Session) -> Finding {
    let Session { cipher, dh_bits, .. } = session;
    let is_modern = session.version == "TLSv1.3";
    let has_forward_secrecy = is_modern || cipher.starts_with("ECDHE-") || cipher.starts_with("DHE-");
    let is_authenticated = is_modern || ["GCM", "CHACHA20", "CCM"].iter().any(|mode| cipher.contains(mode));
    let advice = Fix::Advice(
        "Ask the relay's operator to offer ECDHE with AES-GCM or ChaCha20-Poly1305 in TLS 1.2, or TLS 1.3".to_owned(),
    );
    if session.has_retired_cipher() {
        let (outcome, then) = without_tls(cx, demand);
        let message = format!("{cipher}, which today's OpenSSL does not have; {then}");
        return Finding::new(if outcome == Outcome::Fallback { Status::Warn } else { Status::Fail }, message)
            .fix(advice);
    }
    // RFC 9325 section 4.5: REQUIRED.
    if let Some(bits) = dh_bits.filter(|bits| *bits < 2048) {
        return wrong(demand, format!("{cipher} with a Diffie-Hellman key of {bits} bits, 2048 at least")).fix(advice);
    }
    match (has_forward_secrecy, is_authenticated) {
        (true, true) if cipher.starts_with("DHE-") => {
            Finding::warn(format!("{cipher}: key exchange DHE, which RFC 9325 advises against")).fix(advice)
        }
        (true, true) => Finding::pass(format!("{cipher}: forward secrecy and authenticated encryption")),
        (true, false) => Finding::warn(format!("{cipher}: no authenticated encryption")).fix(advice),
        (false, true) => Finding::warn(format!("{cipher}: no forward secrecy")).fix(advice),
        (false, false) => {
            Finding::warn(format!("{cipher}: no forward secrecy, no authenticated encryption")).fix(advice)
        }
    }
}
