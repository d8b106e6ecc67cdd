//! Blocklists: whether the outgoing addresses and the sender domains are on one.

use futures_util::future::{join, join_all};
use syntax::{
    Name,
    address::{Family, unseen},
};

pub use self::lists::{RETIRED_BLOCKLISTS, retired};
use self::{
    lists::{Kind, LISTS, List, TestPoints},
    question::{Entry, Health, Listing, Sort, health, listing},
};
use crate::{Abstain, Context, Evidence, Finding, Fix, Status, check::checks};

mod lists;
mod question;
#[cfg(test)]
mod tests;

checks! {
    /// No outgoing address is on a blocklist.
    ///
    /// Receivers reject or junk mail from an address that a blocklist lists (RFC 5782 section 2.1 for IPv4, 2.4 for
    /// IPv6). Policy lists name the addresses that are not meant to send directly, such as those of home connections:
    /// behind a relay that is as it should be.
    ///
    /// A list is asked only after it has passed its own test: what is always listed is, what never is listed is not.
    /// An answer such as 127.255.255.254 is no listing: the list refuses the resolver that asked, often because it is
    /// a public one.
    ///
    /// # Fix
    /// Find and stop what got the address listed (an infected machine, a stolen password, a sender of bulk mail), then
    /// ask for removal at the list's page. Where a list refuses the resolver, ask through one of your own
    /// (`--resolver`), or leave the lists out (`--skip dnsbl`).
    "dnsbl.address" ("RFC 5782 section 2.1") => address,

    /// No sender domain is on a blocklist.
    ///
    /// Receivers look up the domains of the From: header, of MAIL FROM and of links in lists of names (RFC 5782 section
    /// 3), and junk what they find there, whoever sends it.
    ///
    /// # Fix
    /// Find out what the domain was listed for (a cracked web site, somebody else's mail in its name, its past before
    /// it was yours), stop it, then ask for removal at the list's page.
    "dnsbl.domain" ("RFC 5782 section 3") => domain,
}

/// A list, and the zone at which it is asked.
struct Blocklist {
    zone: Name,
    list: &'static List,
    /// Whether the user named it: then it is missed where it cannot be seen.
    typed: bool,
}

impl Blocklist {
    fn test_points(&self, sort: Sort) -> Option<TestPoints> {
        match sort {
            Sort::Ipv4 => self.list.ipv4,
            Sort::Ipv6 => self.list.ipv6,
            Sort::Names => self.list.names,
        }
    }
}

/// What a list said of one entry.
enum Outcome {
    Judged(Box<Finding>),
    /// A list that nobody named, and that this resolver does not show.
    Hidden(Name, Vec<Evidence>),
}

/// The built-in lists, then those that were named besides.
fn blocklists(cx: &Context) -> Vec<Blocklist> {
    let typed = &cx.target.dnsbl;
    let built_in = LISTS.iter().filter_map(|list| Some((list.zone.parse::<Name>().ok()?, list)));
    let built_in = built_in.filter(|(zone, _)| !typed.contains(zone));
    built_in
        .map(|(zone, list)| Blocklist { zone, list, typed: false })
        .chain(typed.iter().map(|zone| Blocklist { zone: zone.clone(), list: lists::at(zone), typed: true }))
        .collect()
}

async fn address(cx: &Context) -> Vec<Finding> {
    let lists = blocklists(cx);
    // The lists are tested while HOSTNAME's addresses are asked for.
    let (outgoing, _) = join(cx.outgoing(), tested(cx, &lists, &expected_sorts(cx))).await;
    let mut findings = Vec::new();
    let mut entries = Vec::new();
    for address in outgoing.addresses {
        match unseen(address) {
            Some(why) => findings.push(Finding::skip(format!("{why}: no receiver sees it")).about(address)),
            None => entries.push(Entry::Address(address)),
        }
    }
    let silences = outgoing.silences.into_iter().map(|(family, silence)| {
        let needs = Finding::from(Abstain::Needs(format!("the {} address", family.name()), "hostname.address"));
        needs.saw([silence.evidence()]).about(family.word())
    });
    findings.extend(silences);
    if findings.is_empty() && entries.is_empty() {
        return vec![no_address(cx)];
    }
    findings.extend(judged(cx, &lists, &entries).await);
    findings
}

/// The sorts of address that mail may leave from, as far as can be told without asking.
fn expected_sorts(cx: &Context) -> Vec<Sort> {
    let named = |family| cx.named_addresses().any(|address| Family::of(address) == family);
    let families = cx.families().filter(|family| cx.target.ips.is_empty() || named(*family));
    let is_known = cx.target.hostname.is_some() || !cx.target.ips.is_empty();
    families.filter(|_| is_known).map(Sort::of_family).collect()
}

fn no_address(cx: &Context) -> Finding {
    match cx.target.hostname {
        Some(_) => Abstain::Needs("an outgoing address".to_owned(), "hostname.address").into(),
        None => Finding::skip("no outgoing address known, name it with --ip"),
    }
}

async fn domain(cx: &Context) -> Vec<Finding> {
    let mut domains: Vec<&Name> = Vec::new();
    for domain in cx.target.domains.iter().chain(cx.target.mail_from_domains()) {
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    if domains.is_empty() {
        return vec![Finding::skip("no domain given")];
    }
    let entries: Vec<Entry> = domains.into_iter().cloned().map(Entry::Name).collect();
    judged(cx, &blocklists(cx), &entries).await
}

/// Every test of the lists, at once.
async fn tested(cx: &Context, lists: &[Blocklist], sorts: &[Sort]) {
    let tests = lists.iter().flat_map(|list| sorts.iter().map(move |sort| tested_for(cx, list, *sort)));
    join_all(tests).await;
}

/// How the list fares for one sort of entry; nothing where it lists none of them.
async fn tested_for(cx: &Context, list: &Blocklist, sort: Sort) -> Option<Health> {
    Some(health(cx, &list.zone, list.list, list.test_points(sort)?).await)
}

/// What every list says of every entry. The lists that this resolver does not show are told once.
async fn judged(cx: &Context, lists: &[Blocklist], entries: &[Entry]) -> Vec<Finding> {
    let pairs = entries.iter().flat_map(|entry| lists.iter().map(move |list| (entry, list)));
    let outcomes = join_all(pairs.map(|(entry, list)| outcome(cx, list, entry))).await;
    let mut findings: Vec<Finding> = Vec::new();
    let mut hidden: Vec<String> = Vec::new();
    let mut seen: Vec<Evidence> = Vec::new();
    for outcome in outcomes.into_iter().flatten() {
        match outcome {
            Outcome::Judged(finding) => findings.push(*finding),
            Outcome::Hidden(zone, evidence) => {
                hidden.push(zone.to_string());
                seen.extend(evidence);
            }
        }
    }
    hidden.sort();
    hidden.dedup();
    let mut known = Vec::new();
    seen.retain(|evidence| {
        !known.contains(&evidence.command) && {
            known.push(evidence.command.clone());
            true
        }
    });
    if !hidden.is_empty() {
        let what = "not visible through this resolver, not asked: their test points are not listed, or refused";
        findings.insert(0, Finding::skip(format!("{}: {what}", hidden.join(", "))).fact("lists", hidden).saw(seen));
    }
    findings
}

/// What one list says of one entry; nothing where it does not list such.
async fn outcome(cx: &Context, list: &Blocklist, entry: &Entry) -> Option<Outcome> {
    let sort = entry.sort();
    let points = list.test_points(sort)?;
    let finding = match tested_for(cx, list, sort).await? {
        Health::Sound => asked(cx, list, entry).await.into(),
        // A resolver for its own zones alone says nothing of lists that nobody named.
        Health::Silent(silence) if !list.typed && silence.reason.is_refusal() => {
            return Some(Outcome::Hidden(list.zone.clone(), vec![silence.evidence()]));
        }
        Health::Silent(silence) => Abstain::Unknown(silence).into(),
        Health::Refused(why, evidence) => Finding::unknown(why).saw(evidence).fix(own_resolver()),
        Health::Broken(why, evidence) => Finding::unknown(why).saw(evidence).fix(ended(list)),
        Health::Absent(evidence) if serves_others(cx, list, sort).await => {
            let sort = sort.word();
            Finding::skip(format!("lists no {sort}: its test point {} is not listed", points.listed)).saw(evidence)
        }
        Health::Absent(evidence) if list.typed => {
            let test = "fails its own test (RFC 5782 section 5), not asked";
            let finding = Finding::unknown(format!("{test}: {} is not listed", points.listed)).saw(evidence);
            finding
                .fix(Fix::Advice("Check the zone's name, and ask through a resolver that the list serves".to_owned()))
        }
        Health::Absent(evidence) => return Some(Outcome::Hidden(list.zone.clone(), evidence)),
    };
    Some(Outcome::Judged(Box::new(finding.about(format!("{entry} {}", list.zone)))))
}

/// Whether the list is sound for another sort of entry, so that this sort is just none of its business.
async fn serves_others(cx: &Context, list: &Blocklist, sort: Sort) -> bool {
    let others = Sort::ALL.into_iter().filter(|other| *other != sort);
    let healths = join_all(others.map(|other| tested_for(cx, list, other))).await;
    healths.into_iter().flatten().any(|health| matches!(health, Health::Sound))
}

fn own_resolver() -> Fix {
    Fix::Advice("Ask through a resolver of your own (--resolver), or leave the lists out (--skip dnsbl)".to_owned())
}

fn ended(list: &Blocklist) -> Fix {
    let cause = "No blocklist, no longer one, or a resolver that makes answers up: ask through another (--resolver)";
    let option = if list.typed { format!("without --dnsbl {}", list.zone) } else { "with --skip dnsbl".to_owned() };
    Fix::Advice(format!("{cause}, or go {option}"))
}

async fn asked(cx: &Context, list: &Blocklist, entry: &Entry) -> Result<Finding, Abstain> {
    let finding = match listing(cx, &list.zone, list.list, entry).await? {
        Listing::None(evidence) => Finding::pass("not listed").saw([evidence]),
        Listing::Error(why, evidence) => Finding::unknown(why).saw([evidence]).fix(own_resolver()),
        Listing::Listed(listed) => {
            let is_policy = listed.kinds.iter().all(|kind| *kind == Some(Kind::Policy));
            // A code that the list has taken up since is a listing of some kind, but of which nobody here can say.
            let is_odd = !list.list.codes.is_empty() && listed.kinds.iter().all(Option::is_none);
            let status = if is_odd { Status::Warn } else { Status::Fail };
            let finding = Finding::new(status, format!("listed with {}", listed.sentence))
                .fact("codes", listed.codes)
                .saw(listed.evidence);
            let finding = if listed.reason.is_empty() { finding } else { finding.fact("reason", listed.reason) };
            relayed(cx, finding, entry, is_policy).fix(removal(cx, list, is_policy))
        }
    };
    Ok(finding)
}

/// Behind a relay receivers see the relay: a listing of this host's own address is only told, and warned of where
/// the host itself is said to do harm, or where `--ip` says that receivers do see the address.
fn relayed(cx: &Context, finding: Finding, entry: &Entry, is_policy: bool) -> Finding {
    match entry {
        Entry::Address(address) if cx.target.is_relayed() => match cx.target.ips.contains(address) || !is_policy {
            true => finding.at_most(Status::Warn),
            false => Finding {
                status: Status::Skip,
                message: format!("receivers see the relay ({})", finding.message),
                ..finding
            },
        },
        _ => finding,
    }
}

fn removal(cx: &Context, list: &Blocklist, is_policy: bool) -> Fix {
    let page = match list.list.delisting {
        Some(page) => page.to_owned(),
        None => format!("the page of {}", list.zone),
    };
    Fix::Advice(match is_policy {
        true if cx.target.is_relayed() => {
            format!("If mail leaves from the address as well as through the relay, have it taken off at {page}")
        }
        true => format!("Send through the provider's relay (--relay), or have the address taken off at {page}"),
        false => format!("Find and stop the cause, then ask for removal at {page}"),
    })
}
