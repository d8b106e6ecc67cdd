//! What the relay offers before TLS and under it, and who in between has written over it.

use syntax::text::shortened;

use super::session;
use crate::{
    Abstain, Context, Finding, Fix, TlsLevel,
    net::smtp::{Dialogue, Reply, Stage},
    relay::{every, evidence, unused},
};

/// How much of a line is shown, in characters.
const LONGEST_SHOWN: usize = 40;

pub(super) async fn capabilities(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    every(cx, |dialogue| {
        let policy = &cx.target.tls;
        if policy.level == TlsLevel::None {
            return Err(unused());
        }
        let Some(before) = &dialogue.greeting else {
            let reason = "TLS from the first byte: nothing is offered before it";
            return Err(Abstain::NotApplicable(reason.to_owned()));
        };
        let masked = masked(dialogue, before);
        let finding = match (&dialogue.secured, masked.is_empty()) {
            (_, false) => in_between(before, &masked),
            (Some(after), true) => compared(before, after),
            (None, true) => {
                session(cx, dialogue)?;
                return Err(match dialogue.broke {
                    Some((Stage::Secured, _)) => {
                        Abstain::Needs("an answer to EHLO under TLS".to_owned(), "sasl.mechanisms")
                    }
                    _ => Abstain::Needs("a TLS session".to_owned(), "tls.version"),
                });
            }
        };
        let finding = finding.fact("before", keywords(before));
        let finding = match &dialogue.secured {
            Some(after) => finding.fact("after", keywords(after)),
            None => finding,
        };
        Ok(finding.saw([evidence(cx, dialogue, &[Stage::Greeting, Stage::Secured])]))
    })
    .await
}

/// What has been written over, of the banner and of the capabilities.
fn masked(dialogue: &Dialogue, greeting: &Reply) -> Vec<String> {
    let banner = dialogue.banner.as_ref().map(|banner| banner.lines.join(" ")).unwrap_or_default();
    let banner = Some(banner).filter(|banner| is_starred(banner));
    let lines = greeting.capabilities().iter().filter(|line| is_crossed_out(line) || is_starred(line)).cloned();
    banner.into_iter().chain(lines).collect()
}

/// `XXXXXXXA`: as many as the keyword had letters; Cisco's inspection ends with a letter of its own.
fn is_crossed_out(line: &str) -> bool {
    let keyword = line.split(' ').next().unwrap_or_default();
    let rest = keyword.trim_start_matches('X');
    keyword.len() - rest.len() >= 4
        && (rest.is_empty() || (rest.len() == 1 && rest.starts_with(|c: char| c.is_ascii_uppercase())))
}

/// PIX's fixup leaves digits and dots of the banner.
fn is_starred(text: &str) -> bool {
    let stars = text.chars().filter(|c| *c == '*').count();
    stars >= 4 && stars * 2 > text.chars().filter(|c| !c.is_whitespace()).count()
}

fn in_between(before: &Reply, masked: &[String]) -> Finding {
    let what = masked.iter().map(|line| shortened(line, LONGEST_SHOWN)).collect::<Vec<_>>().join(", ");
    let hidden = if before.offers("STARTTLS") { "" } else { "; STARTTLS may be what it hides" };
    Finding::warn(format!("a firewall in between writes over what the relay says: {what}{hidden}"))
        .fact("masked", masked.to_vec())
        .fix(Fix::Advice(
            "Switch off the inspection of SMTP in the firewall between this machine and the relay (Cisco ASA and PIX: no \
             inspect esmtp, or allow-tls in its policy)"
                .to_owned(),
        ))
}

/// Each keyword once, in upper case (RFC 5321 section 2.4).
fn keywords(reply: &Reply) -> Vec<String> {
    let mut keywords: Vec<String> = Vec::new();
    for line in reply.capabilities() {
        let keyword = line.split([' ', '=']).next().unwrap_or_default().to_ascii_uppercase();
        if !keyword.is_empty() && !keywords.contains(&keyword) {
            keywords.push(keyword);
        }
    }
    keywords
}

fn compared(before: &Reply, after: &Reply) -> Finding {
    let (old, new) = (keywords(before), keywords(after));
    let less = |these: &[String], those: &[String]| {
        let left = these.iter().filter(|keyword| !those.contains(keyword) && *keyword != "STARTTLS");
        left.cloned().collect::<Vec<_>>()
    };
    let (lost, gained) = (less(&old, &new), less(&new, &old));
    if new.iter().any(|keyword| keyword == "STARTTLS") {
        // A MUST NOT, which costs nothing: Postfix does not look.
        return Finding::warn("STARTTLS is offered again under TLS").fix(Fix::Advice(
            "Ask the relay's operator to update the server (RFC 3207 section 4.2); Postfix does not mind".to_owned(),
        ));
    }
    let message = match (lost.is_empty(), gained.is_empty()) {
        (true, true) => "the same under TLS as before it".to_owned(),
        (true, false) => format!("the same under TLS as before it, and {}", gained.join(", ")),
        (false, true) => format!("under TLS no longer {}", lost.join(", ")),
        (false, false) => format!("under TLS also {}, no longer {}", gained.join(", "), lost.join(", ")),
    };
    Finding::pass(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_firewalls_write_over_keywords() {
        for (line, is_so) in [
            ("XXXXXXXA", true),
            ("XXXXXXXX", true),
            ("XXXX 1000", true),
            ("XXXA", false),
            ("XCLIENT NAME ADDR", false),
            ("X-EXPS GSSAPI", false),
            ("XXXXX-ODD", false),
            ("SIZE", false),
            ("", false),
        ] {
            assert_eq!(is_crossed_out(line), is_so, "{line}");
        }
        for (text, is_so) in [
            ("************************0*02***", true),
            ("*****", true),
            ("*** welcome to relay.test, no spam ***", false),
            ("relay.test ESMTP", false),
            ("", false),
        ] {
            assert_eq!(is_starred(text), is_so, "{text}");
        }
    }
}
