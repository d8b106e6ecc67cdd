//! The name the server calls itself, its addresses, and the names of those addresses.

use std::net::IpAddr;

use futures_util::future::join_all;
use hickory_resolver::proto::rr::RecordType;
use syntax::{
    Name,
    address::{Family, unseen},
    text::grouped,
    zone::absolute,
};

use crate::{Abstain, Context, Evidence, Finding, Fix, Status, check::checks, context::MOST_ADDRESSES, net::NoAnswer};

use self::generic::generic;

mod generic;

checks! {
    /// The EHLO name is a fully qualified domain name.
    ///
    /// A client greets with its fully qualified name (RFC 5321 sections 2.3.5 and 4.1.1.1). Many receivers reject
    /// `EHLO localhost`, a single label, an address without brackets, or a name with an underscore; nobody on the
    /// internet can resolve a name under `.local` or `.internal`.
    ///
    /// # Fix
    /// Set `myhostname` in Postfix's main.cf to a name that exists in the DNS: `postconf -e 'myhostname =
    /// mail.example.com'`.
    "hostname.fqdn" ("RFC 5321 section 2.3.5") => fqdn,

    /// The EHLO name is not an alias.
    ///
    /// The name in EHLO is the primary host name, not a CNAME (RFC 5321 section 2.3.5). Most receivers follow the
    /// alias, some compare the text with the PTR and distrust what differs.
    ///
    /// # Fix
    /// Publish A and AAAA records at the name itself, or set `myhostname` to the name that the alias leads to.
    "hostname.alias" ("RFC 5321 section 2.3.5") => alias,

    /// The EHLO name resolves to public addresses in every protocol that Postfix uses.
    ///
    /// Receivers look up the EHLO name and compare it with the connecting address. With `inet_protocols = all` Postfix
    /// also sends over IPv6, so an AAAA record is due as much as an A record; the address must be one that a receiver
    /// can see, not a private one.
    ///
    /// # Fix
    /// Publish the missing record, or tell Postfix not to use that protocol: `postconf -e 'inet_protocols = ipv4'`.
    "hostname.address" ("RFC 5321 section 4.1.4") => address,

    /// Every outgoing address has a PTR record that leads to the EHLO name and back.
    ///
    /// Gmail, among others, rejects mail from an address without a PTR record, or whose PTR does not resolve back
    /// to the address (550 5.7.25), over IPv6 without exception. Each A and AAAA record of the host needs its own.
    ///
    /// # Fix
    /// Whoever owns the address (the hosting company, the network department) sets the PTR: hand them the line.
    "hostname.ptr" ("RFC 1912 section 2.1") => ptr,

    /// No outgoing address has a name that looks generated from it.
    ///
    /// Providers name the addresses of home connections and rented machines by pattern: `192-0-2-10.dyn.isp.example`,
    /// `ec2-192-0-2-10…`, `static-10…`. Many receivers score or reject such a client whatever it sends: a mail server has a
    /// name that somebody gave it (M3AAWG Sender Best Common Practices).
    ///
    /// # Fix
    /// Have the PTR set to the host's own name: hand the line to whoever owns the address.
    "hostname.generic" ("M3AAWG Sender Best Common Practices") => generic,
}

/// Suffixes that do not exist in the public DNS (RFC 6762, RFC 8375, and ICANN's resolution for `.internal`).
const SPECIAL_USE: [&str; 5] = ["local", "internal", "lan", "home.arpa", "localdomain"];

/// How many PTR names of one address are looked up; receivers stop at as many (RFC 7208 section 4.6.4).
const MOST_POINTERS: usize = 10;

/// How many PTR names of one address are told to programs.
const MOST_NAMES: usize = 100;

async fn fqdn(cx: &Context) -> Result<Finding, Abstain> {
    let hostname = cx.hostname()?;
    Ok(match (unfit(hostname), special_use(hostname)) {
        (Some(why), _) => Finding::fail(why).fix(rename()),
        (None, Some(suffix)) => {
            let status = if cx.target.is_relayed() { Status::Warn } else { Status::Fail };
            Finding::new(status, format!("no receiver can resolve a name under .{suffix}")).fix(rename())
        }
        (None, None) => Finding::pass(format!("{hostname} is fully qualified")),
    }
    .about(hostname))
}

fn rename() -> Fix {
    Fix::Shell("postconf -e 'myhostname = mail.example.com'    # your host's name in the DNS".to_owned())
}

fn myhostname(name: &Name) -> Fix {
    Fix::Shell(format!("postconf -e 'myhostname = {name}'"))
}

/// Why EHLO cannot carry the name, if it cannot.
fn unfit(hostname: &Name) -> Option<String> {
    if hostname.address_literal().is_some() {
        return Some(format!("{hostname} is an address, not a name"));
    }
    for label in hostname.labels() {
        let shown = String::from_utf8_lossy(label);
        if let Some(odd) = label.iter().find(|octet| !octet.is_ascii_alphanumeric() && **octet != b'-') {
            let odd = char::from(*odd);
            return Some(format!("the label {shown:?} has {odd:?}; only letters, digits and hyphens are allowed"));
        }
        if label.starts_with(b"-") || label.ends_with(b"-") {
            return Some(format!("the label {shown:?} begins or ends with a hyphen"));
        }
    }
    let is_localhost = hostname.labels().next().is_some_and(|label| {
        let digits = label.get(9..).filter(|_| label.to_ascii_lowercase().starts_with(b"localhost"));
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
    });
    if is_localhost || is_under(hostname, "localhost") {
        return Some(format!("{hostname} names every machine itself"));
    }
    if hostname.depth() < 2 {
        return Some(format!("{hostname} is a single label, not fully qualified"));
    }
    let numeric = |label: &[u8]| label.iter().all(u8::is_ascii_digit);
    hostname.labels().next_back().filter(|label| numeric(label)).map(|_| format!("{hostname} ends in a number"))
}

fn special_use(hostname: &Name) -> Option<&'static str> {
    SPECIAL_USE.into_iter().find(|suffix| is_under(hostname, suffix))
}

fn is_under(hostname: &Name, suffix: &str) -> bool {
    suffix.parse::<Name>().is_ok_and(|suffix| hostname.is_within(&suffix))
}

async fn alias(cx: &Context) -> Result<Finding, Abstain> {
    let hostname = cx.hostname()?;
    Ok(Finding::from(alias_of(cx, hostname).await).about(hostname))
}

async fn alias_of(cx: &Context, hostname: &Name) -> Result<Finding, Abstain> {
    if hostname.address_literal().is_some() {
        return Err(Abstain::Needs("a name".to_owned(), "hostname.fqdn"));
    }
    let asked = cx.families().map(|family| cx.net.dns.ask(hostname, family.record_type()));
    let answers = join_all(asked).await;
    // Whatever type was asked for, an answer shows the CNAME.
    let answer = match answers.iter().find_map(|answer| answer.as_ref().ok()) {
        Some(answer) => answer,
        None => return Err(answers.into_iter().find_map(Result::err).map_or_else(no_protocol, Abstain::Unknown)),
    };
    let finding = match answer.aliases().last() {
        Some(end) => {
            let finding = Finding::warn(format!("{hostname} is a CNAME that leads to {end}"));
            finding.fix((is_plain(end) && !answer.is_nxdomain()).then(|| myhostname(end)))
        }
        None if answer.is_nxdomain() => Abstain::Needs(format!("{hostname} to exist"), "hostname.address").into(),
        None => Finding::pass(format!("{hostname} is not a CNAME")),
    };
    Ok(finding.saw([answer.evidence()]))
}

fn no_protocol() -> Abstain {
    Abstain::NotApplicable("no protocol is used".to_owned())
}

/// Whether a name from the DNS can stand in a command.
fn is_plain(name: &Name) -> bool {
    name.labels().flatten().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
}

async fn address(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    let hostname = cx.hostname()?;
    let judged = Family::BOTH.map(|family| async move {
        let finding = addresses_of(cx, hostname, family).await;
        Finding::from(finding).about(family.word())
    });
    Ok(join_all(judged).await)
}

async fn addresses_of(cx: &Context, hostname: &Name, family: Family) -> Result<Finding, Abstain> {
    let named: Vec<IpAddr> = cx.named_addresses().filter(|address| Family::of(*address) == family).collect();
    absent_family(cx, family)?;
    if hostname.address_literal().is_some() {
        return Err(Abstain::Needs("a name".to_owned(), "hostname.fqdn"));
    }
    let answer = cx.net.dns.ask(hostname, family.record_type()).await?;
    let forward = answer.addresses();
    let rtype = family.record_type();
    let cap = (forward.len() > MOST_ADDRESSES)
        .then(|| format!("{} {rtype} records; the first {MOST_ADDRESSES} are judged", grouped(forward.len())));
    let hidden: Vec<String> = named
        .iter()
        .chain(forward.iter().take(MOST_ADDRESSES).filter(|address| !named.contains(address)))
        .filter_map(|address| unseen(*address).map(|why| format!("{address} is {why}, no receiver can see it")))
        .collect();
    let missing: Vec<IpAddr> = named.iter().copied().filter(|address| !forward.contains(address)).collect();
    let publish = |addresses: &[IpAddr]| {
        let lines = addresses.iter().map(|address| format!("{} 3600 IN {rtype} {address}", absolute(hostname)));
        Fix::Zone(lines.collect::<Vec<_>>().join("\n"))
    };
    let finding = if !hidden.is_empty() {
        let nat = "Publish the address that receivers see (behind NAT: the public one), and name it with --ip";
        Finding::fail(hidden.join("; ")).fix(Fix::Advice(nat.to_owned()))
    } else if forward.is_empty() {
        let finding = missing_family(cx, hostname, family, &answer.absence()).await;
        if missing.is_empty() { finding } else { finding.fix(publish(&missing)) }
    } else if !missing.is_empty() {
        Finding::warn(format!("{hostname} does not resolve to {}", join_words(&missing))).fix(publish(&missing))
    } else if let Some(cap) = &cap {
        Finding::warn(cap).fix(Fix::Advice(format!(
            "Publish the {rtype} records of the addresses that mail leaves from, and no others"
        )))
    } else {
        Finding::pass(format!("{hostname} resolves to {}", join_words(&forward)))
    };
    let finding = match cap {
        Some(cap) if finding.message != cap => Finding { message: format!("{cap}: {}", finding.message), ..finding },
        _ => finding,
    };
    Ok(relayed(cx, finding.saw([answer.evidence()]), !named.is_empty()))
}

/// A family whose absence is nobody's fault: `--protocols` excludes it, or `--ip` names no such address.
fn absent_family(cx: &Context, family: Family) -> Result<(), Abstain> {
    let protocols = cx.target.protocols;
    if !protocols.include(family) {
        return Err(Abstain::NotApplicable(format!("inet_protocols is {protocols}")));
    }
    if !cx.target.ips.is_empty() && !cx.named_addresses().any(|address| Family::of(address) == family) {
        return Err(Abstain::NotApplicable(format!("--ip names no {} address", family.name())));
    }
    Ok(())
}

/// No address in one family: a fault only where there is none in the other either.
async fn missing_family(cx: &Context, hostname: &Name, family: Family, absence: &str) -> Finding {
    for other in cx.families().filter(|other| *other != family) {
        match cx.forward(hostname, other).await {
            Ok(addresses) if addresses.is_empty() => {}
            Ok(_) | Err(_) => {
                let finding = Finding::warn(format!("{absence}, though inet_protocols is all"));
                return finding.fix(unpublished(family));
            }
        }
    }
    let publish = format!("Publish the A and AAAA records of {hostname}: the addresses that mail leaves from");
    Finding::fail(absence).fix(Fix::Advice(publish))
}

fn unpublished(family: Family) -> Fix {
    let (rtype, other) = match family {
        Family::Ipv4 => ("an A", "ipv6"),
        Family::Ipv6 => ("an AAAA", "ipv4"),
    };
    Fix::Advice(format!(
        "Publish {rtype} record if mail leaves over {}, or turn it off: postconf -e 'inet_protocols = {other}'",
        family.name()
    ))
}

async fn ptr(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    let hostname = cx.hostname()?;
    let families = Family::BOTH.map(|family| pointers_of(cx, hostname, family));
    Ok(join_all(families).await.concat())
}

/// Each outgoing address of one family, and each that HOSTNAME resolves to besides.
async fn pointers_of(cx: &Context, hostname: &Name, family: Family) -> Vec<Finding> {
    let named: Vec<IpAddr> = cx.named_addresses().filter(|address| Family::of(*address) == family).collect();
    let excluded = || Finding::skip(format!("inet_protocols is {}", cx.target.protocols)).about(family.word());
    if !cx.target.protocols.include(family) {
        return vec![excluded()];
    }
    let forward = cx.forward(hostname, family).await;
    let others = forward.iter().flatten().take(MOST_ADDRESSES).copied().filter(|address| !named.contains(address));
    let subjects: Vec<(IpAddr, bool)> = named
        .iter()
        .map(|address| (*address, true))
        .chain(others.map(|address| (address, cx.target.ips.is_empty())))
        .collect();
    if subjects.is_empty() {
        let finding: Finding = match (absent_family(cx, family), forward) {
            (Err(abstain), _) => abstain.into(),
            (Ok(()), Err(silence)) => Abstain::Unknown(silence).into(),
            (Ok(()), Ok(_)) => Finding::skip(format!("no {} address", family.name())),
        };
        let asked = cx.net.dns.known(hostname, family.record_type()).await;
        let finding =
            if finding.evidence.is_empty() { finding.saw(asked.map(|answer| answer.evidence())) } else { finding };
        return vec![finding.about(family.word())];
    }
    let judged = subjects.into_iter().map(|(address, outgoing)| async move {
        let is_named = cx.target.ips.contains(&address);
        let finding = relayed(cx, pointer(cx, hostname, address).await.into(), is_named);
        let finding = if outgoing { finding } else { finding.at_most(Status::Warn) };
        finding.about(address)
    });
    join_all(judged).await
}

/// The PTR record of one address, and whether it leads back (RFC 8601 section 2.7.3, "iprev").
async fn pointer(cx: &Context, hostname: &Name, address: IpAddr) -> Result<Finding, Abstain> {
    let answer = cx.net.dns.ask(&Name::reverse(address), RecordType::PTR).await?;
    let mut names = answer.pointers();
    // The EHLO name is looked up, however many there are.
    names.sort_by_key(|name| name != hostname);
    let count = names.len();
    names.truncate(MOST_NAMES);
    names.shrink_to_fit();
    let publish = lines(cx, hostname, address).await;
    let mut evidence = vec![answer.evidence()];
    if names.is_empty() {
        let nxdomain = if answer.is_nxdomain() { " (NXDOMAIN)" } else { "" };
        return Ok(Finding::fail(format!("no PTR record{nxdomain}")).fix(publish).saw(evidence));
    }
    let confirmed = join_all(names.iter().take(MOST_POINTERS).map(|name| leads_back(cx, name, address))).await;
    let (mut silence, mut is_own_silent) = (None, false);
    let mut confirmed_names = Vec::new();
    for (name, outcome) in names.iter().zip(confirmed) {
        match outcome {
            Ok((true, seen)) => {
                confirmed_names.push(name);
                evidence.push(seen);
            }
            Ok((false, seen)) => evidence.push(seen),
            Err(why) => {
                is_own_silent |= name == hostname;
                silence = Some(why);
            }
        }
    }
    // Another name may lead back; whether this one does is what was to be found out.
    if let Some(silence) = silence.take_if(|_| is_own_silent) {
        return Err(silence.into());
    }
    let shown = match count.checked_sub(MOST_POINTERS) {
        Some(more @ 1..) => {
            let first: Vec<String> = names.iter().take(MOST_POINTERS).map(ToString::to_string).collect();
            format!("{} and {more} more", first.join(", "))
        }
        _ => join_words(&names),
    };
    let finding = if confirmed_names.contains(&hostname) && count > MOST_POINTERS {
        let shown = format!("{count} PTR names, of which receivers look up {MOST_POINTERS}, in no order");
        Finding::warn(format!("{shown}: {hostname} is one, and may be missed")).fix(publish)
    } else if confirmed_names.contains(&hostname) {
        Finding::pass(format!("PTR is {shown}, and resolves back"))
    } else if let Some(name) = confirmed_names.first() {
        Finding::warn(format!("PTR is {name}, which resolves back, but is not {hostname}")).fix(publish)
    } else if let Some(silence) = silence {
        return Err(silence.into());
    } else if names.contains(hostname) {
        Finding::fail(format!("PTR is {hostname}, which does not resolve back to {address}")).fix(publish)
    } else {
        Finding::fail(format!("PTR is {shown}, not {hostname}, and does not resolve back")).fix(publish)
    };
    Ok(finding.saw(evidence).fact("names", names.iter().map(ToString::to_string).collect::<Vec<_>>()))
}

/// What to publish for an address that receivers can see: the PTR record, and the way back where it is missing.
async fn lines(cx: &Context, hostname: &Name, address: IpAddr) -> Option<Fix> {
    let family = Family::of(address);
    let pointer = format!("{}. 3600 IN PTR {}", Name::reverse(address), absolute(hostname));
    let leads_back = cx.forward(hostname, family).await.is_ok_and(|addresses| addresses.contains(&address));
    let forward = format!("\n{} 3600 IN {} {address}", absolute(hostname), family.record_type());
    unseen(address).is_none().then(|| Fix::Zone(pointer + if leads_back { "" } else { &forward }))
}

async fn leads_back(cx: &Context, name: &Name, address: IpAddr) -> Result<(bool, Evidence), NoAnswer> {
    let answer = cx.net.dns.ask(name, Family::of(address).record_type()).await?;
    Ok((answer.addresses().contains(&address), answer.evidence()))
}

/// Behind a relay nobody looks at this host's own addresses: what is wrong with them is only told, and warned of
/// where `--ip` says that receivers do see the address.
fn relayed(cx: &Context, finding: Finding, named: bool) -> Finding {
    if !cx.target.is_relayed() || !matches!(finding.status, Status::Fail | Status::Warn) {
        return finding;
    }
    if named {
        // The address is the relay's: what this host would publish for itself is no remedy.
        return Finding { fix: None, ..finding.at_most(Status::Warn) };
    }
    Finding {
        status: Status::Skip,
        message: format!("receivers see the relay ({})", finding.message),
        fix: None,
        ..finding
    }
}

/// `a`, `a and b`, `a, b and c`.
fn join_words<T: ToString>(words: &[T]) -> String {
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ehlo_can_carry() {
        for (name, fit) in [
            ("mail.example.com", true),
            ("a.b", true),
            ("xn--bcher-kva.example", true),
            ("localhosts.example.com", true),
            ("mail", false),
            ("localhost", false),
            ("localhost.localdomain", false),
            ("localhost6.localdomain6", false),
            ("mail.localhost", false),
            ("192.0.2.1", false),
            ("[192.0.2.1]", false),
            ("2001:db8::1", false),
            ("my_host.example.com", false),
            ("-mail.example.com", false),
            ("mail-.example.com", false),
            ("mail.42", false),
        ] {
            assert_eq!(unfit(&name.parse().unwrap()).is_none(), fit, "{name}");
        }
        assert_eq!(special_use(&"jira.corp.internal".parse().unwrap()), Some("internal"));
        assert_eq!(special_use(&"jira.internal.example.com".parse().unwrap()), None);
    }
}
