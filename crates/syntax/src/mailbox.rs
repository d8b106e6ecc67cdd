//! A mailbox as MAIL FROM and RCPT TO carry it.

use std::{fmt, str::FromStr};

use crate::Name;

/// RFC 5321 section 4.5.3.1.1, and what leaves room for a domain in the 254 octets of a path (section 4.5.3.1.3).
const LONGEST_LOCAL_PART: usize = 64;
const LONGEST: usize = 254;

/// A mailbox: what stands before the `@`, and the domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    local: String,
    domain: Name,
}

impl Mailbox {
    /// `local` at `domain`: a role of the domain's own.
    pub fn new(local: &str, domain: &Name) -> Self {
        Self { local: local.to_owned(), domain: domain.clone() }
    }

    /// The domain.
    pub fn domain(&self) -> &Name {
        &self.domain
    }

    /// Whether only a server with SMTPUTF8 takes it (RFC 6531 section 3.3); the domain goes as A-labels.
    pub fn needs_utf8(&self) -> bool {
        !self.local.is_ascii()
    }
}

/// `local@domain`, as RFC 5321 section 4.1.2 has it, without address literals; U-labels become A-labels.
impl FromStr for Mailbox {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Whatever could end the command, or the path in it, would be a command of somebody else's.
        if let Some(odd) = text.chars().find(|c| c.is_whitespace() || c.is_control() || "<>".contains(*c)) {
            return Err(format!("has the character {odd:?}, expected LOCAL@DOMAIN"));
        }
        let (local, domain) = text.rsplit_once('@').ok_or("has no @, expected LOCAL@DOMAIN")?;
        let quoted = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
        let is_quoted = !quoted.is_empty() && is_quoted_content(quoted);
        let is_dotted = !local.split('.').any(str::is_empty)
            && !local.contains(['"', '@', '\\', '(', ')', ',', ':', ';', '[', ']']);
        if !is_quoted && !is_dotted {
            return Err(format!("has the local part {local:?}, expected LOCAL@DOMAIN"));
        }
        let domain: Name = domain.parse().map_err(|why| format!("has a domain that {why}"))?;
        if !domain.is_mailable() {
            return Err(format!("has the domain {domain}, which no mail can be sent to"));
        }
        let mailbox = Self { local: local.to_owned(), domain };
        if local.len() > LONGEST_LOCAL_PART || mailbox.to_string().len() > LONGEST {
            return Err(format!(
                "is too long: {LONGEST_LOCAL_PART} octets before the @ and {LONGEST} in all are allowed"
            ));
        }
        Ok(mailbox)
    }
}

/// Whether nothing in there ends the quoted string before its end (RFC 5321 section 4.1.2: qtextSMTP, quoted-pairSMTP).
fn is_quoted_content(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '"' || (c == '\\' && chars.next().is_none()) {
            return false;
        }
    }
    true
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailboxes_that_commands_can_carry() {
        for (text, shown) in [
            ("alice@example.com", "alice@example.com"),
            ("Alice.O'Neil+tag=1@Example.COM", "Alice.O'Neil+tag=1@example.com"),
            ("\"a@b\"@example.com", "\"a@b\"@example.com"),
            (r#""a\"\\b"@example.com"#, r#""a\"\\b"@example.com"#),
            ("alice@bücher.example", "alice@xn--bcher-kva.example"),
            ("ünal@example.com", "ünal@example.com"),
        ] {
            assert_eq!(text.parse::<Mailbox>().unwrap().to_string(), shown, "{text}");
        }
        assert!("ünal@example.com".parse::<Mailbox>().unwrap().needs_utf8());
        assert!(!"alice@bücher.example".parse::<Mailbox>().unwrap().needs_utf8());
        for (text, why) in [
            ("", "has no @"),
            ("alice", "has no @"),
            ("@example.com", "has the local part \"\""),
            ("alice@", "has a domain that is empty"),
            ("a@b@example.com", "has the local part \"a@b\""),
            ("alice.@example.com", "has the local part"),
            ("a lice@example.com", "has the character ' '"),
            ("alice@example.com\r\nDATA", "has the character '\\r'"),
            ("<alice@example.com>", "has the character '<'"),
            ("alice@example.com>", "has the character '>'"),
            (r#""a"b"@example.com"#, "has the local part"),
            (r#""a\"@example.com"#, "has the local part"),
            ("alice@[192.0.2.1]", "which no mail can be sent to"),
            ("alice\u{85}@example.com", "has the character"),
        ] {
            let error = text.parse::<Mailbox>().unwrap_err();
            assert!(error.starts_with(why) || error.contains(why), "{text:?}: {error}");
        }
        assert!(format!("{}@example.com", "a".repeat(65)).parse::<Mailbox>().is_err());
        assert!(format!("{}@example.com", "a".repeat(64)).parse::<Mailbox>().is_ok());
    }
}
