//! Where replies and bounces go.

use futures_util::future::join_all;
use hickory_resolver::proto::rr::RecordType;
use syntax::{
    Name, Protocols,
    address::{Family, unseen},
    text::grouped,
};

use self::probe::starttls;
pub(crate) use self::probe::{Exchange, exchanges, unprobed};
use crate::{
    Abstain, Context, Finding, Fix, Status,
    check::checks,
    net::{
        NoAnswer,
        dns::{Answer, MOST_HOSTS},
    },
};

use self::published::{duplicates, lines, mixed, names, null};

mod probe;
mod published;

checks! {
    /// The sender domain can receive mail.
    ///
    /// Replies and bounces go to the domain's MX; a domain that cannot receive is distrusted as a sender, and many
    /// receivers reject it at once. A null MX says that it never will (RFC 7505 section 4.2).
    ///
    /// # Fix
    /// Publish an MX record that names a host that accepts the domain's mail.
    "mx.record" ("RFC 5321 section 5.1") => record,

    /// The sender domain does not say that it takes no mail.
    ///
    /// A null MX, `0 .`, is for domains that neither receive nor send: nobody can reply, bounces have nowhere to go, and
    /// receivers may reject mail from such a domain for that alone (550 5.7.27, RFC 7505 section 4.2).
    ///
    /// # Fix
    /// Publish an MX record that names a host that accepts the domain's mail, or send from a domain that has one.
    "mx.null" ("RFC 7505 section 4.2") => null,

    /// A null MX stands alone, or not at all.
    ///
    /// A domain that publishes a null MX must not publish any other MX record (RFC 7505 section 3): senders then find
    /// either that the domain takes no mail, or an exchange that does not exist.
    ///
    /// # Fix
    /// Delete the MX record whose exchange is a lone dot.
    "mx.mixed" ("RFC 7505 section 3") => mixed,

    /// Every exchange is named in one MX record.
    ///
    /// Named twice, with the same preference or another, an exchange is tried twice or only as the better of the two says
    /// (RFC 5321 section 5.1): the second record is no second way in, whatever it was meant to be.
    ///
    /// # Fix
    /// Keep the record with the lowest preference, and name another host in the other.
    "mx.duplicates" ("RFC 5321 section 5.1") => duplicates,

    /// Every exchange is spelt as the name of a host.
    ///
    /// An MX record names a host by letters, digits and hyphens (RFC 5321 section 2.3.5). In zone files and web forms
    /// other things slip in: a name without its final dot gets the zone's name behind it, a port, a comma or a blank
    /// becomes part of the name.
    ///
    /// # Fix
    /// Publish the MX records again with the name alone; in a zone file, with its final dot.
    "mx.name" ("RFC 5321 section 2.3.5") => names,

    /// Every mail exchange has a public address of its own.
    ///
    /// An MX record names a host with A or AAAA records, not a CNAME and not an address (RFC 5321 section 5.1, RFC 2181
    /// section 10.3).
    ///
    /// # Fix
    /// Name the host that the alias leads to, and publish its addresses.
    "mx.address" ("RFC 5321 section 5.1") => address,

    /// Every MX host takes mail over TLS.
    ///
    /// With `--mx-probe` each address of the domain's MX hosts is connected to on port 25, and STARTTLS (RFC 3207 section
    /// 4) tried up to the handshake. Without it, replies come in clear, and senders that insist on TLS send none.
    ///
    /// # Fix
    /// Give the MX host a certificate and switch STARTTLS on: `smtpd_tls_chain_files` and `smtpd_tls_security_level = may`.
    "mx.starttls" ("RFC 3207 section 4") => starttls,
}

async fn record(cx: &Context) -> Vec<Finding> {
    if cx.target.domains.is_empty() {
        return vec![Finding::skip("no domain given")];
    }
    join_all(cx.target.domains.iter().map(async |domain| Finding::from(record_of(cx, domain).await).about(domain)))
        .await
}

async fn record_of(cx: &Context, domain: &Name) -> Result<Finding, Abstain> {
    let answer = cx.net.dns.ask(domain, RecordType::MX).await?;
    let exchanges = answer.exchanges();
    let nulls = exchanges.iter().filter(|(_, exchange)| exchange.is_root()).count();
    let publish = || Fix::Advice(format!("Publish an MX record of {domain} that names your mail host"));
    let finding = match (exchanges.len(), nulls) {
        (0, _) if answer.is_nxdomain() => Finding::fail(answer.absence()).fix(publish()),
        (0, _) => implicit(cx, domain, &answer).await?.fix(publish()),
        (1, 1) => Finding::warn("null MX: the domain receives no mail, and some receivers reject senders that cannot")
            .fix(Fix::Advice(
                "Publish an MX record for replies and bounces, or send from a domain that has one".to_owned(),
            )),
        (_, 1..) => Finding::fail("a null MX beside others, which receivers take for a mistake")
            .fix(Fix::Zone(lines(domain, exchanges.iter().filter(|(_, exchange)| !exchange.is_root())))),
        _ => {
            let (hosts, beyond) = answer.hosts();
            let listed = |hosts: &[(u16, Name)]| {
                let mut names: Vec<String> = hosts.iter().map(|(_, host)| host.to_string()).collect();
                names.dedup();
                names.join(", ")
            };
            match beyond {
                0 => Finding::pass(listed(&exchanges)),
                _ => {
                    let many = grouped(exchanges.len());
                    let few = format!("Name a few hosts in the MX records of {domain}: senders try no more of them");
                    Finding::warn(format!(
                        "{many} MX records; the first {MOST_HOSTS} hosts are judged: {}, …",
                        listed(&hosts)
                    ))
                    .fix(Fix::Advice(few))
                }
            }
        }
    };
    Ok(finding.saw([answer.evidence()]))
}

/// Without MX the domain's own addresses are tried (RFC 5321 section 5.1).
async fn implicit(cx: &Context, domain: &Name, answer: &Answer) -> Result<Finding, Abstain> {
    let addresses = cx.net.dns.addresses(domain, Protocols::All).await?;
    Ok(match addresses.is_empty() {
        true => Finding::fail(format!("{}, and no address either", answer.absence())),
        false => Finding::warn(format!("{}: mail goes to the domain's own address", answer.absence())),
    })
}

/// Why a domain receives no mail; nothing if it does.
pub(crate) async fn receives(cx: &Context, domain: &Name) -> Result<Option<(String, Answer)>, NoAnswer> {
    let answer = cx.net.dns.ask(domain, RecordType::MX).await?;
    let exchanges = answer.exchanges();
    if exchanges.iter().any(|(_, exchange)| !exchange.is_root()) {
        return Ok(None);
    }
    if !exchanges.is_empty() {
        return Ok(Some((format!("{domain} has a null MX and receives no mail"), answer)));
    }
    if answer.is_nxdomain() {
        return Ok(Some((answer.absence(), answer)));
    }
    match cx.net.dns.addresses(domain, Protocols::All).await?.is_empty() {
        true => Ok(Some((format!("{domain} has no MX record and no address"), answer))),
        false => Ok(None),
    }
}

async fn address(cx: &Context) -> Vec<Finding> {
    if cx.target.domains.is_empty() {
        return vec![Finding::skip("no domain given")];
    }
    join_all(cx.target.domains.iter().map(|domain| addresses_of(cx, domain))).await.concat()
}

async fn addresses_of(cx: &Context, domain: &Name) -> Vec<Finding> {
    let answer = match cx.net.dns.ask(domain, RecordType::MX).await {
        Ok(answer) => answer,
        Err(silence) => {
            let needs = Finding::from(Abstain::Needs("the MX records".to_owned(), "mx.record"));
            return vec![needs.saw([silence.evidence()]).about(domain)];
        }
    };
    let (hosts, beyond) = answer.hosts();
    let mut exchanges: Vec<Name> = hosts.into_iter().map(|(_, exchange)| exchange).collect();
    if answer.is_empty() && is_its_own_exchange(cx, domain).await {
        exchanges.push(domain.clone());
    }
    if exchanges.is_empty() {
        let needs = Finding::from(Abstain::Needs("an MX record".to_owned(), "mx.record"));
        return vec![needs.saw([answer.evidence()]).about(domain)];
    }
    let judged = join_all(exchanges.iter().map(|exchange| exchange_of(cx, exchange))).await;
    // Where one could not be found out, nobody knows that mail finds no way in.
    let any_resolves = judged.iter().any(|judged| matches!(judged, Ok((_, true)) | Err(_)));
    judged
        .into_iter()
        .zip(&exchanges)
        .map(|(judged, exchange)| {
            let finding = judged.map(|(finding, resolves)| match any_resolves && !resolves {
                true => finding.at_most(Status::Warn),
                false => finding,
            });
            Finding::from(finding).about(format!("{domain} {exchange}"))
        })
        .chain((beyond > 0).then(|| {
            let unjudged = format!("{} more MX hosts, not asked about, see mx.record", grouped(beyond));
            Finding::skip(unjudged).about(format!("{domain} beyond"))
        }))
        .collect()
}

/// Whether mail goes to the domain's own address, for want of MX records.
async fn is_its_own_exchange(cx: &Context, domain: &Name) -> bool {
    cx.net.dns.addresses(domain, Protocols::All).await.is_ok_and(|addresses| !addresses.is_empty())
}

/// The verdict on one exchange, and whether it resolves at all.
async fn exchange_of(cx: &Context, exchange: &Name) -> Result<(Finding, bool), Abstain> {
    let advice = |text: &str| Fix::Advice(text.to_owned());
    if let Some(address) = exchange.address_literal() {
        let finding = Finding::fail("an address, where a host name is due");
        let record = Family::of(address).record_type();
        return Ok((
            finding.fix(advice(&format!("Name a host, and publish the address as its {record} record"))),
            true,
        ));
    }
    let asked = Family::BOTH.map(|family| cx.net.dns.ask(exchange, family.record_type()));
    let mut answers = Vec::new();
    let mut silence = None;
    for answer in join_all(asked).await {
        match answer {
            Ok(answer) => answers.push(answer),
            Err(why) => silence = Some(why),
        }
    }
    let evidence: Vec<_> = answers.iter().map(Answer::evidence).collect();
    let addresses: Vec<_> = answers.iter().flat_map(Answer::addresses).collect();
    let hidden = addresses.iter().filter_map(|address| unseen(*address).map(|why| format!("{address} is {why}")));
    let hidden: Vec<String> = hidden.collect();
    let shown = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let finding = if let Some(end) = answers.iter().find_map(|answer| answer.aliases().last()) {
        let nowhere = match answers.iter().any(Answer::is_nxdomain) {
            true => Some("does not exist (NXDOMAIN)"),
            false => (addresses.is_empty() && silence.is_none()).then_some("has no address"),
        };
        match nowhere {
            Some(why) => Finding::fail(format!("a CNAME that leads to {end}, which {why}"))
                .fix(advice("Name a host that has an address in the MX record")),
            None => Finding::fail(format!("a CNAME that leads to {end}"))
                .fix(advice(&format!("Name {end} in the MX record"))),
        }
    } else if addresses.is_empty() {
        match (silence, answers.first()) {
            (Some(silence), _) => return Err(silence.into()),
            (None, answer) => {
                let why = answer.filter(|answer| answer.is_nxdomain()).map(Answer::absence);
                let finding = Finding::fail(why.unwrap_or_else(|| "no address".to_owned()));
                let fix = advice("Publish the host's A and AAAA records, or take it out of the MX");
                return Ok((finding.saw(evidence).fix(fix), false));
            }
        }
    } else if !hidden.is_empty() {
        Finding::fail(format!("{}: no sender can reach it there", hidden.join(", ")))
            .fix(advice("Publish only addresses that senders can reach"))
    } else {
        Finding::pass(shown)
    };
    Ok((finding.saw(evidence), true))
}
