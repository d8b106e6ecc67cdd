//! `dmarc.organization`: where the tree walk and the public suffix list disagree.

use syntax::{
    Name,
    dmarc::{Psd, Record},
};

use super::{
    applied, each, fix,
    walk::{Applied, Published, Walk},
};
use crate::{Abstain, Context, Finding, Fix};

pub(super) async fn organization(cx: &Context) -> Vec<Finding> {
    each(cx, async |domain, walk| {
        let Applied { at, .. } = applied(cx, walk).await?;
        let new = walk.organization()?.ok_or_else(|| Abstain::Needs("a DMARC record".to_owned(), "dmarc.record"))?;
        let old = registered(domain);
        let facts =
            |finding: Finding| finding.fact("tree_walk", new.to_string()).fact("public_suffix_list", old.to_string());
        if let Published::One(record) = walk.own()
            && record.psd == Psd::Yes
            && !domain.is_public_suffix()
        {
            let message = format!("psd=y says that {domain} is a public suffix: its subdomains are strangers to it");
            return Ok(facts(Finding::fail(message)).fix(fix::published(
                walk,
                domain,
                &fix::edited(record, &["psd"], &[]),
            )));
        }
        if new == old {
            return Ok(facts(Finding::pass(new.to_string())));
        }
        let message = format!("{new} by the tree walk, {old} by the public suffix list of older receivers");
        Ok(facts(Finding::warn(message)).fix(agreed(walk, &at, &new, &old)))
    })
    .await
}

/// What makes the tree walk end where the list does.
fn agreed(walk: &Walk, at: &Name, new: &Name, old: &Name) -> Fix {
    if new.is_within(old) {
        let by_choice = walk.places.iter().find_map(|place| place.record().filter(|record| record.psd == Psd::No));
        return match by_choice {
            Some(_) => Fix::Advice(format!(
                "psd=n at _dmarc.{new} makes it so; use {new} alone in From:, MAIL FROM and d=, or take psd=n out"
            )),
            None => fix::published(walk, old, "v=DMARC1; p=none"),
        };
    }
    match walk.places.iter().find(|place| place.domain == *old).map(|place| &place.published) {
        Some(Published::One(record)) => fix::published(walk, old, &with_psd(record)),
        _ => Fix::Advice(format!("Publish a record of its own with psd=n at _dmarc.{old}; that of {at} applies now")),
    }
}

fn with_psd(record: &Record) -> String {
    fix::edited(record, &["psd"], &["psd=n".to_owned()])
}

/// The organizational domain of RFC 7489 section 3.2: the public suffix and one label; a suffix itself stays.
fn registered(domain: &Name) -> Name {
    domain.registrable().unwrap_or_else(|| domain.clone())
}
