//! The fields of a record that begins with its version, `v=STSv1; id=1;` (RFC 8461 section 3.1, RFC 8460 section 3).

use crate::tags::{TagError, shortened};

/// The longest name of a field (RFC 8461 section 3.1, RFC 8460 section 3).
const LONGEST_NAME: usize = 32;

/// One `name=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The octet of the record, counted from 1, at which the field begins.
    pub position: usize,
    /// The name as written.
    pub name: &'a str,
    /// What follows the `=`.
    pub value: &'a str,
}

/// The fields of a record, its version first.
pub fn fields(text: &str) -> Result<Vec<Field<'_>>, TagError> {
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

/// What stands behind `name=` in a record that need not be well formed, up to the next semicolon.
pub fn spotted<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let label = format!("{name}=");
    let lower = text.to_ascii_lowercase();
    let begins = |at: &usize| !lower.get(..*at).unwrap_or_default().ends_with(|c: char| c.is_ascii_alphanumeric());
    let at = lower.match_indices(&label).map(|(at, _)| at).find(begins)?;
    text.get(at + label.len()..)?.split(';').next()
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
    }

    proptest! {
        #[test]
        fn no_record_is_too_strange(text in "[v=STSv1; \\t\u{0}-\u{ff}]{0,60}") {
            let _ = fields(&text);
            let _ = spotted(&text, "id");
        }
    }
}
