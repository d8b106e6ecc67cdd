//! What EHLO offers where it counts: under TLS, unless there is none.

use super::{Abstain, Context, Finding, Fix, Stage, every, evidence, unused};
use crate::{
    TlsLevel,
    net::smtp::{Dialogue, Reply},
};

/// Postfix's own message_size_limit.
const DEFAULT_LIMIT: u64 = 10_240_000;

pub(super) async fn size(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    every(cx, |dialogue| {
        let (reply, stage) = counting(cx, dialogue)?;
        let ours = cx.target.message_size.unwrap_or(DEFAULT_LIMIT);
        let setting = match cx.target.message_size {
            Some(0) => "message_size_limit 0, no limit".to_owned(),
            Some(size) => format!("message_size_limit {size}"),
            None => format!("message_size_limit {ours}, Postfix's own"),
        };
        let finding = match limit(reply) {
            Limit::None => Finding::pass("no SIZE is offered: the relay names no limit"),
            Limit::Unfixed => Finding::pass("SIZE is offered without a fixed limit"),
            Limit::Odd(text) => Finding::warn(format!("SIZE is offered with {text:?}, which is no number"))
                .fix(Fix::Advice("Ask the relay's operator how large a message may be".to_owned())),
            Limit::Octets(theirs) => {
                let message = format!("takes {theirs} octets ({setting})");
                let finding = match (cx.target.message_size, ours) {
                    (_, 0) => Finding::warn(message),
                    (_, ours) if ours <= theirs => Finding::pass(message),
                    (Some(_), _) => Finding::fail(message),
                    (None, _) => Finding::warn(message),
                };
                finding.fact("size", theirs).fix(Fix::Shell(format!("postconf -e 'message_size_limit = {theirs}'")))
            }
        };
        Ok(finding.fact("message_size_limit", ours).saw([evidence(cx, dialogue, &[stage])]))
    })
    .await
}

pub(super) async fn capabilities(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    /// What a program may want to know, whatever else is offered.
    const KNOWN: [&str; 7] =
        ["PIPELINING", "8BITMIME", "SMTPUTF8", "REQUIRETLS", "DSN", "CHUNKING", "ENHANCEDSTATUSCODES"];
    every(cx, |dialogue| {
        let (reply, stage) = counting(cx, dialogue)?;
        let offered: Vec<&str> = KNOWN.into_iter().filter(|keyword| reply.offers(keyword)).collect();
        let facts: serde_json::Map<String, serde_json::Value> =
            KNOWN.into_iter().map(|keyword| (keyword.to_ascii_lowercase(), reply.offers(keyword).into())).collect();
        let odd = reply.capabilities().iter().find(|line| !is_keyword(line));
        let finding = match (odd, offered.is_empty()) {
            (Some(line), _) => {
                let shown: String = line.chars().take(60).collect();
                Finding::warn(format!("EHLO is answered with {shown:?}, which is no keyword")).fix(Fix::Advice(
                    "Ask the relay's operator what answers here; look for a firewall that rewrites the dialogue"
                        .to_owned(),
                ))
            }
            (None, true) => Finding::pass("none of those that change how mail is sent"),
            (None, false) => Finding::pass(offered.join(" ")),
        };
        Ok(finding.fact("capabilities", facts).saw([evidence(cx, dialogue, &[stage])]))
    })
    .await
}

/// RFC 5321 section 4.1.1.1: letters, digits and hyphens, then parameters of printable characters. Some servers write
/// `AUTH=`, and leave an empty line.
fn is_keyword(line: &str) -> bool {
    let word = line.split([' ', '=']).next().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    word.chars().all(is_plain) && line.chars().all(|c| c == '\t' || matches!(c, ' '..='~'))
}

/// What the relay says about the size of messages (RFC 1870 section 4).
enum Limit {
    None,
    Unfixed,
    Octets(u64),
    Odd(String),
}

fn limit(reply: &Reply) -> Limit {
    match reply.parameter("SIZE").map(str::trim) {
        None => Limit::None,
        Some("") => Limit::Unfixed,
        Some(text) => match text.parse() {
            Ok(0) => Limit::Unfixed,
            Ok(octets) => Limit::Octets(octets),
            // Up to 20 digits are allowed: more than fits is as good as none.
            Err(_) if text.bytes().all(|octet| octet.is_ascii_digit()) => Limit::Unfixed,
            Err(_) => Limit::Odd(text.chars().take(40).collect()),
        },
    }
}

/// The reply to EHLO that counts for the mail, and where it was given.
pub(super) fn counting<'a>(cx: &Context, dialogue: &'a Dialogue) -> Result<(&'a Reply, Stage), Abstain> {
    // Where TLS came first, EHLO under TLS was the only one.
    let secured = if dialogue.greeting.is_some() { Stage::Secured } else { Stage::Greeting };
    let level = cx.target.tls.level;
    match (&dialogue.secured, &dialogue.greeting, &dialogue.broke) {
        (Some(reply), _, _) => Ok((reply, secured)),
        (None, _, Some((Stage::Secured, _))) => {
            Err(Abstain::Needs("an answer to EHLO under TLS".to_owned(), "sasl.mechanisms"))
        }
        (None, _, Some((Stage::Handshake, _))) => Err(Abstain::Needs("a TLS session".to_owned(), "tls.version")),
        (None, Some(reply), _) if level <= TlsLevel::May => Ok((reply, Stage::Greeting)),
        (None, None, _) => Err(Abstain::Needs("an answer to EHLO".to_owned(), "relay.connect")),
        (None, Some(_), _) if level == TlsLevel::None => Err(unused()),
        (None, Some(_), _) => Err(Abstain::Needs("STARTTLS".to_owned(), "relay.starttls")),
    }
}
