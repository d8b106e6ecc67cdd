//! The URIs that reports are asked for at (RFC 9989 sections 4.6 and 4.8).

use super::fault::Fault;
use crate::{
    Name,
    tags::{Tag, shortened},
};

/// How many URIs of a list are read.
const MOST: usize = 100;

/// One URI of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// As published, without an obsolete size.
    pub text: String,
    /// Where it leads, or what is wrong with it.
    pub target: Result<Target, String>,
}

/// Where reports go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// By mail, to an address at this domain.
    Mail(Name),
    /// By a scheme that no receiver has to know.
    Other(String),
}

/// The URIs of a tag, and what is wrong with them.
pub fn list(tag: &Tag) -> (Vec<Uri>, Vec<Fault>) {
    let (mut uris, mut faults) = (Vec::new(), Vec::new());
    let mut offset = tag.value_position;
    for part in tag.value.split(',') {
        let position = offset + (part.len() - part.trim_start().len());
        offset += part.len() + 1;
        if uris.len() == MOST {
            let reason = format!("{}= has more than {MOST} URIs, and nobody reports to as many", tag.name);
            faults.push(Fault { position, reason, is_harmless: true });
            break;
        }
        let part = part.trim();
        let (text, size) = part.split_once('!').map_or((part, None), |(text, size)| (text, Some(size)));
        let target = target(text);
        if let Err(why) = &target {
            let reason = format!("{}={} {why}", tag.name, shortened(text));
            faults.push(Fault { position, reason, is_harmless: false });
        }
        if let Some(size) = size {
            let reason = match is_size(size) {
                true => format!("the size !{size} was removed by RFC 9989, and is ignored"),
                false => format!("an exclamation mark in a URI is written %21, but !{} stands here", shortened(size)),
            };
            faults.push(Fault { position: position + text.len(), reason, is_harmless: is_size(size) });
        }
        uris.push(Uri { text: text.to_owned(), target });
    }
    (uris, faults)
}

/// `obs-dmarc-report-size` without its exclamation mark.
fn is_size(size: &str) -> bool {
    let digits = size.trim_end_matches(['k', 'm', 'g', 't', 'K', 'M', 'G', 'T']);
    size.len() - digits.len() <= 1 && !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())
}

fn target(text: &str) -> Result<Target, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if let Some(odd) = text.chars().find(|c| !c.is_ascii_graphic() || "\"<>\\^`{|}".contains(*c)) {
        return Err(format!("has the character {odd:?}, which no URI has"));
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        return Err(match text.contains('@') {
            true => "lacks mailto: before the address".to_owned(),
            false => "is no URI".to_owned(),
        });
    };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if !is_scheme {
        return Err("is no URI".to_owned());
    }
    if !scheme.eq_ignore_ascii_case("mailto") {
        return Ok(Target::Other(scheme.to_ascii_lowercase()));
    }
    if rest.starts_with("//") {
        return Err("has slashes behind mailto:".to_owned());
    }
    let address =
        decoded(rest.split('?').next().unwrap_or_default()).ok_or("has a % without two hexadecimal digits")?;
    let (local, domain) = address.rsplit_once('@').ok_or("has no @")?;
    if local.is_empty() || local.contains('@') && !local.starts_with('"') {
        return Err("is no mail address".to_owned());
    }
    match domain.parse::<Name>() {
        Ok(name) if name.depth() > 1 && name.address_literal().is_none() => Ok(Target::Mail(name)),
        Ok(name) => Err(format!("names {name}, which is no domain")),
        Err(why) => Err(format!("names the domain {domain:?}, which {why}")),
    }
}

/// The text with `%XX` turned back (RFC 3986 section 2.1).
fn decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_lead_somewhere_or_say_why_not() {
        let mail = |domain: &str| Ok(Target::Mail(domain.parse().unwrap()));
        for (text, expected) in [
            ("mailto:a@example.com", mail("example.com")),
            ("MAILTO:a%2Bb%40c@Example.COM?subject=x", Err("is no mail address".to_owned())),
            ("MAILTO:a%2Bb@Example.COM?subject=x", mail("example.com")),
            ("https://example.com/r", Ok(Target::Other("https".to_owned()))),
            ("a@example.com", Err("lacks mailto: before the address".to_owned())),
            ("mailto://a@example.com", Err("has slashes behind mailto:".to_owned())),
            ("mailto:example.com", Err("has no @".to_owned())),
            ("mailto:a%4@example.com", Err("has a % without two hexadecimal digits".to_owned())),
            ("mailto:a@localhost", Err("names localhost, which is no domain".to_owned())),
            ("mailto:a@", Err("names the domain \"\", which is empty".to_owned())),
            ("mailto:a b@example.com", Err("has the character ' ', which no URI has".to_owned())),
            ("", Err("is empty".to_owned())),
        ] {
            assert_eq!(target(text), expected, "{text}");
        }
        assert!(is_size("10m") && is_size("50000") && !is_size("m") && !is_size("10mm") && !is_size(""));
    }
}
