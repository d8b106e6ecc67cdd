//! IP addresses as receivers see them.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use hickory_proto::rr::RecordType;

/// `ipv4` or `ipv6`, as Postfix's `inet_protocols` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Addresses of 32 bits, in A records.
    Ipv4,
    /// Addresses of 128 bits, in AAAA records.
    Ipv6,
}

impl Family {
    /// Both families, IPv4 first.
    pub const BOTH: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The family that `address` belongs to.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// The word of `inet_protocols`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// The family's name in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        }
    }

    /// The type of the records that hold such addresses.
    pub fn record_type(self) -> RecordType {
        match self {
            Self::Ipv4 => RecordType::A,
            Self::Ipv6 => RecordType::AAAA,
        }
    }
}

/// Postfix's `inet_protocols`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocols {
    /// Both.
    #[default]
    All,
    /// IPv4 alone.
    Ipv4,
    /// IPv6 alone.
    Ipv6,
}

impl Protocols {
    /// Whether addresses of this family are used.
    pub fn include(self, family: Family) -> bool {
        match self {
            Self::All => true,
            Self::Ipv4 => family == Family::Ipv4,
            Self::Ipv6 => family == Family::Ipv6,
        }
    }
}

impl fmt::Display for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        })
    }
}

/// Why no receiver can see `address`, if none can: the IANA special-purpose registries (RFC 6890), except that
/// documentation ranges count as public, so that worlds can be made of them.
pub fn unseen(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => unseen_v4(address),
        IpAddr::V6(address) => unseen_v6(address),
    }
}

fn unseen_v4(address: Ipv4Addr) -> Option<&'static str> {
    let why = match address.octets() {
        [0, 0, 0, 0] => "unspecified",
        [0, ..] => "reserved",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "private (RFC 1918)",
        [100, 64..=127, ..] => "shared (carrier-grade NAT, RFC 6598)",
        [127, ..] => "loopback",
        [169, 254, ..] => "link-local",
        [192, 0, 0, _] => "reserved for protocols (RFC 6890)",
        [198, 18..=19, ..] => "for benchmarks (RFC 2544)",
        [224..=239, ..] => "multicast",
        [255, 255, 255, 255] => "broadcast",
        [240..=255, ..] => "reserved",
        _ => return None,
    };
    Some(why)
}

fn unseen_v6(address: Ipv6Addr) -> Option<&'static str> {
    let why = match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => "unspecified",
        [0, 0, 0, 0, 0, 0, 0, 1] => "loopback",
        [0, 0, 0, 0, 0, 0xffff, ..] => "IPv4-mapped",
        [0, 0, 0, 0, 0, 0, ..] => "IPv4-compatible (deprecated, RFC 4291)",
        [0x64, 0xff9b, ..] => "for translation (NAT64, RFC 6052)",
        [0x100, 0, 0, 0, ..] => "discard-only (RFC 6666)",
        [0xfc00..=0xfdff, ..] => "private (unique local, RFC 4193)",
        [0xfe80..=0xfebf, ..] => "link-local",
        [0xfec0..=0xfeff, ..] => "site-local (deprecated, RFC 3879)",
        [0xff00..=0xffff, ..] => "multicast",
        _ => return None,
    };
    Some(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_receiver_can_see() {
        for (address, seen) in [
            ("192.0.2.1", true),
            ("198.51.100.1", true),
            ("203.0.113.1", true),
            ("2001:db8::1", true),
            ("8.8.8.8", true),
            ("172.15.0.1", true),
            ("172.32.0.1", true),
            ("127.0.1.1", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("192.168.1.1", false),
            ("100.64.0.1", false),
            ("169.254.1.1", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:192.0.2.1", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(unseen(address.parse().unwrap()).is_none(), seen, "{address}");
        }
    }
}
