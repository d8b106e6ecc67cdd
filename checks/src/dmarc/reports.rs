//! `dmarc.reports`: whether the reports that a record asks for will arrive.

use futures_util::future::{join, join_all, join3};
use hickory_resolver::proto::rr::RecordType;
use syntax::{
    Name,
    dmarc::Record,
    dmarc::uri::{Target, Uri},
};

use super::{
    applied, each, fix,
    walk::{Applied, Walk, organization},
    whose,
};
use crate::{Context, Evidence, Finding, Fix, Status, mx::receives, net::NoAnswer};

/// How many URIs of a tag are followed: nobody reports to more, and a record has room for hundreds.
const MOST_URIS: usize = 10;

/// What is wrong with one URI, and what would mend it.
struct Trouble {
    status: Status,
    message: String,
    fix: Option<Fix>,
    evidence: Vec<Evidence>,
}

pub(super) async fn reports(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain, walk| {
        let applied = applied(cx, walk).await?;
        let whose = whose(domain, &applied.at);
        if applied.record.rua.is_empty() {
            let message = format!("no rua={whose}: nobody reports who sends in the domain's name");
            return Ok(Finding::warn(message).fix(asking(cx, walk, &applied).await));
        }
        let mut troubles = troubles(cx, walk, &applied).await;
        let shown = |uris: &[Uri]| uris.iter().map(|uri| uri.text.as_str()).collect::<Vec<_>>().join(", ");
        let facts = |finding: Finding| {
            let rua: Vec<&str> = applied.record.rua.iter().map(|uri| uri.text.as_str()).collect();
            finding.fact("rua", rua).saw(walk.evidence())
        };
        if troubles.is_empty() {
            let ruf = match applied.record.ruf.is_empty() {
                true => String::new(),
                false => format!(", of failures to {}", shown(&applied.record.ruf)),
            };
            return Ok(facts(Finding::pass(format!("reports go to {}{ruf}{whose}", shown(&applied.record.rua)))));
        }
        // The gravest first; what has the same gravity stays in the order of the record.
        troubles.sort_by_key(|trouble| std::cmp::Reverse(trouble.status));
        let status = troubles.first().map_or(Status::Pass, |trouble| trouble.status);
        let messages: Vec<&str> = troubles.iter().map(|trouble| trouble.message.as_str()).collect();
        let finding = facts(Finding::new(status, messages.join("; ")));
        let evidence = troubles.iter().flat_map(|trouble| trouble.evidence.clone());
        Ok(finding.saw(evidence).fix(together(&troubles)))
    })
    .await
}

/// The record with a `rua` that takes mail; advice where the domain itself takes none.
async fn asking(cx: &Context, walk: &Walk, applied: &Applied) -> Fix {
    let at = &applied.at;
    match receives(cx, at).await {
        Ok(None) => {
            let rua = format!("rua=mailto:postmaster@{at}");
            fix::published(walk, at, &fix::edited(&applied.record, &["rua"], &[rua]))
        }
        _ => Fix::Advice(format!("Add rua=mailto: and an address that takes mail to the record at _dmarc.{at}")),
    }
}

/// The fixes of all troubles: zone lines only where they mend everything.
fn together(troubles: &[Trouble]) -> Option<Fix> {
    let fixes: Vec<&Fix> = troubles.iter().filter_map(|trouble| trouble.fix.as_ref()).collect();
    let mut texts: Vec<&str> = Vec::new();
    for fix in &fixes {
        if !texts.contains(&fix.text()) {
            texts.push(fix.text());
        }
    }
    let all_zone = fixes.len() == troubles.len() && fixes.iter().all(|fix| matches!(fix, Fix::Zone(_)));
    match (all_zone, texts.is_empty()) {
        (_, true) => None,
        (true, _) => Some(Fix::Zone(texts.join("\n"))),
        (false, _) => {
            let said = fixes.iter().map(|fix| match fix {
                Fix::Zone(lines) => format!("publish {lines}"),
                other => other.text().to_owned(),
            });
            let mut said: Vec<String> = said.collect();
            said.dedup();
            Some(Fix::Advice(said.join("; ")))
        }
    }
}

async fn troubles(cx: &Context, walk: &Walk, applied: &Applied) -> Vec<Trouble> {
    let Applied { record, .. } = applied;
    let uris = |tag: &'static str, uris: &[Uri]| -> Vec<(&'static str, Uri)> {
        uris.iter().take(MOST_URIS).map(|uri| (tag, uri.clone())).collect()
    };
    let all = [uris("rua", &record.rua), uris("ruf", &record.ruf)].concat();
    let judged = all.iter().map(|(tag, uri)| trouble(cx, walk, applied, tag, uri));
    join_all(judged).await.into_iter().flatten().collect()
}

async fn trouble(cx: &Context, walk: &Walk, applied: &Applied, tag: &'static str, uri: &Uri) -> Option<Trouble> {
    let trouble =
        |status, message: String, fix: Option<Fix>| Some(Trouble { status, message, fix, evidence: Vec::new() });
    let target = match &uri.target {
        Ok(Target::Mail(target)) => target,
        Ok(Target::Other(scheme)) => {
            let message = format!("{tag}={}: receivers must know mailto: alone, and ignore {scheme}:", uri.text);
            return trouble(Status::Warn, message, Some(Fix::Advice(format!("Name a mailto: address in {tag}="))));
        }
        Err(why) => {
            let message = format!("{tag}={} {why}: no report is sent there", uri.text);
            return trouble(Status::Fail, message, Some(respelled(walk, &applied.at, &applied.record, tag)));
        }
    };
    let (reception, authorisation) = join(receives(cx, target), authorisation(cx, &applied.at, target)).await;
    match reception {
        Err(silence) => return Some(unknown(silence)),
        Ok(Some((why, answer))) => {
            return Some(Trouble {
                status: Status::Fail,
                message: format!("{tag}={}: {why}", uri.text),
                fix: Some(Fix::Advice(format!("Name an address in {tag}= that takes mail"))),
                evidence: vec![answer.evidence()],
            });
        }
        Ok(None) => {}
    }
    match authorisation {
        Err(silence) => Some(unknown(silence)),
        Ok(None) => None,
        Ok(Some(refusal)) => Some(Trouble { message: format!("{tag}={}: {}", uri.text, refusal.message), ..refusal }),
    }
}

fn unknown(silence: NoAnswer) -> Trouble {
    Trouble { status: Status::Unknown, message: silence.to_string(), fix: None, evidence: vec![silence.evidence()] }
}

/// The whole record with the URIs as they were plainly meant.
fn respelled(walk: &Walk, at: &Name, record: &Record, tag: &str) -> Fix {
    match fix::corrected(record.text.as_bytes()) {
        Some(text) => fix::published(walk, at, &text),
        None => Fix::Advice(format!("Correct {tag}= in the record at _dmarc.{at}: mailto: and an address")),
    }
}

/// What keeps receivers from sending reports about `at` to another organization (RFC 9990 section 4), if anything.
async fn authorisation(cx: &Context, at: &Name, target: &Name) -> Result<Option<Trouble>, NoAnswer> {
    let Ok(name) = target.child(&format!("{at}._report._dmarc")) else {
        let message = format!("{at}._report._dmarc.{target} is longer than DNS allows: no report is sent there");
        let fix = Some(Fix::Advice("Name an address of the same organization, or at a shorter domain".to_owned()));
        return Ok(Some(Trouble { status: Status::Warn, message, fix, evidence: Vec::new() }));
    };
    if target == at {
        return Ok(None);
    }
    let asked = cx.net.dns.ask(&name, RecordType::TXT);
    let (ours, theirs, answer) = join3(organization(cx, at), organization(cx, target), asked).await;
    if ours? == theirs? {
        return Ok(None);
    }
    let answer = answer?;
    let records: Vec<Record> = answer.texts().iter().filter_map(|text| Record::parse(text)).collect();
    let evidence = vec![answer.evidence()];
    if records.is_empty() {
        let message = format!("{target} has not said at {name} that it wants reports about {at}: none is sent there");
        return Ok(Some(Trouble { status: Status::Warn, message, fix: Some(Fix::txt(&name, "v=DMARC1")), evidence }));
    }
    let leads_away = |uri: &&Uri| !matches!(&uri.target, Ok(Target::Mail(other)) if other == target);
    Ok(records.iter().flat_map(|record| &record.rua).find(leads_away).map(|uri| Trouble {
        status: Status::Warn,
        message: format!("{name} turns reports away to {}, at another host: none is sent", uri.text),
        fix: Some(Fix::Advice(format!(
            "Name another address in the record of {at}, or let {target} correct rua= at {name}"
        ))),
        evidence,
    }))
}
