//! Whether DNS answers at all, and its servers agree.

use futures_util::future::join_all;
use hickory_resolver::proto::rr::RecordType;
use syntax::Name;

use crate::{Context, Finding, Fix, check::checks};

mod servers;

use servers::servers;

checks! {
    /// DNS answers about every name that mail depends on.
    ///
    /// Where the servers of a domain are silent or fail, nothing about its mail can be found out, here or by a receiver, who
    /// then puts the mail off (RFC 5321 section 4.5.4.1). This is the one finding about it: all that depends on the same
    /// silence is skipped.
    ///
    /// # Fix
    /// Ask the DNS provider why its servers do not answer (`dig +trace` shows who is asked), or name a resolver that works
    /// with `--resolver`.
    "dns.answers" ("RFC 1034 section 4.1") => answers,

    /// Every authoritative server of the domain gives the same answers.
    ///
    /// A resolver asks any of them: where one is out of date, or does not know the zone (a lame delegation, RFC 1912 section
    /// 2.8), mail is judged by chance. With `--authoritative` each of them is asked, without a resolver in between, for the
    /// records that mail depends on.
    ///
    /// # Fix
    /// Let the zone be transferred to the server that lags behind, or take a lame server out of the NS records here and at
    /// the registrar.
    "dns.servers" ("RFC 1034 section 4.2.2") => servers,
}

/// A name with questions about it that other checks ask as well.
struct Place<'a> {
    name: &'a Name,
    rtypes: &'static [RecordType],
}

/// The sender domains and the envelope's; HOSTNAME, where it is not below them.
fn places(cx: &Context) -> Vec<Place<'_>> {
    const DOMAIN: &[RecordType] = &[RecordType::SOA, RecordType::MX, RecordType::TXT];
    const HOST: &[RecordType] = &[RecordType::A, RecordType::AAAA];
    let target = &cx.target;
    let domains = target.domains.iter().chain(&target.mail_from).map(|name| Place { name, rtypes: DOMAIN });
    let host = target.hostname.iter().filter(|name| name.address_literal().is_none());
    domains.chain(host.map(|name| Place { name, rtypes: HOST })).fold(Vec::new(), |mut places, next| {
        if !places.iter().any(|place: &Place<'_>| next.name.is_within(place.name)) {
            places.push(next);
        }
        places
    })
}

/// The name whose silence explains that nothing was heard about `name`: nothing was heard about any name at all, or
/// about the domain it belongs to.
pub(crate) async fn cause<'a>(cx: &'a Context, name: &Name) -> Option<&'a Name> {
    let places = places(cx);
    if cx.net.dns.is_deaf() {
        return places.first().map(|place| place.name);
    }
    let place = places.into_iter().find(|place| name.is_within(place.name))?;
    let silent = join_all(place.rtypes.iter().map(|rtype| cx.net.dns.is_silent(place.name, *rtype))).await;
    silent.into_iter().all(|silent| silent).then_some(place.name)
}

async fn answers(cx: &Context) -> Vec<Finding> {
    let places = places(cx);
    if places.is_empty() {
        return vec![Finding::skip("no name given")];
    }
    join_all(places.iter().map(|place| answers_about(cx, place))).await
}

async fn answers_about(cx: &Context, place: &Place<'_>) -> Finding {
    let asked = join_all(place.rtypes.iter().map(|rtype| cx.net.dns.ask(place.name, *rtype))).await;
    let silences: Vec<_> = asked.iter().filter_map(|answer| answer.as_ref().err()).collect();
    let finding = match (asked.iter().find_map(|answer| answer.as_ref().ok()), silences.first()) {
        (Some(answer), _) => Finding::pass("DNS answers").saw([answer.evidence()]),
        (None, Some(silence)) => {
            let (who, fix) = match cx.net.dns.is_deaf() {
                true => ("no DNS server answers", "Name a DNS server that answers with --resolver".to_owned()),
                false => (
                    "its DNS is dead",
                    format!("Ask the DNS provider of {} why its servers do not answer (dig +trace)", place.name),
                ),
            };
            let message = format!("{who}: {}; nothing that depends on it can be found out", silence.reason);
            Finding::unknown(message).saw(silences.iter().map(|silence| silence.evidence())).fix(Fix::Advice(fix))
        }
        (None, None) => Finding::skip("nothing to ask"),
    };
    finding.about(place.name)
}
