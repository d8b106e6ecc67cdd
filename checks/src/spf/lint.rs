//! What is wrong with a record, or with one it includes, whatever address is asked about.

use futures_util::future::{join_all, try_join_all};
use hickory_resolver::proto::rr::RecordType;
use syntax::{
    Name, Protocols,
    address::unseen,
    spf::{Directive, Mechanism, Network, Record, is_spf},
    text::grouped,
};

use super::{
    each,
    evaluate::{MOST_NAMES, MOST_VOID_LOOKUPS},
    needs_answer, needs_record,
    provider::nearest_include,
    record_of,
    tree::{Published, Tree},
};
use crate::{
    Abstain, Context, Finding, Fix, Status,
    net::{NoAnswer, dns::TYPE_SPF},
};

/// An answer that every resolver gets over UDP without EDNS (RFC 1035 section 4.2.1), in octets.
const SMALL_ANSWER: usize = 512;

/// How many sentences about one record are told.
const MOST_SENTENCES: usize = 20;

/// How many terms are looked up here: receivers stop at the eleventh, and `spf.lookups` fails.
const MOST_LOOKED_UP: usize = 50;

/// For how many names without a record one that is likely meant is looked for: each takes several questions.
const MOST_HINTS: usize = 3;

/// The shortest prefixes that anybody but a large provider has a use for.
const WIDE_V4: u8 = 15;
const WIDE_V6: u8 = 31;

/// The tree of a domain that has a record.
async fn tree_of(cx: &Context, domain: &Name) -> Result<Tree, Abstain> {
    record_of(cx, domain).await?;
    Ok(Tree::fetch(cx, domain).await)
}

/// What was found, worst first; or else that there is nothing to find.
fn verdict(tree: &Tree, found: Vec<(Status, String)>, good: &str) -> Result<Finding, Abstain> {
    match (found.iter().map(|(status, _)| *status).max(), tree.silence()) {
        (Some(status), _) => {
            let more = found.len().saturating_sub(MOST_SENTENCES);
            let sentences = found.into_iter().take(MOST_SENTENCES).map(|(_, sentence)| sentence);
            let more = (more > 0).then(|| format!("and {} more of the kind", grouped(more)));
            Ok(Finding::new(status, sentences.chain(more).collect::<Vec<_>>().join("; ")))
        }
        (None, Some(silence)) => Err(silence.into()),
        (None, None) => Ok(Finding::pass(good)),
    }
}

/// ` in the record of PLACE`, unless that is the domain itself.
fn whose(domain: &Name, place: &Name) -> String {
    if domain == place { String::new() } else { format!(" in the record of {place}") }
}

pub(super) async fn void(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain| {
        let tree = tree_of(cx, domain).await?;
        let mut terms = Vec::new();
        for (place, record) in tree.records() {
            terms.extend(
                record.reachable().filter(|directive| directive.mechanism.asks()).map(|directive| (place, directive)),
            );
        }
        terms.truncate(MOST_LOOKED_UP);
        let asked = join_all(terms.iter().map(|(place, directive)| absences(cx, &tree, place, directive))).await;
        let mut found = Vec::new();
        for ((place, directive), absences) in terms.iter().zip(asked) {
            for absence in absences? {
                found.push(format!("{}{}: {absence}", directive.text, whose(domain, place)));
            }
        }
        let status = if found.len() > MOST_VOID_LOOKUPS { Status::Fail } else { Status::Warn };
        let count = found.len();
        let found = found.into_iter().map(|sentence| (status, sentence)).collect();
        Ok(verdict(&tree, found, "every term resolves to something")?
            .fact("void", count)
            .fix(Fix::Advice("Take out the terms that resolve to nothing, or publish what they name".to_owned())))
    })
    .await
}

/// Why a term costs receivers void lookups, whatever the sender's address, for each of them.
async fn absences(cx: &Context, tree: &Tree, place: &Name, directive: &Directive) -> Result<Vec<String>, NoAnswer> {
    let (target, rtype) = match &directive.mechanism {
        Mechanism::A(target, _) => (target.as_ref(), RecordType::A),
        Mechanism::Mx(target, _) => (target.as_ref(), RecordType::MX),
        Mechanism::Exists(target) => (Some(target), RecordType::A),
        Mechanism::All | Mechanism::Ip(_) | Mechanism::Include(_) | Mechanism::Ptr(_) => return Ok(Vec::new()),
    };
    let Some(name) = tree.subject(place, target) else { return Ok(Vec::new()) };
    let answer = cx.net.dns.ask(&name, rtype).await?;
    match directive.mechanism {
        Mechanism::A(..) => Ok(addressless(cx, &name).await?.into_iter().collect()),
        Mechanism::Mx(..) if !answer.is_empty() => {
            let exchanges = answer.exchanges();
            // More are a permanent error, and told by `spf.mx`.
            let asked_for = if exchanges.len() > MOST_NAMES { &[] } else { exchanges.as_slice() };
            let named = asked_for.iter().filter(|(_, exchange)| !exchange.is_root());
            let asked = named.map(|(_, exchange)| addressless(cx, exchange));
            Ok(try_join_all(asked).await?.into_iter().flatten().collect())
        }
        _ if answer.is_empty() => Ok(vec![answer.absence()]),
        _ => Ok(Vec::new()),
    }
}

/// Why a name has no address of either family, if it has none.
async fn addressless(cx: &Context, name: &Name) -> Result<Option<String>, NoAnswer> {
    let answer = cx.net.dns.ask(name, RecordType::A).await?;
    let is_void = answer.is_empty() && cx.net.dns.addresses(name, Protocols::All).await?.is_empty();
    Ok(is_void.then(|| answer.absence()))
}

pub(super) async fn include(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain| {
        let tree = tree_of(cx, domain).await?;
        if let Err(path) = tree.costs() {
            let path: Vec<String> = path.iter().map(ToString::to_string).collect();
            return Ok(Finding::fail(format!("the records lead back to themselves: {}", path.join(" → ")))
                .fix(Fix::Advice("Take the term out that leads back".to_owned())));
        }
        let mut found = Vec::new();
        let mut count = 0;
        for (place, record) in tree.records() {
            for directive in record.reachable() {
                let Mechanism::Include(target) = &directive.mechanism else { continue };
                count += 1;
                let Some(target) = tree.fixed(place, target) else { continue };
                let whose = whose(domain, place);
                match tree.at(&target) {
                    Some((_, Published::Nothing(_))) => {
                        let likely = if found.len() < MOST_HINTS { likely(cx, &target).await } else { None };
                        let hint = likely.map(|name| format!("; {name} has one")).unwrap_or_default();
                        found.push((Status::Fail, format!("{}{whose} has no SPF record{hint}", directive.text)));
                    }
                    Some((_, Published::Several(texts))) => {
                        found.push((
                            Status::Fail,
                            format!("{}{whose} has {} SPF records, 1 allowed", directive.text, texts.len()),
                        ));
                    }
                    _ => {}
                }
            }
        }
        if count == 0 {
            return Err(Abstain::NotApplicable("no include".to_owned()));
        }
        Ok(verdict(&tree, found, &format!("{count} included, each with a record"))?
            .fix(Fix::Advice("Correct the name, or drop the include".to_owned())))
    })
    .await
}

/// A name that differs from `target` in one label and has a record: a provider's, or the one with or without the
/// underscore that many put first.
async fn likely(cx: &Context, target: &Name) -> Option<Name> {
    let parent = target.parent();
    let first = String::from_utf8_lossy(target.labels().next()?).into_owned();
    let turned = first.strip_prefix('_').map_or_else(|| format!("_{first}"), str::to_owned);
    let siblings = [turned.as_str(), "_spf", "spf"].into_iter().filter_map(|label| parent.child(label).ok());
    let known = nearest_include(target);
    for name in known.into_iter().chain(siblings).filter(|name| name != target) {
        let answer = cx.net.dns.ask(&name, RecordType::TXT).await;
        if answer.is_ok_and(|answer| answer.texts().iter().any(|text| is_spf(text))) {
            return Some(name);
        }
    }
    None
}

pub(super) async fn redirect(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain| {
        let tree = tree_of(cx, domain).await?;
        let mut found = Vec::new();
        let mut count = 0;
        for (place, record) in tree.records() {
            let Some(redirect) = record.reachable_redirect() else { continue };
            count += 1;
            let target = tree.fixed(place, &redirect.target);
            let whose = whose(domain, place);
            match target.and_then(|target| tree.at(&target)) {
                Some((_, Published::Nothing(_))) => {
                    found.push((Status::Fail, format!("{}{whose} leads to no SPF record", redirect.text)));
                }
                Some((_, Published::Several(texts))) => {
                    let sentence = format!("{}{whose} leads to {} SPF records, 1 allowed", redirect.text, texts.len());
                    found.push((Status::Fail, sentence));
                }
                _ => {}
            }
        }
        if count == 0 {
            return Err(Abstain::NotApplicable("no redirect".to_owned()));
        }
        Ok(verdict(&tree, found, "the redirect leads to a record")?
            .fix(Fix::Advice("Correct the name, or end the record with ~all instead".to_owned())))
    })
    .await
}

pub(super) async fn mx(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain| {
        let tree = tree_of(cx, domain).await?;
        let mut found = Vec::new();
        let mut count = 0;
        for (place, record) in tree.records() {
            for directive in record.reachable() {
                let Mechanism::Mx(target, _) = &directive.mechanism else { continue };
                let Some(name) = tree.subject(place, target.as_ref()) else { continue };
                count += 1;
                let exchanges = cx.net.dns.ask(&name, RecordType::MX).await?.exchanges().len();
                if exchanges > MOST_NAMES {
                    let sentence = format!("{}{}: {exchanges} exchanges", directive.text, whose(domain, place));
                    found.push((Status::Fail, format!("{sentence}, {MOST_NAMES} allowed")));
                }
            }
        }
        if count == 0 {
            return Err(Abstain::NotApplicable("no mx".to_owned()));
        }
        Ok(verdict(&tree, found, &format!("no mx of over {MOST_NAMES} exchanges"))?
            .fix(Fix::Advice("Write the exchanges' networks as ip4: and ip6: instead of mx".to_owned())))
    })
    .await
}

pub(super) async fn ptr(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain| {
        let tree = tree_of(cx, domain).await?;
        let found = terms(&tree, |place, directive| {
            matches!(directive.mechanism, Mechanism::Ptr(_)).then(|| {
                (
                    Status::Warn,
                    format!("{}{} is slow, and some receivers ignore it", directive.text, whose(domain, place)),
                )
            })
        });
        Ok(verdict(&tree, found, "no ptr")?
            .fix(Fix::Advice("Write the addresses as ip4: and ip6: instead of ptr".to_owned())))
    })
    .await
}

pub(super) async fn unreachable(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain| {
        let tree = tree_of(cx, domain).await?;
        let mut found = Vec::new();
        for (place, record) in tree.records() {
            let Some(all) = record.all() else { continue };
            let behind = record.directives.iter().skip(record.reachable().count()).map(|directive| &directive.text);
            let redirect = record.redirect.iter().map(|redirect| &redirect.text);
            for term in behind.chain(redirect) {
                let sentence =
                    format!("{term}{} is never reached: {} stands before it", whose(domain, place), all.text);
                found.push((Status::Warn, sentence));
            }
        }
        Ok(verdict(&tree, found, "every term can be reached")?
            .fix(Fix::Advice("Move all to the end, or take out what stands behind it".to_owned())))
    })
    .await
}

pub(super) async fn network(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain| {
        let tree = tree_of(cx, domain).await?;
        let found = terms(&tree, |place, directive| {
            let (status, why) = match &directive.mechanism {
                Mechanism::Ip(network) => oddity(network, place.is_within(domain))?,
                Mechanism::A(_, prefixes) | Mechanism::Mx(_, prefixes) => width(prefixes.v4, prefixes.v6)?,
                Mechanism::All | Mechanism::Include(_) | Mechanism::Ptr(_) | Mechanism::Exists(_) => return None,
            };
            Some((status, format!("{}{} {why}", directive.text, whose(domain, place))))
        });
        Ok(verdict(&tree, found, "every network is well written and of sensible size")?
            .fix(Fix::Advice("Write the networks that mail leaves from, and no more".to_owned())))
    })
    .await
}

/// What is odd about a network. One that somebody else publishes may be wide: large providers are.
fn oddity(network: &Network, is_ours: bool) -> Option<(Status, String)> {
    let wide = match network.address.is_ipv4() {
        true => width(network.prefix, u8::MAX),
        false => width(u8::MAX, network.prefix),
    };
    let wide = wide.filter(|(status, _)| is_ours || *status == Status::Fail);
    if let Some(why) = unseen(network.address).filter(|_| network.prefix > 0) {
        return Some((Status::Warn, format!("is {why}: no receiver sees such addresses")));
    }
    if wide.is_some() {
        return wide;
    }
    let base = network.base();
    (base != network.address).then(|| (Status::Warn, format!("has host bits set: {base}/{} is meant", network.prefix)))
}

fn width(v4: u8, v6: u8) -> Option<(Status, String)> {
    match (v4, v6) {
        (0, _) | (_, 0) => Some((Status::Fail, "is every address there is".to_owned())),
        (..=WIDE_V4, _) => Some((Status::Warn, format!("is {} addresses wide", 1_u64 << (32 - v4)))),
        (_, ..=WIDE_V6) => Some((Status::Warn, format!("is wider than any allocation (/{v6})"))),
        _ => None,
    }
}

pub(super) async fn r#macro(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain| {
        let tree = tree_of(cx, domain).await?;
        let mut found = terms(&tree, |place, directive| {
            uses_p(directive).then(|| (Status::Warn, format!("{}{} uses %{{p}}", directive.text, whose(domain, place))))
        });
        for (place, record) in tree.records() {
            let modifiers = record.redirect.iter().chain(&record.exp).filter(|modifier| modifier.target.uses(b"p"));
            found.extend(
                modifiers
                    .map(|modifier| (Status::Warn, format!("{}{} uses %{{p}}", modifier.text, whose(domain, place)))),
            );
        }
        Ok(verdict(&tree, found, "no macro that is slow or unreliable")?
            .fix(Fix::Advice("Use %{i} or %{d} instead of %{p} (RFC 7208 section 7.2)".to_owned())))
    })
    .await
}

fn uses_p(directive: &Directive) -> bool {
    let target = match &directive.mechanism {
        Mechanism::A(target, _) | Mechanism::Mx(target, _) | Mechanism::Ptr(target) => target.as_ref(),
        Mechanism::Include(target) | Mechanism::Exists(target) => Some(target),
        Mechanism::All | Mechanism::Ip(_) => None,
    };
    target.is_some_and(|target| target.uses(b"p"))
}

/// What is to be said about the terms of every record in the tree.
fn terms(tree: &Tree, say: impl Fn(&Name, &Directive) -> Option<(Status, String)>) -> Vec<(Status, String)> {
    let records = tree.records();
    records
        .flat_map(|(place, record)| {
            record.reachable().filter_map(|directive| say(place, directive)).collect::<Vec<_>>()
        })
        .collect()
}

pub(super) async fn size(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain| {
        let (record, _) = record_of(cx, domain).await?;
        let answer = cx.net.dns.ask(domain, RecordType::TXT).await?;
        let joint = answer.strings().iter().find_map(|strings| missing_blank(strings, &record));
        let finding = match (joint, answer.size()) {
            (Some(joint), _) => Finding::fail(format!("two strings of the record are joined without a blank: {joint}"))
                .fix(Fix::Advice("End each string of the TXT record but the last with a blank".to_owned())),
            (None, size @ ..=SMALL_ANSWER) => Finding::pass(format!("the TXT answer is {size} octets")),
            (None, size) => Finding::warn(format!(
                "the TXT answer is {size} octets, over the {SMALL_ANSWER} that always pass over UDP"
            ))
            .fix(Fix::Advice("Delete TXT records that nobody needs any more (old verification tokens)".to_owned())),
        };
        Ok(finding.fact("octets", answer.size()).saw([answer.evidence()]))
    })
    .await
}

/// Where the strings of the record run together: a term ends one and another begins the next.
fn missing_blank(strings: &[Vec<u8>], record: &Record) -> Option<String> {
    if strings.concat() != record.text.as_bytes() {
        return None;
    }
    strings.windows(2).find_map(|pair| {
        let [before, after] = pair else { return None };
        let last = before.rsplit(|octet| *octet == b' ').next().unwrap_or_default();
        let first = after.split(|octet| *octet == b' ').next().unwrap_or_default();
        if last.is_empty() || first.is_empty() {
            return None;
        }
        let (last, first) = (String::from_utf8_lossy(last), String::from_utf8_lossy(first));
        let both_terms = [&last, &first].iter().all(|word| is_plain_term(word));
        both_terms.then(|| format!("{last:?} and {first:?}"))
    })
}

/// Whether a word is a term by itself, and would hardly be the piece of another by chance.
fn is_plain_term(word: &str) -> bool {
    let bare = word.trim_start_matches(['+', '-', '~', '?']);
    let telling = ["include:", "ip4:", "ip6:", "a:", "mx:", "exists:", "redirect=", "v=spf1", "all"];
    telling.iter().any(|start| bare.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start)))
        && (is_spf(word.as_bytes()) || Record::parse(format!("v=spf1 {word}").as_bytes()).is_ok())
}

pub(super) async fn rtype(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain| {
        let Ok(txt) = cx.net.dns.ask(domain, RecordType::TXT).await else { return Err(needs_answer()) };
        if txt.texts().iter().any(|text| is_spf(text)) {
            return Ok(Finding::pass("published as TXT").saw([txt.evidence()]));
        }
        let obsolete = cx.net.dns.ask(domain, TYPE_SPF).await?;
        if obsolete.is_empty() {
            return Err(needs_record());
        }
        Ok(Finding::fail("published only as type SPF (99), which receivers no longer ask for")
            .saw([txt.evidence(), obsolete.evidence()])
            .fix(
                obsolete
                    .texts()
                    .iter()
                    .find(|text| is_spf(text))
                    .map(|text| Fix::txt(domain, &String::from_utf8_lossy(text))),
            ))
    })
    .await
}
