//! The keys that receivers verify signatures with.

use futures_util::future::join_all;
use hickory_resolver::proto::rr::RecordType;

use self::key::Key;
use crate::{
    Abstain, Context, Finding, Fix, Name, Selector, Status,
    check::checks,
    net::{NoAnswer, dns::Answer},
};

mod key;

checks! {
    /// Every selector has one DKIM key record.
    ///
    /// A signature names its selector; receivers fetch the key from `SELECTOR._domainkey.DOMAIN` (RFC 6376 section
    /// 3.6.2). Without it, or with several records, or with an empty `p=` (a revoked key), no signature verifies.
    ///
    /// The selector cannot be guessed: it is `s=` in the DKIM-Signature header of a message that was sent, `Selector`
    /// in opendkim.conf, or what the provider's set-up page shows.
    ///
    /// # Fix
    /// Publish the record that the signer printed when its key was made; at a provider, the CNAME that it shows.
    "dkim.record" ("RFC 6376 section 3.6.2") => record,

    /// Every DKIM key can be used, and is long enough.
    ///
    /// RSA keys under 1024 bits are refused (RFC 8301 section 3.2), under 2048 they are weak; an Ed25519 key has 32
    /// octets (RFC 8463 section 4). `t=y` tells receivers that the domain is only testing.
    ///
    /// # Fix
    /// Make a key of 2048 bits under a new selector, publish it, and let the signer use it.
    "dkim.key" ("RFC 6376 section 3.6.1") => keys,
}

/// A selector under a domain.
struct Place<'a> {
    selector: &'a Selector,
    name: Name,
}

/// Every place where a key is due.
fn places(cx: &Context) -> Result<Vec<Place<'_>>, Abstain> {
    let target = &cx.target;
    if target.selectors.is_empty() {
        let how = "no selector given: it is s= in the DKIM-Signature header of a sent message (--selector S)";
        return Err(Abstain::NotApplicable(how.to_owned()));
    }
    let mut places: Vec<Place<'_>> = Vec::new();
    for selector in &target.selectors {
        let under = selector.domain.as_ref().map_or(target.domains.as_slice(), std::slice::from_ref);
        for domain in under {
            let name = domain.child(&format!("{}._domainkey", selector.name));
            let name = name.map_err(|why| Abstain::NotApplicable(format!("{}._domainkey.{domain} {why}", selector.name)))?;
            if places.iter().all(|known| known.name != name) {
                places.push(Place { selector, name });
            }
        }
    }
    match places.is_empty() {
        true => Err(Abstain::NotApplicable("no domain given".to_owned())),
        false => Ok(places),
    }
}

async fn ask(cx: &Context, place: &Place<'_>) -> Result<Answer, NoAnswer> {
    cx.net.dns.ask(&place.name, RecordType::TXT).await
}

async fn record(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    let places = places(cx)?;
    let judged = places.iter().map(async |place| {
        let finding = match ask(cx, place).await {
            Ok(answer) if answer.is_empty() => absent(cx, &places, place, &answer).await,
            Ok(answer) => Ok(published(&answer)),
            Err(silence) => Err(silence.into()),
        };
        Finding::from(finding).about(&place.name)
    });
    Ok(join_all(judged).await)
}

/// No record: a fault, unless the selector was not said to stand under this very domain and stands under another.
async fn absent(
    cx: &Context,
    places: &[Place<'_>],
    place: &Place<'_>,
    answer: &Answer,
) -> Result<Finding, Abstain> {
    let siblings = places.iter().filter(|other| std::ptr::eq(other.selector, place.selector) && other.name != place.name);
    let mut silence = None;
    for sibling in siblings {
        match ask(cx, sibling).await {
            Ok(answer) if answer.is_empty() => {}
            Ok(_) => {
                let elsewhere = Finding::skip(format!("{}, but one at {}", answer.absence(), sibling.name));
                return Ok(elsewhere.saw([answer.evidence()]));
            }
            Err(why) => silence = Some(why),
        }
    }
    match silence {
        Some(silence) => {
            let unknown = Finding::unknown(format!("{}; elsewhere: {silence}", answer.absence()));
            Ok(unknown.saw([answer.evidence(), silence.evidence()]))
        }
        None => Ok(Finding::fail(answer.absence()).saw([answer.evidence()]).fix(Fix::Advice(format!(
            "Publish the key's TXT record (or the provider's CNAME) at {}, or name the selector that the signer uses",
            place.name
        )))),
    }
}

fn published(answer: &Answer) -> Finding {
    let texts = answer.texts();
    let via = answer.aliases().last().map(|end| format!(" at {end}")).unwrap_or_default();
    match texts.as_slice() {
        [text] if key::is_revoked(text) => Finding::fail(format!("the key is revoked{via}: p= is empty"))
            .fix(Fix::Advice("Publish the key that the signer uses, or sign with another selector".to_owned())),
        [_] => Finding::pass(format!("one record{via}")),
        several => Finding::fail(format!("{} TXT records{via}, 1 allowed", several.len()))
            .fix(Fix::Advice("Delete all but the signer's key".to_owned())),
    }
    .saw([answer.evidence()])
}

async fn keys(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    let places = places(cx)?;
    Ok(join_all(places.iter().map(async |place| Finding::from(key_at(cx, place).await).about(&place.name))).await)
}

async fn key_at(cx: &Context, place: &Place<'_>) -> Result<Finding, Abstain> {
    let needs = |what: &str| Finding::from(Abstain::Needs(what.to_owned(), "dkim.record"));
    let answer = match ask(cx, place).await {
        Ok(answer) => answer,
        Err(silence) => return Ok(needs("the key record").saw([silence.evidence()])),
    };
    let text = match answer.texts().as_slice() {
        [text] if !key::is_revoked(text) => text.clone(),
        _ => return Ok(needs("one key record").saw([answer.evidence()])),
    };
    let finding = match Key::parse(&text) {
        Ok(key) => Finding::new(key.status(), key.sentence())
            .fact("algorithm", key.algorithm())
            .fact("bits", key.bits())
            .fact("testing", key.testing)
            .fix(Fix::Advice(key.remedy().to_owned())),
        Err(why) => Finding::fail(why).fix(Fix::Advice(
            "Publish the record again as the signer printed it, in strings of at most 255 characters".to_owned(),
        )),
    };
    Ok(finding.saw([answer.evidence()]))
}

/// A domain that may stand in `d=`, and whether receivers can use the key that its selector names.
pub(crate) struct Signer {
    pub(crate) domain: Name,
    /// `SELECTOR._domainkey.DOMAIN`.
    pub(crate) name: Name,
    pub(crate) key: Result<bool, NoAnswer>,
}

/// Every domain that mail may be signed for, as far as selectors were named.
pub(crate) async fn signers(cx: &Context) -> Vec<Signer> {
    let places = places(cx).unwrap_or_default();
    let asked = places.into_iter().map(async |Place { selector, name }| {
        let key = cx.net.dns.ask(&name, RecordType::TXT).await.map(|answer| match answer.texts().as_slice() {
            [text] => !key::is_revoked(text) && Key::parse(text).is_ok_and(|key| key.status() != Status::Fail),
            _ => false,
        });
        let labels = selector.name.split('.').count() + 1;
        let domain = (0..labels).fold(name.clone(), |name, _| name.parent());
        Signer { domain, name, key }
    });
    join_all(asked).await
}
