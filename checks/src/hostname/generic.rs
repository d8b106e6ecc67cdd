//! Names that look generated from an address, as providers give them to whatever is connected.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::future::join_all;
use hickory_resolver::proto::rr::RecordType;
use syntax::{Name, address::unseen};

use super::{lines, relayed, unfit};
use crate::{Abstain, Context, Finding, Fix};

/// Words for a way of access: whoever is there was not put there to send mail.
const ACCESS: [&str; 16] = [
    "dyn",
    "dynamic",
    "dynip",
    "dhcp",
    "dsl",
    "adsl",
    "vdsl",
    "xdsl",
    "ppp",
    "pppoe",
    "dialup",
    "dialin",
    "ftth",
    "broadband",
    "unassigned",
    "unallocated",
];

/// Words that say the same where a number stands in the name.
const NUMBERED: [&str; 9] =
    ["pool", "pools", "cable", "cust", "customer", "customers", "ec2", "compute", "residential"];

/// Words that say the same where their number is the address's, or as long as only a machine chooses it.
const LOOSE: [&str; 13] =
    ["static", "host", "ip", "vps", "vm", "server", "srv", "node", "rev", "reverse", "client", "user", "ptr"];

/// A number of so many digits was not chosen by a person.
const LONG: usize = 4;

pub(super) async fn generic(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    let hostname = cx.hostname()?;
    let outgoing = cx.outgoing().await;
    let silences = outgoing.silences.into_iter().map(|(family, silence)| {
        let needs = Finding::from(Abstain::Needs(format!("the {} address", family.name()), "hostname.address"));
        needs.saw([silence.evidence()]).about(family.word())
    });
    let silences: Vec<Finding> = silences.collect();
    if outgoing.addresses.is_empty() && silences.is_empty() {
        return Err(Abstain::Needs("an outgoing address".to_owned(), "hostname.address"));
    }
    let judged = outgoing.addresses.iter().map(async |address| {
        let finding = Finding::from(of_address(cx, hostname, *address).await);
        relayed(cx, finding, cx.target.ips.contains(address)).about(address)
    });
    let mut findings = join_all(judged).await;
    findings.extend(silences);
    Ok(findings)
}

async fn of_address(cx: &Context, hostname: &Name, address: IpAddr) -> Result<Finding, Abstain> {
    if let Some(why) = unseen(address) {
        return Err(Abstain::NotApplicable(format!("{why}: no receiver sees it")));
    }
    let answer = match cx.net.dns.ask(&Name::reverse(address), RecordType::PTR).await {
        Ok(answer) => answer,
        Err(silence) => {
            let needs = Finding::from(Abstain::Needs("the PTR record".to_owned(), "hostname.ptr"));
            return Ok(needs.saw([silence.evidence()]));
        }
    };
    let names = answer.pointers();
    let Some(first) = names.first() else {
        return Ok(Finding::from(Abstain::Needs("a PTR record".to_owned(), "hostname.ptr")).saw([answer.evidence()]));
    };
    let finding = match names.iter().find_map(|name| Some((name, sign(name, address)?))) {
        Some((name, sign)) => {
            let finding = Finding::warn(format!("PTR is {name}, which looks generated: {sign}")).fact("sign", sign);
            finding.fix(rename(cx, hostname, address).await)
        }
        None => Finding::pass(format!("PTR is {first}, a name of its own")),
    };
    Ok(finding.saw([answer.evidence()]))
}

/// The PTR to publish, unless HOSTNAME is no better.
async fn rename(cx: &Context, hostname: &Name, address: IpAddr) -> Option<Fix> {
    match unfit(hostname).is_some() || sign(hostname, address).is_some() {
        true => Some(Fix::Advice(
            "Choose a name for the host, such as mail.example.com: set it as myhostname, publish its addresses, and \
             have it set as the PTR"
                .to_owned(),
        )),
        false => lines(cx, hostname, address).await,
    }
}

/// What makes a name look generated, if anything does.
fn sign(name: &Name, address: IpAddr) -> Option<String> {
    let host = host_part(name);
    let parts: Vec<&str> = host.split(['.', '-', '_']).filter(|part| !part.is_empty()).collect();
    if holds(&host, &parts, address) {
        return Some(format!("it holds {address}"));
    }
    word(&parts, address).map(|word| format!("it holds {word:?}"))
}

/// The labels below the registrable domain, in lower case.
fn host_part(name: &Name) -> String {
    let own = name.depth().saturating_sub(name.registrable().map_or(2, |domain| domain.depth()));
    let labels = name.labels().take(own).map(|label| String::from_utf8_lossy(label).to_ascii_lowercase());
    labels.collect::<Vec<_>>().join(".")
}

fn holds(host: &str, parts: &[&str], address: IpAddr) -> bool {
    let joined: String = host.chars().filter(char::is_ascii_alphanumeric).collect();
    match address {
        IpAddr::V4(address) => {
            written_v4(address).iter().any(|form| joined.contains(form)) || octets(host, parts, address.octets())
        }
        IpAddr::V6(address) => {
            let hyphened = host.replace(['.', '_'], "-");
            nibbles(address).iter().any(|form| joined.contains(form))
                || groups(address).iter().any(|form| hyphened.contains(form))
        }
    }
}

/// The address in one piece: padded decimals and hexadecimals, forwards and backwards, and the number that it is.
fn written_v4(address: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = address.octets();
    let padded = |octets: [u8; 4]| octets.map(|octet| format!("{octet:03}")).concat();
    let hex = |octets: [u8; 4]| octets.map(|octet| format!("{octet:02x}")).concat();
    let mut forms = vec![
        padded([a, b, c, d]),
        padded([d, c, b, a]),
        hex([a, b, c, d]),
        hex([d, c, b, a]),
        format!("{c:03}{d:03}"),
        u32::from(address).to_string(),
    ];
    // Unpadded, only what is long enough not to come about by chance.
    forms.extend(Some(format!("{a}{b}{c}{d}")).filter(|form| form.len() > 6));
    forms
}

/// All 32 nibbles, or those of the interface, forwards and backwards.
fn nibbles(address: Ipv6Addr) -> Vec<String> {
    let whole: String = address.segments().iter().map(|group| format!("{group:04x}")).collect();
    let interface: String = whole.chars().skip(16).collect();
    let backwards = |form: &String| form.chars().rev().collect::<String>();
    vec![backwards(&whole), backwards(&interface), whole, interface]
}

/// The groups with hyphens between, in full or short, all or those of the interface.
fn groups(address: Ipv6Addr) -> Vec<String> {
    let segments = address.segments();
    let joined = |groups: &[u16]| groups.iter().map(|group| format!("{group:x}")).collect::<Vec<_>>().join("-");
    let short = address.to_string().replace(':', "-");
    let interface = segments.get(4..).map(joined).filter(|form| form.len() > 10);
    [Some(joined(&segments)), Some(short), interface].into_iter().flatten().collect()
}

/// Whether the numbers in the name are the address's octets: all four in any order, or the last two side by side.
fn octets(host: &str, parts: &[&str], octets: [u8; 4]) -> bool {
    let [_, _, c, d] = octets;
    let mut left: Vec<u8> = octets.to_vec();
    for found in host.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse::<u8>().ok()) {
        if let Some(position) = left.iter().position(|octet| *octet == found) {
            left.swap_remove(position);
        }
    }
    let is_last_two = |pair: &[&str]| match pair {
        [one, other] => match (one.parse::<u8>(), other.parse::<u8>()) {
            (Ok(one), Ok(other)) => (one, other) == (c, d) || (one, other) == (d, c),
            _ => false,
        },
        _ => false,
    };
    // One digit each is how people count racks and hosts.
    left.is_empty() || (c.max(d) > 9 && parts.windows(2).any(is_last_two))
}

/// The word that gives the name away, if one does.
fn word<'a>(parts: &[&'a str], address: IpAddr) -> Option<&'a str> {
    let digits = |part: &str| part.bytes().filter(u8::is_ascii_digit).count();
    let letters = |part: &'a str| part.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_numbered = parts.iter().any(|part| digits(part) > 0);
    let is_machine_made = |part: &&str| {
        let is_long = digits(part) >= LONG && part.bytes().all(|octet| octet.is_ascii_hexdigit());
        let is_last = match address {
            IpAddr::V4(v4) => part.parse() == Ok(v4.octets()[3]),
            IpAddr::V6(v6) => *part == format!("{:x}", v6.segments()[7]),
        };
        is_long || is_last
    };
    parts.iter().enumerate().find_map(|(position, part)| {
        let word = letters(part);
        let own = part.get(word.len()..).unwrap_or_default();
        let neighbours = [position.checked_sub(1), position.checked_add(1)].into_iter().flatten();
        let beside = neighbours.filter_map(|position| parts.get(position).copied());
        let mut numbers = [own].into_iter().chain(beside);
        let is_sign = ACCESS.contains(&word)
            || (NUMBERED.contains(&word) && is_numbered)
            || *part == "ec2"
            || (word == "static" && numbers.clone().any(|number| !number.is_empty() && digits(number) == number.len()))
            || (LOOSE.contains(&word) && numbers.any(|number| is_machine_made(&number)));
        is_sign.then_some(*part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_providers_generate() {
        for (name, address) in [
            ("192-0-2-10.isp.example", "192.0.2.10"),
            ("192.0.2.10.isp.example", "192.0.2.10"),
            ("10.2.0.192.in-addr.isp.example", "192.0.2.10"),
            ("10-2-0-192.isp.example", "192.0.2.10"),
            ("host192-0-2-10.isp.example", "192.0.2.10"),
            ("ip-192-0-2-10.isp.example", "192.0.2.10"),
            ("ip192.0.2.10.isp.example", "192.0.2.10"),
            ("ec2-192-0-2-10.compute.example.net", "192.0.2.10"),
            ("ec2-elsewhere.region.example.net", "192.0.2.10"),
            ("2-0-10-192.isp.example", "192.0.2.10"),
            ("192_0_2_10.isp.example", "192.0.2.10"),
            ("192x0x2x10.isp.example", "192.0.2.10"),
            ("192-000-002-010.isp.example", "192.0.2.10"),
            ("192000002010.isp.example", "192.0.2.10"),
            ("r002010.isp.example", "192.0.2.10"),
            ("c000020a.isp.example", "192.0.2.10"),
            ("0a0200c0.isp.example", "192.0.2.10"),
            ("c0-00-02-0a.isp.example", "192.0.2.10"),
            ("xc000020ax.access.isp.example", "192.0.2.10"),
            ("3221225994.isp.example", "192.0.2.10"),
            ("19851100234.isp.example", "198.51.100.234"),
            ("host-100-234.isp.example", "198.51.100.234"),
            ("234-100.region.isp.example", "198.51.100.234"),
            ("234.100.51.isp.example", "198.51.100.234"),
            ("c6-33-64-ea.isp.example", "198.51.100.234"),
            ("host-10.isp.example", "192.0.2.10"),
            ("static-10.isp.example", "192.0.2.10"),
            ("10.static.isp.example", "192.0.2.10"),
            ("static.84.isp.example", "192.0.2.10"),
            ("vps123456.isp.example", "192.0.2.10"),
            ("vps-1a2b3c4d.isp.example", "192.0.2.10"),
            ("srv10.isp.example", "192.0.2.10"),
            ("pool-7.isp.example", "192.0.2.10"),
            ("mail.dyn.isp.example", "192.0.2.10"),
            ("dhcp3.campus.isp.example", "192.0.2.10"),
            ("alice.adsl.isp.example", "192.0.2.10"),
            ("unassigned.isp.example", "192.0.2.10"),
            ("cable-12.isp.example", "192.0.2.10"),
            ("cust-1.city.isp.example", "192.0.2.10"),
            ("DYNAMIC-IP.isp.example", "192.0.2.10"),
            ("2001-db8-0-0-0-0-0-10.isp.example", "2001:db8::10"),
            ("2001-db8--10.isp.example", "2001:db8::10"),
            ("host-10.isp.example", "2001:db8::10"),
            ("20010db8000000000000000000000010.isp.example", "2001:db8::10"),
            ("0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.isp.example", "2001:db8::10"),
            ("2001-0db8-0000-0000-0000-0000-0000-0010.isp.example", "2001:db8::10"),
            ("a1b2c3d4e5f60789.isp.example", "2001:db8::a1b2:c3d4:e5f6:789"),
            ("h-a1b2-c3d4-e5f6-789.isp.example", "2001:db8::a1b2:c3d4:e5f6:789"),
        ] {
            assert!(sign(&name.parse().unwrap(), address.parse().unwrap()).is_some(), "{name}");
        }
    }

    #[test]
    fn names_that_people_choose() {
        for (name, address) in [
            ("mail.example.com", "192.0.2.10"),
            ("mail-10.example.com", "192.0.2.10"),
            ("mail10.example.com", "192.0.2.10"),
            ("mx1.dc2.example.com", "192.0.2.1"),
            ("mx1.dc2.rack0.example.com", "192.0.2.1"),
            ("mx-2-1.example.com", "192.0.2.1"),
            ("host1.example.com", "192.0.2.10"),
            ("mx192.example.com", "192.0.2.10"),
            ("static.example.com", "192.0.2.10"),
            ("mail.static.example.com", "192.0.2.10"),
            ("mail-pool.example.com", "192.0.2.10"),
            ("server.example.com", "192.0.2.10"),
            ("server2.example.com", "192.0.2.10"),
            ("dynamics.example.com", "192.0.2.10"),
            ("ppphotos.example.com", "192.0.2.10"),
            ("smtp-out-3.example.com", "192.0.2.10"),
            ("o1.email.example.com", "192.0.2.10"),
            ("a10-20.smtp-out.example.com", "192.0.2.10"),
            ("mta-70-22.sparkle.example.com", "192.0.2.10"),
            ("mout2024.example.com", "192.0.2.10"),
            ("decade.example.com", "192.0.2.10"),
            ("dyn.example", "192.0.2.10"),
            ("mail.pool.example", "192.0.2.10"),
            ("mail.dhcp.co.uk", "192.0.2.10"),
            ("example.com", "192.0.2.10"),
            ("com", "192.0.2.10"),
            ("mail.example.com", "2001:db8::10"),
            ("mail-10.example.com", "2001:db8::10"),
            ("mx6.example.com", "2001:db8::6"),
            ("server.example.com", "2001:db8::"),
            ("beef.example.com", "2001:db8::beef"),
        ] {
            assert_eq!(sign(&name.parse().unwrap(), address.parse().unwrap()), None, "{name}");
        }
    }
}
