//! Whether Postfix can trust the relay's TLS, and what it does if not.

use std::time::Duration;

use crate::{
    Abstain, Algorithm, Context, Evidence, Finding, Fingerprint, Fix, Status, TlsLevel,
    check::checks,
    net::{
        smtp::{Cause, Demand, Dialogue, Outcome, Proof, Stage},
        tls::{Fault, Of, Refusal, Session, Trust, Wanted},
    },
    relay::{broken, command, every, evidence, unused},
    report::timestamp,
    target::Host,
};

checks! {
    /// The relay speaks TLS 1.2 or 1.3.
    ///
    /// TLS 1.0 and 1.1 are forbidden (RFC 8996 section 4). Where the handshake fails, Postfix defers the mail, or at
    /// `smtp_tls_security_level = may` without a login sends it in clear.
    ///
    /// # Fix
    /// Ask the relay's operator for TLS 1.2 or newer, and look for a firewall in between.
    "tls.version" ("RFC 8996 section 4") => version,

    /// The relay's certificate has a path to a trust anchor.
    ///
    /// Postfix trusts nobody until `smtp_tls_CAfile` or `smtp_tls_CApath` says whom, and then needs every certificate
    /// between the server's and the root (RFC 5280 section 6.1). Without such a path it logs "Untrusted TLS connection"
    /// and delivers at `may` and `encrypt`, and defers at `verify` and `secure`. At `fingerprint` a digest decides, at
    /// `dane` the TLSA record.
    ///
    /// # Fix
    /// Set `smtp_tls_CAfile`, and ask the relay's operator to send the whole chain.
    "tls.chain" ("RFC 5280 section 6.1") => chain,

    /// The relay's certificate is for the name that Postfix looks for.
    ///
    /// At `verify` that is the host, at `secure` the next-hop domain or a name below it, unless `--tls-match` says
    /// otherwise. A name is a dNSName, or, without any, the common name, which RFC 9525 section 2 no longer allows. At
    /// `fingerprint` the digest of the certificate, or of its public key, has to be in the match list instead.
    ///
    /// # Fix
    /// Put a name into relayhost that the certificate has, or ask the relay's operator for one with the right name.
    "tls.name" ("RFC 9525 section 6") => name,

    /// The relay's certificate is valid, and not for a short time only.
    ///
    /// Certificates run out (RFC 5280 section 4.1.2.5). What is renewed by a machine has more than a fifth of its
    /// lifetime left.
    ///
    /// # Fix
    /// The relay's operator must renew it.
    "tls.expiry" ("RFC 5280 section 4.1.2.5") => expiry,
}

async fn version(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    every(cx, |dialogue| {
        if let Some((Stage::Handshake, cause)) = &dialogue.broke {
            return Ok(no_tls(cx, dialogue, cause).saw([evidence(cx, dialogue, &[Stage::StartTls, Stage::Handshake])]));
        }
        let session = session(cx, dialogue)?;
        let seen = format!("{}, {}, {}", session.version, session.cipher, session.key_exchange);
        let evidence = Evidence { command: command(cx, &dialogue.endpoint), output: seen.clone() };
        Ok(with_facts(cx, dialogue, session, Finding::pass(seen).saw([evidence])))
    })
    .await
}

/// A failed handshake stops the mail, unless Postfix may send it in clear: that takes level `may`, and no login
/// (PLAINTEXT_FALLBACK_OK_AFTER_STARTTLS_FAILURE in Postfix's smtp.h).
fn no_tls(cx: &Context, dialogue: &Dialogue, cause: &Cause) -> Finding {
    let (policy, demand) = (&cx.target.tls, &dialogue.demand);
    let falls_back = demand.is_optional() && !policy.wrappermode && cx.target.sasl.is_none();
    let is_old = matches!(cause, Cause::NoTls(Refusal::Alert(alert)) if alert == "protocol_version");
    let (outcome, then) = match falls_back {
        // smtp_tls_mandatory_protocols is >=TLSv1, and up to level `encrypt` many an OpenSSL agrees.
        _ if is_old && !demand.is_matched() => (Outcome::Deliver, "Postfix uses what is older unless told not to"),
        true => (Outcome::Fallback, "Postfix falls back to sending in clear"),
        false => (Outcome::Defer, "Postfix defers the mail"),
    };
    let finding = match cause {
        Cause::Silent(why) => Finding::unknown(why.clone()),
        Cause::NoTls(Refusal::Ours(why)) => {
            // What Postfix would do is not known either.
            let advice = "Let Postfix's own posttls-finger show what it negotiates with the relay".to_owned();
            return Finding::unknown(format!("no TLS handshake: {why}")).fix(Fix::Advice(advice));
        }
        Cause::NoTls(Refusal::NotTls(_)) if policy.wrappermode => Finding::fail(format!(
            "no TLS handshake: {}; {then}; the port may want STARTTLS (smtp_tls_wrappermode = no)",
            broken(cause).message
        )),
        cause => {
            let message = format!("no TLS handshake: {}; {then}", broken(cause).message);
            Finding::new(if falls_back { Status::Warn } else { Status::Fail }, message)
        }
    };
    finding.fact("postfix", outcome.word()).fix(Fix::Advice(
        "Ask the relay's operator which port speaks TLS 1.2 or newer: 587 with STARTTLS, or 465 from the first byte \
         (smtp_tls_wrappermode = yes)"
            .to_owned(),
    ))
}

async fn chain(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    judged(cx, |dialogue, session| {
        let finding = match session.is_trusted(dialogue.demand.is_matched()) {
            true => trusted(cx, dialogue, session),
            false => untrusted(&dialogue.demand, session),
        };
        let finding = finding.fact("issuer", session.issuer.clone());
        match session.faults.is_empty() {
            true => finding,
            false => finding.fact("reasons", session.faults.iter().map(Fault::word).collect::<Vec<_>>()),
        }
    })
    .await
}

fn trusted(cx: &Context, dialogue: &Dialogue, session: &Session) -> Finding {
    let anchored = match cx.target.tls.anchors.are_typed() {
        true => "the chain ends at a trust anchor",
        false => {
            "trusted by this system's roots; Postfix needs smtp_tls_CAfile or smtp_tls_CApath to see the same"
        }
    };
    let verified = match (&dialogue.demand.proof, dialogue.demand.trust(session, cx.now)) {
        (Proof::Names(_), Trust::Verified) => "Verified: ",
        // The chain is not what makes it so: see what decides there.
        (Proof::Digests(_) | Proof::Tlsa { .. }, _) => "",
        (_, Trust::Verified | Trust::Trusted) => "Trusted: ",
        // The chain is not to blame for the name.
        (_, Trust::Untrusted) => "",
    };
    let reservations: String = session.faults.iter().map(|fault| format!("; {fault}, too weak for verify")).collect();
    Finding::pass(format!("{verified}issued by {}, {anchored}{reservations}", session.issuer))
}

fn untrusted(demand: &Demand, session: &Session) -> Finding {
    let faults: Vec<String> = session.faults.iter().map(Fault::to_string).collect();
    let faults = faults.join("; ");
    if let Some(decider) = decider(demand) {
        return Finding::skip(format!("{faults}; at {demand} {decider} decides"));
    }
    let message = format!("Untrusted: {faults}; {}", consequence(demand));
    if session.faults.iter().all(|fault| matches!(fault, Fault::Beyond(_))) {
        return Finding::unknown(message);
    }
    wrong(demand, message).fix(session.faults.first().map(remedy))
}

/// Names in certificates can be anything: they stand in advice, never in a command.
fn remedy(fault: &Fault) -> Fix {
    Fix::Advice(match fault {
        Fault::NoIssuer { alone: true, issuer, .. } => format!(
            "Ask the relay's operator to send the intermediate certificate too (fullchain.pem); if {issuer} is a \
             private CA, add its certificate to the file of smtp_tls_CAfile"
        ),
        Fault::NoIssuer { issuer, .. } | Fault::OtherKey { issuer, .. } => {
            format!("Get the certificate of {issuer} from its owner and add it to the file of smtp_tls_CAfile")
        }
        Fault::UnknownRoot { root } | Fault::NoRoot { root, .. } => {
            format!("Get the certificate of {root} from its owner and add it to the file of smtp_tls_CAfile")
        }
        Fault::SelfSigned => "Ask the relay's operator for a certificate of a CA, or get this one over a way you trust \
                              and add it to the file of smtp_tls_CAfile"
            .to_owned(),
        Fault::Expired { ca: Some(ca), .. } => {
            format!("Ask the relay's operator to send the current certificate of {ca} in the chain")
        }
        Fault::Expired { .. } | Fault::NotYetValid { .. } => {
            "Ask the relay's operator to renew the certificate, and check the clock of this machine".to_owned()
        }
        _ => "Ask the relay's operator for a certificate that a CA has issued for this server".to_owned(),
    })
}

async fn name(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    /// A certificate of a large provider has hundreds of names.
    const MOST: usize = 10;
    judged(cx, |dialogue, session| {
        let demand = &dialogue.demand;
        let wanted = match &demand.proof {
            Proof::Digests(listed) => return digest(demand, session, listed),
            Proof::Names(names) | Proof::Tlsa { names, .. } => names.clone(),
            _ => host(dialogue),
        };
        let all = session.names.all();
        let finding = match session.names.matching(&wanted) {
            Some(name) if session.names.are_common() => Finding::warn(format!(
                "is for {name} by its common name alone; it has no subjectAltName, and Postfix still takes that"
            ))
            .fix(Fix::Advice("Ask the relay's operator for a certificate with a subjectAltName".to_owned())),
            Some(name) => Finding::pass(format!("is for {name}")),
            None => {
                let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
                let more = all.len().saturating_sub(MOST);
                let found = match all.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ") {
                    none if none.is_empty() => "nobody".to_owned(),
                    some if more > 0 => format!("{some} and {more} more"),
                    some => some,
                };
                let wanted = wanted.join(" or ");
                if let Some(decider) = decider(demand) {
                    return Finding::skip(format!("is for {found}, not for {wanted}; at {demand} {decider} decides"));
                }
                let then = consequence(demand);
                wrong(demand, format!("is for {found}, not for {wanted}; {then}")).fix(Fix::Advice(
                    "Put one of its names into relayhost, or ask the relay's operator for a certificate with the \
                     right one"
                        .to_owned(),
                ))
            }
        };
        finding.fact("names", all)
    })
    .await
}

/// The name of the host, as dNSName or iPAddress.
fn host(dialogue: &Dialogue) -> Vec<Wanted> {
    match &dialogue.endpoint.host {
        Host::Name(name) => vec![Wanted::Host(name.to_string())],
        Host::Address(address) => vec![Wanted::Address(*address)],
    }
}

/// What level `fingerprint` looks at.
fn digest(demand: &Demand, session: &Session, listed: &[Fingerprint]) -> Finding {
    let Some([certificate, key]) = session.fingerprints(Algorithm::Sha256) else {
        return Finding::unknown("the certificate cannot be read");
    };
    let entry = format!("match={}", key.digits());
    let finding = match session.fingerprint(listed) {
        None => wrong(
            demand,
            format!("neither it nor its key has a digest of the match list ({}); {}", listed.len(), consequence(demand)),
        )
        .fix(Fix::Advice(format!(
            "Ask the relay's operator over a way you trust whether its key is new; if so, put {entry} into the \
             policy table"
        ))),
        Some((matched, of)) => {
            let of = match of {
                Of::Certificate => "it has",
                Of::PublicKey => "its public key has",
            };
            let message = format!("{of} a digest of the match list ({})", matched.algorithm);
            match matched.algorithm {
                Algorithm::Sha256 => Finding::pass(message),
                older => Finding::warn(format!("{message}, with smtp_tls_fingerprint_digest = {older}")).fix(Fix::Advice(
                    format!("Set smtp_tls_fingerprint_digest = sha256, and put {entry} into the policy table"),
                )),
            }
        }
    };
    finding.fact("fingerprint", certificate.to_string()).fact("key_fingerprint", key.to_string())
}

async fn expiry(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    judged(cx, |dialogue, session| {
        let demand = &dialogue.demand;
        let outdated = |fact: String| match decider(demand) {
            Some(decider) => Finding::skip(format!("{fact}; at {demand} {decider} decides")),
            None => wrong(demand, format!("{fact}; {}", consequence(demand))),
        };
        let Session { not_before, not_after, .. } = session;
        let lifetime = not_after.duration_since(*not_before).unwrap_or_default();
        let renewal = || Fix::Advice("The relay's operator must renew the certificate".to_owned());
        if *not_before > cx.now {
            return outdated(format!("not valid before {}", timestamp(*not_before))).fix(Fix::Advice(
                "Check the clock of this machine, then ask the relay's operator for a certificate of today".to_owned(),
            ));
        }
        let Ok(left) = not_after.duration_since(cx.now) else {
            return outdated(format!("expired since {}", timestamp(*not_after))).fix(renewal());
        };
        let until = timestamp(*not_after);
        let span = format!("{} days left of {}", days(left), days(lifetime));
        match left < lifetime / 5 {
            true => Finding::warn(format!("expires {until}, {span}")).fix(renewal()),
            false => Finding::pass(format!("valid until {until}, {span}")),
        }
    })
    .await
}

fn days(time: Duration) -> u64 {
    time.as_secs() / 86_400
}

/// One finding for each address there is a TLS session with.
async fn judged(cx: &Context, judge: impl Fn(&Dialogue, &Session) -> Finding) -> Result<Vec<Finding>, Abstain> {
    every(cx, |dialogue| {
        let session = session(cx, dialogue)?;
        if let Proof::Unmet(_) = dialogue.demand.proof {
            return Err(Abstain::Needs("a usable TLSA record".to_owned(), "dane.record"));
        }
        let evidence = Evidence { command: command(cx, &dialogue.endpoint), output: session.shown() };
        Ok(with_facts(cx, dialogue, session, judge(dialogue, session).saw([evidence])))
    })
    .await
}

fn session<'a>(cx: &Context, dialogue: &'a Dialogue) -> Result<&'a Session, Abstain> {
    dialogue.session.as_ref().ok_or_else(|| match dialogue.broke {
        Some((Stage::Handshake, _)) => Abstain::Needs("a TLS session".to_owned(), "tls.version"),
        _ if cx.target.tls.level == TlsLevel::None => unused(),
        _ => Abstain::Needs("STARTTLS".to_owned(), "relay.starttls"),
    })
}

fn with_facts(cx: &Context, dialogue: &Dialogue, session: &Session, finding: Finding) -> Finding {
    let demand = &dialogue.demand;
    let finding = finding.fact("trust", demand.trust(session, cx.now).to_string());
    let finding = match demand.outcome(session, cx.now) {
        Some(outcome) => finding.fact("postfix", outcome.word()),
        None => finding,
    };
    finding
        .fact("version", session.version)
        .fact("cipher", session.cipher)
        .fact("key_exchange", session.key_exchange)
        .fact("not_after", timestamp(session.not_after))
}

/// What is wrong with a certificate fails, except where Postfix would do without TLS altogether.
fn wrong(demand: &Demand, message: String) -> Finding {
    if demand.is_optional() { Finding::warn(message) } else { Finding::fail(message) }
}

/// What counts in place of chain, names and dates.
fn decider(demand: &Demand) -> Option<&'static str> {
    match demand.proof {
        Proof::Digests(_) => Some("the digest"),
        Proof::Tlsa { .. } => Some("the TLSA record"),
        _ => None,
    }
}

fn consequence(demand: &Demand) -> String {
    match demand.is_matched() {
        false => format!("at {demand} Postfix delivers all the same"),
        true => format!("at {demand} Postfix defers the mail"),
    }
}
