//! Whether the relay's and the MX hosts' TLSA records hold what they promise.

use futures_util::future::join_all;
use hickory_resolver::proto::rr::RecordType;
use syntax::Name;

use self::{
    live::{matched, starttls},
    party::{Party, parties},
};
use crate::{
    Abstain, Context, Finding, Fix, Status, TlsLevel,
    check::checks,
    net::{
        NoAnswer,
        dane::{Published, published},
        dns::Validation,
        tls::{Tlsa, considered},
    },
};

mod live;
mod party;

checks! {
    /// The host's TLSA records are there, and signed.
    ///
    /// A sender that knows DANE asks for `_25._tcp.HOST` TLSA where the MX records, the host's addresses and the TLSA
    /// records themselves are secure (RFC 7672 section 2.2). What is not signed counts as not there; what cannot be looked
    /// up, or is bogus, makes the sender keep the mail. TLSA records are asked for the relay's hosts and the first ten MX
    /// hosts of the domains.
    ///
    /// # Fix
    /// Sign the zones of the domain and of the host, or take the TLSA records away.
    "dane.record" ("RFC 7672 section 2.2") => record,

    /// The TLSA records are of a kind that SMTP uses.
    ///
    /// Senders use DANE-TA(2) and DANE-EE(3); PKIX-TA(0) and PKIX-EE(1) are unusable to them (RFC 7672 section 3.1.3).
    /// With unusable records alone they encrypt and ask nobody for a certificate. Of several digests of a kind the
    /// strongest alone counts (RFC 7671 section 9). `3 1 1` is recommended (RFC 7672 section 3.1.1): it stays while the key
    /// stays, where `3 0 1` changes with each certificate.
    ///
    /// # Fix
    /// Publish `3 1 1` with the SHA2-256 digest of the server's public key.
    "dane.usage" ("RFC 7672 section 3.1") => usage,

    /// The server's chain is one that a TLSA record vouches for.
    ///
    /// One usable record has to match: DANE-EE(3) the server's certificate or key, whatever its names and dates (RFC 7672
    /// section 3.1.1); DANE-TA(2) a CA certificate that the server sends, with an unbroken chain of valid certificates up
    /// to it, and a name of the host or of the domain (RFC 7672 sections 3.1.2 and 3.2.2). Otherwise senders that know DANE
    /// keep the mail. For MX hosts, `--mx-probe` looks.
    ///
    /// # Fix
    /// Publish the record of the key in use. Before the next key, publish its record beside this one, wait for two TTLs,
    /// then change the key (RFC 7671 section 8.1).
    "dane.match" ("RFC 7671 section 5") => matched,

    /// A host with TLSA records offers STARTTLS.
    ///
    /// TLSA records promise TLS: without STARTTLS, senders that know DANE keep the mail (RFC 7672 section 2.2).
    ///
    /// # Fix
    /// Switch STARTTLS on, or take the TLSA records away.
    "dane.starttls" ("RFC 7672 section 2.2") => starttls,
}

async fn record(cx: &Context) -> Vec<Finding> {
    let (parties, lost) = parties(cx).await;
    let judged = parties.iter().map(async |party| Finding::from(record_of(cx, party).await).about(party));
    let findings = [join_all(judged).await, lost].concat();
    if findings.is_empty() { vec![Finding::skip("no domain and no relay given")] } else { findings }
}

async fn record_of(cx: &Context, party: &Party) -> Result<Finding, Abstain> {
    let owner = if party.is_relay { "relay.connect" } else { "mx.address" };
    let nowhere = || Abstain::Needs(format!("an address of {}", party.host), owner);
    let published = published(cx, &party.host, party.port).await.ok_or_else(nowhere)?;
    let is_needed = party.is_relay && cx.target.tls.level == TlsLevel::DaneOnly;
    let answer = match &published.answer {
        Ok(answer) => answer,
        Err(silence) => return silent(cx, party, &published, silence).await,
    };
    let otherwise = "use another level for this destination (smtp_tls_policy_maps)";
    if published.records.is_empty() {
        let message = format!("no TLSA record at {}", published.owner);
        let finding = match is_needed {
            true => Finding::fail(format!("{message}; at level dane-only Postfix defers the mail"))
                .fix(Fix::Advice(format!("Ask the operator of {} for TLSA records, or {otherwise}", party.host))),
            false => Finding::skip(message),
        };
        return Ok(finding.saw([answer.evidence()]));
    }
    let many = count(&published.records);
    let validation = published.validation().unwrap_or(Validation::Insecure).max(party.validation);
    let finding = match validation {
        Validation::Untrusted => untrusted(&many),
        Validation::Secure => Finding::pass(format!("{many}, signed all the way")),
        Validation::Insecure => {
            let useless = match (published.validation(), published.addresses) {
                (Some(Validation::Secure), _) => format!(
                    "{many}, but the MX records of {} are not signed: whoever forges them leads mail elsewhere, and \
                     senders need not look at the TLSA records",
                    names(&party.domains)
                ),
                (_, Validation::Insecure) => format!("{many} without use: {} is not signed", party.host),
                _ => format!("{many} without use: {} is not signed", published.owner),
            };
            let fix = Fix::Advice(match party.is_relay {
                true if published.validation() == Some(Validation::Secure) => {
                    format!("Ask the operator of {} to sign it, or {otherwise}", names(&party.domains))
                }
                true => format!("Ask the operator of {} to sign the zone, or {otherwise}", party.host),
                false if published.validation() == Some(Validation::Secure) => {
                    format!("Sign {} with DNSSEC", names(&party.domains))
                }
                false => "Sign the zones of the domain and of the MX host with DNSSEC, or take the TLSA records away"
                    .to_owned(),
            });
            match is_needed {
                true => Finding::fail(format!("{useless}; at level dane-only Postfix defers the mail")),
                false => Finding::warn(useless),
            }
            .fix(fix)
        }
    };
    let records: Vec<String> = published.records.iter().map(Tlsa::to_string).collect();
    Ok(finding.fact("records", records).saw([answer.evidence()]))
}

/// A TLSA lookup that fails makes senders wait, but only where they look: below signed addresses (RFC 7672 section 2.2.2).
async fn silent(cx: &Context, party: &Party, published: &Published, silence: &NoAnswer) -> Result<Finding, Abstain> {
    if published.addresses == Validation::Insecure {
        let message = format!("{} is not signed: senders look for no TLSA record", party.host);
        return Ok(Finding::skip(message).saw([silence.evidence()]));
    }
    let unchecked = match silence.reason.is_server_failure() {
        true => cx.net.dns.ask_unchecked(&published.owner, RecordType::TLSA).await.ok(),
        false => None,
    };
    match unchecked.filter(|unchecked| unchecked.validation() != Validation::Untrusted) {
        None => Err(silence.clone().into()),
        Some(unchecked) => Ok(lowered(
            cx,
            party,
            Finding::fail(format!(
                "bogus: {}, but an answer without checking the signatures (CD); {}",
                silence.reason,
                consequence(cx, party)
            )),
        )
        .saw([silence.evidence(), unchecked.evidence()])
        .fix(Fix::Advice(
            "Sign the zone again: its signatures, or its proof that a name does not exist, do not hold".to_owned(),
        ))),
    }
}

fn untrusted(many: &str) -> Finding {
    let message = format!("{many}; whether they are signed is not known: resolver not trusted");
    Finding::unknown(message).fix(Fix::Advice(
        "Run a validating resolver on this machine, or vouch for the way to this one with --trust-ad".to_owned(),
    ))
}

async fn usage(cx: &Context) -> Vec<Finding> {
    with_records(cx, async |party, published| vec![lowered(cx, party, usage_of(party, &published)).about(party)]).await
}

fn usage_of(party: &Party, published: &Published) -> Finding {
    let records = &published.records;
    let flaws: Vec<String> =
        records.iter().filter_map(|record| record.flaw().map(|flaw| format!("{}: {flaw}", record.kind()))).collect();
    let mut kinds: Vec<String> = records.iter().map(Tlsa::kind).collect();
    kinds.dedup();
    let kinds = kinds.join(", ");
    let weighty = records.iter().find(|record| record.flaw().is_none() && record.matching == 0);
    let short_lived = records.iter().find(|record| record.usage == Tlsa::DANE_EE && record.selector == 0);
    let finding = if considered(records).is_empty() {
        Finding::fail(format!("none can be used ({}): senders encrypt, and accept any certificate", flaws.join("; ")))
    } else if !flaws.is_empty() {
        Finding::warn(format!("{kinds}, of which {} cannot be used ({})", flaws.len(), flaws.join("; ")))
    } else if let Some(record) = weighty {
        Finding::warn(format!("{}: matching type 0 carries the whole data instead of a digest", record.kind()))
    } else if let Some(record) = short_lived {
        Finding::warn(format!("{}: a digest of the certificate, which changes with every renewal", record.kind()))
    } else {
        Finding::pass(kinds)
    };
    let who =
        if party.is_relay { format!("Ask the operator of {} to publish", party.host) } else { "Publish".to_owned() };
    finding.saw(published.answer.iter().map(|answer| answer.evidence())).fix(Fix::Advice(format!(
        "{who} 3 1 1 at {} with what 'openssl x509 -noout -pubkey -in CERTIFICATE | openssl pkey -pubin -outform DER | \
         sha256sum' prints",
        published.owner
    )))
}

/// Findings about each party that has TLSA records.
async fn with_records(cx: &Context, judge: impl AsyncFn(&Party, Published) -> Vec<Finding>) -> Vec<Finding> {
    let (parties, _) = parties(cx).await;
    let judged = parties.iter().map(async |party| match published(cx, &party.host, party.port).await {
        Some(published) if !published.records.is_empty() => judge(party, published).await,
        Some(Published { answer: Err(_), addresses, .. }) if addresses != Validation::Insecure => {
            vec![Finding::from(Abstain::Needs("the TLSA records".to_owned(), "dane.record")).about(party)]
        }
        _ => Vec::new(),
    });
    let findings = join_all(judged).await.concat();
    if findings.is_empty() { vec![Finding::skip("no TLSA record")] } else { findings }
}

/// What becomes of mail where TLSA records do not hold what they promise.
fn consequence(cx: &Context, party: &Party) -> String {
    let level = cx.target.tls.level;
    match party.is_relay {
        false => "senders that know DANE keep the mail".to_owned(),
        true if level >= TlsLevel::Dane => format!("at level {level} Postfix defers the mail"),
        true => format!("at level {level} Postfix does not look at it"),
    }
}

/// Of the relay's records nothing worse than a warning comes while Postfix does not look at them.
fn lowered(cx: &Context, party: &Party, finding: Finding) -> Finding {
    match party.is_relay && cx.target.tls.level < TlsLevel::Dane {
        true => finding.at_most(Status::Warn),
        false => finding,
    }
}

fn count(records: &[Tlsa]) -> String {
    match records.len() {
        1 => "1 TLSA record".to_owned(),
        many => format!("{many} TLSA records"),
    }
}

fn names(names: &[Name]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
