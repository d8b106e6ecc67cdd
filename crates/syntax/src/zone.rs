//! Names and character-strings as a zone file has them (RFC 1035 section 5.1).

use crate::Name;

/// A name with its root dot, what means something in a zone file behind a backslash, as `dig` prints it.
pub fn absolute(name: &Name) -> String {
    let escaped = name.to_string().chars().fold(String::new(), |mut escaped, c| {
        if "\"$();@".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
        escaped
    });
    if name.is_root() { ".".to_owned() } else { format!("{escaped}.") }
}

/// A character-string in quotes, octets that do not print as `\DDD`.
pub fn quoted(string: &[u8]) -> String {
    let mut shown = String::with_capacity(string.len() + 2);
    shown.push('"');
    for octet in string {
        match octet {
            b'"' | b'\\' => shown.extend(['\\', char::from(*octet)]),
            b' '..=b'~' => shown.push(char::from(*octet)),
            _ => shown.push_str(&format!("\\{octet:03}")),
        }
    }
    shown.push('"');
    shown
}

/// The text of a TXT record in character-strings of at most 255 octets (RFC 1035 section 3.3.14).
pub fn strings(text: &str) -> String {
    text.as_bytes().chunks(255).map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_in_a_zone_file() {
        assert_eq!(quoted(b"a \"b\"\\\x07\xff"), r#""a \"b\"\\\007\255""#);
    }

    #[test]
    fn long_texts_are_cut_into_strings() {
        let text = "x".repeat(300);
        assert_eq!(strings(&text), format!("\"{}\" \"{}\"", "x".repeat(255), "x".repeat(45)));
    }
}
