//! Where a TLS report goes: a `mailto:` or an `https:` URI (RFC 8460 section 3).

use std::net::IpAddr;

use syntax::Name;

/// Where a report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// To an address of this domain.
    Mail(Name),
    /// To this host.
    Web(Name),
    /// To a host without a name.
    Address,
}

impl Destination {
    /// Reads a URI, or says what is wrong with it.
    pub(super) fn parse(uri: &str) -> Result<Self, String> {
        if uri.is_empty() {
            return Err("nothing stands between two commas".to_owned());
        }
        // RFC 8460 section 3: these "MUST be encoded"; comma and semicolon have ended the URI already.
        if uri.contains('!') {
            return Err(
                "an exclamation mark, which is written %21 (limits of size, as DMARC has them, are not known here)"
                    .to_owned(),
            );
        }
        if let Some(odd) = uri.chars().find(|c| !c.is_ascii_graphic() || "\"<>\\^`{|}".contains(*c)) {
            return Err(format!("holds the character {odd:?}, which no URI does"));
        }
        let (scheme, rest) = uri.split_once(':').ok_or("no mailto: or https: URI")?;
        match scheme.to_ascii_lowercase().as_str() {
            "mailto" => mailbox(rest),
            "https" => host(rest),
            other => Err(format!("reports go to mailto: or https:, not to {other}:")),
        }
    }
}

/// RFC 6068 section 2: one address, perhaps with header fields behind it.
fn mailbox(rest: &str) -> Result<Destination, String> {
    let address = rest.split('?').next().unwrap_or(rest);
    let (local, domain) = address.rsplit_once('@').ok_or("no address")?;
    if local.is_empty() || local.contains(['@', ',']) {
        return Err("no single address".to_owned());
    }
    decoded(local).ok_or("a percent sign without two hexadecimal digits")?;
    let domain = decoded(domain).ok_or("a percent sign without two hexadecimal digits")?;
    match domain.strip_prefix('[').and_then(|domain| domain.strip_suffix(']')) {
        Some(_) => Ok(Destination::Address),
        None => domain.parse().map(Destination::Mail).map_err(|why| format!("the domain {domain:?} {why}")),
    }
}

/// RFC 3986 section 3.2.
fn host(rest: &str) -> Result<Destination, String> {
    let authority = rest.strip_prefix("//").ok_or("no // behind https:")?;
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host_and_port.starts_with('[') {
        return Ok(Destination::Address);
    }
    let (host, port) = host_and_port.split_once(':').unwrap_or((host_and_port, ""));
    if !port.is_empty() && port.parse::<u16>().is_err() {
        return Err(format!("{port:?} is no port"));
    }
    match host.parse::<IpAddr>() {
        Ok(_) => Ok(Destination::Address),
        Err(_) => host.parse().map(Destination::Web).map_err(|why| format!("its host {why}")),
    }
}

/// A URI as it was meant, if it can be told.
pub(super) fn corrected(uri: &str) -> Option<String> {
    let uri = uri.trim();
    let bare = uri.strip_prefix("mailto://").unwrap_or(uri);
    // DMARC's limit of size.
    let bare = bare.split('!').next().unwrap_or(bare);
    let meant = if !bare.contains(':') && bare.contains('@') {
        format!("mailto:{bare}")
    } else if bare == uri {
        uri.to_owned()
    } else if uri.starts_with("mailto://") {
        format!("mailto:{bare}")
    } else {
        bare.to_owned()
    };
    Destination::parse(&meant).is_ok().then_some(meant)
}

fn decoded(text: &str) -> Option<String> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        octets.extend_from_slice(before.as_bytes());
        octets.push(u8::from_str_radix(after.get(..2)?, 16).ok()?);
        rest = after.get(2..)?;
    }
    octets.extend_from_slice(rest.as_bytes());
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn destinations_as_rfc_8460_spells_them() {
        let name = |name: &str| name.parse().unwrap();
        for (uri, destination) in [
            ("mailto:reports@example.com", Destination::Mail(name("example.com"))),
            ("MAILTO:a%2Cb%21@Example.com?subject=x", Destination::Mail(name("example.com"))),
            ("mailto:a@[192.0.2.1]", Destination::Address),
            ("https://reports.example.com/v1?a=b", Destination::Web(name("reports.example.com"))),
            ("https://user@reports.example.com:8443", Destination::Web(name("reports.example.com"))),
            ("https://192.0.2.1/x", Destination::Address),
            ("https://[2001:db8::1]:443/x", Destination::Address),
        ] {
            assert_eq!(Destination::parse(uri), Ok(destination), "{uri}");
        }
        for (uri, why) in [
            ("", "nothing stands between two commas"),
            ("reports@example.com", "no mailto: or https: URI"),
            ("mailto:example.com", "no address"),
            ("mailto:@example.com", "no single address"),
            ("mailto:a@b@example.com", "no single address"),
            ("mailto:a@", "the domain \"\" is empty"),
            ("mailto:a%2@example.com", "a percent sign without two hexadecimal digits"),
            (
                "mailto:a@example.com!10m",
                "an exclamation mark, which is written %21 (limits of size, as DMARC has them, are not known here)",
            ),
            ("http://example.com/x", "reports go to mailto: or https:, not to http:"),
            ("https:example.com", "no // behind https:"),
            ("https:///x", "its host is empty"),
            ("https://example.com:x/", "\"x\" is no port"),
            ("mailto:a b@example.com", "holds the character ' ', which no URI does"),
        ] {
            assert_eq!(Destination::parse(uri).unwrap_err(), why, "{uri}");
        }
    }

    #[test]
    fn what_is_corrected_is_correct() {
        for (uri, correction) in [
            ("reports@example.com", Some("mailto:reports@example.com")),
            (" mailto:reports@example.com!10m", Some("mailto:reports@example.com")),
            ("mailto://reports@example.com", Some("mailto:reports@example.com")),
            ("https://example.com/x", Some("https://example.com/x")),
            ("http://example.com/x", None),
            ("", None),
        ] {
            assert_eq!(corrected(uri).as_deref(), correction, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn no_uri_is_too_strange(uri in "(mailto:|https://|[%a@!:\\[\\]/?\u{fc} ]){0,12}") {
            let _ = Destination::parse(&uri);
            if let Some(meant) = corrected(&uri) {
                prop_assert!(Destination::parse(&meant).is_ok());
            }
        }
    }
}
