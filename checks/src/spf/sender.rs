//! `spf.sender` and `spf.helo`: what receivers will find out about the outgoing addresses.

use std::net::IpAddr;

use futures_util::{
    future::{join, join_all},
    stream::{self, StreamExt},
};
use syntax::{Name, Relayhost, address::Family};
use tokio::sync::OnceCell;

use super::{
    Evaluation, Sender, Verdict, check_host, fix, needs_record,
    provider::{CHECKED, Provider, provider},
    shown,
    tree::{Published, Tree, published},
};
use crate::{Abstain, Context, Finding, Fix, Status, net::smtp};

/// For how many addresses SPF is evaluated at once.
const AT_ONCE: usize = 8;

/// What mends the record for all outgoing addresses at once: made once, since every address is evaluated for it.
type Remedy = OnceCell<Option<Fix>>;

/// The result for MAIL FROM at `domain` from `address`.
pub(super) async fn evaluation(cx: &Context, domain: &Name, address: IpAddr) -> Evaluation {
    let sender = Sender::new(address, &ehlo_name(cx, domain), &format!("postmaster@{domain}"), cx.now);
    check_host(&cx.net.dns, &sender).await
}

pub(super) async fn sender(cx: &Context) -> Vec<Finding> {
    let domains = cx.target.mail_from_domains();
    if domains.is_empty() {
        return vec![Finding::skip("no domain given")];
    }
    join_all(domains.iter().map(|domain| senders(cx, domain))).await.concat()
}

/// The findings of one domain: by outgoing address, or by the relay's provider.
async fn senders(cx: &Context, domain: &Name) -> Vec<Finding> {
    let Some(relay) = cx.target.relay.as_ref().filter(|_| cx.target.ips.is_empty()) else {
        return own_addresses(cx, domain).await;
    };
    let (providers, others) = parted(relay);
    let mut findings = join_all(providers.into_iter().map(|provider| via(cx, domain, provider))).await;
    if let Some(others) = others {
        findings.extend(relay_addresses(cx, domain, &others).await);
    }
    findings
}

/// The providers among the next-hops, each once, and the next-hops that nobody knows.
fn parted(relay: &Relayhost) -> (Vec<&'static Provider>, Option<Relayhost>) {
    let mut providers: Vec<&Provider> = Vec::new();
    for found in relay.next_hops().filter_map(|hop| provider(&hop.host)) {
        if !providers.iter().any(|known| known.include == found.include) {
            providers.push(found);
        }
    }
    let mut others = relay.next_hops().filter(|hop| provider(&hop.host).is_none()).cloned();
    let others = others.next().map(|first| Relayhost { first, rest: others.collect() });
    (providers, others)
}

async fn own_addresses(cx: &Context, domain: &Name) -> Vec<Finding> {
    // The records are asked for while the host's addresses are.
    let (outgoing, _) = join(cx.outgoing(), Tree::fetch(cx, domain)).await;
    if outgoing.addresses.is_empty() && outgoing.silences.is_empty() {
        return vec![no_address(cx).about(domain)];
    }
    let remedy = Remedy::new();
    let judged = outgoing
        .addresses
        .iter()
        .map(async |address| judged(cx, domain, *address, &remedy).await.about(format!("{domain} from {address}")));
    let mut findings = a_few_at_once(judged).await;
    findings.extend(
        outgoing.silences.into_iter().map(|(family, silence)| unknown_addresses(domain, family, silence.into())),
    );
    findings
}

/// The judgements in their order. Each holds whole records, in two parsers, while it is reached.
async fn a_few_at_once(judgements: impl Iterator<Item = impl Future<Output = Finding>>) -> Vec<Finding> {
    stream::iter(judgements).buffered(AT_ONCE).collect().await
}

fn no_address(cx: &Context) -> Finding {
    match cx.target.hostname {
        Some(_) => Abstain::Needs("an outgoing address".to_owned(), "hostname.address").into(),
        None => Finding::skip("no outgoing address known, name it with --ip"),
    }
}

fn unknown_addresses(subject: &Name, family: Family, silence: Abstain) -> Finding {
    Finding::from(silence).about(format!("{subject} from {}", family.word()))
}

/// The evaluation as a finding, with the fix that makes it pass.
async fn judged(cx: &Context, domain: &Name, address: IpAddr, remedy: &Remedy) -> Finding {
    let evaluation = evaluation(cx, domain, address).await;
    let finding = match published(&cx.net.dns, domain).await.0 {
        Published::Nothing(_) | Published::Several(_) => needs_record().into(),
        Published::Silent(silence) => unjudged(&evaluation).because_of(&silence),
        _ => {
            let status = match evaluation.settled() {
                Verdict::Pass => Status::Pass,
                Verdict::Softfail | Verdict::Neutral => Status::Warn,
                Verdict::None | Verdict::Fail | Verdict::Permerror => Status::Fail,
                Verdict::Temperror => Status::Unknown,
            };
            let finding = Finding::new(status, evaluation.sentence());
            match status {
                Status::Warn | Status::Fail => {
                    finding.fix(remedy.get_or_init(|| fix::with_addresses(cx, domain)).await.clone())
                }
                _ => finding,
            }
        }
    };
    traced(cx, domain, finding, &evaluation).await
}

/// Something on the way could not be found out.
fn unjudged(evaluation: &Evaluation) -> Finding {
    Finding::unknown(evaluation.sentence())
}

/// The name in EHLO; a domain audited by itself stands in for a host nobody named.
fn ehlo_name(cx: &Context, domain: &Name) -> String {
    cx.target.hostname.as_ref().unwrap_or(domain).to_string()
}

async fn traced(cx: &Context, domain: &Name, finding: Finding, evaluation: &Evaluation) -> Finding {
    Finding { facts: evaluation.facts(), ..finding }.saw(shown(cx, domain, evaluation.transcript()).await)
}

/// Behind a provider whose addresses we cannot know: its own record has them, so ours must include that.
async fn via(cx: &Context, domain: &Name, provider: &Provider) -> Finding {
    let tree = Tree::fetch(cx, domain).await;
    let finding: Finding = match published(&cx.net.dns, domain).await.0 {
        Published::Nothing(_) | Published::Several(_) if provider.keeps_mail_from => needs_record().into(),
        Published::Silent(silence) => Abstain::Unknown(silence).into(),
        Published::Spoiled(..) => Abstain::Needs("a record without mistakes".to_owned(), "spf.syntax").into(),
        _ => included(cx, domain, provider, &tree).await,
    };
    finding
        .about(format!("{domain} via {}", provider.include))
        .fact("provider", provider.name)
        .fact("provider_checked", CHECKED)
}

async fn included(cx: &Context, domain: &Name, provider: &Provider, tree: &Tree) -> Finding {
    let include = provider.include;
    let place = tree.walk().into_iter().find(|(name, _)| name.to_string() == include);
    match place {
        Some((_, Published::One(_))) => {
            Finding::pass(format!("{include}, the record of {}, is included", provider.name))
        }
        Some((_, Published::Silent(silence))) => Abstain::Unknown(silence.clone()).into(),
        Some((_, _)) => Finding::fail(format!("{include} is included, but has no SPF record")),
        // A record that nobody has seen may include it.
        None if let Some(silence) = tree.silence() => Abstain::Unknown(silence).into(),
        None if provider.keeps_mail_from => {
            Finding::fail(format!("{} sends, but its record {include} is not included", provider.name))
                .fix(fix::with_include(cx, domain, include).await)
        }
        None => Finding::skip(format!(
            "{} puts a domain of its own in MAIL FROM, unless a custom one is set up there",
            provider.name
        )),
    }
}

/// Behind a relay that nobody knows: the address we connect to is as good a guess as any, and only that.
async fn relay_addresses(cx: &Context, domain: &Name, relay: &Relayhost) -> Vec<Finding> {
    let advice = "outgoing addresses unknown, name them with --ip";
    let addresses = match smtp::addresses(cx, relay).await {
        Ok(addresses) if addresses.is_empty() => return vec![Finding::skip(advice).about(domain)],
        Ok(addresses) => addresses,
        Err(silence) => return vec![Finding::from(Abstain::Unknown(silence)).about(domain)],
    };
    let remedy = Remedy::new();
    let judged = addresses.into_iter().map(async |address| {
        let finding = judged(cx, domain, address, &remedy).await.at_most(Status::Warn);
        let message = format!("{}; {advice}", finding.message);
        let fix = Some(Fix::Advice("Name the relay's outgoing addresses: --ip ADDRESS".to_owned()));
        let fix = fix.filter(|_| finding.status == Status::Warn);
        Finding { message, fix, ..finding }.about(format!("{domain} from {address}"))
    });
    a_few_at_once(judged).await
}

/// How SPF will come out at receivers for MAIL FROM at a domain, whichever outgoing address is used: the best first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outlook {
    Pass(String),
    /// The outgoing addresses are not known.
    Unjudged(String),
    /// It could not be found out.
    Unknown(String),
    Fail(String),
}

/// What [`sender`] finds out about one domain, in a word for other families: SPF is only as good as the outgoing
/// address that does worst.
pub(crate) async fn outlook(cx: &Context, domain: &Name) -> Outlook {
    let Some(relay) = cx.target.relay.as_ref().filter(|_| cx.target.ips.is_empty()) else {
        // The records are asked for while the host's addresses are.
        let (mut outgoing, _) = join(cx.outgoing(), Tree::fetch(cx, domain)).await;
        let silence = outgoing.silences.pop().map(|(_, silence)| silence.to_string());
        return outlook_from(cx, domain, &outgoing.addresses, silence).await;
    };
    let (providers, others) = parted(relay);
    let known = join_all(providers.into_iter().map(|provider| outlook_via(cx, domain, provider))).await;
    let other = match others {
        Some(others) => Some(outlook_behind(cx, domain, &others).await),
        None => None,
    };
    known.into_iter().chain(other).max().unwrap_or_else(|| Outlook::Unjudged("no relay".to_owned()))
}

async fn outlook_via(cx: &Context, domain: &Name, provider: &Provider) -> Outlook {
    let finding = via(cx, domain, provider).await;
    match finding.status {
        Status::Pass => Outlook::Pass(format!("passes ({})", finding.message)),
        Status::Unknown => Outlook::Unknown(finding.message),
        Status::Skip if finding.owner.is_none() => Outlook::Unjudged(finding.message),
        Status::Skip | Status::Warn | Status::Fail => Outlook::Fail(format!("does not pass ({})", finding.message)),
    }
}

/// The relay may send from other addresses than it listens at: what fails from these proves nothing.
async fn outlook_behind(cx: &Context, domain: &Name, relay: &Relayhost) -> Outlook {
    let addresses = match smtp::addresses(cx, relay).await {
        Ok(addresses) => addresses,
        Err(silence) => return Outlook::Unknown(silence.to_string()),
    };
    match outlook_from(cx, domain, &addresses, None).await {
        Outlook::Pass(_) => Outlook::Pass("passes from the relay's own address".to_owned()),
        Outlook::Fail(_) => Outlook::Unjudged("outgoing addresses unknown, name them with --ip".to_owned()),
        outlook => outlook,
    }
}

async fn outlook_from(cx: &Context, domain: &Name, addresses: &[IpAddr], silence: Option<String>) -> Outlook {
    let evaluations = join_all(addresses.iter().map(|address| evaluation(cx, domain, *address))).await;
    let judged = || addresses.iter().zip(&evaluations);
    let shown = |(address, evaluation): (&IpAddr, &Evaluation)| format!("{} from {address}", evaluation.settled());
    let unsettled = judged().find(|(_, evaluation)| evaluation.settled() == Verdict::Temperror).map(shown);
    let failed = judged().find(|(_, evaluation)| !matches!(evaluation.settled(), Verdict::Pass | Verdict::Temperror));
    match (failed.map(shown), unsettled.or(silence)) {
        (Some(failed), _) => Outlook::Fail(failed),
        (None, Some(unsettled)) => Outlook::Unknown(unsettled),
        (None, None) if addresses.is_empty() => {
            Outlook::Unjudged("no outgoing address known, name it with --ip".to_owned())
        }
        (None, None) => Outlook::Pass("passes".to_owned()),
    }
}

pub(super) async fn helo(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    let hostname = cx.hostname()?;
    if cx.target.is_relayed() {
        return Ok(vec![Finding::skip("receivers see the relay's EHLO name").about(hostname)]);
    }
    let (outgoing, _) = join(cx.outgoing(), Tree::fetch(cx, hostname)).await;
    if outgoing.addresses.is_empty() && outgoing.silences.is_empty() {
        return Ok(vec![no_address(cx).about(hostname)]);
    }
    let remedy = Remedy::new();
    let judged = outgoing.addresses.iter().map(async |address| {
        greeting(cx, hostname, *address, &remedy).await.about(format!("{hostname} from {address}"))
    });
    let mut findings = a_few_at_once(judged).await;
    findings.extend(
        outgoing.silences.into_iter().map(|(family, silence)| unknown_addresses(hostname, family, silence.into())),
    );
    Ok(findings)
}

/// The HELO identity (RFC 7208 section 2.3).
async fn greeting(cx: &Context, hostname: &Name, address: IpAddr, remedy: &Remedy) -> Finding {
    let sender = Sender::new(address, &hostname.to_string(), "", cx.now);
    let evaluation = check_host(&cx.net.dns, &sender).await;
    let sentence = evaluation.sentence();
    let mended = async || remedy.get_or_init(|| fix::for_greeting(cx, hostname)).await.clone();
    let finding = match evaluation.settled() {
        Verdict::Pass => Finding::pass(sentence),
        Verdict::None => {
            Finding::pass("none, which receivers accept; v=spf1 a -all at the host's name protects bounces")
        }
        Verdict::Softfail | Verdict::Neutral => Finding::warn(sentence).fix(mended().await),
        Verdict::Fail | Verdict::Permerror => Finding::fail(sentence).fix(mended().await),
        Verdict::Temperror => match published(&cx.net.dns, hostname).await.0 {
            Published::Silent(silence) => unjudged(&evaluation).because_of(&silence),
            _ => unjudged(&evaluation),
        },
    };
    traced(cx, hostname, finding, &evaluation).await
}
