//! How the relay introduces itself, and what it says to our name.

use syntax::Name;

use super::{Abstain, Context, Finding, Fix, Stage, every, evidence};
use crate::net::smtp::{Dialogue, Reply};

/// Postfix looks for loops at this port alone (SMTP_MISC_FLAG_LOOP_DETECT of its smtp_connect.c).
const SMTP: u16 = 25;

pub(super) async fn banner(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    every(cx, |dialogue| {
        let Some(banner) = &dialogue.banner else { return Err(unanswered(dialogue)) };
        let word = first_word(banner);
        let finding = match host(word) {
            Some(host) => Finding::pass(format!("greets as {host}")).fact("host", host.to_string()),
            None if is_literal(word) => Finding::pass(format!("greets as {word}")).fact("host", word),
            None if word.is_empty() => Finding::warn("greets without a name"),
            None => Finding::warn(format!("greets as {word:?}, which is no full host name")),
        };
        let advice = "Ask the relay's operator to let the greeting begin with the server's full name; look for a \
                      firewall that rewrites it";
        Ok(finding.fix(Fix::Advice(advice.to_owned())).saw([evidence(cx, dialogue, &[Stage::Greeting])]))
    })
    .await
}

pub(super) async fn ehlo(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    every(cx, |dialogue| {
        let Some(reply) = dialogue.greeting.as_ref().or(dialogue.secured.as_ref()) else {
            return Err(unanswered(dialogue));
        };
        let word = first_word(reply);
        let finding = match (&dialogue.no_ehlo, host(word)) {
            (_, Some(host)) if is_taken_for_us(cx, dialogue, &host) => Finding::fail(format!(
                "answers as {host}, this host's own name: Postfix takes that for a loop and does not deliver"
            ))
            .fix(Fix::Advice(
                "Let relayhost lead to another machine, and let every machine have a myhostname of its own".to_owned(),
            )),
            (Some(refusal), _) => Finding::warn(format!(
                "EHLO is answered with {refusal}, only HELO is taken: no STARTTLS, no AUTH, no SIZE"
            ))
            .fix(Fix::Advice(
                "Look for a firewall that inspects SMTP and undoes EHLO, or ask the relay's operator".to_owned(),
            )),
            (None, _) if word.is_empty() => Finding::pass("EHLO is accepted"),
            (None, _) => Finding::pass(format!("EHLO is accepted, by {word}")),
        };
        let finding = finding.fact("esmtp", dialogue.no_ehlo.is_none());
        let finding = if word.is_empty() { finding } else { finding.fact("host", word) };
        Ok(finding.saw([evidence(cx, dialogue, &[Stage::Greeting])]))
    })
    .await
}

/// smtp_proto.c: whoever answers with our name is us.
fn is_taken_for_us(cx: &Context, dialogue: &Dialogue, host: &Name) -> bool {
    dialogue.endpoint.port == SMTP && cx.target.hostname.as_ref() == Some(host)
}

fn first_word(reply: &Reply) -> &str {
    reply.lines.first().and_then(|line| line.split_whitespace().next()).unwrap_or_default()
}

/// RFC 5321 section 4.2: the greeting begins with a domain or an address literal.
fn host(word: &str) -> Option<Name> {
    let is_plain = |label: &[u8]| label.iter().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(octet));
    let name: Name = word.trim_end_matches([',', ';']).parse().ok()?;
    (name.depth() >= 2 && name.labels().all(is_plain) && name.address_literal().is_none()).then_some(name)
}

fn is_literal(word: &str) -> bool {
    word.starts_with('[') && word.parse::<Name>().is_ok_and(|name| name.address_literal().is_some())
}

fn unanswered(dialogue: &Dialogue) -> Abstain {
    match dialogue.broke {
        Some((Stage::Handshake, _)) => Abstain::Needs("a TLS session".to_owned(), "tls.version"),
        _ => Abstain::Needs("an answer to EHLO".to_owned(), "relay.connect"),
    }
}
