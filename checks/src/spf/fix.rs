//! Whole records to publish instead.

use std::{collections::HashSet, net::IpAddr};

use futures_util::future::join_all;
use syntax::{
    Name,
    address::Family,
    spf::{Mechanism, Record, SyntaxError},
};

use super::{
    Verdict,
    provider::provider,
    sender::evaluation,
    tree::{Cost, Published, published},
};
use crate::{Context, Fix};

/// A record for a domain that has none: it names the outgoing addresses, or the provider that sends.
pub(super) async fn new_record(cx: &Context, domain: &Name) -> Option<Fix> {
    let relay = cx.target.relay.as_ref().filter(|_| cx.target.ips.is_empty());
    let mut terms: Vec<String> = match relay {
        None => cx.outgoing().await.addresses.into_iter().map(term).collect(),
        Some(relay) => relay
            .next_hops()
            .filter_map(|hop| provider(&hop.host))
            .map(|provider| format!("include:{}", provider.include))
            .collect(),
    };
    terms.dedup();
    if terms.is_empty() {
        let advice = "Publish v=spf1, a term for every system that sends for the domain, and ~all";
        return Some(Fix::Advice(advice.to_owned()));
    }
    Some(Fix::txt(domain, &format!("v=spf1 {} ~all", terms.join(" "))))
}

/// The published record with a term for each outgoing address that does not pass.
pub(super) async fn with_addresses(cx: &Context, domain: &Name) -> Option<Fix> {
    let Published::One(record) = published(&cx.net.dns, domain).await.0 else { return None };
    let outgoing = cx.outgoing().await.addresses;
    let verdicts = join_all(outgoing.iter().map(|address| evaluation(cx, domain, *address))).await;
    let missing: Vec<String> = outgoing
        .into_iter()
        .zip(verdicts)
        .filter(|(_, evaluation)| evaluation.verdict != Verdict::Pass)
        .map(|(address, _)| term(address))
        .collect();
    if missing.is_empty() { None } else { Some(Fix::txt(domain, &with_terms(&record, &missing))) }
}

/// The published record with the provider's included.
pub(super) async fn with_include(cx: &Context, domain: &Name, include: &str) -> Option<Fix> {
    let Published::One(record) = published(&cx.net.dns, domain).await.0 else { return None };
    Some(Fix::txt(domain, &with_terms(&record, &[format!("include:{include}")])))
}

/// One record with the terms of all; the last `all` is kept, as the least surprising.
pub(super) fn merged(domain: &Name, texts: &[Vec<u8>]) -> Option<Fix> {
    let by_hand = Fix::Advice("Merge the records into one: the terms of all, and one all at the end".to_owned());
    let records: Vec<Record> = texts.iter().filter_map(|text| Record::parse(text).ok()).collect();
    if records.len() != texts.len() || records.iter().any(|record| record.redirect.is_some() || record.exp.is_some()) {
        return Some(by_hand);
    }
    let (mut terms, mut known, mut end) = (Vec::new(), HashSet::new(), "~all");
    for directive in records.iter().flat_map(|record| &record.directives) {
        match directive.mechanism {
            Mechanism::All => end = &directive.text,
            _ if known.insert(directive.text.as_str()) => terms.push(directive.text.as_str()),
            _ => {}
        }
    }
    terms.push(end);
    Some(Fix::txt(domain, &format!("v=spf1 {}", terms.join(" "))))
}

/// The record with the culprit corrected, where it is plain what was meant.
pub(super) fn corrected(domain: &Name, text: &str, error: &SyntaxError) -> Fix {
    let meant = ["ipv4:", "ip:", "ipv6:", "includes:"].iter().zip(["ip4:", "ip4:", "ip6:", "include:"]);
    let bare = error.term.trim_start_matches(['+', '-', '~', '?']);
    let corrected = meant
        .filter_map(|(wrong, right)| {
            bare.get(..wrong.len()).filter(|start| start.eq_ignore_ascii_case(wrong)).map(|start| (start, right))
        })
        .map(|(start, right)| text.replacen(start, right, 1))
        .find(|text| Record::parse(text.as_bytes()).is_ok());
    match corrected {
        Some(text) => Fix::txt(domain, &text),
        None => Fix::Advice(format!("Correct or remove {:?} in the record of {domain}", error.term)),
    }
}

/// What each branch costs, the dearest first.
pub(super) fn fewer_lookups(costs: &[Cost]) -> Fix {
    let mut dear: Vec<&Cost> = costs.iter().collect();
    dear.sort_by_key(|cost| std::cmp::Reverse(cost.lookups));
    let listed: Vec<String> =
        dear.iter().take(20).map(|cost| format!("{} costs {}", cost.term, cost.lookups)).collect();
    Fix::Advice(format!("Drop what you no longer send through: {}", listed.join(", ")))
}

/// The term that stands for one address and costs no lookup.
fn term(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("ip4:{address}"),
        IpAddr::V6(address) => format!("ip6:{address}"),
    }
}

/// The record with `terms` first: whatever stands behind them cannot keep them from matching.
fn with_terms(record: &Record, terms: &[String]) -> String {
    let mut words = record.text.split(' ').filter(|word| !word.is_empty());
    let version = words.next().unwrap_or("v=spf1");
    let others = words.filter(|word| !terms.iter().any(|term| term == word));
    let is_open = record.all().is_none() && record.redirect.is_none();
    let end = is_open.then_some("~all");
    let all = [version].into_iter().chain(terms.iter().map(String::as_str)).chain(others).chain(end);
    all.collect::<Vec<_>>().join(" ")
}

/// A record for the host's own name, which bounces are judged by.
pub(super) async fn for_greeting(cx: &Context, hostname: &Name) -> Option<Fix> {
    if let Some(fix) = with_addresses(cx, hostname).await {
        return Some(fix);
    }
    let mut terms = vec!["a".to_owned()];
    for address in cx.outgoing().await.addresses {
        let forward = cx.forward(hostname, Family::of(address)).await;
        if !forward.is_ok_and(|addresses| addresses.contains(&address)) {
            terms.push(term(address));
        }
    }
    Some(Fix::txt(hostname, &format!("v=spf1 {} -all", terms.join(" "))))
}
