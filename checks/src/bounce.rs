//! Whether bounces find their way back.

use futures_util::future::join_all;
use hickory_resolver::proto::rr::RecordType;
use syntax::{
    Name,
    address::{Family, unseen},
};

use crate::{
    Abstain, Context, Evidence, Finding, Fix,
    check::checks,
    net::{NoAnswer, dns::Answer},
};

checks! {
    /// The domain of MAIL FROM can receive bounces.
    ///
    /// What cannot be delivered is reported to the reverse-path (RFC 5321 section 6.1). Where its domain has no MX with an
    /// address, the report is lost; many receivers look for themselves and reject such a sender at once, and one
    /// with a null MX most of all (550 5.7.27, RFC 7505 section 4.2).
    ///
    /// # Fix
    /// Publish an MX record of the MAIL FROM domain that names a host that accepts its mail, or send with a domain that
    /// has one.
    "bounce.mail-from" ("RFC 5321 section 6.1") => mail_from,
}

async fn mail_from(cx: &Context) -> Vec<Finding> {
    let domains = cx.target.mail_from_domains();
    if domains.is_empty() {
        return vec![Finding::skip("no domain given")];
    }
    join_all(domains.iter().map(async |domain| Finding::from(way_back(cx, domain).await).about(domain))).await
}

async fn way_back(cx: &Context, domain: &Name) -> Result<Finding, Abstain> {
    let answer = cx.net.dns.ask(domain, RecordType::MX).await?;
    let is_null = answer.exchanges().iter().any(|(_, exchange)| exchange.is_root());
    let exchanges: Vec<Name> = answer.hosts().0.into_iter().map(|(_, exchange)| exchange).collect();
    let finding = match (exchanges.is_empty(), is_null) {
        (true, true) => {
            Finding::fail("null MX: bounces cannot be delivered, and many receivers reject the sender for it")
        }
        (true, false) if answer.is_nxdomain() => Finding::fail(format!("{}: bounces are lost", answer.absence())),
        (true, false) => implicit(cx, domain, &answer).await?,
        (false, _) => explicit(cx, &exchanges).await?,
    };
    let publish = format!("Publish an MX record of {domain} that names a host that accepts its mail");
    let seen = std::iter::once(answer.evidence()).chain(finding.evidence.iter().cloned()).collect();
    Ok(Finding { evidence: seen, ..finding.fix(Fix::Advice(publish)) })
}

/// Without MX the domain's own addresses are tried (RFC 5321 section 5.1).
async fn implicit(cx: &Context, domain: &Name, answer: &Answer) -> Result<Finding, NoAnswer> {
    let absence = answer.absence();
    let (is_reachable, evidence) = reached(cx, domain).await?;
    let finding = match is_reachable {
        true => Finding::warn(format!("{absence}: bounces go to the domain's own address")),
        false => Finding::fail(format!("{absence}, and no address that senders can reach: bounces are lost")),
    };
    Ok(finding.saw(evidence))
}

/// One exchange that can be reached is enough; where none is and one could not be found out, nobody knows.
async fn explicit(cx: &Context, exchanges: &[Name]) -> Result<Finding, NoAnswer> {
    let (mut silence, mut seen) = (None, Vec::new());
    let mut reachable: Vec<String> = Vec::new();
    let asked = join_all(exchanges.iter().map(|exchange| reached(cx, exchange))).await;
    for (exchange, outcome) in exchanges.iter().zip(asked) {
        match outcome {
            Ok((is_reachable, evidence)) => {
                reachable.extend(Some(exchange.to_string()).filter(|_| is_reachable));
                seen.extend(evidence);
            }
            Err(why) => silence = Some(why),
        }
    }
    let lost = "no exchange of the domain has an address that senders can reach: bounces are lost";
    match (reachable.is_empty(), silence) {
        (false, _) => Ok(Finding::pass(format!("bounces go to {}", reachable.join(", "))).saw(seen)),
        (true, Some(silence)) => Err(silence),
        (true, None) => Ok(Finding::fail(lost).saw(seen)),
    }
}

/// Whether a host has an address that senders can see, and what there was to see.
async fn reached(cx: &Context, host: &Name) -> Result<(bool, Vec<Evidence>), NoAnswer> {
    if host.address_literal().is_some() {
        return Ok((false, Vec::new()));
    }
    let asked = join_all(Family::BOTH.map(|family| cx.net.dns.ask(host, family.record_type()))).await;
    let (mut is_reachable, mut silence, mut seen) = (false, None, Vec::new());
    for answer in asked {
        match answer {
            Ok(answer) => {
                is_reachable |= answer.addresses().into_iter().any(|address| unseen(address).is_none());
                seen.push(answer.evidence());
            }
            Err(why) => silence = Some(why),
        }
    }
    match silence {
        Some(silence) if !is_reachable => Err(silence),
        _ => Ok((is_reachable, seen)),
    }
}
