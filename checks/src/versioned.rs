//! TXT records that begin with their version, `v=STSv1; …`, and of which only one may stand: which one, and its fields.

use hickory_resolver::proto::rr::RecordType;
use syntax::Name;

use crate::{Context, Fix, finding::Abstain, net::dns::Answer};

/// What stands at the name where such a record is due.
pub(crate) enum Published {
    /// No record of the kind: why, in words.
    Nothing(String),
    /// A record that is meant to be of the kind, but does not begin as everybody expects it to.
    Discarded(String),
    /// The one that counts.
    One(String),
    /// More than one, so that none counts.
    Several(Vec<String>),
}

impl Published {
    /// Which of the records counts: those that do not begin with `v=VERSION;` are discarded, and of the rest there must
    /// be one (RFC 8461 section 3.1, RFC 8460 section 3).
    pub(crate) fn of(answer: &Answer, version: &str) -> Self {
        let beginning = format!("v={version};");
        let texts: Vec<String> = answer.texts().iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect();
        let mut kept: Vec<String> = texts.iter().filter(|text| text.starts_with(&beginning)).cloned().collect();
        match (kept.len(), texts.iter().find(|text| is_meant(text, version))) {
            (0, Some(text)) => Self::Discarded(text.clone()),
            (0, None) => match texts.len() {
                0 => Self::Nothing(answer.absence()),
                1 => Self::Nothing(format!("the TXT record there does not begin with {beginning}")),
                several => Self::Nothing(format!("none of the {several} TXT records there begins with {beginning}")),
            },
            (1, _) => Self::One(kept.remove(0)),
            (_, _) => Self::Several(kept),
        }
    }
}

/// Whether a record is of the kind but for a slip of the finger: another number or none, other letters, a lost `v=`.
fn is_meant(text: &str, version: &str) -> bool {
    let kind = version.trim_end_matches(|c: char| c.is_ascii_digit()).to_ascii_lowercase();
    let bare: String = text.to_ascii_lowercase().chars().filter(|c| !" \t\"\\".contains(*c)).collect();
    let numberless = bare.split(';').next().and_then(|first| first.strip_prefix("v="));
    bare.starts_with(&kind)
        || bare.contains(&format!("v={kind}"))
        || numberless.is_some_and(|word| word == kind.trim_end_matches('v'))
}

/// The TXT records at `label` below `domain`.
pub(crate) async fn texts(cx: &Context, label: &str, domain: &Name) -> Result<(Name, Answer), Abstain> {
    let name = domain.child(label).map_err(|why| Abstain::NotApplicable(format!("{label}.{domain} {why}")))?;
    let answer = cx.net.dns.ask(&name, RecordType::TXT).await?;
    Ok((name, answer))
}

/// The line to publish `text` at `name`; only its owner can where an alias leads elsewhere.
pub(crate) fn publication(name: &Name, answer: &Answer, text: &str) -> Fix {
    match answer.aliases().last() {
        None => Fix::txt(name, text),
        Some(end) => Fix::Advice(format!("Have {end}, which {name} is an alias of, publish {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_is_spotted() {
        for (text, meant) in [
            ("v=stsv1; id=1", true),
            ("v = STSv2;", true),
            ("\"v=STSv1; id=1;\"", true),
            ("STSv1; id=1", true),
            ("id=1; v=STSv1", true),
            ("v=spf1 include:stsv1.example.com -all", false),
            ("hello", false),
        ] {
            assert_eq!(is_meant(text, "STSv1"), meant, "{text}");
        }
    }

    #[test]
    fn long_records_are_cut_into_strings() {
        let text = "x".repeat(300);
        let line = format!("a\\;b.example. 3600 IN TXT \"{}\" \"{}\"", "x".repeat(255), "x".repeat(45));
        assert_eq!(Fix::txt(&"a;b.example".parse().unwrap(), &text), Fix::Zone(line));
    }
}
