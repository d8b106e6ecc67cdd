//! NSD with the zones of `tests/real/zones`, and Unbound, which asks NSD.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::server::{Server, free_port, output};

/// Name and file of each zone; a slash does not go into a file's name.
const ZONES: [(&str, &str); 8] = [
    ("test", "test.zone"),
    ("example.test", "example.test.zone"),
    ("example.com", "example.com.zone"),
    ("localhost", "localhost.zone"),
    ("2.0.192.in-addr.arpa", "2.0.192.in-addr.arpa.zone"),
    ("64/26.2.0.192.in-addr.arpa", "64-26.2.0.192.in-addr.arpa.zone"),
    ("0.0.127.in-addr.arpa", "0.0.127.in-addr.arpa.zone"),
    ("8.b.d.0.1.0.0.2.ip6.arpa", "8.b.d.0.1.0.0.2.ip6.arpa.zone"),
];

/// A zone that NSD is to serve and cannot: SERVFAIL.
const BROKEN_ZONE: &str = "broken.test";

/// The authoritative server and the recursive one, by their ports.
pub(crate) struct NameServers {
    pub(crate) nsd: u16,
    pub(crate) unbound: u16,
    /// Where no DNS server listens any more.
    pub(crate) stopped: u16,
    _servers: [Server; 2],
}

impl NameServers {
    pub(crate) fn open(scratch: &Path) -> Result<Self, String> {
        let (nsd, unbound, stopped) = (free_port(), free_port(), free_port());
        let complaint = |error: std::io::Error| format!("NSD and Unbound: {error}");
        let files = [("nsd.conf", nsd_conf(nsd, scratch)), ("unbound.conf", unbound_conf(unbound, nsd, scratch))];
        for (file, text) in files {
            fs::write(scratch.join(file), text).map_err(complaint)?;
        }
        let conf = |file: &str| scratch.join(file).display().to_string();
        let start = |name, port, conf: &str| {
            let mut server = Server::start(name, &[name, "-d", "-c", conf], scratch).map_err(complaint)?;
            server.await_answer(|| answers(port))?;
            Ok::<_, String>(server)
        };
        let gone = start("nsd", nsd, &conf("nsd.conf"))?;
        let servers = [gone, start("unbound", unbound, &conf("unbound.conf"))?];
        Ok(Self { nsd, unbound, stopped, _servers: servers })
    }
}

fn answers(port: u16) -> bool {
    let port = port.to_string();
    let words = ["@127.0.0.1", "-p", &port, "+short", "+tries=1", "+time=1", "example.test", "SOA"];
    output(Command::new("dig").args(words)).is_ok_and(|said| said.status.success() && !said.stdout.is_empty())
}

fn nsd_conf(port: u16, scratch: &Path) -> String {
    let zones = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/real/zones");
    let zone = |(name, file): &(&str, &str)| format!("zone:\n  name: \"{name}\"\n  zonefile: \"{file}\"\n");
    let zones_served: String = ZONES.iter().chain([&(BROKEN_ZONE, "there-is-none.zone")]).map(zone).collect();
    format!(
        "server:
  ip-address: 127.0.0.1@{port}
  username: \"\"
  chroot: \"\"
  zonesdir: \"{}\"
  database: \"\"
  pidfile: \"\"
  xfrdfile: \"\"
  zonelistfile: \"{scratch}/nsd.list\"
  xfrdir: \"{scratch}\"
  rrl-ratelimit: 0
remote-control:
  control-enable: no
{zones_served}",
        zones.display(),
        scratch = scratch.display(),
    )
}

/// Unbound answers test., localhost. and some reverse zones by itself unless told not to.
fn unbound_conf(port: u16, nsd: u16, scratch: &Path) -> String {
    let own = ["test", "localhost", "127.in-addr.arpa", "2.0.192.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"];
    let own: String = own.iter().map(|zone| format!("  local-zone: \"{zone}.\" nodefault\n")).collect();
    let at = format!("127.0.0.1@{nsd}");
    let stub = |(name, _): &(&str, &str)| format!("stub-zone:\n  name: \"{name}\"\n  stub-addr: {at}\n");
    let stubs: String = ZONES.iter().chain([&(BROKEN_ZONE, "")]).map(stub).collect();
    format!(
        "server:
  interface: 127.0.0.1@{port}
  do-ip6: no
  username: \"\"
  chroot: \"\"
  directory: \"{}\"
  pidfile: \"\"
  use-syslog: no
  module-config: \"iterator\"
  do-not-query-localhost: no
{own}remote-control:
  control-enable: no
{stubs}forward-zone:
  name: \".\"
  forward-addr: {at}
",
        scratch.display(),
    )
}
