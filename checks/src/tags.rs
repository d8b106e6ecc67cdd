//! Tag lists, `v=DKIM1; k=rsa; p=…` (RFC 6376 section 3.2), with the position of whatever is wrong.

/// A parsed list: names as written, values with folding white space taken off their ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tags(Vec<(String, String)>);

/// What the grammar does not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TagError {
    /// The octet of the record, counted from 1, at which the culprit begins.
    pub(crate) position: usize,
    pub(crate) reason: String,
}

impl Tags {
    pub(crate) fn parse(text: &str) -> Result<Self, TagError> {
        let mut tags: Vec<(String, String)> = Vec::new();
        let mut offset = 0;
        let mut specs = text.split(';').peekable();
        while let Some(spec) = specs.next() {
            let position = offset + (spec.len() - spec.trim_start().len()) + 1;
            offset += spec.len() + 1;
            if spec.trim().is_empty() && specs.peek().is_none() && !tags.is_empty() {
                break;
            }
            let wrong = |reason: String| TagError { position, reason };
            let (name, value) =
                spec.split_once('=').ok_or_else(|| wrong(format!("{:?} is no tag=value", shortened(spec))))?;
            let (name, value) = (name.trim(), value.trim());
            if !is_tag_name(name) {
                return Err(wrong(format!("{:?} is no tag name", shortened(name))));
            }
            if value.ends_with('\\') {
                return Err(wrong(format!("a backslash stands before the semicolon after {name}=")));
            }
            if tags.iter().any(|(known, _)| known == name) {
                return Err(wrong(format!("{name}= stands twice")));
            }
            tags.push((name.to_owned(), value.to_owned()));
        }
        Ok(Self(tags))
    }

    /// The value of a tag.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The name of the first tag.
    #[allow(dead_code, reason = "of the records with a version, DMARC's is read with it")]
    pub(crate) fn first(&self) -> Option<&str> {
        self.0.first().map(|(name, _)| name.as_str())
    }
}

fn is_tag_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn shortened(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_as_rfc_6376_spells_them() {
        let tags = Tags::parse("v=DKIM1 ; k = rsa; p=AB C=;").unwrap();
        assert_eq!((tags.first(), tags.get("k"), tags.get("p")), (Some("v"), Some("rsa"), Some("AB C=")));
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
}
