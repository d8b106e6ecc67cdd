//! Whether Postfix can trust the relay's TLS, and what it does if not.

use std::time::Duration;

use syntax::{Host, text::timestamp};

use self::{
    certificate::{key, lifetime, purpose, self_signed},
    negotiated::{cipher, version},
    offer::capabilities,
    probe::{injection, legacy, resumption, sni},
};
use crate::{
    Abstain, Algorithm, Context, Evidence, Finding, Fingerprint, Fix, Status, TlsLevel,
    check::checks,
    net::{
        smtp::{Demand, Dialogue, Outcome, Proof, Stage},
        tls::{Fault, Of, Session, Trust, Wanted},
    },
    relay::{command, every, unused},
};

mod certificate;
mod negotiated;
mod offer;
mod probe;

checks! {
    /// The relay speaks TLS 1.2 or 1.3.
    ///
    /// TLS 1.0 and 1.1 are forbidden (RFC 8996 section 4). Where the handshake fails, Postfix defers the mail, or at
    /// `smtp_tls_security_level = may` without a login sends it in clear.
    ///
    /// This tool shakes hands in TLS 1.2 and 1.3 with modern ciphers; Postfix's OpenSSL has more. So where that handshake
    /// fails, one more connection sends a ClientHello for TLS 1.0 to 1.2 with all the ciphers of OpenSSL, and reads what
    /// the server answers in clear: its version, its cipher, its certificates. What Postfix would still use is thus told
    /// apart from what it would not.
    ///
    /// # Fix
    /// Ask the relay's operator for TLS 1.2 or newer, and look for a firewall in between.
    "tls.version" ("RFC 8996 section 4") => version,

    /// The relay's cipher has forward secrecy and authenticated encryption.
    ///
    /// That is ECDHE with AES-GCM, AES-CCM or ChaCha20-Poly1305, and every cipher of TLS 1.3. RSA key exchange lets whoever
    /// gets the server's key read all mail recorded before; it and DHE are advised against (RFC 9325 section 4.1). 3DES and
    /// RC4 today's OpenSSL no longer has, and Postfix then has no TLS with the relay.
    ///
    /// # Fix
    /// Ask the relay's operator to offer ECDHE with AES-GCM (Postfix: `smtpd_tls_mandatory_ciphers = high`).
    "tls.cipher" ("RFC 9325 section 4.1") => cipher,

    /// The relay's certificate has a path to a trust anchor.
    ///
    /// Postfix trusts nobody until `smtp_tls_CAfile` or `smtp_tls_CApath` says whom, and then needs every certificate
    /// between the server's and the root (RFC 5280 section 6.1). Without such a path it logs "Untrusted TLS connection"
    /// and delivers at `may` and `encrypt`, and defers at `verify` and `secure`. At `fingerprint` a digest decides, at
    /// `dane` the TLSA record.
    ///
    /// A certificate is public, and anybody can show it: only a signature over the handshake proves that the server holds
    /// its key (RFC 8446 section 4.4.3). Where this tool cannot check that, what chain and name look like is not known of
    /// this server.
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

    /// The relay's certificate lasts no longer than public CAs may issue.
    ///
    /// The CA/Browser Forum (SC-081v3) allows 398 days, from 15 March 2026 on 200, from 15 March 2027 on 100, from 15 March
    /// 2029 on 47, counted by the day of issue. Postfix does not mind, but a CA that breaks the rule loses its place among
    /// the trusted. Private CAs are free; public are those whose roots Mozilla ships.
    ///
    /// # Fix
    /// Ask the relay's operator for a new certificate.
    "tls.lifetime" ("CA/Browser Forum SC-081v3") => lifetime,

    /// The relay's certificate is not self-signed.
    ///
    /// A server's own word for itself proves nothing (RFC 5280 section 3.2), unless the certificate itself is among the
    /// trust anchors; then each renewal needs a change at every client.
    ///
    /// # Fix
    /// Ask the relay's operator for a certificate of a CA.
    "tls.self-signed" ("RFC 5280 section 3.2") => self_signed,

    /// The keys and signatures of the relay's chain are strong enough.
    ///
    /// RSA keys have 2048 bits at least, and nothing is signed with SHA-1 or MD5 (RFC 9325 section 4.5). Postfix leaves
    /// OpenSSL at security level 0 up to `encrypt`, which takes anything; at `verify` and `secure` it is 1, which refuses
    /// SHA-1 (in OpenSSL 3) and RSA keys below 1024 bits. The signature of a trust anchor nobody checks.
    ///
    /// # Fix
    /// Ask the relay's operator for a certificate with a key of RSA 2048 or ECDSA P-256, signed with SHA-256.
    "tls.key" ("RFC 9325 section 4.5") => key,

    /// The relay's certificate is made for a server.
    ///
    /// An extended key usage without serverAuth (RFC 5280 section 4.2.1.12), or a key usage without signatures and key
    /// exchange (section 4.2.1.3), makes OpenSSL distrust it. A CA's own certificate (CA:TRUE) as a server's OpenSSL, and so
    /// Postfix, takes; other libraries refuse it.
    ///
    /// # Fix
    /// Ask the relay's operator for a server certificate: CA:FALSE, extendedKeyUsage serverAuth.
    "tls.purpose" ("RFC 5280 section 4.2.1.12") => purpose,

    /// The relay shows the same certificate to a client that names no server.
    ///
    /// Postfix sends no server name (RFC 6066 section 3) unless `smtp_tls_servername` says so, and this tool sends the
    /// relay's: where the certificates differ, the one without is what Postfix judges. Needs `--tls-probe`.
    ///
    /// # Fix
    /// Set `smtp_tls_servername = hostname` (Postfix 3.4 and later).
    "tls.sni" ("RFC 6066 section 3") => sni,

    /// Nobody in between changes what the relay offers before TLS.
    ///
    /// Before STARTTLS anybody on the way can edit the list of capabilities, and firewalls that inspect SMTP do: they
    /// write `XXXXXXXA` over what they do not know, STARTTLS among it, and asterisks over the banner. What is offered
    /// under TLS may differ (RFC 3207 section 4.2), AUTH most of all; STARTTLS must not be there again.
    ///
    /// # Fix
    /// Switch off the inspection of SMTP in the firewall (Cisco: `no inspect esmtp`).
    "tls.capabilities" ("RFC 3207 section 4.2") => capabilities,

    /// The relay no longer speaks TLS 1.0 or 1.1.
    ///
    /// Both are forbidden (RFC 8996 sections 4 and 5), even where newer ones are preferred. A ClientHello that offers nothing
    /// newer than TLS 1.1, on a connection of its own, shows whether the server still takes it: an alert, or the end of the
    /// connection, means that it does not. Needs `--tls-probe`.
    ///
    /// # Fix
    /// Ask the relay's operator to switch them off (Postfix: `smtpd_tls_protocols = >=TLSv1.2`).
    "tls.legacy" ("RFC 8996 section 5") => legacy,

    /// A TLS session of before does not spoil the next one.
    ///
    /// Postfix keeps sessions (`smtp_tls_session_cache_database`) and takes them up again (RFC 8446 section 2.2). A server
    /// that offers that and then breaks it delays each mail but the first; one that does not offer it costs a full
    /// handshake, no more. Needs `--tls-probe`.
    ///
    /// # Fix
    /// Ask the relay's operator to share the keys of session tickets among the machines behind one address.
    "tls.resumption" ("RFC 8446 section 2.2") => resumption,

    /// The relay throws away what came in clear behind STARTTLS.
    ///
    /// A server that keeps it answers it under TLS: whoever is in between can put commands before the client's, and have
    /// the client's mail and password delivered to himself (CVE-2011-0411; RFC 3207 section 6). A NOOP in one piece with
    /// STARTTLS shows it. Needs `--tls-probe`.
    ///
    /// # Fix
    /// Ask the relay's operator to update the server, and use another relay until then.
    "tls.injection" ("RFC 3207 section 6") => injection,
}

async fn chain(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    judged(cx, |dialogue, session| {
        let finding = match session.is_trusted(dialogue.demand.is_matched()) {
            true => proved(session, trusted(cx, dialogue, session)),
            false => untrusted(cx, &dialogue.demand, session),
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
        false => "trusted by this system's roots; Postfix needs smtp_tls_CAfile or smtp_tls_CApath to see the same",
    };
    let demand = &dialogue.demand;
    let verified = match (&demand.proof, demand.trust(session, cx.now)) {
        // Postfix does not come so far as to say it.
        _ if !session.is_spoken_at(demand.is_matched()) => "",
        (Proof::Names(_), Some(Trust::Verified)) => "Verified: ",
        // The chain is not what makes it so: see what decides there.
        (Proof::Digests(_) | Proof::Tlsa { .. }, _) => "",
        (_, Some(Trust::Verified | Trust::Trusted)) => "Trusted: ",
        // The chain is not to blame for the name, or for the key.
        (_, Some(Trust::Untrusted) | None) => "",
    };
    let reservations: String = session.faults.iter().map(|fault| format!("; {fault}, too weak for verify")).collect();
    Finding::pass(format!("{verified}issued by {}, {anchored}{reservations}", session.issuer))
}

/// The finding, if the server has proved that it holds the key. A stranger can show anybody's certificate: what is right
/// with it is then not known of this server, and what is wrong stays wrong.
pub(crate) fn proved(session: &Session, finding: Finding) -> Finding {
    match session.doubt() {
        None => finding,
        Some(doubt) => {
            let message = format!("{}; {doubt}", finding.message);
            let advice = "Let Postfix's own posttls-finger show whether it comes to the end of the handshake";
            Finding { status: Status::Unknown, message, ..finding }.fix(Fix::Advice(advice.to_owned()))
        }
    }
}

fn untrusted(cx: &Context, demand: &Demand, session: &Session) -> Finding {
    let faults = session.faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ");
    if let Some(decider) = decider(demand) {
        return Finding::skip(format!("{faults}; at {demand} {decider} decides"));
    }
    if session.is_undecided() {
        return Finding::unknown(faults)
            .fix(Fix::Advice("Let Postfix's own posttls-finger show what it makes of the chain".to_owned()));
    }
    let message = format!("Untrusted: {faults}; {}", consequence(cx, demand, session));
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
        Fault::SelfSigned => {
            "Ask the relay's operator for a certificate of a CA, or get this one over a way you trust \
                              and add it to the file of smtp_tls_CAfile"
                .to_owned()
        }
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
            Proof::Digests(listed) => return digest(cx, demand, session, listed),
            Proof::Names(names) | Proof::Tlsa { names, .. } => names.clone(),
            _ => host(dialogue),
        };
        let all = session.names.all();
        let finding = match session.names.matching(&wanted) {
            Some(name) if session.names.are_common() => proved(
                session,
                Finding::warn(format!(
                    "is for {name} by its common name alone; it has no subjectAltName, and Postfix still takes that"
                ))
                .fix(Fix::Advice("Ask the relay's operator for a certificate with a subjectAltName".to_owned())),
            ),
            Some(name) => proved(session, Finding::pass(format!("is for {name}"))),
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
                let then = consequence(cx, demand, session);
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
fn digest(cx: &Context, demand: &Demand, session: &Session, listed: &[Fingerprint]) -> Finding {
    let Some([certificate, key]) = session.fingerprints(Algorithm::Sha256) else {
        return Finding::unknown("the certificate cannot be read");
    };
    let entry = format!("match={}", key.digits());
    let finding = match session.fingerprint(listed) {
        None => wrong(
            demand,
            format!(
                "neither it nor its key has a digest of the match list ({}); {}",
                listed.len(),
                consequence(cx, demand, session)
            ),
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
            let finding = match matched.algorithm {
                Algorithm::Sha256 => Finding::pass(message),
                older => {
                    Finding::warn(format!("{message}, with smtp_tls_fingerprint_digest = {older}")).fix(Fix::Advice(
                        format!("Set smtp_tls_fingerprint_digest = sha256, and put {entry} into the policy table"),
                    ))
                }
            };
            proved(session, finding)
        }
    };
    finding.fact("fingerprint", certificate.to_string()).fact("key_fingerprint", key.to_string())
}

async fn expiry(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    judged(cx, |dialogue, session| {
        let demand = &dialogue.demand;
        let outdated = |fact: String| match decider(demand) {
            Some(decider) => Finding::skip(format!("{fact}; at {demand} {decider} decides")),
            None => wrong(demand, format!("{fact}; {}", consequence(cx, demand, session))),
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
        let evidence = chain_shown(cx, dialogue, session);
        Ok(with_facts(cx, dialogue, session, judge(dialogue, session).saw([evidence])))
    })
    .await
}

/// The chain as it was sent.
fn chain_shown(cx: &Context, dialogue: &Dialogue, session: &Session) -> Evidence {
    Evidence { command: command(cx, &dialogue.endpoint), output: session.shown() }
}

fn session<'a>(cx: &Context, dialogue: &'a Dialogue) -> Result<&'a Session, Abstain> {
    dialogue.session.as_ref().ok_or_else(|| match dialogue.broke {
        Some((Stage::Handshake, _)) => Abstain::Needs("a TLS session".to_owned(), "tls.version"),
        _ if cx.target.tls.level == TlsLevel::None => unused(),
        _ => Abstain::Needs("STARTTLS".to_owned(), "relay.starttls"),
    })
}

/// What a session showed, for programs. What could not be found out is left out: whether Postfix trusts a chain that we
/// cannot judge, or a server whose signature we cannot check, and what it then does.
fn with_facts(cx: &Context, dialogue: &Dialogue, session: &Session, finding: Finding) -> Finding {
    let demand = &dialogue.demand;
    let is_undecided = session.is_undecided() && decider(demand).is_none();
    let is_spoken = session.is_spoken_at(demand.is_matched());
    let outcome = match is_spoken {
        false => Some(without_tls(cx, demand).0),
        true if demand.is_matched() && is_undecided => None,
        true => demand.outcome(session, cx.now),
    };
    let mut finding = finding;
    if let Some(trust) = demand.trust(session, cx.now).filter(|_| is_spoken && !is_undecided) {
        finding = finding.fact("trust", trust.to_string());
    }
    if let Some(outcome) = outcome {
        finding = finding.fact("postfix", outcome.word());
    }
    finding = finding.fact("version", session.version).fact("cipher", session.cipher);
    if session.key_exchange != "unknown" {
        finding = finding.fact("key_exchange", session.key_exchange);
    }
    finding.fact("not_after", timestamp(session.not_after))
}

/// What becomes of the mail where there is no TLS: Postfix may send it in clear where the level does without, and there
/// is no login (PLAINTEXT_FALLBACK_OK_AFTER_STARTTLS_FAILURE in Postfix's smtp.h).
fn without_tls(cx: &Context, demand: &Demand) -> (Outcome, &'static str) {
    match demand.is_optional() && !cx.target.tls.wrappermode && cx.target.sasl.is_none() {
        true => (Outcome::Fallback, "Postfix falls back to sending in clear"),
        false => (Outcome::Defer, "Postfix defers the mail"),
    }
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

/// What Postfix does about a certificate that is not as it should be.
fn consequence(cx: &Context, demand: &Demand, session: &Session) -> String {
    match (session.is_spoken_at(demand.is_matched()), demand.is_matched()) {
        (false, _) => without_tls(cx, demand).1.to_owned(),
        (true, false) => format!("at {demand} Postfix delivers all the same"),
        (true, true) => format!("at {demand} Postfix defers the mail"),
    }
}
