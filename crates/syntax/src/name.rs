//! A domain name as DNS carries it.

use std::{
    fmt::{self, Write},
    net::IpAddr,
    str::FromStr,
};

use hickory_proto::rr::Name as Wire;

/// A domain name as DNS carries it: compared without case, shown in lower case and without the root dot.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Wire);

impl Name {
    /// The name of the reverse tree that holds the PTR records of `address` (RFC 1035 section 3.5, RFC 3596 section 2.5).
    pub fn reverse(address: IpAddr) -> Self {
        Self(Wire::from(address))
    }

    /// From labels of any octets.
    ///
    /// # Errors
    /// Says which limit of RFC 1035 section 2.3.4 is exceeded.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, String> {
        let mut wire = Wire::root();
        for label in labels {
            match label.len() {
                0 => return Err("has an empty label".to_owned()),
                64.. => return Err(format!("has a label of {} octets, 63 allowed", label.len())),
                _ => wire = wire.append_label(label).map_err(|_| "is over 253 octets long".to_owned())?,
            }
        }
        wire.set_fqdn(true);
        Ok(Self(wire))
    }

    /// The address whose PTR records this name of the reverse tree holds.
    pub fn reverse_address(&self) -> Option<IpAddr> {
        let network = self.0.parse_arpa_name().ok()?;
        (network.prefix_len() == network.max_prefix_len()).then(|| network.addr())
    }

    /// The address that this is, where somebody wrote an address (in brackets or not) for a name.
    pub fn address_literal(&self) -> Option<IpAddr> {
        let text = self.to_string();
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(&text);
        bare.strip_prefix("ipv6:").unwrap_or(bare).parse().ok()
    }

    /// The labels, from the host's to the top-level domain's.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.iter()
    }

    /// How many labels there are; the root has none.
    pub fn depth(&self) -> usize {
        usize::from(self.0.num_labels())
    }

    /// The name less its first label.
    pub fn parent(&self) -> Self {
        Self(self.0.base_name())
    }

    /// Whether this is `zone` or a name below it.
    pub fn is_within(&self, zone: &Self) -> bool {
        zone.0.zone_of(&self.0)
    }

    /// The name with `label` before it.
    ///
    /// # Errors
    /// Says which limit of RFC 1035 section 2.3.4 is exceeded.
    pub fn child(&self, label: &str) -> Result<Self, String> {
        let labels = label.split('.').map(str::as_bytes);
        Self::from_labels(labels.chain(self.labels()))
    }

    /// The name that somebody registered: the public suffix and one label. A public suffix has none.
    pub fn registrable(&self) -> Option<Self> {
        let depth = public_suffix(&self.to_string())?.split('.').count() + 1;
        let above = self.depth().checked_sub(depth)?;
        Some((0..above).fold(self.clone(), |name, _| name.parent()))
    }

    /// Whether nobody but registries registers names right below, as the public suffix list has it.
    pub fn is_public_suffix(&self) -> bool {
        let shown = self.to_string();
        public_suffix(&shown) == Some(&shown)
    }

    /// Whether an address can have this domain: letters, digits and hyphens (RFC 5321 section 4.1.2), and the underscores
    /// that there are.
    pub fn is_mailable(&self) -> bool {
        self.labels().flatten().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(octet))
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_root()
    }

    /// The name as DNS messages carry it.
    pub fn wire(&self) -> &Wire {
        &self.0
    }
}

/// The one call of the list: it is a `match` of 68,000 octets that every caller would get its own copy of.
#[inline(never)]
fn public_suffix(name: &str) -> Option<&str> {
    psl::suffix_str(name)
}

impl From<Wire> for Name {
    fn from(mut wire: Wire) -> Self {
        wire.set_fqdn(true);
        Self(wire)
    }
}

/// Takes what a user types: with or without the root dot, U-labels become A-labels (RFC 5890).
impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(odd) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
            return Err(format!("has the character {odd:?}"));
        }
        let ascii = if text.is_ascii() {
            text.to_owned()
        } else {
            idna::domain_to_ascii(text).map_err(|_| "is no valid internationalized name".to_owned())?
        };
        let relative = ascii.strip_suffix('.').unwrap_or(&ascii);
        if relative.is_empty() {
            return Err("is empty".to_owned());
        }
        if relative.len() > 253 {
            return Err(format!("is {} octets long, 253 allowed", relative.len()));
        }
        Self::from_labels(relative.split('.').map(str::as_bytes))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for (position, label) in self.labels().enumerate() {
            if position > 0 {
                f.write_char('.')?;
            }
            for octet in label {
                match octet {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(*octet))?,
                    b'!'..=b'~' => f.write_char(char::from(octet.to_ascii_lowercase()))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_types_becomes_what_dns_carries() {
        let parse = |text: &str| text.parse::<Name>();
        assert_eq!(parse("Mail.Example.COM.").unwrap(), parse("mail.example.com").unwrap());
        assert_eq!(parse("Mail.Example.COM").unwrap().to_string(), "mail.example.com");
        assert_eq!(parse("bücher.example").unwrap().to_string(), "xn--bcher-kva.example");
        assert_eq!(parse("my_host.example").unwrap().to_string(), "my_host.example");
        for (text, why) in [
            ("", "is empty"),
            (".", "is empty"),
            ("a..b", "has an empty label"),
            (".a", "has an empty label"),
            ("a b.example", "has the character ' '"),
            ("a\u{7}b.example", "has the character '\\u{7}'"),
        ] {
            assert_eq!(parse(text).unwrap_err(), why, "{text:?}");
        }
        assert!(parse(&format!("{}.example", "a".repeat(64))).is_err());
        assert!(parse(&format!("{}.example", "a".repeat(63))).is_ok());
        assert!(parse(&["abcdefg"; 32].join(".")).is_err());
    }

    #[test]
    fn the_list_knows_suffixes_of_several_labels() {
        let registrable = |name: &str| name.parse::<Name>().unwrap().registrable().map(|name| name.to_string());
        assert_eq!(registrable("a.b.example.com").as_deref(), Some("example.com"));
        assert_eq!(registrable("a.b.example.co.uk").as_deref(), Some("example.co.uk"));
        assert_eq!(registrable("example.co.uk").as_deref(), Some("example.co.uk"));
        assert_eq!(registrable("a.example").as_deref(), Some("a.example"));
        assert_eq!(registrable("co.uk"), None);
        assert_eq!(registrable("example"), None);
        assert!("co.uk".parse::<Name>().unwrap().is_public_suffix());
        assert!(!"example.co.uk".parse::<Name>().unwrap().is_public_suffix());
    }
}
