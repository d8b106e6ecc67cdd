//! What each authoritative server says by itself.

use std::net::{IpAddr, SocketAddr};

use futures_util::future::join_all;
use hickory_resolver::proto::rr::RecordType;
use syntax::{Name, text::grouped};

use crate::{
    Abstain, Context, Evidence, Finding, Fix, Status,
    net::dns::{Authority, MOST_HOSTS, Word},
};

/// The port of DNS.
const PORT: u16 = 53;

/// One server of a zone, and what it says to each question.
struct Witness {
    /// The server's name and address.
    server: String,
    serial: Option<u32>,
    words: Vec<(Word, Evidence)>,
}

/// A question to every server of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    name: Name,
    rtype: RecordType,
}

pub(super) async fn servers(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    if !cx.target.authoritative {
        let how = "not asked: it takes many questions (--authoritative)";
        return Err(Abstain::NotApplicable(how.to_owned()));
    }
    if cx.target.domains.is_empty() {
        return Err(Abstain::NotApplicable("no domain given".to_owned()));
    }
    Ok(join_all(cx.target.domains.iter().map(|domain| servers_of(cx, domain))).await.concat())
}

async fn servers_of(cx: &Context, domain: &Name) -> Vec<Finding> {
    match zone(cx, domain).await {
        Ok((apex, names)) => {
            let named = names.iter().take(MOST_HOSTS);
            let found = join_all(named.map(async |name| (name, located(cx, domain, name).await))).await;
            let (mut places, mut lost) = (Vec::new(), Vec::new());
            for (name, found) in found {
                match found {
                    Ok(found) => places.extend(found.into_iter().map(|(address, socket)| (name, address, socket))),
                    Err(finding) => lost.push(*finding),
                }
            }
            let beyond = beyond(domain, names.len(), places.len());
            let is_anybody_lost = beyond.is_some() || lost.iter().any(|finding| finding.status == Status::Unknown);
            lost.extend(beyond);
            places.truncate(MOST_HOSTS);
            let questions = questions(cx, domain, &apex);
            let witnesses = join_all(places.into_iter().map(|place| witness(cx, &questions, place))).await;
            [verdicts(domain, &questions, &witnesses, is_anybody_lost), lost].concat()
        }
        Err(abstain) => vec![Finding::from(abstain).about(domain)],
    }
}

/// The zone that `domain` is in, and its NS: those of the nearest name above that has any.
async fn zone(cx: &Context, domain: &Name) -> Result<(Name, Vec<Name>), Abstain> {
    let mut apex = domain.clone();
    loop {
        let answer = cx.net.dns.ask(&apex, RecordType::NS).await?;
        let names = answer.name_servers();
        if !names.is_empty() && answer.aliases().is_empty() {
            return Ok((apex, names));
        }
        apex = apex.parent();
        if apex.depth() < 1 {
            return Err(Abstain::NotApplicable(format!("no NS record at {domain} or above")));
        }
    }
}

/// The records that mail depends on, as far as they are in the zone; its SOA comes first.
fn questions(cx: &Context, domain: &Name, apex: &Name) -> Vec<Question> {
    let target = &cx.target;
    let under = |label: &str| domain.child(label).ok();
    let selectors = target.selectors.iter().filter(|s| s.domain.as_ref().is_none_or(|named| named == domain));
    let texts = [Some(domain.clone()), under("_dmarc"), target.mail_from.clone()];
    let keys = selectors.map(|selector| under(&format!("{}._domainkey", selector.name)));
    let texts = texts.into_iter().chain(keys).flatten().map(|name| Question { name, rtype: RecordType::TXT });
    let addresses = target
        .hostname
        .iter()
        .flat_map(|name| cx.families().map(|family| Question { name: name.clone(), rtype: family.record_type() }));
    let first = Question { name: apex.clone(), rtype: RecordType::SOA };
    let exchanges = Question { name: domain.clone(), rtype: RecordType::MX };
    let all = [first, exchanges].into_iter().chain(texts).chain(addresses);
    all.filter(|question| question.name.is_within(apex)).fold(Vec::new(), |mut questions, next| {
        if !questions.contains(&next) {
            questions.push(next);
        }
        questions
    })
}

/// What is not asked of more servers, or of servers at more addresses, than a zone has that means it.
fn beyond(domain: &Name, names: usize, addresses: usize) -> Option<Finding> {
    let (count, what) =
        if names > MOST_HOSTS { (names, "NS records") } else { (addresses, "addresses of name servers") };
    let message = format!("{} {what}; the first {MOST_HOSTS} are asked", grouped(count));
    let advice = format!("Let a few servers, each at one address of a family, speak for {domain} (RFC 2182 section 5)");
    (count > MOST_HOSTS).then(|| Finding::warn(message).fix(Fix::Advice(advice)).about(format!("{domain} beyond")))
}

/// Where the server `name` is, or that there is no address of it.
async fn located(cx: &Context, domain: &Name, name: &Name) -> Result<Vec<(IpAddr, SocketAddr)>, Box<Finding>> {
    let lost = |finding: Finding| Err(Box::new(finding.about(format!("{domain} {name}"))));
    if let Some(socket) = cx.target.redirect(&name.to_string(), PORT) {
        return Ok(vec![(socket.ip(), socket)]);
    }
    match cx.net.dns.addresses(name, cx.target.protocols).await {
        Err(silence) => lost(Abstain::from(silence).into()),
        Ok(addresses) if addresses.is_empty() => {
            let advice = format!("Publish the addresses of {name}, or take it out of the NS records");
            lost(Finding::warn("a name server without an address").fix(Fix::Advice(advice)))
        }
        Ok(addresses) => Ok(addresses.into_iter().map(|address| (address, socket(cx, address))).collect()),
    }
}

/// What the server `name` says at one of its addresses.
async fn witness(
    cx: &Context,
    questions: &[Question],
    (name, address, socket): (&Name, IpAddr, SocketAddr),
) -> Witness {
    let authority = Authority::new(address, socket, &cx.net.dns);
    let words = join_all(questions.iter().map(|question| authority.ask(&question.name, question.rtype))).await;
    let serial = words.iter().find_map(|(word, _)| match word {
        Word::Said(_, serial) => *serial,
        _ => None,
    });
    Witness { server: format!("{name} {address}"), serial, words }
}

fn socket(cx: &Context, address: IpAddr) -> SocketAddr {
    cx.target.redirect(&address.to_string(), PORT).unwrap_or(SocketAddr::new(address, PORT))
}

/// Each server against the one that is most up to date. That nobody speaks for the zone is not known where one was not
/// heard.
fn verdicts(domain: &Name, questions: &[Question], witnesses: &[Witness], is_anybody_lost: bool) -> Vec<Finding> {
    let is_silent = |witness: &Witness| matches!(witness.words.first(), Some((Word::Silent(_), _)));
    let is_open = is_anybody_lost || witnesses.iter().any(is_silent);
    let speaking = |witness: &&Witness| matches!(witness.words.first(), Some((Word::Said(..), _)));
    let reference =
        witnesses.iter().filter(speaking).reduce(|best, next| if is_newer(next, best) { next } else { best });
    let judged = witnesses.iter().map(|witness| {
        let finding = match (witness.words.first(), reference) {
            (Some((Word::Said(..), _)), Some(reference)) => agreement(questions, witness, reference),
            (Some((Word::NoRoute(why), evidence)), _) => Finding::skip(why.clone()).saw([evidence.clone()]),
            (Some((Word::Silent(why), evidence)), _) => Finding::unknown(why.to_string()).saw([evidence.clone()]),
            (Some((Word::Lame(why), evidence)), reference) => {
                lame(why, is_open || reference.is_some()).saw([evidence.clone()])
            }
            (Some((_, evidence)), reference) => {
                lame("refers to other servers", is_open || reference.is_some()).saw([evidence.clone()])
            }
            (None, _) => Finding::skip("nothing to ask"),
        };
        finding.about(format!("{domain} {}", witness.server))
    });
    judged.collect()
}

/// Serial numbers go round (RFC 1982 section 3.2).
fn is_newer(one: &Witness, other: &Witness) -> bool {
    match (one.serial, other.serial) {
        (Some(one), Some(other)) => one != other && one.wrapping_sub(other) < 1 << 31,
        _ => false,
    }
}

fn lame(why: &str, others: bool) -> Finding {
    let finding = Finding::fail(format!("lame: {why}")).fix(Fix::Advice(
        "Let this server load the zone, or take it out of the NS records here and at the registrar".to_owned(),
    ));
    if others { finding.at_most(Status::Warn) } else { finding }
}

fn agreement(questions: &[Question], witness: &Witness, reference: &Witness) -> Finding {
    let serial = witness.serial.map_or_else(|| "unknown".to_owned(), |serial| serial.to_string());
    // What the zone says of itself differs wherever the serial does.
    let pairs = questions.iter().zip(witness.words.iter().zip(&reference.words)).skip(1);
    let different: Vec<_> = pairs.filter(|(_, ((mine, _), (theirs, _)))| contradicts(mine, theirs)).collect();
    let evidence: Vec<Evidence> =
        different.iter().flat_map(|(_, ((_, mine), (_, theirs)))| [mine.clone(), theirs.clone()]).collect();
    let silent = witness.words.iter().any(|(word, _)| matches!(word, Word::Silent(_)));
    let finding = match (different.first(), is_newer(reference, witness)) {
        (Some((Question { name, rtype }, _)), _) => {
            let more = different.len() - 1;
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            Finding::fail(format!("another {rtype} of {name}{more} than {}, serial {serial}", reference.server))
                .fix(Fix::Advice("Let the zone be transferred to the server that lags behind".to_owned()))
        }
        (None, _) if silent => {
            Finding::unknown(format!("authoritative, serial {serial}, but not every question is answered"))
        }
        (None, true) => Finding::warn(format!("serial {serial} lags behind, the records that matter are the same"))
            .fix(Fix::Advice("See that the zone is transferred to this server (NOTIFY, SOA refresh)".to_owned())),
        (None, false) => Finding::pass(format!("authoritative, serial {serial}, the same answers")),
    };
    let evidence =
        if evidence.is_empty() { witness.words.iter().take(1).map(|(_, e)| e.clone()).collect() } else { evidence };
    finding.fact("serial", witness.serial).saw(evidence)
}

/// Whether two servers that both speak say different things.
fn contradicts(one: &Word, other: &Word) -> bool {
    let is_said = |word: &Word| matches!(word, Word::Said(..) | Word::Delegated | Word::Lame(_));
    is_said(one) && is_said(other) && one != other
}
