//! What the relay's certificates are made of: lifetime, signer, keys and purpose.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use syntax::text::timestamp;

use super::{consequence, days, judged, wrong};
use crate::{
    Abstain, Context, Finding, Fix,
    net::{
        smtp::Demand,
        tls::{Certificate, Key, Session},
    },
    relay::every,
};

/// RSA keys: RFC 9325 section 4.5, and what OpenSSL's security level 1 asks for.
const FEWEST_BITS: usize = 2048;
const FEWEST_BITS_OF_LEVEL_1: usize = 1024;

pub(super) async fn lifetime(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    judged(cx, |_, session| {
        let lasts = session.not_after.duration_since(session.not_before).unwrap_or_default();
        let limit = longest_lifetime(session.not_before);
        let issued = timestamp(session.not_before);
        let span = format!("{} days from {issued}", days(lasts));
        // Both ends count: 200 days end one second before the 201st begins (CA/B Forum, definition of validity period).
        let finding = match lasts < limit {
            true => Finding::pass(format!("{span}, within the {} days of public CAs", days(limit))),
            false if session.is_public() => {
                Finding::warn(format!("{span}, public CAs may issue for {} days", days(limit))).fix(Fix::Advice(
                    "Ask the relay's operator for a new certificate, before browsers and others distrust its CA"
                        .to_owned(),
                ))
            }
            false if session.reaches_a_root() => Finding::skip(format!(
                "{span}, from a private CA: the {} days of public CAs do not bind it",
                days(limit)
            )),
            false => Finding::unknown(format!(
                "{span}, public CAs may issue for {} days; whether {} is public cannot be told without its certificate",
                days(limit),
                session.issuer
            ))
            .fix(Fix::Advice("Ask the relay's operator to send the whole chain".to_owned())),
        };
        finding.fact("days", days(lasts)).fact("allowed_days", days(limit)).fact("not_before", issued)
    })
    .await
}

/// SC-081v3 and what went before it: SC-031 from 1 September 2020 on, ballot 193 until then.
fn longest_lifetime(issued: SystemTime) -> Duration {
    const SINCE: [(u64, u64); 4] =
        [(1_868_227_200, 47), (1_805_068_800, 100), (1_773_532_800, 200), (1_598_918_400, 398)];
    const BEFORE: u64 = 825;
    let issued = issued.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let days = SINCE.iter().find(|(since, _)| issued >= *since).map_or(BEFORE, |(_, days)| *days);
    Duration::from_secs(days * 86_400)
}

pub(super) async fn self_signed(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    every(cx, |dialogue| {
        let session = super::session(cx, dialogue)?;
        let is_anchor = session.is_self_signed() && session.is_anchored();
        if session.is_self_signed() && !is_anchor {
            return Err(Abstain::Needs("a certificate of a CA".to_owned(), "tls.chain"));
        }
        let finding = match is_anchor {
            false => Finding::pass(format!("issued by {}", session.issuer)),
            true => Finding::warn(
                "self-signed, and trusted because the trust anchors have it: each renewal has to come to them first",
            )
            .fix(Fix::Advice("Ask the relay's operator for a certificate of a CA".to_owned())),
        };
        Ok(super::with_facts(cx, dialogue, session, finding.saw([super::chain_shown(cx, dialogue, session)])))
    })
    .await
}

pub(super) async fn key(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    judged(cx, |dialogue, session| {
        let chain = session.judged();
        let Some(own) = chain.first().cloned().or_else(|| session.certificate()) else {
            return Finding::unknown("the certificate cannot be read");
        };
        let finding = match weaknesses(session, &chain) {
            weaknesses if !weaknesses.is_empty() => weak(cx, &dialogue.demand, session, &weaknesses),
            _ => match &own.key {
                Key::Other(what) => Finding::unknown(format!("the key is of an unknown kind ({what})"))
                    .fix(Fix::Advice("Let openssl x509 -text show what it is".to_owned())),
                key => Finding::pass(format!("{key}, signed by {}", own.signature.name)),
            },
        };
        finding.fact("key", own.key.to_string()).fact("signature", own.signature.name)
    })
    .await
}

/// What is wrong, and whether OpenSSL refuses it at security level 1.
struct Weakness {
    what: String,
    is_refused: bool,
}

fn weaknesses(session: &Session, chain: &[Certificate]) -> Vec<Weakness> {
    let mut found = Vec::new();
    // Nobody checks what a certificate says of itself.
    let is_signed_by_another = |height: usize| height > 0 || !session.is_self_signed();
    for (height, certificate) in chain.iter().enumerate() {
        let whose = if height == 0 { String::new() } else { format!(" of {}", certificate.subject) };
        match certificate.key {
            Key::Rsa(bits) if bits < FEWEST_BITS => found.push(Weakness {
                what: format!("RSA key{whose} of {bits} bits, {FEWEST_BITS} at least"),
                is_refused: bits < FEWEST_BITS_OF_LEVEL_1,
            }),
            // 192 bits; level 1 asks for 160.
            Key::Ec("prime192v1") => {
                found.push(Weakness { what: format!("ECDSA key{whose} on prime192v1"), is_refused: false });
            }
            _ => {}
        }
        if let Some(hash) = certificate.signature.broken_hash.filter(|_| is_signed_by_another(height)) {
            let what = match height {
                0 => format!("signed with {hash}"),
                _ => format!("{} is signed with {hash}", certificate.subject),
            };
            found.push(Weakness { what, is_refused: true });
        }
    }
    found
}

fn weak(cx: &Context, demand: &Demand, session: &Session, weaknesses: &[Weakness]) -> Finding {
    let then = match weaknesses.iter().any(|weakness| weakness.is_refused) {
        true => consequence(cx, demand, session),
        false => format!("at {demand} Postfix takes it all the same"),
    };
    let what = weaknesses.iter().map(|weakness| weakness.what.as_str()).collect::<Vec<_>>().join("; ");
    wrong(demand, format!("{what}; {then}")).fix(Fix::Advice(
        "Ask the relay's operator for a certificate with a key of RSA 2048 or ECDSA P-256, signed with SHA-256"
            .to_owned(),
    ))
}

pub(super) async fn purpose(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    judged(cx, |dialogue, session| {
        let demand = &dialogue.demand;
        let Some(own) = session.certificate() else {
            return Finding::unknown("the certificate cannot be read");
        };
        let stated = match own.purposes.as_slice() {
            [] => "no extendedKeyUsage".to_owned(),
            some => format!("extendedKeyUsage {}", some.join(", ")),
        };
        let advice = Fix::Advice(
            "Ask the relay's operator for a server certificate: CA:FALSE, extendedKeyUsage serverAuth".to_owned(),
        );
        let finding = match (own.is_for_servers, own.is_authority) {
            (false, _) => {
                let then = consequence(cx, demand, session);
                wrong(demand, format!("not for servers ({stated}); OpenSSL does not trust it: {then}")).fix(advice)
            }
            (true, true) => Finding::warn(
                "is a CA's own certificate (CA:TRUE); OpenSSL, and so Postfix, takes that, other libraries do not",
            )
            .fix(advice),
            (true, false) => Finding::pass(format!("for servers ({stated})")),
        };
        finding.fact("purposes", own.purposes)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_that_of_the_day_of_issue() {
        for (issued, allowed) in [
            (1_500_000_000, 825),
            (1_598_918_399, 825),
            (1_598_918_400, 398),
            (1_773_532_799, 398),
            (1_773_532_800, 200),
            (1_805_068_799, 200),
            (1_805_068_800, 100),
            (1_868_227_199, 100),
            (1_868_227_200, 47),
        ] {
            assert_eq!(days(longest_lifetime(UNIX_EPOCH + Duration::from_secs(issued))), allowed, "{issued}");
        }
    }
}
