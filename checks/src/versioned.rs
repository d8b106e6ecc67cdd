//! TXT records that begin with their version, `v=STSv1; …`, and of which only one may stand: which one, and its fields.

use hickory_resolver::proto::rr::RecordType;

use crate::{
    Context, Fix, Name,
    finding::Abstain,
    net::dns::Answer,
    tags::{TagError, shortened},
};

/// The longest name of a field (RFC 8461 section 3.1, RFC 8460 section 3).
const LONGEST_NAME: usize = 32;

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

/// What stands behind `name=` in a record that need not be well formed, up to the next semicolon.
pub(crate) fn spotted<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let label = format!("{name}=");
    let lower = text.to_ascii_lowercase();
    let begins = |at: &usize| !lower.get(..*at).unwrap_or_default().ends_with(|c: char| c.is_ascii_alphanumeric());
    let at = lower.match_indices(&label).map(|(at, _)| at).find(begins)?;
    text.get(at + label.len()..)?.split(';').next()
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

/// One `name=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    /// The octet of the record, counted from 1, at which the field begins.
    pub(crate) position: usize,
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
}

/// The fields of a record, its version first.
pub(crate) fn fields(text: &str) -> Result<Vec<Field<'_>>, TagError> {
    let blank = [' ', '\t'];
    let mut fields = Vec::new();
    let mut offset = 0;
    let mut rest = text.split(';').peekable();
    while let Some(field) = rest.next() {
        let position = offset + (field.len() - field.trim_start_matches(blank).len()) + 1;
        offset += field.len() + 1;
        let field = field.trim_matches(blank);
        if field.is_empty() && rest.peek().is_none() && !fields.is_empty() {
            break;
        }
        let wrong = |reason: String| TagError { position, reason };
        let (name, value) = match field.split_once('=') {
            Some(parts) => parts,
            None if field.is_empty() => return Err(wrong("nothing stands between two semicolons".to_owned())),
            None => return Err(wrong(format!("{:?} is no name=value", shortened(field)))),
        };
        if name.ends_with(blank) || value.starts_with(blank) {
            return Err(wrong(format!("a blank stands beside the = of {}", name.trim_matches(blank))));
        }
        if !is_name(name) {
            return Err(wrong(format!("{:?} is no name of a field", shortened(name))));
        }
        if let Some(odd) = value.chars().find(|c| !matches!(c, ' '..='~' | '\t')) {
            return Err(wrong(format!("{name}= holds the character {odd:?}")));
        }
        fields.push(Field { position, name, value });
    }
    Ok(fields)
}

fn is_name(name: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    name.len() <= LONGEST_NAME && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_as_rfc_8461_spells_them() {
        let found = fields("v=STSv1 ; id=1;\tx-y.z_0=a=b ; ").unwrap();
        let seen: Vec<_> = found.iter().map(|field| (field.position, field.name, field.value)).collect();
        assert_eq!(seen, [(1, "v", "STSv1"), (11, "id", "1"), (17, "x-y.z_0", "a=b")]);
        for (text, position, reason) in [
            ("v=STSv1; id", 10, "\"id\" is no name=value"),
            ("v=STSv1;; id=1", 9, "nothing stands between two semicolons"),
            ("v=STSv1; id =1", 10, "a blank stands beside the = of id"),
            ("v=STSv1; id= 1", 10, "a blank stands beside the = of id"),
            ("v=STSv1; =1", 10, "\"\" is no name of a field"),
            ("v=STSv1; id=\u{fc}", 10, "id= holds the character 'ü'"),
            ("", 1, "nothing stands between two semicolons"),
        ] {
            assert_eq!(fields(text), Err(TagError { position, reason: reason.to_owned() }), "{text}");
        }
    }

    #[test]
    fn what_is_meant_is_spotted() {
        for (text, value) in [
            ("v=STSv1; id=7; x=y", Some("7")),
            ("v=STSv1 ID=7", Some("7")),
            ("v=STSv1; aid=7;id=8", Some("8")),
            ("\u{130}d=7; id= 9", Some(" 9")),
            ("v=STSv1", None),
        ] {
            assert_eq!(spotted(text, "id"), value, "{text}");
        }
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

    proptest! {
        #[test]
        fn no_record_is_too_strange(text in "[v=STSv1; \\t\u{0}-\u{ff}]{0,60}") {
            let _ = fields(&text);
            let _ = spotted(&text, "id");
        }
    }
}
