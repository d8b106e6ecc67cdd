//! Tag lists, `v=DKIM1; k=rsa; p=…` (RFC 6376 section 3.2), with the position of whatever is wrong.

use crate::text;

use std::collections::HashSet;

/// A parsed list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags(Vec<Tag>);

/// One tag: the name as written, the value with folding white space taken off its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The name as written.
    pub name: String,
    /// The value, without folding white space at its ends.
    pub value: String,
    /// The octet of the record, counted from 1, at which the name begins.
    pub position: usize,
    /// The octet at which the value begins.
    pub value_position: usize,
}

/// What the grammar does not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagError {
    /// The octet of the record, counted from 1, at which the culprit begins.
    pub position: usize,
    /// What is wrong, in words.
    pub reason: String,
}

impl Tags {
    /// The list, where one mistake spoils the whole (RFC 6376 section 3.2).
    pub fn parse(text: &str) -> Result<Self, TagError> {
        let (tags, errors) = Self::tolerant(text);
        errors.into_iter().next().map_or(Ok(tags), Err)
    }

    /// The tags that can be read, the first of those with the same name, and every mistake (RFC 9989 section 4.8).
    pub fn tolerant(text: &str) -> (Self, Vec<TagError>) {
        let (mut tags, mut errors) = (Self(Vec::new()), Vec::new());
        let mut known = HashSet::new();
        let mut offset = 0;
        let mut specs = text.split(';').peekable();
        while let Some(spec) = specs.next() {
            let at = offset;
            offset += spec.len() + 1;
            if spec.trim().is_empty() && specs.peek().is_none() && !tags.0.is_empty() {
                break;
            }
            match tag(spec, at) {
                Ok(tag) if !known.insert(tag.name.clone()) => {
                    errors.push(TagError { position: tag.position, reason: format!("{}= stands twice", tag.name) });
                }
                Ok(tag) => tags.0.push(tag),
                Err(error) => errors.push(error),
            }
        }
        (tags, errors)
    }

    /// The tags, as they stand.
    pub fn iter(&self) -> impl Iterator<Item = &Tag> {
        self.0.iter()
    }

    /// The value of a tag.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|tag| tag.name == name).map(|tag| tag.value.as_str())
    }
}

/// The tag between two semicolons, `offset` octets into the record.
fn tag(spec: &str, offset: usize) -> Result<Tag, TagError> {
    let position = offset + indent(spec) + 1;
    let wrong = |reason: String| TagError { position, reason };
    let (name, value) = spec.split_once('=').ok_or_else(|| wrong(format!("{:?} is no tag=value", shortened(spec))))?;
    let value_position = offset + name.len() + 1 + indent(value) + 1;
    let (name, value) = (name.trim(), value.trim());
    if !is_tag_name(name) {
        return Err(wrong(format!("{:?} is no tag name", shortened(name))));
    }
    if value.ends_with('\\') {
        return Err(wrong(format!("a backslash stands before the semicolon after {name}=")));
    }
    Ok(Tag { name: name.to_owned(), value: value.to_owned(), position, value_position })
}

/// How many octets of white space a text begins with.
fn indent(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

fn is_tag_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// As much of a text as one can read.
pub fn shortened(text: &str) -> String {
    text::shortened(text.trim(), 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_as_rfc_6376_spells_them() {
        let tags = Tags::parse("v=DKIM1 ; k = rsa; p=AB C=;").unwrap();
        let first = tags.iter().next().map(|tag| tag.name.as_str());
        assert_eq!((first, tags.get("k"), tags.get("p")), (Some("v"), Some("rsa"), Some("AB C=")));
        for (text, position, reason) in [
            ("v=DKIM1\\; k=rsa", 1, "a backslash stands before the semicolon after v="),
            ("v=DKIM1; p", 10, "\"p\" is no tag=value"),
            ("v=DKIM1;; p=", 9, "\"\" is no tag=value"),
            ("v=DKIM1; v=DKIM1", 10, "v= stands twice"),
            ("\"v=DKIM1", 1, "\"\\\"v\" is no tag name"),
            ("", 1, "\"\" is no tag=value"),
        ] {
            assert_eq!(Tags::parse(text), Err(TagError { position, reason: reason.to_owned() }), "{text}");
        }
    }

    #[test]
    fn tolerance_keeps_what_can_be_read() {
        let (tags, errors) = Tags::tolerant("v=DMARC1; p = none ;x;p=reject; rua=mailto:a@example.com");
        let seen: Vec<_> = tags.iter().map(|tag| (tag.name.as_str(), tag.position, tag.value_position)).collect();
        assert_eq!(seen, [("v", 1, 3), ("p", 11, 15), ("rua", 33, 37)]);
        assert_eq!(errors.iter().map(|error| error.position).collect::<Vec<_>>(), [21, 23]);
    }
}
