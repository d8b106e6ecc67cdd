//! TLSA records of each kind against each certificate: what `openssl s_client -dane_tlsa_rrdata` says, and what we say.

use std::{path::Path, process::Command, sync::Arc};

use libtest_mimic::{Failed, Trial};

use crate::{audit::audit, mailservers::MailServers, pki::RELAY, server::output, tls::arguments};

const DOORS: [&str; 12] = [
    "trusted",
    "rsa",
    "directly",
    "with-root",
    "expired",
    "not-yet-valid",
    "wrong-name",
    "incomplete",
    "expired-issuer",
    "self-signed",
    "wildcard",
    "for-clients",
];

/// Usage, selector, matching type, and whose certificate; `own` is the server's.
const RECORDS: [(u8, u8, u8, &str); 9] = [
    (3, 1, 1, "own"),
    (3, 0, 1, "own"),
    (3, 1, 2, "own"),
    (3, 1, 1, "intermediate"),
    (2, 1, 1, "own"),
    (2, 1, 1, "intermediate"),
    (2, 0, 1, "intermediate"),
    (2, 0, 1, "expired-intermediate"),
    (2, 0, 2, "root"),
];

pub(crate) fn trials(servers: &Arc<MailServers>) -> Vec<Trial> {
    let pairs = DOORS.iter().flat_map(|door| RECORDS.map(|record| (*door, record)));
    let trial = |(door, record): (&'static str, (u8, u8, u8, &'static str))| {
        let servers = Arc::clone(servers);
        let (usage, selector, matching, whose) = record;
        Trial::test(format!("dane/{door}/{usage}-{selector}-{matching}-{whose}"), move || {
            compared(&servers, door, &data(&servers, door, record)?)
        })
    };
    pairs.map(trial).collect()
}

fn compared(servers: &MailServers, door: &str, record: &str) -> Result<(), Failed> {
    let port = servers.port(door);
    let mut client = Command::new("openssl");
    client.args(["s_client", "-starttls", "smtp", "-connect", &format!("127.0.0.1:{port}"), "-servername", RELAY]);
    // As Postfix sets it: security level 1, and no names for DANE-EE (RFC 7672 section 3.1.1).
    client.args(["-cipher", "DEFAULT@SECLEVEL=1", "-dane_ee_no_namechecks"]);
    client.args(["-dane_tlsa_domain", RELAY, "-dane_tlsa_rrdata", record]);
    let said = String::from_utf8_lossy(&output(&mut client)?.stdout).into_owned();
    let is_vouched = match (said.contains("Verification: OK"), said.contains("Verification error:")) {
        (true, false) => true,
        (false, true) => false,
        _ => return Err(format!("openssl s_client saw no TLS:\n{said}").into()),
    };

    let owner = format!("_{port}._tcp.{RELAY}.");
    let zone = format!(";! secure {RELAY} *\n;! secure {owner} TLSA\n{RELAY}. A 127.0.0.1\n{owner} TLSA {record}\n");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let audit = runtime.block_on(async {
        let names = fixtures::dns::Server::open(&zone).map_err(|error| format!("{error:#}"))?;
        let more = ["--tls-level", "dane-only", "--only", "tls,dane"];
        let args = arguments(servers, names.address().port(), door, &more);
        tokio::task::spawn_blocking(move || audit(&args, &[])).await.map_err(Failed::from)?
    })?;
    let found = audit.finding("dane.match", "")?;
    let (status, outcome) = if is_vouched { ("pass", "deliver") } else { ("fail", "defer") };
    if found["status"] != status {
        return Err(format!("openssl: {status} for {record}, here: {found:#}\n{said}").into());
    }
    match &audit.finding("tls.version", "")?["facts"]["postfix"] {
        seen if *seen == outcome => Ok(()),
        seen => Err(format!("{outcome} expected, seen: {seen}").into()),
    }
}

/// `3 1 1 8cb0…`
fn data(
    servers: &MailServers,
    door: &str,
    (usage, selector, matching, whose): (u8, u8, u8, &str),
) -> Result<String, Failed> {
    let certificate = if whose == "own" { door } else { whose };
    let file = Path::new(&servers.root).with_file_name(format!("{certificate}.pem"));
    let selected = match selector {
        0 => "openssl x509 -outform DER",
        _ => "openssl x509 -noout -pubkey | openssl pkey -pubin -outform DER",
    };
    let digest = if matching == 1 { "sha256" } else { "sha512" };
    let line = format!("cat '{}' | {selected} | openssl dgst -r -{digest}", file.display());
    let said = String::from_utf8(output(Command::new("sh").args(["-c", &line]))?.stdout)?;
    let digits = said.split_whitespace().next().unwrap_or_default().to_owned();
    Ok(format!("{usage} {selector} {matching} {digits}"))
}
