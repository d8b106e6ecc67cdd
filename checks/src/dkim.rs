//! The keys that receivers verify signatures with.

use futures_util::future::join_all;
use hickory_resolver::proto::rr::RecordType;
use syntax::{Name, Selector};

use self::{
    key::{Key, OPEN},
    lint::{algorithm, flags, revoked, service, syntax},
    public::{record_of, repaired},
    record::Record,
};
use crate::{
    Abstain, Context, Finding, Fix, Status,
    check::checks,
    message::signatures,
    net::{NoAnswer, dns::Answer},
};

mod fetched;
mod key;
mod lint;
mod public;
mod record;

pub(crate) use fetched::{Unusable, Usable, fetched};
pub use public::{PublicKey, SignerKey};

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
    /// octets (RFC 8463 section 4). With `--dkim-key SELECTOR=FILE` the key is compared with the signer's private one:
    /// where they differ, no signature verifies.
    ///
    /// # Fix
    /// Make a key of 2048 bits under a new selector, publish it, and let the signer use it.
    "dkim.key" ("RFC 6376 section 3.6.1") => keys,

    /// Every DKIM key record is spelled right.
    ///
    /// A record is a list of tags with semicolons between them (RFC 6376 sections 3.2 and 3.6.1). `v=DKIM1` comes first,
    /// no tag stands twice, `p=` is base64: backslashes and quotes that a web form took literally spoil it, and no
    /// signature verifies. Tags that the standard does not know are ignored, so whatever they were meant to say is not
    /// heard.
    ///
    /// # Fix
    /// Publish the record again as the signer printed it; in a web form, without quotes and backslashes.
    "dkim.syntax" ("RFC 6376 section 3.6.1") => syntax,

    /// No DKIM key in use is revoked.
    ///
    /// An empty `p=` says that the key has been withdrawn (RFC 6376 section 3.6.1): every signature with it fails.
    ///
    /// # Fix
    /// Publish the key that the signer uses, or let it use another selector.
    "dkim.revoked" ("RFC 6376 section 3.6.1") => revoked,

    /// Every DKIM key is of a type, and for a hash, that verifiers accept.
    ///
    /// Verifiers know `k=rsa` and, not all of them, `k=ed25519` (RFC 8463); they take SHA-256 alone, since SHA-1 must not
    /// be used any more (RFC 8301 section 3.1). A record whose `h=` leaves `sha256` out forbids every signature. Mail that
    /// is signed with Ed25519 alone counts as unsigned where the verifier does not know it.
    ///
    /// # Fix
    /// Take `h=` out of the record; beside an Ed25519 key, sign with an RSA key too.
    "dkim.algorithm" ("RFC 8301 section 3.1") => algorithm,

    /// No DKIM key is in test mode.
    ///
    /// With `t=y` the domain says that it is only testing: receivers treat its signed mail as unsigned (RFC 6376 section
    /// 3.6.1). `t=s` is well: it keeps signatures from speaking for subdomains (`i=`).
    ///
    /// # Fix
    /// Take `t=y` out of the record.
    "dkim.flags" ("RFC 6376 section 3.6.1") => flags,

    /// Every DKIM key may sign mail.
    ///
    /// `s=` lists the services that a key is for (RFC 6376 section 3.6.1). Where it has neither `email` nor `*`, verifiers
    /// do not use the key for mail.
    ///
    /// # Fix
    /// Take `s=` out of the record.
    "dkim.service" ("RFC 6376 section 3.6.1") => service,

    /// Every DKIM signature of a sent message verifies.
    ///
    /// With `--message FILE`: a receiver hashes body and header again and verifies with the published key (RFC 6376
    /// section 6.1). From must be signed (section 5.4), the signature must not have expired, and `l=` lets anybody add to
    /// the body (section 8.2). For DMARC, `d=` has to be aligned with the From domain.
    ///
    /// # Fix
    /// Sign last, after whatever changes the message, with the published key and without `l=`.
    "dkim.signature" ("RFC 6376 section 6.1") => signatures,
}

/// The longest chain of CNAMEs that nobody minds; each is one more zone that can break.
const LONG_CHAIN: usize = 3;

/// A selector under a domain.
struct Place<'a> {
    selector: &'a Selector,
    domain: &'a Name,
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
            let name =
                name.map_err(|why| Abstain::NotApplicable(format!("{}._domainkey.{domain} {why}", selector.name)))?;
            // What was said about this very domain counts for more.
            let is_own = |own: &&Selector| own.name == selector.name && own.domain.as_ref() == Some(domain);
            let selector = target.selectors.iter().find(is_own).unwrap_or(selector);
            if places.iter().all(|known| known.name != name) {
                places.push(Place { selector, domain, name });
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
            Ok(answer) => Ok(published(cx, place, &answer)),
            Err(silence) => Err(silence.into()),
        };
        Finding::from(finding).about(&place.name)
    });
    Ok(join_all(judged).await)
}

/// No record: a fault, unless the selector was not said to stand under this very domain and stands under another.
async fn absent(cx: &Context, places: &[Place<'_>], place: &Place<'_>, answer: &Answer) -> Result<Finding, Abstain> {
    // Whoever published an alias meant the key to stand here.
    if let [.., end] = answer.aliases() {
        let why = if answer.is_nxdomain() { "does not exist (NXDOMAIN)" } else { "has no TXT record" };
        let advice = format!("Publish the key at {end}, or correct the CNAME: the provider's set-up page shows it");
        let dangling = Finding::fail(format!("a CNAME leads to {end}, which {why}"));
        return Ok(dangling.fact("alias", end.to_string()).saw([answer.evidence()]).fix(Fix::Advice(advice)));
    }
    let siblings =
        places.iter().filter(|other| std::ptr::eq(other.selector, place.selector) && other.name != place.name);
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
    if let Some(silence) = silence {
        let unknown = Finding::unknown(format!("{}; elsewhere: {silence}", answer.absence()));
        return Ok(unknown.saw([answer.evidence(), silence.evidence()]));
    }
    let advice = format!(
        "Publish the key's TXT record (or the provider's CNAME) at {}, or name the selector that the signer uses",
        place.name
    );
    let finding = Finding::fail(answer.absence()).saw([answer.evidence()]);
    Ok(finding.fix(own_record(cx, place, answer).unwrap_or(Fix::Advice(advice))))
}

fn published(cx: &Context, place: &Place<'_>, answer: &Answer) -> Finding {
    let texts = answer.texts();
    let aliases = answer.aliases();
    let via = aliases.last().map(|end| format!(" at {end}")).unwrap_or_default();
    match texts.as_slice() {
        [text] if Record::read(text).is_revoked() => {
            let advice = Fix::Advice("Publish the key that the signer uses, or sign with another selector".to_owned());
            Finding::fail(format!("the key is revoked{via}: p= is empty"))
                .fix(own_record(cx, place, answer).unwrap_or(advice))
        }
        [_] if aliases.len() > LONG_CHAIN => {
            Finding::warn(format!("one record{via}, {} CNAMEs away, {LONG_CHAIN} advised", aliases.len())).fix(
                Fix::Advice(format!(
                    "Let the CNAME at {} lead to {} directly",
                    place.name,
                    via.trim_start_matches(" at ")
                )),
            )
        }
        [_] => Finding::pass(format!("one record{via}")),
        several => {
            let advice = Fix::Advice("Delete all but the signer's key".to_owned());
            Finding::fail(format!("{} TXT records{via}, 1 allowed", several.len()))
                .fix(own_record(cx, place, answer).unwrap_or(advice))
        }
    }
    .saw([answer.evidence()])
}

/// The private key of this place, where its file was named.
fn signer_key<'a>(cx: &'a Context, place: &Place<'_>) -> Option<&'a SignerKey> {
    cx.target.dkim_keys.iter().find(|key| {
        let domain = key.selector.domain.as_ref();
        key.selector.name == place.selector.name && domain.is_none_or(|domain| domain == place.domain)
    })
}

/// The record of the signer's own key; where an alias leads elsewhere, it is not ours to publish.
fn own_record(cx: &Context, place: &Place<'_>, answer: &Answer) -> Option<Fix> {
    let key = signer_key(cx, place).filter(|_| answer.aliases().is_empty())?;
    Some(zone(place, &record_of(&key.public)))
}

/// The whole record to publish instead, if it is one that `passes`: the signer's key, or the published one put right.
fn instead(
    cx: &Context,
    place: &Place<'_>,
    (answer, record): &(Answer, Record),
    passes: impl Fn(&Key) -> bool,
) -> Option<Fix> {
    let key = signer_key(cx, place).map(|key| record_of(&key.public));
    let text = key.or_else(|| repaired(record)).filter(|_| answer.aliases().is_empty())?;
    let again = Record::read(text.as_bytes());
    let is_better = again.mistakes.is_empty() && Key::parse(&again).is_ok_and(|key| passes(&key));
    is_better.then(|| zone(place, &text))
}

fn zone(place: &Place<'_>, text: &str) -> Fix {
    Fix::txt(&place.name, text)
}

/// The one record at a place, or what is said where there is none to speak about.
async fn one_record(cx: &Context, place: &Place<'_>) -> Result<(Answer, Record), Finding> {
    let needs = |what: &str| Finding::from(Abstain::Needs(what.to_owned(), "dkim.record"));
    let answer = ask(cx, place).await.map_err(|silence| needs("the key record").saw([silence.evidence()]))?;
    match answer.texts().as_slice() {
        [text] => {
            let record = Record::read(text);
            Ok((answer, record))
        }
        _ => Err(needs("one key record").saw([answer.evidence()])),
    }
}

async fn keys(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    let places = places(cx)?;
    Ok(join_all(places.iter().map(async |place| key_at(cx, place).await.about(&place.name))).await)
}

async fn key_at(cx: &Context, place: &Place<'_>) -> Finding {
    let found = match one_record(cx, place).await {
        Ok(found) if found.1.is_revoked() => {
            return Finding::from(Abstain::Needs("one key record".to_owned(), "dkim.record")).saw([found.0.evidence()]);
        }
        Ok(found) => found,
        Err(finding) => return finding,
    };
    let signer = signer_key(cx, place);
    let own = |key: &Key| signer.is_none_or(|signer| signer.public == *key.public());
    let finding = match Key::parse(&found.1) {
        Ok(key) => {
            let advice = Fix::Advice(key.remedy().to_owned());
            let finding = match signer {
                Some(_) if !own(&key) => Finding::fail(format!(
                    "the published {} key is not the signer's (--dkim-key): no signature verifies",
                    key.algorithm()
                )),
                Some(_) => Finding::new(key.status(), format!("{}, the signer's key", key.sentence())),
                None => Finding::new(key.status(), key.sentence()),
            };
            let advice =
                if own(&key) { advice } else { Fix::Advice("Publish the key that the signer uses".to_owned()) };
            let finding =
                finding.fact("algorithm", key.algorithm()).fact("bits", key.bits()).fact("testing", key.testing);
            let finding = match signer {
                Some(_) => finding.fact("matches", own(&key)),
                None => finding,
            };
            finding.fix(instead(cx, place, &found, |key| key.status() == Status::Pass).unwrap_or(advice))
        }
        Err(why) => {
            let advice = match why.ends_with(OPEN) {
                true => "Make a new key under a new selector, publish it, and let the signer use it",
                false => "Publish the record again as the signer printed it, in strings of at most 255 characters",
            };
            let advice = Fix::Advice(advice.to_owned());
            Finding::fail(why).fix(instead(cx, place, &found, |key| key.status() == Status::Pass).unwrap_or(advice))
        }
    };
    finding.saw([found.0.evidence()]).saw(signer.map(SignerKey::evidence))
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
    let asked = places.into_iter().map(async |place| {
        let key = ask(cx, &place).await.map(|answer| match answer.texts().as_slice() {
            [text] => is_usable(&Record::read(text)),
            _ => false,
        });
        Signer { domain: place.domain.clone(), name: place.name, key }
    });
    join_all(asked).await
}

fn is_usable(record: &Record) -> bool {
    !record.is_revoked() && Key::parse(record).is_ok_and(|key| key.status() != Status::Fail)
}

/// What must hold of every TXT record at a selector.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(octets: &[u8]) {
    let record = Record::read(octets);
    let length = String::from_utf8_lossy(octets).len();
    assert!(
        record.mistakes.iter().all(|mistake| (1..=length + 1).contains(&mistake.position)),
        "{:?}",
        record.mistakes
    );
    let _ = repaired(&record);
    if let Ok(key) = Key::parse(&record) {
        let text = record_of(key.public());
        let again = Record::read(text.as_bytes());
        assert!(again.mistakes.is_empty(), "{text}: {:?}", again.mistakes);
        assert_eq!(Key::parse(&again).map(|key| key.public().clone()).as_ref(), Ok(key.public()), "{text}");
    }
}
