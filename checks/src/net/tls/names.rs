//! The names in a certificate, and whether they are those that Postfix, through OpenSSL, looks for.

use std::{fmt, net::IpAddr};

use x509_parser::prelude::{GeneralName, X509Certificate};

/// The names a certificate is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    dns: Vec<String>,
    addresses: Vec<IpAddr>,
    /// Common names: OpenSSL looks at them only where there is no dNSName.
    common: Vec<String>,
}

/// A name that a certificate may be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Exactly this host.
    Host(String),
    /// Any name below this domain: Postfix's `dot-nexthop`.
    Below(String),
    /// This address, as an iPAddress.
    Address(IpAddr),
}

impl Names {
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let mut names = Self::default();
        let general = match certificate.subject_alternative_name() {
            Ok(extension) => extension.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default(),
            // A list of names that cannot be read is no reason to go by the common name.
            Err(_) => return names,
        };
        for name in general {
            match name {
                GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
                GeneralName::IPAddress(octets) => names.addresses.extend(address(octets)),
                _ => {}
            }
        }
        if names.dns.is_empty() {
            let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
            names.common = common.map(str::to_owned).collect();
        }
        names
    }

    /// The name in the certificate that is one of `wanted`.
    pub(crate) fn matching(&self, wanted: &[Wanted]) -> Option<String> {
        wanted.iter().find_map(|wanted| match wanted {
            Wanted::Address(address) => self.addresses.contains(address).then(|| address.to_string()),
            Wanted::Host(host) => self.hosts().find(|name| is_host(name, host)).cloned(),
            Wanted::Below(domain) => self.hosts().find(|name| is_below(name, domain)).cloned(),
        })
    }

    /// Whether the certificate names hosts only by its common name (RFC 9525 section 2 no longer allows it).
    pub(crate) fn are_common(&self) -> bool {
        self.dns.is_empty() && !self.common.is_empty()
    }

    /// Every name, as it stands in the certificate.
    pub(crate) fn all(&self) -> Vec<String> {
        self.hosts().cloned().chain(self.addresses.iter().map(ToString::to_string)).collect()
    }

    fn hosts(&self) -> impl Iterator<Item = &String> {
        self.dns.iter().chain(&self.common)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => f.write_str(host),
            Self::Below(domain) => write!(f, ".{domain}"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Whether `pattern` is for `host`: the same name, or a wildcard for its whole first label (RFC 9525 section 6.3).
/// OpenSSL wants two more labels after the wildcard's, so `*.test` is for nobody.
fn is_host(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let Some(parent) = pattern.strip_prefix("*.") else { return false };
    host.split_once('.').is_some_and(|(label, rest)| {
        let is_label = !label.is_empty() && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
        is_label && parent.contains('.') && parent.eq_ignore_ascii_case(rest)
    })
}

/// Whether `pattern` is for a name below `domain`, however deep; `*.example.net` is one.
fn is_below(pattern: &str, domain: &str) -> bool {
    let split = pattern.len().checked_sub(domain.len());
    split
        .and_then(|at| pattern.split_at_checked(at))
        .is_some_and(|(below, end)| below.len() > 1 && below.ends_with('.') && end.eq_ignore_ascii_case(domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `posttls-finger` 3.7.11 says of the same names.
    #[test]
    fn names_match_as_openssl_matches_them() {
        for (pattern, host, matches) in [
            ("smtp.example.test", "smtp.example.test", true),
            ("SMTP.Example.TEST", "smtp.example.test", true),
            ("smtp.example.test.", "smtp.example.test", false),
            ("other.example.test", "smtp.example.test", false),
            ("*.example.test", "smtp.example.test", true),
            ("*.example.test", "a.smtp.example.test", false),
            ("*.example.test", "example.test", false),
            ("*.EXAMPLE.test", "smtp.example.test", true),
            ("*.test", "relay.test", false),
            ("*", "test", false),
            ("*.", "smtp.", false),
            ("s*.example.test", "smtp.example.test", false),
            ("*p.example.test", "smtp.example.test", false),
            ("smtp.*.test", "smtp.example.test", false),
            ("*.*.example.test", "a.b.example.test", false),
            ("*.example.test", ".example.test", false),
            ("smtp.example.test\0.evil.test", "smtp.example.test", false),
            ("", "smtp.example.test", false),
        ] {
            assert_eq!(is_host(pattern, host), matches, "{pattern:?} for {host}");
        }
        for (pattern, domain, matches) in [
            ("smtp.example.test", "example.test", true),
            ("a.b.smtp.example.test", "example.test", true),
            ("*.example.test", "EXAMPLE.test", true),
            ("example.test", "example.test", false),
            (".example.test", "example.test", false),
            ("badexample.test", "example.test", false),
            ("ü.test", "ü.test", false),
            ("aü.test", ".test", false),
            ("", "example.test", false),
        ] {
            assert_eq!(is_below(pattern, domain), matches, "{pattern:?} below {domain}");
        }
    }

    #[test]
    fn the_common_name_counts_only_without_dns_names() {
        let host = [Wanted::Host("smtp.example.test".to_owned())];
        let common = Names { common: vec!["smtp.example.test".to_owned()], ..Names::default() };
        assert!(common.matching(&host).is_some() && common.are_common());
        let address: IpAddr = "192.0.2.25".parse().unwrap();
        let both = Names { dns: vec!["other.test".to_owned()], addresses: vec![address], common: Vec::new() };
        assert_eq!(both.matching(&host), None);
        assert_eq!(both.matching(&[Wanted::Address(address)]), Some("192.0.2.25".to_owned()));
        assert_eq!(both.all(), ["other.test", "192.0.2.25"]);
    }
}
