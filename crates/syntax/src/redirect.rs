//! curl's `--connect-to`: where an endpoint is reached instead of where DNS says it is.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// curl's `--connect-to`: reach `host:port` at `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// A name without its root dot, or an address, as it stands in the relay or comes from DNS.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Where it is reached.
    pub to: SocketAddr,
}

/// `HOST:PORT:ADDR:PORT`, IPv6 addresses in brackets.
impl FromStr for Redirect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("{text:?} is not HOST:PORT:ADDR:PORT, IPv6 addresses in brackets");
        let (host, rest) = endpoint(text).ok_or_else(form)?;
        let (port, rest) = rest.split_once(':').ok_or_else(form)?;
        let (address, to_port) = endpoint(rest).ok_or_else(form)?;
        let address: IpAddr = address.parse().map_err(|_| format!("{address:?} in {text:?} is not an IP address"))?;
        Ok(Self {
            host: host.trim_end_matches('.').to_owned(),
            port: port.parse().map_err(|_| form())?,
            to: SocketAddr::new(address, to_port.parse().map_err(|_| form())?),
        })
    }
}

/// Splits `host:rest` or `[host]:rest`.
fn endpoint(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]:"),
        None => text.split_once(':'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_as_curl_writes_them() {
        let redirect: Redirect = "smtp.example.net.:587:127.0.0.1:2525".parse().unwrap();
        assert_eq!((redirect.host.as_str(), redirect.port), ("smtp.example.net", 587));
        let redirect: Redirect = "[2001:db8::25]:587:[::1]:2525".parse().unwrap();
        assert_eq!((redirect.host.as_str(), redirect.to), ("2001:db8::25", "[::1]:2525".parse().unwrap()));
        for text in ["", "a:1", "a:1:b:2", "a:x:127.0.0.1:2", "a:1:127.0.0.1"] {
            assert!(text.parse::<Redirect>().is_err(), "{text}");
        }
    }
}
