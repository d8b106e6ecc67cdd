//! How the relay is found and reached: names through NSD, doors of Postfix that greet in different ways.

use std::sync::Arc;

use libtest_mimic::Trial;

use crate::{
    audit::{Verdict, audit},
    mailservers::MailServers,
};

/// A name, what is typed (`{door}` is the port of that door), the exit code, and verdicts that the report must have.
type Case = (&'static str, &'static str, i32, &'static [Verdict<'static>]);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("healthy", "[relay.example.test]:{trusted} --skip dnsbl --ip 192.0.2.10 --ip 2001:db8::10 --selector strong", 0, &[
        ("hostname.ptr", "2001:db8::10", "pass", ""),
        ("spf.sender", "example.test from 192.0.2.10", "pass", ""),
        ("relay.connect", "relay.example.test:{trusted} 127.0.0.1", "pass", "220"),
        ("tls.chain", "relay.example.test:{trusted} 127.0.0.1", "pass", "Trusted"),
        ("sasl.login", "relay.example.test:{trusted} 127.0.0.1", "skip", "no credentials")]),
    ("two addresses, one refuses", "[half.example.test]:{trusted} --only relay,tls", 1, &[
        ("relay.connect", "half.example.test:", "pass", "220 relay.example.test ESMTP"),
        ("tls.name", "half.example.test:", "fail", "relay.example.test, not for half.example.test")]),
    ("two addresses, one refuses: only a warning", "[half.example.test]:{wildcard} --only relay,tls", 0, &[
        ("relay.connect", "half.example.test:{wildcard} 127.0.0.1", "pass", "220"),
        ("relay.connect", "half.example.test:{wildcard} 127.0.0.2", "warn", "connection refused (another address"),
        ("relay.starttls", "half.example.test:{wildcard} 127.0.0.1", "pass", ""),
        ("relay.starttls", "half.example.test:{wildcard} 127.0.0.2", "skip", "relay.connect"),
        ("tls.chain", "half.example.test:{wildcard} 127.0.0.2", "skip", "relay.connect")]),
    ("every address refuses", "[dead.example.test]:{trusted} --only relay,tls,sasl", 1, &[
        ("relay.connect", "dead.example.test:{trusted} 127.0.0.2", "fail", "connection refused"),
        ("relay.connect", "dead.example.test:{trusted} 127.0.0.3", "fail", "connection refused"),
        ("tls.version", "dead.example.test:{trusted} 127.0.0.2", "skip", "relay.connect")]),
    ("MX", "outgoing.example.test:{trusted} --only relay,tls", 0, &[
        ("relay.connect", "relay.example.test:{trusted} 127.0.0.1", "pass", "220"),
        ("tls.name", "relay.example.test:{trusted} 127.0.0.1", "pass", "is for relay.example.test")]),
    ("MX, verified by the host", "outgoing.example.test:{trusted} --only tls --tls-level verify", 0, &[
        ("tls.chain", "", "pass", "Verified")]),
    ("MX, secured by the next-hop", "outgoing.example.test:{trusted} --only tls --tls-level secure", 1, &[
        ("tls.name", "", "fail", "not for outgoing.example.test or .outgoing.example.test")]),
    ("MX, secured by a name below the next-hop", "outgoing.example.test:{next-hop} --only tls --tls-level secure", 0, &[
        ("tls.chain", "", "pass", "Verified"),
        ("tls.name", "", "pass", "mail.outgoing.example.test")]),
    ("MX in order", "fallback.example.test:{trusted} --only relay", 0, &[
        ("relay.connect", "dead.example.test:{trusted} 127.0.0.2", "warn", "another address"),
        ("relay.connect", "dead.example.test:{trusted} 127.0.0.3", "warn", "another address"),
        ("relay.connect", "relay.example.test:{trusted} 127.0.0.1", "pass", "220")]),
    ("no MX, but addresses", "relay.example.test:{trusted} --only relay,tls", 0, &[
        ("relay.connect", "relay.example.test:{trusted} 127.0.0.1", "pass", "220")]),
    ("null MX", "null.example.test:{trusted} --only relay", 1, &[
        ("relay.connect", "null.example.test:{trusted}", "fail", "null MX")]),
    ("no such name", "[nothing.example.test]:{trusted} --only relay,tls", 1, &[
        ("relay.connect", "nothing.example.test:{trusted}", "fail", "NXDOMAIN")]),
    ("no such domain", "nothing.example.test:{trusted} --only relay,tls", 1, &[
        ("relay.connect", "nothing.example.test:{trusted}", "fail", "NXDOMAIN")]),
    ("a name that nobody knows", "[smtp.example.net]:{trusted} --only relay,tls", 3, &[
        ("relay.connect", "smtp.example.net:{trusted}", "unknown", "REFUSED")]),
    ("an address", "[127.0.0.1]:{trusted} --only relay,tls", 1, &[
        ("relay.connect", "127.0.0.1:{trusted} 127.0.0.1", "pass", "220"),
        ("tls.name", "127.0.0.1:{trusted} 127.0.0.1", "fail", "not for 127.0.0.1")]),
    ("no STARTTLS", "[relay.example.test]:{clear} --only relay,tls", 1, &[
        ("relay.starttls", "", "fail", "STARTTLS is not offered; Postfix defers"),
        ("tls.version", "", "skip", "relay.starttls")]),
    ("no STARTTLS, and none is needed", "[relay.example.test]:{clear} --only relay,tls --tls-level may", 0, &[
        ("relay.starttls", "", "warn", "in clear")]),
    ("level none", "[relay.example.test]:{expired} --only relay,tls --tls-level none", 0, &[
        ("relay.starttls", "", "skip", "none"),
        ("tls.chain", "", "skip", "none")]),
    ("a client that is not welcome", "[relay.example.test]:{rejects} --only relay,tls,sasl", 1, &[
        ("relay.connect", "", "fail", "greets with 554 5.7.1"),
        ("sasl.mechanisms", "", "skip", "relay.connect")]),
    ("a client that is not welcome now", "[relay.example.test]:{defers} --only relay,tls,sasl", 3, &[
        ("relay.connect", "", "unknown", "greets with 450 4.3.2")]),
    ("a server that wants a certificate of ours", "[relay.example.test]:{clients-only} --only relay,tls,sasl", 3, &[
        ("tls.chain", "", "pass", "Trusted"),
        ("sasl.mechanisms", "", "unknown", "421 4.7.1 relay.example.test Error: No client certificate")]),
    ("TLS 1.1 alone", "[relay.example.test]:{tls1.1} --only relay,tls", 1, &[
        ("relay.starttls", "", "pass", ""),
        ("tls.version", "", "fail", "nothing newer than TLSv1.1"),
        ("tls.chain", "", "unknown", "has not proved that it holds the key")]),
    ("TLS from the first byte", "[relay.example.test]:{smtps} --tls-wrappermode --only relay,tls", 0, &[
        ("relay.starttls", "", "pass", "TLS from the first byte"),
        ("relay.connect", "", "pass", "220")]),
    ("TLS from the first byte, where STARTTLS is due", "[relay.example.test]:{trusted} --tls-wrappermode --only relay,tls", 1, &[
        ("relay.connect", "", "skip", "tls.version"),
        ("tls.version", "", "fail", "220 relay.example.test ESMTP Postfix")]),
    ("STARTTLS, where TLS from the first byte is due", "[relay.example.test]:{smtps} --only relay,tls --timeout 2s", 3, &[
        ("relay.connect", "", "unknown", "")]),
    ("wrappermode at level may", "[relay.example.test]:{smtps} --tls-wrappermode --tls-level may --only relay", 1, &[
        ("relay.starttls", "", "fail", "smtp_tls_wrappermode needs")]),
    ("several relays, of which the first does not answer", "[dead.example.test]:{trusted},[relay.example.test]:{trusted} --only relay,tls", 0, &[
        ("relay.connect", "dead.example.test:{trusted} 127.0.0.2", "warn", "another address"),
        ("relay.connect", "relay.example.test:{trusted} 127.0.0.1", "pass", "220"),
        ("relay.banner", "relay.example.test:{trusted} 127.0.0.1", "pass", "relay.example.test"),
        ("relay.ehlo", "relay.example.test:{trusted} 127.0.0.1", "pass", "relay.example.test"),
        ("relay.size", "relay.example.test:{trusted} 127.0.0.1", "pass", "takes 10240000 octets"),
        ("relay.capabilities", "relay.example.test:{trusted} 127.0.0.1", "pass", "PIPELINING")]),
    ("a message too big", "[relay.example.test]:{trusted} --only relay,tls --message-size 20480000", 1, &[
        ("relay.size", "", "fail", "takes 10240000 octets")]),
    // Its default_transport is error, which smtpd says at once.
    ("mail for strangers", "[relay.example.test]:{trusted} --only relay,tls --rcpt alice@example.org", 1, &[
        ("relay.accepts", "relay.example.test:{trusted} 127.0.0.1", "fail", "about this recipient, not about relaying")]),
    ("Dovecot's submission service", "[relay.example.test]:{submission} --only relay,tls", 0, &[
        ("relay.connect", "", "pass", "220"),
        ("tls.chain", "", "pass", "Trusted")]),
    ("Dovecot's submission service over TLS", "[relay.example.test]:{submissions} --tls-wrappermode --only relay,tls", 0, &[
        ("tls.chain", "", "pass", "Trusted")]),
];

pub(crate) fn trials(servers: &Arc<MailServers>, resolver: u16) -> Vec<Trial> {
    let trial = |(name, typed, code, verdicts): &Case| {
        let servers = Arc::clone(servers);
        let (typed, code, verdicts) = (*typed, *code, *verdicts);
        Trial::test(format!("relay/{name}"), move || {
            let typed = servers.with_ports(typed);
            let resolver = format!("127.0.0.1:{resolver}");
            let options = ["--resolver", &resolver, "--ca-file", &servers.root];
            let words = ["mail.example.test", "--relay"].into_iter().chain(typed.split(' ')).chain(options);
            let args: Vec<String> = words.map(str::to_owned).collect();
            let subjects: Vec<String> = verdicts.iter().map(|(_, subject, ..)| servers.with_ports(subject)).collect();
            let numbered = verdicts.iter().zip(&subjects);
            let verdicts: Vec<Verdict<'_>> = numbered
                .map(|((check, _, status, part), subject)| (*check, subject.as_str(), *status, *part))
                .collect();
            audit(&args, &[])?.expect(code, &verdicts)
        })
    };
    CASES.iter().map(trial).collect()
}
