//! Who may send for a domain: the record, what is wrong with it, and what it says about the outgoing addresses.

use std::sync::Arc;

use futures_util::future::join_all;
use syntax::{
    Name,
    spf::{Directive, Qualifier, Record},
};

use self::{
    evaluate::MOST_LOOKUPS,
    lint::{include, r#macro, mx, network, ptr, redirect, rtype, size, unreachable, void},
    sender::{helo, sender},
    tree::{Cost, Published, Tree, published},
};
use crate::{Abstain, Context, Evidence, Finding, Fix, check::checks, message::spf as message};

pub(crate) use self::sender::{Outlook, outlook};
pub use self::{
    evaluate::{Sender, check_host},
    evaluation::{Evaluation, Step, Verdict},
};

mod evaluate;
mod evaluation;
mod fix;
mod lint;
mod provider;
mod sender;
mod tree;

checks! {
    /// The domain has exactly one SPF record.
    ///
    /// Receivers look for a TXT record that begins with `v=spf1` at the domain of MAIL FROM (RFC 7208 section 4.5).
    /// Without one, Gmail and others demand DKIM or reject; with two, every evaluation is a permanent error.
    ///
    /// # Fix
    /// Publish one TXT record; where there are two, merge their terms into one.
    "spf.record" ("RFC 7208 section 4.5") => exactly_one,

    /// The SPF record, and every record it includes, is spelled right.
    ///
    /// One term that the grammar does not accept spoils the whole record, even if another term matches: receivers
    /// return a permanent error (RFC 7208 section 4.6). `ipv4:` for `ip4:` is the classic.
    ///
    /// # Fix
    /// Correct the term at the position shown.
    "spf.syntax" ("RFC 7208 section 12") => syntax,

    /// The SPF record needs at most ten DNS lookups.
    ///
    /// Receivers stop at ten (RFC 7208 section 4.6.4) and return a permanent error. `include`, `a`, `mx`, `ptr`,
    /// `exists` and `redirect` count one each, every time they are reached, inside included records too.
    ///
    /// # Fix
    /// Drop the `include:`s of services you no longer send through; write `ip4:` and `ip6:` for `a:` and `mx`.
    "spf.lookups" ("RFC 7208 section 4.6.4") => lookups,

    /// The SPF record names nothing that does not exist.
    ///
    /// A term that resolves to nothing is a void lookup; receivers tolerate two, and return a permanent error at the
    /// third (RFC 7208 section 4.6.4).
    ///
    /// # Fix
    /// Take the term out, or publish the name it is about.
    "spf.void" ("RFC 7208 section 4.6.4") => void,

    /// Every included domain has an SPF record, and none includes itself.
    ///
    /// An `include` of a domain without a record is a permanent error, not a "no match" (RFC 7208 section 5.2): one
    /// service that dropped its record, or one slip of the finger, stops all mail.
    ///
    /// # Fix
    /// Correct the name, or drop the include.
    "spf.include" ("RFC 7208 section 5.2") => include,

    /// The redirect leads to a domain with an SPF record.
    ///
    /// A `redirect` to a domain without a record is a permanent error (RFC 7208 section 6.1).
    ///
    /// # Fix
    /// Correct the name, or end the record with `~all` instead.
    "spf.redirect" ("RFC 7208 section 6.1") => redirect,

    /// No `mx` of the SPF record has more than ten exchanges.
    ///
    /// Receivers look up the addresses of ten exchanges at most; more are a permanent error (RFC 7208 section 4.6.4).
    ///
    /// # Fix
    /// Write the exchanges' networks as `ip4:` and `ip6:` instead of `mx`.
    "spf.mx" ("RFC 7208 section 4.6.4") => mx,

    /// The SPF record does not use `ptr`.
    ///
    /// It is slow, it burdens the reverse tree, and it fails when that does not answer: the standard says not to use it
    /// (RFC 7208 section 5.5), and large receivers skip it.
    ///
    /// # Fix
    /// Write the addresses as `ip4:` and `ip6:`.
    "spf.ptr" ("RFC 7208 section 5.5") => ptr,

    /// The SPF record ends by refusing everybody else.
    ///
    /// `-all` or `~all` is what makes the record worth reading; `?all`, or no `all`, says nothing about strangers, and
    /// `+all` lets the whole world send for the domain (RFC 7208 section 5.1).
    ///
    /// # Fix
    /// End the record with `~all` or `-all`.
    "spf.all" ("RFC 7208 section 5.1") => all,

    /// Every term of the SPF record can be reached.
    ///
    /// What stands behind `all` is never looked at, and `redirect` beside `all` is ignored (RFC 7208 sections 5.1
    /// and 6.1): whoever wrote it meant something else.
    ///
    /// # Fix
    /// Move `all` to the end.
    "spf.unreachable" ("RFC 7208 section 5.1") => unreachable,

    /// The SPF record's networks are well written and no wider than they need to be.
    ///
    /// `/0` lets the whole world send for the domain; a very wide network lets in strangers; private addresses are
    /// never seen by a receiver (RFC 7208 section 5.6).
    ///
    /// # Fix
    /// Write the networks that mail leaves from, and no more.
    "spf.network" ("RFC 7208 section 5.6") => network,

    /// The TXT answer fits where it must, and its strings are joined right.
    ///
    /// An answer over 512 octets needs EDNS or TCP, which some receivers' resolvers lack (RFC 7208 section 3.4). The
    /// strings of a TXT record are joined without a blank (section 3.3): one that is missing merges two terms.
    ///
    /// # Fix
    /// Delete TXT records that nobody needs; end each string but the last with a blank.
    "spf.size" ("RFC 7208 section 3.4") => size,

    /// The SPF record's macros are quick and reliable.
    ///
    /// `%{p}` needs the reverse tree and is expanded differently from receiver to receiver; the standard says not to
    /// use it (RFC 7208 section 7.2).
    ///
    /// # Fix
    /// Use `%{i}` or `%{d}` instead.
    "spf.macro" ("RFC 7208 section 7.2") => r#macro,

    /// The SPF record is published as TXT.
    ///
    /// The type SPF (99) is obsolete; receivers ask for TXT alone (RFC 7208 section 3.1).
    ///
    /// # Fix
    /// Publish the same text as a TXT record.
    "spf.type" ("RFC 7208 section 3.1") => rtype,

    /// SPF passes for every outgoing address.
    ///
    /// This is the question receivers ask: may this address send for the domain of MAIL FROM (RFC 7208 section 2.4)?
    /// The IPv6 address is the one that is forgotten.
    ///
    /// # Fix
    /// Publish the whole record shown: it has the missing term.
    "spf.sender" ("RFC 7208 section 2.4") => sender,

    /// SPF passes for the EHLO name too.
    ///
    /// Bounces have an empty reverse-path; then the EHLO name is what SPF is asked about (RFC 7208 sections 2.3
    /// and 2.4).
    ///
    /// # Fix
    /// Publish `v=spf1 a -all` at the host's own name.
    "spf.helo" ("RFC 7208 section 2.3") => helo,

    /// SPF passes for a sent message.
    ///
    /// With `--message FILE`: the first outgoing address (`--ip`) and the message's own reverse-path, which its Return-Path
    /// field keeps; without that, `--mail-from` or the From domain (RFC 7208 section 2.4).
    ///
    /// # Fix
    /// Let the record of the reverse-path's domain name the address, or send with another reverse-path.
    "spf.message" ("RFC 7208 section 2.4") => message,
}

/// Beyond this nobody wants to know how many lookups there are.
const MOST_COUNTED: usize = 100;

/// The first count of lookups that leaves little room.
const MANY_LOOKUPS: usize = MOST_LOOKUPS - 1;

/// Judges every domain that MAIL FROM will carry.
async fn each<'a>(cx: &'a Context, judge: impl AsyncFn(&'a Name) -> Result<Finding, Abstain>) -> Vec<Finding> {
    let domains = cx.target.mail_from_domains();
    if domains.is_empty() {
        return vec![Finding::skip("no domain given")];
    }
    let judged = domains.iter().map(async |domain| {
        let finding = Finding::from(judge(domain).await).about(domain);
        // Whatever is said about a record, the record itself is what there was to see.
        if finding.evidence.is_empty() { finding.saw(published(&cx.net.dns, domain).await.1) } else { finding }
    });
    join_all(judged).await
}

/// The one record of `domain`, or why there is none to speak about.
async fn record_of(cx: &Context, domain: &Name) -> Result<(Arc<Record>, Vec<Evidence>), Abstain> {
    match published(&cx.net.dns, domain).await {
        (Published::One(record), evidence) => Ok((record, evidence)),
        (Published::Spoiled(..), _) => Err(Abstain::Needs("a record without mistakes".to_owned(), "spf.syntax")),
        (Published::Nothing(_) | Published::Several(_), _) => Err(needs_record()),
        (Published::Silent(_), _) => Err(needs_answer()),
    }
}

/// What is to be seen in the record of `domain`, and in those it leads to.
async fn shown(cx: &Context, domain: &Name, output: String) -> Option<Evidence> {
    let (_, evidence) = published(&cx.net.dns, domain).await;
    let command = format!("{}    # and so on, term by term", evidence.first()?.command);
    (!output.is_empty()).then_some(Evidence { command, output })
}

fn needs_answer() -> Abstain {
    Abstain::Needs("the SPF record".to_owned(), "spf.record")
}

fn needs_record() -> Abstain {
    Abstain::Needs("one SPF record".to_owned(), "spf.record")
}

async fn exactly_one(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain| {
        let (published, evidence) = published(&cx.net.dns, domain).await;
        let finding = match published {
            Published::One(record) => Finding::pass(&record.text),
            Published::Spoiled(text, _) => Finding::pass(&*text),
            Published::Nothing(why) => Finding::fail(why).fix(fix::new_record(cx, domain).await),
            Published::Several(texts) => {
                Finding::fail(format!("{} SPF records, 1 allowed", texts.len())).fix(fix::merged(domain, &texts))
            }
            Published::Silent(silence) => return Err(silence.into()),
        };
        Ok(finding.saw(evidence))
    })
    .await
}

async fn syntax(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain| {
        match published(&cx.net.dns, domain).await.0 {
            Published::Nothing(_) | Published::Several(_) => return Err(needs_record()),
            Published::Silent(_) => return Err(needs_answer()),
            Published::One(_) | Published::Spoiled(..) => {}
        }
        let tree = Tree::fetch(cx, domain).await;
        let mut silence = None;
        for (place, published) in tree.walk() {
            match published {
                Published::Spoiled(text, error) => {
                    let whose = if place == domain { String::new() } else { format!(" in the record of {place}") };
                    let caret = format!("{text}\n{:>width$}", "^", width = error.position);
                    return Ok(Finding::fail(format!("{error}{whose}"))
                        .fact("position", error.position)
                        .fact("term", error.term.clone())
                        .fact("domain", place.to_string())
                        .saw(shown(cx, place, caret).await)
                        .fix(fix::corrected(place, text, error)));
                }
                Published::Silent(why) => silence = Some(why.clone()),
                Published::One(_) | Published::Nothing(_) | Published::Several(_) => {}
            }
        }
        match silence {
            Some(silence) => Err(silence.into()),
            None => Ok(Finding::pass("every term is spelled right")),
        }
    })
    .await
}

async fn lookups(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain| {
        record_of(cx, domain).await?;
        let tree = Tree::fetch(cx, domain).await;
        let costs = match tree.costs() {
            Ok(costs) => costs,
            Err(path) => {
                let path: Vec<String> = path.iter().map(ToString::to_string).collect();
                return Ok(Finding::fail(format!("the records include each other without end: {}", path.join(" → ")))
                    .fix(Fix::Advice("Take the term out that leads back".to_owned())));
            }
        };
        let count = costs.iter().fold(0_usize, |sum, cost| sum.saturating_add(cost.lookups));
        let needed = match count {
            1 => "1 DNS lookup".to_owned(),
            ..=MOST_COUNTED => format!("{count} DNS lookups"),
            _ => format!("more than {MOST_COUNTED} DNS lookups"),
        };
        let message = format!("{needed}, {MOST_LOOKUPS} allowed");
        let finding = match (count, tree.silence()) {
            (count, _) if count > MOST_LOOKUPS => Finding::fail(message).fix(fix::fewer_lookups(&costs)),
            _ if tree.cut => Finding::fail(format!("more than {count} DNS lookups, {MOST_LOOKUPS} allowed"))
                .fix(fix::fewer_lookups(&costs)),
            (_, Some(silence)) => return Err(silence.into()),
            (MANY_LOOKUPS.., None) => Finding::warn(message).fix(fix::fewer_lookups(&costs)),
            (_, None) => Finding::pass(message),
        };
        let tree = Cost::lines(&costs).join("\n");
        Ok(finding
            .fact("lookups", count.min(MOST_COUNTED + 1))
            .fact("limit", MOST_LOOKUPS)
            .saw(shown(cx, domain, tree).await))
    })
    .await
}

async fn all(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain| {
        let (record, evidence) = record_of(cx, domain).await?;
        let tree = Tree::fetch(cx, domain).await;
        Ok(match ending(&tree, domain, &record)? {
            Ending::All(place, directive) => {
                let whose = if place == *domain { String::new() } else { format!(" in the record of {place}") };
                let message = format!("ends in {}{whose}", directive.text);
                match directive.qualifier {
                    Qualifier::Fail | Qualifier::Softfail => Finding::pass(message),
                    Qualifier::Neutral => Finding::warn(format!("{message}: nobody is refused")),
                    Qualifier::Pass => Finding::fail(format!("{message}: everybody may send for {domain}")),
                }
            }
            Ending::Nothing => Finding::warn("no all at the end: nobody is refused"),
        }
        .saw(evidence)
        .fix(Fix::Advice("End the record with ~all".to_owned())))
    })
    .await
}

/// How a record ends, redirects followed.
enum Ending {
    All(Name, Directive),
    Nothing,
}

fn ending(tree: &Tree, domain: &Name, record: &Record) -> Result<Ending, Abstain> {
    let (mut place, mut record) = (domain, record);
    let mut passed = vec![domain];
    loop {
        if let Some(directive) = record.all() {
            return Ok(Ending::All(place.clone(), directive.clone()));
        }
        let Some(redirect) = &record.redirect else { return Ok(Ending::Nothing) };
        match tree.fixed(place, &redirect.target).and_then(|target| tree.at(&target)) {
            Some((next, Published::One(target))) if !passed.contains(&next) => {
                passed.push(next);
                (place, record) = (next, target);
            }
            Some((_, Published::Spoiled(..))) => {
                return Err(Abstain::Needs("a record without mistakes".to_owned(), "spf.syntax"));
            }
            Some((_, Published::Silent(silence))) => return Err(silence.clone().into()),
            Some((_, Published::One(_))) => return Err(Abstain::Needs("redirects that end".to_owned(), "spf.lookups")),
            _ => return Err(Abstain::Needs("a record where the redirect leads".to_owned(), "spf.redirect")),
        }
    }
}
