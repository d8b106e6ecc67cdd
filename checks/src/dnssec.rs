//! Whether the zones that mail depends on are signed, and the signatures hold.

use futures_util::future::join_all;
use hickory_resolver::proto::rr::RecordType;
use syntax::{Host, Name, address::Family};

use crate::{
    Abstain, Context, Finding, Fix,
    check::checks,
    net::{NoAnswer, dns::Validation},
};

checks! {
    /// Every name that mail depends on is signed with DNSSEC, and the signatures are valid.
    ///
    /// A zone is secure, insecure (no DS record in its parent, so nobody looks at signatures) or bogus: its signatures
    /// have expired or do not fit the DS record (RFC 4035 section 4.3). To every receiver whose resolver validates, a bogus
    /// zone does not answer at all. DANE needs a secure one (RFC 7672 section 2.1).
    ///
    /// The verdict is that of the resolver (its AD bit), which is believed if it runs on this machine, or with
    /// `--trust-ad`. A name is bogus where the resolver says SERVFAIL, and answers once it is told not to check (CD); the
    /// reason is the resolver's extended error (RFC 8914).
    ///
    /// # Fix
    /// Insecure: let the DNS provider sign the zone, and give the DS record to the registrar. Bogus: sign the zone again, and
    /// replace the DS record by that of the key in use, or take it away.
    "dnssec.status" ("RFC 4035 section 4.3") => status,
}

/// A name that mail depends on, and a question about it that other checks ask as well.
struct Relied {
    name: Name,
    rtype: RecordType,
    /// Whether it is the relay's: its operator decides.
    foreign: bool,
}

/// The sender domains, the envelope's domain, HOSTNAME and the relay, each once.
fn relied(cx: &Context) -> Vec<Relied> {
    let target = &cx.target;
    let address = if target.protocols.include(Family::Ipv4) { RecordType::A } else { RecordType::AAAA };
    let own = |name: &Name, rtype| Relied { name: name.clone(), rtype, foreign: false };
    let domains = target.domains.iter().map(|domain| own(domain, RecordType::MX));
    let mail_from = target.mail_from.iter().map(|domain| own(domain, RecordType::TXT));
    let hostname =
        target.hostname.iter().filter(|name| name.address_literal().is_none()).map(|name| own(name, address));
    let relay = target.relay.iter().flat_map(|relay| relay.next_hops()).filter_map(|hop| match &hop.host {
        Host::Name(name) => {
            Some(Relied { foreign: true, ..own(name, if hop.bracketed { address } else { RecordType::MX }) })
        }
        Host::Address(_) => None,
    });
    domains.chain(mail_from).chain(hostname).chain(relay).fold(Vec::new(), |mut relied: Vec<Relied>, next| {
        if relied.iter().all(|known| known.name != next.name) {
            relied.push(next);
        }
        relied
    })
}

async fn status(cx: &Context) -> Vec<Finding> {
    let relied = relied(cx);
    if relied.is_empty() {
        return vec![Finding::skip("no name given")];
    }
    join_all(relied.iter().map(async |relied| Finding::from(status_of(cx, relied).await).about(&relied.name))).await
}

async fn status_of(cx: &Context, relied: &Relied) -> Result<Finding, Abstain> {
    let answer = match cx.net.dns.ask(&relied.name, relied.rtype).await {
        Ok(answer) => answer,
        Err(silence) if silence.reason.is_server_failure() => return kept_back(cx, relied, silence).await,
        Err(silence) => return Err(silence.into()),
    };
    let finding = match answer.validation() {
        Validation::Secure => Finding::pass("secure: the resolver vouches for the signatures").fact("status", "secure"),
        Validation::Insecure if relied.foreign => {
            Finding::skip("insecure: the relay's operator does not sign it, so there is no DANE")
                .fact("status", "insecure")
        }
        Validation::Insecure => {
            let message = "insecure: not signed, or without a DS record in the parent zone (no AD bit)";
            Finding::warn(message).fact("status", "insecure").fix(Fix::Advice(
                "Let the DNS provider sign the zone, and give the DS record to the registrar; if it is signed, use a \
                 resolver that validates"
                    .to_owned(),
            ))
        }
        Validation::Untrusted => untrusted(""),
    };
    Ok(finding.saw([answer.evidence()]))
}

/// SERVFAIL: bogus, if the resolver answers once it does not check.
async fn kept_back(cx: &Context, relied: &Relied, silence: NoAnswer) -> Result<Finding, Abstain> {
    let Ok(unchecked) = cx.net.dns.ask_unchecked(&relied.name, relied.rtype).await else {
        return Err(silence.into());
    };
    let finding = match unchecked.validation() {
        Validation::Untrusted => untrusted("; it answers only without checking the signatures (CD)"),
        Validation::Secure | Validation::Insecure => {
            let reason = &silence.reason;
            let message = format!("bogus: {reason}, but an answer without checking the signatures (CD)");
            Finding::fail(message).fact("status", "bogus").fact("reason", reason.to_string()).fix(Fix::Advice(
                "Sign the zone again, and replace the DS record by that of the key in use, or take it away".to_owned(),
            ))
        }
    };
    Ok(finding.saw([silence.evidence(), unchecked.evidence()]))
}

fn untrusted(more: &str) -> Finding {
    let message = format!("resolver not trusted: it is not on this machine, and --trust-ad was not given{more}");
    Finding::unknown(message).fix(Fix::Advice(
        "Run a validating resolver on this machine, or vouch for the way to this one with --trust-ad".to_owned(),
    ))
}
