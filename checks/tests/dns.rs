//! The DNS layer against servers that misbehave.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use std::{net::SocketAddr, time::Duration};

use fixtures::dns::Server;
use hickory_resolver::proto::rr::RecordType;
use mail_preflight_checks::{
    Name, Protocols,
    net::{Deadline, dns::Dns},
};

const ZONE: &str = "mail.example.com A 192.0.2.10\nmail.example.com AAAA 2001:db8::10\n";

fn asking(servers: &[&Server]) -> Dns {
    over(servers.iter().map(|server| server.address()).collect())
}

fn over(servers: Vec<SocketAddr>) -> Dns {
    Dns::new(servers, Deadline::after(Duration::from_secs(60)))
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A port where nobody listens.
fn closed_port() -> SocketAddr {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn address(dns: &Dns, host: &str) -> Result<Vec<String>, String> {
    let answer = dns.ask(&name(host), RecordType::A).await.map_err(|silence| silence.reason.to_string())?;
    Ok(answer.addresses().iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn whatever_way_the_first_server_fails_the_next_is_asked() {
    let good = Server::open(ZONE).unwrap();
    for direction in ["servfail", "refused", "malformed", "garbage", "timeout"] {
        let bad = Server::open(&format!(";! {direction} * *\n{ZONE}")).unwrap();
        let dns = asking(&[&bad, &good]);
        assert_eq!(address(&dns, "mail.example.com").await.unwrap(), ["192.0.2.10"], "{direction}");
    }
    let dns = over(vec![closed_port(), good.address()]);
    assert_eq!(address(&dns, "mail.example.com").await.unwrap(), ["192.0.2.10"]);
}

#[tokio::test]
async fn each_way_of_failing_has_its_own_reason() {
    for (direction, reason) in [
        ("servfail", "SERVFAIL"),
        ("refused", "REFUSED"),
        ("malformed", "malformed answer"),
        ("garbage", "malformed answer"),
        ("timeout", "timeout"),
    ] {
        let server = Server::open(&format!(";! {direction} * *\n{ZONE}")).unwrap();
        assert_eq!(address(&asking(&[&server]), "mail.example.com").await.unwrap_err(), reason);
    }
    let reason = address(&over(vec![closed_port()]), "mail.example.com").await.unwrap_err();
    assert_eq!(reason, "no DNS server listens there (closed port)");
}

#[tokio::test]
async fn a_lost_datagram_is_sent_again() {
    let server = Server::open(&format!(";! once timeout mail.example.com A\n{ZONE}")).unwrap();
    assert_eq!(address(&asking(&[&server]), "mail.example.com").await.unwrap(), ["192.0.2.10"]);
    assert_eq!(server.questions().len(), 2);
}

#[tokio::test]
async fn a_question_is_asked_once_whoever_asks_and_however_it_is_written() {
    let server = Server::open(&format!(";! servfail broken.example.com A\n{ZONE}")).unwrap();
    let dns = asking(&[&server]);
    let (lower, upper) = (name("mail.example.com"), name("MAIL.Example.com."));
    let (first, second) = tokio::join!(dns.ask(&lower, RecordType::A), dns.ask(&upper, RecordType::A));
    assert_eq!(first.unwrap().addresses(), second.unwrap().addresses());
    assert_eq!(server.questions(), ["udp mail.example.com. A"]);
    for _ in 0..2 {
        address(&dns, "broken.example.com").await.unwrap_err();
    }
    assert_eq!(server.questions().len(), 3, "a failure is remembered too, after its two tries");
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_over_tcp() {
    let server = Server::open(&format!(";! truncate mail.example.com A\n{ZONE}")).unwrap();
    assert_eq!(address(&asking(&[&server]), "mail.example.com").await.unwrap(), ["192.0.2.10"]);
    assert_eq!(server.questions(), ["udp mail.example.com. A", "tcp mail.example.com. A"]);
}

#[tokio::test]
async fn absence_is_an_answer() {
    let server = Server::open(ZONE).unwrap();
    let dns = asking(&[&server]);
    let gone = dns.ask(&name("gone.example.com"), RecordType::A).await.unwrap();
    assert!(gone.is_empty() && gone.is_nxdomain());
    assert_eq!(gone.absence(), "gone.example.com does not exist (NXDOMAIN)");
    let none = dns.ask(&name("mail.example.com"), RecordType::MX).await.unwrap();
    assert!(none.is_empty() && !none.is_nxdomain());
    assert_eq!(none.absence(), "no MX record at mail.example.com");
}

#[tokio::test]
async fn aliases_are_followed_and_told() {
    let zone =
        "a.example CNAME b.example\nb.example CNAME c.example\nc.example A 192.0.2.1\nd.example CNAME gone.example\n";
    let server = Server::open(zone).unwrap();
    let dns = asking(&[&server]);
    let answer = dns.ask(&name("a.example"), RecordType::A).await.unwrap();
    assert_eq!(answer.aliases(), [name("b.example"), name("c.example")]);
    assert_eq!(answer.evidence().output, "b.example.\nc.example.\n192.0.2.1");
    let dangling = dns.ask(&name("d.example"), RecordType::A).await.unwrap();
    assert!(dangling.is_nxdomain());
    assert_eq!(dangling.absence(), "gone.example does not exist (NXDOMAIN)");
}

#[tokio::test]
async fn a_txt_record_without_any_string_does_not_spoil_the_others() {
    let server = Server::open(";! empty-string example.com TXT\nexample.com TXT \"v=spf1 \" \"-all\"\n").unwrap();
    let answer = asking(&[&server]).ask(&name("example.com"), RecordType::TXT).await.unwrap();
    assert_eq!(answer.texts(), [b"".to_vec(), b"v=spf1 -all".to_vec()]);
}

#[tokio::test]
async fn loopback_names_are_asked_like_any_other() {
    let zone = "localhost A 192.0.2.1\n1.0.0.127.in-addr.arpa PTR mail.example.com\n";
    let server = Server::open(zone).unwrap();
    let dns = asking(&[&server]);
    assert_eq!(address(&dns, "localhost").await.unwrap(), ["192.0.2.1"]);
    let reverse = Name::reverse("127.0.0.1".parse().unwrap());
    let answer = dns.ask(&reverse, RecordType::PTR).await.unwrap();
    assert_eq!(answer.pointers(), [name("mail.example.com")]);
    assert!(answer.evidence().command.ends_with("+short -x 127.0.0.1"));
}

#[tokio::test]
async fn one_family_of_addresses_is_enough() {
    let server =
        Server::open(&format!(";! servfail mail.example.com AAAA\n;! servfail dead.example.com *\n{ZONE}")).unwrap();
    let dns = asking(&[&server]);
    let known = dns.addresses(&name("mail.example.com"), Protocols::All).await.unwrap();
    assert_eq!(known, ["192.0.2.10".parse::<std::net::IpAddr>().unwrap()]);
    assert!(dns.addresses(&name("mail.example.com"), Protocols::Ipv6).await.is_err());
    assert!(dns.addresses(&name("dead.example.com"), Protocols::All).await.is_err());
}

#[tokio::test]
async fn the_deadline_ends_every_wait() {
    let server = Server::open(&format!(";! timeout * *\n{ZONE}")).unwrap();
    let dns = Dns::new(vec![server.address()], Deadline::after(Duration::from_millis(50)));
    assert_eq!(address(&dns, "mail.example.com").await.unwrap_err(), "no answer within 50ms");
}
