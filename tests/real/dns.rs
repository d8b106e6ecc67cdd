//! The same zones from an authoritative server and from a recursive one: the verdicts, and `dig`'s second opinion.

use std::{collections::BTreeSet, process::Command};

use libtest_mimic::{Failed, Trial};

use crate::{
    audit::{Audit, Verdict, audit},
    nameservers::NameServers,
    server::output,
};

/// A name, what is typed, the exit code, and verdicts that the report must have.
type Case = (&'static str, &'static str, i32, &'static [Verdict<'static>]);

/// What NSD and Unbound must both lead to.
#[rustfmt::skip]
const CASES: &[Case] = &[
    ("healthy", "mail.example.test --selector strong --skip dnsbl", 0, &[
        ("hostname.ptr", "192.0.2.10", "pass", "resolves back"),
        ("hostname.ptr", "2001:db8::10", "pass", "resolves back"),
        ("spf.sender", "example.test from 192.0.2.10", "pass", ""),
        ("spf.sender", "example.test from 2001:db8::10", "pass", ""),
        ("spf.helo", "mail.example.test from 2001:db8::10", "pass", ""),
        ("dkim.key", "strong._domainkey.example.test", "pass", "2048"),
        ("mx.record", "example.test", "pass", "mx.example.test"),
        ("mx.address", "example.test mx.example.test", "pass", "192.0.2.25")]),
    ("two addresses, one without PTR", "two.example.test --protocols ipv4 --only hostname", 1, &[
        ("hostname.ptr", "192.0.2.11", "pass", "two.example.test"),
        ("hostname.ptr", "192.0.2.12", "fail", "no PTR record"),
        ("hostname.address", "ipv6", "skip", "inet_protocols is ipv4")]),
    ("IPv6 without PTR", "six.example.test --only hostname", 1, &[
        ("hostname.ptr", "192.0.2.13", "pass", ""),
        ("hostname.ptr", "2001:db8::13", "fail", "no PTR record")]),
    ("a PTR that is delegated by an alias", "delegated.example.test --only hostname.ptr", 0, &[
        ("hostname.ptr", "192.0.2.66", "pass", "delegated.example.test"),
        ("hostname.ptr", "ipv6", "skip", "no IPv6 address")]),
    ("a PTR of another host", "astray.example.test --only hostname.ptr", 1, &[
        ("hostname.ptr", "192.0.2.14", "fail", "mail.example.test")]),
    ("an alias into another zone", "alias.example.test --only hostname --protocols ipv4", 0, &[
        ("hostname.alias", "alias.example.test", "warn", "host.example.com"),
        ("hostname.address", "ipv4", "pass", "192.0.2.20"),
        ("hostname.ptr", "192.0.2.20", "warn", "host.example.com")]),
    ("below a DNAME", "host.dname.example.test --only hostname --protocols ipv4", 0, &[
        ("hostname.alias", "host.dname.example.test", "warn", "host.example.com"),
        ("hostname.ptr", "192.0.2.20", "warn", "host.example.com")]),
    ("a wildcard", "a.wild.example.test --only hostname.ptr", 0, &[
        ("hostname.ptr", "192.0.2.16", "pass", "a.wild.example.test")]),
    ("no such name", "nothing.example.test --only hostname", 1, &[
        ("hostname.address", "ipv4", "fail", "NXDOMAIN"),
        ("hostname.address", "ipv6", "fail", "NXDOMAIN")]),
    ("no address at the name", "text.example.test --only hostname.address", 1, &[
        ("hostname.address", "ipv4", "fail", "no A record"),
        ("hostname.address", "ipv6", "fail", "no AAAA record")]),
    ("an empty non-terminal", "below.example.test --only hostname.address", 1, &[
        ("hostname.address", "ipv4", "fail", "no A record")]),
    ("upper case and a root dot", "MAIL.Example.TEST. --only hostname,spf.sender", 0, &[
        ("hostname.ptr", "192.0.2.10", "pass", ""),
        ("spf.sender", "example.test from 192.0.2.10", "pass", "")]),
    ("a reverse name under 127/8", "loopback.example.test --only hostname --protocols ipv4", 1, &[
        ("hostname.address", "ipv4", "fail", "127.0.0.10"),
        ("hostname.ptr", "127.0.0.10", "pass", "loopback.example.test")]),
    ("localhost", "localhost --only hostname --protocols ipv4", 1, &[
        ("hostname.fqdn", "localhost", "fail", ""),
        ("hostname.ptr", "127.0.0.1", "pass", "localhost")]),
    ("SPF that forgets IPv6", "mail.example.test --domain forgets6.example.test --only spf", 1, &[
        ("spf.sender", "forgets6.example.test from 192.0.2.10", "pass", ""),
        ("spf.sender", "forgets6.example.test from 2001:db8::10", "fail", "")]),
    ("nested includes, the last in another zone", "mail.example.test --domain nested.example.test --only spf", 0, &[
        ("spf.sender", "nested.example.test from 192.0.2.10", "pass", "ip4:192.0.2.10"),
        ("spf.sender", "nested.example.test from 2001:db8::10", "pass", "ip6:2001:db8::/64"),
        ("spf.lookups", "nested.example.test", "pass", "3")]),
    ("two SPF records", "mail.example.test --domain twice.example.test --only spf", 1, &[
        ("spf.record", "twice.example.test", "fail", "2"),
        ("spf.sender", "twice.example.test from 192.0.2.10", "skip", "spf.record")]),
    ("SPF softfail", "mail.example.test --domain softly.example.test --only spf.sender", 0, &[
        ("spf.sender", "softly.example.test from 192.0.2.10", "warn", "softfail")]),
    ("an include that does not exist", "mail.example.test --domain astray-include.example.test --only spf.sender", 1, &[
        ("spf.sender", "astray-include.example.test from 192.0.2.10", "fail", "permerror")]),
    ("an include that nobody answers for", "mail.example.test --domain silent-include.example.test --only spf.sender", 3, &[
        ("spf.sender", "silent-include.example.test from 192.0.2.10", "unknown", "temperror")]),
    ("a large answer, over TCP", "mail.example.test --domain large.example.test --only spf.record,spf.sender", 0, &[
        ("spf.record", "large.example.test", "pass", ""),
        ("spf.sender", "large.example.test from 192.0.2.10", "pass", "")]),
    ("DKIM keys", "--domain example.test --selector strong --selector short --selector hosted --only dkim", 0, &[
        ("dkim.key", "strong._domainkey.example.test", "pass", "2048"),
        ("dkim.key", "short._domainkey.example.test", "warn", "1024"),
        ("dkim.record", "hosted._domainkey.example.test", "pass", "key.example.com"),
        ("dkim.key", "hosted._domainkey.example.test", "pass", "2048")]),
    ("no such selector", "--domain example.test --selector none --only dkim", 1, &[
        ("dkim.record", "none._domainkey.example.test", "fail", "NXDOMAIN"),
        ("dkim.key", "none._domainkey.example.test", "skip", "dkim.record")]),
    ("MX is an alias", "--domain via-alias.example.test --only mx", 1, &[
        ("mx.address", "via-alias.example.test mx-alias.example.test", "fail", "CNAME that leads to mx.example.test")]),
    ("MX in another zone", "--domain mx-elsewhere.example.test --only mx", 0, &[
        ("mx.address", "mx-elsewhere.example.test mx.example.com", "pass", "192.0.2.26")]),
    ("null MX", "--domain null.example.test --only mx", 0, &[
        ("mx.record", "null.example.test", "warn", "null MX")]),
    ("names that a shell would obey", "--domain hostile.example.test --only mx", 0, &[
        ("mx.address", "hostile.example.test $(id);'@.hostile.example.test", "pass", "192.0.2.27"),
        ("mx.address", "hostile.example.test dotted\\.label.hostile.example.test", "pass", "192.0.2.28")]),
    ("another server answers", "mail.example.test --resolver 127.0.0.1:1 --only hostname", 0, &[
        ("hostname.ptr", "192.0.2.10", "pass", "")]),
    ("nobody knows the name", "mail.example.net --skip relay,tls,sasl", 3, &[
        ("dns.answers", "example.net", "unknown", "its DNS is dead"),
        ("hostname.address", "ipv4", "skip", "dns.answers"),
        ("hostname.ptr", "ipv6", "skip", "dns.answers"),
        ("spf.record", "example.net", "skip", "dns.answers"),
        ("mx.record", "example.net", "skip", "dns.answers")]),
    ("nobody knows the name, and one family asks", "mail.example.net --only mx", 3, &[
        ("mx.record", "example.net", "unknown", "")]),
    ("a zone that cannot be served", "mail.broken.test --only hostname,spf,mx", 3, &[
        ("hostname.address", "ipv4", "unknown", "SERVFAIL"),
        ("mx.record", "broken.test", "unknown", "SERVFAIL")]),
];

/// `dig +short` also prints a DNAME on the way, which leads nowhere by itself.
const DNAME: &str = "example.com.";

/// What is told of a server that serves only its own.
const REFUSED: &[Verdict<'_>] = &[("hostname.address", "ipv4", "unknown", "REFUSED")];

/// What is told of a server that only knows who else might know.
const REFERRED: &[Verdict<'_>] = &[("hostname.address", "ipv4", "unknown", "referral")];

/// What is told of a server that is gone.
const STOPPED: &[Verdict<'_>] = &[
    ("dns.answers", "example.test", "unknown", "closed port"),
    ("hostname.address", "ipv4", "skip", "dns.answers"),
    ("spf.record", "example.test", "skip", "dns.answers"),
    ("spf.sender", "example.test", "skip", ""),
    ("dkim.record", "strong._domainkey.example.test", "skip", "dns.answers"),
    ("mx.record", "example.test", "skip", "dns.answers"),
];

pub(crate) fn trials(servers: &NameServers) -> Vec<Trial> {
    let both = [("nsd", servers.nsd), ("unbound", servers.unbound)];
    let pairs = CASES.iter().flat_map(|case| both.map(|(server, port)| (format!("{server}/{}", case.0), port, case)));
    let both = pairs.map(|(name, port, (_, typed, code, verdicts))| trial(&name, port, typed, *code, verdicts));
    both.chain([
        trial("nsd/refused", servers.nsd, "mail.example.net --only hostname", 3, REFUSED),
        trial("nsd/referral", servers.nsd, "mail.sub.example.test --only hostname", 3, REFERRED),
        trial("stopped", servers.stopped, "mail.example.test --selector strong", 3, STOPPED),
    ])
    .collect()
}

fn trial(name: &str, port: u16, typed: &'static str, code: i32, verdicts: &'static [Verdict<'static>]) -> Trial {
    Trial::test(name, move || {
        let resolver = format!("127.0.0.1:{port}");
        let args: Vec<String> = typed.split(' ').chain(["--resolver", &resolver]).map(str::to_owned).collect();
        let audit = audit(&args, &[])?;
        audit.expect(code, verdicts)?;
        // Evidence names the first server that was typed, be it dead.
        if typed.contains("--resolver") { Ok(()) } else { confirmed(&audit) }
    })
}

/// Runs every `dig` that the report names as evidence, and compares.
fn confirmed(audit: &Audit) -> Result<(), Failed> {
    let mut seen = BTreeSet::new();
    for evidence in audit.findings().flat_map(|finding| finding["evidence"].as_array().into_iter().flatten()) {
        let (Some(command), Some(told)) = (evidence["command"].as_str(), evidence["output"].as_str()) else {
            return Err(format!("evidence without command and output: {evidence}").into());
        };
        // A comment says that the output is more than this one command's.
        if !command.starts_with("dig ") || command.contains('#') || !seen.insert(command) {
            continue;
        }
        let dig = output(Command::new("sh").args(["-c", command]))?;
        let dig = String::from_utf8(dig.stdout)?;
        // Comments are dig's own about servers that do not answer, parentheses are ours for nothing.
        let dug: BTreeSet<&str> = dig.lines().filter(|line| !line.starts_with(";;")).collect();
        let told: BTreeSet<&str> = told.lines().filter(|line| !line.starts_with('(')).collect();
        if !told.is_subset(&dug) || dug.difference(&told).any(|line| *line != DNAME) {
            return Err(format!("{command}\ndig says {dug:?}\nthe report says {told:?}").into());
        }
    }
    Ok(())
}
